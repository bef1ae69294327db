//! What an idle, open connection holds in memory in each way to own it, its task included. Counted by the allocator.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{PING, PONG, TEXT, encode},
    heap,
};
use tokio::{runtime, sync::Semaphore};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wsflow::{Reconnect, WebSocketStream, compat::WebSocket};

/// What each may hold, in bytes.
const BOUND: usize = 10 * 1024;

/// How many are open at a time: what is there once for all of them counts for little.
const CONNECTIONS: u32 = 50;

/// A server on a thread of its own, so that nothing of it is counted. With each client, one after another, it exchanges a
/// message, and then a ping and a pong. From then on the connection is idle.
struct Server {
    addr: SocketAddr,
    /// One for each connection that is idle.
    idle: Arc<Semaphore>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound socket");
        let idle = Arc::new(Semaphore::new(0));
        let server = Self { addr, idle: Arc::clone(&idle) };
        thread::spawn(move || {
            let mut open = vec![];
            for client in listener.incoming() {
                let mut client = client.expect("a client");
                talk(&mut client).expect("a client that talks");
                open.push(client);
                idle.add_permits(1);
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.addr)
    }
}

fn talk(client: &mut TcpStream) -> std::io::Result<()> {
    let mut request = vec![];
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).expect("UTF-8");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    write!(
        client,
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    for (sent, answer) in [(TEXT, TEXT), (PING, PONG)] {
        client.write_all(&encode(true, 0, sent, &[b'x'; 100]))?;
        let mut frame = [0; 2 + 4 + 100];
        client.read_exact(&mut frame)?;
        assert_eq!(frame[0] & 0xf, answer);
    }
    Ok(())
}

/// What one connection holds that `own` opens: it spawns a task, or gives what is to be kept.
fn held_by_each<T>(own: impl Fn(&str) -> T) -> usize {
    let server = Server::start();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut kept = Vec::with_capacity(1 + CONNECTIONS as usize);
        let url = server.url();
        // The first one pays for what the runtime makes when it is needed.
        let mut before = 0;
        for connections in [1, CONNECTIONS] {
            before = heap::held();
            for _ in 0..connections {
                kept.push(own(&url));
            }
            server.idle.acquire_many(connections).await.expect("never closed").forget();
        }
        let held = usize::try_from(heap::held() - before).expect("some is held");
        held / CONNECTIONS as usize
    })
}

fn at_most_10_kib(held: usize) {
    assert!(held <= BOUND, "{held} bytes for each connection");
}

#[test]
fn in_place_in_a_task() {
    at_most_10_kib(held_by_each(|url| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let mut ws = WebSocketStream::connect(&url).await.expect("open");
            while let Some(message) = ws.next().await {
                ws.send(message.expect("open")).await.expect("open");
            }
        })
    }));
}

#[test]
fn in_place_in_a_task_with_options() {
    at_most_10_kib(held_by_each(|url| {
        let builder = WebSocketStream::builder(url).header("X-Mine", "x").origin("http://example.com");
        tokio::spawn(async move {
            let mut ws = builder.connect().await.expect("open");
            while let Some(message) = ws.next().await {
                ws.send(message.expect("open")).await.expect("open");
            }
        })
    }));
}

#[test]
fn over_a_transport_of_the_callers() {
    at_most_10_kib(held_by_each(|url| {
        let builder = WebSocketStream::builder(url);
        let addr = url["ws://".len()..].trim_end_matches('/').to_owned();
        tokio::spawn(async move {
            let io = tokio::net::TcpStream::connect(addr).await.expect("open");
            let mut ws = builder.connect_over(io).await.expect("open");
            while let Some(message) = ws.next().await {
                ws.send(message.expect("open")).await.expect("open");
            }
        })
    }));
}

#[test]
fn halves() {
    at_most_10_kib(held_by_each(|url| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let (sender, mut receiver) = WebSocketStream::connect(&url).await.expect("open").into_split();
            while let Some(message) = receiver.next().await {
                sender.send(message.expect("open")).await.expect("open");
            }
        })
    }));
}

#[test]
fn event_api() {
    at_most_10_kib(held_by_each(|url| {
        WebSocket::builder(url)
            .expect("a URL")
            .on_message(|socket, event| socket.send(event.data.clone()).expect("open"))
            .connect()
    }));
}

#[test]
fn reconnect_in_a_task() {
    at_most_10_kib(held_by_each(|url| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let mut connections = Reconnect::new(|| WebSocketStream::connect(&url));
            while let Some(ws) = connections.next().await {
                let mut ws = ws.expect("open");
                while let Some(message) = ws.next().await {
                    ws.send(message.expect("open")).await.expect("open");
                }
            }
        })
    }));
}
