//! Proxies: what is asked to open a tunnel to the server.

mod connect;
pub(crate) mod endpoint;
mod environment;
mod no_proxy;
mod socks5;

use std::{env, fmt, sync::Arc};

use crate::{
    error::Error,
    proxy::{endpoint::Endpoint, environment::Environment},
    transport::target::Target,
};

/// A proxy that opens a tunnel to the server. What goes through it is as without it: TLS of `wss` is between this
/// client and the server, and the proxy's credentials are for the proxy alone. `Debug` shows none of them.
///
/// ```no_run
/// # async fn example() -> Result<(), wsflow::Error> {
/// use wsflow::{Proxy, WebSocketStream};
///
/// let proxy = Proxy::http("http://user:secret@proxy.example:3128")?;
/// let ws = WebSocketStream::builder("wss://example.com/feed").proxy(proxy).connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Proxy(Kind);

#[derive(Clone)]
enum Kind {
    None,
    Given(Arc<Endpoint>),
    Environment(Arc<Environment>),
}

impl Proxy {
    /// No proxy: TCP goes to the server itself. The default.
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// An HTTP proxy, by its `http` or `https` URL, or host and port for `http`: it is asked by CONNECT (RFC 9110, section 9.3.6), for `ws` as for
    /// `wss`. The port is 80 or 443 if the URL has none.
    ///
    /// An `https` URL puts TLS between this client and the proxy, around all that goes through it, TLS of `wss` included.
    /// Its connector is that of [`ClientBuilder::tls`](crate::ClientBuilder::tls), or the default one, as for the server:
    /// the roots must do for both, and a client certificate is shown to a proxy that asks for one. The certificate of the
    /// proxy must be for the host of this URL.
    ///
    /// Userinfo in the URL is sent to it as Basic credentials, percent-decoded (RFC 7617): in the clear to an `http`
    /// URL. The path is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`]: it does not parse, or has another scheme.
    pub fn http(url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self(Kind::Given(Arc::new(Endpoint::http(url.as_ref())?))))
    }

    /// A SOCKS5 proxy (RFC 1928), by its `socks5` or `socks5h` URL. The proxy resolves the server's name. The port is
    /// 1080 if the URL has none.
    ///
    /// Userinfo in the URL, percent-decoded, are user name and password (RFC 1929). The path is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`]: it does not parse, has another scheme, or a user name or a password that does not fit into
    /// 255 bytes.
    pub fn socks5(url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self(Kind::Given(Arc::new(Endpoint::socks5(url.as_ref())?))))
    }

    /// The proxies that the environment names, as curl reads it. The variables are read now, and once. For each
    /// connection, and each hop of [`redirects`](crate::ClientBuilder::redirects), they say whether there is a proxy, and
    /// which.
    ///
    /// | variable | |
    /// |---|---|
    /// | `http_proxy`, `HTTP_PROXY` | the proxy for `ws` |
    /// | `https_proxy`, `HTTPS_PROXY` | the proxy for `wss` |
    /// | `all_proxy`, `ALL_PROXY` | the proxy for a scheme that has none by these |
    /// | `no_proxy`, `NO_PROXY` | the servers that are connected to without a proxy |
    ///
    /// Of two names the first counts: that in lower case. A variable that is empty counts as not set. `HTTP_PROXY` is not
    /// looked at where `REQUEST_METHOD` is set: in a CGI program its value comes from a header of the request. (On Windows,
    /// where the names have no case, neither is `http_proxy`.)
    ///
    /// The value is a URL for [`http`](Self::http) or [`socks5`](Self::socks5); without a scheme it is one for `http`.
    ///
    /// `no_proxy` is a list, separated by commas or spaces, of:
    ///
    /// * `example.com`, `.example.com` or `*.example.com`: this name and all below it, in any case, with or without a dot
    ///   at the end;
    /// * an address: `192.0.2.1`, `2001:db8::1`; it is not compared with the addresses of a name;
    /// * a network: `10.0.0.0/8`, `2001:db8::/32`; its address is whole (`0.0.0.0/0`, and not `0/0`), and one of IPv6 that
    ///   carries IPv4, as `::ffff:10.0.0.0/104`, is that of IPv4;
    /// * `*`: every server.
    ///
    /// Each may have a port, and is for this port alone then: `example.com:8080`, `[2001:db8::1]:8080`. Any other entry
    /// matches nothing. Loopback is not exempt unless an entry says so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] with [`InvalidUrl::ProxyVariable`](crate::InvalidUrl::ProxyVariable), which names the variable: a
    /// proxy that would be used has a URL that is invalid. It does not show the value, which may have a password.
    pub fn from_env() -> Result<Self, Error> {
        // What is not UTF-8 is no URL, and told as one that is invalid.
        let variable = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
        Ok(Self(Kind::Environment(Arc::new(Environment::read(variable)?))))
    }

    /// The proxy to connect to `server` through. The environment has none for what is reached over a Unix socket.
    pub(crate) fn endpoint(&self, server: &Target, is_unix: bool) -> Option<&Endpoint> {
        match &self.0 {
            Kind::None => None,
            Kind::Given(endpoint) => Some(endpoint),
            Kind::Environment(environment) => environment.endpoint(server).filter(|_| !is_unix),
        }
    }
}

/// Without credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::None => f.write_str("none"),
            Kind::Given(endpoint) => endpoint.fmt(f),
            Kind::Environment(environment) => environment.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_unix_socket_a_given_proxy_counts_and_the_environment_names_none() {
        let server = Target::parse("ws://h/").expect("a URL");
        let environment = Environment::read(|name| (name == "ALL_PROXY").then(|| "a".to_owned())).expect("a URL");
        let environment = Proxy(Kind::Environment(Arc::new(environment)));
        let given = Proxy::http("http://a").expect("a URL");
        for (proxy, is_unix, has_one) in
            [(&environment, false, true), (&environment, true, false), (&given, false, true), (&given, true, true)]
        {
            assert_eq!(proxy.endpoint(&server, is_unix).is_some(), has_one, "{proxy:?}, {is_unix}");
        }
    }
}
