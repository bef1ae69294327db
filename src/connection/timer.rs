//! The one timer of a connection: made when it is first needed, and anew under another runtime.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, Id},
    time::{Instant, Sleep, sleep_until},
};

#[derive(Debug)]
pub(super) struct Timer {
    mode: Mode,
    /// With the runtime that it belongs to.
    sleep: Option<(Pin<Box<Sleep>>, Id)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// There are no deadlines ([`Config::without_timers`](crate::Config::without_timers)).
    Off,
    /// Nobody has waited yet.
    Unused,
    Used,
}

impl Timer {
    pub(super) fn new(has_timers: bool) -> Self {
        Self { mode: if has_timers { Mode::Unused } else { Mode::Off }, sleep: None }
    }

    pub(super) fn is_off(&self) -> bool {
        self.mode == Mode::Off
    }

    /// Waits for `deadline`. Ready with the time when it has passed; Pending for ever without one.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers, or there is none. This shows at the first wait, whether or not that has a deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Instant> {
        if self.mode == Mode::Unused {
            drop(sleep_until(Instant::now()));
            self.mode = Mode::Used;
        }
        let Some(deadline) = deadline.filter(|_| !self.is_off()) else { return Poll::Pending };
        loop {
            let sleep = self.sleep(deadline);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if deadline <= now {
                return Poll::Ready(now);
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// Set too early, it is set anew when it fires: cheaper than moving it whenever the deadline moves.
    fn sleep(&mut self, deadline: Instant) -> &mut Pin<Box<Sleep>> {
        // A timer ends with its runtime.
        let current = Handle::current().id();
        let kept = self.sleep.take().filter(|(_, runtime)| *runtime == current);
        let (sleep, _) = self.sleep.insert(kept.unwrap_or_else(|| (Box::pin(sleep_until(deadline)), current)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep
    }
}
