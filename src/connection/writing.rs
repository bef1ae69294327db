//! Writing to a connection: messages that are queued, and what the transport takes of them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Connection, FirstStep, wakers::Role};
use crate::{
    error::Error,
    limits::{TLS_RECORD, work},
    message::{Message, MessageRef},
    protocol::{Compression, Part, Pong, PongAnswer},
};

/// How much of what is queued is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlushMode {
    /// All, and then the transport is flushed.
    All,
    /// Whole blocks, as long as there is enough to be worth a write: more is about to come.
    Blocks,
}

/// How many slices go out in one write: two for each large frame.
const SLICES: usize = 64;

/// Whether the transport was flushed since it was written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FlushState {
    Flushed,
    /// Something was written and not flushed: the transport may hold it.
    Written,
    ShutDown,
}

impl<S> Connection<S> {
    /// A message that is sent in parts will not be finished: the connection fails. `unsent`: payload bytes that were taken
    /// for it, and not queued.
    pub(crate) fn abandon_message(&mut self, unsent: usize) {
        self.protocol.abandon_message(unsent, Instant::now().into_std());
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Ready when another message may be queued.
    #[inline]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.protocol.is_ready() {
            self.wakers.done(Role::Writer);
            return Poll::Ready(Ok(()));
        }
        self.poll_message_capacity(cx)
    }

    /// Makes room for another message. The one before must be whole: a writer that did not finish it, and was not dropped
    /// either, is forgotten.
    #[inline(never)]
    fn poll_message_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.protocol.has_unfinished_message() {
            self.abandon_message(0);
        }
        self.poll_capacity(cx)
    }

    /// Ready when another part of a message may be queued. Nothing is written that need not be.
    pub(crate) fn poll_part_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_room() {
            self.wakers.done(Role::Writer);
            return Poll::Ready(Ok(()));
        }
        self.poll_capacity(cx)
    }

    /// Writes what is worth a write. Ready when there is room for another message or part of one, if there may be one at
    /// all.
    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
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
                    self.write_wait.start(Instant::now);
                    ready!(self.poll_deadline(Role::Writer, cx));
                    continue;
                }
            };
            self.write_wait.stop(Instant::now);
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
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.protocol.send(message)
    }

    /// The same, with a copy of a message that is lent.
    #[inline]
    pub(crate) fn start_send_ref(&mut self, message: MessageRef<'_>) -> Result<(), Error> {
        self.protocol.send_ref(message)
    }

    /// Queues a part of a message. Nothing is written.
    pub(crate) fn start_send_part(&mut self, part: Part) -> Result<(), Error> {
        self.protocol.send_part(part, Instant::now().into_std())
    }

    pub(crate) fn compression(&self) -> Compression {
        self.protocol.compression()
    }

    pub(crate) fn set_compression(&mut self, compression: Compression) {
        self.protocol.set_compression(compression);
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

    /// Whether the transport has taken every message and every part of one that was queued, and was flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.protocol.has_unsent_payload() && self.flush_state != FlushState::Written
    }

    pub(crate) fn ping(&mut self, payload: Bytes) -> Result<Pong, Error> {
        self.protocol.ping(payload, Instant::now().into_std())
    }

    /// Sends a ping for who has its pong already.
    pub(crate) fn ping_for(&mut self, payload: Option<Bytes>, answer: PongAnswer, asked: Instant) {
        self.protocol.ping_for(payload, answer, asked.into_std());
    }

    /// Pings that have not left.
    pub(crate) fn unsent_pings(&self) -> usize {
        self.protocol.unsent_pings()
    }

    pub(crate) fn pong(&mut self, payload: Bytes) -> Result<(), Error> {
        self.protocol.pong(payload)
    }

    /// Before a message is handed out: offers the transport a pong or a ping that is due, with what goes before it. Who takes
    /// its time for each message is no reason for the peer to wait.
    #[inline]
    pub(super) fn write_control(&mut self, role: Role, cx: &mut Context<'_>) {
        if self.protocol.is_control_due() {
            let _ = self.poll_write(role, cx, FlushMode::All);
            self.wake_other_role(role);
        }
    }

    /// Ready when nothing is left that `mode` says to write and to flush, or when the transport is broken.
    pub(super) fn poll_write(&mut self, role: Role, cx: &mut Context<'_>, mode: FlushMode) -> Poll<()> {
        let mut has_worked = false;
        while self.protocol.wants_write() {
            if mode == FlushMode::Blocks && !self.protocol.should_write() {
                break;
            }
            if self.budget.poll(cx).is_pending() {
                if has_worked {
                    self.first_step = FirstStep::Read;
                }
                return Poll::Pending;
            }
            has_worked = true;
            self.protocol.encode();
            let io = &mut self.io;
            let output = self.protocol.output();
            let (len, chunk) = (output.remaining(), output.chunk());
            if len == 0 && self.protocol.is_compressing() {
                self.budget.spend(self.protocol.take_work());
                continue;
            }
            if len == 0 && self.flush_state != FlushState::Written {
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
                    self.flush_state = FlushState::Flushed;
                    self.protocol.handle_flushed(now);
                }
                Poll::Ready(Ok(Some(0))) => {
                    self.protocol.handle_write_error(Error::io(io::ErrorKind::WriteZero.into()), now());
                }
                Poll::Ready(Ok(Some(n))) => {
                    self.flush_state = FlushState::Written;
                    self.budget.spend(n.div_ceil(work::COPIED_BYTES) + self.protocol.take_work());
                    self.protocol.advance(n, now);
                    if !self.protocol.is_above_high_water_mark() {
                        self.write_wait.stop(Instant::now);
                    }
                }
                Poll::Ready(Err(error)) => self.protocol.handle_write_error(Error::io(error), now()),
                Poll::Pending => {
                    // OpenSSL holds the record that it has begun, and wants it again as it was. A transport that takes
                    // vectored writes holds nothing: it takes bytes or does not.
                    let held = if len > 0 && !self.io.is_write_vectored() { TLS_RECORD } else { 0 };
                    self.protocol.handle_stall(held, now());
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Shuts the write side of the transport down, without waiting for it.
    pub(super) fn shut_down(&mut self, role: Role, cx: &mut Context<'_>) {
        let io = &mut self.io;
        if self.flush_state != FlushState::ShutDown
            // There is nobody left to tell of an error.
            && self.wakers.poll(role, cx, |cx| Pin::new(io).poll_shutdown(cx)).is_ready()
        {
            self.flush_state = FlushState::ShutDown;
        }
    }
}
