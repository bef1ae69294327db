//! A message with a number and a checksum, which tell whether it is whole and comes in its turn.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::LazyLock,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wsflow::{Message, MessageRef};

/// Number and checksum, 16 hexadecimal digits each.
const HEADER: usize = 32;

/// The largest body.
const LARGEST: usize = 2 << 20;

/// Letters of which each body is a piece.
static LETTERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = StdRng::seed_from_u64(0);
    (0..2 * LARGEST).map(|_| rng.random_range(b'a'..=b'z')).collect()
});

/// A message of a random size: most are small, one in 500 has up to 2 MiB. Even numbers are texts.
pub(crate) fn message(number: u64, rng: &mut StdRng) -> Message {
    let largest = if rng.random_ratio(1, 500) { LARGEST } else { 1 << rng.random_range(0..=16) };
    let start = rng.random_range(0..LARGEST);
    let body = &LETTERS[start..start + rng.random_range(0..=largest)];
    let mut bytes = format!("{number:016x}{:016x}", checksum(number, body)).into_bytes();
    bytes.extend_from_slice(body);
    if number.is_multiple_of(2) {
        Message::text(String::from_utf8(bytes).expect("letters and digits"))
    } else {
        Message::binary(bytes)
    }
}

/// Whether it is whole and has this number; if not, what is wrong.
pub(crate) fn check(message: MessageRef<'_>, number: u64) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {} bytes in the place of message {number}", message.len()));
    let bytes = message.as_bytes();
    let Some((header, body)) = bytes.split_at_checked(HEADER) else { return wrong("no header") };
    let expected = format!("{number:016x}{:016x}", checksum(number, body));
    if header[..16] != expected.as_bytes()[..16] {
        return wrong(&format!("the number {}", String::from_utf8_lossy(&header[..16])));
    }
    if header != expected.as_bytes() {
        return wrong("another checksum");
    }
    if message.as_text().is_some() != number.is_multiple_of(2) {
        return wrong("another kind of message");
    }
    Ok(())
}

fn checksum(number: u64, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, body).hash(&mut hasher);
    hasher.finish()
}
