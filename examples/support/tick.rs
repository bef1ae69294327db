//! Market ticks in JSON.

/// A tick shorter than this would not hold its own fields.
pub const MIN_SIZE: usize = 96;

/// Ticks of exactly one size, without an end. Each is a string of its own, as a producer would make it.
#[derive(Debug, Clone)]
pub struct Ticks {
    size: usize,
    sequence: u64,
}

impl Ticks {
    pub fn new(size: usize) -> Self {
        Self { size, sequence: 0 }
    }

    pub fn size(&self) -> usize {
        self.size
    }
}

impl Iterator for Ticks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.sequence += 1;
        let Self { size, sequence } = *self;
        let symbol = SYMBOLS[sequence as usize % SYMBOLS.len()];
        let price = 100.0 + (sequence * 37 % 997) as f64 / 100.0;
        let start = format!(r#"{{"symbol":"{symbol}","sequence":{sequence},"price":{price:.2},"note":""#);

        let mut tick = String::with_capacity(size);
        tick.push_str(&start);
        tick.extend(std::iter::repeat_n('.', size.saturating_sub(start.len() + END.len())));
        tick.push_str(END);
        debug_assert_eq!(tick.len(), size);
        Some(tick)
    }
}

const SYMBOLS: [&str; 4] = ["ACME", "GLOBEX", "HOOLI", "INITECH"];
const END: &str = r#""}"#;

/// What has to be sent to a server before it sends anything: nothing, or ticks for it to echo.
#[derive(Debug, Clone)]
pub struct Prompt(Option<Ticks>);

impl Prompt {
    pub fn nothing() -> Self {
        Self(None)
    }

    pub fn echoed(ticks: Ticks) -> Self {
        Self(Some(ticks))
    }

    /// What is sent at the start: some 64 KiB of ticks, which go round from then on.
    pub fn first(&mut self) -> Vec<String> {
        let Some(ticks) = &mut self.0 else { return Vec::new() };
        let count = (64 * 1024 / ticks.size).clamp(1, 256);
        ticks.take(count).collect()
    }
}

/// What is sent for each message that came back.
impl Iterator for Prompt {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.as_mut()?.next()
    }
}
