//! The same bytes of a server, in the same pieces, to wsflow and to tokio-tungstenite: the same messages, the same verdict,
//! but for the differences that are listed here.
#![no_main]

use futures::StreamExt as _;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use testkit::{frame, hostile_io::HostileIo};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError, protocol::WebSocketConfig};
use wsflow::{Config, Error, Violation, WebSocketStream};
use wsflow_fuzz::{judge, poll};

/// For both. Without a limit of frames tungstenite allocates by a declared length, and panics where it overflows.
const MAX_MESSAGE: usize = 64 * 1024;

#[derive(Debug, Arbitrary)]
struct Input {
    reads: Vec<u8>,
    frames: Vec<Frame>,
}

#[derive(Debug, Arbitrary)]
enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Fragment { opcode: u8, fin: bool, payload: Vec<u8> },
    TextFragment { fin: bool, text: String, cut: u8 },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { code: u16, reason: String },
    Any { fin: bool, rsv: u8, opcode: u8, payload: Vec<u8> },
    Mutated { first: u8, payload: Vec<u8>, at: u8, byte: u8 },
    Large(u16),
    Bytes(Vec<u8>),
}

impl Frame {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => frame::encode(true, 0, frame::TEXT, text.as_bytes()),
            Self::Binary(payload) => frame::encode(true, 0, frame::BINARY, payload),
            Self::Fragment { opcode, fin, payload } => frame::encode(*fin, 0, opcode % 3, payload),
            Self::TextFragment { fin, text, cut } => {
                let (start, end) = text.as_bytes().split_at(usize::from(*cut).min(text.len()));
                let start = frame::encode(false, 0, frame::TEXT, start);
                [start, frame::encode(*fin, 0, frame::CONTINUATION, end)].concat()
            }
            Self::Ping(payload) => frame::encode(true, 0, frame::PING, payload),
            Self::Pong(payload) => frame::encode(true, 0, frame::PONG, payload),
            Self::Close { code, reason } => {
                let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
                frame::encode(true, 0, frame::CLOSE, &body)
            }
            Self::Any { fin, rsv, opcode, payload } => frame::encode(*fin, rsv & 7, opcode & 15, payload),
            Self::Mutated { first, payload, at, byte } => {
                let mut bytes = frame::encode(true, 0, first & 15, payload);
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *byte;
                bytes
            }
            Self::Large(len) => frame::encode(true, 0, frame::BINARY, &vec![1; 8 * usize::from(*len)]),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The code of the peer's Close frame.
    Close(Option<u16>),
    /// What came is wrong.
    Bad,
    /// It ended without a Close frame.
    CutOff,
}

fuzz_target!(|input: Input| poll::run(target(input)));

async fn target(input: Input) {
    let bytes = input.frames.iter().map(Frame::encode).collect::<Vec<_>>().concat();
    let open = || {
        let io = HostileIo::new(input.reads.clone(), Vec::new(), Vec::new(), true);
        io.input(&bytes);
        io.end();
        io
    };
    let (ours, our_verdict, why) = wsflow(open()).await;
    let (theirs, their_verdict) = tungstenite(open()).await;
    let is_known = is_known_difference(&our_verdict, why.as_ref(), &their_verdict, &bytes);
    if is_known {
        // Who went on has got more.
        assert!(theirs.starts_with(&ours), "{ours:?} and {theirs:?}");
    } else {
        assert_eq!(ours, theirs, "{why:?}");
        assert_eq!(our_verdict, their_verdict, "{why:?}");
    }
}

/// Where wsflow ends earlier than tungstenite, or says something else of the same end.
fn is_known_difference(ours: &Verdict, why: Option<&Error>, theirs: &Verdict, bytes: &[u8]) -> bool {
    match (ours, why, theirs) {
        // tungstenite takes a length in more bytes than it needs (RFC 6455, section 5.2).
        (Verdict::Bad, Some(Error::ProtocolViolation(Violation::NonMinimalLength(_))), _) => true,
        // tungstenite takes a Close frame with a code that none may carry, and answers it with 1002.
        (Verdict::Bad, Some(Error::ProtocolViolation(Violation::CloseCode(_))), Verdict::Close(_)) => true,
        // wsflow judges a frame by its head, and a text as it comes; tungstenite waits until the frame is whole.
        (Verdict::Bad, _, Verdict::CutOff) => ends_within_frame_or_text(bytes),
        _ => false,
    }
}

/// Whether the bytes end within a frame or a fragmented message.
fn ends_within_frame_or_text(mut bytes: &[u8]) -> bool {
    let mut is_within_text = false;
    while let Some((frame, size)) = frame::decode(bytes) {
        bytes = &bytes[size..];
        if frame.opcode < 8 {
            is_within_text = !frame.fin;
        }
    }
    is_within_text || !bytes.is_empty()
}

async fn wsflow(io: HostileIo) -> (Vec<judge::Message>, Verdict, Option<Error>) {
    let config = Config::default().max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).max_fragments(None);
    let mut ws = WebSocketStream::from_upgraded(io, config);
    let mut messages = Vec::new();
    loop {
        match poll::must_end("wsflow", ws.next()).await {
            Some(Ok(message)) => messages.push((message.is_text(), message.as_bytes().to_vec())),
            Some(Err(error @ (Error::ProtocolViolation(_) | Error::Limit(_)))) => {
                return (messages, Verdict::Bad, Some(error));
            }
            other => {
                let code = u16::from(ws.closed().expect("it has ended").code);
                let verdict = match code {
                    1006 => Verdict::CutOff,
                    1005 => Verdict::Close(None),
                    code => Verdict::Close(Some(code)),
                };
                return (messages, verdict, other.and_then(Result::err));
            }
        }
    }
}

async fn tungstenite(io: HostileIo) -> (Vec<judge::Message>, Verdict) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let role = tungstenite::protocol::Role::Client;
    let mut ws = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, Some(config)).await;
    let mut messages = Vec::new();
    let verdict = loop {
        match poll::must_end("tungstenite", ws.next()).await {
            Some(Ok(tungstenite::Message::Text(text))) => messages.push((true, text.as_bytes().to_vec())),
            Some(Ok(tungstenite::Message::Binary(data))) => messages.push((false, data.to_vec())),
            Some(Ok(tungstenite::Message::Close(frame))) => break Verdict::Close(frame.map(|it| it.code.into())),
            Some(Ok(_)) => {}
            Some(Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                break Verdict::CutOff;
            }
            Some(Err(
                tungstenite::Error::Protocol(_) | tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_),
            )) => break Verdict::Bad,
            other => panic!("{other:?}"),
        }
    };
    (messages, verdict)
}
