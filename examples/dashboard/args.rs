//! What can be said on the command line.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::{option, side::Side, units::Bytes};

/// A page that shows backpressure while it happens.
///
/// An embedded server sends market ticks as fast as each socket takes them. Two consumers of the same speed read them:
/// one behind the browser's event API, one behind the stream. The page has a slider for their speed, and curves of the
/// bytes that wait, of the rate and of the peak memory. It can run for hours: its memory is bounded by --limit.
#[derive(Debug, Clone, Parser)]
#[command(name = "dashboard", disable_help_subcommand = true)]
#[command(override_usage = "cargo run --release --example dashboard -- [OPTIONS]")]
pub struct Args {
    /// Where the page is served: an IP address and a port, where 0 is a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,

    /// A consumer is stopped and started again when more than this waits, 1MiB or more; its memory is a quarter more
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = limit, global = true)]
    pub limit: u64,

    /// End after so many seconds, 0.1 to 86400; without it, never
    #[arg(long, value_name = "N", value_parser = option::seconds)]
    pub seconds: Option<f64>,

    #[command(subcommand)]
    pub role: Option<Role>,
}

/// What a process of this program is, if it is not the one that a person started.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    #[command(hide = true)]
    Server,
    #[command(hide = true)]
    Consume { side: Side, url: String, speed: u64 },
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into())
}

/// The stream holds less than this minimum, so that only the queue of the event API comes to the limit.
fn limit(text: &str) -> Result<u64, String> {
    const MIN: u64 = 1 << 20;
    let size = option::size(text)?;
    if size >= MIN { Ok(size) } else { Err(format!("expected {} or more", Bytes(MIN))) }
}
