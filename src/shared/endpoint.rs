//! `AWS_LAMBDA_RUNTIME_API`: where the Runtime and Extensions APIs listen.
//!
//! Lambda sets `host:port` with an IP address, see
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! `cargo lambda` sets a URL with a path prefix, `http://127.0.0.1:9000/.rt/NAME`; other tools leave
//! out the scheme or the port, or set the name of a container.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::digits::decimal;

/// The address of the API, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// The value of the `Host` field: the authority as it was given.
    pub(crate) authority: String,
    /// The first part of every path: empty, or a path without a `/` at its end.
    pub(crate) prefix: String,
}

/// Looks up the address of a host by its name.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str) -> Option<IpAddr>;

/// Why a value is not the address of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// There is no host.
    NoHost,
    /// The value starts with a scheme other than `http`.
    Scheme,
    /// The port is not a number from 1 to 65,535.
    Port,
    /// The host is neither an IP address nor a name.
    Host,
    /// The host has a name where an address is needed.
    NoAddress,
    /// No address was found for the name of the host.
    Unresolved,
    /// The path holds a byte that a request line must not hold.
    Path,
}

impl Endpoint {
    /// Takes apart `host:port` or `http://host:port/prefix`. Without a port it is 80.
    ///
    /// # Errors
    ///
    /// One variant of [`EndpointError`] for each part that can be wrong.
    pub(crate) fn parse(value: &str, resolve: Resolve<'_>) -> Result<Self, EndpointError> {
        let (authority, path) = split(value)?;
        let path = path.trim_end_matches('/');
        // A request target holds no white space, control characters, query or fragment here.
        let is_allowed = |b: u8| b.is_ascii_graphic() && b != b'?' && b != b'#';
        if !path.bytes().all(is_allowed) {
            return Err(EndpointError::Path);
        }
        let (host, port) = host_and_port(authority)?;
        let ip = match host {
            Host::Address(ip) => ip,
            Host::Name(name) => resolve(name).ok_or(EndpointError::Unresolved)?,
        };
        Ok(Self {
            address: SocketAddr::new(ip, port.unwrap_or(80)),
            authority: authority.to_owned(),
            prefix: path.to_owned(),
        })
    }
}

/// Takes off the scheme, and gives the authority and the rest behind it.
///
/// # Errors
///
/// [`EndpointError::Scheme`] and [`EndpointError::NoHost`].
pub(crate) fn split(value: &str) -> Result<(&str, &str), EndpointError> {
    let rest = match value.split_once(':') {
        Some((scheme, rest)) => match rest.strip_prefix("//") {
            None => value,
            Some(rest) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(EndpointError::Scheme),
        },
        None => value,
    };
    let mut bytes = rest.bytes();
    let end = bytes.position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    match rest.split_at(end.unwrap_or(rest.len())) {
        ("", _) => Err(EndpointError::NoHost),
        parts => Ok(parts),
    }
}

/// Reads `host:port` with an IP address or `localhost`.
///
/// # Errors
///
/// [`EndpointError::Port`] and [`EndpointError::NoAddress`].
pub(crate) fn address(authority: &str) -> Result<SocketAddr, EndpointError> {
    match host_and_port(authority) {
        Ok((Host::Address(ip), Some(port))) => Ok(SocketAddr::new(ip, port)),
        Ok((Host::Address(_), None)) => Err(EndpointError::Port),
        Ok((Host::Name(_), _)) | Err(EndpointError::Host) => Err(EndpointError::NoAddress),
        Err(error) => Err(error),
    }
}

/// A host as it is given.
pub(crate) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// Reads `host` or `host:port`.
///
/// # Errors
///
/// [`EndpointError::Port`] and [`EndpointError::Host`].
pub(crate) fn host_and_port(authority: &str) -> Result<(Host<'_>, Option<u16>), EndpointError> {
    let bytes = authority.as_bytes();
    // Only in brackets is it clear where an IPv6 address ends.
    let end = match authority.strip_prefix('[') {
        Some(_) => bytes.iter().position(|byte| *byte == b']').map(|at| at + 1),
        None => bytes.iter().rposition(|byte| *byte == b':'),
    };
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let port = match port.strip_prefix(':') {
        Some(port) => Some(parse_port(port)?),
        None if port.is_empty() => None,
        None => return Err(EndpointError::Port),
    };
    Ok((Host::parse(host)?, port))
}

/// The host of an authority as a certificate names it: without the port, and an IPv6 address
/// without its brackets.
#[cfg(feature = "tls")]
pub(crate) fn host_text(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn parse_port(port: &str) -> Result<u16, EndpointError> {
    match decimal(port.as_bytes()).map(u16::try_from) {
        Some(Ok(port @ 1..)) => Ok(port),
        _ => Err(EndpointError::Port),
    }
}

impl<'a> Host<'a> {
    fn parse(host: &'a str) -> Result<Self, EndpointError> {
        if let Some(inner) = host.strip_prefix('[') {
            let address = inner.strip_suffix(']').ok_or(EndpointError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_bad| EndpointError::Host)?;
            // An IPv4 address in an IPv6 one is reached without IPv6 as well.
            return Ok(Self::Address(address.to_canonical()));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        // No resolver needs to be asked for these, and not every one knows the second.
        if ["localhost", "localhost.localdomain"]
            .iter()
            .any(|name| host.eq_ignore_ascii_case(name))
        {
            return Ok(Self::Address(Ipv4Addr::LOCALHOST.into()));
        }
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        // Without a letter it is an address with a mistake.
        if host.bytes().all(is_allowed) && host.bytes().any(|b| b.is_ascii_alphabetic()) {
            Ok(Self::Name(host))
        } else {
            Err(EndpointError::Host)
        }
    }
}

impl EndpointError {
    /// The error in words for the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "there is no host",
            Self::Scheme => "the scheme is not http",
            Self::Port => "expected host:port with a port from 1 to 65535",
            Self::Host => "the host is neither an IP address nor a name",
            Self::NoAddress => "the host is neither an IP address nor localhost",
            Self::Unresolved => "no address was found for the name of the host",
            Self::Path => "the path holds a byte that a request line must not hold",
        }
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(value, &|name| match name {
            "runtime" | "host.docker.internal" => Some(IpAddr::from([10, 0, 0, 7])),
            _ => None,
        })
    }

    #[test]
    fn accepted_forms() {
        // Value, address, authority, prefix.
        for line in [
            "127.0.0.1:9001 127.0.0.1:9001 127.0.0.1:9001",
            "169.254.100.1:9001 169.254.100.1:9001 169.254.100.1:9001",
            "127.0.0.1 127.0.0.1:80 127.0.0.1",
            "localhost:80 127.0.0.1:80 localhost:80",
            "LocalHost 127.0.0.1:80 LocalHost",
            "localhost:9001/lambda/ab-12 127.0.0.1:9001 localhost:9001 /lambda/ab-12",
            "http://localhost 127.0.0.1:80 localhost",
            "[::1]:9001 [::1]:9001 [::1]:9001",
            "[::1] [::1]:80 [::1]",
            "[fd00:EC2::23]:80 [fd00:ec2::23]:80 [fd00:EC2::23]:80",
            "[::ffff:127.0.0.1]:9001 127.0.0.1:9001 [::ffff:127.0.0.1]:9001",
            "[::ffff:7f00:1]:9001 127.0.0.1:9001 [::ffff:7f00:1]:9001",
            "runtime:9001 10.0.0.7:9001 runtime:9001",
            "localhost.localdomain:9001 127.0.0.1:9001 localhost.localdomain:9001",
            "http://host.docker.internal/2 10.0.0.7:80 host.docker.internal /2",
            "http://127.0.0.1:9000 127.0.0.1:9000 127.0.0.1:9000",
            "http://127.0.0.1:9000/ 127.0.0.1:9000 127.0.0.1:9000",
            "http://127.0.0.1:9000/.rt/my-fn 127.0.0.1:9000 127.0.0.1:9000 /.rt/my-fn",
            "HTTP://[::]:9000/.rt/f// [::]:9000 [::]:9000 /.rt/f",
            "127.0.0.1:9000/p 127.0.0.1:9000 127.0.0.1:9000 /p",
        ] {
            let mut parts = line.split(' ');
            let endpoint = parse(parts.next().unwrap()).unwrap();
            let [address, authority] = [(); 2].map(|()| parts.next().unwrap());
            assert_eq!(endpoint.address.to_string(), address, "{line}");
            assert_eq!(endpoint.authority, authority, "{line}");
            assert_eq!(endpoint.prefix, parts.next().unwrap_or_default(), "{line}");
        }
    }

    #[test]
    fn refused_forms() {
        for (error, values) in [
            (EndpointError::NoHost, &["", "http://", "/x"][..]),
            (
                EndpointError::Scheme,
                &["https://127.0.0.1:9001", "unix:///tmp/s"],
            ),
            (
                EndpointError::Port,
                &[
                    "127.0.0.1:",
                    "127.0.0.1:0",
                    "127.0.0.1:65536",
                    "127.0.0.1:+1",
                    "127.0.0.1:9001x",
                    "[::1]9001",
                    "[::1]:",
                    "runtime:http",
                ],
            ),
            (
                EndpointError::Host,
                &[
                    "::1:9001",
                    "[::1:9001",
                    ":9001",
                    "1.2.3:9001",
                    "1.2.3.4.5:9001",
                    "1.2.3.256:9001",
                    "1.2..4:9001",
                    "[1.2.3.4]:9001",
                    "[]:9001",
                    "[::12345]:9001",
                    "user@host:9001",
                    "a b:9001",
                    "h\u{f6}st:9001",
                    "2130706433",
                ],
            ),
            (EndpointError::Unresolved, &["nowhere:1", "http://nowhere"]),
            (
                EndpointError::Path,
                &[
                    "127.0.0.1:9001/a b",
                    "127.0.0.1:9001/a\r\nX: y",
                    "127.0.0.1:9001/a?b",
                    "127.0.0.1:9001?b",
                ],
            ),
        ] {
            for value in values {
                assert_eq!(parse(value), Err(error), "{value}");
            }
        }
    }

    #[test]
    fn a_setting_takes_an_address_with_a_port() {
        assert_eq!(address("[::1]:8125").unwrap().to_string(), "[::1]:8125");
        assert_eq!(address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address("10.0.0.1"), Err(EndpointError::Port));
        assert_eq!(address("10.0.0.1:x"), Err(EndpointError::Port));
        for name in ["agent:8125", "agent", "user:pw@10.0.0.1:8125", "1.2.3:1"] {
            assert_eq!(address(name), Err(EndpointError::NoAddress), "{name}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong_with_the_value() {
        for (value, expected) in [
            ("/x", "there is no host"),
            ("https://127.0.0.1:9001", "the scheme is not http"),
            (
                "127.0.0.1:0",
                "expected host:port with a port from 1 to 65535",
            ),
            (":9001", "the host is neither an IP address nor a name"),
            ("nowhere:1", "no address was found for the name of the host"),
            (
                "127.0.0.1/?",
                "the path holds a byte that a request line must not hold",
            ),
        ] {
            assert_eq!(parse(value).unwrap_err().to_string(), expected, "{value}");
        }
        assert_eq!(
            address("agent:1").unwrap_err().to_string(),
            "the host is neither an IP address nor localhost"
        );
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_certificate_names_a_host_without_port_and_brackets() {
        for (authority, expected) in [
            ("example.com", "example.com"),
            ("example.com:4318", "example.com"),
            ("10.0.0.1:4318", "10.0.0.1"),
            ("[::1]", "::1"),
            ("[fd00:ec2::23]:4318", "fd00:ec2::23"),
        ] {
            assert_eq!(host_text(authority), expected, "{authority}");
        }
    }
}
