//! An upgrade that hyper makes: the request goes out by its client, and the stream over what it upgraded.
//!
//! `cargo run --example hyper_client` starts an echo server of its own; `cargo run --example hyper_client -- ws://…` talks to
//! another one.

#[path = "support/echo.rs"]
mod echo;

use clap::Parser;
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wsflow::{CloseFrame, WebSocketStream};

/// Says hello to an echo server, over a connection that hyper's client opens.
#[derive(Parser)]
struct Args {
    /// The echo server, without TLS; without one, it is a task of this program
    url: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = match Args::parse().url {
        Some(url) => url,
        None => echo::server().await?,
    };
    let (request, upgrade) = WebSocketStream::builder(&url).into_request()?;

    let (host, port) = (request.uri().host().unwrap_or_default(), request.uri().port_u16().unwrap_or(80));
    let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection.with_upgrades());

    // hyper writes the URI as it is, and a server expects path and query alone. The body is empty.
    let (mut parts, ()) = request.into_parts();
    parts.uri = parts.uri.path_and_query().cloned().ok_or("no path")?.into();
    let response = client.send_request(http::Request::from_parts(parts, String::new())).await?;

    let agreed = upgrade.check(response.status(), response.headers())?;
    let upgraded = hyper::upgrade::on(response).await?;
    // The socket itself, and what hyper has read too far. `agreed.over(TokioIo::new(upgraded))` goes through hyper.
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| "it is a TcpStream")?;
    let mut ws = agreed.over_parts(parts.io.into_inner(), parts.read_buf);

    ws.send("Hello by hyper!".into()).await?;
    if let Some(message) = ws.next().await.transpose()? {
        println!("{}", message.as_text().unwrap_or("bytes"));
    }
    let closed = ws.close_with(CloseFrame::new(1000, "")).await?;
    println!("closed with {}", closed.code);
    Ok(())
}
