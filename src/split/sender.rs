//! `Sender`: the half that sends. Each task can have a clone.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use url::Url;

use super::{Shared, sink::SenderSink};
use crate::{
    close::{CloseFrame, Closed},
    error::{Error, InvalidControl},
    message::Message,
    outbox::{Outbox, SenderId, TrySendError},
    protocol::{Compression, Pong, ReadyState, validate_close},
    stats::Stats,
};

/// The half of a connection that sends: see [`WebSocketStream::into_split`](crate::WebSocketStream::into_split).
///
/// Clones send over the same connection. Queued messages are sent without a flush; [`flush`](Self::flush) waits until
/// they have left. A [`writer`](Self::writer) borrows its sender: each task that sends has a clone of its own.
///
/// # Room
///
/// What is queued here and in the connection costs together at most
/// [`Config::write_high_water_mark`](crate::Config::write_high_water_mark); a message costs its payload and 32 bytes, but
/// never more than the mark, until the transport has taken all of it. Senders that wait get room in the order in which
/// they asked, whatever the size of their messages. Pings, pongs and the Close frame do not wait.
///
/// # Drop
///
/// Dropping all senders closes nothing, as the [`Receiver`](super::Receiver) may still read. Once the receiver is dropped,
/// too, what was queued is still sent, then a Close frame without a code, within the configured deadlines. That is the work of
/// the connection's task, which ends with its runtime: a `main` that ends then loses what is queued, so it ends with
/// [`close_with`](Self::close_with).
#[must_use = "the connection closes when the last half of it is dropped"]
pub struct Sender {
    shared: Arc<Shared>,
    id: SenderId,
    compression: Compression,
}

impl Sender {
    /// The first of a connection: the others are its clones.
    pub(super) fn new(shared: Arc<Shared>, compression: Compression) -> Self {
        Self { shared, id: Outbox::FIRST_SENDER, compression }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn id(&self) -> SenderId {
        self.id
    }

    /// Queues a message, once there is [room](Self#room) for it and it is its turn. Whether it has left says
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Closing`] while the connection is closing; where it fails, or writing has failed, that failure; and then what
    /// ended the connection. The message is gone: [`try_send`](Self::try_send) gives it back.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped while it waits leaves its place, and may have queued its message if its turn had come.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.shared.outbox.send(self.id, message.into(), self.compression).await
    }

    /// Queues a message, if there is room for it and nobody waits.
    ///
    /// # Errors
    ///
    /// The message, with the reason.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.shared.outbox.try_send(self.id, message.into(), self.compression)
    }

    /// Waits until all that was queued before has left: the transport has taken it and was flushed, and it takes no room
    /// any more. What is queued meanwhile waits until then.
    ///
    /// # Errors
    ///
    /// What ended the connection, if not all has left.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.outbox.flush(self.id).await
    }

    /// Waits until [`buffered_amount`](Self::buffered_amount) is 0.
    ///
    /// # Errors
    ///
    /// What ended the connection, if it is not: then it does not fall any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn drained(&self) -> Result<(), Error> {
        self.shared.outbox.drained().await
    }

    /// Sends a ping, before messages that wait, and waits for its pong: the time from one to the other.
    ///
    /// The pong is read only while the [`Receiver`](super::Receiver) has room.
    ///
    /// # Errors
    ///
    /// If 16 pings wait for their pongs or to be sent already, or if the connection is not open, or ends before the pong.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have sent its ping.
    pub async fn ping(&self) -> Result<std::time::Duration, Error> {
        self.shared.outbox.ping(self.id, None)?.await
    }

    /// Queues a ping with a payload of at most 125 bytes, and does not wait: the [`Pong`] does. It goes out before messages that
    /// wait.
    ///
    /// The pong is read only while the [`Receiver`](super::Receiver) has room.
    ///
    /// # Errors
    ///
    /// If the payload is too long, if 16 pings wait for their pongs or to be sent already, or if the connection is not
    /// open.
    pub fn send_ping(&self, payload: impl Into<Bytes>) -> Result<Pong, Error> {
        self.shared.outbox.ping(self.id, Some(payload.into()))
    }

    /// Queues a pong with a payload of at most 125 bytes, and does not wait. It goes out before messages that wait, and behind
    /// the answers to pings, which the connection sends by itself.
    ///
    /// Use it for a protocol that tells by pongs that this side is there (RFC 6455, section 5.5.3). At most 16 wait: of
    /// more the oldest goes.
    ///
    /// # Errors
    ///
    /// If the payload is too long, or if the connection is not open.
    pub fn send_pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        self.shared.outbox.pong(self.id, payload.into())
    }

    /// Closes the connection: what is queued goes out, then a Close frame; then this waits for the peer's and for the end
    /// of the transport. Senders that wait for room get [`Error::Closing`]; an open [`writer`](Self::writer) fails, and with it
    /// the connection, with 1011. The [`Receiver`](super::Receiver) still gets what comes before the peer's Close; while it
    /// takes nothing the deadlines run all the same, and each message that it takes out of a full inbox starts
    /// [`close_timeout`](crate::Config::close_timeout) again.
    ///
    /// On a connection that is closing already it sends nothing and waits for the end.
    ///
    /// # Errors
    ///
    /// Only if the code may not be sent or the reason is too long; then nothing was sent and the connection stays open.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled the connection closes, whether or not somebody waits.
    pub async fn close_with(&self, frame: CloseFrame) -> Result<Closed, Error> {
        self.start_close(frame)?;
        Ok(self.closed().await)
    }

    /// Begins to close, and does not wait: what is queued goes out, then a Close frame. The [`Receiver`](super::Receiver) still
    /// gets what comes before the peer's; [`closed`](Self::closed) waits for the end.
    ///
    /// A connection that is closing already, or has ended, stays as it is. For senders that wait and for an open writer it is
    /// [`close_with`](Self::close_with).
    ///
    /// # Errors
    ///
    /// If the code may not be sent or the reason is too long: the connection stays open.
    pub fn start_close(&self, frame: CloseFrame) -> Result<(), InvalidControl> {
        validate_close(&frame)?;
        self.shared.outbox.close(frame);
        Ok(())
    }

    /// Drops the transport: what is queued is lost, and the peer gets no Close frame.
    ///
    /// Senders, pings and flushes get [`Error::Aborted`], [`closed`](Self::closed) gives 1006, and
    /// [`buffered_amount`](Self::buffered_amount) stays. The [`Receiver`](super::Receiver) gets what was read before, then
    /// [`Error::Aborted`]. The connection's task does it when it runs next. On a connection that has ended it does nothing.
    pub fn abort(&self) {
        self.shared.outbox.abort();
    }

    /// The peer's Close frame, as soon as the connection's task has read it. The end comes later. `None` also for a frame that
    /// is invalid.
    pub fn peer_close(&self) -> Option<&CloseFrame> {
        self.shared.outbox.peer_close()
    }

    /// Payload bytes that were queued and that the transport has not taken. Framing is not counted, nor are messages that
    /// wait for room. What could not be sent when the connection ended stays in it for ever.
    pub fn buffered_amount(&self) -> u64 {
        self.shared.outbox.buffered_amount()
    }

    /// Waits for the end of the connection, and says how it ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn closed(&self) -> Closed {
        self.shared.outbox.ended().await
    }

    /// Switches compression off, or on again, for what this sender sends from now on, as
    /// [`WebSocketStream::set_compression`](crate::WebSocketStream::set_compression). Clones, sinks and writers that it makes
    /// begin as it stands; others are not touched.
    pub fn set_compression(&mut self, is_on: bool) {
        self.compression = Compression::from_switch(is_on);
    }

    /// Whether messages of this sender may be compressed.
    pub fn compression(&self) -> bool {
        self.compression == Compression::Allowed
    }

    pub(crate) fn compression_setting(&self) -> Compression {
        self.compression
    }

    /// A [`Sink`](futures_sink::Sink) for messages. The `Sender` itself is none, since `SinkExt::send` would hide its own.
    pub fn sink(&self) -> SenderSink {
        SenderSink::new(self.clone())
    }

    /// The URL, as a browser's `url` shows it; after redirects the last one. `None` when the transport was upgraded elsewhere.
    pub fn url(&self) -> Option<&Url> {
        self.shared.negotiated.url.as_ref()
    }

    /// The response to the upgrade request, with its headers. `None` when the transport was upgraded elsewhere.
    pub fn response(&self) -> Option<&http::Response<()>> {
        self.shared.negotiated.response.as_ref()
    }

    /// The subprotocol that the server chose, `""` if none.
    pub fn protocol(&self) -> &str {
        &self.shared.negotiated.protocol
    }

    /// The extensions in use, as in the response's `Sec-WebSocket-Extensions`, `""` if none.
    pub fn extensions(&self) -> &str {
        &self.shared.negotiated.extensions
    }

    /// Whether the connection is open, closing or closed.
    pub fn ready_state(&self) -> ReadyState {
        self.shared.outbox.ready_state()
    }

    /// What the connection has counted when its task last ran.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        let id = self.shared.outbox.add_sender();
        Self { shared: Arc::clone(&self.shared), id, compression: self.compression }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.outbox.remove_sender(self.id);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("ready_state", &self.ready_state())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}
