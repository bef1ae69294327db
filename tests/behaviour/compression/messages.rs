//! Compressed messages over the whole stream: what goes in comes out, and the accounting stays exact.
//!
//! `B<n>` and `V<n>` are the rows of the behaviours that this crate follows; the rules are those of RFC 7692.

use std::{sync::Arc, task::Poll};

use futures::{SinkExt as _, StreamExt as _};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use testkit::{
    deflate::{Compressor, Reader, deflated},
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, TEXT, encode},
    script_io::{Script, ScriptIo, Step, script_io},
    task::Task,
    wire::Wire,
};
use tokio::io::AsyncWriteExt as _;
use wsflow::{Config, Deflate, Kind, Message, UpgradedParts, WebSocketStream};

/// A connection on which the server agreed to these extensions.
fn open(config: Config, extensions: &str) -> (Script, WebSocketStream<ScriptIo>) {
    let (io, script) = script_io();
    let parts = UpgradedParts::new(io).extensions(extensions).config(config);
    (script, WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate"))
}

/// Messages that compress well, that do not at all, that are empty, and that are longer than a window.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let empty = any::<bool>().prop_map(|is_text| if is_text { Message::from("") } else { Message::from(Vec::new()) });
    let text = "[a-c€]{1,400}".prop_map(Message::from);
    let noise = vec(any::<u8>(), 1..400).prop_map(Message::from);
    let long = (any::<u8>(), 1..50_000usize).prop_map(|(seed, len)| {
        let bytes = (0..len).map(|i| ((i / 3) ^ (usize::from(seed) * (i % 251))) as u8);
        Message::from(bytes.collect::<Vec<_>>())
    });
    vec(prop_oneof![1 => empty, 4 => text, 3 => noise, 1 => long], 1..8)
}

/// What the client's side of the agreement is, and how it is configured.
#[derive(Debug, Clone)]
struct Client {
    level: u8,
    mem_level: u8,
    threshold: usize,
    fragment_size: Option<usize>,
    window_bits: u8,
    has_context_takeover: bool,
}

fn clients() -> impl Strategy<Value = Client> {
    let fragment_size =
        prop_oneof![1 => Just(None), 3 => (500..5000usize).prop_map(Some), 1 => (20..100usize).prop_map(Some)];
    let threshold = prop_oneof![2 => Just(0), 1 => 1..300usize];
    (0..=9u8, 1..=9u8, threshold, fragment_size, 8..=15u8, any::<bool>()).prop_map(
        |(level, mem_level, threshold, fragment_size, window_bits, has_context_takeover)| Client {
            level,
            mem_level,
            threshold,
            fragment_size,
            window_bits,
            has_context_takeover,
        },
    )
}

impl Client {
    fn open(&self) -> (Script, WebSocketStream<ScriptIo>) {
        let deflate = Deflate::default().level(self.level).mem_level(self.mem_level).threshold(self.threshold);
        let config = Config::default().deflate(deflate).fragment_size(self.fragment_size).write_high_water_mark(3000);
        let takeover = if self.has_context_takeover { "" } else { "; client_no_context_takeover" };
        open(config, &format!("permessage-deflate; client_max_window_bits={}{takeover}", self.window_bits))
    }

    fn compresses(&self, outgoing: &Outgoing) -> bool {
        // With 8 bits nothing is compressed: no compressor has a window of 256 bytes.
        !outgoing.is_uncompressed && outgoing.message.len() >= self.threshold && self.window_bits > 8
    }

    /// The frames of a message, each with the bytes of payload that it stands for.
    fn frames(&self, message: &Message) -> Vec<u64> {
        let size = self.fragment_size.unwrap_or(usize::MAX);
        let whole = message.len() / size;
        let mut frames = vec![size as u64; whole];
        if !message.len().is_multiple_of(size) || message.is_empty() {
            frames.push((message.len() % size) as u64);
        }
        frames
    }

    /// The messages on the wire, each with whether it was compressed. Everything a server can check is an assertion.
    fn read(&self, wire: &Wire) -> Vec<(Message, bool)> {
        let mut reader = Reader::new(self.window_bits, self.has_context_takeover);
        let first_frames = wire.frames.iter().filter(|frame| frame.opcode == TEXT || frame.opcode == BINARY);
        let read = |(first, (is_text, payload)): (&Frame, (bool, Vec<u8>))| {
            let is_compressed = first.rsv == RSV1;
            let payload = if is_compressed { reader.message(&payload, 1 << 20) } else { payload };
            let text = |payload| String::from_utf8(payload).expect("text");
            (if is_text { text(payload).into() } else { payload.into() }, is_compressed)
        };
        first_frames.zip(wire.messages()).map(read).collect()
    }
}

/// A message that is sent.
#[derive(Debug)]
struct Outgoing {
    message: Message,
    /// Its sender wants it to go as it is.
    is_uncompressed: bool,
}

fn outgoing() -> impl Strategy<Value = Vec<Outgoing>> {
    let uncompressed = vec(prop::bool::weighted(0.2), 8);
    (messages(), uncompressed).prop_map(|(messages, uncompressed)| {
        let pairs = messages.into_iter().zip(uncompressed);
        pairs.map(|(message, is_uncompressed)| Outgoing { message, is_uncompressed }).collect()
    })
}

fn stalls() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![1 => Just(Step::Ready), 3 => (1..2000usize).prop_map(Step::Partial), 2 => Just(Step::Pending)],
        0..60,
    )
}

/// A sender, and what it knows about its messages.
struct Sender<'a> {
    client: &'a Client,
    script: Script,
    ws: WebSocketStream<ScriptIo>,
    task: Arc<Task>,
    /// The payload of each frame of all messages that were queued.
    frames: Vec<u64>,
}

impl<'a> Sender<'a> {
    fn new(client: &'a Client) -> Self {
        let (script, ws) = client.open();
        Self { client, script, ws, task: Task::new(), frames: Vec::new() }
    }

    /// Feeds a message, unless the sink waits. Returns whether it did.
    fn try_feed(&mut self, Outgoing { message, is_uncompressed }: &Outgoing) -> bool {
        self.ws.set_compression(!is_uncompressed);
        let fed = self.task.poll_once(self.ws.feed(message.clone()));
        if let Poll::Ready(fed) = &fed {
            fed.as_ref().expect("open");
            self.frames.extend(self.client.frames(message));
        }
        self.check();
        fed.is_ready()
    }

    /// Feeds a message. Whenever the transport stalls the accounts are checked, and it goes on.
    fn feed(&mut self, outgoing: &Outgoing) {
        while !self.try_feed(outgoing) {
            assert!(self.script.wake_write(), "it waits for the transport");
        }
    }

    fn flush(&mut self) {
        while self.task.poll_once(self.ws.flush()).is_pending() {
            self.check();
            assert!(self.script.wake_write(), "it waits for the transport");
        }
        self.check();
    }

    /// B84, B85, B87: whole frames have released their payload, and the frame on its way a part of it.
    fn check(&self) {
        let wire = Wire::read_with(&self.script.output(), RSV1);
        let (whole, rest) = self.frames.split_at(wire.frames.len());
        let unsent = rest.iter().sum::<u64>();
        let begun = if wire.rest > 0 { rest[0] } else { 0 };
        let amount = self.ws.buffered_amount();
        assert!((unsent - begun..=unsent).contains(&amount), "{amount} of {unsent}, {begun} of it in a frame begun");
        let stats = self.ws.stats();
        assert_eq!(stats.payload_bytes_sent, whole.iter().sum::<u64>() + unsent - amount);
        assert_eq!(stats.wire_bytes_sent, self.script.output_len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// B87, B88.
    #[test]
    fn what_is_sent_is_read_by_others_and_drains_to_exactly_0(
        client in clients(),
        outgoing in outgoing(),
        stalls in stalls(),
    ) {
        let mut sender = Sender::new(&client);
        sender.script.writes(stalls, Step::Ready);
        outgoing.iter().for_each(|outgoing| sender.feed(outgoing));
        sender.flush();
        prop_assert_eq!(sender.ws.buffered_amount(), 0);
        prop_assert_eq!(sender.ws.stats().messages_sent, outgoing.len() as u64);

        let wire = Wire::read_with(&sender.script.output(), RSV1);
        prop_assert_eq!((wire.rest, wire.frames.len()), (0, sender.frames.len()));
        let expected = outgoing.iter().map(|outgoing| (outgoing.message.clone(), client.compresses(outgoing)));
        prop_assert_eq!(client.read(&wire), expected.collect::<Vec<_>>());
    }

    /// B157, V3.
    #[test]
    fn after_the_peers_close_exactly_the_unsent_part_is_kept(
        client in clients(),
        outgoing in outgoing(),
        taken in any::<Index>(),
    ) {
        // Closing sets a timer, which is not to fire.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        // How much there is to be written shows on a connection without a stall.
        let mut sender = Sender::new(&client);
        outgoing.iter().for_each(|outgoing| sender.feed(outgoing));
        sender.flush();
        let total = sender.script.output_len();
        let taken = taken.index(total + 1);

        let mut sender = Sender::new(&client);
        sender.script.writes((taken > 0).then_some(Step::Partial(taken)), Step::Pending);
        let fed = outgoing.iter().take_while(|outgoing| sender.try_feed(outgoing));
        let queued: usize = fed.map(|outgoing| outgoing.message.len()).sum();
        let _ = sender.task.poll_once(sender.ws.flush());
        let is_all_out = sender.script.output_len() == total;
        sender.script.frame(CLOSE, 1000u16.to_be_bytes());
        prop_assert!(sender.task.poll_once(sender.ws.next()).is_pending(), "the answer is not out");
        sender.script.writes([], Step::Ready);
        sender.script.end();
        let end = sender.task.poll_once(sender.ws.next());

        let mut wire = Wire::read_with(&sender.script.output(), RSV1);
        prop_assert!(wire.close().is_some());
        wire.frames.pop();
        let unsent = sender.frames[wire.frames.len()..].iter().sum::<u64>();
        prop_assert_eq!(sender.ws.buffered_amount(), unsent);
        prop_assert_eq!(sender.ws.stats().payload_bytes_sent, queued as u64 - unsent);
        prop_assert_eq!(matches!(end, Poll::Ready(None)), is_all_out, "{:?}", end);
        prop_assert_eq!(sender.ws.closed().map(|closed| closed.was_clean), Some(is_all_out));
    }

    /// B156.
    #[test]
    fn what_others_compressed_is_received_however_it_is_cut(
        incoming in incoming(),
        level in 0..=9u32,
        has_context_takeover: bool,
        window_bits in option::of(8..=15u8),
        pieces in vec(1..3000usize, 0..60),
    ) {
        let takeover = if has_context_takeover { "" } else { "; server_no_context_takeover" };
        // A window is a promise of the server: whatever it says, what it refers to is found.
        let window = window_bits.map_or_else(String::new, |bits| format!("; server_max_window_bits={bits}"));
        let (script, mut ws) = open(Config::default(), &format!("permessage-deflate{takeover}{window}"));
        let mut compressor = Compressor::new(level, has_context_takeover);
        let mut sent = 0;
        for incoming in &incoming {
            let bytes = incoming.encode(&mut compressor);
            sent += bytes.len() as u64;
            script.input(bytes);
        }
        script.reads(pieces.into_iter().flat_map(|piece| [Step::Partial(piece), Step::Pending]), Step::Ready);

        let task = Task::new();
        let mut received = Vec::new();
        while received.len() < incoming.len() {
            match task.poll_once(ws.next()) {
                Poll::Ready(item) => received.push(item.expect("no end").expect("no error")),
                Poll::Pending => prop_assert!(script.wake_read(), "messages are missing"),
            }
        }
        prop_assert!(task.poll_once(ws.next()).is_pending());
        let expected: Vec<_> = incoming.into_iter().map(|incoming| incoming.message).collect();
        let payload: usize = expected.iter().map(Message::len).sum();
        prop_assert_eq!(received, expected);
        let stats = ws.stats();
        prop_assert_eq!(stats.payload_bytes_received, payload as u64);
        prop_assert_eq!(stats.wire_bytes_received, sent);
    }
}

/// A message that the server sends.
#[derive(Debug)]
struct Incoming {
    message: Message,
    form: Form,
    /// Where its payload is cut into frames, and the control frame in front of each of them but the first.
    cuts: Vec<(Index, Option<u8>)>,
}

#[derive(Debug, Clone)]
enum Form {
    Plain,
    Compressed,
    /// Its last block is said to be final.
    Final,
    /// Flushed here, so that empty blocks stand in the middle.
    Flushed(Index),
}

fn incoming() -> impl Strategy<Value = Vec<Incoming>> {
    let form = prop_oneof![
        1 => Just(Form::Plain),
        2 => Just(Form::Compressed),
        1 => Just(Form::Final),
        1 => any::<Index>().prop_map(Form::Flushed),
    ];
    let control = prop_oneof![Just(None), Just(Some(PING)), Just(Some(PONG))];
    let cuts = vec((any::<Index>(), control), 0..5);
    (messages(), vec((form, cuts), 8)).prop_map(|(messages, how)| {
        let pairs = messages.into_iter().zip(how);
        pairs.map(|(message, (form, cuts))| Incoming { message, form, cuts }).collect()
    })
}

impl Incoming {
    /// The frames on the wire. Empty ones are among them where two cuts meet.
    fn encode(&self, compressor: &mut Compressor) -> Vec<u8> {
        let payload = self.message.as_bytes();
        let body = match &self.form {
            Form::Plain => payload.to_vec(),
            Form::Compressed => compressor.message(payload),
            Form::Final => compressor.final_message(payload),
            Form::Flushed(at) => {
                let (first, second) = payload.split_at(at.index(payload.len() + 1));
                [compressor.flushed(first), compressor.message(second)].concat()
            }
        };
        let mut rsv = if matches!(self.form, Form::Plain) { 0 } else { RSV1 };
        let mut opcode = if self.message.is_text() { TEXT } else { BINARY };
        let mut cuts: Vec<_> = self.cuts.iter().map(|(at, control)| (at.index(body.len() + 1), *control)).collect();
        cuts.sort_unstable();
        let (mut wire, mut start) = (Vec::new(), 0);
        for (end, control) in cuts {
            wire.extend(encode(false, rsv, opcode, &body[start..end]));
            wire.extend(control.into_iter().flat_map(|control| encode(true, 0, control, b"between")));
            (rsv, opcode, start) = (0, CONTINUATION, end);
        }
        wire.extend(encode(true, rsv, opcode, &body[start..]));
        wire
    }
}

/// B87.
#[tokio::test]
async fn stats_show_the_ratio_both_ways() {
    let (script, mut ws) = open(Config::default(), "permessage-deflate");
    let text = "a tick like the one before ".repeat(1000);
    ws.send(text.as_str().into()).await.unwrap();
    script.input(encode(true, RSV1, TEXT, &deflated(&text)));
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::from(text.as_str()));

    let stats = ws.stats();
    assert_eq!((stats.payload_bytes_sent, stats.payload_bytes_received), (27_000, 27_000));
    assert!((20..300).contains(&stats.wire_bytes_sent), "{stats:?}");
    assert!((20..300).contains(&stats.wire_bytes_received), "{stats:?}");
}

/// It is compressed piece by piece: while nothing of it is in the output, it is all unsent.
#[tokio::test]
async fn flush_ends_once_a_large_compressed_message_has_left_as_one_frame() {
    for len in [64 << 10, (64 << 10) + 1, 200_000, 1 << 20] {
        let (script, mut ws) = open(Config::default().fragment_size(None), "permessage-deflate");
        let message: Vec<u8> = (0..len).map(|i| (i / 100) as u8).collect();
        ws.feed(message.clone().into()).await.unwrap();
        ws.flush().await.unwrap();
        assert_eq!(ws.buffered_amount(), 0);
        let wire = Wire::read_with(&script.output(), RSV1);
        let [frame] = &wire.frames[..] else { panic!("{} frames for {len} bytes", wire.frames.len()) };
        assert!(frame.fin);
        assert!(Reader::new(15, true).message(&frame.payload, len) == message, "another message of {len} bytes");
    }
}

/// Sends a message in each way that there is.
async fn send_in_every_way(ws: &mut WebSocketStream<ScriptIo>, message: &str) -> usize {
    ws.feed(message.into()).await.unwrap();
    ws.send(message.into()).await.unwrap();
    ws.start_send_unpin(message.into()).unwrap();
    ws.feed_ref(message).await.unwrap();
    ws.send_ref(message).await.unwrap();
    let mut writer = ws.writer(Kind::Text);
    writer.write_all(message.as_bytes()).await.unwrap();
    writer.finish().await.unwrap();
    6
}

#[tokio::test]
async fn messages_are_sent_as_they_are_while_compression_is_switched_off() {
    let (script, mut ws) = open(Config::default(), "permessage-deflate");
    assert!(ws.compression(), "it is on at first");
    let mut expected = Vec::new();
    for (is_on, message) in [(true, "one"), (false, "two"), (true, "three")] {
        ws.set_compression(is_on);
        assert_eq!(ws.compression(), is_on);
        let ways = send_in_every_way(&mut ws, message).await;
        expected.extend(std::iter::repeat_n((is_on, message), ways));
    }
    let mut reader = Reader::new(15, true);
    let wire = Wire::read_with(&script.output(), RSV1);
    assert_eq!(wire.frames.len(), expected.len());
    for (frame, (is_on, message)) in wire.frames.iter().zip(expected) {
        assert_eq!((frame.fin, frame.rsv == RSV1), (true, is_on), "{message}");
        let payload = if is_on { reader.message(&frame.payload, 10) } else { frame.payload.clone() };
        assert_eq!(payload, message.as_bytes());
    }
}

#[tokio::test]
async fn the_switch_counts_when_a_message_is_queued() {
    let (script, mut ws) = open(Config::default(), "permessage-deflate");
    script.writes([], Step::Pending);
    let large = "a large message has to wait ".repeat(1000);
    for is_on in [true, false, true] {
        ws.set_compression(is_on);
        ws.start_send_unpin(large.as_str().into()).unwrap();
    }
    ws.set_compression(false);
    script.writes([], Step::Ready);
    ws.flush().await.unwrap();
    let wire = Wire::read_with(&script.output(), RSV1);
    assert_eq!(wire.frames.iter().map(|frame| frame.rsv).collect::<Vec<_>>(), [RSV1, 0, RSV1]);
}

#[tokio::test]
async fn without_an_agreement_the_switch_makes_no_difference() {
    let (script, mut ws) = open(Config::default(), "");
    for is_on in [true, false] {
        ws.set_compression(is_on);
        send_in_every_way(&mut ws, "plain").await;
    }
    assert!(script.wire().messages().iter().all(|message| message == &(true, b"plain".to_vec())));
}
