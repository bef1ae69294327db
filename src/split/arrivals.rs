//! What arrives goes to the inbox, in batches.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Shared,
    control_frames::Placed,
    inbox::{Arrived, Room},
};
use crate::{
    close::Closed,
    connection::{Arrival, Connection},
    error::Error,
    event::{ControlFrame, ControlFrames},
    limits::{MAX_BATCH, MAX_IDLE_PLACES, MAX_READ_CHUNK, MAX_WHOLE},
    outbox::Outbox,
    task::{Arrivals, Demand, Turn},
};

/// A receiver may be slow: it gets what comes behind our Close, too, and where its inbox is full nothing is read.
pub(super) struct ToInbox {
    shared: Arc<Shared>,
    read_buffer_max: usize,
    /// What has come, and is queued for the receiver as one.
    batch: VecDeque<Arrived>,
    /// The control frames among it, where the receiver shows them.
    frames: Vec<Placed>,
    control: ControlFrames,
    /// What these cost, and how much more may come.
    held: usize,
    room: usize,
    /// How much of the read buffers had been used up when the last message came.
    used: u64,
}

impl ToInbox {
    pub(super) fn new(shared: Arc<Shared>, used: u64, read_buffer_max: usize) -> Self {
        let batch = VecDeque::with_capacity(MAX_IDLE_PLACES);
        let (frames, control) = (Vec::new(), ControlFrames::Hidden);
        Self { shared, read_buffer_max, batch, frames, control, held: 0, room: 0, used }
    }
}

impl ToInbox {
    fn keep_frame(&mut self, frame: ControlFrame) -> Turn {
        let placed = Placed::new(frame, self.batch.len() as u64);
        let cost = placed.cost;
        self.frames.push(placed);
        self.came(cost)
    }

    /// What costs so much was added to the batch.
    #[inline]
    fn came(&mut self, cost: usize) -> Turn {
        self.held += cost;
        self.room = self.room.saturating_sub(cost);
        let is_over = self.room == 0 || self.batch.len() + self.frames.len() >= MAX_BATCH;
        if is_over { Turn::IsOver } else { Turn::GoesOn }
    }
}

/// The halves are told of the end, also if the runtime is shut down before it comes.
impl Drop for ToInbox {
    fn drop(&mut self) {
        let closed = Closed::abnormal();
        let error = Error::from(closed.clone());
        self.shared.outbox.end(closed, error.clone());
        self.shared.inbox.end(Err(error));
    }
}

impl Arrivals for ToInbox {
    const WANTS_BEHIND_CLOSE: bool = true;
    const MINDS_CUT_MESSAGE: bool = true;

    fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    fn demand(&mut self, cx: &Context<'_>) -> Demand {
        match self.shared.inbox.room(cx) {
            Room::Left { room, control } => {
                (self.room, self.control) = (room, control);
                Demand::Wanted
            }
            Room::Full => Demand::Full,
            Room::Dropped => {
                (self.room, self.control) = (usize::MAX, ControlFrames::Hidden);
                Demand::Dropped
            }
        }
    }

    fn poll_take<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Turn, Error>>> {
        let item = match self.control {
            ControlFrames::Hidden => ready!(connection.poll_message_or_chunk(cx, MAX_WHOLE, MAX_READ_CHUNK)),
            ControlFrames::Shown => match ready!(connection.poll_arrival(cx, MAX_WHOLE, MAX_READ_CHUNK)) {
                Some(Ok(Arrival::Item(item))) => Some(Ok(item)),
                Some(Ok(Arrival::Control(frame))) => return Poll::Ready(Some(Ok(self.keep_frame(frame)))),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            },
        };
        let item = match item {
            Some(Ok(item)) => item,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        };
        let used = connection.buffer_used();
        let new = used - std::mem::replace(&mut self.used, used);
        let arrived = Arrived::new(item, new, self.read_buffer_max);
        let cost = arrived.cost;
        self.batch.push_back(arrived);
        Poll::Ready(Some(Ok(self.came(cost))))
    }

    fn close_begun(&mut self) {
        self.shared.inbox.time_takes();
    }

    fn last_taken(&self) -> Option<Instant> {
        self.shared.inbox.last_taken()
    }

    fn hand_out(&mut self, _: bool) {
        if !self.batch.is_empty() || !self.frames.is_empty() {
            self.shared.inbox.push(&mut self.batch, &mut self.frames, std::mem::take(&mut self.held));
            self.batch.shrink_to(MAX_IDLE_PLACES);
            self.frames.shrink_to(0);
        }
    }

    fn end(&mut self, _: Closed, end: Result<(), Error>) {
        self.hand_out(false);
        self.shared.inbox.end(end);
    }
}
