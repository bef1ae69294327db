//! A tunnel by the method CONNECT (RFC 9110, section 9.3.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    error::InvalidResponse,
    handshake::exchange::{Exchanged, exchange},
    proxy::endpoint::Failure,
    transport::target::Target,
};

/// Asks `proxy`, which `io` is connected to, for a tunnel to `server`. Returns the head of its answer, and leaves in `io`
/// what comes behind it. `deadline` is that of [`exchange`].
pub(super) async fn ask<IO>(
    io: &mut IO,
    proxy: &Target,
    server: &Target,
    deadline: Option<Instant>,
) -> Result<Response<()>, Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Exchanged { head, is_sent, .. } = exchange(&mut Bytewise(io), &request(proxy, server), deadline).await?;
    if head.status().is_success() && !is_sent {
        return Err(Failure::Other(InvalidResponse::malformed("a tunnel before the request was sent").into()));
    }
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

impl<IO: AsyncWrite + Unpin> AsyncWrite for Bytewise<'_, IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
