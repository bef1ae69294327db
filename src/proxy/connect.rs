//! A tunnel by the method CONNECT (RFC 9110, section 9.3.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Response, uri::Authority};
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
    user_agent: Option<&HeaderValue>,
    deadline: Option<Instant>,
) -> Result<Response<()>, Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Exchanged { head, is_sent, .. } =
        exchange(&mut Bytewise(io), &request(proxy, server, user_agent), deadline).await?;
    if head.status().is_success() && !is_sent {
        return Err(Failure::Other(InvalidResponse::malformed("a tunnel before the request was sent").into()));
    }
    Ok(head)
}

fn request(proxy: &Target, server: &Target, user_agent: Option<&HeaderValue>) -> Vec<u8> {
    let server: &Authority = server.server();
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
    for (name, value) in [("User-Agent: ", user_agent), ("Proxy-Authorization: ", proxy.credentials())] {
        if let Some(value) = value {
            request.extend_from_slice(&[name.as_bytes(), value.as_bytes(), b"\r\n"].concat());
        }
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
