//! Addresses that answer nothing, among others of their host.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use testkit::server::Script;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wsflow::WebSocketStream;

use crate::turn;

/// An address that drops each SYN as long as this lives: on Linux a listener does whose backlog is full.
struct Silent {
    listener: TcpListener,
    _first: TcpStream,
}

impl Silent {
    async fn bind(address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        socket.bind(address).expect("a free port");
        let listener = socket.listen(0).expect("it listens");
        let first = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("room for one");
        Self { listener, _first: first }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }
}

/// B270.
#[tokio::test]
async fn addresses_that_are_silent_or_refuse_cost_a_quarter_of_a_second_each_at_most() {
    let _turn = turn().await;
    let (silent6, silent4) = (Silent::bind("[::1]:0").await, Silent::bind("127.0.0.1:0").await);
    let refuses = Script::bind().await.addr();
    let server = Script::bind().await;
    let addresses = [silent6.addr(), silent4.addr(), refuses, server.addr()];
    let start = Instant::now();
    let builder = WebSocketStream::builder("ws://feed.invalid/")
        .connect_timeout(Duration::from_secs(8))
        .resolver(move |_, _| std::future::ready(Ok(addresses)));
    let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
    let _ = ws.expect("open");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500), "each silent one has 250 ms for itself, of {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}
