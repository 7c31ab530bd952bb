//! Memory and descriptors over the time of a phase, and processes that are left after it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use bantam_emulator::Environment;
use procfs::process::Process;

/// One sort of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Runtime,
    Extension,
    /// A child of the runtime: a worker, or a handler.
    Child,
    /// This process, which has the emulator in it.
    Emulator,
}

impl Who {
    /// Resident kB that one may grow by: the largest event or delivery, for which a buffer may be
    /// kept. The emulator keeps records up to a bound, and its heap has holes.
    const fn growth_kb_max(self) -> u64 {
        match self {
            Self::Runtime | Self::Extension | Self::Child => 2_048,
            Self::Emulator => 48 * 1_024,
        }
    }

    /// Descriptors: of the emulator, sockets that are being closed.
    const fn descriptors_max(self) -> u64 {
        match self {
            Self::Runtime | Self::Extension | Self::Child => 2,
            Self::Emulator => 32,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime => "runtime",
            Self::Extension => "extension",
            Self::Child => "child",
            Self::Emulator => "emulator",
        })
    }
}

/// Resident kB and descriptors, around the first tenth of a phase and in its last.
#[derive(Debug, Default)]
pub(crate) struct Health {
    early: BTreeMap<Who, Samples>,
    late: BTreeMap<Who, Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    resident_kb: Vec<u64>,
    descriptors: Vec<u64>,
}

impl Health {
    /// Looks at all processes, if that is due when `done` of the phase are behind: the largest of
    /// each sort counts.
    pub(crate) fn look(&mut self, done: f64, environments: &[Environment]) {
        let samples = match done {
            0.05..=0.2 => &mut self.early,
            0.9.. => &mut self.late,
            _ => return,
        };
        let mut largest: BTreeMap<Who, (u64, u64)> = BTreeMap::new();
        let mut see = |who: Who, pid: u32| {
            if let Some((kb, descriptors)) = look(pid) {
                let seen = largest.entry(who).or_default();
                *seen = (seen.0.max(kb), seen.1.max(descriptors));
            }
        };
        see(Who::Emulator, std::process::id());
        for environment in environments {
            if let Some(pid) = environment.pid {
                see(Who::Runtime, pid);
                for child in children(pid) {
                    see(Who::Child, child);
                }
            }
            for extension in &environment.extensions {
                if let Some(pid) = extension.pid {
                    see(Who::Extension, pid);
                }
            }
        }
        for (who, (kb, descriptors)) in largest {
            let samples = samples.entry(who).or_default();
            samples.resident_kb.push(kb);
            samples.descriptors.push(descriptors);
        }
    }

    /// What has grown.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (who, [early, late]) in self.early_and_late() {
            let limit = who.growth_kb_max();
            if early.0 + limit < late.0 {
                faults.push(format!(
                    "{who}: {} kB resident early, {} kB late, at most {limit} kB more",
                    early.0, late.0
                ));
            }
            let limit = who.descriptors_max();
            if early.1 + limit < late.1 {
                faults.push(format!(
                    "{who}: {} descriptors early, {} late, at most {limit} more",
                    early.1, late.1
                ));
            }
        }
        faults
    }

    /// Resident kB and descriptors, where there are both early and late ones. What leaks is there
    /// at all times, so the least of the late ones count. A large event takes memory for a while,
    /// so the least kB early count, too; and a server that is being started again has no
    /// descriptors for a while, so the most descriptors early count.
    fn early_and_late(&self) -> impl Iterator<Item = (Who, [(u64, u64); 2])> {
        self.early.iter().filter_map(|(who, early)| {
            let late = self.late.get(who)?;
            let kb = |samples: &Samples| samples.resident_kb.iter().min().copied();
            let early = (kb(early)?, *early.descriptors.iter().max()?);
            let late = (kb(late)?, *late.descriptors.iter().min()?);
            Some((*who, [early, late]))
        })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (who, [early, late])) in self.early_and_late().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{who} {} to {} kB, {} to {} fds",
                early.0, late.0, early.1, late.1
            )?;
        }
        Ok(())
    }
}

/// Resident kB and descriptors of a process, if it lives.
fn look(pid: u32) -> Option<(u64, u64)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let kb = process.status().ok()?.vmrss?;
    Some((kb, u64::try_from(process.fd_count().ok()?).ok()?))
}

/// The children of a process, of whichever of its threads.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// The processes that live and have this variable, zombies left out.
pub(crate) fn with_variable(variable: &str) -> Vec<String> {
    let Ok(all) = procfs::process::all_processes() else {
        return Vec::new();
    };
    let all = all.flatten().filter(|process| {
        let variables = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        let mut variables = variables.split(|byte| *byte == 0);
        variables.any(|found| found == variable.as_bytes())
    });
    let named = all.map(|process| {
        let command = process.cmdline().unwrap_or_default().join(" ");
        format!("{} {command}", process.pid)
    });
    named.collect()
}
