//! The body of a response that refuses the upgrade: as much of it as tells why.

use bytes::{Buf as _, BytesMut};
use http::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much of the body is kept, in bytes: room for an error page's text or a JSON object.
const MAX_BODY: usize = 8 * 1024;

/// How much is asked of the transport at a time, in bytes.
const READ: usize = 2 * 1024;

/// Reads the start of the body of `head` onto `body`, until it ends or has [`MAX_BODY`] bytes. `raw` are the bytes that
/// came with the head.
///
/// It never fails: a body that breaks off or its framing is as good as it came. Dropped while pending, it leaves in
/// `body` what had come.
pub(crate) async fn read_body<IO>(io: &mut IO, head: &Response<()>, mut raw: BytesMut, body: &mut BytesMut)
where
    IO: AsyncRead + Unpin,
{
    let mut framing = Framing::of(head);
    while framing.decode(&mut raw, body).is_continue() && body.len() < MAX_BODY {
        // Only an endless chunk-size line leaves this much undecoded.
        if raw.len() >= MAX_BODY {
            return;
        }
        raw.reserve(READ);
        if !matches!(io.read_buf(&mut raw).await, Ok(1..)) {
            return;
        }
    }
}

/// How the end of a body is found (RFC 9112, section 6.3).
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks; so many bytes of the present one are still to come.
    Chunked(u64),
    /// All that comes until the connection ends.
    UntilEnd,
}

type Flow = std::ops::ControlFlow<()>;

impl Framing {
    fn of(head: &Response<()>) -> Self {
        if matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Self::Length(0);
        }
        if let Some(coding) = head.headers().get_all(TRANSFER_ENCODING).iter().next_back() {
            let last = coding.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
            return if last.trim_ascii().eq_ignore_ascii_case(b"chunked") { Self::Chunked(0) } else { Self::UntilEnd };
        }
        let length = head.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        length.map_or(Self::UntilEnd, Self::Length)
    }

    /// Moves what is body in `raw` onto `body`. `Break` once the body has ended.
    fn decode(&mut self, raw: &mut BytesMut, body: &mut BytesMut) -> Flow {
        match self {
            Self::UntilEnd => {
                take(raw, body, u64::MAX);
                Flow::Continue(())
            }
            Self::Length(left) => {
                *left -= take(raw, body, *left);
                if *left == 0 { Flow::Break(()) } else { Flow::Continue(()) }
            }
            Self::Chunked(left) => decode_chunks(left, raw, body),
        }
    }
}

fn decode_chunks(left: &mut u64, raw: &mut BytesMut, body: &mut BytesMut) -> Flow {
    loop {
        *left -= take(raw, body, *left);
        if *left > 0 || body.len() >= MAX_BODY {
            return Flow::Continue(());
        }
        // The line end after a chunk's data stands right before the next chunk's size.
        if raw.starts_with(b"\r\n") {
            raw.advance(2);
        } else if raw.is_empty() || raw[..] == b"\r"[..] {
            return Flow::Continue(());
        }
        match httparse::parse_chunk_size(raw) {
            Ok(httparse::Status::Complete((_, 0))) | Err(_) => return Flow::Break(()),
            Ok(httparse::Status::Partial) => return Flow::Continue(()),
            Ok(httparse::Status::Complete((line, size))) => {
                raw.advance(line);
                *left = size;
            }
        }
    }
}

/// Moves at most `limit` bytes, and no more than `body` may still hold. Says how many of `limit` are dealt with.
fn take(raw: &mut BytesMut, body: &mut BytesMut, limit: u64) -> u64 {
    let len = raw.len().min(usize::try_from(limit).unwrap_or(usize::MAX)).min(MAX_BODY.saturating_sub(body.len()));
    body.extend_from_slice(&raw.split_to(len));
    len as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(headers: &[(&'static str, &'static str)], pieces: &[&[u8]]) -> (String, bool) {
        let mut head = Response::builder().status(403);
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let mut framing = Framing::of(&head.body(()).unwrap());
        let (mut raw, mut body, mut ended) = (BytesMut::new(), BytesMut::new(), false);
        for piece in pieces {
            assert!(!ended, "nothing is read after the end");
            raw.extend_from_slice(piece);
            ended = framing.decode(&mut raw, &mut body).is_break();
        }
        (String::from_utf8(body.to_vec()).unwrap(), ended)
    }

    #[test]
    fn chunks_cut_anywhere_decode_to_the_same_body() {
        let wire = b"5\r\nhello\r\n1;ext=x\r\n \r\n005\r\nworld\r\n0\r\n\r\n";
        let chunked = [("Transfer-Encoding", "gzip, Chunked")];
        // The body has ended with the line of the size 0; its trailer is of no interest.
        let end = wire.len() - 2;
        for cut in 1..end {
            let (body, ended) = decoded(&chunked, &[&wire[..cut], &wire[cut..end]]);
            assert_eq!((body.as_str(), ended), ("hello world", true), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire[..end].chunks(1).collect();
        assert_eq!(decoded(&chunked, &bytes), ("hello world".into(), true));
    }

    #[test]
    fn a_length_ends_a_body_and_nothing_else_does() {
        assert_eq!(decoded(&[("Content-Length", "3")], &[b"ab", b"cd"]), ("abc".into(), true));
        assert_eq!(decoded(&[], &[b"ab", b"cd"]), ("abcd".into(), false));
        assert_eq!(decoded(&[("Content-Length", "-1")], &[b"ab"]), ("ab".into(), false));
        assert_eq!(decoded(&[("Transfer-Encoding", "chunked")], &[b"2\r\nabzz"]), ("ab".into(), true));
    }
}
