//! What was measured.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// Answers, and failures by their kind.
pub struct Tally {
    /// In nanoseconds.
    pub latency: Histogram<u64>,
    /// Payload of the messages that were answered.
    pub bytes: u64,
    /// Messages that were due and had no answer.
    pub unanswered: u64,
    /// How many of each kind, and the text of the first.
    pub failures: BTreeMap<&'static str, (u64, String)>,
}

impl Default for Tally {
    fn default() -> Self {
        const MINUTE: u64 = 60_000_000_000;
        let latency = Histogram::new_with_bounds(1000, MINUTE, 3).expect("bounds that are fit for a histogram");
        Self { latency, bytes: 0, unanswered: 0, failures: BTreeMap::new() }
    }
}

impl Tally {
    /// A latency above a minute counts as a minute.
    pub fn answered(&mut self, latency: Duration, bytes: usize) {
        self.latency.saturating_record(latency.as_nanos() as u64);
        self.bytes += bytes as u64;
    }

    pub fn unanswered(&mut self, messages: u64) {
        self.unanswered += messages;
    }

    pub fn failed(&mut self, failure: &Failure) {
        let (count, _) = self.failures.entry(failure.kind()).or_insert_with(|| (0, failure.to_string()));
        *count += 1;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("both have the same bounds");
        self.bytes += other.bytes;
        self.unanswered += other.unanswered;
        for (kind, (count, text)) in &other.failures {
            self.failures.entry(kind).or_insert_with(|| (0, text.clone())).0 += count;
        }
    }
}
