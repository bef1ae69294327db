//! The contents of messages.

use std::{fmt, str::FromStr};

/// What is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Binary,
    Ascii,
    /// Text of characters of one to four bytes.
    Mixed,
    /// Said to be text, and not UTF-8: what every client has to refuse.
    Broken,
}

/// How a message is marked on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

const NAMES: [(Content, &str); 4] =
    [(Content::Binary, "binary"), (Content::Ascii, "ascii"), (Content::Mixed, "mixed"), (Content::Broken, "broken")];

impl Content {
    pub fn kind(self) -> Kind {
        if self == Self::Binary { Kind::Binary } else { Kind::Text }
    }

    /// A payload of exactly this size; always the same.
    pub fn payload(self, size: usize) -> Vec<u8> {
        match self {
            Self::Binary => (0..size).map(|at| (at as u8).wrapping_mul(167).wrapping_add(13)).collect(),
            Self::Ascii => repeated("the quick brown fox jumps over the lazy dog, ", size),
            Self::Mixed => repeated("größer, Привет, 水は青い, price 12.50 €, 🦀 ", size),
            Self::Broken => vec![0xff; size],
        }
    }
}

/// The text over and over, cut between two characters and filled up with spaces.
fn repeated(text: &str, size: usize) -> Vec<u8> {
    let mut filled = text.repeat(size / text.len() + 1);
    let end = (0..=size).rev().find(|&at| filled.is_char_boundary(at)).unwrap_or(0);
    filled.truncate(end);
    filled.push_str(&" ".repeat(size - end));
    filled.into_bytes()
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(content, _)| content == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Content {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(content, _)| *content).ok_or_else(|| format!("no such content: {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_text_is_utf_8() {
        for (content, _) in NAMES {
            for size in (0..100).chain([1 << 10, 1 << 20]) {
                let payload = content.payload(size);
                assert_eq!(payload.len(), size, "{content}");
                let is_text = std::str::from_utf8(&payload).is_ok();
                match content {
                    Content::Ascii => assert!(payload.is_ascii()),
                    Content::Mixed => assert!(is_text),
                    Content::Broken => assert!(!is_text || size == 0),
                    Content::Binary => {}
                }
            }
        }
    }
}
