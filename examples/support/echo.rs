//! A server that sends back every message: the other side of the examples.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;

/// Starts it on a free port of this machine, and gives its URL.
pub(crate) async fn server() -> std::io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut peer) = tokio_tungstenite::accept_async(tcp).await else { return };
                // Each message goes back before the next is read: after a Close frame nothing can be sent any more.
                while let Some(Ok(message)) = peer.next().await {
                    let is_data = message.is_text() || message.is_binary();
                    if is_data && peer.send(message).await.is_err() {
                        break; // the client is gone
                    }
                }
            });
        }
    });
    Ok(url)
}
