//! What tasks share: a lock, a place for the waker of one of them, and queues between them.

#[cfg(not(wsflow_loom))]
use std::sync::{Mutex as Inner, MutexGuard};
use std::{
    collections::VecDeque,
    sync::PoisonError,
    task::{Context, Waker},
};

#[cfg(wsflow_loom)]
use loom::sync::{Mutex as Inner, MutexGuard};

use crate::limits::MAX_IDLE_PLACES;

/// A mutex whose holders do not panic. It is std's, or loom's where that tries all interleavings.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves the waker of the task of `cx` in `slot`.
pub(crate) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// Moves all of one queue to the end of another. Where both are empty the memory of a burst is freed.
pub(crate) fn move_all<T>(from: &mut VecDeque<T>, to: &mut VecDeque<T>) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
    if to.is_empty() {
        from.shrink_to(MAX_IDLE_PLACES);
        to.shrink_to(MAX_IDLE_PLACES);
    }
}
