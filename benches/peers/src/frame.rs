//! Frames, for prepared bytes and for a cheap server.

use testkit::frame;

use crate::payload::Kind;

/// The key of prepared frames, which costs nobody anything.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Kind {
    pub fn opcode(self) -> u8 {
        match self {
            Self::Text => frame::TEXT,
            Self::Binary => frame::BINARY,
        }
    }
}

/// A frame as the server sends it.
pub fn unmasked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    frame::encode(true, 0, kind.opcode(), payload)
}

/// A frame as a client sends it.
pub fn masked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    frame::encode_masked(KEY, true, 0, kind.opcode(), payload)
}

/// Masks or unmasks a payload from its begin.
pub fn apply(key: [u8; 4], payload: &mut [u8]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// How many bytes a client sends for a message that goes out in frames of at most so much payload.
pub fn sent_size(size: usize, fragment: Option<usize>) -> usize {
    let frame = |len| received_size(len) + KEY.len();
    match fragment {
        Some(most) if size > most => {
            let rest = size % most;
            size / most * frame(most) + if rest > 0 { frame(rest) } else { 0 }
        }
        _ => frame(size),
    }
}

/// How many bytes the server sends for a message.
pub fn received_size(size: usize) -> usize {
    frame::head(0, size as u64).len() + size
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 6] = [0, 1, 125, 126, 65_535, 65_536];

    #[test]
    fn sizes_are_those_of_the_frames() {
        for size in SIZES {
            let payload = vec![7; size];
            assert_eq!(received_size(size), unmasked(Kind::Binary, &payload).len());
            assert_eq!(sent_size(size, None), masked(Kind::Binary, &payload).len());
        }
        let in_frames = |sizes: &[usize]| sizes.iter().map(|&size| sent_size(size, None)).sum::<usize>();
        assert_eq!(sent_size(100, Some(100)), in_frames(&[100]));
        assert_eq!(sent_size(200, Some(100)), in_frames(&[100, 100]));
        assert_eq!(sent_size(250, Some(100)), in_frames(&[100, 100, 50]));
    }

    #[test]
    fn masking_twice_changes_nothing() {
        for size in 0..20 {
            let payload: Vec<u8> = (0..size).collect();
            let mut masked = payload.clone();
            apply(KEY, &mut masked);
            let expected: Vec<u8> = payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(masked, expected);
            apply(KEY, &mut masked);
            assert_eq!(masked, payload);
        }
    }
}
