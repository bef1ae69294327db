//! The page over HTTP, and the WebSocket to it.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::{Html, IntoResponse},
    routing::get,
};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};

use crate::board::Board;

/// Serves the page to whoever asks for it.
pub async fn serve(listener: TcpListener, board: Board) -> io::Result<()> {
    let page = get(|| async { Html(include_str!("page.html")) });
    let router = Router::new().route("/", page).route("/lines", get(upgrade)).with_state(Arc::new(board));
    axum::serve(listener, router).await
}

async fn upgrade(upgrade: WebSocketUpgrade, State(board): State<Arc<Board>>) -> impl IntoResponse {
    // A page that goes away ends it, which is no news here.
    upgrade.on_upgrade(|socket| async move { attend(socket, &board).await.unwrap_or_default() })
}

/// Sends a snapshot ten times a second and takes orders, until the page goes away. A page that reads slowly gets fewer.
async fn attend(mut socket: WebSocket, board: &Board) -> Result<(), axum::Error> {
    let mut snapshots = interval(BETWEEN);
    snapshots.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = snapshots.tick() => {
                let line = serde_json::to_string(&board.snapshot()).map_err(axum::Error::new)?;
                socket.send(Message::text(line)).await?;
            }
            message = socket.recv() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let Message::Text(line) = message else { continue };
                if let Err(wrong) = board.obey(&line) {
                    let frame = CloseFrame { code: close_code::POLICY, reason: wrong.into() };
                    socket.send(Message::Close(Some(frame))).await?;
                }
            }
        }
    }
}

/// The time between two snapshots.
const BETWEEN: Duration = Duration::from_millis(100);
