//! The machine that measured: start times mean nothing without it.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The machine that measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Kernel name and release, as in `/proc/sys/kernel/{ostype,osrelease}`.
    pub kernel: String,
    /// The first processor's model as `/proc/cpuinfo` names it, else the architecture.
    pub cpu: String,
    /// Processors this process may run on.
    pub cores: usize,
}

impl Machine {
    /// Reads the figures of this machine; a missing one is "unknown".
    #[must_use]
    pub fn this() -> Self {
        let line = |path: &str| {
            fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let kernel = match (
            line("/proc/sys/kernel/ostype"),
            line("/proc/sys/kernel/osrelease"),
        ) {
            (Some(name), Some(release)) => format!("{name} {release}"),
            (name, release) => name.or(release).unwrap_or_else(|| "unknown".to_owned()),
        };
        let cpu = line("/proc/cpuinfo")
            .and_then(|text| cpu_model(&text).map(str::to_owned))
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self { kernel, cpu, cores }
    }
}

/// In a line.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cpu, cores } = self;
        write!(f, "{kernel}, {cpu}, {cores} cores")
    }
}

/// The model of the first processor in the text of `/proc/cpuinfo`. On arm64 there is no such
/// field.
fn cpu_model(cpuinfo: &str) -> Option<&str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::cpu_model;

    #[test]
    fn the_model_is_the_first_processors() {
        let text = "processor\t: 0\nmodel name\t: One: fast\n\nprocessor\t: 1\nmodel name\t: Two\n";
        assert_eq!(cpu_model(text), Some("One: fast"));
    }

    #[test]
    fn arm_names_no_model() {
        assert_eq!(cpu_model("processor\t: 0\nCPU implementer\t: 0x41\n"), None);
    }
}
