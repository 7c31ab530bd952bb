//! The measured programs, built from source: ours as it ships, the floors in C, the peers.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::process::Subject;

/// Where programs are built and how they are found.
#[derive(Debug)]
pub(crate) struct Workshop {
    root: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
    /// Ours in it.
    pub(crate) folder: PathBuf,
}

/// How a peer is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Cargo's own release profile.
    Release,
    /// Level 3, fat LTO, one codegen unit, abort, stripped.
    Speed,
    /// The same with level z.
    Size,
}

/// All floors: the name of the file, the source, the compiler and what it is told.
const FLOORS: [(&str, &str, &str, &[&str]); 9] = [
    ("next", "start.c", "musl-gcc", &["-static", "-Os"]),
    (
        "register",
        "start.c",
        "musl-gcc",
        &["-static", "-Os", "-DREGISTER"],
    ),
    (
        "ready",
        "start.c",
        "musl-gcc",
        &["-static", "-Os", "-DREADY"],
    ),
    ("echo", "echo.c", "musl-gcc", &["-static", "-O2"]),
    (
        "empty-musl-static",
        "empty.c",
        "musl-gcc",
        &["-static", "-Os"],
    ),
    ("empty-glibc-static", "empty.c", "gcc", &["-static", "-Os"]),
    ("empty-glibc-dynamic", "empty.c", "gcc", &["-Os"]),
    ("next-glibc", "start.c", "gcc", &["-Os"]),
    ("cpuid", "cpuid.c", "musl-gcc", &["-static", "-O2"]),
];

impl Workshop {
    pub(crate) fn open(target: Option<PathBuf>) -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let target = target.unwrap_or_else(|| root.join("target"));
        let folder = target.join("bench");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            root,
            target,
            folder,
        })
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Builds the floors.
    pub(crate) fn floors(&self) -> Outcome<()> {
        let folder = self.folder.join("floor");
        fs::create_dir_all(&folder)?;
        for (name, source, compiler, flags) in FLOORS {
            let mut command = Command::new(compiler);
            command
                .args(flags)
                .args(["-s", "-Wall", "-Wno-unused-result", "-o"])
                .arg(folder.join(name))
                .arg(self.root.join("benches/floor").join(source));
            run(&mut command)?;
        }
        Ok(())
    }

    pub(crate) fn floor(&self, name: &str) -> PathBuf {
        self.folder.join("floor").join(name)
    }

    /// The stock binary, as it ships, under the name of the runtime.
    pub(crate) fn stock(&self) -> Outcome<PathBuf> {
        let script = self.root.join("layer/build");
        run(Command::new(script).env("CARGO_TARGET_DIR", &self.target))?;
        self.named("stock", "bootstrap", &self.shipped().join("bantam"))
    }

    /// The same under the name of an extension.
    pub(crate) fn stock_extension(&self) -> Outcome<PathBuf> {
        self.named("extensions", "bantam", &self.shipped().join("bantam"))
    }

    /// A function on the library, built as the stock binary is, with the role of the runtime alone.
    pub(crate) fn function(&self, binary: &str) -> Outcome<PathBuf> {
        self.function_with(binary, &[])
    }

    /// The same with further arguments for the build.
    pub(crate) fn function_with(&self, binary: &str, args: &[&str]) -> Outcome<PathBuf> {
        self.build_function(binary, args)?;
        self.named(binary, "bootstrap", &self.shipped().join(binary))
    }

    fn build_function(&self, binary: &str, args: &[&str]) -> Outcome<()> {
        let script = self.root.join("layer/build");
        run(Command::new(script)
            .args(["--package", "functions", "--bin", binary])
            .args(args)
            .env("CARGO_TARGET_DIR", &self.target))?;
        Ok(())
    }

    /// A function on the library, built with `layer/build --speed`.
    pub(crate) fn fast_function(&self, binary: &str) -> Outcome<PathBuf> {
        self.build_function(binary, &["--speed"])?;
        let name = format!("{binary}-speed");
        self.named(&name, "bootstrap", &self.shipped().join(&name))
    }

    /// A function on the library, as plain `cargo build --release` makes it.
    pub(crate) fn plain_function(&self, binary: &str) -> Outcome<PathBuf> {
        run(cargo()
            .args([
                "build",
                "--release",
                "--package",
                "functions",
                "--bin",
                binary,
            ])
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(&self.root))?;
        let built = self.target.join("release").join(binary);
        self.named(&format!("plain-{binary}"), "bootstrap", &built)
    }

    /// A program on `lambda_runtime` or `lambda-extension`.
    pub(crate) fn peer(&self, binary: &str, profile: Profile) -> Outcome<PathBuf> {
        self.peer_with(binary, profile, &[])
    }

    /// The same with further arguments for the build.
    pub(crate) fn peer_with(
        &self,
        binary: &str,
        profile: Profile,
        args: &[&str],
    ) -> Outcome<PathBuf> {
        let target = self.target.join("bench-peers");
        let name = match profile {
            Profile::Release => "release",
            Profile::Speed => "speed",
            Profile::Size => "size",
        };
        run(cargo()
            .args(["build", "--locked", "--bin", binary, "--profile", name])
            .args(args)
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(self.root.join("benches/peers")))?;
        let role = if binary == "extension" {
            "peer"
        } else {
            "bootstrap"
        };
        let built = target.join(name).join(binary);
        self.named(&format!("{binary}-{name}"), role, &built)
    }

    /// A peer on the libc that ours is on, with the standard library built from source: what is
    /// left then is not the libc. `None` where the toolchain for it is not installed.
    pub(crate) fn peer_on_musl(&self, binary: &str) -> Outcome<Option<PathBuf>> {
        if !Path::new(DEBIAN_CARGO).exists() || !Path::new(DEBIAN_STD).exists() {
            return Ok(None);
        }
        let target = self.target.join("bench-peers-musl");
        let libraries = target.join("lib");
        fs::create_dir_all(&libraries)?;
        // Static std names libunwind. A linker takes an object under the name of an archive.
        run(Command::new("musl-gcc")
            .args(["-c", "-Os", "-o"])
            .arg(libraries.join("libunwind.a"))
            .arg(self.root.join("benches/peers/unwind.c")))?;
        run(Command::new(DEBIAN_CARGO)
            .args(["build", "--locked", "--bin", binary, "--profile", "speed"])
            .args([
                "--target",
                "x86_64-unknown-linux-musl",
                "-Zbuild-std=std,panic_abort",
            ])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", DEBIAN_RUSTC)
            .env("CARGO_TARGET_DIR", &target)
            .env(
                "RUSTFLAGS",
                format!(
                    "-Clinker=musl-gcc -Clink-self-contained=no -Ctarget-feature=+crt-static \
                     -Crelocation-model=static -L{}",
                    libraries.display()
                ),
            )
            .current_dir(self.root.join("benches/peers")))?;
        let built = target.join("x86_64-unknown-linux-musl/speed").join(binary);
        let role = if binary == "extension" {
            "peer"
        } else {
            "bootstrap"
        };
        Ok(Some(self.named(&format!("{binary}-musl"), role, &built)?))
    }

    /// What `.ci/peers` has installed, in `target/peers` or in `$BANTAM_PEERS`. `None` where it has
    /// not.
    pub(crate) fn installed(&self, program: &str) -> Option<PathBuf> {
        let folder = std::env::var_os("BANTAM_PEERS").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| self.root.join("target/peers"));
        let path = folder.join(program);
        let is_there = path.exists();
        if !is_there {
            eprintln!("Left out: {}, which .ci/peers installs", path.display());
        }
        is_there.then_some(path)
    }

    /// A floor as a subject.
    pub(crate) fn floor_subject(&self, name: &str, file: &str) -> Subject {
        Subject::new(name, self.floor(file))
    }

    /// The stock binary needs an executable that it could run.
    pub(crate) fn with_handler(&self, mut subject: Subject) -> Subject {
        let root = self.root.join("examples").display().to_string();
        subject.env.push(("LAMBDA_TASK_ROOT", root));
        subject.env.push(("_HANDLER", "hello.sh".to_owned()));
        subject
    }

    fn shipped(&self) -> PathBuf {
        self.target.join("layer").join(std::env::consts::ARCH)
    }

    /// A link to a program under the name that tells its role.
    fn named(&self, folder: &str, role: &str, program: &Path) -> Outcome<PathBuf> {
        let folder = self.folder.join("programs").join(folder);
        fs::create_dir_all(&folder)?;
        let link = folder.join(role);
        fs::remove_file(&link).ok();
        symlink(program, &link)?;
        Ok(link)
    }
}

/// Cargo of the toolchain of this directory, whatever ran this program.
fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Runs a command to its end; its output is shown only if it fails.
pub(crate) fn run(command: &mut Command) -> Outcome<Vec<u8>> {
    let name = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", name.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "{} {:?}: {}\n{}{}",
        name.display(),
        command.get_args().collect::<Vec<&OsStr>>(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std";
