//! What compression costs in memory: nothing until it is used, what the docs say when it is, and no more for a bomb.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    deflate::{Compressor, deflated},
    frame::{self, BINARY, CONTINUATION, RSV1, encode, long_head},
    heap,
    inflate::TAIL,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::unconstrained,
};
use wsflow::{Config, Deflate, Error, LimitExceeded, UpgradedParts, WebSocketStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A server that says `head`, then `body` a number of times, holding no more than these two, and then is silent. What
/// it hears is gone.
#[derive(Debug)]
struct Repeating {
    head: Vec<u8>,
    body: Vec<u8>,
    times: usize,
    /// Bytes that were read.
    at: usize,
}

impl Repeating {
    fn silent() -> Self {
        Self { head: Vec::new(), body: Vec::new(), times: 0, at: 0 }
    }

    fn rest(&self) -> &[u8] {
        match self.at.checked_sub(self.head.len()) {
            None => &self.head[self.at..],
            Some(at) if at < self.times * self.body.len() => &self.body[at % self.body.len()..],
            Some(_) => &[],
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

fn open(io: Repeating, config: Config, extensions: &str) -> WebSocketStream<Repeating> {
    let parts = UpgradedParts::new(io).extensions(extensions).config(config);
    WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate")
}

/// 10 MiB that are 10 GiB of zeros, as one frame or in frames of `chunk`.
fn bomb(is_fragmented: bool) -> Repeating {
    let zeros = vec![0; MIB];
    let mut compressor = Compressor::new(9, true);
    compressor.flushed(&zeros);
    // From the second time on it refers to zeros before it, and can be repeated.
    let chunk = compressor.flushed(&zeros);
    assert!(chunk.ends_with(&TAIL) && chunk.len() < 1100, "{} bytes for 1 MiB", chunk.len());
    let times = 10 * KIB;
    let mut head = Compressor::new(9, true).flushed(&zeros);
    if is_fragmented {
        let (head, body) = (encode(false, RSV1, BINARY, &head), encode(false, 0, CONTINUATION, &chunk));
        return Repeating { head, body, times, at: 0 };
    }
    let len = (head.len() + times * chunk.len()) as u64;
    head = [long_head(0x80 | RSV1 << 4 | BINARY, len), head].concat();
    Repeating { head, body: chunk, times, at: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_bomb_costs_no_more_memory_and_no_more_work_than_the_limit() {
    for (limit, is_fragmented) in [(64 * MIB, false), (64 * MIB, true), (MIB, false), (100_000, true), (0, false)] {
        let mut ws = open(bomb(is_fragmented), Config::default().max_message_size(limit), "permessage-deflate");
        // It lets other tasks run in between, and does not wait for anything else.
        let mut polls = std::iter::repeat_with(|| unconstrained(ws.next()).now_or_never()).take(1000);
        let (item, peak) = heap::peak(|| polls.find_map(|item| item));
        let error = item.expect("it does not wait").expect("an error").expect_err("an error");
        assert!(matches!(error, Error::Limit(LimitExceeded::MessageSize { limit: was }) if was == limit), "{error:?}");
        assert!(peak < limit + 300 * KIB, "{peak} bytes at a limit of {limit}");
        // What was read is what the limit takes, and what was read ahead of it.
        let read = ws.get_ref().at;
        assert!(read < limit / 900 + 256 * KIB, "{read} bytes were read for {limit}");
    }
}

/// What a connection holds more once it did this, in bytes.
async fn cost(config: Config, extensions: &str, script: &[u8], send: Option<&str>) -> isize {
    let before = heap::held();
    let is_received = !script.is_empty();
    let mut ws = open(Repeating { head: script.to_vec(), ..Repeating::silent() }, config, extensions);
    if let Some(text) = send {
        ws.send(text.into()).await.expect("sent");
    }
    if is_received {
        ws.next().await.expect("no end").expect("a message");
    }
    let cost = heap::held() - before;
    drop(ws);
    assert_eq!(heap::held(), before, "something is left");
    cost
}

/// Makes what a thread has once for all its connections.
async fn warm_up() {
    let [compressed, _] = received();
    let mut ws = open(Repeating { head: compressed, ..Repeating::silent() }, Config::default(), "permessage-deflate");
    ws.send(TEXT.into()).await.expect("sent");
    ws.next().await.expect("no end").expect("a message");
}

const TEXT: &str = "a text";

/// A compressed message of the server, and the same as it is.
fn received() -> [Vec<u8>; 2] {
    [encode(true, RSV1, frame::TEXT, &deflated(TEXT)), encode(true, 0, frame::TEXT, TEXT.as_bytes())]
}

/// What the compressor of a connection holds, in bytes, beside what the connection holds without it.
async fn deflater(window_bits: u8, mem_level: u8) -> isize {
    let config = Config::default().deflate(Deflate::default().mem_level(mem_level));
    let extensions = format!("permessage-deflate; client_max_window_bits={window_bits}");
    cost(config.clone(), &extensions, &[], Some(TEXT)).await - cost(config, &extensions, &[], None).await
        + cost(Config::default(), "", &[], None).await
        - cost(Config::default(), "", &[], Some(TEXT)).await
}

/// What the inflater of a connection holds, in bytes, once its window is full.
async fn inflater() -> isize {
    let [_, plain] = received();
    let compressed = encode(true, RSV1, frame::TEXT, &deflated([b'a'; 40_000]));
    cost(Config::default(), "permessage-deflate", &compressed, None).await
        - cost(Config::default(), "", &plain, None).await
}

#[tokio::test]
async fn contexts_are_made_when_they_are_first_needed() {
    warm_up().await;
    let [_, plain] = received();

    let none = cost(Config::default(), "", &[], None).await;
    let idle = cost(Config::default(), "permessage-deflate", &[], None).await;
    assert!(idle - none < 100, "an idle compressed connection costs {} bytes", idle - none);
    assert!(idle < 10 * KIB as isize, "an idle compressed connection holds {idle} bytes");

    // What is not compressed needs none.
    let threshold = Config::default().deflate(Deflate::default().threshold(100));
    for (config, extensions) in
        [(threshold, "permessage-deflate"), (Config::default(), "permessage-deflate; client_max_window_bits=8")]
    {
        let sent = cost(config, extensions, &[], Some(TEXT)).await - cost(Config::default(), "", &[], Some(TEXT)).await;
        assert!(sent < 100, "{sent}");
    }
    let read = cost(Config::default(), "permessage-deflate", &plain, None).await
        - cost(Config::default(), "", &plain, None).await;
    assert!(read < 100, "{read}");

    // One direction does not make the context of the other.
    assert!(inflater().await < 100 * KIB as isize);
    assert!(deflater(9, 1).await < 140 * KIB as isize);
}

#[tokio::test]
async fn the_table_in_the_docs_is_what_is_measured() {
    warm_up().await;
    let mem_levels = [1, 5, 8, 9];
    let mut rows = Vec::new();
    for window_bits in 9..=15 {
        let mut row = format!("/// | {window_bits} |");
        for mem_level in mem_levels {
            let kib = (deflater(window_bits, mem_level).await as f64 / KIB as f64).round();
            row.push_str(&format!(" {kib} |"));
        }
        rows.push(row);
    }
    println!("{}\n{}", rows.join("\n"), inflater().await as f64 / KIB as f64);
    let docs = include_str!("../../src/config.rs");
    for row in &rows {
        assert!(docs.lines().any(|line| line == row), "the docs of Deflate lack {row:?}\n{}", rows.join("\n"));
    }
    let inflater = format!("the inflater holds {} KiB", (inflater().await as f64 / KIB as f64).round());
    assert!(docs.contains(&inflater), "the docs of Deflate lack {inflater:?}");
}
