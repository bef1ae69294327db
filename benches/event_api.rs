//! What events cost beside the stream that they stand on: CPU time of messages that reach handlers, and of messages sent
//! without waiting, over a transport in memory.
//!
//! `cargo bench --bench event_api` measures all; `cargo bench --bench event_api -- '/64/'` what its ids match.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;
use wsflow::compat::{BinaryType, WebSocket};
use wsflow::{Message, WebSocketStream};
use wsflow_benches::{
    KIB, VOLUME,
    client::{Client as _, Wsflow},
    clock::CpuTime,
    group,
    memory::Memory,
    payload::{Content, sent_len, served},
    upgrade::Upgrade,
};

type Group<'a> = BenchmarkGroup<'a, CpuTime>;

const URL: &str = "ws://localhost/";

/// The task that calls the handlers runs on this thread, too.
fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

async fn stream(io: Memory) -> WebSocketStream<Upgrade> {
    WebSocketStream::builder(URL).connect_over(Upgrade::before(io)).await.expect("the server accepts")
}

async fn event_api(io: Memory) -> WebSocket {
    let (opened, mut open) = mpsc::unbounded_channel();
    let builder = WebSocket::builder(URL).expect("a URL").on_open(move |_, _| opened.send(()).expect("it is awaited"));
    let ws = builder.connect_over(Upgrade::before(io));
    open.recv().await.expect("the server accepts");
    ws
}

/// What one of the listeners has counted of one turn.
type Count = (usize, usize);

/// Adds a listener that tells how many messages and bytes have come, once it was `messages`.
fn count_messages(ws: &WebSocket, messages: usize, counts: mpsc::UnboundedSender<Count>) {
    let mut count = (0, 0);
    ws.add_message_listener(move |_, event| {
        count.0 += 1;
        count.1 += event.data.len();
        if count.0 == messages {
            counts.send(std::mem::take(&mut count)).expect("it is awaited");
        }
    });
}

fn receive(criterion: &mut Criterion<CpuTime>) {
    for content in [Content::Binary, Content::Ascii] {
        for size in [64, KIB, 16 * KIB] {
            let count = VOLUME / size;
            let input = served(&content.message(size), count);
            let mut group = group(criterion, &format!("receive {}", content.name()), size, count);
            receive_by_stream(&mut group, &input, count, size);
            receive_by_events(&mut group, "1 listener", &input, (count, size), 1, BinaryType::ArrayBuffer);
            receive_by_events(&mut group, "4 listeners", &input, (count, size), 4, BinaryType::ArrayBuffer);
            if matches!(content, Content::Binary) {
                receive_by_events(&mut group, "1 listener, blob", &input, (count, size), 1, BinaryType::Blob);
            }
        }
    }
}

fn receive_by_stream(group: &mut Group<'_>, input: &[u8], count: usize, size: usize) {
    let runtime = runtime();
    let (io, tap) = Memory::serving(input.to_vec());
    let mut ws = runtime.block_on(stream(io));
    group.bench_function("stream", |bencher| {
        bencher.iter(|| {
            tap.open();
            runtime.block_on(Wsflow::receive(&mut ws, count, size));
        });
    });
}

fn receive_by_events(
    group: &mut Group<'_>,
    name: &str,
    input: &[u8],
    (messages, size): (usize, usize),
    listeners: usize,
    binary_type: BinaryType,
) {
    let runtime = runtime();
    let (io, tap) = Memory::serving(input.to_vec());
    let ws = runtime.block_on(event_api(io));
    ws.set_binary_type(binary_type);
    let (counted, mut counts) = mpsc::unbounded_channel();
    for _ in 0..listeners {
        count_messages(&ws, messages, counted.clone());
    }
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            tap.open();
            runtime.block_on(async {
                for _ in 0..listeners {
                    assert_eq!(counts.recv().await, Some((messages, messages * size)));
                }
            });
        });
    });
}

fn send(criterion: &mut Criterion<CpuTime>) {
    for size in [64, KIB, 16 * KIB] {
        let count = VOLUME / size;
        let message = Content::Binary.message(size);
        let wire_len = count * sent_len(&message);
        let mut group = group(criterion, "send binary", size, count);
        send_by_stream(&mut group, &message, count, wire_len);
        send_by_event_api(&mut group, &message, count, wire_len);
    }
}

fn send_by_stream(group: &mut Group<'_>, message: &Message, count: usize, wire_len: usize) {
    let runtime = runtime();
    let (io, tap) = Memory::taking();
    let mut ws = runtime.block_on(stream(io));
    group.bench_function("stream", |bencher| {
        bencher.iter(|| {
            runtime.block_on(Wsflow::send(&mut ws, message, count));
            assert_eq!(tap.written(), wire_len);
        });
    });
}

/// `send` queues, and never waits: all of them, then the queue is sent.
fn send_by_event_api(group: &mut Group<'_>, message: &Message, count: usize, wire_len: usize) {
    let runtime = runtime();
    let (io, tap) = Memory::taking();
    let ws = runtime.block_on(event_api(io));
    group.bench_function("event API", |bencher| {
        bencher.iter(|| {
            for _ in 0..count {
                ws.send(message.clone()).expect("open");
            }
            runtime.block_on(ws.drained());
            assert_eq!(tap.written(), wire_len);
        });
    });
}

criterion_group! {
    name = benches;
    config = wsflow_benches::criterion(CpuTime);
    targets = receive, send
}
criterion_main!(benches);
