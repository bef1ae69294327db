//! `Outbox`: what the senders of a connection share with the task that drives it.
//!
//! ```text
//!  send, sink ───► waiters ──► queue ──► taken by the connection ──► has left
//!  writer ───────► (the turn) ──┘  ▲          as it has room            │
//!                                  └─────── room, flushes, the end ◄────┘
//!  ping, close, fail, abort ──► requests ──► task
//! ```
//!
//! The task takes requests and entries, and registers its waker, in one look: [`Outbox::take`].

mod entry;
#[cfg(all(test, wsflow_loom))]
mod loom;
mod queue;
mod requests;
mod try_send_error;
mod turn;
mod waiters;
mod watchers;

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker, ready},
};

use tokio::{task::coop, time::Instant};

pub use self::try_send_error::TrySendError;
pub(crate) use self::{
    entry::Entry,
    queue::Amount,
    requests::{Failure, PingRequest},
    turn::PartWriter,
};
use self::{
    queue::{Position, Queue},
    requests::Requests,
    turn::Turn,
    waiters::{Place, Waiters, Waiting},
    watchers::{Watched, WatcherId, Watchers},
};
use crate::{
    close::{CloseFrame, Closed},
    error::Error,
    limits::work,
    message::Message,
    protocol::{Compression, Part, ReadyState},
    stats::Stats,
    stopwatch::Stopwatch,
    sync::{Mutex, NoClone, Registration, WakerSlot},
};

#[derive(Debug)]
pub(crate) struct Outbox {
    /// How much may be queued before senders wait, as cost in bytes.
    mark: usize,
    state: Mutex<State>,
}

/// One of the senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderId(u64);

/// Whether messages can be queued.
#[derive(Debug)]
enum Phase {
    /// Not yet.
    Connecting,
    Open,
    /// Not any more, since the connection is closing.
    Closing,
    Ended {
        closed: Closed,
        /// Why nothing can be sent.
        error: Error,
    },
}

/// What a sender that waits for room wants it for.
#[derive(Debug)]
enum Want {
    /// That this message is queued.
    Message(Entry),
    /// To queue one message, of any size.
    Any,
    /// The turn, for a message in parts.
    Turn(SenderId),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    queue: Queue,
    waiters: Waiters<Want>,
    /// The message that is written part by part: until its last part nothing else is queued.
    turn: Option<Box<Turn>>,
    requests: Requests,
    /// How much may be buffered where nobody waits for room, in bytes of payload.
    max_buffered_amount: Option<u64>,
    senders: usize,
    last_sender: SenderId,
    /// What the connection had counted when the task last ran, but for the times.
    stats: Stats,
    /// Runs while the task does not read the transport, since what came is not used up.
    read_pause: Stopwatch,
    /// Runs while somebody waits for room.
    write_wait: Stopwatch,
    watchers: Watchers,
    /// The task, where it waits.
    task: WakerSlot,
}

/// What the task has taken: it empties this before it takes more.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) entries: Vec<Entry>,
    pub(crate) pings: Vec<PingRequest>,
    pub(crate) failure: Option<Box<Failure>>,
    /// Our Close frame, which follows all that was taken.
    pub(crate) close: Option<CloseFrame>,
    pub(crate) has_senders: bool,
    /// Entries that the connection may take now and that it had no room for.
    pub(crate) left: usize,
}

/// What the connection says after the task has worked with it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) ready_state: ReadyState,
    /// What it has left of what it took.
    pub(crate) queued: Amount,
    /// Whether the transport has taken everything, and was flushed.
    pub(crate) is_flushed: bool,
    /// What it has counted, but for the times.
    pub(crate) stats: Stats,
    pub(crate) read_pause: Stopwatch,
}

/// What a change leaves to be done without the lock: to drop a payload, or to wake a task, may run code of others.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Aftermath {
    woken: Vec<Waker>,
    unsent: Vec<Want>,
}

impl Aftermath {
    pub(crate) fn settle(&mut self) {
        self.unsent.clear();
        self.woken.drain(..).for_each(Waker::wake);
    }
}

/// A sender that waits for room. Dropped, it leaves neither a place nor a message behind.
#[derive(Debug)]
struct WaitingSender<'a> {
    outbox: &'a Outbox,
    place: Option<Place>,
}

impl Drop for WaitingSender<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.outbox.leave(place);
        }
    }
}

/// A task that watches the outbox. Dropped, it stops.
#[derive(Debug)]
struct Watching<'a> {
    outbox: &'a Outbox,
    id: Option<WatcherId>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.outbox.stop_watching(&mut self.id);
    }
}

/// A flush that a sink waits for.
#[derive(Debug, Default)]
pub(crate) struct SinkFlush {
    target: Option<Position>,
    /// How often more was waited for.
    extensions: u32,
    watcher: Option<WatcherId>,
}

impl SinkFlush {
    /// Something is queued that it does not cover.
    pub(crate) fn forget(&mut self) {
        (self.target, self.extensions) = (None, 0);
    }
}

/// A place of a sink in the queue of senders.
#[derive(Debug)]
pub(crate) struct SinkPlace(Place);

impl Outbox {
    /// The outbox of a connection that is open, closing or closed. `queued`: what it has from before.
    pub(crate) fn new(mark: usize, queued: Amount, is_flushed: bool, ready_state: ReadyState, stats: Stats) -> Self {
        let phase = match ready_state {
            ReadyState::Connecting => Phase::Connecting,
            ReadyState::Open => Phase::Open,
            ReadyState::Closing | ReadyState::Closed => Phase::Closing,
        };
        let state = Mutex::new(State {
            phase,
            queue: Queue::new(queued, is_flushed),
            waiters: Waiters::new(),
            turn: None,
            requests: Requests::default(),
            max_buffered_amount: None,
            senders: 1,
            last_sender: SenderId(0),
            stats,
            read_pause: Stopwatch::stopped_at(stats.read_held_back),
            write_wait: Stopwatch::stopped_at(stats.write_held_back),
            watchers: Watchers::default(),
            task: WakerSlot::default(),
        });
        Self { mark, state }
    }

    /// The outbox of a connection that is to be made, where nobody waits for room.
    pub(crate) fn connecting() -> Self {
        Self::new(usize::MAX, Amount::default(), true, ReadyState::Connecting, Stats::default())
    }

    // Getters.

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.state.lock().queue.buffered()
    }

    pub(crate) fn ready_state(&self) -> ReadyState {
        match self.state.lock().phase {
            Phase::Connecting => ReadyState::Connecting,
            Phase::Open => ReadyState::Open,
            Phase::Closing => ReadyState::Closing,
            Phase::Ended { .. } => ReadyState::Closed,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats { read_held_back: state.read_pause.elapsed(), write_held_back: state.write_wait.elapsed(), ..state.stats }
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        match &self.state.lock().phase {
            Phase::Ended { closed, .. } => Some(closed.clone()),
            Phase::Connecting | Phase::Open | Phase::Closing => None,
        }
    }

    /// Why nothing can be sent, if that is so.
    pub(crate) fn send_error(&self) -> Option<Error> {
        self.state.lock().check_open().err()
    }

    // Senders.

    /// The sender that the outbox begins with.
    pub(crate) const FIRST_SENDER: SenderId = SenderId(0);

    pub(crate) fn add_sender(&self) -> SenderId {
        let mut state = self.state.lock();
        state.senders += 1;
        state.last_sender.0 += 1;
        state.last_sender
    }

    pub(crate) fn remove_sender(&self, sender: SenderId) {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            state.senders -= 1;
            if state.senders == 0 {
                after.woken.extend(state.task.take());
            }
        });
    }

    /// Queues a message, if there is room for it and nobody waits.
    pub(crate) fn try_send(
        &self,
        sender: SenderId,
        message: Message,
        compression: Compression,
    ) -> Result<(), TrySendError> {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            if !matches!(state.phase, Phase::Open) {
                return Err(TrySendError::Closed(message));
            }
            if !state.is_free() || !state.has_room(self.mark, entry::cost(message.len())) {
                return Err(TrySendError::Full(message));
            }
            state.push(Entry::Message(message, compression), after);
            Ok(())
        })
    }

    /// Queues a message, once there is room for it and it is its turn.
    pub(crate) async fn send(&self, sender: SenderId, entry: Entry) -> Result<(), Error> {
        let mut waiting = WaitingSender { outbox: self, place: None };
        let mut entry = Some(entry);
        poll_fn(|cx| self.poll_send(sender, &mut waiting.place, &mut entry, cx)).await
    }

    fn poll_send(
        &self,
        sender: SenderId,
        place: &mut Option<Place>,
        entry: &mut Option<Entry>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if place.is_some() {
            return self.poll_place(place, cx);
        }
        let mut after = Aftermath::default();
        let mut is_budget_asked = false;
        let answer = loop {
            let answer = self.state.look(cx, |state, task| {
                state.abandon_forgotten(sender, &mut after);
                // A sender that never has to wait lets others run all the same.
                if !is_budget_asked && state.is_step_due() {
                    return Ok(None);
                }
                if let Err(error) = state.check_open() {
                    return Ok(Some(Poll::Ready(Err(error))));
                }
                let Some(cost) = entry.as_ref().map(Entry::cost) else { return Ok(Some(Poll::Ready(Ok(())))) };
                if state.is_free() && state.has_room(self.mark, cost) {
                    entry.take().into_iter().for_each(|entry| state.push(entry, &mut after));
                    return Ok(Some(Poll::Ready(Ok(()))));
                }
                *place = Some(state.wait(cost, || entry.take().map_or(Want::Any, Want::Message), task)?);
                Ok(Some(Poll::Pending))
            });
            match answer {
                Some(answer) => break answer,
                None => {
                    after.settle();
                    ready!(coop::poll_proceed(cx)).made_progress();
                    is_budget_asked = true;
                }
            }
        };
        after.settle();
        answer
    }

    /// How a sender stands that has a place. It has none any more once this is ready.
    fn poll_place(&self, place: &mut Option<Place>, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let Some(at) = *place else { return Poll::Ready(Ok(())) };
        let answer = self.state.look(cx, |state, task| {
            Ok(match state.waiters.poll(at, task)? {
                Waiting::Waits => Poll::Pending,
                Waiting::Granted => Poll::Ready(Ok(())),
                Waiting::InVain => Poll::Ready(Err(state.check_open().err().unwrap_or(Error::Closing))),
            })
        });
        if answer.is_ready() {
            *place = None;
        }
        answer
    }

    /// Somebody does not wait for room any more: others may have room now.
    fn leave(&self, place: Place) {
        let left = self.change(|state, after| {
            let left = state.waiters.leave(place);
            if left.is_none() && state.turn.as_ref().is_some_and(|turn| turn.place == Some(place)) {
                // It got the turn and never saw it.
                state.end_turn(after);
            }
            state.grant(self.mark, after);
            state.stop_wait();
            left
        });
        drop(left);
    }

    // Sinks.

    /// Ready when a message of any size may be queued. It must then not be polled again before that message is queued.
    pub(crate) fn poll_sink_ready(
        &self,
        sender: SenderId,
        place: &mut Option<SinkPlace>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if let Some(SinkPlace(at)) = place {
            let mut at = Some(*at);
            let answer = self.poll_place(&mut at, cx);
            if answer.is_ready() {
                *place = None;
            }
            return answer;
        }
        let mut is_budget_asked = false;
        loop {
            let mut after = Aftermath::default();
            let answer = self.state.look(cx, |state, task| {
                state.abandon_forgotten(sender, &mut after);
                if !is_budget_asked && state.is_step_due() {
                    return Ok(None);
                }
                if let Err(error) = state.check_open() {
                    return Ok(Some(Poll::Ready(Err(error))));
                }
                if state.is_free() && state.is_below_mark(self.mark) {
                    return Ok(Some(Poll::Ready(Ok(()))));
                }
                *place = Some(SinkPlace(state.wait(1, || Want::Any, task)?));
                Ok(Some(Poll::Pending))
            });
            after.settle();
            match answer {
                Some(answer) => return answer,
                None => ready!(coop::poll_proceed(cx)).made_progress(),
            }
            is_budget_asked = true;
        }
    }

    /// Queues the message that [`poll_sink_ready`](Self::poll_sink_ready) has allowed. Where another sender has the turn by
    /// now, it comes behind that one's message.
    pub(crate) fn send_ready(&self, message: Message, compression: Compression) -> Result<(), Error> {
        self.change(|state, after| {
            if let Err(error) = state.check_open() {
                after.unsent.push(Want::Message(Entry::Message(message, compression)));
                return Err(error);
            }
            state.push(Entry::Message(message, compression), after);
            Ok(())
        })
    }

    /// A sink does not wait for room any more.
    pub(crate) fn leave_sink(&self, place: &SinkPlace) {
        self.leave(place.0);
    }

    /// Ready when all that was queued before has left.
    ///
    /// A poll may go on with a flush, or begin one after another that was dropped: that cannot be told. So each waits for all
    /// that is queued by now, but not for ever where others go on to send.
    pub(crate) fn poll_sink_flush(&self, flush: &mut SinkFlush, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        const MAX_EXTENSIONS: u32 = 16;
        let answer = self.state.look(cx, |state, task| {
            let now = state.last_queued();
            let target = match flush.target {
                Some(target) if state.queue.is_flushed(target) && flush.extensions == MAX_EXTENSIONS => target,
                _ => now,
            };
            let polled = state.poll_flushed(target, &mut flush.watcher, task)?;
            flush.extensions += u32::from(flush.target.is_some_and(|before| state.queue.is_flushed(before)));
            flush.target = Some(target);
            Ok(polled)
        });
        if answer.is_ready() {
            flush.forget();
        }
        answer
    }

    pub(crate) fn poll_ended(&self, watcher: &mut SinkFlush, cx: &Context<'_>) -> Poll<Closed> {
        self.state.look(cx, |state, task| state.poll_ended(&mut watcher.watcher, task))
    }

    pub(crate) fn leave_flush(&self, flush: &mut SinkFlush) {
        self.stop_watching(&mut flush.watcher);
    }

    // What can be waited for.

    /// Waits until all that is queued now has left: the transport has taken it, and was flushed.
    pub(crate) async fn flush(&self, sender: SenderId) -> Result<(), Error> {
        let mut watching = Watching { outbox: self, id: None };
        let mut target = None;
        let mut after = Aftermath::default();
        poll_fn(|cx| {
            self.state
                .look(cx, |state, task| {
                    state.abandon_forgotten(sender, &mut after);
                    let target = *target.get_or_insert_with(|| state.last_queued());
                    state.poll_flushed(target, &mut watching.id, task)
                })
                .map(|flushed| {
                    after.settle();
                    flushed
                })
        })
        .await
    }

    /// Waits until the transport has taken all that is queued.
    pub(crate) async fn drained(&self) -> Result<(), Error> {
        let mut watching = Watching { outbox: self, id: None };
        poll_fn(|cx| {
            self.state.look(cx, |state, task| {
                if state.queue.buffered() == 0 {
                    return Ok(Poll::Ready(Ok(())));
                }
                if let Phase::Ended { error, .. } = &state.phase {
                    return Ok(Poll::Ready(Err(error.clone())));
                }
                state.watchers.watch(&mut watching.id, Watched::Drained, task)?;
                Ok(Poll::Pending)
            })
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Closed {
        let mut watching = Watching { outbox: self, id: None };
        poll_fn(|cx| self.state.look(cx, |state, task| state.poll_ended(&mut watching.id, task))).await
    }

    fn stop_watching(&self, id: &mut Option<WatcherId>) {
        if let Some(id) = id.take() {
            let stopped = self.state.lock().watchers.stop(id);
            drop(stopped);
        }
    }

    // What the task is asked for.

    /// Asks for a ping.
    pub(crate) fn ping(&self, sender: SenderId, request: PingRequest) -> Result<(), Error> {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            state.check_open()?;
            state.requests.pings.push(request);
            after.woken.extend(state.task.take());
            Ok(())
        })
    }

    /// Begins to close, if the connection is open: what is queued goes out first. Senders that wait for room fail, and so does
    /// a message that is being written, and with it the connection. Returns the state before.
    pub(crate) fn close(&self, frame: CloseFrame) -> ReadyState {
        self.change(|state, after| match state.phase {
            Phase::Connecting => {
                state.stop(Phase::Closing, after);
                ReadyState::Connecting
            }
            Phase::Open => {
                if state.turn.is_some() {
                    state.abandon(0, after);
                } else {
                    state.requests.close = Some(frame);
                    state.stop(Phase::Closing, after);
                }
                ReadyState::Open
            }
            Phase::Closing => ReadyState::Closing,
            Phase::Ended { .. } => ReadyState::Closed,
        })
    }

    /// What came cannot be taken: the connection fails.
    pub(crate) fn fail(&self, error: Error) {
        self.change(|state, after| state.fail(Failure::Failed(error), after));
    }

    // What the event API does.

    /// How much may be buffered, in bytes of payload: more ends the connection. `None`: any amount.
    pub(crate) fn set_max_buffered_amount(&self, bytes: Option<u64>) {
        self.state.lock().max_buffered_amount = bytes;
    }

    /// Queues a message, without waiting. `false` while connecting. Once the connection is closing the message only counts.
    pub(crate) fn post(&self, message: Message) -> bool {
        self.change(|state, after| {
            let entry = Entry::Message(message, Compression::Allowed);
            match state.phase {
                Phase::Connecting => {
                    after.unsent.push(Want::Message(entry));
                    return false;
                }
                Phase::Open if !state.requests.has_failure() => {
                    let amount = state.queue.buffered() + entry.len() as u64;
                    match state.max_buffered_amount.filter(|max| amount > *max) {
                        None => state.push(entry, after),
                        Some(max) => {
                            state.queue.count_unsent(entry.len());
                            after.unsent.push(Want::Message(entry));
                            state.fail(Failure::Aborted(Error::Overflow(max)), after);
                        }
                    }
                }
                Phase::Open | Phase::Closing | Phase::Ended { .. } => {
                    state.queue.count_unsent(entry.len());
                    after.unsent.push(Want::Message(entry));
                }
            }
            true
        })
    }

    /// The connection is open, unless it was closed before. Returns whether it is.
    pub(crate) fn open(&self) -> bool {
        let mut state = self.state.lock();
        let is_wanted = matches!(state.phase, Phase::Connecting);
        if is_wanted {
            state.phase = Phase::Open;
        }
        is_wanted
    }

    // What the task does.

    /// Takes what is asked for, and entries as far as the connection has `room` for them; `None`: it takes none. The task of
    /// `cx` is woken when there is more.
    ///
    /// All that is queued before our Close goes with it, whatever room there is: only the connection keeps the deadlines of a
    /// close. It is no more memory than the queue was.
    pub(crate) fn take(&self, room: Option<usize>, taken: &mut Taken, cx: &Context<'_>) {
        self.state.look(cx, |state, task| {
            task.put(&mut state.task)?;
            taken.has_senders = state.senders > 0;
            std::mem::swap(&mut taken.pings, &mut state.requests.pings);
            taken.failure = state.requests.take_failure().or(taken.failure.take());
            taken.left = 0;
            let is_failing = taken.failure.as_ref().is_some_and(|failure| !matches!(**failure, Failure::Aborted(_)));
            let Some(room) = room.filter(|_| !is_failing) else { return Ok(()) };
            if state.requests.close.is_some() {
                state.queue.take(usize::MAX, usize::MAX, &mut taken.entries);
                taken.close = state.requests.close.take();
            } else {
                let due = state.queue.due();
                taken.left = due;
                if room > 0 && due > 0 {
                    taken.left -= state.queue.take(due, room, &mut taken.entries);
                }
            }
            Ok(())
        });
    }

    /// Takes a report of the connection. Returns how many entries it may take now.
    pub(crate) fn report(&self, report: Report, after: &mut Aftermath) -> usize {
        let mut state = self.state.lock();
        (state.stats, state.read_pause) = (report.stats, report.read_pause);
        let (before, was_buffered) = (state.queue.cost(), state.queue.buffered() > 0);
        let is_flush_over = state.queue.report(report.queued, report.is_flushed);
        if state.queue.cost() < before {
            state.grant(self.mark, after);
            state.stop_wait();
        }
        if report.ready_state > ReadyState::Open && matches!(state.phase, Phase::Open) {
            // The peer has begun to close, or the connection has failed.
            state.stop(Phase::Closing, after);
        }
        if is_flush_over || was_buffered && state.queue.buffered() == 0 {
            state.wake_watchers(after);
        }
        state.queue.due()
    }

    /// Whether messages are queued, or begun, that the connection will not take any more.
    pub(crate) fn has_unsent(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.turn.is_some()
    }

    /// The connection has ended. What is queued is dropped, and stays in the amount.
    pub(crate) fn end(&self, closed: Closed, error: Error) {
        let dropped = self.change(|state, after| {
            if matches!(state.phase, Phase::Ended { .. }) {
                return None;
            }
            state.stop(Phase::Ended { closed, error }, after);
            state.wake_watchers(after);
            let last = state.last_queued();
            Some((state.queue.end(last), state.turn.take(), std::mem::take(&mut state.requests)))
        });
        drop(dropped);
    }

    /// Changes the state, and does then what may run code of others.
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut State, &mut Aftermath) -> R) -> R {
        let mut after = Aftermath::default();
        let answer = change(&mut self.state.lock(), &mut after);
        after.settle();
        answer
    }
}

impl State {
    fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Connecting | Phase::Closing => Err(Error::Closing),
            Phase::Ended { error, .. } => Err(error.clone()),
        }
    }

    // Room.

    /// Whether nobody waits, or has the turn.
    fn is_free(&self) -> bool {
        self.waiters.is_empty() && self.turn.is_none()
    }

    fn is_below_mark(&self, mark: usize) -> bool {
        self.queue.cost() < mark
    }

    /// Whether there is room for a part of the message that has the turn. What waits behind it takes none of it: it would
    /// wait for itself.
    fn has_room_for_part(&self, mark: usize) -> bool {
        let behind = self.turn.as_ref().map_or(0, |turn| turn.cost_behind());
        self.queue.cost().saturating_sub(behind) < mark
    }

    /// Whether there is room for so much. What costs more than the mark gets all of it.
    fn has_room(&self, mark: usize, cost: usize) -> bool {
        self.queue.cost().saturating_add(cost.min(mark)) <= mark
    }

    /// Whether a sender that need not wait is to ask whether others are to run first.
    fn is_step_due(&self) -> bool {
        self.queue.last().message.is_multiple_of(work::PER_STEP as u64)
    }

    /// Waits for room, behind all that already wait.
    fn wait(
        &mut self,
        cost: usize,
        want: impl FnOnce() -> Want,
        task: &mut Registration<'_>,
    ) -> Result<Place, NoClone> {
        let place = self.waiters.wait(cost, want, task)?;
        self.write_wait.start(Instant::now);
        Ok(place)
    }

    /// Stops the clock of waiting, if nothing waits for room any more.
    fn stop_wait(&mut self) {
        if self.waiters.is_empty() && !self.turn.as_ref().is_some_and(|turn| turn.is_waiting()) {
            self.write_wait.stop(Instant::now);
        }
    }

    /// Gives room to those that wait, in their order, until none is left.
    fn grant(&mut self, mark: usize, after: &mut Aftermath) {
        if self.has_room_for_part(mark)
            && let Some(turn) = &mut self.turn
        {
            after.woken.extend(turn.task.take());
        }
        while self.turn.is_none()
            && let Some(cost) = self.waiters.first_cost()
            && self.has_room(mark, cost)
            && let Some((place, want, waker)) = self.waiters.pop()
        {
            after.woken.extend(waker);
            match want {
                Want::Message(entry) => self.push(entry, after),
                Want::Any => {}
                Want::Turn(sender) => self.turn = Some(Box::new(self.new_turn(sender, Some(place)))),
            }
        }
    }

    // The queue.

    /// Queues a message, behind the one that is being written.
    fn push(&mut self, entry: Entry, after: &mut Aftermath) {
        self.queue.count(&entry);
        match &mut self.turn {
            Some(turn) => turn.behind.push(entry),
            None => {
                self.queue.push_message(entry);
                after.woken.extend(self.task.take());
            }
        }
    }

    /// The last of all that was queued so far.
    fn last_queued(&self) -> Position {
        match &self.turn {
            Some(turn) if !turn.behind.is_empty() => Position::message(turn.message + turn.behind.len() as u64),
            _ => self.queue.last(),
        }
    }

    /// Whether all up to `target` has left, or why that will not be. If neither, it is flushed, and the task is woken then.
    fn poll_flushed(
        &mut self,
        target: Position,
        watcher: &mut Option<WatcherId>,
        task: &mut Registration<'_>,
    ) -> Result<Poll<Result<(), Error>>, NoClone> {
        if self.queue.is_flushed(target) {
            return Ok(Poll::Ready(Ok(())));
        }
        if let Phase::Ended { error, .. } = &self.phase {
            return Ok(Poll::Ready(Err(error.clone())));
        }
        self.watchers.watch(watcher, Watched::Flushed(target), task)?;
        self.queue.want_flush(target);
        Ok(Poll::Pending)
    }

    fn poll_ended(
        &mut self,
        watcher: &mut Option<WatcherId>,
        task: &mut Registration<'_>,
    ) -> Result<Poll<Closed>, NoClone> {
        if let Phase::Ended { closed, .. } = &self.phase {
            return Ok(Poll::Ready(closed.clone()));
        }
        self.watchers.watch(watcher, Watched::Ended, task)?;
        Ok(Poll::Pending)
    }

    /// Wakes those whose wait is over.
    fn wake_watchers(&mut self, after: &mut Aftermath) {
        let has_ended = matches!(self.phase, Phase::Ended { .. });
        let queue = &self.queue;
        let is_over = |watched| match watched {
            _ if has_ended => true,
            Watched::Flushed(target) => queue.is_flushed(target),
            Watched::Drained => queue.buffered() == 0,
            Watched::Ended => false,
        };
        self.watchers.take(is_over, &mut after.woken);
    }

    // The turn.

    fn new_turn(&self, sender: SenderId, place: Option<Place>) -> Turn {
        Turn::new(sender, place, self.queue.last().message + 1)
    }

    /// The turn is over: what was queued behind it is next.
    fn end_turn(&mut self, after: &mut Aftermath) {
        let Some(mut turn) = self.turn.take() else { return };
        after.woken.extend(turn.task.take());
        if !turn.behind.is_empty() {
            self.queue.end_message(turn.message);
            turn.behind.into_iter().for_each(|entry| self.queue.push_message(entry));
            after.woken.extend(self.task.take());
        }
    }

    /// If this sender has begun a message, nobody will go on with it: its writer borrows the sender, and was forgotten.
    #[inline]
    fn abandon_forgotten(&mut self, sender: SenderId, after: &mut Aftermath) {
        if self.turn.as_ref().is_some_and(|turn| turn.sender == sender) {
            self.abandon(0, after);
        }
    }

    // The end.

    /// The message that has the turn will not be finished, of which `unsent` bytes were taken and not queued.
    fn abandon(&mut self, unsent: usize, after: &mut Aftermath) {
        self.queue.count_unsent(unsent);
        if matches!(self.phase, Phase::Open) {
            self.fail(Failure::Abandoned, after);
            self.stop(Phase::Closing, after);
        }
    }

    fn fail(&mut self, failure: Failure, after: &mut Aftermath) {
        if !matches!(self.phase, Phase::Ended { .. }) {
            self.requests.fail(failure);
            after.woken.extend(self.task.take());
        }
    }

    /// Nothing can be queued any more. A message that has the turn is left as it is: it will not be finished.
    fn stop(&mut self, phase: Phase, after: &mut Aftermath) {
        self.phase = phase;
        if let Some(turn) = &mut self.turn {
            after.woken.extend(turn.task.take());
        }
        for (want, waker) in self.waiters.close() {
            after.unsent.push(want);
            after.woken.extend(waker);
        }
        after.woken.extend(self.task.take());
        self.stop_wait();
    }
}

/// A message that is written part by part.
impl Outbox {
    /// Waits for the turn, which no other sender has then until it is given up.
    pub(crate) async fn begin_message(&self, sender: SenderId) -> Result<(), Error> {
        let mut waiting = WaitingSender { outbox: self, place: None };
        let mut after = Aftermath::default();
        poll_fn(|cx| {
            if waiting.place.is_some() {
                return self.poll_place(&mut waiting.place, cx);
            }
            let answer = self.state.look(cx, |state, task| {
                state.abandon_forgotten(sender, &mut after);
                if let Err(error) = state.check_open() {
                    return Ok(Poll::Ready(Err(error)));
                }
                if state.is_free() && state.is_below_mark(self.mark) {
                    state.turn = Some(Box::new(state.new_turn(sender, None)));
                    return Ok(Poll::Ready(Ok(())));
                }
                waiting.place = Some(state.wait(1, || Want::Turn(sender), task)?);
                Ok(Poll::Pending)
            });
            after.settle();
            answer
        })
        .await
    }

    /// Ready when there is room for a part of the message that has the turn.
    fn poll_part_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.state.look(cx, |state, task| {
            if let Err(error) = state.check_open() {
                return Ok(Poll::Ready(Err(error)));
            }
            if state.has_room_for_part(self.mark) {
                return Ok(Poll::Ready(Ok(())));
            }
            if let Some(turn) = &mut state.turn {
                task.put(&mut turn.task)?;
            }
            state.write_wait.start(Instant::now);
            Ok(Poll::Pending)
        })
    }

    /// Queues a part of the message that has the turn, also without room. The last part gives up the turn. Its bytes count
    /// also where they cannot be sent any more.
    fn send_part(&self, part: Part, compression: Compression) -> Result<(), Error> {
        self.change(|state, after| {
            let is_last = part.place.is_last();
            let entry = Entry::Part(part, compression);
            let open = state.check_open();
            let (Ok(()), Some(turn)) = (&open, &state.turn) else {
                state.queue.count_unsent(entry.len());
                after.unsent.push(Want::Message(entry));
                return Err(open.err().unwrap_or(Error::Closing));
            };
            let message = turn.message;
            state.queue.count(&entry);
            state.queue.push_part(message, entry);
            after.woken.extend(state.task.take());
            if is_last {
                state.end_turn(after);
                state.grant(self.mark, after);
                state.stop_wait();
            }
            Ok(())
        })
    }

    /// Ready when all that was queued up to the last part has left.
    fn poll_part_flushed(
        &self,
        target: &mut Option<Position>,
        watcher: &mut Option<WatcherId>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.state.look(cx, |state, task| {
            let target = *target.get_or_insert_with(|| state.queue.last());
            state.poll_flushed(target, watcher, task)
        })
    }

    /// The message that has the turn will not be finished, of which `unsent` bytes were taken and not queued: the connection
    /// fails.
    fn abandon_message(&self, sender: SenderId, unsent: usize) {
        self.change(|state, after| {
            if state.turn.as_ref().is_some_and(|turn| turn.sender == sender) {
                state.abandon(unsent, after);
            } else {
                state.queue.count_unsent(unsent);
            }
        });
    }
}
