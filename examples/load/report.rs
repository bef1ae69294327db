//! The report at the end.

use std::{fmt, time::Duration};

use crate::{
    args::Args,
    connection::PATIENCE,
    pace::Pace,
    tally::Tally,
    units::{Bytes, Seconds},
};

/// What was asked for, and what was measured.
pub struct Report<'a> {
    pub url: &'a str,
    pub args: &'a Args,
    pub total: &'a Tally,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, args, total } = self;
        writeln!(f, "{url}: {}", Load(args))?;
        if !total.latency.is_empty() {
            let latency = |quantile| Duration::from_nanos(total.latency.value_at_quantile(quantile));
            for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
                writeln!(f, "{name:>6} {:>9.1?}", latency(quantile))?;
            }
        }
        let seconds = args.duration.as_secs_f64();
        let messages = total.latency.len() as f64 / seconds;
        let mib = total.bytes as f64 / seconds / 1024.0 / 1024.0;
        write!(f, "{messages:.0} messages/s, {mib:.1} MiB/s each way")?;
        if total.unanswered > 0 {
            write!(f, "\n{} messages that were due had no answer {PATIENCE:?} after the end", total.unanswered)?;
            write!(f, ": they are in no percentile")?;
        }
        for (kind, (count, text)) in &total.failures {
            write!(f, "\n{count} connections failed: {kind}, such as: {text}")?;
        }
        Ok(())
    }
}

/// The load in a line.
pub struct Load<'a>(pub &'a Args);

impl fmt::Display for Load<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Args { connections, size, duration, .. } = self.0;
        write!(f, "{connections} connections, messages of {}, ", Bytes(*size as u64))?;
        match self.0.pace() {
            Pace::Every(interval) => write!(f, "{:.0}/s on each", 1.0 / interval.as_secs_f64())?,
            Pace::InFlight(limit) => write!(f, "{limit} in flight on each")?,
        }
        write!(f, ", {}", Seconds(*duration))
    }
}
