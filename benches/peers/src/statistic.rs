//! Which of a row's rounds tells its figure.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    Median,
    /// For rows in which the system is fast in some rounds and slow in others, whichever the client.
    LowerQuartile,
}

impl Statistic {
    /// A quartile needs more rounds than a median to be as steady.
    pub fn rounds(self, asked: usize) -> usize {
        match self {
            Self::Median => asked,
            Self::LowerQuartile => 3 * asked,
        }
    }

    pub fn of(self, mut times: Vec<Duration>) -> Duration {
        times.sort();
        match self {
            Self::Median => times[times.len() / 2],
            Self::LowerQuartile => times[times.len() / 4],
        }
    }

    /// What a reader has to know of it, where it is not the usual one.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Median => None,
            Self::LowerQuartile => Some(
                "lower quartile of three times as many rounds, not their median: what the system takes to send this much \
                 over loopback differs from round to round by up to a factor of two, whichever the client. A median \
                 tells how often it was slow, the lower quartile compares the clients where it was fast",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rounds_do_not_move_the_lower_quartile() {
        let of = |statistic: Statistic, slow: usize| {
            let times = (0..21).map(|round| Duration::from_micros(if round < slow { 75 } else { 36 }));
            statistic.of(times.collect()).as_micros()
        };
        assert_eq!([8, 13].map(|slow| of(Statistic::Median, slow)), [36, 75]);
        assert_eq!([8, 13].map(|slow| of(Statistic::LowerQuartile, slow)), [36, 36]);
    }
}
