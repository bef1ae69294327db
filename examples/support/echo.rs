//! A server that sends back every message: the other side of the examples.

use futures::{StreamExt as _, future};
use tokio::net::TcpListener;

/// Starts it on a free port of this machine, and gives its URL.
pub(crate) async fn server() -> std::io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(peer) = tokio_tungstenite::accept_async(tcp).await else { return };
                let (sink, stream) = peer.split();
                let messages = stream.filter(|message| {
                    future::ready(message.as_ref().is_ok_and(|message| message.is_text() || message.is_binary()))
                });
                // A client that goes away ends it.
                let _ = messages.forward(sink).await;
            });
        }
    });
    Ok(url)
}
