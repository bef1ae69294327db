//! The TCP tunnel: every byte, in both directions, and no more of them on the way than the slower side takes.

use std::time::Duration;

use testkit::{
    frame::{BINARY, encode},
    peer::{PATIENCE, Peer},
    server::Script,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout},
    time::timeout,
};

use crate::small::start;

/// What the system may hold for the sockets on the way, and more.
const LIMIT: usize = 128 << 20;

struct Tunnel {
    /// The end of the program that knows nothing of WebSocket.
    tcp: TcpStream,
    /// The server.
    peer: Peer,
    lines: Lines<BufReader<ChildStdout>>,
    _example: Child,
}

async fn open() -> Tunnel {
    let server = Script::bind().await;
    let mut example = start("tcp_tunnel", &["127.0.0.1:0", &server.url("/websockify")]);
    let mut lines = BufReader::new(example.stdout.take().expect("a pipe")).lines();
    let line = next(&mut lines).await;
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
    let tcp = TcpStream::connect(address).await.expect("it listens");
    let mut peer = server.peer().await;
    let request = peer.accept_with("Sec-WebSocket-Protocol: binary\r\n").await;
    assert_eq!(request.header("Sec-WebSocket-Protocol"), Some("binary"));
    Tunnel { tcp, peer, lines, _example: example }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("UTF-8").expect("a line")
}

/// Writes the same again and again until no byte is taken for a second.
async fn pour(io: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while let Ok(n) = timeout(Duration::from_secs(1), io.write(&bytes[sent % bytes.len()..])).await {
        sent += n.expect("the tunnel is there");
        assert!(sent < LIMIT, "nothing slows the writer down");
    }
    sent
}

#[tokio::test]
async fn it_carries_bytes_both_ways_and_closes_behind_them() {
    let Tunnel { mut tcp, mut peer, mut lines, _example } = open().await;
    tcp.write_all(b"SSH-2.0-client\r\n").await.unwrap();
    peer.expect_binary("SSH-2.0-client\r\n").await;
    peer.binary("SSH-2.0-").await;
    peer.binary("server\r\n").await;
    let mut heard = [0; 16];
    timeout(PATIENCE, tcp.read_exact(&mut heard)).await.expect("in time").unwrap();
    assert_eq!(&heard, b"SSH-2.0-server\r\n");
    tcp.shutdown().await.unwrap();
    peer.expect_close(1000, "").await;
    peer.binary("last words").await;
    peer.close(1000, "").await;
    peer.finish().await;
    let mut rest = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the end in time").unwrap();
    assert_eq!(rest, b"last words");
    assert!(next(&mut lines).await.ends_with("16 bytes up, 26 bytes down"));
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_the_server_back() {
    let Tunnel { mut tcp, mut peer, _example, .. } = open().await;
    let frame = encode(true, 0, BINARY, &[7; 60_000]);
    let sent = pour(peer.io_mut(), &frame).await;
    // It reads again: all goes on, and nothing was lost.
    let reading = tokio::spawn(async move {
        let mut data = Vec::new();
        tcp.read_to_end(&mut data).await.map(|_| data)
    });
    peer.raw(&frame[sent % frame.len()..]).await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    let data = timeout(PATIENCE, reading).await.expect("the end in time").unwrap().unwrap();
    assert_eq!(data.len(), (sent / frame.len() + 1) * 60_000);
    assert!(data.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_program_back() {
    let Tunnel { mut tcp, mut peer, _example, .. } = open().await;
    let sent = pour(&mut tcp, &[7; 60_000]).await;
    tcp.shutdown().await.unwrap();
    let mut received = 0;
    while received < sent {
        let (opcode, data) = peer.expect_message().await;
        assert!(opcode == BINARY && data.len() <= 64 << 10 && data.iter().all(|byte| *byte == 7));
        received += data.len();
    }
    assert_eq!(received, sent);
    peer.expect_close(1000, "").await;
}
