//! Shows the counters of a connection as Prometheus reads them, and with the feature `tracing` what happens.
//!
//! `cargo run --example metrics` runs against an echo server of its own; `-- --url ws://…` against another one. With
//! `--features tracing` the events of the connection go to stderr.
//!
//! Prometheus and OpenTelemetry name the same thing in two ways. OpenTelemetry has no names for WebSocket, so these have the
//! form of those that it has for HTTP clients:
//!
//! | OpenTelemetry | unit | attribute | from |
//! |---|---|---|---|
//! | `websocket.client.messages` | `{message}` | `network.io.direction` | `messages_received`, `messages_sent` |
//! | `websocket.client.payload.io` | `By` | `network.io.direction` | `payload_bytes_received`, `payload_bytes_sent` |
//! | `websocket.client.network.io` | `By` | `network.io.direction` | `wire_bytes_received`, `wire_bytes_sent` |
//! | `websocket.client.pings` | `{ping}` | `network.io.direction` | `pings_received`, `pings_sent` |
//! | `websocket.client.pongs` | `{pong}` | | `pongs_received` |
//! | `websocket.client.held_back.duration` | `s` | `network.io.direction` | `read_held_back`, `write_held_back` |
//! | `websocket.client.rtt` | `s` | | `last_rtt`, a gauge |
//! | `websocket.client.buffered` | `By` | | `buffered_amount()`, a gauge |
//!
//! In Prometheus a dot is an underscore, and a unit and `_total` come behind it. The attributes of all are those of the
//! span: `server.address` and `server.port`.

#[path = "support/echo.rs"]
mod echo;

use std::time::Duration;

use clap::Parser;
use futures::StreamExt as _;
use tokio::time::{Instant, interval, sleep};
use wsflow::{CloseFrame, Error, Sender, WebSocketStream};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Talks to an echo server, and shows the connection's metrics now and then.
#[derive(Parser)]
struct Args {
    /// The echo server; without one, it is a task of this program
    #[arg(long)]
    url: Option<String>,
    /// How long to talk
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often to show the metrics, in seconds
    #[arg(long, default_value_t = 1.0)]
    every: f64,
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let args = Args::parse();
    // All that is shown of a connection has the target `wsflow`: DEBUG for its steps and its end, TRACE for its pings.
    #[cfg(feature = "tracing")]
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(std::io::stderr)
        .init();
    let url = match &args.url {
        Some(url) => url.clone(),
        None => echo::server().await?,
    };
    let (sender, mut receiver) = WebSocketStream::connect(url).await?.into_split();

    let consumer = tokio::spawn(async move {
        let mut count = 0_u32;
        while receiver.next().await.transpose()?.is_some() {
            count += 1;
            // Slower than the producer.
            if count.is_multiple_of(16) {
                sleep(Duration::from_millis(1)).await;
            }
        }
        Ok::<_, Error>(())
    });
    tokio::select! {
        sent = produce(&sender, Duration::from_secs_f64(args.seconds)) => sent?,
        () = export(&sender, Duration::try_from_secs_f64(args.every)?.max(Duration::from_millis(1))) => {}
    }
    let closed = sender.close_with(CloseFrame::new(1000, "")).await?;
    consumer.await??;
    println!("{}closed with {}", metrics(&sender), closed.code);
    Ok(())
}

/// Sends until the time is over. Each `send` waits while there is no room.
async fn produce(sender: &Sender, time: Duration) -> Result<(), Error> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sender.send("x".repeat(1000)).await?;
    }
    Ok(())
}

/// A real exporter answers requests instead, and asks for the counters at each.
async fn export(sender: &Sender, period: Duration) {
    let mut ticks = interval(period);
    loop {
        ticks.tick().await;
        println!("{}", metrics(sender));
    }
}

fn metrics(sender: &Sender) -> String {
    let stats = sender.stats();
    let seconds = |time: Duration| time.as_secs_f64();
    let mut text = String::new();
    for (name, received, sent) in [
        ("messages_total", stats.messages_received, stats.messages_sent),
        ("payload_io_bytes_total", stats.payload_bytes_received, stats.payload_bytes_sent),
        ("network_io_bytes_total", stats.wire_bytes_received, stats.wire_bytes_sent),
        ("pings_total", stats.pings_received, stats.pings_sent),
    ] {
        for (direction, count) in [("receive", received), ("transmit", sent)] {
            text += &format!("websocket_client_{name}{{network_io_direction=\"{direction}\"}} {count}\n");
        }
    }
    text += &format!("websocket_client_pongs_total {}\n", stats.pongs_received);
    for (direction, time) in [("receive", stats.read_held_back), ("transmit", stats.write_held_back)] {
        let name = "websocket_client_held_back_duration_seconds_total";
        text += &format!("{name}{{network_io_direction=\"{direction}\"}} {}\n", seconds(time));
    }
    // It is there once a pong has come.
    if let Some(rtt) = stats.last_rtt {
        text += &format!("websocket_client_rtt_seconds {}\n", seconds(rtt));
    }
    text + &format!("websocket_client_buffered_bytes {}\n", sender.buffered_amount())
}
