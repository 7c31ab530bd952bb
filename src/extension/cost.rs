//! What this process costs so far, as the kernel counts it.

use rustix::fs::{Mode, OFlags};

use super::account::OwnCost;
use crate::shared::http;
use crate::shared::os::Clock;

/// Processor time of all threads, and the most memory that was resident.
pub(super) fn so_far() -> OwnCost {
    let cpu_ms = super::account::float(Clock::Processor.ns()) / 1e6;
    OwnCost {
        exec_to_register_ms: None,
        exec_to_ready_ms: None,
        cpu_ms: Some(cpu_ms),
        peak_memory_bytes: peak_memory_bytes(),
    }
}

/// `VmHWM` of <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>, which is in KiB.
fn peak_memory_bytes() -> Option<f64> {
    // It has some 1,500 bytes, and the line is in the first third.
    let mut status = [0; 4_096];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/status", flags, Mode::empty()).ok()?;
    let count = rustix::io::read(&file, &mut status).ok()?;
    let mut lines = status.get(..count)?.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"VmHWM:"))?;
    let kib = line.strip_suffix(b"kB")?.trim_ascii();
    Some(super::account::float(http::decimal(kib)?) * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_time_and_memory() {
        let cost = so_far();
        assert!(0.0 < cost.cpu_ms.unwrap());
        assert!(100_000.0 < cost.peak_memory_bytes.unwrap());
    }
}
