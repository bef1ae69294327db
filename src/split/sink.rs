//! `SenderSink`: a sender as a `Sink`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;

use super::{Sender, room::Place, watchers::WatcherId};
use crate::{close::CloseFrame, error::Error, message::Message};

/// A [`Sender`] as a [`Sink`] of messages, such as for `forward`.
///
/// A sink does not know how large its next message is. So `poll_ready` waits, in turn with all senders, until there is
/// any [room](Sender#room); the message may then exceed the mark. A sink that is ready and sends nothing holds no room.
///
/// `poll_flush` is ready when all that was queued before has left. `poll_close` closes the connection without a code, and is
/// ready when it has ended: `Ok` if that was clean.
#[derive(Debug)]
#[must_use = "a sink does nothing unless it is polled"]
pub struct SenderSink {
    sender: Sender,
    turn: Turn,
    /// The flush that was asked for: up to which message.
    flush: Option<u64>,
    watcher: Option<WatcherId>,
}

/// Whether the sink may queue a message.
#[derive(Debug)]
enum Turn {
    Unasked,
    Waiting(Place),
    Ready,
}

impl SenderSink {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, turn: Turn::Unasked, flush: None, watcher: None }
    }

    /// The sender.
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }
}

impl Drop for SenderSink {
    fn drop(&mut self) {
        if let Turn::Waiting(place) = self.turn {
            self.sender.outgoing().leave(place);
        }
        if let Some(watcher) = self.watcher {
            self.sender.outgoing().stop_watching(watcher);
        }
    }
}

impl Sink<Message> for SenderSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        let mut place = match this.turn {
            Turn::Ready => return Poll::Ready(Ok(())),
            Turn::Waiting(place) => Some(place),
            Turn::Unasked => None,
        };
        let ready = this.sender.outgoing().poll_turn(&mut place, cx);
        this.turn = match (&ready, place) {
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
        self.flush = None;
        self.sender.outgoing().send_now(self.sender.queued(message))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        let target = *this.flush.get_or_insert_with(|| this.sender.outgoing().begin_flush());
        let flushed = ready!(this.sender.outgoing().poll_flushed(target, &mut this.watcher, cx));
        this.flush = None;
        Poll::Ready(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        this.sender.outgoing().close(CloseFrame::empty());
        let closed = ready!(this.sender.outgoing().poll_closed(&mut this.watcher, cx));
        Poll::Ready(if closed.was_clean { Ok(()) } else { Err(closed.into()) })
    }
}
