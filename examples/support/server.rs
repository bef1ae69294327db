//! The embedded server: a firehose of ticks at `/ticks`, a slow reader at `/sink`.

#![expect(clippy::result_large_err, reason = "the type of a refusal is tungstenite's")]

use std::{io, sync::atomic::AtomicU64};

use futures::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    task,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::StatusCode,
        protocol::WebSocketConfig,
    },
};

use crate::{pace::Pace, tick::Ticks};

pub const TICKS: &str = "/ticks";
pub const SINK: &str = "/sink";

/// Says on standard output where it listens, and serves: these ticks, and a reader of this pace in bytes a second.
pub async fn serve(ticks: &Ticks, pace: u64) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let ticks = ticks.clone();
        // A connection ends when its client does, which is no news here.
        task::spawn(async move { connection(socket, ticks, pace).await.ok() });
    }
}

async fn connection(socket: TcpStream, ticks: Ticks, pace: u64) -> Result<(), tungstenite::Error> {
    socket.set_nodelay(true)?;
    let mut path = String::new();
    let config = WebSocketConfig::default()
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(2 * (WRITE_BUFFER + ticks.size()));
    let router = |request: &Request, response| route(request, response, &mut path);
    let ws = accept_hdr_async_with_config(socket, router, Some(config)).await?;
    if path == TICKS { pour(ws, ticks).await } else { drain(ws, Pace::new(AtomicU64::new(pace).into())).await }
}

/// What is not written yet is bounded here too, or it would be the server whose memory grows.
const WRITE_BUFFER: usize = 128 * 1024;

fn route(request: &Request, response: Response, path: &mut String) -> Result<Response, ErrorResponse> {
    request.uri().path().clone_into(path);
    if path == TICKS || path == SINK {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some(format!("there are {TICKS} and {SINK}")));
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    Err(refusal)
}

async fn pour(mut ws: WebSocketStream<TcpStream>, ticks: Ticks) -> Result<(), tungstenite::Error> {
    for tick in ticks {
        ws.feed(Message::text(tick)).await?;
    }
    Ok(())
}

async fn drain(mut ws: WebSocketStream<TcpStream>, mut pace: Pace) -> Result<(), tungstenite::Error> {
    while let Some(message) = ws.next().await {
        pace.work(message?.len()).await;
    }
    Ok(())
}
