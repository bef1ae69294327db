//! A transport in memory whose server answers the opening handshake first.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::memory::Memory;

/// It is polled by one task: who reads the response has written the request.
#[derive(Debug)]
pub struct Upgrade {
    /// What has come of the request, until it is whole.
    request: Option<Vec<u8>>,
    response: Vec<u8>,
    io: Memory,
}

impl Upgrade {
    pub fn before(io: Memory) -> Self {
        Self { request: Some(Vec::new()), response: Vec::new(), io }
    }
}

/// Accepts it, without subprotocol and extensions.
fn respond(request: &[u8]) -> Vec<u8> {
    let request = std::str::from_utf8(request).expect("a request is ASCII");
    let headers = request.lines().filter_map(|line| line.split_once(": "));
    let mut keys = headers.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = keys.next().expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    format!("{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
}

impl AsyncRead for Upgrade {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.response.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.response.len().min(buf.remaining());
        buf.put_slice(&self.response[..n]);
        self.response.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgrade {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(request) = &mut self.request else { return Pin::new(&mut self.io).poll_write(cx, bytes) };
        request.extend_from_slice(bytes);
        if request.ends_with(b"\r\n\r\n") {
            self.response = respond(request);
            self.request = None;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// A request is written in one piece.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.request.is_none() && self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
