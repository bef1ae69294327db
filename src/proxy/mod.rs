//! Proxies: what is asked to open a tunnel to the server.

mod connect;
mod socks5;

use std::{fmt, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::{
    error::{Error, InvalidUrl, ProxyCause, ProxyError},
    proxy::socks5::Credentials,
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
    Http(Target),
    Socks5(Target, Option<Credentials>),
}

impl Proxy {
    /// No proxy: TCP goes to the server itself. The default.
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// An HTTP proxy, by its `http` URL: it is asked by CONNECT (RFC 9110, section 9.3.6), for `ws` as for `wss`. The
    /// port is 80 if the URL has none.
    ///
    /// Userinfo in the URL is sent to it as Basic credentials, percent-decoded (RFC 7617). The path is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`]: it does not parse, or has another scheme.
    pub fn http(url: impl AsRef<str>) -> Result<Self, Error> {
        let url = parse(url.as_ref(), &["http"])?;
        Ok(Self(Kind::Http(Target::parse(url.as_str())?)))
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
        let given = parse(url.as_ref(), &["socks5", "socks5h"])?;
        let credentials = Credentials::of(&given)?;
        let host = given.host_str().ok_or(InvalidUrl::from(url::ParseError::EmptyHost))?;
        let address = format!("ws://{host}:{}", given.port().unwrap_or(1080));
        Ok(Self(Kind::Socks5(Target::parse(&address)?, credentials)))
    }

    /// Where to open TCP to, if there is a proxy.
    pub(crate) fn target(&self) -> Option<&Target> {
        match &self.0 {
            Kind::None => None,
            Kind::Http(target) | Kind::Socks5(target, _) => Some(target),
        }
    }

    /// Asks for a tunnel to `server` over `io`, which is connected to the proxy. No byte of the tunnel is read.
    pub(crate) async fn open_tunnel<IO>(&self, io: &mut IO, server: &Target) -> Result<(), Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.0 {
            Kind::None => Ok(()),
            Kind::Http(proxy) => connect::open(io, proxy, server).await.map_err(|error| refine(error, proxy)),
            Kind::Socks5(proxy, credentials) => {
                socks5::open(io, credentials.as_ref(), server).await.map_err(|failure| match failure {
                    socks5::Failure::Io(error) => refine(Error::io(error), proxy),
                    socks5::Failure::Proxy(cause) => failed(proxy, cause),
                    socks5::Failure::Name(invalid) => invalid.into(),
                })
            }
        }
    }
}

/// Without credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::None => f.write_str("none"),
            Kind::Http(target) => write!(f, "http://{}", target.server()),
            Kind::Socks5(target, _) => write!(f, "socks5://{}", target.server()),
        }
    }
}

fn parse(url: &str, schemes: &[&str]) -> Result<Url, InvalidUrl> {
    let url = Url::parse(url)?;
    if schemes.contains(&url.scheme()) { Ok(url) } else { Err(InvalidUrl::ProxyScheme(url.scheme().into())) }
}

fn failed(proxy: &Target, cause: ProxyCause) -> Error {
    Error::Proxy(Arc::new(ProxyError { proxy: proxy.server().as_ref().clone(), cause }))
}

/// An error of the way to the proxy, told as one.
fn refine(error: Error, proxy: &Target) -> Error {
    match error {
        Error::Io(cause) => Error::Connect { server: proxy.server().clone(), cause },
        Error::Handshake(invalid) => failed(proxy, ProxyCause::Response(invalid)),
        other => other,
    }
}
