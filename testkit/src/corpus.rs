//! The inputs that fuzzing kept.

use std::fs;
use std::path::Path;

/// Gives each input of a folder to `target`.
pub fn each(folder: &Path, target: impl Fn(&[u8])) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.sort();
    for path in paths {
        // A failed test shows the last one.
        println!("{}", path.display());
        target(&fs::read(&path).unwrap());
    }
}
