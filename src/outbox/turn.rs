//! The turn of a sender that writes one message part by part.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::{Outbox, SenderId, entry::Entry, queue::Position, state::Want, waiters::Place, watchers::WatcherId};
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
        self.outbox.state.look(cx, |state, task| {
            if let Err(error) = state.check_open() {
                return Ok(Poll::Ready(Err(error)));
            }
            if state.has_room_for_part() {
                return Ok(Poll::Ready(Ok(())));
            }
            if let Some(turn) = &mut state.turn {
                task.put(&mut turn.task)?;
            }
            state.write_wait.start(Instant::now);
            Ok(Poll::Pending)
        })
    }

    /// Queues a part, also without room. The last one gives up the turn. Its bytes count also where they cannot be sent any
    /// more.
    pub(crate) fn start_send(&mut self, part: Part) -> Result<(), Error> {
        // A flush that nobody waits for any more does not cover this part. One of the last part covers nothing behind it.
        let flush = &mut self.flush;
        *flush = None;
        self.outbox.change(|state, after| {
            let is_last = part.place.is_last();
            let entry = Entry::Part(part, self.compression);
            let open = state.check_open();
            let (Ok(()), Some(turn)) = (&open, &state.turn) else {
                state.queue.count_unsent(entry.len());
                after.drop_unsent(Want::Message(entry));
                return Err(open.err().unwrap_or(Error::Closing { by_peer: None }));
            };
            let message = turn.message;
            state.wake_for_entry(after);
            state.queue.push_part(message, entry);
            if is_last {
                *flush = Some(state.queue.last());
                state.end_turn(after);
                state.grant(after);
            }
            Ok(())
        })
    }

    /// Ready when all that was queued up to the last part has left.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let Self { outbox, flush, watcher, .. } = self;
        let flushed = ready!(outbox.state.look(cx, |state, task| {
            let target = *flush.get_or_insert_with(|| state.queue.last());
            state.poll_flushed(target, watcher, task)
        }));
        self.flush = None;
        Poll::Ready(flushed)
    }

    /// The message will not be finished, of which `unsent` bytes were taken and not queued: the connection fails.
    pub(crate) fn abandon(&self, unsent: usize) {
        self.outbox.change(|state, after| {
            if state.turn.as_ref().is_some_and(|turn| turn.sender == self.sender) {
                state.abandon(unsent, after);
            } else {
                state.queue.count_unsent(unsent);
            }
        });
    }
}

impl Drop for PartWriter<'_> {
    fn drop(&mut self) {
        self.outbox.stop_watching(&mut self.watcher);
    }
}
