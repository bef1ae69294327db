//! What a connection costs among many: 1, 100 and 10 000 in one process and one thread, messages, CPU time and heap.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin scale` prints the tables in Markdown.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use clap::Parser as _;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use testkit::heap::{self, CountingAllocator};
use tokio::{
    runtime::{self, Runtime},
    sync::Notify,
    task::LocalSet,
    time::{sleep, timeout},
};
use wsflow_peers::{
    args::{Args, Role, SERVE},
    cost::Meter,
    crowd,
    crowd::{Crowd, LARGE, Order, SMALL},
    error::{Error, Result},
    machine, page,
    page::{Page, figure},
    pair::{Client, NAMES, Options, Tungstenite, Wsflow},
    pin, turns,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

const CONNECTIONS: [usize; 3] = [1, 100, 10_000];

/// Descriptors that a process needs besides its connections.
const OTHER_DESCRIPTORS: usize = 64;

/// The size of the messages that flow.
const SIZE: usize = 64;

/// How many messages the server writes to a connection at once, and how many come in all.
const FLOWS: [(usize, usize); 2] = [(1, 300_000), (64, 1_280_000)];

/// Then buffers that a client gives back are given back.
const IDLE: Duration = Duration::from_secs(3);

/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(120);

const ABOUT: &str = "Many connections in one process with one thread, a task for each, all idle or all at work. The \
                     server, a process on a core of\nits own, writes prepared frames to one connection after the \
                     other. Medians of interleaved rounds:";

/// What the tables of messages tell, and what they do not.
const PACE: &str = "The server writes as fast as it can. A client that keeps up finds one write in each read, sleeps \
                    until the next one comes, and pays\nfor being woken, as the server does, whose writes then take \
                    longer. One that falls behind sleeps less and finds several\nwrites in each read, which makes each \
                    message cheaper. Where the sleeps differ, the rows tell who keeps up more than what a\nmessage \
                    costs. That is most of the row of one connection; what a message costs on one is in \
                    [the table beside other clients](peers.md).";

/// What a run gave.
struct Figures {
    flows: [Flow; FLOWS.len()],
    heap: Heap,
}

#[derive(Clone, Copy)]
struct Flow {
    messages_per_second: f64,
    nanoseconds: f64,
    /// How often the process slept until something came.
    sleeps: f64,
}

/// Bytes for each connection, its task and what tokio holds for it included.
struct Heap {
    opened: f64,
    flowing_peak: f64,
    burst_peak: f64,
    burst: f64,
    idle: f64,
}

type Of = fn(&Heap) -> f64;

const HEAP: [(&str, Of); 5] = [
    ("after the handshake", |heap| heap.opened),
    ("at most while messages flow", |heap| heap.flowing_peak),
    ("at most in a burst", |heap| heap.burst_peak),
    ("right after it", |heap| heap.burst),
    ("3 s later", |heap| heap.idle),
];

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Role::Serve { .. }) = args.role {
        return crowd::serve(SERVER_CORE);
    }
    let mut page = Page::new("Many connections", &format!("{ABOUT} {}.", args.rounds()), &machine::describe());
    let most = raise_limit()?.saturating_sub(OTHER_DESCRIPTORS);
    pin::to_core(CLIENT_CORE);
    let mut rows = Vec::new();
    for asked in CONNECTIONS.into_iter().filter(|count| args.asks_for("connections", &count.to_string())) {
        let connections = asked.min(most);
        if connections < asked {
            page.paragraph(&format!("{connections} connections instead of {asked}: the system allows no more files."));
        }
        rows.push(Row::take(connections, &args)?);
    }
    print(&mut page, &rows);
    args.publish(page.as_str())
}

/// How many files this process, and the server that it starts, may have open: as many as the system allows.
fn raise_limit() -> Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(usize::try_from(most)?)
}

/// The rounds of both clients with so many connections.
struct Row {
    connections: usize,
    runs: [Vec<Figures>; 2],
}

impl Row {
    fn take(connections: usize, args: &Args) -> Result<Self> {
        let share = if args.quick { 10 } else { 1 };
        let flows = FLOWS.map(|(batch, messages)| (batch, (messages / share).div_ceil(connections * batch)));
        let runs = [run::<Wsflow>, run::<Tungstenite>].map(|run| move || run(connections, flows));
        let runs = turns::take(args.rounds(), runs)?;
        eprintln!("{connections} connections: done");
        Ok(Self { connections, runs })
    }
}

/// For each flow the batch, and how many of it each connection gets.
fn run<C: Client>(connections: usize, flows: [(usize, usize); FLOWS.len()]) -> Result<Figures> {
    let crowd = Crowd::start(&[SERVE])?;
    let before = heap::held();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut swarm = Swarm { connections, before, crowd, tally: Rc::default(), tasks: LocalSet::new(), runtime };
    swarm.open::<C>()?;
    let opened = swarm.held();
    let mut flowing_peak = 0.0_f64;
    let mut flowed = Vec::new();
    for (batch, turns) in flows {
        let (flow, peak) = swarm.flow(batch, turns)?;
        flowed.push(flow);
        flowing_peak = flowing_peak.max(peak);
    }
    let burst_peak = swarm.burst()?;
    let burst = swarm.held();
    swarm.rest();
    let heap = Heap { opened, flowing_peak, burst_peak, burst, idle: swarm.held() };
    Ok(Figures { flows: std::array::from_fn(|at| flowed[at]), heap })
}

/// All connections of a client, and the server's ends. The tasks go first: the server then sees its clients leave.
struct Swarm {
    connections: usize,
    tasks: LocalSet,
    runtime: Runtime,
    tally: Rc<Tally>,
    crowd: Crowd,
    /// What was held before all this.
    before: isize,
}

impl Swarm {
    fn open<C: Client>(&mut self) -> Result<()> {
        let url = format!("ws://{}/", self.crowd.address());
        self.crowd.order(Order::Accept(self.connections))?;
        let opening = open::<C>(url, self.connections, Rc::clone(&self.tally));
        self.runtime.block_on(self.tasks.run_until(opening))?;
        self.crowd.done()
    }

    /// What a message costs, and the peak of the heap.
    fn flow(&mut self, batch: usize, turns: usize) -> Result<(Flow, f64)> {
        let messages = self.connections * batch * turns;
        let slept = sleeps()?;
        let meter = Meter::start();
        let peak = self.carry_out(Order::Pour { size: SIZE, batch, turns }, messages, messages * SIZE)?;
        let cost = meter.stop();
        let flow = Flow {
            messages_per_second: messages as f64 / cost.elapsed.as_secs_f64(),
            nanoseconds: cost.cpu.as_nanos() as f64 / messages as f64,
            sleeps: (sleeps()? - slept) as f64 * 1000.0 / messages as f64,
        };
        Ok((flow, peak))
    }

    /// The peak of the heap.
    fn burst(&mut self) -> Result<f64> {
        let (count, size) = SMALL;
        self.carry_out(Order::Burst, self.connections * (count + 1), self.connections * (count * size + LARGE))
    }

    /// Until so many messages have come and the server is done; the peak of the heap.
    fn carry_out(&mut self, order: Order, messages: usize, bytes: usize) -> Result<f64> {
        self.tally.expect(messages, bytes);
        self.crowd.order(order)?;
        let held = self.held();
        let coming = self.tasks.run_until(async { timeout(PATIENCE, self.tally.all()).await });
        let (come, peak) = heap::peak(|| self.runtime.block_on(coming));
        come.map_err(|_| format!("{order:?}: {} messages are missing", self.tally.missing()))??;
        self.crowd.done()?;
        Ok(held + peak as f64 / self.connections as f64)
    }

    fn rest(&self) {
        self.runtime.block_on(self.tasks.run_until(async { sleep(IDLE).await }));
    }

    /// Bytes for each connection.
    fn held(&self) -> f64 {
        (heap::held() - self.before) as f64 / self.connections as f64
    }
}

/// How often this process gave up its core because it had to wait.
fn sleeps() -> Result<i64> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.voluntary_context_switches())
}

async fn open<C: Client>(url: String, connections: usize, tally: Rc<Tally>) -> Result<()> {
    for _ in 0..connections {
        let client = C::connect(&url, Options::default()).await?;
        tokio::task::spawn_local(serve(client, Rc::clone(&tally)));
    }
    Ok(())
}

/// A connection's task: counts what comes, and sends back what comes in a burst. The large message ends it.
async fn serve(mut client: impl Client, tally: Rc<Tally>) {
    let served: Result<()> = async {
        loop {
            let payload = client.receive().await?;
            let len = payload.len();
            if len > SIZE {
                client.feed(payload).await?;
            }
            if len == LARGE {
                client.flush().await?;
            }
            tally.count(len);
        }
    }
    .await;
    if let Err(error) = served {
        tally.fail(error);
    }
}

/// What all connections are still to receive.
#[derive(Default)]
struct Tally {
    messages: Cell<usize>,
    bytes: Cell<usize>,
    failure: RefCell<Option<Error>>,
    done: Notify,
}

impl Tally {
    fn expect(&self, messages: usize, bytes: usize) {
        self.messages.set(messages);
        self.bytes.set(bytes);
    }

    fn missing(&self) -> usize {
        self.messages.get()
    }

    fn count(&self, len: usize) {
        match (self.messages.get().checked_sub(1), self.bytes.get().checked_sub(len)) {
            (Some(messages), Some(bytes)) => {
                self.expect(messages, bytes);
                if messages == 0 {
                    self.done.notify_one();
                }
            }
            _ => self.fail("more came than was sent".into()),
        }
    }

    fn fail(&self, error: Error) {
        self.failure.borrow_mut().get_or_insert(error);
        self.done.notify_one();
    }

    /// Waits until all has come.
    async fn all(&self) -> Result<()> {
        self.done.notified().await;
        match (self.failure.take(), self.bytes.get()) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(()),
            (None, bytes) => Err(format!("{bytes} bytes are missing").into()),
        }
    }
}

fn print(page: &mut Page, rows: &[Row]) {
    let head = ["connections", "client", "messages/s", "CPU ns per message", "sleeps per 1 000 messages"];
    for (at, (batch, _)) in FLOWS.into_iter().enumerate() {
        let title = match batch {
            1 => format!("Messages of {SIZE} B, each written on its own"),
            _ => format!("Messages of {SIZE} B, {batch} written at once"),
        };
        page.table(
            &title,
            &head,
            &cells(rows, |runs| {
                let rate = turns::median(runs, |run| run.flows[at].messages_per_second);
                let other = [|flow: &Flow| flow.nanoseconds, |flow: &Flow| flow.sleeps];
                let other = other.map(|of| figure(turns::median(runs, |run| of(&run.flows[at]))));
                [vec![thousands(rate)], other.into()].concat()
            }),
        );
    }
    page.paragraph(PACE);
    let (count, size) = SMALL;
    let title = "Heap for each connection, KiB";
    let head: Vec<&str> = ["connections", "client"].into_iter().chain(HEAP.map(|(name, _)| name)).collect();
    page.table(
        title,
        &head,
        &cells(rows, |runs| HEAP.map(|(_, of)| figure(turns::median(runs, |run| of(&run.heap)) / 1024.0)).into()),
    );
    page.paragraph(&format!(
        "A burst is {count} messages of {} and one of {}, received and sent back, by {} connections at a time.\nWhat the \
         runtime holds for itself is part of it: with one connection all of that is this connection's.",
        page::size(size),
        page::size(LARGE),
        crowd::AT_A_TIME,
    ));
}

/// A line for each number of connections and each client.
fn cells(rows: &[Row], figures: impl Fn(&[Figures]) -> Vec<String>) -> Vec<Vec<String>> {
    let line = |row: &Row, at: usize| {
        [vec![thousands(row.connections as f64), NAMES[at].into()], figures(&row.runs[at])].concat()
    };
    rows.iter().flat_map(|row| [line(row, 0), line(row, 1)]).collect()
}

/// A whole number with a space between thousands.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(" ")
}
