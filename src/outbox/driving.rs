//! What the task does with the outbox: it takes what is asked for, and reports what has left.

use std::{collections::VecDeque, sync::Arc, task::Context};

use super::{
    Outbox,
    entry::Entry,
    queue::{Amount, Position},
    requests::{Failure, PingsAndPongs},
    state::{Aftermath, Phase, State},
};
use crate::{
    close::{CloseFrame, Closed},
    error::Error,
    protocol::ReadyState,
    stats::Stats,
    stopwatch::Stopwatch,
};

/// What the task has taken: it empties this before it takes more.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) entries: VecDeque<(Position, Entry)>,
    pub(crate) control: Option<Box<PingsAndPongs>>,
    pub(crate) failure: Option<Box<Failure>>,
    /// Our Close frame, which follows all that was taken.
    pub(crate) close: Option<Box<CloseFrame>>,
    pub(crate) has_senders: bool,
    /// Entries that the connection may take now and that it had no room for.
    pub(crate) left: usize,
}

impl State {
    fn take(&mut self, room: Option<usize>, taken: &mut Taken) {
        taken.has_senders = self.senders > 0;
        taken.control = self.requests.control.take();
        taken.failure = self.requests.take_failure().or(taken.failure.take());
        taken.left = 0;
        let is_failing = taken.failure.as_ref().is_some_and(|failure| !matches!(**failure, Failure::Overflow(_)));
        let Some(room) = room.filter(|_| !is_failing) else { return };
        if self.requests.close.is_some() {
            self.queue.take(usize::MAX, usize::MAX, &mut taken.entries);
            taken.close = self.requests.close.take();
        } else {
            let due = self.queue.due();
            taken.left = due;
            if room > 0 && due > 0 {
                taken.left -= self.queue.take(due, room, &mut taken.entries);
            }
        }
    }
}

/// How a connection stands: what it says after the task has worked with it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) ready_state: ReadyState,
    /// What it has left of what it took.
    pub(crate) queued: Amount,
    /// Whether the transport has taken everything, and was flushed.
    pub(crate) is_flushed: bool,
    /// Why nothing can be sent any more, if that is so.
    pub(crate) send_error: Option<Error>,
    /// The peer's Close frame, once it has come.
    pub(crate) peer_close: Option<Arc<CloseFrame>>,
    /// What it has counted, but for the times.
    pub(crate) stats: Stats,
    /// Pings that have not left.
    pub(crate) unsent_pings: usize,
    pub(crate) read_pause: Stopwatch,
}

/// How the outbox stands once it has a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// How many entries the connection may take.
    pub(crate) due: usize,
    /// Whether nobody has begun to close, and the connection has not failed.
    pub(crate) is_open: bool,
}

impl Outbox {
    /// Takes what is asked for, and entries as far as the connection has `room` for them; `None`: it takes none. The task
    /// [waits](Self::wait) when it has nothing more to do.
    ///
    /// All that is queued before our Close goes with it, whatever room there is: only the connection keeps the deadlines of a
    /// close. It is no more memory than the queue was.
    pub(crate) fn take(&self, room: Option<usize>, taken: &mut Taken) {
        let mut state = self.state.lock();
        state.has_news = false;
        self.has_news.set(false);
        let waited = state.task.take();
        state.take(room, taken);
        drop(state);
        drop(waited);
    }

    /// Whether something was asked for since the last [`take`](Self::take), for a task that works: entries are [due](Standing),
    /// too, and only [`wait`](Self::wait) misses nothing that comes at the same time.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.has_news.is_set()
    }

    /// Whether nothing was asked for since the last look. If so, the task of `cx` is woken once something is.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> bool {
        self.state.look_and_wait(cx, |state, task| {
            if !state.has_news {
                task.put(&mut state.task)?;
            }
            Ok(!state.has_news)
        })
    }

    /// Takes a report of the connection.
    #[inline]
    pub(crate) fn report(&self, report: Report) -> Standing {
        if let Some(frame) = report.peer_close {
            let _ = self.peer_close.set(frame);
        }
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        (state.stats, state.read_pause) = (report.stats, report.read_pause);
        state.unsent_pings = report.unsent_pings;
        let (before, was_buffered) = (state.queue.cost(), state.queue.buffered() > 0);
        let is_flush_over = state.queue.report(report.queued, report.is_flushed);
        if state.queue.cost() < before {
            state.grant(&mut after);
        }
        match (&state.phase, report.send_error) {
            // The peer has begun to close, or the connection has failed.
            (Phase::Open | Phase::Broken(_), error) if report.ready_state > ReadyState::Open => {
                state.stop(Phase::Closing(error.unwrap_or(Error::Closing { by_peer: None })), &mut after);
            }
            (Phase::Open, Some(error)) => {
                state.stop(Phase::Broken(error), &mut after);
                state.wake_watchers(&mut after);
            }
            _ => {}
        }
        if is_flush_over || was_buffered && state.queue.buffered() == 0 {
            state.wake_watchers(&mut after);
        }
        let standing =
            Standing { due: state.queue.due(), is_open: matches!(state.phase, Phase::Open | Phase::Broken(_)) };
        drop(state);
        after.settle();
        standing
    }

    /// Whether messages are queued, or begun, that the connection will not take any more.
    pub(crate) fn has_unsent(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.turn.is_some()
    }

    /// The connection has ended. What is queued is dropped, and stays in the amount.
    pub(crate) fn end(&self, closed: Closed, error: Error) {
        self.closed.get_or_init(|| Box::new(closed));
        let dropped = self.change(|state, after| {
            if matches!(state.phase, Phase::Ended(_)) {
                return None;
            }
            state.stop(Phase::Ended(error.clone()), after);
            state.wake_watchers(after);
            let last = state.last_queued();
            Some((state.queue.end(last), state.turn.take(), std::mem::take(&mut state.requests)))
        });
        let Some((_queue, _turn, requests)) = dropped else { return };
        for ping in requests.control.map(|control| control.pings).unwrap_or_default() {
            ping.answer.tell(Err(error.clone()));
        }
    }
}
