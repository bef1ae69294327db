//! `Upgrade`: a connection whose request somebody else sends, such as an HTTP client.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config::Config,
    error::{Error, cut},
    handshake::{Negotiated, request::Request, validate},
    stream::WebSocketStream,
    trace::{self, Trace},
};

/// An upgrade that is made elsewhere: [`ClientBuilder::into_request`](crate::ClientBuilder::into_request) gives it together
/// with the request, and [`check`](Self::check) judges the response.
#[must_use = "check the response with it"]
pub struct Upgrade {
    request: Request,
    key: String,
    config: Config,
}

/// What a response has agreed to: the stream [over](Self::over) what was upgraded.
#[must_use = "the stream is made `over` what was upgraded"]
pub struct Agreed {
    negotiated: Negotiated,
    config: Config,
    trace: Trace,
}

impl Upgrade {
    pub(crate) fn new(request: Request, key: String, config: Config) -> Self {
        Self { request, key, config }
    }

    /// Checks all that [`connect`](crate::ClientBuilder::connect) checks of a response (RFC 6455, section 4.1): the status, the
    /// key's answer, the subprotocol and the extensions.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with an empty body for any status but 101, else [`Error::Handshake`].
    pub fn check(self, status: StatusCode, headers: &HeaderMap) -> Result<Agreed, Error> {
        let Self { request, key, config } = self;
        let server = request.target.server();
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers.clone();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Refused(head.map(|()| Bytes::new()).into()).at(server));
        }
        let negotiated = validate(head, &key, &request, BytesMut::new()).map_err(|error| error.at(server))?;
        let trace = Trace::to(request.target.url());
        trace.agreed(trace::Agreed {
            has_subprotocol: !negotiated.protocol.is_empty(),
            has_compression: negotiated.deflate.is_some(),
        });
        Ok(Agreed { negotiated, config, trace })
    }
}

impl Agreed {
    /// The stream over `io`, from which nothing was read since the response.
    ///
    /// It needs a [runtime](WebSocketStream#runtime) with timers around the task that polls.
    pub fn over<S: AsyncRead + AsyncWrite + Unpin>(self, io: S) -> WebSocketStream<S> {
        self.over_parts(io, Bytes::new())
    }

    /// As [`over`](Self::over), with the bytes that were read from `io` behind the response.
    pub fn over_parts<S: AsyncRead + AsyncWrite + Unpin>(self, io: S, read_buf: Bytes) -> WebSocketStream<S> {
        let Self { negotiated, config, trace } = self;
        let negotiated = Negotiated { read_buf: read_buf.into(), ..negotiated };
        WebSocketStream::new(io, negotiated, config.over_caller_io(), trace)
    }
}

/// Without headers and the key: they may be secrets.
impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("target", &self.request.target).finish_non_exhaustive()
    }
}

/// Without the name of the subprotocol: some clients put a token there.
impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed").field("extensions", &cut(&self.negotiated.extensions)).finish_non_exhaustive()
    }
}
