//! `--watch`: when the function's files change, new environments start the new ones.
//!
//! Build tools write in steps: a file is missing, empty, not executable yet, or grows. So files are
//! looked at until they have been the same for a while and can be started.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// The files of a function.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The programs that are started.
    pub(crate) programs: Vec<PathBuf>,
    /// Folders all of whose files belong to it.
    pub(crate) folders: Vec<PathBuf>,
}

/// Calls `reload` from a thread of its own, with the name of what has changed, each time that the
/// files have changed and are whole.
///
/// # Errors
///
/// The files cannot be watched; the text says which.
pub(crate) fn watch(files: Files, reload: impl Fn(&Path) + Send + 'static) -> Result<(), String> {
    let (changed, changes) = sync_channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading them is no change. One message that waits stands for all.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _waits_already = changed.try_send(());
        }
    })
    .map_err(|error| format!("cannot watch files: {error}"))?;
    let parents = files.programs.iter().filter_map(|path| path.parent());
    // A program may be replaced by another file of its name: its folder is what is watched.
    let plain = parents.map(|folder| (folder, RecursiveMode::NonRecursive));
    let whole = files.folders.iter();
    let whole = whole.map(|folder| (folder.as_path(), RecursiveMode::Recursive));
    for (folder, mode) in plain.chain(whole) {
        let watched = watcher.watch(folder, mode);
        watched.map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
    }
    let settle = Settle::new(files.look());
    let spawned = thread::Builder::new().name("reload".into());
    let run = move || follow(&files, settle, &changes, watcher, reload);
    spawned
        .spawn(run)
        .map(drop)
        .map_err(|e| format!("cannot watch files: {e}"))
}

fn follow(
    files: &Files,
    mut settle: Settle,
    changes: &Receiver<()>,
    watcher: RecommendedWatcher,
    reload: impl Fn(&Path),
) {
    let mut unsettled = false;
    loop {
        let changed = if unsettled {
            changes.recv_timeout(LOOK_PAUSE)
        } else {
            changes.recv().map_err(RecvTimeoutError::from)
        };
        if changed == Err(RecvTimeoutError::Disconnected) {
            return drop(watcher);
        }
        match settle.look(Instant::now(), files.look(), files.can_start()) {
            Look::Same => unsettled = false,
            Look::Unsettled => unsettled = true,
            Look::Changed(path) => {
                unsettled = false;
                reload(&path);
            }
        }
    }
}

/// Everything that changes with the content of a file, as far as its folder tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    mode: u32,
}

type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

impl Files {
    fn look(&self) -> Fingerprints {
        let mut found = Fingerprints::new();
        for program in &self.programs {
            add(&mut found, program);
        }
        for folder in &self.folders {
            add_folder(&mut found, folder);
        }
        found
    }

    fn can_start(&self) -> bool {
        self.programs.iter().all(|program| {
            let file = program.metadata().ok();
            file.is_some_and(|file| file.len() != 0 && file.permissions().mode() & 0o111 != 0)
        })
    }
}

fn add(found: &mut Fingerprints, path: &Path) {
    if let Ok(file) = path.metadata() {
        let fingerprint = Fingerprint {
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            mode: file.mode(),
        };
        found.insert(path.to_owned(), fingerprint);
    }
}

fn add_folder(found: &mut Fingerprints, folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Neither do they belong to the function, nor would their changes ever end.
        if name.starts_with('.') || NOT_WATCHED.contains(&name.as_ref()) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => add_folder(found, &entry.path()),
            _ if found.len() < FILES_MAX => add(found, &entry.path()),
            _ => return,
        }
    }
}

/// Decides when files that change are whole.
#[derive(Debug)]
struct Settle {
    /// The files as they were started last.
    started: Fingerprints,
    /// Other ones, and since when they have been like that.
    other: Option<(Fingerprints, Instant)>,
}

/// What a look at the files says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// They are as they were started.
    Same,
    /// They are others, perhaps not for the last time.
    Unsettled,
    /// They are others, and whole; one of those that have changed.
    Changed(PathBuf),
}

impl Settle {
    fn new(started: Fingerprints) -> Self {
        Self {
            started,
            other: None,
        }
    }

    fn look(&mut self, now: Instant, found: Fingerprints, can_start: bool) -> Look {
        if found == self.started {
            self.other = None;
            return Look::Same;
        }
        match &self.other {
            Some((other, since)) if *other == found => {
                if now.saturating_duration_since(*since) < QUIET || !can_start {
                    return Look::Unsettled;
                }
            }
            Some(_) | None => {
                self.other = Some((found, now));
                return Look::Unsettled;
            }
        }
        let names = found.keys().chain(self.started.keys());
        let mut changed = names.filter(|path| found.get(*path) != self.started.get(*path));
        let changed = changed.next().cloned().unwrap_or_default();
        self.started = found;
        self.other = None;
        Look::Changed(changed)
    }
}

/// How long files have to be the same. A linker that writes a large program pauses for less.
const QUIET: Duration = Duration::from_millis(300);
/// Between two looks at files that are not settled.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// A function has fewer files; a folder that was named by mistake may have more.
const FILES_MAX: usize = 20_000;
/// Folders with what build tools and package managers write.
const NOT_WATCHED: [&str; 3] = ["__pycache__", "node_modules", "target"];

#[cfg(test)]
mod tests {
    use super::*;

    fn files(length: u64, mode: u32) -> Fingerprints {
        let fingerprint = Fingerprint {
            inode: 1,
            length,
            modified: (1, 0),
            mode,
        };
        Fingerprints::from([(PathBuf::from("/task/fn"), fingerprint)])
    }

    #[test]
    fn a_file_is_whole_when_it_is_quiet_and_can_be_started() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut settle = Settle::new(files(10, 0o755));
        assert_eq!(settle.look(at(0), files(10, 0o755), true), Look::Same);
        // Removed, written in two steps, made executable.
        assert_eq!(
            settle.look(at(10), Fingerprints::new(), false),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(400), Fingerprints::new(), false),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(410), files(5, 0o644), false),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(650), files(20, 0o644), false),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(960), files(20, 0o644), false),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(970), files(20, 0o755), true),
            Look::Unsettled
        );
        assert_eq!(
            settle.look(at(1_269), files(20, 0o755), true),
            Look::Unsettled
        );
        let changed = Look::Changed("/task/fn".into());
        assert_eq!(settle.look(at(1_270), files(20, 0o755), true), changed);
        assert_eq!(settle.look(at(1_280), files(20, 0o755), true), Look::Same);
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let now = Instant::now();
        let mut settle = Settle::new(files(10, 0o755));
        assert_eq!(settle.look(now, files(11, 0o755), true), Look::Unsettled);
        assert_eq!(settle.look(now + QUIET, files(10, 0o755), true), Look::Same);
    }

    #[test]
    fn what_interpreters_write_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "app.py",
            "lib/a.py",
            "__pycache__/a.pyc",
            ".git/x",
            "target/debug/f",
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), path).unwrap();
        }
        let mut found = Fingerprints::new();
        add_folder(&mut found, root);
        let names: Vec<_> = found
            .keys()
            .map(|path| path.strip_prefix(root).unwrap())
            .collect();
        assert_eq!(names, [Path::new("app.py"), Path::new("lib/a.py")]);
    }
}
