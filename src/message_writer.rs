//! `MessageWriter`: one message that is written piece by piece, in constant memory.

use std::{
    fmt,
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    connection::Connection,
    error::Error,
    message::Kind,
    outbox::PartWriter,
    protocol::{Part, Place},
    split::Sender,
    stream::WebSocketStream,
    transport::Transport,
    wire::utf8::Utf8Checker,
};

/// One message that is sent while it is written, as an [`AsyncWrite`]. [`WebSocketStream::writer`] makes it, and
/// [`Sender::writer`](crate::Sender::writer).
///
/// ```
/// use tokio::io::AsyncWriteExt;
/// use wsflow::{Kind, WebSocketStream};
///
/// # async fn example(mut ws: WebSocketStream) -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = ws.writer(Kind::Text);
/// for row in 0..1_000_000 {
///     writer.write_all(format!("row {row}\n").as_bytes()).await?;
/// }
/// writer.finish().await?;
/// # Ok(()) }
/// ```
///
/// # Frames
///
/// What is written fills a frame of [`Config::fragment_size`](crate::Config::fragment_size) (`None` counts as 256 KiB
/// here). A full frame is queued when more is written, so that a message that fits into one frame is one. `flush` ends a
/// frame before it is full; [`finish`](Self::finish), and nothing else, ends the message. `shutdown` only flushes.
///
/// If compression was agreed on and is [switched on](WebSocketStream::set_compression), the message is compressed where
/// its first frame is worth it: it has at least [`Deflate::threshold`](crate::Deflate#structfield.threshold) bytes.
///
/// # What waits
///
/// A write is `Pending` while the queued cost is at or above
/// [`Config::write_high_water_mark`](crate::Config::write_high_water_mark); each frame costs its payload and 32 bytes until
/// it was written. The task is woken when the transport takes something, or at a deadline. A write takes no more than the
/// frame has room for. So one frame is held here, and what the mark allows and one frame are queued.
///
/// In place nothing is read meanwhile: pings stay without an answer, and the peer's Close is not seen. A peer that stops
/// reading until it is read from stops the writer for ever, if [`Config::write_timeout`](crate::Config::write_timeout) does
/// not. Over [halves](crate::Sender) their task reads meanwhile.
///
/// # Errors
///
/// An [`io::Error`] has an [`Error`] in it, which [`get_ref`](io::Error::get_ref) gives. Once the connection has failed, has
/// ended or is closing each write is one. A text is checked as it is written, and its characters may be cut anywhere: for
/// bytes that no text could have there it is [`Error::InvalidText`], and none of that write was taken.
///
/// # Drop
///
/// A writer that is dropped before `finish` fails the connection, so that half a message never looks whole: a frame of which
/// the transport has taken a part is finished, the rest of what is queued is dropped, and the stream sends a Close frame
/// with code 1011 as soon as it is polled; over halves their task does. It then yields [`Error::UnfinishedMessage`]. A writer
/// to which nothing was written is no exception.
///
/// # Cancel safety
///
/// A write whose future was dropped while it was `Pending` has taken nothing: `write` is cancel safe, and
/// `write_all` and `tokio::io::copy` are not, since they do not tell how much was taken before. Nothing is lost when a
/// `flush` is dropped.
#[must_use = "a writer that is dropped before `finish` fails the connection"]
pub struct MessageWriter<'a, S = Transport> {
    target: Target<'a, S>,
    kind: Kind,
    /// Of a text: what was written of it so far.
    text: Option<Utf8Checker>,
    /// The payload of the frame that is being filled.
    frame: BytesMut,
    /// How many bytes it has at most.
    frame_size: usize,
    /// How many bytes the next frame is made for: as many as the one before it had.
    next_capacity: usize,
    progress: Progress,
}

/// Where the frames go.
enum Target<'a, S> {
    /// A connection that is polled in place.
    InPlace(&'a mut Connection<S>),
    Half(PartWriter<'a>),
}

/// What has been queued of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    /// Frames with more to come.
    Begun,
    All,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Begins a message that is written piece by piece, in constant memory, however long it becomes: a file, or what is
    /// made while it is sent.
    ///
    /// The docs of [`MessageWriter`] have the rules: what waits, what a frame is, and what a writer does that is dropped
    /// before [`finish`](MessageWriter::finish). Use `send` for a message that is in memory already.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), Box<dyn std::error::Error>> {
    /// use wsflow::Kind;
    ///
    /// let mut file = tokio::fs::File::open("video.mp4").await?;
    /// let mut writer = ws.writer(Kind::Binary);
    /// tokio::io::copy(&mut file, &mut writer).await?;
    /// writer.finish().await?;
    /// # Ok(()) }
    /// ```
    pub fn writer(&mut self, kind: Kind) -> MessageWriter<'_, S> {
        let frame_size = self.part_size();
        MessageWriter::new(Target::InPlace(self.connection()), frame_size, kind)
    }
}

impl Sender {
    /// Begins a message that is written piece by piece, once it is its turn: others wait until it is finished, control frames
    /// pass. [`MessageWriter`] says what is sent when, and what a writer that is dropped does.
    ///
    /// The writer borrows this sender, so that no message of its own can wait for it. Other tasks have clones.
    ///
    /// ```no_run
    /// # async fn example(mut sender: wsflow::Sender) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncWriteExt;
    /// use wsflow::Kind;
    ///
    /// let mut writer = sender.writer(Kind::Text).await?;
    /// for row in 0..1_000_000 {
    ///     writer.write_all(format!("row {row}\n").as_bytes()).await?;
    /// }
    /// writer.finish().await?;
    /// sender.send("behind it").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// [`close_with`](Self::close_with) by a clone meanwhile fails the message, and with it the connection, with 1011. Keep
    /// what takes long, such as waiting for another source, out of it.
    ///
    /// A writer that was forgotten (`std::mem::forget`) is abandoned by the next call of this sender that sends, flushes or
    /// pings, by its drop, or by a close: until then the others wait, as behind a slow one.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves its place, and has begun no message.
    pub async fn writer(&mut self, kind: Kind) -> Result<MessageWriter<'_>, Error> {
        let (sender, shared) = (self.id(), self.shared());
        shared.outbox.begin_message(sender).await?;
        let parts = PartWriter::new(&shared.outbox, sender, self.compression_setting());
        Ok(MessageWriter::new(Target::Half(parts), shared.part_size, kind))
    }
}

impl<'a, S> MessageWriter<'a, S> {
    fn new(target: Target<'a, S>, frame_size: usize, kind: Kind) -> Self {
        let text = match kind {
            Kind::Text => Some(Utf8Checker::default()),
            Kind::Binary => None,
        };
        Self { target, kind, text, frame: BytesMut::new(), frame_size, next_capacity: 0, progress: Progress::Nothing }
    }

    /// What kind of message it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageWriter<'_, S> {
    /// Payload bytes that this writer, and the sink before it, have taken and the transport has not. Those in the frame
    /// that is being filled count.
    pub fn buffered_amount(&self) -> u64 {
        self.target.buffered_amount() + self.frame.len() as u64
    }

    /// Ends the message: queues its last frame, and waits until the transport has taken it and was flushed.
    ///
    /// The last frame has what was written since the one before. A message to which nothing was written is empty.
    ///
    /// # Errors
    ///
    /// Why nothing can be sent any more, such as [`Error::Closed`]. Or [`Error::InvalidText`] for a text that ends in the
    /// middle of a character: the connection then fails as if the writer was dropped.
    ///
    /// # Cancel safety
    ///
    /// The first poll queues the last frame, also above the mark. From then on the message is whole, and goes out when
    /// the stream is polled, also if this future is dropped.
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.text.as_ref().is_some_and(Utf8Checker::is_within_character) {
            return Err(Error::InvalidText);
        }
        self.end_frame(Progress::All)?;
        poll_fn(|cx| self.target.poll_flush(cx)).await
    }

    /// Takes the next bytes, as many as the frame has room for.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        ready!(self.target.poll_ready(cx))?;
        if self.frame.len() == self.frame_size {
            self.end_frame(Progress::Begun)?;
            ready!(self.target.poll_write(cx))?;
        }
        let taken = &bytes[..bytes.len().min(self.frame_size - self.frame.len())];
        if let Some(text) = &mut self.text {
            let mut checked = text.clone();
            checked.check(taken).map_err(|_| Error::InvalidText)?;
            *text = checked;
        }
        self.reserve(taken.len());
        self.frame.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    /// Makes room for `n` bytes in the frame. It grows as a vector does, but to no more than a frame has.
    fn reserve(&mut self, n: usize) {
        let (needed, capacity) = (self.frame.len() + n, self.frame.capacity());
        if needed > capacity {
            let capacity = needed.max(2 * capacity).max(self.next_capacity).min(self.frame_size);
            let mut frame = BytesMut::with_capacity(capacity);
            frame.extend_from_slice(&self.frame);
            self.frame = frame;
        }
    }

    /// Ends the frame, and flushes all that was queued.
    fn poll_flush_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.frame.is_empty() {
            self.end_frame(Progress::Begun)?;
        }
        self.target.poll_flush(cx)
    }

    /// Queues the frame that was filled. With it so much of the message is queued as `progress` says.
    fn end_frame(&mut self, progress: Progress) -> Result<(), Error> {
        let place = match (self.progress, progress) {
            (Progress::Nothing, Progress::All) => Place::Only,
            (Progress::Nothing, _) => Place::First,
            (_, Progress::All) => Place::Last,
            _ => Place::Middle,
        };
        let payload = mem::take(&mut self.frame);
        self.next_capacity = payload.len();
        self.target.start_send(Part { kind: self.kind, place, payload })?;
        self.progress = progress;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageWriter<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_take(cx, bytes).map_err(io::Error::from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_frame(cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl<S> Drop for MessageWriter<'_, S> {
    fn drop(&mut self) {
        if self.progress != Progress::All {
            self.target.abandon(self.frame.len());
        }
    }
}

/// Without its payload.
impl<S> fmt::Debug for MessageWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .field("queued", &self.progress)
            .field("frame", &self.frame.len())
            .finish_non_exhaustive()
    }
}

impl<S> Target<'_, S> {
    /// The message will not be finished, of which `unsent` bytes were taken and not queued.
    fn abandon(&mut self, unsent: usize) {
        match self {
            Self::InPlace(connection) => connection.abandon_message(unsent),
            Self::Half(parts) => parts.abandon(unsent),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Target<'_, S> {
    fn buffered_amount(&self) -> u64 {
        match self {
            Self::InPlace(connection) => connection.buffered_amount(),
            Self::Half(parts) => parts.buffered_amount(),
        }
    }

    /// Ready when another frame may be queued.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::InPlace(connection) => connection.poll_part_ready(cx),
            Self::Half(parts) => parts.poll_ready(cx),
        }
    }

    /// Queues a frame, also above the mark.
    fn start_send(&mut self, part: Part) -> Result<(), Error> {
        match self {
            Self::InPlace(connection) => connection.start_send_part(part),
            Self::Half(parts) => parts.start_send(part),
        }
    }

    /// Writes what is worth a write. Ready when another frame may be queued.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::InPlace(connection) => connection.poll_capacity(cx),
            // The connection's task writes.
            Self::Half(parts) => parts.poll_ready(cx),
        }
    }

    /// Ready when the transport has taken everything that was queued, and was flushed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::InPlace(connection) => connection.poll_flush(cx),
            Self::Half(parts) => parts.poll_flush(cx),
        }
    }
}
