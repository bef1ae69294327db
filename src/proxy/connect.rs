//! A tunnel by the method CONNECT (RFC 9110, section 9.3.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::{error::Error, handshake, proxy::endpoint::Failure, transport::target::Target};

/// Asks `proxy`, which `io` is connected to, for a tunnel to `server`. Returns the head of its answer, and leaves in `io`
/// what comes behind it.
pub(super) async fn ask<IO>(io: &mut IO, proxy: &Target, server: &Target) -> Result<Response<()>, Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(&request(proxy, server)).await.map_err(Error::io)?;
    io.flush().await.map_err(Error::io)?;
    let (head, _nothing) = handshake::head::read(&mut Bytewise(io)).await?;
    Ok(head)
}

fn request(proxy: &Target, server: &Target) -> Vec<u8> {
    let server = server.server();
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
    if let Some(credentials) = proxy.credentials() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Gives one byte a time, so that what follows the head stays in `IO`: it belongs to the tunnel.
struct Bytewise<'a, IO>(&'a mut IO);

impl<IO: AsyncRead + Unpin> AsyncRead for Bytewise<'_, IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut *self.0).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}
