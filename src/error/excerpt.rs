//! Text of the other side in an error: short, and without characters that a terminal or a log obeys.

use std::fmt::{self, Write as _};

/// How many characters of a text are shown.
const MAX_CHARS: usize = 200;

/// The start of a text: what cannot be printed is escaped, and `…` stands for what is cut off.
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
}
