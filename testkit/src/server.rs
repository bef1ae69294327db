//! A scripted server: each test is a dialogue with it, frame by frame and byte by byte.
//!
//! ```text
//! let server = Script::bind().await;
//! let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
//! peer.text("hello").await;
//! peer.expect_close(1000, "").await;
//! peer.expect_eof().await;
//! ```

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer};

/// A listening TCP socket of this machine.
#[derive(Debug)]
pub struct Script {
    listener: TcpListener,
}

impl Script {
    /// On a free port.
    pub async fn bind() -> Self {
        Self::bind_to("127.0.0.1:0").await
    }

    /// On this address, with its port.
    pub async fn bind_to(address: &str) -> Self {
        Self { listener: TcpListener::bind(address).await.expect("a free port") }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }

    /// A URL that leads here.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr())
    }

    /// The next TCP connection, nothing of it read yet.
    pub async fn peer(&self) -> Peer {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        Peer::over(accepted.expect("no client connected").expect("accept").0)
    }

    /// The next connection, with its opening handshake done.
    pub async fn accept(&self) -> Peer {
        let mut peer = self.peer().await;
        peer.accept().await;
        peer
    }
}
