//! One message that is read as it comes takes no more memory than a small one, however long it is.
//!
//! With optimisation the messages have their full size: 4 GiB, and a bomb of 10 GiB.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use futures::StreamExt as _;
use testkit::{
    deflate::Compressor,
    frame::{RSV1, head},
    heap,
    inflate::TAIL,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use wsflow::{Config, Kind, UpgradedParts, WebSocketStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// All that a connection may hold.
const MOST_HELD: usize = MIB;

/// Without optimisation so much takes too long: a 64th of it, and less where it is inflated.
const fn size(full: usize, is_inflated: bool) -> usize {
    match (cfg!(debug_assertions), is_inflated) {
        (false, _) => full,
        (true, false) => full / 64,
        (true, true) => full / 128,
    }
}

/// A server that says `head`, then `body` a number of times, then `tail`, and then is silent. It holds no more than these.
#[derive(Debug)]
struct Repeating {
    head: Vec<u8>,
    body: Vec<u8>,
    times: usize,
    tail: Vec<u8>,
    /// Bytes that were read.
    at: usize,
}

impl Repeating {
    fn rest(&self) -> &[u8] {
        let Some(at) = self.at.checked_sub(self.head.len()) else { return &self.head[self.at..] };
        match at.checked_sub(self.times * self.body.len()) {
            None => &self.body[at % self.body.len()..],
            Some(at) => &self.tail[at.min(self.tail.len())..],
        }
    }
}

impl AsyncRead for Repeating {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = self.at;
        while buf.remaining() > 0 && !self.rest().is_empty() {
            let n = self.rest().len().min(buf.remaining());
            buf.put_slice(&self.rest()[..n]);
            self.at += n;
        }
        if self.at > before { Poll::Ready(Ok(())) } else { Poll::Pending }
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

/// A message of `len` bytes that repeats `pattern`, and the text "on" behind it.
struct Long {
    name: &'static str,
    kind: Kind,
    pattern: Vec<u8>,
    len: usize,
    io: Repeating,
}

/// The text "on", as a frame.
const ON: [u8; 4] = [0x81, 2, b'o', b'n'];

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    [header(first, body.len()), body.to_vec()].concat()
}

fn header(first: u8, len: usize) -> Vec<u8> {
    head(first, len as u64)
}

/// Text whose characters stand across all borders.
fn pattern(len: usize) -> Vec<u8> {
    let text: String = (0..).map(|i| ["tick ", "größe ", "匶 ", "🔌 "][i * i / 7 % 4]).take(len).collect();
    let mut end = len.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = text.into_bytes();
    text.truncate(end);
    text.resize(len, b' ');
    text
}

fn in_one_frame() -> Long {
    let (pattern, len) = (pattern(64 * KIB), size(4 * GIB, false));
    let io = Repeating {
        head: header(0x82, len),
        body: pattern.clone(),
        times: len / pattern.len(),
        tail: ON.to_vec(),
        at: 0,
    };
    Long { name: "one frame", kind: Kind::Binary, pattern, len, io }
}

/// In more frames than a message that is put together may have, and cut within characters.
fn in_frames() -> Long {
    let (pattern, len) = (pattern(60 * KIB + 1), size(4 * GIB, false));
    let times = len / pattern.len();
    let (first, rest) = pattern.split_at(30 * KIB);
    let io = Repeating {
        head: frame(0x01, b""),
        body: [frame(0x00, first), frame(0x00, rest)].concat(),
        times,
        tail: [frame(0x80, b""), ON.to_vec()].concat(),
        at: 0,
    };
    Long { name: "frames", kind: Kind::Text, len: times * pattern.len(), pattern, io }
}

/// What repeats `pattern`, compressed: from the second time on it refers to what stands before it, and can be repeated.
fn compressed(name: &'static str, pattern: Vec<u8>, full: usize, is_fragmented: bool) -> Long {
    let mut compressor = Compressor::new(9, true);
    let head = compressor.flushed(&pattern);
    compressor.flushed(&pattern);
    let body = compressor.flushed(&pattern);
    assert_eq!(body, compressor.flushed(&pattern), "it can be repeated");
    let times = size(full, true) / pattern.len();
    let len = (times + 1) * pattern.len();
    let first = RSV1 << 4 | 2;
    let io = if is_fragmented {
        let tail = [frame(0x80, &[0]), ON.to_vec()].concat();
        Repeating { head: frame(first, &head), body: frame(0, &body), times, tail, at: 0 }
    } else {
        // The end of the last flush is left out; a block of nothing can end the message as well.
        let size = head.len() + times * body.len() + 1;
        let head = [header(0x80 | first, size), head].concat();
        Repeating { head, body, times, tail: [&[0], &ON[..]].concat(), at: 0 }
    };
    Long { name, kind: Kind::Binary, pattern, len, io }
}

fn bomb(is_fragmented: bool) -> Long {
    let bomb = compressed("bomb", vec![0; MIB], 10 * GIB, is_fragmented);
    assert!(bomb.io.body.len() < 1100 && bomb.io.body.ends_with(&TAIL), "{} bytes for 1 MiB", bomb.io.body.len());
    bomb
}

fn open(io: Repeating) -> WebSocketStream<Repeating> {
    let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(Config::default().without_timers());
    WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate")
}

/// Runs a future that lets other tasks run and does not wait. Returns how often it was polled, too.
fn run<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    for polls in 1.. {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (output, polls);
        }
    }
    unreachable!()
}

/// Checks that `data` stands in the message of `pattern` behind the first `at` bytes.
fn check(pattern: &[u8], mut at: usize, mut data: &[u8]) {
    while !data.is_empty() {
        let expected = &pattern[at % pattern.len()..];
        let n = expected.len().min(data.len());
        assert!(data[..n] == expected[..n], "other bytes behind the first {at}");
        (at, data) = (at + n, &data[n..]);
    }
}

async fn read_in_chunks(ws: &mut WebSocketStream<Repeating>, kind: Kind, pattern: &[u8]) -> usize {
    let mut reader = ws.next_reader().await.expect("no end").expect("a message");
    assert_eq!(reader.kind(), kind);
    let mut len = 0;
    while let Some(chunk) = reader.chunk().await {
        let chunk = chunk.expect("a chunk");
        check(pattern, len, &chunk);
        len += chunk.len();
    }
    len
}

async fn read_as_bytes(ws: &mut WebSocketStream<Repeating>, kind: Kind, pattern: &[u8]) -> usize {
    let mut reader = ws.next_reader().await.expect("no end").expect("a message");
    assert_eq!(reader.kind(), kind);
    let (mut len, mut buffer) = (0, vec![0; 20_000]);
    loop {
        match reader.read(&mut buffer).await.expect("bytes") {
            0 => return len,
            n => {
                check(pattern, len, &buffer[..n]);
                len += n;
            }
        }
    }
}

async fn skip(ws: &mut WebSocketStream<Repeating>) {
    drop(ws.next_reader().await.expect("no end").expect("a message"));
}

/// How a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Chunks,
    Bytes,
    /// The reader is dropped at once, and somebody asks for what is behind it.
    SkippedByNext,
    SkippedByReader,
}

impl Way {
    fn is_skipped(self) -> bool {
        matches!(self, Self::SkippedByNext | Self::SkippedByReader)
    }
}

fn assert_memory_is_constant(long: Long, way: Way) {
    let Long { name, kind, pattern, len, io } = long;
    let mut ws = open(io);
    let ((), peak) = heap::peak(|| {
        let read = match way {
            Way::Chunks => run(read_in_chunks(&mut ws, kind, &pattern)).0,
            Way::Bytes => run(read_as_bytes(&mut ws, kind, &pattern)).0,
            Way::SkippedByNext | Way::SkippedByReader => {
                run(skip(&mut ws));
                len
            }
        };
        assert_eq!(read, len, "{name}, {way:?}");
        let (on, polls) = match way {
            Way::SkippedByReader => run(read_in_chunks(&mut ws, Kind::Text, b"on")),
            _ => run(async { ws.next().await.expect("no end").expect("a message").len() }),
        };
        assert_eq!(on, 2, "{name}, {way:?}");
        // Other tasks run in between, not more often than they must: one poll inflates 2 MiB at most.
        let expected = if way.is_skipped() { len / (4 * MIB)..=len / (256 * KIB) } else { 1..=1 };
        assert!(expected.contains(&polls), "{name}, {way:?}: {polls} polls");
    });
    println!("{name}, {way:?}: {len} bytes, {} KiB of heap at most", peak / KIB);
    assert!(peak < MOST_HELD, "{name}, {way:?}: {peak} bytes are held for {len}");
    let stats = ws.stats();
    let received = if way.is_skipped() { (1, 1, 2) } else { (2, 0, len as u64 + 2) };
    assert_eq!(
        (stats.messages_received, stats.discarded_messages, stats.payload_bytes_received),
        received,
        "{name}, {way:?}"
    );
}

#[test]
fn a_message_of_4_gib_in_one_frame_takes_constant_memory() {
    for way in [Way::Chunks, Way::Bytes, Way::SkippedByNext, Way::SkippedByReader] {
        assert_memory_is_constant(in_one_frame(), way);
    }
}

#[test]
fn a_message_of_4_gib_in_many_frames_takes_constant_memory() {
    for way in [Way::Chunks, Way::Bytes, Way::SkippedByNext] {
        assert_memory_is_constant(in_frames(), way);
    }
}

#[test]
fn a_compressed_message_of_4_gib_takes_constant_memory() {
    for (way, is_fragmented) in [(Way::Chunks, true), (Way::Bytes, false)] {
        assert_memory_is_constant(compressed("compressed", pattern(30_000), 4 * GIB, is_fragmented), way);
    }
}

#[test]
fn a_bomb_of_10_gib_takes_constant_memory() {
    let ways = [Way::Chunks, Way::Bytes, Way::SkippedByNext, Way::SkippedByReader];
    for (way, is_fragmented) in ways.into_iter().zip([false, true, false, true]) {
        assert_memory_is_constant(bomb(is_fragmented), way);
    }
}
