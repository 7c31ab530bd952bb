//! Where and how OTLP is sent.

use std::net::SocketAddr;

use super::reader::{Reader, list, shown};
#[cfg(any(feature = "traces", test))]
use super::traces::Sampling;
use crate::shared::digits::{decimal, hexadecimal};
use crate::shared::endpoint::{self, EndpointError, Host};

/// What is sent over OTLP, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::extension) struct Otlp {
    pub(in crate::extension) metrics: Option<Receiver>,
    #[cfg(any(feature = "traces", test))]
    pub(in crate::extension) traces: Option<(Sampling, Receiver)>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without `service.name`.
    pub(in crate::extension) attributes: Vec<(String, String)>,
}

/// A receiver, and what is sent with each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Receiver {
    pub(in crate::extension) address: Address,
    /// The value of the field `Host`.
    pub(in crate::extension) authority: String,
    /// The target of the request: a path, and a query if there is one.
    pub(in crate::extension) target: String,
    /// Fields to add to each request. The names are tokens and none that frames a message; the
    /// values hold no control characters.
    pub(in crate::extension) headers: Vec<(String, String)>,
    /// How long to wait for the answer to an attempt.
    pub(in crate::extension) timeout_ms: u64,
    /// How to encrypt; absent for `http`.
    #[cfg(feature = "tls")]
    pub(in crate::extension) tls: Option<Tls>,
}

/// How to encrypt.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct Tls {
    /// The name or the address that the receiver has to have a certificate for.
    pub(in crate::extension) host: String,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: a file with the authorities to trust.
    pub(in crate::extension) certificate: Option<String>,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Address {
    Known(SocketAddr),
    /// A name, to be looked up for each connection, and a port.
    #[cfg(feature = "tls")]
    Named(String, u16),
}

/// What is sent: each has an endpoint and settings of its own.
#[derive(Clone, Copy)]
enum Signal {
    Metrics,
    #[cfg(any(feature = "traces", test))]
    Traces,
}

impl Otlp {
    /// Reads the settings; `None` when there is nothing to send.
    pub(super) fn read(reader: &mut Reader<'_>, service_name: &mut String) -> Option<Self> {
        if is(reader, "OTEL_SDK_DISABLED", "true") {
            reader.warn("OTEL_SDK_DISABLED is true: OTLP is off".to_owned());
            return None;
        }
        #[cfg(not(any(feature = "traces", test)))]
        for name in ["BANTAM_TRACES", TRACES_ENDPOINT] {
            if reader.text(name).is_some() {
                reader.warn(format!(
                    "{name} changes nothing: the layer bantam-tls has traces, this one has not"
                ));
            }
        }
        let metrics = Receiver::read(reader, Signal::Metrics);
        #[cfg(any(feature = "traces", test))]
        let traces = Receiver::read(reader, Signal::Traces);
        #[cfg(not(any(feature = "traces", test)))]
        let traces: Option<Receiver> = None;
        if metrics.is_none() && traces.is_none() {
            return None;
        }
        if metrics.is_some() {
            let temporality = "environments end without a word, which only delta allows";
            let setting = "TEMPORALITY_PREFERENCE";
            warn_unless(reader, Signal::Metrics, setting, "delta", temporality);
        }
        Some(Self {
            metrics,
            #[cfg(any(feature = "traces", test))]
            traces: traces.map(|receiver| (Sampling::read(reader), receiver)),
            attributes: resource_attributes(reader, service_name),
        })
    }
}

impl Receiver {
    /// Reads the receiver of a signal; `None` when it is off, or cannot be reached. No other place
    /// is taken instead: a receiver that was not named should not get the figures. So where only
    /// the other signal has an endpoint, this one has not the default.
    fn read(reader: &mut Reader<'_>, signal: Signal) -> Option<Self> {
        let (switch, other) = match signal {
            Signal::Metrics => ("OTEL_METRICS_EXPORTER", TRACES_ENDPOINT),
            #[cfg(any(feature = "traces", test))]
            Signal::Traces => (
                "OTEL_TRACES_EXPORTER",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            ),
        };
        if is(reader, switch, "none") {
            reader.warn(format!(
                "{switch} is none: Bantam sends none over OTLP either"
            ));
            return None;
        }
        let (name, value) = variable(reader, signal, "ENDPOINT");
        if cfg!(any(feature = "traces", test)) && value.is_none() && reader.text(other).is_some() {
            return None;
        }
        let url = value.unwrap_or(ENDPOINT);
        // The endpoint for a signal "MUST be used as-is", the one for all signals is a base:
        // <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>.
        let base = match (&*name, signal) {
            ("OTEL_EXPORTER_OTLP_ENDPOINT", Signal::Metrics) => Some("/v1/metrics"),
            #[cfg(any(feature = "traces", test))]
            ("OTEL_EXPORTER_OTLP_ENDPOINT", Signal::Traces) => Some("/v1/traces"),
            _ => None,
        };
        let mut receiver = match take_apart(url, base) {
            Ok(receiver) => receiver,
            Err(error) => {
                reader.warn(why_off(&name, url, error));
                return None;
            }
        };
        let nothing = "Bantam compresses nothing";
        warn_unless(reader, signal, "COMPRESSION", "none", nothing);
        let encoding = "Bantam has this encoding alone, which every receiver over HTTP takes";
        warn_unless(reader, signal, "PROTOCOL", "http/protobuf", encoding);
        let (timeout, _) = variable(reader, signal, "TIMEOUT");
        let timeout_ms = reader.parsed(
            &timeout,
            &|value| decimal(value.as_bytes()).filter(|ms| *ms != 0),
            "a number of milliseconds",
            &TIMEOUT_MS.to_string(),
        );
        receiver.timeout_ms = timeout_ms.unwrap_or(TIMEOUT_MS);
        receiver.headers = headers(reader, signal);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut receiver.tls {
            let (_, path) = variable(reader, signal, "CERTIFICATE");
            tls.certificate = path.map(str::to_owned);
            let (own, path) = variable(reader, signal, "CLIENT_CERTIFICATE");
            if path.is_some() {
                reader.warn(format!(
                    "{own} changes nothing: Bantam shows no certificate"
                ));
            }
        }
        Some(receiver)
    }
}

impl Receiver {
    /// The scheme of the endpoint.
    pub(in crate::extension) const fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "https";
        }
        "http"
    }

    /// The path for the log: another than those of the specification may hold a secret, as may a
    /// query.
    pub(in crate::extension) fn shown_path(&self) -> &str {
        match &*self.target {
            path @ ("/v1/metrics" | "/v1/traces") => path,
            _ => "/...",
        }
    }
}

/// Whether a variable has this value, in either case.
fn is(reader: &Reader<'_>, name: &str, expected: &str) -> bool {
    let value = reader.text(name).unwrap_or_default();
    value.eq_ignore_ascii_case(expected)
}

/// The variable for the signal if it is set, else the one for all signals: its name and its value.
fn variable<'a>(reader: &Reader<'a>, signal: Signal, setting: &str) -> (String, Option<&'a str>) {
    let signal = match signal {
        Signal::Metrics => "METRICS_",
        #[cfg(any(feature = "traces", test))]
        Signal::Traces => "TRACES_",
    };
    let name = ["OTEL_EXPORTER_OTLP_", signal, setting].concat();
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
fn warn_unless(reader: &mut Reader<'_>, signal: Signal, setting: &str, only: &str, why: &str) {
    let (name, value) = variable(reader, signal, setting);
    if let Some(value) = value.filter(|value| !value.eq_ignore_ascii_case(only)) {
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
             Nothing is sent there"
        );
    }
    let hint = match error {
        EndpointError::Scheme => {
            "https needs the layer bantam-tls in place of bantam, or a collector beside the \
             function that sends on: http://localhost:4318"
        }
        EndpointError::Host | EndpointError::NoAddress | EndpointError::Unresolved => {
            "the host is neither an IP address nor localhost, and names are looked up by the layer \
             bantam-tls alone. Give its address, or name a collector beside the function: \
             http://localhost:4318"
        }
        EndpointError::NoHost => "there is no host. A receiver is http://ADDRESS:PORT",
        EndpointError::Port => "the port is not a number from 1 to 65535",
        EndpointError::Path => "its path, or the query of a base, cannot be sent",
    };
    // The path and the query may hold a secret.
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    let end = rest.find(['/', '?']).map_or(url.len(), |at| start + at);
    let shown = shown(url.get(..end).unwrap_or_default());
    format!("{name} is \"{shown}\": {hint}. Nothing is sent there")
}

fn headers(reader: &mut Reader<'_>, signal: Signal) -> Vec<(String, String)> {
    let (variable, value) = variable(reader, signal, "HEADERS");
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

/// Takes a URL apart. A base gets the path for its signal; any other URL keeps its path as it is, a
/// query included.
fn take_apart(url: &str, base: Option<&str>) -> Result<Receiver, EndpointError> {
    #[cfg(feature = "tls")]
    let (url, is_tls) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest, true),
        Some(_) | None => (url, false),
    };
    #[cfg(not(feature = "tls"))]
    let is_tls = false;
    let (authority, path) = endpoint::split(url)?;
    let (host, port) = endpoint::host_and_port(authority)?;
    let port = port.unwrap_or(if is_tls { 443 } else { 80 });
    let address = match host {
        Host::Address(ip) => Address::Known(SocketAddr::new(ip, port)),
        #[cfg(feature = "tls")]
        Host::Name(name) => Address::Named(name.to_owned(), port),
        #[cfg(not(feature = "tls"))]
        Host::Name(_) => return Err(EndpointError::NoAddress),
    };
    // A base has no query: the path would become a part of it.
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && byte != b'#' && (byte != b'?' || base.is_none());
    if !path.bytes().all(is_allowed) {
        return Err(EndpointError::Path);
    }
    let target = match base {
        Some(behind) => [path.trim_end_matches('/'), behind].concat(),
        None if path.starts_with('/') => path.to_owned(),
        None => ["/", path].concat(),
    };
    Ok(Receiver {
        address,
        authority: authority.to_owned(),
        target,
        headers: Vec::new(),
        timeout_ms: TIMEOUT_MS,
        #[cfg(feature = "tls")]
        tls: is_tls.then(|| Tls {
            host: endpoint::host_text(authority).to_owned(),
            certificate: None,
        }),
    })
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

/// The endpoint of the signal that not every build has.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The default of the specification.
const TIMEOUT_MS: u64 = 10_000;

#[cfg(test)]
impl Receiver {
    /// A receiver for tests.
    pub(in crate::extension) fn at(address: SocketAddr, target: &str) -> Self {
        Self {
            address: Address::Known(address),
            authority: address.to_string(),
            target: target.to_owned(),
            headers: Vec::new(),
            timeout_ms: TIMEOUT_MS,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

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

    fn sampling(pairs: &[(&str, &str)]) -> Sampling {
        let (found, _) = otlp(pairs);
        found.unwrap().traces.unwrap().0
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
        let receiver = |target| Receiver {
            authority: "localhost:4318".to_owned(),
            ..Receiver::at("127.0.0.1:4318".parse().unwrap(), target)
        };
        let expected = Otlp {
            metrics: Some(receiver("/v1/metrics")),
            traces: Some((sampling(&[]), receiver("/v1/traces"))),
            attributes: Vec::new(),
        };
        assert_eq!(receiver("").timeout_ms, 10_000);
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
            let found = found.unwrap().metrics.unwrap();
            let address =
                Receiver::at(expected.split(' ').next().unwrap().parse().unwrap(), "").address;
            assert_eq!(found.address, address, "{value}");
            let text = format!("{} {}", found.authority, found.target);
            assert_eq!(text, expected.split_once(' ').unwrap().1, "{value}");
            assert_eq!(warnings, [""; 0], "{value}");
        }
    }

    #[test]
    fn the_endpoint_for_metrics_comes_first() {
        let (found, _) = otlp(&[
            (BASE, "http://10.0.0.1:1"),
            (METRICS, "http://10.0.0.2:2/m"),
        ]);
        let found = found.unwrap().metrics.unwrap();
        assert_eq!(
            (found.authority.as_str(), found.target.as_str()),
            ("10.0.0.2:2", "/m")
        );
    }

    #[test]
    fn an_endpoint_that_cannot_be_reached_switches_otlp_off() {
        let scheme = "https needs the layer bantam-tls in place of bantam, or a collector beside \
                      the function that sends on: http://localhost:4318";
        let host = "the host is neither an IP address nor localhost, and names are looked up by \
                    the layer bantam-tls alone. Give its address, or name a collector beside the \
                    function: http://localhost:4318";
        let path = "its path, or the query of a base, cannot be sent";
        // With TLS all of them can be reached.
        let without_tls = [
            ("https://10.0.0.1:4318", scheme),
            ("http://collector:4318", host),
            ("http://collector", host),
        ];
        let without_tls = without_tls.into_iter().filter(|_| !cfg!(feature = "tls"));
        let table = [
            ("http://1.2.3:4318", host),
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
        for (value, hint) in table.into_iter().chain(without_tls) {
            let (found, warnings) = otlp(&[(BASE, value)]);
            assert_eq!(found, None, "{value}");
            // Behind the authority there may be a secret.
            let shown = value.split("/a").next().unwrap();
            let expected = format!("{BASE} is \"{shown}\": {hint}. Nothing is sent there");
            assert_eq!(warnings, [expected]);
        }
        let (found, warnings) = otlp(&[(METRICS, "http://user:secret@10.0.0.1:4318")]);
        assert_eq!(found, None);
        assert_eq!(
            warnings,
            [format!(
                "{METRICS} holds a user name or a password: send them in \
                 OTEL_EXPORTER_OTLP_HEADERS. Nothing is sent there"
            )]
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn an_endpoint_may_be_a_name_and_encrypted() {
        let named = |port| Address::Named("monitoring.eu-west-1.amazonaws.com".to_owned(), port);
        let at = |text: &str| Address::Known(text.parse().unwrap());
        let aws = "monitoring.eu-west-1.amazonaws.com";
        let table = [
            (
                ["https://", aws, "/v1/metrics"].concat(),
                named(443),
                Some(aws),
            ),
            (["HTTPS://", aws, ":8443"].concat(), named(8_443), Some(aws)),
            (["http://", aws, ":4318"].concat(), named(4_318), None),
            (["http://", aws].concat(), named(80), None),
            (
                "https://10.0.0.1".to_owned(),
                at("10.0.0.1:443"),
                Some("10.0.0.1"),
            ),
            (
                "https://[::1]:4318/".to_owned(),
                at("[::1]:4318"),
                Some("::1"),
            ),
            // A certificate is for the name, wherever that leads.
            (
                "https://localhost:1".to_owned(),
                at("127.0.0.1:1"),
                Some("localhost"),
            ),
        ];
        for (url, address, host) in table {
            let variables = [
                (METRICS, url.as_str()),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/var/task/root.pem"),
                (
                    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
                    "/var/task/own.pem",
                ),
            ];
            let (found, warnings) = otlp(&variables);
            let found = found.unwrap().metrics.unwrap();
            assert_eq!(found.address, address, "{url}");
            assert_eq!(
                found.scheme(),
                if host.is_some() { "https" } else { "http" }
            );
            let tls = host.map(|host| Tls {
                host: host.to_owned(),
                certificate: Some("/var/task/own.pem".to_owned()),
            });
            assert_eq!(found.tls, tls, "{url}");
            assert_eq!(warnings, [""; 0]);
        }
        let (_, warnings) = otlp(&[
            (BASE, "https://receiver.example"),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                "/var/task/client.pem",
            ),
        ]);
        let expected = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE changes nothing: Bantam shows no \
                        certificate";
        assert_eq!(warnings, [expected]);
    }

    /// The targets of metrics and of traces, and the warnings.
    fn targets(pairs: &[(&str, &str)]) -> ([Option<String>; 2], Vec<String>) {
        let (found, warnings) = otlp(pairs);
        let found = found.unwrap_or_default();
        let traces = found.traces.map(|(_, receiver)| receiver);
        let target = |receiver: Option<Receiver>| Some(receiver?.authority + "/");
        ([target(found.metrics), target(traces)], warnings)
    }

    #[test]
    fn each_signal_goes_where_its_variables_say() {
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let base = (BASE, "http://10.0.0.1:1");
        let metrics = (METRICS, "http://10.0.0.2:2");
        let traces = (TRACES, "http://10.0.0.3:3");
        let no_metrics = ("OTEL_METRICS_EXPORTER", "none");
        let no_traces = ("OTEL_TRACES_EXPORTER", "None");
        let disabled = ("OTEL_SDK_DISABLED", "true");
        let (default, first) = (Some("localhost:4318/"), Some("10.0.0.1:1/"));
        let (second, third) = (Some("10.0.0.2:2/"), Some("10.0.0.3:3/"));
        let table: [(&[(&str, &str)], _, _); 13] = [
            (&[], [default, default], 0),
            (&[base], [first, first], 0),
            (&[base, metrics], [second, first], 0),
            (&[base, traces], [first, third], 0),
            (&[metrics, traces], [second, third], 0),
            // A receiver that was not named gets nothing.
            (&[metrics], [second, None], 0),
            (&[traces], [None, third], 0),
            (&[base, no_traces], [first, None], 1),
            (&[base, no_metrics], [None, first], 1),
            (&[base, no_metrics, no_traces], [None, None], 2),
            (&[base, disabled], [None, None], 1),
            (&[("OTEL_SDK_DISABLED", "false")], [default, default], 0),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], [default, default], 0),
        ];
        for (pairs, expected, count) in table {
            let (found, warnings) = targets(pairs);
            assert_eq!(
                found.each_ref().map(Option::as_deref),
                expected,
                "{pairs:?}"
            );
            assert_eq!(warnings.len(), count, "{warnings:?}");
        }
        let (found, warnings) = targets(&[base, (TRACES, "http://x:y")]);
        assert_eq!(found.each_ref().map(Option::as_deref), [first, None]);
        let start = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is \"http://x:y\": ";
        assert!(warnings[0].starts_with(start), "{warnings:?}");
        let (found, _) = otlp(&[base, metrics]);
        let found = found.unwrap();
        assert_eq!(found.metrics.unwrap().target, "/");
        assert_eq!(found.traces.unwrap().1.target, "/v1/traces");
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let id = |low: u64| u128::from(low).to_be_bytes();
        // The first bit of the last 64 does not count.
        let ids = [id(0), id((1 << 63) | ((1 << 62) - 1)), id(u64::MAX)];
        let parents = [None, Some(false), Some(true)];
        // Which of the ids are taken without a parent, and with one that is not or is sampled.
        let all = [true; 3];
        let none = [false; 3];
        let half = [true, true, false];
        let table = [
            ("", "", [all, none, all]),
            ("parentbased_always_on", "", [all, none, all]),
            ("parentbased_always_off", "", [none, none, all]),
            ("parentbased_traceidratio", "0.5", [half, none, all]),
            ("always_on", "", [all, all, all]),
            ("always_off", "", [none; 3]),
            ("Always_Off", "", [none; 3]),
            ("traceidratio", "0.5", [half; 3]),
            ("traceidratio", "0", [none; 3]),
            ("traceidratio", "1.0", [all; 3]),
            ("traceidratio", ".5", [half; 3]),
            ("traceidratio", "0.500000000", [half; 3]),
            ("traceidratio", "", [all; 3]),
        ];
        for (sampler, ratio, expected) in table {
            let pairs = [(SAMPLER, sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
            let (found, warnings) = otlp(&pairs);
            let (sampling, _) = found.unwrap().traces.unwrap();
            assert!(!sampling.all_starts);
            assert_eq!(warnings, [""; 0]);
            let found = parents.map(|parent| ids.map(|id| sampling.takes(id, parent)));
            assert_eq!(found, expected, "{sampler} {ratio}");
        }
        assert!(sampling(&[("BANTAM_TRACES", "starts")]).all_starts);
        let named = [("BANTAM_TRACES", "cold_starts")];
        assert_eq!(otlp(&named), otlp(&[]));
        for (name, value) in [
            (SAMPLER, "jaeger_remote"),
            (SAMPLER, "parentbased_"),
            ("BANTAM_TRACES", "all"),
        ] {
            let (found, warnings) = otlp(&[(name, value)]);
            assert_eq!(found, otlp(&[]).0);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
        for ratio in ["-0.1", "1.1", "NaN", "x", "0,5", "0.1234567890", "1e-1"] {
            let pairs = [
                (SAMPLER, "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", ratio),
            ];
            let (_, warnings) = otlp(&pairs);
            let expected = "expected a decimal number from 0 to 1 with at most 9 decimals: using 1";
            assert!(warnings[0].ends_with(expected), "{warnings:?}");
        }
    }

    #[test]
    fn timeouts_are_milliseconds() {
        for (value, timeout_ms, count) in [("250", 250, 0), ("0", 10_000, 1), ("1s", 10_000, 1)] {
            for prefix in ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"] {
                let name = [prefix, "TIMEOUT"].concat();
                let (found, warnings) = otlp(&[(&name, value)]);
                assert_eq!(found.unwrap().metrics.unwrap().timeout_ms, timeout_ms);
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
            let found = found.unwrap();
            assert_eq!(found.metrics.unwrap().headers, owned(expected), "{value}");
            let (_, traces) = found.traces.unwrap();
            assert_eq!(traces.headers, owned(expected), "{value}");
            let texts = left_out.iter().map(|number| {
                format!("OTEL_EXPORTER_OTLP_HEADERS: entry {number} cannot be sent, left out")
            });
            assert_eq!(warnings, texts.collect::<Vec<_>>(), "{value}");
        }
    }

    #[test]
    fn the_log_has_no_path_but_the_usual_ones() {
        let table = [
            ("http://10.0.0.1", "/v1/metrics"),
            ("http://10.0.0.1/v1/metrics", "/..."),
            ("http://10.0.0.1/otlp/S3CRET", "/..."),
        ];
        for (base, expected) in table {
            let (found, _) = otlp(&[(BASE, base)]);
            assert_eq!(found.unwrap().metrics.unwrap().shown_path(), expected);
        }
        let (found, _) = otlp(&[(METRICS, "http://10.0.0.1/v1/metrics?k=S3CRET")]);
        assert_eq!(found.unwrap().metrics.unwrap().shown_path(), "/...");
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
