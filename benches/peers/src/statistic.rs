//! Which of a row's rounds tells its figure.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    Median,
    /// For rows whose rounds fall into two groups, by what the system does and not by what the client does.
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
                "lower quartile of three times as many rounds, not their median: what is this large the system sends over \
                 loopback in one of two ways for a whole round, whichever the client, and one takes twice as long as the \
                 other. A median tells which way came more often; the lower quartile compares the clients in the same \
                 way, the faster one",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_of_the_system_do_not_move_the_lower_quartile() {
        let of = |statistic: Statistic, slow: usize| {
            let times = (0..21).map(|round| Duration::from_micros(if round < slow { 75 } else { 36 }));
            statistic.of(times.collect()).as_micros()
        };
        assert_eq!([8, 13].map(|slow| of(Statistic::Median, slow)), [36, 75]);
        assert_eq!([8, 13].map(|slow| of(Statistic::LowerQuartile, slow)), [36, 36]);
    }
}
