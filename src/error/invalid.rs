//! What is wrong with what a caller gave.

use std::fmt;

use crate::close::{CloseCode, CloseFrame};

/// Why a URL cannot be connected to (WHATWG WebSockets, the constructor's steps).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It does not parse as a URL.
    #[error(fmt = unparsed)]
    Parse(url::ParseError),
    /// Its scheme is none that a WebSocket can have.
    #[error("the scheme is {0:?}, expected ws, wss, http or https, as in wss://example.com/feed")]
    Scheme(Box<str>),
    /// It has a fragment, which may be empty.
    #[error("it has a fragment (#), which a WebSocket URL must not have")]
    Fragment,
    /// Its path or query has a character that no HTTP request line can carry.
    #[error("its path or query cannot be sent in a request line: {0}")]
    Resource(Box<str>),
    /// The `Host` given instead of the URL's is no host. Of it no userinfo and no path is shown, which may be secrets: `…`
    /// stands for them.
    #[error("the host {0:?} is no host name, address, or either with a port")]
    Host(Box<str>),
    /// It is a proxy's, with a scheme that this kind of proxy does not have.
    #[error("the scheme of the proxy is {0:?}, expected http or https, or socks5 or socks5h for SOCKS5")]
    ProxyScheme(Box<str>),
    /// It is a SOCKS5 proxy's, with a user name or a password of more than 255 bytes (RFC 1929, section 2).
    #[error("a user name or a password for SOCKS5 has more than 255 bytes")]
    ProxyCredentials,
    /// It is a proxy's, by an environment variable. Its value is not shown, since it may have a password.
    #[error(transparent)]
    ProxyVariable(Box<InvalidVariable>),
}

/// Not by `#[from]`, which makes a source of what the text has already.
impl From<url::ParseError> for InvalidUrl {
    fn from(error: url::ParseError) -> Self {
        Self::Parse(error)
    }
}

fn unparsed(error: &url::ParseError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        url::ParseError::RelativeUrlWithoutBase => {
            f.write_str("it has no scheme, expected one such as wss://example.com/feed")
        }
        other => fmt::Display::fmt(other, f),
    }
}

/// Why an environment variable names no proxy. Its value is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in the environment variable {name}: {reason}")]
#[non_exhaustive]
pub struct InvalidVariable {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with its value.
    pub reason: InvalidUrl,
}

/// Why a list of subprotocols cannot be offered (RFC 6455, section 4.1). Its names are not shown, since some servers expect a
/// token there. `index` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubprotocol {
    /// A name is empty.
    #[error("a name is empty")]
    Empty,
    /// A name has a character that cannot stand in the list: see
    /// [`ClientBuilder::protocols`](crate::ClientBuilder::protocols). In the event API, one that is no token character.
    #[error("names[{index}] has the character {character:?}, which no name may have")]
    Character {
        /// Where in the list the name stands.
        index: usize,
        /// The first such character.
        character: char,
    },
    /// A name is listed twice. Names that differ only in case count as the same.
    #[error("names[{index}] is listed before, in this or another case")]
    Duplicate {
        /// Where in the list the name stands for the second time.
        index: usize,
    },
}

/// Why a header cannot be added to the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The handshake sets this header itself, or it would say that a body comes or goes, or it is for a proxy. The text says
    /// what to call instead.
    #[error("{0:?} {hint}", hint = instead_of(.0))]
    Owned(Box<str>),
    /// The name is no HTTP header name. What follows a colon is not shown, since it may be a secret: `…` stands for it.
    #[error("{0:?} is no header name, expected token characters")]
    Name(Box<str>),
    /// The value has a byte that no header value can carry. It is not shown, since it may be a secret.
    #[error("the value of {0:?} has a control character")]
    Value(Box<str>),
    /// There are more than a request can hold, some 24 000.
    #[error("there are too many")]
    TooMany,
}

/// Why a header is not the caller's to add, and what is.
fn instead_of(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "host" => "is set by the handshake itself: see `host()`",
        "sec-websocket-protocol" => "is set by the handshake itself: see `protocols()`",
        "sec-websocket-extensions" => "is set by the handshake itself: see `Config::deflate()`",
        "proxy-authorization" => "would go to the server: credentials for a proxy stand in the URL of the `Proxy`",
        "content-length" | "expect" | "te" | "trailer" | "transfer-encoding" => {
            "is about a body, and the request of the handshake has none"
        }
        "keep-alive" | "proxy-connection" => "is about the connection, which the handshake alone decides about",
        _ => "is set by the handshake itself",
    }
}

/// Why a control frame cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidControl {
    /// A close code that no Close frame may carry.
    #[error("close code {0}, expected 1000-1003, 1007-1014 or 3000-4999")]
    CloseCode(CloseCode),
    /// A close reason longer than a control frame can carry.
    #[error("a close reason of {0} bytes, expected at most {max}", max = CloseFrame::MAX_REASON)]
    CloseReason(usize),
    /// The payload of a ping or a pong longer than a control frame can carry.
    #[error("a payload of {0} bytes for a ping or a pong, expected at most 125")]
    ControlPayload(usize),
}
