//! The hosts that are connected to without a proxy.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use url::Host;

/// The entries of the variable `NO_PROXY`.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// The domain and those below it. In lower case, without a dot at either end.
    Domain(String),
    /// One address, too.
    Network(IpNet),
}

impl NoProxy {
    /// Entries that are not understood are left out: they match nothing.
    pub(super) fn parse(list: &str) -> Self {
        Self(list.split(|c: char| c == ',' || c.is_whitespace()).filter_map(Entry::parse).collect())
    }

    /// Whether a server is one of them. `host` is that of a URL: in lower case.
    pub(super) fn contains(&self, host: &Host<&str>, port: u16) -> bool {
        self.0.iter().any(|entry| entry.port.is_none_or(|only| only == port) && entry.hosts.contains(host))
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        let has_no_port = entry.parse::<Ipv6Addr>().is_ok() || entry.parse::<IpNet>().is_ok() || entry.ends_with(']');
        let (hosts, port) = match entry.rsplit_once(':') {
            Some((hosts, port)) if !has_no_port => (hosts, Some(port.parse().ok()?)),
            _ => (entry, None),
        };
        Some(Self { hosts: Hosts::parse(hosts)?, port })
    }
}

impl Hosts {
    fn parse(hosts: &str) -> Option<Self> {
        if hosts == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = hosts.parse() {
            return Some(Self::Network(canonical(network)));
        }
        let address = match hosts.parse::<Ipv6Addr>() {
            Ok(address) => Host::Ipv6(address),
            // As a URL's host is read, so that both have the same form.
            Err(_) => Host::parse(hosts.strip_prefix('*').unwrap_or(hosts).strip_prefix('.').unwrap_or(hosts)).ok()?,
        };
        match ip(&address) {
            Ok(address) => Some(Self::Network(address.into())),
            Err(domain) => Some(Self::Domain(domain.to_owned())),
        }
    }

    fn contains(&self, host: &Host<&str>) -> bool {
        match (self, ip(host)) {
            (Self::All, _) => true,
            (Self::Network(network), Ok(address)) => network.contains(&address),
            (Self::Domain(domain), Err(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// The network, that of IPv4 where IPv6 carries one: addresses have this form, too.
fn canonical(network: IpNet) -> IpNet {
    let carried = |network: &IpNet| {
        let prefix_len = network.prefix_len().checked_sub(96)?;
        match network.addr().to_canonical() {
            IpAddr::V4(address) if network.addr().is_ipv6() => Ipv4Net::new(address, prefix_len).ok(),
            _ => None,
        }
    };
    carried(&network).map_or(network, IpNet::V4)
}

/// The address, that of IPv4 where IPv6 carries one; or the name, without its trailing dot.
fn ip<S: AsRef<str>>(host: &Host<S>) -> Result<IpAddr, &str> {
    match host {
        Host::Ipv4(address) => Ok((*address).into()),
        Host::Ipv6(address) => Ok(IpAddr::from(*address).to_canonical()),
        Host::Domain(name) => {
            let name = name.as_ref();
            Err(name.strip_suffix('.').unwrap_or(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_servers_a_list_names() {
        for (list, named, not_named) in [
            ("", &[][..], &["h", "127.0.0.1", "[::1]", "localhost"][..]),
            (" , ,,", &[], &["h", "localhost"]),
            // A name, and those below it.
            ("example.com", &["example.com", "a.example.com", "b.a.example.com"], &["notexample.com", "com", "h"]),
            (".example.com", &["example.com", "a.example.com"], &["notexample.com", "example.org"]),
            ("*.example.com", &["example.com", "a.example.com"], &["notexample.com"]),
            ("localhost", &["localhost", "x.localhost"], &["127.0.0.1", "[::1]"]),
            // Case, the trailing dot, and names in other letters.
            ("EXAMPLE.com", &["example.com", "EXAMPLE.COM", "example.com."], &[]),
            ("example.com.", &["example.com", "a.example.com", "example.com."], &["example.org"]),
            ("b\u{fc}cher.example", &["b\u{fc}cher.example", "a.xn--bcher-kva.example"], &[]),
            // All.
            ("*", &["h", "a.example.com", "127.0.0.1", "[2001:db8::1]"], &[]),
            ("h, *", &["x"], &[]),
            // Lists.
            ("a,b", &["a", "b"], &["c", "a,b"]),
            ("  a ,\tb  c\n", &["a", "b", "c"], &["d"]),
            // Addresses and networks.
            ("127.0.0.1", &["127.0.0.1", "127.1"], &["127.0.0.2", "localhost", "[::1]"]),
            ("10.0.0.0/8", &["10.1.2.3"], &["11.0.0.1", "10.example"]),
            ("192.0.2.0/25", &["192.0.2.127"], &["192.0.2.128"]),
            ("0.0.0.0/0", &["192.0.2.1"], &["[::1]", "h"]),
            ("::1", &["[::1]", "[0:0:0:0:0:0:0:1]"], &["[::2]", "127.0.0.1"]),
            ("[::1]", &["[::1]"], &["[::2]"]),
            ("2001:DB8::/32", &["[2001:db8:1::5]"], &["[2001:db9::1]"]),
            ("10.0.0.0/8", &["[::ffff:10.0.0.1]"], &["[::ffff:11.0.0.1]"]),
            ("::ffff:10.0.0.1", &["10.0.0.1", "[::ffff:10.0.0.1]"], &[]),
            // As Go reads them.
            ("::ffff:127.0.0.0/104", &["127.0.0.1", "[::ffff:127.9.9.9]"], &["128.0.0.1", "[::1]", "h"]),
            ("::ffff:0:0/96", &["127.0.0.1", "192.0.2.1"], &["[::1]"]),
            ("::/0", &["[::1]"], &["127.0.0.1", "[::ffff:127.0.0.1]"]),
            // Neither curl nor Go takes an address that is not whole for a network.
            ("0/0,10/8,10.0/16", &[], &["0.0.0.0", "10.0.0.1", "192.0.2.1", "[::1]", "h"]),
            // Ports: that of a URL without one is 80.
            ("h:8080", &["h:8080", "a.h:8080"], &["h", "h:81"]),
            ("h:80", &["h", "h:80"], &["h:8080"]),
            ("h", &["h:8080"], &[]),
            ("*:81", &["h:81", "127.0.0.1:81"], &["h"]),
            ("127.0.0.1:81", &["127.0.0.1:81"], &["127.0.0.1"]),
            ("10.0.0.0/8:81", &["10.1.1.1:81"], &["10.1.1.1"]),
            ("[::1]:81", &["[::1]:81"], &["[::1]"]),
            // What is none of these matches nothing, and the others are kept.
            ("10.0.0.0/33,.,a:,b:x,c:65536,exa*mple.com,[::1,/,d", &["d"], &["10.0.0.1", "a", "b", "c", "example.com"]),
        ] {
            let no_proxy = NoProxy::parse(list);
            for (servers, is_named) in [(named, true), (not_named, false)] {
                for server in servers {
                    let url = url::Url::parse(&format!("ws://{server}/")).expect("a URL");
                    let (host, port) = (url.host().expect("a host"), url.port_or_known_default().expect("a port"));
                    assert_eq!(no_proxy.contains(&host, port), is_named, "{server} by {list:?}");
                }
            }
        }
    }
}
