//! The protocol of one connection, without IO and without a clock.
//!
//! Four kinds of methods, as a sans-IO protocol has them:
//!
//! * getters;
//! * input: [`try_take_message`](Protocol::try_take_message), [`next_message`](Protocol::next_message),
//!   [`apply_pending_end`](Protocol::apply_pending_end),
//!   [`handle_end`](Protocol::handle_end), [`handle_stall`](Protocol::handle_stall),
//!   [`handle_timeout`](Protocol::handle_timeout);
//! * commands: [`send`](Protocol::send), [`close`](Protocol::close), [`ping`](Protocol::ping);
//! * output: [`output`](Protocol::output), [`advance`](Protocol::advance), [`deadline`](Protocol::deadline).
//!
//! Whatever goes wrong goes through [`fail`](Protocol::fail).

mod closing;
mod inbound;
mod outbound;
mod pings;

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

pub(crate) use self::outbound::Compression;
use self::{
    closing::Closing,
    inbound::{Inbound, Item},
    outbound::Outbound,
    pings::Pings,
};
pub use self::{closing::ReadyState, pings::Pong};
use crate::{
    close::{CloseFrame, Closed},
    config::Config,
    error::{Error, InvalidControl, Phase},
    message::Message,
    stats::Stats,
    wire::deflate::{Deflater, Inflater, NegotiatedDeflate},
};

#[derive(Debug)]
pub(crate) struct Protocol {
    inbound: Inbound,
    outbound: Outbound,
    closing: Closing,
    pings: Pings,
    stats: Stats,
    write_timeout: Option<Duration>,
    tcp_end_timeout: Duration,
    /// Why the transport takes nothing any more, and how long what can still be read is waited for.
    write_error: Option<(Error, Instant)>,
    /// Since when the transport has taken nothing of what waits for it.
    stalled_since: Option<Instant>,
    /// Whether the transport has taken our Close frame, and may still hold it.
    is_close_written: bool,
    /// What ended the input, until it is dealt with: the peer's Close, or a failure.
    pending_end: Option<Result<CloseFrame, Error>>,
    /// Whether something happened that whoever waits for the transport must hear of.
    must_wake_other: bool,
}

impl Protocol {
    /// `agreed`: the compression that the handshake agreed on.
    pub(crate) fn new(config: &Config, agreed: Option<NegotiatedDeflate>) -> Self {
        let inflater = agreed.map(|agreed| Inflater::new(agreed.server));
        let deflater = agreed.map(|agreed| Deflater::new(config.deflate.as_ref(), agreed.client));
        Self {
            inbound: Inbound::new(config, inflater),
            outbound: Outbound::new(config, deflater),
            closing: Closing::new(config.close_timeout, config.tcp_end_timeout),
            pings: Pings::default(),
            stats: Stats::default(),
            write_timeout: config.write_timeout,
            tcp_end_timeout: config.tcp_end_timeout,
            write_error: None,
            stalled_since: None,
            is_close_written: false,
            pending_end: None,
            must_wake_other: false,
        }
    }

    // Getters.

    pub(crate) fn ready_state(&self) -> ReadyState {
        self.closing.ready_state()
    }

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.outbound.buffered_amount()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closing.closed()
    }

    /// What makes this an unclean end, once the peer was told as well as it could be.
    pub(crate) fn error(&self) -> Option<&Error> {
        self.closing.error()
    }

    /// Why nothing can be sent any more, if that is so.
    pub(crate) fn send_error(&self) -> Option<Error> {
        self.closing.send_error().or_else(|| Some(self.write_error.as_ref()?.0.clone()))
    }

    /// Why what was queued will not be sent any more, if that is so.
    pub(crate) fn write_failure(&self) -> Option<Error> {
        let is_lost = self.write_error.is_some() || !self.closing.is_parsing() && self.outbound.has_unsent_messages();
        is_lost.then(|| self.send_error()).flatten()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.closing.is_done()
    }

    /// Whether the transport may be written to.
    pub(crate) fn wants_write(&self) -> bool {
        self.write_error.is_none() && !self.is_done()
    }

    /// Whether the transport's write side is to be shut down.
    pub(crate) fn is_write_side_done(&self) -> bool {
        self.closing.is_write_side_done()
    }

    /// Whether the transport may be read from.
    pub(crate) fn wants_read(&self) -> bool {
        !self.is_done() && !self.closing.has_transport_ended()
    }

    /// How many bytes were read and written so far.
    pub(crate) fn bytes_moved(&self) -> u64 {
        self.stats.wire_bytes_received + self.stats.wire_bytes_sent
    }

    /// Whether output has made buffers large.
    pub(crate) fn is_output_large(&self) -> bool {
        self.outbound.is_large()
    }

    /// Gives back the memory of buffers that hold nothing.
    pub(crate) fn shrink(&mut self) {
        self.outbound.shrink();
    }

    /// Whether a message may be queued, and nothing need be written before.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_open() && !self.outbound.should_write()
    }

    /// Whether messages can be sent.
    #[inline]
    fn is_open(&self) -> bool {
        self.closing.is_open() && self.write_error.is_none()
    }

    #[inline]
    pub(crate) fn is_above_high_water_mark(&self) -> bool {
        self.outbound.is_above_high_water_mark()
    }

    #[inline]
    pub(crate) fn should_write(&self) -> bool {
        self.outbound.should_write()
    }

    /// How many bytes the message that is being read lacks, if it is to be a slice of `buf`.
    pub(crate) fn bytes_needed(&self, buf: &BytesMut) -> usize {
        self.inbound.bytes_needed(buf)
    }

    // Input.

    /// Takes the next message from `buf` if it stands at its front as one frame, which is the usual case. `None`:
    /// something else stands there, and [`next_message`](Self::next_message) deals with it.
    #[inline(always)]
    pub(crate) fn try_take_message(&mut self, buf: &mut BytesMut) -> Option<Message> {
        let message = self.inbound.try_take_message(buf)?;
        self.count_received(&message);
        Some(message)
    }

    /// The next message from `buf`, and whatever stands before it. `None`: there is no whole message in it, or none is
    /// wanted any more.
    ///
    /// `now` is when the bytes were read.
    pub(crate) fn next_message(&mut self, now: Instant, buf: &mut BytesMut) -> Option<Message> {
        loop {
            match self.inbound.next(buf) {
                Ok(Some(Item::Message(message))) => {
                    self.count_received(&message);
                    return Some(message);
                }
                Ok(Some(item)) => self.handle_item(item, now),
                Ok(None) => return None,
                Err(error) => self.end_input(Err(error)),
            }
        }
    }

    #[inline]
    fn count_received(&mut self, message: &Message) {
        self.stats.messages_received += 1;
        self.stats.payload_bytes_received += message.len() as u64;
    }

    /// What comes after the peer's Close, or after a failure, means nothing.
    fn end_input(&mut self, pending_end: Result<CloseFrame, Error>) {
        self.inbound.end();
        self.pending_end = Some(pending_end);
    }

    fn handle_item(&mut self, item: Item, now: Instant) {
        match item {
            Item::Message(_) | Item::Discarded => self.stats.discarded_messages += 1,
            Item::Ping(payload) => {
                self.stats.pings_received += 1;
                self.outbound.push_pong(payload);
            }
            Item::Pong(payload) => {
                if let Some(rtt) = self.pings.pong(&payload, now) {
                    self.stats.last_rtt = Some(rtt);
                }
            }
            Item::Close(frame) => self.end_input(Ok(frame)),
        }
    }

    /// Whether the input has ended by the peer's Close, or by a failure, and that was not dealt with.
    pub(crate) fn has_pending_end(&self) -> bool {
        self.pending_end.is_some()
    }

    /// Whether it is to be dealt with at once. It cuts messages that are queued, so the transport is offered these
    /// before: an answer to a message that came together with a Close frame is lost only where it cannot leave.
    pub(crate) fn is_pending_end_due(&self) -> bool {
        self.has_pending_end() && !self.outbound.has_unsent_messages()
    }

    /// Deals with the end of the input. `now` is the present, since deadlines begin: it may have been read long ago.
    pub(crate) fn apply_pending_end(&mut self, now: Instant) {
        match self.pending_end.take() {
            Some(Ok(frame)) => self.handle_close(frame, now),
            Some(Err(error)) => self.fail(error, now),
            None => {}
        }
    }

    fn handle_close(&mut self, frame: CloseFrame, now: Instant) {
        let unsent = self.outbound.has_unsent_messages();
        let is_answer_due = self.closing.peer_close(&frame, unsent, now);
        self.outbound.abort_unsent();
        if is_answer_due {
            self.outbound.push_close(frame);
        }
        self.lose_close_if_write_side_is_broken(now);
        self.on_state_change();
    }

    /// `n` bytes were read from the transport.
    pub(crate) fn handle_read(&mut self, n: usize) {
        self.stats.wire_bytes_received += n as u64;
    }

    /// The transport ended, or broke with `cause`.
    pub(crate) fn handle_end(&mut self, cause: Option<Error>) {
        let write_error = self.write_error.as_ref().map(|(error, _)| error.clone());
        self.closing.end(cause.or(write_error));
        self.on_state_change();
    }

    /// The transport takes nothing at the moment although something waits.
    pub(crate) fn handle_stall(&mut self, now: Instant) {
        if self.stalled_since.is_none() {
            self.stalled_since = Some(now);
            // There may be a deadline now that was not there when the other role began to wait.
            self.must_wake_other |= self.deadline().is_some();
        }
    }

    /// The transport takes nothing any more. The error is held back until what can still be read was read, since a
    /// Close frame may be among it.
    pub(crate) fn handle_write_error(&mut self, error: Error, now: Instant) {
        self.break_write_side(error, now + self.tcp_end_timeout, now);
        self.on_state_change();
    }

    /// `until`: how long what can still be read is waited for.
    fn break_write_side(&mut self, error: Error, until: Instant, now: Instant) {
        self.outbound.clear();
        self.stalled_since = None;
        self.write_error = Some((error, until));
        self.closing.close_is_lost(now);
    }

    /// A deadline passed, or nothing: it looks by itself.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.closing.deadline(self.stalled_since)) {
            self.closing.overdue(now);
            if !self.closing.is_close_queued() {
                self.outbound.clear();
            }
        }
        if let Some((error, until)) = &self.write_error
            && is_over(Some(*until))
        {
            self.closing.end(Some(error.clone()));
        }
        if is_over(self.write_deadline()) {
            // The reader hears of it once what was read before is used up.
            self.break_write_side(Error::Timeout(Phase::Write), now, now);
        }
        self.on_state_change();
    }

    /// Whether, since the last call, something happened that whoever waits for the transport must hear of although the
    /// transport does not tell: a change of state, or a deadline that was not there.
    #[inline]
    pub(crate) fn take_must_wake_other(&mut self) -> bool {
        std::mem::take(&mut self.must_wake_other)
    }

    // Commands.

    /// Queues a message.
    #[inline]
    pub(crate) fn send(&mut self, message: Message, compression: Compression) -> Result<(), Error> {
        if !self.is_open() {
            return Err(self.send_error().unwrap_or(Error::Closing));
        }
        self.outbound.push(message, compression);
        Ok(())
    }

    /// Begins to close, if the connection is open: messages that are queued go out before the Close frame, messages
    /// that come are counted and not kept.
    pub(crate) fn close(&mut self, frame: CloseFrame, now: Instant) -> Result<(), InvalidControl> {
        if let Some(code) = frame.code()
            && !code.is_valid_on_wire()
        {
            return Err(InvalidControl::CloseCode(code));
        }
        if frame.reason().len() > CloseFrame::MAX_REASON {
            return Err(InvalidControl::CloseReason(frame.reason().len()));
        }
        if self.closing.close(now) {
            self.inbound.discard_messages();
            self.outbound.push_close(frame);
            self.lose_close_if_write_side_is_broken(now);
        }
        Ok(())
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, payload: Bytes, now: Instant) -> Result<Pong, Error> {
        if let Some(error) = self.send_error() {
            return Err(error);
        }
        let unsent = self.outbound.unsent_pings();
        let pong = self.pings.push(payload.clone(), unsent, now).map_err(Error::InvalidControl)?;
        self.stats.pings_sent += 1;
        self.outbound.push_ping(payload);
        Ok(pong)
    }

    // Output.

    /// The bytes to write next.
    #[inline]
    pub(crate) fn output(&mut self) -> &impl Buf {
        self.outbound.output()
    }

    /// The transport took the first `n` bytes of [`output`](Self::output).
    pub(crate) fn advance(&mut self, n: usize) {
        self.stalled_since = None;
        let released = self.outbound.advance(n);
        self.stats.wire_bytes_sent += n as u64;
        self.stats.messages_sent += released.messages;
        self.stats.payload_bytes_sent += released.payload;
        self.is_close_written |= released.close;
    }

    /// The transport was flushed: what it took is out.
    pub(crate) fn handle_flushed(&mut self, now: impl FnOnce() -> Instant) {
        self.stalled_since = None;
        if std::mem::take(&mut self.is_close_written) {
            self.closing.close_is_out(now());
            self.on_state_change();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.deadline(self.stalled_since);
        let end = self.write_error.as_ref().map(|(_, until)| *until).filter(|_| !self.is_done());
        [closing, self.write_deadline(), end].into_iter().flatten().min()
    }

    fn write_deadline(&self) -> Option<Instant> {
        Some(self.stalled_since? + self.write_timeout?)
    }

    /// The one way to fail: the peer is told why, nothing else is sent, and nothing more is read.
    fn fail(&mut self, error: Error, now: Instant) {
        let code = error.close_code();
        let is_close_due = self.closing.fail(error, now);
        self.outbound.abort_unsent();
        if let (true, Some(code)) = (is_close_due, code) {
            self.outbound.push_close(CloseFrame::new(code, ""));
        }
        self.lose_close_if_write_side_is_broken(now);
        self.on_state_change();
    }

    fn lose_close_if_write_side_is_broken(&mut self, now: Instant) {
        if self.write_error.is_some() {
            self.closing.close_is_lost(now);
        }
    }

    /// After every change of state: tells those who wait for pongs once none can come.
    fn on_state_change(&mut self) {
        self.must_wake_other = true;
        if self.closing.is_parsing() {
            return;
        }
        self.inbound.end();
        if let Some(error) = self.closing.send_error() {
            self.pings.end(&error);
        }
    }
}
