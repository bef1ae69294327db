//! `ByteStream`: a connection as a stream of bytes, over binary messages.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    close::CloseFrame,
    connection::Connection,
    error::Error,
    limits::{MAX_READ_CHUNK, MAX_WRITE_MESSAGE},
    message::{Kind, Message, MessageRef},
    protocol::Chunk,
    stream::WebSocketStream,
    transport::Transport,
};

/// A connection as a stream of bytes: [`AsyncRead`], [`AsyncBufRead`] and [`AsyncWrite`] over binary messages, for protocols that
/// go over TCP, such as MQTT, SSH and VNC, and for tunnels. [`WebSocketStream::into_byte_stream`] makes it.
///
/// Where messages begin and end means nothing: a read gives what is there, and a write is a message.
///
/// ```no_run
/// # async fn example(mut tcp: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use wsflow::WebSocketStream;
///
/// let ws = WebSocketStream::builder("wss://example.com/tunnel").protocols(["binary"]).connect().await?;
/// let mut stream = ws.into_byte_stream();
/// tokio::io::copy_bidirectional(&mut tcp, &mut stream).await?;
/// # Ok(()) }
/// ```
///
/// # Reading
///
/// What came is copied once, from the read buffer; `AsyncBufRead` lends it from there. Messages are read as they come:
/// [`Config::max_message_size`](crate::Config::max_message_size) and [`Config::max_fragments`](crate::Config::max_fragments) do
/// not apply, [`Config::max_frame_size`](crate::Config::max_frame_size) does. An empty message reads as nothing. A slow reader
/// slows the peer down, as in [`WebSocketStream`].
///
/// A close with 1000, 1001 or without a code reads as the end. Every other end is an error, also where it is clean, and each
/// further read gives it again. A text message is an error at its first byte, which is given once: the connection fails with
/// 1003, and then the stream ends.
///
/// # Writing
///
/// A write makes one binary message of at most 64 KiB; a [`BufWriter`](tokio::io::BufWriter) makes larger ones of small writes.
/// A vectored write gathers its slices into one message. An empty write sends nothing.
///
/// A write is `Pending` while the queued cost is at or above
/// [`Config::write_high_water_mark`](crate::Config::write_high_water_mark). What was written leaves as what is
/// [fed](WebSocketStream#writing): from 64 KiB on, with a flush, and before the transport is read again.
///
/// # Shutdown
///
/// `poll_shutdown` is no half-close, since WebSocket has none: it [starts to close](WebSocketStream::start_close) with 1000,
/// behind what was written, and waits for the end of the connection. It is `Ok` where that is clean, of whatever code. A second
/// one gives the same.
///
/// What the peer sends before its own Close is kept for the reader meanwhile, at most
/// [`Config::read_buffer_max`](crate::Config::read_buffer_max) bytes. Beyond it the transport is not read until the reader takes
/// something, and [`Config::close_timeout`](crate::Config::close_timeout) ends the connection. That time starts again whenever
/// the reader takes something.
///
/// # Errors
///
/// An [`io::Error`] has an [`Error`] in it, which [`get_ref`](io::Error::get_ref) gives. Of a read its kind is `UnexpectedEof`
/// where the connection ended, `InvalidData` for a text and where the peer broke the protocol or went beyond a limit, `TimedOut`
/// where time ran out, else that of the transport's error. A flush and a shutdown have the same kinds, but `BrokenPipe` where
/// the connection ended. A write once nothing can be sent any more is always `BrokenPipe`: after `poll_shutdown`, after the
/// peer's Close, and after a failure. What came before is still read.
///
/// # Pending
///
/// The task is woken by the transport or by a deadline, or at once where the poll has done enough for once. The reader and the
/// writer may be two tasks, by [`tokio::io::split`]. A write and a flush read nothing: pings wait for the next read.
///
/// # Cancel safety
///
/// Nothing is lost when a future of a single `read`, `write`, `flush` or `shutdown` is dropped. A shutdown that was polled once
/// has queued its Close.
///
/// # Drop
///
/// Dropping it drops the transport at once: what was written and not flushed is lost, and the peer sees no Close frame.
pub struct ByteStream<S = Transport> {
    ws: WebSocketStream<S>,
    /// What came while the connection is shut down. It is read before `chunk`.
    kept: VecDeque<u8>,
    /// What came last and was not taken: a slice of the read buffer.
    chunk: Bytes,
}

/// Without payloads.
impl<S: AsyncRead + AsyncWrite + Unpin> fmt::Debug for ByteStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("stream", &self.ws)
            .field("unread", &(self.kept.len() + self.chunk.len()))
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Makes a stream of bytes of it, over binary messages: for protocols that expect a TCP connection, and for tunnels.
    ///
    /// [`ByteStream`] has an example, and says what a read, a write and a shutdown are. Of a message that was begun by a
    /// [`MessageReader`](crate::MessageReader) the rest is skipped.
    #[must_use = "the connection is in it"]
    pub fn into_byte_stream(mut self) -> ByteStream<S> {
        self.connection().skip_chunks();
        ByteStream { ws: self, kept: VecDeque::new(), chunk: Bytes::new() }
    }
}

impl<S> ByteStream<S> {
    /// The connection.
    pub fn get_ref(&self) -> &WebSocketStream<S> {
        &self.ws
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream<S> {
    /// Gives the stream of messages back.
    ///
    /// Of the message at hand what was not read is skipped by its next read, and so is what came while the connection was
    /// shut down. What was written stays queued.
    pub fn into_inner(mut self) -> WebSocketStream<S> {
        self.ws.connection().skip_chunks();
        self.ws
    }

    fn connection(&mut self) -> &mut Connection<S> {
        self.ws.connection()
    }

    /// Takes what came. Text is nothing for a stream of bytes.
    fn put(&mut self, Chunk { kind, data, .. }: Chunk) {
        match kind {
            // A slice of nothing would hold the read buffer.
            _ if data.is_empty() => {}
            Kind::Binary => self.chunk = data,
            Kind::Text => self.connection().fail(Error::UnexpectedText),
        }
    }

    /// What comes next, without taking it.
    fn unread(&self) -> &[u8] {
        let (kept, _) = self.kept.as_slices();
        if kept.is_empty() { &self.chunk } else { kept }
    }

    fn take(&mut self, n: usize) {
        // Where there is a chunk behind what is kept, there was no room for it.
        let is_held_back = !self.kept.is_empty() && !self.chunk.is_empty();
        if self.kept.is_empty() {
            self.chunk.advance(n.min(self.chunk.len()));
            if self.chunk.is_empty() {
                // It would hold the read buffer.
                self.chunk = Bytes::new();
            }
        } else {
            self.kept.drain(..n.min(self.kept.len()));
            if self.kept.is_empty() {
                self.kept = VecDeque::new();
            }
        }
        if is_held_back {
            self.connection().handle_taken_by_reader();
        }
    }

    /// Moves the chunk into the kept bytes, as far as there is room. Returns whether all of it fitted.
    fn keep(&mut self) -> bool {
        let max = self.connection().read_buffer_max();
        let room = max.saturating_sub(self.kept.len());
        let piece = self.chunk.split_to(self.chunk.len().min(room));
        let needed = self.kept.len() + piece.len();
        if needed > self.kept.capacity() {
            self.kept.reserve_exact(needed.next_power_of_two().min(max) - self.kept.len());
        }
        self.kept.extend(&piece);
        let is_all = self.chunk.is_empty();
        if is_all {
            self.chunk = Bytes::new();
        }
        is_all
    }

    /// Waits until there is something to read. Nothing: the end.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread().is_empty() {
            match ready!(self.connection().poll_chunk(cx, MAX_READ_CHUNK)) {
                Some(Ok(chunk)) => self.put(chunk),
                Some(Err(error)) => return Poll::Ready(Err(error.into_read_error())),
                None => return Poll::Ready(self.end()),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How the connection ended, to who reads on.
    fn end(&self) -> io::Result<()> {
        let abnormal = self.ws.closed().filter(|closed| !closed.is_normal()).cloned().map(Error::from);
        match self.ws.error().cloned().or(abnormal) {
            // It was told.
            Some(Error::UnexpectedText) | None => Ok(()),
            Some(error) => Err(error.into_read_error()),
        }
    }

    /// Why nothing can be written any more, if that is so.
    fn write_error(&mut self) -> Option<Error> {
        let connection = self.connection();
        let by_peer = || connection.peer_close().cloned().map(|frame| Error::Closing { by_peer: Some(frame) });
        connection.send_error().or_else(by_peer)
    }

    /// Waits for room for a message.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write_error() {
            Some(error) => Poll::Ready(Err(broken_pipe(error))),
            None => self.connection().poll_ready(cx).map_err(broken_pipe),
        }
    }
}

fn broken_pipe(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_unread(cx))?;
        let unread = self.unread();
        let n = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..n]);
        self.take(n);
        Poll::Ready(Ok(()))
    }
}

/// The slice is empty at the end only.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for ByteStream<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_unread(cx))?;
        Poll::Ready(Ok(this.unread()))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        if n > 0 {
            self.take(n);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(self.write_error().map_or(Ok(0), |error| Err(broken_pipe(error))));
        }
        ready!(self.poll_room(cx))?;
        let message = &data[..data.len().min(MAX_WRITE_MESSAGE)];
        self.connection().start_send_ref(MessageRef::Binary(message)).map_err(broken_pipe)?;
        Poll::Ready(Ok(message.len()))
    }

    /// The slices become one message.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut slices = slices.iter().filter(|slice| !slice.is_empty());
        let (Some(first), second) = (slices.next(), slices.next()) else { return self.poll_write(cx, &[]) };
        let Some(second) = second else { return self.poll_write(cx, first) };
        ready!(self.poll_room(cx))?;
        let mut message = BytesMut::new();
        for slice in [first, second].into_iter().chain(slices) {
            let room = MAX_WRITE_MESSAGE - message.len();
            message.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let n = message.len();
        self.connection().start_send(Message::binary(message)).map_err(broken_pipe)?;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection().poll_flush(cx).map_err(io::Error::from)
    }

    /// Closes with 1000, and waits for the end. What comes before the peer's Close is kept for the reader.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ws.start_close(CloseFrame::new(1000, "")).map_err(Error::from)?;
        loop {
            if !self.keep() {
                // Nothing is read until the reader has taken something.
                ready!(self.connection().poll_write_only(cx));
                break;
            }
            match ready!(self.connection().poll_chunk_or_closed(cx, MAX_READ_CHUNK)) {
                Some(chunk) => self.put(chunk),
                None => break,
            }
        }
        Poll::Ready(self.ws.error().cloned().map_or(Ok(()), |error| Err(error.into())))
    }
}
