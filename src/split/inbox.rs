//! `Inbox`: what has come and was not asked for, up to a mark. The task and the receiver share it.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::control_frames::{Placed, PlacedFrames};
use crate::{
    connection::MessageOrChunk,
    error::Error,
    event::{ControlFrame, ControlFrames},
    limits::{MAX_IDLE_PLACES, MAX_ON_THE_WAY, MESSAGE_COST},
    sync::{Hint, Mutex, WakerSlot, move_all},
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

/// What the receiver has taken and not handed out.
#[derive(Debug)]
pub(super) struct Batch {
    items: VecDeque<Arrived>,
    /// How many items were taken so far.
    taken: u64,
    /// How many items come before the next control frame that was there when this was taken.
    next_frame: u64,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { items: VecDeque::with_capacity(MAX_IDLE_PLACES), taken: 0, next_frame: u64::MAX }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Arrived> {
        self.items.front()
    }

    pub(super) fn pop(&mut self) -> Option<Arrived> {
        self.items.pop_front()
    }

    /// Puts back what is left of an item.
    pub(super) fn push_front(&mut self, arrived: Arrived) {
        self.items.push_front(arrived);
    }

    /// Whether a control frame comes before the next item, unless it is gone.
    #[inline]
    pub(super) fn is_frame_due(&self) -> bool {
        self.next_frame <= self.place()
    }

    /// How many items come before the next one.
    #[inline]
    fn place(&self) -> u64 {
        self.taken - self.items.len() as u64
    }
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Arrived>,
    /// How many items came so far.
    arrived: u64,
    /// Control frames that wait, once the receiver has asked for them.
    frames: Option<Box<PlacedFrames>>,
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
    times_takes: Hint,
    state: Mutex<State>,
}

/// What the task may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Read, until so much more is held.
    Left { room: usize, control: ControlFrames },
    /// Read nothing. The task is woken when there is room.
    Full,
    /// Messages are not wanted any more.
    Dropped,
}

impl Inbox {
    pub(super) fn new(mark: usize) -> Self {
        let (queue, phase) = (VecDeque::with_capacity(MAX_IDLE_PLACES), Phase::Open);
        let (receiver, task) = (WakerSlot::default(), WakerSlot::default());
        let state = State {
            queue,
            arrived: 0,
            frames: None,
            held: 0,
            phase,
            receiver,
            task,
            last_taken: None,
            counted_takes: MAX_ON_THE_WAY,
        };
        Self { mark, times_takes: Hint::new(false), state: Mutex::new(state) }
    }

    pub(super) fn mark(&self) -> usize {
        self.mark
    }

    // What the receiver does.

    /// Moves all that has come to `batch`, which is empty; control frames stay here. `released`: the cost of what was handed
    /// out since the last call. `control`: whether the caller waits for control frames, too.
    ///
    /// Ready with `Some` when the connection has ended and nothing is left.
    pub(super) fn poll_take(
        &self,
        batch: &mut Batch,
        released: usize,
        control: ControlFrames,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<(), Error>>> {
        let (mut released, mut task) = (released, None);
        let answer = self.state.look(cx, |state, receiver| {
            task = task.take().or(state.release(std::mem::take(&mut released), self.mark));
            state.move_to(batch);
            if !batch.is_empty() || control == ControlFrames::Shown && batch.is_frame_due() {
                return Ok(Poll::Ready(None));
            }
            // The error is told once.
            if let Phase::Ended(end) = &mut state.phase {
                return Ok(Poll::Ready(Some(std::mem::replace(end, Ok(())))));
            }
            // Where control frames alone fill this, a message could never come for who does not ask for them.
            if control == ControlFrames::Hidden && state.held >= self.mark {
                task = task.take().or(state.drop_frames(u64::MAX, self.mark));
            }
            receiver.put(&mut state.receiver)?;
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

    /// The receiver shows control frames: those that come from now on wait here.
    pub(super) fn keep_frames(&self) {
        self.state.lock().frames.get_or_insert_default();
    }

    /// The control frame that comes before the next item of `batch`, if there is one.
    pub(super) fn take_frame(&self, batch: &mut Batch) -> Option<ControlFrame> {
        let mut state = self.state.lock();
        let placed = state.frames.as_mut().and_then(|frames| frames.pop(batch.place()));
        let task = placed.as_ref().and_then(|placed| state.release(placed.cost, self.mark));
        batch.next_frame = state.next_frame();
        drop(state);
        task.into_iter().for_each(Waker::wake);
        placed.map(|placed| placed.frame)
    }

    /// Nobody wants the control frames before the next item of `batch`.
    #[cold]
    pub(super) fn drop_frames(&self, batch: &mut Batch) {
        let mut state = self.state.lock();
        let task = state.drop_frames(batch.place(), self.mark);
        batch.next_frame = state.next_frame();
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    /// Whether the receiver calls [`note_take`](Self::note_take).
    #[inline]
    pub(super) fn times_takes(&self) -> bool {
        self.times_takes.is_set()
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
        let (queue, frames) = (std::mem::take(&mut state.queue), state.frames.take());
        drop(state);
        drop((phase, queue, frames, receiver));
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
                room => Room::Left {
                    room,
                    control: if state.frames.is_some() { ControlFrames::Shown } else { ControlFrames::Hidden },
                },
            })
        })
    }

    /// From now on it counts when something is taken while this is full.
    pub(super) fn time_takes(&self) {
        self.times_takes.set(true);
    }

    /// When something was taken last while this was full, if that counts.
    pub(super) fn last_taken(&self) -> Option<Instant> {
        if self.times_takes() { self.state.lock().last_taken } else { None }
    }

    /// Adds what has come, which costs `cost`, and wakes the receiver. The places of `frames` are those among `batch`.
    pub(super) fn push(&self, batch: &mut VecDeque<Arrived>, frames: &mut Vec<Placed>, cost: usize) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Dropped) {
            drop(state);
            batch.clear();
            frames.clear();
            return;
        }
        state.held += cost;
        if !frames.is_empty() {
            state.push_frames(frames);
        }
        state.arrived += batch.len() as u64;
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

    /// Moves what has come to `batch`, which is empty.
    fn move_to(&mut self, batch: &mut Batch) {
        move_all(&mut self.queue, &mut batch.items);
        batch.taken = self.arrived;
        batch.next_frame = self.next_frame();
    }

    /// How many items come before the next control frame.
    fn next_frame(&self) -> u64 {
        self.frames.as_deref().and_then(PlacedFrames::first_place).unwrap_or(u64::MAX)
    }

    /// Their cost counts already. One that makes room for a later one costs nothing any more.
    #[cold]
    fn push_frames(&mut self, added: &mut Vec<Placed>) {
        for placed in added.drain(..) {
            let placed = placed.behind(self.arrived);
            let gone = match &mut self.frames {
                Some(frames) => frames.push(placed),
                None => Some(placed),
            };
            self.held -= gone.map_or(0, |gone| gone.cost);
        }
    }

    /// Drops the control frames before which no more than so many items came. Returns the task, if it waits for this. They
    /// are copies of ours: to drop them runs no code of others.
    fn drop_frames(&mut self, place: u64, mark: usize) -> Option<Waker> {
        let frames = self.frames.as_mut()?;
        let cost = std::iter::from_fn(|| frames.pop(place)).map(|placed| placed.cost).sum();
        self.release(cost, mark)
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
            inbox.push(&mut VecDeque::from([arrived]), &mut Vec::new(), cost);
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
            let (mut batch, mut released, mut received) = (Batch::new(), 0, 0);
            let control = ControlFrames::Hidden;
            while block_on(poll_fn(|cx| inbox.poll_take(&mut batch, std::mem::take(&mut released), control, cx)))
                .is_none()
            {
                received += batch.items.len();
                released += std::iter::from_fn(|| batch.pop()).map(|arrived| arrived.cost).sum::<usize>();
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
