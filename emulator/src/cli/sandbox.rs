//! Layers in `/opt`, a read-only file system, the memory limit: what is different from this machine
//! for the processes of a function, and for them alone.
//!
//! Mounts are made in a namespace of the processes (`mount_namespaces(7)`), by this program in the
//! hidden command `enter`, which then becomes what it starts. Who is not root needs user namespaces
//! for that; a machine that allows none gets a line that says what is missing.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, Stdio};

use bantam_emulator::Config;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};
use procfs::process::Process;
use tempfile::TempDir;
use zip::ZipArchive;

use super::print_error;
use super::rie::extensions;
use super::runtime::check_program;

/// What a function may see and use.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Confinement {
    /// A layer, a zip file or a folder, whose content is in /opt; repeat for more, later ones go
    /// over earlier ones. Its extensions are started
    #[arg(long, value_name = "PATH")]
    layer: Vec<PathBuf>,
    /// Make the file system read-only but for /tmp, as on Lambda
    #[arg(long)]
    read_only: bool,
    /// Kill the function when all its processes have more memory than --memory, as Lambda does
    #[arg(long)]
    enforce_memory: bool,
}

impl Confinement {
    /// The configuration of a function that is confined so, and the folder that `/opt` shows, which
    /// is to live as long as the function.
    ///
    /// # Errors
    ///
    /// A layer cannot be unpacked, or an extension in it not be started; the text names it.
    pub(crate) fn apply(&self, mut config: Config) -> Result<(Config, Option<TempDir>), String> {
        config.enforce_memory = self.enforce_memory;
        let opt = if self.layer.is_empty() {
            None
        } else {
            Some(unpack(&self.layer)?)
        };
        let root = opt.as_ref().map(TempDir::path);
        let Some(launcher) = self.launcher(root) else {
            return Ok((config, opt));
        };
        let found = root.map(|root| extensions(&root.join("extensions")));
        let found = found.unwrap_or_default();
        for extension in &found {
            check_program("layer's extension", extension)?;
        }
        if let Err(reason) = probe(&launcher) {
            // One line, and the function runs as well as it can.
            let missing = match root {
                Some(root) => format!(
                    "the layers are in {}, /opt is this machine's",
                    root.display()
                ),
                None => "the file system is not read-only".to_owned(),
            };
            print_error(format_args!(
                "warning: this machine allows no mounts ({reason}): {missing}"
            ));
            config.extensions.splice(0..0, found);
        } else {
            let names = found.iter().filter_map(|path| path.file_name());
            let inside = names.map(|name| Path::new(EXTENSIONS).join(name));
            config.extensions.splice(0..0, inside);
            config.launcher = launcher;
        }
        Ok((config, opt))
    }

    fn launcher(&self, opt: Option<&Path>) -> Option<Vec<String>> {
        if opt.is_none() && !self.read_only {
            return None;
        }
        let program = std::env::current_exe().ok()?;
        let mut words = vec![program.display().to_string()];
        words.extend(["enter", "--argv0", "{argv0}"].map(String::from));
        if self.read_only {
            words.push("--read-only".to_owned());
        }
        if let Some(opt) = opt {
            words.extend(["--opt".to_owned(), opt.display().to_string()]);
        }
        words.push("--".to_owned());
        Some(words)
    }
}

/// Arguments of `bantam-emulator enter`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `argv[0]` of the program
    #[arg(long)]
    argv0: OsString,
    #[arg(long)]
    read_only: bool,
    /// The folder that /opt shows
    #[arg(long)]
    opt: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the command: this process becomes the program.
///
/// # Errors
///
/// The machine allows no mounts, or the program cannot be started.
pub(crate) fn enter(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    enter_namespace().map_err(|error| format!("no namespace: {error}"))?;
    if let Some(opt) = &args.opt {
        show_in_opt(opt).map_err(|error| format!("cannot mount on /opt: {error}"))?;
    }
    if args.read_only {
        make_read_only()?;
    }
    let (program, rest) = args.command.split_first().ok_or("no program")?;
    let error = Command::new(program).arg0(&args.argv0).args(rest).exec();
    let program = Path::new(program).display();
    Err(format!("cannot start {program}: {error}").into())
}

/// A namespace for mounts, in one for users where the first alone is not allowed.
fn enter_namespace() -> Result<(), Box<dyn Error>> {
    let (user, group) = (getuid(), getgid());
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            // The same user as before, seen from inside (user_namespaces(7)).
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        entered => entered?,
    }
    // Nothing of it is seen outside.
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(())
}

/// Mounts a folder on `/opt`. Folders of this machine's `/opt` stay where the layers have none of
/// the name: an interpreter may live there.
fn show_in_opt(opt: &Path) -> Result<(), Box<dyn Error>> {
    for name in folders_of(Path::new(OPT)) {
        let place = opt.join(&name);
        // The empty ones were made for that.
        if fs::read_dir(&place)?.next().is_none() {
            bind(&Path::new(OPT).join(&name), &place)?;
        }
    }
    bind(opt, Path::new(OPT))?;
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<(), Errno> {
    let none = None::<&str>;
    mount(
        Some(from),
        to,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
}

/// Mounts everything read-only but `/tmp` and what is no storage.
fn make_read_only() -> Result<(), Box<dyn Error>> {
    let tmp = Path::new("/tmp");
    bind(tmp, tmp)?;
    let none = None::<&str>;
    for point in Process::myself()?.mountinfo()? {
        let path = &point.mount_point;
        if WRITABLE.iter().any(|kept| path.starts_with(kept)) {
            continue;
        }
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        // In a namespace for users, what a mount forbids already may not be given up.
        for (name, flag) in KEPT {
            flags.set(flag, point.mount_options.contains_key(name));
        }
        match mount(none, path, none, flags, none) {
            // It lies under another mount.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => {
                let path = path.display();
                return Err(format!("cannot make {path} read-only: {error}").into());
            }
        }
    }
    Ok(())
}

/// Whether the launcher works on this machine, and why it does not.
fn probe(launcher: &[String]) -> Result<(), String> {
    let (program, args) = launcher.split_first().ok_or("no launcher")?;
    let mut command = Command::new(program);
    command.args(args).arg("/bin/true").stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.trim().trim_start_matches("error: ").to_owned())
}

/// Unpacks layers over one another.
fn unpack(layers: &[PathBuf]) -> Result<TempDir, String> {
    if LAYERS_MAX < layers.len() {
        return Err(format!("a function has at most {LAYERS_MAX} layers"));
    }
    remove_left_over(&std::env::temp_dir());
    let opt = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", process::id()))
        .tempdir()
        .map_err(|error| format!("cannot make a folder for layers: {error}"))?;
    let mut room = UNPACKED_BYTES_MAX;
    for layer in layers {
        let unpacked = if layer.is_dir() {
            copy(layer, opt.path(), &mut room)
        } else {
            extract(layer, opt.path(), &mut room)
        };
        unpacked.map_err(|e| format!("cannot unpack the layer {}: {e}", layer.display()))?;
    }
    for name in folders_of(Path::new(OPT)) {
        // A place for what is mounted there.
        fs::create_dir_all(opt.path().join(name)).unwrap_or_default();
    }
    Ok(opt)
}

/// Removes the folders of processes that were killed.
fn remove_left_over(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some((pid, _)) = rest.and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let is_number = pid.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !Path::new("/proc").join(pid).exists() {
            // One of another user stays.
            fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}

fn extract(layer: &Path, to: &Path, room: &mut u64) -> Result<(), Box<dyn Error>> {
    let mut archive = ZipArchive::new(File::open(layer)?)
        .map_err(|error| format!("it is neither a folder nor a zip file: {error}"))?;
    for at in 0..archive.len() {
        take(archive.by_index_raw(at)?.size(), room)?;
    }
    archive.extract(to)?;
    Ok(())
}

fn copy(from: &Path, to: &Path, room: &mut u64) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let place = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&path, &place, room)?;
            continue;
        }
        // A later layer goes over an earlier one.
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &place)?;
        } else {
            take(entry.metadata()?.len(), room)?;
            fs::copy(&path, &place)?;
        }
    }
    Ok(())
}

fn take(bytes: u64, room: &mut u64) -> Result<(), String> {
    let left = room.checked_sub(bytes);
    *room =
        left.ok_or_else(|| format!("layers have at most {UNPACKED_BYTES_MAX} bytes unpacked"))?;
    Ok(())
}

fn folders_of(path: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name()).collect()
}

/// The names of folders with unpacked layers begin so, and go on with the id of this process.
const PREFIX: &str = "bantam-opt-";
const OPT: &str = "/opt";
const EXTENSIONS: &str = "/opt/extensions";
/// "Five layers" (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const LAYERS_MAX: usize = 5;
/// "250 MB ... unzipped", from the same page.
const UNPACKED_BYTES_MAX: u64 = 250 * 1024 * 1024;
/// `/tmp` as on Lambda; the others are no storage.
const WRITABLE: [&str; 4] = ["/tmp", "/dev", "/proc", "/sys"];
/// Options of a mount, by their names in /proc/PID/mountinfo.
const KEPT: [(&str, MsFlags); 6] = [
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
];

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn layers_are_unpacked_over_one_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        for (path, text) in [("bin/a", "folder"), ("b", "folder")] {
            fs::write(folder.path().join(path), text).unwrap();
        }
        let zip = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ZipWriter::new(zip.reopen().unwrap());
        let options = SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file("bin/a", options).unwrap();
        writer.write_all(b"zip").unwrap();
        writer.finish().unwrap();
        let layers = [folder.path().to_owned(), zip.path().to_owned()];
        let opt = unpack(&layers).unwrap();
        let read = |path: &str| fs::read_to_string(opt.path().join(path)).unwrap();
        assert_eq!((read("bin/a"), read("b")), ("zip".into(), "folder".into()));
        let program = extensions(&opt.path().join("bin"));
        assert_eq!(program, [opt.path().join("bin/a")]);
        check_program("program", &program[0]).unwrap();
    }

    #[test]
    fn an_extension_that_is_not_executable_is_named() {
        let layer = tempfile::tempdir().unwrap();
        fs::create_dir(layer.path().join("extensions")).unwrap();
        fs::write(layer.path().join("extensions/orders"), "").unwrap();
        let confinement = Confinement {
            layer: vec![layer.path().to_owned()],
            read_only: false,
            enforce_memory: false,
        };
        let error = confinement.apply(Config::new("/bin/true")).unwrap_err();
        let expected = "extensions/orders is not executable (chmod +x)";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mine = format!("{PREFIX}{}-abc", process::id());
        // The largest id of a process is far smaller.
        let left_over = format!("{PREFIX}4294967295-abc");
        for name in [&left_over, "bantam-opt-x-abc", "other", &mine] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        remove_left_over(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(!folder.path().join(left_over).exists());
    }

    #[test]
    fn a_layer_that_is_none_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no zip").unwrap();
        let error = unpack(&[file.path().to_owned()]).unwrap_err();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
        let many = vec![PathBuf::from("/nowhere"); LAYERS_MAX + 1];
        assert!(unpack(&many).unwrap_err().contains("at most 5"));
        let mut room = 10;
        take(7, &mut room).unwrap();
        assert!(take(4, &mut room).is_err());
    }
}
