//! What a connection runs over: a socket, or TLS over it.

pub(crate) mod dial;
mod lookup;
mod race;
pub(crate) mod resolver;
pub(crate) mod socket;
pub(crate) mod target;
mod tcp;
pub(crate) mod tcp_options;
pub(crate) mod tls;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::socket::Socket;

/// The IO of a connection that this crate opened: `S` itself, or TLS over it.
///
/// It forwards every call, vectored writes included. A TLS variant keeps encrypted output of its own (rustls up to
/// 64 KiB) until the transport takes it; `poll_flush` hands it all on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Transport<S = Socket> {
    /// No TLS.
    Plain(S),
    /// TLS by rustls. The session, with the peer's certificates, is in its `get_ref().1`.
    #[cfg(feature = "rustls-tls")]
    Rustls(Box<tokio_rustls::client::TlsStream<S>>),
    /// TLS by the operating system's library.
    #[cfg(feature = "native-tls")]
    NativeTls(Box<tokio_native_tls::TlsStream<S>>),
}

impl<S> Transport<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// The IO underneath TLS: of what `connect` opened it is a [`Socket`]. Reading or writing it directly breaks
    /// the connection.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(io) => io,
            #[cfg(feature = "rustls-tls")]
            Self::Rustls(io) => io.get_ref().0,
            #[cfg(feature = "native-tls")]
            Self::NativeTls(io) => io.get_ref().get_ref().get_ref(),
        }
    }
}

/// Calls a method of `AsyncRead` or `AsyncWrite` on the IO, of whichever kind.
macro_rules! forward {
    ($transport:expr, $io:ident => $call:expr) => {
        match $transport {
            Transport::Plain($io) => $call,
            #[cfg(feature = "rustls-tls")]
            Transport::Rustls($io) => $call,
            #[cfg(feature = "native-tls")]
            Transport::NativeTls($io) => $call,
        }
    };
}

impl<S> AsyncRead for Transport<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), io => Pin::new(io).poll_read(cx, buf))
    }
}

impl<S> AsyncWrite for Transport<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Says which method was called last.
    #[derive(Default)]
    struct Recorder(&'static str);

    impl AsyncRead for Recorder {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.0 = "read";
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.0 = "write";
            Poll::Ready(Ok(0))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.0 = "write_vectored";
            Poll::Ready(Ok(0))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0 = "flush";
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0 = "shutdown";
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn every_method_is_forwarded() {
        let mut transport = Transport::Plain(Recorder::default());
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(transport.is_write_vectored());
        assert!(Pin::new(&mut transport).poll_read(cx, &mut ReadBuf::new(&mut [])).is_ready());
        assert_eq!(transport.get_ref().0, "read");
        assert!(Pin::new(&mut transport).poll_write(cx, b"").is_ready());
        assert_eq!(transport.get_ref().0, "write");
        assert!(Pin::new(&mut transport).poll_write_vectored(cx, &[]).is_ready());
        assert_eq!(transport.get_ref().0, "write_vectored");
        assert!(Pin::new(&mut transport).poll_flush(cx).is_ready());
        assert_eq!(transport.get_ref().0, "flush");
        assert!(Pin::new(&mut transport).poll_shutdown(cx).is_ready());
        assert_eq!(transport.get_ref().0, "shutdown");
    }
}
