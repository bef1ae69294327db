//! A task that is polled by hand, and knows whether it was woken.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A runtime for tests that poll by hand: timers can be made in it, and none of its tasks runs, so that no budget makes
/// anything yield.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A task as far as a waker can tell: it counts how often it is woken.
#[derive(Debug, Default)]
pub struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local!(static RUNTIME: tokio::runtime::Runtime = runtime());

impl Task {
    /// A task that was never woken.
    pub fn new() -> Arc<Self> {
        // A test that counts memory does not count this.
        RUNTIME.with(|_| {});
        Arc::default()
    }

    /// Polls as this task, within a runtime that has timers.
    pub fn poll<T>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let handle = tokio::runtime::Handle::try_current();
        let handle = handle.unwrap_or_else(|_| RUNTIME.with(|runtime| runtime.handle().clone()));
        let _guard = handle.enter();
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    /// Polls a future as this task, until it is done or waits, and drops it: one that lets other tasks run in between has
    /// woken its task at once.
    pub fn poll_once<F: Future>(self: &Arc<Self>, future: F) -> Poll<F::Output> {
        let mut future = std::pin::pin!(future);
        loop {
            let woken = self.0.load(Ordering::SeqCst);
            let polled = self.poll(|cx| future.as_mut().poll(cx));
            if polled.is_ready() || self.0.load(Ordering::SeqCst) == woken {
                return polled;
            }
        }
    }

    /// Whether it was woken since the last time that this was asked.
    pub fn was_woken(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }
}

/// Polls as one task, which must not have to wait.
///
/// # Panics
///
/// If it waits.
pub fn now<F: Future>(future: F) -> F::Output {
    match Task::new().poll_once(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Whether it waits, polled as one task.
pub fn is_waiting<F: Future>(future: F) -> bool {
    Task::new().poll_once(future).is_pending()
}
