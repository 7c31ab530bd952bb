//! Where and how OTLP is sent, from the environment.

use std::net::SocketAddr;

use crate::extension::export::list;
use crate::extension::export::otlp::{Encoding, Otlp};
use crate::extension::settings::Reader;
use crate::shared::endpoint::{self, EndpointError};
use crate::shared::http::{decimal, hexadecimal};
use crate::shared::text::{cut, decimal_text, same};

/// `None` when there is nowhere to send to. No other place is taken instead: a receiver that
/// was not named should not get the figures.
#[inline(never)]
pub(super) fn read(reader: &mut Reader<'_>, service_name: &mut &'static str) -> Option<Otlp> {
    let name = variable(reader, "ENDPOINT");
    // The endpoint for metrics "MUST be used as-is", the one for all signals is a base:
    // <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp>.
    let path = match name.as_str() {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => "/v1/metrics",
        _ => "",
    };
    let endpoint = take_apart(reader.text(&name).unwrap_or(OTLP_ENDPOINT), path);
    if let Err(error) = endpoint {
        reader.warn(&[&name, ": ", error.as_str(), "; OTLP is off"]);
    }
    let (address, authority, target) = endpoint.ok()?;
    let mut value = |what, default, is_good, why: &str| {
        let name = variable(reader, what);
        reader.value(&name, default, is_good, &[why])
    };
    value(
        "COMPRESSION",
        "none",
        |value| same(value.as_bytes(), b"none"),
        " can only be none here, using that",
    );
    value(
        "TEMPORALITY_PREFERENCE",
        "delta",
        |value| same(value.as_bytes(), b"delta"),
        " can only be delta here, using that",
    );
    let protocol = value(
        "PROTOCOL",
        PROTOBUF,
        |value| matches!(value, PROTOBUF | JSON),
        " is neither http/protobuf nor http/json, using http/protobuf",
    );
    let timeout_ms = value(
        "TIMEOUT",
        TIMEOUT_MS,
        |value| decimal(value.as_bytes()).is_some_and(|ms| ms != 0),
        " is not a number of milliseconds, using 10000",
    );
    Some(Otlp {
        address,
        authority,
        target,
        encoding: match protocol {
            JSON => Encoding::Json,
            _ => Encoding::Protobuf,
        },
        headers: headers(reader),
        timeout_ms: decimal(timeout_ms.as_bytes()).unwrap_or_default(),
        attributes: resource_attributes(reader, service_name),
    })
}

/// The name of the variable for metrics if that is set, else of the one for all signals.
fn variable(reader: &Reader<'_>, what: &str) -> String {
    let name = ["OTEL_EXPORTER_OTLP_METRICS_", what].concat();
    match reader.text(&name) {
        Some(_) => name,
        None => ["OTEL_EXPORTER_OTLP_", what].concat(),
    }
}

#[inline(never)]
fn headers(reader: &mut Reader<'_>) -> Vec<(&'static str, &'static str)> {
    let variable = variable(reader, "HEADERS");
    let mut headers = Vec::new();
    for (index, entry) in list(reader.text(&variable).unwrap_or_default()).enumerate() {
        match pair(entry).filter(|(name, value)| is_header(name, value)) {
            Some(header) => headers.push(header),
            // Which one and not what it says: it may be a key.
            None => {
                let number = decimal_text(index as u64 + 1);
                reader.warn(&[&variable, ": entry ", &number, " cannot be sent, left out"]);
            }
        }
    }
    headers
}

/// "In case of any error … the entire environment variable value SHOULD be discarded":
/// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>.
#[inline(never)]
fn resource_attributes(
    reader: &mut Reader<'_>,
    service_name: &mut &'static str,
) -> Vec<(&'static str, &'static str)> {
    let variable = "OTEL_RESOURCE_ATTRIBUTES";
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    let mut own_name = "";
    for entry in list(reader.text(variable).unwrap_or_default()) {
        let Some((name, value)) = pair(entry) else {
            reader.warn(&[variable, " is not a list of name=value, left out"]);
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

/// `name=value` with both percent-decoded.
fn pair(entry: &str) -> Option<(&'static str, &'static str)> {
    let (name, value) = cut(entry, b'=')?;
    let (name, value) = (percent_decoded(name)?, percent_decoded(value)?);
    (!name.is_empty()).then_some((name, value))
}

/// `None` if the result is not UTF-8. A percent sign that starts no escape stands for itself.
///
/// Settings are kept as long as the process lives.
#[inline(never)]
fn percent_decoded(text: &str) -> Option<&'static str> {
    let mut rest = text.trim_ascii().as_bytes();
    let mut out = Vec::new();
    while let [first, behind @ ..] = rest {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(hexadecimal);
        out.push(escaped.map_or(*first, |byte| byte.to_le_bytes()[0]));
        let count = if escaped.is_some() { 3 } else { 1 };
        rest = rest.get(count..).unwrap_or_default();
    }
    str::from_utf8(out.leak()).ok()
}

/// Whether a field may be added to a request: a token for a name, no control character in the
/// value, and nothing that the client writes itself.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.5>
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(is_token)
        && !list(FIELDS).any(|own| same(own.as_bytes(), name.as_bytes()))
        && !value.bytes().any(|byte| byte.is_ascii_control())
}

/// Takes a URL apart into the address, the authority, and the parts of the target, which ends with
/// `path`.
///
/// As [`endpoint`] does, but with port 80 where none is given, as URLs of receivers may be, and
/// with the path kept as it is, a query included.
#[inline(never)]
fn take_apart(
    url: &'static str,
    path: &'static str,
) -> Result<(SocketAddr, &'static str, [&'static str; 3]), EndpointError> {
    let (authority, mut target) = endpoint::split(url)?;
    let mut bytes = authority.bytes();
    let port = match bytes.rfind(|byte| matches!(byte, b':' | b']')) {
        Some(b':') => "",
        _ => ":80",
    };
    let address = endpoint::address(&[authority, port].concat())?;
    // A base has no query: the path would become a part of it.
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && byte != b'#' && (byte != b'?' || path.is_empty());
    if !target.bytes().all(is_allowed) {
        return Err(EndpointError::Path);
    }
    while !path.is_empty()
        && let Some(shorter) = target.strip_suffix("/")
    {
        target = shorter;
    }
    let has_slash = target.starts_with("/") || !path.is_empty();
    let slash = if has_slash { "" } else { "/" };
    Ok((address, authority, [slash, target, path]))
}

/// Fields that the client writes itself.
const FIELDS: &str = "host,connection,content-length,content-type,content-encoding,\
                      transfer-encoding,expect,te,trailer,upgrade";

const PROTOBUF: &str = "http/protobuf";
const JSON: &str = "http/json";

/// The default of the specification.
const OTLP_ENDPOINT: &str = "http://localhost:4318";

/// The default of the specification.
const TIMEOUT_MS: &str = "10000";
