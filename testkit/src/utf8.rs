//! UTF-8, the naive way (RFC 3629): character by character.

/// What bytes are as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Whole characters.
    Whole,
    /// The last character is begun, and can become one.
    Begun,
    /// No text begins so.
    Wrong,
}

/// Reads a text, or its beginning.
pub fn read(mut bytes: &[u8]) -> Text {
    while let Some(&first) = bytes.first() {
        // The ranges of the bytes behind it (section 4).
        let rest: &[std::ops::RangeInclusive<u8>] = match first {
            0x00..=0x7f => &[],
            0xc2..=0xdf => &[0x80..=0xbf],
            0xe0 => &[0xa0..=0xbf, 0x80..=0xbf],
            0xe1..=0xec | 0xee..=0xef => &[0x80..=0xbf, 0x80..=0xbf],
            0xed => &[0x80..=0x9f, 0x80..=0xbf],
            0xf0 => &[0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf],
            0xf1..=0xf3 => &[0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf],
            0xf4 => &[0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf],
            _ => return Text::Wrong,
        };
        for (i, range) in rest.iter().enumerate() {
            match bytes.get(1 + i) {
                Some(byte) if range.contains(byte) => {}
                Some(_) => return Text::Wrong,
                None => return Text::Begun,
            }
        }
        bytes = &bytes[1 + rest.len()..];
    }
    Text::Whole
}

#[cfg(test)]
mod tests {
    use super::{Text, read};

    #[test]
    fn it_agrees_with_std_about_every_beginning_of_up_to_three_bytes() {
        let bytes = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed];
        let bytes = bytes.into_iter().chain([0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff]);
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..3 {
            let longer = texts.iter().flat_map(|text| bytes.clone().map(|byte| [text, &[byte][..]].concat()));
            texts.extend(longer.collect::<Vec<_>>());
        }
        for text in texts {
            let expected = match std::str::from_utf8(&text) {
                Ok(_) => Text::Whole,
                Err(error) if error.error_len().is_none() => Text::Begun,
                Err(_) => Text::Wrong,
            };
            assert_eq!(read(&text), expected, "{text:x?}");
        }
    }
}
