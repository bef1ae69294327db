//! The opening handshake: a request out, a response in, and what both agree on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use url::Url;

use crate::deflate::Agreed;
use crate::error::{Error, InvalidResponse, Phase};
use crate::request::Request;
use crate::{refusal, response};

/// What the opening handshake agreed on, and the bytes that came with it.
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
    pub(crate) deflate: Option<Agreed>,
    /// What came after the blank line: the first frames.
    pub(crate) read_buf: BytesMut,
}

/// Without the URL, whose userinfo is a secret, and what a server sent.
impl fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiated")
            .field("protocol", &self.protocol)
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}

/// How large the response's head may be, in bytes, informational responses before it included. Servers and proxies
/// send at most some 16 KiB (nginx 8 KiB, Node.js 16 KiB, a fat cookie 4 KiB each); beyond this it is no head.
const MAX_HEAD: usize = 64 * 1024;

/// How much is asked of the transport at a time, in bytes. Most heads are smaller than 1 KiB; what is left is the
/// connection's first read buffer.
const READ: usize = 4 * 1024;

/// How long the body of a refusal is waited for: its head has already said no, and a body may have no end.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends `request` over `io` and judges the response. `limit` bounds the whole; `None`: no limit.
///
/// After an error or when dropped while pending, `io` is of no more use than to be dropped.
pub(crate) async fn open<IO>(io: &mut IO, request: &Request, limit: Option<Duration>) -> Result<Negotiated, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let key = generate_key();
    let exchange = exchange(io, request.encode(&key)?);
    let (head, read_buf) = match deadline {
        Some(deadline) => timeout_at(deadline, exchange).await.map_err(|_| Error::Timeout(Phase::Handshake))??,
        None => exchange.await?,
    };
    if head.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(io, head, read_buf, deadline).await);
    }
    let agreement = response::judge(&head, &key, request)?;
    Ok(Negotiated {
        url: Some(request.target.url().clone()),
        response: Some(head),
        protocol: agreement.protocol,
        extensions: agreement.extensions,
        deflate: agreement.deflate,
        read_buf,
    })
}

async fn exchange<IO>(io: &mut IO, request: Vec<u8>) -> Result<(Response<()>, BytesMut), Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(&request).await?;
    io.flush().await?;
    read_head(io).await
}

/// Reads up to the blank line of the final response, and returns with it what was read beyond.
async fn read_head<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<(Response<()>, BytesMut), Error> {
    let too_large = || InvalidResponse::HeadTooLarge { limit: MAX_HEAD };
    let mut buf = BytesMut::new();
    // Bytes of informational responses, which are skipped (RFC 9110, section 15.2).
    let mut skipped = 0;
    // Bytes of `buf` that were looked at and are no whole head.
    let mut seen = 0;
    loop {
        if is_worth_parsing(&buf, seen)
            && let Some((len, head)) = response::parse(&buf)?
        {
            buf.advance(len);
            skipped += len;
            seen = 0;
            if skipped > MAX_HEAD {
                return Err(too_large().into());
            }
            if head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            return Ok((head, buf));
        }
        seen = buf.len();
        if skipped + seen >= MAX_HEAD {
            return Err(too_large().into());
        }
        if buf.capacity() == seen {
            buf.reserve(READ);
        }
        if io.read_buf(&mut buf).await? == 0 {
            return Err(InvalidResponse::Truncated { received: skipped + seen }.into());
        }
    }
}

/// Whether bytes from `seen` on can have completed a head, or show that this is no HTTP at all. A head that comes byte
/// by byte is so not parsed at each of them.
fn is_worth_parsing(buf: &[u8], seen: usize) -> bool {
    const STATUS_LINE: usize = "HTTP/1.1 101".len();
    seen < STATUS_LINE || buf.iter().skip(seen).any(|&byte| byte == b'\n')
}

async fn refused<IO>(io: &mut IO, head: Response<()>, read_buf: BytesMut, deadline: Option<Instant>) -> Error
where
    IO: AsyncRead + Unpin,
{
    let mut body = BytesMut::new();
    let reading = timeout(BODY_TIMEOUT, refusal::read_body(io, &head, read_buf, &mut body));
    // A body that is late is given as far as it came.
    let _late = match deadline {
        Some(deadline) => timeout_at(deadline, reading).await.is_err(),
        None => reading.await.is_err(),
    };
    Error::Refused(Arc::new(head.map(|()| body.freeze())))
}
