//! The head of an HTTP response: read from the transport, and parsed (RFC 9112, sections 2 to 5).

use bytes::{Buf as _, BytesMut};
use http::{
    HeaderValue, Response, StatusCode, Version,
    header::{self, HeaderName},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::{Error, InvalidResponse};

/// How large the response's head may be, in bytes, informational responses before it included. Servers and proxies
/// send at most some 16 KiB (nginx 8 KiB, Node.js 16 KiB, a fat cookie 4 KiB each); beyond this it is no head.
const MAX_HEAD: usize = 64 * 1024;

/// How much is asked of the transport at a time, in bytes. Most heads are smaller than 1 KiB; what is left is the
/// connection's first read buffer.
const READ: usize = 4 * 1024;

/// How many headers a response may have: more than a chain of proxies adds, at 4 KiB of stack.
const MAX_HEADERS: usize = 128;

/// Reads up to the blank line of the final response, and returns with it what was read beyond.
pub(crate) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<(Response<()>, BytesMut), Error> {
    let too_large = || InvalidResponse::HeadTooLarge { limit: MAX_HEAD };
    let mut buf = BytesMut::new();
    // Bytes of informational responses, which are skipped (RFC 9110, section 15.2), and of empty lines before a head.
    let mut skipped = 0;
    // Bytes of `buf` that were looked at and are no whole head.
    let mut seen = 0;
    loop {
        skipped += skip_empty_lines(&mut buf);
        if is_worth_parsing(&buf, seen)
            && let Some((len, head)) = parse(&buf)?
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
        if io.read_buf(&mut buf).await.map_err(Error::io)? == 0 {
            return Err(InvalidResponse::Truncated { received: skipped + seen }.into());
        }
    }
}

/// Skips line ends at the front of `buf`, as the parser would each time that it begins anew. Returns how many bytes
/// these had.
fn skip_empty_lines(buf: &mut BytesMut) -> usize {
    let len = buf.len();
    while let Some(line_end) = [&b"\r\n"[..], b"\n"].into_iter().find(|line_end| buf.starts_with(line_end)) {
        buf.advance(line_end.len());
    }
    len - buf.len()
}

/// Whether bytes from `seen` on can have completed a head, or show that this is no HTTP at all. A head that comes byte
/// by byte is so not parsed at each of them.
fn is_worth_parsing(buf: &[u8], seen: usize) -> bool {
    const STATUS_LINE: usize = "HTTP/1.1 101".len();
    seen < STATUS_LINE || buf.iter().skip(seen).any(|&byte| byte == b'\n')
}

/// The head at the start of `bytes` and its length in bytes; `None` if it is not whole yet.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Response<()>)>, InvalidResponse> {
    let malformed = |error: &dyn ToString| InvalidResponse::malformed(&error.to_string());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = parsed.parse(bytes).map_err(|error| malformed(&error))? else {
        return Ok(None);
    };
    let mut response = Response::new(());
    *response.version_mut() = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.status_mut() =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|error| malformed(&error))?;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| malformed(&error))?;
        let mut value = HeaderValue::from_bytes(header.value).map_err(|error| malformed(&error))?;
        value.set_sensitive(!is_shown(&name));
        response.headers_mut().append(name, value);
    }
    Ok(Some((len, response)))
}

/// Whether `Debug` of a response shows the value. Others may be a session, a token, or a URL with one: nobody knows them all.
fn is_shown(name: &HeaderName) -> bool {
    const SHOWN: [HeaderName; 17] = [
        header::ALLOW,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::RETRY_AFTER,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_VERSION,
        header::SERVER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VARY,
        header::VIA,
        header::WARNING,
    ];
    SHOWN.contains(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cpu_time::ThreadTime;

    use super::*;

    /// Reads `wire` one byte at a time.
    async fn read_bytewise(wire: &[u8]) -> Result<(Response<()>, BytesMut), Error> {
        read(&mut Bytewise(wire.to_vec().into())).await
    }

    struct Bytewise(std::collections::VecDeque<u8>);

    impl AsyncRead for Bytewise {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            buf.put_slice(self.0.pop_front().as_slice());
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn line_ends_before_a_head_are_skipped() {
        for before in ["", "\n", "\r\n", "\r\n\n\r\n"] {
            let (head, rest) =
                read_bytewise(format!("{before}HTTP/1.1 101 x\r\na: b\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!(
                (head.status().as_u16(), &head.headers()["a"], rest.len()),
                (101, &HeaderValue::from_static("b"), 0)
            );
        }
        assert!(read_bytewise(b"\r\r\nHTTP/1.1 101 x\r\n\r\n").await.is_err());
    }

    #[tokio::test]
    async fn line_ends_byte_by_byte_take_linear_time() {
        for line_end in ["\n", "\r\n"] {
            let wire = line_end.repeat(MAX_HEAD / line_end.len());
            let start = ThreadTime::now();
            let refused = read_bytewise(wire.as_bytes()).await.unwrap_err();
            assert!(matches!(refused, Error::Handshake(InvalidResponse::HeadTooLarge { .. })), "{refused}");
            // Parsing all of it anew for each byte took ten seconds without optimisation.
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        }
    }
}
