//! Finds out why a file cannot be executed.
//!
//! In the init phase one look at the file tells what is not there or not executable. The rest is
//! known when the kernel has refused to execute it, and only then is the file read: the kernel's
//! error numbers name no cause, since a missing interpreter, a missing dynamic loader and a missing
//! file are all "No such file or directory".

use std::error::Error;
use std::ffi::{CStr, CString};
use std::fmt;

use rustix::fs::{Access, FileType, Stat, access, stat};
use rustix::io::Errno;

use crate::shared::os;

/// Why a file cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is none, or the way to it is closed.
    NotFound(Errno),
    /// A folder, a socket or the like.
    NotAFile,
    /// The mode does not allow it, or the file system is mounted with `noexec`.
    NotExecutable,
    /// An ELF program for another architecture than this program's, which has this number.
    Architecture(u16),
    /// A dynamically linked program whose loader is missing.
    Loader(String),
    /// A script whose interpreter cannot be executed.
    Interpreter(String, Box<Self>),
    /// A script whose first line asks `env` for a command that is not on `PATH`.
    Command(String),
    /// A script whose first line ends in a carriage return, which counts as part of a name.
    CarriageReturn(String),
    /// Neither an ELF program nor a script.
    Format,
}

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
enum Head<'a> {
    /// A program of 64 bits, with its architecture and the path of its loader if it has one.
    Elf {
        machine: u16,
        loader: Option<&'a [u8]>,
    },
    /// A program with another layout, which is not looked at.
    OtherElf,
    /// A script.
    Script {
        interpreter: &'a [u8],
        argument: &'a [u8],
    },
    /// Something else.
    Unknown,
}

/// Checks that there is a file to execute, with one system call, because every start waits for it.
///
/// # Errors
///
/// The [`Fault`] of a file that is not there or is not executable.
pub(super) fn executable_file(path: &CStr) -> Result<Stat, Fault> {
    let file = stat(path).map_err(Fault::NotFound)?;
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
        return Err(Fault::NotAFile);
    }
    if file.st_mode & EXECUTABLE == 0 {
        return Err(Fault::NotExecutable);
    }
    Ok(file)
}

/// True if the file is the program of this process, under any name.
pub(super) fn is_this_program(file: &Stat) -> bool {
    stat("/proc/self/exe")
        .is_ok_and(|this| (this.st_dev, this.st_ino) == (file.st_dev, file.st_ino))
}

/// Looks for the reason why the kernel, or `env`, did not execute `path`. `folders` are those of
/// `PATH`. A file that cannot be read gives no reason: a program need not be readable.
pub(super) fn diagnose(path: &CStr, folders: &[&[u8]]) -> Option<Fault> {
    look(path, folders, 0).err()
}

fn look(path: &CStr, folders: &[&[u8]], depth: usize) -> Result<(), Fault> {
    executable_file(path)?;
    access(path, Access::EXEC_OK).map_err(|_refused| Fault::NotExecutable)?;
    let mut buffer = [0; HEAD_BYTES];
    let Ok(head) = os::read_file(path, &mut buffer) else {
        return Ok(());
    };
    match parse(head) {
        Head::Elf { machine, .. } if machine != OWN_MACHINE => Err(Fault::Architecture(machine)),
        Head::Elf {
            loader: Some(loader),
            ..
        } => {
            let found = stat(loader).map(|_| ());
            found.map_err(|_missing| Fault::Loader(text(loader)))
        }
        Head::Elf { .. } | Head::OtherElf => Ok(()),
        Head::Script {
            interpreter,
            argument,
        } => {
            // The kernel follows only a few of them, and a script that is its own interpreter has
            // no end.
            if depth < INTERPRETERS_MAX {
                let path = CString::new(interpreter).unwrap_or_default();
                look(&path, folders, depth + 1)
                    .map_err(|fault| in_first_line(interpreter, fault))?;
            }
            check_env(interpreter, argument, folders)
        }
        Head::Unknown => Err(Fault::Format),
    }
}

fn in_first_line(interpreter: &[u8], fault: Fault) -> Fault {
    if interpreter.ends_with(b"\r") && matches!(fault, Fault::NotFound(_)) {
        Fault::CarriageReturn(text(interpreter))
    } else {
        Fault::Interpreter(text(interpreter), Box::new(fault))
    }
}

/// Checks the form `#!/usr/bin/env NAME`. Options and variables in place of the name are left
/// alone.
fn check_env(interpreter: &[u8], name: &[u8], folders: &[&[u8]]) -> Result<(), Fault> {
    let is_name = |byte: &u8| !matches!(byte, b'=' | b'/');
    if folders.is_empty()
        || !interpreter.ends_with(b"/env")
        || name.is_empty()
        || name.starts_with(b"-")
        || !name.iter().all(is_name)
    {
        return Ok(());
    }
    let is_in = |folder: &&[u8]| stat([*folder, b"/", name].concat()).is_ok();
    if folders.iter().any(is_in) {
        Ok(())
    } else if name.ends_with(b"\r") {
        Err(Fault::CarriageReturn(text(name)))
    } else {
        Err(Fault::Command(text(name)))
    }
}

/// A path for a message.
fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path.trim_ascii_end()).into_owned()
}

/// Takes the first bytes of a file apart, as the kernel would.
///
/// The format of ELF: <https://man7.org/linux/man-pages/man5/elf.5.html>; of a first line:
/// <https://man7.org/linux/man-pages/man2/execve.2.html>.
fn parse(head: &[u8]) -> Head<'_> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let end = line.iter().position(|byte| *byte == b'\n');
        let line = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = line.iter().position(|byte| !is_space(byte));
        let line = line.get(start.unwrap_or(line.len())..).unwrap_or_default();
        let end = line.iter().position(is_space).unwrap_or(line.len());
        let (interpreter, rest) = line.split_at(end);
        let trimmed = |byte: &u8| !is_space(byte);
        let start = rest.iter().position(trimmed).unwrap_or(rest.len());
        let end = rest
            .iter()
            .rposition(trimmed)
            .map_or(start, |last| last + 1);
        if interpreter.is_empty() {
            return Head::Unknown;
        }
        return Head::Script {
            interpreter,
            argument: rest.get(start..end).unwrap_or_default(),
        };
    }
    if !head.starts_with(b"\x7fELF") {
        return Head::Unknown;
    }
    // 64 bits, little-endian: the classes of the architectures that Lambda has.
    if head.get(4..6) != Some(&[2, 1]) {
        return Head::OtherElf;
    }
    let Some(machine) = number(head, 18, 2).and_then(|machine| u16::try_from(machine).ok()) else {
        return Head::OtherElf;
    };
    Head::Elf {
        machine,
        loader: loader(head),
    }
}

/// The path in the program header of type `PT_INTERP`, if it is among the first bytes.
fn loader(head: &[u8]) -> Option<&[u8]> {
    let (table, size, count) = (
        number(head, 32, 8)?,
        number(head, 54, 2)?,
        number(head, 56, 2)?,
    );
    let entry = (0..count)
        .map(|index| table.checked_add(index.checked_mul(size)?))
        .map_while(|entry| entry.filter(|entry| number(head, *entry, 4).is_some()))
        .find(|entry| number(head, *entry, 4) == Some(PT_INTERP))?;
    let start = number(head, entry + 8, 8)?;
    let end = start.checked_add(number(head, entry + 32, 8)?)?;
    let path = head.get(start..end)?;
    let end = path.iter().position(|byte| *byte == 0)?;
    path.get(..end)
}

/// The little-endian number of `length` bytes at a place.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let digits = bytes.iter().rev();
    let value = digits.fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

fn architecture(machine: u16) -> &'static str {
    match machine {
        EM_X86_64 => "x86_64",
        EM_AARCH64 => "arm64",
        _ => "another architecture",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(Errno::NOENT) => f.write_str("not found"),
            Self::NotFound(error) => f.write_str(&os::error_text(*error)),
            Self::NotAFile => f.write_str("not a file"),
            Self::NotExecutable => f.write_str("not executable: chmod +x"),
            Self::Architecture(machine) => write!(
                f,
                "Exec format error: it is a program for {}, and the architecture here is {}",
                architecture(*machine),
                architecture(OWN_MACHINE)
            ),
            Self::Loader(path) => write!(
                f,
                "its dynamic loader {path} is missing: link the program statically, or build it for \
                 this system"
            ),
            Self::Interpreter(path, fault) => {
                write!(f, "the interpreter in its first line, {path}, is {fault}")
            }
            Self::Command(name) => {
                write!(f, "its first line asks for {name}, which is not on PATH")
            }
            Self::CarriageReturn(name) => write!(
                f,
                "its first line ends in a carriage return behind {name}: save the script with \
                 Unix line ends"
            ),
            Self::Format => f.write_str(
                "Exec format error: it is neither an ELF program nor a script, which needs a first \
                 line like #!/bin/sh",
            ),
        }
    }
}

impl Error for Fault {}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

const OWN_MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    EM_AARCH64
} else {
    EM_X86_64
};

/// The type of a program header that holds the path of the dynamic loader.
const PT_INTERP: usize = 3;

/// The bits of a mode that let the owner, the group or others execute the file.
const EXECUTABLE: u32 = 0o111;

/// Bytes of a file that are looked at. Linkers put the program headers and the path of the loader
/// into the first thousand.
const HEAD_BYTES: usize = 4096;

/// Interpreters that are scripts themselves. The kernel gives up at the same number.
const INTERPRETERS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn script<'a>(interpreter: &'a str, argument: &'a str) -> Head<'a> {
        Head::Script {
            interpreter: interpreter.as_bytes(),
            argument: argument.as_bytes(),
        }
    }

    /// An ELF file of 64 bits with a second program header that names a loader.
    fn elf(machine: u16, loader: &str) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        file.resize(64 + 2 * 56, 0);
        file[64] = 1;
        let entry = 64 + 56;
        file[entry] = 3;
        file[entry + 8] = u8::try_from(file.len()).unwrap();
        file[entry + 32] = u8::try_from(loader.len() + 1).unwrap();
        file.extend_from_slice(loader.as_bytes());
        file.push(0);
        file
    }

    #[test]
    fn first_lines_are_read_as_the_kernel_reads_them() {
        let table = [
            ("#!/bin/sh\necho", script("/bin/sh", "")),
            ("#!/bin/sh", script("/bin/sh", "")),
            ("#! \t/bin/sh -e -u \n", script("/bin/sh", "-e -u")),
            ("#!/bin/sh\t-e\n", script("/bin/sh", "-e")),
            ("#!/bin/bash\r\n", script("/bin/bash\r", "")),
            (
                "#!/usr/bin/env python3\r\n",
                script("/usr/bin/env", "python3\r"),
            ),
            ("#!\n/bin/sh", Head::Unknown),
            ("#!", Head::Unknown),
            ("echo no first line", Head::Unknown),
            ("", Head::Unknown),
            ("\x7fELF", Head::OtherElf),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn an_elf_program_has_an_architecture_and_a_loader() {
        let file = elf(183, "/lib/ld-linux-aarch64.so.1");
        let expected = Head::Elf {
            machine: 183,
            loader: Some(b"/lib/ld-linux-aarch64.so.1"),
        };
        assert_eq!(parse(&file), expected);
        for length in 0..file.len() {
            match parse(&file[..length]) {
                Head::Unknown => assert!(length < 4),
                Head::OtherElf => assert!(length < 20),
                Head::Elf { loader, .. } => assert_eq!(loader, None, "{length}"),
                Head::Script { .. } => panic!("{length}"),
            }
        }
        let mut narrow = file;
        narrow[4] = 1;
        assert_eq!(parse(&narrow), Head::OtherElf);
    }

    #[test]
    fn numbers_that_lead_out_of_the_file_are_no_loader() {
        let good = elf(62, "/lib/loader");
        for place in [32, 54, 56, 64 + 56 + 8, 64 + 56 + 32] {
            for value in [0, 1, 0x7F, 0xFF] {
                for width in 1..=8 {
                    let mut file = good.clone();
                    for byte in &mut file[place..place + width] {
                        *byte = value;
                    }
                    parse(&file);
                }
            }
        }
    }

    fn c_path(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    /// Checks a file with these bytes and this mode.
    fn checked(bytes: &[u8], mode: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handler");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let folders = [b"/usr/bin".as_slice(), b"/bin"];
        let fault = diagnose(&c_path(&path), &folders);
        fault.map_or_else(|| "good".to_owned(), |fault| fault.to_string())
    }

    #[test]
    fn scripts_are_checked_down_to_their_interpreter() {
        let line_end = "its first line ends in a carriage return behind";
        let table = [
            ("#!/bin/sh\n", "good"),
            ("#!/usr/bin/env sh\n", "good"),
            ("#!/usr/bin/env -S no-such-command\r\n", "good"),
            ("#!/usr/bin/env A=1\n", "good"),
            (
                "#!/no/such/interpreter -x\n",
                "the interpreter in its first line, /no/such/interpreter, is not found",
            ),
            (
                "#!/tmp\n",
                "the interpreter in its first line, /tmp, is not a file",
            ),
            ("#!/bin/sh\r\n", &format!("{line_end} /bin/sh")),
            ("#!/usr/bin/env sh\r\n", &format!("{line_end} sh")),
            (
                "#!/usr/bin/env no-such-command\n",
                "its first line asks for no-such-command, which is not on PATH",
            ),
            ("echo\n", "needs a first line like #!/bin/sh"),
            ("", "needs a first line like #!/bin/sh"),
        ];
        for (text, expected) in table {
            let found = checked(text.as_bytes(), 0o755);
            assert!(found.contains(expected), "{text:?}: {found}");
        }
        assert_eq!(checked(b"#!/bin/sh\n", 0o644), "not executable: chmod +x");
    }

    #[test]
    fn programs_are_checked_for_their_architecture_and_loader() {
        let own = OWN_MACHINE;
        let other = EM_X86_64 ^ EM_AARCH64 ^ own;
        let found = checked(&elf(other, "/no/such/loader"), 0o755);
        let expected = [
            "Exec format error: it is a program for ",
            architecture(other),
            ", and the architecture here is ",
            architecture(own),
        ];
        assert_eq!(found, expected.concat());
        let found = checked(&elf(own, "/no/such/loader"), 0o755);
        let expected = "its dynamic loader /no/such/loader is missing";
        assert!(found.starts_with(expected), "{found}");
        assert_eq!(checked(&elf(own, "/"), 0o755), "good");
        // Without program headers, as a program that is linked statically has no loader.
        assert_eq!(checked(elf(own, "").get(..64).unwrap(), 0o755), "good");
        // A narrow program may run or not.
        let mut narrow = elf(other, "");
        narrow[4] = 1;
        assert_eq!(checked(&narrow, 0o755), "good");
    }

    #[test]
    fn what_is_no_executable_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nothing");
        let text = folder.path().join("text");
        std::fs::write(&text, "").unwrap();
        let table = [
            (folder.path(), Fault::NotAFile),
            (&missing, Fault::NotFound(Errno::NOENT)),
            (&text, Fault::NotExecutable),
        ];
        for (path, fault) in table {
            assert_eq!(executable_file(&c_path(path)).unwrap_err(), fault);
        }
    }

    #[test]
    fn this_program_is_known_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &link).unwrap();
        for (path, expected) in [(&*link, true), (Path::new("/bin/sh"), false)] {
            let file = executable_file(&c_path(path)).unwrap();
            assert_eq!(is_this_program(&file), expected, "{}", path.display());
        }
    }

    #[test]
    fn a_script_may_not_be_its_own_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loop");
        std::fs::write(&path, format!("#!{}\n", path.display())).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        // The kernel's error says so. What counts is that this comes to an end.
        assert_eq!(diagnose(&c_path(&path), &[]), None);
    }
}
