//! Frames as bytes, the naive way (RFC 6455, section 5.2), masked or not.

use crate::masking::masked;

/// The opcode of a frame that goes on with a message.
pub const CONTINUATION: u8 = 0;
/// The opcode of a frame that begins a text.
pub const TEXT: u8 = 1;
/// The opcode of a frame that begins a binary message.
pub const BINARY: u8 = 2;
/// The opcode of a Close frame.
pub const CLOSE: u8 = 8;
/// The opcode of a Ping.
pub const PING: u8 = 9;
/// The opcode of a Pong.
pub const PONG: u8 = 10;

/// The first of the reserved bits: it marks a compressed message (RFC 7692, section 6).
pub const RSV1: u8 = 4;

/// A frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// RSV1 as 4, RSV2 as 2, RSV3 as 1.
    pub rsv: u8,
    /// What it is.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A final frame without reserved bits.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }
}

/// What stands before the payload of a frame, but for the masking key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whether the frame is the last of its message.
    pub fin: bool,
    /// RSV1 as 4, RSV2 as 2, RSV3 as 1.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: u8,
    /// Whether a masking key follows.
    pub is_masked: bool,
    /// Whether the length has as few bytes as it can.
    pub is_minimal: bool,
    /// How many bytes the head has, without a masking key.
    pub size: usize,
    /// How many bytes the payload has.
    pub len: u64,
}

impl Head {
    /// The head at the front of `bytes`, if it is whole.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (len, size, is_minimal) = match second & 0x7f {
            126 => {
                let len = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
                (u64::from(len), 4, len > 125)
            }
            127 => {
                let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
                (len, 10, len > 65_535)
            }
            len => (u64::from(len), 2, true),
        };
        Some(Self {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 15,
            is_masked: second & 0x80 != 0,
            is_minimal,
            size,
            len,
        })
    }

    /// The same, of a client: it is masked, and its length has no byte more than it needs.
    pub fn of_client(bytes: &[u8]) -> Option<Self> {
        let head = Self::read(bytes)?;
        assert!(head.is_masked, "a frame that is not masked (RFC 6455, section 5.1): {head:?}");
        assert!(head.is_minimal, "a length in more bytes than it needs (RFC 6455, section 5.2): {head:?}");
        Some(head)
    }

    /// Where the payload begins.
    pub fn start(&self) -> usize {
        self.size + if self.is_masked { 4 } else { 0 }
    }

    /// The masking key in `bytes`, of which this is the head, if there is one and it is there.
    pub fn key(&self, bytes: &[u8]) -> Option<[u8; 4]> {
        bytes.get(self.size..self.start())?.try_into().ok()
    }
}

/// The bytes of a frame that is not masked, as a server sends it.
pub fn encode(fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&head(u8::from(fin) << 7 | rsv << 4 | opcode, payload.len() as u64), payload].concat()
}

/// The bytes of a frame that is masked, as a client sends it.
pub fn encode_masked(key: [u8; 4], fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut head = head(u8::from(fin) << 7 | rsv << 4 | opcode, payload.len() as u64);
    head[1] |= 0x80;
    [&head, &key[..], &masked(key, payload)].concat()
}

/// The head of a frame that is not masked: its first byte, and the length of the payload in as few bytes as it can have.
pub fn head(first: u8, len: u64) -> Vec<u8> {
    match len {
        0..126 => vec![first, len as u8],
        126..65_536 => [&[first, 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => long_head(first, len),
    }
}

/// The same, and the length has eight bytes, however short it is.
pub fn long_head(first: u8, len: u64) -> Vec<u8> {
    [&[first, 127][..], &len.to_be_bytes()].concat()
}

/// What a Close frame carries.
pub fn close_body(code: Option<u16>, reason: &str) -> Vec<u8> {
    code.map_or_else(Vec::new, |code| [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Whether a Close frame may carry this code (RFC 6455, section 7.4; the codes of the IANA's registry up to 1014).
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The frame at the front of `bytes`, and how many bytes it has, if it is whole.
pub fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head = Head::read(bytes)?;
    let end = head.start().checked_add(usize::try_from(head.len).ok()?)?;
    let payload = bytes.get(head.start()..end)?;
    let payload = head.key(bytes).map_or_else(|| payload.to_vec(), |key| masked(key, payload));
    Some((Frame { fin: head.fin, rsv: head.rsv, opcode: head.opcode, payload }, end))
}

/// The same, of a client: it is masked, and its length has no byte more than it needs.
pub fn decode_client(bytes: &[u8]) -> Option<(Frame, usize)> {
    Head::of_client(bytes)?;
    decode(bytes)
}

/// Takes a whole frame of a client off `buf`, if it is there.
pub fn take(buf: &mut bytes::BytesMut) -> Option<Frame> {
    let (frame, size) = decode_client(buf)?;
    bytes::Buf::advance(buf, size);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_these_bytes() {
        // Section 5.7.
        assert_eq!(encode(true, 0, TEXT, b"Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(encode_masked([0x37, 0xfa, 0x21, 0x3d], true, 0, TEXT, b"Hello"), masked);
        assert_eq!(encode(false, 0, TEXT, b"Hel"), [0x01, 0x03, 0x48, 0x65, 0x6c]);
        assert_eq!(encode(true, 0, BINARY, &[1; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(encode(true, 0, BINARY, &[1; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_less() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![0xa5; len];
            let frame = Frame { fin: false, rsv: RSV1, opcode: BINARY, payload: payload.clone() };
            let plain = encode(false, RSV1, BINARY, &payload);
            let masked = encode_masked([1, 2, 3, 4], false, RSV1, BINARY, &payload);
            for bytes in [plain, masked] {
                assert_eq!(decode(&bytes), Some((frame.clone(), bytes.len())), "{len}");
                assert_eq!(decode(&bytes[..bytes.len() - 1]), None, "{len}");
            }
        }
    }

    #[test]
    fn a_length_in_too_many_bytes_is_told() {
        for (head, is_minimal) in [
            (vec![0x82, 126, 0, 125], false),
            (vec![0x82, 126, 0, 126], true),
            (long_head(0x82, 65_535), false),
            (long_head(0x82, 65_536), true),
        ] {
            assert_eq!(Head::read(&head).map(|head| head.is_minimal), Some(is_minimal), "{head:x?}");
        }
    }

    #[test]
    #[should_panic = "a frame that is not masked"]
    fn a_client_that_does_not_mask_is_caught() {
        decode_client(&encode(true, 0, TEXT, b"x"));
    }
}
