//! A connection after the handshake: a transport, the protocol over it, and one timer.
//!
//! Nothing else polls IO after the handshake. Everything that owns a connection goes through the same few steps:
//! [`poll_next`](Connection::poll_next) for the reader; [`poll_ready`](Connection::poll_ready),
//! [`start_send`](Connection::start_send) and [`poll_flush`](Connection::poll_flush) for the writer; and
//! [`poll_closed`](Connection::poll_closed) to wait for the end.

mod budget;
mod chunks;
mod end_report;
mod idle_timer;
#[cfg(test)]
mod model;
mod read_buffer;
mod reading;
mod timer;
mod wakers;
mod writing;

use std::{
    cell::LazyCell,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop,
    time::Instant,
};

use self::{
    budget::Budget,
    end_report::EndReport,
    idle_timer::IdleTimer,
    read_buffer::ReadBuffer,
    reading::ReadSide,
    timer::Timer,
    wakers::{Role, Wakers},
    writing::{FlushMode, FlushState},
};
pub(crate) use self::{
    chunks::{Arrival, MessageOrChunk},
    end_report::{EndWatch, Ended},
};
use crate::{
    close::{CloseFrame, Closed},
    config::Config,
    error::{Error, InvalidControl},
    event::ControlFrames,
    limits::{LATE, MAX_READ_OVERDUE},
    protocol::{Delivery, Incoming, Protocol, ReadyState},
    stats::Stats,
    stopwatch::Stopwatch,
    trace::{Lifespan, Trace},
    wire::deflate::NegotiatedDeflate,
};

#[derive(Debug)]
pub(crate) struct Connection<S> {
    io: S,
    read_buffer: ReadBuffer,
    copy_payloads_up_to: usize,
    protocol: Protocol,
    wakers: Wakers,
    timer: Timer,
    idle_timer: IdleTimer,
    /// When the bytes in the read buffer were read.
    read_at: Instant,
    /// Runs while the transport is not read, since what came is not used up.
    read_pause: Stopwatch,
    /// Runs while a sender waits for room.
    write_wait: Stopwatch,
    read_side: ReadSide,
    /// How many bytes had come when a reader came late, as long as the transport has more.
    late_from: Option<u64>,
    flush_state: FlushState,
    first_step: FirstStep,
    budget: Budget,
    end_report: EndReport,
    lifespan: Lifespan,
}

/// What the next step begins with, so that neither direction keeps the other waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstStep {
    /// What is still to be written comes first: the transport's end would leave it unsaid.
    Write,
    /// The last one was cut off while it wrote.
    Read,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `read_buf`: what has been read from `io` already. `agreed`: the compression that is in use.
    pub(crate) fn new(io: S, read_buf: BytesMut, config: &Config, agreed: Option<NegotiatedDeflate>) -> Self {
        let mut protocol = Protocol::new(config, agreed);
        protocol.handle_read(read_buf.len());
        let read_at = Instant::now();
        let mut read_pause = Stopwatch::default();
        if !read_buf.is_empty() {
            read_pause.start(|| read_at);
        }
        Self {
            io,
            read_buffer: ReadBuffer::new(config.read_buffer_max, read_buf),
            copy_payloads_up_to: config.copy_payloads_up_to,
            protocol,
            wakers: Wakers::default(),
            timer: Timer::new(config.has_timers),
            idle_timer: IdleTimer::Off,
            read_at,
            read_pause,
            write_wait: Stopwatch::default(),
            read_side: ReadSide::Open,
            late_from: None,
            flush_state: FlushState::Flushed,
            first_step: FirstStep::Write,
            budget: Budget::default(),
            end_report: EndReport::default(),
            lifespan: Lifespan::default(),
        }
    }

    /// Shows in `trace` what happens, and how it ends.
    pub(crate) fn with_trace(self, trace: Trace) -> Self {
        Self { protocol: self.protocol.with_trace(trace.clone()), lifespan: Lifespan::begin(trace), ..self }
    }

    /// Hands the report of the end to the task that drives the connection, which knows more of it.
    pub(crate) fn take_lifespan(&mut self) -> Lifespan {
        std::mem::take(&mut self.lifespan)
    }

    pub(crate) fn io(&self) -> &S {
        &self.io
    }

    pub(crate) fn into_parts(mut self) -> (S, Bytes) {
        self.lifespan.hand_out();
        (self.io, self.read_buffer.unread().split().freeze())
    }

    pub(crate) fn ready_state(&self) -> ReadyState {
        self.protocol.ready_state()
    }

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.protocol.buffered_amount()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            read_held_back: self.read_pause.elapsed(),
            write_held_back: self.write_wait.elapsed(),
            ..self.protocol.stats()
        }
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.protocol.is_open()
    }

    /// Why nothing can be sent any more, if that is so.
    #[inline]
    pub(crate) fn send_error(&self) -> Option<Error> {
        if self.is_open() { None } else { self.protocol.send_error() }
    }

    /// How much more is worth encoding, in bytes. 0: something waits to be encoded.
    pub(crate) fn room(&self) -> usize {
        self.protocol.room()
    }

    /// The cost of all messages, and parts of messages, that were queued and not wholly taken by the transport.
    pub(crate) fn queued_cost(&self) -> usize {
        self.protocol.queued_cost()
    }

    /// Whether the last poll was cut off while it wrote, so that reading comes first.
    pub(crate) fn is_reading_due(&self) -> bool {
        self.first_step == FirstStep::Read
    }

    /// What was counted, without the times, for which the clock is read.
    #[inline]
    pub(crate) fn counters(&self) -> Stats {
        self.protocol.stats()
    }

    /// How long the transport was not read, since what had come was not used up.
    pub(crate) fn read_pause(&self) -> Stopwatch {
        self.read_pause
    }

    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.protocol.closed()
    }

    /// The peer's Close frame, as soon as it was read.
    pub(crate) fn peer_close(&self) -> Option<&Arc<CloseFrame>> {
        self.protocol.peer_close()
    }

    /// What made the end unclean.
    pub(crate) fn error(&self) -> Option<&Error> {
        self.protocol.error()
    }

    /// Whether the end is unclean only since the peer's Close came within a message: a browser calls it clean.
    pub(crate) fn is_cut(&self) -> bool {
        self.protocol.is_cut()
    }

    /// Makes the connection tell how it ends.
    pub(crate) fn watch_end(&mut self) -> EndWatch {
        let (report, watch) = EndWatch::new();
        self.end_report = report;
        watch
    }

    /// From now on messages that come are counted, and not handed out.
    pub(crate) fn discard_messages(&mut self) {
        self.protocol.discard_messages();
    }

    /// The application took something at `at` of what waits for it, and for which nothing is read.
    pub(crate) fn handle_taken(&mut self, at: Instant) {
        self.protocol.handle_taken(at.into_std());
    }

    /// Ends the connection at once. The caller drops the transport.
    pub(crate) fn abort(&mut self) {
        self.protocol.abort();
    }

    /// Fails the connection: the peer is told why, and nothing else is sent.
    pub(crate) fn fail(&mut self, error: Error) {
        self.protocol.fail(error, Instant::now().into_std());
    }

    /// Begins the closing handshake, unless it has begun.
    pub(crate) fn close(&mut self, frame: CloseFrame) -> Result<(), InvalidControl> {
        self.protocol.close(frame, Instant::now().into_std())
    }

    /// Ready when the connection has ended. Messages that still come are counted and dropped.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.budget.begin_poll();
        // What a poll has left that was cut off.
        self.write_control(Role::Writer, cx);
        loop {
            ready!(self.budget.poll(cx));
            // No message is yielded once our Close is queued.
            match self.next_event(Delivery::Whole, ControlFrames::Hidden) {
                Some(Incoming::Message(received)) => {
                    drop(received.take(self.read_buffer.unread(), 0));
                    continue;
                }
                Some(Incoming::Chunk(_) | Incoming::Control(_) | Incoming::Handled) => continue,
                None => {}
            }
            let step = self.poll_step(Role::Writer, cx);
            if self.protocol.is_done() {
                return Poll::Ready(self.protocol.error().cloned().map_or(Ok(()), Err));
            }
            ready!(step);
        }
    }

    /// Writes what there is, and waits for deadlines, without reading: nobody has room for what would come. Ready when the
    /// connection is over. What had come before is still yielded to who reads then, and behind it the end.
    pub(crate) fn poll_write_only(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.budget.begin_poll();
        loop {
            let _ = self.poll_write(Role::Writer, cx, FlushMode::All);
            self.wake_other_role(Role::Writer);
            if self.protocol.is_done() {
                return Poll::Ready(());
            }
            ready!(self.poll_deadline(Role::Writer, cx));
        }
    }

    /// Once what was read is used up: writes what there is to write, then reads, then looks at the clock. Pending when
    /// none of them can do anything.
    fn poll_step(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        // Once frames mean nothing more, our Close frame is all that is left to do, and the end of the transport would cut it off.
        if std::mem::replace(&mut self.first_step, FirstStep::Write) == FirstStep::Read
            && self.protocol.is_parsing()
            && self.protocol.wants_read()
            && !self.protocol.has_pending_end()
            && self.poll_read(role, cx).is_ready()
        {
            self.wake_other_role(role);
            return Poll::Ready(());
        }
        // A writer that waits does not keep the reader from reading.
        let _ = self.poll_write(role, cx, FlushMode::All);
        if self.budget.has_yielded() {
            self.wake_other_role(role);
            return Poll::Pending;
        }
        let step = if self.end_input() {
            Poll::Ready(())
        } else if self.protocol.is_done() {
            if role == Role::Reader && self.protocol.has_rest() { self.poll_rest(cx) } else { Poll::Ready(()) }
        } else {
            self.poll_read_or_deadline(role, cx)
        };
        // Last, since nobody need poll again after the step that ended the connection: the peer waits for our end.
        if self.protocol.is_write_side_done() {
            self.shut_down(role, cx);
        }
        self.wake_other_role(role);
        step
    }

    /// Reads or, if there is nothing to read, waits for the next deadline.
    fn poll_read_or_deadline(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        if !self.timer.is_off() {
            self.handle_deadline_behind_input();
            if self.protocol.is_done() {
                return Poll::Ready(());
            }
        }
        if self.protocol.wants_read() && self.poll_read(role, cx).is_ready() {
            self.wakers.done(role);
            return Poll::Ready(());
        }
        // Several may want to know the time of this, and it is read once.
        let quiet_at = LazyCell::new(Instant::now);
        if !self.protocol.is_open() {
            self.note_held_back(*quiet_at);
        }
        self.read_pause.stop(|| *quiet_at);
        self.late_from = None;
        self.protocol.handle_quiet(self.read_buffer.peek(), || quiet_at.into_std());
        self.poll_deadline(role, cx)
    }

    /// Wakes the other role if there is something that the transport does not wake it for. The end is such a thing.
    fn wake_other_role(&mut self, role: Role) {
        if self.protocol.take_must_wake_other() {
            self.wakers.wake_other(role);
            self.end_report.tell(|| self.protocol.outcome());
            if self.protocol.is_done() {
                self.handle_done();
            }
        }
    }

    /// Nothing more is read or written.
    #[cold]
    fn handle_done(&mut self) {
        self.read_pause.stop(Instant::now);
        self.write_wait.stop(Instant::now);
        let mut lifespan = self.take_lifespan();
        lifespan.end(|| (self.closed().cloned(), self.error().cloned(), self.stats()));
    }

    /// Waits for the next deadline. Ready when one has passed and was dealt with.
    fn poll_deadline(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.next_deadline(role);
        let timer = &mut self.timer;
        let now = ready!(self.wakers.poll(role, cx, |cx| timer.poll(cx, deadline)));
        self.handle_deadline(now);
        if role == Role::Reader {
            self.protocol.handle_silence(now.into_std());
        }
        self.handle_idle(now);
        Poll::Ready(())
    }

    /// The protocol's next deadline, or when to look whether the connection is idle. That the peer says nothing counts only
    /// for the reader.
    fn next_deadline(&mut self, role: Role) -> Option<Instant> {
        if self.timer.is_off() {
            return None;
        }
        let idle = self.can_shrink().then(|| self.idle_timer.set(self.protocol.bytes_moved()));
        let silence = if role == Role::Reader { self.protocol.silence_deadline() } else { None };
        [self.protocol.deadline(), silence].into_iter().flatten().map(Instant::from_std).chain(idle).min()
    }

    /// Deals with the protocol's deadline, if it has passed.
    fn handle_deadline(&mut self, now: Instant) {
        if self.protocol.deadline().is_some_and(|deadline| deadline <= now.into_std()) {
            self.protocol.handle_timeout(now.into_std());
        }
    }

    /// Deals with the protocol's deadline, if it had passed when the transport was read last. All of that is used up and did
    /// not help.
    ///
    /// What the transport has may have come in time, while nobody read, so all of it is read before the connection ends.
    /// But no deadline waits for a peer that never stops talking.
    fn handle_deadline_behind_input(&mut self) {
        let read_at = self.read_at;
        let is_overdue = self.protocol.deadline().is_some_and(|deadline| deadline <= read_at.into_std());
        if is_overdue && self.protocol.is_parsing() && self.may_read_overdue() {
            self.protocol.handle_write_timeout(read_at.into_std());
        } else if is_overdue {
            self.handle_deadline(read_at);
        }
    }

    /// Whether more is read although a deadline has passed.
    fn may_read_overdue(&self) -> bool {
        let received = self.protocol.stats().wire_bytes_received;
        self.late_from.is_some_and(|from| received - from < MAX_READ_OVERDUE)
    }

    /// A reader comes, which may be late: then what the transport has may have come in time.
    fn note_reader(&mut self, now: Instant) {
        if now - self.read_at > LATE {
            self.late_from.get_or_insert(self.protocol.stats().wire_bytes_received);
        }
    }

    /// The transport is read again: what was read before waited for the application until now.
    fn note_held_back(&mut self, now: Instant) {
        if self.read_pause.is_running() {
            self.protocol.handle_held_back(self.read_at.into_std(), now.into_std());
        }
    }

    /// The connection is over, and what was read before is used up: reads what the transport still has, for a reader that
    /// comes late.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Where other tasks are to run first, sockets of tokio say that they have nothing.
        drop(ready!(coop::poll_proceed(cx)));
        self.note_reader(Instant::now());
        if !self.may_read_overdue() || self.poll_read(Role::Reader, cx).is_pending() {
            self.protocol.end_rest();
        }
        if !self.protocol.has_rest() {
            self.read_pause.stop(Instant::now);
        }
        Poll::Ready(())
    }

    /// Frees large buffers, if the connection is idle.
    fn handle_idle(&mut self, now: Instant) {
        if self.idle_timer.is_idle(now, self.protocol.bytes_moved()) {
            self.read_buffer.shrink();
            self.protocol.shrink();
        }
    }

    /// Whether buffers hold more than an idle connection should, and can be freed.
    fn can_shrink(&self) -> bool {
        self.read_buffer.can_shrink(self.protocol.bytes_needed(self.read_buffer.peek())) || self.protocol.can_shrink()
    }
}
