//! Addresses of hosts that are given by name, as local tools do.

use std::net::IpAddr;

/// Asks the system's resolver: the table of hosts, then the name servers. It may take seconds.
#[cfg(feature = "resolver")]
pub(crate) fn address(name: &str) -> Option<IpAddr> {
    let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(name, 0)).ok()?;
    Some(addresses.next()?.ip().to_canonical())
}

/// Without the feature no name has an address.
#[cfg(not(feature = "resolver"))]
pub(crate) const fn address(_: &str) -> Option<IpAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_an_address_and_a_name_that_is_reserved_has_none() {
        let address_of_this = address("localhost").filter(IpAddr::is_loopback);
        assert_eq!(address_of_this.is_some(), cfg!(feature = "resolver"));
        // <https://www.rfc-editor.org/rfc/rfc6761#section-6.4>
        assert_eq!(address("nowhere.invalid"), None);
    }
}
