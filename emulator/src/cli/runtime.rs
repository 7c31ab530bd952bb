//! Functions in Python and Node.js, by the runtime clients that AWS publishes for them.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bantam_emulator::Config;

use super::print_error;

/// A language whose runtime client is installed beside the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// `awslambdaric`, by the first `python3` of PATH
    Python,
    /// `aws-lambda-ric`, in `node_modules` or on PATH
    #[value(name = "nodejs")]
    NodeJs,
}

impl Runtime {
    /// The configuration of a function in a folder, or in a file of the folder that it is in.
    ///
    /// # Errors
    ///
    /// The path leads nowhere, or the client is not installed; the text says how to install it.
    pub(crate) fn config(self, path: &Path, handler: Option<&str>) -> Result<Config, String> {
        let shown = path.display();
        let path = std::path::absolute(path)
            .map_err(|e| format!("cannot find the function {shown}: {e}"))?;
        let folder = if path.is_dir() {
            path.as_path()
        } else if path.is_file() {
            path.parent().unwrap_or_else(|| Path::new("/"))
        } else {
            return Err(format!(
                "the function {shown} is neither a folder nor a file"
            ));
        };
        let stem = path.file_stem().filter(|_| path.is_file());
        let handler = handler.map_or_else(|| self.handler(stem), str::to_owned);
        let (program, args) = match self {
            Self::Python => python(folder)?,
            Self::NodeJs => node(folder)?,
        };
        let mut config = Config::new(&program);
        // A Python finds its packages beside the name that it was started under.
        config.argv0 = program.display().to_string();
        config.args = args;
        config.args.push(handler.clone());
        config.handler = handler;
        config.task_root = folder.to_path_buf();
        // Where AWS's images look for the packages of layers.
        let (name, place) = match self {
            Self::Python => ("PYTHONPATH", "/opt/python"),
            Self::NodeJs => ("NODE_PATH", "/opt/nodejs/node_modules"),
        };
        config.env = vec![(name.to_owned(), place.to_owned())];
        Ok(config)
    }

    /// The handler's name as AWS's console makes it, in the file that was named.
    fn handler(self, stem: Option<&OsStr>) -> String {
        let (file, function) = match self {
            Self::Python => ("lambda_function", "lambda_handler"),
            Self::NodeJs => ("index", "handler"),
        };
        let file = stem.map_or_else(|| file.into(), OsStr::to_string_lossy);
        format!("{file}.{function}")
    }
}

fn python(folder: &Path) -> Result<(PathBuf, Vec<String>), String> {
    let program = find_program("python3").ok_or("python3 is not on PATH")?;
    let module = "awslambdaric";
    // From the folder, which may have the module in it, and without your variables, which the
    // function does not get.
    let mut command = Command::new(&program);
    command
        .env_clear()
        .current_dir(folder)
        .args(["-c", "import awslambdaric"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    if !found {
        let shown = program.display();
        return Err(format!(
            "AWS's runtime client for Python is not installed: {shown} -m pip install {module}"
        ));
    }
    Ok((program, vec!["-m".to_owned(), module.to_owned()]))
}

fn node(folder: &Path) -> Result<(PathBuf, Vec<String>), String> {
    let program = find_program("node").ok_or("node is not on PATH")?;
    let local = folder.ancestors();
    let local = local.map(|folder| folder.join("node_modules/.bin/aws-lambda-ric"));
    let client = local.into_iter().find(|path| path.is_file());
    let client = client.or_else(|| find_program("aws-lambda-ric"));
    let client = client.ok_or_else(|| {
        format!(
            "AWS's runtime client for Node.js is not installed: \
             npm install --prefix {} aws-lambda-ric",
            folder.display()
        )
    })?;
    Ok((program, vec![client.display().to_string()]))
}

/// Checks that a program can be started, which on Lambda is found out at its first start.
pub(crate) fn check_program(what: &str, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let file = fs::metadata(path).map_err(|e| format!("cannot read the {what} {shown}: {e}"))?;
    if !file.is_file() {
        return Err(format!("the {what} {shown} is no file"));
    }
    let head = head(path);
    if let Some([b'P', b'K', 3, 4, ..]) = head {
        return Err(format!(
            "the {what} {shown} is a zip file: unpack it, or give an extension's as a --layer"
        ));
    }
    if file.permissions().mode() & 0o111 == 0 {
        return Err(format!("the {what} {shown} is not executable (chmod +x)"));
    }
    // No error: the kernel may have an interpreter for it (binfmt_misc).
    if let Some(built_for) = head.and_then(architecture)
        && built_for != env::consts::ARCH
    {
        let own = env::consts::ARCH;
        print_error(format_args!(
            "warning: the {what} {shown} is built for {built_for}, and this machine is {own}"
        ));
    }
    Ok(())
}

/// The first bytes of a file that can be read, and has as many.
fn head(path: &Path) -> Option<[u8; 20]> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    Some(head)
}

/// The architecture of a program, by Rust's name; `None` for a script, and for an architecture that
/// Lambda does not have.
const fn architecture(head: [u8; 20]) -> Option<&'static str> {
    // <https://man7.org/linux/man-pages/man5/elf.5.html>
    match head {
        [0x7f, b'E', b'L', b'F', .., 62, 0] => Some("x86_64"),
        [0x7f, b'E', b'L', b'F', .., 183, 0] => Some("aarch64"),
        _ => None,
    }
}

/// An executable by its path, or by its name on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let file = path.metadata().ok().filter(fs::Metadata::is_file);
        file.is_some_and(|file| file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(is_program);
    }
    let folders = env::var_os("PATH")?;
    let mut paths = env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_an_architecture() {
        let of = |path: &Path| head(path).and_then(architecture);
        let own = env::current_exe().unwrap();
        assert_eq!(of(&own), Some(env::consts::ARCH));
        let script = tempfile::NamedTempFile::new().unwrap();
        fs::write(script.path(), "#!/bin/sh\necho no program at all\n").unwrap();
        assert_eq!(of(script.path()), None);
        fs::write(
            script.path(),
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0",
        )
        .unwrap();
        assert_eq!(of(script.path()), Some("aarch64"));
    }

    #[test]
    fn a_zip_file_is_no_program() {
        let zip = tempfile::NamedTempFile::new().unwrap();
        fs::write(zip.path(), b"PK\x03\x04 and the rest of an entry").unwrap();
        let error = check_program("extension", zip.path()).unwrap_err();
        assert!(error.contains("is a zip file"), "{error}");
    }

    #[test]
    fn the_handler_is_named_after_the_file() {
        let app = Some(OsStr::new("app"));
        assert_eq!(Runtime::Python.handler(app), "app.lambda_handler");
        assert_eq!(Runtime::NodeJs.handler(None), "index.handler");
    }

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find_program("/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(find_program("/bin"), None);
        assert_eq!(find_program("no-such-program"), None);
    }
}
