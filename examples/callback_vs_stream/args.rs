//! What can be said on the command line.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, Subcommand};
use url::Url;

use crate::{
    option,
    run::Run,
    tick,
    units::{Bytes, parse_bytes},
};

/// The same slow consumer, and the same fast producer, behind the browser's event API and behind the stream.
///
/// Four runs, each in a process of its own: receiving and sending, by callback and by stream. Without `--url` they talk
/// to an embedded server, which sends market ticks as fast as the socket takes them and reads at the pace of --pace.
/// At the end there is a table, and a drawing of what waited in the client's memory over time.
#[derive(Debug, Clone, Parser)]
#[command(name = "callback_vs_stream", disable_help_subcommand = true)]
#[command(override_usage = "cargo run --release --example callback_vs_stream -- [OPTIONS]")]
pub struct Args {
    /// Run against this server instead of the embedded one
    ///
    /// It is used as it is. If it sends nothing (or no more than a greeting) within a second, it is taken for an echo
    /// server: the receive runs then send it ticks, and another for each that came back. If it does not echo either,
    /// the receive runs are left out.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<Url>,

    /// How long a run takes, in seconds
    #[arg(long, value_name = "N", default_value = "5", value_parser = option::seconds)]
    pub seconds: f64,

    /// Size of a tick, such as 256 or 16KiB
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = message_size)]
    pub message_size: usize,

    /// A run stops when more than this waits in the client
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = option::size)]
    pub ceiling: u64,

    /// How much the slow reader handles in a second: the consumer, and the embedded server that is sent to
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = option::size)]
    pub pace: u64,

    /// Where the drawing goes
    #[arg(long, value_name = "FILE", default_value = "callback_vs_stream.svg", value_parser = plot)]
    pub plot: PathBuf,

    #[command(subcommand)]
    pub role: Option<Role>,
}

/// What a process of this program is, if it is not the one that a person started.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    #[command(hide = true)]
    Server,
    #[command(hide = true)]
    Run {
        run: Run,
        #[arg(long)]
        echo: bool,
    },
}

impl Args {
    /// The arguments from which a child reads the same settings.
    pub fn settings(&self) -> Vec<String> {
        let Self { seconds, message_size, ceiling, pace, .. } = self;
        vec![
            format!("--seconds={seconds}"),
            format!("--message-size={message_size}"),
            format!("--ceiling={ceiling}"),
            format!("--pace={pace}"),
        ]
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Finds out before the runs, not after them, that the drawing cannot be written.
    pub fn check_plot(&self) -> Result<(), String> {
        let is_new = !self.plot.exists();
        let opened = OpenOptions::new().append(true).create(true).open(&self.plot);
        let file = opened.map_err(|error| format!("cannot write --plot {}: {error}", self.plot.display()))?;
        drop(file);
        if is_new {
            let _ = std::fs::remove_file(&self.plot);
        }
        Ok(())
    }
}

fn url(text: &str) -> Result<Url, String> {
    let expected = "expected a WebSocket URL such as ws://localhost:8080/feed";
    let url = Url::parse(text).map_err(|error| format!("{expected} ({error})"))?;
    match url.scheme() {
        "ws" | "wss" => Ok(url),
        scheme => Err(format!("{expected}, with ws: or wss:, not {scheme}:")),
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    const MAX: usize = 16 << 20;
    let size = parse_bytes(text).and_then(|size| usize::try_from(size).ok());
    size.filter(|size| (tick::MIN_SIZE..=MAX).contains(size)).ok_or_else(|| {
        format!("expected a size from {} to {}, such as 256 or 16KiB", Bytes(tick::MIN_SIZE as u64), Bytes(MAX as u64))
    })
}

fn plot(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        Ok(path.to_owned())
    } else {
        Err("expected the name of an SVG file, ending in .svg".into())
    }
}
