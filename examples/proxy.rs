//! Connects through a proxy, and echoes one message:
//! `cargo run --features proxy --example proxy -- wss://… socks5://user:secret@localhost:1080`

use anyhow::Context as _;
use clap::Parser;
use futures::{SinkExt as _, StreamExt as _};
use wsflow::{Proxy, WebSocketStream};

/// Sends one message to a server through a proxy, and prints the first that comes back.
#[derive(Parser)]
struct Args {
    /// The server: a ws or wss URL.
    url: String,
    /// The proxy: an http, https, socks5 or socks5h URL. Without it the environment says (HTTP_PROXY, NO_PROXY …).
    proxy: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { url, proxy } = Args::parse();
    let proxy = match proxy {
        None => Proxy::from_env()?,
        Some(proxy) if proxy.starts_with("socks5") => Proxy::socks5(proxy)?,
        Some(proxy) => Proxy::http(proxy)?,
    };
    let mut ws = WebSocketStream::builder(url).proxy(proxy).connect().await?;
    ws.send("hello".into()).await?;
    let message = ws.next().await.context("the server closed without a message")??;
    println!("{message:?}");
    ws.close().await?;
    Ok(())
}
