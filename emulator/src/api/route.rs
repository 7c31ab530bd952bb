//! The paths of the Runtime API, the Extensions API and the Telemetry API, and of the metadata
//! endpoint.

use hyper::Method;

use crate::environment::extensions::Report;
use crate::fault::Endpoint;

/// The endpoint of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Next,
    Response(String),
    InvocationError(String),
    InitError,
    RestoreNext,
    RestoreError,
    /// Where SDKs get credentials after a restore.
    Credentials,
    Register,
    ExtensionNext,
    ExtensionError(Report),
    Subscribe,
    /// The predecessor of the Telemetry API.
    Logs,
    /// The metadata of the environment, with any method.
    Metadata,
    /// A known path with another method.
    WrongMethod,
    Unknown,
}

impl Route {
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Next => Endpoint::Next,
            Self::Response(_) => Endpoint::Response,
            Self::InvocationError(_) => Endpoint::InvocationError,
            Self::InitError => Endpoint::InitError,
            Self::Register => Endpoint::Register,
            Self::ExtensionNext => Endpoint::ExtensionNext,
            Self::Subscribe => Endpoint::Subscribe,
            Self::Metadata => Endpoint::Metadata,
            Self::RestoreNext => Endpoint::RestoreNext,
            Self::RestoreError => Endpoint::RestoreError,
            Self::Credentials => Endpoint::Credentials,
            Self::ExtensionError(_)
            | Self::Logs
            | Self::Ping
            | Self::WrongMethod
            | Self::Unknown => Endpoint::Other,
        }
    }
}

/// A path of the metadata endpoint, which has a port of its own.
pub(crate) fn metadata_route(path: &str) -> Route {
    match path {
        "/2026-01-15/metadata/execution-environment" => Route::Metadata,
        _ => Route::Unknown,
    }
}

pub(crate) fn route(method: &Method, path: &str) -> Route {
    if path == "/ping" {
        return Route::Ping;
    }
    let parts: Vec<&str> = path.split('/').collect();
    let known = match parts.as_slice() {
        ["", "2018-06-01", rest @ ..] => runtime_route(rest),
        ["", "2020-01-01", "extension", rest @ ..] => extension_route(rest),
        ["", "2022-07-01", "telemetry"] => Some((Method::PUT, Route::Subscribe)),
        ["", "2020-08-15", "logs"] => Some((Method::PUT, Route::Logs)),
        ["", "2021-04-23", "credentials"] => Some((Method::GET, Route::Credentials)),
        _ => None,
    };
    match known {
        Some((expected, route)) if *method == expected => route,
        Some(_) => Route::WrongMethod,
        None => Route::Unknown,
    }
}

fn runtime_route(parts: &[&str]) -> Option<(Method, Route)> {
    Some(match parts {
        ["ping"] => (Method::GET, Route::Ping),
        ["runtime", "invocation", "next"] => (Method::GET, Route::Next),
        ["runtime", "invocation", id, "response"] if !id.is_empty() => {
            (Method::POST, Route::Response((*id).to_owned()))
        }
        ["runtime", "invocation", id, "error"] if !id.is_empty() => {
            (Method::POST, Route::InvocationError((*id).to_owned()))
        }
        ["runtime", "init", "error"] => (Method::POST, Route::InitError),
        ["runtime", "restore", "next"] => (Method::GET, Route::RestoreNext),
        ["runtime", "restore", "error"] => (Method::POST, Route::RestoreError),
        _ => return None,
    })
}

fn extension_route(parts: &[&str]) -> Option<(Method, Route)> {
    Some(match parts {
        ["register"] => (Method::POST, Route::Register),
        ["event", "next"] => (Method::GET, Route::ExtensionNext),
        ["init", "error"] => (Method::POST, Route::ExtensionError(Report::Init)),
        ["exit", "error"] => (Method::POST, Route::ExtensionError(Report::Exit)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_where_the_router_says() {
        let table = [
            ("GET", "/2018-06-01/ping", Route::Ping),
            ("GET", "/2018-06-01/runtime/invocation/next", Route::Next),
            (
                "POST",
                "/2018-06-01/runtime/invocation/next",
                Route::WrongMethod,
            ),
            (
                "POST",
                "/2018-06-01/runtime/invocation/a/response",
                Route::Response("a".into()),
            ),
            (
                "POST",
                "/2018-06-01/runtime/invocation/a/error",
                Route::InvocationError("a".into()),
            ),
            (
                "POST",
                "/2018-06-01/runtime/invocation//error",
                Route::Unknown,
            ),
            ("POST", "/2018-06-01/runtime/init/error", Route::InitError),
            (
                "GET",
                "/2018-06-01/runtime/restore/next",
                Route::RestoreNext,
            ),
            (
                "POST",
                "/2018-06-01/runtime/restore/error",
                Route::RestoreError,
            ),
            ("GET", "/2021-04-23/credentials", Route::Credentials),
            ("POST", "/2020-01-01/extension/register", Route::Register),
            ("GET", "/2020-01-01/extension/register", Route::WrongMethod),
            (
                "GET",
                "/2020-01-01/extension/event/next",
                Route::ExtensionNext,
            ),
            (
                "POST",
                "/2020-01-01/extension/init/error",
                Route::ExtensionError(Report::Init),
            ),
            (
                "POST",
                "/2020-01-01/extension/exit/error",
                Route::ExtensionError(Report::Exit),
            ),
            ("POST", "/2018-06-01/extension/register", Route::Unknown),
            ("PUT", "/2022-07-01/telemetry", Route::Subscribe),
            ("POST", "/2022-07-01/telemetry", Route::WrongMethod),
            // The version of the schema is in the body, never in the path.
            ("PUT", "/2025-01-29/telemetry", Route::Unknown),
            ("PUT", "/2022-07-01/telemetry/", Route::Unknown),
            ("PUT", "/2020-08-15/logs", Route::Logs),
            (
                "GET",
                "/2018-06-01/runtime/invocation/next/",
                Route::Unknown,
            ),
            ("GET", "/runtime/invocation/next", Route::Unknown),
        ];
        for (method, path, expected) in table {
            let method: Method = method.parse().unwrap();
            assert_eq!(route(&method, path), expected, "{method} {path}");
        }
    }
}
