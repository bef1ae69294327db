//! A market data client that stays connected: whenever its connection ends it makes another one and subscribes again.
//!
//! `cargo run --example market_feed` runs against a server of its own, which restarts now and then; `-- --url wss://…`
//! against another one. Ctrl-C closes the connection and prints what came.

#[path = "support/market.rs"]
mod market;

use std::time::{Duration, Instant};

use clap::Parser;
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wsflow::{Backoff, CloseFrame, Config, Error, MessageRef, Reconnect, Retry, WebSocketStream};

/// Subscribes to channels of a market data server, and counts the ticks until Ctrl-C.
#[derive(Parser)]
struct Args {
    /// The server; without one, it is a task of this program
    #[arg(long)]
    url: Option<String>,
    /// A channel to subscribe to; may be repeated
    #[arg(long = "channel", value_name = "NAME", default_values = ["BTC-USD", "ETH-USD"])]
    channels: Vec<String>,
    /// Is sent as `Authorization: Bearer …`
    #[arg(long)]
    token: Option<String>,
    /// The longest first wait before connecting again, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    initial: u64,
    /// The longest wait, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    max: u64,
}

#[derive(Debug, Default)]
struct Totals {
    connections: u64,
    ticks: u64,
    highest: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let url = match &args.url {
        Some(url) => url.clone(),
        None => market::server().await?,
    };
    let stop = CancellationToken::new();
    let at_ctrl_c = stop.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| at_ctrl_c.cancel()) });

    let (ended, last_end) = watch::channel(None::<Instant>);
    let mut connections = Reconnect::new(|| {
        if let Some(end) = *last_end.borrow() {
            println!("retry: after {:.0?}", end.elapsed());
        }
        connect(&url, args.token.as_deref())
    })
    .backoff(Backoff::default().initial(Duration::from_millis(args.initial)).max(Duration::from_millis(args.max)))
    .retry(move |end| {
        println!("end: {end}");
        ended.send_replace(Some(Instant::now()));
        Retry::Default
    })
    .signal(stop.clone());

    let mut totals = Totals::default();
    while let Some(mut ws) = connections.next().await.transpose()? {
        if stop.run_until_cancelled(follow(&mut ws, &args.channels, &mut totals)).await.is_none() {
            let closed = ws.close_with(CloseFrame::new(1000, "bye")).await?;
            println!("closed: {} (clean: {})", closed.code, closed.was_clean);
        }
    }
    println!("{totals:?}");
    Ok(())
}

/// Each attempt makes a request of its own: a token that expires would be fetched here.
async fn connect(url: &str, token: Option<&str>) -> Result<WebSocketStream, Error> {
    let config = Config::default()
        .keepalive_interval(Duration::from_secs(10))
        .keepalive_timeout(Duration::from_secs(5))
        .message_timeout(Duration::from_secs(30))
        .write_timeout(Duration::from_secs(10));
    let mut builder = WebSocketStream::builder(url).config(config);
    if let Some(token) = token {
        builder = builder.header("Authorization", format!("Bearer {token}"));
    }
    builder.connect().await
}

/// Subscribes and reads until the connection ends. How it ended is known to `Reconnect`.
async fn follow(ws: &mut WebSocketStream, channels: &[String], totals: &mut Totals) {
    println!("open");
    totals.connections += 1;
    for channel in channels {
        if ws.send(format!(r#"{{"op":"subscribe","channel":"{channel}"}}"#).into()).await.is_err() {
            break; // reading tells why
        }
        println!("subscribed: {channel}");
    }
    while let Some(Ok(tick)) = ws.next_ref().await {
        totals.ticks += 1;
        totals.highest = totals.highest.max(price(tick).unwrap_or_default());
    }
}

/// The price in a tick, which is parsed where it lies in the read buffer.
fn price(tick: MessageRef<'_>) -> Option<f64> {
    let (_, rest) = tick.as_text()?.split_once(r#""price":"#)?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}
