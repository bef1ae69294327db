//! What the task and the receiver share: messages that have come and were not asked for, up to a mark.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use crate::{
    connection::MessageOrChunk,
    error::Error,
    limits::MESSAGE_COST,
    sync::{Mutex, move_all, register},
};

/// A message that has come, or a chunk of one, and what it costs until it is handed out.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) item: MessageOrChunk,
    pub(super) cost: usize,
}

impl Arrived {
    /// `parsed`: how many bytes came for it, with what stood before it since the last message. `read_buffer_max`: how many of
    /// these the read buffer may hold.
    ///
    /// A message is a slice of the read buffer, and keeps all of that. Where other things than messages fill the buffer,
    /// such as pings, their bytes are held as well.
    pub(super) fn new(item: MessageOrChunk, parsed: u64, read_buffer_max: usize) -> Self {
        let len = match &item {
            MessageOrChunk::Message(message) => message.len(),
            MessageOrChunk::Chunk(chunk) => chunk.data.len(),
        };
        let own = len.saturating_add(MESSAGE_COST);
        let most = own.saturating_add(read_buffer_max);
        Self { item, cost: usize::try_from(parsed).unwrap_or(usize::MAX).clamp(own, most) }
    }
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Arrived>,
    /// The cost of what is in the queue, or was taken from it and not yet handed out.
    held: usize,
    phase: Phase,
    /// Why the receiver cannot take what came, until the task fails the connection with it.
    failure: Option<Error>,
    receiver: Option<Waker>,
    driver: Option<Waker>,
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
pub(super) struct Incoming {
    mark: usize,
    state: Mutex<State>,
}

/// What the driver may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Read, until so much more is held.
    Room(usize),
    /// Read nothing. The driver is woken when there is room.
    Full,
    /// Messages are not wanted any more.
    Dropped,
}

impl Incoming {
    pub(super) fn new(mark: usize) -> Self {
        let (queue, phase) = (VecDeque::new(), Phase::Open);
        Self { mark, state: Mutex::new(State { queue, held: 0, phase, failure: None, receiver: None, driver: None }) }
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
        let mut state = self.state.lock();
        let driver = state.release(released, self.mark);
        move_all(&mut state.queue, batch);
        let answer = match &mut state.phase {
            _ if !batch.is_empty() => Poll::Ready(None),
            // The error is told once.
            Phase::Ended(end) => Poll::Ready(Some(std::mem::replace(end, Ok(())))),
            Phase::Open | Phase::Dropped => {
                register(&mut state.receiver, cx);
                Poll::Pending
            }
        };
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        answer
    }

    /// So much of what was taken has been handed out.
    pub(super) fn release(&self, cost: usize) {
        let driver = self.state.lock().release(cost, self.mark);
        driver.into_iter().for_each(Waker::wake);
    }

    /// What came cannot be taken: the connection is to fail.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failure = Some(error);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }

    /// There is no receiver any more.
    pub(super) fn drop_receiver(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Dropped;
        let (driver, queue) = (state.driver.take(), std::mem::take(&mut state.queue));
        drop(state);
        drop(queue);
        driver.into_iter().for_each(Waker::wake);
    }

    // What the driver does.

    /// Why the connection is to fail, if it is.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state.lock().failure.take()
    }

    /// Whether messages are wanted.
    pub(super) fn demand(&self, cx: &Context<'_>) -> Demand {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Dropped) {
            return Demand::Dropped;
        }
        // Also where there is room, since the driver is told when the receiver is dropped.
        register(&mut state.driver, cx);
        match self.mark.saturating_sub(state.held) {
            0 => Demand::Full,
            room => Demand::Room(room),
        }
    }

    /// Adds what has come, which costs `cost`, and wakes the receiver.
    pub(super) fn push(&self, batch: &mut VecDeque<Arrived>, cost: usize) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Dropped) {
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
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Ended(end);
        }
        let receiver = state.receiver.take();
        drop(state);
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Returns the driver, if it waits for this.
    fn release(&mut self, cost: usize, mark: usize) -> Option<Waker> {
        let was_full = self.held >= mark;
        self.held -= cost;
        if was_full && self.held < mark { self.driver.take() } else { None }
    }
}

/// Every interleaving of the driver and the receiver: `RUSTFLAGS='--cfg wsflow_loom' cargo test --release --lib loom`.
#[cfg(all(test, wsflow_loom))]
mod loom_tests {
    use std::future::poll_fn;

    use loom::{future::block_on, sync::Arc, thread};

    use super::*;
    use crate::message::Message;

    fn incoming() -> Arc<Incoming> {
        // Full with one message.
        Arc::new(Incoming::new(1))
    }

    /// A driver that has so many messages, and then the end of the connection.
    fn drive(incoming: &Incoming, messages: usize) {
        for _ in 0..messages {
            let demand = block_on(poll_fn(|cx| match incoming.demand(cx) {
                Demand::Full => Poll::Pending,
                demand => Poll::Ready(demand),
            }));
            if demand == Demand::Dropped {
                return;
            }
            let arrived = Arrived::new(MessageOrChunk::Message(Message::text("x")), 0, 0);
            let cost = arrived.cost;
            incoming.push(&mut VecDeque::from([arrived]), cost);
        }
        incoming.end(Ok(()));
    }

    #[test]
    fn all_that_comes_is_received_and_then_the_end() {
        loom::model(|| {
            let incoming = incoming();
            let driver = thread::spawn({
                let incoming = Arc::clone(&incoming);
                move || drive(&incoming, 2)
            });
            let (mut batch, mut released, mut received) = (VecDeque::new(), 0, 0);
            while block_on(poll_fn(|cx| incoming.poll_take(&mut batch, std::mem::take(&mut released), cx))).is_none() {
                received += batch.len();
                released += batch.drain(..).map(|arrived| arrived.cost).sum::<usize>();
            }
            assert_eq!(received, 2);
            driver.join().unwrap();
        });
    }

    #[test]
    fn a_driver_that_waits_for_room_hears_that_the_receiver_is_dropped() {
        loom::model(|| {
            let incoming = incoming();
            let receiver = thread::spawn({
                let incoming = Arc::clone(&incoming);
                move || incoming.drop_receiver()
            });
            drive(&incoming, 3);
            receiver.join().unwrap();
        });
    }
}
