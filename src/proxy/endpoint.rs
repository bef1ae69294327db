//! One proxy: where it is, what it speaks, and the tunnel that it is asked for.

use std::{fmt, sync::Arc, time::Duration};

use bytes::BytesMut;
use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use url::Url;

use crate::{
    error::{Error, InvalidUrl, Phase, ProxyCause, ProxyError, Server},
    handshake,
    proxy::{
        connect,
        socks5::{self, Credentials},
    },
    transport::target::Target,
};

/// A proxy, by its URL.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// It is asked by CONNECT; over TLS if the target says so.
    Http(Target),
    Socks5(Target, Option<Credentials>),
}

impl Endpoint {
    /// Of an `http` or `https` URL. Without a scheme it is an `http` URL, as in environment variables.
    pub(super) fn http(url: &str) -> Result<Self, InvalidUrl> {
        let url = match url.contains("://") {
            true => parse(url, &["http", "https"])?,
            false => parse(&format!("http://{url}"), &["http"])?,
        };
        Ok(Self::Http(Target::parse(url.as_str())?))
    }

    /// Of a `socks5` or `socks5h` URL.
    pub(super) fn socks5(url: &str) -> Result<Self, InvalidUrl> {
        let given = parse(url, &["socks5", "socks5h"])?;
        let credentials = Credentials::of(&given)?;
        let host = given.host_str().ok_or(url::ParseError::EmptyHost)?;
        let address = format!("ws://{host}:{}", given.port().unwrap_or(1080));
        Ok(Self::Socks5(Target::parse(&address)?, credentials))
    }

    /// Of a URL of either kind. Without a scheme it is one for [`http`](Self::http).
    pub(super) fn any(url: &str) -> Result<Self, InvalidUrl> {
        match url.split_once("://") {
            None => Self::http(url),
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => Self::socks5(url),
            Some(_) => Self::http(url),
        }
    }

    /// Where to open TCP to, and whether with TLS.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::Http(target) | Self::Socks5(target, _) => target,
        }
    }

    /// Asks for a tunnel to `server` over `io`, which is connected to the proxy. No byte of the tunnel is read. `limit`
    /// bounds it all, the body of a refusal included; `None`: no limit. An HTTP proxy is told `user_agent`.
    pub(crate) async fn open_tunnel<IO>(
        &self,
        io: &mut IO,
        server: &Target,
        user_agent: Option<&HeaderValue>,
        limit: Option<Duration>,
    ) -> Result<(), Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let asking = async {
            match self {
                Self::Http(proxy) => connect::ask(io, proxy, server, user_agent, deadline).await.map(Some),
                Self::Socks5(_, credentials) => socks5::open(io, credentials.as_ref(), server).await.map(|()| None),
            }
        };
        let answer = match limit.zip(deadline) {
            Some((after, deadline)) => timeout_at(deadline, asking).await.map_err(|_| Error::Timeout {
                phase: Phase::Proxy,
                after,
                server: Some(server.server().clone()),
                during: None,
            })?,
            None => asking.await,
        };
        match answer.map_err(|failure| self.error(failure, server))? {
            Some(head) if !head.status().is_success() => {
                let refusal = handshake::read_refusal(io, head, BytesMut::new(), deadline).await;
                Err(self.failed(ProxyCause::Refused(refusal), server))
            }
            _ => Ok(()),
        }
    }

    /// An error of the way to the proxy, told as one.
    pub(crate) fn error(&self, failure: impl Into<Failure>, server: &Target) -> Error {
        match failure.into() {
            Failure::Proxy(cause) => self.failed(cause, server),
            Failure::Other(Error::Io(cause)) => {
                Error::Connect { server: self.server().as_proxy_for(server.server()), cause }
            }
            Failure::Other(Error::Tls(cause)) => self.failed(ProxyCause::Tls(cause), server),
            Failure::Other(Error::Handshake(failed)) => {
                self.failed(ProxyCause::Response(Arc::unwrap_or_clone(failed).cause), server)
            }
            Failure::Other(other) => other,
        }
    }

    fn failed(&self, cause: ProxyCause, server: &Target) -> Error {
        let proxy = (***self.target().server()).clone();
        Error::Proxy(Arc::new(ProxyError { proxy, server: server.server().clone(), cause }))
    }

    /// As errors name it.
    pub(crate) fn server(&self) -> Server {
        let scheme = match self {
            Self::Http(target) if target.is_secure() => "https",
            Self::Http(_) => "http",
            Self::Socks5(..) => "socks5",
        };
        Server::new(scheme, (***self.target().server()).clone())
    }
}

/// Without credentials.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.server(), f)
    }
}

/// Why there is no tunnel.
pub(crate) enum Failure {
    /// What the proxy said.
    Proxy(ProxyCause),
    /// What went wrong on the way, or in the request.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(Error::io(error))
    }
}

fn parse(url: &str, schemes: &[&str]) -> Result<Url, InvalidUrl> {
    let url = Url::parse(url)?;
    if schemes.contains(&url.scheme()) { Ok(url) } else { Err(InvalidUrl::ProxyScheme(url.scheme().into())) }
}
