//! The one error type of the crate, and the types of its parts.

use std::{fmt, io, ops::Deref, sync::Arc};

use bytes::Bytes;

use crate::close::{CloseCode, CloseFrame, Closed};

/// Whatever can go wrong, by whose fault it is.
///
/// Cheap to clone: a connection that failed reports the same error to its reader and to its writer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller gave a URL that cannot be connected to. Nothing was sent.
    #[error("invalid URL: {0}")]
    InvalidUrl(#[from] InvalidUrl),
    /// The caller asked for a subprotocol that is no valid name. Nothing was sent.
    #[error("invalid subprotocol: {0}")]
    InvalidProtocol(#[from] InvalidProtocol),
    /// The caller gave a header that cannot be sent. Nothing was sent.
    #[error("invalid header: {0}")]
    InvalidHeader(#[from] InvalidHeader),
    /// The caller gave a Close frame or a ping that cannot be sent. The connection stays as it was.
    #[error("invalid control frame: {0}")]
    InvalidControl(#[from] InvalidControl),
    /// Sending after the closing handshake began (RFC 6455, section 5.5.1).
    #[error("the connection is closing: nothing more can be sent")]
    Closing,
    /// The connection ended, without an answer to what was asked of it.
    #[error("the connection was {0}")]
    Closed(Arc<Closed>),
    /// The attempt to connect was cancelled by its token.
    #[error("the attempt to connect was cancelled")]
    Aborted,
    /// The transport failed: DNS, TCP, or whatever IO the connection runs over.
    #[error("transport error: {0}")]
    Io(#[source] Cause<io::Error>),
    /// TLS failed, or was asked for and is not there.
    #[error("TLS error: {0}")]
    Tls(#[source] Cause<dyn std::error::Error + Send + Sync>),
    /// The server answered the upgrade with another status than 101. The response carries its status, its headers and
    /// the start of its body.
    #[error("the server refused the upgrade with status {}", .0.status())]
    Refused(Arc<http::Response<Bytes>>),
    /// The server's answer to the upgrade breaks RFC 6455, section 4.1.
    #[error("invalid handshake response: {0}")]
    Handshake(#[from] InvalidResponse),
    /// The peer broke the protocol. It was told so by a Close frame with [`Error::close_code`].
    #[error("protocol violation by the peer: {0}")]
    Protocol(#[from] Violation),
    /// The peer sent more than the configured limits allow. It was told so by a Close frame with
    /// [`Error::close_code`].
    #[error("limit exceeded: {0}")]
    Limit(#[from] LimitExceeded),
    /// A deadline passed.
    #[error("timed out: {0}")]
    Timeout(Phase),
    /// The event API was given more to send than its
    /// [`max_buffered_amount`](crate::compat::WebSocketBuilder::max_buffered_amount) allows.
    #[error("more than {0} bytes would wait to be sent")]
    Overflow(u64),
}

impl Error {
    /// The code of the Close frame that tells the peer of this error, if it is one that a peer is told of. It is not sent
    /// where our own Close was sent before.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(violation) => Some(violation.close_code()),
            Self::Limit(limit) => Some(limit.close_code()),
            _ => None,
        }
    }

    /// What a TLS library says, or that there is none.
    pub(crate) fn tls(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Tls(Cause(Arc::from(error.into())))
    }
}

/// A TLS stream fails with an [`io::Error`] around what rustls says: that becomes [`Error::Tls`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "rustls-tls")]
        if let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::tls(cause.clone());
        }
        Self::Io(Cause(Arc::new(error)))
    }
}

impl From<Closed> for Error {
    fn from(closed: Closed) -> Self {
        Self::Closed(Arc::new(closed))
    }
}

/// An error of another library, shared between the clones of an [`Error`].
///
/// It dereferences to the error itself, which is also what [`source`](std::error::Error::source) gives, to be
/// downcast: an `Arc` alone would stand in between.
#[derive(Debug)]
pub struct Cause<E: ?Sized>(Arc<E>);

#[cfg(feature = "rustls-tls")]
impl<E: std::error::Error + Send + Sync + 'static> Cause<E> {
    /// The same error, whatever its type.
    pub(crate) fn erase(self) -> Cause<dyn std::error::Error + Send + Sync> {
        Cause(self.0)
    }
}

impl<E: ?Sized> Clone for Cause<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: ?Sized> Deref for Cause<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E: fmt::Display + ?Sized> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a URL cannot be connected to (WHATWG WebSockets, the constructor's steps).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It does not parse as a URL.
    #[error("{0}")]
    Parse(#[from] url::ParseError),
    /// Its scheme is none that a WebSocket can have.
    #[error("the scheme is {0:?}, expected ws, wss, http or https")]
    Scheme(Box<str>),
    /// It has a fragment, which may be empty.
    #[error("it has a fragment (#), which a WebSocket URL must not have")]
    Fragment,
    /// Its path or query has a character that no HTTP request line can carry.
    #[error("its path or query cannot stand in a request line: {0}")]
    Resource(Box<str>),
    /// The `Host` given instead of the URL's is no host.
    #[error("the host {0:?} is no host name, address, or either with a port")]
    Host(Box<str>),
}

/// Why a list of subprotocols cannot be offered (RFC 6455, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProtocol {
    /// A name is empty.
    #[error("a name is empty")]
    Empty,
    /// A name has a character that is no token character.
    #[error("{0:?} has a character that is not allowed, expected visible ASCII without separators")]
    Character(Box<str>),
    /// A name stands twice. Names that differ only in case count as the same.
    #[error("{0:?} stands twice")]
    Duplicate(Box<str>),
}

/// Why a header cannot be added to the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The handshake sets this header itself.
    #[error("{0:?} is set by the handshake itself")]
    Owned(Box<str>),
    /// The name is no HTTP header name.
    #[error("{0:?} is no header name, expected token characters")]
    Name(Box<str>),
    /// The value has a byte that no header value can carry. It is not shown, since it may be a secret.
    #[error("the value of {0:?} has a control character")]
    Value(Box<str>),
}

/// Why a control frame cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidControl {
    /// A close code that no Close frame may carry.
    #[error("close code {0}, expected 1000-1003, 1007-1014 or 3000-4999")]
    CloseCode(CloseCode),
    /// A close reason longer than a control frame can carry.
    #[error("a close reason of {0} bytes, expected at most {max}", max = CloseFrame::MAX_REASON)]
    CloseReason(usize),
    /// A ping payload longer than a control frame can carry.
    #[error("a ping payload of {0} bytes, expected at most 125")]
    PingPayload(usize),
    /// More pings without an answer than are kept track of.
    #[error("{0} pings are waiting for their pongs already")]
    TooManyPings(usize),
}

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
    /// An extension, or one of its parameters, that was not offered or is malformed.
    #[error("the header Sec-WebSocket-Extensions is not what was offered: {0}")]
    Extension(Box<str>),
    /// A subprotocol that was not asked for.
    #[error("the header Sec-WebSocket-Protocol is {0}, which was not asked for")]
    Protocol(HeaderText),
    /// No subprotocol although some were asked for.
    #[error("no subprotocol was chosen of those asked for")]
    NoProtocol,
}

/// A header's value as the server sent it, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(pub(crate) Option<Box<str>>);

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("missing"),
        }
    }
}

/// What a peer did that RFC 6455 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A server must not mask (section 5.1).
    #[error("a masked frame from a server")]
    MaskedFrame,
    /// A reserved bit that no agreed extension gives a meaning to (section 5.2).
    #[error("reserved bits {0:03b} (RSV1-3) without an extension that defines them")]
    ReservedBits(u8),
    /// An opcode without a meaning: 3-7, 11-15 (section 5.2).
    #[error("the reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A length in more bytes than it needs (section 5.2).
    #[error("the length {0} in more bytes than it needs")]
    NonMinimalLength(u64),
    /// A 64-bit length with its highest bit set (section 5.2).
    #[error("a length with its highest bit set")]
    LengthOverflow,
    /// A control frame without FIN (section 5.5).
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    /// A continuation frame although no message was begun (section 5.4).
    #[error("a continuation frame outside of a message")]
    UnexpectedContinuation,
    /// A new data frame inside of a fragmented message (section 5.4).
    #[error("a new message inside of a fragmented one")]
    ExpectedContinuation,
    /// Text that is not UTF-8 (section 8.1).
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that does not inflate (RFC 7692, section 7.2.2).
    #[error("a compressed message that does not inflate")]
    CompressedData,
    /// A Close frame with a body of one byte (section 5.5.1).
    #[error("a Close frame with a body of one byte")]
    CloseBodyOfOneByte,
    /// A Close frame with a code that no Close frame may carry (section 7.4).
    #[error("the close code {0}")]
    CloseCode(CloseCode),
    /// A Close frame whose reason is not UTF-8 (section 5.5.1).
    #[error("a close reason that is not UTF-8")]
    CloseReasonUtf8,
}

impl Violation {
    /// The code of the Close frame that answers it: 1007 for a payload that is not what it should be, else 1002.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::CloseReasonUtf8 | Self::CompressedData => CloseCode::INVALID_FRAME_PAYLOAD_DATA,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Which configured limit a peer went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// [`Config::max_message_size`](crate::Config::max_message_size).
    #[error("a message of more than {limit} bytes")]
    MessageSize {
        /// The limit, in bytes.
        limit: usize,
    },
    /// [`Config::max_frame_size`](crate::Config::max_frame_size).
    #[error("a frame of {len} bytes, expected at most {limit}")]
    FrameSize {
        /// The frame's declared length, in bytes.
        len: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// [`Config::max_fragments`](crate::Config::max_fragments).
    #[error("a message of more than {limit} fragments")]
    Fragments {
        /// The limit, in frames.
        limit: usize,
    },
}

impl LimitExceeded {
    /// The code of the Close frame that answers it: 1008 for too many fragments, else 1009.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Fragments { .. } => CloseCode::POLICY_VIOLATION,
            Self::MessageSize { .. } | Self::FrameSize { .. } => CloseCode::MESSAGE_TOO_BIG,
        }
    }
}

/// What was being waited for when a deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Name resolution and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The response to the upgrade request.
    Handshake,
    /// The transport taking what was queued ([`Config::write_timeout`](crate::Config::write_timeout)).
    Write,
    /// The transport taking our Close frame, or the peer answering it
    /// ([`Config::close_timeout`](crate::Config::close_timeout)).
    Close,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the response to the upgrade request",
            Self::Write => "the transport took none of what was queued",
            Self::Close => "the closing handshake",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_at_most_32_bytes() {
        assert!(size_of::<Error>() <= 32);
    }

    #[test]
    fn the_cause_of_an_error_can_be_downcast() {
        let error = Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
        let error = Error::tls(fmt::Error);
        assert!(std::error::Error::source(&error).unwrap().is::<fmt::Error>());
    }
}
