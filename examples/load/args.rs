//! What can be said on the command line.

use std::{path::PathBuf, thread, time::Duration};

use clap::Parser;

use crate::{
    pace::Pace,
    units::{Bytes, parse_bytes},
    window::STAMP,
};

/// Sends messages over many connections to an echo server, and measures how long they take there and back.
///
/// Without --url the echo server is a task of this program, on the same threads: it takes its part of their time.
#[derive(Debug, Parser)]
#[command(name = "load", override_usage = "cargo run --release --example load -- [OPTIONS]")]
pub struct Args {
    /// The echo server; without one, it is a task of this program
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// How many connections
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    pub connections: usize,

    /// How many of them are opened in a second; the measuring begins after the last
    #[arg(long, value_name = "N", default_value = "100", value_parser = per_second)]
    pub rate: f64,

    /// Size of a message, such as 128 or 16KiB; 8 bytes of it are the time
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = size)]
    pub size: usize,

    /// For how many seconds is measured
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// How many messages each connection sends in a second; timers have a resolution of 1 ms, which the latency includes
    #[arg(long, value_name = "N", value_parser = per_second)]
    pub messages_per_second: Option<f64>,

    /// As fast as answers come, with so many messages under way on each connection
    #[arg(long, value_name = "K", default_value = "1", value_parser = at_least_one)]
    #[arg(conflicts_with = "messages_per_second")]
    pub in_flight: usize,

    /// How many threads
    #[arg(long, value_name = "N", default_value_t = threads(), value_parser = at_least_one)]
    pub threads: usize,

    /// Where to draw the latency by percentile
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Args {
    pub fn pace(&self) -> Pace {
        match self.messages_per_second {
            Some(rate) => Pace::Every(Duration::from_secs_f64(1.0 / rate)),
            None => Pace::InFlight(self.in_flight as u64),
        }
    }

    /// How long it takes until all connections are opened.
    pub fn ramp(&self) -> Duration {
        self.ramp_until(self.connections)
    }

    /// When a connection is opened, after the first.
    pub fn ramp_until(&self, index: usize) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate)
    }
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    const MAX: usize = 1_000_000;
    let number = text.parse().ok().filter(|number| (1..=MAX).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX}"))
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds from 0.1 to 86400".into())
}

fn size(text: &str) -> Result<usize, String> {
    const MAX: usize = 16 << 20;
    let size = parse_bytes(text).and_then(|size| usize::try_from(size).ok());
    size.filter(|size| (STAMP..=MAX).contains(size)).ok_or_else(|| {
        format!("expected a size from {} to {}, such as 128 or 16KiB", Bytes(STAMP as u64), Bytes(MAX as u64))
    })
}
