//! What this process costs so far, as the kernel counts it.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::account::OwnCost;

/// Processor time of all threads, and the most memory that was resident.
pub(super) fn so_far() -> OwnCost {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let cpu_ms = cpu.tv_sec as f64 * 1e3 + cpu.tv_nsec as f64 / 1e6;
    OwnCost {
        exec_to_register_ms: None,
        exec_to_ready_ms: None,
        cpu_ms: Some(cpu_ms),
        peak_memory_bytes: peak_memory_bytes(),
    }
}

/// `VmHWM` of <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>, which is in KiB.
fn peak_memory_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) * 1_024.0)
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
