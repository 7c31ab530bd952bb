//! What asks the system, and is the same for both roles.

pub(crate) mod blocking;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod reexec;
pub(crate) mod resolve;
#[cfg(test)]
pub(crate) mod simulation;
pub(crate) mod start;

pub(crate) use self::clock::now;

use std::ffi::{CStr, OsString};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The value that a variable of this process had when it was first asked for one.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.variable(name);
    }
    let mut variables = variables().iter();
    let (_, value) = variables.find(|(known, _)| known == name)?;
    Some(value.clone())
}

/// The variables as they were then. A start asks for some thirty of them, and each time the libc
/// would look through all: they are read once.
pub(crate) fn variables() -> &'static [(OsString, OsString)] {
    static VARIABLES: LazyLock<Vec<(OsString, OsString)>> =
        LazyLock::new(|| std::env::vars_os().collect());
    &VARIABLES
}

/// The first bytes of a file, as many as there is room for.
///
/// `std::fs::read` would ask for its size first, through functions that are looked up by name.
///
/// # Errors
///
/// Those of `open` and `read`.
pub(crate) fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut length = 0;
    while let Some(space @ [_, ..]) = buffer.get_mut(length..) {
        match rustix::io::read(&file, space)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Ends the process.
///
/// `std::process::exit` would first write out what `print!` holds back while its line has no end,
/// and with that come 6 KB: the code that tears down the standard library.
#[expect(unsafe_code, reason = "the standard library's exit is 6 KB")]
pub(crate) fn exit(code: u8) -> ! {
    #[cfg(test)]
    if simulation::here().is_some() {
        simulation::End::Exit(code).take();
    }
    // SAFETY: it asks for nothing, and does not come back.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Bytes that nobody guesses, the same for the life of this program: half of those that the kernel
/// draws for each program it starts (`AT_RANDOM`, getauxval(3)). They are in memory already, so
/// they cost no system call, and unlike those of `getrandom` they are there however early that is.
/// musl makes its stack guard of the other half.
///
/// Zeroes before Linux 2.6.29.
#[cfg(feature = "extension")]
#[expect(unsafe_code, reason = "nothing safe leads to the auxiliary vector")]
pub(crate) fn random() -> [u8; 8] {
    // SAFETY: it only reads the vector, which nobody changes.
    let address = unsafe { libc::getauxval(libc::AT_RANDOM) };
    let address = usize::try_from(address).unwrap_or(0);
    let bytes = std::ptr::with_exposed_provenance::<[[u8; 8]; 2]>(address);
    // SAFETY: the address is null, or of 16 bytes of the initial stack, which are there for as long
    // as the program and are not written. Bytes need no alignment.
    let halves = unsafe { bytes.as_ref() };
    halves.map_or([0; 8], |[_, second]| *second)
}

/// Waits for as long as `left`, or for ever; how many of the descriptors have something to say.
///
/// # Errors
///
/// Those of `poll`: above all that a signal has cut it short.
#[inline(never)]
pub(crate) fn poll(fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<usize, Errno> {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.poll(fds, left);
    }
    // A time that is too long to be said is for ever.
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    rustix::event::poll(fds, left.as_ref())
}

/// Pauses. A signal cuts it short, which does no harm where it is used.
pub(crate) fn sleep(pause: Duration) {
    #[cfg(test)]
    if let Some(system) = simulation::here() {
        return system.sleep(pause);
    }
    poll(&mut [], Some(pause)).ok();
}

/// The error of the last call of a C function that failed on this thread.
pub(crate) fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// What an error number means.
pub(crate) fn error_text(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}
