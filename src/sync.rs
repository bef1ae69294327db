//! What tasks share: state behind a lock, the wakers of the tasks that wait for it, and queues between them.
//!
//! Two rules hold here by construction. Whoever waits for a change leaves its waker under the lock under which it looks:
//! [`Mutex::look`] does both. And no code of others runs under a lock: a waker is cloned before, put in by a swap, and what
//! stood there is dropped, or woken, afterwards.

#[cfg(not(wsflow_loom))]
use std::sync::{Mutex as Inner, MutexGuard, atomic::AtomicBool};
use std::{
    collections::VecDeque,
    sync::{PoisonError, atomic::Ordering},
    task::{Context, Waker},
};

#[cfg(wsflow_loom)]
use loom::sync::{Mutex as Inner, MutexGuard, atomic::AtomicBool};

use crate::limits::MAX_IDLE_PLACES;

/// A mutex whose holders do not panic. It is std's, or loom's where that tries all interleavings.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// For those that do not wait: they read, or change something and wake who waits for it.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a task that may have to wait: `look` looks at the state, takes from it, and registers the task of `cx`.
    ///
    /// It may be called twice, the first time without a clone of the waker: it registers before it takes anything, and once.
    #[inline]
    pub(crate) fn look<R>(
        &self,
        cx: &Context<'_>,
        look: impl FnMut(&mut T, &mut Registration<'_>) -> Result<R, NoClone>,
    ) -> R {
        self.look_with(Registration { waker: cx.waker(), clone: None, replaced: None }, look)
    }

    /// As [`look`](Self::look), for a task that most probably has to wait: its waker is cloned before.
    #[inline]
    pub(crate) fn look_and_wait<R>(
        &self,
        cx: &Context<'_>,
        look: impl FnMut(&mut T, &mut Registration<'_>) -> Result<R, NoClone>,
    ) -> R {
        self.look_with(Registration { waker: cx.waker(), clone: Some(cx.waker().clone()), replaced: None }, look)
    }

    #[inline]
    fn look_with<R>(
        &self,
        mut registration: Registration<'_>,
        mut look: impl FnMut(&mut T, &mut Registration<'_>) -> Result<R, NoClone>,
    ) -> R {
        loop {
            let looked = look(&mut self.lock(), &mut registration);
            match looked {
                Ok(answer) => return answer,
                Err(NoClone) => registration.prepare(),
            }
        }
    }
}

/// A flag that is read without a lock. It may miss a change that comes at the same time: a task that would wait for the change
/// looks under the lock.
#[derive(Debug)]
pub(crate) struct Hint(AtomicBool);

impl Hint {
    pub(crate) fn new(is_set: bool) -> Self {
        Self(AtomicBool::new(is_set))
    }

    #[inline]
    pub(crate) fn set(&self, is_set: bool) {
        self.0.store(is_set, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the waker of a task stands that waits.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    /// Whether a task waits.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Takes the waker. The caller wakes it without a lock.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// The task that looks at a state, and may be registered with it.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    waker: &'a Waker,
    clone: Option<Waker>,
    replaced: Option<Waker>,
}

/// The waker was not cloned yet.
#[derive(Debug)]
pub(crate) struct NoClone;

impl Registration<'_> {
    /// Leaves the task in `slot`.
    #[inline]
    pub(crate) fn put(&mut self, slot: &mut WakerSlot) -> Result<(), NoClone> {
        match &slot.0 {
            Some(waker) if waker.will_wake(self.waker) => Ok(()),
            _ => {
                let clone = self.clone.take().ok_or(NoClone)?;
                self.replaced = slot.0.replace(clone);
                Ok(())
            }
        }
    }

    /// A new slot with the task in it.
    pub(crate) fn slot(&mut self) -> Result<WakerSlot, NoClone> {
        Ok(WakerSlot(Some(self.clone.take().ok_or(NoClone)?)))
    }

    /// Clones the waker, without a lock.
    #[cold]
    fn prepare(&mut self) {
        self.replaced = None;
        self.clone = Some(self.waker.clone());
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

#[cfg(all(test, not(wsflow_loom)))]
mod tests {
    use std::{
        sync::{
            Arc, Weak,
            atomic::{AtomicU32, Ordering},
        },
        task::Wake,
    };

    use super::*;

    /// A waker whose code asserts that nobody holds the lock.
    struct Nosy {
        slot: Weak<Mutex<WakerSlot>>,
        dropped: Arc<AtomicU32>,
    }

    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Nosy {
        fn drop(&mut self) {
            let slot = self.slot.upgrade().expect("the state lives");
            assert!(slot.0.try_lock().is_ok(), "a waker is dropped under the lock");
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_that_is_replaced_is_dropped_without_the_lock() {
        let (slot, dropped) = (Arc::new(Mutex::new(WakerSlot::default())), Arc::default());
        for _ in 0..3 {
            let waker = Waker::from(Arc::new(Nosy { slot: Arc::downgrade(&slot), dropped: Arc::clone(&dropped) }));
            let cx = Context::from_waker(&waker);
            // Twice, as a task that looks again before it was woken.
            slot.look(&cx, |slot, task| task.put(slot));
            slot.look(&cx, |slot, task| task.put(slot));
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2, "the last one is registered");
        let last = slot.lock().take();
        drop(last);
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }
}
