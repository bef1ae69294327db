//! UTF-8, checked as the bytes arrive (RFC 6455, section 8.1).

use bytes::{Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{error::Violation, wire::frame::take_payload};

/// Checks a text that comes in pieces. A piece may end inside of a character; a byte that no valid text could have
/// there is refused at once, not when the character would have ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Utf8Checker {
    /// How many bytes have been checked.
    checked: usize,
    /// The start of a character whose rest has not come: its first `partial_len` bytes, at most three.
    partial: [u8; 4],
    partial_len: usize,
}

impl Utf8Checker {
    /// How many bytes of the text have been checked.
    pub(crate) fn checked(&self) -> usize {
        self.checked
    }

    /// Checks the next piece of the text.
    pub(crate) fn check(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        self.checked += piece.len();
        // A character takes at most three more bytes than it has.
        while self.partial_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.partial[self.partial_len] = byte;
            self.partial_len += 1;
            match std::str::from_utf8(&self.partial[..self.partial_len]) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Violation::InvalidUtf8),
            }
        }
        let (whole, tail) = piece.split_at(piece.len() - unfinished_tail(piece));
        simdutf8::basic::from_utf8(whole).map_err(|_| Violation::InvalidUtf8)?;
        match std::str::from_utf8(tail) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => {
                self.partial[..tail.len()].copy_from_slice(tail);
                self.partial_len = tail.len();
            }
            Err(_) => return Err(Violation::InvalidUtf8),
        }
        Ok(())
    }

    /// Makes the text once every byte has come. `text` is the very bytes that were given to [`check`](Self::check).
    pub(crate) fn finish(self, text: Bytes) -> Result<Utf8Bytes, Violation> {
        if self.partial_len > 0 {
            return Err(Violation::InvalidUtf8);
        }
        if self.checked != text.len() {
            // Not what was checked piece by piece: it is checked as a whole.
            return Utf8Bytes::try_from(text).map_err(|_| Violation::InvalidUtf8);
        }
        Ok(trusted_text(text))
    }
}

/// Takes the frame at the front of `buf`, as [`take_payload`] does, if its payload is a text. `None`: it is not UTF-8, and
/// stays where it is.
#[inline(always)]
pub(crate) fn take_text(header: usize, len: usize, buf: &mut BytesMut) -> Option<Utf8Bytes> {
    simdutf8::basic::from_utf8(&buf[header..header + len]).ok()?;
    Some(trusted_text(take_payload(header, len, buf)))
}

/// The one place that trusts a check made before: simdutf8 is two to six times as fast as the check that
/// `Utf8Bytes::try_from` would make again.
#[inline]
#[allow(unsafe_code)]
fn trusted_text(text: Bytes) -> Utf8Bytes {
    debug_assert!(std::str::from_utf8(&text).is_ok());
    // SAFETY: both callers have checked every byte of `text` to be UTF-8, just now or as it arrived.
    unsafe { Utf8Bytes::from_bytes_unchecked(text) }
}

/// How many bytes at the end of `piece` may be the start of a character that goes on in the next piece.
fn unfinished_tail(piece: &[u8]) -> usize {
    for back in 1..=piece.len().min(3) {
        let byte = piece[piece.len() - back];
        let width = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        return if width > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same text, whole: std's check.
    fn naive(text: &[u8]) -> bool {
        std::str::from_utf8(text).is_ok()
    }

    fn in_pieces(text: &[u8], cuts: &[usize]) -> Result<Utf8Bytes, Violation> {
        let mut checker = Utf8Checker::default();
        let mut start = 0;
        for &cut in cuts.iter().chain([&text.len()]) {
            let end = cut.clamp(start, text.len());
            checker.check(&text[start..end])?;
            start = end;
        }
        checker.finish(Bytes::copy_from_slice(text))
    }

    /// Valid text and broken text: a valid one with one byte changed.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        ("[a-z¥é匶ロ𐑾🔌\u{10ffff}]{0,60}", any::<prop::sample::Index>(), any::<Option<u8>>()).prop_map(
            |(text, at, byte)| {
                let mut text = text.into_bytes();
                if let (Some(byte), false) = (byte, text.is_empty()) {
                    let at = at.index(text.len());
                    text[at] = byte;
                }
                text
            },
        )
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(text in texts(), mut cuts in prop::collection::vec(0usize..200, 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(in_pieces(&text, &cuts).is_ok(), naive(&text));
            let every_byte: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(in_pieces(&text, &every_byte).is_ok(), naive(&text));
            let frame = [b"header", &text[..], b"rest"].concat();
            let mut buf = BytesMut::from(&frame[..]);
            match take_text(6, text.len(), &mut buf) {
                Some(taken) => prop_assert_eq!((taken.as_bytes(), &buf[..]), (&text[..], &b"rest"[..])),
                None => prop_assert_eq!((naive(&text), &buf[..]), (false, &frame[..])),
            }
        }
    }

    #[test]
    fn b149_a_bad_byte_is_refused_when_it_comes() {
        // What a valid text could begin with, and then the byte that no valid text could have there.
        for (good, bad) in
            [(&b"\xf4"[..], 0x90), (b"\xed", 0xa0), (b"\xe0", 0x80), (b"\xf0", 0x8f), (b"\xf0\x9f", 0x20), (b"a", 0xff)]
        {
            let mut checker = Utf8Checker::default();
            assert_eq!(checker.check(good), Ok(()), "{good:02x?}");
            assert_eq!(checker.check(&[bad]), Err(Violation::InvalidUtf8), "{good:02x?} {bad:02x}");
            let mut at_once = good.to_vec();
            at_once.push(bad);
            assert_eq!(Utf8Checker::default().check(&at_once), Err(Violation::InvalidUtf8), "{at_once:02x?}");
        }
    }

    #[test]
    fn b149_a_text_that_ends_inside_of_a_character_is_refused() {
        let mut checker = Utf8Checker::default();
        checker.check("匶".as_bytes().split_last().unwrap().1).unwrap();
        assert_eq!(checker.finish(Bytes::from_static(b"\xe5\x8c")), Err(Violation::InvalidUtf8));
    }
}
