//! Watching a connection to its end, from both sides: what must hold however it ends is asserted here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::FusedStream as _;
use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{CLOSE, Frame, close_body},
    peer::Peer,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use wsflow::{CloseFrame, Closed, Config, Error, Message, ReadyState, WebSocketStream};

/// What a stream gave until its end, and how that end is called.
#[derive(Debug)]
pub struct Trace {
    pub messages: Vec<Message>,
    pub error: Option<Error>,
    pub closed: Closed,
}

impl Trace {
    /// The code, the reason, and whether it was clean.
    pub fn end(&self) -> (u16, &str, bool) {
        (self.closed.code.into(), &self.closed.reason, self.closed.was_clean)
    }
}

/// Reads a stream to its end: at most one error, `None` behind it, nothing behind `None`; no error and a clean end are
/// the same; and whoever uses it afterwards hears of the same end.
pub async fn trace<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<S>) -> Trace {
    let (mut messages, mut error) = (Vec::new(), None);
    while let Some(item) = ws.next().await {
        assert!(!ws.is_terminated(), "terminated before the end");
        assert!(error.is_none(), "{item:?} behind the error {error:?}");
        match item {
            Ok(message) => messages.push(message),
            Err(cause) => {
                assert!(ws.closed().is_some(), "{cause:?} before it is certain how it ended");
                assert_eq!(ws.ready_state(), ReadyState::Closed);
                assert_same(ws.error().expect("the same error"), &cause);
                error = Some(cause);
            }
        }
    }
    for _ in 0..3 {
        assert!(ws.is_terminated());
        assert!(ws.next().await.is_none(), "something behind the end");
    }
    assert_eq!(ws.ready_state(), ReadyState::Closed);
    let closed = ws.closed().cloned().expect("an end");
    assert_eq!(closed.was_clean, error.is_none(), "{closed:?} {error:?}");
    assert_eq!(ws.error().is_none(), error.is_none(), "{closed:?} {error:?}");

    let same = error.clone().unwrap_or_else(|| Error::Closed(Arc::new(closed.clone())));
    let amount = ws.buffered_amount();
    let late = [
        ws.send("late".into()).await.expect_err("sent after the end"),
        ws.feed("late".into()).await.expect_err("fed after the end"),
        ws.send_ping("late").expect_err("a ping after the end"),
    ];
    for error in late {
        assert_same(&error, &same);
    }
    assert_eq!(ws.buffered_amount(), amount);
    let again = ws.close_with(CloseFrame::new(4999, "late")).await;
    assert_eq!(again.expect("closing twice is allowed"), closed);
    match ws.close().await {
        Ok(()) => assert!(error.is_none(), "closed well after {error:?}"),
        Err(again) => assert_same(&again, error.as_ref().expect("an unclean end")),
    }
    assert_eq!(ws.closed(), Some(&closed));
    Trace { messages, error, closed }
}

/// Whether both are the same error, by value. Errors of the system are the same if they are of the same kind.
#[track_caller]
pub fn assert_same(left: &Error, right: &Error) {
    let is_same = match (left, right) {
        (Error::Closed(left), Error::Closed(right)) => left == right,
        (Error::Io(left), Error::Io(right)) => left.kind() == right.kind(),
        (Error::Timeout { phase: left, after: a, .. }, Error::Timeout { phase: right, after: b, .. }) => {
            (left, a) == (right, b)
        }
        (Error::ProtocolViolation(left), Error::ProtocolViolation(right)) => left == right,
        (Error::Limit(left), Error::Limit(right)) => left == right,
        (Error::Closing { by_peer: a }, Error::Closing { by_peer: b }) => a == b,
        _ => false,
    };
    assert!(is_same, "{left:?} is not {right:?}");
}

/// A transport that moves at most `at_once` bytes with each call.
#[derive(Debug)]
pub struct Pieces<S> {
    pub io: S,
    pub at_once: usize,
}

/// One byte at a time, and as much as there is.
pub const PIECES: [usize; 2] = [1, 1 << 20];

/// A connection over a pipe whose client moves at most `at_once` bytes at a time, past its opening handshake.
pub fn open(config: Config, at_once: usize) -> (Peer<DuplexStream>, WebSocketStream<Pieces<DuplexStream>>) {
    let (peer, io) = Peer::pipe(1 << 20);
    (peer, WebSocketStream::from_upgraded(Pieces { io, at_once }, config))
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut piece = vec![0; self.at_once.min(buf.remaining())];
        let mut piece = ReadBuf::new(&mut piece);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut piece);
        buf.put_slice(piece.filled());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let at_once = self.at_once.min(buf.len());
        Pin::new(&mut self.io).poll_write(cx, &buf[..at_once])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A peer that says `script` and then the same frame again and again, faster than anybody reads, and takes whatever is
/// written.
#[derive(Debug)]
pub struct Endless {
    pub script: Vec<u8>,
    pub frame: Vec<u8>,
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // As tokio's own sockets do, it lets others run.
        ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        while buf.remaining() > 0 {
            if self.script.is_empty() {
                self.script = self.frame.clone();
            }
            let piece = self.script.len().min(buf.remaining());
            buf.put_slice(&self.script[..piece]);
            self.script.drain(..piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A Close frame as the peer reads it.
pub fn close_frame(code: impl Into<Option<u16>>, reason: &str) -> Frame {
    Frame::new(CLOSE, close_body(code.into(), reason))
}
