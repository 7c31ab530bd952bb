//! Where and how OTLP is sent, from the environment.

use std::net::SocketAddr;

use super::list;
use super::otlp::{Encoding, Otlp};
use super::settings::Reader;
use crate::shared::endpoint::{Endpoint, EndpointError};

impl Reader<'_> {
    /// `None` when there is nowhere to send to. No other place is taken instead: a receiver that
    /// was not named should not get the figures.
    pub(super) fn otlp(&mut self, service_name: &mut Option<String>) -> Option<Otlp> {
        let (address, authority, target) = self.otlp_endpoint()?;
        let mut attributes = self.resource_attributes();
        attributes.retain_mut(|(name, value)| {
            let is_name = name == "service.name";
            // `OTEL_SERVICE_NAME` "takes precedence":
            // <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
            if is_name && service_name.is_none() && !value.is_empty() {
                *service_name = Some(std::mem::take(value));
            }
            !is_name
        });
        self.otlp_only("COMPRESSION", "none");
        self.otlp_only("TEMPORALITY_PREFERENCE", "delta");
        Some(Otlp {
            address,
            authority,
            target,
            encoding: self.otlp_encoding(),
            headers: self.otlp_headers(),
            timeout_ms: self.otlp_timeout_ms(),
            attributes,
        })
    }

    /// The endpoint for metrics "MUST be used as-is", the one for all signals is a base:
    /// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>.
    fn otlp_endpoint(&mut self) -> Option<(SocketAddr, String, String)> {
        let metrics = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
        let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (mut name, mut path, mut url) = (metrics, "", self.text(metrics));
        if url.is_none() {
            (name, path, url) = (base, "/v1/metrics", self.text(base));
        }
        let url = url.as_deref().unwrap_or(OTLP_ENDPOINT);
        let parsed = endpoint(url.trim_ascii(), path);
        if let Err(error) = parsed {
            let why = error.to_string();
            self.warn(&[name, ": ", &why, "; OTLP is off"]);
        }
        parsed.ok()
    }

    fn otlp_encoding(&mut self) -> Encoding {
        match self.otlp_text("PROTOCOL") {
            None => Encoding::Protobuf,
            Some((value, _)) if value.trim_ascii() == "http/protobuf" => Encoding::Protobuf,
            Some((value, _)) if value.trim_ascii() == "http/json" => Encoding::Json,
            Some((_, name)) => {
                self.warn(&[
                    &name,
                    " is neither http/protobuf nor http/json, using http/protobuf",
                ]);
                Encoding::Protobuf
            }
        }
    }

    /// Says so when a variable asks for what there is not.
    fn otlp_only(&mut self, what: &str, only: &str) {
        if let Some((value, name)) = self.otlp_text(what)
            && !value.trim_ascii().eq_ignore_ascii_case(only)
        {
            self.warn(&[&name, " can only be ", only, " here, using that"]);
        }
    }

    fn otlp_timeout_ms(&mut self) -> u64 {
        let Some((value, name)) = self.otlp_text("TIMEOUT") else {
            return OTLP_TIMEOUT_MS;
        };
        let ms = crate::shared::http::decimal(value.trim_ascii().as_bytes());
        ms.filter(|ms| *ms != 0).unwrap_or_else(|| {
            self.warn(&[&name, " is not a number of milliseconds, using 10000"]);
            OTLP_TIMEOUT_MS
        })
    }

    fn otlp_headers(&mut self) -> Vec<(String, String)> {
        let Some((value, variable)) = self.otlp_text("HEADERS") else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for (index, entry) in list(&value).enumerate() {
            match pair(entry).filter(|(name, value)| is_header(name, value)) {
                Some(header) => headers.push(header),
                // Which one and not what it says: it may be a key.
                None => {
                    let number = (index + 1).to_string();
                    self.warn(&[&variable, ": entry ", &number, " cannot be sent, left out"]);
                }
            }
        }
        headers
    }

    /// "In case of any error … the entire environment variable value SHOULD be discarded":
    /// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>.
    fn resource_attributes(&mut self) -> Vec<(String, String)> {
        let Some(value) = self.text("OTEL_RESOURCE_ATTRIBUTES") else {
            return Vec::new();
        };
        let mut attributes: Vec<(String, String)> = Vec::new();
        for entry in list(&value) {
            let Some((name, value)) = pair(entry) else {
                self.warn(&["OTEL_RESOURCE_ATTRIBUTES is not a list of name=value, left out"]);
                return Vec::new();
            };
            // A resource has each attribute once; the last one counts.
            match attributes.iter_mut().find(|(other, _)| *other == name) {
                Some((_, earlier)) => *earlier = value,
                None => attributes.push((name, value)),
            }
        }
        attributes
    }

    /// The value for metrics if there is one, else the value for all signals; and the name of the
    /// variable it came from.
    fn otlp_text(&self, what: &str) -> Option<(String, String)> {
        for start in ["OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"] {
            let name = [start, what].concat();
            if let Some(value) = self.text(&name) {
                return Some((value, name));
            }
        }
        None
    }
}

/// `name=value` with both percent-decoded.
fn pair(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let (name, value) = (
        percent_decoded(name.trim_ascii())?,
        percent_decoded(value.trim_ascii())?,
    );
    (!name.is_empty()).then_some((name, value))
}

/// `None` if the result is not UTF-8. A percent sign that starts no escape stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, after @ ..] if *first == b'%' => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).ok()
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Whether a field may be added to a request: a token for a name, no control character in the
/// value, and nothing that the client writes itself.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(is_token)
        && !FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name))
        && !value.bytes().any(|byte| byte.is_ascii_control())
}

/// Takes a URL apart into the address, the authority, and the target with `path` behind it.
///
/// As [`Endpoint`] does, but with port 80 where none is given, as URLs of receivers may be, and
/// with the path kept as it is, a query included.
fn endpoint(url: &str, path: &str) -> Result<(SocketAddr, String, String), EndpointError> {
    let scheme = url.split_once(':');
    let scheme = scheme.and_then(|(name, rest)| Some((name, rest.strip_prefix("//")?)));
    let (scheme, rest) = scheme.unwrap_or(("http", url));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(EndpointError::Scheme);
    }
    let end = rest.bytes().position(|byte| b"/?#".contains(&byte));
    let end = end.unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).ok_or(EndpointError::Path)?;
    let port = authority
        .rsplit_once(']')
        .map_or(authority, |(_, port)| port);
    let has_port = port.contains(':');
    let port = if has_port || authority.is_empty() {
        ""
    } else {
        ":80"
    };
    let endpoint = Endpoint::parse(&[authority, port].concat())?;
    let is_graphic = target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (target, path) = match path {
        // A base has no query: the path would become a part of it.
        "" => (target, path),
        _ if target.contains('?') => return Err(EndpointError::Path),
        _ => (target.trim_end_matches('/'), path),
    };
    let slash = if target.starts_with('/') || !path.is_empty() {
        ""
    } else {
        "/"
    };
    if !is_graphic {
        return Err(EndpointError::Path);
    }
    let target = [slash, target, path].concat();
    Ok((endpoint.address, authority.to_owned(), target))
}

/// Fields that the client writes itself.
const FIELDS: &[&str] = &[
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
const OTLP_ENDPOINT: &str = "http://localhost:4318";

/// The default of the specification.
const OTLP_TIMEOUT_MS: u64 = 10_000;
