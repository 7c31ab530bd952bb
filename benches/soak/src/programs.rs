//! The programs that are run: what ships, or plain release builds.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those in `folder`; without one they are built.
    pub(crate) fn find(folder: Option<PathBuf>) -> Outcome<Self> {
        let folder = match folder {
            Some(folder) => std::path::absolute(folder)?,
            None => build()?,
        };
        let programs = Self { folder };
        let missing = [
            programs.bantam(),
            programs.example("faulty"),
            programs.example("http_server"),
        ];
        match missing.iter().find(|path| !path.is_file()) {
            Some(path) => Err(format!("{} is not there", path.display()).into()),
            None => Ok(programs),
        }
    }

    /// The stock binary.
    pub(crate) fn bantam(&self) -> PathBuf {
        self.folder.join("bantam")
    }

    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.folder.join("examples").join(name)
    }
}

/// Builds them into the folder that this program was built into.
fn build() -> Outcome<PathBuf> {
    eprintln!("Building the stock binary and its test functions ...");
    let program = env::current_exe()?;
    let folder = program.parent().ok_or("this program is in no folder")?;
    let target = folder
        .parent()
        .ok_or("this program is in no target folder")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--release",
            "--quiet",
            "--locked",
            "--package",
            "bantam",
        ])
        .args([
            "--bin",
            "bantam",
            "--example",
            "faulty",
            "--example",
            "http_server",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(root.ok_or("no workspace")?)
        .stdin(Stdio::null());
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("cargo build ended with {status}").into());
    }
    Ok(target.join("release"))
}
