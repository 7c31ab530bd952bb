//! Arguments that describe the function, shared by all commands.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use emulator::{Config, Initialization};

/// What the function is given.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FunctionArgs {
    /// _HANDLER
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,
    /// An environment variable of the function; repeat for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Function timeout in seconds
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    timeout: Duration,
    /// Memory size in MB; passed on and reported, not enforced
    #[arg(long, value_name = "MB", default_value = "128")]
    memory: u32,
    /// Working directory and `LAMBDA_TASK_ROOT` [default: the program's directory]
    #[arg(long, value_name = "DIR")]
    task_root: Option<PathBuf>,
    /// An external extension, started before the function under its file's name; repeat for more
    #[arg(long, value_name = "PATH")]
    extension: Vec<PathBuf>,
    /// How environments come to be
    #[arg(long, value_name = "TYPE", value_enum, default_value = "on-demand")]
    initialization: Kind,
    /// Do not stop the function's processes between invocations
    #[arg(long)]
    no_freeze: bool,
}

/// `AWS_LAMBDA_INITIALIZATION_TYPE` on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    OnDemand,
    ProvisionedConcurrency,
    SnapStart,
    #[value(name = "lambda-managed-instances")]
    ManagedInstances,
}

impl FunctionArgs {
    /// The configuration of a function whose program, or whose directory with a `bootstrap`, is `path`.
    pub(crate) fn config(&self, path: &Path) -> Config {
        let program = if path.is_dir() {
            path.join("bootstrap")
        } else {
            path.to_owned()
        };
        let mut config = Config::new(program);
        config.env.clone_from(&self.env);
        config.timeout = self.timeout;
        config.memory_mb = self.memory;
        config.freeze = !self.no_freeze;
        config.extensions.clone_from(&self.extension);
        config.initialization = match self.initialization {
            Kind::OnDemand => Initialization::OnDemand,
            Kind::ProvisionedConcurrency => Initialization::ProvisionedConcurrency,
            Kind::SnapStart => Initialization::SnapStart,
            Kind::ManagedInstances => Initialization::ManagedInstances,
        };
        if let Some(handler) = &self.handler {
            config.handler.clone_from(handler);
        }
        if let Some(task_root) = &self.task_root {
            config.task_root = std::path::absolute(task_root).unwrap_or_else(|_| task_root.clone());
        }
        config
    }
}

/// Reads an event; `-` is stdin.
pub(crate) fn read_event(path: &Path) -> Result<Vec<u8>, String> {
    let read = if path == Path::new("-") {
        let mut event = Vec::new();
        io::stdin().lock().read_to_end(&mut event).map(|_| event)
    } else {
        fs::read(path)
    };
    read.map_err(|error| format!("cannot read the event {}: {error}", path.display()))
}

/// Parses `NAME=VALUE`; the value may be empty and may contain further equals signs.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Parses a positive number of seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|error| format!("expected a number of seconds: {error}"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("expected more than zero seconds".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{seconds, variable};

    #[test]
    fn a_variable_is_split_at_its_first_equals_sign() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b"), pair("A", "b"));
        assert_eq!(variable("A="), pair("A", ""));
        assert_eq!(variable("A=b=c"), pair("A", "b=c"));
        assert!(variable("A").is_err());
        assert!(variable("=b").is_err());
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
