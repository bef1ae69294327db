//! What the senders and the driver share: messages that are queued, within the budget, and what was asked for besides.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker, ready},
};

use tokio::{sync::oneshot, task::coop, time::Instant};

use super::{
    TrySendError,
    room::{Cost, Grant, Place, Room},
    watchers::{WatcherId, Watchers},
};
use crate::{
    close::{CloseFrame, Closed},
    driver::{Handover, Queue, Queued, Sent},
    error::Error,
    limits::work,
    message::Message,
    protocol::{Compression, Part, Pong, ReadyState},
    stats::Stats,
    stopwatch::Stopwatch,
    sync::{Mutex, move_all, register},
};

/// What a sender that waits for room wants it for.
#[derive(Debug)]
enum Want {
    /// That this message is queued.
    Message(Queued),
    /// To queue one message, of any size.
    Any,
    /// The turn, for a message in parts.
    Turn,
}

impl Want {
    fn grant(&self) -> Grant {
        match self {
            Self::Message(_) => Grant::Room,
            Self::Any => Grant::Nothing,
            Self::Turn => Grant::Turn,
        }
    }
}

/// Whether messages can be queued.
#[derive(Debug)]
enum Phase {
    Open,
    /// Not any more, since the connection is closing.
    Closing,
    Ended {
        closed: Closed,
        /// Why nothing can be sent.
        error: Error,
    },
}

/// A ping that somebody asked for.
pub(super) type PingRequest = oneshot::Sender<Result<Pong, Error>>;

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Messages that the driver has not taken over.
    queue: VecDeque<Queued>,
    room: Room<Want>,
    /// Messages that were queued so far, that the driver took over, and that have left: the transport took them, and was
    /// flushed.
    queued: u64,
    taken_over: u64,
    flushed: u64,
    /// Up to which message somebody asked for a flush, oldest first. What is behind the first has to wait for it, since a
    /// transport that always has more to take is never flushed.
    flushes: VecDeque<u64>,
    buffered: u64,
    pings: Vec<PingRequest>,
    /// The Close frame that is to follow the queue.
    close: Option<CloseFrame>,
    /// A message in parts that will not be finished, until the driver fails the connection: how many bytes of it were
    /// taken and not queued.
    abandoned: Option<usize>,
    /// The task that writes a message in parts, and waits for room.
    writer: Option<Waker>,
    senders: usize,
    ready_state: ReadyState,
    /// What the connection had counted when the driver last ran, but for the times.
    stats: Stats,
    /// Runs while the driver does not read the transport, since what came is not used up.
    read_pause: Stopwatch,
    /// Runs while somebody waits for room.
    write_wait: Stopwatch,
    /// The tasks that wait for a flush, for an empty buffer, or for the end.
    watchers: Watchers,
    driver: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Outgoing(Mutex<State>);

/// A sender that waits for room. Dropped, it leaves neither a place nor a message behind.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    outgoing: &'a Outgoing,
    place: Option<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.outgoing.leave(place);
        }
    }
}

impl Outgoing {
    pub(super) fn new(mark: usize, ready_state: ReadyState, stats: Stats) -> Self {
        Self(Mutex::new(State {
            phase: Phase::Open,
            queue: VecDeque::new(),
            room: Room::new(mark),
            queued: 0,
            taken_over: 0,
            flushed: 0,
            flushes: VecDeque::new(),
            buffered: 0,
            pings: Vec::new(),
            close: None,
            abandoned: None,
            writer: None,
            senders: 1,
            ready_state,
            stats,
            read_pause: Stopwatch::stopped_at(stats.read_held_back),
            write_wait: Stopwatch::stopped_at(stats.write_held_back),
            watchers: Watchers::default(),
            driver: None,
        }))
    }

    /// With what was queued, or not flushed, in the connection before: it counts as one message, which leaves first.
    pub(super) fn with_leftover(mut self, buffered: u64) -> Self {
        let state = self.0.get_mut();
        state.buffered = buffered;
        (state.queued, state.taken_over) = (1, 1);
        state.flushes.push_back(1);
        let cost = state.room.cost(usize::try_from(buffered).unwrap_or(usize::MAX));
        state.room.take(cost);
        self
    }

    // Getters.

    pub(super) fn buffered_amount(&self) -> u64 {
        self.0.lock().buffered
    }

    pub(super) fn ready_state(&self) -> ReadyState {
        self.0.lock().ready_state
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.0.lock();
        Stats { read_held_back: state.read_pause.elapsed(), write_held_back: state.write_wait.elapsed(), ..state.stats }
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        match &self.0.lock().phase {
            Phase::Ended { closed, .. } => Some(closed.clone()),
            Phase::Open | Phase::Closing => None,
        }
    }

    // What the senders do.

    pub(super) fn add_sender(&self) {
        self.0.lock().senders += 1;
    }

    pub(super) fn remove_sender(&self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let waker = if state.senders == 0 { state.driver.take() } else { None };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Queues a message, if there is room for it.
    pub(super) fn try_send(&self, message: Message, compression: Compression) -> Result<(), TrySendError> {
        let mut state = self.0.lock();
        if !matches!(state.phase, Phase::Open) {
            return Err(TrySendError::Closed(message));
        }
        let cost = state.room.cost(message.len());
        if !state.room.try_take(cost) {
            return Err(TrySendError::Full(message));
        }
        let waker = state.push(Queued::Message(message, compression));
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Queues a message, once there is room for it and it is its turn.
    pub(super) async fn send(&self, message: Queued) -> Result<(), Error> {
        let mut waiting = Waiting { outgoing: self, place: None };
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(&mut waiting.place, &mut message, cx)).await
    }

    fn poll_send(
        &self,
        place: &mut Option<Place>,
        message: &mut Option<Queued>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.0.lock();
        if let Some(waiting) = *place {
            return state.poll_place(waiting, cx).map(|answer| {
                *place = None;
                answer
            });
        }
        // A sender that never has to wait lets others run all the same.
        if state.queued.is_multiple_of(work::PER_STEP as u64) {
            drop(state);
            ready!(coop::poll_proceed(cx)).made_progress();
            state = self.0.lock();
        }
        state.check_open()?;
        let Some(message) = message.take() else { return Poll::Ready(Ok(())) };
        let cost = state.room.cost(message.len());
        if state.room.try_take(cost) {
            let waker = state.push(message);
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(()));
        }
        *place = Some(state.wait(cost, Want::Message(message), cx));
        Poll::Pending
    }

    /// Ready when a message of any size may be queued. It must then not be polled again before that message is queued.
    pub(super) fn poll_turn(&self, place: &mut Option<Place>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.0.lock();
        if let Some(waiting) = *place {
            return state.poll_place(waiting, cx).map(|answer| {
                *place = None;
                answer
            });
        }
        state.check_open()?;
        if state.room.has_any() {
            return Poll::Ready(Ok(()));
        }
        let least = state.room.least_cost();
        *place = Some(state.wait(least, Want::Any, cx));
        Poll::Pending
    }

    /// Waits for the turn, which nobody else has then until it is given up.
    pub(super) async fn turn(&self) -> Result<(), Error> {
        let mut waiting = Waiting { outgoing: self, place: None };
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if let Some(place) = waiting.place {
                let answer = ready!(state.poll_place(place, cx));
                waiting.place = None;
                return Poll::Ready(answer);
            }
            state.check_open()?;
            if state.room.try_turn() {
                return Poll::Ready(Ok(()));
            }
            let least = state.room.least_cost();
            waiting.place = Some(state.wait(least, Want::Turn, cx));
            Poll::Pending
        })
        .await
    }

    /// Ready when there is room for a part of the message that has the turn.
    pub(super) fn poll_part_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.0.lock();
        state.check_open()?;
        if state.room.is_below_mark() {
            return Poll::Ready(Ok(()));
        }
        register(&mut state.writer, cx);
        state.write_wait.start(Instant::now);
        Poll::Pending
    }

    /// Queues a part of the message that has the turn, also without room. The last part gives up the turn.
    pub(super) fn send_part(&self, part: Part, compression: Compression) -> Result<(), Error> {
        let mut state = self.0.lock();
        state.check_open()?;
        let is_last = part.place.is_last();
        let part = Queued::Part(part, compression);
        let cost = state.room.cost(part.len());
        state.room.take(cost);
        let mut woken: Vec<Waker> = state.push(part).into_iter().collect();
        if is_last {
            state.room.give_up_turn();
            woken.extend(state.grant());
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The message that has the turn will not be finished, of which `unsent` bytes were taken and not queued: the
    /// connection fails.
    pub(super) fn abandon_message(&self, unsent: usize) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Open) {
            let stopped = state.abandon(unsent);
            drop(state);
            stopped.release();
        }
    }

    /// Queues the message that [`poll_turn`](Self::poll_turn) has allowed.
    pub(super) fn send_now(&self, message: Queued) -> Result<(), Error> {
        let mut state = self.0.lock();
        state.check_open()?;
        let cost = state.room.cost(message.len());
        state.room.take(cost);
        let waker = state.push(message);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Somebody does not wait for room any more: others may have room now.
    pub(super) fn leave(&self, place: Place) {
        let mut state = self.0.lock();
        let left = state.room.leave(place);
        let woken = state.grant();
        state.stop_wait();
        drop(state);
        drop(left);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Begins to close, if the connection is open: what is queued goes out first. Senders that wait for room fail.
    pub(super) fn close(&self, frame: CloseFrame) {
        let mut state = self.0.lock();
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        let stopped = if state.room.is_held() {
            // There is no end to the message that is being written: it fails.
            state.abandon(0)
        } else {
            state.close = Some(frame);
            state.ready_state = ReadyState::Closing;
            state.stop(Phase::Closing)
        };
        drop(state);
        stopped.release();
    }

    /// Asks for a ping.
    pub(super) fn ping(&self, request: PingRequest) -> Result<(), Error> {
        let mut state = self.0.lock();
        state.check_open()?;
        state.pings.push(request);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Waits until all that is queued now has left: the transport has taken it, and was flushed.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let target = self.begin_flush();
        self.until(|state| state.flushed(target)).await
    }

    /// Asks for a flush of all that is queued now, and says up to which message that is.
    pub(super) fn begin_flush(&self) -> u64 {
        let mut state = self.0.lock();
        let target = state.queued;
        if state.flushed < target && state.flushes.back().is_none_or(|&last| last < target) {
            state.flushes.push_back(target);
        }
        target
    }

    pub(super) fn poll_flushed(
        &self,
        target: u64,
        watcher: &mut Option<WatcherId>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.poll_until(watcher, cx, |state| state.flushed(target))
    }

    /// Waits until the transport has taken all that is queued.
    pub(super) async fn drained(&self) -> Result<(), Error> {
        self.until(|state| match (&state.phase, state.buffered) {
            (_, 0) => Some(Ok(())),
            (Phase::Ended { error, .. }, _) => Some(Err(error.clone())),
            (Phase::Open | Phase::Closing, _) => None,
        })
        .await
    }

    /// Waits for the end.
    pub(super) async fn until_closed(&self) -> Closed {
        self.until(State::closed).await
    }

    pub(super) fn poll_closed(&self, watcher: &mut Option<WatcherId>, cx: &Context<'_>) -> Poll<Closed> {
        self.poll_until(watcher, cx, State::closed)
    }

    pub(super) fn stop_watching(&self, id: WatcherId) {
        self.0.lock().watchers.stop(id);
    }

    async fn until<T>(&self, check: impl Fn(&State) -> Option<T>) -> T {
        let mut watching = Watching { outgoing: self, id: None };
        poll_fn(|cx| self.poll_until(&mut watching.id, cx, &check)).await
    }

    fn poll_until<T>(
        &self,
        watcher: &mut Option<WatcherId>,
        cx: &Context<'_>,
        check: impl Fn(&State) -> Option<T>,
    ) -> Poll<T> {
        let mut state = self.0.lock();
        match check(&state) {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.watchers.watch(watcher, cx.waker());
                Poll::Pending
            }
        }
    }

    // What the driver does.

    /// A message in parts that will not be finished: how many bytes of it were taken and not queued.
    pub(super) fn take_abandoned(&self) -> Option<usize> {
        self.0.lock().abandoned.take()
    }

    /// Pings that were asked for.
    pub(super) fn take_pings(&self) -> Vec<PingRequest> {
        std::mem::take(&mut self.0.lock().pings)
    }

    /// The Close frame, once the driver has taken over all that is before it.
    pub(super) fn take_close(&self) -> Option<CloseFrame> {
        let mut state = self.0.lock();
        if state.queue.is_empty() { state.close.take() } else { None }
    }

    pub(super) fn has_senders(&self) -> bool {
        self.0.lock().senders > 0
    }

    /// What the connection says after the driver has worked with it. `sent`: what the transport has taken meanwhile.
    /// `is_flushed`: that was all that the driver took over, and the transport was flushed. `counted`: what the connection
    /// has counted, but for the times, and how long the transport was not read. Returns whether there is more to take over.
    pub(super) fn update(
        &self,
        sent: Sent,
        is_flushed: bool,
        ready_state: ReadyState,
        counted: (Stats, Stopwatch),
    ) -> bool {
        let mut state = self.0.lock();
        (state.stats, state.read_pause) = counted;
        state.buffered -= sent.payload;
        state.room.release(sent.entries);
        let mut is_changed = sent.payload > 0 && state.buffered == 0;
        if is_flushed && state.flushed < state.taken_over {
            state.flushed = state.taken_over;
            let flushed = state.flushed;
            state.flushes.retain(|&target| target > flushed);
            is_changed = true;
        }
        let (mut woken, mut stopped) = (Vec::new(), Stopped::default());
        if sent.entries > 0 {
            woken = state.grant();
        }
        if sent.entries > 0 && state.room.is_below_mark() {
            woken.extend(state.writer.take());
        }
        state.stop_wait();
        if ready_state > state.ready_state {
            state.ready_state = ready_state;
            if matches!(state.phase, Phase::Open) {
                // The peer has begun to close, or the connection has failed.
                stopped = state.stop(Phase::Closing);
            }
        }
        if is_changed {
            woken.extend(state.watchers.take());
        }
        let has_more = state.due() > 0;
        drop(state);
        stopped.release();
        woken.into_iter().for_each(Waker::wake);
        has_more
    }

    /// Whether messages are queued that the driver will not take over any more.
    pub(super) fn has_unsent(&self) -> bool {
        !self.0.lock().queue.is_empty()
    }

    /// The connection has ended. What is queued is dropped, and stays in the amount.
    pub(super) fn end(&self, closed: Closed, error: Error) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Ended { .. }) {
            return;
        }
        state.ready_state = ReadyState::Closed;
        let mut stopped = state.stop(Phase::Ended { closed, error });
        stopped.woken.extend(state.watchers.take());
        state.room.clear();
        state.close = None;
        let (queue, pings) = (std::mem::take(&mut state.queue), std::mem::take(&mut state.pings));
        drop(state);
        drop((queue, pings));
        stopped.release();
    }
}

/// A task that watches the state. Dropped, it stops.
struct Watching<'a> {
    outgoing: &'a Outgoing,
    id: Option<WatcherId>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.outgoing.stop_watching(id);
        }
    }
}

impl State {
    fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Closing => Err(Error::Closing),
            Phase::Ended { error, .. } => Err(error.clone()),
        }
    }

    fn closed(&self) -> Option<Closed> {
        match &self.phase {
            Phase::Ended { closed, .. } => Some(closed.clone()),
            Phase::Open | Phase::Closing => None,
        }
    }

    /// Whether all messages up to `target` have left, or why that will not be.
    fn flushed(&self, target: u64) -> Option<Result<(), Error>> {
        match &self.phase {
            _ if self.flushed >= target => Some(Ok(())),
            Phase::Ended { error, .. } => Some(Err(error.clone())),
            Phase::Open | Phase::Closing => None,
        }
    }

    /// Queues a message whose room was taken. Returns the waker of the driver, if it waits.
    fn push(&mut self, message: Queued) -> Option<Waker> {
        self.buffered += message.len() as u64;
        self.queued += 1;
        self.queue.push_back(message);
        self.driver.take()
    }

    /// How many messages the driver may take over: what is behind a flush waits for it. Once the connection is closing
    /// the driver takes all, since only the connection keeps the deadlines of a close.
    fn due(&self) -> usize {
        match self.flushes.front() {
            Some(target) if matches!(self.phase, Phase::Open) => {
                self.queue.len().min((target - self.taken_over) as usize)
            }
            _ => self.queue.len(),
        }
    }

    fn poll_place(&mut self, place: Place, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if self.room.is_waiting(place, cx.waker()) {
            Poll::Pending
        } else if self.room.was_in_vain(place) {
            Poll::Ready(Err(self.check_open().err().unwrap_or(Error::Closing)))
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Waits for room, behind all that already wait.
    fn wait(&mut self, cost: Cost, want: Want, cx: &Context<'_>) -> Place {
        self.write_wait.start(Instant::now);
        self.room.wait(cost, want, cx.waker())
    }

    /// Stops the clock of waiting, if nothing waits for room any more.
    fn stop_wait(&mut self) {
        if !self.room.has_waiters() && self.writer.is_none() {
            self.write_wait.stop(Instant::now);
        }
    }

    /// Gives room to the senders that wait, in turn, until none is left. Returns their wakers.
    fn grant(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some((want, waker)) = self.room.grant(Want::grant) {
            if let Want::Message(message) = want {
                woken.extend(self.push(message));
            }
            woken.push(waker);
        }
        woken
    }

    /// Nothing can be queued any more.
    fn stop(&mut self, phase: Phase) -> Stopped {
        self.phase = phase;
        self.room.give_up_turn();
        let (unsent, mut woken): (Vec<_>, Vec<_>) = self.room.close().unzip();
        woken.extend(self.writer.take());
        woken.extend(self.driver.take());
        self.stop_wait();
        Stopped { unsent, woken }
    }

    /// A message in parts will not be finished.
    fn abandon(&mut self, unsent: usize) -> Stopped {
        self.buffered += unsent as u64;
        self.abandoned = Some(unsent);
        self.stop(Phase::Closing)
    }
}

/// What is left when nothing can be queued any more. It is for after the lock: to drop a payload, or to wake a task, may run
/// code of the user.
#[derive(Default)]
#[must_use]
struct Stopped {
    /// What senders wanted room for.
    unsent: Vec<Want>,
    woken: Vec<Waker>,
}

impl Stopped {
    fn release(self) {
        drop(self.unsent);
        self.woken.into_iter().for_each(Waker::wake);
    }
}

impl Queue for Outgoing {
    fn take(&self, batch: &mut VecDeque<Queued>, cx: &Context<'_>) -> Handover {
        let mut state = self.0.lock();
        let n = state.due();
        if n == state.queue.len() {
            move_all(&mut state.queue, batch);
        } else {
            batch.extend(state.queue.drain(..n));
        }
        state.taken_over += n as u64;
        register(&mut state.driver, cx);
        if state.close.is_some() { Handover::AtOnce } else { Handover::WhenReady }
    }
}
