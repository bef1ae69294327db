//! How much a poll may still do before it lets other tasks run.

use std::task::{Context, Poll, ready};

use tokio::task::coop;

use crate::limits::work;

/// It takes part in tokio's cooperative budget, once per [`work::PER_STEP`] units of work, and limits each poll by itself
/// where there is none: under another runtime, or in a task that is unconstrained.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Units of work that were done and not paid for.
    debt: usize,
    /// Steps that this poll may still pay for.
    steps: usize,
    /// Whether this poll has let other tasks run first.
    has_yielded: bool,
}

impl Budget {
    /// Work was done.
    #[inline]
    pub(super) fn spend(&mut self, work: usize) {
        self.debt += work;
    }

    /// Whether work has to be paid for.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.debt >= work::PER_STEP
    }

    /// A poll begins.
    pub(super) fn begin_poll(&mut self) {
        self.steps = work::STEPS_PER_POLL;
        self.has_yielded = false;
    }

    /// Whether this poll has let other tasks run first: the task was woken, and nothing else is to be done before.
    pub(super) fn has_yielded(&self) -> bool {
        self.has_yielded
    }

    /// Pays for the work that was done. Pending when other tasks are to run first: the task is woken at once.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_due() { self.pay(cx) } else { Poll::Ready(()) }
    }

    #[cold]
    fn pay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.has_yielded = true;
        while self.is_due() {
            // First, since tokio looks at its timers and its IO before it polls a task again that it held up itself.
            ready!(coop::poll_proceed(cx)).made_progress();
            if self.steps == 0 {
                // What is still to be paid for is let go: the next poll begins after all others had their turn.
                self.debt = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.steps -= 1;
            self.debt -= work::PER_STEP;
        }
        self.has_yielded = false;
        Poll::Ready(())
    }
}
