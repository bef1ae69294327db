//! Frames, for prepared bytes and for a cheap server.

use crate::payload::Kind;

pub const CONTINUATION: u8 = 0;

/// The key of prepared frames, which costs nobody anything.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Kind {
    pub fn opcode(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
        }
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub fin: bool,
    pub opcode: u8,
    pub key: Option<[u8; 4]>,
    pub len: usize,
}

impl Head {
    /// The head at the begin of the bytes and its size, if it is there whole.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (len, end) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            len => (u64::from(len), 2),
        };
        let key = if second & 0x80 == 0 { None } else { Some(bytes.get(end..end + 4)?.try_into().ok()?) };
        let len = usize::try_from(len).ok()?;
        let head = Self { fin: first & 0x80 != 0, opcode: first & 0x0f, key, len };
        Some((head, head.size()))
    }

    pub fn write(self, to: &mut Vec<u8>) {
        to.push(u8::from(self.fin) << 7 | self.opcode);
        let masked = u8::from(self.key.is_some()) << 7;
        match self.len {
            len @ 0..126 => to.push(masked | len as u8),
            len @ 126..65_536 => {
                to.push(masked | 126);
                to.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                to.push(masked | 127);
                to.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        to.extend_from_slice(self.key.as_ref().map_or(&[], |key| &key[..]));
    }

    fn size(self) -> usize {
        let length = match self.len {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        length + if self.key.is_some() { 4 } else { 0 }
    }
}

/// A frame as the server sends it.
pub fn unmasked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    Head { fin: true, opcode: kind.opcode(), key: None, len: payload.len() }.write(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// A frame as a client sends it.
pub fn masked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    Head { fin: true, opcode: kind.opcode(), key: Some(KEY), len: payload.len() }.write(&mut frame);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply(KEY, &mut frame[start..]);
    frame
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
    let frame = |len| Head { fin: true, opcode: 0, key: Some(KEY), len }.size() + len;
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
    Head { fin: true, opcode: 0, key: None, len: size }.size() + size
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 6] = [0, 1, 125, 126, 65_535, 65_536];

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for (size, key) in SIZES.into_iter().flat_map(|size| [(size, None), (size, Some(KEY))]) {
            let head = Head { fin: size % 2 == 0, opcode: 2, key, len: size };
            let mut bytes = Vec::new();
            head.write(&mut bytes);
            assert_eq!(Head::read(&bytes), Some((head, bytes.len())));
            assert_eq!(Head::read(&bytes[..bytes.len() - 1]), None);
        }
    }

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
