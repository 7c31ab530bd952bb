//! Where `DogStatsD` is sent, and the tags that the variables of Datadog give.
//!
//! <https://docs.datadoghq.com/extend/dogstatsd/unix_socket> and, for the tags,
//! <https://docs.datadoghq.com/getting_started/tagging/unified_service_tagging/>. The variables do
//! not switch the exporter on: functions set them for their own telemetry.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use super::reader::Reader;
use crate::shared::endpoint;

/// The receiver of datagrams, and what is sent with each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) struct DogStatsd {
    pub(in crate::extension) to: Receiver,
    /// Names and values, in the order in which they are sent.
    pub(in crate::extension) tags: Vec<(String, String)>,
}

/// The address that datagrams are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::extension) enum Receiver {
    Udp(SocketAddr),
    /// The path of a socket for datagrams.
    Unix(String),
}

impl DogStatsd {
    /// Reads the settings. Of the variables for the address the first that is set counts.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let is_set = |name: &&str| reader.text(name).is_some();
        let name = ["BANTAM_DOGSTATSD", URL, SOCKET].into_iter().find(is_set);
        let to = match name {
            Some(name) => reader.parsed(name, &Receiver::parse, EXPECTED, DEFAULT),
            None => Receiver::of_agent(reader),
        };
        Self {
            to: to.unwrap_or(Receiver::Udp(agent(PORT))),
            tags: tags(reader),
        }
    }
}

impl Receiver {
    fn parse(value: &str) -> Option<Self> {
        let path = match value.split_once("://") {
            Some(("unix" | "unixgram", path)) => path,
            Some(("udp", address)) => return endpoint::address(address).ok().map(Self::Udp),
            Some(_) => return None,
            None if value.starts_with('/') => value,
            None => return endpoint::address(value).ok().map(Self::Udp),
        };
        let is_path = path.starts_with('/') && path.len() <= PATH_BYTES_MAX;
        is_path.then(|| Self::Unix(path.to_owned()))
    }

    /// The address of the agent, by its host and its port.
    fn of_agent(reader: &mut Reader<'_>) -> Option<Self> {
        let port = reader.parsed(
            "DD_DOGSTATSD_PORT",
            &|port| endpoint::address(&["localhost:", port].concat()).ok(),
            "a port from 1 to 65535",
            "8125",
        );
        let mut to = port.unwrap_or_else(|| agent(PORT));
        let host = reader.parsed(
            "DD_AGENT_HOST",
            &|host| endpoint::address(&[host, ":1"].concat()).ok(),
            "an IP address or localhost",
            "127.0.0.1",
        );
        if let Some(host) = host {
            to.set_ip(host.ip());
        }
        Some(Self::Udp(to))
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

const fn agent(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The tags of the deployment, and those of `DD_TAGS`: `name:value`, between commas or spaces.
fn tags(reader: &Reader<'_>) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    for (name, variable) in [
        ("service", "DD_SERVICE"),
        ("env", "DD_ENV"),
        ("version", "DD_VERSION"),
    ] {
        if let Some(value) = reader.text(variable) {
            tags.push((name.to_owned(), value.to_owned()));
        }
    }
    let given = reader.text("DD_TAGS").unwrap_or_default();
    for tag in given.split([',', ' ']) {
        if let Some((name, value)) = tag.split_once(':') {
            tags.push((name.to_owned(), value.to_owned()));
        }
    }
    tags
}

const URL: &str = "DD_DOGSTATSD_URL";
const SOCKET: &str = "DD_DOGSTATSD_SOCKET";

const EXPECTED: &str = "an IP address or localhost and a port, or unix:// and the absolute path of \
                        a socket for datagrams";

const DEFAULT: &str = "127.0.0.1:8125";

const PORT: u16 = 8_125;

/// Bytes of the path of a socket, without the zero behind it:
/// <https://man7.org/linux/man-pages/man7/unix.7.html>.
const PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::super::{Settings, variables};
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (DogStatsd, Vec<String>) {
        let mut all = vec![("BANTAM_EXPORTERS", "dogstatsd")];
        all.extend_from_slice(pairs);
        let settings = Settings::read(&variables(&all));
        (settings.exporters.dogstatsd.unwrap(), settings.warnings)
    }

    #[test]
    fn datagrams_go_to_an_address_or_a_socket() {
        let longest = ["unix://", &"/x".repeat(53), "/"].concat();
        let too_long = [&longest, "x"].concat();
        let table = [
            ("", DEFAULT, 0),
            ("localhost:9125", "127.0.0.1:9125", 0),
            ("[::1]:8125", "[::1]:8125", 0),
            ("udp://10.0.0.1:8125", "10.0.0.1:8125", 0),
            ("unix:///tmp/dsd.socket", "/tmp/dsd.socket", 0),
            ("unixgram:///tmp/dsd.socket", "/tmp/dsd.socket", 0),
            ("/tmp/dsd.socket", "/tmp/dsd.socket", 0),
            (&longest, longest.strip_prefix("unix://").unwrap(), 0),
            (&too_long, DEFAULT, 1),
            ("unix://tmp/dsd.socket", DEFAULT, 1),
            ("unixstream:///tmp/dsd.socket", DEFAULT, 1),
            ("agent:8125", DEFAULT, 1),
            ("udp://agent:8125", DEFAULT, 1),
            ("10.0.0.1", DEFAULT, 1),
        ];
        for name in ["BANTAM_DOGSTATSD", URL, SOCKET] {
            for (value, expected, count) in table {
                let (found, warnings) = read(&[(name, value)]);
                assert_eq!(found.to.to_string(), expected, "{name}={value}");
                assert_eq!(warnings.len(), count, "{name}={value}");
            }
        }
        let (_, warnings) = read(&[("BANTAM_DOGSTATSD", "agent:8125")]);
        assert_eq!(
            warnings,
            [
                "BANTAM_DOGSTATSD is \"agent:8125\", expected an IP address or localhost and a \
                 port, or unix:// and the absolute path of a socket for datagrams: using \
                 127.0.0.1:8125"
            ]
        );
    }

    #[test]
    fn the_first_variable_for_the_address_counts() {
        let all = [
            ("BANTAM_DOGSTATSD", "10.0.0.1:1"),
            (URL, "udp://10.0.0.2:2"),
            (SOCKET, "/tmp/dsd.socket"),
            ("DD_AGENT_HOST", "10.0.0.4"),
            ("DD_DOGSTATSD_PORT", "4"),
        ];
        let expected = [
            "10.0.0.1:1",
            "10.0.0.2:2",
            "/tmp/dsd.socket",
            "10.0.0.4:4",
            "127.0.0.1:4",
        ];
        for (skipped, expected) in expected.into_iter().enumerate() {
            let (found, warnings) = read(&all[skipped..]);
            assert_eq!(found.to.to_string(), expected);
            assert_eq!(warnings, [""; 0]);
        }
    }

    #[test]
    fn a_bad_host_or_port_of_the_agent_leaves_the_other() {
        let table = [
            ("agent", "9125", "127.0.0.1:9125", 1),
            ("10.0.0.1", "x", "10.0.0.1:8125", 1),
            ("[::1]", "", "[::1]:8125", 0),
            ("a:b", "0", "127.0.0.1:8125", 2),
        ];
        for (host, port, expected, count) in table {
            let (found, warnings) = read(&[("DD_AGENT_HOST", host), ("DD_DOGSTATSD_PORT", port)]);
            assert_eq!(found.to.to_string(), expected);
            assert_eq!(warnings.len(), count, "{warnings:?}");
        }
    }

    #[test]
    fn tags_are_those_of_the_deployment_and_of_the_list() {
        let (found, warnings) = read(&[
            ("DD_TAGS", "team:a, layer:api url:x:y,bare"),
            ("DD_VERSION", "1.2"),
            ("DD_ENV", "prod"),
            ("DD_SERVICE", "shop"),
        ]);
        let expected = [
            ("service", "shop"),
            ("env", "prod"),
            ("version", "1.2"),
            ("team", "a"),
            ("layer", "api"),
            ("url", "x:y"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found.tags, expected);
        assert_eq!(warnings, [""; 0]);
    }
}
