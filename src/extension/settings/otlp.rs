//! Where and how OTLP is sent.

use std::net::SocketAddr;

use super::reader::{Reader, list, shown};
use crate::shared::digits::{decimal, hexadecimal};
use crate::shared::endpoint::{self, EndpointError};

/// The receiver of OTLP, and what is sent with each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Otlp {
    /// Where to connect.
    pub(in crate::extension) address: SocketAddr,
    /// The value of the field `Host`.
    pub(in crate::extension) authority: String,
    /// The target of the request: a path, and a query if there is one.
    pub(in crate::extension) target: String,
    /// Fields to add to each request. The names are tokens and none that frames a message; the
    /// values hold no control characters.
    pub(in crate::extension) headers: Vec<(String, String)>,
    /// How long to wait for the answer to an attempt.
    pub(in crate::extension) timeout_ms: u64,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without `service.name`.
    pub(in crate::extension) attributes: Vec<(String, String)>,
}

impl Otlp {
    /// Reads the settings; `None` when the endpoint cannot be reached. No other place is taken
    /// instead: a receiver that was not named should not get the figures.
    pub(super) fn read(reader: &mut Reader<'_>, service_name: &mut String) -> Option<Self> {
        let (name, value) = variable(reader, "ENDPOINT");
        let url = value.unwrap_or(ENDPOINT);
        // The endpoint for metrics "MUST be used as-is", the one for all signals is a base:
        // <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>.
        let is_base = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (address, authority, target) = match take_apart(url, is_base) {
            Ok(parts) => parts,
            Err(error) => {
                reader.warn(why_off(&name, url, error));
                return None;
            }
        };
        warn_unless(reader, "COMPRESSION", "none", "Bantam compresses nothing");
        let temporality = "environments end without a word, which only delta allows";
        warn_unless(reader, "TEMPORALITY_PREFERENCE", "delta", temporality);
        let encoding = "Bantam has this encoding alone, which every receiver over HTTP takes";
        warn_unless(reader, "PROTOCOL", "http/protobuf", encoding);
        let (timeout, _) = variable(reader, "TIMEOUT");
        let timeout_ms = reader.parsed(
            &timeout,
            &|value| decimal(value.as_bytes()).filter(|ms| *ms != 0),
            "a number of milliseconds",
            &TIMEOUT_MS.to_string(),
        );
        Some(Self {
            address,
            authority,
            target,
            headers: headers(reader),
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS),
            attributes: resource_attributes(reader, service_name),
        })
    }
}

/// The variable for metrics if it is set, else the one for all signals: its name and its value.
fn variable<'a>(reader: &Reader<'a>, setting: &str) -> (String, Option<&'a str>) {
    let name = ["OTEL_EXPORTER_OTLP_METRICS_", setting].concat();
    match reader.text(&name) {
        Some(value) => (name, Some(value)),
        None => {
            let name = ["OTEL_EXPORTER_OTLP_", setting].concat();
            let value = reader.text(&name);
            (name, value)
        }
    }
}

/// Warns of a setting that has another value than the only one that there is here.
fn warn_unless(reader: &mut Reader<'_>, setting: &str, only: &str, why: &str) {
    let (name, value) = variable(reader, setting);
    if let Some(value) = value
        && !value.eq_ignore_ascii_case(only)
    {
        let shown = shown(value);
        reader.warn(format!("{name} is \"{shown}\": using {only}. {why}"));
    }
}

/// The warning of an endpoint that cannot be used.
fn why_off(name: &str, url: &str, error: EndpointError) -> String {
    if url.contains('@') {
        // A password may be in it.
        return format!(
            "{name} holds a user name or a password: send them in OTEL_EXPORTER_OTLP_HEADERS. \
             OTLP is off"
        );
    }
    let hint = match error {
        EndpointError::Scheme => {
            "only http:// is sent, without TLS. For https let a collector beside the function \
             send on, and name that: http://localhost:4318"
        }
        EndpointError::Host | EndpointError::NoAddress | EndpointError::Unresolved => {
            "the host is neither an IP address nor localhost, and names are not looked up here. \
             Give its address, or name a collector beside the function: http://localhost:4318"
        }
        EndpointError::NoHost => "there is no host. A receiver is http://ADDRESS:PORT",
        EndpointError::Port => "the port is not a number from 1 to 65535",
        EndpointError::Path => "its path, or the query of a base, cannot be sent",
    };
    format!("{name} is \"{}\": {hint}. OTLP is off", shown(url))
}

fn headers(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let (variable, value) = variable(reader, "HEADERS");
    let mut headers = Vec::new();
    for (index, entry) in list(value.unwrap_or_default()).enumerate() {
        match pair(entry).filter(|(name, value)| is_header(name, value)) {
            Some(header) => headers.push(header),
            // Its number and not its text: it may be a key.
            None => {
                let number = index + 1;
                reader.warn(format!(
                    "{variable}: entry {number} cannot be sent, left out"
                ));
            }
        }
    }
    headers
}

/// "In case of any error … the entire environment variable value SHOULD be discarded":
/// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>.
fn resource_attributes(
    reader: &mut Reader<'_>,
    service_name: &mut String,
) -> Vec<(String, String)> {
    let variable = "OTEL_RESOURCE_ATTRIBUTES";
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut own_name = String::new();
    for entry in list(reader.text(variable).unwrap_or_default()) {
        let Some((name, value)) = pair(entry) else {
            reader.warn(format!(
                "{variable} is not a list of name=value between commas, left out"
            ));
            return Vec::new();
        };
        // A resource has each attribute once; the last one counts.
        match attributes.iter_mut().find(|(other, _)| *other == name) {
            _ if name == "service.name" => own_name = value,
            Some((_, earlier)) => *earlier = value,
            None => attributes.push((name, value)),
        }
    }
    // `OTEL_SERVICE_NAME` "takes precedence":
    // <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
    if service_name.is_empty() {
        *service_name = own_name;
    }
    attributes
}

/// Reads `name=value`, both percent-encoded.
fn pair(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let (name, value) = (percent_decoded(name)?, percent_decoded(value)?);
    (!name.is_empty()).then_some((name, value))
}

/// `None` if the result is not UTF-8. A percent sign that starts no escape stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut rest = text.trim_ascii().as_bytes();
    let mut out = Vec::new();
    while let [first, behind @ ..] = rest {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(hexadecimal);
        out.push(escaped.map_or(*first, |byte| byte.to_le_bytes()[0]));
        let count = if escaped.is_some() { 3 } else { 1 };
        rest = rest.get(count..).unwrap_or_default();
    }
    String::from_utf8(out).ok()
}

/// Whether a field may be added to a request: a token for a name, no control character in the
/// value, and not a field that the client writes itself.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(is_token)
        && !FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name))
        && !value.bytes().any(|byte| byte.is_ascii_control())
}

/// Takes a URL apart into the address, the authority and the target. A base gets the path for
/// metrics; any other URL keeps its path as it is, a query included.
fn take_apart(url: &str, is_base: bool) -> Result<(SocketAddr, String, String), EndpointError> {
    let (authority, path) = endpoint::split(url)?;
    let port = match authority.bytes().rfind(|byte| matches!(byte, b':' | b']')) {
        Some(b':') => "",
        _ => ":80",
    };
    let address = endpoint::address(&[authority, port].concat())?;
    // A base has no query: the path would become a part of it.
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && byte != b'#' && (byte != b'?' || !is_base);
    if !path.bytes().all(is_allowed) {
        return Err(EndpointError::Path);
    }
    let target = if is_base {
        [path.trim_end_matches('/'), "/v1/metrics"].concat()
    } else if path.starts_with('/') {
        path.to_owned()
    } else {
        ["/", path].concat()
    };
    Ok((address, authority.to_owned(), target))
}

/// Fields that the client writes itself.
const FIELDS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "expect",
    "te",
    "trailer",
    "upgrade",
];

/// The default of the specification.
const ENDPOINT: &str = "http://localhost:4318";

/// The default of the specification.
const TIMEOUT_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::super::{Settings, variables};
    use super::*;

    fn otlp(pairs: &[(&str, &str)]) -> (Option<Otlp>, Vec<String>) {
        let mut all = vec![("BANTAM_EXPORTERS", "otlp")];
        all.extend_from_slice(pairs);
        let settings = Settings::read(&variables(&all));
        (settings.exporters.otlp, settings.warnings)
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn what_otlp_cannot_do_is_said_and_left() {
        let none = "Bantam compresses nothing";
        let delta = "environments end without a word, which only delta allows";
        let protobuf = "Bantam has this encoding alone, which every receiver over HTTP takes";
        let table = [
            ("COMPRESSION", "none", None),
            ("COMPRESSION", " ", None),
            ("COMPRESSION", "gzip", Some(("none", none))),
            ("TEMPORALITY_PREFERENCE", "Delta", None),
            (
                "TEMPORALITY_PREFERENCE",
                "cumulative",
                Some(("delta", delta)),
            ),
            ("PROTOCOL", "http/protobuf", None),
            ("PROTOCOL", "http/json", Some(("http/protobuf", protobuf))),
            ("PROTOCOL", "grpc", Some(("http/protobuf", protobuf))),
        ];
        for (setting, value, expected) in table {
            for prefix in ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"] {
                let name = [prefix, setting].concat();
                let (found, warnings) = otlp(&[(&name, value)]);
                assert_eq!(found, otlp(&[]).0, "{name}={value}");
                let expected = expected
                    .map(|(only, why)| format!("{name} is \"{value}\": using {only}. {why}"));
                assert_eq!(warnings, Vec::from_iter(expected), "{name}={value}");
            }
        }
    }

    #[test]
    fn otlp_has_the_defaults_of_the_specification() {
        let expected = Otlp {
            address: "127.0.0.1:4318".parse().unwrap(),
            authority: "localhost:4318".to_owned(),
            target: "/v1/metrics".to_owned(),
            headers: Vec::new(),
            timeout_ms: 10_000,
            attributes: Vec::new(),
        };
        assert_eq!(otlp(&[]), (Some(expected), Vec::new()));
    }

    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";

    #[test]
    fn an_endpoint_is_an_address_an_authority_and_a_target() {
        let table = [
            (
                BASE,
                "http://10.0.0.1:4318",
                "10.0.0.1:4318 10.0.0.1:4318 /v1/metrics",
            ),
            (
                BASE,
                "http://10.0.0.1:4318/",
                "10.0.0.1:4318 10.0.0.1:4318 /v1/metrics",
            ),
            (
                BASE,
                "HTTP://localhost/base/",
                "127.0.0.1:80 localhost /base/v1/metrics",
            ),
            (
                BASE,
                " http://[::1]:4318 ",
                "[::1]:4318 [::1]:4318 /v1/metrics",
            ),
            (BASE, "http://[::1]/x", "[::1]:80 [::1] /x/v1/metrics"),
            (
                BASE,
                "127.0.0.1:4318",
                "127.0.0.1:4318 127.0.0.1:4318 /v1/metrics",
            ),
            (
                METRICS,
                "http://10.0.0.1:4318",
                "10.0.0.1:4318 10.0.0.1:4318 /",
            ),
            (
                METRICS,
                "http://10.0.0.1:4318/a/?b=c",
                "10.0.0.1:4318 10.0.0.1:4318 /a/?b=c",
            ),
            (METRICS, "http://10.0.0.1?b", "10.0.0.1:80 10.0.0.1 /?b"),
        ];
        for (name, value, expected) in table {
            let (found, warnings) = otlp(&[(name, value)]);
            let found = found.unwrap();
            let text = format!("{} {} {}", found.address, found.authority, found.target);
            assert_eq!(text, expected, "{value}");
            assert_eq!(warnings, [""; 0], "{value}");
        }
    }

    #[test]
    fn the_endpoint_for_metrics_comes_first() {
        let (found, _) = otlp(&[
            (BASE, "http://10.0.0.1:1"),
            (METRICS, "http://10.0.0.2:2/m"),
        ]);
        let found = found.unwrap();
        assert_eq!(
            (found.authority.as_str(), found.target.as_str()),
            ("10.0.0.2:2", "/m")
        );
    }

    #[test]
    fn an_endpoint_that_cannot_be_reached_switches_otlp_off() {
        let scheme = "only http:// is sent, without TLS. For https let a collector beside the \
                      function send on, and name that: http://localhost:4318";
        let host = "the host is neither an IP address nor localhost, and names are not looked up \
                    here. Give its address, or name a collector beside the function: \
                    http://localhost:4318";
        let path = "its path, or the query of a base, cannot be sent";
        let table = [
            ("https://10.0.0.1:4318", scheme),
            ("http://collector:4318", host),
            ("http://collector", host),
            (
                "http://10.0.0.1:x",
                "the port is not a number from 1 to 65535",
            ),
            (
                "http://",
                "there is no host. A receiver is http://ADDRESS:PORT",
            ),
            ("http://10.0.0.1/a b", path),
            ("http://10.0.0.1/a#b", path),
            ("http://10.0.0.1/a?b", path),
        ];
        for (value, hint) in table {
            let (found, warnings) = otlp(&[(BASE, value)]);
            assert_eq!(found, None, "{value}");
            let expected = format!("{BASE} is \"{value}\": {hint}. OTLP is off");
            assert_eq!(warnings, [expected]);
        }
        let (found, warnings) = otlp(&[(METRICS, "http://user:secret@10.0.0.1:4318")]);
        assert_eq!(found, None);
        assert_eq!(
            warnings,
            [format!(
                "{METRICS} holds a user name or a password: send them in \
                 OTEL_EXPORTER_OTLP_HEADERS. OTLP is off"
            )]
        );
    }

    #[test]
    fn timeouts_are_milliseconds() {
        for (value, timeout_ms, count) in [("250", 250, 0), ("0", 10_000, 1), ("1s", 10_000, 1)] {
            for prefix in ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"] {
                let name = [prefix, "TIMEOUT"].concat();
                let (found, warnings) = otlp(&[(&name, value)]);
                assert_eq!(found.unwrap().timeout_ms, timeout_ms, "{value}");
                assert_eq!(warnings.len(), count);
                assert!(warnings.iter().all(|text| text.starts_with(&name)));
            }
        }
    }

    #[test]
    fn headers_are_decoded_and_checked() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [usize]);
        let table: [Row<'_>; 9] = [
            ("api-key=abc", &[("api-key", "abc")], &[]),
            (" a = b , c=d=e,", &[("a", "b"), ("c", "d=e")], &[]),
            (
                "authorization=Basic%20YTpi%3D",
                &[("authorization", "Basic YTpi=")],
                &[],
            ),
            ("a=%C3%A9,b=%zz%4", &[("a", "\u{e9}"), ("b", "%zz%4")], &[]),
            ("a=", &[("a", "")], &[]),
            ("a,b=c", &[("b", "c")], &[1]),
            ("a=x%0D%0AEvil: y,=b,c d=e", &[], &[1, 2, 3]),
            ("a=%FF", &[], &[1]),
            ("Content-Length=5,host=x,ok=1", &[("ok", "1")], &[1, 2]),
        ];
        for (value, expected, left_out) in table {
            let (found, warnings) = otlp(&[("OTEL_EXPORTER_OTLP_HEADERS", value)]);
            assert_eq!(found.unwrap().headers, owned(expected), "{value}");
            let texts = left_out.iter().map(|number| {
                format!("OTEL_EXPORTER_OTLP_HEADERS: entry {number} cannot be sent, left out")
            });
            assert_eq!(warnings, texts.collect::<Vec<_>>(), "{value}");
        }
    }

    #[test]
    fn resource_attributes_and_the_name_of_the_service() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "team=a%2Cb,service.name=s,team=c, x = y ",
        );
        let with = |pairs: &[(&str, &str)]| {
            let mut all = vec![("BANTAM_EXPORTERS", "otlp")];
            all.extend_from_slice(pairs);
            let settings = Settings::read(&variables(&all));
            (
                settings.exporters.otlp.unwrap().attributes,
                settings.resource.service_name,
                settings.warnings.len(),
            )
        };
        let expected = owned(&[("team", "c"), ("x", "y")]);
        assert_eq!(with(&[attributes]), (expected.clone(), "s".to_owned(), 0));
        let named = with(&[attributes, ("OTEL_SERVICE_NAME", "t")]);
        assert_eq!(named, (expected, "t".to_owned(), 0));
        let malformed = with(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,c")]);
        assert_eq!(malformed, (Vec::new(), String::new(), 1));
        let without_otlp = Settings::read(&variables(&[attributes]));
        assert_eq!(without_otlp.resource.service_name, "");
    }
}
