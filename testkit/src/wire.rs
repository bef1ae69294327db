//! What a client has written, as a server reads it: every rule for a client's frames is an assertion.

use crate::frame::{self, BINARY, CLOSE, CONTINUATION, Frame, Head, PING, PONG, TEXT};

/// The frames of a client that broke no rule.
#[derive(Debug, Default)]
pub struct Wire {
    /// The whole ones, unmasked.
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
        while let Some((frame, len)) = frame::decode_client(&bytes[at..]) {
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
    while let Some(head) = Head::of_client(&bytes[at..]) {
        let start = at + head.start();
        if start > bytes.len() {
            break;
        }
        let arrived = head.len.min((bytes.len() - start) as u64);
        if head.opcode < CLOSE {
            taken += arrived;
        }
        at = start + arrived as usize;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode_masked;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn messages_are_put_together_around_a_ping() {
        let frames = [
            encode_masked(KEY, false, 0, TEXT, b"he"),
            encode_masked(KEY, true, 0, PING, b"?"),
            encode_masked(KEY, true, 0, CONTINUATION, b"llo"),
            encode_masked(KEY, true, 0, CLOSE, &[3, 232]),
        ];
        let wire = Wire::read(&frames.concat());
        assert_eq!(wire.messages(), [(true, b"hello".to_vec())]);
        assert_eq!(wire.payloads(PING), [b"?"]);
        assert_eq!(wire.close(), Some(&[3, 232][..]));
    }

    #[test]
    fn bytes_of_an_unfinished_frame_are_counted() {
        let whole = encode_masked(KEY, true, 0, BINARY, &[7; 300]);
        let bytes = [whole.clone(), encode_masked(KEY, true, 0, PING, b"not these"), whole].concat();
        assert_eq!(payload_taken(&bytes), 600);
        assert_eq!(payload_taken(&bytes[..bytes.len() - 10]), 590);
        assert_eq!(payload_taken(&bytes[..bytes.len() - 302]), 300, "within a masking key");
        assert_eq!(Wire::read(&bytes[..bytes.len() - 10]).rest, 298);
    }

    #[test]
    #[should_panic = "a frame behind Close"]
    fn a_frame_behind_close_is_caught() {
        Wire::read(&[encode_masked(KEY, true, 0, CLOSE, b""), encode_masked(KEY, true, 0, PING, b"")].concat());
    }
}
