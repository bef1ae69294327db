//! What comes in: frames become messages, within limits.

mod assembly;

use bytes::{Buf, Bytes, BytesMut};

use self::assembly::Assembly;
use crate::{
    close::{CloseCode, CloseFrame},
    config::Config,
    error::{Error, LimitExceeded, Violation},
    message::{Kind, Message},
    wire::{
        deflate::Inflater,
        frame::{Header, OpCode, RSV1, take_payload},
        utf8::{Utf8Checker, take_text},
    },
};

/// What a peer said, once it is whole.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Message),
    /// A message that was not kept.
    Discarded,
    Ping(Bytes),
    Pong(Bytes),
    Close(CloseFrame),
}

/// Where in the byte stream the parser stands.
#[derive(Debug)]
enum State {
    /// Before a header.
    Header,
    /// In an unfragmented message, which becomes a slice of the read buffer: it waits there, header first, until it is
    /// whole and taken. Text is checked as it comes.
    Slice { kind: Kind, header: usize, len: usize, utf8: Utf8Checker },
    /// In a frame whose payload moves to `message` as it comes.
    Append { fin: bool, left: u64 },
    /// What still comes means nothing.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Inbound {
    max_message_size: usize,
    max_frame_size: u64,
    max_fragments: usize,
    copy_payloads_up_to: usize,
    /// A message of one frame is within all limits if its payload is shorter than this; 0 where none is.
    whole_message_limit: u64,
    /// There is one if compression was agreed on.
    inflater: Option<Inflater>,
    state: State,
    message: Option<Assembly>,
    /// Whether messages are put together; else they are only counted.
    is_keeping: bool,
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
            copy_payloads_up_to: config.copy_payloads_up_to,
            inflater,
            state: State::Header,
            message: None,
            is_keeping: true,
        }
    }

    /// How many bytes the message that is to be a slice of the read buffer lacks, if one is being read.
    pub(crate) fn bytes_needed(&self, buf: &BytesMut) -> usize {
        match self.state {
            State::Slice { header, len, .. } => (header + len).saturating_sub(buf.len()),
            State::Header | State::Append { .. } | State::Ended => 0,
        }
    }

    /// From now on nothing that comes means anything.
    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
        self.message = None;
    }

    /// From now on messages are counted, and not kept.
    pub(crate) fn discard_messages(&mut self) {
        self.is_keeping = false;
        self.whole_message_limit = 0;
        if let Some(message) = &mut self.message {
            message.forget();
        }
    }

    /// Takes the next message if it stands at the front of `buf` as one frame and becomes a slice of it, which nearly all
    /// do. `None`: something else stands there, and [`next`](Self::next) says what.
    ///
    /// Always inlined, as is all that it calls, up to whoever polls the stream: there the message is in registers. One
    /// that comes through memory costs as much again, since the processor waits when it is written in halves and read
    /// as a whole.
    #[inline(always)]
    pub(crate) fn try_take_message(&mut self, buf: &mut BytesMut) -> Option<Message> {
        if !matches!(self.state, State::Header) || self.message.is_some() {
            return None;
        }
        let (kind, len, header) = Header::parse_message(buf)?;
        if len >= self.whole_message_limit || len > (buf.len() - header) as u64 {
            return None;
        }
        let len = len as usize;
        if len <= self.copy_payloads_up_to {
            return None;
        }
        Some(match kind {
            Kind::Text => Message::Text(take_text(header, len, buf)?),
            Kind::Binary => Message::Binary(take_payload(header, len, buf)),
        })
    }

    /// Takes the next item from `buf`. `None`: more bytes are needed, or none are wanted any more.
    pub(crate) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        loop {
            let progress = match self.state {
                State::Header => {
                    let Some((header, size)) = Header::parse(buf)? else { return Ok(None) };
                    self.validate(&header)?;
                    if header.opcode.is_control() {
                        return self.control(&header, size, buf);
                    }
                    self.begin(&header, size, buf)?
                }
                State::Slice { .. } => self.slice(buf)?,
                State::Append { fin, left } => self.append(fin, left, buf)?,
                State::Ended => {
                    buf.clear();
                    return Ok(None);
                }
            };
            match progress {
                Progress::Item(item) => return Ok(Some(item)),
                Progress::NextStep => {}
                Progress::MoreBytes => return Ok(None),
            }
        }
    }

    /// What depends on the connection's state and on the limits.
    #[inline]
    fn validate(&self, header: &Header) -> Result<(), Error> {
        if header.rsv != 0 {
            self.validate_rsv(header)?;
        }
        let (frames, len, is_compressed) = match (header.opcode, &self.message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => return Ok(()),
            (OpCode::Continuation, None) => return Err(Violation::UnexpectedContinuation.into()),
            (OpCode::Continuation, Some(message)) => (message.frames, message.len(), message.is_compressed),
            (OpCode::Text | OpCode::Binary, None) => (0, 0, header.rsv == RSV1),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(Violation::ExpectedContinuation.into()),
        };
        if !self.is_keeping {
            return Ok(());
        }
        if header.len > self.max_frame_size {
            return Err(LimitExceeded::FrameSize { len: header.len, limit: self.max_frame_size as usize }.into());
        }
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
    #[cold]
    fn validate_rsv(&self, header: &Header) -> Result<(), Violation> {
        let is_first = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        if header.rsv == RSV1 && is_first && self.inflater.is_some() {
            Ok(())
        } else {
            Err(Violation::ReservedBits(header.rsv))
        }
    }

    /// A control frame is taken as a whole. It may stand between the fragments of a message (section 5.4).
    fn control(&mut self, header: &Header, size: usize, buf: &mut BytesMut) -> Result<Option<Item>, Error> {
        let Some(payload) = buf.get(size..size + header.len as usize) else { return Ok(None) };
        let item = match header.opcode {
            OpCode::Ping => Item::Ping(Bytes::copy_from_slice(payload)),
            OpCode::Pong => Item::Pong(Bytes::copy_from_slice(payload)),
            _ => Item::Close(close_frame(payload)?),
        };
        buf.advance(size + header.len as usize);
        Ok(Some(item))
    }

    /// A data frame begins.
    fn begin(&mut self, header: &Header, size: usize, buf: &mut BytesMut) -> Result<Progress, Error> {
        let kind = match header.opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            _ => None,
        };
        match kind {
            Some(kind) if header.fin && header.rsv == 0 && self.is_keeping => {
                let len = header.len as usize;
                self.state = State::Slice { kind, header: size, len, utf8: Utf8Checker::default() };
                return self.slice(buf);
            }
            Some(kind) => self.message = Some(Assembly::new(kind, header.rsv == RSV1)),
            None => {}
        }
        if let Some(message) = &mut self.message {
            message.frames += 1;
        }
        buf.advance(size);
        self.append(header.fin, header.len, buf)
    }

    /// Looks at what has come of a message that waits in the read buffer, and takes it once it is whole.
    fn slice(&mut self, buf: &mut BytesMut) -> Result<Progress, Error> {
        let State::Slice { kind, header, len, utf8 } = &mut self.state else { return Ok(Progress::NextStep) };
        if !self.is_keeping {
            let (left, header) = (*len as u64, *header);
            self.message = Some(Assembly::new(*kind, false));
            buf.advance(header);
            return self.append(true, left, buf);
        }
        if *kind == Kind::Text {
            let arrived = buf.len().min(*header + *len);
            utf8.check(&buf[*header + utf8.checked()..arrived])?;
        }
        if buf.len() < *header + *len {
            return Ok(Progress::MoreBytes);
        }
        let (kind, header, len, utf8) = (*kind, *header, *len, std::mem::take(utf8));
        self.state = State::Header;
        let payload = if len <= self.copy_payloads_up_to {
            let payload = Bytes::copy_from_slice(&buf[header..header + len]);
            buf.advance(header + len);
            payload
        } else {
            take_payload(header, len, buf)
        };
        Ok(Progress::Item(Item::Message(match kind {
            Kind::Text => Message::Text(utf8.finish(payload)?),
            Kind::Binary => Message::Binary(payload),
        })))
    }

    /// Moves what has come of a frame to the message.
    fn append(&mut self, fin: bool, left: u64, buf: &mut BytesMut) -> Result<Progress, Error> {
        let Some(message) = &mut self.message else { return Ok(Progress::NextStep) };
        let arrived = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let mut inflater = self.inflater.as_mut().filter(|_| message.is_compressed);
        let limit = self.max_message_size;
        if self.is_keeping {
            match &mut inflater {
                Some(inflater) => inflater.inflate(&buf[..arrived], |piece| message.push(piece, limit))?,
                None => message.push(&buf[..arrived], limit)?,
            }
        }
        buf.advance(arrived);
        let left = left - arrived as u64;
        if left > 0 {
            self.state = State::Append { fin, left };
            return Ok(Progress::MoreBytes);
        }
        self.state = State::Header;
        if !fin {
            return Ok(Progress::NextStep);
        }
        if let (Some(inflater), true) = (inflater, self.is_keeping) {
            inflater.finish(|piece| message.push(piece, limit))?;
        }
        let Some(message) = self.message.take() else { return Ok(Progress::NextStep) };
        Ok(Progress::Item(if self.is_keeping { Item::Message(message.finish()?) } else { Item::Discarded }))
    }
}

/// How far a step of the parser came.
enum Progress {
    Item(Item),
    NextStep,
    MoreBytes,
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
        (limit(), limit(), prop::option::of(0usize..3), 0usize..60).prop_map(|(message, frame, fragments, copy)| {
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
                if !in_one_way && let Some(message) = inbound.try_take_message(&mut buf) {
                    items.push(format!("{:?}", Item::Message(message)));
                    continue;
                }
                match inbound.next(&mut buf) {
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
