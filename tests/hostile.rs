//! Hostile servers: what each costs in memory and in time, how it ends, and that other tasks of the thread still run.
//!
//! Each test prints its figures, which `cargo test --test hostile -- --nocapture` shows.

#[path = "support/deflate.rs"]
mod deflate;
#[path = "support/flood.rs"]
mod flood;
#[path = "support/frame.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]
mod frame;
#[path = "support/heap.rs"]
mod heap;

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use cpu_time::ThreadTime;
use deflate::Compressor;
use flood::Flood;
use frame::{BINARY, CLOSE, CONTINUATION, TEXT, close_body, encode};
use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime,
    time::{Sleep, advance, sleep},
};
use wsflow::{
    CloseFrame, Config, Deflate, Error, InvalidResponse, LimitExceeded, Message, Phase, UpgradedParts, Violation,
    WebSocketStream,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const MILLION: usize = 1_000_000;

/// By how much the other task moves the clock each time it runs.
const BEAT: Duration = Duration::from_millis(1);

/// The most that a connection may work before another task runs, in time of the CPU: the machine may be busy.
const MOST_WORK: Duration = Duration::from_millis(100);

/// The most that a connection may read before another task runs, where it does nothing but copy it, or discard it.
const MOST_READ: usize = 3 * MIB;

/// The most that one read gives, as with a socket.
const SOCKET: usize = 256 * KIB;

/// How the server's side ends, once all was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Silence,
    Eof,
}

/// A transport with a server behind it that says what was made beforehand. It is ready whenever it is polled, unless it
/// has a pace, and allocates nothing.
struct Server {
    /// What is said, and how often.
    parts: Vec<(Vec<u8>, usize)>,
    /// The part that is being said, how often it was said already, and how much of it is read.
    at: (usize, usize, usize),
    then: Then,
    /// The most that one read gives.
    at_a_time: usize,
    /// How long the server waits before each read.
    pace: Option<(Duration, Pin<Box<Sleep>>)>,
    /// The most that one write takes.
    takes: usize,
    read: Arc<AtomicUsize>,
}

impl Server {
    fn saying(first: impl Into<Vec<u8>>) -> Self {
        Self {
            parts: vec![(first.into(), 1)],
            at: (0, 0, 0),
            then: Then::Silence,
            at_a_time: SOCKET,
            pace: None,
            takes: usize::MAX,
            read: Arc::default(),
        }
    }

    fn and(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and_again(bytes, 1)
    }

    fn and_again(mut self, bytes: impl Into<Vec<u8>>, times: usize) -> Self {
        self.parts.push((bytes.into(), times));
        self
    }

    /// A Close frame that is as it should be, and the end.
    fn and_closes(self) -> Self {
        Self { then: Then::Eof, ..self.and(close(1000)) }
    }

    fn one_byte_at_a_time(self) -> Self {
        Self { at_a_time: 1, ..self }
    }

    /// To be called within a runtime.
    fn one_byte_every(self, pace: Duration) -> Self {
        Self { pace: Some((pace, Box::pin(sleep(pace)))), ..self.one_byte_at_a_time() }
    }

    /// Of each write. With 0, writes wait for ever.
    fn that_takes(self, bytes: usize) -> Self {
        Self { takes: bytes, ..self }
    }

    fn open(self, config: Config) -> WebSocketStream<Self> {
        let extensions = if config.deflate.is_some() { "permessage-deflate" } else { "" };
        let parts = UpgradedParts::new(self).extensions(extensions).config(config);
        WebSocketStream::from_upgraded_parts(parts).expect("extensions that were offered")
    }
}

impl AsyncRead for Server {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (part, time, at) = &mut this.at;
        let Some((bytes, times)) = this.parts.get(*part) else {
            return if this.then == Then::Eof { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        if let Some((pace, sleeping)) = &mut this.pace {
            ready!(sleeping.as_mut().poll(cx));
            *sleeping = Box::pin(sleep(*pace));
        }
        let n = (bytes.len() - *at).min(this.at_a_time).min(buf.remaining());
        buf.put_slice(&bytes[*at..*at + n]);
        *at += n;
        if *at == bytes.len() {
            (*time, *at) = (*time + 1, 0);
        }
        if *time == *times {
            (*part, *time) = (*part + 1, 0);
        }
        this.read.fetch_add(n, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match bytes.len().min(self.takes) {
            0 => Poll::Pending,
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a client had of a server.
#[derive(Debug, Default)]
struct Outcome {
    messages: usize,
    /// Of all messages together.
    bytes: usize,
    error: Option<Error>,
}

impl Outcome {
    async fn of(mut items: impl Stream<Item = Result<Message, Error>> + Unpin) -> Self {
        let mut outcome = Self::default();
        while let Some(item) = items.next().await {
            match item {
                Ok(message) => {
                    outcome.messages += 1;
                    outcome.bytes += message.len();
                }
                Err(error) => outcome.error = Some(error),
            }
        }
        outcome
    }

    fn failed(error: Error) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    #[track_caller]
    fn assert_closed_cleanly(&self, messages: usize, bytes: usize) {
        assert!(self.error.is_none(), "{self:?}");
        assert_eq!((self.messages, self.bytes), (messages, bytes));
    }

    #[track_caller]
    fn assert_violation(&self, violation: Violation) {
        assert!(matches!(self.error, Some(Error::ProtocolViolation(came)) if came == violation), "{self:?}");
    }

    #[track_caller]
    fn assert_limit(&self, limit: LimitExceeded) {
        assert!(matches!(self.error, Some(Error::Limit(came)) if came == limit), "{self:?}");
    }

    #[track_caller]
    fn assert_timeout(&self, of: Phase) {
        assert!(matches!(self.error, Some(Error::Timeout { phase, .. }) if phase == of), "{self:?}");
    }
}

/// A client that reads.
async fn reading(server: Server, config: Config) -> Outcome {
    Outcome::of(server.open(config)).await
}

/// Halves of which nobody receives for ten seconds, and then somebody does.
async fn not_receiving(server: Server, config: Config) -> Outcome {
    let (_sender, receiver) = server.open(config).into_split();
    sleep(Duration::from_secs(10)).await;
    Outcome::of(receiver).await
}

type Client = fn(Server, Config) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// With and without somebody who reads.
const CLIENTS: [(&str, Client); 2] = [
    ("read", |server, config| Box::pin(reading(server, config))),
    ("nobody receives for 10 s", |server, config| Box::pin(not_receiving(server, config))),
];

/// A client that closes at once, and reads what comes meanwhile.
async fn closing(server: Server, config: Config) -> Outcome {
    let mut ws = server.open(config);
    let _ = ws.close_with(CloseFrame::new(1000, "bye")).await;
    Outcome::of(ws).await
}

async fn connecting(server: Server) -> Outcome {
    match WebSocketStream::builder("ws://example.com/").connect_over(server).await {
        Ok(_) => Outcome::default(),
        Err(error) => Outcome::failed(error),
    }
}

/// The most that a client may need for a server.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// The most bytes of heap at a time.
    heap: usize,
    /// Seconds, of the CPU: the machine may be busy.
    seconds: u64,
}

/// What this thread has worked so far, in time of the CPU.
fn worked() -> Duration {
    ThreadTime::now().as_duration()
}

/// Lets each task run once that is ready: tokio's `yield_now` lets them run several times.
async fn next_turn() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A client meets a server, on one thread with another task, which moves the clock.
///
/// `prepare` makes the server; what this allocates is not counted.
#[track_caller]
fn meet<C>(name: &str, most: Most, prepare: impl FnOnce() -> Server, client: impl FnOnce(Server) -> C) -> Outcome
where
    C: Future<Output = Outcome> + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let server = runtime.block_on(async { prepare() });
    let read = Arc::clone(&server.read);
    let start = worked();
    let ((outcome, longest, largest), peak) = heap::peak(|| {
        runtime.block_on(async {
            let client = client(server);
            let client = tokio::spawn(async {
                // The other task is the first.
                next_turn().await;
                client.await
            });
            let is_over = client.abort_handle();
            let other = tokio::spawn(async move {
                let (mut longest, mut largest) = (Duration::ZERO, 0);
                while !is_over.is_finished() {
                    let before = (worked(), read.load(Relaxed));
                    let _ = advance(BEAT).now_or_never();
                    next_turn().await;
                    longest = longest.max(worked() - before.0);
                    largest = largest.max(read.load(Relaxed) - before.1);
                    if (worked() - start).as_secs() >= most.seconds {
                        is_over.abort();
                    }
                }
                (longest, largest)
            });
            let outcome = client.await.unwrap_or_else(|error| panic!("{name}, {most:?}: {error}"));
            let (longest, largest) = other.await.expect("no panic");
            (outcome, longest, largest)
        })
    });
    println!(
        "{name}: {} KiB of heap (at most {}), {:?} in all, {longest:?} and {} KiB read before the other task ran",
        peak / KIB,
        most.heap / KIB,
        worked() - start,
        largest / KIB
    );
    assert!(peak <= most.heap, "{name}: {peak} bytes of heap, expected {most:?}");
    assert!(longest <= MOST_WORK, "{name}: the other task waited for {longest:?}");
    assert!(largest <= MOST_READ, "{name}: the other task waited while {largest} bytes were read");
    outcome
}

/// The most for a server of which nothing is kept: its read buffer, and what is written.
const LITTLE: Most = Most { heap: 320 * KIB, seconds: 10 };

fn close(code: u16) -> Vec<u8> {
    encode(true, 0, CLOSE, &close_body(Some(code), ""))
}

/// A frame's first bytes, up to its length of eight bytes.
fn long_header(first: u8, len: u64) -> Vec<u8> {
    [&[first, 127], len.to_be_bytes().as_slice()].concat()
}

/// A million of what the flood says, and then a Close.
fn a_million(flood: Flood) -> Server {
    let frames = flood.frames(2 * MILLION);
    let server = match flood {
        Flood::Fragments => {
            let (first, last) = (encode(false, 0, BINARY, b""), encode(true, 0, CONTINUATION, b""));
            Server::saying(first).and(frames).and(last)
        }
        Flood::Pings | Flood::Pongs | Flood::Messages => Server::saying(frames),
    };
    server.and_closes()
}

#[test]
fn a_declared_length_of_2_to_the_63_is_refused() {
    let server = || Server::saying(long_header(0x82, 1 << 63)).and([0; 1000]);
    let outcome = meet("length of 2^63", LITTLE, server, |server| reading(server, Config::default()));
    outcome.assert_violation(Violation::LengthOverflow);
}

#[test]
fn a_declared_length_of_2_to_the_62_allocates_1_mib_even_without_a_limit() {
    let most = Most { heap: MIB + 320 * KIB, ..LITTLE };
    let server = || Server::saying(long_header(0x82, 1 << 62)).and([0; 1000]);
    let config = Config::default().max_message_size(None);
    // Nothing more comes, not even a pong.
    meet("length of 2^62, no limit", most, server, |server| reading(server, config)).assert_timeout(Phase::Keepalive);
}

#[test]
fn a_million_empty_fragments_end_at_the_limit() {
    for (name, client) in CLIENTS {
        let name = format!("a million empty fragments, {name}");
        let outcome = meet(&name, LITTLE, || a_million(Flood::Fragments), |server| client(server, Config::default()));
        outcome.assert_limit(LimitExceeded::Fragments { limit: 65_536 });
    }
}

#[test]
fn a_million_empty_fragments_without_a_limit_are_one_empty_message() {
    for (name, client) in CLIENTS {
        let name = format!("a million empty fragments without a limit, {name}");
        let config = Config::default().max_fragments(None);
        meet(&name, LITTLE, || a_million(Flood::Fragments), |server| client(server, config))
            .assert_closed_cleanly(1, 0);
    }
}

#[test]
fn a_flood_of_pings_ends_with_its_close() {
    assert_flood_is_survived(Flood::Pings, 0);
}

#[test]
fn a_flood_of_pongs_ends_with_its_close() {
    assert_flood_is_survived(Flood::Pongs, 0);
}

#[test]
fn of_a_flood_of_empty_messages_each_is_delivered() {
    assert_flood_is_survived(Flood::Messages, MILLION);
}

#[track_caller]
fn assert_flood_is_survived(flood: Flood, messages: usize) {
    for (name, client) in CLIENTS {
        let name = format!("a million {}, {name}", flood.name());
        let most = Most { heap: MIB, ..LITTLE };
        let outcome = meet(&name, most, || a_million(flood), |server| client(server, Config::default()));
        outcome.assert_closed_cleanly(messages, 0);
    }
}

#[test]
fn a_flood_of_pings_from_a_server_that_takes_no_pongs_stays_small() {
    for (name, client) in CLIENTS {
        let name = format!("a million pings, no pong is taken, {name}");
        let server = || a_million(Flood::Pings).that_takes(0);
        let outcome = meet(&name, LITTLE, server, |server| client(server, Config::default()));
        // The server closed, but cannot have seen our answer.
        assert!(
            matches!(&outcome.error, Some(Error::Closed(closed)) if closed.code == 1000 && !closed.was_clean),
            "{outcome:?}"
        );
    }
}

/// 10 MiB that are 10 GiB of zeros, in one frame.
fn bomb() -> Server {
    let zeros = vec![0; MIB];
    let mut compressor = Compressor::new(9, true);
    let first = compressor.flushed(&zeros);
    // From the second time on it refers to zeros before it, and can be repeated.
    let (again, times) = (compressor.flushed(&zeros), 10 * KIB);
    let header = long_header(0x80 | 0x40 | BINARY, (first.len() + times * again.len()) as u64);
    Server::saying([header, first].concat()).and_again(again, times)
}

#[test]
fn a_deflate_bomb_ends_at_the_limit() {
    for (name, client) in CLIENTS {
        let name = format!("a deflate bomb of 10 GiB, at most 4 MiB, {name}");
        let most = Most { heap: 5 * MIB, ..LITTLE };
        let config = Config::default().deflate(Deflate::default()).max_message_size(4 * MIB);
        let outcome = meet(&name, most, bomb, |server| client(server, config));
        outcome.assert_limit(LimitExceeded::MessageSize { limit: 4 * MIB });
    }
}

const STATUS_LINE: &str = "HTTP/1.1 101 Switching Protocols\r\n";

#[test]
fn a_101_of_endless_headers_ends_at_64_kib_or_at_the_129th() {
    let too_large = InvalidResponse::HeadTooLarge { limit: 64 * KIB };
    let too_many = InvalidResponse::Malformed("too many headers".into());
    for (name, said, expected) in [("headers", "X-More: and more\r\n", too_many), ("a header", "more", too_large)] {
        let name = format!("a 101 with {name} without end");
        let server = || Server::saying(STATUS_LINE).and("A: b\r\nC: ").and_again(said, usize::MAX);
        match meet(&name, LITTLE, server, connecting).error {
            Some(Error::Handshake(invalid)) => assert_eq!(invalid, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_handshake_that_dribbles_ends_after_its_30_s() {
    let most = Most { heap: 64 * KIB, ..LITTLE };
    let server = || Server::saying(STATUS_LINE).and_again("A: b\r\n", MILLION).one_byte_every(Duration::from_secs(1));
    meet("a handshake that dribbles", most, server, connecting).assert_timeout(Phase::Handshake);
}

#[test]
fn a_close_frame_that_breaks_off_ends_by_keepalive() {
    let most = Most { heap: 64 * KIB, ..LITTLE };
    let server = || Server::saying([0x88, 125, 0x03, 0xe8]);
    let outcome = meet("a Close frame that breaks off", most, server, |server| reading(server, Config::default()));
    outcome.assert_timeout(Phase::Keepalive);
}

#[test]
fn our_close_ends_although_the_servers_dribbles() {
    let most = Most { heap: 64 * KIB, ..LITTLE };
    let server = || {
        let close = encode(true, 0, CLOSE, &close_body(Some(1000), &"x".repeat(123)));
        Server::saying(close).one_byte_every(Duration::from_secs(1))
    };
    let outcome = meet("a Close frame that dribbles", most, server, |server| closing(server, Config::default()));
    outcome.assert_timeout(Phase::Close);
}

#[test]
fn our_close_ends_although_the_server_says_anything_but_a_close() {
    for flood in Flood::ALL {
        let server = || {
            let first = if flood == Flood::Fragments { vec![0x02, 0] } else { flood.frame().to_vec() };
            Server::saying(first).and_again(flood.frames(64 * KIB), usize::MAX)
        };
        let config = Config::default().close_timeout(Duration::from_millis(500)).max_fragments(None);
        let name = format!("no Close, but {}", flood.name());
        meet(&name, LITTLE, server, |server| closing(server, config)).assert_timeout(Phase::Close);
    }
}

#[test]
fn a_close_with_a_flood_behind_it_is_a_clean_end() {
    let server = || Server::saying(close(1000)).and_again([0; 64 * KIB], usize::MAX);
    let config = Config::default().tcp_end_timeout(Duration::from_millis(500));
    let outcome = meet("a Close, and no end", LITTLE, server, |server| reading(server, config));
    outcome.assert_closed_cleanly(0, 0);
}

#[test]
fn text_of_16_mib_that_is_invalid_in_its_last_byte_is_refused() {
    let most = Most { heap: 33 * MIB, ..LITTLE };
    let server = || {
        let text = [vec![b'a'; 16 * MIB - 1], vec![0xff]].concat();
        Server::saying(encode(true, 0, TEXT, &text))
    };
    for (name, client) in CLIENTS {
        let name = format!("16 MiB of text, invalid in the last byte, {name}");
        meet(&name, most, server, |server| client(server, Config::default())).assert_violation(Violation::InvalidUtf8);
    }
}

/// A build without optimization takes a microsecond for each byte.
const DRIBBLED: usize = if cfg!(debug_assertions) { 4 * MIB } else { 16 * MIB };

#[test]
fn a_message_of_16_mib_one_byte_at_a_time_is_delivered() {
    let most = Most { heap: 2 * DRIBBLED + MIB, seconds: 30 };
    let server = || Server::saying(encode(true, 0, BINARY, &vec![7; DRIBBLED])).and_closes().one_byte_at_a_time();
    let name = format!("{} MiB, one byte at a time", DRIBBLED / MIB);
    let outcome = meet(&name, most, server, |server| reading(server, Config::default()));
    outcome.assert_closed_cleanly(1, DRIBBLED);
}

#[test]
fn a_server_that_takes_one_byte_at_a_time_gets_1_mib() {
    let most = Most { heap: 2 * MIB, ..LITTLE };
    let client = |server: Server| async move {
        let sent = server.open(Config::default()).send(vec![7; MIB].into()).await;
        sent.map_or_else(Outcome::failed, |()| Outcome::default())
    };
    let outcome = meet("1 MiB is taken one byte at a time", most, || Server::saying([]).that_takes(1), client);
    outcome.assert_closed_cleanly(0, 0);
}

#[test]
fn a_close_frame_with_any_code_is_a_clean_end_or_a_violation() {
    let every = |server: Server| async move {
        for code in 0..=u16::MAX {
            let server = Server { then: Then::Eof, read: Arc::clone(&server.read), ..Server::saying(close(code)) };
            let mut ws = server.open(Config::default());
            let item = ws.next().await;
            next_turn().await;
            let closed = ws.closed().expect("an end");
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => {
                    assert!(item.is_none() && closed.was_clean && closed.code == code, "{code}: {item:?} {closed:?}");
                }
                _ => match item {
                    Some(Err(Error::ProtocolViolation(Violation::CloseCode(came)))) => assert_eq!(came, code),
                    other => panic!("{code}: {other:?}"),
                },
            }
        }
        Outcome::default()
    };
    let most = Most { heap: 64 * KIB, ..LITTLE };
    meet("a Close frame with each of 65 536 codes", most, || Server::saying([]), every);
}
