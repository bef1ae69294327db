//! One message that is read as it comes: the same bytes as of `next()`, and never a part that passes for the whole.

use std::{io, task::Poll};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, stream::FusedStream as _};
use proptest::prelude::*;
use testkit::{
    deflate::{Compressor, deflated},
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, TEXT, close_body, encode},
    script_io::{Script, ScriptIo, Step, script_io},
    task::{Task, is_waiting, now},
};
use tokio::io::AsyncReadExt as _;
use wsflow::{
    CloseCode, CloseFrame, Closed, Config, Deflate, Error, Kind, LimitExceeded, Message, MessageReader, Stats,
    UpgradedParts, Violation, WebSocketStream,
};

type Ws = WebSocketStream<ScriptIo>;

fn open(config: Config) -> (Ws, Script) {
    let (io, script) = script_io();
    (WebSocketStream::from_upgraded(io, config.without_timers()), script)
}

fn open_compressed(config: Config) -> (Ws, Script) {
    let (io, script) = script_io();
    let config = config.deflate(Deflate::default()).without_timers();
    let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(config);
    (WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate"), script)
}

fn begin(ws: &mut Ws) -> MessageReader<'_, ScriptIo> {
    now(ws.next_reader()).expect("no end").expect("a message")
}

/// All chunks in one; none may be empty.
fn rest(reader: &mut MessageReader<'_, ScriptIo>) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    while let Some(chunk) = now(reader.chunk()) {
        let chunk = chunk?;
        assert!(!chunk.is_empty(), "an empty chunk");
        data.extend_from_slice(&chunk);
    }
    Ok(data)
}

fn read_to_end(reader: &mut MessageReader<'_, ScriptIo>) -> (Vec<u8>, io::Result<usize>) {
    let mut data = Vec::new();
    let outcome = now(reader.read_to_end(&mut data));
    (data, outcome)
}

/// The error of this crate that an error of IO is about.
fn cause(error: &io::Error) -> &Error {
    error.get_ref().expect("a cause").downcast_ref().expect("an error of this crate")
}

/// `data` in frames of `size`, the first with `rsv`.
fn fragments(opcode: u8, rsv: u8, data: &[u8], size: usize) -> Vec<u8> {
    let last = data.len().saturating_sub(1) / size;
    let mut bytes = Vec::new();
    for i in 0..=last {
        let part = &data[i * size..data.len().min((i + 1) * size)];
        let (opcode, rsv) = if i == 0 { (opcode, rsv) } else { (CONTINUATION, 0) };
        bytes.extend(encode(i == last, rsv, opcode, part));
    }
    bytes
}

/// Bytes that no shift of them equals, and that compress a little.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 * i / 1000) as u8).collect()
}

#[test]
fn a_message_is_read_in_chunks_or_as_bytes() {
    let data = pattern(300_000);
    for bytes in [encode(true, 0, BINARY, &data), fragments(BINARY, 0, &data, 10_000)] {
        let (mut ws, script) = open(Config::default());
        script.input([bytes.clone(), bytes.clone(), encode(true, 0, TEXT, "next".as_bytes())].concat());
        let mut first = begin(&mut ws);
        assert_eq!(first.kind(), Kind::Binary);
        assert_eq!(rest(&mut first).unwrap(), data);
        assert!(now(first.chunk()).is_none(), "something behind the end");
        let mut second = begin(&mut ws);
        let (read, outcome) = read_to_end(&mut second);
        assert_eq!((read, outcome.unwrap()), (data.clone(), data.len()));
        assert_eq!(now(second.read(&mut [0; 8])).unwrap(), 0, "something behind the end");
        let mut third = begin(&mut ws);
        assert_eq!((third.kind(), rest(&mut third).unwrap()), (Kind::Text, b"next".to_vec()));
        let stats = ws.stats();
        assert_eq!((stats.messages_received, stats.payload_bytes_received), (3, 600_004));
        assert_eq!(stats.discarded_messages, 0);
    }
}

#[test]
fn a_reader_begins_with_the_header_and_gives_what_is_there() {
    let (mut ws, script) = open(Config::default());
    let bytes = encode(true, 0, TEXT, "größe".as_bytes());
    script.input(&bytes[..1]);
    assert!(is_waiting(ws.next_reader()));
    script.input(&bytes[1..2]);
    let mut reader = begin(&mut ws);
    assert_eq!(reader.kind(), Kind::Text);
    assert!(is_waiting(reader.chunk()));
    // A chunk may end within a character.
    script.input(&bytes[2..5]);
    assert_eq!(now(reader.chunk()).unwrap().unwrap(), "grö".as_bytes()[..3]);
    assert!(is_waiting(reader.chunk()));
    script.input(&bytes[5..]);
    assert_eq!(now(reader.chunk()).unwrap().unwrap(), "größe".as_bytes()[3..]);
    assert!(now(reader.chunk()).is_none());
}

#[test]
fn an_empty_message_has_a_kind_and_an_end() {
    for (opcode, kind) in [(TEXT, Kind::Text), (BINARY, Kind::Binary)] {
        for bytes in [
            encode(true, 0, opcode, b""),
            [encode(false, 0, opcode, b""), encode(true, 0, CONTINUATION, b"")].concat(),
            encode(true, RSV1, opcode, &deflated("")),
            encode(true, RSV1, opcode, b""),
        ] {
            let (mut ws, script) = open_compressed(Config::default());
            script.input([bytes.clone(), bytes].concat());
            let mut first = begin(&mut ws);
            assert_eq!(first.kind(), kind);
            assert!(now(first.chunk()).is_none());
            assert_eq!(now(begin(&mut ws).read(&mut [0; 8])).unwrap(), 0);
            assert_eq!((ws.stats().messages_received, ws.stats().discarded_messages), (2, 0));
        }
    }
}

#[test]
fn no_more_is_inflated_than_is_asked_for() {
    let bomb = encode(true, RSV1, BINARY, &deflated(vec![7; 10 << 20]));
    for size in [1, 10, 5000, 100_000] {
        let (mut ws, script) = open_compressed(Config::default());
        script.input(&bomb);
        let mut buffer = vec![0; size];
        let n = now(begin(&mut ws).read(&mut buffer)).unwrap();
        assert!(buffer[..n].iter().all(|&byte| byte == 7));
        assert_eq!(ws.stats().payload_bytes_received, n as u64);
    }
}

#[test]
fn reads_of_any_size_give_the_same() {
    let data = pattern(20_000);
    for bytes in [encode(true, 0, BINARY, &data), encode(true, RSV1, BINARY, &deflated(&data))] {
        for size in [1, 2, 1000, 19_999, 20_000, 20_001] {
            let (mut ws, script) = open_compressed(Config::default());
            script.input(bytes.clone());
            let mut reader = begin(&mut ws);
            let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                assert_eq!(now(reader.read(&mut [])).unwrap(), 0, "a read of nothing");
                match now(reader.read(&mut buffer)).unwrap() {
                    0 => break,
                    n => read.extend_from_slice(&buffer[..n]),
                }
            }
            assert!(read == data, "{} bytes by {size}", read.len());
        }
    }
}

#[test]
fn a_reader_gets_what_a_dropped_next_has_put_together() {
    let data = pattern(300_000);
    let compressed = deflated(&data);
    for bytes in [
        encode(true, 0, BINARY, &data),
        fragments(BINARY, 0, &data, 10_000),
        fragments(BINARY, 0, &data, 100_000),
        encode(true, RSV1, BINARY, &compressed),
        fragments(BINARY, RSV1, &compressed, compressed.len() / 3),
    ] {
        for there in [1, 5, 10_003, bytes.len() / 2, bytes.len() - 1] {
            for by_reference in [false, true] {
                let (mut ws, script) = open_compressed(Config::default());
                script.input(&bytes[..there.min(bytes.len() - 1)]);
                if by_reference {
                    assert!(is_waiting(ws.next_ref()));
                } else {
                    assert!(is_waiting(ws.next()));
                }
                script.input([&bytes[there.min(bytes.len() - 1)..], &encode(true, 0, TEXT, b"on")].concat());
                assert!(rest(&mut begin(&mut ws)).unwrap() == data, "with {there} of {} bytes there", bytes.len());
                assert_eq!(now(ws.next()).unwrap().unwrap(), Message::from("on"));
                assert_eq!((ws.stats().messages_received, ws.stats().payload_bytes_received), (2, 300_002));
            }
        }
    }
}

#[test]
fn a_reader_begins_between_two_fragments() {
    let (mut ws, script) = open(Config::default());
    script.input(encode(false, 0, TEXT, b"what has come"));
    assert!(is_waiting(ws.next()));
    let mut reader = begin(&mut ws);
    assert_eq!(now(reader.chunk()).unwrap().unwrap(), b"what has come"[..]);
    assert!(is_waiting(reader.chunk()));
    script.input(encode(true, 0, CONTINUATION, b" and the rest"));
    assert_eq!(rest(&mut reader).unwrap(), b" and the rest");
}

#[test]
fn limits_of_messages_do_not_bound_a_reader_and_that_of_frames_does() {
    let config = Config::default().max_message_size(100).max_fragments(2).max_frame_size(1000);
    let data = pattern(5000);
    let compressed = deflated(&data);
    for bytes in [fragments(BINARY, 0, &data, 900), fragments(BINARY, RSV1, &compressed, 300)] {
        let (mut ws, script) = open_compressed(config.clone());
        script.input(bytes.clone());
        assert_eq!(rest(&mut begin(&mut ws)).unwrap(), data);
        // One whose reader was dropped is not bounded either. The message behind it is.
        script.input([bytes.clone(), bytes].concat());
        assert!(data.starts_with(&now(begin(&mut ws).chunk()).unwrap().unwrap()));
        assert!(matches!(now(ws.next()), Some(Err(Error::Limit(_)))));
        assert_eq!((ws.stats().messages_received, ws.stats().discarded_messages), (1, 1));
    }
    let (mut ws, script) = open(config);
    script.input([encode(false, 0, BINARY, &data[..1000]), encode(true, 0, CONTINUATION, &data[..1001])].concat());
    let mut reader = begin(&mut ws);
    assert_eq!(now(reader.chunk()).unwrap().unwrap(), data[..1000]);
    let error = now(reader.chunk()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Limit(LimitExceeded::FrameSize { len: 1001, limit: 1000 })), "{error:?}");
}

#[test]
fn a_message_is_received_once_its_reader_has_its_end_and_else_discarded() {
    let data = pattern(200_000);
    let compressed = deflated(&data);
    for (bytes, len) in [
        (encode(true, 0, BINARY, &data), data.len()),
        (encode(true, 0, BINARY, b"short"), 5),
        (encode(true, 0, BINARY, b""), 0),
        (fragments(BINARY, 0, &data, 10_000), data.len()),
        ([encode(false, 0, BINARY, &data), encode(true, 0, CONTINUATION, b"")].concat(), data.len()),
        (encode(true, RSV1, BINARY, &compressed), data.len()),
        (fragments(BINARY, RSV1, &compressed, 100), data.len()),
    ] {
        for size in [1000, 70_000] {
            for reads in 0..=len / size + 2 {
                let (mut ws, script) = open_compressed(Config::default());
                script.input([bytes.clone(), encode(true, 0, TEXT, b"next")].concat());
                let (mut reader, mut buffer) = (begin(&mut ws), vec![0; size]);
                let (mut read, mut is_ended) = (0, false);
                for _ in 0..reads {
                    let n = now(reader.read(&mut buffer)).unwrap();
                    (read, is_ended) = (read + n, n == 0);
                }
                // The next call skips what is left.
                assert_eq!(now(ws.next()).unwrap().unwrap(), Message::from("next"));
                let (stats, what) = (ws.stats(), format!("{read} of {len} by {size}, ended: {is_ended}"));
                assert_eq!(stats.messages_received + stats.discarded_messages, 2, "{what}");
                assert_eq!(stats.payload_bytes_received, read as u64 + 4, "{what}");
                assert!(!is_ended || stats.discarded_messages == 0, "{what}");
                assert!(read == len || stats.discarded_messages == 1, "{what}");
            }
        }
    }
}

/// How a message breaks off.
struct Break {
    /// What comes of the message, or behind its last part.
    bytes: Vec<u8>,
    /// What the transport does then.
    end: Option<Step>,
    kind: io::ErrorKind,
    is_it: fn(&Error) -> bool,
    /// The code of our Close frame, if one is sent.
    close: Option<u16>,
}

fn breaks() -> Vec<(&'static str, Break)> {
    let bytes = |bytes: &[&[u8]]| bytes.concat();
    let is_abnormal =
        |error: &Error| matches!(error, Error::Closed(closed) if !closed.was_clean && closed.code == 1006);
    let close = |code: u16| encode(true, 0, CLOSE, &close_body(Some(code), ""));
    let violation =
        |bytes, close, is_it| Break { bytes, end: None, kind: io::ErrorKind::InvalidData, is_it, close: Some(close) };
    vec![
        (
            "the transport ends within a frame",
            Break {
                bytes: encode(true, 0, CONTINUATION, b"part")[..4].to_vec(),
                end: Some(Step::Ready),
                kind: io::ErrorKind::UnexpectedEof,
                is_it: is_abnormal,
                close: None,
            },
        ),
        (
            "the transport ends between frames",
            Break {
                bytes: vec![],
                end: Some(Step::Ready),
                kind: io::ErrorKind::UnexpectedEof,
                is_it: is_abnormal,
                close: None,
            },
        ),
        (
            "the transport is reset",
            Break {
                bytes: vec![],
                end: Some(Step::Error(io::ErrorKind::ConnectionReset)),
                kind: io::ErrorKind::ConnectionReset,
                is_it: |error| matches!(error, Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionReset),
                close: None,
            },
        ),
        (
            "the peer closes",
            Break {
                bytes: close(1000),
                end: Some(Step::Ready),
                kind: io::ErrorKind::UnexpectedEof,
                is_it: |error| matches!(error, Error::Closed(closed) if !closed.was_clean && closed.code == 1000),
                close: Some(1000),
            },
        ),
        (
            "a reserved opcode",
            violation(encode(true, 0, 3, b""), 1002, |error| {
                matches!(error, Error::ProtocolViolation(Violation::ReservedOpcode(3)))
            }),
        ),
        (
            "another message within it",
            violation(encode(true, 0, TEXT, b""), 1002, |error| {
                matches!(error, Error::ProtocolViolation(Violation::ExpectedContinuation))
            }),
        ),
        (
            "the last byte is not UTF-8",
            violation(bytes(&[&encode(true, 0, CONTINUATION, b"good\xff")]), 1007, |error| {
                matches!(error, Error::ProtocolViolation(Violation::InvalidUtf8))
            }),
        ),
        (
            "the text ends within a character",
            violation(bytes(&[&encode(true, 0, CONTINUATION, b"good\xe5\x8c")]), 1007, |error| {
                matches!(error, Error::ProtocolViolation(Violation::InvalidUtf8))
            }),
        ),
    ]
}

/// A connection on which a text has begun that breaks off.
fn breaking(how: &Break) -> (Ws, Script) {
    let (ws, script) = open(Config::default());
    script.input([&encode(false, 0, TEXT, "begun 匶".as_bytes()), &how.bytes[..]].concat());
    if let Some(end) = how.end {
        script.reads([Step::Ready], end);
        script.end();
    }
    (ws, script)
}

#[test]
fn a_message_that_breaks_off_never_reads_as_its_end() {
    for (name, how) in breaks() {
        let (mut ws, script) = breaking(&how);
        let mut reader = begin(&mut ws);
        let mut data = Vec::new();
        let error = loop {
            match now(reader.chunk()) {
                Some(Ok(chunk)) => data.extend_from_slice(&chunk),
                Some(Err(error)) => break error,
                None => panic!("{name}: an end after {data:?}"),
            }
        };
        assert!((how.is_it)(&error), "{name}: {error:?}");
        assert!(data.starts_with("begun 匶".as_bytes()), "{name}: {data:?}");
        assert!(now(reader.chunk()).is_none(), "{name}: the error comes once");
        let again = now(reader.read(&mut [0; 8])).expect_err("an end as bytes");
        assert!((how.is_it)(cause(&again)), "{name}: {again:?}");
        script.end();
        assert!(now(ws.next()).is_none(), "{name}: the error comes once");
        assert!(ws.is_terminated(), "{name}");
        assert_eq!(ws.stats().messages_received, 0, "{name}");
        let code = script.wire().close().map(|body| u16::from_be_bytes(body[..2].try_into().unwrap()));
        assert_eq!(code, how.close, "{name}");

        let (mut ws, script) = breaking(&how);
        let mut reader = begin(&mut ws);
        for _ in 0..2 {
            let error = read_to_end(&mut reader).1.expect_err(name);
            assert_eq!(error.kind(), how.kind, "{name}");
            assert!((how.is_it)(cause(&error)), "{name}: {error:?}");
        }
        script.end();
        assert!(now(ws.next_reader()).is_none(), "{name}: the error comes once");
    }
}

/// What has come of a message, behind which the peer closes.
fn begun() -> Vec<(&'static str, Vec<u8>)> {
    let compressed = deflated(pattern(5000));
    let half = &compressed[..compressed.len() / 2];
    vec![
        ("a fragment", encode(false, 0, TEXT, b"begun")),
        ("an empty fragment", encode(false, 0, BINARY, b"")),
        ("two fragments", [encode(false, 0, TEXT, b"begun"), encode(false, 0, CONTINUATION, b", and on")].concat()),
        ("a compressed fragment", encode(false, RSV1, BINARY, half)),
    ]
}

#[test]
fn the_peers_close_within_a_message_is_answered_and_an_unclean_end_with_its_code() {
    let close = close_body(Some(1001), "bye");
    let expected = Closed::new(1001, "bye", false);
    for (name, bytes) in begun() {
        for way in ["next", "next_ref", "next_reader", "next that was dropped"] {
            let what = format!("{name}, {way}");
            let (mut ws, script) = open_compressed(Config::default());
            script.input([encode(true, 0, TEXT, b"before"), bytes.clone()].concat());
            assert_eq!(now(ws.next()).unwrap().unwrap(), Message::from("before"), "{what}");
            if way == "next that was dropped" {
                assert!(is_waiting(ws.next()), "{what}");
            }
            script.input(encode(true, 0, CLOSE, &close));
            let error = match way {
                "next_ref" => now(ws.next_ref()).unwrap().map(|_| ()).unwrap_err(),
                "next_reader" => rest(&mut begin(&mut ws)).unwrap_err(),
                _ => now(ws.next()).unwrap().unwrap_err(),
            };
            assert!(matches!(&error, Error::Closed(closed) if **closed == expected), "{what}: {error:?}");
            assert!(!error.to_string().ends_with("(bye)"), "{what}: {error} does not say what is wrong");
            assert_eq!((ws.closed(), ws.error().map(Error::close_code)), (Some(&expected), Some(error.close_code())));
            assert!(matches!(now(ws.send("late".into())), Err(Error::Closed(closed)) if *closed == expected), "{what}");
            script.end();
            assert!(now(ws.next()).is_none(), "{what}: the error comes once");
            assert_eq!(script.wire().close(), Some(&close[..]), "{what}");
            assert_eq!((ws.stats().messages_received, ws.stats().discarded_messages), (1, 1), "{what}");
        }
    }
}

#[test]
fn the_peers_close_within_a_message_that_was_given_up_is_a_clean_end() {
    for (name, bytes) in begun() {
        for is_closing in [false, true] {
            let (mut ws, script) = open_compressed(Config::default());
            script.input(bytes.clone());
            let reader = begin(&mut ws);
            drop(reader);
            if is_closing {
                assert!(is_waiting(ws.close_with(CloseFrame::new(1001, "bye"))), "{name}");
            }
            script.input(encode(true, 0, CLOSE, &close_body(Some(1001), "bye")));
            script.end();
            assert!(now(ws.next()).is_none(), "{name}");
            assert_eq!(ws.closed(), Some(&Closed::new(1001, "bye", true)), "{name}");
        }
    }
}

#[test]
fn a_compressed_message_that_does_not_inflate_is_an_error() {
    let (mut ws, script) = open_compressed(Config::default());
    let mut compressed = deflated(pattern(5000));
    compressed.truncate(compressed.len() / 2);
    compressed.extend([0xff; 100]);
    script.input(encode(true, RSV1, BINARY, &compressed));
    let error = rest(&mut begin(&mut ws)).unwrap_err();
    assert!(matches!(error, Error::ProtocolViolation(Violation::CompressedData)), "{error:?}");
}

#[test]
fn the_end_of_the_connection_between_messages_is_none() {
    let (mut ws, script) = open(Config::default());
    script.input([encode(true, 0, TEXT, b"last"), encode(true, 0, CLOSE, &close_body(Some(1000), ""))].concat());
    script.end();
    assert_eq!(rest(&mut begin(&mut ws)).unwrap(), b"last");
    assert!(now(ws.next_reader()).is_none());
    assert!(ws.closed().unwrap().was_clean && ws.is_terminated());

    let (mut ws, script) = open(Config::default());
    script.end();
    assert!(matches!(now(ws.next_reader()), Some(Err(Error::Closed(closed))) if closed.code == CloseCode::from(1006)));
    assert!(now(ws.next_reader()).is_none());
}

#[test]
fn pings_between_fragments_are_answered_while_a_reader_waits() {
    let (mut ws, script) = open(Config::default());
    script.input([encode(false, 0, TEXT, b"one"), encode(true, 0, PING, b"first")].concat());
    let mut reader = begin(&mut ws);
    assert_eq!(now(reader.chunk()).unwrap().unwrap(), "one");
    assert!(is_waiting(reader.chunk()));
    assert_eq!(script.wire().frames, [Frame::new(PONG, "first")]);
    script.input([encode(false, 0, CONTINUATION, b""), encode(true, 0, PING, b"second")].concat());
    assert!(is_waiting(reader.read(&mut [0; 8])));
    assert_eq!(script.wire().frames, [Frame::new(PONG, "first"), Frame::new(PONG, "second")]);
    script.input(encode(true, 0, CONTINUATION, b"two"));
    assert_eq!(rest(&mut reader).unwrap(), b"two");
}

#[test]
fn what_was_fed_is_written_while_a_reader_waits() {
    let (mut ws, script) = open(Config::default());
    now(ws.feed("asked".into())).unwrap();
    script.input(encode(false, 0, BINARY, b""));
    let mut reader = begin(&mut ws);
    assert!(is_waiting(reader.chunk()));
    assert_eq!(script.wire().messages(), [(true, b"asked".to_vec())]);
}

#[test]
fn a_reader_can_be_moved_and_sent() {
    fn check<T: Unpin + Send + std::fmt::Debug>() {}
    check::<MessageReader<'static, tokio::net::TcpStream>>();
    check::<MessageReader<'static>>();
}

/// What a server sends.
#[derive(Debug, Clone)]
enum Sent {
    Whole(Message),
    Fragments(Message, usize),
    Compressed(Message),
    CompressedFragments(Message, usize),
    Ping,
}

impl Sent {
    fn message(&self) -> Option<&Message> {
        match self {
            Self::Whole(message) | Self::Compressed(message) => Some(message),
            Self::Fragments(message, _) | Self::CompressedFragments(message, _) => Some(message),
            Self::Ping => None,
        }
    }

    fn encode(&self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        let opcode = self.message().map_or(PING, |message| if message.is_text() { TEXT } else { BINARY });
        match self {
            Self::Whole(message) => out.extend(encode(true, 0, opcode, message.as_bytes())),
            Self::Fragments(message, size) => out.extend(fragments(opcode, 0, message.as_bytes(), *size)),
            Self::Compressed(message) => {
                out.extend(encode(true, RSV1, opcode, &compressor.message(message.as_bytes())));
            }
            Self::CompressedFragments(message, size) => {
                out.extend(fragments(opcode, RSV1, &compressor.message(message.as_bytes()), *size));
            }
            Self::Ping => out.extend(encode(true, 0, PING, b"p")),
        }
    }
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![
        "[a-zé匶🔌]{0,40}".prop_map(Message::from),
        "[é匶]{2000,3000}".prop_map(Message::from),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Message::from),
        (60_000..140_000usize).prop_map(|len| Message::from(pattern(len))),
    ]
}

/// A message, and the size of its frames: not so many that they take long.
fn in_fragments() -> impl Strategy<Value = (Message, usize)> {
    let size = prop_oneof![1usize..100, 1000..50_000usize];
    (messages(), size).prop_map(|(message, size)| {
        let size = size.max(message.len() / 500 + 1);
        (message, size)
    })
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let sent = prop_oneof![
        3 => messages().prop_map(Sent::Whole),
        2 => in_fragments().prop_map(|(message, size)| Sent::Fragments(message, size)),
        2 => messages().prop_map(Sent::Compressed),
        2 => in_fragments().prop_map(|(message, size)| Sent::CompressedFragments(message, size)),
        1 => Just(Sent::Ping),
    ];
    prop::collection::vec(sent, 0..10)
}

/// How a message is received.
#[derive(Debug, Clone, Copy)]
enum Way {
    Next,
    NextRef,
    Chunks,
    /// By reads of this size.
    Reads(usize),
    /// The reader is dropped after so many chunks.
    Part(usize),
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    let way = prop_oneof![
        Just(Way::Next),
        Just(Way::NextRef),
        Just(Way::Chunks),
        prop_oneof![100..1000usize, 10_000..200_000usize].prop_map(Way::Reads),
        (0..4usize).prop_map(Way::Part),
    ];
    prop::collection::vec(way, 1..8)
}

/// A message, or as much of it as was asked for.
#[derive(Debug)]
struct Seen {
    is_text: bool,
    data: Bytes,
    is_whole: bool,
}

impl From<Message> for Seen {
    fn from(message: Message) -> Self {
        Self { is_text: message.is_text(), data: message.into_bytes(), is_whole: true }
    }
}

/// The next message, if it need not be waited for; within a message a reader waits as often as it must.
fn receive_one(
    ws: &mut Ws,
    script: &Script,
    task: &std::sync::Arc<Task>,
    way: Way,
) -> Poll<Option<Result<Seen, Error>>> {
    let (parts, size) = match way {
        Way::Next => return task.poll_once(ws.next()).map(|item| item.map(|item| item.map(Seen::from))),
        Way::NextRef => {
            let item = task.poll_once(ws.next_ref());
            return item.map(|item| item.map(|item| item.map(|message| message.to_message().into())));
        }
        Way::Chunks => (usize::MAX, None),
        Way::Reads(size) => (usize::MAX, Some(size)),
        Way::Part(parts) => (parts, None),
    };
    let mut reader = match task.poll_once(ws.next_reader()) {
        Poll::Ready(Some(Ok(reader))) => reader,
        Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
        Poll::Ready(None) => return Poll::Ready(None),
        Poll::Pending => return Poll::Pending,
    };
    let (mut data, mut buffer, mut count) = (Vec::new(), vec![0; size.unwrap_or(0)], 0);
    let is_whole = loop {
        if count == parts {
            break false;
        }
        let part = match size {
            None => task.poll_once(reader.chunk()),
            Some(_) => task.poll_once(reader.read(&mut buffer)).map(|read| match read {
                Ok(0) => None,
                Ok(n) => Some(Ok(Bytes::copy_from_slice(&buffer[..n]))),
                Err(error) => Some(Err(cause(&error).clone())),
            }),
        };
        match part {
            Poll::Ready(Some(Ok(chunk))) => data.extend_from_slice(&chunk),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => break true,
            Poll::Pending => {
                assert!(script.wake_read(), "it waits for the transport");
                continue;
            }
        }
        count += 1;
    };
    Poll::Ready(Some(Ok(Seen { is_text: reader.kind() == Kind::Text, data: data.into(), is_whole })))
}

/// Receives to the end, each message in one of these ways in turn. Whoever has to wait is dropped, and the next way goes
/// on.
fn receive(bytes: &[u8], reads: &[Step], ways: &[Way]) -> (Vec<Seen>, Option<String>, Stats) {
    let (mut ws, script) = open_compressed(Config::default());
    script.reads(reads.iter().copied(), Step::Ready);
    script.input(bytes);
    script.end();
    let (task, mut seen, mut error) = (Task::new(), Vec::new(), None);
    for way in ways.iter().cycle() {
        match receive_one(&mut ws, &script, &task, *way) {
            Poll::Ready(Some(Ok(message))) => seen.push(message),
            Poll::Ready(Some(Err(cause))) => {
                assert!(error.is_none(), "{cause} behind {error:?}");
                error = Some(cause.to_string());
            }
            Poll::Ready(None) => break,
            Poll::Pending => assert!(script.wake_read(), "it waits for the transport"),
        }
    }
    (seen, error, ws.stats())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_ways_receives_the_same(
        sent in sent(),
        end in 0u8..4,
        reads in prop::collection::vec(
            prop_oneof![4 => (1..300usize).prop_map(Step::Partial), 2 => (1..70_000usize).prop_map(Step::Partial), 1 => Just(Step::Pending)],
            0..60,
        ),
        ways in ways(),
    ) {
        let mut compressor = Compressor::new(6, true);
        let mut bytes = Vec::new();
        for sent in &sent {
            sent.encode(&mut compressor, &mut bytes);
        }
        bytes.extend(match end {
            0 => encode(true, 0, CLOSE, &1000u16.to_be_bytes()),
            1 => encode(true, 0, TEXT, b"almost good\xff"),
            2 => encode(true, 0, 3, b""),
            _ => encode(true, 0, BINARY, b"cut off")[..5].to_vec(),
        });
        let expected: Vec<_> = sent.iter().filter_map(Sent::message).collect();
        let (_, expected_error, expected_stats) = receive(&bytes, &[], &[Way::Next]);
        let (mut seen, error, stats) = receive(&bytes, &reads, &ways);
        // A reader that did not ask for all of the last message does not hear that it breaks off; who comes next does.
        if seen.len() > expected.len() {
            prop_assert!(matches!(end, 1 | 3));
            prop_assert!(!seen.pop().unwrap().is_whole);
        }
        prop_assert_eq!(error, expected_error);
        prop_assert_eq!(seen.len(), expected.len());
        for (seen, expected) in seen.iter().zip(&expected) {
            prop_assert_eq!(seen.is_text, expected.is_text());
            let len = if seen.is_whole { expected.len() } else { seen.data.len() };
            prop_assert!(expected.as_bytes().get(..len) == Some(&seen.data), "{} of {}", seen.data.len(), expected.len());
        }
        let parts = seen.iter().filter(|seen| !seen.is_whole).count() as u64;
        prop_assert_eq!(stats.messages_received + stats.discarded_messages, expected.len() as u64);
        // Of some messages the reader got the end without asking for it.
        prop_assert!(stats.discarded_messages <= parts, "{:?} of {}", stats, parts);
        prop_assert_eq!(stats.pings_received, expected_stats.pings_received);
        prop_assert_eq!(stats.wire_bytes_received, expected_stats.wire_bytes_received);
        if parts == 0 && matches!(end, 0 | 2) {
            prop_assert_eq!(stats.payload_bytes_received, expected_stats.payload_bytes_received);
        }
    }
}
