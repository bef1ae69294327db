//! What goes out: messages become frames, and frames bytes.
//!
//! ```text
//!  push() ──► waiting ──► current ──┐                    output()
//!     └──── small, nothing waits ───┴──► encoded + body ─────────► transport
//!  pongs, pings, Close ─────────────────┘    ledger ◄──────────────── advance(n)
//! ```

mod burst;
mod current;
mod ledger;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

pub(crate) use self::ledger::Released;
use self::{
    burst::{Burst, PIECE},
    current::{Current, Payload},
    ledger::{EncodedFrame, Ledger, Segment, What},
};
use crate::{
    close::CloseFrame,
    config::Config,
    deflate::Deflater,
    frame::{Header, OpCode, RSV1},
    mask::{Mask, Masks},
    message::Message,
};

/// Encoded bytes from which on no further message is encoded ahead, so that control frames do not wait behind more.
const ENCODE_AHEAD: usize = 128 * 1024;

/// Encoded bytes from which on they are worth a write of their own.
const WRITE_AT: usize = 64 * 1024;

/// Payloads up to this size are copied next to other frames; larger ones are sent without a copy where they are owned.
const COPY_UP_TO: usize = 16 * 1024;

/// Encoded bytes at the front that the transport may have seen, and hold in a form of its own (TLS): nothing is put
/// before or among them.
const SEEN: usize = 16 * 1024;

/// How much of a chunk that goes out without a copy is copied behind its header all the same, so that the header never
/// leaves alone where the transport cannot write two slices at once.
const COPIED_HEAD: usize = 4 * 1024;

/// Pongs that wait. Of more pings only the latest are answered (RFC 6455, section 5.5.3).
const MAX_PONGS: usize = 16;

/// What an idle connection may keep of its buffers, in bytes.
const IDLE_MAX: usize = 4 * 1024;

/// The longest header of a client's frame, in bytes.
const MAX_HEADER: usize = 14;

/// A message of which nothing has been encoded.
#[derive(Debug)]
struct Waiting {
    message: Message,
    compression: Compression,
}

/// Whether a message may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// If it was agreed on and the message is worth it.
    Allowed,
    /// The caller knows that it gains nothing.
    Off,
}

/// Our Close frame.
#[derive(Debug)]
enum Close {
    None,
    Queued(CloseFrame),
    /// Nothing may follow it (RFC 6455, section 5.5.1).
    Encoded,
}

/// Where control frames are put.
#[derive(Debug)]
enum Place {
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
    fragment_size: usize,
    high_water_mark: usize,
    waiting: VecDeque<Waiting>,
    current: Option<Current>,
    /// Small frames together, and headers.
    encoded: BytesMut,
    /// A piece of a large payload, masked in place; it goes out behind `encoded`. Empty: there is none.
    body: BytesMut,
    /// What `encoded` and `body` consist of.
    ledger: Ledger,
    burst: Burst,
    pongs: VecDeque<Bytes>,
    pings: VecDeque<Bytes>,
    close: Close,
}

impl Outbound {
    pub(crate) fn new(config: &Config, deflater: Option<Deflater>) -> Self {
        Self {
            masks: Masks::new(),
            deflater,
            fragment_size: config.fragment_size.unwrap_or(usize::MAX),
            high_water_mark: config.write_high_water_mark,
            waiting: VecDeque::new(),
            current: None,
            encoded: BytesMut::new(),
            body: BytesMut::new(),
            ledger: Ledger::default(),
            burst: Burst::new(),
            pongs: VecDeque::new(),
            pings: VecDeque::new(),
            close: Close::None,
        }
    }

    // What is asked of it.

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.ledger.buffered()
    }

    /// Whether a message is queued of which not every byte was taken, be it an empty one.
    pub(crate) fn has_unsent_messages(&self) -> bool {
        self.ledger.cost() > 0
    }

    /// Pings of our own of which not every byte was taken.
    pub(crate) fn unsent_pings(&self) -> usize {
        self.pings.len() + self.ledger.pings()
    }

    #[inline]
    pub(crate) fn is_at_mark(&self) -> bool {
        self.ledger.cost() >= self.high_water_mark
    }

    /// Whether what is queued is worth a write although nobody asked for a flush.
    #[inline]
    pub(crate) fn is_worth_a_write(&self) -> bool {
        // What waits is large, or stands behind much.
        self.encoded.len() + self.body.len() >= WRITE_AT || !self.waiting.is_empty() || self.is_at_mark()
    }

    // What it is told to send.

    /// Queues a message.
    #[inline]
    pub(crate) fn push(&mut self, message: Message, compression: Compression) {
        let len = message.len();
        self.ledger.queued(len);
        let is_next = self.current.is_none() && self.waiting.is_empty() && self.body.is_empty();
        if is_next && self.is_small(len) && self.encoded.len() + len <= ENCODE_AHEAD {
            self.encode_small(&message, compression);
        } else {
            self.waiting.push_back(Waiting { message, compression });
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
        let cut = self.ledger.cut();
        self.body.truncate(cut.len.saturating_sub(self.encoded.len()));
        self.release_body();
        self.encoded.truncate(cut.len);
        if !cut.is_close_kept {
            self.close = Close::None;
        }
        self.current = self.current.take().filter(|_| cut.is_last_frame_kept).and_then(Current::only_this_frame);
    }

    /// Drops everything, for good: the transport takes nothing any more. Nothing of it counts as sent.
    pub(crate) fn discard(&mut self) {
        self.waiting = VecDeque::new();
        self.current = None;
        self.encoded = BytesMut::new();
        self.body = BytesMut::new();
        self.ledger.discard();
        self.pongs.clear();
        self.pings.clear();
        self.close = Close::Encoded;
    }

    // What the transport takes.

    /// The bytes to write next, in two slices of which the second may be empty. Both empty: there is nothing.
    #[inline]
    pub(crate) fn output(&mut self) -> [&[u8]; 2] {
        self.fill();
        [&self.encoded, &self.body]
    }

    /// The transport took the first `n` bytes of [`output`](Self::output).
    pub(crate) fn advance(&mut self, n: usize) -> Released {
        self.burst.written(n, self.encoded.len() + self.body.len() - n);
        let of_encoded = n.min(self.encoded.len());
        let rest = self.encoded.len() - of_encoded;
        if rest <= COPY_UP_TO {
            // To the front, so that the buffer need not grow.
            self.encoded.copy_within(of_encoded.., 0);
            self.encoded.truncate(rest);
        } else {
            self.encoded.advance(of_encoded);
        }
        if n > of_encoded {
            self.body.advance(n - of_encoded);
            self.release_body();
        }
        self.ledger.taken(n)
    }

    /// A payload was the user's: its memory is not kept.
    fn release_body(&mut self) {
        if self.body.is_empty() {
            self.body = BytesMut::new();
        }
    }

    /// Whether its buffers are larger than those of a connection that sends little.
    pub(crate) fn is_large(&self) -> bool {
        let waiting = self.waiting.capacity() * size_of::<Waiting>();
        self.encoded.capacity() + self.ledger.allocated() + waiting > IDLE_MAX
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn give_back(&mut self) {
        if self.encoded.is_empty() {
            self.encoded = BytesMut::new();
        }
        self.waiting.shrink_to_fit();
        self.ledger.shrink_to_fit();
    }

    // How messages become bytes.

    #[inline]
    fn is_small(&self, len: usize) -> bool {
        len <= COPY_UP_TO && len <= self.fragment_size
    }

    /// Encodes what comes next, up to what is worth encoding ahead.
    fn fill(&mut self) {
        loop {
            if !self.pongs.is_empty() || !self.pings.is_empty() {
                self.encode_control();
            }
            if !self.body.is_empty() {
                break;
            }
            if self.current.is_some() {
                if !self.encode_piece() {
                    break;
                }
                continue;
            }
            if self.encoded.len() >= ENCODE_AHEAD {
                break;
            }
            match self.waiting.pop_front() {
                Some(Waiting { message, compression }) if self.is_small(message.len()) => {
                    self.encode_small(&message, compression);
                }
                Some(Waiting { message, compression }) => {
                    let is_compressed = self.is_compressed(message.len(), compression);
                    self.current = Some(Current::new(message, is_compressed));
                }
                None => break,
            }
        }
        // What is encoded now would go out before the body.
        if self.body.is_empty() && self.current.is_none() && self.waiting.is_empty() {
            self.encode_close();
        }
    }

    /// Whether a message with a payload of `len` bytes goes out compressed.
    #[inline]
    fn is_compressed(&self, len: usize, compression: Compression) -> bool {
        match &self.deflater {
            // The ledger counts the bytes of a frame in 32 bits; a larger one gains nothing that matters.
            Some(deflater) => {
                compression == Compression::Allowed
                    && deflater.is_for(len)
                    && len.min(self.fragment_size) <= (u32::MAX / 2) as usize
            }
            None => false,
        }
    }

    /// Encodes a message that is one frame.
    #[inline]
    fn encode_small(&mut self, message: &Message, compression: Compression) {
        let (opcode, payload) = (OpCode::of(message.kind()), message.as_bytes());
        if self.is_compressed(payload.len(), compression)
            && let Some(deflater) = &mut self.deflater
        {
            let body = deflater.compress(payload, true);
            let header = Header { fin: true, rsv: RSV1, opcode, len: body.len() as u64 };
            let header = encode_frame(&header, self.masks.next(), &body, &mut self.encoded);
            let (body, payload) = (body.len() as u32, payload.len() as u32);
            self.ledger.encoded(Segment { what: What::Message, header, body, payload });
        } else {
            self.encode_whole(opcode, payload, What::Message);
        }
    }

    /// Encodes a whole frame as it is.
    #[inline]
    fn encode_whole(&mut self, opcode: OpCode, payload: &[u8], what: What) {
        let header = Header { fin: true, rsv: 0, opcode, len: payload.len() as u64 };
        let header = encode_frame(&header, self.masks.next(), payload, &mut self.encoded);
        let body = payload.len() as u32;
        let payload = if what == What::Message { body } else { 0 };
        self.ledger.encoded(Segment { what, header, body, payload });
    }

    /// Encodes the next piece of the current message: the rest of its frame, or a part of that. Returns whether it did:
    /// a piece that must be copied waits until there is room for it, so that the buffer stays small.
    fn encode_piece(&mut self) -> bool {
        let Some(current) = &mut self.current else { return false };
        let left = current.frame.as_ref().map_or(current.rest.len().min(self.fragment_size), |(_, left)| *left);
        let is_copied = current.is_compressed || matches!(current.rest, Payload::Shared(_));
        let room = self.burst.room(self.encoded.len());
        let piece = match &current.rest {
            _ if current.is_compressed => left,
            Payload::Shared(_) => left.min(PIECE),
            Payload::Owned(_) => left.min(room),
        };
        if piece == 0 || is_copied && !self.burst.has_room(self.encoded.len(), piece) {
            return false;
        }
        let (header, body) = match &mut self.deflater {
            Some(deflater) if current.is_compressed => {
                // A compressed frame is encoded as a whole, since its header has its length.
                let is_last = left == current.rest.len();
                let body = deflater.compress(&current.rest.as_bytes()[..left], is_last);
                let header = current.next_header(body.len(), is_last);
                let header = encode_frame(&header, self.masks.next(), &body, &mut self.encoded);
                current.rest.advance(left);
                (header, body.len())
            }
            _ => {
                self.encoded.reserve(match is_copied {
                    // For the whole burst, since a buffer that grows bit by bit doubles.
                    true if piece == PIECE => MAX_HEADER + room,
                    true => MAX_HEADER + piece,
                    false => MAX_HEADER + COPIED_HEAD,
                });
                let (header, mut mask) = match current.frame.take() {
                    Some((mask, _)) => (0, mask),
                    None => {
                        let mask = self.masks.next();
                        let header = current.next_header(left, left == current.rest.len());
                        (header.encode(mask.key(), &mut self.encoded) as u8, mask)
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
                (header, piece)
            }
        };
        current.is_begun = true;
        let segment = Segment { what: What::Piece, header, body: body as u32, payload: piece as u32 };
        if current.frame.is_some() || current.rest.len() > 0 {
            self.ledger.encoded(segment);
            return true;
        }
        match current.len {
            Some(len) => self.ledger.encoded_last_piece(Segment { what: What::LastPiece, ..segment }, len),
            None => self.ledger.encoded(segment),
        }
        self.current = None;
        true
    }

    /// Encodes the control frames that may go before the messages that wait.
    fn encode_control(&mut self) {
        let Some(place) = self.place_for_control() else { return };
        let (end, segments) = (self.encoded.len(), self.ledger.len());
        // A further batch is encoded when the one before is out, which bounds what a flood of pings costs.
        if !self.ledger.has_pongs() {
            while let Some(payload) = self.pongs.pop_front() {
                self.encode_whole(OpCode::Pong, &payload, What::Pong);
            }
        }
        while let Some(payload) = self.pings.pop_front() {
            self.encode_whole(OpCode::Ping, &payload, What::Ping);
        }
        if let Place::Before(frame) = place {
            let added = self.encoded.len() - end;
            self.encoded[frame.start..].rotate_right(added);
            self.ledger.move_last_before(frame, self.ledger.len() - segments);
        }
    }

    /// Where a control frame may go now: never into a frame, nor behind the Close frame (RFC 6455, sections 5.4, 5.5.1).
    fn place_for_control(&self) -> Option<Place> {
        let is_mid_frame = self.current.as_ref().is_some_and(|current| current.frame.is_some());
        if matches!(self.close, Close::Encoded) {
            None
        } else if self.encoded.len() > ENCODE_AHEAD
            && let Some(frame) = self.ledger.frame_from(SEEN)
        {
            Some(Place::Before(frame))
        } else {
            (!is_mid_frame && self.body.is_empty()).then_some(Place::End)
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
        self.encode_whole(OpCode::Close, &payload, What::Close);
    }
}

/// Appends a frame to `out`. Returns the length of its header.
#[inline]
fn encode_frame(header: &Header, mut mask: Mask, body: &[u8], out: &mut BytesMut) -> u8 {
    out.reserve(MAX_HEADER + body.len());
    let size = header.encode(mask.key(), out);
    mask.copy(body, out);
    size as u8
}
