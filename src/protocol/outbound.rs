//! What goes out: messages become frames, frames become bytes, and each byte taken by the transport is accounted for.
//!
//! ```text
//!  push() ──► waiting ──► current ──┐                     output()          advance(n)
//!     └──── small, nothing waits ───┴──► encoded [+ body] ────────► transport ────────► segments
//!  pongs, pings, Close ─────────────────────┘                                    payload released
//! ```

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    close::CloseFrame,
    config::Config,
    frame::{Header, OpCode},
    mask::{Mask, Masks},
    message::{Kind, Message},
};

/// Encoded bytes from which on no further message is encoded ahead, so that control frames do not wait behind more.
const ENCODE_AHEAD: usize = 128 * 1024;

/// Encoded bytes from which on they are worth a write of their own.
const WRITE_AT: usize = 64 * 1024;

/// Payloads up to this size are copied next to other frames; larger ones are sent without a copy where they are owned.
const COPY_UP_TO: usize = 16 * 1024;

/// How much of a large payload is masked at a time, so that it is still in the second-level cache when it is written.
const CHUNK: usize = 256 * 1024;

/// How much of a chunk that goes out without a copy is copied behind its header all the same, so that the header never
/// leaves alone where the transport cannot write two slices at once.
const COPIED_HEAD: usize = 4 * 1024;

/// What a message costs besides its payload while it is queued, in bytes: header and bookkeeping.
const MESSAGE_COST: usize = 32;

/// Pongs that wait. Of more pings only the latest are answered (RFC 6455, section 5.5.3).
const MAX_PONGS: usize = 16;

/// Output bytes that belong to one frame, or to a part of a large one.
#[derive(Debug)]
struct Segment {
    /// Bytes of the frame header; 0 where an earlier segment has it.
    header: u8,
    what: What,
    /// Bytes behind the header, each of which is a byte of payload.
    body: u32,
}

#[derive(Debug)]
enum What {
    /// A piece of a message with more to come.
    Piece,
    /// The last, or only, piece of a message that has this cost.
    Last {
        cost: usize,
    },
    Pong,
    Ping,
    Close,
}

impl Segment {
    fn len(&self) -> usize {
        usize::from(self.header) + self.body as usize
    }

    /// How many payload bytes of a message are among the first `written` bytes.
    fn payload_in(&self, written: usize) -> usize {
        match self.what {
            What::Piece | What::Last { .. } => written.saturating_sub(usize::from(self.header)),
            What::Pong | What::Ping | What::Close => 0,
        }
    }
}

/// A message of which a part is still to be encoded.
#[derive(Debug)]
struct Current {
    kind: Kind,
    rest: Payload,
    /// What its last piece releases; `None` once it was cut, so that its last piece will not come.
    cost: Option<usize>,
    /// Whether its first frame has been begun.
    is_begun: bool,
    /// The frame that has been begun: its mask, and how much of it is still to be encoded.
    frame: Option<(Mask, usize)>,
}

/// A payload that is copied when it is masked, since others may hold it, or one that is masked in place.
#[derive(Debug)]
enum Payload {
    Shared(Bytes),
    Owned(BytesMut),
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Shared(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Self::Shared(bytes) => bytes.truncate(len),
            Self::Owned(bytes) => bytes.truncate(len),
        }
    }
}

/// Our Close frame.
#[derive(Debug)]
enum Close {
    None,
    Queued(CloseFrame),
    /// Nothing may follow it (RFC 6455, section 5.5.1).
    Encoded,
}

/// What a call of [`Outbound::advance`] let go.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) messages: u64,
    pub(crate) payload: u64,
    /// The Close frame was among it.
    pub(crate) close: bool,
}

#[derive(Debug)]
pub(crate) struct Outbound {
    masks: Masks,
    fragment_size: usize,
    high_water_mark: usize,
    /// Messages of which nothing has been encoded.
    waiting: VecDeque<Message>,
    current: Option<Current>,
    /// Small frames together, and headers.
    encoded: BytesMut,
    /// A piece of a large payload, masked in place; it goes out behind `encoded`. Empty: there is none.
    body: BytesMut,
    /// What `encoded` and `body` consist of, in order.
    segments: VecDeque<Segment>,
    /// How much of the first segment has been taken by the transport.
    written: usize,
    pongs: VecDeque<Bytes>,
    /// Pongs among `segments`. A further batch is encoded when they are out, which bounds what a flood of pings costs.
    pongs_encoded: usize,
    pings: VecDeque<Bytes>,
    /// Pings of which not every byte was taken.
    unsent_pings: usize,
    close: Close,
    /// Payload bytes of messages that were pushed and not taken by the transport.
    buffered: u64,
    /// The cost of all messages that were pushed and not wholly taken by the transport.
    cost: usize,
}

impl Outbound {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            masks: Masks::new(),
            fragment_size: config.fragment_size.unwrap_or(usize::MAX),
            high_water_mark: config.write_high_water_mark,
            waiting: VecDeque::new(),
            current: None,
            encoded: BytesMut::new(),
            body: BytesMut::new(),
            segments: VecDeque::new(),
            written: 0,
            pongs: VecDeque::new(),
            pongs_encoded: 0,
            pings: VecDeque::new(),
            unsent_pings: 0,
            close: Close::None,
            buffered: 0,
            cost: 0,
        }
    }

    // What is asked of it.

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.buffered
    }

    /// Whether a message is queued of which not every byte was taken, be it an empty one.
    pub(crate) fn has_unsent_messages(&self) -> bool {
        self.cost > 0
    }

    pub(crate) fn unsent_pings(&self) -> usize {
        self.unsent_pings
    }

    pub(crate) fn is_at_mark(&self) -> bool {
        self.cost >= self.high_water_mark
    }

    /// Whether what is queued is worth a write although nobody asked for a flush.
    pub(crate) fn is_worth_a_write(&self) -> bool {
        // What waits is large, or stands behind much.
        self.encoded.len() + self.body.len() >= WRITE_AT || !self.waiting.is_empty() || self.is_at_mark()
    }

    // What it is told to send.

    /// Queues a message.
    #[inline]
    pub(crate) fn push(&mut self, message: Message) {
        let len = message.len();
        self.buffered += len as u64;
        self.cost += len + MESSAGE_COST;
        let is_next = self.current.is_none() && self.waiting.is_empty() && self.body.is_empty();
        if is_next && self.is_small(len) && self.encoded.len() + len <= ENCODE_AHEAD {
            self.encode_small(&message);
        } else {
            self.waiting.push_back(message);
        }
    }

    /// Queues the answer to a ping.
    pub(crate) fn push_pong(&mut self, payload: Bytes) {
        if self.pongs.len() == MAX_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
        self.encode_control();
    }

    /// Queues a ping of our own. The caller bounds their number.
    pub(crate) fn push_ping(&mut self, payload: Bytes) {
        self.unsent_pings += 1;
        self.pings.push_back(payload);
        self.encode_control();
    }

    /// Queues our Close frame, behind all messages that are queued now. There is one only.
    pub(crate) fn push_close(&mut self, frame: CloseFrame) {
        if matches!(self.close, Close::None) {
            self.close = Close::Queued(frame);
        }
    }

    /// Drops everything of which the transport has taken nothing, but for the rest of a frame that it has begun to
    /// take. What is dropped stays in [`buffered_amount`](Self::buffered_amount).
    pub(crate) fn cut(&mut self) {
        self.waiting.clear();
        self.pongs.clear();
        self.pings.clear();
        // The frame under way ends where the next one begins, and so does what is kept.
        let is_begun = self.written > 0 || self.segments.front().is_some_and(|segment| segment.header == 0);
        let is_kept = |&(i, segment): &(usize, &Segment)| is_begun && (i == 0 || segment.header == 0);
        let kept = self.segments.iter().enumerate().take_while(is_kept).count();
        // The frame being encoded is the last one of the segments, or all that was encoded of it is out.
        let is_current_kept = kept == self.segments.len();
        self.segments.truncate(kept);
        let len = self.segments.iter().map(Segment::len).sum::<usize>() - self.written;
        self.body.truncate(len.saturating_sub(self.encoded.len()));
        self.encoded.truncate(len);
        self.pongs_encoded = self.segments.iter().filter(|segment| matches!(segment.what, What::Pong)).count();
        self.unsent_pings = self.segments.iter().filter(|segment| matches!(segment.what, What::Ping)).count();
        if !self.segments.iter().any(|segment| matches!(segment.what, What::Close)) {
            self.close = Close::None;
        }
        self.current = self.current.take().filter(|_| is_current_kept).and_then(Current::only_this_frame);
    }

    /// Drops everything, for good: the transport takes nothing any more. Nothing of it counts as sent.
    pub(crate) fn discard(&mut self) {
        self.waiting = VecDeque::new();
        self.current = None;
        self.encoded = BytesMut::new();
        self.body = BytesMut::new();
        self.segments = VecDeque::new();
        self.written = 0;
        self.pongs.clear();
        self.pongs_encoded = 0;
        self.pings.clear();
        self.unsent_pings = 0;
        self.close = Close::Encoded;
    }

    // What the transport takes.

    /// The bytes to write next, in two slices of which the second may be empty. Both empty: there is nothing.
    #[inline]
    pub(crate) fn output(&mut self) -> [IoSlice<'_>; 2] {
        self.fill();
        [IoSlice::new(&self.encoded), IoSlice::new(&self.body)]
    }

    /// The transport took the first `n` bytes of [`output`](Self::output).
    pub(crate) fn advance(&mut self, mut n: usize) -> Released {
        let of_encoded = n.min(self.encoded.len());
        if of_encoded == self.encoded.len() {
            self.encoded.clear();
        } else {
            self.encoded.advance(of_encoded);
        }
        if n > of_encoded {
            self.body.advance(n - of_encoded);
            if self.body.is_empty() {
                // The payload was the user's: its memory is not kept.
                self.body = BytesMut::new();
            }
        }

        let mut released = Released::default();
        while n > 0 {
            let Some(segment) = self.segments.front() else { break };
            let end = (self.written + n).min(segment.len());
            n -= end - self.written;
            released.payload += (segment.payload_in(end) - segment.payload_in(self.written)) as u64;
            self.written = end;
            if end == segment.len() {
                match segment.what {
                    What::Last { cost } => {
                        released.messages += 1;
                        self.cost -= cost;
                    }
                    What::Pong => self.pongs_encoded -= 1,
                    What::Ping => self.unsent_pings -= 1,
                    What::Close => released.close = true,
                    What::Piece => {}
                }
                self.segments.pop_front();
                self.written = 0;
            }
        }
        self.buffered -= released.payload;
        released
    }

    // How messages become bytes.

    fn is_small(&self, len: usize) -> bool {
        len <= COPY_UP_TO && len <= self.fragment_size
    }

    /// Encodes what comes next, up to what is worth encoding ahead.
    fn fill(&mut self) {
        self.encode_control();
        while self.body.is_empty() && self.encoded.len() < ENCODE_AHEAD {
            if self.current.is_some() {
                if !self.encode_piece() {
                    break;
                }
                continue;
            }
            match self.waiting.pop_front() {
                Some(message) if self.is_small(message.len()) => self.encode_small(&message),
                Some(message) => self.current = Some(Current::new(message)),
                None => break,
            }
        }
        // What is encoded now would go out before the body.
        if self.body.is_empty() && self.current.is_none() && self.waiting.is_empty() {
            self.encode_close();
        }
    }

    /// Encodes a message that is one frame.
    #[inline]
    fn encode_small(&mut self, message: &Message) {
        let payload = message.as_bytes();
        let opcode = match message.kind() {
            Kind::Text => OpCode::Text,
            Kind::Binary => OpCode::Binary,
        };
        self.encode_frame(opcode, payload, What::Last { cost: payload.len() + MESSAGE_COST });
    }

    /// Encodes a whole frame that ends its message.
    #[inline]
    fn encode_frame(&mut self, opcode: OpCode, payload: &[u8], what: What) {
        let mut mask = self.masks.next();
        let header = Header { fin: true, rsv: 0, opcode, len: payload.len() as u64 };
        self.encoded.reserve(MAX_HEADER + payload.len());
        let header = header.encode(mask.key(), &mut self.encoded) as u8;
        mask.copy(payload, &mut self.encoded);
        self.segments.push_back(Segment { header, what, body: payload.len() as u32 });
    }

    /// Encodes the next piece of the current message: the rest of its frame, or a chunk of that. Returns whether it did:
    /// a large piece that must be copied waits until the buffer is empty, so that the buffer stays small.
    fn encode_piece(&mut self) -> bool {
        let Some(current) = &mut self.current else { return false };
        let left = current.frame.as_ref().map_or(current.rest.len().min(self.fragment_size), |(_, left)| *left);
        let piece = left.min(CHUNK);
        let is_copied = matches!(current.rest, Payload::Shared(_));
        if is_copied && !self.encoded.is_empty() && self.encoded.len() + piece > ENCODE_AHEAD {
            return false;
        }
        self.encoded.reserve(MAX_HEADER + if is_copied { piece } else { COPIED_HEAD });
        let (header, mut mask) = match current.frame.take() {
            Some((mask, _)) => (0, mask),
            None => {
                let mask = self.masks.next();
                let header = current.next_header(left).encode(mask.key(), &mut self.encoded);
                current.is_begun = true;
                (header as u8, mask)
            }
        };
        match &mut current.rest {
            Payload::Shared(rest) => mask.copy(&rest.split_to(piece), &mut self.encoded),
            Payload::Owned(rest) => {
                let head = rest.split_to(piece.min(COPIED_HEAD));
                mask.copy(&head, &mut self.encoded);
                if piece > head.len() {
                    self.body = rest.split_to(piece - head.len());
                    mask.apply(&mut self.body);
                }
            }
        }
        if left > piece {
            current.frame = Some((mask, left - piece));
        }
        let is_encoded = current.frame.is_none() && current.rest.len() == 0;
        let what = match current.cost {
            Some(cost) if is_encoded => What::Last { cost },
            _ => What::Piece,
        };
        self.segments.push_back(Segment { header, what, body: piece as u32 });
        if is_encoded {
            self.current = None;
        }
        true
    }

    /// Encodes the control frames that may go before the messages that wait.
    fn encode_control(&mut self) {
        let is_mid_frame = self.current.as_ref().is_some_and(|current| current.frame.is_some());
        if is_mid_frame || !self.body.is_empty() || matches!(self.close, Close::Encoded) {
            return;
        }
        if self.pongs_encoded == 0 {
            while let Some(payload) = self.pongs.pop_front() {
                self.encode_frame(OpCode::Pong, &payload, What::Pong);
                self.pongs_encoded += 1;
            }
        }
        while let Some(payload) = self.pings.pop_front() {
            self.encode_frame(OpCode::Ping, &payload, What::Ping);
        }
    }

    fn encode_close(&mut self) {
        let Close::Queued(frame) = &self.close else { return };
        let mut payload = Vec::new();
        if let Some(code) = frame.code() {
            payload.extend_from_slice(&u16::from(code).to_be_bytes());
            payload.extend_from_slice(frame.reason().as_bytes());
        }
        self.close = Close::Encoded;
        self.encode_frame(OpCode::Close, &payload, What::Close);
    }
}

/// The longest header of a client's frame, in bytes.
const MAX_HEADER: usize = 14;

impl Current {
    fn new(message: Message) -> Self {
        let (kind, cost) = (message.kind(), Some(message.len() + MESSAGE_COST));
        let rest = match message.into_bytes().try_into_mut() {
            Ok(owned) => Payload::Owned(owned),
            Err(shared) => Payload::Shared(shared),
        };
        Self { kind, rest, cost, is_begun: false, frame: None }
    }

    /// What is left of it when it may only finish the frame that it is in.
    fn only_this_frame(mut self) -> Option<Self> {
        let (_, left) = self.frame?;
        if left < self.rest.len() {
            self.rest.truncate(left);
            self.cost = None;
        }
        Some(self)
    }

    /// The header of its next frame, which takes `len` bytes of what is left.
    fn next_header(&self, len: usize) -> Header {
        let opcode = match (self.is_begun, self.kind) {
            (true, _) => OpCode::Continuation,
            (false, Kind::Text) => OpCode::Text,
            (false, Kind::Binary) => OpCode::Binary,
        };
        Header { fin: len == self.rest.len(), rsv: 0, opcode, len: len as u64 }
    }
}
