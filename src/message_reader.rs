//! `MessageReader`: one received message, read as it comes.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    close::Closed,
    connection::Connection,
    error::Error,
    limits::MAX_READ_CHUNK,
    message::Kind,
    protocol::Chunk,
    split::{Receiver, Unread},
    stream::WebSocketStream,
    transport::Transport,
};

/// One message that is read as it comes, however long it is: [`WebSocketStream::next_reader`] gives it.
///
/// It is read by [`chunk`](Self::chunk), or as an [`AsyncRead`]; both may be mixed. Of the message no more is held than the
/// read buffer, so that a slow reader slows the peer down, and of a compressed one no more is inflated than is asked for.
/// [`Config::max_message_size`](crate::Config::max_message_size) and
/// [`Config::max_fragments`](crate::Config::max_fragments) do not bound it;
/// [`Config::max_frame_size`](crate::Config::max_frame_size) does.
///
/// Text is checked to be UTF-8 as it comes (RFC 6455, section 8.1). A chunk, or a read, may end within a character.
///
/// ```no_run
/// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(mut reader) = ws.next_reader().await.transpose()? {
///     let mut file = tokio::fs::File::create("backup.tar").await?;
///     tokio::io::copy(&mut reader, &mut file).await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// A message that breaks off never reads as its end: neither by `None` nor by 0 bytes. The reader gives the error that the
/// stream would give, and the stream then has none left and ends with `None`. Where the peer closed within the message,
/// the reader gives [`Error::Closed`] with the peer's code: the end is unclean.
///
/// Read as an [`AsyncRead`] it gives an [`io::Error`] around the [`Error`], which `get_ref` and `downcast_ref` find. Its kind
/// is that of the transport's error; `UnexpectedEof` where the connection ended, `InvalidData` where the peer broke the
/// protocol or went beyond a limit, `TimedOut` where time ran out. It is given again by each further read.
///
/// # Pending
///
/// As of the stream's `next()`: the task is woken by the socket or by a deadline, or at once where this poll has done
/// enough. Pings are answered meanwhile.
///
/// # Cancel safety
///
/// Nothing is lost when a future of [`chunk`](Self::chunk), or of a single read such as `AsyncReadExt::read`, is dropped.
///
/// # Drop
///
/// The rest of the message is skipped: the next call on the stream gets the message behind it. What is skipped is dropped as
/// it comes, and the message counts in [`Stats::discarded_messages`](crate::Stats::discarded_messages).
pub struct MessageReader<'a, S = Transport> {
    source: Source<'a, S>,
    kind: Kind,
    state: State,
}

/// Where the message comes from.
enum Source<'a, S> {
    InPlace(&'a mut Connection<S>),
    Half(&'a mut Unread),
}

/// How far it was read.
#[derive(Debug)]
enum State {
    Open,
    /// To its end.
    Ended,
    /// It broke off.
    Broken(Error),
}

/// Without payloads.
impl<S> fmt::Debug for MessageReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).field("state", &self.state).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Waits for the next message to begin, for reading it as it comes, in memory that does not grow with it. `None`: the
    /// end, as of `next()`.
    ///
    /// Use it for messages that may be larger than [`Config::max_message_size`](crate::Config::max_message_size), which does
    /// not bound them here, or that are passed on to a file or another socket. `next()`, `next_ref()` and this may be mixed:
    /// each gets what comes next. [`MessageReader`] has an example, and says what its errors are and what happens when it is
    /// dropped.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// let mut first_kib = Vec::new();
    /// if let Some(mut reader) = ws.next_reader().await.transpose()? {
    ///     while first_kib.len() < 1024
    ///         && let Some(chunk) = reader.chunk().await.transpose()?
    ///     {
    ///         first_kib.extend_from_slice(&chunk);
    ///     }
    /// } // the rest of the message is skipped
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The one error of an unclean end, as of `next()`. If the connection ends within the message, the reader gives that
    /// one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped. What a dropped `next()` has put together of a message is the start of
    /// what the reader gets.
    pub async fn next_reader(&mut self) -> Option<Result<MessageReader<'_, S>, Error>> {
        let connection = self.connection();
        connection.skip_chunks();
        // The first chunk is empty.
        let begun = poll_fn(|cx| connection.poll_chunk(cx, MAX_READ_CHUNK)).await?;
        Some(begun.map(|begun| MessageReader::new(Source::InPlace(connection), begun.kind)))
    }
}

impl Receiver {
    /// As [`WebSocketStream::next_reader`](crate::WebSocketStream::next_reader): the next message as it comes, of any size.
    ///
    /// A message of up to 64 KiB, and one that has come as a whole by the time that the connection's task sees it, has been
    /// put together already.
    ///
    /// # Errors
    ///
    /// The one error of an unclean end, as of `next()`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_reader(&mut self) -> Option<Result<MessageReader<'_>, Error>> {
        let unread = self.unread();
        let begun = poll_fn(|cx| unread.poll_begin_chunks(cx)).await?;
        Some(begun.map(|kind| MessageReader::new(Source::Half(unread), kind)))
    }
}

impl<'a, S> MessageReader<'a, S> {
    fn new(source: Source<'a, S>, kind: Kind) -> Self {
        Self { source, kind, state: State::Open }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageReader<'_, S> {
    /// Whether the message is text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The next part of the message, of 1 byte to 64 KiB, as soon as there is one. `None`: the message has ended.
    ///
    /// It is a slice of the read buffer, and keeps that buffer alive as long as it lives; of a compressed message it has an
    /// allocation of its own. The size of a chunk means nothing: it depends on how the bytes came.
    ///
    /// ```no_run
    /// # fn hash(_: &[u8]) {}
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// while let Some(mut reader) = ws.next_reader().await.transpose()? {
    ///     let mut len = 0;
    ///     while let Some(chunk) = reader.chunk().await.transpose()? {
    ///         hash(&chunk);
    ///         len += chunk.len();
    ///     }
    ///     println!("a {:?} message of {len} bytes", reader.kind());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Why the message broke off. It is given once; behind it comes `None`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`chunk`](Self::chunk). Pending as of the stream's `poll_next`.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.poll_up_to(MAX_READ_CHUNK, cx)
    }

    /// The next chunk, of at most `max` bytes, and not empty.
    fn poll_up_to(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        while matches!(self.state, State::Open) {
            let chunk = ready!(self.source.poll_chunk(max, cx));
            let broken = match chunk {
                Some(Ok(Chunk { data, fin, .. })) => {
                    if fin {
                        self.state = State::Ended;
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                    continue;
                }
                Some(Err(error)) => error,
                // The connection ended, and the message did not.
                None => self.source.closed().into(),
            };
            self.state = State::Broken(broken.clone());
            return Poll::Ready(Some(Err(broken)));
        }
        Poll::Ready(None)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source<'_, S> {
    fn poll_chunk(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Error>>> {
        match self {
            Self::InPlace(connection) => connection.poll_chunk(cx, max),
            Self::Half(unread) => unread.poll_chunk(max, cx),
        }
    }

    /// How the connection ended.
    fn closed(&self) -> Closed {
        match self {
            Self::InPlace(connection) => connection.closed().cloned(),
            Self::Half(unread) => unread.closed().cloned(),
        }
        .unwrap_or_else(Closed::abnormal)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageReader<'_, S> {
    /// Reads at most what fits, and inflates no more than that. For small reads wrap it in a
    /// [`BufReader`](tokio::io::BufReader).
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.poll_up_to(buf.remaining(), cx)) {
            Some(Ok(data)) => buf.put_slice(&data),
            Some(Err(error)) => return Poll::Ready(Err(error.into_read_error())),
            None => {
                if let State::Broken(error) = &self.state {
                    return Poll::Ready(Err(error.clone().into_read_error()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
