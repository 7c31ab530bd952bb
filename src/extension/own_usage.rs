//! What this process has used so far, as the kernel counts it.

use std::time::Duration;

use crate::shared::digits::decimal;
use crate::shared::os::{self, clock};

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OwnUsage {
    /// The processor time of all threads.
    pub(super) cpu_time: Duration,
    /// The most memory that was resident.
    pub(super) peak_memory_bytes: Option<u64>,
}

/// Asks the kernel.
pub(super) fn so_far() -> OwnUsage {
    OwnUsage {
        cpu_time: clock::cpu_time(),
        peak_memory_bytes: peak_memory_bytes(),
    }
}

/// `VmHWM` of <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>, which is in KiB.
fn peak_memory_bytes() -> Option<u64> {
    // It has some 1,500 bytes.
    let mut status = [0; 4_096];
    let status = os::read_file(c"/proc/self/status", &mut status).ok()?;
    let mut lines = status.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"VmHWM:"))?;
    let kib = line.strip_suffix(b"kB")?.trim_ascii();
    decimal(kib)?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_time_and_memory() {
        let usage = so_far();
        assert!(!usage.cpu_time.is_zero());
        assert!(100_000 < usage.peak_memory_bytes.unwrap());
    }
}
