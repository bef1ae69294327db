//! The state that the senders and the task share, and how it changes.

use std::task::{Poll, Waker};

use tokio::time::Instant;

use super::{
    SenderId,
    entry::Entry,
    queue::{Position, Queue},
    requests::{Failure, Requests},
    turn::Turn,
    waiters::{Place, Waiters},
    watchers::{Watched, WatcherId, Watchers},
};
use crate::{
    error::Error,
    limits::work,
    stats::Stats,
    stopwatch::Stopwatch,
    sync::{NoClone, Registration, WakerSlot},
};

/// Whether messages can be queued.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not yet.
    Connecting,
    Open,
    /// Not any more, since the transport takes nothing: what can still be read comes before the end.
    Broken(Error),
    /// Not any more, since the connection is closing, or fails: why nothing can be sent.
    Closing(Error),
    /// Why nothing can be sent.
    Ended(Error),
}

/// What a sender wants room for.
#[derive(Debug)]
pub(super) enum Want {
    /// That this message is queued.
    Message(Entry),
    /// To queue one message, of any size.
    Any,
    /// The turn, for a message in parts.
    Turn(SenderId),
}

impl Want {
    /// How much room it needs, in bytes. Who does not know needs any.
    #[inline]
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Message(entry) => entry.cost(),
            Self::Any | Self::Turn(_) => 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) queue: Queue,
    /// How much may be queued before senders wait, as cost in bytes.
    pub(super) mark: usize,
    /// How much may be buffered where nobody waits for room, in bytes of payload.
    pub(super) max_buffered_amount: Option<u64>,
    pub(super) waiters: Waiters<Want>,
    /// The message that is written part by part: until its last part nothing else is queued.
    pub(super) turn: Option<Box<Turn>>,
    pub(super) requests: Requests,
    pub(super) senders: usize,
    pub(super) last_sender: SenderId,
    /// What the connection had counted when the task last ran, but for the times.
    pub(super) stats: Stats,
    /// Pings that had not left when the task last ran.
    pub(super) unsent_pings: usize,
    /// Runs while the task does not read the transport, since what came is not used up.
    pub(super) read_pause: Stopwatch,
    /// Runs while somebody waits for room.
    pub(super) write_wait: Stopwatch,
    pub(super) watchers: Watchers,
    /// The task, while it waits.
    pub(super) task: WakerSlot,
    /// Whether something was asked of the task since it last took what there was.
    pub(super) has_news: bool,
}

/// What a change leaves to be done without the lock: to drop a payload, or to wake a task, may run code of others.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Aftermath {
    /// The task's waker: the usual case needs no allocation.
    task: Option<Waker>,
    /// Other tasks to wake, and what is not sent any more: what comes now and then.
    others: Vec<Other>,
}

#[derive(Debug)]
enum Other {
    Woken(Waker),
    Unsent(Want),
}

impl Aftermath {
    #[inline]
    pub(super) fn settle(&mut self) {
        self.task.take().into_iter().for_each(Waker::wake);
        if !self.others.is_empty() {
            self.settle_others();
        }
    }

    #[cold]
    fn settle_others(&mut self) {
        for other in std::mem::take(&mut self.others) {
            match other {
                Other::Woken(waker) => waker.wake(),
                Other::Unsent(want) => drop(want),
            }
        }
    }

    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.others.extend(wakers.into_iter().map(Other::Woken));
    }

    pub(super) fn drop_unsent(&mut self, want: Want) {
        self.others.push(Other::Unsent(want));
    }
}

impl State {
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Connecting => Err(Error::Closing { by_peer: None }),
            Phase::Broken(error) | Phase::Closing(error) | Phase::Ended(error) => Err(error.clone()),
        }
    }

    // Room.

    /// Whether nobody waits, or has the turn, and there is room for so much. What costs more than the mark gets all of it.
    #[inline]
    pub(super) fn is_free_for(&self, cost: usize) -> bool {
        self.waiters.is_empty() && self.has_room(cost)
    }

    #[inline]
    fn has_room(&self, cost: usize) -> bool {
        self.turn.is_none() && self.queue.cost().saturating_add(cost.min(self.mark)) <= self.mark
    }

    /// Whether there is room for a part of the message that has the turn. What waits behind it takes none of it: it would
    /// wait for itself.
    pub(super) fn has_room_for_part(&self) -> bool {
        let behind = self.turn.as_ref().map_or(0, |turn| turn.cost_behind());
        self.queue.cost().saturating_sub(behind) < self.mark
    }

    /// Whether a sender that need not wait is to ask whether others are to run first.
    #[inline]
    pub(super) fn is_step_due(&self) -> bool {
        self.queue.last().message.is_multiple_of(work::PER_STEP as u64)
    }

    /// Gives room to those that wait, in their order, until none is left.
    pub(super) fn grant(&mut self, after: &mut Aftermath) {
        if self.has_room_for_part()
            && let Some(turn) = &mut self.turn
        {
            after.wake(turn.task.take());
        }
        while let Some(first) = self.waiters.first()
            && self.has_room(first.cost())
            && let Some((place, want, waker)) = self.waiters.pop()
        {
            after.wake(waker);
            self.admit(want, Some(place), after);
        }
        self.stop_wait();
    }

    /// A sender gets what it wants. `place`: where it waited.
    #[inline(always)]
    pub(super) fn admit(&mut self, want: Want, place: Option<Place>, after: &mut Aftermath) {
        match want {
            Want::Message(entry) => self.push(entry, after),
            Want::Any => {}
            Want::Turn(sender) => self.begin_turn(sender, place),
        }
    }

    #[cold]
    fn begin_turn(&mut self, sender: SenderId, place: Option<Place>) {
        self.turn = Some(Box::new(Turn::new(sender, place, self.queue.last().message + 1)));
    }

    /// Stops the clock of waiting, if nothing waits for room any more.
    fn stop_wait(&mut self) {
        if self.waiters.is_empty() && !self.turn.as_ref().is_some_and(|turn| turn.is_waiting()) {
            self.write_wait.stop(Instant::now);
        }
    }

    /// Something is asked of the task: it is woken, if it waits.
    #[inline]
    pub(super) fn wake_task(&mut self, after: &mut Aftermath) {
        if let Some(task) = self.task.take() {
            after.task = Some(task);
        }
        self.has_news = true;
    }

    /// An entry is about to be queued. What the task has left in the queue it has no room for: then the transport wakes it.
    #[inline]
    pub(super) fn wake_for_entry(&mut self, after: &mut Aftermath) {
        if self.queue.is_empty() {
            self.wake_task(after);
        }
    }

    // The queue.

    /// Queues a message, behind the one that is being written.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry, after: &mut Aftermath) {
        match &mut self.turn {
            Some(turn) => {
                self.queue.keep(&entry);
                turn.behind.push(entry);
            }
            None => {
                self.wake_for_entry(after);
                self.queue.push_message(entry);
            }
        }
    }

    /// The last of all that was queued so far.
    pub(super) fn last_queued(&self) -> Position {
        match &self.turn {
            Some(turn) if !turn.behind.is_empty() => Position::message(turn.message + turn.behind.len() as u64),
            _ => self.queue.last(),
        }
    }

    /// Whether all up to `target` has left, or why that will not be. If neither, it is flushed, and the task is woken then.
    pub(super) fn poll_flushed(
        &mut self,
        target: Position,
        watcher: &mut Option<WatcherId>,
        task: &mut Registration<'_>,
    ) -> Result<Poll<Result<(), Error>>, NoClone> {
        if self.queue.is_flushed(target) {
            return Ok(Poll::Ready(Ok(())));
        }
        if let Phase::Broken(error) | Phase::Ended(error) = &self.phase {
            return Ok(Poll::Ready(Err(error.clone())));
        }
        self.watchers.watch(watcher, Watched::Flushed(target), task)?;
        self.queue.want_flush(target);
        Ok(Poll::Pending)
    }

    pub(super) fn poll_ended(
        &mut self,
        watcher: &mut Option<WatcherId>,
        task: &mut Registration<'_>,
    ) -> Result<Poll<()>, NoClone> {
        if matches!(self.phase, Phase::Ended(_)) {
            return Ok(Poll::Ready(()));
        }
        self.watchers.watch(watcher, Watched::Ended, task)?;
        Ok(Poll::Pending)
    }

    /// Wakes those whose wait is over.
    pub(super) fn wake_watchers(&mut self, after: &mut Aftermath) {
        let has_ended = matches!(self.phase, Phase::Ended(_));
        let is_broken = matches!(self.phase, Phase::Broken(_));
        let queue = &self.queue;
        let is_over = |watched| match watched {
            _ if has_ended => true,
            Watched::Flushed(target) => is_broken || queue.is_flushed(target),
            Watched::Drained => queue.buffered() == 0,
            Watched::Ended => false,
        };
        self.watchers.take(is_over, after);
    }

    // The turn.

    /// The turn is over: what was queued behind it is next.
    pub(super) fn end_turn(&mut self, after: &mut Aftermath) {
        let Some(mut turn) = self.turn.take() else { return };
        after.wake(turn.task.take());
        if !turn.behind.is_empty() {
            self.queue.end_message(turn.message);
            turn.behind.into_iter().for_each(|entry| self.queue.push_kept(entry));
            self.wake_task(after);
        }
    }

    /// If this sender has begun a message, nobody will go on with it: its writer borrows the sender, and was forgotten.
    #[inline]
    pub(super) fn abandon_forgotten(&mut self, sender: SenderId, after: &mut Aftermath) {
        if self.turn.as_ref().is_some_and(|turn| turn.sender == sender) {
            self.abandon(0, after);
        }
    }

    // The end.

    /// The message that has the turn will not be finished, of which `unsent` bytes were taken and not queued.
    pub(super) fn abandon(&mut self, unsent: usize, after: &mut Aftermath) {
        self.queue.count_unsent(unsent);
        if matches!(self.phase, Phase::Open | Phase::Broken(_)) {
            self.fail(Failure::Abandoned, after);
            self.begin_closing(Error::UnfinishedMessage, after);
        }
    }

    pub(super) fn fail(&mut self, failure: Failure, after: &mut Aftermath) {
        if !matches!(self.phase, Phase::Ended(_)) {
            self.requests.fail(failure);
            self.wake_task(after);
        }
    }

    /// The connection begins to close, for `reason` unless writing has failed before.
    pub(super) fn begin_closing(&mut self, reason: Error, after: &mut Aftermath) {
        let reason = match &self.phase {
            Phase::Broken(error) => error.clone(),
            _ => reason,
        };
        self.stop(Phase::Closing(reason), after);
    }

    /// Nothing can be queued any more. A message that has the turn is left as it is: it will not be finished.
    pub(super) fn stop(&mut self, phase: Phase, after: &mut Aftermath) {
        self.phase = phase;
        if let Some(turn) = &mut self.turn {
            after.wake(turn.task.take());
        }
        for (want, waker) in self.waiters.close() {
            after.drop_unsent(want);
            after.wake(waker);
        }
        self.wake_task(after);
        self.stop_wait();
    }
}
