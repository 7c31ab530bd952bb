//! Log lines of the runtime and, with the feature `log`, of users' code: one line, one write.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::panic;
use crate::shared::env::LogConfig;
use crate::shared::log_record::{Format, Level, Record};
use crate::shared::os;

/// Writes a line if its level is enabled, to standard error. There is nobody to tell when that
/// fails.
pub(super) fn line(level: Level, message: &str) {
    error_line(level, None, message);
}

/// Writes a line about an error of this type, if its level is enabled.
pub(super) fn error_line(level: Level, error_type: Option<&str>, message: &str) {
    if level as u8 <= LEVEL.load(Ordering::Relaxed) {
        always(level, error_type, message);
    }
}

/// Writes a line whatever its level.
pub(super) fn always(level: Level, error_type: Option<&str>, message: &str) {
    let mut out = Vec::with_capacity(message.len() + 128);
    panic::with_ids(|request_id, tenant_id| {
        let record = Record {
            time: os::now(),
            level,
            request_id,
            tenant_id,
            error_type,
            message,
        };
        record.write(format(), &mut out);
    });
    write_line(&out);
}

/// Writes a line that is complete, with its line end, in one system call if the reader keeps up.
///
/// It waits for a slow reader, also where whoever shares the descriptor has made it non-blocking.
///
/// The lock of the standard library is not taken: whoever holds it may be what panicked, or wait
/// for it.
pub(crate) fn write_line(mut line: &[u8]) {
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), line) {
            Ok(count) => line = line.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let stderr = rustix::stdio::stderr();
                os::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None).ok();
            }
            // There is nobody to tell.
            Err(_) => return,
        }
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

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The least severe [`Level`] that is written.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

#[cfg(feature = "log")]
mod facade {
    use log::{LevelFilter, Log, Metadata};

    use super::{Level, line};

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
            let message = record.args();
            match message.as_str() {
                Some(text) => line(level, text),
                None => line(level, &message.to_string()),
            }
        }

        fn flush(&self) {}
    }
}
