//! The tasks that wait for a change of a shared state.

use std::task::Waker;

/// One watching task, so that it can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WatcherId(u64);

#[derive(Debug, Default)]
pub(super) struct Watchers {
    wakers: Vec<(WatcherId, Waker)>,
    next: u64,
}

impl Watchers {
    /// Watches, or goes on to.
    pub(super) fn watch(&mut self, id: &mut Option<WatcherId>, waker: &Waker) {
        match self.wakers.iter_mut().find(|(watcher, _)| Some(*watcher) == *id) {
            Some((_, watching)) => watching.clone_from(waker),
            None => {
                self.next += 1;
                let new = *id.insert(WatcherId(self.next));
                self.wakers.push((new, waker.clone()));
            }
        }
    }

    pub(super) fn stop(&mut self, id: WatcherId) {
        self.wakers.retain(|(watcher, _)| *watcher != id);
    }

    /// Something changed: everybody is to be woken, outside of the lock, and looks again.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.wakers).into_iter().map(|(_, waker)| waker)
    }
}
