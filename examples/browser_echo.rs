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

#[path = "support/echo.rs"]
mod echo;

use clap::Parser;
use wsflow::{Message, compat::WebSocket};

/// Says hello to an echo server by the event API, as MDN's example does in a browser.
#[derive(Parser)]
struct Args {
    /// The echo server; without one, it is a task of this program
    url: Option<String>,
}

// On one thread, as in a browser, nothing can happen before this function waits: listeners that are added until then
// miss nothing. On several threads they are given to the builder.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = match Args::parse().url {
        Some(url) => url,
        None => echo::server().await?,
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
