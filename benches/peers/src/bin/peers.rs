//! Every peer beside wsflow, in one run: receive, send and round trips over loopback TCP.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --markdown docs/peers.md --svg docs/peers.svg --readme
//! README.md` takes all figures; `--help` shows how to take some.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

use wsflow_peers::{
    chart,
    entry::Entry,
    error::Result,
    heap, machine, peers, pin,
    report::Report,
    rounds,
    rounds::{Cell, Plan, Row},
    server,
    server::Server,
    workload,
    workload::Workload,
};

/// Where the two processes run.
const CLIENT_CORE: usize = 0;
const SERVER_CORE: usize = 1;

/// Measures wsflow beside other WebSocket clients.
#[derive(Parser)]
struct Args {
    /// Rounds that count, three times as many where messages are sent that are large; one more warms up and checks
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long a run of wsflow takes; the others do as many messages
    #[arg(long, default_value_t = 0.15)]
    seconds_per_run: f64,
    /// Three rounds of 30 ms: to see that all works
    #[arg(long)]
    quick: bool,
    /// Only workloads of which family and name contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Only these peers, beside wsflow
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Writes the report to this file rather than to the terminal
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Puts the table of CPU time into this page, between the lines that mark its place
    #[arg(long)]
    readme: Option<PathBuf>,
    /// Draws a bar chart of a handful of workloads into this file
    #[arg(long)]
    svg: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Serve,
}

/// The arguments that make this binary the server.
const SERVE: [&str; 1] = ["serve"];

impl Args {
    fn plan(&self) -> Plan {
        let (rounds, seconds) = if self.quick { (3, 0.03) } else { (self.rounds, self.seconds_per_run) };
        Plan { rounds: rounds.max(1), run: Duration::from_secs_f64(seconds) }
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let known = |name: &String| peers::ALL.iter().any(|entry| entry.about.name == name);
        if let Some(unknown) = self.peers.iter().find(|name| !known(name)) {
            let names: Vec<&str> = peers::ALL.iter().map(|entry| entry.about.name).collect();
            return Err(format!("no peer {unknown}: there are {}", names.join(", ")).into());
        }
        let is_asked = |at: usize, entry: &Entry| {
            at == 0 || self.peers.is_empty() || self.peers.iter().any(|name| name == entry.about.name)
        };
        let all = peers::ALL.into_iter().enumerate();
        Ok(all.filter(|(at, entry)| is_asked(*at, entry)).map(|(_, entry)| entry).collect())
    }

    fn workloads(&self) -> Result<Vec<Workload>> {
        let title = |row: &Workload| format!("{} {row}", row.family.title()).to_lowercase();
        let only = self.only.to_lowercase();
        let rows: Vec<Workload> = workload::all().into_iter().filter(|row| title(row).contains(&only)).collect();
        if rows.is_empty() { Err(format!("no workload contains {only:?}").into()) } else { Ok(rows) }
    }
}

fn main() -> Result<()> {
    heap::keep()?;
    let args = Args::parse();
    if let Some(Role::Serve) = args.role {
        return Ok(server::serve(SERVER_CORE)?);
    }
    let report = measure(&args)?;
    match &args.markdown {
        Some(file) => fs::write(file, report.to_string())?,
        None => print!("{report}"),
    }
    if let Some(file) = &args.readme {
        fs::write(file, report.put_summary_into(&fs::read_to_string(file)?)?)?;
    }
    if let Some(file) = &args.svg {
        chart::draw(file, &report)?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Report> {
    let (entries, workloads, plan) = (args.entries()?, args.workloads()?, args.plan());
    let machine = machine::describe();
    let server = Server::start(&SERVE)?;
    pin::to_core(CLIENT_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for workload in workloads {
        let row = runtime.block_on(rounds::run(server.address(), &entries, workload, plan))?;
        tell(&row, &entries);
        rows.push(row);
    }
    Ok(Report { machine, entries, plan, command: machine::command(), rows })
}

/// A line of progress.
fn tell(row: &Row, entries: &[Entry]) {
    let cells = row.cells.iter().zip(entries).map(|(cell, entry)| match cell {
        Cell::Taken { cpu, .. } => format!("{} {cpu:.0}", entry.about.name),
        Cell::Absent(_) => format!("{} -", entry.about.name),
        Cell::Failed(why) => format!("{} failed: {why}", entry.about.name),
    });
    let cells = cells.collect::<Vec<_>>().join(", ");
    eprintln!("{}, {}, {} messages, CPU ns: {cells}", row.workload.family.title(), row.workload, row.count);
}
