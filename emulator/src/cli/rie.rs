//! `bantam-emulator rie`: the command line of AWS's Runtime Interface Emulator, so that the entry
//! point of a container image needs another path and nothing else.
//!
//! github.com/aws/aws-lambda-runtime-interface-emulator

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bantam_emulator::interrupt::Interrupt;
use bantam_emulator::{Config, Emulator, Initialization, Seen};

use super::credentials;
use super::runtime::find_program;
use super::{print_error, start, view};

/// Arguments of `aws-lambda-rie`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where invocations are taken
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    runtime_interface_emulator_address: SocketAddr,
    /// Where the Runtime API listens for the first environment
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001", value_parser = address)]
    runtime_api_address: SocketAddr,
    /// `debug` and `trace` show every step of the lifecycle beside the log; `error` and `fatal`
    /// show neither
    #[arg(
        long,
        value_name = "LEVEL",
        env = "LOG_LEVEL",
        value_enum,
        default_value = "info",
        ignore_case = true
    )]
    log_level: Level,
    /// Taken and not needed: an environment is initialised once
    #[arg(long, hide = true)]
    enable_init_caching: bool,
    /// The program that is the runtime, with its arguments; the last one is the handler
    /// [default: the first of /var/task/bootstrap, /opt/bootstrap and /var/runtime/bootstrap]
    #[arg(
        value_name = "BOOTSTRAP",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// A level of AWS's emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Level {
    Panic,
    Fatal,
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

/// Whether this program was started under the name of AWS's emulator.
pub(crate) fn is_named(argv0: &Path) -> bool {
    let name = argv0.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("aws-lambda-rie")
}

/// Runs the command.
///
/// # Errors
///
/// There is no runtime, or the emulator cannot start.
pub(crate) fn rie(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let interrupt = Interrupt::install()?;
    let shows_log = Level::Error < args.log_level;
    let config = Config {
        echo_log: shows_log,
        ..config(args)?
    };
    let emulator = start(config)?;
    let shows_steps = Level::Debug <= args.log_level;
    let steps = shows_steps.then(|| show_steps(&emulator)).transpose()?;
    if shows_log && !shows_steps {
        view::say_starts(&emulator)?;
    }
    interrupt.wait();
    drop(emulator.stop());
    // The last steps are shown, too.
    if let Some(steps) = steps {
        let _shown = steps.join();
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows every step until the emulator has stopped, those before somebody watched among them.
fn show_steps(emulator: &Emulator) -> io::Result<JoinHandle<()>> {
    let seen = emulator.watch();
    let before = emulator.transcript();
    thread::Builder::new().name("steps".into()).spawn(move || {
        let last = before.last().map(|entry| entry.at);
        for entry in before {
            print_error(&entry);
        }
        for seen in seen {
            match seen {
                Seen::Entry(entry) if last < Some(entry.at) => print_error(&entry),
                Seen::Entry(_) | Seen::Line(_) => {}
            }
        }
    })
}

/// The function as the container and its variables describe it.
fn config(args: &Args) -> Result<Config, String> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str, default: u32| match variable(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|e| format!("{name} is {text}: {e}")),
    };
    let (name, rest) = match args.command.split_first() {
        Some((name, rest)) => (name.clone(), rest),
        None => (default_bootstrap()?, [].as_slice()),
    };
    let program = find_program(&name)
        .ok_or_else(|| format!("the bootstrap {name} is no executable file, nor on PATH"))?;
    let mut config = Config::new(program);
    config.argv0 = name;
    config.args = rest.to_vec();
    let handler = variable("AWS_LAMBDA_FUNCTION_HANDLER").or_else(|| variable("_HANDLER"));
    config.handler = handler.or_else(|| rest.last().cloned()).unwrap_or_default();
    let timeout = Duration::from_secs(number("AWS_LAMBDA_FUNCTION_TIMEOUT", 300)?.into());
    config.timeout = timeout;
    config.init_timeout = timeout;
    config.memory_mb = number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 3_008)?;
    let function = variable("AWS_LAMBDA_FUNCTION_NAME");
    config.function_name = function.unwrap_or_else(|| "test_function".to_owned());
    config.other_names = vec!["function".to_owned()];
    config.function_version =
        variable("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or(config.function_version);
    config.region = variable("AWS_REGION").unwrap_or(config.region);
    config.account_id = "012345678912".to_owned();
    config.credentials = credentials::from_environment();
    config.task_root = match variable("LAMBDA_TASK_ROOT") {
        Some(root) if Path::new(&root).is_dir() => root.into(),
        Some(_) | None => env::current_dir().unwrap_or_else(|_| "/".into()),
    };
    // As on Managed Instances, which AWS's emulator stands for where this is set.
    if variable(MAX_CONCURRENCY).is_some() {
        let count = number(MAX_CONCURRENCY, 1)?;
        config.max_concurrency = usize::try_from(count).unwrap_or(usize::MAX).max(1);
        config.initialization = Initialization::ManagedInstances;
    }
    // The container's variables are the function's, but for the ones that are said above, and for
    // those that are no text.
    let own = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config.env = own
        .filter(|(name, _)| !SET_HERE.contains(&name.as_str()))
        .collect();
    config.extensions = extensions(Path::new("/opt/extensions"));
    config.freeze = false;
    config.listen = args.runtime_interface_emulator_address;
    config.runtime_api = Some(args.runtime_api_address);
    config.record_bytes_max = 1024 * 1024;
    Ok(config)
}

fn default_bootstrap() -> Result<String, String> {
    let places = [
        "/var/task/bootstrap",
        "/opt/bootstrap",
        "/var/runtime/bootstrap",
    ];
    let found = places.iter().find(|place| Path::new(place).is_file());
    found.map(|place| (*place).to_owned()).ok_or_else(|| {
        let places = places.join(", ");
        format!("no bootstrap: name one behind the flags, or put one at {places}")
    })
}

/// The files of the folder, in the order of their names. All are started, also one that is not
/// executable, as AWS's emulator does.
pub(crate) fn extensions(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut programs: Vec<_> = paths.filter(|path| !path.is_dir()).collect();
    programs.sort();
    programs
}

/// Parses an address as Go does: without a host it is any.
fn address(text: &str) -> Result<SocketAddr, String> {
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let port = text.strip_prefix(':').map(str::parse::<u16>);
    match port {
        Some(port) => port
            .map(|port| SocketAddr::new(any, port))
            .map_err(|e| e.to_string()),
        None => text
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|e| format!("expected ADDRESS:PORT: {e}")),
    }
}

const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// Variables that the emulator gives the function itself.
const SET_HERE: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    MAX_CONCURRENCY,
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, expected) in [
            (":8080", Some("0.0.0.0:8080")),
            ("127.0.0.1:1", Some("127.0.0.1:1")),
            ("localhost:9001", Some("127.0.0.1:9001")),
            ("[::1]:80", Some("[::1]:80")),
            ("8080", None),
            (":http", None),
        ] {
            let got = address(text).ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_name_of_the_program_says_whose_command_line_it_is() {
        assert!(is_named(Path::new("/usr/local/bin/aws-lambda-rie")));
        assert!(is_named(Path::new("aws-lambda-rie-arm64")));
        assert!(!is_named(Path::new("/usr/bin/bantam-emulator")));
    }
}
