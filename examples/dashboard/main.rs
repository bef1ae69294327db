//! A page that shows backpressure while it happens: the same slow consumer behind the event API and behind the stream.
//!
//! ```text
//! cargo run --release --example dashboard
//! ```
//!
//! The two consumers stand in `../support/receive.rs`, as of the example `callback_vs_stream`. Each is a process of its
//! own, so that its peak memory is its own, and so is the server that sends to them. This process serves the page.

#![allow(unreachable_pub, reason = "in a program every `pub` is; `pub(crate)` throughout would only be noise")]

mod args;
mod board;
mod column;
mod consumer;
mod page;
mod side;

#[path = "../support/child.rs"]
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
#[allow(dead_code, reason = "the other example uses the rest")]
mod sample;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/tick.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod tick;
#[path = "../support/units.rs"]
#[allow(dead_code, reason = "the other example uses the rest")]
mod units;

use std::{future::pending, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::{net::TcpListener, sync::watch, time::sleep};

use args::{Args, Role};
use board::{Board, START};
use child::Child;
use column::Column;
use failure::Failure;
use side::Side;
use tick::Ticks;

/// The size of a tick.
const TICK: usize = 256;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.role {
        None => show(&args).await,
        Some(Role::Server) => {
            child::end_with_parent();
            server::serve(&Ticks::new(TICK), START).await.map_err(Failure::from)
        }
        Some(Role::Consume { side, url, speed }) => consumer::consume(*side, url, *speed, args.limit).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the server and both consumers, and serves the page until the time is over.
async fn show(args: &Args) -> Result<(), Failure> {
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on --listen {}: {error}", args.listen))?;
    let mut server = Child::start(["server".into()])?;
    let address = server.line().await?.ok_or("the server of ticks did not start")?;
    let url = format!("ws://{address}{}", server::TICKS);
    println!("the page is at http://{}/", listener.local_addr()?);

    let (callback, seen_callback) = watch::channel(Column::default());
    let (stream, seen_stream) = watch::channel(Column::default());
    let board = Board::new(args.limit, seen_callback, seen_stream);
    let speed = board.speed.subscribe();
    let time = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs_f64(seconds)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = time => Ok(()),
        Err(error) = column::keep(Side::Callback, &url, args.limit, speed.clone(), callback) => Err(error),
        Err(error) = column::keep(Side::Stream, &url, args.limit, speed, stream) => Err(error),
        served = page::serve(listener, board) => Ok(served?),
    }
}
