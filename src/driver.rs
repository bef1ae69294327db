//! A task's side of a queue: it moves what is queued into a connection, and tells what the transport took.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{error::Error, message::Message, stream::WebSocketStream};

/// What other tasks have queued for a connection.
pub(crate) trait Queue {
    /// How many messages are queued.
    fn len(&self) -> usize;

    /// The next message to hand over. `None`: there is nothing to do, and the task of `cx` is woken when there is.
    fn pop(&self, can_send: CanSend, cx: &Context<'_>) -> Option<Message>;
}

/// Whether the sink takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CanSend {
    Yes,
    /// It would, but has enough for now.
    Later,
    No,
}

/// A connection that a task drives.
pub(crate) struct Driver<S> {
    pub(crate) stream: WebSocketStream<S>,
    /// Payload bytes that the transport has taken, as of the last time that this was asked.
    released: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(stream: WebSocketStream<S>) -> Self {
        Self { stream, released: 0 }
    }

    /// Hands over what is queued, and writes it. What the transport does not take stays with the connection; an error
    /// shows when the connection is read.
    ///
    /// What is queued meanwhile waits for the next turn, since a sender that is as fast as the transport would hold up the
    /// reader for ever.
    pub(crate) fn poll_send(&mut self, queue: &impl Queue, cx: &mut Context<'_>) {
        self.hand_over(queue, cx);
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }

    fn hand_over(&mut self, queue: &impl Queue, cx: &mut Context<'_>) {
        for _ in 0..=queue.len() {
            let can_send = match Pin::new(&mut self.stream).poll_ready(cx) {
                Poll::Ready(Ok(())) => CanSend::Yes,
                Poll::Ready(Err(_)) => CanSend::No,
                Poll::Pending => CanSend::Later,
            };
            let Some(message) = queue.pop(can_send, cx) else { return };
            // It cannot fail: the sink takes it.
            let _ = self.stream.start_send_now(message);
        }
        cx.waker().wake_by_ref();
    }

    /// The connection's next item.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }

    /// Payload bytes that the transport took since this was asked last.
    pub(crate) fn take_released(&mut self) -> u64 {
        let sent = self.stream.stats().payload_bytes_sent;
        sent - std::mem::replace(&mut self.released, sent)
    }
}
