//! The variables of AWS Lambda Web Adapter, read once.
//!
//! <https://aws.github.io/aws-lambda-web-adapter/configuration/environment-variables.html>

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::shared::digits::decimal;
use crate::shared::endpoint::{Endpoint, EndpointError, Resolve};
use crate::shared::env::Lookup;
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
    /// The header that is sent as `authorization`.
    pub(super) authorization_source: Option<String>,
    /// The caller gets the response while the server makes it.
    pub(super) is_streamed: bool,
    /// Statuses that are errors of the invocation.
    pub(super) error_statuses: Statuses,
    /// How long a connection may have been idle when it is used again. Node.js closes it after 5 s.
    pub(super) idle_max: Duration,
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
    expected: &'static str,
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
}

impl Variables<'_> {
    fn settings(&mut self) -> Settings {
        let port = self.or(&["AWS_LWA_PORT", "PORT"], "8080");
        let base_path = self.or(&["AWS_LWA_REMOVE_BASE_PATH", "REMOVE_BASE_PATH"], "/");
        let pass_through_path = self.or(&["AWS_LWA_PASS_THROUGH_PATH"], "/events");
        let source = self.find(&["AWS_LWA_AUTHORIZATION_SOURCE"]);
        let invoke_mode = self.or(&["AWS_LWA_INVOKE_MODE"], "buffered");
        let is_streamed = same(invoke_mode.value.as_bytes(), b"response_stream");
        if !is_streamed && !same(invoke_mode.value.as_bytes(), b"buffered") {
            self.refuse(&invoke_mode, "buffered or response_stream");
        }
        let error_statuses = self.or(&["AWS_LWA_ERROR_STATUS_CODES"], "");
        let idle_max = self.or(&["AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS"], "4");
        Settings {
            server: self.server(&port),
            readiness: self.readiness(),
            port: port.value,
            base_path: rooted(base_path.value.trim_end_matches('/')),
            pass_through_path: rooted(&pass_through_path.value),
            authorization_source: source.map(|name| name.value),
            is_streamed,
            error_statuses: self.statuses(&error_statuses),
            idle_max: self.seconds(&idle_max),
            log_stream: self.or(&["AWS_LAMBDA_LOG_STREAM_NAME"], "").value,
            log_group: self.or(&["AWS_LAMBDA_LOG_GROUP_NAME"], "").value,
        }
    }

    fn readiness(&mut self) -> Readiness {
        let port = self.or(
            &[
                "AWS_LWA_READINESS_CHECK_PORT",
                "READINESS_CHECK_PORT",
                "AWS_LWA_PORT",
                "PORT",
            ],
            "8080",
        );
        let path = self.or(
            &["AWS_LWA_READINESS_CHECK_PATH", "READINESS_CHECK_PATH"],
            "/",
        );
        let protocol = &[
            "AWS_LWA_READINESS_CHECK_PROTOCOL",
            "READINESS_CHECK_PROTOCOL",
        ];
        let protocol = self.or(protocol, "http");
        let is_tcp = same(protocol.value.as_bytes(), b"tcp");
        if !is_tcp && !same(protocol.value.as_bytes(), b"http") {
            self.refuse(&protocol, "http or tcp");
        }
        let first_bad = self.or(&["AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS"], "500");
        let last_good = self.number(&first_bad).saturating_sub(1);
        let healthy = self.find(&["AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"]);
        let timeout = self.find(&["AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"]);
        let is_async = self.or(&["AWS_LWA_ASYNC_INIT", "ASYNC_INIT"], "false");
        if !matches!(&*is_async.value, "true" | "false") {
            self.refuse(&is_async, "true or false");
        }
        Readiness {
            server: self.server(&port),
            path: (!is_tcp).then(|| rooted(&path.value)),
            healthy: match healthy {
                Some(healthy) => self.statuses(&healthy),
                None => Statuses(vec![(100, last_good)]),
            },
            timeout: timeout.map(|timeout| self.seconds(&timeout)),
            is_async: is_async.value == "true",
        }
    }

    /// The first of these that is set and not empty.
    fn find(&self, names: &[&'static str]) -> Option<Variable> {
        names.iter().find_map(|name| {
            let value = (self.lookup)(name)?;
            let value = value.to_string_lossy();
            let value = value.trim_matches(' ').to_owned();
            (!value.is_empty()).then_some(Variable { name, value })
        })
    }

    /// The first of these that is set and not empty, or the value in its place.
    fn or(&self, names: &[&'static str], value: &str) -> Variable {
        self.find(names).unwrap_or_else(|| Variable {
            name: names.first().copied().unwrap_or_default(),
            value: value.to_owned(),
        })
    }

    fn refuse(&mut self, variable: &Variable, expected: &'static str) {
        self.fault.get_or_insert_with(|| SettingError {
            name: variable.name,
            value: variable.value.clone(),
            expected,
        });
    }

    fn number(&mut self, variable: &Variable) -> u64 {
        let number = decimal(variable.value.as_bytes());
        number.unwrap_or_else(|| {
            self.refuse(variable, "a number");
            0
        })
    }

    fn seconds(&mut self, variable: &Variable) -> Duration {
        Duration::from_secs(self.number(variable))
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
                _ => self.refuse(variable, "statuses such as 500,502-504"),
            }
        }
        Statuses(ranges)
    }

    /// This port of the host.
    fn server(&mut self, port: &Variable) -> Endpoint {
        let host = self.or(&["AWS_LWA_HOST", "HOST"], "127.0.0.1");
        // The scheme keeps the name of a host from being taken for one.
        let address = ["http://", &host.value, ":", &port.value].concat();
        Endpoint::parse(&address, self.resolve).unwrap_or_else(|error| {
            if error == EndpointError::Port {
                self.refuse(port, "a port from 1 to 65535");
            } else {
                self.refuse(&host, "an IP address or the name of a host");
            }
            Endpoint {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                authority: String::new(),
                prefix: String::new(),
            }
        })
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

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            expected,
        } = self;
        write!(f, "{name} is {value:?}, expected {expected}")
    }
}

impl std::error::Error for SettingError {}
