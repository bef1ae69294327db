//! What compression costs and gains on market ticks in JSON, over a transport in memory.
//!
//! `cargo bench --bench deflate` prints the ratios, then the CPU time per MiB of payload.

#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/frame.rs"]
mod frame;
mod ticks;
#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/wire.rs"]
mod wire;

use std::{
    hint::black_box,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use ticks::{SIZES, ticks};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::Wire;
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};

/// The time that this thread was on a CPU, so that a busy machine does not tell.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, first: &Duration, second: &Duration) -> Duration {
        *first + *second
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A transport that has all of its input, and keeps what is written if it is to.
#[derive(Debug, Default)]
struct Memory {
    input: Vec<u8>,
    at: usize,
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

/// A connection with this compression, or with none.
fn open(io: Memory, deflate: Option<&Deflate>, extensions: &str) -> WebSocketStream<Memory> {
    let extensions = if deflate.is_some() { format!("permessage-deflate{extensions}") } else { String::new() };
    let config = Config::default().deflate(deflate.cloned());
    WebSocketStream::from_upgraded_parts(UpgradedParts { extensions, config, ..UpgradedParts::new(io) })
}

fn send_all(ws: &mut WebSocketStream<Memory>, corpus: &[Message]) {
    for message in corpus {
        ws.send(message.clone()).now_or_never().expect("it need not wait").expect("open");
    }
}

fn receive_all(ws: &mut WebSocketStream<Memory>, count: usize) {
    for _ in 0..count {
        black_box(ws.next().now_or_never().expect("it need not wait").expect("no end").expect("a message"));
    }
}

fn bytes(corpus: &[Message]) -> u64 {
    corpus.iter().map(|message| message.len() as u64).sum()
}

/// Payload bytes for each byte on the wire.
fn ratio(corpus: &[Message], deflate: &Deflate, extensions: &str) -> f64 {
    let mut ws = open(Memory::default(), Some(deflate), extensions);
    send_all(&mut ws, corpus);
    let stats = ws.stats();
    stats.payload_bytes_sent as f64 / stats.wire_bytes_sent as f64
}

fn ratios(_: &mut Criterion<CpuTime>) {
    let deflate = |level, mem_level| Deflate::default().level(level).mem_level(mem_level);
    let [small, large] = SIZES.map(|(_, size)| ticks(size));
    println!("\nratio of payload to wire      256 B   16 KiB");
    for (takeover, parameter) in [("takeover", ""), ("no takeover", "; client_no_context_takeover")] {
        for (level, mem_level, window_bits) in
            [(1, 8, 15), (6, 8, 15), (9, 8, 15), (6, 9, 15), (6, 5, 15), (6, 1, 15), (6, 5, 12), (6, 5, 9)]
        {
            let extensions = format!("; client_max_window_bits={window_bits}{parameter}");
            let [of_small, of_large] =
                [&small, &large].map(|corpus| ratio(corpus, &deflate(level, mem_level), &extensions));
            println!("{takeover:11} level {level} mem {mem_level} bits {window_bits:2} {of_small:6.2} {of_large:8.2}");
        }
    }
    println!();
}

/// What the client sent of the corpus, as a server would send it.
fn served(corpus: &[Message], deflate: Option<&Deflate>) -> Vec<u8> {
    let mut ws = open(Memory { output: Some(Vec::new()), ..Memory::default() }, deflate, "");
    send_all(&mut ws, corpus);
    let written = ws.get_ref().output.as_deref().unwrap_or_default();
    let frames = Wire::read_with(written, 4).frames.into_iter();
    frames.flat_map(|frame| frame::encode(frame.fin, frame.rsv, frame.opcode, &frame.payload)).collect()
}

fn levels() -> [(String, Option<Deflate>); 5] {
    let level = |level| (format!("level {level}"), Some(Deflate::default().level(level)));
    let small = Some(Deflate::default().mem_level(5));
    [("plain".into(), None), level(1), level(6), level(9), ("level 6 mem 5".into(), small)]
}

fn compress(criterion: &mut Criterion<CpuTime>) {
    for (name, size) in SIZES {
        let corpus = ticks(size);
        let mut group = criterion.benchmark_group(format!("compress {name}"));
        group.throughput(Throughput::Bytes(bytes(&corpus))).sample_size(20);
        for (level, deflate) in levels() {
            let mut ws = open(Memory::default(), deflate.as_ref(), "");
            group.bench_function(level, |bencher| bencher.iter(|| send_all(&mut ws, &corpus)));
        }
    }
}

fn inflate(criterion: &mut Criterion<CpuTime>) {
    for (name, size) in SIZES {
        let corpus = ticks(size);
        let mut group = criterion.benchmark_group(format!("inflate {name}"));
        group.throughput(Throughput::Bytes(bytes(&corpus))).sample_size(20);
        for (level, deflate) in levels() {
            let input = served(&corpus, deflate.as_ref());
            group.bench_function(level, |bencher| {
                bencher.iter_batched(
                    || open(Memory { input: input.clone(), ..Memory::default() }, deflate.as_ref(), ""),
                    |mut ws| receive_all(&mut ws, corpus.len()),
                    BatchSize::LargeInput,
                );
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = ratios, compress, inflate
}
criterion_main!(benches);
