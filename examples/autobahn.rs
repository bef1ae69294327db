//! The client that the Autobahn|Testsuite judges: it echoes what the fuzzing server sends, case by case.
//!
//! `tests/autobahn.sh` installs and starts the server, runs this, and reads the verdicts.

use clap::Parser;
use futures::{SinkExt, StreamExt, TryStreamExt};
use wsflow::{Config, Deflate, Error, WebSocketStream};

const AGENT: &str = "wsflow";

/// Echoes every case of an Autobahn fuzzing server, then has it write its report.
#[derive(Parser)]
struct Args {
    /// Where the fuzzing server is
    #[arg(default_value = "ws://127.0.0.1:9001")]
    url: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Args { url } = Args::parse();
    // One at a time: the server has one thread, and while it computes one case the deadlines of the others run out.
    for case in 1..=case_count(&url).await? {
        run_case(format!("{url}/runCase?case={case}&agent={AGENT}")).await?;
    }
    // The report is written once this connection ends.
    connect(format!("{url}/updateReports?agent={AGENT}")).await?.try_collect::<Vec<_>>().await?;
    Ok(())
}

async fn connect(url: String) -> Result<WebSocketStream, Error> {
    // 9.3.1 and 9.4.1 send 4 MiB in 65,537 frames: one more than is taken by default.
    let config = Config::default().deflate(Deflate::default()).max_fragments(100_000);
    WebSocketStream::builder(url).config(config).connect().await
}

async fn case_count(url: &str) -> Result<u32, Box<dyn std::error::Error>> {
    let mut ws = connect(format!("{url}/getCaseCount")).await?;
    let count = ws.next().await.ok_or("the server did not say how many cases it has")??;
    Ok(count.as_text().unwrap_or_default().parse()?)
}

async fn run_case(url: String) -> Result<(), Error> {
    let ws = connect(url).await?;
    // Many cases are about an error; whether it was met as it should be the server judges.
    let _ = echo(ws).await;
    Ok(())
}

/// Sends back every message until the connection ends. It needs no flush: what was fed goes out before the socket is
/// read again.
async fn echo(mut ws: WebSocketStream) -> Result<(), Error> {
    while let Some(message) = ws.next().await.transpose()? {
        ws.feed(message).await?;
    }
    Ok(())
}
