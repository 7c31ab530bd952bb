//! Named pipes, by which a test says "now" to a program.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;

/// Makes a named pipe in `folder`. Whoever opens one end waits for the other.
#[must_use]
pub fn named_pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", pipe.display()));
    pipe
}

/// Says "now" to the reader of a pipe. Returns whether one came in this time.
#[must_use]
pub fn say_now(pipe: &Path, wait: Duration) -> bool {
    let deadline = Instant::now() + wait;
    loop {
        match rustix::fs::open(pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(pipe) => return rustix::io::write(&pipe, b"now") == Ok(3),
            Err(Errno::NXIO) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::NXIO) => return false,
            Err(error) => panic!("cannot open {}: {error}", pipe.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_writer_meets_a_reader() {
        let folder = std::env::temp_dir().join(format!("testkit-pipe-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let pipe = named_pipe(&folder);
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        assert!(say_now(&pipe, Duration::from_secs(10)));
        assert_eq!(reader.join().unwrap(), "now");
        assert!(!say_now(&pipe, Duration::ZERO), "nobody reads");
        fs::remove_dir_all(&folder).unwrap();
    }
}
