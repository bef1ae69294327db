//! What a sink waits for. It does not know how large its next message is, nor whether a flush was dropped.

use std::task::{Context, Poll};

use super::{Outbox, SenderId, entry::Entry, queue::Position, state::Want, waiters::Place, watchers::WatcherId};
use crate::{close::Closed, error::Error, message::Message, protocol::Compression};

/// A place of a sink in the queue of senders.
#[derive(Debug)]
pub(crate) struct SinkPlace(Place);

/// A flush that a sink waits for, or the end.
#[derive(Debug, Default)]
pub(crate) struct SinkFlush {
    /// What was queued when it began, or was extended last.
    target: Option<Position>,
    /// How often that had left and more was waited for.
    extensions: u32,
    watcher: Option<WatcherId>,
}

impl SinkFlush {
    /// Where others go on to send a flush waits for more so often, and no longer.
    const MAX_EXTENSIONS: u32 = 16;

    /// Something is queued that it does not cover.
    pub(crate) fn forget(&mut self) {
        (self.target, self.extensions) = (None, 0);
    }
}

impl Outbox {
    /// Ready when a message of any size may be queued. It must then not be polled again before that message is queued.
    pub(crate) fn poll_sink_ready(
        &self,
        sender: SenderId,
        place: &mut Option<SinkPlace>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut at = place.take().map(|SinkPlace(place)| place);
        let answer = self.poll_room(sender, &mut Some(Want::Any), &mut at, cx);
        *place = at.map(SinkPlace);
        answer
    }

    /// Queues the message that [`poll_sink_ready`](Self::poll_sink_ready) has allowed. Where another sender has the turn by
    /// now, it comes behind that one's message.
    pub(crate) fn send_ready(&self, message: Message, compression: Compression) -> Result<(), Error> {
        self.change(|state, after| {
            let entry = Entry::Message(message, compression);
            if let Err(error) = state.check_open() {
                after.drop_unsent(Want::Message(entry));
                return Err(error);
            }
            state.push(entry, after);
            Ok(())
        })
    }

    /// A sink does not wait for room any more.
    pub(crate) fn leave_sink(&self, place: &SinkPlace) {
        self.leave(place.0);
    }

    /// Ready when all that was queued before has left.
    ///
    /// A poll may go on with a flush, or begin one after another that was dropped: that cannot be told. So each waits for all
    /// that is queued by now, but not for ever where others go on to send.
    pub(crate) fn poll_sink_flush(&self, flush: &mut SinkFlush, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let answer = self.state.look(cx, |state, task| {
            let now = state.last_queued();
            let target = *flush.target.get_or_insert(now);
            let has_left = state.queue.is_flushed(target);
            if has_left && flush.extensions == SinkFlush::MAX_EXTENSIONS {
                return Ok(Poll::Ready(Ok(())));
            }
            let polled = state.poll_flushed(now, &mut flush.watcher, task)?;
            if has_left {
                // However often it was polled meanwhile.
                flush.extensions += 1;
                flush.target = Some(now);
            }
            Ok(polled)
        });
        if answer.is_ready() {
            flush.forget();
        }
        answer
    }

    /// Ready when the connection has ended.
    pub(crate) fn poll_sink_closed(&self, flush: &mut SinkFlush, cx: &Context<'_>) -> Poll<Closed> {
        let ended = self.state.look(cx, |state, task| state.poll_ended(&mut flush.watcher, task));
        ended.map(|()| self.how_ended())
    }

    pub(crate) fn leave_flush(&self, flush: &mut SinkFlush) {
        self.stop_watching(&mut flush.watcher);
    }
}
