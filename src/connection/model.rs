//! A model of a connection: two protocols, the transport between them, and clocks that may be late.
//!
//! Both ends are clients, so the transport takes their masks off. It is an independent reader of what they write, too.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use proptest::prelude::*;

use crate::{
    close::{CloseFrame, Closed},
    config::{Config, WindowBits},
    error::Error,
    event::ControlFrames,
    limits::TLS_RECORD,
    message::{Kind, Message},
    protocol::{Delivery, Incoming, Part, Place, Pong, Protocol, ReadyState, Received},
    wire::deflate::{Direction, NegotiatedDeflate},
};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_END_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const CLOSE: u8 = 8;

/// One direction of a transport.
#[derive(Debug, Default)]
struct Pipe {
    /// What the reader can get, unmasked.
    bytes: VecDeque<u8>,
    /// How many more bytes the writer can get rid of.
    room: usize,
    /// Whether it keeps what it took until it is flushed, and is never flushed.
    holds_flushes: bool,
    head: Vec<u8>,
    /// What is left of the payload whose head was seen, and its key, turned.
    payload: u64,
    key: [u8; 4],
    opcodes: Vec<u8>,
    end: PipeEnd,
    /// Bytes that went in, and came out.
    written: u64,
    read: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum PipeEnd {
    #[default]
    None,
    /// The reader finds the end behind what is left.
    Fin,
    /// The reader finds an error, and the writer, too.
    Reset,
}

impl Pipe {
    /// Takes what a client writes. It must be frames, masked, and none behind a Close.
    fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        for &byte in bytes {
            if self.payload > 0 {
                self.bytes.push_back(byte ^ self.key[0]);
                self.key.rotate_left(1);
                self.payload -= 1;
                continue;
            }
            self.head.push(byte);
            let [first, second, rest @ ..] = &self.head[..] else { continue };
            let len_size = match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            if rest.len() < len_size + 4 {
                continue;
            }
            assert!(second & 0x80 != 0, "a client's frame is masked");
            assert!(self.opcodes.last() != Some(&CLOSE), "a frame of opcode {} behind a Close", first & 0xf);
            self.opcodes.push(first & 0xf);
            let len = rest[..len_size].iter().fold(0, |len, &byte| len << 8 | u64::from(byte));
            self.payload = if len_size == 0 { u64::from(second & 0x7f) } else { len };
            self.key.copy_from_slice(&rest[len_size..]);
            self.bytes.extend([*first, second & 0x7f]);
            self.bytes.extend(&rest[..len_size]);
            self.head.clear();
        }
    }
}

/// How an end takes the messages that come.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As `poll_next`.
    Taken,
    /// As `poll_lend`.
    Lent,
    /// As a `MessageReader`, those of at least `from` bytes in chunks of at most `max`.
    Chunks { from: usize, max: usize },
}

/// What an end does with the messages that come.
#[derive(Debug, Clone, Copy)]
struct Reading {
    way: Way,
    /// Whether it wants none any more once it has closed.
    discards: bool,
}

/// One end of the connection, polled as a `Connection` polls it.
#[derive(Debug)]
struct Peer {
    protocol: Protocol,
    reading: Reading,
    buf: BytesMut,
    needs_flush: bool,
    /// What was queued as whole messages, and whether a message lacks its last part.
    sent: Vec<Message>,
    unfinished: Option<String>,
    /// Payload bytes of what was queued, and of parts that came too late.
    queued: u64,
    too_late: u64,
    received: Vec<Message>,
    /// What has come of a message that comes in chunks.
    chunks: Option<Vec<u8>>,
    /// Payload bytes of what was received.
    taken: u64,
    /// Whether it discards what comes.
    wants_none: bool,
    pongs: Vec<Pong>,
    error: Option<Error>,
    has_ended: bool,
}

impl Peer {
    fn new(config: &Config, agreed: Option<NegotiatedDeflate>, reading: Reading) -> Self {
        Self {
            protocol: Protocol::new(config, agreed),
            reading,
            buf: BytesMut::new(),
            needs_flush: false,
            sent: Vec::new(),
            unfinished: None,
            queued: 0,
            too_late: 0,
            received: Vec::new(),
            chunks: None,
            taken: 0,
            wants_none: false,
            pongs: Vec::new(),
            error: None,
            has_ended: false,
        }
    }

    fn send(&mut self, message: Message) {
        // As `poll_ready`, which comes before.
        if self.protocol.has_unfinished_message() {
            return;
        }
        if self.protocol.send(message.clone()).is_ok() {
            self.queued += message.len() as u64;
            self.sent.push(message);
        }
    }

    fn send_part(&mut self, text: &str, is_last: bool, now: Instant) {
        let place = match (self.protocol.has_unfinished_message(), is_last) {
            (false, false) => Place::First,
            (false, true) => Place::Only,
            (true, false) => Place::Middle,
            (true, true) => Place::Last,
        };
        if place.is_first() {
            self.unfinished = Some(String::new());
        }
        let part = Part { kind: Kind::Text, place, payload: BytesMut::from(text) };
        self.queued += text.len() as u64;
        if self.protocol.send_part(part, now).is_err() {
            self.too_late += text.len() as u64;
        } else if let Some(whole) = &mut self.unfinished {
            whole.push_str(text);
            if is_last {
                self.sent.extend(self.unfinished.take().map(Message::text));
            }
        }
    }

    fn ping(&mut self, now: Instant) {
        // Of those that nobody waits for any more, none is kept.
        self.pongs.retain_mut(|pong| pong.now_or_never().is_none());
        // Too many at a time are refused.
        self.pongs.extend(self.protocol.ping(Bytes::from_static(b"ping"), now));
    }

    fn close(&mut self, code: u16, now: Instant) {
        self.protocol.close(CloseFrame::new(code, ""), now).expect("a valid code");
        if self.reading.discards {
            self.protocol.discard_messages();
            self.wants_none = true;
        }
    }

    /// Writes as far as `pipe` takes it.
    fn write(&mut self, pipe: &mut Pipe, now: Instant) {
        while self.protocol.wants_write() {
            self.protocol.encode();
            let output = self.protocol.output();
            let len = output.remaining();
            if len == 0 && self.protocol.is_compressing() {
                continue;
            }
            if len == 0 && !self.needs_flush {
                return;
            }
            if pipe.end == PipeEnd::Reset {
                self.protocol.handle_write_error(Error::io(io::ErrorKind::BrokenPipe.into()), now);
            } else if len == 0 && !pipe.holds_flushes {
                self.needs_flush = false;
                self.protocol.handle_flushed(|| now);
            } else if len == 0 || pipe.room == 0 {
                return self.protocol.handle_stall(if len > 0 { TLS_RECORD } else { 0 }, now);
            } else {
                let mut slices = [io::IoSlice::new(&[]); 64];
                let used = output.chunks_vectored(&mut slices);
                let bytes = slices[..used].iter().flat_map(|slice| slice.iter());
                let written: Vec<u8> = bytes.take(pipe.room).copied().collect();
                pipe.room -= written.len();
                pipe.write(&written);
                self.needs_flush = true;
                self.protocol.advance(written.len(), || now);
            }
        }
    }

    /// Reads at most `limit` bytes, and goes on until nothing more can be done. `is_punctual`: it looks at the clock, too.
    fn poll(&mut self, incoming: &mut Pipe, outgoing: &mut Pipe, mut limit: usize, now: Instant, is_punctual: bool) {
        loop {
            while self.take_event(now) {}
            if self.protocol.is_pending_end_due() {
                self.protocol.apply_pending_end(now);
            }
            if self.has_ended {
                return;
            }
            self.write(outgoing, now);
            let is_moved = if self.protocol.has_pending_end() {
                self.protocol.apply_pending_end(now);
                true
            } else {
                !self.protocol.is_done() && self.read(incoming, &mut limit) || is_punctual && self.look_at_clock(now)
            };
            if self.error.is_none()
                && let Some(error) = self.protocol.error()
            {
                self.error = Some(error.clone());
            }
            if self.protocol.is_done() {
                self.has_ended = true;
            } else if !is_moved {
                return;
            }
        }
    }

    /// Takes what stands at the front of what was read. Returns whether anything whole does.
    fn take_event(&mut self, now: Instant) -> bool {
        let (front, delivery) = match self.reading.way {
            Way::Taken | Way::Lent => (self.protocol.next_front(&self.buf), Delivery::Whole),
            Way::Chunks { from, max } => (None, Delivery::Chunks { from, max }),
        };
        let event = match front {
            Some(front) => Some(Incoming::Message(Received::Front(front))),
            None => self.protocol.next_event(now, &mut self.buf, delivery, ControlFrames::Hidden),
        };
        let message = match (event, self.reading.way) {
            (None, _) => return false,
            (Some(Incoming::Control(_) | Incoming::Handled), _) => return true,
            (Some(Incoming::Message(Received::Front(payload))), Way::Lent) => {
                let message = payload.lend(&self.buf).into();
                self.buf.advance(payload.end());
                message
            }
            (Some(Incoming::Message(Received::Assembled { data, payload })), Way::Lent) => {
                self.protocol.keep_lent(data);
                payload.lend(self.protocol.lent()).into()
            }
            (Some(Incoming::Message(received)), _) => received.take(&mut self.buf, 20),
            (Some(Incoming::Chunk(chunk)), _) => {
                let mut message = self.chunks.take().unwrap_or_default();
                message.extend_from_slice(&chunk.data);
                if !chunk.fin {
                    self.taken += chunk.data.len() as u64;
                    self.chunks = Some(message);
                    return true;
                }
                self.taken -= (message.len() - chunk.data.len()) as u64;
                match chunk.kind {
                    Kind::Text => Message::text(String::from_utf8(message).expect("text")),
                    Kind::Binary => Message::binary(message),
                }
            }
        };
        assert!(!self.has_ended && self.error.is_none(), "a message after the end");
        assert!(!self.wants_none, "a message that was to be discarded");
        self.taken += message.len() as u64;
        self.received.push(message);
        true
    }

    fn read(&mut self, pipe: &mut Pipe, limit: &mut usize) -> bool {
        if !self.protocol.wants_read() || *limit == 0 {
            return false;
        }
        let n = pipe.bytes.len().min(*limit);
        match (n, pipe.end) {
            (_, PipeEnd::Reset) => {
                self.protocol.handle_end(Some(Error::io(io::ErrorKind::ConnectionReset.into())));
            }
            (0, PipeEnd::None) => return false,
            (0, PipeEnd::Fin) => self.protocol.handle_end(None),
            (n, _) => {
                *limit -= n;
                pipe.read += n as u64;
                self.buf.extend(pipe.bytes.drain(..n));
                self.protocol.handle_read(n);
            }
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        [self.protocol.deadline(), self.protocol.silence_deadline()].into_iter().flatten().min()
    }

    fn look_at_clock(&mut self, now: Instant) -> bool {
        self.protocol.handle_quiet(&self.buf, || now);
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_due {
            self.protocol.handle_timeout(now);
            self.protocol.handle_silence(now);
        }
        is_due
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        len: usize,
    },
    SendPart {
        len: usize,
        is_last: bool,
    },
    Abandon,
    Ping,
    Close {
        code: u16,
    },
    /// The transport takes so much more.
    Room {
        bytes: usize,
    },
    HoldFlushes(bool),
    /// It is polled, and gets so much.
    Poll {
        limit: usize,
        is_punctual: bool,
    },
    /// It ends its side of the transport.
    Fin,
    Reset,
    Later(Duration),
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        48 => (0usize..300).prop_map(|len| Step::Send { len }),
        8 => (0usize..40_000).prop_map(|len| Step::Send { len }),
        // More than is encoded ahead. Miri would take hours.
        3 => (if cfg!(miri) { 0..300usize } else { 100_000..200_000 }).prop_map(|len| Step::Send { len }),
        16 => (0usize..300, any::<bool>()).prop_map(|(len, is_last)| Step::SendPart { len, is_last }),
        3 => Just(Step::Abandon),
        16 => Just(Step::Ping),
        3 => prop_oneof![Just(1000), Just(1001), Just(4000)].prop_map(|code| Step::Close { code }),
        48 => prop_oneof![0usize..20, 0usize..500, 0usize..200_000].prop_map(|bytes| Step::Room { bytes }),
        8 => any::<bool>().prop_map(Step::HoldFlushes),
        96 => (prop_oneof![0usize..20, 0usize..500, Just(usize::MAX)], any::<bool>())
            .prop_map(|(limit, is_punctual)| Step::Poll { limit, is_punctual }),
        1 => Just(Step::Fin),
        1 => Just(Step::Reset),
        12 => (0u64..15_000).prop_map(|millis| Step::Later(Duration::from_millis(millis))),
    ];
    prop::collection::vec((0..2usize, step), 0..80)
}

/// What the other end does while one closes.
#[derive(Debug, Clone, Copy)]
struct Other {
    /// It answers at once.
    answers: bool,
    /// The transport takes what is sent to it.
    takes: bool,
}

fn readings() -> impl Strategy<Value = [Reading; 2]> {
    let way = prop_oneof![
        Just(Way::Taken),
        Just(Way::Lent),
        (0usize..300, 1usize..1000).prop_map(|(from, max)| Way::Chunks { from, max })
    ];
    let reading = (way, any::<bool>()).prop_map(|(way, discards)| Reading { way, discards });
    [reading.clone(), reading]
}

fn others() -> impl Strategy<Value = Other> {
    (prop::bool::weighted(0.75), prop::bool::weighted(0.75)).prop_map(|(answers, takes)| Other { answers, takes })
}

struct Model {
    peers: [Peer; 2],
    /// `pipes[side]`: what `peers[side]` writes.
    pipes: [Pipe; 2],
    now: Instant,
    /// The number of the next message, so that no two are the same.
    next: usize,
}

impl Model {
    fn new(config: &Config, agreed: Option<NegotiatedDeflate>, readings: [Reading; 2]) -> Self {
        Self {
            peers: readings.map(|reading| Peer::new(config, agreed, reading)),
            pipes: Default::default(),
            now: Instant::now(),
            next: 0,
        }
    }

    fn text(&mut self, len: usize) -> String {
        self.next += 1;
        format!("{} {}", self.next, "x".repeat(len))
    }

    fn poll(&mut self, side: usize, limit: usize, is_punctual: bool) {
        let [first, second] = &mut self.pipes;
        let (outgoing, incoming) = if side == 0 { (first, second) } else { (second, first) };
        self.peers[side].poll(incoming, outgoing, limit, self.now, is_punctual);
    }

    fn step(&mut self, side: usize, step: Step) {
        let now = self.now;
        match step {
            Step::Send { len } => {
                let text = self.text(len);
                let message = if len % 2 == 0 { Message::text(text) } else { Message::binary(text.into_bytes()) };
                self.peers[side].send(message);
            }
            Step::SendPart { len, is_last } => {
                let text = self.text(len);
                self.peers[side].send_part(&text, is_last, now);
            }
            Step::Abandon => self.peers[side].protocol.abandon_unfinished(now),
            Step::Ping => self.peers[side].ping(now),
            Step::Close { code } => self.peers[side].close(code, now),
            Step::Room { bytes } => self.pipes[side].room += bytes,
            Step::HoldFlushes(holds) => self.pipes[side].holds_flushes = holds,
            Step::Poll { limit, is_punctual } => self.poll(side, limit, is_punctual),
            Step::Fin if self.pipes[side].end == PipeEnd::None => self.pipes[side].end = PipeEnd::Fin,
            Step::Fin => {}
            Step::Reset => self.pipes.iter_mut().for_each(|pipe| pipe.end = PipeEnd::Reset),
            Step::Later(time) => self.now += time,
        }
        self.check();
    }

    /// What holds at all times.
    fn check(&self) {
        for (side, peer) in self.peers.iter().enumerate() {
            let other = &self.peers[1 - side];
            let (stats, others) = (peer.protocol.stats(), other.protocol.stats());
            assert!(other.sent.starts_with(&peer.received), "once, whole and in order");
            assert!(peer.received.len() as u64 <= others.messages_sent, "what is received was sent");
            assert!(stats.messages_sent <= peer.sent.len() as u64, "what is sent was queued");
            assert_eq!(stats.messages_received, peer.received.len() as u64, "what is received is counted");
            assert_eq!(stats.payload_bytes_received, peer.taken, "its bytes are counted");
            assert_eq!(stats.wire_bytes_sent, self.pipes[side].written, "what is written is counted");
            assert_eq!(stats.wire_bytes_received, self.pipes[1 - side].read, "what is read is counted");
            assert_eq!(peer.protocol.buffered_amount(), peer.queued - stats.payload_bytes_sent, "buffered_amount");
            let is_clean = |peer: &Peer| peer.protocol.closed().is_some_and(|closed| closed.was_clean);
            if is_clean(peer) {
                assert_eq!(peer.protocol.buffered_amount(), peer.too_late, "a clean end leaves nothing unsent");
                assert!(peer.error.is_none(), "a clean end is no error");
                assert!(
                    self.pipes.iter().all(|pipe| pipe.opcodes.last() == Some(&CLOSE)),
                    "a clean end has a Close frame of each"
                );
                let came = stats.messages_received + stats.discarded_messages;
                assert_eq!(came, others.messages_sent, "a clean end lost a message");
            }
            if peer.has_ended {
                assert_eq!(peer.protocol.ready_state(), ReadyState::Closed);
                assert_eq!(peer.error.is_none(), is_clean(peer), "an unclean end is an error");
            }
        }
    }

    /// The transport takes all, and both are polled until nothing moves: then all that was sent has arrived.
    ///
    /// Whether both are still as if nothing had happened.
    fn settle(&mut self) -> bool {
        for pipe in &mut self.pipes {
            pipe.room = usize::MAX;
            pipe.holds_flushes = false;
        }
        let mut moved = 0;
        loop {
            self.poll(0, usize::MAX, false);
            self.poll(1, usize::MAX, false);
            self.check();
            let moved_before = moved;
            moved = self.pipes.iter().map(|pipe| pipe.written + pipe.read).sum();
            if moved == moved_before {
                break;
            }
        }
        let is_open =
            |peer: &Peer| peer.protocol.ready_state() == ReadyState::Open && peer.protocol.send_error().is_none();
        if !self.peers.iter().all(is_open) || self.pipes.iter().any(|pipe| pipe.end != PipeEnd::None) {
            return false;
        }
        for side in 0..2 {
            let other = self.peers[1 - side].protocol.stats();
            let peer = &mut self.peers[side];
            assert_eq!(other.messages_received, peer.sent.len() as u64, "a message has not arrived");
            assert_eq!(peer.protocol.buffered_amount(), 0, "something was not sent");
            assert_eq!(other.pings_received, peer.protocol.stats().pings_sent, "a ping has not arrived");
            let is_answered = |pong: &mut Pong| pong.now_or_never().is_some_and(|answer| answer.is_ok());
            assert!(peer.pongs.iter_mut().all(is_answered), "a ping has no answer");
            peer.pongs.clear();
        }
        true
    }

    /// From here on `side` closes, and it ends in time, whatever the other does.
    fn must_end(&mut self, side: usize, other: Other) {
        self.peers[side].close(1000, self.now);
        let begun = self.now;
        self.pipes[side].holds_flushes = false;
        loop {
            self.pipes[side].room = if other.takes { usize::MAX } else { 0 };
            self.pipes[1 - side].room = usize::MAX;
            self.poll(side, usize::MAX, true);
            if other.answers {
                self.poll(1 - side, usize::MAX, true);
                self.poll(side, usize::MAX, true);
            }
            self.check();
            if self.peers[side].has_ended {
                break;
            }
            let deadline = self.peers[side].deadline().expect("a connection that closes has a deadline");
            assert!(deadline > self.now, "a deadline that was dealt with is over");
            self.now = deadline;
        }
        // Our Close has its time to leave and the peer to answer; then both have theirs for the end of the transport.
        let limit = 2 * (CLOSE_TIMEOUT + TCP_END_TIMEOUT);
        assert!(self.now - begun <= limit, "{:?}", self.now - begun);
        if other.answers {
            // The other finds the end of the transport.
            self.step(side, Step::Fin);
            self.poll(1 - side, usize::MAX, true);
        }
        self.check();
    }

    /// Both have ended, with the code that one of them gave, and nothing went wrong.
    fn check_clean(&self) {
        for peer in &self.peers {
            let closed = peer.protocol.closed().expect("a connection that has ended");
            assert_eq!(*closed, Closed::new(1000, "", true));
        }
    }
}

fn config(is_timed: bool, fragment_size: Option<usize>) -> Config {
    Config::default()
        .close_timeout(CLOSE_TIMEOUT)
        .tcp_end_timeout(TCP_END_TIMEOUT)
        .write_timeout(is_timed.then_some(WRITE_TIMEOUT))
        .keepalive_interval(is_timed.then_some(Duration::from_secs(5)))
        .keepalive_timeout(Duration::from_secs(3))
        .message_timeout(is_timed.then_some(Duration::from_secs(20)))
        .fragment_size(fragment_size)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }) })]

    #[test]
    fn whatever_both_ends_do_a_close_ends_in_time_and_no_message_is_lost_or_changed(
        steps in steps(),
        is_timed: bool,
        fragment_size in prop_oneof![Just(None), Just(Some(16)), Just(Some(200))],
        is_compressed: bool,
        side in 0..2usize,
        settles: bool,
        readings in readings(),
        other in others(),
    ) {
        let direction = Direction { window_bits: WindowBits::MAX, has_context_takeover: true };
        let agreed = is_compressed.then_some(NegotiatedDeflate { client: direction, server: direction });
        let mut model = Model::new(&config(is_timed, fragment_size), agreed, readings);
        for (side, step) in steps {
            model.step(side, step);
        }
        let is_sound = settles && model.settle() && !model.peers.iter().any(|peer| peer.protocol.has_unfinished_message());
        model.must_end(side, other);
        if is_sound && other.answers && other.takes {
            model.check_clean();
        }
    }
}
