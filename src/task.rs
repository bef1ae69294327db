//! `Task`: drives a connection between an outbox and what takes the arrivals.
//!
//! ```text
//!  Outbox ──► Task ──► connection
//!     ▲        │ ▲         │
//!     └ Report ┘ └─────────┴──► Arrivals: an inbox, or event handlers
//! ```

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    close::{CloseFrame, Closed},
    connection::Connection,
    error::Error,
    limits::MAX_IDLE_PLACES,
    outbox::{Amount, Entry, Failure, Outbox, PingRequest, PingsAndPongs, Report, Standing, Taken},
    trace::Lifespan,
};

/// Where what arrives goes. Its drop says that nothing more comes, also where the runtime is shut down before the end.
pub(crate) trait Arrivals {
    /// Whether messages that come behind our Close are wanted.
    const WANTS_BEHIND_CLOSE: bool;

    /// Whether the peer's Close within a message makes an end unclean. A browser does not tell of it.
    const MINDS_CUT_MESSAGE: bool;

    fn outbox(&self) -> &Outbox;

    /// What is wanted. The task of `cx` is woken when that changes.
    fn demand(&mut self, cx: &Context<'_>) -> Demand;

    /// Takes the next item of `connection`: `None` is the end.
    fn poll_take<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Turn, Error>>>;

    /// Our Close is queued: when something is taken from a full buffer counts from now on.
    fn close_begun(&mut self) {}

    /// When the application last took something while there was no room, if our Close is queued.
    fn last_taken(&self) -> Option<Instant> {
        None
    }

    /// A turn is over, and the outbox knows what has left: what was taken is handed out. `is_open`: nobody has begun to close.
    fn hand_out(&mut self, is_open: bool);

    /// The connection has ended.
    fn end(&mut self, closed: Closed, end: Result<(), Error>);
}

/// What may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    Wanted,
    /// There is no room: nothing is read.
    Full,
    /// Messages are not wanted any more.
    Dropped,
}

/// Whether more is taken before what was taken is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    GoesOn,
    IsOver,
}

impl Report {
    #[inline]
    pub(crate) fn of<S: AsyncRead + AsyncWrite + Unpin>(connection: &Connection<S>) -> Self {
        Self {
            ready_state: connection.ready_state(),
            queued: Amount { cost: connection.queued_cost(), payload: connection.buffered_amount() },
            is_flushed: connection.is_flushed(),
            send_error: connection.send_error(),
            peer_close: connection.peer_close().cloned(),
            stats: connection.counters(),
            unsent_pings: connection.unsent_pings(),
            read_pause: connection.read_pause(),
        }
    }
}

/// What drives one connection. It does not keep the handles alive.
pub(crate) struct Task<S, A> {
    connection: Box<Connection<S>>,
    arrivals: A,
    /// Empty between two turns.
    taken: Taken,
    stage: Stage,
    /// The connection's: how long senders wait is known here.
    lifespan: Lifespan,
}

/// How far the task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Everybody was told of the end. The peer may still be reading why.
    Ended,
    Aborted,
}

/// What a turn has come to.
enum Received {
    /// More may have come.
    More,
    Nothing,
    End(Result<(), Error>),
}

impl<S: AsyncRead + AsyncWrite + Unpin, A: Arrivals + Unpin> Future for Task<S, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::Running {
            ready!(self.poll_turns(cx));
        }
        while self.stage == Stage::Ended && ready!(self.connection.poll_next(cx)).is_some() {}
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, A: Arrivals> Task<S, A> {
    pub(crate) fn new(mut connection: Box<Connection<S>>, arrivals: A) -> Self {
        let lifespan = connection.take_lifespan();
        let taken = Taken { entries: VecDeque::with_capacity(MAX_IDLE_PLACES), ..Taken::default() };
        Self { connection, arrivals, taken, stage: Stage::Running, lifespan }
    }

    /// Moves what there is to move, both ways. Ready when everybody was told of the end.
    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever woke the task may have asked for something. So may event handlers, between two turns.
        let mut has_news = true;
        loop {
            self.send(has_news, cx);
            let abrupt = match self.taken.failure.take().as_deref() {
                Some(Failure::Overflow(limit)) => Some(Error::Overflow(*limit)),
                Some(Failure::Aborted) => Some(Error::Aborted),
                Some(Failure::Failed(_) | Failure::Abandoned) | None => None,
            };
            if let Some(error) = abrupt {
                self.abort(error);
                self.stage = Stage::Aborted;
                return Poll::Ready(());
            }
            let received = self.receive(cx);
            let is_closing = self.close();
            let standing = self.report();
            if let Received::End(end) = received {
                self.end(end);
                self.stage = Stage::Ended;
                return Poll::Ready(());
            }
            self.arrivals.hand_out(standing.is_open);
            let is_due = standing.due > 0 && self.connection.is_open() && self.connection.room() > 0;
            let outbox = self.arrivals.outbox();
            has_news = is_due || outbox.has_news();
            if matches!(received, Received::Nothing) && !has_news && !is_closing {
                if outbox.wait(cx) {
                    self.shrink();
                    return Poll::Pending;
                }
                has_news = true;
            }
        }
    }

    /// Takes the requests and the entries that are queued now, and writes them as far as the transport takes them. Entries that
    /// are queued meanwhile wait for the next turn: a sender as fast as the transport would hold up the reader for ever.
    fn send(&mut self, has_news: bool, cx: &mut Context<'_>) {
        let mut due = if has_news { self.take(usize::MAX) } else { 0 };
        if matches!(self.taken.failure.as_deref(), Some(Failure::Aborted)) {
            return;
        }
        // A poll that was cut off while it wrote begins with reading, the next time.
        if !self.connection.is_reading_due() {
            while self.connection.poll_flush(cx).is_ready() && due > 0 {
                due = self.take(due);
            }
        }
    }

    /// Takes what is asked for, and up to `due` entries. Returns how many are left of these, if any was taken.
    fn take(&mut self, due: usize) -> usize {
        let room = self.connection.is_open().then(|| self.connection.room());
        self.arrivals.outbox().take(room, &mut self.taken);
        match self.taken.failure.as_deref() {
            Some(Failure::Failed(error)) => self.connection.fail(error.clone()),
            Some(Failure::Abandoned) => self.connection.abandon_message(0),
            Some(Failure::Overflow(_) | Failure::Aborted) | None => {}
        }
        if let Some(control) = self.taken.control.take() {
            self.take_control(*control);
        }
        let count = self.taken.entries.len();
        for (_, entry) in self.taken.entries.drain(..) {
            // It cannot fail: the connection is open.
            let _ = match entry {
                Entry::Message(message, compression) => {
                    self.connection.set_compression(compression);
                    self.connection.start_send(message)
                }
                Entry::Part(part, compression) => {
                    self.connection.set_compression(compression);
                    self.connection.start_send_part(part)
                }
            };
        }
        if count == 0 { 0 } else { due.saturating_sub(count).min(self.taken.left) }
    }

    #[cold]
    fn take_control(&mut self, PingsAndPongs { pings, pongs }: PingsAndPongs) {
        for payload in pongs {
            // Nothing can be sent any more: whoever asked learns it by the end.
            let _ = self.connection.pong(payload);
        }
        for PingRequest { payload, answer, asked } in pings {
            self.connection.ping_for(payload, answer, asked);
        }
    }

    /// Takes what has come.
    fn receive(&mut self, cx: &mut Context<'_>) -> Received {
        if let Some(at) = self.arrivals.last_taken() {
            self.connection.handle_taken(at);
        }
        match self.arrivals.demand(cx) {
            Demand::Wanted => {}
            Demand::Full => {
                // What was read before the end waits until there is room.
                if self.connection.poll_write_only(cx).is_ready() && self.arrivals.outbox().closed().is_none() {
                    self.report();
                    self.end_senders(self.connection.error().cloned().map_or(Ok(()), Err));
                }
                return Received::Nothing;
            }
            Demand::Dropped => {
                self.connection.discard_messages();
                if !self.taken.has_senders {
                    self.arrivals.outbox().close(CloseFrame::empty());
                }
            }
        }
        loop {
            match self.arrivals.poll_take(&mut self.connection, cx) {
                Poll::Ready(Some(Ok(Turn::GoesOn))) => {}
                Poll::Ready(Some(Ok(Turn::IsOver))) => return Received::More,
                Poll::Ready(Some(Err(error))) => return Received::End(Err(error)),
                Poll::Ready(None) => return Received::End(Ok(())),
                Poll::Pending => return Received::Nothing,
            }
        }
    }

    /// Begins to close, if that is asked for: only now, since a Close of the peer's that has come already is answered, and not
    /// crossed. Returns whether it did.
    fn close(&mut self) -> bool {
        let Some(frame) = self.taken.close.take().map(|frame| *frame) else { return false };
        // The frame was checked when it was asked for.
        let _ = self.connection.close(frame);
        self.arrivals.close_begun();
        if !A::WANTS_BEHIND_CLOSE {
            self.connection.discard_messages();
        }
        true
    }

    /// Tells the senders what has left.
    fn report(&self) -> Standing {
        self.arrivals.outbox().report(Report::of(&self.connection))
    }

    /// The connection has ended, and nothing that it has read is left.
    fn end(&mut self, end: Result<(), Error>) {
        let closed = match self.arrivals.outbox().closed() {
            Some(closed) => closed.clone(),
            None => self.end_senders(end.clone()),
        };
        let end = if closed.was_clean || end.is_err() { end } else { Err(closed.clone().into()) };
        self.arrivals.end(closed, end);
    }

    /// The senders are told how the connection has ended, also where what was read before is still to be taken.
    fn end_senders(&mut self, end: Result<(), Error>) -> Closed {
        let outbox = self.arrivals.outbox();
        let mut closed = self.connection.closed().cloned().unwrap_or_else(Closed::abnormal);
        closed.was_clean |= !A::MINDS_CUT_MESSAGE && self.connection.is_cut();
        closed.was_clean &= !outbox.has_unsent();
        let reason = end.err().unwrap_or_else(|| closed.clone().into());
        self.lifespan.end(|| (Some(closed.clone()), (!closed.was_clean).then(|| reason.clone()), outbox.stats()));
        outbox.end(closed.clone(), reason);
        closed
    }

    /// The transport is dropped with this task.
    fn abort(&mut self, error: Error) {
        self.report();
        self.connection.abort();
        let (outbox, closed) = (self.arrivals.outbox(), Closed::abnormal());
        self.lifespan.end(|| (Some(closed.clone()), Some(error.clone()), outbox.stats()));
        outbox.end(closed.clone(), error.clone());
        self.arrivals.end(closed, Err(error));
    }

    /// Frees the memory of a burst.
    fn shrink(&mut self) {
        self.taken.entries.shrink_to(MAX_IDLE_PLACES);
    }
}
