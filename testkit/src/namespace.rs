//! Programs that find files at the fixed places of Lambda, without files there.

use std::path::Path;
use std::process::Command;

/// A command that runs the program and the arguments added to it. The program sees the entries of
/// each folder also in the place named beside it: `testkit/with-folders` says how.
#[must_use]
pub fn with_folders(folders: &[(&Path, &str)]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/with-folders"));
    for (folder, place) in folders {
        command.arg(folder).arg(place);
    }
    command.arg("--");
    command
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    #[ignore = "mounts a folder, which not every machine allows"]
    fn a_place_keeps_what_is_in_it_and_shows_a_folder_beside_it() {
        let base = std::env::temp_dir().join(format!("testkit-namespace-{}", std::process::id()));
        // The folder lies in the place, as a clone of this repository may.
        let place = base.join("place");
        let folder = place.join("clone/folder");
        fs::create_dir_all(folder.join("task")).unwrap();
        fs::write(folder.join("task/program"), "here").unwrap();
        let mut command = with_folders(&[(&folder, place.to_str().unwrap())]);
        command.arg("cat").arg(place.join("task/program"));
        command.arg(place.join("clone/folder/task/program"));
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "herehere");
        assert!(!place.join("task").exists(), "nothing is left in the place");
        fs::remove_dir_all(&base).unwrap();
    }
}
