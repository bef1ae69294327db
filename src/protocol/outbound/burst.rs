//! How much goes out in one write: more while the transport takes it all, less once it does not.

/// The most of a large message that is encoded at a time, in bytes, so that it is still in the second-level cache when
/// it is written, and what is encoded at once for a transport that takes it bit by bit.
pub(super) const PIECE: usize = 256 * 1024;

/// From where on a write is worth it at first, in bytes.
const LEAST: usize = 64 * 1024;

/// The same while the transport takes all: with what is copied behind fewer bytes than this, a buffer of 128 KiB is full.
const FULL: usize = 112 * 1024;

/// What is encoded at once of large messages, in bytes, for a transport that takes all of it: each write costs the system
/// some work, and may wake the peer.
const MOST: usize = 4 * PIECE;

/// Bytes that a burst may have besides: headers, and what the write before it left, which would go out alone.
const BESIDES: usize = 4 * 1024;

/// What a transport may leave of a write that it takes, in bytes: less than is worth a write.
const LEFT: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Burst {
    /// How much is encoded at once of large messages, in bytes.
    size: usize,
    /// Encoded bytes from which on they are worth a write of their own.
    pub(super) worth_a_write: usize,
}

impl Burst {
    pub(super) fn new() -> Self {
        Self { size: PIECE, worth_a_write: LEAST }
    }

    /// How much of large messages may be put behind `encoded` bytes.
    pub(super) fn room(&self, encoded: usize) -> usize {
        (self.size + BESIDES).saturating_sub(encoded)
    }

    /// Whether `piece` bytes may be put behind `encoded` bytes. A frame that has to be encoded as a whole may be larger
    /// than any burst.
    pub(super) fn has_room(&self, encoded: usize, piece: usize) -> bool {
        encoded <= BESIDES || piece <= self.room(encoded)
    }

    /// The transport took `n` bytes in one write and left `rest`.
    #[inline]
    pub(super) fn written(&mut self, n: usize, rest: usize) {
        if rest >= LEFT {
            *self = Self::new();
        } else if n + rest >= self.worth_a_write {
            self.size = (2 * (n + rest)).clamp(self.size, MOST);
            self.worth_a_write = FULL;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_all_is_taken_and_falls_back_when_not() {
        let mut burst = Burst::new();
        let mut sizes = Vec::new();
        for (n, rest) in [
            (LEAST - 1, 0),
            (LEAST + 1 - LEFT, LEFT - 1),
            (FULL, 0),
            (PIECE, 0),
            (2 * PIECE, 0),
            (9 * PIECE, 0),
            (9 * PIECE, LEFT),
            (PIECE, 0),
        ] {
            burst.written(n, rest);
            sizes.push((burst.worth_a_write / 1024, burst.room(BESIDES) / 1024));
        }
        let grown = [(64, 256), (112, 256), (112, 256), (112, 512), (112, 1024), (112, 1024), (64, 256), (112, 512)];
        assert_eq!(sizes, grown);
    }

    #[test]
    fn what_is_small_may_go_before_anything() {
        let burst = Burst::new();
        assert!(burst.has_room(BESIDES, 9 * PIECE));
        assert!(!burst.has_room(BESIDES + 1, PIECE));
        assert!(burst.has_room(PIECE, BESIDES));
    }
}
