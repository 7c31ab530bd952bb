//! The settings of an emulator: the function, its limits, and one invocation's input.

pub(crate) mod telemetry;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::telemetry::TelemetryOptions;
use crate::fault::Fault;

/// The format of the function's log, passed to it as `AWS_LAMBDA_LOG_FORMAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain text lines.
    #[default]
    Text,
    /// One JSON object a line; only then is `AWS_LAMBDA_LOG_LEVEL` set.
    Json,
}

/// How environments come to be: `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initialization {
    /// An environment is made when an invocation finds none that is free.
    #[default]
    OnDemand,
    /// An environment is made ahead of demand, by [`Emulator::prepare`](crate::Emulator::prepare).
    ProvisionedConcurrency,
    /// The init phase ends in a snapshot: the processes are frozen, and thawed after
    /// [`Config::restore_gap`] when the first invocation restores them.
    SnapStart,
    /// An environment runs up to [`Config::max_concurrency`] invocations at once, is never frozen
    /// and ends with its first process. Extensions get no `INVOKE` event, the log is JSON, and the
    /// function timeout ends the caller's wait alone.
    ManagedInstances,
}

impl Initialization {
    /// The value of `AWS_LAMBDA_INITIALIZATION_TYPE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::ProvisionedConcurrency => "provisioned-concurrency",
            Self::SnapStart => "snap-start",
            Self::ManagedInstances => "lambda-managed-instances",
        }
    }
}

/// What a caller's HTTP request becomes, and how the response of the function is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpEvent {
    /// As by a function URL: payload format 2.0.
    #[default]
    FunctionUrl,
    /// As by an HTTP API of API Gateway with its default route: payload format 2.0.
    ApiGatewayV2,
    /// As by a REST API of API Gateway with a greedy proxy resource: payload format 1.0.
    ApiGatewayV1,
}

impl HttpEvent {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FunctionUrl => "function URL",
            Self::ApiGatewayV2 => "HTTP API",
            Self::ApiGatewayV1 => "REST API",
        }
    }
}

/// How a function URL gives the response: its invoke mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlInvokeMode {
    /// `BUFFERED`: when it is complete.
    #[default]
    Buffered,
    /// `RESPONSE_STREAM`: while the function sends it. A response that the function does not stream
    /// is the body as it is.
    ResponseStream,
}

/// AWS credentials of the function's processes.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, which keys that do not expire are without.
    pub session_token: Option<String>,
}

/// A secret is in no log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// How fast a streamed response goes to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRate {
    /// What goes as fast as it comes.
    pub burst_bytes: u64,
    /// The rate behind that.
    pub bytes_per_second: u64,
}

impl StreamRate {
    /// The rate of `InvokeWithResponseStream` and of function URLs
    /// (docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html), with the bytes
    /// of aws-lambda-runtime-interface-emulator.
    pub const LAMBDA: Self = Self {
        burst_bytes: 6 * 1024 * 1024,
        bytes_per_second: 2 * 1024 * 1024,
    };
    /// The rate of REST APIs of API Gateway
    /// (docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html).
    pub const API_GATEWAY: Self = Self {
        burst_bytes: 10 * 1024 * 1024,
        ..Self::LAMBDA
    };
}

/// The function and the environment it is given.
#[derive(Clone, Debug)]
pub struct Config {
    /// The executable. Empty means attach mode: no process is started, the emulator waits for a
    /// runtime that someone starts by hand to connect to the Runtime API address.
    pub program: PathBuf,
    /// `argv[0]` of the process.
    pub argv0: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// A command that starts the runtime and the extensions: its program and first arguments,
    /// behind which come the path of what it has to start and the arguments of that. It has to
    /// become that program (execve(2)), as env(1), taskset(1) and strace(1) do. Empty: they are
    /// started directly.
    pub launcher: Vec<String>,
    /// External extensions, started in this order before the runtime. The name an extension
    /// registers with has to be its file's. In attach mode they are not started either: each is
    /// waited for under its file's name.
    pub extensions: Vec<PathBuf>,
    /// The Telemetry API. Managed Instances take the newest schema version only.
    pub telemetry: TelemetryOptions,
    /// How environments come to be.
    pub initialization: Initialization,
    /// The working directory, and `LAMBDA_TASK_ROOT`.
    pub task_root: PathBuf,
    /// `_HANDLER`; `bootstrap` by default, as a function that is its own runtime has it.
    pub handler: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, and the name the Invoke API answers to.
    pub function_name: String,
    /// Further names the Invoke API answers to.
    pub other_names: Vec<String>,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub function_version: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` in MB.
    pub memory_mb: u32,
    /// Whether the runtime is killed when all processes together have more than that. It is looked
    /// at every 10 ms while an init or an invocation runs.
    pub enforce_memory: bool,
    /// The ids of the availability zones that environments are in, in turn; a restore moves an
    /// environment to the next one. Without any there is no metadata endpoint and none of its
    /// variables.
    pub availability_zones: Vec<String>,
    /// `AWS_REGION` and the region in the function's ARN.
    pub region: String,
    /// The account in the function's ARN, twelve digits.
    pub account_id: String,
    /// The AWS credentials; without any, the processes get the ones of AWS's documentation, which
    /// no service takes.
    pub credentials: Option<Credentials>,
    /// The function's own environment variables. Nothing is inherited from the emulator.
    pub env: Vec<(String, String)>,
    /// The function timeout.
    pub timeout: Duration,
    /// How long after its deadline an invocation is ended. It is zero on AWS. The test of a runtime
    /// that gives up shortly before the deadline needs more: a busy machine may run it late.
    pub deadline_grace: Duration,
    /// The limit of the init phase on demand. Elsewhere it is thirteen times as long (130 s for
    /// 10 s), or as long as the function timeout if that is longer.
    pub init_timeout: Duration,
    /// How long a snapshot is kept frozen at least before it is restored. Processes see the wall
    /// clock jump by as much.
    pub restore_gap: Duration,
    /// The limit of a restore, with the runtime's hooks after it.
    pub restore_timeout: Duration,
    /// How long the runtime may take after SIGTERM, beside an external extension. With internal
    /// extensions alone it has the 500 ms of the whole shutdown, on Managed Instances 600 ms, and
    /// without an extension it is killed at once.
    pub runtime_shutdown: Duration,
    /// How many environments may exist at once.
    pub concurrency_max: usize,
    /// `AWS_LAMBDA_MAX_CONCURRENCY`: how many invocations an environment of Managed Instances runs
    /// at once.
    pub max_concurrency: usize,
    /// How many `next` calls wait in the queue of an environment of Managed Instances; a further
    /// one is answered with 500.
    pub polls_max: usize,
    /// How long an invocation on Managed Instances waits for a `next` where fewer than
    /// [`Config::max_concurrency`] run, before it is throttled: a worker may be about to ask.
    pub poll_wait: Duration,
    /// Whether the processes are stopped between invocations.
    pub freeze: bool,
    /// The log format. On Managed Instances it is [`LogFormat::Json`], whatever stands here.
    pub log_format: LogFormat,
    /// The log level, passed on when the format is [`LogFormat::Json`].
    pub log_level: Option<String>,
    /// The event that an HTTP request becomes, where the function is a web server.
    pub http_event: HttpEvent,
    /// The stage of the API, the first part of every path. Without one, paths have no such part, as
    /// in the default stage of an HTTP API and behind a domain name of one's own.
    pub http_stage: Option<String>,
    /// How the function as a web server gives its responses.
    pub url_invoke_mode: UrlInvokeMode,
    /// How fast a streamed response goes to its caller; as fast as it comes where it is `None`.
    pub stream_rate: Option<StreamRate>,
    /// Where the Invoke API listens.
    pub listen: SocketAddr,
    /// Where the Runtime API of the first environment listens; the others listen on its address and
    /// any free port. `None`: all do so on the address of the Invoke API.
    pub runtime_api: Option<SocketAddr>,
    /// Faults planted from the start.
    pub faults: Vec<Fault>,
    /// Print every log line to stderr as it comes.
    pub echo_log: bool,
    /// The transcript and the log keep this many bytes each, about: beyond that the oldest entries
    /// go.
    pub record_bytes_max: usize,
    /// Events longer than this go out chunked, without `Content-Length`.
    pub chunk_above_bytes: usize,
    /// The bound on every wait of this API that no other limit bounds sooner.
    pub wait_max: Duration,
}

impl Config {
    /// The defaults of a Lambda function that runs `program`, in the program's folder.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let program = std::path::absolute(&program).unwrap_or(program);
        let task_root = match program.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            Some(_) | None => PathBuf::from("/"),
        };
        Self {
            program,
            argv0: "bootstrap".into(),
            args: Vec::new(),
            launcher: Vec::new(),
            extensions: Vec::new(),
            telemetry: TelemetryOptions::default(),
            initialization: Initialization::OnDemand,
            task_root,
            handler: "bootstrap".into(),
            function_name: "function".into(),
            other_names: Vec::new(),
            function_version: "$LATEST".into(),
            memory_mb: 128,
            enforce_memory: false,
            availability_zones: ["use1-az1", "use1-az2", "use1-az4"]
                .map(String::from)
                .into(),
            region: "us-east-1".into(),
            account_id: "123456789012".into(),
            credentials: None,
            env: Vec::new(),
            timeout: Duration::from_secs(3),
            deadline_grace: Duration::ZERO,
            init_timeout: Duration::from_secs(10),
            restore_gap: Duration::from_millis(50),
            // "10 seconds" (docs.aws.amazon.com/lambda/latest/dg/snapstart-troubleshooting.html).
            restore_timeout: Duration::from_secs(10),
            // "Up to 300 ms"
            // (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html). In
            // aws-lambda-runtime-interface-emulator it is 30 % of the whole, 600 ms.
            runtime_shutdown: Duration::from_millis(300),
            concurrency_max: 10,
            max_concurrency: 8,
            // `MaxIdleRuntimesQueueSize` of aws-lambda-runtime-interface-emulator.
            polls_max: 10_000,
            poll_wait: Duration::from_secs(1),
            freeze: true,
            log_format: LogFormat::Text,
            log_level: None,
            http_event: HttpEvent::FunctionUrl,
            http_stage: None,
            url_invoke_mode: UrlInvokeMode::Buffered,
            stream_rate: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            runtime_api: None,
            faults: Vec::new(),
            echo_log: false,
            record_bytes_max: 256 * 1024 * 1024,
            chunk_above_bytes: 2_048,
            wait_max: Duration::from_secs(60),
        }
    }

    /// The limit of an init phase.
    pub(crate) fn init_limit(&self) -> Duration {
        if self.program.as_os_str().is_empty() {
            // A runtime attaches when its user starts it.
            return self.wait_max;
        }
        match self.initialization {
            Initialization::OnDemand => self.init_timeout,
            // "130 seconds or the configured function timeout ..., whichever is higher".
            Initialization::ProvisionedConcurrency
            | Initialization::SnapStart
            | Initialization::ManagedInstances => {
                let limit = self.timeout.max(self.init_timeout * 13);
                limit.min(INIT_LIMIT_MAX.max(self.init_timeout))
            }
        }
    }

    /// The function's ARN without a qualifier.
    #[must_use]
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{}",
            self.region, self.account_id, self.function_name
        )
    }
}

/// "Up to 15 minutes" (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
const INIT_LIMIT_MAX: Duration = Duration::from_secs(900);

/// How an invocation is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvokeKind {
    /// The caller waits for the result.
    #[default]
    RequestResponse,
    /// The event is queued; the caller gets 202 at once. Function errors are retried twice.
    Event,
    /// Only the request is checked; the function does not run.
    DryRun,
}

/// One invocation's input.
#[derive(Clone, Debug, Default)]
pub struct Invoke {
    /// The event. Empty is passed on as `{}`.
    pub event: Vec<u8>,
    /// How it is answered.
    pub kind: InvokeKind,
    /// The client context as JSON text, for `Lambda-Runtime-Client-Context`.
    pub client_context: Option<String>,
    /// The Cognito identity as JSON text, for `Lambda-Runtime-Cognito-Identity`.
    pub cognito_identity: Option<String>,
    /// The tenant, for `Lambda-Runtime-Aws-Tenant-Id`.
    pub tenant_id: Option<String>,
    /// The trace id; generated when absent.
    pub trace_id: Option<String>,
    /// The request id; generated when absent.
    pub request_id: Option<String>,
    /// A qualifier (alias or version) to put into the invoked ARN.
    pub qualifier: Option<String>,
    /// Return as soon as the function has answered, as callers on Lambda see it, if there are
    /// extensions to wait for. The environment stays busy until they are ready; what is not known
    /// yet is missing in the [`Outcome`](crate::Outcome).
    pub return_early: bool,
    /// The caller takes the response as a stream, as by `InvokeWithResponseStream`: a runtime that
    /// streams may send 200 MB, elsewhere 6 MB. The body of the [`Outcome`](crate::Outcome) is what
    /// was sent, also if the function failed after that.
    pub streaming: bool,
}

impl Invoke {
    /// A `RequestResponse` invocation with this event.
    pub fn new(event: impl Into<Vec<u8>>) -> Self {
        Self {
            event: event.into(),
            ..Self::default()
        }
    }
}
