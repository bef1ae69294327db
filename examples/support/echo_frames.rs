//! A server that sends back every frame as it comes, piece by piece: it holds no message, however large.

use std::io;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Starts it on a free port of this machine, and gives its URL.
pub(crate) async fn server() -> io::Result<String> {
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("ws://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A client that goes away ends it.
            tokio::spawn(echo(tcp));
        }
    });
    Ok(url)
}

async fn echo(tcp: TcpStream) -> io::Result<()> {
    let mut tcp = BufReader::with_capacity(64 * 1024, tcp);
    accept(&mut tcp).await?;
    loop {
        // RFC 6455, section 5.2. A client's frames are masked, a server's are not.
        let [first, second] = [tcp.read_u8().await?, tcp.read_u8().await?];
        let (len, mut header) = match second & 0x7f {
            126 => {
                let len = tcp.read_u16().await?;
                (u64::from(len), [&[first, 126][..], &len.to_be_bytes()].concat())
            }
            127 => {
                let len = tcp.read_u64().await?;
                (len, [&[first, 127][..], &len.to_be_bytes()].concat())
            }
            len => (u64::from(len), vec![first, len]),
        };
        let key = tcp.read_u32().await?.to_be_bytes();
        let mut key = key.iter().cycle();
        let mut left = len;
        while !header.is_empty() || left > 0 {
            let piece = if left > 0 { tcp.fill_buf().await? } else { &[] };
            let n = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if left > 0 && n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            header.extend(piece[..n].iter().zip(&mut key).map(|(byte, key)| byte ^ key));
            tcp.consume(n);
            left -= n as u64;
            tcp.write_all(&header).await?;
            header.clear();
        }
        tcp.flush().await?;
        let is_close = first & 0x0f == 8;
        if is_close {
            return tcp.shutdown().await;
        }
    }
}

/// The opening handshake (section 4.2.2).
async fn accept(tcp: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut key = String::new();
    loop {
        let mut line = String::new();
        if tcp.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => value.trim().clone_into(&mut key),
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await
}
