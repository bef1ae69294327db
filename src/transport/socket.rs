//! The socket of a connection that this crate opened: TCP, a Unix socket, or a tunnel within TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[cfg(feature = "proxy")]
use crate::transport::Transport;

/// The socket of a connection that this crate opened. It forwards every call, vectored writes included.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A socket of this machine's file system: see [`ClientBuilder::unix`](crate::ClientBuilder::unix).
    #[cfg(unix)]
    Unix(UnixStream),
    /// A tunnel within TLS to an `https` proxy: see [`Proxy::http`](crate::Proxy::http).
    #[cfg(feature = "proxy")]
    TlsProxy(Box<Transport>),
}

impl Socket {
    /// The TCP socket, to the server or to its proxy: to ask it for its addresses or options. `None` if it is a Unix
    /// socket. Reading or writing it directly breaks the connection.
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "proxy")]
            Self::TlsProxy(transport) => transport.get_ref().as_tcp(),
        }
    }
}

/// Calls a method of `AsyncRead` or `AsyncWrite` on the socket, of whichever kind.
macro_rules! forward {
    ($socket:expr, $io:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($io) => $call,
            #[cfg(unix)]
            Socket::Unix($io) => $call,
            #[cfg(feature = "proxy")]
            Socket::TlsProxy($io) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        forward!(self, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}
