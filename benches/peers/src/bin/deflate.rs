//! Compressed traffic beside yawc: CPU time, ratio and heap, over a transport in memory, with context takeover.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin deflate` prints the table in Markdown.

#[path = "../../../src/ticks.rs"]
mod ticks;

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame,
    heap::{self, CountingAllocator},
    wire::Wire,
};
use ticks::{SIZES, ticks};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};
use wsflow_peers::cost::Meter;
use yawc::{CompressionLevel, Frame, Options, Role, WebSocket};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Rounds, of which the median is taken; the two clients take turns.
const ROUNDS: usize = 7;

/// A transport that has all of its input, and counts or keeps what is written.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    at: usize,
    written: Rc<Cell<usize>>,
    output: Option<Rc<RefCell<Vec<u8>>>>,
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
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.set(self.written.get() + bytes.len());
        if let Some(output) = &self.output {
            output.borrow_mut().extend_from_slice(bytes);
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

/// A client over a transport on which it never has to wait.
trait Client {
    fn open(io: Memory, level: u8) -> Self;
    fn send(&mut self, message: &Message);
    fn receive(&mut self) -> Bytes;
}

/// With its defaults.
struct Wsflow(WebSocketStream<Memory>);

impl Client for Wsflow {
    fn open(io: Memory, level: u8) -> Self {
        let config = Config::default().deflate(Deflate::default().level(level));
        let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(config);
        Self(WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate"))
    }

    fn send(&mut self, message: &Message) {
        self.0.send(message.clone()).now_or_never().expect("it need not wait").expect("open");
    }

    fn receive(&mut self) -> Bytes {
        let message = self.0.next().now_or_never().expect("it need not wait").expect("no end");
        message.expect("a message").into_bytes()
    }
}

/// With `simd`, and doing what wsflow does: it compresses every message and checks UTF-8. Larger buffers, which its own
/// benches have for throughput, change nothing here but the heap.
struct Yawc(WebSocket<Memory>);

impl Client for Yawc {
    fn open(io: Memory, level: u8) -> Self {
        let options = Options::default()
            .with_compression_level(CompressionLevel::new(level.into()))
            .with_compression_threshold(0)
            .with_utf8();
        let extensions = Some("permessage-deflate");
        Self(WebSocket::from_stream_with_extensions(io, Role::Client, extensions, options).expect("options"))
    }

    fn send(&mut self, message: &Message) {
        let frame = Frame::text(message.clone().into_bytes());
        self.0.send(frame).now_or_never().expect("it need not wait").expect("open");
    }

    fn receive(&mut self) -> Bytes {
        self.0.next_frame().now_or_never().expect("it need not wait").expect("a message").into_payload()
    }
}

fn sends<C: Client>(corpus: &[Message], level: u8) -> Cost {
    let io = Memory::default();
    let written = Rc::clone(&io.written);
    let before = heap::held();
    let meter = Meter::start();
    let mut client = C::open(io, level);
    corpus.iter().for_each(|message| client.send(message));
    Cost { cpu: milliseconds(&meter), written: written.get(), heap: heap::held() - before }
}

/// Every message has to be the one that was sent.
fn receives<C: Client>(input: &[u8], corpus: &[Message]) -> Cost {
    let io = Memory { input: input.to_vec(), ..Memory::default() };
    let before = heap::held();
    let meter = Meter::start();
    let mut client = C::open(io, 6);
    for message in corpus {
        assert!(client.receive() == message.as_bytes(), "a message arrived changed");
    }
    Cost { cpu: milliseconds(&meter), written: 0, heap: heap::held() - before }
}

fn milliseconds(meter: &Meter) -> f64 {
    meter.stop().cpu.as_secs_f64() * 1000.0
}

/// What this client sends of the corpus, as a server would send it.
fn served<C: Client>(corpus: &[Message], level: u8) -> Vec<u8> {
    let output = Rc::default();
    let mut client = C::open(Memory { output: Some(Rc::clone(&output)), ..Memory::default() }, level);
    corpus.iter().for_each(|message| client.send(message));
    let frames = Wire::read_with(&output.borrow(), 4).frames.into_iter();
    frames.flat_map(|frame| frame::encode(frame.fin, frame.rsv, frame.opcode, &frame.payload)).collect()
}

/// Each client reads what each has compressed: both do the work that is measured, and no other.
fn check(corpus: &[Message], level: u8) {
    for input in [served::<Wsflow>(corpus, level), served::<Yawc>(corpus, level)] {
        receives::<Wsflow>(&input, corpus);
        receives::<Yawc>(&input, corpus);
    }
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
            check(&corpus, level);
            let [ours, theirs] = side_by_side(|| sends::<Wsflow>(&corpus, level), || sends::<Yawc>(&corpus, level));
            row(&format!("compress, level {level}"), "wsflow", ours, true);
            row(&format!("compress, level {level}"), "yawc", theirs, true);
        }
        let input = served::<Wsflow>(&corpus, 6);
        let [ours, theirs] = side_by_side(|| receives::<Wsflow>(&input, &corpus), || receives::<Yawc>(&input, &corpus));
        row("inflate", "wsflow", ours, false);
        row("inflate", "yawc", theirs, false);
    }
}
