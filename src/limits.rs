//! Internal limits: how many bytes are read, encoded, copied and written at once, how much work one poll does, and why.
//!
//! Bounds that a user can set are in [`Config`](crate::Config). Each number here is a measured compromise; one that
//! depends on another is derived from it.

use std::time::Duration;

const KIB: usize = 1024;

// Writing.

/// The most that a TLS record holds (RFC 8446, section 5.1).
///
/// Writes that nobody asked for are cut to multiples of it, so that records are full. A TLS library may hold this much
/// of what it has not accepted yet: nothing among the first `TLS_RECORD` encoded bytes is changed.
pub(crate) const TLS_RECORD: usize = 16 * KIB;

/// Encoded bytes from which on no further message is encoded ahead: a control frame waits behind no more than this, or
/// behind one frame. As large as the largest read of a peer that reads 128 KiB at a time.
pub(crate) const ENCODE_AHEAD: usize = 128 * KIB;

/// Encoded bytes that are worth a write although nobody asked for a flush, at first: from here on the cost of the system
/// call no longer shows.
pub(crate) const MIN_WRITE: usize = ENCODE_AHEAD / 2;

/// The same while the transport takes all: with one more record encoded behind it a buffer of `ENCODE_AHEAD` is full.
pub(crate) const GROWN_WRITE: usize = ENCODE_AHEAD - TLS_RECORD;

/// The most of a large message that is encoded at a time, so that it is still in the second-level cache when it is
/// written. Chunks of 64 KiB cost a quarter more CPU time.
pub(crate) const CHUNK: usize = 256 * KIB;

/// The most of large messages that is encoded for one write, once the transport takes all: each write costs the system
/// some work, and may wake the peer. One write of 1 MiB costs 0.80 to 0.85 of four writes of 256 KiB.
pub(crate) const MAX_BURST: usize = 4 * CHUNK;

/// Bytes that a burst may have besides: headers, and what the write before it left, which would go out alone.
pub(crate) const BURST_SLACK: usize = 4 * KIB;

/// What a transport may leave of a write that it takes as a whole: no full record.
pub(crate) const MAX_LEFTOVER: usize = TLS_RECORD;

/// Payloads up to this size are copied next to other frames; larger ones are masked in place where they are owned.
pub(crate) const MAX_COPIED_PAYLOAD: usize = 16 * KIB;

/// The frames of a message that is written piece by piece, in bytes of payload, where no size is set.
pub(crate) const WRITER_FRAME: usize = CHUNK;

/// The most that one write to a stream of bytes makes a message of.
pub(crate) const MAX_WRITE_MESSAGE: usize = 64 * KIB;

/// A message in more frames than this is not encoded at once when it is queued.
pub(crate) const MAX_FRAMES_AT_ONCE: usize = 64;

/// How much of a payload that is masked in place is copied behind its header all the same, so that the header never
/// leaves alone where the transport cannot write two slices at once.
pub(crate) const COPIED_HEAD: usize = 4 * KIB;

/// What the transport left of the output buffer is moved to the front up to this size, so that the buffer need not grow.
pub(crate) const MAX_MOVED: usize = TLS_RECORD;

/// What a message costs besides its payload while it is queued, in bytes: header and bookkeeping.
pub(crate) const MESSAGE_COST: usize = 32;

/// Bytes that may be on their way between two programs: more is held by no system, network and peer together. Once so much
/// was taken behind a ping of keepalive the peer has read it; and what came beyond it after our Close was sent by a peer
/// that could have answered.
pub(crate) const MAX_ON_THE_WAY: usize = 16 * KIB * KIB;

// Halves.

/// Places that a queue between tasks keeps while it is empty: those of a burst are freed.
pub(crate) const MAX_IDLE_PLACES: usize = 1;

/// Larger messages move to a receiver in chunks, unless they have come as a whole: nobody knows yet who asks for them.
pub(crate) const MAX_WHOLE: usize = 64 * KIB;

/// Messages that move to a receiver at a time, at most: with more of them the receiver waits longer than the lock costs.
pub(crate) const MAX_BATCH: usize = 256;

// Reading.

/// The read buffer that a connection begins with, and keeps at least.
pub(crate) const MIN_READ_BUFFER: usize = 4 * KIB;

/// The first buffer for a frame that is larger than the read buffer: for a payload of 1 MiB and its header. A declared
/// length alone allocates no more than this.
pub(crate) const LARGE_FRAME_START: usize = KIB * KIB + 16;

/// The first read buffer after such a frame: the next one is probably large too, and what has come of it by the time
/// its header is read moves to its own buffer.
pub(crate) const AFTER_LARGE_FRAME: usize = 16 * KIB;

/// How much of a compressed message is inflated at a time, before other tasks may run.
pub(crate) const MAX_INFLATED_INPUT: usize = 4 * KIB;

/// How much may come of it at a time: a thousand times as much as went in is possible.
pub(crate) const MAX_INFLATED: usize = 64 * KIB;

/// The most that a chunk of a message holds, where the reader does not say less.
pub(crate) const MAX_READ_CHUNK: usize = 64 * KIB;

/// How much of a message is compressed at a time, which takes one to two milliseconds.
pub(crate) const MAX_DEFLATED_INPUT: usize = 64 * KIB;

/// The largest frame that is compressed, in bytes of payload: what is encoded is counted in 32 bits, and a larger frame
/// gains nothing that matters.
pub(crate) const MAX_DEFLATED_FRAME: usize = (u32::MAX / 2) as usize;

// Waiting.

/// A deadline of the peer's that is noticed so much later was nobody's to watch: the application did not poll, or the
/// machine was held up. What came meanwhile then gets as long to be handed over before the peer is judged.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// What an idle connection may keep of its output buffers.
pub(crate) const MAX_IDLE_OUTPUT: usize = 4 * KIB;

/// How much of what the transport still has is read once a deadline has passed: it may have come before, while nobody read.
/// More than Linux keeps of a socket unread by default (6 MiB); a peer that never stops talking ends there.
pub(crate) const MAX_READ_OVERDUE: u64 = 8 * 1024 * KIB as u64;

/// How work is counted, so that no poll holds its task up for long. One unit is about what a small message costs: some
/// tens of nanoseconds.
pub(crate) mod work {
    /// Bytes that are copied by one unit of work: read, written or inflated. A read or write of fewer is one unit, too.
    pub(crate) const COPIED_BYTES: usize = 512;

    /// Compressed bytes that are inflated by one unit of work, besides what comes of them: nothing may, and the tables of a
    /// block are made of a few bytes.
    pub(crate) const INFLATED_BYTES: usize = 8;

    /// What a final block costs: what goes on behind it begins with a new context and up to 32 KiB of window.
    pub(crate) const FINAL_BLOCK: usize = 64;

    /// Payload bytes that are compressed by one unit of work.
    pub(crate) const DEFLATED_BYTES: usize = 16;

    /// What compressing a frame costs besides its payload.
    pub(crate) const DEFLATED_FRAME: usize = 16;

    /// Units that are one step of tokio's cooperative budget.
    pub(crate) const PER_STEP: usize = 32;

    /// The most that one poll does, in steps: as many as tokio's budget for a task has, also where there is none.
    pub(crate) const STEPS_PER_POLL: usize = 128;

    /// The most that is encoded before a write.
    pub(crate) const PER_ENCODE: usize = PER_STEP * STEPS_PER_POLL;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_name_these_numbers() {
        let kib = |bytes: usize| bytes / KIB;
        let docs = [
            include_str!("lib.rs"),
            include_str!("stream.rs"),
            include_str!("config.rs"),
            include_str!("message_reader.rs"),
            include_str!("byte_stream.rs"),
        ];
        let docs = docs.concat();
        let docs = docs.split_whitespace().filter(|word| *word != "///").collect::<Vec<_>>().join(" ");
        for text in [
            format!("it starts at {} KiB", kib(MIN_READ_BUFFER)),
            format!("of that {} KiB, or {} KiB of one message,", kib(ENCODE_AHEAD), kib(CHUNK + BURST_SLACK)),
            format!("up to {} MiB while the transport takes all of it", kib(kib(MAX_BURST))),
            format!("they go out from {} KiB (or the mark) on, {} KiB while", kib(MIN_WRITE), kib(GROWN_WRITE)),
            format!("is cut to blocks of {} KiB", kib(TLS_RECORD)),
            format!("at no more than {} KiB", kib(AFTER_LARGE_FRAME)),
            format!("of 1 byte to {} KiB", kib(MAX_READ_CHUNK)),
            format!("`None` counts as {} KiB", kib(WRITER_FRAME)),
            format!("makes one binary message of at most {} KiB", kib(MAX_WRITE_MESSAGE)),
        ] {
            assert!(docs.contains(&text), "the docs do not say {text:?}");
        }
    }
}
