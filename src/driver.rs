//! A task's side of a queue: it moves what is queued into a connection, and tells what the transport took.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    error::Error,
    limits::MAX_IDLE_PLACES,
    message::Message,
    protocol::{Compression, Part},
    stream::WebSocketStream,
};

/// What is queued for a connection.
#[derive(Debug)]
pub(crate) enum Queued {
    Message(Message, Compression),
    /// A part of a message: no other message comes before its last part.
    Part(Part, Compression),
}

impl Queued {
    /// Its length, in bytes of payload.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Message(message, _) => message.len(),
            Self::Part(part, _) => part.payload.len(),
        }
    }
}

impl From<Message> for Queued {
    fn from(message: Message) -> Self {
        Self::Message(message, Compression::Allowed)
    }
}

/// What other tasks have queued for a connection.
pub(crate) trait Queue {
    /// Moves what is queued to the end of `batch`. The task of `cx` is woken when more is queued.
    fn take(&self, batch: &mut VecDeque<Queued>, cx: &Context<'_>) -> Handover;
}

/// When the connection gets what was taken from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handover {
    /// As its sink has room.
    WhenReady,
    /// At once, as a Close follows: the connection has to know that it closes, since it keeps the deadline. It is no more
    /// memory than the queue was.
    AtOnce,
}

/// A connection that a task drives.
pub(crate) struct Driver<S> {
    pub(crate) stream: WebSocketStream<S>,
    /// What was taken from the queue, and waits until the sink has room.
    batch: VecDeque<Queued>,
    /// What had been sent when this was asked last.
    sent: Sent,
    /// Whether there is something that was queued before the task owned the connection. All of it counts as one entry.
    has_leftover: bool,
}

/// What the transport has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    /// Messages and parts of messages, of which every byte was.
    pub(crate) entries: u64,
    /// Bytes of their payloads.
    pub(crate) payload: u64,
}

impl Sent {
    /// What the transport of `stream` has taken so far.
    fn by<S: AsyncRead + AsyncWrite + Unpin>(stream: &WebSocketStream<S>) -> Self {
        let stats = stream.counters();
        Self { entries: stats.messages_sent + stream.parts_sent(), payload: stats.payload_bytes_sent }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(stream: WebSocketStream<S>) -> Self {
        let (sent, has_leftover) = (Sent::by(&stream), !stream.is_flushed());
        Self { stream, batch: VecDeque::new(), sent, has_leftover }
    }

    /// Hands over what is queued, and writes it. What the transport does not take stays with the connection; an error
    /// shows when the connection is read.
    ///
    /// What is queued meanwhile waits for the next turn, since a sender that is as fast as the transport would hold up the
    /// reader for ever.
    pub(crate) fn poll_send(&mut self, queue: &impl Queue, cx: &mut Context<'_>) {
        let handover = queue.take(&mut self.batch, cx);
        while let Some(next) = self.batch.front() {
            let ready = match next {
                Queued::Part(part, _) if !part.place.is_first() => self.stream.poll_part_ready(cx),
                _ => Pin::new(&mut self.stream).poll_ready(cx),
            };
            match ready {
                Poll::Ready(Ok(())) => {}
                Poll::Pending if handover == Handover::AtOnce => {}
                Poll::Pending | Poll::Ready(Err(_)) => break,
            }
            // It cannot fail: the connection is open.
            let _ = match self.batch.pop_front() {
                Some(Queued::Message(message, compression)) => {
                    self.stream.set_compression_to(compression);
                    self.stream.start_send_now(message)
                }
                Some(Queued::Part(part, compression)) => {
                    self.stream.set_compression_to(compression);
                    self.stream.start_send_part(part)
                }
                None => break,
            };
        }
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }

    /// Whether all that was taken from the queue has left: the transport has taken it, and was flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.batch.is_empty() && self.stream.is_flushed()
    }

    /// The connection's next item.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }

    /// What the transport took since this was asked last.
    pub(crate) fn take_sent(&mut self) -> Sent {
        let sent = Sent::by(&self.stream);
        let before = std::mem::replace(&mut self.sent, sent);
        let entries = match self.has_leftover {
            false => sent.entries - before.entries,
            true => {
                self.has_leftover = !self.stream.is_flushed();
                u64::from(!self.has_leftover)
            }
        };
        Sent { entries, payload: sent.payload - before.payload }
    }

    /// Whether the connection has got all that was taken from the queue.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.batch.is_empty()
    }

    /// Frees the memory of a burst.
    pub(crate) fn shrink(&mut self) {
        self.batch.shrink_to(MAX_IDLE_PLACES);
    }

    /// Drops what was taken from the queue and can be sent no more. Returns whether there was something.
    pub(crate) fn drop_batch(&mut self) -> bool {
        !std::mem::take(&mut self.batch).is_empty()
    }
}
