//! The compression of permessage-deflate (RFC 7692, section 7.2).

use std::{cell::RefCell, collections::VecDeque, fmt};

use zlib_rs::{Deflate as Compressor, DeflateConfig, DeflateFlush, Inflate as Decompressor, InflateFlush, Status};

use crate::{
    config::{Deflate, WindowBits},
    error::Violation,
};

/// How a flush ends, and what a message leaves out (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How much is compressed or inflated into at a time, in bytes.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    /// One for all connections of a thread: it is in use within a call only.
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// What both sides agreed on, for each direction: the window, and whether it is kept from message to message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) client: Direction,
    pub(crate) server: Direction,
}

/// One direction of what was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) window_bits: WindowBits,
    pub(crate) has_context_takeover: bool,
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
    pub(crate) fn is_for(&self, len: usize) -> bool {
        len >= self.threshold && self.direction.window_bits > WindowBits::MIN
    }

    /// Compresses the payload of one frame.
    ///
    /// Each frame is flushed, so that a frame's payload is complete once the frame is sent.
    pub(crate) fn compress(&mut self, payload: &[u8], is_last_frame: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let context = self.context.get_or_insert_with(|| Compressor::new_with_config(self.config));
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut rest = payload;
            loop {
                let (total_in, total_out) = (context.total_in(), context.total_out());
                let status = context.compress(rest, scratch, DeflateFlush::SyncFlush);
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
        if is_last_frame {
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
        out
    }
}

/// Inflates the messages of one connection. Its context is made for the first of them.
pub(crate) struct Inflater {
    direction: Direction,
    context: Option<Decompressor>,
    /// The last bytes that were inflated, as many as the window has: a context that came to an end has forgotten them.
    window: VecDeque<u8>,
    /// Whether the context stands where a stream begins, and must not be given the end of a flush.
    is_at_start: bool,
}

impl Inflater {
    pub(crate) fn new(direction: Direction) -> Self {
        Self { direction, context: None, window: VecDeque::new(), is_at_start: true }
    }

    /// Inflates a piece of a message, and hands out what comes of it, a bounded piece at a time. `sink` may refuse.
    pub(crate) fn inflate<E: From<Violation>>(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // A window that is larger than agreed reads everything, and one of 8 bits is not to be had (zlib).
        let context = self.context.get_or_insert_with(|| Decompressor::new(false, WindowBits::MAX.get()));
        let window = &mut self.window;
        self.is_at_start &= piece.is_empty();
        let is_at_start = &mut self.is_at_start;
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            let mut rest = piece;
            loop {
                let (total_in, total_out) = (context.total_in(), context.total_out());
                let status = context
                    .decompress(rest, scratch, InflateFlush::SyncFlush)
                    .map_err(|_| E::from(Violation::CompressedData))?;
                rest = &rest[(context.total_in() - total_in) as usize..];
                let made = &scratch[..(context.total_out() - total_out) as usize];
                sink(made)?;
                remember(window, made);
                match status {
                    // A block said to be the last ended the stream, not the message (section 7.2.3.4). The next block
                    // goes on with the same window.
                    Status::StreamEnd => {
                        context.reset(false);
                        if !window.is_empty() {
                            let dictionary = context.set_dictionary(window.make_contiguous());
                            dictionary.map_err(|_| E::from(Violation::CompressedData))?;
                        }
                        if rest.is_empty() {
                            *is_at_start = true;
                            return Ok(());
                        }
                    }
                    Status::Ok | Status::BufError if made.len() < scratch.len() => return Ok(()),
                    Status::Ok | Status::BufError => {}
                }
            }
        })
    }

    /// A message ends: what it leaves out is put back.
    pub(crate) fn finish<E: From<Violation>>(&mut self, sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if !self.is_at_start {
            self.inflate(&TAIL, sink)?;
        }
        self.is_at_start = true;
        if !self.direction.has_context_takeover
            && let Some(context) = &mut self.context
        {
            context.reset(false);
            self.window.clear();
        }
        Ok(())
    }
}

/// Keeps the last bytes of what was inflated.
fn remember(window: &mut VecDeque<u8>, made: &[u8]) {
    const WINDOW: usize = 1 << WindowBits::MAX.get();
    let made = &made[made.len().saturating_sub(WINDOW)..];
    let surplus = (window.len() + made.len()).saturating_sub(WINDOW);
    window.drain(..surplus);
    window.extend(made);
}
