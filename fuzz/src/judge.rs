//! What a stream of bytes means, the naive way: what a client must make of a server's, and whether a client's is right.

use testkit::{
    frame::{self, BINARY, CLOSE, CONTINUATION, Head, PING, PONG, RSV1, TEXT},
    utf8::{self, Text},
    wire::Wire,
};

/// A message: whether it is a text, and its payload.
pub type Message = (bool, Vec<u8>);

/// How a server's bytes end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In or between frames that are right so far.
    Open,
    /// With a Close frame that is right.
    Close(Option<u16>),
    /// With something that RFC 6455 or a limit forbids.
    Bad(&'static str),
    /// With something that is not judged here: a compressed message.
    Unknown,
}

/// What a client makes of them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub message: usize,
    pub frame: u64,
    pub fragments: usize,
    pub deflate: bool,
}

/// The messages that a server's bytes have, and how they end.
pub fn server(mut bytes: &[u8], limits: Limits) -> (Vec<Message>, Verdict) {
    let mut messages = Vec::new();
    // A message that was begun: whether it is a text, its payload, and how many frames it had.
    let mut begun: Option<(bool, Vec<u8>, usize)> = None;
    let verdict = loop {
        let Some(&first) = bytes.first() else { break text_so_far(&begun, &[]) };
        let (fin, rsv, opcode) = (first & 0x80 != 0, first >> 4 & 7, first & 15);
        let Some(head) = Head::read(bytes) else { break Verdict::Unknown };
        let is_control = opcode >= 8;
        let bad = match opcode {
            3..=7 | 11..=15 => Some("opcode"),
            _ if head.is_masked => Some("masked"),
            _ if !head.is_minimal => Some("length in more bytes than needed"),
            _ if head.len >> 63 == 1 => Some("length"),
            _ if is_control && !fin => Some("fragmented control"),
            _ if is_control && head.len > 125 => Some("long control"),
            _ if rsv != 0 && !(limits.deflate && rsv == RSV1 && !is_control && opcode != CONTINUATION) => Some("rsv"),
            CONTINUATION if begun.is_none() => Some("continuation"),
            TEXT | BINARY if begun.is_some() => Some("new message"),
            _ if is_control => None,
            _ if head.len > limits.frame => Some("frame size"),
            _ if rsv != 0 => break Verdict::Unknown,
            _ => {
                let (size, frames) = begun.as_ref().map_or((0, 0), |(_, payload, frames)| (payload.len(), *frames));
                let too_large = (size as u64).saturating_add(head.len) > limits.message as u64;
                (too_large || frames + 1 > limits.fragments).then_some("message limits")
            }
        };
        if let Some(bad) = bad {
            break Verdict::Bad(bad);
        }
        let Some((frame::Frame { payload, .. }, size)) = frame::decode(bytes) else {
            let arrived = &bytes[head.size..];
            break match opcode {
                TEXT => text_so_far(&Some((true, Vec::new(), 0)), arrived),
                CONTINUATION => text_so_far(&begun, arrived),
                _ => Verdict::Open,
            };
        };
        bytes = &bytes[size..];
        match opcode {
            CLOSE => break close(&payload),
            PING | PONG => {}
            _ => {
                let (is_text, mut whole, frames) = begun.take().unwrap_or((opcode == TEXT, Vec::new(), 0));
                whole.extend(payload);
                if fin {
                    if is_text && utf8::read(&whole) != Text::Whole {
                        break Verdict::Bad("UTF-8");
                    }
                    messages.push((is_text, whole));
                } else {
                    begun = Some((is_text, whole, frames + 1));
                    if text_so_far(&begun, &[]) != Verdict::Open {
                        break Verdict::Bad("UTF-8");
                    }
                }
            }
        }
    };
    (messages, verdict)
}

/// Of a text that is not whole.
fn text_so_far(begun: &Option<(bool, Vec<u8>, usize)>, arrived: &[u8]) -> Verdict {
    let Some((true, payload, _)) = begun else { return Verdict::Open };
    match utf8::read(&[payload, arrived].concat()) {
        Text::Wrong => Verdict::Bad("UTF-8"),
        Text::Whole | Text::Begun => Verdict::Open,
    }
}

fn close(payload: &[u8]) -> Verdict {
    match payload {
        [] => Verdict::Close(None),
        [_] => Verdict::Bad("Close of one byte"),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            match utf8::read(reason) {
                Text::Whole if frame::is_close_code(code) => Verdict::Close(Some(code)),
                Text::Whole => Verdict::Bad("Close code"),
                Text::Begun | Text::Wrong => Verdict::Bad("Close reason"),
            }
        }
    }
}

/// A message of a client, as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub is_text: bool,
    pub is_compressed: bool,
    pub payload: Vec<u8>,
}

/// What a client has written.
#[derive(Debug, Default)]
pub struct Written {
    pub messages: Vec<Sent>,
    /// Whether a message is begun.
    pub is_within_message: bool,
    pub pings: Vec<Vec<u8>>,
    pub pongs: Vec<Vec<u8>>,
    pub close: Option<Option<u16>>,
    /// Bytes of a frame that is not whole.
    pub rest: usize,
}

/// Reads what a client has written. Panics at what it must not write.
pub fn client(bytes: &[u8], has_deflate: bool) -> Written {
    let wire = Wire::read_with(bytes, if has_deflate { RSV1 } else { 0 });
    let mut written = Written { rest: wire.rest, ..Written::default() };
    let mut begun: Option<Sent> = None;
    for frame in wire.frames {
        let payload = frame.payload;
        match frame.opcode {
            CLOSE => match close(&payload) {
                Verdict::Close(code) => written.close = Some(code),
                other => panic!("a Close frame that is wrong: {other:?}"),
            },
            PING => written.pings.push(payload),
            PONG => written.pongs.push(payload),
            CONTINUATION => begun.as_mut().expect("a message that was begun").payload.extend(payload),
            opcode => begun = Some(Sent { is_text: opcode == TEXT, is_compressed: frame.rsv != 0, payload }),
        }
        if frame.fin && frame.opcode < CLOSE {
            written.messages.extend(begun.take());
        }
    }
    written.is_within_message = begun.is_some();
    written
}
