//! `bantam-emulator run`: a function that callers reach over HTTP, or that is invoked with events
//! from files.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bantam_emulator::interrupt::Interrupt;
use bantam_emulator::{
    Config, Emulator, Environment, HttpEvent, Initialization, LogFormat, StreamRate, UrlInvokeMode,
};
use clap::ValueEnum as _;

use super::event::Kind;
use super::function::{FunctionArgs, at_least_one, file_name, read_event};
use super::reload::{self, Files};
use super::sandbox::Confinement;
use super::view::{self, Input};
use super::{print_error, start};

/// Arguments of `bantam-emulator run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The function's program, or a directory with a `bootstrap`
    #[arg(long, value_name = "PATH", required_unless_present = "attach")]
    function: Option<PathBuf>,
    /// Start no process: the function, and each --extension, is started elsewhere, in a debugger
    /// for example, and connects. Nothing times out and nothing is frozen
    #[arg(long, conflicts_with_all = [
        "function", "runtime", "event", "layer", "read_only", "enforce_memory", "concurrency",
    ])]
    attach: bool,
    /// When the files of the function or of an --extension change, start the new ones:
    /// environments end when they run no invocation, and new ones are started
    #[arg(long, conflicts_with_all = ["attach", "event"])]
    watch: bool,
    /// Show the environments, the starts and the log as they change, with keys to act on them;
    /// plain lines where the output is no terminal
    #[arg(long, conflicts_with = "event")]
    view: bool,
    #[command(flatten)]
    given: FunctionArgs,
    #[command(flatten)]
    confinement: Confinement,
    /// Port of the Invoke API and of the function as a web server, on 127.0.0.1 [default: any free
    /// one]
    #[arg(
        long,
        value_name = "PORT",
        default_value = "0",
        hide_default_value = true
    )]
    port: u16,
    /// Port of the Runtime API of the first environment [default: any free one]
    #[arg(long, value_name = "PORT")]
    runtime_api_port: Option<u16>,
    /// The function's name
    #[arg(long, value_name = "NAME", default_value = "function", value_parser = name)]
    name: String,
    /// Environments that may exist at once: an invocation that finds each busy starts one more
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    concurrency: usize,
    /// The format of the platform's lines, and `AWS_LAMBDA_LOG_FORMAT`, which asks the function for
    /// it; always json on Managed Instances
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: Format,
    /// What HTTP requests become: events of a function URL, of an HTTP API (api-gateway-v2) or of a
    /// REST API (api-gateway-v1) of API Gateway
    #[arg(long, value_name = "FRONT", value_enum, default_value = "function-url")]
    http: Front,
    /// The stage of an API of API Gateway, with which every path begins [default: none]
    #[arg(long, value_name = "NAME", value_parser = stage)]
    stage: Option<String>,
    /// How the function as a web server gives its responses: the invoke mode of a function URL
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "buffered",
        ignore_case = true
    )]
    invoke_mode: InvokeMode,
    /// How fast streamed responses are; on AWS 2 MB a second behind the first 6 MB, and behind
    /// 10 MB by a REST API
    #[arg(long, value_name = "RATE", value_enum, default_value = "unlimited")]
    stream_rate: Rate,
    /// Invoke with this event (`-`: stdin), print the response and exit, with 1 if the function
    /// failed; repeat for more, in turn
    #[arg(long, value_name = "FILE")]
    event: Vec<PathBuf>,
    /// The event of the command lines that are printed to invoke the function with: a file, or a
    /// kind that `bantam-emulator event` has [default: {}]
    #[arg(long, value_name = "FILE|KIND", conflicts_with = "event")]
    sample_event: Option<PathBuf>,
}

/// A log format on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

/// A rate of streamed responses on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Rate {
    Unlimited,
    Aws,
}

/// An invoke mode on the command line, in the words of AWS and in any case.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum InvokeMode {
    Buffered,
    ResponseStream,
}

/// A front of functions on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Front {
    FunctionUrl,
    #[value(name = "api-gateway-v2")]
    ApiGatewayV2,
    #[value(name = "api-gateway-v1")]
    ApiGatewayV1,
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
    // The files of the layers live until the end.
    let (mut config, _opt) = args.confinement.apply(args.config()?)?;
    let sample = match &args.sample_event {
        Some(given) => Sample::read(given)?,
        None => Sample::empty(),
    };
    let interrupt = Interrupt::install()?;
    if !events.is_empty() {
        return invoke(config, &events, &interrupt);
    }
    let shows = args.view && io::stdout().is_terminal() && io::stdin().is_terminal();
    config.echo_log = !shows;
    let watched = args.function.as_ref().filter(|_| args.watch);
    let watched = watched.map(|path| args.given.files(path));
    let emulator = Arc::new(start(config.clone())?);
    if shows {
        serve_in_view(&config, &emulator, &sample, watched, &interrupt)?;
    } else {
        serve(&config, &emulator, &sample, watched, &interrupt)?;
    }
    stop(emulator);
    Ok(ExitCode::SUCCESS)
}

/// Ends the environments as Lambda does.
fn stop(mut emulator: Arc<Emulator>) {
    let end = Instant::now() + STOP_BOUND;
    loop {
        match Arc::try_unwrap(emulator) {
            Ok(emulator) => return drop(emulator.stop()),
            // A thread of the view waits for an invocation. If it does not end in time, the end of
            // this process ends the function.
            Err(shared) if Instant::now() < end => emulator = shared,
            Err(_) => return,
        }
        thread::sleep(STOP_PAUSE);
    }
}

impl Args {
    fn config(&self) -> Result<Config, String> {
        let given = match &self.function {
            Some(function) => self.given.config(function)?,
            None => self.given.attached()?,
        };
        if let (InvokeMode::ResponseStream, Front::ApiGatewayV2) = (self.invoke_mode, self.http) {
            return Err(
                "an HTTP API (--http api-gateway-v2) streams no responses: take --http \
                 function-url or api-gateway-v1 with --invoke-mode response_stream"
                    .to_owned(),
            );
        }
        if let (Some(stage), Front::FunctionUrl) = (&self.stage, self.http) {
            return Err(format!(
                "a function URL has no stage: take --http api-gateway-v2 or api-gateway-v1 with \
                 --stage {stage}"
            ));
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Config {
            listen: local(self.port),
            runtime_api: self.runtime_api_port.map(local),
            function_name: self.name.clone(),
            concurrency_max: self.concurrency,
            log_format: match self.log_format {
                Format::Json => LogFormat::Json,
                Format::Text => LogFormat::Text,
            },
            http_event: match self.http {
                Front::FunctionUrl => HttpEvent::FunctionUrl,
                Front::ApiGatewayV2 => HttpEvent::ApiGatewayV2,
                Front::ApiGatewayV1 => HttpEvent::ApiGatewayV1,
            },
            http_stage: self.stage.clone(),
            url_invoke_mode: match self.invoke_mode {
                InvokeMode::Buffered => UrlInvokeMode::Buffered,
                InvokeMode::ResponseStream => UrlInvokeMode::ResponseStream,
            },
            stream_rate: match (self.stream_rate, self.http) {
                (Rate::Unlimited, _) => None,
                (Rate::Aws, Front::FunctionUrl | Front::ApiGatewayV2) => Some(StreamRate::LAMBDA),
                (Rate::Aws, Front::ApiGatewayV1) => Some(StreamRate::API_GATEWAY),
            },
            echo_log: true,
            record_bytes_max: RECORD_BYTES_MAX,
            ..given
        })
    }
}

/// The event of the printed command lines.
struct Sample {
    event: Vec<u8>,
    /// The argument of curl's `-d`.
    data: String,
    /// What writes it to the standard input of the AWS CLI, if that reads it there.
    piped: String,
    /// The argument of the AWS CLI's `--payload`, if there is one. It is a file: text is base64 to
    /// version 2 and raw to version 1.
    payload: Option<String>,
}

impl Sample {
    fn read(given: &Path) -> Result<Self, String> {
        let name = given.to_string_lossy();
        if !given.exists()
            && let Ok(kind) = Kind::from_str(&name, false)
        {
            let printed = format!("{} event {name}", this_program());
            return Ok(Self {
                event: kind.event().as_bytes().to_vec(),
                data: format!("\"$({printed})\""),
                piped: printed + " | ",
                payload: Some("fileb:///dev/stdin".to_owned()),
            });
        }
        if !given.exists() {
            let kinds = Kind::value_variants().iter();
            let kinds = kinds.filter_map(clap::ValueEnum::to_possible_value);
            let kinds: Vec<_> = kinds.map(|kind| kind.get_name().to_owned()).collect();
            let kinds = kinds.join(", ");
            return Err(format!(
                "the event {name} is neither a file nor one of {kinds}"
            ));
        }
        let path = quoted(&name);
        Ok(Self {
            event: read_event(given)?,
            data: format!("@{path}"),
            piped: String::new(),
            payload: Some(format!("fileb://{path}")),
        })
    }

    fn empty() -> Self {
        Self {
            event: b"{}".to_vec(),
            data: "'{}'".to_owned(),
            piped: String::new(),
            payload: None,
        }
    }
}

/// Serves the function until a signal, with plain lines.
fn serve(
    config: &Config,
    emulator: &Arc<Emulator>,
    sample: &Sample,
    watched: Option<Files>,
    interrupt: &Interrupt,
) -> Result<(), Box<dyn Error>> {
    view::say_starts(emulator)?;
    let text = welcome(config, emulator, sample);
    // Whoever reads this may take the first lines and close; the function is served all the same.
    let mut stdout = io::stdout().lock();
    let shown = stdout.write_all(text.as_bytes());
    shown.and_then(|()| stdout.flush()).unwrap_or_default();
    drop(stdout);
    if let Some(files) = watched {
        // A thread that watches keeps no emulator alive.
        let emulator = Arc::downgrade(emulator);
        reload::watch(files, move |changed| {
            if let Some(emulator) = emulator.upgrade() {
                print_error(renewed(&emulator, changed));
            }
        })?;
    }
    interrupt.wait();
    Ok(())
}

/// Serves the function until a signal or a key, in the live view.
fn serve_in_view(
    config: &Config,
    emulator: &Arc<Emulator>,
    sample: &Sample,
    watched: Option<Files>,
    interrupt: &Interrupt,
) -> Result<(), Box<dyn Error>> {
    let inputs = view::inputs();
    for line in welcome(config, emulator, sample).lines() {
        inputs.0.send(Input::Note(line.to_owned()))?;
    }
    if let Some(files) = watched {
        let (emulator, notes) = (Arc::downgrade(emulator), inputs.0.clone());
        reload::watch(files, move |changed| {
            if let Some(emulator) = emulator.upgrade() {
                // The view may be gone already.
                let _unseen = notes.send(Input::Reloaded(renewed(&emulator, changed)));
            }
        })?;
    }
    let title = format!(
        "{} at http://{}",
        config.function_name,
        emulator.invoke_addr()
    );
    view::show(emulator, title, &sample.event, interrupt, inputs)?;
    Ok(())
}

/// Retires the environments, and says so.
fn renewed(emulator: &Emulator, changed: &Path) -> String {
    let name = file_name(changed);
    match emulator.renew() {
        Ok(1) => format!("{name} has changed: 1 environment is retired, new ones start it"),
        Ok(n) => format!("{name} has changed: {n} environments are retired, new ones start it"),
        Err(error) => format!("{name} has changed: {error}"),
    }
}

/// The command lines that reach the function. The first is of the kind that was asked for.
fn welcome(config: &Config, emulator: &Emulator, sample: &Sample) -> String {
    let (name, region) = (&config.function_name, &config.region);
    let address = emulator.invoke_addr();
    let Sample {
        data,
        piped,
        payload,
        ..
    } = sample;
    let which = match payload {
        Some(_) => "",
        None => ", here {} (-d @FILE for another, --sample-event KIND for a real one)",
    };
    let payload = payload.as_ref().map(|text| format!("--payload {text} "));
    let payload = payload.unwrap_or_default();
    let stage = config.http_stage.as_ref().map(|stage| format!("{stage}/"));
    let stage = stage.unwrap_or_default();
    let invoked = format!(
        "  curl -sS http://{address}/2015-03-31/functions/{name}/invocations -d {data}

  {piped}aws lambda invoke --endpoint-url http://{address} --region {region} --no-sign-request \\
    --function-name {name} {payload}/dev/stdout
"
    );
    let opened = format!("  curl -sS http://{address}/{stage}\n");
    let served = format!("{name} is served at http://{address} until Ctrl-C.");
    let text = match config.http_event {
        HttpEvent::FunctionUrl => format!(
            "{served} Invoke it with an event{which}:\n\n{invoked}\nOr as a web server, if it takes \
             events of API Gateway's HTTP APIs or of function URLs:\n\n{opened}\n"
        ),
        HttpEvent::ApiGatewayV1 | HttpEvent::ApiGatewayV2 => format!(
            "{served} Open it in a browser, or:\n\n{opened}\nOr invoke it with an \
             event{which}:\n\n{invoked}\n"
        ),
    };
    let attach = emulator.environments().into_iter().next();
    match attach.filter(|_| config.program.as_os_str().is_empty()) {
        Some(environment) => to_attach(config, &environment) + &text,
        None => text,
    }
}

/// The variables of a function that is started elsewhere, and the extensions that are.
fn to_attach(config: &Config, environment: &Environment) -> String {
    let folder = quoted(&config.task_root.display().to_string());
    let name = &config.function_name;
    let memory = config.memory_mb;
    let extensions = environment.extensions.iter();
    let beside: String = extensions
        .map(|extension| format!(" and the extension {}", extension.name))
        .collect();
    let log_format = match config.log_format {
        LogFormat::Text => "Text",
        LogFormat::Json => "JSON",
    };
    let mut text = format!(
        "\
No process is started. Start the function{beside} yourself, with these variables:

  export AWS_LAMBDA_RUNTIME_API={} AWS_REGION={}
  export AWS_LAMBDA_FUNCTION_NAME={name} AWS_LAMBDA_FUNCTION_VERSION='{}'
  export AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory} _HANDLER={} LAMBDA_TASK_ROOT={folder}
  export AWS_LAMBDA_INITIALIZATION_TYPE={} AWS_LAMBDA_LOG_FORMAT={log_format}
",
        environment.runtime_api,
        config.region,
        config.function_version,
        quoted(&config.handler),
        config.initialization.name(),
    );
    if config.initialization == Initialization::ManagedInstances {
        let count = config.max_concurrency.to_string();
        text.extend(["  export AWS_LAMBDA_MAX_CONCURRENCY=", &count, "\n"]);
    }
    if let Some(metadata) = &environment.metadata {
        let (api, token) = (metadata.api.to_string(), &metadata.token);
        text.extend(["  export AWS_LAMBDA_METADATA_API=", &api]);
        text.extend([" AWS_LAMBDA_METADATA_TOKEN=", token, "\n"]);
    }
    for (name, value) in &config.env {
        text.extend(["  export ", name, "=", &quoted(value), "\n"]);
    }
    text + "\n"
}

/// This program, as its user named it.
fn this_program() -> String {
    let named = env::args_os().next();
    let named = named.unwrap_or_else(|| "bantam-emulator".into());
    quoted(&named.to_string_lossy())
}

/// Parses the name of a function: "can be up to 64 characters in length"
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>).
fn name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !(1..=64).contains(&text.len()) || !text.chars().all(is_part) {
        return Err("expected 1 to 64 letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses a stage: the first part of a path.
fn stage(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_$".contains(c);
    if text.is_empty() || !text.chars().all(is_part) {
        return Err("expected letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
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
    let emulator = start(config)?;
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

/// Shown under the help.
pub(super) const EXAMPLES: &str = "\
The log goes to standard error, responses to --event go to standard output.

Examples:
  bantam-emulator run --function target/debug/orders --event event.json
  bantam-emulator run --function target/debug/orders --watch --view
  bantam-emulator run --function app.py --runtime python --http api-gateway-v2 --port 3000";
/// How long the threads of the view may take to end what they do.
const STOP_BOUND: Duration = Duration::from_secs(2);
const STOP_PAUSE: Duration = Duration::from_millis(10);
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
