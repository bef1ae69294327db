//! The opening handshake: a request out, a response in, and what both agree on.

pub(crate) mod exchange;
pub(crate) mod extension;
pub(crate) mod head;
pub(crate) mod redirect;
mod refusal;
pub(crate) mod request;
mod response;
pub(crate) mod subprotocol;

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use url::Url;

use crate::{
    error::{Error, InvalidResponse, Phase, cut},
    handshake::{
        exchange::{Exchanged, exchange},
        request::Request,
    },
    wire::deflate::NegotiatedDeflate,
};

/// What the opening handshake agreed on, and the bytes that came with it.
#[derive(Default)]
pub(crate) struct Negotiated {
    /// The URL that was connected to, unless the upgrade was made elsewhere.
    pub(crate) url: Option<Url>,
    /// The response's status and headers, unless the upgrade was made elsewhere.
    pub(crate) response: Option<Response<()>>,
    /// The chosen subprotocol, `""` for none.
    pub(crate) protocol: String,
    /// The extensions in use, `""` for none.
    pub(crate) extensions: String,
    /// The compression among them.
    pub(crate) deflate: Option<NegotiatedDeflate>,
    /// What came after the blank line: the first frames.
    pub(crate) read_buf: BytesMut,
}

/// Without the URL, whose userinfo is a secret, and what a server sent.
impl fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiated")
            .field("protocol", &self.protocol)
            .field("extensions", &cut(&self.extensions))
            .finish_non_exhaustive()
    }
}

/// How long the body of a refusal is waited for: its head has already said no, and a body may have no end.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A response to a request, of which only the head was read.
pub(crate) struct Answer {
    head: Response<()>,
    read_buf: BytesMut,
    key: String,
    deadline: Option<Instant>,
}

/// Sends `request` over `io` and reads the head of the response. `limit` bounds this and [`Answer::check`] together;
/// `None`: no limit.
///
/// After an error or when dropped while pending, `io` is of no more use than to be dropped.
pub(crate) async fn ask<IO>(io: &mut IO, request: &Request, limit: Option<Duration>) -> Result<Answer, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let key = request::key()?;
    let bytes = request.encode(&key);
    let exchange = exchange(io, &bytes, deadline);
    let Exchanged { head, read_buf, is_sent } = match limit.zip(deadline) {
        Some((after, deadline)) => timeout_at(deadline, exchange).await.map_err(|_| Error::Timeout {
            phase: Phase::Handshake,
            after,
            server: Some(request.target.server().clone()),
            during: None,
        })??,
        None => exchange.await?,
    };
    if head.status() == StatusCode::SWITCHING_PROTOCOLS && !is_sent {
        return Err(InvalidResponse::malformed("101 before the request was sent").into());
    }
    Ok(Answer { head, read_buf, key, deadline })
}

impl Answer {
    /// Status and headers.
    pub(crate) fn head(&self) -> &Response<()> {
        &self.head
    }

    /// Checks what the server agreed to. Of a refusal the start of the body is read from `io`.
    pub(crate) async fn check<IO>(self, io: &mut IO, request: &Request) -> Result<Negotiated, Error>
    where
        IO: AsyncRead + Unpin,
    {
        let Self { head, read_buf, key, deadline } = self;
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            let refusal = read_refusal(io, head, read_buf, deadline).await;
            return Err(Error::Refused(Arc::new(refusal)));
        }
        validate(head, &key, request, read_buf)
    }
}

/// What the response of status 101 to `request` with this `key` agrees to. `read_buf`: what was read behind it.
pub(crate) fn validate(
    head: Response<()>,
    key: &str,
    request: &Request,
    read_buf: BytesMut,
) -> Result<Negotiated, Error> {
    let negotiated = response::validate(&head, key, request)?;
    Ok(Negotiated {
        url: Some(request.target.url().clone()),
        response: Some(head),
        protocol: negotiated.protocol,
        extensions: negotiated.extensions,
        deflate: negotiated.deflate,
        read_buf,
    })
}

/// The response that refuses, with the start of its body, which is waited for until `deadline` at most.
pub(crate) async fn read_refusal<IO>(
    io: &mut IO,
    head: Response<()>,
    read_buf: BytesMut,
    deadline: Option<Instant>,
) -> Response<Bytes>
where
    IO: AsyncRead + Unpin,
{
    let mut body = BytesMut::new();
    let reading = timeout(BODY_TIMEOUT, refusal::read_body(io, &head, read_buf, &mut body));
    // Of a body that is late, what came is kept.
    let _late = match deadline {
        Some(deadline) => timeout_at(deadline, reading).await.is_err(),
        None => reading.await.is_err(),
    };
    head.map(|()| body.freeze())
}
