//! Reading a connection in chunks: for a reader of one message, and for a task that passes all of them on.

use std::task::{Context, Poll, ready};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Connection, wakers::Role};
use crate::{
    error::Error,
    event::{ControlFrame, ControlFrames},
    message::Message,
    protocol::{Chunk, Delivery, Incoming},
};

/// What a task that passes messages on receives.
#[derive(Debug)]
pub(crate) enum MessageOrChunk {
    Message(Message),
    Chunk(Chunk),
}

/// What such a task receives that passes control frames on, too.
#[derive(Debug)]
pub(crate) enum Arrival {
    Item(MessageOrChunk),
    Control(ControlFrame),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Nobody wants the rest of a message that is read in chunks: it is dropped as it comes.
    pub(crate) fn skip_chunks(&mut self) {
        self.protocol.skip_chunks();
    }

    /// The next chunk, of at most `max` bytes, of the message that is read in chunks. If there is none, the next message is,
    /// also one of which a part has been put together. Its first chunk is empty, as soon as its header is there.
    ///
    /// No more is inflated than what is handed out.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Option<Result<Chunk, Error>>> {
        let delivery = Delivery::Chunks { from: 0, max: max.max(1) };
        let chunk = self.poll_event(cx, delivery, ControlFrames::Hidden, |incoming, _| match incoming {
            Incoming::Chunk(chunk) => Some(chunk),
            Incoming::Message(_) | Incoming::Control(_) | Incoming::Handled => None,
        });
        chunk.map(Result::transpose)
    }

    /// As [`poll_closed`](Self::poll_closed), for who keeps for the reader what still comes: the next chunk, or `None` once the
    /// connection has ended. What it leaves of the input then is for the reader. The reader is woken for a chunk.
    pub(crate) fn poll_chunk_or_closed(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Option<Chunk>> {
        self.budget.begin_poll();
        // What a poll has left that was cut off.
        self.write_control(Role::Writer, cx);
        loop {
            ready!(self.budget.poll(cx));
            if self.protocol.is_done() {
                return Poll::Ready(None);
            }
            match self.next_event(Delivery::Chunks { from: 0, max: max.max(1) }, ControlFrames::Hidden) {
                Some(Incoming::Chunk(chunk)) => {
                    self.wakers.wake_other(Role::Writer);
                    return Poll::Ready(Some(chunk));
                }
                Some(Incoming::Message(_) | Incoming::Control(_) | Incoming::Handled) => continue,
                None => {}
            }
            let step = self.poll_step(Role::Writer, cx);
            if !self.protocol.is_done() {
                ready!(step);
            }
        }
    }

    /// The reader took something while [`poll_chunk_or_closed`](Self::poll_chunk_or_closed) had no room to read more: the peer's
    /// time starts again, and the task that closes is woken.
    pub(crate) fn handle_taken_by_reader(&mut self) {
        self.handle_taken(Instant::now());
        self.wakers.wake_other(Role::Reader);
    }

    /// How much of what is read is held at most.
    pub(crate) fn read_buffer_max(&self) -> usize {
        self.read_buffer.max()
    }

    /// The next message, or the next chunk, of at most `max` bytes, of one that is read in chunks. Read in chunks are
    /// messages of more than `max_whole` bytes that have not come as a whole. A message above a limit is read in chunks, too:
    /// its next chunk says which, and who puts it together fails by that.
    #[inline]
    pub(crate) fn poll_message_or_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max_whole: usize,
        max: usize,
    ) -> Poll<Option<Result<MessageOrChunk, Error>>> {
        if self.budget.is_due() {
            ready!(self.poll_budget(cx));
        }
        let buf = self.read_buffer.unread();
        if let Some(payload) = self.protocol.next_front(buf) {
            self.budget.spend(1);
            let message =
                if payload.len() > self.copy_payloads_up_to { payload.take(buf) } else { payload.take_copy(buf) };
            return Poll::Ready(Some(Ok(MessageOrChunk::Message(message))));
        }
        self.poll_rare_message_or_chunk(cx, Delivery::Chunks { from: max_whole.saturating_add(1), max: max.max(1) })
    }

    /// The same, after all frames before it.
    #[cold]
    #[inline(never)]
    fn poll_rare_message_or_chunk(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Option<Result<MessageOrChunk, Error>>> {
        let copy_up_to = self.copy_payloads_up_to;
        let item = self.poll_event(cx, delivery, ControlFrames::Hidden, |incoming, buf| match incoming {
            Incoming::Message(received) => Some(MessageOrChunk::Message(received.take(buf, copy_up_to))),
            Incoming::Chunk(chunk) => Some(MessageOrChunk::Chunk(chunk)),
            Incoming::Control(_) | Incoming::Handled => None,
        });
        item.map(Result::transpose)
    }

    /// As [`poll_message_or_chunk`](Self::poll_message_or_chunk), with the control frames among them.
    pub(crate) fn poll_arrival(
        &mut self,
        cx: &mut Context<'_>,
        max_whole: usize,
        max: usize,
    ) -> Poll<Option<Result<Arrival, Error>>> {
        let delivery = Delivery::Chunks { from: max_whole.saturating_add(1), max: max.max(1) };
        let copy_up_to = self.copy_payloads_up_to;
        let arrival = self.poll_event(cx, delivery, ControlFrames::Shown, |incoming, buf| match incoming {
            Incoming::Message(received) => Some(Arrival::Item(MessageOrChunk::Message(received.take(buf, copy_up_to)))),
            Incoming::Chunk(chunk) => Some(Arrival::Item(MessageOrChunk::Chunk(chunk))),
            Incoming::Control(frame) => Some(Arrival::Control(frame)),
            Incoming::Handled => None,
        });
        arrival.map(Result::transpose)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, pin::Pin, task::Waker};

    use bytes::BytesMut;
    use tokio::io::{Join, ReadBuf, Sink, join, sink};

    use super::*;
    use crate::{
        config::{Config, WindowBits},
        error::LimitExceeded,
        message::Kind,
        wire::deflate::{Deflater, Direction, Flush, NegotiatedDeflate},
    };

    /// How a task asks.
    const MAX_WHOLE: usize = 64 * 1024;
    const MAX: usize = 50_000;

    /// The limit of those messages that are longer than `MAX_WHOLE`.
    const MAX_SIZE: usize = 200_000;

    const DIRECTION: Direction = Direction { window_bits: WindowBits::MAX, has_context_takeover: true };

    /// Input that comes in reads of at most so many bytes.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        at_once: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let end = self.bytes.len().min(self.at + self.at_once.min(buf.remaining()));
            buf.put_slice(&self.bytes[self.at..end]);
            self.at = end;
            Poll::Ready(Ok(()))
        }
    }

    type Reading = Connection<Join<Pieces, Sink>>;

    fn open(bytes: Vec<u8>, at_once: usize, config: Config) -> Reading {
        let agreed = NegotiatedDeflate { client: DIRECTION, server: DIRECTION };
        let io = join(Pieces { bytes, at: 0, at_once }, sink());
        Connection::new(io, BytesMut::new(), &config.without_timers(), Some(agreed))
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let header = match len {
            0..126 => vec![first, len as u8],
            126..65_536 => [&[first, 126], &(len as u16).to_be_bytes()[..]].concat(),
            _ => [&[first, 127], &(len as u64).to_be_bytes()[..]].concat(),
        };
        [&header, payload].concat()
    }

    /// `payload` as one frame or in several, compressed or not.
    fn message(payload: &[u8], is_compressed: bool, fragment: usize) -> Vec<u8> {
        let mut body = payload.to_vec();
        if is_compressed {
            body.clear();
            Deflater::new(None, DIRECTION).compress(payload, Flush::Message, &mut body);
        }
        let last = body.len().saturating_sub(1) / fragment;
        let mut bytes = Vec::new();
        for i in 0..=last {
            let first = match i {
                0 => 0x01 | if is_compressed { 0x40 } else { 0 },
                _ => 0,
            };
            let end = body.len().min(fragment.saturating_mul(i + 1));
            bytes.extend(frame(first | if i == last { 0x80 } else { 0 }, &body[i * fragment..end]));
        }
        bytes
    }

    /// A message that came, and whether it came in chunks. One above the limit says so, once.
    fn receive(connection: &mut Reading, limit: usize) -> (Vec<u8>, bool) {
        let mut chunks: Option<Vec<u8>> = None;
        let mut excess = None;
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            // Pending: other tasks may run.
            let Poll::Ready(incoming) = connection.poll_message_or_chunk(&mut cx, MAX_WHOLE, MAX) else { continue };
            match incoming.expect("no end").expect("no error") {
                MessageOrChunk::Message(message) => {
                    assert!(chunks.is_none(), "a message within another");
                    return (message.as_bytes().to_vec(), false);
                }
                MessageOrChunk::Chunk(chunk) => {
                    assert_eq!(chunk.kind, Kind::Text);
                    assert!(chunk.data.len() <= MAX, "{} bytes", chunk.data.len());
                    let is_first = chunks.is_none();
                    let may_be_empty = is_first || chunk.fin || chunk.excess.is_some();
                    assert!(!chunk.data.is_empty() || may_be_empty, "an empty chunk, first: {is_first}");
                    assert!(!is_first || chunk.data.is_empty(), "the first chunk is empty");
                    assert!(excess.is_none() || chunk.excess.is_none(), "it is said twice");
                    excess = excess.or(chunk.excess);
                    let data = chunks.get_or_insert_default();
                    data.extend_from_slice(&chunk.data);
                    if chunk.fin {
                        let expected = (data.len() > limit).then_some(LimitExceeded::MessageSize { limit });
                        assert_eq!(excess.as_deref().copied(), expected, "{} bytes", data.len());
                        return (std::mem::take(data), true);
                    }
                }
            }
        }
    }

    #[test]
    fn small_messages_are_whole_and_larger_ones_come_in_chunks() {
        for (is_compressed, fragment) in
            [(false, usize::MAX), (false, 10_000), (false, 100_000), (true, usize::MAX), (true, 1000)]
        {
            for len in [0, 1, 1000, MAX_WHOLE - 1, MAX_WHOLE, MAX_WHOLE + 1, 100_001, 300_000] {
                for at_once in [1000, 1 << 20] {
                    let payload: Vec<u8> = (0..len).map(|i| b'a' + (i * i / 1000 % 26) as u8).collect();
                    let bytes = message(&payload, is_compressed, fragment);
                    let what = format!("{len} bytes by {fragment}, compressed: {is_compressed}, read by {at_once}");
                    let mut connection = open(bytes.repeat(3), at_once, Config::default().max_message_size(MAX_SIZE));
                    for _ in 0..3 {
                        let (data, is_chunked) = receive(&mut connection, MAX_SIZE);
                        assert!(data == payload, "{what}: {} bytes", data.len());
                        let is_in_buffer = at_once > len && !is_compressed && fragment > len;
                        assert!(is_chunked == (len > MAX_WHOLE) || is_in_buffer, "{what}: in chunks: {is_chunked}");
                    }
                    assert_eq!(connection.stats().messages_received, 3, "{what}");
                    assert_eq!(connection.stats().payload_bytes_received, 3 * len as u64, "{what}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_large_to_be_put_together_comes_in_chunks() {
        for (is_compressed, fragment) in [(false, usize::MAX), (false, 400), (true, usize::MAX), (true, 10)] {
            // Below what comes in chunks anyway, and above it.
            for (from, len) in [(1, 999), (1, 1000), (1, 1001), (1, 5000), (200, 199_999), (200, 200_001)] {
                let payload = vec![b'x'; len];
                let bytes = message(&payload, is_compressed, fragment.saturating_mul(from));
                let limit = if from == 1 { 1000 } else { MAX_SIZE };
                let mut connection = open(bytes, 100, Config::default().max_message_size(limit));
                let chunked = from > 1 || len > limit;
                assert!(
                    receive(&mut connection, limit) == (payload, chunked),
                    "{len} bytes, compressed: {is_compressed}"
                );
            }
        }
    }

    #[test]
    fn who_passes_on_and_wants_no_more_of_a_message_skips_it() {
        let bytes = [message(&[b'x'; 200_000], true, 50), message(b"next", false, usize::MAX)].concat();
        let mut connection = open(bytes, 1000, Config::default());
        let mut cx = Context::from_waker(Waker::noop());
        let begun = connection.poll_message_or_chunk(&mut cx, MAX_WHOLE, MAX);
        assert!(matches!(begun, Poll::Ready(Some(Ok(MessageOrChunk::Chunk(_))))), "{begun:?}");
        connection.skip_chunks();
        assert_eq!(receive(&mut connection, usize::MAX), (b"next".to_vec(), false));
        assert_eq!(connection.stats().discarded_messages, 1);
    }
}
