//! Fairness: one poll does a bounded amount of work, however much the transport has to give and is ready to take, so
//! that a connection leaves its thread to others.

use std::{
    future::Future as _,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::{Sink, Stream};
use testkit::flood::{AlwaysReady, Flood};
use tokio::runtime;
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};

use crate::support::flood;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Where a transport breaks, so that a poll without an end fails its test and does not hang it.
const BREAKS_AT: usize = 64 * MIB;

/// The most that one poll may read.
const MOST_READ: usize = 256 * KIB;

/// The most that one poll may write.
const MOST_WRITTEN: usize = 4 * MIB;

/// How many polls in a row are watched: a bound that holds for the first alone is none.
const POLLS: usize = 20;

type Ws = WebSocketStream<AlwaysReady>;

/// How a poll went that was not in error: whether it is done.
type Outcome = Poll<Result<(), String>>;

type PollOnce = fn(Pin<&mut Ws>, &mut Context<'_>) -> Outcome;

/// Where a connection is polled. Without a runtime there is no cooperative budget, and all bounds are the connection's.
#[derive(Debug, Clone, Copy)]
enum Place {
    Runtime,
    NoRuntime,
}

impl Place {
    const ALL: [Self; 2] = [Self::Runtime, Self::NoRuntime];

    /// Polls once, as a task does that is new in its turn: how that went, and whether the waker was called.
    fn poll(self, ws: &mut Ws, poll: PollOnce) -> (Outcome, bool) {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut once = || poll(Pin::new(ws), &mut Context::from_waker(&waker));
        let outcome = match self {
            Self::NoRuntime => once(),
            Self::Runtime => {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let outcome = once();
                    // A task whose budget is used up is woken once the others had their turn.
                    tokio::task::yield_now().await;
                    outcome
                })
            }
        };
        (outcome, woken.0.load(SeqCst))
    }
}

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn next(ws: Pin<&mut Ws>, cx: &mut Context<'_>) -> Outcome {
    ws.poll_next(cx).map(|item| match item {
        Some(Ok(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// Within a message, or before one while the rest of another is skipped.
fn read(ws: Pin<&mut Ws>, cx: &mut Context<'_>) -> Outcome {
    match pin!(ws.get_mut().next_reader()).poll(cx) {
        Poll::Ready(Some(Ok(mut reader))) => reader.poll_chunk(cx).map(|chunk| match chunk {
            None => Ok(()),
            other => Err(format!("{other:?}")),
        }),
        Poll::Ready(other) => Poll::Ready(Err(format!("{other:?}"))),
        Poll::Pending => Poll::Pending,
    }
}

fn ready(ws: Pin<&mut Ws>, cx: &mut Context<'_>) -> Outcome {
    ws.poll_ready(cx).map_err(|error| error.to_string())
}

fn flush(ws: Pin<&mut Ws>, cx: &mut Context<'_>) -> Outcome {
    ws.poll_flush(cx).map_err(|error| error.to_string())
}

fn close(ws: Pin<&mut Ws>, cx: &mut Context<'_>) -> Outcome {
    ws.poll_close(cx).map(|end| Err(format!("{end:?}")))
}

/// Each of several polls reads a bounded amount of the flood, and is followed by another.
fn assert_reads_are_bounded(flood: Flood, poll: PollOnce) {
    for place in Place::ALL {
        let mut ws = flood::open(flood, AlwaysReady::pouring(flood, BREAKS_AT));
        for turn in 0..POLLS {
            let before = ws.get_ref().read;
            let (outcome, is_woken) = place.poll(&mut ws, poll);
            let read = ws.get_ref().read - before;
            assert!(read <= MOST_READ, "{place:?}, poll {turn}: it read {read} bytes");
            match outcome {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => panic!("{place:?}, poll {turn}: it ended with {end}"),
                Poll::Pending => assert!(is_woken, "{place:?}, poll {turn}: nobody will poll again"),
            }
        }
        assert!(ws.get_ref().read > 0, "{place:?}: it does not read");
    }
}

#[test]
fn one_poll_reads_a_bounded_amount_of_a_flood_of_pings() {
    assert_reads_are_bounded(Flood::Pings, next);
}

#[test]
fn one_poll_reads_a_bounded_amount_of_a_flood_of_pongs() {
    assert_reads_are_bounded(Flood::Pongs, next);
}

#[test]
fn one_poll_reads_a_bounded_amount_of_a_flood_of_empty_fragments() {
    assert_reads_are_bounded(Flood::Fragments, next);
}

#[test]
fn one_poll_reads_a_bounded_amount_of_a_flood_of_empty_messages() {
    assert_reads_are_bounded(Flood::Messages, next);
}

#[test]
fn one_poll_of_a_reader_reads_a_bounded_amount_of_any_flood() {
    for flood in Flood::ALL {
        assert_reads_are_bounded(flood, read);
    }
}

/// Fragments of one message, each of which takes some 100 bytes and becomes 64 KiB.
#[test]
fn one_poll_inflates_a_bounded_amount() {
    let mut fragment = Vec::with_capacity(1024);
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    compress.compress_vec(&[0; 64 * KIB], &mut fragment, flate2::FlushCompress::Sync).unwrap();
    let frame = [&[0x00, u8::try_from(fragment.len()).expect("a short one")], &fragment[..]].concat();
    // Two MiB of it are the work of one poll, and what was read before is used up first.
    let most_read = 2 * MIB / (64 * KIB) * frame.len() + 2 * KIB;
    for place in Place::ALL {
        let config = Config::default().deflate(Deflate::default()).read_buffer_max(KIB);
        let config = config.max_message_size(None).max_fragments(None).without_timers();
        let io = AlwaysReady::repeating(frame.clone(), BREAKS_AT);
        // A frame that begins a compressed message.
        let parts = UpgradedParts::new(io).read_buf(vec![0x42, 0x00]).config(config).extensions("permessage-deflate");
        let mut ws = WebSocketStream::from_upgraded_parts(parts).unwrap();
        for turn in 0..POLLS {
            let before = ws.get_ref().read;
            let (outcome, is_woken) = place.poll(&mut ws, next);
            assert!(outcome.is_pending() && is_woken, "{place:?}, poll {turn}: {outcome:?}");
            let read = ws.get_ref().read - before;
            assert!(read <= most_read, "{place:?}, poll {turn}: it read {read} bytes of at most {most_read}");
        }
        assert!(ws.get_ref().read > 0, "{place:?}: it does not read");
    }
}

/// Closing waits for the peer's Close frame, which may stand behind any of them.
#[test]
fn one_poll_of_close_reads_a_bounded_amount_of_a_flood_of_pings() {
    assert_reads_are_bounded(Flood::Pings, close);
}

#[test]
fn one_poll_of_close_reads_a_bounded_amount_of_a_flood_of_pongs() {
    assert_reads_are_bounded(Flood::Pongs, close);
}

#[test]
fn one_poll_of_close_reads_a_bounded_amount_of_a_flood_of_empty_fragments() {
    assert_reads_are_bounded(Flood::Fragments, close);
}

#[test]
fn one_poll_of_close_reads_a_bounded_amount_of_a_flood_of_empty_messages() {
    assert_reads_are_bounded(Flood::Messages, close);
}

/// A large message, and how much of it one poll may encode.
struct Sent {
    size: usize,
    fragment_size: usize,
    deflate: Option<Deflate>,
    /// In bytes of payload.
    most: u64,
}

impl Sent {
    /// In frames of one byte, which cost a flush of the compressor each, some microseconds.
    fn in_compressed_bytes() -> Self {
        Self { size: MIB, fragment_size: 1, deflate: Some(Deflate::default()), most: 4 * 1024 }
    }

    /// What becomes so little that no write is full.
    fn compressed() -> Self {
        Self { size: 16 * MIB, fragment_size: 64 * KIB, deflate: Some(Deflate::default()), most: 128 * KIB as u64 }
    }

    /// In frames of one byte, which cost more than they move: what fills one write of 1 MiB, and a little more.
    fn in_bytes() -> Self {
        Self { size: MIB, fragment_size: 1, deflate: None, most: 160 * 1024 }
    }

    fn open(&self) -> Ws {
        let config = Config::default().without_timers().fragment_size(self.fragment_size).deflate(self.deflate.clone());
        let extensions = if self.deflate.is_some() { "permessage-deflate" } else { "" }.to_owned();
        let io = AlwaysReady::taking(BREAKS_AT);
        WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).config(config).extensions(extensions)).unwrap()
    }
}

/// Each of several polls encodes and writes a bounded amount of the message.
fn assert_writes_are_bounded(sent: &Sent, poll: PollOnce) {
    for place in Place::ALL {
        let mut ws = sent.open();
        Pin::new(&mut ws).start_send(Message::from(vec![b'x'; sent.size])).expect("it is open");
        for turn in 0..POLLS {
            let before = (ws.get_ref().written, ws.buffered_amount());
            let (outcome, is_woken) = place.poll(&mut ws, poll);
            let (written, payload) = (ws.get_ref().written - before.0, before.1 - ws.buffered_amount());
            assert!(written <= MOST_WRITTEN, "{place:?}, poll {turn}: it wrote {written} bytes for {payload}");
            assert!(payload <= sent.most, "{place:?}, poll {turn}: it sent {payload} bytes in {written}");
            match outcome {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => panic!("{place:?}, poll {turn}: {error}"),
                Poll::Pending => assert!(is_woken, "{place:?}, poll {turn}: nobody will poll again"),
            }
        }
        assert!(ws.get_ref().written > 0, "{place:?}: it does not write");
    }
}

#[test]
fn one_poll_encodes_a_bounded_part_of_a_message() {
    for sent in [Sent::in_bytes(), Sent::in_compressed_bytes(), Sent::compressed()] {
        assert_writes_are_bounded(&sent, flush);
        assert_writes_are_bounded(&sent, ready);
    }
}

/// What becomes a few bytes leaves at once: the work that it costs is what ends a turn.
#[test]
fn a_task_that_feeds_compressed_messages_lets_others_run() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut ws = Sent::compressed().open();
    let message = Message::from(vec![b'x'; 16 * KIB]);
    for turn in 0..POLLS {
        let mut fed = 0;
        runtime.block_on(std::future::poll_fn(|cx| {
            while fed < 1000 && Pin::new(&mut ws).poll_ready(cx).is_ready() {
                Pin::new(&mut ws).start_send(message.clone()).expect("it is open");
                fed += 1;
            }
            Poll::Ready(())
        }));
        assert!(fed <= 16, "turn {turn}: it fed {fed} messages");
    }
}
