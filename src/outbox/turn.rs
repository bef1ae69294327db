//! The turn of a sender that writes one message part by part.

use std::task::{Context, Poll, ready};

use super::{Outbox, SenderId, entry::Entry, queue::Position, waiters::Place, watchers::WatcherId};
use crate::{
    error::Error,
    protocol::{Compression, Part},
    sync::WakerSlot,
};

/// Who has the turn, and what waits for its end.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) sender: SenderId,
    /// Where the sender waited for it.
    pub(super) place: Option<Place>,
    /// The number of the message.
    pub(super) message: u64,
    /// What sinks sent that were ready before: it comes behind the message.
    pub(super) behind: Vec<Entry>,
    /// The task that writes the message, where it waits for room.
    pub(super) task: WakerSlot,
}

impl Turn {
    pub(super) fn new(sender: SenderId, place: Option<Place>, message: u64) -> Self {
        Self { sender, place, message, behind: Vec::new(), task: WakerSlot::default() }
    }

    /// The cost of what comes behind the message.
    pub(super) fn cost_behind(&self) -> usize {
        self.behind.iter().map(Entry::cost).sum()
    }

    /// Whether the task waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.task.is_set()
    }
}

/// Writes the message that has the turn. Nobody else sends until the last part is queued, or the message is abandoned.
#[derive(Debug)]
pub(crate) struct PartWriter<'a> {
    outbox: &'a Outbox,
    sender: SenderId,
    compression: Compression,
    /// The flush that was asked for: up to which part.
    flush: Option<Position>,
    watcher: Option<WatcherId>,
}

impl<'a> PartWriter<'a> {
    /// For the sender that [`has begun`](Outbox::begin_message).
    pub(crate) fn new(outbox: &'a Outbox, sender: SenderId, compression: Compression) -> Self {
        Self { outbox, sender, compression, flush: None, watcher: None }
    }

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.outbox.buffered_amount()
    }

    /// Ready when there is room for another part.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.outbox.poll_part_ready(cx)
    }

    /// Queues a part, also without room.
    pub(crate) fn start_send(&mut self, part: Part) -> Result<(), Error> {
        // A flush that nobody waits for any more does not cover this part.
        self.flush = None;
        self.outbox.send_part(part, self.compression)
    }

    /// Ready when all that was queued has left.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = ready!(self.outbox.poll_part_flushed(&mut self.flush, &mut self.watcher, cx));
        self.flush = None;
        Poll::Ready(flushed)
    }

    /// The message will not be finished, of which `unsent` bytes were taken and not queued.
    pub(crate) fn abandon(&self, unsent: usize) {
        self.outbox.abandon_message(self.sender, unsent);
    }
}

impl Drop for PartWriter<'_> {
    fn drop(&mut self) {
        self.outbox.stop_watching(&mut self.watcher);
    }
}
