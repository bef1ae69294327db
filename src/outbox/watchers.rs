//! The tasks that wait for something to have left, or for the end.

use std::task::Waker;

use super::queue::Position;
use crate::sync::{NoClone, Registration, WakerSlot};

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

    /// What is returned is to be dropped without a lock.
    pub(super) fn stop(&mut self, id: WatcherId) -> Option<impl Sized + use<>> {
        let at = self.watchers.iter().position(|watcher| watcher.id == id)?;
        Some(self.watchers.swap_remove(at))
    }

    /// Those for which `is_over` holds watch no more, and are to be woken.
    pub(super) fn take(&mut self, is_over: impl Fn(Watched) -> bool, woken: &mut Vec<Waker>) {
        let over = self.watchers.extract_if(.., |watcher| is_over(watcher.watched));
        woken.extend(over.filter_map(|mut watcher| watcher.task.take()));
    }
}
