//! The turn of a sender that writes one message piece by piece.

use std::task::{Context, Poll, ready};

use super::{Sender, watchers::WatcherId};
use crate::{error::Error, protocol::Part};

/// Nobody else sends until the last part is queued, or the message is abandoned.
#[derive(Debug)]
pub(crate) struct Turn {
    sender: Sender,
    /// The flush that was asked for: up to which part.
    flush: Option<u64>,
    watcher: Option<WatcherId>,
}

impl Turn {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, flush: None, watcher: None }
    }

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.sender.buffered_amount()
    }

    /// Ready when there is room for another part.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.sender.outgoing().poll_part_ready(cx)
    }

    /// Queues a part, also without room.
    pub(crate) fn start_send(&mut self, part: Part) -> Result<(), Error> {
        // A flush that nobody waits for any more does not cover this part.
        self.flush = None;
        self.sender.send_part(part)
    }

    /// Ready when all that was queued has left.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let outgoing = self.sender.outgoing();
        let target = *self.flush.get_or_insert_with(|| outgoing.begin_flush());
        let flushed = ready!(outgoing.poll_flushed(target, &mut self.watcher, cx));
        self.flush = None;
        Poll::Ready(flushed)
    }

    /// The message will not be finished, of which `unsent` bytes were taken and not queued.
    pub(crate) fn abandon(&self, unsent: usize) {
        self.sender.outgoing().abandon_message(unsent);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher {
            self.sender.outgoing().stop_watching(watcher);
        }
    }
}
