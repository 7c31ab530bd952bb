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
