//! The basic example of MDN's page on `WebSocket`, line for line.
//!
//! ```js
//! // Create WebSocket connection.
//! const socket = new WebSocket("ws://localhost:8080");
//!
//! // Connection opened
//! socket.addEventListener("open", (event) => {
//!   socket.send("Hello Server!");
//! });
//!
//! // Listen for messages
//! socket.addEventListener("message", (event) => {
//!   console.log("Message from server ", event.data);
//! });
//! ```
//!
//! `cargo run --example browser_echo` starts an echo server of its own; `cargo run --example browser_echo -- ws://…`
//! talks to another one.

use futures::StreamExt as _;
use tokio::net::TcpListener;
use wsflow::{Message, compat::WebSocket};

// On one thread, as in a browser, nothing can happen before this function waits: listeners that are added until then
// miss nothing. On several threads they are given to the builder.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => echo_server().await?,
    };

    // Create WebSocket connection.
    let socket = WebSocket::new(&url)?;

    // Connection opened
    socket.add_open_listener(|socket, _event| {
        socket.send("Hello Server!").expect("it is open");
    });

    // Listen for messages
    socket.add_message_listener(|socket, event| {
        match &event.data {
            Message::Text(text) => println!("Message from server {text}"),
            Message::Binary(data) => println!("Message from server: {} bytes", data.len()),
        }
        // A page goes on for ever; this program has seen enough.
        socket.close().expect("without a code it cannot fail");
    });

    socket.closed().await;
    match socket.error() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Echoes whatever its clients say, and gives its URL.
async fn echo_server() -> std::io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(peer) = tokio_tungstenite::accept_async(tcp).await {
                let (sink, stream) = peer.split();
                let messages = stream.take_while(|message| {
                    std::future::ready(message.as_ref().is_ok_and(|message| message.is_text() || message.is_binary()))
                });
                // A client that goes away ends it.
                let _ = messages.forward(sink).await;
            }
        }
    });
    Ok(url)
}
