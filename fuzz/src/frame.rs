//! Frames, the naive way: as a server writes them, and as it reads what a client wrote.

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// RSV1, which marks a compressed message (RFC 7692, section 6).
pub const RSV1: u8 = 4;

/// A frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub rsv: u8,
    pub opcode: u8,
    pub masked: bool,
    pub minimal: bool,
    pub payload: Vec<u8>,
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

/// The start of a frame: how many bytes its head has, and its payload.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub first: u8,
    pub masked: bool,
    pub minimal: bool,
    pub size: usize,
    pub len: u64,
}

/// The head of the frame at the front of `bytes`, without the masking key, if it is whole.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, size, minimal) = match second & 0x7f {
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
    Some(Head { first, masked: second & 0x80 != 0, minimal, size, len })
}

/// The frame at the front of `bytes`, and how many bytes it has, if it is whole.
pub fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let Head { first, masked, minimal, size, len } = head(bytes)?;
    let start = size + if masked { 4 } else { 0 };
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    let mut payload = bytes.get(start..end)?.to_vec();
    if masked {
        let key = &bytes[size..start];
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    Some((Frame { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 15, masked, minimal, payload }, end))
}

/// Whether a Close frame may carry this code (RFC 6455, section 7.4; the codes of the IANA's registry up to 1014).
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
