//! The server that an attempt to connect was for, as errors name it, and the proxy.

#[cfg(feature = "proxy")]
use std::sync::Arc;
use std::{fmt, ops::Deref};

use http::uri::Authority;

/// Scheme, host and port of a server or a proxy, and what they were to each other.
///
/// It dereferences to host and port. `{}` is such as `wss://example.com:443`, `wss://example.com:443 through the proxy
/// http://proxy.example:3128`, or `the proxy http://proxy.example:3128 for wss://example.com:443`. The port is always shown, and
/// never a path, a query or userinfo.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    origin: Origin,
    role: Role,
}

#[derive(Clone, PartialEq, Eq)]
enum Role {
    Direct,
    #[cfg(feature = "proxy")]
    Through(Origin),
    #[cfg(feature = "proxy")]
    ProxyFor(Origin),
}

#[derive(Clone, PartialEq, Eq)]
struct Origin {
    scheme: &'static str,
    authority: Authority,
}

impl Server {
    /// One that is connected to without a proxy.
    pub(crate) fn new(scheme: &'static str, authority: Authority) -> Self {
        Self { origin: Origin { scheme, authority }, role: Role::Direct }
    }

    /// The same, through `proxy`.
    #[cfg(feature = "proxy")]
    pub(crate) fn through(&self, proxy: &Self) -> Arc<Self> {
        Arc::new(Self { origin: self.origin.clone(), role: Role::Through(proxy.origin.clone()) })
    }

    /// The same, as the proxy for `server`.
    #[cfg(feature = "proxy")]
    pub(crate) fn as_proxy_for(&self, server: &Self) -> Arc<Self> {
        Arc::new(Self { origin: self.origin.clone(), role: Role::ProxyFor(server.origin.clone()) })
    }

    /// Scheme, host and port alone, without the proxy.
    pub(crate) fn origin(&self) -> impl fmt::Display {
        &self.origin
    }

    /// ` through the proxy …`, if there is one.
    pub(super) fn way(&self) -> String {
        match &self.role {
            #[cfg(feature = "proxy")]
            Role::Through(proxy) => format!(" through the proxy {proxy}"),
            _ => String::new(),
        }
    }

    /// `ws`, `wss`, or of a proxy `http`, `https` or `socks5`.
    pub fn scheme(&self) -> &str {
        self.origin.scheme
    }
}

impl Deref for Server {
    type Target = Authority;

    fn deref(&self) -> &Authority {
        &self.origin.authority
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            #[cfg(feature = "proxy")]
            Role::ProxyFor(server) => write!(f, "the proxy {} for {server}", self.origin),
            _ => write!(f, "{}{}", self.origin, self.way()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
