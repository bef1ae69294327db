//! The one error type of the crate, and the types of its parts.

mod handshake;
mod invalid;
mod outlook;
mod proxy;
mod redirect;
mod retry_after;
mod server;
mod shared;
mod text;
mod violation;

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;

pub use self::{
    handshake::{HandshakeError, HeaderText, InvalidResponse},
    invalid::{InvalidControl, InvalidHeader, InvalidSubprotocol, InvalidUrl, InvalidVariable},
    proxy::{ProxyCause, ProxyError},
    redirect::{InvalidRedirect, Redirected},
    server::Server,
    shared::SharedError,
    violation::{LimitExceeded, Violation},
};
pub(crate) use self::{
    outlook::Outlook,
    text::{cut, up_to},
};
use crate::close::{CloseCode, CloseFrame, Closed};

/// All errors, grouped by cause.
///
/// `{}` says what happened and why, with the text of the cause. So [`source`](std::error::Error::source) is always
/// `None`, and `{:#}` of anyhow shows the same as `{}`. The cause itself is in the variant: [`Error::Io`] dereferences
/// to its [`io::Error`], that of [`Error::Tls`] can be downcast. What the other side sent is shown escaped and cut to
/// 200 characters.
///
/// Clones are cheap: a connection that failed reports the same error to its reader and to its writer.
///
/// # The usual failures
///
/// `…` is text of the operating system.
///
/// | what happened | `{}` and `{:#}` | match | [transient](Self::is_transient) |
/// |---|---|---|---|
/// | the host has no address | `cannot connect to ws://host.invalid:80: dns error: …` | `Error::Connect { .. }` | yes |
/// | TCP is refused | `cannot connect to ws://127.0.0.1:9001: tcp connect error: Connection refused (os error …)` | `Error::Connect { .. }` | yes |
/// | the host does not answer | `connecting to ws://127.0.0.1:9001 timed out after 50ms` | `Error::Timeout { phase: Phase::Connect, .. }` | yes |
/// | the server does not answer TLS | `the TLS handshake with wss://example.com:443 timed out after 30s` | `Error::Timeout { phase: Phase::Tls, .. }` | yes |
/// | the server does not answer HTTP | `the opening handshake with ws://example.com:80 timed out after 30s` | `Error::Timeout { phase: Phase::Handshake, .. }` | yes |
/// | the certificate's issuer is unknown | `TLS error with wss://localhost:443: invalid peer certificate: UnknownIssuer` | `Error::Tls(_)` | no |
/// | the proxy does not answer | `opening a tunnel to ws://server.invalid:80 through the proxy http://127.0.0.1:9001 timed out after 50ms` | `Error::Timeout { phase: Phase::Proxy, .. }` | yes |
/// | an https proxy does not answer | `the TLS handshake with the proxy https://127.0.0.1:9001 for ws://server.invalid:80 timed out after 50ms` | `Error::Timeout { phase: Phase::ProxyTls, .. }` | yes |
/// | the issuer of a proxy is unknown | `the proxy localhost:9001 for ws://server.invalid:80 failed in TLS: invalid peer certificate: UnknownIssuer` | `Error::Proxy(_)` | no |
/// | the proxy wants credentials | `the proxy 127.0.0.1:9001 for ws://server.invalid:80 refused the tunnel with status 407 Proxy Authentication Required: who?` | `Error::Proxy(_)` | no |
/// | the proxy cannot reach the server | `the proxy 127.0.0.1:9001 for ws://server.invalid:80 refused the tunnel with status 502 Bad Gateway` | `Error::Proxy(_)` | yes |
/// | a SOCKS proxy refuses the password | `the proxy 127.0.0.1:9001 for ws://server.invalid:80 refused the credentials` | `Error::Proxy(_)` | no |
/// | a SOCKS proxy cannot reach it | `the proxy 127.0.0.1:9001 for ws://server.invalid:80 refused the tunnel with SOCKS reply 5 (connection refused)` | `Error::Proxy(_)` | yes |
/// | status 403 with a body | `the server ws://example.com:80 refused the upgrade with status 403 Forbidden: {"error":"token expired"}` | `Error::Refused(_)` | no |
/// | redirects lead in a loop | `a redirect was not followed: they lead in a loop: ws://a.example/ -> ws://a.example/b -> ws://a.example/` | `Error::Redirect(_)` | no |
/// | a send after the server closed with 1008 | `the connection was closed with code 1008 (no such feed)` | `Error::Closed(_)` | no |
/// | FIN without a Close frame | `the connection was lost: the transport ended without a Close frame from the peer (1006)` | `Error::Closed(_)` | yes |
/// | RST | `transport error: Connection reset by peer (os error …)` | `Error::Io(_)` | yes |
/// | the server does not read | `writing what was queued timed out after 5s` | `Error::Timeout { phase: Phase::Write, .. }` | yes |
/// | the server is gone | `waiting for a sign of life from the peer timed out after 30s` | `Error::Timeout { phase: Phase::Keepalive, .. }` | yes |
/// | the server sends no message | `waiting for a message timed out after 5s` | `Error::Timeout { phase: Phase::Message, .. }` | yes |
/// | the server does not answer our Close | `the closing handshake timed out after 10s` | `Error::Timeout { phase: Phase::Close, .. }` | yes |
/// | a message above the limit | `limit exceeded by the peer: a message of more than 1024 bytes (max_message_size)` | `Error::Limit(LimitExceeded::MessageSize { .. })` | no |
/// | a text on a byte stream | `a text message came where only binary ones are taken` | `Error::UnexpectedText` | no |
/// | a frame that RFC 6455 forbids | `protocol violation by the peer: a masked frame from a server` | `Error::ProtocolViolation(_)` | no |
/// | a message writer is dropped too early | `a message was not finished: its writer was dropped before finish` | `Error::UnfinishedMessage` | no |
/// | a text that is not UTF-8 is written | `invalid text: what was written is not UTF-8` | `Error::InvalidText` | no |
/// | a URL without a scheme | `invalid URL: it has no scheme, expected one such as wss://example.com/feed` | `Error::InvalidUrl(_)` | no |
///
/// # Retrying
///
/// [`is_transient`](Self::is_transient) tells whether connecting again may help:
///
/// ```no_run
/// # use std::time::Duration;
/// # use wsflow::{Error, WebSocketStream};
/// # async fn example() -> Result<WebSocketStream, Error> {
/// let mut wait = Duration::from_secs(1);
/// loop {
///     match WebSocketStream::connect("wss://example.com/feed").await {
///         Err(error) if error.is_transient() => {
///             eprintln!("{error}; next attempt in {wait:?}");
///             tokio::time::sleep(wait).await;
///             wait = (wait * 2).min(Duration::from_secs(60));
///         }
///         result => return result,
///     }
/// }
/// # }
/// ```
///
/// # `Debug`
///
/// `{:?}` is the text, too: a `main` that returns the error shows it. `{:#?}` is the structure, with types and fields; of a
/// response it has status and headers, without values that may be secrets, and it is cut to 4000 characters.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The caller's.
    /// The caller gave a URL that cannot be connected to. Nothing was sent.
    #[error("invalid URL: {0}")]
    InvalidUrl(InvalidUrl),
    /// The caller asked for a subprotocol that is no valid name. Nothing was sent.
    #[error("invalid subprotocol: {0}")]
    InvalidSubprotocol(InvalidSubprotocol),
    /// The caller gave a header that cannot be sent. Nothing was sent.
    #[error("invalid header: {0}")]
    InvalidHeader(InvalidHeader),
    /// The caller gave a Close frame or a ping that cannot be sent. The connection stays as it was.
    #[error("invalid control frame: {0}")]
    InvalidControl(InvalidControl),
    /// The ping was not sent, since as many as are kept track of wait for their pongs or to be sent. The connection
    /// stays as it was.
    #[error("too many pings: {limit} wait for their pongs already")]
    TooManyPings {
        /// How many may wait.
        limit: usize,
    },
    /// `start_send` was called although the queued cost is at or above
    /// [`Config::write_high_water_mark`](crate::Config::write_high_water_mark): a sink takes a message only after
    /// `poll_ready` has returned `Ready`, which `send` and `feed` wait for. The message was not queued.
    #[error("the sink is not ready: start_send was called before poll_ready returned Ready")]
    NotReady,
    /// A [`MessageWriter`](crate::MessageWriter) of a text was given bytes that are not UTF-8, and took none of them; or it
    /// was finished in the middle of a character, and counts as dropped before `finish`.
    #[error("invalid text: what was written is not UTF-8")]
    InvalidText,
    /// A [`MessageWriter`](crate::MessageWriter) was dropped before `finish`. The connection failed, so that half a message
    /// never looks whole: the peer was told by a Close frame with [`Error::close_code`].
    #[error("a message was not finished: its writer was dropped before finish")]
    UnfinishedMessage,
    /// The event API was given more to send than its
    /// [`max_buffered_amount`](crate::compat::WebSocketBuilder::max_buffered_amount) allows.
    #[error("more than {0} bytes would wait to be sent (max_buffered_amount)")]
    Overflow(u64),
    /// The attempt to connect was cancelled by its token, or by the event API's `close`; or the connection by `abort`.
    #[error("was aborted")]
    Aborted,

    // The connection's.
    /// Sending after the closing handshake began (RFC 6455, section 5.5.1).
    #[error(fmt = text::closing)]
    Closing {
        /// The peer's Close frame, if it has come: [`close_code`](Self::close_code) tells its code.
        by_peer: Option<Arc<CloseFrame>>,
    },
    /// The connection ended: by the peer's Close frame, or without one (code 1006). [`Closed`] says how.
    #[error(fmt = text::closed)]
    Closed(Arc<Closed>),
    /// Name resolution or TCP failed: nothing was sent to the server.
    #[error("cannot connect to {server}: {cause}")]
    Connect {
        /// Where to.
        server: Arc<Server>,
        /// Its [`kind`](io::Error::kind) is that of the operating system's error.
        cause: SharedError<io::Error>,
    },
    /// A proxy was reached and opened no tunnel. Nothing was sent to the server. Only with the feature `proxy`.
    #[error("{0}")]
    Proxy(Arc<ProxyError>),
    /// The transport failed after it was connected: TCP, or the IO that the caller gave.
    #[error("transport error{place}: {0}", place = .0.place())]
    Io(SharedError<io::Error>),
    /// TLS failed, or is not in this build. A transport that fails during the TLS handshake is such an error, too.
    #[error(fmt = text::tls)]
    Tls(SharedError<dyn std::error::Error + Send + Sync>),
    /// A deadline passed.
    #[error(fmt = text::timeout)]
    Timeout {
        /// What was being waited for.
        phase: Phase,
        /// How long: the limit that was set.
        after: Duration,
        /// Where to; `None` once the connection is open.
        server: Option<Arc<Server>>,
        /// The phase that ran, of [`Phase::Attempt`].
        during: Option<Phase>,
    },

    // The server's.
    /// The server answered the upgrade with another status than 101. The response carries its status, its headers and
    /// the start of its body.
    #[error(fmt = text::refused)]
    Refused(Arc<http::Response<Bytes>>),
    /// The server answered with a redirect that was not followed, where
    /// [`ClientBuilder::redirects`](crate::ClientBuilder::redirects) asks to follow them.
    #[error("a redirect was not followed: {0}")]
    Redirect(Arc<Redirected>),
    /// The server's answer to the upgrade breaks RFC 6455, section 4.1.
    #[error("{0}")]
    Handshake(Arc<HandshakeError>),
    /// The peer broke the protocol. It was told so by a Close frame with [`Error::close_code`].
    #[error("protocol violation by the peer: {0}")]
    ProtocolViolation(Violation),
    /// The peer sent more than the configured limits allow. It was told so by a Close frame with
    /// [`Error::close_code`].
    #[error("limit exceeded by the peer: {0}")]
    Limit(LimitExceeded),
    /// The peer sent a text to a [`ByteStream`](crate::ByteStream), which takes binary messages only. It was told so by a
    /// Close frame with [`Error::close_code`].
    #[error("a text message came where only binary ones are taken")]
    UnexpectedText,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { text::structure(Structure(self), f) } else { fmt::Display::fmt(self, f) }
    }
}

/// What `{:#?}` shows.
struct Structure<'a>(&'a Error);

impl fmt::Debug for Structure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of = |name, field: &dyn fmt::Debug| f.debug_tuple(name).field(field).finish();
        match self.0 {
            Error::InvalidUrl(invalid) => of("InvalidUrl", invalid),
            Error::InvalidSubprotocol(invalid) => of("InvalidSubprotocol", invalid),
            Error::InvalidHeader(invalid) => of("InvalidHeader", invalid),
            Error::InvalidControl(invalid) => of("InvalidControl", invalid),
            Error::TooManyPings { limit } => f.debug_struct("TooManyPings").field("limit", limit).finish(),
            Error::NotReady => f.write_str("NotReady"),
            Error::InvalidText => f.write_str("InvalidText"),
            Error::UnfinishedMessage => f.write_str("UnfinishedMessage"),
            Error::Overflow(limit) => of("Overflow", limit),
            Error::Aborted => f.write_str("Aborted"),
            Error::Closing { by_peer } => f.debug_struct("Closing").field("by_peer", by_peer).finish(),
            Error::Closed(closed) => of("Closed", closed),
            Error::Connect { server, cause } => {
                f.debug_struct("Connect").field("server", server).field("cause", cause).finish()
            }
            Error::Proxy(failed) => of("Proxy", failed),
            Error::Io(cause) => of("Io", cause),
            Error::Tls(cause) => of("Tls", cause),
            Error::Timeout { phase, after, server, during } => {
                let mut timeout = f.debug_struct("Timeout");
                timeout.field("phase", phase).field("after", after).field("server", server);
                timeout.field("during", during).finish()
            }
            Error::Refused(response) => of("Refused", &text::WithoutBody(response)),
            Error::Redirect(redirected) => of("Redirect", redirected),
            Error::Handshake(invalid) => of("Handshake", invalid),
            Error::ProtocolViolation(violation) => of("ProtocolViolation", violation),
            Error::Limit(limit) => of("Limit", limit),
            Error::UnexpectedText => f.write_str("UnexpectedText"),
        }
    }
}

/// Questions of callers.
impl Error {
    /// Whether time ran out: [`Error::Timeout`], or a timeout of TCP's own.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Io(cause) | Self::Connect { cause, .. } => cause.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// Whether no connection to the server came about: name resolution or TCP failed or took too long. Nothing was
    /// sent to the server. A proxy that opened no tunnel counts.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Proxy(_))
            || matches!(self.late_phase(), Some(Phase::Connect | Phase::ProxyTls | Phase::Proxy))
    }

    /// The phase in which time ran out.
    fn late_phase(&self) -> Option<Phase> {
        match self {
            Self::Timeout { phase, during, .. } => Some(during.unwrap_or(*phase)),
            _ => None,
        }
    }

    /// Whether TLS failed, with the server or with an `https` proxy: its certificate, its handshake, or that this took
    /// too long.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Timeout { .. } => matches!(self.late_phase(), Some(Phase::Tls | Phase::ProxyTls)),
            Self::Proxy(error) => matches!(error.cause, ProxyCause::Tls(_)),
            _ => false,
        }
    }

    /// Whether the connection had ended or was closing: [`Error::Closed`], [`Error::Closing`] and [`Error::Aborted`].
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Closing { .. } | Self::Aborted)
    }

    /// Whether connecting again with the same input may succeed. It is for:
    ///
    /// * [`Connect`](Self::Connect), also where the host has no address; [`Io`](Self::Io);
    ///   [`Timeout`](Self::Timeout) of every phase;
    /// * [`Refused`](Self::Refused), and [`Proxy`](Self::Proxy) with a status, if that is 408, 425, 429 or 5xx, or there is a
    ///   `Retry-After`;
    /// * [`Proxy`](Self::Proxy) with the SOCKS reply 1, 3, 4, 5 or 6;
    /// * a response that broke off ([`InvalidResponse::Truncated`]), of the server or of a proxy;
    /// * [`Closed`](Self::Closed) with code 1001, 1006, 1011, 1012, 1013 or 1014;
    /// * a [violation](Self::ProtocolViolation) in the peer's Close frame: servers send such when they restart.
    ///
    /// It is not for what the caller gave, for TLS, for any other status or close code, nor for a peer that breaks the
    /// protocol or exceeds a limit. The codes 3000-4999 have the meaning that the application gives them.
    ///
    /// It is what [`Retry::default_for`](crate::Retry::default_for) tries again, but for ends as intended: those with 1000,
    /// 1005 or 3000-4999, and [`Closing`](Self::Closing), are not transient.
    pub fn is_transient(&self) -> bool {
        self.outlook() == Outlook::Transient
    }

    /// The status of a response that refused the upgrade, or the tunnel.
    pub fn status(&self) -> Option<StatusCode> {
        self.refusal().map(http::Response::status)
    }

    /// The response that refused the upgrade, or the tunnel.
    pub(crate) fn refusal(&self) -> Option<&http::Response<Bytes>> {
        match self {
            Self::Refused(response) => Some(response),
            Self::Proxy(error) => match &error.cause {
                ProxyCause::Refused(response) => Some(response),
                _ => None,
            },
            _ => None,
        }
    }

    /// The close code that belongs to this error.
    ///
    /// Of [`Closed`](Self::Closed) it is [`Closed::code`], the peer's. Of
    /// [`ProtocolViolation`](Self::ProtocolViolation), of [`Limit`](Self::Limit), of
    /// [`UnexpectedText`](Self::UnexpectedText) (1003), of [`UnfinishedMessage`](Self::UnfinishedMessage) and of a
    /// [`Timeout`](Self::Timeout) in [`Phase::Message`] (both 1011) it is the code of the Close frame that tells the peer, which
    /// is not sent where our own Close was sent before. All others have none.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(closed) => Some(closed.code),
            Self::Closing { by_peer } => by_peer.as_deref().map(CloseFrame::effective_code),
            Self::ProtocolViolation(violation) => Some(violation.close_code()),
            Self::Limit(limit) => Some(limit.close_code()),
            Self::UnexpectedText => Some(CloseCode::UNSUPPORTED_DATA),
            Self::UnfinishedMessage | Self::Timeout { phase: Phase::Message, .. } => Some(CloseCode::INTERNAL_ERROR),
            _ => None,
        }
    }
}

/// Constructors.
impl Error {
    /// The same as the end of an attempt to connect to `server`: its text names it, where it did not.
    pub(crate) fn at(self, server: &Arc<Server>) -> Self {
        match self {
            Self::Tls(cause) => Self::Tls(cause.at(server)),
            Self::Io(cause) => Self::Io(cause.at(server)),
            Self::Handshake(failed) => {
                let cause = Arc::unwrap_or_clone(failed).cause;
                Self::Handshake(Arc::new(HandshakeError { server: Some(server.clone()), cause }))
            }
            Self::Refused(response) => {
                let mut response = Arc::unwrap_or_clone(response);
                response.extensions_mut().insert(server.clone());
                Self::Refused(Arc::new(response))
            }
            Self::Redirect(redirected) => Self::Redirect(Arc::new(Arc::unwrap_or_clone(redirected).at(server))),
            other => other,
        }
    }

    /// A TLS stream fails with an [`io::Error`] around what rustls says: that becomes [`Error::Tls`].
    pub(crate) fn io(error: io::Error) -> Self {
        #[cfg(feature = "rustls-tls")]
        if let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::tls(cause.clone());
        }
        Self::Io(SharedError::new(error))
    }

    /// What a TLS library says, or that there is none.
    pub(crate) fn tls(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Tls(SharedError::from(error.into()))
    }

    /// A deadline of an open connection passed. `after`: the limit, which was set.
    pub(crate) fn timeout(phase: Phase, after: Option<Duration>) -> Self {
        Self::Timeout { phase, after: after.unwrap_or_default(), server: None, during: None }
    }
}

/// Not by `#[from]`, which makes a source of what the text has already.
macro_rules! from_parts {
    ($($part:ident => $variant:ident),* $(,)?) => {
        $(impl From<$part> for Error {
            fn from(part: $part) -> Self {
                Self::$variant(part)
            }
        })*
    };
}

from_parts! {
    InvalidUrl => InvalidUrl,
    InvalidSubprotocol => InvalidSubprotocol,
    InvalidHeader => InvalidHeader,
    InvalidControl => InvalidControl,
    Violation => ProtocolViolation,
    LimitExceeded => Limit,
}

/// Of a server that is not known yet: who connects adds it.
impl From<InvalidResponse> for Error {
    fn from(cause: InvalidResponse) -> Self {
        Self::Handshake(Arc::new(HandshakeError { server: None, cause }))
    }
}

/// For what has to be an [`io::Error`], such as that of an `AsyncWrite`. The error itself is in it: `get_ref` gives it, to be
/// downcast. The kind is that of the cause where it has one.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(cause) | Error::Connect { cause, .. } => cause.kind(),
            Error::Timeout { .. } => io::ErrorKind::TimedOut,
            Error::Closing { .. } | Error::Closed(_) | Error::UnfinishedMessage => io::ErrorKind::BrokenPipe,
            Error::InvalidText | Error::ProtocolViolation(_) | Error::Limit(_) | Error::UnexpectedText => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl Error {
    /// As an error of reading bytes: that a connection ended is never the end of what was to be read.
    pub(crate) fn into_read_error(self) -> io::Error {
        match self {
            Self::Closed(_) => io::Error::new(io::ErrorKind::UnexpectedEof, self),
            _ => self.into(),
        }
    }
}

impl From<Closed> for Error {
    fn from(closed: Closed) -> Self {
        Self::Closed(Arc::new(closed))
    }
}

/// What was being waited for when a deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The whole attempt to connect ([`timeout`](crate::ClientBuilder::timeout)).
    Attempt,
    /// Name resolution and TCP ([`connect_timeout`](crate::ClientBuilder::connect_timeout)).
    Connect,
    /// The TLS handshake with an `https` proxy ([`tls_timeout`](crate::ClientBuilder::tls_timeout)).
    ProxyTls,
    /// The tunnel through a proxy ([`handshake_timeout`](crate::ClientBuilder::handshake_timeout)).
    Proxy,
    /// The TLS handshake ([`tls_timeout`](crate::ClientBuilder::tls_timeout)).
    Tls,
    /// The response to the upgrade request ([`handshake_timeout`](crate::ClientBuilder::handshake_timeout)).
    Handshake,
    /// The transport taking what was queued ([`Config::write_timeout`](crate::Config::write_timeout)).
    Write,
    /// Any byte from the peer, which had been sent a ping ([`Config::keepalive_timeout`](crate::Config::keepalive_timeout)).
    Keepalive,
    /// A byte of a message from the peer ([`Config::message_timeout`](crate::Config::message_timeout)).
    Message,
    /// The transport taking our Close frame, or the peer answering it
    /// ([`Config::close_timeout`](crate::Config::close_timeout)).
    Close,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempt => "the attempt to connect",
            Self::Connect => "connecting",
            Self::ProxyTls => "the TLS handshake with the proxy",
            Self::Proxy => "opening a tunnel",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the opening handshake",
            Self::Write => "writing what was queued",
            Self::Keepalive => "waiting for a sign of life from the peer",
            Self::Message => "waiting for a message",
            Self::Close => "the closing handshake",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::uri::Authority;

    use super::*;

    #[test]
    fn an_error_is_at_most_32_bytes() {
        assert!(size_of::<Error>() <= 32);
    }

    #[test]
    fn the_cause_of_an_error_can_be_downcast() {
        let error = Error::io(io::ErrorKind::ConnectionRefused.into());
        let Error::Io(cause) = &error else { panic!("{error:?}") };
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
        let error = Error::tls(fmt::Error);
        let Error::Tls(cause) = &error else { panic!("{error:?}") };
        assert!(cause.is::<fmt::Error>());
    }

    fn response(status: u16) -> http::Response<Bytes> {
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    fn server() -> Server {
        Server::new("ws", Authority::from_static("host:80"))
    }

    fn refused(status: u16) -> Error {
        Error::Refused(Arc::new(response(status)))
    }

    fn proxy(cause: ProxyCause) -> Error {
        Error::Proxy(Arc::new(ProxyError {
            proxy: Authority::from_static("proxy:3128"),
            server: Arc::new(server()),
            cause,
        }))
    }

    /// The variant's place in the table below. A new variant does not compile without one.
    fn place(error: &Error) -> usize {
        match error {
            Error::InvalidUrl(_) => 0,
            Error::InvalidSubprotocol(_) => 1,
            Error::InvalidHeader(_) => 2,
            Error::InvalidControl(_) => 3,
            Error::TooManyPings { .. } => 4,
            Error::NotReady => 5,
            Error::InvalidText => 6,
            Error::UnfinishedMessage => 7,
            Error::Overflow(_) => 8,
            Error::Aborted => 9,
            Error::Closing { .. } => 10,
            Error::Closed(_) => 11,
            Error::Connect { .. } => 12,
            Error::Proxy(_) => 13,
            Error::Io(_) => 14,
            Error::Tls(_) => 15,
            Error::Timeout { .. } => 16,
            Error::Refused(_) => 17,
            Error::Redirect(_) => 18,
            Error::Handshake(_) => 19,
            Error::ProtocolViolation(_) => 20,
            Error::Limit(_) => 21,
            Error::UnexpectedText => 22,
        }
    }

    #[test]
    fn every_variant_answers_every_question() {
        let io = |kind: io::ErrorKind| SharedError::new(io::Error::from(kind));
        let connect = |kind| Error::Connect { server: Arc::new(server()), cause: io(kind) };
        let tls_cause = || SharedError::from(Box::<dyn std::error::Error + Send + Sync>::from("no"));
        let late = |phase| Error::timeout(phase, None);
        let late_in =
            |phase| Error::Timeout { phase: Phase::Attempt, after: Duration::ZERO, server: None, during: Some(phase) };
        // Timeout, connect, TLS, closed; status; close code.
        let table: [(Error, &str, Option<u16>, Option<u16>); 49] = [
            (InvalidUrl::Fragment.into(), "", None, None),
            (InvalidSubprotocol::Empty.into(), "", None, None),
            (InvalidHeader::Name("".into()).into(), "", None, None),
            (InvalidControl::ControlPayload(126).into(), "", None, None),
            (Error::TooManyPings { limit: 16 }, "", None, None),
            (Error::NotReady, "", None, None),
            (Error::InvalidText, "", None, None),
            (Error::UnfinishedMessage, "", None, Some(1011)),
            (Error::Overflow(1), "", None, None),
            (Error::Aborted, "closed", None, None),
            (Error::Closing { by_peer: None }, "closed", None, None),
            (Error::Closing { by_peer: Some(Arc::new(CloseFrame::new(4013, ""))) }, "closed", None, Some(4013)),
            (Error::Closing { by_peer: Some(Arc::new(CloseFrame::empty())) }, "closed", None, Some(1005)),
            (Closed::abnormal().into(), "closed", None, Some(1006)),
            (Closed { code: 1008.into(), ..Closed::abnormal() }.into(), "closed", None, Some(1008)),
            (connect(io::ErrorKind::ConnectionRefused), "connect", None, None),
            (connect(io::ErrorKind::TimedOut), "timeout connect", None, None),
            (proxy(ProxyCause::Credentials), "connect", None, None),
            (proxy(ProxyCause::NoMethod), "connect", None, None),
            (proxy(ProxyCause::Reply(5)), "connect", None, None),
            (proxy(ProxyCause::Protocol), "connect", None, None),
            (proxy(ProxyCause::Response(InvalidResponse::NoSubprotocol)), "connect", None, None),
            (proxy(ProxyCause::Refused(response(407))), "connect", Some(407), None),
            (proxy(ProxyCause::Tls(tls_cause())), "connect tls", None, None),
            (Error::Io(io(io::ErrorKind::ConnectionReset)), "", None, None),
            (Error::Io(io(io::ErrorKind::TimedOut)), "timeout", None, None),
            (Error::Tls(tls_cause()), "tls", None, None),
            (late(Phase::Attempt), "timeout", None, None),
            (late_in(Phase::Tls), "timeout tls", None, None),
            (late_in(Phase::Proxy), "timeout connect", None, None),
            (late(Phase::Connect), "timeout connect", None, None),
            (late(Phase::ProxyTls), "timeout connect tls", None, None),
            (late(Phase::Proxy), "timeout connect", None, None),
            (late(Phase::Tls), "timeout tls", None, None),
            (late(Phase::Handshake), "timeout", None, None),
            (late(Phase::Write), "timeout", None, None),
            (late(Phase::Keepalive), "timeout", None, None),
            (late(Phase::Message), "timeout", None, Some(1011)),
            (late(Phase::Close), "timeout", None, None),
            (refused(403), "", Some(403), None),
            (refused(503), "", Some(503), None),
            (Error::Redirect(Arc::new(Redirected::new(InvalidRedirect::Loop, []))), "", None, None),
            (InvalidResponse::NoSubprotocol.into(), "", None, None),
            (InvalidResponse::Truncated { received: 7 }.into(), "", None, None),
            (Violation::MaskedFrame.into(), "", None, Some(1002)),
            (Violation::InvalidUtf8.into(), "", None, Some(1007)),
            (LimitExceeded::Fragments { limit: 1 }.into(), "", None, Some(1008)),
            (LimitExceeded::MessageSize { limit: 1 }.into(), "", None, Some(1009)),
            (Error::UnexpectedText, "", None, Some(1003)),
        ];
        let mut places: Vec<_> = table.iter().map(|(error, ..)| place(error)).collect();
        for (error, is, status, close_code) in table {
            let yes = |question: &str, answer: bool| if answer { question.to_owned() } else { String::new() };
            let answers = [
                yes("timeout", error.is_timeout()),
                yes("connect", error.is_connect()),
                yes("tls", error.is_tls()),
                yes("closed", error.is_closed()),
            ];
            assert_eq!(
                answers.iter().filter(|it| !it.is_empty()).cloned().collect::<Vec<_>>().join(" "),
                is,
                "{error}"
            );
            assert_eq!(error.status().map(|status| status.as_u16()), status, "{error}");
            assert_eq!(error.close_code().map(u16::from), close_code, "{error}");
        }
        places.dedup();
        assert_eq!(places, (0..23).collect::<Vec<_>>(), "each variant is in the table");
    }
}
