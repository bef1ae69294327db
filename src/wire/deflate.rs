//! The compression of permessage-deflate (RFC 7692, section 7.2).

use std::{cell::RefCell, collections::VecDeque, fmt};

use zlib_rs::{Deflate as Compressor, DeflateConfig, DeflateFlush, Inflate as Decompressor, InflateFlush, Status};

use crate::{
    config::{Deflate, WindowBits},
    error::Violation,
    limits::work,
};

/// How a flush ends, and what a message leaves out (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Blocks of one message that may be said to be the last. A sender has use for one; each costs a new context, and a
/// message of nothing else would take much more time than it took bytes.
const MAX_FINAL_BLOCKS: usize = 8;

/// How much is compressed or inflated into at a time, in bytes.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    /// One for all connections of a thread: it is in use within a call only.
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// What both sides agreed on, for each direction: the window, and whether it is kept from message to message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NegotiatedDeflate {
    pub(crate) client: Direction,
    pub(crate) server: Direction,
}

/// One direction of what was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) window_bits: WindowBits,
    pub(crate) has_context_takeover: bool,
}

/// What ends behind a part that is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing: more of the frame follows.
    None,
    /// A frame. Each is flushed, so that a frame's payload is complete once the frame is sent.
    Frame,
    /// The message's last frame.
    Message,
}

/// Compresses the messages of one connection. Its context is made for the first of them.
pub(crate) struct Deflater {
    config: DeflateConfig,
    threshold: usize,
    direction: Direction,
    context: Option<Compressor>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("direction", &self.direction).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("direction", &self.direction).finish_non_exhaustive()
    }
}

impl Deflater {
    pub(crate) fn new(config: Option<&Deflate>, direction: Direction) -> Self {
        // It was agreed on elsewhere, if nothing was offered from here.
        let default = Deflate::default();
        let config = config.unwrap_or(&default);
        Self {
            config: DeflateConfig {
                level: i32::from(config.level),
                mem_level: i32::from(config.mem_level),
                window_bits: -i32::from(direction.window_bits.get()),
                ..DeflateConfig::default()
            },
            threshold: config.threshold,
            direction,
            context: None,
        }
    }

    /// Whether a message of `len` bytes goes out compressed.
    ///
    /// A raw deflate stream with a window of 256 bytes cannot be made by zlib: with 8 bits nothing is compressed.
    pub(crate) fn should_compress(&self, len: usize) -> bool {
        len >= self.threshold && self.direction.window_bits > WindowBits::MIN
    }

    /// Compresses a part of a message, and appends to `out` what comes of it. At the end of a frame `out` must hold all of
    /// its body.
    pub(crate) fn compress(&mut self, payload: &[u8], flush: Flush, out: &mut Vec<u8>) {
        let context = self.context.get_or_insert_with(|| Compressor::new_with_config(self.config));
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut rest = payload;
            loop {
                let (total_in, total_out) = (context.total_in(), context.total_out());
                let mode = if flush == Flush::None { DeflateFlush::NoFlush } else { DeflateFlush::SyncFlush };
                let status = context.compress(rest, scratch, mode);
                rest = &rest[(context.total_in() - total_in) as usize..];
                let made = (context.total_out() - total_out) as usize;
                out.extend_from_slice(&scratch[..made]);
                // A flush is complete when it leaves room; asked again without input it makes nothing. There is no
                // error that a valid context could report.
                if made < scratch.len() || !matches!(status, Ok(Status::Ok)) {
                    break;
                }
            }
        });
        if flush == Flush::Message {
            // What the last flush ended in is left out; without input there was none, and an empty block stands for it
            // (section 7.2.3.6).
            match out.strip_suffix(&TAIL).map(<[u8]>::len) {
                Some(len) => out.truncate(len),
                None => out.push(0),
            }
            if !self.direction.has_context_takeover {
                context.reset();
            }
        }
    }
}

/// Inflates the messages of one connection. Its context is made for the first of them.
pub(crate) struct Inflater {
    direction: Direction,
    context: Option<Decompressor>,
    /// The last bytes that were inflated, as many as the window has: a context that came to an end has forgotten them.
    window: VecDeque<u8>,
    position: Position,
    /// Blocks of this message that were said to be the last.
    final_blocks: usize,
}

/// Where in a message an inflater stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Where a stream begins: it was given nothing, and must not be given the end of a flush.
    Start,
    Within,
    /// Behind the last byte: of what the message leaves out so many bytes were put back.
    Tail(usize),
}

/// How far inflating came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inflated {
    /// Bytes of the input that were taken.
    pub(crate) taken: usize,
    /// Bytes that came of them.
    pub(crate) made: usize,
    /// Blocks among them that were said to be the last.
    final_blocks: usize,
    /// Whether all of the input was taken, and nothing more comes of it.
    pub(crate) is_done: bool,
}

impl Inflated {
    /// What it took, in units of [`work`].
    pub(crate) fn work(&self) -> usize {
        let made = self.made / work::COPIED_BYTES;
        // To begin and to end costs something also where nothing is in it.
        2 + made + self.taken / work::INFLATED_BYTES + self.final_blocks * work::FINAL_BLOCK
    }
}

impl Inflater {
    pub(crate) fn new(direction: Direction) -> Self {
        Self { direction, context: None, window: VecDeque::new(), position: Position::Start, final_blocks: 0 }
    }

    /// Inflates a piece of a message, and hands out at most `max` bytes of what comes of it, at least 1, a bounded piece at
    /// a time. `sink` may refuse. `is_last`: the message ends behind this piece.
    ///
    /// As long as it is not done, the next call goes on with what was not taken, if only to get what is still to come.
    pub(crate) fn inflate<E: From<Violation>>(
        &mut self,
        piece: &[u8],
        is_last: bool,
        max: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Inflated, E> {
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let (mut taken, mut left, mut final_blocks) = (0, max.max(1), 0);
            loop {
                let out = &mut scratch[..left.min(SCRATCH)];
                let step = self.step(&piece[taken..], is_last, out)?;
                sink(&out[..step.made])?;
                taken += step.taken;
                left -= step.made;
                final_blocks += step.final_blocks;
                if step.is_done || left == 0 {
                    return Ok(Inflated { taken, made: max.max(1) - left, final_blocks, is_done: step.is_done });
                }
            }
        })
    }

    /// Inflates until `out` is full, or nothing more comes.
    fn step(&mut self, piece: &[u8], is_last: bool, out: &mut [u8]) -> Result<Inflated, Violation> {
        // A window that is larger than agreed reads everything, and one of 8 bits is not to be had (zlib).
        let context = self.context.get_or_insert_with(|| Decompressor::new(false, WindowBits::MAX.get()));
        let (mut taken, mut made, before) = (0, 0, self.final_blocks);
        loop {
            let input = match self.position {
                Position::Tail(put_back) => &TAIL[put_back..],
                Position::Start if taken == piece.len() => break,
                Position::Start | Position::Within => &piece[taken..],
            };
            if made == out.len() {
                return Ok(Inflated { taken, made, final_blocks: self.final_blocks - before, is_done: false });
            }
            let (total_in, total_out) = (context.total_in(), context.total_out());
            let status = context.decompress(input, &mut out[made..], InflateFlush::SyncFlush);
            let status = status.map_err(|_| Violation::CompressedData)?;
            let consumed = (context.total_in() - total_in) as usize;
            let end = made + (context.total_out() - total_out) as usize;
            push_window(&mut self.window, &out[made..end]);
            made = end;
            let is_used_up = consumed == input.len();
            match &mut self.position {
                Position::Tail(put_back) => *put_back += consumed,
                position => {
                    *position = Position::Within;
                    taken += consumed;
                }
            }
            match (status, self.position) {
                // A block said to be the last ended the stream, not the message (section 7.2.3.4). The next block goes
                // on with the same window.
                (Status::StreamEnd, position) => {
                    self.final_blocks += 1;
                    if self.final_blocks > MAX_FINAL_BLOCKS {
                        return Err(Violation::CompressedData);
                    }
                    context.reset(false);
                    if !self.window.is_empty() {
                        let dictionary = context.set_dictionary(self.window.make_contiguous());
                        dictionary.map_err(|_| Violation::CompressedData)?;
                    }
                    if position == Position::Within {
                        self.position = Position::Start;
                    } else if is_used_up {
                        break;
                    }
                }
                // More may come of what was taken.
                _ if made == out.len() => {}
                _ if !is_used_up => return Err(Violation::CompressedData),
                (_, Position::Within) if is_last => self.position = Position::Tail(0),
                (_, Position::Tail(_)) => break,
                _ => break,
            }
        }
        let final_blocks = self.final_blocks - before;
        if is_last {
            self.end_message();
        }
        Ok(Inflated { taken, made, final_blocks, is_done: true })
    }

    fn end_message(&mut self) {
        self.position = Position::Start;
        self.final_blocks = 0;
        if !self.direction.has_context_takeover
            && let Some(context) = &mut self.context
        {
            context.reset(false);
            self.window.clear();
        }
    }
}

/// Keeps the last bytes of what was inflated.
fn push_window(window: &mut VecDeque<u8>, made: &[u8]) {
    const WINDOW: usize = 1 << WindowBits::MAX.get();
    let made = &made[made.len().saturating_sub(WINDOW)..];
    let surplus = (window.len() + made.len()).saturating_sub(WINDOW);
    window.drain(..surplus);
    window.extend(made);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn direction(window_bits: u8, has_context_takeover: bool) -> Direction {
        Direction { window_bits: WindowBits::new(window_bits), has_context_takeover }
    }

    /// The inflater of another library, which knows nothing of messages: an endless stream, or one for each message.
    struct Twin {
        stream: flate2::Decompress,
        has_context_takeover: bool,
    }

    impl Twin {
        fn inflate(&mut self, message: &[u8]) -> Vec<u8> {
            let input = [message, &TAIL].concat();
            let mut out = Vec::with_capacity(1 << 20);
            if !self.has_context_takeover {
                self.stream = flate2::Decompress::new(false);
            }
            self.stream.decompress_vec(&input, &mut out, flate2::FlushDecompress::Sync).unwrap();
            out
        }
    }

    /// Inflates a message that comes in pieces of 7 bytes, with these limits of output in turn.
    fn inflated(inflater: &mut Inflater, message: &[u8], limits: &[usize]) -> Result<Vec<u8>, Violation> {
        let mut limits = limits.iter().copied().cycle();
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            let end = message.len().min(at - at % 7 + 7);
            let (max, before) = (limits.next().unwrap(), out.len());
            let step = inflater.inflate(&message[at..end], end == message.len(), max, |piece| {
                out.extend_from_slice(piece);
                Ok::<_, Violation>(())
            })?;
            assert_eq!(step.made, out.len() - before);
            assert!(step.made <= max, "{} bytes instead of {max}", step.made);
            assert!(step.is_done || step.made == max, "it stopped without need");
            assert!(!step.is_done || step.taken == end - at, "it is done with more than it took");
            at += step.taken;
            if step.is_done && at == message.len() {
                return Ok(out);
            }
        }
    }

    /// How much may come at a time.
    fn limits() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(prop_oneof![1 => 1..50usize, 2 => 200..2000usize, 2 => 10_000..100_000usize], 1..5)
    }

    /// Payloads that compress well, that do not at all, and that are longer than a window.
    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text = "[a-c]{0,400}".prop_map(String::into_bytes);
        let noise = prop::collection::vec(any::<u8>(), 0..400);
        let long = (any::<u8>(), 0..70_000usize).prop_map(|(seed, len)| {
            (0..len).map(|i| ((i / 3) ^ (usize::from(seed) * (i % 251))) as u8).collect::<Vec<u8>>()
        });
        prop::collection::vec(prop_oneof![4 => text, 3 => noise, 1 => long], 1..8)
    }

    proptest! {
        #[test]
        fn what_is_compressed_inflates_here_and_elsewhere(
            payloads in payloads(),
            window_bits in 9u8..=15,
            has_context_takeover: bool,
            level in 0u8..=9,
            mem_level in 1u8..=9,
            frame in 1usize..5000,
            limits in limits(),
        ) {
            let config = Deflate::default().level(level).mem_level(mem_level);
            let direction = direction(window_bits, has_context_takeover);
            let mut deflater = Deflater::new(Some(&config), direction);
            let mut inflater = Inflater::new(direction);
            let mut twin = Twin { stream: flate2::Decompress::new(false), has_context_takeover };
            for payload in payloads {
                let mut message = Vec::new();
                let last = payload.len().saturating_sub(1) / frame;
                for (i, piece) in payload.chunks(frame).enumerate() {
                    // In parts, too, of which only the last is flushed.
                    let (start, end) = piece.split_at(piece.len() / 2);
                    let mut body = Vec::new();
                    deflater.compress(start, Flush::None, &mut body);
                    deflater.compress(end, if i == last { Flush::Message } else { Flush::Frame }, &mut body);
                    message.extend(body);
                }
                if payload.is_empty() {
                    deflater.compress(&payload, Flush::Message, &mut message);
                }
                prop_assert_eq!(&twin.inflate(&message), &payload);
                prop_assert_eq!(inflated(&mut inflater, &message, &limits), Ok(payload));
            }
        }

        #[test]
        fn what_another_library_compressed_inflates_with_final_blocks_or_without(
            payloads in prop::collection::vec((payloads(), any::<bool>()), 1..6),
            limits in limits(),
        ) {
            let mut compressor = flate2::Compress::new(flate2::Compression::default(), false);
            let mut inflater = Inflater::new(direction(15, true));
            for (pieces, is_final) in payloads {
                let payload = pieces.concat();
                let mut message = Vec::with_capacity(payload.len() + 70_000);
                let flush = if is_final { flate2::FlushCompress::Finish } else { flate2::FlushCompress::Sync };
                compressor.compress_vec(&payload, &mut message, flush).unwrap();
                if is_final {
                    // A byte of zero follows, so that the tail can be put back (section 7.2.3.4).
                    message.push(0);
                    compressor.reset();
                } else {
                    message.truncate(message.len() - TAIL.len());
                }
                prop_assert_eq!(inflated(&mut inflater, &message, &limits), Ok(payload));
            }
        }

        #[test]
        fn noise_is_an_error_or_a_payload_however_little_may_come_at_a_time(
            message in prop::collection::vec(any::<u8>(), 0..300),
            limits in limits(),
        ) {
            let outcomes = [&[usize::MAX][..], &limits].map(|limits| {
                let mut inflater = Inflater::new(direction(15, true));
                [(); 2].map(|()| inflated(&mut inflater, &message, limits))
            });
            prop_assert_eq!(&outcomes[0], &outcomes[1]);
        }
    }

    #[test]
    fn a_final_block_does_not_lose_the_window() {
        // zlib-rs on its own side keeps the window over a final block only if it is given back.
        let text = "a text that is not short, so that a reference to it is worth it ".repeat(3).into_bytes();
        let mut first = Compressor::new(6, false, 15);
        let mut message = vec![0; 1000];
        first.compress(&text, &mut message, DeflateFlush::Finish).unwrap();
        message.truncate(first.total_out() as usize);
        message.push(0);
        let mut second = Compressor::new(6, false, 15);
        second.set_dictionary(&text).unwrap();
        let mut referring = vec![0; 1000];
        second.compress(&text, &mut referring, DeflateFlush::SyncFlush).unwrap();
        referring.truncate(second.total_out() as usize - TAIL.len());
        assert!(referring.len() < 20, "it refers to the first: {} bytes", referring.len());

        let mut inflater = Inflater::new(direction(15, true));
        assert_eq!(inflated(&mut inflater, &message, &[50]), Ok(text.clone()));
        assert_eq!(inflated(&mut inflater, &referring, &[50]), Ok(text));
    }

    #[test]
    fn a_final_block_may_end_a_fragment_that_is_followed_by_an_empty_one() {
        let text = b"a text that is sent twice".to_vec();
        let mut compressor = Compressor::new(6, false, 15);
        let mut fragment = vec![0; 100];
        compressor.compress(&text, &mut fragment, DeflateFlush::Finish).unwrap();
        fragment.truncate(compressor.total_out() as usize);
        let mut inflater = Inflater::new(direction(15, true));
        for _ in 0..2 {
            let mut out = Vec::new();
            for (piece, is_last) in [(&fragment[..], false), (&[], true)] {
                let push = |made: &[u8]| {
                    out.extend_from_slice(made);
                    Ok::<_, Violation>(())
                };
                let step = inflater.inflate(piece, is_last, usize::MAX, push).unwrap();
                assert!(step.is_done && step.taken == piece.len());
            }
            assert_eq!(out, text);
        }
    }

    /// Each costs a new context, and takes two bytes.
    #[test]
    fn a_message_has_at_most_8_final_blocks() {
        const EMPTY_FINAL_BLOCK: [u8; 2] = [0x03, 0x00];
        let mut inflater = Inflater::new(direction(15, true));
        for _ in 0..2 {
            assert_eq!(inflated(&mut inflater, &EMPTY_FINAL_BLOCK.repeat(MAX_FINAL_BLOCKS), &[50]), Ok(Vec::new()));
        }
        let refused = inflated(&mut inflater, &EMPTY_FINAL_BLOCK.repeat(MAX_FINAL_BLOCKS + 1), &[50]);
        assert_eq!(refused, Err(Violation::CompressedData));
    }

    #[test]
    fn a_bomb_stops_when_the_sink_refuses() {
        let mut deflater = Deflater::new(None, direction(15, true));
        let mut bomb = Vec::new();
        deflater.compress(&vec![0; 10 << 20], Flush::Message, &mut bomb);
        let mut left = 1 << 20;
        let mut inflater = Inflater::new(direction(15, true));
        let refused = inflater.inflate(&bomb, true, usize::MAX, |piece| {
            left = usize::checked_sub(left, piece.len()).ok_or(Violation::CompressedData)?;
            Ok::<_, Violation>(())
        });
        assert_eq!(refused, Err(Violation::CompressedData));
        assert!(left < SCRATCH, "{left}");
    }

    #[test]
    fn a_bomb_stops_where_no_more_is_wanted_and_goes_on_there() {
        let mut deflater = Deflater::new(None, direction(15, true));
        let mut bomb = Vec::new();
        deflater.compress(&vec![0; 10 << 20], Flush::Message, &mut bomb);
        let mut inflater = Inflater::new(direction(15, true));
        let (mut at, mut len, mut is_done) = (0, 0, false);
        while !is_done {
            let step = inflater.inflate(&bomb[at..], true, 100_000, |_| Ok::<_, Violation>(())).unwrap();
            assert!(is_done == step.is_done || len + step.made == 10 << 20, "{len}");
            (at, len, is_done) = (at + step.taken, len + step.made, step.is_done);
            assert!(step.made <= 100_000 && at <= bomb.len() / 100 * (len / 100_000 + 3), "{at} bytes for {len}");
        }
        assert_eq!((at, len), (bomb.len(), 10 << 20));
    }

    #[test]
    fn with_a_window_of_8_bits_nothing_is_compressed() {
        assert!(!Deflater::new(None, direction(8, true)).should_compress(1000));
        assert!(Deflater::new(None, direction(9, true)).should_compress(1000));
        assert!(!Deflater::new(Some(&Deflate::default().threshold(100)), direction(15, true)).should_compress(99));
    }
}
