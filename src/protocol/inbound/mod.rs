//! What comes in: frames become messages, within limits.

mod assembly;
mod chunked;
mod received;

use bytes::{Buf, Bytes, BytesMut};

pub(crate) use self::assembly::append;
use self::{assembly::Assembly, chunked::Chunked};
pub(crate) use self::{
    chunked::{Chunk, Delivery},
    received::{Payload, Received},
};
use crate::{
    close::{CloseCode, CloseFrame},
    config::Config,
    error::{Error, LimitExceeded, Violation},
    limits::{MAX_INFLATED, MAX_INFLATED_INPUT},
    message::Kind,
    wire::{
        deflate::Inflater,
        frame::{Header, OpCode, RSV1},
        utf8::{CheckedText, Utf8Checker},
    },
};

/// What a peer said.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Received),
    /// A part of a message that is handed out as it comes.
    Chunk(Chunk),
    /// A message that was not kept.
    Discarded,
    /// A part of a message, with more to come.
    Part,
    Ping(Bytes),
    Pong(Bytes),
    /// `cuts_message`: it comes within a message that somebody wants.
    Close {
        frame: CloseFrame,
        cuts_message: bool,
    },
}

/// Where in the byte stream the parser stands.
#[derive(Debug)]
enum State {
    /// Before a message.
    BetweenMessages,
    /// In an unfragmented message, which waits in the read buffer, header first, until it is whole. Text is checked as it
    /// comes.
    Slice { kind: Kind, header: usize, len: usize, utf8: Utf8Checker },
    /// In a frame whose payload moves to `message` as it comes. Once nothing is left to come, some of it may still have to
    /// be inflated.
    InFrame { message: Partial, fin: bool, left: u64 },
    /// Before a further frame of `message`.
    BetweenFrames { message: Partial },
    /// Messages are counted, and not kept.
    Discarding(Discarding),
    /// What still comes means nothing.
    Ended,
}

/// A message of which a part has come.
#[derive(Debug)]
enum Partial {
    /// It is put together.
    Assembled(Assembly),
    /// It is handed out as it comes.
    Chunked(Chunked),
}

/// Where the parser stands while messages are not kept.
#[derive(Debug, Clone, Copy)]
enum Discarding {
    BetweenMessages,
    /// In an unfragmented message whose header, of so many bytes, was not taken from the read buffer.
    Slice {
        header: usize,
        len: u64,
    },
    InFrame {
        fin: bool,
        left: u64,
    },
    BetweenFrames,
}

/// What bounds a message that is put together.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// In bytes of payload.
    size: usize,
    /// In frames.
    fragments: usize,
}

#[derive(Debug)]
pub(crate) struct Inbound {
    limits: Limits,
    max_frame_size: u64,
    /// A message of one frame is within all limits if its payload is shorter than this.
    whole_message_limit: u64,
    /// There is one if compression was agreed on.
    inflater: Option<Inflater>,
    state: State,
    /// The buffer of the message that was lent, for the next one that is put together.
    lent: Vec<u8>,
    /// What inflating has cost since it was asked last, in units of [`work`](crate::limits::work).
    work: usize,
}

impl Inbound {
    pub(crate) fn new(config: &Config, inflater: Option<Inflater>) -> Self {
        let limits = Limits {
            // No allocation can be larger than isize::MAX.
            size: config.max_message_size.unwrap_or(usize::MAX).min(isize::MAX as usize),
            fragments: config.max_fragments.unwrap_or(usize::MAX),
        };
        let max_frame_size = config.max_frame_size.map_or(u64::MAX, |limit| limit as u64);
        Self {
            limits,
            max_frame_size,
            whole_message_limit: max_frame_size.min(limits.size as u64) + 1,
            inflater,
            state: State::BetweenMessages,
            lent: Vec::new(),
            work: 0,
        }
    }

    /// How many bytes the message that is to be a slice of the read buffer lacks, if one is being read.
    pub(crate) fn bytes_needed(&self, buf: &[u8]) -> usize {
        match self.state {
            State::Slice { header, len, .. } => (header + len).saturating_sub(buf.len()),
            _ => 0,
        }
    }

    /// How many bytes of a control frame stand at the front of `buf`, of which nothing whole can be taken.
    pub(crate) fn begun_control(&self, buf: &[u8]) -> usize {
        let begins_frame = matches!(
            self.state,
            State::BetweenMessages
                | State::BetweenFrames { .. }
                | State::Discarding(Discarding::BetweenMessages | Discarding::BetweenFrames)
        );
        match buf.first() {
            Some(first) if begins_frame && OpCode::try_from(first & 0x0f).is_ok_and(OpCode::is_control) => buf.len(),
            _ => 0,
        }
    }

    /// What inflating has cost since this was asked last, in units of [`work`](crate::limits::work).
    #[inline]
    pub(crate) fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    /// From now on nothing that comes means anything.
    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
    }

    /// Whether nothing that comes means anything any more.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// From now on messages are counted, and not kept.
    pub(crate) fn discard_messages(&mut self) {
        self.state = match self.state {
            State::BetweenMessages => State::Discarding(Discarding::BetweenMessages),
            State::Slice { header, len, .. } => State::Discarding(Discarding::Slice { header, len: len as u64 }),
            State::InFrame { fin, left, .. } => State::Discarding(Discarding::InFrame { fin, left }),
            State::BetweenFrames { .. } => State::Discarding(Discarding::BetweenFrames),
            State::Discarding(discarding) => State::Discarding(discarding),
            State::Ended => State::Ended,
        };
    }

    /// The next message, if it stands at the front of `buf` as one frame, which nearly all do. `None`: something else
    /// stands there, and [`next`](Self::next) says what.
    ///
    /// Always inlined, with all that it calls, into the caller of `poll_next`: 33 to 38 cycles for 16 bytes, 70 without.
    #[inline(always)]
    pub(crate) fn find_front(&self, buf: &[u8]) -> Option<Payload> {
        if !matches!(self.state, State::BetweenMessages) {
            return None;
        }
        let (kind, len, start) = Header::parse_message(buf)?;
        if len >= self.whole_message_limit || len > (buf.len() - start) as u64 {
            return None;
        }
        let end = start + len as usize;
        Some(match kind {
            Kind::Text => Payload::Text(CheckedText::new(buf, start, end)?),
            Kind::Binary => Payload::Binary { start, end },
        })
    }

    /// Keeps the buffer of a message that is lent, until the next one is put together in it.
    pub(crate) fn keep_lent(&mut self, data: Vec<u8>) {
        self.lent = data;
    }

    /// That buffer.
    pub(crate) fn lent(&self) -> &[u8] {
        &self.lent
    }

    /// Whether [`shrink`](Self::shrink) frees something.
    pub(crate) fn can_shrink(&self) -> bool {
        self.lent.capacity() > 0
    }

    /// Frees the buffer of the message that was lent.
    pub(crate) fn shrink(&mut self) {
        self.lent = Vec::new();
    }

    /// Nobody wants the rest of a message that is handed out in chunks.
    pub(crate) fn skip_chunks(&mut self) {
        if let State::InFrame { message: Partial::Chunked(message), .. }
        | State::BetweenFrames { message: Partial::Chunked(message) } = &mut self.state
        {
            message.skip();
        }
    }

    /// Takes the next item from `buf`, or says that a message stands at its front, which stays there. `None`: more bytes are
    /// needed, or none are wanted any more.
    pub(crate) fn next(&mut self, buf: &mut BytesMut, delivery: Delivery) -> Result<Option<Item>, Error> {
        if let Delivery::Chunks { max, .. } = delivery {
            let chunk = self.begin_chunks(buf, self.chunked_from(delivery)).or_else(|| self.ready_chunk(max));
            if let Some(chunk) = chunk {
                return Ok(Some(Item::Chunk(chunk)));
            }
        }
        match &mut self.state {
            State::Slice { .. } => self.find_slice(buf),
            State::InFrame { message: Partial::Assembled(_), .. } => self.assemble(buf, delivery),
            State::InFrame { message: Partial::Chunked(_), .. } => self.take_chunk(buf, delivery),
            State::Discarding(Discarding::Slice { .. } | Discarding::InFrame { .. }) => Ok(self.discard(buf)),
            State::BetweenMessages | State::BetweenFrames { .. } | State::Discarding(_) => {
                self.take_header(buf, delivery)
            }
            State::Ended => {
                buf.clear();
                Ok(None)
            }
        }
    }

    /// How large a message is handed out in chunks. One that is beyond a limit always is, if any is: whoever puts it together
    /// hears of that by a chunk.
    fn chunked_from(&self, delivery: Delivery) -> u64 {
        match delivery {
            Delivery::Whole => u64::MAX,
            Delivery::Chunks { from, .. } => from.min(self.limits.size + 1) as u64,
        }
    }

    /// A message that has begun, and is as large, is handed out in chunks from now on.
    fn begin_chunks(&mut self, buf: &mut BytesMut, from: u64) -> Option<Chunk> {
        match &mut self.state {
            // It is within the limits.
            State::Slice { kind, header, len, .. } if *len as u64 >= from => {
                let mut message = Chunked::new(*kind, false, 1, Utf8Checker::default(), Vec::new());
                let (begun, left) = (message.begin(), *len as u64);
                buf.advance(*header);
                self.state = State::InFrame { message: Partial::Chunked(message), fin: true, left };
                Some(begun)
            }
            State::InFrame { message, left, .. } => message.begin_chunks(self.limits, *left, from),
            State::BetweenFrames { message } => message.begin_chunks(self.limits, 0, from),
            _ => None,
        }
    }

    fn ready_chunk(&mut self, max: usize) -> Option<Chunk> {
        match &mut self.state {
            State::InFrame { message: Partial::Chunked(message), .. }
            | State::BetweenFrames { message: Partial::Chunked(message) } => message.next(max),
            _ => None,
        }
    }

    /// A frame begins: a control frame is taken as a whole, of another one the header, and what has come of it.
    fn take_header(&mut self, buf: &mut BytesMut, delivery: Delivery) -> Result<Option<Item>, Error> {
        let Some((header, size)) = Header::parse(buf)? else { return Ok(None) };
        self.validate(&header, delivery)?;
        let kind = match header.opcode {
            OpCode::Close | OpCode::Ping | OpCode::Pong => return self.take_control(&header, size, buf),
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            OpCode::Continuation => None,
        };
        let (fin, left) = (header.fin, header.len);
        if let State::Discarding(discarding) = &mut self.state {
            buf.advance(size);
            *discarding = Discarding::InFrame { fin, left };
            return Ok(self.discard(buf));
        }
        let mut message = match (std::mem::replace(&mut self.state, State::BetweenMessages), kind) {
            (State::BetweenFrames { message }, _) => message,
            (_, Some(kind)) if fin && header.rsv == 0 && left < self.chunked_from(delivery) => {
                self.state = State::Slice { kind, header: size, len: left as usize, utf8: Utf8Checker::default() };
                return self.find_slice(buf);
            }
            (_, Some(kind)) => {
                Partial::Assembled(Assembly::new(kind, header.rsv == RSV1, std::mem::take(&mut self.lent)))
            }
            (_, None) => return Err(Violation::UnexpectedContinuation.into()),
        };
        match &mut message {
            Partial::Assembled(message) => message.frames += 1,
            Partial::Chunked(message) => {
                message.begin_frame();
                self.limits.judge(message, left);
            }
        }
        buf.advance(size);
        self.state = State::InFrame { message, fin, left };
        self.next(buf, delivery)
    }

    /// What depends on the connection's state and on the limits. Those of messages are for who takes whole ones.
    #[inline]
    fn validate(&self, header: &Header, delivery: Delivery) -> Result<(), Error> {
        if header.rsv != 0 {
            self.validate_rsv(header)?;
        }
        let message = match &self.state {
            State::BetweenFrames { message } => Some(message),
            _ => None,
        };
        let is_message_begun =
            matches!(self.state, State::BetweenFrames { .. } | State::Discarding(Discarding::BetweenFrames));
        match (header.opcode, is_message_begun) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => return Ok(()),
            (OpCode::Continuation, false) => return Err(Violation::UnexpectedContinuation.into()),
            (OpCode::Text | OpCode::Binary, true) => return Err(Violation::ExpectedContinuation.into()),
            (OpCode::Continuation, true) | (OpCode::Text | OpCode::Binary, false) => {}
        }
        if matches!(self.state, State::Discarding(_)) {
            return Ok(());
        }
        if header.len > self.max_frame_size {
            return Err(LimitExceeded::FrameSize { len: header.len, limit: self.max_frame_size as usize }.into());
        }
        let (frames, len, is_compressed) = match message {
            _ if delivery != Delivery::Whole => return Ok(()),
            Some(Partial::Chunked(_)) => return Ok(()),
            Some(Partial::Assembled(message)) => (message.frames, message.len(), message.is_compressed),
            None => (0, 0, header.rsv == RSV1),
        };
        // How large a compressed message is shows only as it is inflated.
        let known_len = if is_compressed { 0 } else { len as u64 + header.len };
        Ok(self.limits.check(frames + 1, known_len)?)
    }

    /// Takes a control frame, as a whole. It may stand between the fragments of a message (section 5.4).
    fn take_control(&self, header: &Header, size: usize, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        let Some(payload) = buf.get(size..size + header.len as usize) else { return Ok(None) };
        let item = match header.opcode {
            OpCode::Ping => Item::Ping(Bytes::copy_from_slice(payload)),
            OpCode::Pong => Item::Pong(Bytes::copy_from_slice(payload)),
            _ => Item::Close { frame: close_frame(payload)?, cuts_message: self.is_message_wanted() },
        };
        buf.advance(size + header.len as usize);
        Ok(Some(item))
    }

    /// Whether a message lacks frames that somebody wants.
    fn is_message_wanted(&self) -> bool {
        match &self.state {
            State::BetweenFrames { message: Partial::Assembled(_) } => true,
            State::BetweenFrames { message: Partial::Chunked(message) } => message.is_wanted(),
            _ => false,
        }
    }

    /// RSV1 marks a compressed message on its first frame, if that was agreed on (RFC 7692, section 6).
    fn validate_rsv(&self, header: &Header) -> Result<(), Violation> {
        let is_first = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        if header.rsv == RSV1 && is_first && self.inflater.is_some() {
            Ok(())
        } else {
            Err(Violation::ReservedBits(header.rsv))
        }
    }

    /// Looks at what has come of a message that waits in the read buffer.
    fn find_slice(&mut self, buf: &[u8]) -> Result<Option<Item>, Error> {
        let State::Slice { kind, header, len, utf8 } = &mut self.state else { return Ok(None) };
        if *kind == Kind::Text {
            let arrived = buf.len().min(*header + *len);
            utf8.check(&buf[*header + utf8.checked()..arrived])?;
        }
        if buf.len() < *header + *len {
            return Ok(None);
        }
        let payload = match kind {
            Kind::Text => Payload::Text(std::mem::take(utf8).finish(buf, *header)?),
            Kind::Binary => Payload::Binary { start: *header, end: *header + *len },
        };
        self.state = State::BetweenMessages;
        Ok(Some(Item::Message(Received::Front(payload))))
    }

    /// Moves what has come of a frame to the message that is put together.
    fn assemble(&mut self, buf: &mut BytesMut, delivery: Delivery) -> Result<Option<Item>, Error> {
        let chunked_from = self.chunked_from(delivery);
        let State::InFrame { message: Partial::Assembled(message), fin, left } = &mut self.state else {
            return Ok(None);
        };
        // What becomes too large to be put together is handed out in chunks, if anything is.
        let limit = if delivery == Delivery::Whole { self.limits.size } else { isize::MAX as usize };
        let arrived = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        let (taken, is_done) = match self.inflater.as_mut().filter(|_| message.is_compressed) {
            Some(inflater) => {
                // So little that what comes of it keeps nobody waiting.
                let input = &buf[..arrived.min(MAX_INFLATED_INPUT)];
                let is_last = *fin && input.len() as u64 == *left;
                let room = usize::try_from(chunked_from - message.len() as u64).unwrap_or(usize::MAX);
                let step =
                    inflater.inflate(input, is_last, room.min(MAX_INFLATED), |piece| message.push(piece, limit))?;
                self.work += step.work();
                (step.taken, step.is_done)
            }
            None => {
                message.push(&buf[..arrived], limit)?;
                (arrived, true)
            }
        };
        buf.advance(taken);
        *left -= taken as u64;
        if message.len() as u64 >= chunked_from {
            return self.next(buf, delivery);
        }
        if *left > 0 || !is_done {
            return Ok((taken < arrived || !is_done).then_some(Item::Part));
        }
        let is_last = *fin;
        match std::mem::replace(&mut self.state, State::BetweenMessages) {
            State::InFrame { message: Partial::Assembled(message), .. } if is_last => {
                let (data, text) = message.finish()?;
                Ok(Some(Item::Message(Received::assembled(data, text))))
            }
            State::InFrame { message, .. } => {
                self.state = State::BetweenFrames { message };
                Ok(Some(Item::Part))
            }
            _ => Ok(None),
        }
    }

    /// The next chunk of what has come of a frame, or the end of the frame.
    fn take_chunk(&mut self, buf: &mut BytesMut, delivery: Delivery) -> Result<Option<Item>, Error> {
        let State::InFrame { message: Partial::Chunked(message), fin, left } = &mut self.state else {
            return Ok(None);
        };
        let max = match delivery {
            Delivery::Whole => MAX_INFLATED,
            Delivery::Chunks { max, .. } => max,
        };
        let arrived = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        let (taken, is_done) = match self.inflater.as_mut().filter(|_| message.is_compressed) {
            Some(inflater) => {
                let input = &buf[..arrived.min(MAX_INFLATED_INPUT)];
                let is_last = *fin && input.len() as u64 == *left;
                let mut data = Vec::new();
                let step =
                    inflater.inflate(input, is_last, max.min(MAX_INFLATED), |piece| message.push(piece, &mut data))?;
                buf.advance(step.taken);
                message.set_ready(data);
                self.limits.judge(message, 0);
                self.work += step.work();
                (step.taken, step.is_done)
            }
            None => {
                let taken = arrived.min(max);
                message.take(buf, taken)?;
                (taken, true)
            }
        };
        *left -= taken as u64;
        if *left > 0 || !is_done {
            let chunk = message.next(max).map(Item::Chunk);
            return Ok(chunk.or((taken < arrived || !is_done).then_some(Item::Part)));
        }
        let is_last = *fin;
        match std::mem::replace(&mut self.state, State::BetweenMessages) {
            State::InFrame { message: Partial::Chunked(message), .. } if is_last => {
                Ok(Some(message.finish()?.map_or(Item::Discarded, Item::Chunk)))
            }
            State::InFrame { message, .. } => {
                self.state = State::BetweenFrames { message };
                Ok(Some(self.ready_chunk(max).map_or(Item::Part, Item::Chunk)))
            }
            _ => Ok(None),
        }
    }

    /// Skips what has come of a frame of a message that is not kept.
    fn discard(&mut self, buf: &mut BytesMut) -> Option<Item> {
        let State::Discarding(discarding) = &mut self.state else { return None };
        if let Discarding::Slice { header, len } = *discarding {
            buf.advance(header);
            *discarding = Discarding::InFrame { fin: true, left: len };
        }
        let Discarding::InFrame { fin, left } = discarding else { return None };
        let arrived = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        buf.advance(arrived);
        *left -= arrived as u64;
        if *left > 0 {
            return None;
        }
        let is_last = *fin;
        *discarding = if is_last { Discarding::BetweenMessages } else { Discarding::BetweenFrames };
        Some(if is_last { Item::Discarded } else { Item::Part })
    }
}

impl Limits {
    /// Whether a message may have come in so many frames, and have `len` bytes at least.
    #[inline]
    fn check(self, frames: usize, len: u64) -> Result<(), LimitExceeded> {
        if len > self.size as u64 {
            return Err(LimitExceeded::MessageSize { limit: self.size });
        }
        if frames > self.fragments {
            return Err(LimitExceeded::Fragments { limit: self.fragments });
        }
        Ok(())
    }

    /// The same of a message that is handed out in chunks: the next chunk says so. `left`: what its frame lacks.
    fn judge(self, message: &mut Chunked, left: u64) {
        if let Err(limit) = self.check(message.frames(), message.known_len(left)) {
            message.exceed(limit);
        }
    }
}

impl Partial {
    /// If the message has `from` bytes or more, or is beyond a limit, it is handed out in chunks from now on. `left`: what
    /// its frame lacks.
    fn begin_chunks(&mut self, limits: Limits, left: u64, from: u64) -> Option<Chunk> {
        let Self::Assembled(message) = self else { return None };
        // How much is to come of a compressed frame is not known.
        let known_len = message.len() as u64 + if message.is_compressed { 0 } else { left };
        if known_len < from && limits.check(message.frames, known_len).is_ok() {
            return None;
        }
        let (data, utf8) = message.take();
        let mut message = Chunked::new(message.kind, message.is_compressed, message.frames, utf8, data);
        limits.judge(&mut message, left);
        let begun = message.begin();
        *self = Self::Chunked(message);
        Some(begun)
    }
}

/// Reads the body of a Close frame (section 5.5.1).
fn close_frame(body: &[u8]) -> Result<CloseFrame, Violation> {
    match body {
        [] => Ok(CloseFrame::empty()),
        [_] => Err(Violation::CloseBodyOfOneByte),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            if !code.is_valid_on_wire() {
                return Err(Violation::CloseCode(code));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonUtf8)?;
            Ok(CloseFrame::new(code, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server's frame: opcode and bits of its first byte, and its payload.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            8 => prop::sample::select(vec![0x81, 0x82]),
            2 => prop::sample::select(vec![0x01, 0x02, 0x00, 0x80, 0x89]),
            1 => prop::sample::select(vec![0xc1, 0x83]),
        ];
        let payload = prop_oneof![3 => "[a-zé匶]{0,50}".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..4)];
        (first, payload).prop_map(|(first, payload)| {
            let mut frame = vec![first];
            match payload.len() {
                len @ 0..126 => frame.push(len as u8),
                len => frame.extend([126, 0, len as u8]),
            }
            frame.extend(payload);
            frame
        })
    }

    fn config() -> impl Strategy<Value = Config> {
        let limit = || prop::option::of(0usize..150);
        (limit(), limit(), prop::option::of(1usize..3), 0usize..60).prop_map(|(message, frame, fragments, copy)| {
            Config::default()
                .max_message_size(message)
                .max_frame_size(frame)
                .max_fragments(fragments)
                .copy_payloads_up_to(copy)
        })
    }

    /// What comes of `frames`, up to the first error; from frame `discard_from` on messages are not kept.
    fn items(config: &Config, frames: &[Vec<u8>], discard_from: usize, in_one_way: bool) -> Vec<String> {
        let (mut inbound, mut buf, mut items) = (Inbound::new(config, None), BytesMut::new(), Vec::new());
        for (index, frame) in frames.iter().enumerate() {
            if index == discard_from {
                inbound.discard_messages();
            }
            buf.extend_from_slice(frame);
            loop {
                if !in_one_way && let Some(payload) = inbound.find_front(&buf) {
                    items.push(format!("{:?}", payload.take(&mut buf)));
                    continue;
                }
                match inbound.next(&mut buf, Delivery::Whole) {
                    Ok(Some(Item::Part)) => {}
                    Ok(Some(Item::Message(received))) => {
                        items.push(format!("{:?}", received.take(&mut buf, config.copy_payloads_up_to)));
                    }
                    Ok(Some(item)) => items.push(format!("{item:?}")),
                    Ok(None) => break,
                    Err(error) => {
                        items.push(format!("{error:?}"));
                        return items;
                    }
                }
            }
        }
        items
    }

    #[test]
    fn a_message_is_found_at_the_front_once_all_of_it_is_there() {
        let inbound = Inbound::new(&Config::default(), None);
        for len in [0, 1, 2, 3, 125, 126, 300] {
            let mut head = vec![0x82];
            match len {
                0..126 => head.push(len as u8),
                _ => head.extend([126, (len >> 8) as u8, len as u8]),
            }
            let frame = [&head[..], &vec![b'x'; len]].concat();
            for end in 0..frame.len() {
                assert!(inbound.find_front(&frame[..end]).is_none(), "{end} bytes of a message of {len}");
            }
            for behind in [0, 1, 10] {
                let payload = inbound.find_front(&[&frame[..], &vec![0x82; behind]].concat());
                assert!(
                    payload.is_some_and(|payload| payload.len() == len),
                    "a message of {len}, {behind} bytes behind"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_the_same_whichever_way_it_is_taken(
            config in config(),
            frames in prop::collection::vec(frame(), 0..12),
            discard_from in 0usize..20,
        ) {
            let in_one_way = items(&config, &frames, discard_from, true);
            prop_assert_eq!(items(&config, &frames, discard_from, false), in_one_way);
        }
    }
}
