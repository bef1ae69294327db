//! What is wrong with a server's response to the upgrade request.

use std::fmt;

use super::text::Excerpt;

/// What is wrong with a response that claims to switch protocols (RFC 6455, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// It is no HTTP/1.1 response.
    #[error("not an HTTP/1.1 response: {0}")]
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
    #[error("the header Sec-WebSocket-Protocol is {0}, which was not asked for")]
    Subprotocol(HeaderText),
    /// `Sec-WebSocket-Protocol` is missing or empty although subprotocols were asked for.
    #[error("the header Sec-WebSocket-Protocol is missing, although subprotocols were asked for")]
    NoSubprotocol,
}

/// A header's value as the server sent it, or that there was none.
///
/// Its `Display` shows the start of it, escaped: a server may send 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(Option<Box<str>>);

impl HeaderText {
    pub(crate) fn new(value: Option<&str>) -> Self {
        Self(value.map(Into::into))
    }

    /// The value; `None` if the header is missing. Bytes that are not UTF-8 are U+FFFD in it.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(value) => write!(f, "\"{}\"", Excerpt(value)),
            None => f.write_str("missing"),
        }
    }
}
