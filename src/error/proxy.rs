//! Why a proxy opened no tunnel.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::uri::Authority;

use super::{InvalidResponse, Server, SharedError, text};

/// A proxy that was reached opened no tunnel. Nothing was sent to the server.
///
/// Its text names the proxy by host and port, never its credentials.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProxyError {
    /// Host and port of the proxy.
    pub proxy: Authority,
    /// The server that the tunnel was for.
    pub server: Arc<Server>,
    /// Why it opened no tunnel.
    pub cause: ProxyCause,
}

/// Why a proxy opened no tunnel.
#[derive(Clone)]
#[non_exhaustive]
pub enum ProxyCause {
    /// TLS with it failed, as its `https` URL asks for. A transport that fails during the TLS handshake counts, too.
    Tls(SharedError<dyn std::error::Error + Send + Sync>),
    /// It answered CONNECT with another status than 2xx: 407 where it wants other credentials. The response carries its
    /// status, its headers and the start of its body.
    Refused(http::Response<Bytes>),
    /// Its answer to CONNECT is no response.
    Response(InvalidResponse),
    /// It accepts none of the authentication methods that were offered (RFC 1928, section 3).
    NoMethod,
    /// It does not take the user name and the password (RFC 1929).
    Credentials,
    /// It answered the request with this reply code: 5 where the server refused TCP (RFC 1928, section 6).
    Reply(u8),
    /// It does not speak SOCKS5.
    Protocol,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} for {} ", self.proxy, self.server.origin())?;
        match &self.cause {
            ProxyCause::Tls(cause) => {
                f.write_str("failed in TLS: ")?;
                text::of_library(cause, f)
            }
            ProxyCause::Refused(response) => {
                f.write_str("refused the tunnel with status ")?;
                text::response(response, f)
            }
            ProxyCause::Response(invalid) => write!(f, "sent an invalid response: {invalid}"),
            ProxyCause::NoMethod => f.write_str("takes none of the offered ways to authenticate"),
            ProxyCause::Credentials => f.write_str("refused the credentials"),
            ProxyCause::Reply(code) => write!(f, "refused the tunnel with SOCKS reply {code} ({})", meaning(*code)),
            ProxyCause::Protocol => f.write_str("does not speak SOCKS5"),
        }
    }
}

/// Of a refusal without the body, and without what may be secret in its headers.
impl fmt::Debug for ProxyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(cause) => f.debug_tuple("Tls").field(cause).finish(),
            Self::Refused(response) => f.debug_tuple("Refused").field(&text::WithoutBody(response)).finish(),
            Self::Response(invalid) => f.debug_tuple("Response").field(invalid).finish(),
            Self::NoMethod => f.write_str("NoMethod"),
            Self::Credentials => f.write_str("Credentials"),
            Self::Reply(code) => f.debug_tuple("Reply").field(code).finish(),
            Self::Protocol => f.write_str("Protocol"),
        }
    }
}

/// Its text has that of the cause, so it has no source.
impl std::error::Error for ProxyError {}

/// What a reply code says (RFC 1928, section 6).
fn meaning(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unassigned",
    }
}
