//! What this process costs so far, as the kernel counts it.

use rustix::fs::{Mode, OFlags};

use crate::shared::http;
use crate::shared::os::Clock;

/// Milliseconds of processor time of all threads, and the most bytes of memory that were resident.
pub(super) fn so_far() -> (f64, Option<f64>) {
    let cpu_ms = super::account::float(Clock::Processor.ns()) / 1e6;
    (cpu_ms, peak_memory_bytes())
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
        let (cpu_ms, peak_memory_bytes) = so_far();
        assert!(0.0 < cpu_ms);
        assert!(100_000.0 < peak_memory_bytes.unwrap());
    }
}
