//! The variables of AWS Lambda Web Adapter, read once.
//!
//! <https://aws.github.io/aws-lambda-web-adapter/configuration/environment-variables.html>

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::shared::digits::{decimal, hexadecimal};
use crate::shared::endpoint::{Endpoint, Host, Resolve, host_and_port};
use crate::shared::env::{INIT_TYPE, Lookup};
use crate::shared::text::same;

/// How events get to the server.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where the server listens.
    pub(super) server: Endpoint,
    /// The port of the server, for its variable `PORT`.
    pub(super) port: String,
    pub(super) readiness: Readiness,
    /// Taken off the beginning of each path; empty, or with a slash at its start and none at its
    /// end.
    pub(super) base_path: String,
    /// Where events that are not HTTP requests are posted.
    pub(super) pass_through_path: String,
    /// The header that is sent as `authorization`, if any.
    pub(super) authorization_source: String,
    /// The caller gets the response while the server makes it.
    pub(super) is_streamed: bool,
    /// Statuses that are errors of the invocation.
    pub(super) error_statuses: Statuses,
    /// How long a connection may have been idle when it is used again. Node.js closes it after 5 s.
    pub(super) idle_max: Duration,
    /// What is posted to before a snapshot, and after a restore from it; empty if nothing is.
    pub(super) before_snapshot_path: String,
    pub(super) after_restore_path: String,
    /// The routes of the two that are set.
    hooks: Vec<Vec<u8>>,
    /// `AWS_LAMBDA_LOG_STREAM_NAME` and `AWS_LAMBDA_LOG_GROUP_NAME`, which the server is told.
    pub(super) log_stream: String,
    pub(super) log_group: String,
}

/// When the server is ready.
#[derive(Debug)]
pub(super) struct Readiness {
    pub(super) server: Endpoint,
    /// The path to ask for; `None` if it is enough that the server listens.
    pub(super) path: Option<String>,
    /// The statuses of a server that is ready.
    pub(super) healthy: Statuses,
    /// How long it may take.
    pub(super) timeout: Option<Duration>,
    /// The init phase may end before.
    pub(super) is_async: bool,
}

/// Statuses of responses, as ranges with both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statuses(Vec<(u64, u64)>);

/// A variable has a value that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingError {
    name: &'static str,
    value: String,
    /// One or two forms.
    expected: [&'static str; 2],
}

/// The variables, and the first of them with a value that means nothing.
struct Variables<'a> {
    lookup: Lookup<'a>,
    resolve: Resolve<'a>,
    fault: Option<SettingError>,
}

impl Settings {
    /// Reads the variables through `lookup`. `resolve` is asked if the host is a name.
    ///
    /// # Errors
    ///
    /// The first variable with a value that means nothing.
    pub(super) fn read(lookup: Lookup<'_>, resolve: Resolve<'_>) -> Result<Self, SettingError> {
        let mut variables = Variables {
            lookup,
            resolve,
            fault: None,
        };
        let settings = variables.settings();
        variables.fault.map_or(Ok(settings), Err)
    }

    /// True for the path of a hook, which is not for callers, however they spell it.
    pub(super) fn is_hook(&self, target: &str) -> bool {
        !self.hooks.is_empty() && self.hooks.contains(&route(target))
    }
}

/// The variables that are read, each with its older names and the value in its place, in the order
/// of [`Variables::settings`]. The first that is set and not empty counts.
const VARIABLES: [(&[&str], &str); 20] = [
    (&["AWS_LWA_HOST", "HOST"], "127.0.0.1"),
    (&["AWS_LWA_PORT", "PORT"], "8080"),
    (
        &[
            "AWS_LWA_READINESS_CHECK_PORT",
            "READINESS_CHECK_PORT",
            "AWS_LWA_PORT",
            "PORT",
        ],
        "8080",
    ),
    (
        &["AWS_LWA_READINESS_CHECK_PATH", "READINESS_CHECK_PATH"],
        "/",
    ),
    (
        &[
            "AWS_LWA_READINESS_CHECK_PROTOCOL",
            "READINESS_CHECK_PROTOCOL",
        ],
        "http",
    ),
    (&["AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"], ""),
    (&["AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS"], "500"),
    (&["AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"], ""),
    (&["AWS_LWA_ASYNC_INIT", "ASYNC_INIT"], "false"),
    (&[INIT_TYPE], ""),
    (&["AWS_LWA_REMOVE_BASE_PATH", "REMOVE_BASE_PATH"], "/"),
    (&["AWS_LWA_PASS_THROUGH_PATH"], "/events"),
    (&["AWS_LWA_AUTHORIZATION_SOURCE"], ""),
    (&["AWS_LWA_INVOKE_MODE"], "buffered"),
    (&["AWS_LWA_ERROR_STATUS_CODES"], ""),
    (&["AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS"], "4"),
    (&["AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"], ""),
    (&["AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"], ""),
    (&["AWS_LAMBDA_LOG_STREAM_NAME"], ""),
    (&["AWS_LAMBDA_LOG_GROUP_NAME"], ""),
];

impl Variables<'_> {
    fn settings(&mut self) -> Settings {
        let [
            host,
            port,
            readiness_port,
            readiness_path,
            protocol,
            healthy,
            first_unhealthy,
            timeout,
            is_async,
            initialization,
            base_path,
            pass_through_path,
            authorization_source,
            invoke_mode,
            error_statuses,
            idle_max,
            before_snapshot,
            after_restore,
            log_stream,
            log_group,
        ] = VARIABLES.map(|(names, value)| self.variable(names, value));
        let is_http = self.is_first(&protocol, ["http", "tcp"]);
        let last_healthy = self.number(&first_unhealthy).saturating_sub(1);
        let healthy = match &*healthy.value {
            "" => Statuses(vec![(100, last_healthy)]),
            _ => self.statuses(&healthy),
        };
        let timeout = (!timeout.value.is_empty()).then(|| self.seconds(&timeout));
        // For the adapter zero is for ever.
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        let readiness = Readiness {
            server: self.server(&host, &readiness_port),
            path: is_http.then(|| self.path(&readiness_path)),
            healthy,
            timeout,
            // A snapshot must be of a server that is ready, and nobody waits for an environment
            // that is made ahead of demand.
            is_async: self.is_first(&is_async, ["true", "false"])
                && !matches!(
                    &*initialization.value,
                    "snap-start" | "provisioned-concurrency"
                ),
        };
        let before_snapshot_path = self.path(&before_snapshot);
        let after_restore_path = self.path(&after_restore);
        let mut hooks = Vec::new();
        for path in [&before_snapshot_path, &after_restore_path] {
            if !path.is_empty() {
                hooks.push(route(path));
            }
        }
        Settings {
            server: self.server(&host, &port),
            readiness,
            base_path: rooted(base_path.value.trim_end_matches('/')),
            pass_through_path: self.path(&pass_through_path),
            is_streamed: self.is_first(&invoke_mode, ["response_stream", "buffered"]),
            error_statuses: self.statuses(&error_statuses),
            idle_max: self.seconds(&idle_max),
            before_snapshot_path,
            after_restore_path,
            hooks,
            port: port.value,
            authorization_source: authorization_source.value,
            log_stream: log_stream.value,
            log_group: log_group.value,
        }
    }

    fn variable(&self, names: &[&'static str], value: &str) -> Variable {
        for name in names {
            let found = (self.lookup)(name).unwrap_or_default();
            let found = found.as_encoded_bytes().trim_ascii();
            if !found.is_empty() {
                let value = String::from_utf8_lossy(found).into_owned();
                return Variable { name, value };
            }
        }
        Variable {
            name: names.first().copied().unwrap_or_default(),
            value: value.to_owned(),
        }
    }

    /// True for the first of these values, false for the second.
    fn is_first(&mut self, variable: &Variable, values: [&'static str; 2]) -> bool {
        let value = variable.value.as_bytes();
        let [first, second] = values.map(|other| same(value, other.as_bytes()));
        if !first && !second {
            self.refuse(variable, values);
        }
        first
    }

    fn refuse(&mut self, variable: &Variable, expected: [&'static str; 2]) {
        self.fault.get_or_insert_with(|| SettingError {
            name: variable.name,
            value: variable.value.clone(),
            expected,
        });
    }

    fn number(&mut self, variable: &Variable) -> u64 {
        let number = decimal(variable.value.as_bytes());
        number.unwrap_or_else(|| {
            self.refuse(variable, ["a number", ""]);
            0
        })
    }

    /// Seconds, of which the thousandths count.
    fn seconds(&mut self, variable: &Variable) -> Duration {
        let (whole, part) = variable
            .value
            .split_once('.')
            .unwrap_or((&variable.value, "0"));
        let thousandths = [part.as_bytes(), b"00"].concat();
        let thousandths = thousandths.get(..3).and_then(decimal);
        let has_digits = part.bytes().all(|byte| byte.is_ascii_digit());
        match (decimal(whole.as_bytes()), thousandths) {
            (Some(seconds), Some(ms)) if has_digits => {
                Duration::from_millis(seconds.saturating_mul(1_000).saturating_add(ms))
            }
            _ => {
                self.refuse(variable, ["seconds such as 4", "0.5"]);
                Duration::ZERO
            }
        }
    }

    /// Statuses and ranges of them, with commas between them.
    fn statuses(&mut self, variable: &Variable) -> Statuses {
        let mut ranges = Vec::new();
        for part in variable.value.as_bytes().split(|byte| *byte == b',') {
            let mut ends = part.split(|byte| *byte == b'-').map(<[u8]>::trim_ascii);
            let first = ends.next().unwrap_or_default();
            let last = ends.next().unwrap_or(first);
            match (decimal(first), decimal(last), ends.next()) {
                (Some(first), Some(last), None) => ranges.push((first, last)),
                _ if part.trim_ascii().is_empty() => {}
                _ => self.refuse(variable, ["statuses such as 500,502-504", ""]),
            }
        }
        Statuses(ranges)
    }

    /// A path to send requests to.
    fn path(&mut self, variable: &Variable) -> String {
        // A request line holds no other bytes.
        if !variable.value.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.refuse(variable, ["a path of visible ASCII characters", ""]);
        }
        rooted(&variable.value)
    }

    /// This port of the host.
    fn server(&mut self, host: &Variable, port: &Variable) -> Endpoint {
        // An IPv6 address needs no brackets where no port follows it.
        let is_bare = host.value.parse::<Ipv6Addr>().is_ok();
        let [open, close] = if is_bare { ["[", "]"] } else { ["", ""] };
        let name = [open, &host.value, close].concat();
        let ip = match host_and_port(&name) {
            Ok((Host::Address(ip), None)) => Some(ip),
            Ok((Host::Name(name), None)) => (self.resolve)(name),
            _ => None,
        };
        let number = match decimal(port.value.as_bytes()).map(u16::try_from) {
            Some(Ok(number @ 1..)) => number,
            _ => {
                self.refuse(port, ["a port from 1 to 65535", ""]);
                0
            }
        };
        if ip.is_none() {
            self.refuse(host, ["an IP address", "the name of a host"]);
        }
        Endpoint {
            address: SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), number),
            authority: [&name, ":", &port.value].concat(),
            prefix: String::new(),
        }
    }
}

impl Statuses {
    /// True if one of the ranges holds the status.
    pub(super) fn hold(&self, status: u16) -> bool {
        let status = u64::from(status);
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// A variable that is set, or the value in its place.
struct Variable {
    name: &'static str,
    value: String,
}

/// A path with the slash at its start that may have been left out; empty if it is empty.
fn rooted(path: &str) -> String {
    let slash = if path.is_empty() || path.starts_with('/') {
        ""
    } else {
        "/"
    };
    [slash, path].concat()
}

/// The path of a target as a lenient server reads it, so that one path has one form: decoded once,
/// in lower case, and without control characters, parameters such as `;x=1`, and segments that are
/// empty or dots.
#[inline(never)]
pub(super) fn route(target: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = target.as_bytes();
    while let [mut byte, ref after @ ..] = *rest {
        rest = after;
        if byte == b'?' {
            break;
        }
        let code = after.get(..2).and_then(hexadecimal);
        if let (b'%', Some(Ok(code))) = (byte, code.map(u8::try_from)) {
            byte = code;
            rest = after.get(2..).unwrap_or_default();
        }
        if !byte.is_ascii_control() {
            decoded.push(byte.to_ascii_lowercase());
        }
    }
    let mut route = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        let mut parts = segment.split(|byte| *byte == b';');
        match parts.next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => {
                let parent = route.iter().rposition(|byte| *byte == b'/');
                route.truncate(parent.unwrap_or(0));
            }
            segment => {
                route.push(b'/');
                route.extend_from_slice(segment);
            }
        }
    }
    route
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            expected: [first, second],
        } = self;
        let or = if second.is_empty() { "" } else { " or " };
        write!(f, "{name} is {value:?}, expected {first}{or}{second}")
    }
}

impl std::error::Error for SettingError {}
