//! The tasks that wait for the transport: a connection's reader and its writer, which may be two tasks.
//!
//! A socket keeps one waker per direction, but reading may need to write (pongs, the flush before a read), and closing
//! may need to read. So a role that polls the socket must leave a waker there that also serves the other role, if that one
//! waits. As long as a single role waits its waker is passed straight on. Once both wait, the socket gets one shared
//! waker that wakes both. A role whose future was dropped is woken in vain, and takes nobody's wake-up away.
//!
//! What a role waits for may also come by what the other one read or wrote, such as a Close frame; then that one wakes
//! it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

/// Which side of the connection polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reader = 0,
    Writer = 1,
}

/// The wakers of the two roles.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    shared: Arc<SharedWaker>,
    /// Whether a role may have a waker in `shared`. It spares the lock where nobody waits.
    may_wait: [bool; 2],
}

#[derive(Debug, Default)]
struct SharedWaker(Mutex<[Option<Waker>; 2]>);

impl Wake for SharedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // They are woken outside of the lock: a waker is foreign code.
        let wakers = std::mem::take(&mut *self.lock());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl SharedWaker {
    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<Waker>; 2]> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wakers {
    /// Polls the transport for `role` with a waker that wakes both tasks.
    ///
    /// `poll` must leave the waker of the context that it is given wherever it returns Pending.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        role: Role,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> std::task::Poll<T>,
    ) -> std::task::Poll<T> {
        let other = 1 - role as usize;
        let result = if self.may_wait[other] && !self.is_same_task(other, cx) {
            self.wait(role, cx);
            poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.shared))))
        } else {
            poll(cx)
        };
        if result.is_pending() {
            self.wait(role, cx);
        }
        result
    }

    /// `role` has got what it waited for.
    #[inline]
    pub(crate) fn done(&mut self, role: Role) {
        if std::mem::take(&mut self.may_wait[role as usize]) {
            self.shared.lock()[role as usize] = None;
        }
    }

    /// Wakes the other role, if it waits: it is to look again although the transport has nothing for it.
    pub(crate) fn wake_other(&mut self, role: Role) {
        let other = 1 - role as usize;
        if std::mem::take(&mut self.may_wait[other]) {
            let waker = self.shared.lock()[other].take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    fn wait(&mut self, role: Role, cx: &mut Context<'_>) {
        self.may_wait[role as usize] = true;
        let slot = &mut self.shared.lock()[role as usize];
        match slot {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *slot = Some(cx.waker().clone()),
        }
    }

    /// Whether the other role waits with the same task, or does not wait after all.
    fn is_same_task(&mut self, other: usize, cx: &Context<'_>) -> bool {
        match &self.shared.lock()[other] {
            Some(waker) => waker.will_wake(cx.waker()),
            None => {
                self.may_wait[other] = false;
                true
            }
        }
    }
}
