//! TCP through a WebSocket, for programs that know nothing of it: what `websockify` serves, such as VNC, SSH or MQTT.
//!
//! ```text
//! cargo run --example tcp_tunnel -- 127.0.0.1:5900 wss://example.com/websockify
//! vncviewer 127.0.0.1:5900
//! ```
//!
//! Each TCP connection gets a WebSocket connection of its own. Nothing in between grows: who reads slowly slows the other side
//! down, through TCP, this program and the WebSocket, in both directions.
//!
//! A program that ends its side of TCP (FIN) closes the WebSocket with 1000: there is no half-close. What the server sends
//! before its own Close is still passed on.

use std::io;

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use wsflow::{ClientBuilder, WebSocketStream};

/// Listens for TCP connections, and carries each over a WebSocket.
#[derive(Parser)]
struct Args {
    /// Where to listen, such as 127.0.0.1:5900; port 0 is a free one
    listen: String,
    /// The server, such as wss://example.com/websockify
    url: String,
    /// The subprotocol to ask for; a server that names none is taken, too
    #[arg(long, value_name = "NAME", default_value = "binary")]
    protocol: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, url, protocol } = Args::parse();
    let client = WebSocketStream::builder(url).protocols([protocol]).subprotocol_required(false);
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("listening on {listen}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, from) = listener.accept().await?;
        let client = client.clone();
        tokio::spawn(async move {
            match tunnel(tcp, client).await {
                Ok((up, down)) => println!("{from}: {up} bytes up, {down} bytes down"),
                Err(error) => eprintln!("{from}: {error}"),
            }
        });
    }
}

/// Returns how many bytes went up, and how many came down.
async fn tunnel(mut tcp: TcpStream, client: ClientBuilder) -> io::Result<(u64, u64)> {
    tcp.set_nodelay(true)?;
    let mut stream = client.connect().await?.into_byte_stream();
    copy_bidirectional(&mut tcp, &mut stream).await
}
