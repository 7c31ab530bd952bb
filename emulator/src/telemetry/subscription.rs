//! The body of a subscription request, checked as the platform checks it.
//!
//! The limits are those of docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html and of
//! `telemetry-subscription-schema.json` in aws-lambda-runtime-interface-emulator. The older
//! reference page has the limits of `maxItems` and `timeoutMs` swapped.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use serde_json::{Map, Value};

use super::event::Category;
use crate::config::telemetry::SchemaVersion;

/// A subscription: the types of records, their buffering, their destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) schema_version: SchemaVersion,
    /// Each at most once.
    pub(crate) types: Vec<Category>,
    pub(crate) buffering: Buffering,
    pub(crate) destination: Destination,
}

/// The limits that complete a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffering {
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) timeout: Duration,
}

/// The listener of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A JSON array a request.
    Http {
        port: u16,
        /// `Host` of the requests.
        authority: String,
        /// Target of the requests.
        path: String,
    },
    /// A JSON object a line.
    Tcp { port: u16 },
}

impl Destination {
    pub(crate) const fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port } => *port,
        }
    }
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            items_max: 10_000,
            bytes_max: 262_144,
            timeout: Duration::from_millis(1_000),
        }
    }
}

impl Subscription {
    /// Reads a request's body. The error is the text of all that is wrong with it.
    ///
    /// Members the schema does not know are ignored.
    pub(crate) fn parse(body: &[u8], accepted: &[SchemaVersion]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("request body is not valid JSON: {error}"))?;
        let Value::Object(body) = value else {
            return Err("request body should be an object".to_owned());
        };
        let mut problems = Problems::default();
        let destination = problems.take(destination(body.get("destination")));
        let types = problems.take(types(body.get("types")));
        let schema_version = problems.take(schema_version(body.get("schemaVersion"), accepted));
        let buffering = buffering(body.get("buffering"), &mut problems);
        match (schema_version, types, destination) {
            (Some(schema_version), Some(types), Some(destination)) if problems.0.is_empty() => {
                Ok(Self {
                    schema_version,
                    types,
                    buffering,
                    destination,
                })
            }
            _ => Err(problems.0.join("; ")),
        }
    }
}

/// Everything found wrong so far, in order.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}

fn schema_version(
    value: Option<&Value>,
    accepted: &[SchemaVersion],
) -> Result<SchemaVersion, String> {
    let text = value
        .ok_or("schemaVersion is not provided")?
        .as_str()
        .ok_or("schemaVersion should be a string")?;
    accepted
        .iter()
        .copied()
        .find(|version| version.as_str() == text)
        .ok_or_else(|| format!("schemaVersion {text} is not supported"))
}

fn types(value: Option<&Value>) -> Result<Vec<Category>, String> {
    let list = value
        .ok_or("types is not provided")?
        .as_array()
        .ok_or("types should be an array")?;
    if list.is_empty() {
        return Err("types should not be empty".to_owned());
    }
    let mut types = Vec::new();
    for name in list {
        let category = match name.as_str() {
            Some("platform") => Category::Platform,
            Some("function") => Category::Function,
            Some("extension") => Category::Extension,
            Some(_) | None => return Err(format!("type {name} is not supported")),
        };
        if !types.contains(&category) {
            types.push(category);
        }
    }
    Ok(types)
}

fn destination(value: Option<&Value>) -> Result<Destination, String> {
    let destination = value
        .ok_or("destination is not provided")?
        .as_object()
        .ok_or("destination should be an object")?;
    match destination.get("protocol").map(Value::as_str) {
        Some(Some("HTTP")) => http(destination.get("URI")),
        Some(Some("TCP")) => tcp(destination.get("port")),
        Some(Some(protocol)) => Err(format!("protocol {protocol} is not supported")),
        Some(None) => Err("protocol should be a string".to_owned()),
        None => Err("protocol is not provided".to_owned()),
    }
}

fn http(value: Option<&Value>) -> Result<Destination, String> {
    let text = value
        .ok_or("URI is not provided")?
        .as_str()
        .ok_or("URI should be a string")?;
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("URI is not valid: {error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("URI scheme should be http".to_owned());
    }
    if !matches!(uri.host(), Some("sandbox.localdomain" | "sandbox")) {
        return Err("URI host should be sandbox.localdomain".to_owned());
    }
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let port = uri.port_u16().ok_or("URI port is not provided")?;
    Ok(Destination::Http {
        port: usable(port)?,
        authority,
        path: uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .to_owned(),
    })
}

fn tcp(value: Option<&Value>) -> Result<Destination, String> {
    let port = value.ok_or("port is not provided")?;
    let port = whole("port", port, 1..=u64::from(u16::MAX))?;
    let port = u16::try_from(port).unwrap_or_default();
    Ok(Destination::Tcp {
        port: usable(port)?,
    })
}

/// "You can configure any port except 9001": it is the Runtime API's.
fn usable(port: u16) -> Result<u16, String> {
    match port {
        0 => Err("port should be between 1 and 65535".to_owned()),
        RUNTIME_API_PORT => Err("port 9001 is reserved".to_owned()),
        port => Ok(port),
    }
}

fn buffering(value: Option<&Value>, problems: &mut Problems) -> Buffering {
    let mut buffering = Buffering::default();
    let Some(value) = value else {
        return buffering;
    };
    let Some(object) = value.as_object() else {
        problems.0.push("buffering should be an object".to_owned());
        return buffering;
    };
    let mut limit = |name, range| problems.take(member(object, name, range)).flatten();
    if let Some(items) = limit("maxItems", 1_000..=10_000) {
        buffering.items_max = usize::try_from(items).unwrap_or(usize::MAX);
    }
    if let Some(bytes) = limit("maxBytes", 262_144..=1_048_576) {
        buffering.bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    if let Some(timeout_ms) = limit("timeoutMs", 25..=30_000) {
        buffering.timeout = Duration::from_millis(timeout_ms);
    }
    buffering
}

fn member(
    object: &Map<String, Value>,
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, String> {
    object
        .get(name)
        .map(|value| whole(name, value, range))
        .transpose()
}

fn whole(name: impl Display, value: &Value, range: RangeInclusive<u64>) -> Result<u64, String> {
    if !value.is_u64() && !value.is_i64() {
        return Err(format!("{name} should be an integer"));
    }
    value
        .as_u64()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "{name} should be between {} and {}",
                range.start(),
                range.end()
            )
        })
}

const RUNTIME_API_PORT: u16 = 9_001;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [SchemaVersion; 3] = SchemaVersion::ALL;

    fn parse(body: &Value) -> Result<Subscription, String> {
        Subscription::parse(body.to_string().as_bytes(), &ALL)
    }

    fn with(member: &str, value: Value) -> Value {
        let mut body = json!({
            "schemaVersion": "2025-01-29",
            "types": ["platform"],
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/t"},
        });
        if value.is_null() {
            body.as_object_mut().unwrap().remove(member);
        } else {
            body[member] = value;
        }
        body
    }

    #[test]
    fn a_full_request_is_read() {
        let body = json!({
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function", "extension", "platform"],
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25, "more": 1},
            "destination": {"protocol": "TCP", "port": 65535},
            "unknown": true,
        });
        let expected = Subscription {
            schema_version: SchemaVersion::V2022_12_13,
            types: vec![Category::Platform, Category::Function, Category::Extension],
            buffering: Buffering {
                items_max: 1_000,
                bytes_max: 262_144,
                timeout: Duration::from_millis(25),
            },
            destination: Destination::Tcp { port: 65_535 },
        };
        assert_eq!(parse(&body), Ok(expected));
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let table = [
            json!(null),
            json!({}),
            json!({"maxItems": 10_000, "maxBytes": 262_144, "timeoutMs": 1_000}),
        ];
        for buffering in table {
            let got = parse(&with("buffering", buffering.clone())).unwrap();
            assert_eq!(got.buffering.items_max, 10_000, "{buffering}");
            assert_eq!(got.buffering.bytes_max, 262_144, "{buffering}");
            assert_eq!(got.buffering.timeout, Duration::from_secs(1), "{buffering}");
        }
    }

    #[test]
    fn destinations_are_read() {
        let table = [
            ("http://sandbox.localdomain:4243/t", 4_243, "/t"),
            ("http://sandbox.localdomain:4243", 4_243, "/"),
            ("http://sandbox:1/a/b?c=d", 1, "/a/b?c=d"),
            ("http://sandbox.localdomain:65535/", 65_535, "/"),
        ];
        for (uri, port, path) in table {
            let body = with("destination", json!({"protocol": "HTTP", "URI": uri}));
            let authority = uri.split('/').nth(2).unwrap().to_owned();
            let expected = Destination::Http {
                port,
                authority,
                path: path.to_owned(),
            };
            assert_eq!(parse(&body).unwrap().destination, expected, "{uri}");
        }
    }

    /// A member, its value (null: left out), and the message.
    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn every_broken_rule_is_named() {
        let http = |uri: &str| json!({"protocol": "HTTP", "URI": uri});
        let tcp = |port: Value| json!({"protocol": "TCP", "port": port});
        let table = [
            (
                "schemaVersion",
                json!(null),
                "schemaVersion is not provided",
            ),
            (
                "schemaVersion",
                json!(1),
                "schemaVersion should be a string",
            ),
            (
                "schemaVersion",
                json!("2021-03-18"),
                "schemaVersion 2021-03-18 is not supported",
            ),
            ("types", json!(null), "types is not provided"),
            ("types", json!("platform"), "types should be an array"),
            ("types", json!([]), "types should not be empty"),
            (
                "types",
                json!(["platform", "x"]),
                "type \"x\" is not supported",
            ),
            ("types", json!([1]), "type 1 is not supported"),
            ("destination", json!(null), "destination is not provided"),
            ("destination", json!("x"), "destination should be an object"),
            ("destination", json!({}), "protocol is not provided"),
            (
                "destination",
                json!({"protocol": "http"}),
                "protocol http is not supported",
            ),
            (
                "destination",
                json!({"protocol": 1}),
                "protocol should be a string",
            ),
            (
                "destination",
                json!({"protocol": "HTTP"}),
                "URI is not provided",
            ),
            (
                "destination",
                http("http://sandbox.localdomain"),
                "URI port is not provided",
            ),
            (
                "destination",
                http("http://sandbox.localdomain/t"),
                "URI port is not provided",
            ),
            (
                "destination",
                http("http://127.0.0.1:1"),
                "URI host should be sandbox.localdomain",
            ),
            (
                "destination",
                http("http://localhost:1"),
                "URI host should be sandbox.localdomain",
            ),
            (
                "destination",
                http("https://sandbox.localdomain:1"),
                "URI scheme should be http",
            ),
            (
                "destination",
                http("sandbox.localdomain:1"),
                "URI scheme should be http",
            ),
            (
                "destination",
                http("http://sandbox:9001"),
                "port 9001 is reserved",
            ),
            (
                "destination",
                http("http://sandbox:0"),
                "port should be between 1 and 65535",
            ),
            ("destination", http(""), "URI is not valid: empty string"),
            (
                "destination",
                json!({"protocol": "TCP"}),
                "port is not provided",
            ),
            ("destination", tcp(json!("1")), "port should be an integer"),
            (
                "destination",
                tcp(json!(0)),
                "port should be between 1 and 65535",
            ),
            (
                "destination",
                tcp(json!(65_536)),
                "port should be between 1 and 65535",
            ),
            ("destination", tcp(json!(9_001)), "port 9001 is reserved"),
            ("buffering", json!([]), "buffering should be an object"),
        ];
        for (member, value, expected) in table {
            let body = with(member, value);
            assert_eq!(parse(&body), Err(expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn limits_are_those_of_the_documentation() {
        let table = [
            ("maxItems", 1_000, 10_000),
            ("maxBytes", 262_144, 1_048_576),
            ("timeoutMs", 25, 30_000),
        ];
        for (name, min, max) in table {
            for (value, good) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                let got = parse(&with("buffering", json!({name: value})));
                let expected = format!("{name} should be between {min} and {max}");
                assert_eq!(got.err(), (!good).then_some(expected), "{name} {value}");
            }
            for value in [json!(1_000.5), json!("1000"), json!(null)] {
                let got = parse(&with("buffering", json!({name: value})));
                assert_eq!(got, Err(format!("{name} should be an integer")), "{value}");
            }
        }
        let negative = parse(&with("buffering", json!({"timeoutMs": -1})));
        assert_eq!(
            negative.unwrap_err(),
            "timeoutMs should be between 25 and 30000"
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let body = json!({
            "schemaVersion": "2022-07-01",
            "types": [],
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"},
        });
        assert_eq!(
            parse(&body),
            Err("URI port is not provided; types should not be empty".to_owned())
        );
        let body = json!({"buffering": {"maxItems": 1, "timeoutMs": 1}});
        assert_eq!(
            parse(&body).unwrap_err(),
            "destination is not provided; types is not provided; schemaVersion is not provided; \
             maxItems should be between 1000 and 10000; timeoutMs should be between 25 and 30000"
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for (body, expected) in [
            ("", "request body is not valid JSON"),
            ("{", "request body is not valid JSON"),
            ("[]", "request body should be an object"),
            ("null", "request body should be an object"),
        ] {
            let got = Subscription::parse(body.as_bytes(), &ALL).unwrap_err();
            assert!(got.starts_with(expected), "{body}: {got}");
        }
    }

    #[test]
    fn only_accepted_versions_are_accepted() {
        for accepted in ALL {
            for asked in ALL {
                let body = with("schemaVersion", json!(asked.as_str())).to_string();
                let got = Subscription::parse(body.as_bytes(), &[accepted]);
                assert_eq!(got.is_ok(), asked == accepted, "{accepted:?} {asked:?}");
            }
        }
    }
}
