//! The phases, and their shares of invocations and time.

use std::net::Ipv4Addr;
use std::time::Duration;

use bantam_emulator::{Config, Initialization};

use crate::actions::Mix;
use crate::load::{Chaos, Load, Verdict};
use crate::programs::Programs;
use crate::{Args, Outcome, telemetry};

/// A phase before it is run.
#[derive(Debug)]
pub(crate) struct Phase {
    name: &'static str,
    invocations: u64,
    limit: Duration,
    seed: u64,
}

pub(crate) const NAMES: [&str; 8] = [
    "plain",
    "extension",
    "processes",
    "restores",
    "workers",
    "http",
    "http-stream",
    "telemetry",
];

/// Thousandths of all invocations, and of the time.
const SHARES: [(u64, u32); 8] = [
    (430, 230),
    (380, 330),
    (10, 80),
    (20, 40),
    (80, 80),
    (40, 50),
    (40, 50),
    (0, 140),
];

/// Those that were asked for. Where they are not all, they have the shares of the others, too.
pub(crate) fn all(args: &Args) -> Vec<Phase> {
    let is_asked = |name: &str| args.phases.is_empty() || args.phases.iter().any(|of| of == name);
    let phases = NAMES.into_iter().zip(SHARES);
    let asked: Vec<_> = phases.filter(|(name, _)| is_asked(name)).collect();
    let whole_invocations: u64 = asked.iter().map(|(_, (share, _))| *share).sum();
    let whole_time: u32 = asked.iter().map(|(_, (_, share))| *share).sum();
    let asked = asked.into_iter().zip(0_u64..);
    asked
        .map(|((name, (invocations, time)), number)| Phase {
            name,
            invocations: args.invocations * invocations / whole_invocations.max(1),
            limit: args.time * time / whole_time.max(1),
            seed: args.seed.wrapping_add(number),
        })
        .collect()
}

pub(crate) fn is_name(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Phase {
    pub(crate) fn run(self, programs: &Programs, args: &Args) -> Outcome<Verdict> {
        if self.name == "telemetry" {
            let config = with_extension(programs);
            return telemetry::run(self.name, config, args.telemetry_mb, self.limit, self.seed);
        }
        let load = Load {
            name: self.name,
            config: with_extension(programs),
            mix: Mix::Gentle,
            chaos: Chaos::Connections,
            callers: 4,
            invocations: self.invocations,
            limit: self.limit,
            seed: self.seed,
            tolerates: &[],
            adds_up: true,
        };
        let load = match self.name {
            "plain" => plain(load),
            "processes" => processes(load),
            "restores" => restores(load),
            "workers" => workers(load),
            "http" | "http-stream" => self.http(programs, load),
            _ => load,
        };
        load.run()
    }

    /// A server has one address, so there is one environment.
    fn http(&self, programs: &Programs, load: Load) -> Load {
        let mut config = Config::new(programs.bantam());
        config.timeout = Duration::from_secs(30);
        config.concurrency_max = 1;
        config.handler = programs
            .example("http_server")
            .to_string_lossy()
            .into_owned();
        let is_streamed = self.name == "http-stream";
        let mode = if is_streamed {
            "response_stream"
        } else {
            "buffered"
        };
        // Every address of 127.0.0.0/8 is this machine.
        let id = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, id[2], id[3], if is_streamed { 2 } else { 1 });
        for (name, value) in [
            ("PATH", "/usr/bin:/bin"),
            ("BANTAM_HANDLER_MODE", "http"),
            ("AWS_LWA_HOST", &host.to_string()),
            ("AWS_LWA_INVOKE_MODE", mode),
        ] {
            config.env.push((name.to_owned(), value.to_owned()));
        }
        Load {
            config,
            mix: if is_streamed {
                Mix::HttpStreamed
            } else {
                Mix::Http
            },
            callers: 1,
            ..load
        }
    }
}

fn with_extension(programs: &Programs) -> Config {
    let mut config = Config::new(programs.example("faulty"));
    config.timeout = Duration::from_secs(30);
    config.concurrency_max = 4;
    config.extensions = vec![programs.bantam()];
    config
}

/// Without an extension and without freezes: as fast as it goes.
fn plain(mut load: Load) -> Load {
    load.config.extensions.clear();
    load.config.freeze = false;
    load
}

fn processes(mut load: Load) -> Load {
    load.config.timeout = Duration::from_secs(1);
    Load {
        mix: Mix::Harsh,
        chaos: Chaos::Processes,
        tolerates: &["Runtime.ExitError", "Sandbox.Timedout"],
        ..load
    }
}

fn restores(mut load: Load) -> Load {
    load.config.initialization = Initialization::SnapStart;
    load.config.restore_gap = Duration::from_millis(5);
    Load {
        chaos: Chaos::Restores,
        adds_up: false,
        ..load
    }
}

fn workers(mut load: Load) -> Load {
    load.config.initialization = Initialization::ManagedInstances;
    load.config.max_concurrency = 4;
    load.config.poll_wait = Duration::from_secs(20);
    load.config.timeout = Duration::from_secs(5);
    Load {
        chaos: Chaos::Workers,
        ..load
    }
}
