//! Messages that are lent: the same as those that are owned, and without an allocation.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use testkit::{
    deflate::Compressor,
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, RSV1, TEXT, encode},
    heap,
    script_io::{Step, script_io},
    task::{self, Task},
    wire::Wire,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::unconstrained,
};
use wsflow::{Config, Deflate, Error, Message, MessageRef, Stats, UpgradedParts, WebSocketStream};

/// A server that says the same again and again, and hears nothing.
#[derive(Debug)]
struct Repeating {
    bytes: Vec<u8>,
    at: usize,
}

impl AsyncRead for Repeating {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() && buf.remaining() > 0 {
            let n = buf.remaining().min(self.bytes.len() - self.at);
            buf.put_slice(&self.bytes[self.at..self.at + n]);
            self.at = (self.at + n) % self.bytes.len();
        }
        if buf.filled().is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Repeating {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn open<S: AsyncRead + AsyncWrite + Unpin>(io: S, config: Config, is_compressed: bool) -> WebSocketStream<S> {
    let extensions = if is_compressed { "permessage-deflate; server_no_context_takeover" } else { "" };
    let config = config.deflate(is_compressed.then(Deflate::default)).without_timers();
    WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).extensions(extensions).config(config)).unwrap()
}

const TICK: &str = r#"{"symbol":"BTC-USD","bid":"67123.5","ask":"67124.0","time":17324}"#;
/// What a million messages need until nothing is allocated any more.
const WARM_UP: usize = 64 * 300;
/// Compression takes most of the time where it is not optimised.
const MESSAGES: [usize; 2] = [1_000_000, 100_000];

#[test]
fn a_million_messages_that_are_lent_allocate_nothing_once_it_is_warm() {
    let mut compressor = Compressor::new(6, false);
    let compressed = compressor.message(TICK.as_bytes());
    let (half, rest) = TICK.as_bytes().split_at(20);
    let (compressed_half, compressed_rest) = compressed.split_at(10);
    let cases = [
        ("binary", encode(true, 0, BINARY, TICK.as_bytes()), false),
        ("text", encode(true, 0, TEXT, TICK.as_bytes()), false),
        ("in fragments", [encode(false, 0, TEXT, half), encode(true, 0, CONTINUATION, rest)].concat(), false),
        ("compressed", encode(true, RSV1, TEXT, &compressed), true),
        (
            "compressed in fragments",
            [encode(false, RSV1, TEXT, compressed_half), encode(true, 0, CONTINUATION, compressed_rest)].concat(),
            true,
        ),
    ];
    for (name, bytes, is_compressed) in cases {
        let mut ws = open(Repeating { bytes, at: 0 }, Config::default(), is_compressed);
        let mut receive = |messages: usize| {
            for _ in 0..messages {
                // It lets other tasks run in between, and does not wait.
                let message = loop {
                    if let Poll::Ready(message) = ws.poll_next_ref(&mut Context::from_waker(std::task::Waker::noop())) {
                        break message.unwrap().unwrap().len();
                    }
                };
                assert_eq!(message, TICK.len());
            }
        };
        receive(WARM_UP);
        let before = heap::allocations();
        receive(MESSAGES[usize::from(is_compressed)]);
        assert_eq!(heap::allocations() - before, 0, "{name}");
    }
}

#[test]
fn a_million_messages_that_are_sent_by_reference_allocate_nothing_once_it_is_warm() {
    for (fragment_size, is_compressed) in [(None, false), (Some(20), false), (None, true), (Some(20), true)] {
        let io = Repeating { bytes: Vec::new(), at: 0 };
        let mut ws = open(io, Config::default().fragment_size(fragment_size), is_compressed);
        let mut buffer = String::new();
        let mut send = |messages: usize| {
            for i in 0..messages {
                buffer.clear();
                buffer.push_str(TICK);
                unconstrained(ws.feed_ref(&buffer)).now_or_never().expect("it does not wait").expect("open");
                if i % 64 == 63 {
                    while unconstrained(ws.flush()).now_or_never().is_none() {}
                }
            }
        };
        send(WARM_UP);
        let before = heap::allocations();
        send(MESSAGES[usize::from(is_compressed)]);
        assert_eq!(heap::allocations() - before, 0, "{fragment_size:?}, compressed: {is_compressed}");
        while unconstrained(ws.flush()).now_or_never().is_none() {}
        let sent = WARM_UP + MESSAGES[usize::from(is_compressed)];
        assert_eq!((ws.stats().messages_sent, ws.buffered_amount()), (sent as u64, 0));
    }
}

#[test]
fn the_buffer_of_lent_messages_is_freed_when_the_connection_is_idle() {
    let runtime = task::runtime();
    runtime.block_on(async {
        let (io, script) = script_io();
        let mut ws = WebSocketStream::from_upgraded(io, Config::default());
        let half = vec![7; 100_000];
        script.input([encode(false, 0, BINARY, &half), encode(true, 0, CONTINUATION, &half)].concat());
        assert_eq!(ws.next_ref().await.unwrap().unwrap().len(), 200_000);
        let before = heap::held();
        let idle = tokio::time::timeout(std::time::Duration::from_secs(5), ws.next_ref()).await;
        assert!(idle.is_err());
        assert!(before - heap::held() >= 200_000, "{} bytes were freed", before - heap::held());
    });
}

#[test]
fn into_parts_leaves_a_lent_message_out() {
    let (io, script) = script_io();
    let mut ws = open(io, Config::default(), false);
    script.input([encode(true, 0, TEXT, b"first"), encode(true, 0, TEXT, b"second")].concat());
    let task = Task::new();
    assert!(matches!(task.poll_once(ws.next_ref()), Poll::Ready(Some(Ok(MessageRef::Text("first"))))));
    let parts = ws.into_parts();
    assert_eq!(parts.read_buf, encode(true, 0, TEXT, b"second"));
}

/// What a server sends.
#[derive(Debug, Clone)]
enum Sent {
    Whole(Message),
    Fragments(Message, usize),
    Compressed(Message),
    Ping,
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![
        "[a-zé匶]{0,40}".prop_map(Message::from),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Message::from),
        (16_000..20_000usize).prop_map(|len| Message::from(vec![7; len])),
    ]
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let sent = prop_oneof![
        4 => messages().prop_map(Sent::Whole),
        2 => (messages(), 1usize..100).prop_map(|(message, size)| Sent::Fragments(message, size)),
        2 => messages().prop_map(Sent::Compressed),
        1 => Just(Sent::Ping),
    ];
    prop::collection::vec(sent, 0..12)
}

fn opcode(message: &Message) -> u8 {
    if message.is_text() { TEXT } else { BINARY }
}

/// The server's bytes, which end with one of three ends.
fn server_bytes(sent: &[Sent], end: u8) -> Vec<u8> {
    let mut compressor = Compressor::new(6, false);
    let mut bytes = Vec::new();
    for sent in sent {
        match sent {
            Sent::Whole(message) => bytes.extend(encode(true, 0, opcode(message), message.as_bytes())),
            Sent::Fragments(message, size) => {
                let size = (*size).max(message.len() / 50 + 1);
                bytes.extend(encode(false, 0, opcode(message), b""));
                for fragment in message.as_bytes().chunks(size) {
                    bytes.extend(encode(false, 0, CONTINUATION, fragment));
                }
                bytes.extend(encode(true, 0, CONTINUATION, b""));
            }
            Sent::Compressed(message) => {
                bytes.extend(encode(true, RSV1, opcode(message), &compressor.message(message.as_bytes())));
            }
            Sent::Ping => bytes.extend(encode(true, 0, PING, b"p")),
        }
    }
    bytes.extend(match end {
        0 => encode(true, 0, CLOSE, &1000u16.to_be_bytes()),
        1 => encode(true, 0, TEXT, b"\xff"),
        _ => encode(true, 0, 3, b""),
    });
    bytes
}

/// Everything that a run of one connection shows: what came, how it ended, what it counted.
type Seen = (Vec<Message>, Option<String>, Stats);

/// Receives to the end; `by_reference` says of each message in turn how it is received.
fn receive(bytes: &[u8], cuts: &[usize], copy_up_to: usize, by_reference: &[bool]) -> Seen {
    let (io, script) = script_io();
    let mut ws = open(io, Config::default().copy_payloads_up_to(copy_up_to), true);
    script.reads(cuts.iter().map(|&cut| Step::Partial(cut)), Step::Ready);
    script.input(bytes);
    script.end();
    let (task, mut messages, mut error) = (Task::new(), Vec::new(), None);
    for i in 0.. {
        let item = if by_reference[i % by_reference.len()] {
            task.poll_once(ws.next_ref()).map(|item| item.map(|item| item.map(MessageRef::to_message)))
        } else {
            task.poll_once(ws.next())
        };
        match item {
            Poll::Ready(Some(Ok(message))) => messages.push(message),
            Poll::Ready(Some(Err(cause))) => error = Some(cause),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("all input is there"),
        }
    }
    let error = error.map(|error: Error| error.to_string());
    (messages, error, ws.stats())
}

/// Sends messages, and gives what was queued and sent behind each, the frames on the wire, and what was counted.
fn send(
    messages: &[Message],
    config: &Config,
    stalls: &[Step],
    by_reference: &[bool],
) -> (Vec<u64>, Vec<Frame>, Stats) {
    let (io, script) = script_io();
    let mut ws = open(io, config.clone(), config.deflate.is_some());
    script.writes(stalls.iter().copied(), Step::Ready);
    let (task, mut amounts) = (Task::new(), Vec::new());
    for (i, message) in messages.iter().enumerate() {
        loop {
            let fed = if by_reference[i % by_reference.len()] {
                task.poll_once(ws.feed_ref(message))
            } else {
                task.poll_once(ws.feed(message.clone()))
            };
            match fed {
                Poll::Ready(fed) => break fed.expect("open"),
                Poll::Pending => assert!(script.wake_write(), "it waits for the transport"),
            }
        }
        // What the transport takes at a time depends on where the bytes are.
        amounts.push(ws.buffered_amount() + ws.stats().payload_bytes_sent);
    }
    while task.poll_once(ws.flush()).is_pending() {
        assert!(script.wake_write(), "it waits for the transport");
    }
    amounts.push(ws.buffered_amount());
    (amounts, Wire::read_with(&script.output(), RSV1).frames, ws.stats())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mix_of_next_and_next_ref_receives_the_same(
        sent in sent(),
        end in 0u8..3,
        cuts in prop::collection::vec(1usize..300, 0..40),
        copy_up_to in prop::sample::select(vec![0usize, 50]),
        by_reference in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let bytes = server_bytes(&sent, end);
        let owned = receive(&bytes, &cuts, copy_up_to, &[false]);
        prop_assert_eq!(&receive(&bytes, &cuts, copy_up_to, &[true]), &owned);
        prop_assert_eq!(&receive(&bytes, &cuts, copy_up_to, &by_reference), &owned);
        let expected = sent.iter().filter(|sent| !matches!(sent, Sent::Ping)).count();
        prop_assert_eq!(owned.0.len(), expected);
    }

    #[test]
    fn a_mix_of_feed_and_feed_ref_sends_the_same(
        messages in prop::collection::vec(messages(), 0..12),
        fragment_size in prop::option::of(1usize..300),
        mark in prop::sample::select(vec![0usize, 100, 128 * 1024]),
        is_compressed: bool,
        stalls in prop::collection::vec(
            prop_oneof![1 => Just(Step::Ready), 3 => (1..2000usize).prop_map(Step::Partial), 1 => Just(Step::Pending)],
            0..30,
        ),
        by_reference in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let config = Config::default()
            .fragment_size(fragment_size)
            .write_high_water_mark(mark)
            .deflate(is_compressed.then(Deflate::default));
        let owned = send(&messages, &config, &stalls, &[false]);
        prop_assert_eq!(&send(&messages, &config, &stalls, &[true]), &owned);
        prop_assert_eq!(&send(&messages, &config, &stalls, &by_reference), &owned);
        prop_assert_eq!(owned.2.messages_sent, messages.len() as u64);
    }
}
