//! The machine that the figures were taken on.

use std::fs;
use std::process::Command;

use bantam_emulator::measure::Machine;

use crate::programs::run;

/// Kernel, processor and compiler, in a line. What is not known is left out.
pub(crate) fn line() -> String {
    let hypervisor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let flags = text.lines().find(|line| line.starts_with("flags"))?;
        flags
            .split_whitespace()
            .any(|flag| flag == "hypervisor")
            .then(|| "a virtual machine".to_owned())
    });
    let machine = Some(Machine::this().to_string());
    let rustc = version("rustc").map(|version| format!("peers and plain builds with {version}"));
    // The run itself is about one of it; what is above that was other work, which makes times
    // longer.
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| {
        let minutes = text.split(' ').nth(2)?;
        Some(format!(
            "load average of the last 15 minutes {minutes}, 1 of it the run itself"
        ))
    });
    let known = [machine, hypervisor, rustc, load];
    format!(
        "Taken on: {}.",
        known.into_iter().flatten().collect::<Vec<_>>().join(", ")
    )
}

fn version(compiler: &str) -> Option<String> {
    let output = run(Command::new(compiler).arg("--version")).ok()?;
    let text = String::from_utf8(output).ok()?;
    Some(
        text.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" "),
    )
}
