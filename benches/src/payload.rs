//! What messages carry: bytes, text in ASCII, and text in characters of every width.

use wsflow::Message;

use testkit::frame;

#[derive(Debug, Clone, Copy)]
pub enum Content {
    Binary,
    Ascii,
    /// Characters of one to four bytes.
    Mixed,
}

impl Content {
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Ascii => "ascii",
            Self::Mixed => "mixed",
        }
    }

    /// A message of exactly this many bytes.
    pub fn message(self, size: usize) -> Message {
        match self {
            Self::Binary => (0..size).map(|i| (i % 251) as u8).collect::<Vec<u8>>().into(),
            Self::Ascii => text("The quick brown fox jumps over the lazy dog. ", size).into(),
            Self::Mixed => text("Prices: Zürich 1 250 €, 東京 9 800 円, Киев 70 ₴ \u{1f680}. ", size).into(),
        }
    }
}

/// The sentence again and again, filled up with full stops where its next character is too wide.
fn text(sentence: &str, size: usize) -> String {
    let mut text = String::with_capacity(size);
    for character in sentence.chars().cycle() {
        if text.len() + character.len_utf8() > size {
            break;
        }
        text.push(character);
    }
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text
}

/// What a server sends of this message, so many times.
pub fn served(message: &Message, count: usize) -> Vec<u8> {
    let opcode = if message.is_text() { frame::TEXT } else { frame::BINARY };
    frame::encode(true, 0, opcode, message.as_bytes()).repeat(count)
}

/// How long the frame is that a client sends of this message: its mask key comes on top.
pub fn sent_len(message: &Message) -> usize {
    const MASK_KEY: usize = 4;
    served(message, 1).len() + MASK_KEY
}
