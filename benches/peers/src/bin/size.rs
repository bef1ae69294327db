//! What a message costs over its size, from 1 KiB to 1 GiB: CPU time, and heap beside the payload.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin size` prints the tables in Markdown.

use std::hint::black_box;

use bytes::Bytes;
use clap::Parser as _;
use testkit::heap::{self, CountingAllocator};
use wsflow_peers::{
    args::{Args, Role, SERVE},
    cost::Meter,
    error::Result,
    frame,
    job::{ANSWER, Job},
    machine, page,
    page::{Page, figure},
    pair::{Client, NAMES, Options, Tungstenite, Wsflow},
    payload::Content,
    pin, server,
    server::Server,
    turns,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Far more memory than a message of the last size takes is needed, in both processes.
const SIZES: [usize; 7] = [KIB, 16 * KIB, 256 * KIB, MIB, 16 * MIB, 256 * MIB, GIB];

/// A run moves so much, and at least one message.
const VOLUME: usize = 256 * MIB;

/// What is large enough that its cost is not that of its frame, and small enough for the caches.
const USUAL: usize = 256 * KIB;

const ABOUT: &str = "CPU time of the client for each KiB of payload, by the size of the message, and the most heap that \
                     the connection\nheld beside one payload. Over loopback TCP, where the system copies each byte too; \
                     a cheap server has a process and a core of its own.\nLimits of size are lifted, all else is each \
                     client's default; medians of interleaved rounds.";

#[derive(Clone, Copy)]
enum Workload {
    Receive,
    /// The sender keeps the payload.
    SendKept,
    /// Nobody else has the payload, which is allocated and filled within the time.
    SendGiven,
}

const WORKLOADS: [(Workload, &str); 3] = [
    (Workload::Receive, "Receive"),
    (Workload::SendKept, "Send, the payload is kept"),
    (Workload::SendGiven, "Send, the payload is made, and given away"),
];

#[derive(Clone, Copy)]
struct Task {
    workload: Workload,
    size: usize,
    count: usize,
}

/// What a run gave.
struct Figures {
    nanoseconds_per_kib: f64,
    /// Bytes of heap.
    beside_payload: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Role::Serve { .. }) = args.role {
        return Ok(server::serve(SERVER_CORE)?);
    }
    let mut page = Page::new("Cost over size", ABOUT, &machine::describe());
    let server = Server::start(&[SERVE])?;
    pin::to_core(CLIENT_CORE);
    let (largest, volume) = if args.quick { (16 * MIB, 16 * MIB) } else { (GIB, VOLUME) };
    for (workload, title) in WORKLOADS {
        let is_asked = |size: &usize| *size <= largest && args.asks_for(title, &page::size(*size));
        let sizes = SIZES.into_iter().filter(is_asked);
        let tasks = sizes.map(|size| Task { workload, size, count: (volume / size).max(1) });
        let rows = tasks.map(|task| Row::take(&server, task, args.rounds())).collect::<Result<Vec<_>>>()?;
        print(&mut page, title, &rows);
    }
    page.paragraph(&format!(
        "To fill fresh memory costs {} ns per KiB on this machine, which is the system's work. glibc takes fresh memory \
         for each\nallocation of {} and more, and mostly memory that was used before for smaller ones.",
        figure(fresh_memory(volume)),
        page::size(32 * MIB),
    ));
    args.publish(page.as_str())
}

/// Nanoseconds for each KiB of memory that this process has not had yet.
fn fresh_memory(bytes: usize) -> f64 {
    let meter = Meter::start();
    drop(black_box(vec![1_u8; bytes]));
    meter.stop().cpu.as_nanos() as f64 / (bytes / KIB) as f64
}

/// The medians of both clients at one size.
struct Row {
    task: Task,
    figures: [Figures; 2],
}

impl Row {
    fn take(server: &Server, task: Task, rounds: usize) -> Result<Self> {
        let runs = [run::<Wsflow>, run::<Tungstenite>].map(|run| move || run(server, task));
        let figures = turns::take(rounds, runs)?.map(|runs| Figures {
            nanoseconds_per_kib: turns::median(&runs, |run| run.nanoseconds_per_kib),
            beside_payload: turns::median(&runs, |run| run.beside_payload),
        });
        eprintln!("{}: {:?} ns per KiB", page::size(task.size), figures.each_ref().map(|f| f.nanoseconds_per_kib));
        Ok(Self { task, figures })
    }
}

fn run<C: Client>(server: &Server, task: Task) -> Result<Figures> {
    let Task { workload, size, count } = task;
    let job = match workload {
        Workload::Receive => Job::Pour { content: Content::Binary, size, count: count as u64 },
        _ => Job::Drain { bytes: (frame::sent_size(size, C::FRAGMENT) * count) as u64 },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let payload = Bytes::from(Content::Binary.payload(if matches!(workload, Workload::Receive) { 0 } else { size }));
    let url = format!("ws://{}{job}", server.address());
    let before = heap::held();
    let mut client = runtime.block_on(C::connect(&url, Options { any_size: true, tls: None }))?;
    let connected = heap::held() - before;
    let meter = Meter::start();
    let (done, peak) = heap::peak(|| runtime.block_on(work(&mut client, task, &payload)));
    let cost = meter.stop();
    done?;
    let counted = if matches!(workload, Workload::SendKept) { 0 } else { size };
    Ok(Figures {
        nanoseconds_per_kib: cost.cpu.as_nanos() as f64 / (size * count) as f64 * KIB as f64,
        beside_payload: connected as f64 + peak as f64 - counted as f64,
    })
}

/// The server has as many bytes as it expects before it answers.
async fn work(client: &mut impl Client, task: Task, payload: &Bytes) -> Result<()> {
    for _ in 0..task.count {
        match task.workload {
            Workload::Receive => expect(client.receive().await?.len(), task.size)?,
            Workload::SendKept => client.feed(payload.clone()).await?,
            Workload::SendGiven => client.feed(payload.to_vec().into()).await?,
        }
    }
    if matches!(task.workload, Workload::Receive) {
        return Ok(());
    }
    client.flush().await?;
    expect(client.receive().await?.len(), ANSWER.len())
}

fn expect(len: usize, expected: usize) -> Result<()> {
    if len == expected { Ok(()) } else { Err(format!("{len} bytes came instead of {expected}").into()) }
}

fn print(page: &mut Page, title: &str, rows: &[Row]) {
    let [ours, theirs] = NAMES;
    let head = [
        "size",
        &format!("{ours}, ns per KiB"),
        &format!("{theirs}, ns per KiB"),
        "ratio",
        &format!("{ours}, heap in KiB"),
        &format!("{theirs}, heap in KiB"),
    ];
    let cells = |Row { task, figures: [ours, theirs] }: &Row| {
        let times = [ours, theirs].map(|figures| figures.nanoseconds_per_kib);
        let heap = [ours, theirs].map(|figures| figure(figures.beside_payload / KIB as f64));
        let times_and_ratio = [times[0], times[1], times[1] / times[0]].map(figure);
        [vec![page::size(task.size)], times_and_ratio.into(), heap.into()].concat()
    };
    page.table(title, &head, &rows.iter().map(cells).collect::<Vec<_>>());
    let (Some(usual), Some(largest)) = (rows.iter().find(|row| row.task.size == USUAL), rows.last()) else { return };
    for (at, name) in NAMES.into_iter().enumerate() {
        let [usual_figures, largest_figures] = [usual, largest].map(|row| &row.figures[at]);
        page.paragraph(&format!(
            "{name}: a KiB of {} costs {} times what it costs in {}, with {} KiB of heap more beside the payload.",
            page::size(largest.task.size),
            figure(largest_figures.nanoseconds_per_kib / usual_figures.nanoseconds_per_kib),
            page::size(usual.task.size),
            figure((largest_figures.beside_payload - usual_figures.beside_payload) / KIB as f64),
        ));
    }
}
