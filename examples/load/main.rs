//! A load generator: many connections to an echo server, and how long each message takes there and back.
//!
//! ```text
//! cargo run --release --example load -- --connections 100 --messages-per-second 50 --svg load.svg
//! cargo run --release --example load -- --url wss://example.com/echo --in-flight 8 --size 1KiB
//! ```
//!
//! What to read: `connection.rs`, a loop in one task that sends and receives and never waits for one of them alone; and
//! `pace.rs`, which says when a message is due.
//!
//! At a given rate the latency is measured from when a message was due, not from when it could be sent. A server that stops
//! for a second makes all messages late that were due in that second, and they count: a client that waits for the server
//! and then measures only its own sending leaves them out (coordinated omission). Without a rate the next message waits for
//! an answer, and the latency is that of `--in-flight` messages at a time, however slow they are.
//!
//! Memory is bounded: a thread has one histogram, and a connection has its payload and its buffers. The time when a
//! message was due travels in the message, and comes back with the answer, so that no list of them is kept.

#![allow(unreachable_pub, reason = "in a program every `pub` is; `pub(crate)` throughout would only be noise")]

mod args;
mod chart;
mod connection;
#[path = "../support/drawing.rs"]
mod drawing;
#[path = "../support/echo.rs"]
mod echo;
mod failure;
mod pace;
mod report;
mod tally;
#[path = "../support/units.rs"]
mod units;
mod window;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep_until},
};

use args::Args;
use report::Report;
use tally::Tally;
use window::Window;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
    runtime.block_on(run(Arc::new(args)))
}

async fn run(args: Arc<Args>) -> anyhow::Result<()> {
    let url: Arc<str> = match &args.url {
        Some(url) => url.as_str().into(),
        None => echo::server().await?.into(),
    };
    let window = Window::after(args.ramp(), args.duration);
    // One for each thread: connections that share one seldom meet.
    let tallies: Arc<[Mutex<Tally>]> = (0..args.threads).map(|_| Mutex::default()).collect();

    let mut connections = JoinSet::new();
    for (index, begin) in (0..args.connections).map(|index| (index, window.zero + args.ramp_until(index))) {
        let (url, args, tallies) = (url.clone(), args.clone(), tallies.clone());
        connections.spawn(async move {
            sleep_until(begin).await;
            let tally = &tallies[index % tallies.len()];
            if let Err(failure) = connection::run(&url, &args, window, tally).await {
                tally.lock().unwrap_or_else(PoisonError::into_inner).failed(&failure);
            }
        });
    }
    watch(&mut connections, window).await?;

    let mut total = Tally::default();
    for tally in &*tallies {
        total.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
    println!("{}", Report { url: &url, args: &args, total: &total });
    if let Some(file) = &args.svg {
        chart::draw(file, &args, &total.latency)
            .map_err(anyhow::Error::from_boxed)
            .with_context(|| format!("--svg {}", file.display()))?;
        println!("the curve is in {}", file.display());
    }
    anyhow::ensure!(!total.latency.is_empty(), "nothing was measured");
    Ok(())
}

/// Waits for all connections, and shows how much of the time has passed.
async fn watch(connections: &mut JoinSet<()>, window: Window) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{wide_bar} {elapsed}/{msg}  {prefix} connections")?;
    let whole = window.until - window.zero;
    let bar = ProgressBar::new(whole.as_millis() as u64).with_style(style).with_message(format!("{whole:.0?}"));
    let mut tick = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            joined = connections.join_next() => match joined {
                Some(joined) => joined?,
                None => break,
            },
            _ = tick.tick() => {
                bar.set_prefix(connections.len().to_string());
                bar.set_position(Instant::now().duration_since(window.zero).as_millis() as u64);
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}
