//! How fast a connection is over TCP on loopback, beside tokio-tungstenite: elapsed time, in which the system has its
//! share and the server another core.
//!
//! `cargo bench --bench loopback` measures all; `cargo bench --bench loopback -- 'round trip'` what its ids match.

use std::{
    thread,
    time::{Duration, Instant},
};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use wsflow::Message;
use wsflow_benches::{
    KIB, MIB, VOLUME,
    client::{Client, Tungstenite, Wsflow},
    group,
    payload::{Content, sent_len, served},
    server::{Server, Task},
};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn open<C: Client>(runtime: &Runtime, server: &Server) -> C::Socket<TcpStream> {
    let _entered = runtime.enter();
    C::open(server.connect())
}

/// The server pours as fast as it is read.
fn receive(criterion: &mut Criterion) {
    for (content, sizes) in
        [(Content::Binary, &[16, 64, 256, KIB, 16 * KIB, MIB][..]), (Content::Ascii, &[64, KIB, 16 * KIB])]
    {
        for &size in sizes {
            let count = VOLUME / size;
            let frames = served(&content.message(size), count);
            let mut group = group(criterion, &format!("receive {}", content.name()), size, count);
            receive_with::<Wsflow>(&mut group, &frames, count, size);
            receive_with::<Tungstenite>(&mut group, &frames, count, size);
        }
    }
}

fn receive_with<C: Client>(group: &mut Group<'_>, frames: &[u8], count: usize, size: usize) {
    let runtime = runtime();
    let server = Server::start(Task::Pour(frames.to_vec()), None);
    let mut socket = open::<C>(&runtime, &server);
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| runtime.block_on(C::receive(&mut socket, count, size)));
    });
}

/// The server drains: all is fed, then flushed once.
fn send(criterion: &mut Criterion) {
    for size in [16, 64, 256, KIB, 16 * KIB, MIB] {
        let count = VOLUME / size;
        let message = Content::Binary.message(size);
        let mut group = group(criterion, "send binary", size, count);
        send_with::<Wsflow>(&mut group, &message, count);
        send_with::<Tungstenite>(&mut group, &message, count);
    }
}

fn send_with<C: Client>(group: &mut Group<'_>, message: &Message, count: usize) {
    let runtime = runtime();
    let server = Server::start(Task::Drain, None);
    let mut socket = open::<C>(&runtime, &server);
    let mut sent = 0;
    let payload = message.clone().into();
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| {
            runtime.block_on(C::send(&mut socket, &payload, count));
            sent += (count * message.len()) as u64;
        });
    });
    drop(socket);
    let drained = server.finish();
    assert!(drained >= sent, "the server has got {drained} bytes of {sent}");
}

/// The server sends each message back: one is on its way, or 64.
fn echo(criterion: &mut Criterion) {
    for (workload, window, sizes) in [("round trip", 1, &[64, KIB, 16 * KIB][..]), ("64 in flight", 64, &[64, KIB])] {
        for &size in sizes {
            let message = Content::Binary.message(size);
            let mut group = group(criterion, workload, size, window);
            echo_with::<Wsflow>(&mut group, &message, window);
            echo_with::<Tungstenite>(&mut group, &message, window);
        }
    }
}

fn echo_with<C: Client>(group: &mut Group<'_>, message: &Message, window: usize) {
    let runtime = runtime();
    let task = Task::Echo { request_len: sent_len(message), response: served(message, 1) };
    let server = Server::start(task, None);
    let mut socket = open::<C>(&runtime, &server);
    let request = message.clone().into();
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                C::send(&mut socket, &request, window).await;
                C::receive(&mut socket, window, message.len()).await;
            });
        });
    });
}

/// What the consumer does between two turns of reading.
const PAUSE: Duration = Duration::from_micros(500);

/// What the system keeps for each socket, in the test of a slow consumer: a client that read on meanwhile would show.
const SYSTEM_BUFFER: usize = 256 * KIB;

/// How far the server may be ahead of the consumer: the system's buffers, of which some double what is asked for, the
/// client's, and what the server is writing.
const MOST_AHEAD: u64 = 2 * MIB as u64;

/// The server pours, and the consumer pauses before each turn of reading: the time of the turn, without the pause.
fn slow_consumer(criterion: &mut Criterion) {
    for size in [64, 16 * KIB] {
        let count = VOLUME / size;
        let frames = served(&Content::Binary.message(size), count);
        let mut group = group(criterion, "slow consumer", size, count);
        slow_consumer_with::<Wsflow>(&mut group, &frames, count, size);
        slow_consumer_with::<Tungstenite>(&mut group, &frames, count, size);
    }
}

fn slow_consumer_with<C: Client>(group: &mut Group<'_>, frames: &[u8], count: usize, size: usize) {
    let runtime = runtime();
    let server = Server::start(Task::Pour(frames.to_vec()), Some(SYSTEM_BUFFER));
    let mut socket = open::<C>(&runtime, &server);
    let mut consumed = 0;
    let mut turn = || {
        thread::sleep(PAUSE);
        let ahead = server.moved().saturating_sub(consumed);
        assert!(ahead <= MOST_AHEAD, "the server is {ahead} bytes ahead");
        let start = Instant::now();
        runtime.block_on(C::receive(&mut socket, count, size));
        consumed += frames.len() as u64;
        start.elapsed()
    };
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| turn()).sum());
    });
}

criterion_group! {
    name = benches;
    config = wsflow_benches::criterion(WallTime);
    targets = receive, send, echo, slow_consumer
}
criterion_main!(benches);
