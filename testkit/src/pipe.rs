//! Named pipes, by which a test says "now" to a program.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Makes a named pipe in `folder`. Whoever opens one end waits for the other.
#[must_use]
pub fn named_pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", pipe.display()));
    pipe
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

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
        fs::write(&pipe, "now").unwrap();
        assert_eq!(reader.join().unwrap(), "now");
        fs::remove_dir_all(&folder).unwrap();
    }
}
