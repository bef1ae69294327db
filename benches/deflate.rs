//! What compression costs and gains on market ticks in JSON, over a transport in memory.
//!
//! `cargo bench --bench deflate` prints the ratios, then the CPU time per MiB of payload.

use criterion::{Criterion, criterion_group, criterion_main};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{frame, wire::Wire};
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};
use wsflow_benches::ticks::{SIZES, ticks};
use wsflow_benches::{clock::CpuTime, group_of, memory::Memory};

/// A connection with this compression, or with none.
fn open(io: Memory, deflate: Option<&Deflate>, extensions: &str) -> WebSocketStream<Memory> {
    let extensions = if deflate.is_some() { format!("permessage-deflate{extensions}") } else { String::new() };
    let config = Config::default().deflate(deflate.cloned());
    WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).extensions(extensions).config(config))
        .expect("permessage-deflate")
}

fn send_all(ws: &mut WebSocketStream<Memory>, corpus: &[Message]) {
    let before = ws.stats().messages_sent;
    for message in corpus {
        ws.send(message.clone()).now_or_never().expect("it need not wait").expect("open");
    }
    assert_eq!(ws.stats().messages_sent - before, corpus.len() as u64);
}

fn receive_all(ws: &mut WebSocketStream<Memory>, corpus: &[Message]) {
    for message in corpus {
        let received = ws.next().now_or_never().expect("it need not wait").expect("no end").expect("a message");
        assert_eq!(received.len(), message.len());
    }
}

fn bytes(corpus: &[Message]) -> usize {
    corpus.iter().map(Message::len).sum()
}

/// Payload bytes for each byte on the wire.
fn ratio(corpus: &[Message], deflate: &Deflate, extensions: &str) -> f64 {
    let (io, _) = Memory::taking();
    let mut ws = open(io, Some(deflate), extensions);
    send_all(&mut ws, corpus);
    let stats = ws.stats();
    stats.payload_bytes_sent as f64 / stats.wire_bytes_sent as f64
}

fn ratios(_: &mut Criterion<CpuTime>) {
    // `cargo test` asks only whether all of it runs, and compresses without optimisation.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
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
    let mut ws = open(Memory::keeping(), deflate, "");
    send_all(&mut ws, corpus);
    let frames = Wire::read_with(ws.get_ref().kept(), 4).frames.into_iter();
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
        let mut group = group_of(criterion, &format!("compress {name}"), corpus.len(), bytes(&corpus));
        for (level, deflate) in levels() {
            let (io, _) = Memory::taking();
            let mut ws = open(io, deflate.as_ref(), "");
            group.bench_function(level, |bencher| bencher.iter(|| send_all(&mut ws, &corpus)));
        }
    }
}

fn inflate(criterion: &mut Criterion<CpuTime>) {
    for (name, size) in SIZES {
        let corpus = ticks(size);
        let mut group = group_of(criterion, &format!("inflate {name}"), corpus.len(), bytes(&corpus));
        for (level, deflate) in levels() {
            let (io, tap) = Memory::serving(served(&corpus, deflate.as_ref()));
            let mut ws = open(io, deflate.as_ref(), "");
            group.bench_function(level, |bencher| {
                bencher.iter(|| {
                    tap.open();
                    receive_all(&mut ws, &corpus);
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = wsflow_benches::criterion(CpuTime);
    targets = ratios, compress, inflate
}
criterion_main!(benches);
