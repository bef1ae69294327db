//! What a client has written, as a server reads it: every rule for a client's frames is an assertion.

use super::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};

/// The frames of a client that broke no rule.
#[derive(Debug, Default)]
pub struct Wire {
    pub frames: Vec<Frame>,
    /// Bytes behind the last whole frame.
    pub rest: usize,
}

impl Wire {
    /// Reads all whole frames of a client that has no extension.
    pub fn read(bytes: &[u8]) -> Self {
        Self::read_with(bytes, 0)
    }

    /// Reads all whole frames. An extension gives these reserved bits a meaning on the first frame of a message.
    pub fn read_with(bytes: &[u8], rsv: u8) -> Self {
        let mut wire = Self::default();
        let (mut at, mut is_in_message, mut is_closed) = (0, false, false);
        while let Some((frame, len)) = take(&bytes[at..]) {
            assert!(!is_closed, "a frame behind Close (RFC 6455, section 5.5.1): {frame:?}");
            let allowed = if matches!(frame.opcode, TEXT | BINARY) { rsv } else { 0 };
            assert_eq!(frame.rsv & !allowed, 0, "reserved bits: {frame:?}");
            match frame.opcode {
                CLOSE | PING | PONG => {
                    assert!(frame.fin, "a fragmented control frame");
                    assert!(frame.payload.len() <= 125, "a control frame of {} bytes", frame.payload.len());
                    is_closed = frame.opcode == CLOSE;
                }
                opcode @ 0..=2 => {
                    assert_eq!(opcode == CONTINUATION, is_in_message, "frames of two messages mixed: {frame:?}");
                    is_in_message = !frame.fin;
                }
                opcode => panic!("the reserved opcode {opcode}"),
            }
            at += len;
            wire.frames.push(frame);
        }
        wire.rest = bytes.len() - at;
        assert!(!is_closed || wire.rest == 0, "{} bytes behind Close", wire.rest);
        wire
    }

    /// The whole messages: whether it is text, and the payload.
    pub fn messages(&self) -> Vec<(bool, Vec<u8>)> {
        let (mut messages, mut message) = (Vec::new(), None);
        for frame in self.frames.iter().filter(|frame| frame.opcode < CLOSE) {
            let (_, payload) = message.get_or_insert_with(|| (frame.opcode == TEXT, Vec::new()));
            payload.extend_from_slice(&frame.payload);
            if frame.fin {
                messages.extend(message.take());
            }
        }
        messages
    }

    /// The payloads of the frames with this opcode.
    pub fn payloads(&self, opcode: u8) -> Vec<&[u8]> {
        self.frames.iter().filter(|frame| frame.opcode == opcode).map(|frame| &frame.payload[..]).collect()
    }

    /// The body of the Close frame, if there is one.
    pub fn close(&self) -> Option<&[u8]> {
        self.payloads(CLOSE).pop()
    }
}

/// How many payload bytes of messages are among these bytes, those of an unfinished frame included.
pub fn payload_taken(bytes: &[u8]) -> u64 {
    let (mut at, mut taken) = (0, 0);
    while let Some((opcode, header, len)) = head(&bytes[at..]) {
        let arrived = len.min(bytes.len() - at - header);
        if opcode < CLOSE {
            taken += arrived as u64;
        }
        at += header + arrived;
    }
    taken
}

/// The first frame, unmasked, and its length on the wire; `None` while it is not whole.
fn take(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (opcode, header, len) = head(bytes)?;
    let masked = bytes.get(header..header + len)?;
    let key = &bytes[header - 4..header];
    let payload = masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((Frame { fin: bytes[0] & 0x80 != 0, rsv: bytes[0] >> 4 & 7, opcode, payload }, header + len))
}

/// Opcode, length of the header with the key, and length of the payload.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(second & 0x80 != 0, "a frame that is not masked (RFC 6455, section 5.1)");
    let (len, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    assert!(start != 4 || len > 125, "the length {len} in more bytes than it needs");
    assert!(start != 10 || len > 65_535, "the length {len} in more bytes than it needs");
    bytes.get(start..start + 4)?;
    Some((first & 15, start + 4, usize::try_from(len).ok()?))
}
