//! A connection to the server, upgraded: the same for every peer, so that none pays for its way of connecting.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::job::Job;

/// A TCP connection on which the server does this job from now on.
pub async fn open(server: SocketAddr, job: Job) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    upgrade(&mut stream, job).await?;
    Ok(stream)
}

/// The opening handshake over any transport. Nothing behind the response is read.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, job: Job) -> io::Result<()> {
    let key = generate_key();
    let request = format!(
        "GET {job} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(io.read_u8().await?);
    }
    let accept = format!("Sec-WebSocket-Accept: {}\r\n", derive_accept_key(key.as_bytes()));
    let accepted = response.windows(accept.len()).any(|part| part == accept.as_bytes());
    if accepted { Ok(()) } else { Err(io::Error::other("the server did not accept the key")) }
}
