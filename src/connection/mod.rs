//! A connection after the handshake: a transport, the protocol over it, and one timer.
//!
//! The only file that polls IO after the handshake. Everything that owns a connection goes through the same few steps:
//! [`poll_next`](Connection::poll_next) for the reader; [`poll_ready`](Connection::poll_ready),
//! [`start_send`](Connection::start_send) and [`poll_flush`](Connection::poll_flush) for the writer; and
//! [`poll_closed`](Connection::poll_closed) to wait for the end.

mod budget;
mod idle_timer;
mod read_buffer;
mod timer;
mod wakers;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use self::{
    budget::Budget,
    idle_timer::IdleTimer,
    read_buffer::ReadBuffer,
    timer::Timer,
    wakers::{Role, Wakers},
};
use crate::{
    close::{CloseFrame, Closed},
    config::Config,
    error::{Error, InvalidControl},
    limits::{TLS_RECORD, work},
    message::{Message, MessageRef},
    protocol::{Compression, Event, Payload, Pong, Protocol, ReadyState, Received},
    stats::Stats,
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
    read_side: ReadSide,
    write_side: WriteSide,
    budget: Budget,
}

/// Where a message stands that is lent, until the next call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loan {
    /// In the read buffer.
    Front(Payload),
    /// In the buffer in which it was put together.
    Assembled(Payload),
}

/// What the reader has been told of the end.
#[derive(Debug, PartialEq, Eq)]
enum ReadSide {
    Open,
    /// The one error.
    ErrorReported,
    /// `None`, for ever.
    Ended,
}

/// How much of what is queued is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlushMode {
    /// All, and then the transport is flushed.
    All,
    /// Whole blocks, as long as there is enough to be worth a write: more is about to come.
    Blocks,
}

/// How many slices go out in one write: two for each large frame.
const SLICES: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum WriteSide {
    Flushed,
    /// Something was written and not flushed: the transport may hold it.
    Written,
    ShutDown,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `read_buf`: what has been read from `io` already. `agreed`: the compression that is in use.
    pub(crate) fn new(io: S, read_buf: BytesMut, config: &Config, agreed: Option<NegotiatedDeflate>) -> Self {
        let mut protocol = Protocol::new(config, agreed);
        protocol.handle_read(read_buf.len());
        Self {
            io,
            read_buffer: ReadBuffer::new(config.read_buffer_max, read_buf),
            copy_payloads_up_to: config.copy_payloads_up_to,
            protocol,
            wakers: Wakers::default(),
            timer: Timer::new(config.has_timers),
            idle_timer: IdleTimer::Off,
            read_at: Instant::now(),
            read_side: ReadSide::Open,
            write_side: WriteSide::Flushed,
            budget: Budget::default(),
        }
    }

    pub(crate) fn io(&self) -> &S {
        &self.io
    }

    pub(crate) fn into_parts(mut self) -> (S, Bytes) {
        (self.io, self.read_buffer.unread().split().freeze())
    }

    pub(crate) fn ready_state(&self) -> ReadyState {
        self.protocol.ready_state()
    }

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.protocol.buffered_amount()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.protocol.stats()
    }

    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.protocol.closed()
    }

    /// What made the end unclean.
    pub(crate) fn error(&self) -> Option<&Error> {
        self.protocol.error()
    }

    /// Whether the reader has got `None`.
    pub(crate) fn is_read_side_ended(&self) -> bool {
        self.read_side == ReadSide::Ended
    }

    /// The next message, the one error, or the end.
    #[inline]
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.budget.is_due() {
            self.budget.begin_poll();
            ready!(self.budget.poll(cx));
        }
        let buf = self.read_buffer.unread();
        if let Some(payload) = self.protocol.next_front(buf) {
            self.budget.spend(1);
            if payload.len() > self.copy_payloads_up_to {
                return Poll::Ready(Some(Ok(payload.take(buf))));
            }
            return Poll::Ready(Some(Ok(payload.take_copy(buf))));
        }
        self.poll_message(cx).map(Result::transpose)
    }

    /// As [`poll_next`](Self::poll_next), for a message that stays where it is: [`lent`](Self::lent) gives it, until the
    /// next call.
    #[inline]
    pub(crate) fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Loan, Error>>> {
        if self.budget.is_due() {
            self.budget.begin_poll();
            ready!(self.budget.poll(cx));
        }
        if let Some(payload) = self.protocol.next_front(self.read_buffer.peek()) {
            self.budget.spend(1);
            return Poll::Ready(Some(Ok(self.read_buffer.lend(payload))));
        }
        self.poll_loan(cx).map(Result::transpose)
    }

    #[cold]
    fn poll_loan(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Loan>, Error>> {
        let received = ready!(self.poll_received(cx))?;
        Poll::Ready(Ok(received.map(|received| match received {
            Received::Front(payload) => self.read_buffer.lend(payload),
            Received::Assembled { data, payload } => {
                self.protocol.keep_lent(data);
                Loan::Assembled(payload)
            }
        })))
    }

    /// The message that is lent.
    #[inline]
    pub(crate) fn lent(&self, loan: Loan) -> MessageRef<'_> {
        match loan {
            Loan::Front(range) => range.lend(self.read_buffer.all()),
            Loan::Assembled(payload) => payload.lend(self.protocol.lent()),
        }
    }

    /// The next message, whatever stands before it; `None`: the end.
    ///
    /// Out of line and cold: a whole message in the read buffer then takes 33 to 38 cycles instead of 70. Its type is not
    /// that of `poll_next`, else both kinds of messages go through one place in memory, which costs the same again.
    #[cold]
    #[inline(never)]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let received = ready!(self.poll_received(cx))?;
        let (buf, copy_up_to) = (self.read_buffer.unread(), self.copy_payloads_up_to);
        Poll::Ready(Ok(received.map(|received| received.take(buf, copy_up_to))))
    }

    /// The next message where it stands, after whatever comes before it; `None`: the end.
    #[cold]
    #[inline(never)]
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, Error>> {
        self.budget.begin_poll();
        loop {
            ready!(self.budget.poll(cx));
            match self.next_event() {
                Some(Event::Message(received)) => return Poll::Ready(Ok(Some(received))),
                Some(Event::Handled) => continue,
                None => {}
            }
            if self.read_side == ReadSide::Ended {
                return Poll::Ready(Ok(None));
            }
            let step = self.poll_step(Role::Reader, cx);
            if self.read_side == ReadSide::Open
                && let Some(error) = self.protocol.error()
            {
                let error = error.clone();
                self.read_side = ReadSide::ErrorReported;
                return Poll::Ready(Err(error));
            }
            if self.protocol.is_done() {
                self.read_side = ReadSide::Ended;
                return Poll::Ready(Ok(None));
            }
            ready!(step);
        }
    }

    /// Ready when another message may be queued.
    #[inline]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.protocol.is_ready() {
            self.wakers.done(Role::Writer);
            return Poll::Ready(Ok(()));
        }
        self.poll_capacity(cx)
    }

    /// Makes room for another message, if there may be one at all.
    #[inline(never)]
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.budget.begin_poll();
        loop {
            if self.protocol.should_write() {
                let _ = self.poll_write(Role::Writer, cx, FlushMode::Blocks);
                self.wake_other_role(Role::Writer);
            }
            let answer = match self.protocol.send_error() {
                Some(error) => Err(error),
                None if !self.protocol.is_above_high_water_mark() => Ok(()),
                None => {
                    ready!(self.poll_deadline(Role::Writer, cx));
                    continue;
                }
            };
            self.wakers.done(Role::Writer);
            return Poll::Ready(answer);
        }
    }

    /// Whether another message may be queued: the connection is open, and its queued cost below the mark.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.protocol.send_error().is_none() && !self.protocol.is_above_high_water_mark()
    }

    #[inline]
    pub(crate) fn is_above_high_water_mark(&self) -> bool {
        self.protocol.is_above_high_water_mark()
    }

    /// Queues a message. Nothing is written.
    #[inline]
    pub(crate) fn start_send(&mut self, message: Message, compression: Compression) -> Result<(), Error> {
        self.protocol.send(message, compression)
    }

    /// The same, with a copy of a message that is lent.
    #[inline]
    pub(crate) fn start_send_ref(&mut self, message: MessageRef<'_>, compression: Compression) -> Result<(), Error> {
        self.protocol.send_ref(message, compression)
    }

    /// Ready when the transport has taken everything that was queued, and was flushed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.budget.begin_poll();
        loop {
            let write = self.poll_write(Role::Writer, cx, FlushMode::All);
            self.wake_other_role(Role::Writer);
            let answer = match self.protocol.write_failure() {
                Some(error) => Err(error),
                None if write.is_ready() => Ok(()),
                None => {
                    ready!(self.poll_deadline(Role::Writer, cx));
                    continue;
                }
            };
            self.wakers.done(Role::Writer);
            return Poll::Ready(answer);
        }
    }

    /// Begins the closing handshake, unless it has begun.
    pub(crate) fn close(&mut self, frame: CloseFrame) -> Result<(), InvalidControl> {
        self.protocol.close(frame, Instant::now().into_std())
    }

    /// Ready when the connection has ended. Messages that still come are counted and dropped.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.budget.begin_poll();
        loop {
            ready!(self.budget.poll(cx));
            // No message is yielded once our Close is queued.
            match self.next_event() {
                Some(Event::Message(received)) => {
                    drop(received.take(self.read_buffer.unread(), 0));
                    continue;
                }
                Some(Event::Handled) => continue,
                None => {}
            }
            let step = self.poll_step(Role::Writer, cx);
            if self.protocol.is_done() {
                return Poll::Ready(self.protocol.error().cloned().map_or(Ok(()), Err));
            }
            ready!(step);
        }
    }

    pub(crate) fn ping(&mut self, payload: Bytes) -> Result<Pong, Error> {
        self.protocol.ping(payload, Instant::now().into_std())
    }

    /// What comes next in the read buffer.
    fn next_event(&mut self) -> Option<Event> {
        let event = self.protocol.next_event(self.read_at.into_std(), self.read_buffer.unread());
        self.budget.spend(self.protocol.take_work() + usize::from(event.is_some()));
        if event.is_none() && self.protocol.is_pending_end_due() {
            self.end_input();
        }
        event
    }

    /// Once what was read is used up: writes what there is to write, then reads, then looks at the clock. Pending when
    /// none of them can do anything.
    fn poll_step(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        // A writer that waits does not keep the reader from reading.
        let _ = self.poll_write(role, cx, FlushMode::All);
        let step = if self.end_input() || self.protocol.is_done() {
            Poll::Ready(())
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

    /// Deals with the peer's Close, or a failure, if one has come. Returns whether it did: our Close is then written by the
    /// next step.
    fn end_input(&mut self) -> bool {
        let has_ended = self.protocol.has_pending_end();
        if has_ended {
            self.protocol.apply_pending_end(Instant::now().into_std());
        }
        has_ended
    }

    /// Reads or, if there is nothing to read, waits for the next deadline.
    fn poll_read_or_deadline(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        // What was read is used up and did not help: no deadline waits for a peer that never stops talking.
        if !self.timer.is_off() {
            self.handle_deadline(self.read_at);
        }
        if self.protocol.wants_read() && self.poll_read(role, cx).is_ready() {
            self.wakers.done(role);
            return Poll::Ready(());
        }
        self.poll_deadline(role, cx)
    }

    /// Wakes the other role if there is something that the transport does not wake it for.
    fn wake_other_role(&mut self, role: Role) {
        if self.protocol.take_must_wake_other() {
            self.wakers.wake_other(role);
        }
    }

    fn poll_read(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        let bytes_needed = self.protocol.bytes_needed(self.read_buffer.peek());
        let (io, read_buffer) = (&mut self.io, &mut self.read_buffer);
        let result = ready!(self.wakers.poll(role, cx, |cx| read_buffer.poll_read(io, cx, bytes_needed)));
        self.read_at = Instant::now();
        match result {
            Ok(0) => self.protocol.handle_end(None),
            Ok(n) => {
                self.budget.spend(n / work::COPIED_BYTES);
                self.protocol.handle_read(n);
            }
            // TLS calls an end without close_notify an error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.protocol.handle_end(None),
            Err(error) => self.protocol.handle_end(Some(Error::io(error))),
        }
        Poll::Ready(())
    }

    /// Ready when nothing is left that `mode` says to write and to flush, or when the transport is broken.
    fn poll_write(&mut self, role: Role, cx: &mut Context<'_>, mode: FlushMode) -> Poll<()> {
        while self.protocol.wants_write() {
            if mode == FlushMode::Blocks && !self.protocol.should_write() {
                break;
            }
            ready!(self.budget.poll(cx));
            self.protocol.encode();
            let io = &mut self.io;
            let output = self.protocol.output();
            let (len, chunk) = (output.remaining(), output.chunk());
            if len == 0 && self.protocol.is_compressing() {
                self.budget.spend(self.protocol.take_work());
                continue;
            }
            if len == 0 && self.write_side != WriteSide::Written {
                break;
            }
            let result = self.wakers.poll(role, cx, |cx| {
                if len == 0 {
                    Pin::new(io).poll_flush(cx).map_ok(|()| None)
                } else if chunk.len() < len {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = output.chunks_vectored(&mut slices);
                    Pin::new(io).poll_write_vectored(cx, &slices[..used]).map_ok(Some)
                } else {
                    let len = if mode == FlushMode::Blocks && len > TLS_RECORD { len - len % TLS_RECORD } else { len };
                    Pin::new(io).poll_write(cx, &chunk[..len]).map_ok(Some)
                }
            });
            // The clock is read only where it is needed: it costs as much as a small message.
            let now = || Instant::now().into_std();
            match result {
                Poll::Ready(Ok(None)) => {
                    self.write_side = WriteSide::Flushed;
                    self.protocol.handle_flushed(now);
                }
                Poll::Ready(Ok(Some(0))) => {
                    self.protocol.handle_write_error(Error::io(io::ErrorKind::WriteZero.into()), now());
                }
                Poll::Ready(Ok(Some(n))) => {
                    self.write_side = WriteSide::Written;
                    self.budget.spend(n / work::COPIED_BYTES + self.protocol.take_work());
                    self.protocol.advance(n);
                }
                Poll::Ready(Err(error)) => self.protocol.handle_write_error(Error::io(error), now()),
                Poll::Pending => {
                    // OpenSSL holds the record that it has begun, and wants it again as it was.
                    let held = if len > 0 && !self.io.is_write_vectored() { TLS_RECORD } else { 0 };
                    self.protocol.handle_stall(held, now());
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Shuts the write side of the transport down, without waiting for it.
    fn shut_down(&mut self, role: Role, cx: &mut Context<'_>) {
        let io = &mut self.io;
        if self.write_side != WriteSide::ShutDown
            // There is nobody left to tell of an error.
            && self.wakers.poll(role, cx, |cx| Pin::new(io).poll_shutdown(cx)).is_ready()
        {
            self.write_side = WriteSide::ShutDown;
        }
    }

    /// Waits for the next deadline. Ready when one has passed and was dealt with.
    fn poll_deadline(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.next_deadline();
        let timer = &mut self.timer;
        let now = ready!(self.wakers.poll(role, cx, |cx| timer.poll(cx, deadline)));
        self.handle_deadline(now);
        self.handle_idle(now);
        Poll::Ready(())
    }

    /// The protocol's next deadline, or when to look whether the connection is idle.
    fn next_deadline(&mut self) -> Option<Instant> {
        if self.timer.is_off() {
            return None;
        }
        let idle = self.can_shrink().then(|| self.idle_timer.set(self.protocol.bytes_moved()));
        self.protocol.deadline().map(Instant::from_std).into_iter().chain(idle).min()
    }

    /// Deals with the protocol's deadline, if it has passed.
    fn handle_deadline(&mut self, now: Instant) {
        if self.protocol.deadline().is_some_and(|deadline| deadline <= now.into_std()) {
            self.protocol.handle_timeout(now.into_std());
        }
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
