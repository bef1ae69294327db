//! What goes out: messages become frames, and frames bytes.
//!
//! ```text
//!  push(), push_part() ──► queue ──► partial ──┐       output()
//!     └─────── small, nothing waits ───────────┴──► encoded ─────────► transport
//!  push_pong, _ping, _close ──► control ───────────┘ ledger ◄──────── advance(n)
//! ```

mod burst;
mod control;
mod encoded;
mod ledger;
mod part;
mod partial_message;

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use self::{
    burst::Burst,
    control::{Control, Ping},
    encoded::{Encoded, MAX_HEADER},
    ledger::{EncodedFrame, Ledger, Segment, SegmentKind},
    partial_message::{Frame, PartialMessage, Payload, Then},
};
pub(crate) use self::{
    control::push_latest,
    ledger::Released,
    part::{Part, Place},
};
use crate::{
    close::CloseFrame,
    config::Config,
    limits::{
        CHUNK, COPIED_HEAD, ENCODE_AHEAD, MAX_COPIED_PAYLOAD, MAX_DEFLATED_FRAME, MAX_DEFLATED_INPUT,
        MAX_FRAMES_AT_ONCE, MAX_IDLE_OUTPUT, TLS_RECORD, work,
    },
    message::{Message, MessageRef},
    wire::{
        deflate::{Deflater, Flush},
        frame::{Header, OpCode, RSV1},
        mask::Masks,
    },
};

/// A message, or a part of one, of which nothing has been encoded.
#[derive(Debug)]
struct Queued {
    outgoing: Outgoing,
    /// As it stood when this was queued.
    compression: Compression,
}

#[derive(Debug)]
enum Outgoing {
    Message(Message),
    Part(Part),
}

/// Whether messages may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// If it was agreed on and the message is worth it.
    Allowed,
    /// The caller knows that it gains nothing.
    Off,
}

impl Compression {
    pub(crate) fn from_switch(is_on: bool) -> Self {
        if is_on { Self::Allowed } else { Self::Off }
    }
}

/// How the last message stands of which a part was queued.
#[derive(Debug, PartialEq, Eq)]
enum LastInParts {
    Whole,
    /// Its last part was not queued.
    Unfinished,
}

/// Where control frames are put.
#[derive(Debug)]
enum InsertAt {
    /// Behind all that is encoded.
    End,
    /// Before a frame that is encoded, as there is much.
    Before(EncodedFrame),
}

#[derive(Debug)]
pub(crate) struct Outbound {
    masks: Masks,
    /// There is one if compression was agreed on.
    deflater: Option<Deflater>,
    /// Of what is queued from now on.
    compression: Compression,
    fragment_size: usize,
    high_water_mark: usize,
    queue: VecDeque<Queued>,
    partial: Option<PartialMessage>,
    last_in_parts: LastInParts,
    control: Control,
    encoded: Encoded,
    /// What `encoded` consists of.
    ledger: Ledger,
    burst: Burst,
    /// What a frame is compressed into.
    body: Vec<u8>,
    /// What was done since it was asked last, in units of [`work`].
    work: usize,
}

impl Outbound {
    pub(crate) fn new(config: &Config, deflater: Option<Deflater>) -> Self {
        Self {
            masks: Masks::new(),
            deflater,
            compression: Compression::Allowed,
            fragment_size: config.fragment_size.unwrap_or(usize::MAX),
            high_water_mark: config.write_high_water_mark,
            queue: VecDeque::new(),
            partial: None,
            last_in_parts: LastInParts::Whole,
            control: Control::new(),
            encoded: Encoded::default(),
            ledger: Ledger::default(),
            burst: Burst::new(),
            body: Vec::new(),
            work: 0,
        }
    }

    // What is asked of it.

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.ledger.buffered()
    }

    /// Whether a message is queued of which not every byte was taken. An empty message counts, and one that lacks parts.
    pub(crate) fn has_unsent_messages(&self) -> bool {
        self.has_unsent_payload() || self.has_unfinished_message()
    }

    /// Whether a message or a part of one is queued of which not every byte was taken.
    pub(crate) fn has_unsent_payload(&self) -> bool {
        self.ledger.cost() > 0
    }

    /// Pings of the user of which not every byte was taken.
    pub(crate) fn unsent_pings(&self) -> usize {
        self.control.user_pings() + self.ledger.pings()
    }

    /// Whether keepalive has a ping of which not every byte was taken.
    pub(crate) fn has_unsent_keepalive(&self) -> bool {
        self.control.has_keepalive() || self.ledger.has_keepalive()
    }

    /// Whether a pong or a ping waits that may go.
    pub(crate) fn has_unsent_control(&self) -> bool {
        let is_encoded = self.ledger.has_pongs() || self.ledger.pings() > 0;
        is_encoded || self.control.has_pongs_or_pings() && !self.control.is_close_encoded()
    }

    #[inline]
    pub(crate) fn is_above_high_water_mark(&self) -> bool {
        self.ledger.cost() >= self.high_water_mark
    }

    /// The cost of all messages, and parts of messages, that were queued and not wholly taken by the transport.
    pub(crate) fn queued_cost(&self) -> usize {
        self.ledger.cost()
    }

    /// How much more is worth encoding, in bytes. 0: something waits to be encoded.
    pub(crate) fn room(&self) -> usize {
        let is_waiting = !self.queue.is_empty() || self.partial.as_ref().is_some_and(|partial| !partial.is_waiting());
        if is_waiting { 0 } else { ENCODE_AHEAD.saturating_sub(self.encoded.len()) }
    }

    /// Whether what is queued is worth a write although nobody asked for a flush.
    #[inline]
    pub(crate) fn should_write(&self) -> bool {
        self.has_much() || self.partial.as_ref().is_some_and(|partial| !partial.is_waiting())
    }

    /// Whether much is encoded, or something waits behind it.
    #[inline]
    fn has_much(&self) -> bool {
        self.encoded.len() >= self.burst.min_write || !self.queue.is_empty() || self.is_above_high_water_mark()
    }

    /// Whether another message may be queued at once: nothing is worth a write, and no message lacks parts.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.partial.is_none() && !self.has_much()
    }

    /// Whether the last part of a message was not queued.
    pub(crate) fn has_unfinished_message(&self) -> bool {
        self.last_in_parts == LastInParts::Unfinished
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    // What it is told to send.

    /// Says of all that is queued from now on whether it may be compressed.
    pub(crate) fn set_compression(&mut self, compression: Compression) {
        self.compression = compression;
    }

    /// Queues a message.
    #[inline]
    pub(crate) fn push(&mut self, message: Message) {
        if !self.try_encode((&message).into()) {
            self.enqueue(Outgoing::Message(message));
        }
    }

    /// Queues a message that is lent: it is copied into the output or, where something waits before it, into a message of
    /// its own.
    #[inline]
    pub(crate) fn push_ref(&mut self, message: MessageRef<'_>) {
        if !self.try_encode(message) {
            self.enqueue(Outgoing::Message(message.to_message()));
        }
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        self.queue.push_back(Queued { outgoing, compression: self.compression });
    }

    /// Queues a part of a message. Until its last part nothing but parts of it may be queued.
    pub(crate) fn push_part(&mut self, part: Part) {
        let len = part.payload.len();
        self.ledger.queued(len);
        self.last_in_parts = if part.place.is_last() { LastInParts::Whole } else { LastInParts::Unfinished };
        if !self.queue.is_empty() || self.partial.as_ref().is_some_and(|partial| !partial.is_waiting()) {
            self.enqueue(Outgoing::Part(part));
            return;
        }
        self.begin_part(part, self.compression);
        if len <= MAX_COPIED_PAYLOAD && self.encoded.len() + len <= ENCODE_AHEAD {
            self.encode_piece();
        }
    }

    /// No more parts of the last message will come, of which the caller has another `unsent` bytes: they count as those of
    /// messages that were dropped.
    pub(crate) fn abandon_message(&mut self, unsent: usize) {
        self.ledger.queued(unsent);
        self.last_in_parts = LastInParts::Whole;
    }

    /// Encodes a message if nothing waits before it and it is small. Else it has to wait.
    #[inline]
    fn try_encode(&mut self, message: MessageRef<'_>) -> bool {
        let len = message.len();
        self.ledger.queued(len);
        let is_next = self.partial.is_none() && self.queue.is_empty();
        let is_due = is_next && self.is_small(len) && self.encoded.len() + len <= ENCODE_AHEAD;
        if is_due {
            self.encode_small(message, self.compression);
        }
        is_due
    }

    /// Queues the answer to a ping.
    pub(crate) fn push_pong(&mut self, payload: Bytes) {
        self.control.push_pong(payload);
        self.encode_control();
    }

    /// Queues a pong of the caller's own. It is encoded by the next write: the latest leave.
    pub(crate) fn push_own_pong(&mut self, payload: Bytes) {
        self.control.push_own_pong(payload);
    }

    /// Queues a ping of the user. The caller bounds their number.
    pub(crate) fn push_ping(&mut self, payload: Bytes) {
        self.control.push_ping(Ping::OfUser(payload));
        self.encode_control();
    }

    /// Queues a ping of keepalive. The caller sees to it that there is one.
    pub(crate) fn push_keepalive(&mut self, payload: Bytes) {
        self.control.push_ping(Ping::OfKeepalive(payload));
        self.encode_control();
    }

    /// Queues our Close frame, behind all messages that are queued now. There is one only.
    pub(crate) fn push_close(&mut self, frame: CloseFrame) {
        self.control.push_close(frame);
    }

    /// Drops everything of which the transport has taken nothing, but for the rest of each frame that it has begun to
    /// take or of which it holds a part: these are the first `held` encoded bytes. What is dropped stays in
    /// [`buffered_amount`](Self::buffered_amount).
    pub(crate) fn abort_unsent(&mut self, held: usize) {
        self.queue.clear();
        let aborted = self.ledger.abort_unsent(held);
        self.encoded.truncate(aborted.len);
        self.control.abort_unsent(aborted.is_close_dropped);
        self.partial =
            self.partial.take().filter(|_| aborted.is_last_frame_kept).and_then(PartialMessage::only_this_frame);
    }

    /// Drops everything, for good: the transport takes nothing any more. Nothing of it counts as sent.
    pub(crate) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.partial = None;
        self.encoded = Encoded::default();
        self.ledger.clear();
        self.control.clear();
    }

    // What the transport takes.

    /// Encodes what comes next, as much as is worth a write.
    #[inline]
    pub(crate) fn encode(&mut self) {
        if self.has_more_to_encode() {
            self.fill();
        }
    }

    /// Whether a frame is being compressed, of which nothing is in the output yet.
    pub(crate) fn is_compressing(&self) -> bool {
        self.partial.as_ref().is_some_and(PartialMessage::is_compressing)
    }

    /// The bytes to write next.
    #[inline]
    pub(crate) fn output(&self) -> &impl Buf {
        &self.encoded
    }

    /// The transport took the first `n` bytes of [`output`](Self::output).
    pub(crate) fn advance(&mut self, n: usize) -> Released {
        self.encoded.advance(n);
        self.burst.written(n, self.encoded.len());
        self.ledger.taken(n)
    }

    /// Whether [`shrink`](Self::shrink) frees something: buffers larger than those of a connection that sends little.
    pub(crate) fn can_shrink(&self) -> bool {
        let queue = self.queue.capacity() * size_of::<Queued>();
        let is_large =
            self.encoded.allocated() + self.ledger.allocated() + queue + self.body.capacity() > MAX_IDLE_OUTPUT;
        is_large && self.encoded.len() == 0 && self.queue.is_empty()
    }

    /// Frees buffers that hold nothing.
    pub(crate) fn shrink(&mut self) {
        self.encoded.shrink();
        self.queue.shrink_to_fit();
        self.ledger.shrink_to_fit();
        self.body = Vec::new();
        self.burst = Burst::new();
    }

    /// The work that was done since this was asked last.
    #[inline]
    pub(crate) fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    // How messages become bytes.

    /// Whether a message with a payload of `len` bytes is encoded at once.
    #[inline]
    fn is_small(&self, len: usize) -> bool {
        len <= MAX_COPIED_PAYLOAD
            && (len <= self.fragment_size || len.div_ceil(self.fragment_size) <= MAX_FRAMES_AT_ONCE)
    }

    #[inline]
    fn has_more_to_encode(&self) -> bool {
        !self.queue.is_empty() || self.partial.is_some() || self.control.is_waiting()
    }

    /// Encodes what comes next, up to what is worth encoding ahead.
    ///
    /// Out of line: within `encode` it costs each write of small messages some 10 instructions, which need none of it.
    #[inline(never)]
    fn fill(&mut self) {
        let before = self.work;
        while self.work - before < work::PER_ENCODE {
            if self.control.has_pongs_or_pings() {
                self.encode_control();
            }
            if self.partial.as_ref().is_some_and(|partial| !partial.is_waiting()) {
                if !self.encode_piece() {
                    break;
                }
                continue;
            }
            if self.encoded.len() >= ENCODE_AHEAD {
                break;
            }
            let Some(Queued { outgoing, compression }) = self.next_queued() else { break };
            match outgoing {
                Outgoing::Message(message) if self.is_small(message.len()) => {
                    self.encode_small((&message).into(), compression);
                }
                Outgoing::Message(message) => {
                    let is_compressed = self.is_compressed(message.len(), compression);
                    self.partial = Some(PartialMessage::new(message, is_compressed));
                }
                Outgoing::Part(part) => self.begin_part(part, compression),
            }
        }
        if self.is_close_next() {
            // The last pongs: none may follow it (RFC 6455, section 5.5.1).
            self.encode_pongs_and_pings(true);
            if let Some(payload) = self.control.take_close() {
                self.encode_whole(OpCode::Close, &payload, SegmentKind::Close);
            }
        }
    }

    /// Whether our Close frame waits, and no message before it.
    fn is_close_next(&self) -> bool {
        self.control.has_close() && self.partial.is_none() && self.queue.is_empty()
    }

    /// What comes next of what is queued. Nothing comes between the parts of a message (RFC 6455, section 5.4).
    fn next_queued(&mut self) -> Option<Queued> {
        let is_in_message = self.partial.is_some();
        let is_part = |queued: &Queued| matches!(queued.outgoing, Outgoing::Part(_));
        if is_in_message && !self.queue.front().is_some_and(is_part) {
            return None;
        }
        self.queue.pop_front()
    }

    /// A part of a message is to be encoded next. Its first part decides whether the message is compressed: how long it
    /// will be is not known.
    fn begin_part(&mut self, part: Part, compression: Compression) {
        let Part { kind, place, payload } = part;
        let is_compressed = place.is_first() && self.is_compressed(payload.len(), compression);
        let partial = self.partial.get_or_insert_with(|| PartialMessage::in_parts(kind, is_compressed));
        partial.take_part(payload, if place.is_last() { Then::End } else { Then::NextPart });
    }

    /// Whether a message with a payload of `len` bytes goes out compressed.
    #[inline]
    fn is_compressed(&self, len: usize, compression: Compression) -> bool {
        match &self.deflater {
            Some(deflater) => {
                compression == Compression::Allowed
                    && deflater.should_compress(len)
                    && len.min(self.fragment_size) <= MAX_DEFLATED_FRAME
            }
            None => false,
        }
    }

    /// Encodes a whole message.
    #[inline]
    fn encode_small(&mut self, message: MessageRef<'_>, compression: Compression) {
        let (opcode, payload) = (OpCode::of(message.kind()), message.as_bytes());
        if payload.len() > self.fragment_size {
            self.encode_fragments(opcode, payload, compression);
        } else if self.is_compressed(payload.len(), compression) {
            let header = Header { fin: true, rsv: RSV1, opcode, len: 0 };
            self.encode_compressed(header, payload, SegmentKind::Message);
        } else {
            self.encode_whole(opcode, payload, SegmentKind::Message);
        }
    }

    /// Encodes a whole message in several frames.
    fn encode_fragments(&mut self, opcode: OpCode, payload: &[u8], compression: Compression) {
        let is_compressed = self.is_compressed(payload.len(), compression);
        let last = payload.len().div_ceil(self.fragment_size) - 1;
        for (i, fragment) in payload.chunks(self.fragment_size).enumerate() {
            let (opcode, rsv) = match i {
                // The bit says of the message that it is compressed, on its first frame alone (RFC 7692, section 6).
                0 if is_compressed => (opcode, RSV1),
                0 => (opcode, 0),
                _ => (OpCode::Continuation, 0),
            };
            let header = Header { fin: i == last, rsv, opcode, len: fragment.len() as u64 };
            let kind = if i == last { SegmentKind::LastPiece } else { SegmentKind::Piece };
            if i == last {
                self.ledger.queue_last_piece(payload.len());
            }
            if is_compressed {
                self.encode_compressed(header, fragment, kind);
            } else {
                self.encode_frame(&header, fragment, fragment.len(), kind);
            }
        }
    }

    /// Encodes a whole frame, compressed. The header's length is that of the compressed body.
    fn encode_compressed(&mut self, header: Header, payload: &[u8], kind: SegmentKind) {
        let Some(deflater) = &mut self.deflater else { return };
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        deflater.compress(payload, if header.fin { Flush::Message } else { Flush::Frame }, &mut body);
        self.work += work::DEFLATED_FRAME + payload.len() / work::DEFLATED_BYTES;
        self.encode_frame(&Header { len: body.len() as u64, ..header }, &body, payload.len(), kind);
        self.body = body;
    }

    /// Encodes a whole frame, whose body stands for `payload` bytes of a message.
    #[inline]
    fn encode_frame(&mut self, header: &Header, body: &[u8], payload: usize, kind: SegmentKind) {
        let header = self.encoded.push_frame(header, self.masks.next(), body);
        self.work += 1;
        self.ledger.encoded(Segment { kind, header, body: body.len() as u32, payload: payload as u32 });
    }

    /// Encodes a whole frame as it is.
    #[inline]
    fn encode_whole(&mut self, opcode: OpCode, payload: &[u8], kind: SegmentKind) {
        let header = Header { fin: true, rsv: 0, opcode, len: payload.len() as u64 };
        let of_message = if kind == SegmentKind::Message { payload.len() } else { 0 };
        self.encode_frame(&header, payload, of_message, kind);
    }

    /// Encodes the next piece of the current message: the rest of its frame, or a part of that. Returns whether it did:
    /// it waits until there is room for it, so that the buffer stays small and control frames need not wait long.
    fn encode_piece(&mut self) -> bool {
        let Some(mut partial) = self.partial.take() else { return false };
        let left = match &partial.frame {
            Some(Frame::Plain { left, .. } | Frame::Compressed { left, .. }) => *left,
            None => partial.rest.len().min(self.fragment_size),
        };
        // A compressed frame is encoded as a whole, since its header has its length.
        let mut piece = if partial.is_compressed { left } else { left.min(CHUNK) };
        if !self.burst.has_room(self.encoded.len(), piece) {
            self.partial = Some(partial);
            return false;
        }
        let (header, body) = match &mut self.deflater {
            Some(deflater) if partial.is_compressed => {
                self.work += work::DEFLATED_FRAME + left.min(MAX_DEFLATED_INPUT) / work::DEFLATED_BYTES;
                let Some((body, len, is_last)) = partial.compress(deflater, left) else {
                    self.partial = Some(partial);
                    return true;
                };
                let header = partial.next_header(body.len(), is_last);
                piece = len;
                (self.encoded.push_frame(&header, self.masks.next(), &body), body.len())
            }
            _ => (self.encode_part(&mut partial, left, piece), piece),
        };
        self.work += 1;
        partial.is_begun = true;
        let kind = match partial.then {
            _ if partial.is_rest_left() => SegmentKind::Piece,
            Then::Cut => SegmentKind::Piece,
            Then::NextPart => SegmentKind::LastPieceOfPart,
            Then::End => SegmentKind::LastPiece,
        };
        if kind != SegmentKind::Piece {
            self.ledger.queue_last_piece(partial.len);
        }
        self.ledger.encoded(Segment { kind, header, body: body as u32, payload: piece as u32 });
        if partial.is_waiting() {
            partial.wait();
        }
        if partial.is_rest_left() || partial.is_waiting() {
            self.partial = Some(partial);
        }
        true
    }

    /// Encodes the next `n` bytes as they are, of `left` in their frame, and its header if it begins. Returns the length
    /// of that.
    fn encode_part(&mut self, partial: &mut PartialMessage, left: usize, n: usize) -> u8 {
        let copied = match &partial.rest {
            Payload::Owned(_) if n > MAX_COPIED_PAYLOAD && partial.frame.is_some() => 0,
            Payload::Owned(_) if n > MAX_COPIED_PAYLOAD => COPIED_HEAD,
            _ => n,
        };
        self.encoded.reserve(if copied < n {
            MAX_HEADER + copied
        } else {
            // For all that this write may have of it, since a buffer that grows bit by bit doubles.
            let (rest, frames) = (partial.rest.len(), partial.rest.len().div_ceil(self.fragment_size));
            MAX_HEADER + self.burst.room(self.encoded.len()).min(rest.saturating_add(frames.saturating_mul(MAX_HEADER)))
        });
        let (header, mut mask) = match partial.frame.take() {
            Some(Frame::Plain { mask, .. }) => (0, mask),
            Some(Frame::Compressed { .. }) | None => {
                let mask = self.masks.next();
                let header = partial.next_header(left, partial.is_last_frame(left));
                (self.encoded.push_header(&header, mask), mask)
            }
        };
        match &mut partial.rest {
            Payload::Shared(rest) => self.encoded.push_copy(&rest.split_to(n), &mut mask),
            Payload::Owned(rest) => {
                self.encoded.push_copy(&rest.split_to(copied), &mut mask);
                if n > copied {
                    self.encoded.push_in_place(rest.split_to(n - copied), &mut mask);
                }
            }
        }
        if left > n {
            partial.frame = Some(Frame::Plain { mask, left: left - n });
        }
        header
    }

    /// Encodes the control frames that may go before the messages that wait.
    fn encode_control(&mut self) {
        // A further batch is encoded when the one before is out, which bounds what a flood of pings costs.
        self.encode_pongs_and_pings(!self.ledger.has_pongs());
    }

    fn encode_pongs_and_pings(&mut self, are_pongs_due: bool) {
        if !are_pongs_due && !self.control.has_pings() {
            return;
        }
        let Some(at) = self.insert_position() else { return };
        let (end, segments) = (self.encoded.len(), self.ledger.len());
        if are_pongs_due {
            while let Some(payload) = self.control.take_pong() {
                self.encode_whole(OpCode::Pong, &payload, SegmentKind::Pong);
            }
        }
        while let Some(ping) = self.control.take_ping() {
            let (payload, kind) = match ping {
                Ping::OfUser(payload) => (payload, SegmentKind::Ping),
                Ping::OfKeepalive(payload) => (payload, SegmentKind::Keepalive),
            };
            self.encode_whole(OpCode::Ping, &payload, kind);
        }
        if let InsertAt::Before(frame) = at {
            let added = self.encoded.len() - end;
            self.encoded.move_last(added, frame.start);
            self.ledger.move_last_before(frame, self.ledger.len() - segments);
        }
    }

    /// Where a control frame may go now: never into a frame, nor behind the Close frame (RFC 6455, sections 5.4, 5.5.1).
    fn insert_position(&self) -> Option<InsertAt> {
        let is_mid_frame = self.partial.as_ref().is_some_and(PartialMessage::is_mid_frame);
        if self.control.is_close_encoded() {
            None
        } else if self.encoded.len() > ENCODE_AHEAD
            && let Some(frame) = self.ledger.frame_from(TLS_RECORD)
        {
            Some(InsertAt::Before(frame))
        } else {
            (!is_mid_frame).then_some(InsertAt::End)
        }
    }
}
