//! `Receiver`: the half that receives.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{FusedStream, Stream};
use url::Url;

use super::{Shared, Unread};
use crate::{
    close::{CloseFrame, Closed},
    error::Error,
    event::Event,
    message::Message,
    protocol::ReadyState,
    stats::Stats,
};

/// The half of a connection that receives: see [`WebSocketStream::into_split`](crate::WebSocketStream::into_split).
///
/// As a [`Stream`] it yields each message; after a clean close `None`, after an unclean one a single `Err`, then `None` for
/// ever. What was read before the end is yielded first, also where writing has failed or this half was late, and so is what
/// comes after our Close and before the peer's. Senders are told of the end at once.
///
/// # Room
///
/// The connection's task reads ahead, up to [`Config::read_high_water_mark`](crate::Config::read_high_water_mark); a
/// message costs its payload and 32 bytes, or what it used up of the read buffer if that is more, until it is taken from
/// here. From the mark on the socket is not read, so a slow receiver slows the peer down. No pong leaves then either, and a
/// server with a keepalive of its own may end the connection: a receiver whose messages take long to deal with passes them
/// on, or has a larger mark.
///
/// # Drop
///
/// Messages that come later are counted in [`Stats::discarded_messages`] and dropped; the senders go on. With the last
/// [`Sender`](super::Sender) gone, too, the connection closes.
#[must_use = "messages are dropped when it is dropped; with the last `Sender` gone, too, the connection closes"]
pub struct Receiver {
    shared: Arc<Shared>,
    unread: Unread,
}

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>, max_message_size: usize) -> Self {
        Self { unread: Unread::new(Arc::clone(&shared), max_message_size), shared }
    }

    /// Takes up to `limit` messages at once, and appends them to `messages`; waits for the first. Returns how many: 0 is the
    /// end, or a limit of 0.
    ///
    /// # Errors
    ///
    /// The one error of an unclean end, once all messages before it were taken.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv_many(&mut self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, Error> {
        if limit == 0 {
            return Ok(0);
        }
        let Some(first) = poll_fn(|cx| self.unread.poll_message(cx)).await.transpose()? else { return Ok(0) };
        let before = messages.len();
        messages.push(first);
        messages.extend(std::iter::from_fn(|| self.unread.next_whole()).take(limit - 1));
        self.unread.release();
        Ok(messages.len() - before)
    }

    /// As `next()`, with the control frames of the peer at their places among the messages: see
    /// [`WebSocketStream::next_event`](crate::WebSocketStream::next_event).
    ///
    /// They are kept from the first poll on. Each costs [room](Self#room) as a message does; at most 16 of a kind wait, of
    /// which the oldest goes. `next()` and the others drop those before their message.
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
        self.unread.poll_event(cx)
    }

    /// Of what has come, for a reader of one message.
    pub(crate) fn unread(&mut self) -> &mut Unread {
        &mut self.unread
    }

    /// How the connection ended, once it has. What was read before may still be to be taken.
    pub fn closed(&self) -> Option<&Closed> {
        self.shared.outbox.closed()
    }

    /// The peer's Close frame, as soon as the connection's task has read it: what came before may still be to be taken, and
    /// the end comes later. `None` also for a frame that is invalid.
    pub fn peer_close(&self) -> Option<&CloseFrame> {
        self.shared.outbox.peer_close()
    }

    /// Drops the transport: the peer gets no Close frame. What was read before is still yielded, then [`Error::Aborted`].
    ///
    /// Use it for a peer that is not worth waiting for: [`close_with`](super::Sender::close_with), and a drop of both halves,
    /// wait for its answer as long as [`close_timeout`](crate::Config::close_timeout) says. The connection's task does it when
    /// it runs next. On a connection that has ended it does nothing.
    pub fn abort(&self) {
        self.shared.outbox.abort();
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

impl Stream for Receiver {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.unread.poll_message(cx)
    }
}

impl FusedStream for Receiver {
    fn is_terminated(&self) -> bool {
        self.unread.has_ended()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("ready_state", &self.ready_state()).finish_non_exhaustive()
    }
}
