//! Many connections for a long time: random traffic, sizes, stalls, closes and reconnects, every message checked.
//!
//! `cargo run --release --example soak -- --minutes 30` runs against a server of its own, in the same process. It fails if a
//! message is lost, changed or out of order, if a connection hangs, and if memory or descriptors are left at the end. The
//! order of what happens depends on the machine, and so does a second run with the same seed.

mod client;
mod heap;
mod numbered;
mod server;
mod tally;

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use tokio::{
    task::JoinSet,
    time::{Instant, interval_at, sleep},
};

use crate::{
    client::Client,
    tally::{Held, Tally},
};

/// Checks every message of many connections that come and go
#[derive(Debug, Parser)]
struct Args {
    /// How long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many connections there are at a time
    #[arg(long, default_value_t = 200)]
    connections: u64,
    /// What all sizes, pauses and ends are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Which address leads to the server, if a link of its own does
    #[arg(long)]
    through: Option<IpAddr>,
}

/// What the heap may have grown by at the end: the runtime keeps some memory for tasks to come.
const HEAP_GROWTH: isize = 256 * 1024;

/// How long what was closed may take to be gone: the deadlines of closing.
const SETTLING: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match soak(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("failed: {wrong}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(args: &Args) -> Result<(), String> {
    // All that is allocated once is there before anything is counted.
    let time = Duration::try_from_secs_f64(args.minutes * 60.0).map_err(|error| format!("--minutes: {error}"))?;
    run(args, time.min(Duration::from_secs(60)) / 10).await?;
    let before = settled(None).await;
    println!("before: {before}");
    run(args, time).await?;
    let after = settled(Some(before)).await;
    let growth = after.heap - before.heap;
    println!("after: {after}; the heap has grown by {growth} bytes");
    if growth > HEAP_GROWTH || after.descriptors > before.descriptors {
        return Err(format!("something is left: {before} before, {after} after"));
    }
    Ok(())
}

/// Runs all clients to their end.
async fn run(args: &Args, time: Duration) -> Result<(), String> {
    let tally = Arc::<Tally>::default();
    let started = server::start(args.listen, args.seed, Arc::clone(&tally)).await;
    let (port, server) = started.map_err(|error| format!("no server at {}: {error}", args.listen))?;
    let address = SocketAddr::new(args.through.unwrap_or(args.listen), port);
    let (start, mut clients) = (Instant::now(), JoinSet::new());
    for i in 0..args.connections {
        let seed = args.seed.wrapping_mul(1_000_003).wrapping_add(i);
        clients.spawn(Client { address, seed, until: start + time, tally: Arc::clone(&tally) }.run());
    }
    let every = (time / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
    let mut progress = interval_at(start + every, every);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => tally.wrong(error.to_string()),
                None => break,
            },
            _ = progress.tick() => println!("{:>5} s: {tally}", start.elapsed().as_secs()),
        }
    }
    server.abort();
    println!("{:>5} s: {tally}", start.elapsed().as_secs());
    tally.first_wrong().map_or(Ok(()), Err)
}

/// What is held once nothing moves any more, or no more than before.
async fn settled(before: Option<Held>) -> Held {
    let (end, mut last) = (Instant::now() + SETTLING, Held::now());
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = Held::now();
        let is_settled = match before {
            None => now.heap == last.heap && now.descriptors == last.descriptors,
            Some(before) => now.heap <= before.heap + HEAP_GROWTH && now.descriptors <= before.descriptors,
        };
        if is_settled || Instant::now() > end {
            return now;
        }
        last = now;
    }
}
