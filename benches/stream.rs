//! What a message costs on its way through a whole connection, without a network: CPU time over a transport in memory,
//! beside tokio-tungstenite.
//!
//! `cargo bench --bench stream` measures all; `cargo bench --bench stream -- 'receive.*/64/'` what its ids match.

use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures::SinkExt as _;
use testkit::wire::Wire;
use wsflow::Message;
use wsflow_benches::{
    KIB, MIB, VOLUME,
    client::{ByReference, Client, Tungstenite, Wsflow},
    clock::CpuTime,
    group,
    memory::Memory,
    now,
    payload::{Content, served},
};

type Group<'a> = BenchmarkGroup<'a, CpuTime>;

fn receive(criterion: &mut Criterion<CpuTime>) {
    for content in [Content::Binary, Content::Ascii, Content::Mixed] {
        for size in [16, 64, 256, KIB, 16 * KIB, MIB] {
            let count = VOLUME / size;
            let input = served(&content.message(size), count);
            let mut group = group(criterion, &format!("receive {}", content.name()), size, count);
            receive_with::<Wsflow>(&mut group, &input, count, size);
            receive_with::<ByReference>(&mut group, &input, count, size);
            receive_with::<Tungstenite>(&mut group, &input, count, size);
        }
    }
}

fn receive_with<C: Client>(group: &mut Group<'_>, input: &[u8], count: usize, size: usize) {
    let (io, tap) = Memory::serving(input.to_vec());
    let mut socket = C::open(io);
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| {
            tap.open();
            now(C::receive(&mut socket, count, size));
        });
    });
}

/// Feeds so many messages, flushes, and begins again.
fn send_in_batches(criterion: &mut Criterion<CpuTime>) {
    for (workload, most) in [("feed all, flush once", VOLUME), ("batches of 64", 64)] {
        for size in [16, 64, 256, KIB] {
            let count = VOLUME / size;
            let message = Content::Binary.message(size);
            let batch = most.min(count);
            let mut group = group(criterion, workload, size, count);
            send_batches_with::<Wsflow>(&mut group, &message, batch, count);
            send_batches_with::<ByReference>(&mut group, &message, batch, count);
            send_batches_with::<Tungstenite>(&mut group, &message, batch, count);
        }
    }
}

fn send_batches_with<C: Client>(group: &mut Group<'_>, message: &Message, batch: usize, count: usize) {
    let wire_len = wire_len::<C>(message, count);
    let message = C::Message::from(message.clone());
    let (io, tap) = Memory::taking();
    let mut socket = C::open(io);
    group.bench_function(C::NAME, |bencher| {
        bencher.iter(|| {
            for _ in 0..count / batch {
                now(C::send(&mut socket, &message, batch));
            }
            assert_eq!(tap.written(), wire_len);
        });
    });
}

/// Each message is flushed: one that nobody else holds, which may be masked where it lies, or one that is kept.
fn send_large(criterion: &mut Criterion<CpuTime>) {
    for (workload, is_kept) in [("send owned", false), ("send shared", true)] {
        for size in [16 * KIB, 256 * KIB, MIB] {
            let count = VOLUME / size;
            let message = Content::Binary.message(size);
            let mut group = group(criterion, workload, size, count);
            send_large_with::<Wsflow>(&mut group, &message, count, is_kept);
            send_large_with::<Tungstenite>(&mut group, &message, count, is_kept);
        }
    }
}

fn send_large_with<C: Client>(group: &mut Group<'_>, message: &Message, count: usize, is_kept: bool) {
    let wire_len = wire_len::<C>(message, count);
    let copy = || if is_kept { message.clone() } else { Message::from(message.as_bytes()) };
    let (io, tap) = Memory::taking();
    let mut socket = C::open(io);
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_batched(
            || (0..count).map(|_| C::Message::from(copy())).collect::<Vec<_>>(),
            |messages| {
                for message in messages {
                    now(socket.send(message)).expect("open");
                }
                assert_eq!(tap.written(), wire_len);
            },
            BatchSize::PerIteration,
        );
    });
}

/// How many bytes these messages are on the wire, where a server finds them as they were sent.
fn wire_len<C: Client>(message: &Message, count: usize) -> usize {
    let mut socket = C::open(Memory::keeping());
    now(C::send(&mut socket, &message.clone().into(), count));
    let written = C::io(&socket).kept();
    let messages = Wire::read(written).messages();
    assert_eq!(messages.len(), count);
    assert!(messages.iter().all(|(is_text, payload)| !is_text && payload == message.as_bytes()));
    written.len()
}

criterion_group! {
    name = benches;
    config = wsflow_benches::criterion(CpuTime);
    targets = receive, send_in_batches, send_large
}
criterion_main!(benches);
