//! `SenderSink`: a sender as a `Sink`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;

use super::Sender;
use crate::{
    close::CloseFrame,
    error::Error,
    message::Message,
    outbox::{Outbox, SinkFlush, SinkPlace},
};

/// A [`Sender`] as a [`Sink`] of messages, such as for `forward`.
///
/// A sink does not know how large its next message is. So `poll_ready` waits, in turn with all senders, until there is
/// any [room](Sender#room); the message may then exceed the mark. A sink that is ready and sends nothing holds no room. If a
/// [`writer`](Sender::writer) has begun a message meanwhile, what the sink sends comes behind that message, and does not
/// leave if that one is not finished.
///
/// `poll_flush` is ready when all that was queued before has left, also where the future of an earlier flush was dropped.
/// `poll_close` closes the connection without a code, and is ready when it has ended: `Ok` if that was clean.
#[derive(Debug)]
#[must_use = "a sink does nothing unless it is polled"]
pub struct SenderSink {
    sender: Sender,
    turn: Turn,
    flush: SinkFlush,
}

/// Whether the sink may queue a message.
#[derive(Debug)]
enum Turn {
    Unasked,
    Waiting(SinkPlace),
    Ready,
}

impl SenderSink {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, turn: Turn::Unasked, flush: SinkFlush::default() }
    }

    /// The sender.
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    fn outbox(&self) -> &Outbox {
        &self.sender.shared().outbox
    }
}

impl Drop for SenderSink {
    fn drop(&mut self) {
        let Self { sender, turn, flush } = self;
        let outbox = &sender.shared().outbox;
        if let Turn::Waiting(place) = turn {
            outbox.leave_sink(place);
        }
        outbox.leave_flush(flush);
    }
}

impl Sink<Message> for SenderSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut place = match std::mem::replace(&mut self.turn, Turn::Unasked) {
            Turn::Ready => {
                self.turn = Turn::Ready;
                return Poll::Ready(Ok(()));
            }
            Turn::Waiting(place) => Some(place),
            Turn::Unasked => None,
        };
        let ready = self.outbox().poll_sink_ready(self.sender.id(), &mut place, cx);
        self.turn = match (&ready, place) {
            (Poll::Ready(Ok(())), _) => Turn::Ready,
            (Poll::Pending, Some(place)) => Turn::Waiting(place),
            _ => Turn::Unasked,
        };
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        if !matches!(self.turn, Turn::Ready) {
            return Err(Error::NotReady);
        }
        self.turn = Turn::Unasked;
        // A flush that nobody waits for any more does not cover this message.
        self.flush.forget();
        self.outbox().send_ready(message, self.sender.compression_setting())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { sender, flush, .. } = &mut *self;
        sender.shared().outbox.poll_sink_flush(flush, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { sender, flush, .. } = &mut *self;
        let outbox = &sender.shared().outbox;
        outbox.close(CloseFrame::empty());
        let closed = ready!(outbox.poll_sink_closed(flush, cx));
        Poll::Ready(if closed.was_clean { Ok(()) } else { Err(closed.into()) })
    }
}
