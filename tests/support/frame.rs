//! Frames as the scripted server sends and reads them: the naive way.

use bytes::{Buf as _, BytesMut};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame from the client, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub rsv: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// A final frame without reserved bits.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }
}

/// The bytes of a frame that is not masked.
pub fn encode(fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | rsv << 4 | opcode];
    match payload.len() {
        len @ 0..126 => bytes.push(len as u8),
        len @ 126..65_536 => {
            bytes.push(126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

pub fn close_body(code: Option<u16>, reason: &str) -> Vec<u8> {
    code.map_or_else(Vec::new, |code| [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Takes a whole frame and its masking key off `buf`, if it is there.
pub fn decode(buf: &mut BytesMut) -> Option<(Frame, [u8; 4])> {
    let (&first, &second) = (buf.first()?, buf.get(1)?);
    assert!(second & 0x80 != 0, "a frame that is not masked (RFC 6455, section 5.1): {buf:?}");
    let (len, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(buf.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(buf.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    let minimal = match start {
        4 => len > 125,
        10 => len > 65_535,
        _ => true,
    };
    assert!(minimal, "the length {len} in more bytes than it needs (RFC 6455, section 5.2)");
    let mask: [u8; 4] = buf.get(start..start + 4)?.try_into().ok()?;
    let end = start + 4 + usize::try_from(len).ok()?;
    let masked = buf.get(start + 4..end)?;
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    buf.advance(end);
    Some((Frame { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 15, payload }, mask))
}
