//! The senders that wait for room, in their order.

use std::{collections::VecDeque, task::Waker};

use crate::sync::{NoClone, Registration, WakerSlot};

/// A place in the queue of waiting senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

#[derive(Debug)]
struct Waiter<T> {
    place: Place,
    what: T,
    task: WakerSlot,
}

/// `T`: what they want room for, such as a message.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    queue: VecDeque<Waiter<T>>,
    next: Place,
    /// Waiting from this place on has failed.
    closed_from: Option<Place>,
}

/// How a sender stands that has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Waits,
    /// It got what it waited for.
    Granted,
    /// Nothing can be queued any more.
    InVain,
}

impl<T> Waiters<T> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), next: Place(0), closed_from: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits behind all that already wait. `what` is taken once the task is registered.
    pub(super) fn wait(&mut self, what: &mut Option<T>, task: &mut Registration<'_>) -> Result<Option<Place>, NoClone> {
        let task = task.slot()?;
        let Some(what) = what.take() else { return Ok(None) };
        let place = self.next;
        self.next = Place(place.0 + 1);
        self.queue.push_back(Waiter { place, what, task });
        Ok(Some(place))
    }

    /// How the sender at `place` stands. If it waits, the task is woken when that changes.
    pub(super) fn poll(&mut self, place: Place, task: &mut Registration<'_>) -> Result<Waiting, NoClone> {
        if let Some(waiter) = self.find(place).and_then(|at| self.queue.get_mut(at)) {
            task.put(&mut waiter.task)?;
            return Ok(Waiting::Waits);
        }
        let is_in_vain = self.closed_from.is_some_and(|from| place >= from);
        Ok(if is_in_vain { Waiting::InVain } else { Waiting::Granted })
    }

    /// The sender at `place` gives up waiting. The caller drops what it waited with, without a lock.
    pub(super) fn leave(&mut self, place: Place) -> Option<impl Sized + use<T>> {
        let at = self.find(place)?;
        self.queue.remove(at)
    }

    fn find(&self, place: Place) -> Option<usize> {
        self.queue.binary_search_by_key(&place, |waiter| waiter.place).ok()
    }

    /// What the first one wants room for.
    pub(super) fn first(&self) -> Option<&T> {
        self.queue.front().map(|waiter| &waiter.what)
    }

    /// The first one waits no more: its place, what it wanted, and its waker.
    pub(super) fn pop(&mut self) -> Option<(Place, T, Option<Waker>)> {
        self.queue.pop_front().map(|mut waiter| (waiter.place, waiter.what, waiter.task.take()))
    }

    /// All wait in vain. Returns what they wanted, and their wakers.
    pub(super) fn close(&mut self) -> impl Iterator<Item = (T, Option<Waker>)> + use<T> {
        self.closed_from.get_or_insert(self.queue.front().map_or(self.next, |first| first.place));
        std::mem::take(&mut self.queue).into_iter().map(|mut waiter| (waiter.what, waiter.task.take()))
    }
}
