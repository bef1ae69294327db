//! What a run reports: samples while it runs and an outcome, each a line of words.

use std::{fmt, time::Duration};

use crate::{
    sample::Sample,
    units::{Bytes, Seconds},
};

/// Millions of bytes a second that went through, from the start on.
pub fn rate(sample: &Sample) -> f64 {
    sample.bytes as f64 / 1e6 / sample.time.as_secs_f64().max(1e-9)
}

/// A run at its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub end: End,
    pub last: Sample,
    /// The most that waited at any moment.
    pub peak_waiting: u64,
    /// The most memory that the process had, where the system tells.
    pub peak_memory: Option<u64>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Time,
    Ceiling,
    Closed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Seconds(self.last.time);
        match self.end {
            End::Time => write!(f, "ran for {time}, at most {} waiting", Bytes(self.peak_waiting)),
            End::Ceiling => write!(f, "stopped: {} waiting after {time}", Bytes(self.last.waiting)),
            End::Closed => write!(f, "the server closed the connection after {time}"),
        }
    }
}

/// A line from a run to the process that started it.
#[derive(Debug)]
pub enum Line {
    Sample(Sample),
    Outcome(Outcome),
    Failure(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample(sample) => write!(f, "sample {}", words(sample)),
            Self::Outcome(Outcome { end, last, peak_waiting, peak_memory }) => {
                let end = match end {
                    End::Time => "time",
                    End::Ceiling => "ceiling",
                    End::Closed => "closed",
                };
                write!(f, "outcome {} {end} {peak_waiting}", words(last))?;
                peak_memory.map_or(Ok(()), |bytes| write!(f, " {bytes}"))
            }
            Self::Failure(message) => write!(f, "failure {}", message.replace('\n', " ")),
        }
    }
}

impl Line {
    /// Reads what `Display` wrote.
    pub fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        if kind == "failure" {
            return Some(Self::Failure(rest.to_owned()));
        }
        let mut words = rest.split(' ');
        let mut number = || words.next()?.parse().ok();
        let last = Sample {
            time: Duration::from_micros(number()?),
            messages: number()?,
            bytes: number()?,
            waiting: number()?,
        };
        match kind {
            "sample" => Some(Self::Sample(last)),
            "outcome" => {
                let end = match words.next()? {
                    "time" => End::Time,
                    "ceiling" => End::Ceiling,
                    "closed" => End::Closed,
                    _ => return None,
                };
                let peak_waiting = words.next()?.parse().ok()?;
                let peak_memory = words.next().and_then(|bytes| bytes.parse().ok());
                Some(Self::Outcome(Outcome { end, last, peak_waiting, peak_memory }))
            }
            _ => None,
        }
    }
}

fn words(Sample { time, messages, bytes, waiting }: &Sample) -> String {
    format!("{} {messages} {bytes} {waiting}", time.as_micros())
}
