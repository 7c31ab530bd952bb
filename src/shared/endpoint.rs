//! `AWS_LAMBDA_RUNTIME_API`: where the Runtime and Extensions APIs listen.
//!
//! Lambda sets `host:port` with an IP address, see
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! `cargo lambda` sets a URL with a path prefix, `http://127.0.0.1:9000/.rt/NAME`.
//! The host is an IP address or `localhost`: looking up any other name would need a resolver,
//! which is 37 KB of a binary that has no other use for one.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// The address of the API, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// The value of the `Host` field: the authority as it was given.
    pub(crate) authority: String,
    /// What goes in front of every path: empty, or a path without a `/` at its end.
    pub(crate) prefix: String,
}

/// Why a value is not the address of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// The value is empty.
    Empty,
    /// The value starts with a scheme other than `http`.
    Scheme,
    /// There is no port, or it is not a number from 1 to 65,535.
    Port,
    /// The host is neither an IP address nor `localhost`.
    Host,
    /// The path holds a byte that a request line must not hold.
    Path,
}

impl Endpoint {
    /// Takes apart `host:port` or `http://host:port/prefix`.
    ///
    /// # Errors
    ///
    /// One variant of [`EndpointError`] for each part that can be wrong.
    pub(crate) fn parse(value: &str) -> Result<Self, EndpointError> {
        if value.is_empty() {
            return Err(EndpointError::Empty);
        }
        let rest = match cut(value, b':') {
            Some((scheme, rest)) => match rest.strip_prefix("//") {
                None => value,
                Some(rest) if scheme.eq_ignore_ascii_case("http") => rest,
                Some(_) => return Err(EndpointError::Scheme),
            },
            None => value,
        };
        let (authority, path) = cut(rest, b'/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        // A request target holds no white space, control characters, query or fragment here.
        if !path
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
        {
            return Err(EndpointError::Path);
        }
        let address = Self::address(authority)?;
        let mut prefix = String::new();
        if !path.is_empty() {
            prefix.push('/');
            prefix.push_str(path);
        }
        Ok(Self {
            address,
            authority: authority.to_owned(),
            prefix,
        })
    }

    fn address(authority: &str) -> Result<SocketAddr, EndpointError> {
        let mut parts = authority.as_bytes().rsplitn(2, |byte| *byte == b':');
        let port = parts.next().and_then(super::http::decimal);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let (Some(host), Some(port @ 1..)) = (parts.next(), port) else {
            return Err(EndpointError::Port);
        };
        if host.eq_ignore_ascii_case(b"localhost") {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        // An IPv6 address without brackets leaves it open where the port starts.
        authority.parse().ok().ok_or(EndpointError::Host)
    }
}

/// What stands before the first `byte`, and what behind it.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the value is empty",
            Self::Scheme => "the scheme is not http",
            Self::Port => "expected host:port with a port from 1 to 65535",
            Self::Host => "the host is neither an IP address nor localhost",
            Self::Path => "the path holds a byte that a request line must not hold",
        })
    }
}

impl std::error::Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_forms() {
        let table = [
            ("127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1:9001", ""),
            (
                "169.254.100.1:9001",
                "169.254.100.1:9001",
                "169.254.100.1:9001",
                "",
            ),
            ("localhost:80", "127.0.0.1:80", "localhost:80", ""),
            ("[::1]:9001", "[::1]:9001", "[::1]:9001", ""),
            (
                "http://127.0.0.1:9000",
                "127.0.0.1:9000",
                "127.0.0.1:9000",
                "",
            ),
            (
                "http://127.0.0.1:9000/",
                "127.0.0.1:9000",
                "127.0.0.1:9000",
                "",
            ),
            (
                "http://127.0.0.1:9000/.rt/my-fn",
                "127.0.0.1:9000",
                "127.0.0.1:9000",
                "/.rt/my-fn",
            ),
            (
                "HTTP://[::]:9000/.rt/f/",
                "[::]:9000",
                "[::]:9000",
                "/.rt/f",
            ),
            ("127.0.0.1:9000/p", "127.0.0.1:9000", "127.0.0.1:9000", "/p"),
        ];
        for (value, address, authority, prefix) in table {
            let endpoint = Endpoint::parse(value).unwrap();
            assert_eq!(endpoint.address.to_string(), address, "{value}");
            assert_eq!(endpoint.authority, authority, "{value}");
            assert_eq!(endpoint.prefix, prefix, "{value}");
        }
    }

    #[test]
    fn refused_forms() {
        let table = [
            ("", EndpointError::Empty),
            ("127.0.0.1", EndpointError::Port),
            ("127.0.0.1:", EndpointError::Port),
            ("127.0.0.1:0", EndpointError::Port),
            ("127.0.0.1:65536", EndpointError::Port),
            ("127.0.0.1:+1", EndpointError::Port),
            ("127.0.0.1:9001x", EndpointError::Port),
            ("https://127.0.0.1:9001", EndpointError::Scheme),
            ("unix:///tmp/s", EndpointError::Scheme),
            ("example.com:9001", EndpointError::Host),
            ("::1:9001", EndpointError::Host),
            ("[::1:9001", EndpointError::Host),
            (":9001", EndpointError::Host),
            ("127.0.0.1:9001/a b", EndpointError::Path),
            ("127.0.0.1:9001/a\r\nX: y", EndpointError::Path),
            ("127.0.0.1:9001/a?b", EndpointError::Path),
        ];
        for (value, error) in table {
            assert_eq!(Endpoint::parse(value), Err(error), "{value}");
            assert!(!error.to_string().is_empty());
        }
    }
}
