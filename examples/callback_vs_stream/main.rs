//! The same slow consumer, and the same fast producer, behind the event API and behind the stream.
//!
//! What to read: `../support/receive.rs` and `send.rs`, where the two APIs stand side by side. The rest is the machinery
//! that measures them: each run is a process of its own, so that its peak memory is its own, and so is the server.
//!
//! ```text
//! cargo run --release --example callback_vs_stream
//! ```

#![allow(unreachable_pub, reason = "in a program every `pub` is; `pub(crate)` throughout would only be noise")]

mod args;
mod chart;
#[path = "../support/drawing.rs"]
mod drawing;
mod outcome;
mod peer;
mod report;
mod run;
mod send;

#[path = "../support/child.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod child;
#[path = "../support/failure.rs"]
mod failure;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/meter.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod meter;
#[path = "../support/option.rs"]
mod option;
#[path = "../support/pace.rs"]
mod pace;
#[path = "../support/receive.rs"]
mod receive;
#[path = "../support/sample.rs"]
mod sample;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/tick.rs"]
mod tick;
#[path = "../support/units.rs"]
mod units;

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use args::{Args, Role};
use child::Child;
use failure::Failure;
use outcome::{Line, rate};
use peer::{Habit, Peer};
use report::{Result as RunResult, Table};
use run::Run;
use tick::Ticks;
use units::{Bytes, Seconds};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.role.is_some() {
        child::end_with_parent();
    }
    let done = match args.role {
        None => compare(&args).await,
        Some(Role::Server) => server::serve(&Ticks::new(args.message_size), args.pace).await.map_err(Failure::from),
        Some(Role::Run { run, echo }) => return run::carry_out(run, echo, &args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out the runs one after another, then shows the table and draws the curves.
async fn compare(args: &Args) -> Result<(), Failure> {
    args.check_plot()?;
    let peer = Peer::find(args).await?;
    println!("{}", peer.description);
    println!(
        "messages of {}, slow reader at {}/s, {} a run, stopped at {} waiting\n",
        Bytes(args.message_size as u64),
        Bytes(args.pace),
        Seconds(args.duration()),
        Bytes(args.ceiling)
    );

    let mut results = Vec::new();
    for run in Run::ALL {
        if run.receives() && peer.habit == Habit::Listens {
            println!("{:<20} left out: the server sends nothing and echoes nothing", run.title());
            continue;
        }
        let result = observe(run, &peer, args).await.map_err(|error| format!("{}: {error}", run.title()))?;
        println!("{:<20} {}", run.title(), result.outcome);
        results.push(result);
    }

    println!("\n{}\n", Table(&results));
    chart::draw(&args.plot, args, &results)?;
    println!("The curves are in {}", args.plot.display());
    Ok(())
}

/// Starts a run in a process of its own and follows it to its end.
async fn observe(run: Run, peer: &Peer, args: &Args) -> Result<RunResult, Failure> {
    let mut words = args.settings();
    words.push(format!("--url={}", if run.receives() { &peer.source } else { &peer.sink }));
    words.extend(["run".into(), run.to_string()]);
    if peer.habit == Habit::Echoes {
        words.push("--echo".into());
    }
    let mut child = Child::start(words)?;

    let bar = ProgressBar::new(args.duration().as_millis() as u64);
    let bar = bar.with_prefix(run.title()).with_finish(ProgressFinish::AndClear);
    bar.set_style(ProgressStyle::with_template("{prefix:<20} [{bar:30}] {msg}")?);
    let mut samples = Vec::new();
    while let Some(line) = child.line().await? {
        match Line::parse(&line).ok_or_else(|| format!("a run said {line:?}"))? {
            Line::Sample(sample) => {
                bar.set_position(sample.time.as_millis() as u64);
                let time = Seconds(sample.time);
                bar.set_message(format!("{time}, {:.1} MB/s, {} waiting", rate(&sample), Bytes(sample.waiting)));
                samples.push(sample);
            }
            Line::Outcome(outcome) => {
                child.end().await?;
                return Ok(RunResult { run, outcome, samples });
            }
            Line::Failure(message) => return Err(message.into()),
        }
    }
    Err("its process ended without an outcome".into())
}
