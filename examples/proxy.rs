//! Connects through a proxy: `cargo run --features proxy --example proxy -- socks5://user:secret@localhost:1080 wss://…`

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use wsflow::{Proxy, WebSocketStream};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (proxy, url) = args.next().zip(args.next()).context("usage: proxy PROXY URL")?;
    let proxy = if proxy.starts_with("http:") { Proxy::http(proxy)? } else { Proxy::socks5(proxy)? };
    let mut ws = WebSocketStream::builder(url).proxy(proxy).connect().await?;
    ws.send("hello".into()).await?;
    if let Some(message) = ws.next().await.transpose()? {
        println!("{message:?}");
    }
    ws.close().await?;
    Ok(())
}
