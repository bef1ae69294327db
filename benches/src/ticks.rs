//! Market ticks in JSON: what the benches of compression send.

use wsflow::Message;

/// Each run moves so much payload: many times what a window holds.
const CORPUS: usize = 1 << 20;

pub const SIZES: [(&str, usize); 2] = [("256 B", 256), ("16 KiB", 16 << 10)];

/// Messages of about this size, 1 MiB together: arrays of ticks whose numbers move as those of a market do.
pub fn ticks(size: usize) -> Vec<Message> {
    const SYMBOLS: [&str; 8] = ["ACME", "GLOBEX", "HOOLI", "INITECH", "UMBRELLA", "STARK", "WAYNE", "WONKA"];
    let mut prices = [10_000i64, 25_050, 4_200, 131_300, 7_775, 88_812, 52_099, 1_999];
    let (mut random, mut sequence, mut time) = (1u64, 0u64, 1_760_000_000_000u64);
    let mut tick = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (sequence, time) = (sequence + 1, time + random % 40);
        let symbol = (random >> 8) as usize % SYMBOLS.len();
        prices[symbol] += (random >> 16) as i64 % 11 - 5;
        let (name, price, volume) = (SYMBOLS[symbol], prices[symbol] as f64 / 100.0, 1 + (random >> 32) % 500);
        let side = if random >> 63 == 0 { "buy" } else { "sell" };
        format!(
            r#"{{"symbol":"{name}","sequence":{sequence},"time":{time},"price":{price:.2},"volume":{volume},"side":"{side}"}}"#
        )
    };
    let (mut messages, mut total) = (Vec::new(), 0);
    while total < CORPUS {
        let mut message = format!("[{}", tick());
        while message.len() + 100 < size {
            message.push(',');
            message.push_str(&tick());
        }
        message.push(']');
        total += message.len();
        messages.push(message.into());
    }
    messages
}
