//! What all processes of the environment use, as the kernel counts it.
//!
//! It is read only where `BANTAM_SYSTEM_METRICS` asks for it, once in an interval, after the next
//! event was asked for. A figure that the kernel does not give is absent.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::shared::digits::decimal;
use crate::shared::os;

/// What the environment has used so far, or uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct SystemUsage {
    pub(super) cpu: Option<CpuTime>,
    pub(super) network: Option<NetworkBytes>,
    /// Bytes of `/tmp` that are taken.
    pub(super) tmp_used_bytes: Option<u64>,
    pub(super) processes: Option<Processes>,
}

/// The processor time of all processes since the start of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuTime {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

/// Bytes over the network since the start of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NetworkBytes {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// What processes hold now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Processes {
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

/// Asks the kernel.
pub(super) fn now() -> SystemUsage {
    SystemUsage {
        cpu: cpu(),
        network: network(),
        tmp_used_bytes: used_bytes(c"/tmp"),
        processes: processes().ok(),
    }
}

/// The first line of <https://man7.org/linux/man-pages/man5/proc_stat.5.html>.
fn cpu() -> Option<CpuTime> {
    // The line has at most 210 bytes.
    let mut stat = [0; 256];
    let stat = os::read_file(c"/proc/stat", &mut stat).ok()?;
    let mut fields = fields(stat.strip_prefix(b"cpu ")?);
    let mut time = || Some(Duration::from_millis(fields.next()?? * TICK_MS));
    let [user, nice, system] = [time()?, time()?, time()?];
    Some(CpuTime {
        user: user + nice,
        system,
    })
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_net.5.html>, `dev`: the interface of functions
/// on Lambda, and elsewhere all but the one within the machine.
fn network() -> Option<NetworkBytes> {
    // A line has some 130 bytes, and Lambda has four.
    let mut dev = [0; 4_096];
    let dev = os::read_file(c"/proc/net/dev", &mut dev).ok()?;
    Some(network_of(dev))
}

fn network_of(dev: &[u8]) -> NetworkBytes {
    let mut sum = NetworkBytes::default();
    for line in dev.split_inclusive(|byte| *byte == b'\n') {
        // A line that is cut off may end within a number.
        let line = line.strip_suffix(b"\n").unwrap_or_default();
        let Some((name, figures)) = split_at_colon(line) else {
            continue;
        };
        let mut figures = fields(figures).flatten();
        let (Some(received), Some(sent)) = (figures.next(), figures.nth(7)) else {
            continue;
        };
        if name == LAMBDA_INTERFACE {
            return NetworkBytes { received, sent };
        }
        if name != b"lo" {
            sum.received = sum.received.saturating_add(received);
            sum.sent = sum.sent.saturating_add(sent);
        }
    }
    sum
}

fn split_at_colon(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b':', line)?;
    let (name, rest) = line.split_at(at);
    Some((name.trim_ascii(), rest.get(1..)?))
}

/// The numbers of a line between blanks.
fn fields(line: &[u8]) -> impl Iterator<Item = Option<u64>> {
    line.split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .map(decimal)
}

fn used_bytes(folder: &CStr) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_blocks
        .checked_sub(stat.f_bfree)?
        .checked_mul(stat.f_frsize)
}

/// The sums over the processes that this one may look at.
fn processes() -> Result<Processes, Errno> {
    let proc = open(rustix::fs::CWD, c"/proc")?;
    let mut sum = Processes::default();
    let mut left = PROCESSES_MAX;
    each_entry(&proc, |name| {
        let is_process = name.to_bytes().first().is_some_and(u8::is_ascii_digit);
        if !is_process || left == 0 {
            return;
        }
        left -= 1;
        // It may end meanwhile.
        if let Ok(process) = open(&proc, name).and_then(of_process) {
            sum.descriptors += process.descriptors;
            sum.threads += process.threads;
        }
    })?;
    Ok(sum)
}

fn of_process(process: OwnedFd) -> Result<Processes, Errno> {
    Ok(Processes {
        descriptors: entries(&open(&process, c"fd")?)?,
        threads: entries(&open(&process, c"task")?)?,
    })
}

/// How many entries a folder has.
fn entries(folder: &OwnedFd) -> Result<u64, Errno> {
    let mut count = 0;
    each_entry(folder, |name| {
        count += u64::from(name != c"." && name != c"..");
    })?;
    Ok(count)
}

fn open(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn each_entry(folder: &OwnedFd, mut each: impl FnMut(&CStr)) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); 2_048];
    let mut entries = RawDir::new(folder, &mut space);
    while let Some(entry) = entries.next() {
        each(entry?.file_name());
    }
    Ok(())
}

/// The kernel shows times to programs in hundredths of a second, on every architecture of Lambda.
const TICK_MS: u64 = 10;

/// The interface of a function's own connections; others of the machine are the platform's.
const LAMBDA_INTERFACE: &[u8] = b"vinternal_1";

/// Processes that are looked at: Lambda lets an environment have as many.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PROCESSES_MAX: u32 = 1_024;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use procfs::CurrentSI as _;
    use procfs::process::Process;

    use super::*;
    use crate::shared::os::simulation;

    #[test]
    fn processor_time_agrees_with_procfs() {
        let other = || {
            let total = procfs::KernelStats::current().unwrap().total;
            let time = |ms: u64| Duration::from_millis(ms);
            (
                time(total.user_ms() + total.nice_ms()),
                time(total.system_ms()),
            )
        };
        let before = other();
        let CpuTime { user, system } = cpu().unwrap();
        let after = other();
        assert!(before.0 <= user && user <= after.0, "{before:?} {user:?}");
        assert!(before.1 <= system && system <= after.1);
    }

    #[test]
    fn network_bytes_agree_with_procfs() {
        let other = || {
            let devices = procfs::net::dev_status().unwrap();
            assert!(!devices.contains_key("vinternal_1"));
            let others = devices.values().filter(|device| device.name != "lo");
            others.fold((0, 0), |(received, sent), device| {
                (received + device.recv_bytes, sent + device.sent_bytes)
            })
        };
        let before = other();
        let NetworkBytes { received, sent } = network().unwrap();
        let after = other();
        assert!((before.0..=after.0).contains(&received), "{received}");
        assert!((before.1..=after.1).contains(&sent), "{sent}");
    }

    #[test]
    fn a_line_that_is_cut_off_is_not_taken() {
        let whole = "Inter-|   Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n\
            eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n";
        for (last, [received, sent]) in [
            (
                "eth1: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n",
                [1_100, 2_200],
            ),
            ("vinternal_1: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n", [7, 8]),
        ] {
            let dev = [whole, last].concat();
            for cut in whole.len()..dev.len() {
                let (received, sent) = (100, 200);
                let expected = NetworkBytes { received, sent };
                assert_eq!(network_of(&dev.as_bytes()[..cut]), expected, "{cut} bytes");
            }
            assert_eq!(network_of(dev.as_bytes()), NetworkBytes { received, sent });
        }
    }

    #[test]
    fn descriptors_and_threads_agree_with_procfs() {
        let script = "exec 5</dev/null 6</dev/null; echo ready; read line";
        let until_executed = simulation::fork();
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(until_executed);
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let pid = child.id();
        let folder = std::ffi::CString::new(format!("/proc/{pid}")).unwrap();
        let found = of_process(open(rustix::fs::CWD, &folder).unwrap()).unwrap();
        let other = Process::new(pid.cast_signed()).unwrap();
        let expected = Processes {
            descriptors: u64::try_from(other.fd_count().unwrap()).unwrap(),
            threads: u64::try_from(other.stat().unwrap().num_threads).unwrap(),
        };
        assert_eq!(found, expected);
        assert!(5 <= found.descriptors, "{found:?}");
        let all = processes().unwrap();
        assert!(found.descriptors < all.descriptors && found.threads < all.threads);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_taken_of_a_file_system_is_less_than_its_size() {
        let stat = rustix::fs::statvfs("/tmp").unwrap();
        let used = used_bytes(c"/tmp").unwrap();
        assert!(0 < used && used <= stat.f_blocks * stat.f_frsize);
        assert_eq!(used_bytes(c"/not/there"), None);
    }
}
