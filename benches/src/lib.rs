//! What the benches share: clients, transports, payloads, a clock, and how long a measurement takes.

pub mod client;
pub mod clock;
#[path = "../../tests/support/flood.rs"]
pub mod flood;
pub mod memory;
pub mod payload;
pub mod server;
pub mod ticks;
pub mod upgrade;

use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use futures::FutureExt as _;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Each iteration moves so much payload, in messages of one size.
pub const VOLUME: usize = MIB;

/// A transport in memory keeps nobody waiting.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it need not wait")
}

/// Short, so that a whole bench is done in two minutes: `--measurement-time` and `--sample-size` ask for more.
pub fn criterion<M: Measurement>(clock: M) -> Criterion<M> {
    Criterion::default()
        .with_measurement(clock)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .nresamples(10_000)
}

/// The group of one workload at one size: each iteration is so many messages.
pub fn group<'a, M: Measurement>(
    criterion: &'a mut Criterion<M>,
    workload: &str,
    size: usize,
    messages: usize,
) -> BenchmarkGroup<'a, M> {
    group_of(criterion, &format!("{workload}/{}", label(size)), messages, messages * size)
}

/// A group whose iterations are so many messages of so many bytes of payload together.
pub fn group_of<'a, M: Measurement>(
    criterion: &'a mut Criterion<M>,
    id: &str,
    messages: usize,
    bytes: usize,
) -> BenchmarkGroup<'a, M> {
    let mut group = criterion.benchmark_group(id);
    group.throughput(Throughput::ElementsAndBytes { elements: messages as u64, bytes: bytes as u64 });
    group
}

/// A size as it stands in an id: `64`, `1KiB`, `1MiB`.
fn label(size: usize) -> String {
    match size {
        ..KIB => size.to_string(),
        KIB..MIB => format!("{}KiB", size / KIB),
        _ => format!("{}MiB", size / MIB),
    }
}
