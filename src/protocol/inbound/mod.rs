//! What comes in: frames become messages, within limits.

mod assembly;
mod received;

use bytes::{Buf, Bytes, BytesMut};

use self::assembly::Assembly;
pub(crate) use self::received::{Payload, Received};
use crate::{
    close::{CloseCode, CloseFrame},
    config::Config,
    error::{Error, LimitExceeded, Violation},
    limits::MAX_INFLATED_INPUT,
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
    /// A message that was not kept.
    Discarded,
    /// A part of a message, with more to come.
    Part,
    Ping(Bytes),
    Pong(Bytes),
    Close(CloseFrame),
}

/// Where in the byte stream the parser stands.
#[derive(Debug)]
enum State {
    /// Before a message.
    BetweenMessages,
    /// In an unfragmented message, which waits in the read buffer, header first, until it is whole. Text is checked as it
    /// comes.
    Slice { kind: Kind, header: usize, len: usize, utf8: Utf8Checker },
    /// In a frame whose payload moves to `message` as it comes.
    InFrame { message: Assembly, fin: bool, left: u64 },
    /// Before a further frame of `message`.
    BetweenFrames { message: Assembly },
    /// Messages are counted, and not kept.
    Discarding(Discarding),
    /// What still comes means nothing.
    Ended,
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

#[derive(Debug)]
pub(crate) struct Inbound {
    max_message_size: usize,
    max_frame_size: u64,
    max_fragments: usize,
    /// A message of one frame is within all limits if its payload is shorter than this.
    whole_message_limit: u64,
    /// There is one if compression was agreed on.
    inflater: Option<Inflater>,
    state: State,
    /// The buffer of the message that was lent, for the next one that is put together.
    lent: Vec<u8>,
    /// Bytes that were inflated, until they are asked for.
    inflated: usize,
}

impl Inbound {
    pub(crate) fn new(config: &Config, inflater: Option<Inflater>) -> Self {
        // No allocation can be larger than isize::MAX.
        let max_message_size = config.max_message_size.unwrap_or(usize::MAX).min(isize::MAX as usize);
        let max_frame_size = config.max_frame_size.map_or(u64::MAX, |limit| limit as u64);
        let max_fragments = config.max_fragments.unwrap_or(usize::MAX);
        Self {
            max_message_size,
            max_frame_size,
            max_fragments,
            whole_message_limit: max_frame_size.min(max_message_size as u64) + 1,
            inflater,
            state: State::BetweenMessages,
            lent: Vec::new(),
            inflated: 0,
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
        let begins_frame = matches!(self.state, State::BetweenMessages | State::BetweenFrames { .. });
        match buf.first() {
            Some(first) if begins_frame && OpCode::try_from(first & 0x0f).is_ok_and(OpCode::is_control) => buf.len(),
            _ => 0,
        }
    }

    /// How many bytes were inflated since this was asked last.
    pub(crate) fn take_inflated(&mut self) -> usize {
        std::mem::take(&mut self.inflated)
    }

    /// From now on nothing that comes means anything.
    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
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

    /// Takes the next item from `buf`, or says that a message stands at its front, which stays there. `None`: more bytes are needed, or none are wanted any more.
    pub(crate) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        match &mut self.state {
            State::Slice { .. } => self.find_slice(buf),
            State::InFrame { .. } => self.assemble(buf),
            State::Discarding(Discarding::Slice { .. } | Discarding::InFrame { .. }) => Ok(self.discard(buf)),
            State::BetweenMessages | State::BetweenFrames { .. } | State::Discarding(_) => self.take_header(buf),
            State::Ended => {
                buf.clear();
                Ok(None)
            }
        }
    }

    /// A frame begins: a control frame is taken as a whole, of another one the header, and what has come of it.
    fn take_header(&mut self, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        let Some((header, size)) = Header::parse(buf)? else { return Ok(None) };
        self.validate(&header)?;
        let kind = match header.opcode {
            OpCode::Close | OpCode::Ping | OpCode::Pong => return take_control(&header, size, buf),
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
            (_, Some(kind)) if fin && header.rsv == 0 => {
                self.state = State::Slice { kind, header: size, len: left as usize, utf8: Utf8Checker::default() };
                return self.find_slice(buf);
            }
            (_, Some(kind)) => Assembly::new(kind, header.rsv == RSV1, std::mem::take(&mut self.lent)),
            (_, None) => return Err(Violation::UnexpectedContinuation.into()),
        };
        message.frames += 1;
        buf.advance(size);
        self.state = State::InFrame { message, fin, left };
        self.assemble(buf)
    }

    /// What depends on the connection's state and on the limits.
    #[inline]
    fn validate(&self, header: &Header) -> Result<(), Error> {
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
            Some(message) => (message.frames, message.len(), message.is_compressed),
            None => (0, 0, header.rsv == RSV1),
        };
        // How large a compressed message is shows only as it is inflated.
        if !is_compressed && header.len > (self.max_message_size - len) as u64 {
            return Err(LimitExceeded::MessageSize { limit: self.max_message_size }.into());
        }
        if frames >= self.max_fragments {
            return Err(LimitExceeded::Fragments { limit: self.max_fragments }.into());
        }
        Ok(())
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

    /// Moves what has come of a frame to its message.
    fn assemble(&mut self, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        let State::InFrame { message, fin, left } = &mut self.state else { return Ok(None) };
        let limit = self.max_message_size;
        let arrived = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
        let len = message.len();
        let mut inflater = self.inflater.as_mut().filter(|_| message.is_compressed);
        let taken = match &mut inflater {
            Some(inflater) => {
                // So little that what comes of it keeps nobody waiting: it may be a thousand times as much.
                let taken = arrived.min(MAX_INFLATED_INPUT);
                inflater.inflate(&buf[..taken], |piece| message.push(piece, limit))?;
                taken
            }
            None => {
                message.push(&buf[..arrived], limit)?;
                arrived
            }
        };
        buf.advance(taken);
        *left -= taken as u64;
        if *left > 0 {
            if inflater.is_some() {
                self.inflated += message.len() - len;
            }
            return Ok((taken < arrived).then_some(Item::Part));
        }
        if let (true, Some(inflater)) = (*fin, &mut inflater) {
            inflater.finish(|piece| message.push(piece, limit))?;
        }
        if inflater.is_some() {
            self.inflated += message.len() - len;
        }
        let is_last = *fin;
        let State::InFrame { message, .. } = std::mem::replace(&mut self.state, State::BetweenMessages) else {
            return Ok(None);
        };
        if is_last {
            let (data, text) = message.finish()?;
            return Ok(Some(Item::Message(Received::assembled(data, text))));
        }
        self.state = State::BetweenFrames { message };
        Ok(Some(Item::Part))
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

/// Takes a control frame, as a whole. It may stand between the fragments of a message (section 5.4).
fn take_control(header: &Header, size: usize, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
    let Some(payload) = buf.get(size..size + header.len as usize) else { return Ok(None) };
    let item = match header.opcode {
        OpCode::Ping => Item::Ping(Bytes::copy_from_slice(payload)),
        OpCode::Pong => Item::Pong(Bytes::copy_from_slice(payload)),
        _ => Item::Close(close_frame(payload)?),
    };
    buf.advance(size + header.len as usize);
    Ok(Some(item))
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
                match inbound.next(&mut buf) {
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
