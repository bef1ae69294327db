//! The table of all runs.

use std::fmt;

use crate::{
    outcome::{Outcome, rate},
    run::Run,
    sample::Sample,
    units::{Bytes, Seconds},
};

/// What became of one run.
#[derive(Debug)]
pub struct Result {
    pub run: Run,
    pub outcome: Outcome,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Table<'a>(pub &'a [Result]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>,
                    [run, messages, rate, waiting, memory, time]: [&dyn fmt::Display; 6]| {
            writeln!(f, "{run:<20} {messages:>10} {rate:>8} {waiting:>13} {memory:>12} {time:>7}")
        };
        line(f, [&"", &"messages", &"MB/s", &"peak waiting", &"peak memory", &"time"])?;
        for Result { run, outcome: Outcome { last, peak_waiting, peak_memory, .. }, .. } in self.0 {
            let rate = format!("{:.1}", rate(last));
            let memory = peak_memory.map_or("n/a".into(), |bytes| Bytes(bytes).to_string());
            line(f, [&run.title(), &last.messages, &rate, &Bytes(*peak_waiting), &memory, &Seconds(last.time)])?;
        }
        if self.0.iter().any(|result| result.outcome.peak_memory.is_none()) {
            writeln!(f, "n/a: only Linux tells a process its peak memory without unsafe code.")?;
        }
        write!(f, "\n{NOTE}")
    }
}

const NOTE: &str =
    "Messages and MB/s went all the way through. Waiting is what the handler queued, what the stream read ahead,
bufferedAmount, and the message in send().await.";
