//! Texts of errors that are put together, and what the other side sent in them.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::header::LOCATION;

use super::{Phase, Server, SharedError};
use crate::close::{CloseCode, CloseFrame, Closed};

pub(super) fn closed(closed: &Closed, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match closed.code {
        CloseCode::ABNORMAL_CLOSURE => {
            return f
                .write_str("the connection was lost: the transport ended without a Close frame from the peer (1006)");
        }
        CloseCode::NO_STATUS_RECEIVED => {
            f.write_str("the connection was closed without a code")?;
        }
        code => write!(f, "the connection was closed with code {code}")?,
    }
    if !closed.reason.is_empty() {
        write!(f, " ({})", Excerpt(&closed.reason))?;
    }
    if closed.was_clean {
        Ok(())
    } else {
        f.write_str("; not all that was queued here was sent, or a message broke off")
    }
}

pub(super) fn closing(by_peer: &Option<Arc<CloseFrame>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the connection is closing: nothing more can be sent")?;
    let Some(frame) = by_peer else { return Ok(()) };
    match frame.code() {
        Some(code) => write!(f, "; the peer closed with code {code}")?,
        None => f.write_str("; the peer closed without a code")?,
    }
    if frame.reason().is_empty() { Ok(()) } else { write!(f, " ({})", Excerpt(frame.reason())) }
}

pub(super) fn timeout(
    phase: &Phase,
    after: &Duration,
    server: &Option<Arc<Server>>,
    during: &Option<Phase>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match (phase, server) {
        (_, None) => write!(f, "{phase}")?,
        (Phase::Attempt | Phase::Connect | Phase::Proxy, Some(server)) => write!(f, "{phase} to {server}")?,
        // The server says that it is a proxy.
        (Phase::ProxyTls, Some(server)) => write!(f, "{} with {server}", Phase::Tls)?,
        (_, Some(server)) => write!(f, "{phase} with {server}")?,
    }
    write!(f, " timed out after {after:?}")?;
    match during {
        Some(phase) => write!(f, ", in {phase}"),
        None => Ok(()),
    }
}

pub(super) fn tls(cause: &SharedError<dyn std::error::Error + Send + Sync>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "TLS error{}: ", cause.place())?;
    of_library(cause, f)?;
    // What rustls and OpenSSL say of a plain server: their types are not there in each build.
    let text = cause.to_string();
    let of_plain = ["InvalidContentType", "tls handshake eof", "wrong version number", "unexpected EOF"];
    if of_plain.iter().any(|of_plain| text.contains(of_plain)) {
        f.write_str(": does the server speak TLS on this port?")?;
    }
    Ok(())
}

pub(super) fn refused(response: &http::Response<Bytes>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the server ")?;
    if let Some(server) = response.extensions().get::<Arc<Server>>() {
        write!(f, "{server} ")?;
    }
    f.write_str("refused the upgrade with status ")?;
    self::response(response, f)?;
    match response.headers().get(LOCATION).filter(|_| response.status().is_redirection()) {
        Some(location) => {
            let location = without_secrets(&String::from_utf8_lossy(location.as_bytes()));
            write!(f, "; it leads to {}, and `redirects(n)` follows", Excerpt(&location))
        }
        None => Ok(()),
    }
}

/// The status, its usual reason, and the start of the body.
pub(super) fn response(response: &http::Response<Bytes>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let status = response.status();
    f.write_str(status.as_str())?;
    if let Some(reason) = status.canonical_reason() {
        write!(f, " {reason}")?;
    }
    match Excerpt::of(response.body()) {
        Some(body) => write!(f, ": {body}"),
        None => Ok(()),
    }
}

/// The start of what a caller gave, up to the first of `ends`; `…` stands for what follows, which may be a secret.
pub(crate) fn up_to(text: &str, ends: &[char]) -> String {
    match text.split_inclusive(ends).next() {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// A host or a URL, without what may be secret in it: userinfo, and a query.
fn without_secrets(url: &str) -> String {
    let url = up_to(url, &['?', '#']);
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url,
    }
}

/// How many characters of a text are shown.
const MAX_CHARS: usize = 200;

/// The same of a text of another library, which may have the other side's in it: all names of a certificate.
const MAX_OF_LIBRARY: usize = 500;

/// The same of the structure of an error.
const MAX_OF_STRUCTURE: usize = 4000;

/// The start of a text that has a part of the other side's in it, escaped.
pub(crate) fn cut(text: &str) -> String {
    Excerpt(text).to_string()
}

/// The text of another library's error, cut.
pub(super) fn of_library(error: &impl fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(Cut { to: f, left: MAX_OF_LIBRARY }, "{error}")
}

/// `structure` as `{:#?}` shows it, cut.
pub(super) fn structure(structure: impl fmt::Debug, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(Cut { to: f, left: MAX_OF_STRUCTURE }, "{structure:#?}")
}

/// Passes on so many characters, and `…` for all that follow.
struct Cut<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.left == 0 {
            return Ok(());
        }
        match text.char_indices().nth(self.left) {
            Some((end, _)) => {
                self.left = 0;
                write!(self.to, "{}…", &text[..end])
            }
            None => {
                // None left is told by the next one, if there is any.
                self.left = (self.left - text.chars().count()).max(1);
                self.to.write_str(text)
            }
        }
    }
}

/// A response without its body, for the structure of an error. The values of headers that may be secrets are not shown.
pub(super) struct WithoutBody<'a>(pub(super) &'a http::Response<Bytes>);

impl fmt::Debug for WithoutBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.0.status())
            .field("headers", self.0.headers())
            .field("body", &format_args!("{} bytes", self.0.body().len()))
            .finish()
    }
}

/// The start of a text of the other side, for terminals and logs: what cannot be printed is escaped, and `…`
/// stands for what is cut off.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl<'a> Excerpt<'a> {
    /// Of bytes, if they are text. The last character may be cut in two, since no more was read.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
            Err(_) => return None,
        };
        let text = text.trim();
        (!text.is_empty()).then_some(Self(text))
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in self.0.chars().enumerate() {
            match c {
                _ if i == MAX_CHARS => return f.write_char('…'),
                // `escape_debug` is for what stands in quotes.
                '"' | '\'' | '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn shown(bytes: impl AsRef<[u8]>) -> Option<String> {
        Excerpt::of(bytes.as_ref()).map(|excerpt| excerpt.to_string())
    }

    #[test]
    fn an_excerpt_is_text_without_what_a_terminal_obeys() {
        for (bytes, text) in [
            (" {\"a\": 'b\\c'}\r\n", "{\"a\": 'b\\c'}"),
            ("a\r\n\u{1b}[2J\0\u{202e}b", "a\\r\\n\\u{1b}[2J\\0\\u{202e}b"),
            ("bücher 匶", "bücher 匶"),
        ] {
            assert_eq!(shown(bytes).unwrap(), text);
        }
        for bytes in [&b""[..], b" \r\n", b"\x1f\x8b\x08", b"text\xfftext"] {
            assert_eq!(shown(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn it_is_cut_between_characters() {
        assert_eq!(shown("匶".repeat(200)).unwrap(), "匶".repeat(200));
        assert_eq!(shown("匶".repeat(201)).unwrap(), "匶".repeat(200) + "…");
        assert_eq!(shown(&"x匶".as_bytes()[..3]).unwrap(), "x");
    }

    #[test]
    fn what_follows_an_end_is_not_shown() {
        for (text, shown) in [("", ""), ("ab", "ab"), ("ab:", "ab:"), (":", ":"), ("a:b:c", "a:…"), ("a\n:b", "a\n:…")]
        {
            assert_eq!(up_to(text, &[':']), shown);
        }
    }

    #[test]
    fn how_an_end_is_told() {
        let told = |code: u16, reason: &str, was_clean| {
            Error::from(Closed { code: code.into(), reason: reason.into(), was_clean }).to_string()
        };
        assert_eq!(told(1005, "", true), "the connection was closed without a code");
        assert_eq!(
            told(4000, "a\u{1b}b", false),
            "the connection was closed with code 4000 (a\\u{1b}b); \
             not all that was queued here was sent, or a message broke off"
        );
    }
}
