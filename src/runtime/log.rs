//! Log lines of the runtime and, with the feature `log`, of users' code: one line, one write.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::stdio::stderr;

use super::current;
use crate::shared::env::LogConfig;
use crate::shared::log_record::{Format, Level, Record};
use crate::shared::os;
#[cfg(test)]
use crate::shared::os::simulation;

/// Writes a line to standard error if its level is enabled.
pub(super) fn line(level: Level, message: &str) {
    if is_enabled(level) {
        always(level, message);
    }
}

/// Writes a line about an error of this type, if its level is enabled. `request_id` is that of an
/// invocation that another process serves.
pub(super) fn error_line(level: Level, request_id: Option<&str>, error_type: &str, message: &str) {
    if is_enabled(level) {
        write_record(Record {
            request_id,
            error_type: Some(error_type),
            ..Record::new(os::now(), level, message)
        });
    }
}

fn is_enabled(level: Level) -> bool {
    #[cfg(test)]
    if simulation::here().is_some() {
        // Another test may have set the level.
        return true;
    }
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes a line whatever its level.
pub(super) fn always(level: Level, message: &str) {
    write_record(Record::new(os::now(), level, message));
}

/// Writes a record, with the ids of the invocation that runs unless it has one.
fn write_record(record: Record<'_>) {
    let mut out = Vec::with_capacity(record.message.len() + 128);
    current::with_ids(|request_id, tenant_id| {
        let record = Record {
            request_id: record.request_id.or(request_id),
            tenant_id,
            ..record
        };
        record.write(format(), &mut out);
    });
    write_line(&out);
}

/// Writes a line that is complete, with its line end, in one system call if the reader keeps up.
///
/// Where somebody has made standard error non-blocking, a full pipe is waited for. A reader that
/// takes nothing for [`WRITE_TIMEOUT`] loses lines; how many is written in front of the next line
/// that it takes.
///
/// The lock of the standard library is not taken: whoever holds it may be what panicked, or wait
/// for it.
pub(crate) fn write_line(line: &[u8]) {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.log(line);
    }
    write_line_to(stderr(), line, WRITE_TIMEOUT, &DROPPED);
}

fn write_line_to(to: BorrowedFd<'_>, line: &[u8], timeout: Duration, lost: &AtomicU64) {
    let dropped = lost.swap(0, Ordering::Relaxed);
    if dropped != 0 {
        let message = format!("log lines dropped, because standard error was full: {dropped}");
        // The last of them may have been cut off.
        let mut out = vec![b'\n'];
        Record::new(os::now(), Level::Warn, &message).write(format(), &mut out);
        if write(to, &out, Duration::ZERO).is_err() {
            lost.fetch_add(dropped + 1, Ordering::Relaxed);
            return;
        }
    }
    if write(to, line, timeout).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes all of `text`. A reader that takes nothing is waited for no longer than `timeout`.
fn write(to: BorrowedFd<'_>, mut text: &[u8], timeout: Duration) -> Result<(), Errno> {
    while !text.is_empty() {
        match rustix::io::write(to, text) {
            Ok(count) => text = text.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(to, timeout)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until bytes are taken.
fn wait(to: BorrowedFd<'_>, timeout: Duration) -> Result<(), Errno> {
    let mut full = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
    match os::poll(&mut full, Some(timeout)) {
        Ok(0) => Err(Errno::AGAIN),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes over format and level, and, with the feature `log`, becomes the logger of that facade
/// unless the user's code has installed one.
pub(super) fn configure(config: LogConfig) {
    IS_JSON.store(config.format == Format::Json, Ordering::Relaxed);
    LEVEL.store(config.level as u8, Ordering::Relaxed);
    #[cfg(feature = "log")]
    facade::install(config.level);
}

/// The form of lines.
pub(super) fn format() -> Format {
    if IS_JSON.load(Ordering::Relaxed) {
        Format::Json
    } else {
        Format::Text
    }
}

/// Lines that standard error has not taken, and that no line has told of.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How long a line waits for a reader that takes nothing. On Lambda the platform reads; elsewhere a
/// reader may be busy for a while, but an invocation must not hang on its log.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The least severe [`Level`] that is written.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

#[cfg(feature = "log")]
mod facade {
    use log::kv::{Error, Key, Value, VisitSource};
    use log::{LevelFilter, Log, Metadata};

    use crate::runtime::log::{format, write_record};
    use crate::shared::log_record::write_field;
    use crate::shared::log_record::{Format, Level, Record};
    use crate::shared::os;

    struct Facade;

    pub(super) fn install(level: Level) {
        if log::set_logger(&Facade).is_ok() {
            log::set_max_level(match level {
                Level::Fatal => LevelFilter::Off,
                Level::Error => LevelFilter::Error,
                Level::Warn => LevelFilter::Warn,
                Level::Info => LevelFilter::Info,
                Level::Debug => LevelFilter::Debug,
                Level::Trace => LevelFilter::Trace,
            });
        }
    }

    impl Log for Facade {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= log::max_level()
        }

        fn log(&self, record: &log::Record<'_>) {
            let level = match record.level() {
                log::Level::Error => Level::Error,
                log::Level::Warn => Level::Warn,
                log::Level::Info => Level::Info,
                log::Level::Debug => Level::Debug,
                log::Level::Trace => Level::Trace,
            };
            let mut fields = Fields {
                format: format(),
                text: Vec::new(),
            };
            // A visitor that returns no error meets none.
            record.key_values().visit(&mut fields).ok();
            let text;
            let message = match record.args().as_str() {
                Some(message) => message,
                None => {
                    text = record.args().to_string();
                    &text
                }
            };
            write_record(Record {
                target: Some(record.target()),
                fields: &fields.text,
                ..Record::new(os::now(), level, message)
            });
        }

        fn flush(&self) {}
    }

    /// Writes the key-values of a record.
    struct Fields {
        format: Format,
        text: Vec<u8>,
    }

    impl<'a> VisitSource<'a> for Fields {
        fn visit_pair(&mut self, name: Key<'a>, value: Value<'a>) -> Result<(), Error> {
            let is_number = value.to_f64().is_some_and(f64::is_finite)
                || value.to_i64().is_some()
                || value.to_u64().is_some();
            let is_plain = is_number || value.to_bool().is_some();
            let text = value.to_string();
            write_field(self.format, name.as_str(), &text, is_plain, &mut self.text);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn lines_that_a_full_pipe_does_not_take_are_counted_and_told() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let lost = AtomicU64::new(0);
        let line = |text: &str| {
            write_line_to(writer.as_fd(), text.as_bytes(), Duration::ZERO, &lost);
        };
        // Longer than what a pipe takes whole or not at all.
        let long = format!("{}\n", "x".repeat(9_999));
        let mut written = 0;
        while lost.load(Ordering::Relaxed) == 0 {
            written += 1;
            line(&long);
        }
        line("gone\n");
        line("gone, too\n");
        assert_eq!(lost.load(Ordering::Relaxed), 3);
        // The last of the long lines was cut off.
        let mut bytes = vec![0; written * long.len()];
        let count = reader.read(&mut bytes).unwrap();
        assert!(count < bytes.len());

        line("taken\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let end = "\tWARN\tlog lines dropped, because standard error was full: 3\ntaken\n";
        assert!(rest.ends_with(end), "{rest}");
        assert!(!rest.contains("gone"));
    }

    #[test]
    fn a_full_pipe_is_waited_for() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let text = vec![b'x'; 1_000_000];
        std::thread::scope(|scope| {
            let read = scope.spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes.len()
            });
            write(writer.as_fd(), &text, Duration::from_secs(10)).unwrap();
            drop(writer);
            assert_eq!(read.join().unwrap(), text.len());
        });
    }
}
