//! An inflater the naive way (RFC 1951), which refuses to look back further than the window that was agreed on.

pub struct NaiveInflater {
    /// In bytes.
    window: usize,
    has_context_takeover: bool,
    /// All that was inflated, or what came of the message alone.
    out: Vec<u8>,
}

impl NaiveInflater {
    pub fn new(window_bits: u8, has_context_takeover: bool) -> Self {
        Self { window: 1 << window_bits, has_context_takeover, out: Vec::new() }
    }

    /// Inflates the payload of a message of a client, which leaves the end of its last flush out.
    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.has_context_takeover {
            self.out.clear();
        }
        let start = self.out.len();
        let bytes = [payload, &super::TAIL].concat();
        let mut bits = Bits { bytes: &bytes, at: 0 };
        while bits.at < 8 * bytes.len() {
            assert_eq!(bits.take(1), 0, "a final block");
            match bits.take(2) {
                0 => self.stored(&mut bits),
                1 => self.block(&mut bits, &fixed_literals(), &Huffman::new(&[5; 30])),
                2 => {
                    let (literals, distances) = dynamic(&mut bits);
                    self.block(&mut bits, &literals, &distances);
                }
                _ => panic!("a block of type 3"),
            }
        }
        self.out[start..].to_vec()
    }

    fn stored(&mut self, bits: &mut Bits<'_>) {
        bits.at = bits.at.next_multiple_of(8);
        let len = bits.take(16);
        assert_eq!(bits.take(16), len ^ 0xffff);
        for _ in 0..len {
            self.out.push(bits.take(8) as u8);
        }
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Huffman, distances: &Huffman) {
        loop {
            match literals.symbol(bits) {
                literal @ 0..256 => self.out.push(literal as u8),
                256 => return,
                symbol => {
                    let (base, extra) = LENGTHS[symbol - 257];
                    let len = base + bits.take(extra);
                    let (base, extra) = DISTANCES[distances.symbol(bits)];
                    let distance = base + bits.take(extra);
                    assert!(distance <= self.window, "{distance} bytes back with a window of {}", self.window);
                    for _ in 0..len {
                        self.out.push(self.out[self.out.len() - distance]);
                    }
                }
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
    fn take(&mut self, n: usize) -> usize {
        (0..n).fold(0, |bits, i| {
            let bit = usize::from(self.bytes[self.at / 8] >> (self.at % 8) & 1);
            self.at += 1;
            bits | bit << i
        })
    }
}

/// A canonical Huffman code (section 3.2.2).
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

    fn symbol(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
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
fn dynamic(bits: &mut Bits<'_>) -> (Huffman, Huffman) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, codes) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lengths = [0; 19];
    for &symbol in &ORDER[..codes] {
        lengths[symbol] = bits.take(3);
    }
    let code = Huffman::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, count) = match code.symbol(bits) {
            16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, count));
    }
    (Huffman::new(&lengths[..literals]), Huffman::new(&lengths[literals..]))
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
