//! `AWS_LAMBDA_RUNTIME_API`: where the Runtime and Extensions APIs listen.
//!
//! Lambda sets `host:port` with an IP address, see
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
//! `cargo lambda` sets a URL with a path prefix, `http://127.0.0.1:9000/.rt/NAME`.
//! The host is an IP address or `localhost`: looking up any other name would need a resolver,
//! which is 37 KB of a binary that has no other use for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::text::{cut, same};

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
    /// There is no host.
    NoHost,
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
        let (authority, mut path) = split(value)?;
        while let Some(shorter) = path.strip_suffix('/') {
            path = shorter;
        }
        // A request target holds no white space, control characters, query or fragment here.
        if !path
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
        {
            return Err(EndpointError::Path);
        }
        let address = address(authority)?;
        Ok(Self {
            address,
            authority: authority.to_owned(),
            prefix: path.to_owned(),
        })
    }
}

/// Takes off the scheme, and gives the authority and what stands behind it.
///
/// # Errors
///
/// [`EndpointError::Scheme`] and [`EndpointError::NoHost`].
pub(crate) fn split(value: &str) -> Result<(&str, &str), EndpointError> {
    let rest = match cut(value, b':') {
        Some((scheme, rest)) => match rest.strip_prefix("//") {
            None => value,
            Some(rest) if same(scheme.as_bytes(), b"http") => rest,
            Some(_) => return Err(EndpointError::Scheme),
        },
        None => value,
    };
    let mut bytes = rest.bytes();
    let end = bytes.position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    match end.unwrap_or(rest.len()) {
        0 => Err(EndpointError::NoHost),
        end => Ok(rest.split_at(end)),
    }
}

/// Reads `host:port`.
///
/// # Errors
///
/// [`EndpointError::Port`] and [`EndpointError::Host`].
pub(crate) fn address(authority: &str) -> Result<SocketAddr, EndpointError> {
    let authority = authority.as_bytes();
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let (host, port) = authority.split_at(colon.ok_or(EndpointError::Port)?);
    let port = super::http::decimal(port.get(1..).unwrap_or_default());
    let port = port.and_then(|port| u16::try_from(port).ok());
    let Some(port @ 1..) = port else {
        return Err(EndpointError::Port);
    };
    if same(host, b"localhost") {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    // An IPv6 address without brackets leaves it open where the port starts.
    let inner = host.strip_prefix(b"[").map(|host| host.strip_suffix(b"]"));
    let address = match inner {
        None => ipv4(host).map(IpAddr::V4),
        Some(inner) => inner.and_then(ipv6).map(IpAddr::V6),
    };
    let address = address.ok_or(EndpointError::Host)?;
    Ok(SocketAddr::new(address, port))
}

/// Four decimal numbers. The standard library reads addresses in more forms, with 2 KB more.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut bytes = [0; 4];
    let mut numbers = text.split(|byte| *byte == b'.');
    for byte in &mut bytes {
        *byte = u8::try_from(super::http::decimal(numbers.next()?)?).ok()?;
    }
    numbers.next().is_none().then(|| Ipv4Addr::from(bytes))
}

/// Eight groups of hexadecimal digits, of which `::` leaves out some that are zero:
/// <https://www.rfc-editor.org/rfc/rfc4291#section-2.2>, without the form that ends like IPv4.
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut all, mut back) = ([0; 8], [0; 8]);
    match text.windows(2).position(|pair| pair == b"::") {
        None if groups(text, &mut all)? == 8 => {}
        None => return None,
        Some(gap) => {
            let in_front = groups(text.get(..gap)?, &mut all)?;
            let behind = groups(text.get(gap + 2..)?, &mut back)?;
            if in_front + behind > 7 {
                return None;
            }
            let from = back.iter().take(behind).rev();
            for (to, from) in all.iter_mut().rev().zip(from) {
                *to = *from;
            }
        }
    }
    Some(Ipv6Addr::from(all))
}

/// Groups with a colon between each two, and how many.
#[inline(never)]
fn groups(text: &[u8], into: &mut [u16; 8]) -> Option<usize> {
    let mut count = 0;
    for group in text.split(|byte| *byte == b':') {
        // One that is empty is no number.
        let value = super::http::hexadecimal(group).filter(|_| group.len() <= 4);
        match value.and_then(|value| u16::try_from(value).ok()) {
            Some(value) => *into.get_mut(count)? = value,
            None if text.is_empty() => return Some(0),
            None => return None,
        }
        count += 1;
    }
    Some(count)
}

impl EndpointError {
    /// The error in words for the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "there is no host",
            Self::Scheme => "the scheme is not http",
            Self::Port => "expected host:port with a port from 1 to 65535",
            Self::Host => "the host is neither an IP address nor localhost",
            Self::Path => "the path holds a byte that a request line must not hold",
        }
    }
}

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
            (
                "[fd00:EC2::23]:80",
                "[fd00:ec2::23]:80",
                "[fd00:EC2::23]:80",
                "",
            ),
            ("[fd00::]:80", "[fd00::]:80", "[fd00::]:80", ""),
            ("[1:2::7:8]:80", "[1:2::7:8]:80", "[1:2::7:8]:80", ""),
            (
                "[1:2:3:4:5:6:7:8]:80",
                "[1:2:3:4:5:6:7:8]:80",
                "[1:2:3:4:5:6:7:8]:80",
                "",
            ),
            (
                "[1:2:3:4:5:6:7::]:80",
                "[1:2:3:4:5:6:7:0]:80",
                "[1:2:3:4:5:6:7::]:80",
                "",
            ),
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
            ("", EndpointError::NoHost),
            ("http://", EndpointError::NoHost),
            ("/x", EndpointError::NoHost),
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
            ("1.2.3:9001", EndpointError::Host),
            ("1.2.3.4.5:9001", EndpointError::Host),
            ("1.2.3.256:9001", EndpointError::Host),
            ("1.2..4:9001", EndpointError::Host),
            ("[1.2.3.4]:9001", EndpointError::Host),
            ("[]:9001", EndpointError::Host),
            ("[1]:9001", EndpointError::Host),
            ("[:::1]:9001", EndpointError::Host),
            ("[:::]:9001", EndpointError::Host),
            ("[:1]:9001", EndpointError::Host),
            ("[1:]:9001", EndpointError::Host),
            ("[:1::2]:9001", EndpointError::Host),
            ("[1::2:]:9001", EndpointError::Host),
            ("[1::2::3]:9001", EndpointError::Host),
            ("[::12345]:9001", EndpointError::Host),
            ("[::g]:9001", EndpointError::Host),
            ("[1:2:3:4:5:6:7:8:9]:9001", EndpointError::Host),
            ("[1:2:3:4::5:6:7:8]:9001", EndpointError::Host),
            ("127.0.0.1:9001/a b", EndpointError::Path),
            ("127.0.0.1:9001/a\r\nX: y", EndpointError::Path),
            ("127.0.0.1:9001/a?b", EndpointError::Path),
        ];
        for (value, error) in table {
            assert_eq!(Endpoint::parse(value), Err(error), "{value}");
            assert!(!error.as_str().is_empty());
        }
    }
}
