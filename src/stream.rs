//! `WebSocketStream`: a connection as a `Stream` and a `Sink` with bounded buffers, polled in place.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::{
    close::{CloseFrame, Closed},
    config::Config,
    connection::{Connection, EndWatch},
    error::{Error, InvalidControl, InvalidResponse},
    event::Event,
    handshake::{Negotiated, extension},
    limits::{MAX_DEFLATED_FRAME, WRITER_FRAME},
    message::{Message, MessageRef},
    protocol::{Compression, Pong, ReadyState},
    stats::Stats,
    trace::Trace,
    transport::Transport,
    upgraded::UpgradedParts,
};

/// A WebSocket connection as a [`Stream`] of messages and a [`Sink`] for them.
///
/// It is polled in place: it spawns nothing and queues nothing between tasks. What the connection has to do by itself
/// (answering pings, sending what was fed, the closing handshake, deadlines) it does while somebody polls it, for
/// reading or for writing. A poll for writing reads nothing: a ping waits for the next poll for reading. A connection that
/// nobody polls does nothing, and holds back its peer.
///
/// # Reading
///
/// `next()` yields each message. After a clean close it yields `None`; after an unclean one a single `Err`, then `None`
/// for ever. What arrived before is yielded first. Pings, pongs and Close frames are not items:
/// [`next_event()`](Self::next_event) shows them, too.
///
/// A peer may close within a message that it sends in fragments. That is answered as always, but half a message is lost: the
/// end is unclean, an [`Error::Closed`] with the peer's code.
///
/// A close can be clean with every code: 1008 and 1011, by which a server says that something is wrong, also end with
/// `None`. [`closed()`](Self::closed) tells the code, and [`Closed::is_normal`] is false for them.
///
/// The socket is read only when what was read before is used up, so a slow reader slows the peer down: no more than
/// [`Config::read_buffer_max`] and the one message being put together is held here.
///
/// `Pending` means that the socket has nothing, and the task is woken by the socket or by a deadline. Or it means that this
/// poll has done enough for once, and the task is woken at once: a peer that floods keeps no other task waiting.
///
/// # Writing
///
/// `ready()`, and so `feed()` and `send()`, wait while the queued cost is at or above
/// [`Config::write_high_water_mark`]; the cost of a message is its payload and 32 bytes, until all of it was written.
/// That is the only bound. A full queue is never an error, except for `start_send` before `poll_ready` has returned
/// `Ready`: that is [`Error::NotReady`].
///
/// `feed()` writes small messages together: they go out from 64 KiB (or the mark) on, 112 KiB while the transport
/// takes all of it, on `flush()`, and whenever the buffered input is used up, before the socket is read again. So a loop
/// that reads and feeds needs no flush of its own, unless the stream is split.
/// What goes out without a flush is cut to blocks of 16 KiB, which fill TLS records; the rest waits for more.
///
/// One task that only sends, to a peer that only sends, can wait for ever once all buffers between them are full, since
/// each waits for the other to read, until [`Config::write_timeout`] passes. One task that does both uses
/// [`has_room`](Self::has_room) and [`next_or_room`](Self::next_or_room), which has an example. Or split the stream between
/// two tasks.
///
/// # Split
///
/// [`into_split`](Self::into_split) gives a [`Sender`](crate::Sender), with a clone for each task, and a
/// [`Receiver`](crate::Receiver). A task between them drives the connection.
///
/// The [`split`](https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.split) of futures gives two
/// halves for two tasks. Its `SplitSink` keeps one message in a slot of its own. The connection gets that message with the next
/// `feed`, `flush` or `close` of that half, and not before. Two things that are said here of the stream in place do not
/// hold for the halves:
///
/// * A loop that reads from one half and feeds the other needs a flush of its own, else the last answer stays in the
///   slot and both sides wait. `send` has it; `forward` and `send_all` flush while the stream has no message.
/// * [`buffered_amount`](Self::buffered_amount) does not count the message in the slot, and `reunite` drops it. A
///   [`close_with`](Self::close_with) after that sends all the others and says `was_clean: true`. Flush before
///   `reunite`.
///
/// ```
/// # use futures::{SinkExt, StreamExt};
/// # use tokio::io::{AsyncRead, AsyncWrite};
/// # use wsflow::{Error, WebSocketStream};
/// # async fn echo<S: AsyncRead + AsyncWrite + Unpin>(ws: WebSocketStream<S>) -> Result<(), Error> {
/// let (mut sink, mut stream) = ws.split();
/// while let Some(message) = stream.next().await.transpose()? {
///     sink.feed(message).await?;
///     sink.flush().await?; // in place this line is not needed
/// }
/// # Ok(()) }
/// ```
///
/// # Messages larger than memory
///
/// [`writer`](Self::writer) sends one message piece by piece: it is never held as a whole. Messages wait for one
/// another, so while a writer lives the stream is borrowed by it.
///
/// # Closing
///
/// After our Close is queued no message is yielded any more. The end shows when it is over: an `Err` once the peer was
/// told, `None` once the transport ended, each within [`Config::tcp_end_timeout`]. `SinkExt::close()` sends a Close
/// frame without a code and is done when the closing handshake is: `Ok` if it was clean, else the `Err` that the stream
/// yields as well.
///
/// `stream.forward(sink)` over the two halves of a split stream ends with `Ok` after a clean close from either side,
/// unless the peer's Close came before the last message was passed on: that message cannot be sent any more, and the
/// end is an `Err`.
///
/// # Cancel safety
///
/// Nothing is lost when a future of `next`, `next_reader`, `flush`, `ready`, `close` or [`close_with`](Self::close_with) is dropped:
/// what was read stays, what was queued stays queued, and a frame that was begun is finished by the next poll. A `feed`
/// that is dropped while it waits has not queued its message, and the message is gone; a dropped `send` may have queued
/// it. A [`MessageWriter`](crate::MessageWriter) that is dropped before [`finish`](crate::MessageWriter::finish) fails the
/// connection.
///
/// # Keepalive
///
/// A peer can vanish without a word, such as behind a network that failed. So after [`Config::keepalive_interval`] (30
/// s) without a byte, the stream sends a ping. After [`Config::keepalive_timeout`] (30 s) without an answer it yields
/// an [`Error::Timeout`] in [`Phase::Keepalive`](crate::Phase::Keepalive). Any byte is an answer; closing has its own
/// deadlines.
///
/// Keepalive runs only while a task polls for reading: an application that is busy for an hour, and does not read,
/// loses no peer. For a task that only writes there are [`Config::write_timeout`] and
/// [`tcp_user_timeout`](crate::ClientBuilder::tcp_user_timeout). The server's keepalive needs this side to
/// read, too: a ping that is not read is not answered.
///
/// [`Config::message_timeout`] is for a server that is there and says nothing more.
///
/// # Runtime
///
/// Deadlines, keepalive, and the timer that frees the buffers of an idle connection, need a tokio runtime with timers
/// around the task that polls. Without one the first poll that has to wait panics, unless [`Config::without_timers`] is
/// set. A connection may move from one runtime to another, if its transport may.
///
/// # Drop
///
/// Dropping it drops the transport at once: what was queued and not flushed is lost, and the peer sees no Close frame.
/// Use [`close_with`](Self::close_with) first.
#[must_use = "the connection ends when it is dropped"]
pub struct WebSocketStream<S = Transport> {
    /// Boxed, since it is 2 KiB: what hands a stream on has room for it twice.
    connection: Box<Connection<S>>,
    config: Config,
    /// Boxed as well.
    negotiated: Box<Negotiated>,
}

/// Without payloads, credentials, and the name of the subprotocol: some clients put a token there.
impl<S: AsyncRead + AsyncWrite + Unpin> fmt::Debug for WebSocketStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream")
            .field("ready_state", &self.ready_state())
            .field("has_protocol", &!self.protocol().is_empty())
            .field("extensions", &self.extensions())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}

/// What [`WebSocketStream::next_or_room`] waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextOrRoom {
    /// The next message.
    Message(Message),
    /// The sink takes a message again.
    Room,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    pub(crate) fn new(io: S, mut negotiated: Negotiated, config: Config, trace: Trace) -> Self {
        let config = config.in_bounds();
        let read_buf = std::mem::take(&mut negotiated.read_buf);
        let connection = Connection::new(io, read_buf, &config, negotiated.deflate).with_trace(trace);
        Self { connection: Box::new(connection), config, negotiated: Box::new(negotiated) }
    }

    /// Takes a transport that was upgraded elsewhere, such as by hyper or reqwest, from which nothing was read since,
    /// and on which no extension was agreed on.
    ///
    /// The connection has the client's role (RFC 6455, section 5.1): it masks the frames that it sends, and fails on a
    /// masked frame from the peer. It cannot be used as a server.
    ///
    /// It needs a [runtime](Self#runtime) with timers around the task that polls.
    pub fn from_upgraded(io: S, config: Config) -> Self {
        Self::new(io, Negotiated::default(), config.over_caller_io(), Trace::upgraded())
    }

    /// Takes a transport that was upgraded elsewhere, with the bytes that were read too far and what was agreed on. It
    /// has the client's role, and needs a runtime, as in [`from_upgraded`](Self::from_upgraded).
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] if [`extensions`](UpgradedParts#structfield.extensions) has anything but permessage-deflate
    /// with parameters that RFC 7692 allows, or a larger window for the client than [`Config::deflate`] allows. The
    /// transport is dropped.
    pub fn from_upgraded_parts(parts: UpgradedParts<S>) -> Result<Self, Error> {
        let UpgradedParts { io, read_buf, protocol, extensions, config } = parts;
        let read_buf = BytesMut::from(read_buf);
        // What was asked of the server is not known here; what this side said of itself it has to keep.
        let own = config.deflate.clone().unwrap_or_default();
        let offered = own.server_no_context_takeover(false).server_max_window_bits(None);
        let deflate =
            extension::validate(&extensions, Some(&offered)).map_err(|what| InvalidResponse::Extension(what.into()))?;
        let negotiated = Negotiated { url: None, response: None, protocol, extensions, deflate, read_buf };
        Ok(Self::new(io, negotiated, config.over_caller_io(), Trace::upgraded()))
    }

    /// Gives the transport back, with the bytes that were read from it and belong to no message yet.
    ///
    /// What was queued and not written is dropped, pongs too. In the middle of a fragmented or compressed message, or of
    /// a frame that is half written, the connection cannot be taken up again: flush first, and stop between messages. With compression the peer's
    /// next message may refer to those before, unless each is compressed by itself.
    pub fn into_parts(self) -> UpgradedParts<S> {
        let Negotiated { protocol, extensions, .. } = *self.negotiated;
        let (io, read_buf) = self.connection.into_parts();
        UpgradedParts { io, read_buf, protocol, extensions, config: self.config }
    }

    /// The transport.
    ///
    /// Reading from it or writing to it by hand breaks the connection.
    pub fn get_ref(&self) -> &S {
        self.connection.io()
    }

    /// The URL, as a browser's `url` shows it; after redirects the last one. `None` when the transport was upgraded elsewhere.
    pub fn url(&self) -> Option<&Url> {
        self.negotiated.url.as_ref()
    }

    /// The response to the upgrade request, with its headers. `None` when the transport was upgraded elsewhere.
    pub fn response(&self) -> Option<&http::Response<()>> {
        self.negotiated.response.as_ref()
    }

    /// The subprotocol that the server chose, `""` if none.
    pub fn protocol(&self) -> &str {
        &self.negotiated.protocol
    }

    /// The extensions in use, as in the response's `Sec-WebSocket-Extensions`, `""` if none.
    pub fn extensions(&self) -> &str {
        &self.negotiated.extensions
    }

    /// Whether the connection is open, closing or closed. It moves only while the stream is polled.
    pub fn ready_state(&self) -> ReadyState {
        self.connection.ready_state()
    }

    /// Payload bytes that the sink has taken and the transport has not. Framing is not counted, nor is what the
    /// operating system holds. What could not be sent when the connection ended stays in it for ever.
    pub fn buffered_amount(&self) -> u64 {
        self.connection.buffered_amount()
    }

    /// What the connection has counted so far.
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Whether the sink takes a message at once: the connection is open, and the queued cost is below
    /// [`Config::write_high_water_mark`].
    pub fn has_room(&self) -> bool {
        self.connection.has_room()
    }

    /// Waits for the next message or, if the sink has no room, for room, if that comes first. `None`: the end, as of
    /// `next()`.
    ///
    /// It is for one task that reads and writes without ever waiting for one of them alone: a peer that reads only when
    /// it is read from cannot stop such a task. What was fed is written meanwhile.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream, mut orders: tokio::sync::mpsc::Receiver<String>)
    /// # -> Result<(), wsflow::Error> {
    /// use futures::SinkExt;
    /// use wsflow::NextOrRoom;
    ///
    /// loop {
    ///     tokio::select! {
    ///         Some(order) = orders.recv(), if ws.has_room() => ws.feed(order.into()).await?, // does not wait
    ///         next = ws.next_or_room() => match next.transpose()? {
    ///             Some(NextOrRoom::Message(message)) => println!("{message:?}"),
    ///             Some(NextOrRoom::Room) => {}
    ///             None => break,
    ///         },
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The one error of an unclean end, as of `next()`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_or_room(&mut self) -> Option<Result<NextOrRoom, Error>> {
        let has_room = self.has_room();
        poll_fn(|cx| match self.connection.poll_next(cx) {
            Poll::Ready(item) => Poll::Ready(item.map(|item| item.map(NextOrRoom::Message))),
            Poll::Pending if !has_room && self.has_room() => Poll::Ready(Some(Ok(NextOrRoom::Room))),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// What made the end unclean: the error that the stream yields, or yielded. `None` before the end, and after a
    /// clean one, of any code.
    pub fn error(&self) -> Option<&Error> {
        self.connection.error()
    }

    /// As `next()`, for a message that is lent until the next call on the stream: there is no reference count and no
    /// allocation.
    ///
    /// Use it to look at a message and let it go, such as parsing a tick: small messages cost a quarter of what `next()`
    /// costs. Use `next()` for a message that is kept, or passed to another task. Both may be mixed, and differ in nothing
    /// else: order, ends, errors, limits and [`stats`](Self::stats). A message in several frames, or compressed, is lent
    /// from a buffer that is used again; it is freed when the connection is idle.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// use wsflow::MessageRef;
    ///
    /// let (mut sum, mut bytes) = (0.0, 0);
    /// while let Some(message) = ws.next_ref().await.transpose()? {
    ///     match message {
    ///         MessageRef::Text(price) => sum += price.parse().unwrap_or(0.0),
    ///         MessageRef::Binary(data) => bytes += data.len(),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A message that is used after the next call does not compile:
    ///
    /// ```compile_fail,E0499
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// let first = ws.next_ref().await.transpose()?;
    /// let second = ws.next_ref().await.transpose()?;
    /// println!("{first:?} {second:?}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    #[inline]
    pub async fn next_ref(&mut self) -> Option<Result<MessageRef<'_>, Error>> {
        let loan = poll_fn(|cx| self.connection.poll_lend(cx)).await?;
        Some(loan.map(|loan| self.connection.lent(loan)))
    }

    /// As `poll_next`, for a message that is lent until the next call on the stream. `Pending` as of `poll_next`.
    #[inline]
    pub fn poll_next_ref(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<MessageRef<'_>, Error>>> {
        let item = ready!(self.connection.poll_lend(cx));
        Poll::Ready(item.map(|loan| loan.map(|loan| self.connection.lent(loan))))
    }

    /// As `next()`, with the control frames of the peer at their places among the messages.
    ///
    /// Use it to show or to log pings, pongs and the peer's Close frame. They are dealt with all the same: each ping is
    /// answered, each pong resolves its [`Pong`], and after [`Event::Close`] comes the end, as of `next()`. A Close frame that is
    /// invalid is not shown: the error follows. What is read while another method reads is not shown later.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// use wsflow::Event;
    ///
    /// while let Some(event) = ws.next_event().await.transpose()? {
    ///     match event {
    ///         Event::Message(message) => println!("{message:?}"),
    ///         Event::Ping(payload) => println!("< ping {payload:?}"),
    ///         Event::Pong(payload) => println!("< pong {payload:?}"),
    ///         Event::Close(frame) => println!("< close {frame:?}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The one error of an unclean end, as of `next()`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// As `poll_next`, with the control frames: see [`next_event`](Self::next_event). `Pending` as of `poll_next`.
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        self.connection.poll_next_event(cx)
    }

    /// As `SinkExt::feed`, for a message in a buffer of the caller's: it is copied into the connection's output.
    ///
    /// Use it where messages are serialised into a buffer that is used again. A message above 16 KiB, and one that has to
    /// wait behind others, is copied into an allocation of its own; give away large payloads by `feed`.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream, orders: &[u32]) -> Result<(), wsflow::Error> {
    /// use futures::SinkExt;
    ///
    /// let mut buffer = Vec::new();
    /// for order in orders {
    ///     buffer.clear();
    ///     buffer.extend_from_slice(&order.to_be_bytes());
    ///     ws.feed_ref(&buffer).await?;
    /// }
    /// ws.flush().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As of `feed`: [`Error::Closing`] while the connection is closing, and then what ended it. The message was not queued.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped while it waits has not queued its message.
    #[inline]
    pub async fn feed_ref(&mut self, message: impl Into<MessageRef<'_>>) -> Result<(), Error> {
        poll_fn(|cx| self.connection.poll_ready(cx)).await?;
        self.connection.start_send_ref(message.into())
    }

    /// As `SinkExt::send`, for a message in a buffer of the caller's: [`feed_ref`](Self::feed_ref), then `flush`.
    ///
    /// # Errors
    ///
    /// As of `send`: those of [`feed_ref`](Self::feed_ref), and what ended the connection before all was sent.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have queued its message.
    pub async fn send_ref(&mut self, message: impl Into<MessageRef<'_>>) -> Result<(), Error> {
        self.feed_ref(message).await?;
        poll_fn(|cx| self.connection.poll_flush(cx)).await
    }

    /// Sets whether messages are compressed that are queued from now on, by `feed`, `send`,
    /// [`feed_ref`](Self::feed_ref), [`send_ref`](Self::send_ref) or [`writer`](Self::writer). It is on at first.
    ///
    /// Switch it off for what is compressed already, such as pictures: compressing that again costs time and gains
    /// nothing. Where no compression was agreed on it makes no difference.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream, picture: Vec<u8>) -> Result<(), wsflow::Error> {
    /// use futures::SinkExt;
    ///
    /// ws.feed("a picture of the chart".into()).await?;
    /// ws.set_compression(false);
    /// ws.feed(picture.into()).await?;
    /// ws.set_compression(true);
    /// ws.send("the next tick".into()).await?;
    /// # Ok(()) }
    /// ```
    pub fn set_compression(&mut self, is_on: bool) {
        self.connection.set_compression(Compression::from_switch(is_on));
    }

    /// Whether messages are compressed that are queued from now on, as [`set_compression`](Self::set_compression) says.
    /// Whether compression was agreed on is in [`extensions`](Self::extensions).
    pub fn compression(&self) -> bool {
        self.connection.compression() == Compression::Allowed
    }

    /// Queues a ping with a payload of at most 125 bytes. It goes out with the next flush, before messages that wait.
    ///
    /// The [`Pong`] is resolved when the stream is polled for reading.
    ///
    /// # Errors
    ///
    /// If the payload is too long, if 16 pings wait for their pongs or to be sent already, or if the connection is not
    /// open.
    pub fn send_ping(&mut self, payload: impl Into<Bytes>) -> Result<Pong, Error> {
        self.connection.ping(payload.into())
    }

    /// Queues a pong with a payload of at most 125 bytes. It goes out with the next flush, before messages that wait, and behind
    /// the answers to pings, which the connection sends by itself.
    ///
    /// Use it for a protocol that tells by pongs that this side is there (RFC 6455, section 5.5.3). At most 16 wait: of
    /// more the oldest goes.
    ///
    /// # Errors
    ///
    /// If the payload is too long, or if the connection is not open.
    pub fn send_pong(&mut self, payload: impl Into<Bytes>) -> Result<(), Error> {
        self.connection.pong(payload.into())
    }

    /// The peer's Close frame, as soon as it was read: the end comes later, with the answer sent and the transport ended. `None`
    /// also for a frame that is invalid.
    pub fn peer_close(&self) -> Option<&CloseFrame> {
        self.connection.peer_close().map(|frame| &**frame)
    }

    /// Begins to close, and does not wait: a Close frame is queued behind what is queued. It leaves when the stream is polled;
    /// `SinkExt::flush` is done when it has left.
    ///
    /// What still comes before the peer's Close is yielded, then the end. While messages that were read wait to be taken, the
    /// time of [`Config::close_timeout`] does not run. [`close_with`](Self::close_with) after it waits, and drops what comes.
    ///
    /// A connection that is closing already, or has ended, stays as it is.
    ///
    /// ```no_run
    /// # async fn example(mut ws: wsflow::WebSocketStream) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    /// use wsflow::CloseFrame;
    ///
    /// ws.start_close(CloseFrame::new(1000, "done"))?;
    /// while let Some(message) = ws.next().await.transpose()? {
    ///     println!("the rest: {message:?}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the code may not be sent or the reason is too long: then the connection stays open.
    pub fn start_close(&mut self, frame: CloseFrame) -> Result<(), InvalidControl> {
        self.connection.close(frame)
    }

    /// Closes the connection: sends what is queued, then a Close frame, and waits for the peer's and for the end of the
    /// transport. Messages that come meanwhile are counted in [`Stats::discarded_messages`] and dropped.
    ///
    /// On a connection that is closing already it sends nothing and waits for the end.
    ///
    /// # Errors
    ///
    /// Only if the code may not be sent or the reason is too long; then nothing was sent and the connection stays open.
    /// How the connection ended is in the answer; after an unclean end [`error`](Self::error) tells what caused it,
    /// such as a deadline or an error of the transport.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled the Close is queued. It goes on when this is called again or the stream is polled.
    pub async fn close_with(&mut self, frame: CloseFrame) -> Result<Closed, Error> {
        poll_fn(|cx| self.poll_close_with(&frame, cx)).await
    }

    /// As [`close_with`](Self::close_with), for a `poll` that is written by hand. The frame of the first call counts: later ones
    /// send nothing. `Pending` as of `poll_close`.
    ///
    /// ```no_run
    /// # use std::{future::Future, pin::Pin, task::{Context, Poll}};
    /// # use wsflow::{CloseFrame, Closed, Error, WebSocketStream};
    /// struct Leaving(WebSocketStream);
    ///
    /// impl Future for Leaving {
    ///     type Output = Result<Closed, Error>;
    ///
    ///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
    ///         self.0.poll_close_with(&CloseFrame::new(1001, "leaving"), cx)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`close_with`](Self::close_with).
    pub fn poll_close_with(&mut self, frame: &CloseFrame, cx: &mut Context<'_>) -> Poll<Result<Closed, Error>> {
        self.begin_close(frame.clone())?;
        // An unclean end is an answer here, not an error.
        let _ = ready!(self.connection.poll_closed(cx));
        Poll::Ready(Ok(self.connection.closed().cloned().unwrap_or_else(Closed::abnormal)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    pub(crate) fn connection(&mut self) -> &mut Connection<S> {
        &mut self.connection
    }

    /// For what drives the connection by itself from now on.
    pub(crate) fn into_inner(self) -> (Box<Connection<S>>, Config, Box<Negotiated>) {
        (self.connection, self.config, self.negotiated)
    }

    /// How many bytes of payload a frame has at most of a message that is sent in parts.
    pub(crate) fn part_size(&self) -> usize {
        self.config.fragment_size.unwrap_or(WRITER_FRAME).min(MAX_DEFLATED_FRAME)
    }

    /// Makes the connection tell how it ends, wherever it goes.
    pub(crate) fn watch_end(&mut self) -> EndWatch {
        self.connection.watch_end()
    }

    /// Queues our Close frame behind what is queued, without waiting for anything. Messages that still come are counted,
    /// and not yielded.
    fn begin_close(&mut self, frame: CloseFrame) -> Result<(), Error> {
        self.start_close(frame)?;
        self.connection.discard_messages();
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocketStream<S> {
    type Item = Result<Message, Error>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connection.poll_next(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocketStream<S> {
    fn is_terminated(&self) -> bool {
        self.connection.is_read_side_ended()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocketStream<S> {
    type Error = Error;

    #[inline]
    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.connection.poll_ready(cx)
    }

    #[inline]
    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        if self.connection.is_above_high_water_mark() {
            return Err(Error::NotReady);
        }
        self.connection.start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.connection.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.begin_close(CloseFrame::empty())?;
        self.connection.poll_closed(cx)
    }
}
