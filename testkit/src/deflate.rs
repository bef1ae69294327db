//! permessage-deflate as a server speaks it, by another library than the client's.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::inflate::{Inflater, TAIL};

/// Compresses the server's messages.
#[derive(Debug)]
pub struct Compressor {
    stream: Compress,
    has_context_takeover: bool,
}

impl Compressor {
    /// By this level of zlib.
    pub fn new(level: u32, has_context_takeover: bool) -> Self {
        Self { stream: Compress::new(Compression::new(level), false), has_context_takeover }
    }

    /// The payload of a compressed message.
    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = self.flushed(payload);
        match out.strip_suffix(&TAIL).map(<[u8]>::len) {
            Some(len) => out.truncate(len),
            // A flush of nothing makes nothing (section 7.2.3.6).
            None => out.push(0),
        }
        if !self.has_context_takeover {
            self.stream.reset();
        }
        out
    }

    /// The same, its last block said to be final (section 7.2.3.4).
    pub fn final_message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = self.compressed(payload, FlushCompress::Finish);
        out.push(0);
        self.stream.reset();
        out
    }

    /// A part of a message, complete in itself.
    pub fn flushed(&mut self, payload: &[u8]) -> Vec<u8> {
        self.compressed(payload, FlushCompress::Sync)
    }

    fn compressed(&mut self, payload: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 1024);
        self.stream.compress_vec(payload, &mut out, flush).expect("compressed");
        assert!(out.len() < out.capacity(), "the flush is complete");
        out
    }
}

/// Compresses one message by itself.
pub fn deflated(payload: impl AsRef<[u8]>) -> Vec<u8> {
    Compressor::new(6, true).message(payload.as_ref())
}

/// Inflates the client's messages, in two ways that must agree.
#[derive(Debug)]
pub struct Reader {
    stream: Decompress,
    naive: Inflater,
    has_context_takeover: bool,
}

impl Reader {
    /// Of a client that looks back so far at most.
    pub fn new(window_bits: u8, has_context_takeover: bool) -> Self {
        let naive = Inflater::new(window_bits, has_context_takeover);
        Self { stream: Decompress::new(false), naive, has_context_takeover }
    }

    /// The payload of a compressed message that has `len` bytes at most.
    pub fn message(&mut self, compressed: &[u8], len: usize) -> Vec<u8> {
        if !self.has_context_takeover {
            self.stream.reset(false);
        }
        let mut out = Vec::with_capacity(len + 1);
        let input = [compressed, &TAIL].concat();
        let before = self.stream.total_in();
        self.stream.decompress_vec(&input, &mut out, FlushDecompress::Sync).expect("a deflate stream");
        assert_eq!(self.stream.total_in() - before, input.len() as u64, "a longer message than was sent");
        assert!(self.naive.message(compressed, len).as_ref() == Ok(&out), "two inflaters disagree");
        assert_eq!(self.naive.final_blocks, 0, "a final block");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Compressor, Reader};

    #[test]
    fn messages_pass_with_and_without_context_takeover() {
        for has_context_takeover in [true, false] {
            let mut compressor = Compressor::new(6, has_context_takeover);
            let mut reader = Reader::new(15, has_context_takeover);
            for payload in [&b"Hello"[..], b"", &[7; 100_000], b"Hello again, hello again"] {
                assert_eq!(reader.message(&compressor.message(payload), payload.len()), payload);
            }
        }
    }

    #[test]
    #[should_panic = "a longer message than was sent"]
    fn a_final_block_of_a_client_is_caught() {
        Reader::new(15, true).message(&Compressor::new(6, true).final_message(b"Hello"), 5);
    }
}
