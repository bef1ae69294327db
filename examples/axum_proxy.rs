//! An axum server that passes each WebSocket on to another server, and holds neither more than the slower side takes.
//!
//! ```text
//! cargo run --example axum_proxy -- --upstream wss://example.com/feed --listen 127.0.0.1:8080
//! cargo run --example wscat -- ws://127.0.0.1:8080
//! ```
//!
//! It shows two connections as one. A client that reads slowly slows its upstream down, and the other way round, since
//! nothing is taken from one side before the other has room for it. What is held for a client, besides what the operating
//! system holds for its sockets:
//!
//! | direction | where | at most |
//! |---|---|---|
//! | down, to the client | the upstream's `Receiver` | `read_high_water_mark` (128 KiB), two read buffers (128 KiB each), one message |
//! | | axum's write buffer | `write_buffer_size` (128 KiB), one message |
//! | up, to the upstream | axum's read buffer | `read_buffer_size` (128 KiB), one message |
//! | | the upstream's `Sender` | `write_high_water_mark` (128 KiB), one message |
//!
//! Whichever side closes, the other is closed with the same code and reason, once it has what was sent before. Of a side
//! that is gone without a Close frame the other is told by a code that says so: 1014 (bad gateway) to the client, 1001
//! (going away) to the upstream.
//!
//! Pings are answered at each hop, by axum and by wsflow, and not passed on: neither library leaves the answer to us. An
//! upstream that is dead is found by wsflow's keepalive. A side that is not read, since the other is slow, gets no pongs.

#[path = "support/ticks.rs"]
mod ticks;

use std::{str::Utf8Error, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{
        State,
        ws::{self, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    response::{IntoResponse as _, Response},
    routing::any,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use clap::Parser;
use futures::{
    SinkExt as _, StreamExt as _, future,
    stream::{SplitSink, SplitStream},
};
use tokio::{net::TcpListener, time::timeout};
use wsflow::{CloseCode, CloseFrame, Closed, Message, Receiver, Sender, Utf8Bytes, WebSocketStream};

/// How long a client may take to answer a Close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Passes each WebSocket on to another server.
#[derive(Parser)]
struct Args {
    /// The other server; without one, it is a task of this program that pours ticks
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where clients connect to; with port 0, a free one is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let upstream = match args.upstream {
        Some(url) => url,
        None => ticks::server().await?,
    };
    let listener =
        TcpListener::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("ws://{} passes on to {upstream}", listener.local_addr()?);
    let app = Router::new().fallback(any(accept)).with_state(Arc::<str>::from(upstream));
    let listener = listener.tap_io(|tcp| {
        // Without it small messages are late, and nothing else is wrong.
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}

/// Connects to the upstream first: a client gets no connection that leads nowhere.
async fn accept(State(url): State<Arc<str>>, headers: HeaderMap, mut upgrade: WebSocketUpgrade) -> Response {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    let protocols = lists.flat_map(|list| list.split(',')).map(str::trim);
    let upstream = match WebSocketStream::builder(&url).protocols(protocols).connect().await {
        Ok(upstream) => upstream,
        Err(error) => {
            eprintln!("{url}: {error}");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    if let Ok(chosen) = HeaderValue::from_str(upstream.protocol())
        && !chosen.is_empty()
    {
        upgrade.set_selected_protocol(chosen);
    }
    upgrade.on_upgrade(|client| relay(client, upstream))
}

/// Which side ended, and what is said to the other.
enum End {
    /// The upstream, after all that it sent was passed on. Its `Sender` knows how.
    Upstream,
    /// The client.
    Client(CloseFrame),
}

async fn relay(client: WebSocket, upstream: WebSocketStream) {
    let (mut to_client, mut from_client) = client.split();
    let (sender, mut receiver) = upstream.into_split();
    let end = tokio::select! {
        end = down(&mut receiver, &mut to_client) => end,
        end = up(&mut from_client, &sender) => end,
    };
    // axum answers a Close frame, and sends what it has buffered, while somebody reads.
    let read_on = async { while let Some(Ok(_)) = from_client.next().await {} };
    match end {
        End::Upstream => {
            let frame = told_to_client(&sender.closed().await);
            let closing = async {
                if to_client.send(ws::Message::Close(frame)).await.is_ok() {
                    read_on.await;
                }
            };
            // A client that does not answer is dropped.
            let _ = timeout(CLOSE_TIMEOUT, closing).await;
        }
        End::Client(frame) => {
            // What the upstream still sends is for nobody: unread it would stand before its Close frame.
            drop(receiver);
            // The upstream ends within the deadlines of `Config`. Nobody is left to be told how.
            let _ = tokio::join!(sender.close_with(frame), timeout(CLOSE_TIMEOUT, read_on));
        }
    }
}

/// Passes on what the upstream sends. `send_all` takes the next message when axum has room for it, and flushes when no
/// message waits.
async fn down(upstream: &mut Receiver, client: &mut SplitSink<WebSocket, ws::Message>) -> End {
    // An error is the last item: how the upstream ended is asked later.
    let mut messages =
        upstream.filter_map(|message| future::ready(message.ok().and_then(|message| to_client(message).ok()).map(Ok)));
    match client.send_all(&mut messages).await {
        Ok(()) => End::Upstream,
        Err(_) => End::Client(gone()),
    }
}

/// Passes on what the client sends. `send` waits for room.
async fn up(client: &mut SplitStream<WebSocket>, upstream: &Sender) -> End {
    while let Some(Ok(message)) = client.next().await {
        let message = match message {
            ws::Message::Text(text) => to_upstream(text),
            ws::Message::Binary(data) => Ok(data.into()),
            ws::Message::Ping(_) | ws::Message::Pong(_) => continue,
            ws::Message::Close(None) => return End::Client(CloseFrame::empty()),
            ws::Message::Close(Some(frame)) => {
                return End::Client(CloseFrame::new(frame.code, frame.reason.as_str()));
            }
        };
        if let Ok(message) = message {
            // An upstream that has ended takes nothing more. What it sent before is still on its way down: `down` ends when
            // the client has it.
            let _ = upstream.send(message).await;
        }
    }
    End::Client(gone())
}

// axum and wsflow have each a text type of their own, since they use two versions of tungstenite. Both are `Bytes` inside,
// so no byte is copied. Neither takes the other's word for it: the check that it is UTF-8 is done once more, one pass over
// the text, and cannot fail. Binary messages are `Bytes` on both sides, and cost nothing.

fn to_client(message: Message) -> Result<ws::Message, Utf8Error> {
    match message {
        Message::Text(text) => Ok(ws::Message::Text(Bytes::from(text).try_into()?)),
        Message::Binary(data) => Ok(ws::Message::Binary(data)),
    }
}

fn to_upstream(text: ws::Utf8Bytes) -> Result<Message, Utf8Error> {
    Ok(Message::Text(Utf8Bytes::try_from(Bytes::from(text))?))
}

/// What the client is told of the upstream's end.
fn told_to_client(closed: &Closed) -> Option<ws::CloseFrame> {
    let (code, reason) = match closed.code {
        CloseCode::NO_STATUS_RECEIVED => return None,
        CloseCode::ABNORMAL_CLOSURE => (CloseCode::BAD_GATEWAY, "the upstream is gone"),
        code => (code, closed.reason.as_str()),
    };
    Some(ws::CloseFrame { code: code.into(), reason: reason.into() })
}

/// What the upstream is told of a client without a Close frame.
fn gone() -> CloseFrame {
    CloseFrame::new(CloseCode::GOING_AWAY, "the client is gone")
}
