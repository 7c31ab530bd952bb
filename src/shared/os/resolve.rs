//! Addresses of hosts that are given by name, as local tools do.

#[cfg(feature = "resolver")]
pub(crate) use self::resolver::address;

/// Without the feature no name has an address.
#[cfg(not(feature = "resolver"))]
pub(crate) const fn address(_: &str) -> Option<std::net::IpAddr> {
    None
}

#[cfg(feature = "resolver")]
mod resolver {
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};
    use rustix::net::{
        RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
    };

    use crate::shared::dns::{self, Family, NoAnswer};
    use crate::shared::os;
    use crate::shared::os::blocking::family;

    /// Looks into the table of hosts, then asks the name servers. It may take seconds.
    pub(crate) fn address(name: &str) -> Option<IpAddr> {
        let [mut hosts, mut config] = [(); 2].map(|()| vec![0; FILE_BYTES_MAX]);
        let hosts = os::read_file(c"/etc/hosts", &mut hosts).unwrap_or_default();
        let config = os::read_file(c"/etc/resolv.conf", &mut config).unwrap_or_default();
        find(name, hosts, config, 53)
    }

    /// The address of a host, where the files are these, and name servers listen at this port.
    pub(super) fn find(name: &str, hosts: &[u8], config: &[u8], port: u16) -> Option<IpAddr> {
        if let Some(address) = dns::in_table(hosts, name) {
            return Some(address);
        }
        let servers = || dns::setting(config, "nameserver").filter_map(|ip| dns::ip(ip.as_bytes()));
        let ask = |name: &str, family| {
            let mut attempts = (0..ATTEMPTS).flat_map(|_| servers());
            attempts.find_map(|server| ask(SocketAddr::new(server, port), name, family).ok())
        };
        let domains = dns::setting(config, "search").map(|domain| format!("{name}.{domain}"));
        for name in std::iter::once(name.to_owned()).chain(domains) {
            for family in [Family::V4, Family::V6] {
                // With no server that answers there is nothing more to ask.
                if let Some(address) = ask(&name, family)? {
                    return Some(address);
                }
            }
        }
        None
    }

    fn ask(server: SocketAddr, name: &str, family: Family) -> Result<Option<IpAddr>, NoAnswer> {
        let id = os::clock::seed().to_le_bytes();
        let id = u16::from_le_bytes([id[1], id[2]]);
        let Some(question) = dns::question(id, name, family) else {
            return Ok(None);
        };
        let socket = open(server)?;
        send(&socket, &question, SendFlags::NOSIGNAL).map_err(|_lost| NoAnswer)?;
        let mut fds = [PollFd::new(&socket, PollFlags::IN)];
        let mut message = [0; MESSAGE_BYTES_MAX];
        match os::poll(&mut fds, Some(ANSWER_TIMEOUT)) {
            Ok(1) => {
                let received = recv(&socket, &mut message, RecvFlags::DONTWAIT);
                let (length, _) = received.map_err(|_lost| NoAnswer)?;
                let message = message.get(..length).unwrap_or_default();
                dns::answer(&question, family, message)
            }
            _ => Err(NoAnswer),
        }
    }

    /// A socket that gets datagrams from this server alone.
    fn open(server: SocketAddr) -> Result<OwnedFd, NoAnswer> {
        let socket = socket_with(
            family(server),
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let socket = socket.map_err(|_failed| NoAnswer)?;
        connect(&socket, &server).map_err(|_failed| NoAnswer)?;
        Ok(socket)
    }

    /// Bytes of a file that are read. Machines of developers have some hundred.
    const FILE_BYTES_MAX: usize = 64 * 1024;

    /// Bytes of an answer over UDP. <https://www.rfc-editor.org/rfc/rfc1035#section-4.2.1>
    const MESSAGE_BYTES_MAX: usize = 512;

    /// How often each server is asked.
    const ATTEMPTS: u32 = 2;

    /// How long an answer may take. The init phase has 10 seconds in all.
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn this_host_has_an_address_and_a_name_that_is_reserved_has_none() {
        let address_of_this = address("localhost").filter(IpAddr::is_loopback);
        assert_eq!(address_of_this.is_some(), cfg!(feature = "resolver"));
        // <https://www.rfc-editor.org/rfc/rfc6761#section-6.4>
        assert_eq!(address("nowhere.invalid"), None);
    }

    /// A name server that knows `runtime.example`, and does not answer the first question.
    #[cfg(feature = "resolver")]
    #[test]
    fn name_servers_are_asked_in_the_domains_to_search() {
        use std::net::UdpSocket;

        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let mut asked = Vec::new();
            let mut message = [0; 512];
            while !asked.ends_with(&["end".to_owned()]) {
                let (length, peer) = server.recv_from(&mut message).unwrap();
                let mut answer = message[..length].to_vec();
                let name: String = answer[12..length - 5]
                    .iter()
                    .map(|byte| char::from(*byte))
                    .map(|c| if c.is_control() { '.' } else { c })
                    .collect();
                let is_known = name == ".runtime.example" && answer[length - 3] == 1;
                answer[2..4].copy_from_slice(&[0x81, if is_known { 0x80 } else { 0x83 }]);
                if is_known {
                    answer[7] = 1;
                    answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07");
                }
                asked.push(name.trim_start_matches('.').to_owned());
                if asked.len() > 1 {
                    server.send_to(&answer, peer).unwrap();
                }
            }
            asked
        });
        let config = b"nameserver 127.0.0.1\nsearch example\n";
        let find = |name| resolver::find(name, b"10.0.0.1 other\n", config, port);
        assert_eq!(find("other"), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(find("runtime"), Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(find("end"), None);
        let asked = serving.join().unwrap();
        assert_eq!(
            asked,
            ["runtime", "runtime", "runtime", "runtime.example", "end"]
        );
        // Nobody listens there.
        let nobody = resolver::find("runtime", b"", b"nameserver 127.0.0.1\n", 1);
        assert_eq!(nobody, None);
    }
}
