//! The head of an HTTP response: read from the transport, and parsed (RFC 9112, sections 2 to 5).

use std::borrow::Cow;

use bytes::{Buf as _, BytesMut};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Version,
    header::{self, HeaderName},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    error::{Error, InvalidResponse},
    wire::token::is_token,
};

/// How large the response's head may be, in bytes, informational responses before it included. Servers and proxies
/// send at most some 16 KiB (nginx 8 KiB, Node.js 16 KiB, a fat cookie 4 KiB each); beyond this it is no head.
const MAX_HEAD: usize = 64 * 1024;

/// How much is asked of the transport at a time, in bytes. Most heads are smaller than 1 KiB; what is left is the
/// connection's first read buffer.
const READ: usize = 4 * 1024;

/// Reads up to the blank line of the final response, and returns with it what was read beyond.
pub(crate) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<(Response<()>, BytesMut), Error> {
    let too_large = || InvalidResponse::HeadTooLarge { limit: MAX_HEAD };
    let mut buf = BytesMut::new();
    // Bytes of informational responses, which are skipped (RFC 9110, section 15.2), and of empty lines before a head.
    let mut skipped = 0;
    // Bytes of `buf` that were looked at and are no whole head.
    let mut seen = 0;
    loop {
        let empty = skip_empty_lines(&mut buf);
        skipped += empty;
        seen -= empty.min(seen);
        judge_start(&buf, seen)?;
        if let Some(len) = end_of_head(&buf, seen) {
            let head = parse(&buf[..len])?;
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

/// Skips line ends at the front of `buf`. Returns how many bytes these had.
fn skip_empty_lines(buf: &mut BytesMut) -> usize {
    let len = buf.len();
    while let Some(line_end) = [&b"\r\n"[..], b"\n"].into_iter().find(|line_end| buf.starts_with(line_end)) {
        buf.advance(line_end.len());
    }
    len - buf.len()
}

/// What all status lines begin with that are read.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// Judges the start of a head as it comes; `seen` bytes were judged before. It does not wait for a whole line: a server of
/// another protocol may send no more.
fn judge_start(buf: &[u8], seen: usize) -> Result<(), InvalidResponse> {
    let start = &buf[..buf.len().min(PROTOCOL.len())];
    // The first half of an empty line.
    if buf != b"\r" && !PROTOCOL.starts_with(start) {
        return Err(InvalidResponse::status_line(first_line(buf)));
    }
    if buf[seen..].contains(&b'\n') && !buf[..seen].contains(&b'\n') {
        status_line(first_line(buf))?;
    }
    Ok(())
}

/// The length of the head at the start of `buf`, blank line included; `None` if it is not whole. The first `seen` bytes have
/// no whole head.
fn end_of_head(buf: &[u8], seen: usize) -> Option<usize> {
    // A blank line has two bytes at most, and the line end before it is one.
    let from = seen.saturating_sub(2);
    let line_ends = buf.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n');
    line_ends.map(|(at, _)| at + 1).find_map(|next| match &buf[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

fn first_line(buf: &[u8]) -> &[u8] {
    lines(buf).next().unwrap_or_default()
}

/// The lines of `bytes`, without their ends: CRLF, or LF alone (RFC 9112, section 2.2).
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// A whole head. What does not decide anything is read as browsers and curl read it.
fn parse(head: &[u8]) -> Result<Response<()>, InvalidResponse> {
    let mut lines = lines(head);
    let (version, status) = status_line(lines.next().unwrap_or_default())?;
    let mut response = Response::new(());
    *response.version_mut() = version;
    *response.status_mut() = status;
    let mut field: Option<Field<'_>> = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        match &mut field {
            Some(field) if is_space(&line[0]) => field.fold(line),
            _ => {
                if let Some(whole) = field.replace(Field::parse(line)) {
                    whole.add_to(response.headers_mut())?;
                }
            }
        }
    }
    if let Some(last) = field {
        last.add_to(response.headers_mut())?;
    }
    Ok(response)
}

/// The version and the status code (RFC 9112, section 4). Any number of spaces may stand before the code, and anything
/// behind it.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), InvalidResponse> {
    let read = || {
        let (minor, rest) = line.strip_prefix(PROTOCOL)?.split_first()?;
        let version = match minor {
            b'1' => Version::HTTP_11,
            b'0' => Version::HTTP_10,
            _ => return None,
        };
        let (code, reason) = rest.strip_prefix(b" ")?.trim_ascii_start().split_first_chunk::<3>()?;
        let is_code = reason.first().is_none_or(is_space);
        Some((version, StatusCode::from_bytes(code).ok().filter(|_| is_code)?))
    };
    read().ok_or_else(|| InvalidResponse::status_line(line))
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// One header as it came, which may be written as none should be.
struct Field<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    flaw: Option<Flaw>,
}

/// How a header is written that a strict reader refuses (RFC 9112, section 5).
#[derive(Clone, Copy)]
enum Flaw {
    NoColon,
    SpaceBeforeName,
    SpaceBeforeColon,
    Folded,
    BadCharacter,
}

impl<'a> Field<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        let (name, flaw) = match value {
            // Such a line after the status line is no continuation of anything, and is passed over.
            _ if line.first().is_some_and(is_space) => (trim(name), Some(Flaw::SpaceBeforeName)),
            None => (name.split(is_space).next().unwrap_or_default(), Some(Flaw::NoColon)),
            Some(_) if name.last().is_some_and(is_space) => (trim(name), Some(Flaw::SpaceBeforeColon)),
            Some(_) => (name, None),
        };
        Self { name, value: Cow::Borrowed(trim(value.unwrap_or_default())), flaw }
    }

    /// Goes on with the next line, as if the line end were a space.
    fn fold(&mut self, line: &[u8]) {
        let value = self.value.to_mut();
        value.push(b' ');
        value.extend_from_slice(trim(line));
        self.flaw = self.flaw.or(Some(Flaw::Folded));
    }

    /// Adds it, unless it cannot be read: then it is passed over. One that decides must be as it should.
    fn add_to(self, headers: &mut HeaderMap) -> Result<(), InvalidResponse> {
        let name = HeaderName::from_bytes(self.name);
        let value = HeaderValue::from_bytes(trim(&self.value));
        let flaw = self.flaw.or((name.is_err() || value.is_err()).then_some(Flaw::BadCharacter));
        if let Some(flaw) = flaw.filter(|_| self.decides()) {
            return Err(InvalidResponse::malformed(&flaw.in_header(&self.name_as_text())));
        }
        let (Ok(name), Ok(mut value)) = (name, value) else { return Ok(()) };
        if matches!(flaw, Some(Flaw::NoColon | Flaw::SpaceBeforeName)) {
            return Ok(());
        }
        value.set_sensitive(!is_shown(&name));
        let added = headers.try_append(name, value);
        added.map(|_| ()).map_err(|_| InvalidResponse::malformed("too many headers"))
    }

    /// Whether the outcome hangs on it. Also where its name has characters in it that no name has.
    fn decides(&self) -> bool {
        let name = self.name_as_text();
        ["connection", "location", "upgrade"].contains(&name.as_str()) || name.starts_with("sec-websocket-")
    }

    /// In lower case, without what no name has in it.
    fn name_as_text(&self) -> String {
        self.name.iter().filter(|&&byte| is_token(byte)).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
    }
}

impl Flaw {
    fn in_header(self, name: &str) -> String {
        let what = match self {
            Self::NoColon => "no colon",
            Self::SpaceBeforeName => "white space before its name",
            Self::SpaceBeforeColon => "white space before its colon",
            Self::Folded => "more than one line",
            Self::BadCharacter => "a character that no header may have",
        };
        format!("the header {name} has {what}")
    }
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
            let Error::Handshake(refused) = refused else { panic!("{refused}") };
            assert!(matches!(refused.cause, InvalidResponse::HeadTooLarge { .. }), "{refused}");
            // Parsing all of it anew for each byte took ten seconds without optimisation.
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        }
    }
}
