//! The tasks that wait for something to have left, or for the end.

use std::{future::poll_fn, task::Poll};

use super::{
    Outbox, SenderId,
    queue::Position,
    state::{Aftermath, Phase},
};
use crate::{
    close::Closed,
    error::Error,
    sync::{NoClone, Registration, WakerSlot},
};

/// One watching task, so that it can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WatcherId(u64);

/// What it waits for, unless the connection ends before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// All up to here has left, and the transport was flushed.
    Flushed(Position),
    /// Nothing is buffered.
    Drained,
    /// The connection has ended.
    Ended,
}

#[derive(Debug)]
struct Watcher {
    id: WatcherId,
    watched: Watched,
    task: WakerSlot,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: Vec<Watcher>,
    next: u64,
}

impl Watchers {
    /// Watches, or goes on to.
    pub(super) fn watch(
        &mut self,
        id: &mut Option<WatcherId>,
        watched: Watched,
        task: &mut Registration<'_>,
    ) -> Result<(), NoClone> {
        match self.watchers.iter_mut().find(|watcher| Some(watcher.id) == *id) {
            Some(watcher) => {
                watcher.watched = watched;
                task.put(&mut watcher.task)
            }
            None => {
                let task = task.slot()?;
                self.next += 1;
                let id = *id.insert(WatcherId(self.next));
                self.watchers.push(Watcher { id, watched, task });
                Ok(())
            }
        }
    }

    /// The task stops watching. The caller drops its waker without a lock.
    pub(super) fn stop(&mut self, id: WatcherId) -> Option<impl Sized + use<>> {
        let at = self.watchers.iter().position(|watcher| watcher.id == id)?;
        Some(self.watchers.swap_remove(at))
    }

    /// Those for which `is_over` holds watch no more, and are to be woken.
    pub(super) fn take(&mut self, is_over: impl Fn(Watched) -> bool, after: &mut Aftermath) {
        let over = self.watchers.extract_if(.., |watcher| is_over(watcher.watched));
        after.wake(over.filter_map(|mut watcher| watcher.task.take()));
    }
}

/// A task that watches the outbox. Dropped, it stops.
#[derive(Debug)]
struct Watching<'a> {
    outbox: &'a Outbox,
    id: Option<WatcherId>,
}

impl Watching<'_> {
    /// Whoever is told does not watch any more: it was taken from the list by what it is told of.
    fn unless_over<T>(&mut self, answer: Poll<T>) -> Poll<T> {
        if answer.is_ready() {
            self.id = None;
        }
        answer
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.outbox.stop_watching(&mut self.id);
    }
}

impl Outbox {
    /// Waits until all that is queued now has left: the transport has taken it, and was flushed.
    pub(crate) async fn flush(&self, sender: SenderId) -> Result<(), Error> {
        let mut watching = Watching { outbox: self, id: None };
        let (mut target, mut after) = (None, Aftermath::default());
        poll_fn(|cx| {
            let flushed = self.state.look_and_wait(cx, |state, task| {
                state.abandon_forgotten(sender, &mut after);
                let target = *target.get_or_insert_with(|| state.last_queued());
                state.poll_flushed(target, &mut watching.id, task)
            });
            after.settle();
            watching.unless_over(flushed)
        })
        .await
    }

    /// Waits until the transport has taken all that is queued.
    pub(crate) async fn drained(&self) -> Result<(), Error> {
        let mut watching = Watching { outbox: self, id: None };
        poll_fn(|cx| {
            let drained = self.state.look(cx, |state, task| {
                if state.queue.buffered() == 0 {
                    return Ok(Poll::Ready(Ok(())));
                }
                if let Phase::Ended(error) = &state.phase {
                    return Ok(Poll::Ready(Err(error.clone())));
                }
                state.watchers.watch(&mut watching.id, Watched::Drained, task)?;
                Ok(Poll::Pending)
            });
            watching.unless_over(drained)
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Closed {
        let mut watching = Watching { outbox: self, id: None };
        poll_fn(|cx| {
            let ended = self.state.look(cx, |state, task| state.poll_ended(&mut watching.id, task));
            watching.unless_over(ended)
        })
        .await;
        self.how_ended()
    }

    pub(super) fn stop_watching(&self, id: &mut Option<WatcherId>) {
        if let Some(id) = id.take() {
            let stopped = self.state.lock().watchers.stop(id);
            drop(stopped);
        }
    }
}
