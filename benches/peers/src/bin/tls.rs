//! What messages cost over TLS, and how many records the client makes of them.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin tls` prints the tables in Markdown.

use std::sync::Arc;

use bytes::Bytes;
use clap::Parser as _;
use rustls::{ClientConfig, crypto::ring};
use testkit::tls::Authority;
use tokio_tungstenite::Connector;
use wsflow_peers::{
    args::{Args, Role, SERVE},
    cost::Meter,
    error::Result,
    frame,
    job::Job,
    machine, page,
    page::{Page, figure},
    pair::{Client, NAMES, Options, Tungstenite, Wsflow},
    payload::Content,
    pin,
    server::Server,
    tls_server,
    tls_server::Identity,
    turns,
};

const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A run moves so much, in no more messages than these.
const VOLUME: usize = 64 * MIB;
const MOST_MESSAGES: usize = 200_000;

const ABOUT: &str = "CPU time of the client for each message over TLS 1.3, rustls with ring and one configuration for \
                     both clients. A cheap server has a\nprocess and a core of its own, and counts the records that \
                     come. Medians of interleaved rounds.";

#[derive(Clone, Copy)]
enum Workload {
    Receive,
    /// Feeds all, then flushes once.
    FeedAll,
    /// Flushes after each.
    FlushEach,
}

const WORKLOADS: [(&str, Workload, &[usize]); 3] = [
    ("Receive", Workload::Receive, &[64, KIB, 16 * KIB, MIB]),
    ("Send: feed everything, flush once", Workload::FeedAll, &[64, KIB, 16 * KIB, MIB]),
    ("Send: a flush each", Workload::FlushEach, &[64, 16 * KIB, MIB]),
];

#[derive(Clone, Copy)]
struct Task {
    workload: Workload,
    size: usize,
    count: usize,
}

/// What a run gave.
struct Figures {
    nanoseconds: f64,
    /// Records for each message, and bytes of frames in each record, where the client sends.
    records: Option<(f64, f64)>,
}

/// Where the server is, and how it is reached.
struct Reach {
    server: Server,
    connector: Connector,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Role::Serve { knowledge }) = &args.role {
        return tls_server::serve(SERVER_CORE, &Identity::from_arguments(knowledge)?);
    }
    let mut page = Page::new("Over TLS", ABOUT, &machine::describe());
    let authority = Authority::new();
    let identity = Identity::issued_by(&authority);
    let [certificate, key] = identity.arguments();
    let reach = Reach { server: Server::start(&[SERVE, certificate, key])?, connector: connector(&authority)? };
    pin::to_core(CLIENT_CORE);
    let volume = if args.quick { VOLUME / 16 } else { VOLUME };
    for (title, workload, sizes) in WORKLOADS {
        let sizes = sizes.iter().copied().filter(|size| args.asks_for(title, &page::size(*size)));
        let tasks = sizes.map(|size| Task { workload, size, count: (volume / size).clamp(1, MOST_MESSAGES) });
        let rows = tasks.map(|task| Row::take(&reach, task, args.rounds())).collect::<Result<Vec<_>>>()?;
        print(&mut page, title, &rows);
    }
    page.paragraph("A record holds at most 16 384 bytes. The bytes are those of frames: payload, header and mask key.");
    args.publish(page.as_str())
}

fn connector(authority: &Authority) -> Result<Connector> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}

/// The medians of both clients at one size.
struct Row {
    size: usize,
    figures: [Figures; 2],
}

impl Row {
    fn take(reach: &Reach, task: Task, rounds: usize) -> Result<Self> {
        let runs = [run::<Wsflow>, run::<Tungstenite>].map(|run| move || run(reach, task));
        let figures = turns::take(rounds, runs)?.map(|runs| medians(&runs));
        eprintln!("{}: {:?} ns", page::size(task.size), figures.each_ref().map(|figures| figures.nanoseconds));
        Ok(Self { size: task.size, figures })
    }
}

fn medians(runs: &[Figures]) -> Figures {
    let of_records = |of: fn((f64, f64)) -> f64| turns::median(runs, |run| run.records.map_or(0.0, of));
    Figures {
        nanoseconds: turns::median(runs, |run| run.nanoseconds),
        records: runs[0].records.map(|_| (of_records(|records| records.0), of_records(|records| records.1))),
    }
}

fn run<C: Client>(reach: &Reach, task: Task) -> Result<Figures> {
    let Task { workload, size, count } = task;
    let sent = frame::sent_size(size, C::FRAGMENT) * count;
    let job = match workload {
        Workload::Receive => Job::Pour { content: Content::Binary, size, count: count as u64 },
        _ => Job::Drain { bytes: sent as u64 },
    };
    let url = format!("wss://{}{job}", reach.server.address());
    let options = Options { tls: Some(reach.connector.clone()), ..Options::default() };
    let payload = Bytes::from(Content::Binary.payload(size));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = C::connect(&url, options).await?;
        let meter = Meter::start();
        let records = match workload {
            Workload::Receive => receive(&mut client, task).await.map(|()| None),
            _ => send(&mut client, task, &payload).await.map(Some),
        }?;
        let nanoseconds = meter.stop().cpu.as_nanos() as f64 / count as f64;
        let records = records.map(|records| (records / count as f64, sent as f64 / records));
        Ok(Figures { nanoseconds, records })
    })
}

async fn receive(client: &mut impl Client, task: Task) -> Result<()> {
    for _ in 0..task.count {
        let len = client.receive().await?.len();
        if len != task.size {
            return Err(format!("{len} bytes came instead of {}", task.size).into());
        }
    }
    Ok(())
}

/// How many records it were: the server tells when it has as many bytes as it expects.
async fn send(client: &mut impl Client, task: Task, payload: &Bytes) -> Result<f64> {
    for _ in 0..task.count {
        client.feed(payload.clone()).await?;
        if matches!(task.workload, Workload::FlushEach) {
            client.flush().await?;
        }
    }
    client.flush().await?;
    Ok(std::str::from_utf8(&client.receive().await?)?.parse()?)
}

fn print(page: &mut Page, title: &str, rows: &[Row]) {
    let [ours, theirs] = NAMES;
    let (our_ns, their_ns) = (format!("{ours}, ns"), format!("{theirs}, ns"));
    let mut head = vec!["size", &our_ns, &their_ns, "ratio"];
    let record_columns =
        [ours, theirs].map(|name| [format!("{name}, records per message"), format!("{name}, bytes per record")]);
    if rows.iter().any(|row| row.figures[0].records.is_some()) {
        head.extend(record_columns.as_flattened().iter().map(String::as_str));
    }
    let cells = |Row { size, figures }: &Row| {
        let [ours, theirs] = figures.each_ref().map(|figures| figures.nanoseconds);
        let records = figures.iter().filter_map(|figures| figures.records).flat_map(|(each, bytes)| [each, bytes]);
        let figures = [ours, theirs, theirs / ours].into_iter().chain(records).map(figure);
        [page::size(*size)].into_iter().chain(figures).collect()
    };
    page.table(title, &head, &rows.iter().map(cells).collect::<Vec<_>>());
}
