//! `Inbox`: what has come and was not asked for, up to a mark. The task and the receiver share it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    connection::MessageOrChunk,
    error::Error,
    limits::{MAX_IDLE_PLACES, MAX_ON_THE_WAY, MESSAGE_COST},
    sync::{Mutex, WakerSlot, move_all},
};

/// A message that has come, or a chunk of one, and what it costs until it is handed out.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) item: MessageOrChunk,
    pub(super) cost: usize,
}

impl Arrived {
    /// `used`: how many bytes of read buffers were used up since the last message. `read_buffer_max`: how many of these one
    /// buffer may hold.
    ///
    /// A message is a slice of the read buffer, and keeps all of that. Where other things than messages fill the buffer,
    /// such as pings, or where its rest was too small for the next message, their bytes are held as well.
    pub(super) fn new(item: MessageOrChunk, used: u64, read_buffer_max: usize) -> Self {
        let len = match &item {
            MessageOrChunk::Message(message) => message.len(),
            MessageOrChunk::Chunk(chunk) => chunk.data.len(),
        };
        let own = len.saturating_add(MESSAGE_COST);
        let most = own.saturating_add(read_buffer_max);
        Self { item, cost: usize::try_from(used).unwrap_or(usize::MAX).clamp(own, most) }
    }
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Arrived>,
    /// The cost of what is in the queue, or was taken from it and not yet handed out.
    held: usize,
    phase: Phase,
    /// The receiver, where it waits for more.
    receiver: WakerSlot,
    /// The task, where it waits for room, or for the receiver's drop.
    task: WakerSlot,
    /// When something was taken last while this was full.
    last_taken: Option<Instant>,
    /// How much may still be taken, as cost in bytes, so that it counts: the peer had sent it before our Close.
    counted_takes: usize,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The connection has ended: what is queued comes before that.
    Ended(Result<(), Error>),
    /// There is no receiver any more.
    Dropped,
}

#[derive(Debug)]
pub(crate) struct Inbox {
    mark: usize,
    /// Whether it counts when something is taken: a close waits for the peer.
    times_takes: AtomicBool,
    state: Mutex<State>,
}

/// What the task may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Read, until so much more is held.
    Left(usize),
    /// Read nothing. The task is woken when there is room.
    Full,
    /// Messages are not wanted any more.
    Dropped,
}

impl Inbox {
    pub(super) fn new(mark: usize) -> Self {
        let (queue, phase) = (VecDeque::with_capacity(MAX_IDLE_PLACES), Phase::Open);
        let (receiver, task) = (WakerSlot::default(), WakerSlot::default());
        let state = State { queue, held: 0, phase, receiver, task, last_taken: None, counted_takes: MAX_ON_THE_WAY };
        Self { mark, times_takes: AtomicBool::new(false), state: Mutex::new(state) }
    }

    pub(super) fn mark(&self) -> usize {
        self.mark
    }

    // What the receiver does.

    /// Moves all that has come to `batch`, which is empty. `released`: the cost of what was handed out since the last
    /// call.
    ///
    /// Ready with `Some` when the connection has ended and nothing is left.
    pub(super) fn poll_take(
        &self,
        batch: &mut VecDeque<Arrived>,
        released: usize,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<(), Error>>> {
        let (mut released, mut task) = (released, None);
        let answer = self.state.look(cx, |state, receiver| {
            task = task.take().or(state.release(std::mem::take(&mut released), self.mark));
            if !state.queue.is_empty() {
                move_all(&mut state.queue, batch);
                return Ok(Poll::Ready(None));
            }
            // The error is told once.
            if let Phase::Ended(end) = &mut state.phase {
                return Ok(Poll::Ready(Some(std::mem::replace(end, Ok(())))));
            }
            receiver.put(&mut state.receiver)?;
            move_all(&mut state.queue, batch);
            Ok(Poll::Pending)
        });
        task.into_iter().for_each(Waker::wake);
        answer
    }

    /// So much of what was taken has been handed out.
    pub(super) fn release(&self, cost: usize) {
        let task = self.state.lock().release(cost, self.mark);
        task.into_iter().for_each(Waker::wake);
    }

    /// Whether the receiver calls [`note_take`](Self::note_take).
    #[inline]
    pub(super) fn times_takes(&self) -> bool {
        self.times_takes.load(Ordering::Relaxed)
    }

    /// Something of this cost is handed out.
    #[cold]
    pub(super) fn note_take(&self, cost: usize) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.counted_takes = state.counted_takes.saturating_sub(cost);
        if state.held >= self.mark && state.counted_takes > 0 {
            state.last_taken = Some(now);
        }
    }

    /// There is no receiver any more.
    pub(super) fn drop_receiver(&self) {
        let mut state = self.state.lock();
        let phase = std::mem::replace(&mut state.phase, Phase::Dropped);
        let (task, receiver) = (state.task.take(), state.receiver.take());
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop((phase, queue, receiver));
        task.into_iter().for_each(Waker::wake);
    }

    // What the task does.

    /// Whether messages are wanted. The task is woken when that changes.
    pub(super) fn room(&self, cx: &Context<'_>) -> Room {
        self.state.look(cx, |state, task| {
            if matches!(state.phase, Phase::Dropped) {
                return Ok(Room::Dropped);
            }
            // Also where there is room, since the task is told when the receiver is dropped.
            task.put(&mut state.task)?;
            Ok(match self.mark.saturating_sub(state.held) {
                0 => Room::Full,
                room => Room::Left(room),
            })
        })
    }

    /// From now on it counts when something is taken while this is full.
    pub(super) fn time_takes(&self) {
        self.times_takes.store(true, Ordering::Relaxed);
    }

    /// When something was taken last while this was full, if that counts.
    pub(super) fn last_taken(&self) -> Option<Instant> {
        if self.times_takes() { self.state.lock().last_taken } else { None }
    }

    /// Adds what has come, which costs `cost`, and wakes the receiver.
    pub(super) fn push(&self, batch: &mut VecDeque<Arrived>, cost: usize) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Dropped) {
            drop(state);
            batch.clear();
            return;
        }
        state.held += cost;
        move_all(batch, &mut state.queue);
        let receiver = state.receiver.take();
        drop(state);
        receiver.into_iter().for_each(Waker::wake);
    }

    /// The connection has ended.
    pub(super) fn end(&self, end: Result<(), Error>) {
        let mut state = self.state.lock();
        let unused = match state.phase {
            Phase::Open => std::mem::replace(&mut state.phase, Phase::Ended(end)),
            Phase::Ended(_) | Phase::Dropped => Phase::Ended(end),
        };
        let receiver = state.receiver.take();
        drop(state);
        drop(unused);
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Returns the task, if it waits for this.
    fn release(&mut self, cost: usize, mark: usize) -> Option<Waker> {
        let was_full = self.held >= mark;
        self.held -= cost;
        if was_full && self.held < mark { self.task.take() } else { None }
    }
}

/// Every interleaving of the task and the receiver: `tests/loom.sh`.
#[cfg(all(test, wsflow_loom))]
mod loom_tests {
    use std::future::poll_fn;

    use loom::{future::block_on, sync::Arc, thread};

    use super::*;
    use crate::message::Message;

    fn inbox() -> Arc<Inbox> {
        // Full with one message.
        Arc::new(Inbox::new(1))
    }

    /// A task that has so many messages, and then the end of the connection.
    fn drive(inbox: &Inbox, messages: usize) {
        for _ in 0..messages {
            let room = block_on(poll_fn(|cx| match inbox.room(cx) {
                Room::Full => Poll::Pending,
                room => Poll::Ready(room),
            }));
            if room == Room::Dropped {
                return;
            }
            let arrived = Arrived::new(MessageOrChunk::Message(Message::text("x")), 0, 0);
            let cost = arrived.cost;
            inbox.push(&mut VecDeque::from([arrived]), cost);
        }
        inbox.end(Ok(()));
    }

    #[test]
    fn all_that_comes_is_received_and_then_the_end() {
        loom::model(|| {
            let inbox = inbox();
            let task = thread::spawn({
                let inbox = Arc::clone(&inbox);
                move || drive(&inbox, 2)
            });
            let (mut batch, mut released, mut received) = (VecDeque::new(), 0, 0);
            while block_on(poll_fn(|cx| inbox.poll_take(&mut batch, std::mem::take(&mut released), cx))).is_none() {
                received += batch.len();
                released += batch.drain(..).map(|arrived| arrived.cost).sum::<usize>();
            }
            assert_eq!(received, 2);
            task.join().unwrap();
        });
    }

    #[test]
    fn a_task_that_waits_for_room_hears_that_the_receiver_is_dropped() {
        loom::model(|| {
            let inbox = inbox();
            let receiver = thread::spawn({
                let inbox = Arc::clone(&inbox);
                move || inbox.drop_receiver()
            });
            drive(&inbox, 3);
            receiver.join().unwrap();
        });
    }
}
