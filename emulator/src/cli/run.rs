//! `bantam-emulator run`: a function that callers reach over HTTP, or that is invoked with events
//! from files.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bantam_emulator::interrupt::Interrupt;
use bantam_emulator::{Config, Emulator, LogFormat, UrlInvokeMode};

use super::function::{FunctionArgs, at_least_one, read_event};

/// Arguments of `bantam-emulator run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function's program, or a directory with a `bootstrap`
    #[arg(long, value_name = "PATH")]
    function: PathBuf,
    #[command(flatten)]
    given: FunctionArgs,
    /// Port of the Invoke API on 127.0.0.1 [default: any free one]
    #[arg(
        long,
        value_name = "PORT",
        default_value = "0",
        hide_default_value = true
    )]
    port: u16,
    /// The function's name
    #[arg(long, value_name = "NAME", default_value = "function")]
    name: String,
    /// Environments that may exist at once
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    concurrency: usize,
    /// What `AWS_LAMBDA_LOG_FORMAT` asks the function to write; always json on Managed Instances
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: Format,
    /// How the function as a web server gives its responses: the invoke mode of a function URL
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "buffered",
        ignore_case = true
    )]
    invoke_mode: InvokeMode,
    /// Invoke with this event (`-`: stdin), print the response and exit; repeat for more
    #[arg(long, value_name = "FILE")]
    event: Vec<PathBuf>,
    /// The event of the command lines that are printed to invoke the function with [default: {}]
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    sample_event: Option<PathBuf>,
}

/// A log format on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

/// An invoke mode on the command line, in the words of AWS and in any case.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum InvokeMode {
    Buffered,
    ResponseStream,
}

/// Runs the command.
///
/// # Errors
///
/// The emulator cannot start, or an event cannot be read or delivered.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let events = args
        .event
        .iter()
        .map(|path| read_event(path))
        .collect::<Result<Vec<_>, _>>()?;
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        function_name: args.name,
        concurrency_max: args.concurrency,
        log_format: match args.log_format {
            Format::Json => LogFormat::Json,
            Format::Text => LogFormat::Text,
        },
        url_invoke_mode: match args.invoke_mode {
            InvokeMode::Buffered => UrlInvokeMode::Buffered,
            InvokeMode::ResponseStream => UrlInvokeMode::ResponseStream,
        },
        echo_log: true,
        record_bytes_max: RECORD_BYTES_MAX,
        ..args.given.config(&args.function)?
    };
    if let Some(path) = &args.sample_event {
        read_event(path)?;
    }
    let interrupt = Interrupt::install()?;
    if events.is_empty() {
        serve(config, args.sample_event.as_deref(), &interrupt)
    } else {
        invoke(config, &events, &interrupt)
    }
}

/// Serves the function until a signal.
fn serve(
    config: Config,
    sample: Option<&Path>,
    interrupt: &Interrupt,
) -> Result<ExitCode, Box<dyn Error>> {
    let (name, region) = (config.function_name.clone(), config.region.clone());
    let emulator = Emulator::start(config)?;
    let address = emulator.invoke_addr();
    let (data, payload, which) = if let Some(path) = sample {
        let path = quoted(&path.display().to_string());
        (format!("@{path}"), format!("--payload fileb://{path} "), "")
    } else {
        let which = ", here {} (-d @FILE for another)";
        ("'{}'".to_owned(), String::new(), which)
    };
    let text = format!(
        "\
{name} is served at http://{address} until Ctrl-C. Invoke it with an event{which}:

  curl -sS http://{address}/2015-03-31/functions/{name}/invocations -d {data}

  aws lambda invoke --endpoint-url http://{address} --region {region} --no-sign-request \\
    --function-name {name} {payload}/dev/stdout

Or as a web server, if it takes events of API Gateway's HTTP APIs or of function URLs:

  curl -sS http://{address}/

"
    );
    // Whoever reads this may take the first lines and close; the function is served all the same.
    let mut stdout = io::stdout().lock();
    let shown = stdout.write_all(text.as_bytes());
    shown.and_then(|()| stdout.flush()).unwrap_or_default();
    drop(stdout);
    interrupt.wait();
    drop(emulator.stop());
    Ok(ExitCode::SUCCESS)
}

/// A path as a word of a shell.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// Invokes with each event in turn and prints each response on a line of stdout.
fn invoke(
    config: Config,
    events: &[Vec<u8>],
    interrupt: &Interrupt,
) -> Result<ExitCode, Box<dyn Error>> {
    let emulator = Emulator::start(config)?;
    let mut code = ExitCode::SUCCESS;
    for event in events {
        let outcome = emulator.invoke(event.as_slice())?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&outcome.body)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        if outcome.function_error.is_some() {
            code = ExitCode::FAILURE;
        }
        if interrupt.requested() {
            code = ExitCode::FAILURE;
            break;
        }
    }
    drop(emulator.stop());
    Ok(code)
}

/// Nobody reads the transcript and the log of a command: what is kept is for the moment alone.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, expected) in [
            ("events/apigw.json", "events/apigw.json"),
            ("my event.json", "'my event.json'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(path), expected);
        }
    }
}
