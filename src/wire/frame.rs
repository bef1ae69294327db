//! The frame header (RFC 6455, section 5.2).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{error::Violation, message::Kind};

/// What a frame is for. The reserved opcodes have no value here: they never get past [`Header::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpCode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl OpCode {
    #[inline]
    pub(crate) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// The opcode that begins a message.
    #[inline]
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

impl TryFrom<u8> for OpCode {
    type Error = Violation;

    #[inline]
    fn try_from(nibble: u8) -> Result<Self, Violation> {
        match nibble {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            reserved => Err(Violation::ReservedOpcode(reserved)),
        }
    }
}

/// A frame header, without the mask, which only a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// RSV1-3 as the three low bits, RSV1 highest.
    pub(crate) rsv: u8,
    pub(crate) opcode: OpCode,
    /// Length of the payload in bytes.
    pub(crate) len: u64,
}

/// The bit of [`Header::rsv`] that an extension may give a meaning to; the other two have none.
pub(crate) const RSV1: u8 = 0b100;

/// The longest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub(crate) const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const LEN_IN_2_BYTES: u8 = 126;
const LEN_IN_8_BYTES: u8 = 127;

impl Header {
    /// Peeks at the header of a server's frame at the start of `buf`: the header and its own length in bytes, or `None`
    /// while it is not whole.
    ///
    /// What breaks the rules by itself is found here; what depends on the connection's state is not.
    #[inline]
    pub(crate) fn parse(buf: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, second, rest @ ..] = buf else { return Ok(None) };
        let opcode = OpCode::try_from(first & 0x0f)?;
        if second & MASKED != 0 {
            return Err(Violation::MaskedFrame);
        }
        let fin = first & FIN != 0;
        let short_len = second & 0x7f;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(short_len) > MAX_CONTROL_PAYLOAD {
                return Err(Violation::ControlTooLong);
            }
        }
        let Some((len, size)) = parse_len(short_len, rest)? else { return Ok(None) };
        Ok(Some((Self { fin, rsv: first >> 4 & 0x7, opcode, len }, size)))
    }

    /// As [`parse`](Self::parse), for the frame that is a whole message without extension bits, which nearly all are:
    /// its kind, the length of its payload, and of its header in bytes. `None`: it is another, and `parse` says which.
    #[inline]
    pub(crate) fn parse_message(buf: &[u8]) -> Option<(Kind, u64, usize)> {
        const TEXT: u8 = FIN | OpCode::Text as u8;
        const BINARY: u8 = FIN | OpCode::Binary as u8;
        let [first, second, rest @ ..] = buf else { return None };
        let kind = match *first {
            TEXT => Kind::Text,
            BINARY => Kind::Binary,
            _ => return None,
        };
        if second & MASKED != 0 {
            return None;
        }
        let (len, size) = parse_len(*second, rest).ok().flatten()?;
        Some((kind, len, size))
    }

    /// Writes the header of a client's frame, which ends in the mask `key`. Returns its length in bytes.
    #[inline]
    pub(crate) fn encode(&self, key: [u8; 4], out: &mut BytesMut) -> usize {
        let first = if self.fin { FIN } else { 0 } | self.rsv << 4 | self.opcode as u8;
        // One write of a whole array is cheaper than several small ones.
        let [k0, k1, k2, k3] = key;
        match self.len {
            0..=125 => {
                out.put_slice(&[first, MASKED | self.len as u8, k0, k1, k2, k3]);
                6
            }
            126..=0xffff => {
                let [l0, l1] = (self.len as u16).to_be_bytes();
                out.put_slice(&[first, MASKED | LEN_IN_2_BYTES, l0, l1, k0, k1, k2, k3]);
                8
            }
            _ => {
                let [l0, l1, l2, l3, l4, l5, l6, l7] = self.len.to_be_bytes();
                out.put_slice(&[first, MASKED | LEN_IN_8_BYTES, l0, l1, l2, l3, l4, l5, l6, l7, k0, k1, k2, k3]);
                14
            }
        }
    }
}

/// Reads the length of the payload, which `short_len` and up to eight bytes of `rest` have: it, and the length of the
/// header in bytes.
#[inline]
fn parse_len(short_len: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short_len {
        LEN_IN_2_BYTES => {
            let Some(bytes) = rest.first_chunk() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*bytes));
            if len < u64::from(LEN_IN_2_BYTES) {
                return Err(Violation::NonMinimalLength(len));
            }
            Ok(Some((len, 4)))
        }
        LEN_IN_8_BYTES => {
            let Some(bytes) = rest.first_chunk() else { return Ok(None) };
            let len = u64::from_be_bytes(*bytes);
            if len > u64::MAX / 2 {
                return Err(Violation::LengthOverflow);
            }
            if len <= u64::from(u16::MAX) {
                return Err(Violation::NonMinimalLength(len));
            }
            Ok(Some((len, 10)))
        }
        len => Ok(Some((u64::from(len), 2))),
    }
}

/// Takes the frame at the front of `buf`, and leaves its header out: its payload, as a slice. Both lengths are in bytes.
#[inline(always)]
pub(crate) fn take_payload(header: usize, len: usize, buf: &mut BytesMut) -> Bytes {
    let mut frame = buf.split_to(header + len).freeze();
    frame.advance(header);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPCODES: [OpCode; 6] =
        [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];

    /// The header as a server would send it: without mask bit and key.
    fn unmasked(header: Header) -> BytesMut {
        let mut out = BytesMut::new();
        let size = header.encode([0; 4], &mut out);
        assert_eq!(size, out.len());
        out[1] &= !MASKED;
        out.truncate(size - 4);
        out
    }

    /// What a frame is by itself, if it is a whole message without extension bits.
    fn kind_of_message(header: &Header) -> Option<Kind> {
        match header {
            Header { fin: true, rsv: 0, opcode: OpCode::Text, .. } => Some(Kind::Text),
            Header { fin: true, rsv: 0, opcode: OpCode::Binary, .. } => Some(Kind::Binary),
            _ => None,
        }
    }

    #[test]
    fn what_is_encoded_is_parsed_again() {
        for opcode in OPCODES {
            for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, u64::MAX / 2] {
                for fin in [true, false] {
                    for rsv in 0..8 {
                        let header = Header { fin, rsv, opcode, len };
                        if opcode.is_control() && (!fin || len > 125) {
                            assert!(Header::parse(&unmasked(header)).is_err());
                            continue;
                        }
                        let bytes = unmasked(header);
                        assert_eq!(Header::parse(&bytes), Ok(Some((header, bytes.len()))));
                        let message = kind_of_message(&header).map(|kind| (kind, len, bytes.len()));
                        assert_eq!(Header::parse_message(&bytes), message);
                        for cut in 0..bytes.len() {
                            assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "{header:?} cut at {cut}");
                            assert_eq!(Header::parse_message(&bytes[..cut]), None, "{header:?} cut at {cut}");
                        }
                    }
                }
            }
        }
    }

    /// B152, B154, B155.
    #[test]
    fn what_breaks_the_rules_by_itself() {
        let cases: [(&[u8], Violation); 9] = [
            (&[0x82, 0x80], Violation::MaskedFrame),
            (&[0x83, 0], Violation::ReservedOpcode(3)),
            (&[0x8b, 0], Violation::ReservedOpcode(11)),
            (&[0x09, 0], Violation::FragmentedControl),
            (&[0x89, 126], Violation::ControlTooLong),
            (&[0x82, 126, 0, 125], Violation::NonMinimalLength(125)),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Violation::NonMinimalLength(65_535)),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthOverflow),
            (&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Violation::LengthOverflow),
        ];
        for (bytes, violation) in cases {
            assert_eq!(Header::parse(bytes), Err(violation), "{bytes:02x?}");
            assert_eq!(Header::parse_message(bytes), None, "{bytes:02x?}");
        }
    }
}
