//! An inflater the naive way (RFC 1951, RFC 7692), which says what is wrong instead of stopping.

/// What a message leaves out at its end (RFC 7692, section 7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Why there is no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// No such data.
    Corrupt,
    /// The data end within a block.
    Truncated,
    /// More comes of it than was asked for.
    Large,
}

/// Inflates the messages of one side, one after another.
#[derive(Debug)]
pub struct Inflater {
    /// In bytes.
    window: usize,
    has_context_takeover: bool,
    /// How many blocks of the last message were said to be the last.
    pub final_blocks: usize,
    out: Vec<u8>,
}

type Result<T> = std::result::Result<T, Wrong>;

impl Inflater {
    /// Of a side that looks back so far at most.
    pub fn new(window_bits: u8, has_context_takeover: bool) -> Self {
        Self { window: 1 << window_bits, has_context_takeover, final_blocks: 0, out: Vec::new() }
    }

    /// Inflates the payload of a message, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// If it means nothing, or more than that.
    pub fn message(&mut self, payload: &[u8], max: usize) -> Result<Vec<u8>> {
        if !self.has_context_takeover {
            self.out.clear();
        }
        self.final_blocks = 0;
        let start = self.out.len();
        let end = start + max;
        let bytes = [payload, &TAIL].concat();
        let mut bits = Bits { bytes: &bytes, at: 0 };
        let mut was_final = false;
        loop {
            // After a block that was the last nothing need follow.
            if bits.at == 8 * bytes.len() || was_final && bits.at == 8 * payload.len() {
                return Ok(self.out[start..].to_vec());
            }
            was_final = bits.take(1)? == 1;
            self.final_blocks += usize::from(was_final);
            match bits.take(2)? {
                0 => self.stored(&mut bits)?,
                1 => self.block(&mut bits, &fixed_literals(), &Huffman::new(&[5; 30]), end)?,
                2 => {
                    let (literals, distances) = dynamic(&mut bits)?;
                    self.block(&mut bits, &literals, &distances, end)?;
                }
                _ => return Err(Wrong::Corrupt),
            }
            if self.out.len() > end {
                return Err(Wrong::Large);
            }
            if was_final {
                bits.at = bits.at.next_multiple_of(8);
            }
        }
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Result<()> {
        bits.at = bits.at.next_multiple_of(8);
        let len = bits.take(16)?;
        if bits.take(16)? != len ^ 0xffff {
            return Err(Wrong::Corrupt);
        }
        for _ in 0..len {
            self.out.push(bits.take(8)? as u8);
        }
        Ok(())
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Huffman, distances: &Huffman, end: usize) -> Result<()> {
        loop {
            match literals.symbol(bits)? {
                literal @ 0..256 => self.out.push(literal as u8),
                256 => return Ok(()),
                symbol => {
                    let &(base, extra) = LENGTHS.get(symbol - 257).ok_or(Wrong::Corrupt)?;
                    let len = base + bits.take(extra)?;
                    let &(base, extra) = DISTANCES.get(distances.symbol(bits)?).ok_or(Wrong::Corrupt)?;
                    let distance = base + bits.take(extra)?;
                    if distance > self.window.min(self.out.len()) {
                        return Err(Wrong::Corrupt);
                    }
                    for _ in 0..len {
                        self.out.push(self.out[self.out.len() - distance]);
                    }
                }
            }
            if self.out.len() > end {
                return Err(Wrong::Large);
            }
        }
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `n` bits, the lowest first.
    fn take(&mut self, n: usize) -> Result<usize> {
        let mut bits = 0;
        for i in 0..n {
            let byte = self.bytes.get(self.at / 8).ok_or(Wrong::Truncated)?;
            // What is longer than a word is only skipped.
            bits |= usize::from(byte >> (self.at % 8) & 1).checked_shl(i as u32).unwrap_or(0);
            self.at += 1;
        }
        Ok(bits)
    }
}

/// A canonical Huffman code (RFC 1951, section 3.2.2).
struct Huffman {
    /// How many codes there are of each length.
    counts: [usize; 16],
    /// The symbols in the order of their codes.
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        symbols.iter().for_each(|&symbol| counts[lengths[symbol]] += 1);
        Self { counts, symbols }
    }

    /// A code that came with the data. One that does not use all its bits is wrong, as zlib has it, but for one of a
    /// single bit, or of none.
    fn checked(lengths: &[usize], may_be_incomplete: bool) -> Result<Self> {
        let code = Self::new(lengths);
        let mut left = 1_isize;
        for &count in &code.counts[1..] {
            left = 2 * left - count as isize;
            if left < 0 {
                return Err(Wrong::Corrupt);
            }
        }
        let longest = code.counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let is_tolerated = longest == 0 || may_be_incomplete && longest == 1;
        if left > 0 && !is_tolerated { Err(Wrong::Corrupt) } else { Ok(code) }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Wrong::Corrupt)
    }
}

fn fixed_literals() -> Huffman {
    let lengths: Vec<_> = [(8, 144), (9, 112), (7, 24), (8, 8)]
        .into_iter()
        .flat_map(|(length, count)| std::iter::repeat_n(length, count))
        .collect();
    Huffman::new(&lengths)
}

/// Section 3.2.7.
fn dynamic(bits: &mut Bits<'_>) -> Result<(Huffman, Huffman)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, codes) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    if literals > 286 || distances > 30 {
        return Err(Wrong::Corrupt);
    }
    let mut lengths = [0; 19];
    for &symbol in &ORDER[..codes] {
        lengths[symbol] = bits.take(3)?;
    }
    let code = Huffman::checked(&lengths, false)?;
    if code.symbols.is_empty() {
        // zlib reads zeros by it, and then misses the end of the block.
        bits.take(literals + distances)?;
        return Err(Wrong::Corrupt);
    }
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, count) = match code.symbol(bits)? {
            16 => (*lengths.last().ok_or(Wrong::Corrupt)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, count));
    }
    // A repetition goes on from the lengths to the distances, and not beyond; a block has an end.
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return Err(Wrong::Corrupt);
    }
    Ok((Huffman::checked(&lengths[..literals], true)?, Huffman::checked(&lengths[literals..], true)?))
}

/// Base and extra bits (section 3.2.5).
#[rustfmt::skip]
const LENGTHS: [(usize, usize); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5),
    (195, 5), (227, 5), (258, 0),
];
#[rustfmt::skip]
const DISTANCES: [(usize, usize); 30] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5), (97, 5),
    (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10), (4097, 11),
    (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13),
];

#[cfg(test)]
mod tests {
    use super::{Inflater, Wrong};

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        // RFC 7692, sections 7.2.3.1 to 7.2.3.4.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new(15, true);
        assert_eq!(inflater.message(&hello, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflater.message(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5).as_deref(), Ok(&b"Hello"[..]), "it looks back");
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflater.message(&stored, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflater.final_blocks, 0);
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflater.message(&last, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflater.final_blocks, 1);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(Inflater::new(15, true).message(&hello, 4), Err(Wrong::Large));
        assert_eq!(Inflater::new(15, true).message(&[0x07], 100), Err(Wrong::Corrupt), "a block of type 3");
        let mut inflater = Inflater::new(15, false);
        inflater.message(&hello, 5).expect("Hello");
        let back = inflater.message(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5);
        assert_eq!(back, Err(Wrong::Corrupt), "it looks back beyond its message");
    }
}
