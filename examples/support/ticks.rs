//! A server that pours numbered ticks, as fast as each client takes them.

use futures::{SinkExt as _, StreamExt as _, future};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// Starts it on a free port of this machine, and gives its URL.
pub(crate) async fn server() -> std::io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(peer) = tokio_tungstenite::accept_async(tcp).await else { return };
                let (mut sink, stream) = peer.split();
                let pour = async {
                    let mut numbers = 0_u64..;
                    while let Some(number) = numbers.next()
                        && sink.feed(Message::text(format!("tick {number}"))).await.is_ok()
                    {}
                };
                // Reading answers pings, and a close: the pour ends then, since nothing can be sent any more.
                let listen = stream.for_each(|_| future::ready(()));
                tokio::join!(pour, listen);
            });
        }
    });
    Ok(url)
}
