//! What is wrong with a server's response to the upgrade request.

use std::{fmt, sync::Arc};

use super::{
    Server,
    text::{Excerpt, cut},
};

/// A server's answer to the upgrade breaks RFC 6455, section 4.1.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandshakeError {
    /// The server, and the proxy to it; `None` if the upgrade was made elsewhere.
    pub server: Option<Arc<Server>>,
    /// What is wrong with its answer.
    pub cause: InvalidResponse,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid handshake response")?;
        if let Some(server) = &self.server {
            write!(f, " of {server}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// Its text has that of the cause, so it has no source.
impl std::error::Error for HandshakeError {}

/// What is wrong with a response that claims to switch protocols (RFC 6455, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// It is no HTTP/1.1 response, or says what none may say, or a header that decides is written as none should be: `Upgrade`,
    /// `Connection`, `Location` and `Sec-WebSocket-…` are read strictly, and all others as browsers read them.
    #[error("no valid HTTP/1.1 response: {0}")]
    Malformed(Box<str>),
    /// Its head is larger than is read.
    #[error("the head has more than {limit} bytes")]
    HeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection ended before the head was whole.
    #[error("the connection ended after {received} bytes of the response")]
    Truncated {
        /// What had come, in bytes.
        received: usize,
    },
    /// `Upgrade` is missing or is not `websocket`.
    #[error("the header Upgrade is {0}, expected \"websocket\"")]
    Upgrade(HeaderText),
    /// `Connection` lacks the token `upgrade`.
    #[error("the header Connection is {0}, expected the token \"upgrade\"")]
    Connection(HeaderText),
    /// `Sec-WebSocket-Accept` is missing or is not the answer to the key that was sent.
    #[error("the header Sec-WebSocket-Accept is {0}, which does not answer the key")]
    Accept(HeaderText),
    /// `Sec-WebSocket-Extensions` has an extension, or a parameter of one, that was not offered or is malformed.
    #[error("the header Sec-WebSocket-Extensions is not what was offered: {0}")]
    Extension(Box<str>),
    /// `Sec-WebSocket-Protocol` names a subprotocol that was not asked for.
    ///
    /// What it names is not shown, since a server may repeat a token that was sent there: [`HeaderText::as_str`] has it.
    #[error("the header Sec-WebSocket-Protocol names a subprotocol that was not asked for")]
    Subprotocol(HeaderText),
    /// `Sec-WebSocket-Protocol` is missing or empty although subprotocols were asked for.
    #[error("the header Sec-WebSocket-Protocol is missing, although subprotocols were asked for")]
    NoSubprotocol,
}

impl InvalidResponse {
    /// `what` may have text of the server in it: it is cut.
    pub(crate) fn malformed(what: &str) -> Self {
        Self::Malformed(cut(what).into())
    }

    /// Its first line is no status line of HTTP/1.1.
    pub(crate) fn status_line(line: &[u8]) -> Self {
        // An alert (RFC 8446, section 5.1): a TLS server does not understand the request.
        if line.starts_with(&[0x15, 3]) {
            return Self::malformed("it is TLS: is the scheme wss?");
        }
        Self::Malformed(format!("it begins with \"{}\"", Excerpt(&String::from_utf8_lossy(line))).into())
    }

    /// The header has this value; `wrong` says what is wrong with it.
    pub(crate) fn extension(value: &str, wrong: &str) -> Self {
        Self::Extension(format!("\"{}\": {wrong}", Excerpt(value)).into())
    }
}

/// A header's value as the server sent it, or that there was none.
///
/// `{}` and `{:?}` show the start of it, escaped: a server may send 64 KiB. One that may be a secret they do not show.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderText(Box<Value>);

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Missing,
    Shown(Box<str>),
    Secret(Box<str>),
}

impl HeaderText {
    pub(crate) fn new(value: Option<&str>) -> Self {
        Self(Box::new(value.map_or(Value::Missing, |value| Value::Shown(value.into()))))
    }

    /// The same, without its value in any text.
    pub(crate) fn into_secret(self) -> Self {
        Self(Box::new(match *self.0 {
            Value::Shown(value) => Value::Secret(value),
            other => other,
        }))
    }

    /// The value; `None` if the header is missing. Bytes that are not UTF-8 are U+FFFD in it.
    pub fn as_str(&self) -> Option<&str> {
        match &*self.0 {
            Value::Missing => None,
            Value::Shown(value) | Value::Secret(value) => Some(value),
        }
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Value::Missing => f.write_str("missing"),
            Value::Shown(value) => write!(f, "\"{}\"", Excerpt(value)),
            Value::Secret(_) => f.write_str("not shown"),
        }
    }
}

impl fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
