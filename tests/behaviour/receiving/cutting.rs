//! Any cutting of the byte stream gives the same events.

use std::{task::Poll, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;
use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_body, encode},
    script_io::{ScriptIo, Step, script_io},
    task::{Task, runtime},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wsflow::{CloseCode, Config, Error, LimitExceeded, Message, UpgradedParts, Violation, WebSocketStream};

/// What a server sends.
#[derive(Debug, Clone)]
enum Item {
    Whole(Message),
    /// Cut into frames at these places; a ping stands behind the first.
    Fragments(Message, Vec<usize>),
    Ping(Vec<u8>),
    Pong,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Eof,
    EofInFrame,
    ReservedOpcode,
    InvalidUtf8,
    /// It is told without waiting for the rest, which never comes.
    InvalidUtf8InUnfinishedFrame,
    TooLarge,
    TooLargeInFragments,
}

const ENDS: [End; 8] = [
    End::Close,
    End::Eof,
    End::EofInFrame,
    End::ReservedOpcode,
    End::InvalidUtf8,
    End::InvalidUtf8InUnfinishedFrame,
    End::TooLarge,
    End::TooLargeInFragments,
];

const MAX_MESSAGE: usize = 20_000;

impl Item {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(message) => out.extend(encode(true, 0, opcode(message), message.as_bytes())),
            Self::Fragments(message, cuts) => {
                let payload = message.as_bytes();
                let mut cuts = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect::<Vec<_>>();
                cuts.extend([0, payload.len()]);
                cuts.sort_unstable();
                for (i, ends) in cuts.windows(2).enumerate() {
                    let opcode = if i == 0 { opcode(message) } else { CONTINUATION };
                    out.extend(encode(i + 2 == cuts.len(), 0, opcode, &payload[ends[0]..ends[1]]));
                    if i == 0 {
                        out.extend(encode(true, 0, PING, b"within"));
                    }
                }
            }
            Self::Ping(payload) => out.extend(encode(true, 0, PING, payload)),
            Self::Pong => out.extend(encode(true, 0, PONG, b"unasked")),
        }
    }
}

impl End {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Close => out.extend(encode(true, 0, CLOSE, &close_body(Some(3456), "pizza"))),
            Self::Eof => {}
            Self::EofInFrame => out.extend(&encode(true, 0, TEXT, &[b'x'; 5000])[..3000]),
            Self::ReservedOpcode => out.extend(encode(true, 0, 5, b"")),
            Self::InvalidUtf8 => {
                out.extend(encode(true, 0, TEXT, &[&[b'x'; 2000][..], b"\xc3\x28", &[b'x'; 2000]].concat()));
            }
            Self::InvalidUtf8InUnfinishedFrame => {
                out.extend(&encode(true, 0, TEXT, &[&[b'x'; 2000][..], b"\xc3\x28", &[b'x'; 2000]].concat())[..3000]);
            }
            Self::TooLarge => out.extend(encode(true, 0, BINARY, &[0; MAX_MESSAGE + 1])),
            Self::TooLargeInFragments => {
                out.extend(encode(false, 0, BINARY, &[0; MAX_MESSAGE]));
                out.extend(encode(true, 0, CONTINUATION, &[0]));
            }
        }
        if self == Self::Close {
            // What comes behind a Close frame means nothing.
            out.extend(encode(true, 0, TEXT, b"ignored"));
        }
    }

    /// The error of the stream, and the body of our Close frame.
    fn expected(self) -> (Option<Failure>, Option<Vec<u8>>) {
        let close = |code| Some(close_body(Some(code), ""));
        match self {
            Self::Close => (None, Some(close_body(Some(3456), "pizza"))),
            Self::Eof | Self::EofInFrame => (Some(Failure::Closed(CloseCode::ABNORMAL_CLOSURE)), None),
            Self::ReservedOpcode => (Some(Failure::Violation(Violation::ReservedOpcode(5))), close(1002)),
            Self::InvalidUtf8 | Self::InvalidUtf8InUnfinishedFrame => {
                (Some(Failure::Violation(Violation::InvalidUtf8)), close(1007))
            }
            Self::TooLarge | Self::TooLargeInFragments => {
                (Some(Failure::Limit(LimitExceeded::MessageSize { limit: MAX_MESSAGE })), close(1009))
            }
        }
    }
}

fn opcode(message: &Message) -> u8 {
    if message.is_text() { TEXT } else { BINARY }
}

/// The error that ends a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Closed(CloseCode),
    Violation(Violation),
    Limit(LimitExceeded),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed(closed) => Self::Closed(closed.code),
            Error::ProtocolViolation(violation) => Self::Violation(violation),
            Error::Limit(limit) => Self::Limit(limit),
            other => panic!("{other:?}"),
        }
    }
}

/// All that a client shows of what came.
#[derive(Debug, PartialEq, Eq)]
struct Events {
    messages: Vec<Message>,
    error: Option<Failure>,
    close: Option<Vec<u8>>,
}

fn receive(config: &Config, bytes: &[u8], of_head: usize, reads: &[usize]) -> Events {
    let (io, script) = script_io();
    script.reads(reads.iter().map(|&n| Step::Partial(n)), Step::Ready);
    script.input(&bytes[of_head..]);
    script.end();
    let read_buf = Bytes::copy_from_slice(&bytes[..of_head]);
    let parts = UpgradedParts::new(io).read_buf(read_buf).config(config.clone());
    let mut ws: WebSocketStream<ScriptIo> = WebSocketStream::from_upgraded_parts(parts).expect("no extensions");
    let (task, mut messages, mut error) = (Task::new(), Vec::new(), None);
    loop {
        match task.poll_once(ws.next()) {
            Poll::Ready(Some(Ok(message))) => messages.push(message),
            Poll::Ready(Some(Err(e))) => assert!(error.replace(Failure::from(e)).is_none(), "two errors"),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("everything is there, and it waits"),
        }
    }
    let wire = script.wire();
    assert_eq!(wire.rest, 0);
    Events { messages, error, close: wire.close().map(<[u8]>::to_vec) }
}

fn message() -> impl Strategy<Value = Message> {
    let len = prop_oneof![4 => 0..200usize, 1 => prop::sample::select(vec![125, 126, 1023, 1024, 4096, MAX_MESSAGE])];
    prop_oneof![
        (len, any::<u8>()).prop_map(|(len, byte)| Message::binary(vec![byte; len])),
        "[a-zåß匶𐑾]{0,300}".prop_map(Message::from),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        5 => message().prop_map(Item::Whole),
        3 => (message(), prop::collection::vec(any::<usize>(), 0..5))
            .prop_map(|(message, cuts)| Item::Fragments(message, cuts)),
        1 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Item::Ping),
        1 => Just(Item::Pong),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let sizes = prop::sample::select(vec![1024, 4096, 5000, 128 * 1024]);
    (sizes, prop::sample::select(vec![0, 100, 100_000])).prop_map(|(max, copied)| {
        Config::default().read_buffer_max(max).copy_payloads_up_to(copied).max_message_size(MAX_MESSAGE)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// B211.
    #[test]
    fn any_cutting_gives_the_same_events(
        items in prop::collection::vec(item(), 0..12),
        end in prop::sample::select(ENDS.to_vec()),
        config in config(),
        of_head in any::<prop::sample::Index>(),
        reads in prop::collection::vec(prop_oneof![1..20usize, 1..3000usize], 0..60),
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        end.encode(&mut bytes);
        let messages = items.into_iter().filter_map(|item| match item {
            Item::Whole(message) | Item::Fragments(message, _) => Some(message),
            Item::Ping(_) | Item::Pong => None,
        });
        let (error, close) = end.expected();
        let expected = Events { messages: messages.collect(), error, close };

        let all = bytes.len();
        for (what, of_head, reads) in [
            ("at once", 0, vec![]),
            ("one byte at a time", 0, vec![1; all]),
            ("with the 101", all, vec![]),
            ("any", of_head.index(all + 1), reads),
        ] {
            prop_assert_eq!(&receive(&config, &bytes, of_head, &reads), &expected, "{}", what);
        }
    }
}

/// A server that answers the upgrade with `behind` right behind the blank line, in the given pieces.
async fn serve(mut io: DuplexStream, behind: Vec<u8>, piece: impl Fn(usize) -> usize) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(io.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let mut bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend(behind);
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + piece(at).max(1));
        io.write_all(&bytes[at..end]).await.unwrap();
        // Time is paused: it passes once the client has read all of it and waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        at = end;
    }
    // The client's Close.
    let _ = io.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(start_paused = true)]
async fn the_101_and_the_first_frames_may_be_cut_anywhere() {
    let mut behind = encode(true, 0, TEXT, b"first");
    behind.extend(encode(true, 0, PING, b"ping"));
    behind.extend(encode(true, 0, BINARY, &[9; 300]));
    behind.extend(encode(true, 0, CLOSE, &close_body(Some(1000), "")));
    // The head has some 130 bytes; 0 stands for one byte at a time.
    for cut in 0..=480 {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let behind = behind.clone();
        let server = tokio::spawn(serve(server, behind, move |at| match cut {
            0 => 1,
            _ if at == 0 => cut,
            _ => usize::MAX / 2,
        }));
        let mut ws = WebSocketStream::builder("ws://example.com/").connect_over(client).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("first"), "cut at {cut}");
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::binary(vec![9; 300]), "cut at {cut}");
        assert!(ws.next().await.is_none(), "cut at {cut}");
        assert!(ws.closed().unwrap().was_clean);
        drop(ws);
        server.await.unwrap();
    }
}
