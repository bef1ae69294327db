//! A file to a server that is slower than the disk, the browser's way and the way of a sink.
//!
//! A browser's `send` never waits. Who must not hold the whole file in memory looks at `bufferedAmount` again and again:
//!
//! ```js
//! async function upload(socket, chunks) {
//!   for await (const chunk of chunks) {
//!     while (socket.bufferedAmount > LIMIT) {
//!       await new Promise((resolve) => setTimeout(resolve, 10));
//!     }
//!     socket.send(chunk);
//!   }
//!   while (socket.bufferedAmount > 0) {
//!     await new Promise((resolve) => setTimeout(resolve, 10));
//!   }
//!   socket.close();
//! }
//! ```
//!
//! A sink waits by itself: no limit to find, no timer, and the next chunk is read at the moment when there is room.

use std::time::{Duration, Instant};

use clap::Parser;
use futures::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpListener, time::sleep};
use wsflow::{Config, Message, ReadyState, WebSocketStream, compat::WebSocket};

/// Uploads 16 MiB to a slow server, twice: with a timer that looks at `bufferedAmount`, and with a sink that waits.
#[derive(Parser)]
struct Args {
    /// The server; without one, it is a task of this program, and slow
    #[arg(long)]
    url: Option<String>,
}

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 256;
const LIMIT: u64 = 1 << 20;

/// How long the server needs for a chunk.
const PACE: Duration = Duration::from_millis(2);

fn chunk() -> Message {
    Message::binary(vec![0; CHUNK])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = match Args::parse().url {
        Some(url) => url,
        None => slow_server().await?,
    };
    println!("{} MiB in {CHUNKS} chunks to {url}", (CHUNK * CHUNKS) >> 20);

    let begun = Instant::now();
    let peak = event_api(&url).await?;
    println!("bufferedAmount: {:>4} ms, at most {peak:>7} bytes waited", begun.elapsed().as_millis());

    let begun = Instant::now();
    let peak = sink(&url).await?;
    println!("sink:           {:>4} ms, at most {peak:>7} bytes waited", begun.elapsed().as_millis());
    Ok(())
}

/// Returns the most that waited.
async fn event_api(url: &str) -> Result<u64, wsflow::Error> {
    let (opened, open) = tokio::sync::oneshot::channel::<()>();
    let mut opened = Some(opened);
    let socket = WebSocket::builder(url)?.config(Config::default()).on_open(move |_, _| drop(opened.take())).connect();
    tokio::select! { _ = open => {}, _ = socket.closed() => {} }

    let mut peak = 0;
    for _ in 0..CHUNKS {
        while socket.buffered_amount() > LIMIT && socket.ready_state() == ReadyState::Open {
            sleep(Duration::from_millis(10)).await;
        }
        socket.send(chunk()).expect("it is not connecting any more");
        peak = peak.max(socket.buffered_amount());
    }
    // In a browser this is another loop around a timer.
    socket.drained().await;
    socket.close().expect("without a code it cannot fail");
    socket.closed().await;
    socket.error().map_or(Ok(peak), Err)
}

/// Returns the most that waited.
async fn sink(url: &str) -> Result<u64, wsflow::Error> {
    let mut socket = WebSocketStream::connect(url).await?;
    let mut peak = 0;
    for _ in 0..CHUNKS {
        socket.feed(chunk()).await?;
        peak = peak.max(socket.buffered_amount());
    }
    socket.close().await?;
    Ok(peak)
}

/// Reads at its pace and keeps nothing; gives its URL.
async fn slow_server() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut peer) = tokio_tungstenite::accept_async(tcp).await {
                while let Some(Ok(_)) = peer.next().await {
                    sleep(PACE).await;
                }
            }
        }
    });
    Ok(url)
}
