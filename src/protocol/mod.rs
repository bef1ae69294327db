//! The protocol of one connection, without IO and without a clock.
//!
//! Four kinds of methods, as a sans-IO protocol has them:
//!
//! * getters;
//! * input: [`next_front`](Protocol::next_front), [`next_event`](Protocol::next_event),
//!   [`apply_pending_end`](Protocol::apply_pending_end), [`handle_end`](Protocol::handle_end),
//!   [`handle_stall`](Protocol::handle_stall), [`handle_timeout`](Protocol::handle_timeout),
//!   [`handle_quiet`](Protocol::handle_quiet), [`handle_silence`](Protocol::handle_silence),
//!   [`handle_taken`](Protocol::handle_taken);
//! * commands: [`send`](Protocol::send), [`send_ref`](Protocol::send_ref), [`send_part`](Protocol::send_part),
//!   [`abandon_message`](Protocol::abandon_message), [`set_compression`](Protocol::set_compression),
//!   [`close`](Protocol::close), [`ping`](Protocol::ping), [`pong`](Protocol::pong);
//! * output: [`encode`](Protocol::encode), [`output`](Protocol::output), [`advance`](Protocol::advance),
//!   [`deadline`](Protocol::deadline), [`silence_deadline`](Protocol::silence_deadline).
//!
//! Every failure goes through [`fail`](Protocol::fail).

mod closing;
mod inbound;
mod keepalive;
mod message_timer;
mod outbound;
mod pings;
mod write_side;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};

pub use self::{closing::ReadyState, pings::Pong};
use self::{
    closing::{Closing, Loss},
    inbound::{Inbound, Item},
    keepalive::{Keepalive, Silence},
    message_timer::MessageTimer,
    outbound::Outbound,
    pings::Pings,
    write_side::WriteSide,
};
pub(crate) use self::{
    inbound::{Chunk, Delivery, Payload, Received, append},
    outbound::{Compression, Part, Place, push_latest},
    pings::{PongAnswer, PongWatch, check_pings, validate_payload},
};
use crate::{
    close::{CloseFrame, Closed},
    config::Config,
    error::{Error, InvalidControl, Phase},
    event::{ControlFrame, ControlFrames},
    limits::MAX_ON_THE_WAY,
    message::{Message, MessageRef},
    stats::Stats,
    trace::{Side, Trace},
    wire::deflate::{Deflater, Inflater, NegotiatedDeflate},
};

#[derive(Debug)]
pub(crate) struct Protocol {
    inbound: Inbound,
    outbound: Outbound,
    closing: Closing,
    pings: Pings,
    keepalive: Keepalive,
    message_timer: MessageTimer,
    stats: Stats,
    /// How many bytes had come when we began to close.
    received_before_close: u64,
    write_timeout: Option<Duration>,
    tcp_end_timeout: Duration,
    write_side: WriteSide,
    /// What ended the input, until it is dealt with: the peer's Close, or a failure.
    pending_end: Option<PendingEnd>,
    /// Whether the other role must look again, although the transport does not wake it.
    must_wake_other: bool,
    trace: Trace,
}

/// What ended the input.
#[derive(Debug)]
enum PendingEnd {
    /// The peer's Close.
    Close {
        frame: Arc<CloseFrame>,
        cuts_message: bool,
    },
    Failure(Error),
}

/// Whether a Close frame may be sent (RFC 6455, sections 5.5.1 and 7.4).
pub(crate) fn validate_close(frame: &CloseFrame) -> Result<(), InvalidControl> {
    match frame.code() {
        Some(code) if !code.is_valid_on_wire() => Err(InvalidControl::CloseCode(code)),
        _ if frame.reason().len() > CloseFrame::MAX_REASON => Err(InvalidControl::CloseReason(frame.reason().len())),
        _ => Ok(()),
    }
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message, which is to be taken or lent before the next call.
    Message(Received),
    /// A part of a message that is handed out as it comes.
    Chunk(Chunk),
    /// A control frame that the protocol has dealt with, where these are shown.
    Control(ControlFrame),
    /// Something that the protocol deals with by itself.
    Handled,
}

impl Protocol {
    /// `agreed`: the compression that the handshake agreed on.
    pub(crate) fn new(config: &Config, agreed: Option<NegotiatedDeflate>) -> Self {
        let inflater = agreed.map(|agreed| Inflater::new(agreed.server));
        let deflater = agreed.map(|agreed| Deflater::new(config.deflate.as_ref(), agreed.client));
        let if_timed = |limit: Option<Duration>| limit.filter(|_| config.has_timers);
        Self {
            inbound: Inbound::new(config, inflater),
            outbound: Outbound::new(config, deflater),
            closing: Closing::new(config.close_timeout, config.tcp_end_timeout),
            pings: Pings::default(),
            keepalive: Keepalive::new(if_timed(config.keepalive_interval), config.keepalive_timeout),
            message_timer: MessageTimer::new(if_timed(config.message_timeout)),
            stats: Stats::default(),
            received_before_close: 0,
            write_timeout: config.write_timeout,
            tcp_end_timeout: config.tcp_end_timeout,
            write_side: WriteSide::Flowing,
            pending_end: None,
            must_wake_other: false,
            trace: Trace::default(),
        }
    }

    /// Shows in `trace` what happens.
    pub(crate) fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
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

    /// The peer's Close frame, as soon as it was read.
    pub(crate) fn peer_close(&self) -> Option<&Arc<CloseFrame>> {
        match &self.pending_end {
            Some(PendingEnd::Close { frame, .. }) => Some(frame),
            _ => self.closing.peer_close(),
        }
    }

    /// What makes this an unclean end, once the peer was told as well as it could be.
    pub(crate) fn error(&self) -> Option<&Error> {
        self.closing.error()
    }

    /// Whether the end is unclean only since the peer's Close came within a message.
    pub(crate) fn is_cut(&self) -> bool {
        self.closing.is_cut()
    }

    /// How the connection ends, as soon as that is decided: an error also where it is clean.
    pub(crate) fn outcome(&self) -> Option<Error> {
        self.closing.outcome()
    }

    /// Why nothing can be sent any more, if that is so.
    pub(crate) fn send_error(&self) -> Option<Error> {
        self.closing.send_error().or_else(|| self.write_side.error().cloned())
    }

    /// Why what was queued will not be sent any more, if that is so.
    pub(crate) fn write_failure(&self) -> Option<Error> {
        let is_lost = self.write_side.is_broken() || !self.closing.is_parsing() && self.outbound.has_unsent_messages();
        is_lost.then(|| self.send_error()).flatten()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.closing.is_done()
    }

    /// Whether the transport may be written to.
    pub(crate) fn wants_write(&self) -> bool {
        !self.write_side.is_broken() && !self.is_done()
    }

    /// Whether a pong or a ping was not offered to the transport.
    pub(crate) fn is_control_due(&self) -> bool {
        matches!(self.write_side, WriteSide::Flowing) && self.outbound.has_unsent_control()
    }

    /// Pings of the user of which not every byte was taken.
    pub(crate) fn unsent_pings(&self) -> usize {
        self.outbound.unsent_pings()
    }

    /// Whether the transport's write side is to be shut down.
    pub(crate) fn is_write_side_done(&self) -> bool {
        self.closing.is_write_side_done()
    }

    /// Whether the transport may be read from.
    pub(crate) fn wants_read(&self) -> bool {
        !self.is_done() && !self.closing.has_transport_ended()
    }

    /// Whether what comes still means something, and the connection may not end before.
    pub(crate) fn is_parsing(&self) -> bool {
        self.closing.is_parsing()
    }

    /// Whether the connection is over, and what had come before may not be used up: it is for the reader, who hears of the end
    /// behind it.
    pub(crate) fn has_rest(&self) -> bool {
        self.is_done() && !self.inbound.has_ended()
    }

    /// That is used up.
    pub(crate) fn end_rest(&mut self) {
        self.inbound.end();
    }

    /// How many bytes were read and written so far.
    pub(crate) fn bytes_moved(&self) -> u64 {
        self.stats.wire_bytes_received + self.stats.wire_bytes_sent
    }

    /// Whether [`shrink`](Self::shrink) frees something.
    pub(crate) fn can_shrink(&self) -> bool {
        self.outbound.can_shrink() || self.inbound.can_shrink()
    }

    /// Frees buffers that hold nothing.
    pub(crate) fn shrink(&mut self) {
        self.outbound.shrink();
        self.inbound.shrink();
    }

    /// Whether a message may be queued, and nothing need be written before.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_open() && self.outbound.is_ready()
    }

    /// Whether messages can be sent.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.closing.is_open() && !self.write_side.is_broken()
    }

    #[inline]
    pub(crate) fn is_above_high_water_mark(&self) -> bool {
        self.outbound.is_above_high_water_mark()
    }

    /// Whether a message or a part of one is queued of which not every byte was taken.
    pub(crate) fn has_unsent_payload(&self) -> bool {
        self.outbound.has_unsent_payload()
    }

    /// How much more is worth encoding, in bytes. 0: something waits to be encoded.
    pub(crate) fn room(&self) -> usize {
        self.outbound.room()
    }

    /// The cost of all messages, and parts of messages, that were queued and not wholly taken by the transport.
    pub(crate) fn queued_cost(&self) -> usize {
        self.outbound.queued_cost()
    }

    #[inline]
    pub(crate) fn should_write(&self) -> bool {
        self.outbound.should_write()
    }

    /// Whether a message lacks parts.
    pub(crate) fn has_unfinished_message(&self) -> bool {
        self.outbound.has_unfinished_message()
    }

    pub(crate) fn compression(&self) -> Compression {
        self.outbound.compression()
    }

    /// How many bytes the message that is being read lacks, if it is to be a slice of `buf`.
    pub(crate) fn bytes_needed(&self, buf: &[u8]) -> usize {
        self.inbound.bytes_needed(buf)
    }

    // Input.

    /// The next message, if it stands at the front of `buf` as one frame, which is the usual case. It is to be taken from
    /// there. `None`: something else stands there, and [`next_event`](Self::next_event) deals with it.
    #[inline(always)]
    pub(crate) fn next_front(&mut self, buf: &[u8]) -> Option<Payload> {
        let payload = self.inbound.find_front(buf)?;
        self.count_received(payload.len());
        Some(payload)
    }

    /// Keeps the buffer of a message that is lent, until the next one is put together in it.
    pub(crate) fn keep_lent(&mut self, data: Vec<u8>) {
        self.inbound.keep_lent(data);
    }

    /// That buffer.
    pub(crate) fn lent(&self) -> &[u8] {
        self.inbound.lent()
    }

    /// Nobody wants the rest of a message that is handed out in chunks: it is dropped as it comes.
    #[inline]
    pub(crate) fn skip_chunks(&mut self) {
        self.inbound.skip_chunks();
    }

    /// Parses what stands at the front of `buf`, at most one message, or a chunk of one. `None`: nothing whole does, or
    /// nothing is wanted any more.
    ///
    /// `now` is when the bytes were read.
    pub(crate) fn next_event(
        &mut self,
        now: Instant,
        buf: &mut BytesMut,
        delivery: Delivery,
        control: ControlFrames,
    ) -> Option<Incoming> {
        match self.inbound.next(buf, delivery) {
            Ok(Some(Item::Message(message))) => {
                self.count_received(message.len());
                return Some(Incoming::Message(message));
            }
            Ok(Some(Item::Chunk(chunk))) => {
                self.stats.messages_received += u64::from(chunk.fin);
                self.stats.payload_bytes_received += chunk.data.len() as u64;
                return Some(Incoming::Chunk(chunk));
            }
            Ok(Some(item)) => {
                let shown = self.handle_item(item, now, control);
                return Some(shown.map_or(Incoming::Handled, Incoming::Control));
            }
            Ok(None) => return None,
            Err(error) => self.end_input(PendingEnd::Failure(error)),
        }
        Some(Incoming::Handled)
    }

    #[inline]
    fn count_received(&mut self, len: usize) {
        self.stats.messages_received += 1;
        self.stats.payload_bytes_received += len as u64;
    }

    /// What comes after the peer's Close, or after a failure, means nothing.
    fn end_input(&mut self, pending_end: PendingEnd) {
        self.inbound.end();
        self.pending_end = Some(pending_end);
    }

    /// Returns the control frame, if control frames are shown.
    fn handle_item(&mut self, item: Item, now: Instant, control: ControlFrames) -> Option<ControlFrame> {
        match item {
            Item::Message(_) | Item::Chunk(_) | Item::Discarded => {
                self.stats.discarded_messages += 1;
                None
            }
            Item::Part => None,
            Item::Ping(payload) => {
                self.stats.pings_received += 1;
                self.message_timer.control(payload.len());
                // Only now, since a second handle to a payload costs an allocation.
                let shown = control.show(|| ControlFrame::Ping(payload.clone()));
                self.outbound.push_pong(payload);
                shown
            }
            Item::Pong(payload) => {
                self.stats.pongs_received += 1;
                self.message_timer.control(payload.len());
                if let Some(rtt) = self.pings.pong(&payload, now) {
                    self.stats.last_rtt = Some(rtt);
                    self.trace.pong(rtt);
                }
                control.show(|| ControlFrame::Pong(payload))
            }
            Item::Close { frame, cuts_message } => {
                self.stats.discarded_messages += u64::from(cuts_message);
                let frame = Arc::new(frame);
                self.end_input(PendingEnd::Close { frame: frame.clone(), cuts_message });
                control.show(|| ControlFrame::Close(frame))
            }
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
            // It was among what had come before the end, which stays as it was told.
            _ if self.is_done() => {}
            Some(PendingEnd::Close { frame, cuts_message }) => self.handle_close(frame, cuts_message, now),
            Some(PendingEnd::Failure(error)) => self.fail(error, now),
            None => {}
        }
    }

    fn handle_close(&mut self, frame: Arc<CloseFrame>, cuts_message: bool, now: Instant) {
        if self.closing.is_open() {
            self.trace.closing(Side::Remote, frame.code());
        } else {
            self.trace.close_answered(frame.code());
        }
        let loss = match cuts_message {
            _ if self.outbound.has_unsent_messages() => Loss::Unsent,
            true => Loss::Cut,
            false => Loss::Nothing,
        };
        let is_answer_due = self.closing.handle_peer_close(&frame, loss, now);
        self.end_output(is_answer_due.then(|| (*frame).clone()), now);
    }

    /// The closing handshake has begun by the peer's Close, or by a failure: our Close frame comes next.
    fn end_output(&mut self, close: Option<CloseFrame>, now: Instant) {
        self.inbound.end();
        self.outbound.abort_unsent(self.write_side.held());
        if let Some(frame) = close {
            self.outbound.push_close(frame);
        }
        if self.write_side.is_broken() {
            self.closing.close_lost(now);
        }
        self.on_state_change();
    }

    /// `n` bytes were read from the transport.
    pub(crate) fn handle_read(&mut self, n: usize) {
        self.stats.wire_bytes_received += n as u64;
        self.keepalive.heard();
    }

    /// A read has found the transport empty. `buf`: what was read before and is not whole.
    #[inline]
    pub(crate) fn handle_quiet(&mut self, buf: &[u8], now: impl Fn() -> Instant) {
        if self.is_open() {
            self.keepalive.quiet(&now);
            self.message_timer.quiet(self.stats.wire_bytes_received, self.inbound.begun_control(buf), now);
        }
    }

    /// A deadline of the peer's silence passed, or none. Only the reader may tell, and after a read that found the
    /// transport empty: what was not read is no silence.
    pub(crate) fn handle_silence(&mut self, now: Instant) {
        if !self.is_open() {
            return;
        }
        match self.keepalive.handle_timeout(now) {
            Some(Silence::Ask) => {
                self.queue_keepalive(now);
                if self.write_side.stalled_since().is_some() {
                    self.keepalive.stalled();
                }
            }
            // Nobody is there to be told.
            Some(Silence::Gone) => {
                self.trace.keepalive_lost(self.keepalive.timeout());
                return self.handle_end(Some(Error::timeout(Phase::Keepalive, Some(self.keepalive.timeout()))));
            }
            None => {}
        }
        if self.message_timer.handle_timeout(now) {
            self.fail(Error::timeout(Phase::Message, self.message_timer.timeout()), now);
        }
    }

    fn queue_keepalive(&mut self, now: Instant) {
        // One that has not left asks as well.
        if !self.outbound.has_unsent_keepalive() {
            let payload = Bytes::copy_from_slice(&self.stats.pings_sent.to_be_bytes());
            self.stats.pings_sent += 1;
            self.pings.push_keepalive(payload.clone(), now);
            self.outbound.push_keepalive(payload);
            self.trace.keepalive_sent();
        }
    }

    /// The transport ended, or broke with `cause`.
    pub(crate) fn handle_end(&mut self, cause: Option<Error>) {
        self.inbound.end();
        self.closing.end(cause.or_else(|| self.write_side.error().cloned()));
        self.on_state_change();
    }

    /// The transport takes nothing at the moment although something waits. `held`: how many of the first bytes of
    /// [`output`](Self::output) it may hold all the same, and has to be offered again as they are.
    pub(crate) fn handle_stall(&mut self, held: usize, now: Instant) {
        let is_new = matches!(self.write_side, WriteSide::Flowing);
        let since = self.write_side.stalled_since().unwrap_or(now);
        self.write_side = WriteSide::Stalled { since, held: held.max(self.write_side.held()) };
        self.keepalive.stalled();
        // There may be a deadline now that was not there when the other role began to wait.
        self.must_wake_other |= is_new && self.deadline().is_some();
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
        self.write_side = WriteSide::Broken { error, until };
        self.closing.close_lost(now);
    }

    /// A deadline passed, or none: each is looked at. What has come and was not used up is still for the reader.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        // The peer's Close, or a failure, came before.
        if self.has_pending_end() && is_over(self.deadline()) {
            self.apply_pending_end(now);
        }
        if is_over(self.closing.deadline(self.write_side.stalled_since())) {
            // Whatever was overdue, nothing leaves any more.
            self.closing.overdue(now);
            self.outbound.clear();
        }
        if let WriteSide::Broken { error, until } = &self.write_side
            && *until <= now
        {
            self.closing.end(Some(error.clone()));
        }
        self.handle_write_timeout(now);
        self.on_state_change();
    }

    /// As [`handle_timeout`](Self::handle_timeout), while what has come is still read: the connection does not end yet.
    pub(crate) fn handle_write_timeout(&mut self, now: Instant) {
        if self.write_deadline().is_some_and(|deadline| deadline <= now) {
            self.break_write_side(Error::timeout(Phase::Write, self.write_timeout), now, now);
            self.on_state_change();
        }
    }

    /// Whether, since the last call, something happened for which the other role must look again although the
    /// transport does not tell: a change of state, or a deadline that was not there.
    #[inline]
    pub(crate) fn take_must_wake_other(&mut self) -> bool {
        std::mem::take(&mut self.must_wake_other)
    }

    /// The work that was done since this was asked last, apart from what the caller counts itself, in units of
    /// [`work`].
    #[inline]
    pub(crate) fn take_work(&mut self) -> usize {
        self.inbound.take_work() + self.outbound.take_work()
    }

    // Commands.

    /// Says of all that is queued from now on whether it may be compressed.
    pub(crate) fn set_compression(&mut self, compression: Compression) {
        self.outbound.set_compression(compression);
    }

    /// Queues a message.
    #[inline]
    pub(crate) fn send(&mut self, message: Message) -> Result<(), Error> {
        self.check_open()?;
        self.outbound.push(message);
        Ok(())
    }

    /// Queues a copy of a message that is lent.
    #[inline]
    pub(crate) fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), Error> {
        self.check_open()?;
        self.outbound.push_ref(message);
        Ok(())
    }

    /// Queues a part of a message. Its bytes count as taken also where they cannot be sent any more.
    pub(crate) fn send_part(&mut self, part: Part, now: Instant) -> Result<(), Error> {
        if part.place.is_first() {
            self.abandon_unfinished(now);
        }
        if let Err(error) = self.check_open() {
            self.outbound.abandon_message(part.payload.len());
            return Err(error);
        }
        self.outbound.push_part(part);
        Ok(())
    }

    /// A message that is sent in parts will not be finished: the connection fails, so that what was sent of it never looks
    /// whole. `unsent`: payload bytes that were taken for it, and not queued.
    pub(crate) fn abandon_message(&mut self, unsent: usize, now: Instant) {
        self.outbound.abandon_message(unsent);
        if self.is_open() {
            self.fail(Error::UnfinishedMessage, now);
        }
    }

    /// Something else is to be sent: if a message lacks parts, they will not come.
    pub(crate) fn abandon_unfinished(&mut self, now: Instant) {
        if self.outbound.has_unfinished_message() {
            self.abandon_message(0, now);
        }
    }

    #[inline]
    fn check_open(&self) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(self.send_error().unwrap_or(Error::Closing { by_peer: None })) }
    }

    /// Begins to close, if the connection is open: messages that are queued go out before the Close frame.
    pub(crate) fn close(&mut self, frame: CloseFrame, now: Instant) -> Result<(), InvalidControl> {
        validate_close(&frame)?;
        self.abandon_unfinished(now);
        if self.closing.close(now) {
            self.trace.closing(Side::Local, frame.code());
            self.received_before_close = self.stats.wire_bytes_received;
            self.outbound.push_close(frame);
            if self.write_side.is_broken() {
                self.closing.close_lost(now);
            }
        }
        Ok(())
    }

    /// The application took something at `at` of what waits for it, and for which nothing is read.
    pub(crate) fn handle_taken(&mut self, at: Instant) {
        self.closing.taken(at);
    }

    /// What was read waited for the application between these times, and nothing was read.
    pub(crate) fn handle_held_back(&mut self, from: Instant, until: Instant) {
        // What comes beyond was sent by a peer that could have answered.
        if self.stats.wire_bytes_received - self.received_before_close <= MAX_ON_THE_WAY as u64 {
            self.closing.held_back(from, until);
        }
    }

    /// Ends the connection at once, and tells those that wait for a pong. The caller drops the transport.
    pub(crate) fn abort(&mut self) {
        self.handle_end(Some(Error::Aborted));
    }

    /// From now on messages that come are counted, and not kept.
    pub(crate) fn discard_messages(&mut self) {
        self.inbound.discard_messages();
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, payload: Bytes, now: Instant) -> Result<Pong, Error> {
        self.check_ping(&payload)?;
        let (answer, pong) = PongAnswer::new();
        self.push_ping(payload, answer, now);
        Ok(pong)
    }

    /// Queues a ping for who has its pong already, since `asked`: what is wrong is the answer. `payload`: `None` is one that no
    /// other ping has.
    pub(crate) fn ping_for(&mut self, payload: Option<Bytes>, answer: PongAnswer, asked: Instant) {
        let payload = payload.unwrap_or_else(|| Bytes::copy_from_slice(&self.stats.pings_sent.to_be_bytes()));
        match self.check_ping(&payload) {
            Ok(()) => self.push_ping(payload, answer, asked),
            Err(error) => answer.tell(Err(error)),
        }
    }

    fn check_ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        if let Some(error) = self.send_error() {
            return Err(error);
        }
        validate_payload(payload)?;
        self.pings.check_place(self.unsent_pings())
    }

    fn push_ping(&mut self, payload: Bytes, answer: PongAnswer, asked: Instant) {
        self.pings.push(payload.clone(), answer, asked);
        self.stats.pings_sent += 1;
        self.outbound.push_ping(payload);
    }

    /// Queues a pong that answers no ping (RFC 6455, section 5.5.3), or one that the caller answers once more.
    pub(crate) fn pong(&mut self, payload: Bytes) -> Result<(), Error> {
        if let Some(error) = self.send_error() {
            return Err(error);
        }
        validate_payload(&payload)?;
        self.outbound.push_own_pong(payload);
        Ok(())
    }

    // Output.

    /// Encodes what comes next, as much as is worth a write.
    #[inline]
    pub(crate) fn encode(&mut self) {
        self.outbound.encode();
    }

    /// Whether a frame is being compressed, of which nothing is in the output yet.
    pub(crate) fn is_compressing(&self) -> bool {
        self.outbound.is_compressing()
    }

    /// The bytes to write next.
    #[inline]
    pub(crate) fn output(&self) -> &impl Buf {
        self.outbound.output()
    }

    /// The transport took the first `n` bytes of [`output`](Self::output).
    pub(crate) fn advance(&mut self, n: usize, now: impl FnOnce() -> Instant) {
        self.write_side = WriteSide::Flowing;
        let released = self.outbound.advance(n);
        self.keepalive.taken(n, released.behind_keepalive, now);
        self.stats.wire_bytes_sent += n as u64;
        self.stats.messages_sent += released.messages;
        self.stats.payload_bytes_sent += released.payload;
        if released.close {
            self.closing.close_taken();
        }
    }

    /// The transport was flushed: what it took has left.
    pub(crate) fn handle_flushed(&mut self, now: impl FnOnce() -> Instant) {
        self.write_side = WriteSide::Flowing;
        if self.closing.flushed(now) {
            self.on_state_change();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.deadline(self.write_side.stalled_since());
        let end = match &self.write_side {
            WriteSide::Broken { until, .. } if !self.is_done() => Some(*until),
            _ => None,
        };
        [closing, self.write_deadline(), end].into_iter().flatten().min()
    }

    /// When [`handle_silence`](Self::handle_silence) is to be called, by the reader.
    pub(crate) fn silence_deadline(&self) -> Option<Instant> {
        let silences = [self.keepalive.deadline(), self.message_timer.deadline()];
        silences.into_iter().flatten().min().filter(|_| self.is_open())
    }

    fn write_deadline(&self) -> Option<Instant> {
        Some(self.write_side.stalled_since()? + self.write_timeout?)
    }

    /// The one way to fail: the peer is told why, nothing else is sent, and nothing more is read.
    pub(crate) fn fail(&mut self, error: Error, now: Instant) {
        let close = error.close_code().map(|code| CloseFrame::new(code, ""));
        if self.closing.is_parsing() {
            self.trace.failing(&error);
        }
        let is_close_due = self.closing.fail(error, now);
        self.end_output(close.filter(|_| is_close_due), now);
    }

    /// The other role is to look again, and no pong comes any more once nothing means anything.
    fn on_state_change(&mut self) {
        self.must_wake_other = true;
        if !self.closing.is_parsing() {
            self.end_pings();
        }
    }

    /// Tells the tasks that wait for pongs that none can come.
    fn end_pings(&mut self) {
        if let Some(error) = self.closing.pong_error() {
            self.pings.end(&error);
        }
    }
}
