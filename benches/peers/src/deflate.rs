//! Compressed traffic beside yawc: CPU time, ratio and heap, over a transport in memory, with context takeover.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin deflate` prints the table in Markdown.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/support/frame.rs"]
mod frame;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/support/heap.rs"]
mod heap;
#[path = "../../ticks/mod.rs"]
mod ticks;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/support/wire.rs"]
mod wire;

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use cpu_time::ThreadTime;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use ticks::{SIZES, ticks};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::Wire;
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};
use yawc::{CompressionLevel, Frame, Options, Role, WebSocket};

/// Rounds, of which the median is taken; the two clients take turns.
const ROUNDS: usize = 7;

/// A transport that has all of its input, and counts or keeps what is written.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    at: usize,
    written: Rc<Cell<usize>>,
    output: Option<Vec<u8>>,
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = buf.remaining().min(self.input.len() - self.at);
        if n == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&self.input[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.set(self.written.get() + bytes.len());
        if let Some(output) = &mut self.output {
            output.extend_from_slice(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What one run of one client cost: CPU ms, bytes written, heap bytes held at its end.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    written: usize,
    heap: isize,
}

fn wsflow(io: Memory, level: u8) -> WebSocketStream<Memory> {
    let config = Config::default().deflate(Deflate::default().level(level));
    let extensions = "permessage-deflate".into();
    WebSocketStream::from_upgraded_parts(UpgradedParts { extensions, config, ..UpgradedParts::new(io) })
}

fn wsflow_sends(corpus: &[Message], level: u8) -> Cost {
    let before = heap::held();
    let start = ThreadTime::now();
    let mut ws = wsflow(Memory::default(), level);
    for message in corpus {
        ws.send(message.clone()).now_or_never().expect("it need not wait").expect("open");
    }
    let cpu = start.elapsed().as_secs_f64() * 1000.0;
    Cost { cpu, written: ws.get_ref().written.get(), heap: heap::held() - before }
}

fn wsflow_receives(input: &[u8], count: usize) -> Cost {
    let io = Memory { input: input.to_vec(), ..Memory::default() };
    let before = heap::held();
    let start = ThreadTime::now();
    let mut ws = wsflow(io, 6);
    for _ in 0..count {
        ws.next().now_or_never().expect("it need not wait").expect("no end").expect("a message");
    }
    Cost { cpu: start.elapsed().as_secs_f64() * 1000.0, written: 0, heap: heap::held() - before }
}

/// yawc, without a check of UTF-8 unless it is asked for; every message is compressed here too.
fn yawc(io: Memory, level: u8) -> WebSocket<Memory> {
    let level = CompressionLevel::new(level.into());
    let options = Options::default().with_compression_level(level).with_compression_threshold(0).with_utf8();
    WebSocket::from_stream_with_extensions(io, Role::Client, Some("permessage-deflate"), options).expect("options")
}

fn yawc_sends(corpus: &[Message], level: u8) -> Cost {
    let io = Memory::default();
    let written = Rc::clone(&io.written);
    let before = heap::held();
    let start = ThreadTime::now();
    let mut ws = yawc(io, level);
    for message in corpus {
        let frame = Frame::text(message.clone().into_bytes());
        ws.send(frame).now_or_never().expect("it need not wait").expect("open");
    }
    Cost { cpu: start.elapsed().as_secs_f64() * 1000.0, written: written.get(), heap: heap::held() - before }
}

fn yawc_receives(input: &[u8], count: usize) -> Cost {
    let io = Memory { input: input.to_vec(), ..Memory::default() };
    let before = heap::held();
    let start = ThreadTime::now();
    let mut ws = yawc(io, 6);
    for _ in 0..count {
        ws.next().now_or_never().expect("it need not wait").expect("a message");
    }
    Cost { cpu: start.elapsed().as_secs_f64() * 1000.0, written: 0, heap: heap::held() - before }
}

/// What the client sent of the corpus, as a server would send it.
fn served(corpus: &[Message], level: u8) -> Vec<u8> {
    let mut ws = wsflow(Memory { output: Some(Vec::new()), ..Memory::default() }, level);
    for message in corpus {
        ws.send(message.clone()).now_or_never().expect("it need not wait").expect("open");
    }
    let written = ws.get_ref().output.as_deref().unwrap_or_default();
    let frames = Wire::read_with(written, 4).frames.into_iter();
    frames.flat_map(|frame| frame::encode(frame.fin, frame.rsv, frame.opcode, &frame.payload)).collect()
}

/// The median of each client's rounds, by CPU time.
fn side_by_side(mut ours: impl FnMut() -> Cost, mut theirs: impl FnMut() -> Cost) -> [Cost; 2] {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(ours());
        b.push(theirs());
    }
    [a, b].map(|mut rounds| {
        rounds.sort_by(|x, y| x.cpu.total_cmp(&y.cpu));
        rounds[ROUNDS / 2]
    })
}

fn main() {
    println!("| | messages | client | CPU ms per MiB | ratio | heap KiB |");
    println!("|---|---|---|---|---|---|");
    for (name, size) in SIZES {
        let corpus = ticks(size);
        let payload: usize = corpus.iter().map(Message::len).sum();
        let mib = payload as f64 / (1 << 20) as f64;
        let row = |what: &str, client: &str, cost: Cost, has_ratio: bool| {
            let ratio = if has_ratio { format!("{:.2}", payload as f64 / cost.written as f64) } else { "".into() };
            println!("| {what} | {name} | {client} | {:.1} | {ratio} | {} |", cost.cpu / mib, cost.heap / 1024);
        };
        for level in [1, 6, 9] {
            let [ours, theirs] = side_by_side(|| wsflow_sends(&corpus, level), || yawc_sends(&corpus, level));
            row(&format!("compress, level {level}"), "wsflow", ours, true);
            row(&format!("compress, level {level}"), "yawc", theirs, true);
        }
        let input = served(&corpus, 6);
        let [ours, theirs] =
            side_by_side(|| wsflow_receives(&input, corpus.len()), || yawc_receives(&input, corpus.len()));
        row("inflate", "wsflow", ours, false);
        row("inflate", "yawc", theirs, false);
    }
}
