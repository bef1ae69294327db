//! How long to wait before the next attempt.

use std::time::Duration;

/// The shortest first bound: no choice of options makes a loop without a pause.
const MIN_INITIAL: Duration = Duration::from_millis(1);

/// How long [`Reconnect`](crate::Reconnect) waits before it connects again: exponential backoff with full jitter.
///
/// The wait is random, evenly between nothing and a bound. The bound begins at [`initial`](Self::initial), doubles with each
/// wait, and ends at [`max`](Self::max). So the clients of a server that restarts do not come back all at once. The bound
/// begins anew after a connection that was open for [`stable_after`](Self::stable_after), and only then: a server that
/// accepts and then hangs up is not asked in a hot loop.
///
/// A server can ask for more by `Retry-After`: see [`retry_after_max`](Self::retry_after_max).
///
/// ```
/// use std::time::Duration;
/// use wsflow::Backoff;
///
/// let backoff = Backoff::default().initial(Duration::from_millis(200)).max(Duration::from_secs(20));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "each method returns the changed options"]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    stable_after: Duration,
    retry_after_max: Duration,
    max_attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            stable_after: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(60 * 60),
            max_attempts: None,
        }
    }
}

impl Backoff {
    /// The bound of the first wait. Default 1 s; less than 1 ms counts as 1 ms.
    pub fn initial(mut self, initial: Duration) -> Self {
        self.initial = initial;
        self
    }

    /// What the bound grows to. Default 60 s; less than [`initial`](Self::initial) counts as that.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// How long a connection must have been open for the bound to begin anew. Default 10 s; with 0 each connection that
    /// came to be is enough, also at a server that hangs up at once.
    pub fn stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// How much of a `Retry-After` is obeyed at most. Default 1 h: who asks for more is asked again after that. With 0 it
    /// makes no wait longer.
    ///
    /// The header counts in each refusal of a server or a proxy, whatever its status (RFC 9110, section 10.2.3), as seconds
    /// and as a date, which is compared with the response's `Date` if it has one. What it asks for comes before the random
    /// wait: no attempt is made earlier, and clients that were told the same do not come back all at once.
    pub fn retry_after_max(mut self, retry_after_max: Duration) -> Self {
        self.retry_after_max = retry_after_max;
        self
    }

    /// After how many attempts in a row that failed [`Reconnect`](crate::Reconnect) gives up: it yields the error of the last
    /// one, and ends. Default `None`: never; 0 counts as 1.
    ///
    /// Each connection that is yielded resets the count, however soon it ends. The policy is still asked, and can end it
    /// earlier.
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into();
        self
    }

    /// Whether so many attempts in a row are enough.
    pub(super) fn gives_up_after(&self, failures: u32) -> bool {
        self.max_attempts.is_some_and(|most| failures >= most.max(1))
    }

    pub(super) fn is_stable(&self, open_for: Duration) -> bool {
        open_for >= self.stable_after
    }

    /// A wait, after `waits` others since the last stable connection. `retry_after`: what the server asks for.
    pub(super) fn delay(&self, waits: u32, retry_after: Option<Duration>) -> Duration {
        let bound = u64::try_from(self.bound(waits).as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(rand::random_range(0..=bound));
        retry_after.unwrap_or_default().min(self.retry_after_max).saturating_add(jitter)
    }

    fn bound(&self, waits: u32) -> Duration {
        let initial = self.initial.max(MIN_INITIAL);
        let doubled = 2_u32.checked_pow(waits).and_then(|factor| initial.checked_mul(factor)).unwrap_or(Duration::MAX);
        doubled.min(self.max.max(initial))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (0..100_000_u64).prop_map(Duration::from_millis),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        ]
    }

    proptest! {
        #[test]
        fn a_delay_lies_within_its_bounds_whatever_the_options(
            initial in any_duration(),
            max in any_duration(),
            waits in prop_oneof![0..70_u32, any::<u32>()],
            asked in proptest::option::of(any_duration()),
            asked_max in any_duration(),
        ) {
            let backoff = Backoff::default().initial(initial).max(max).retry_after_max(asked_max);
            let bound = backoff.bound(waits);
            prop_assert!(bound >= MIN_INITIAL);
            prop_assert!(bound <= max.max(initial).max(MIN_INITIAL));
            prop_assert!(bound <= backoff.bound(waits.saturating_add(1)), "it never shrinks");
            let obeyed = asked.unwrap_or_default().min(asked_max);
            let delay = backoff.delay(waits, asked);
            prop_assert!(obeyed <= delay && delay <= obeyed.saturating_add(bound), "{delay:?}");
        }
    }

    #[test]
    fn the_bound_doubles_from_1_s_to_60_s() {
        let bounds = [0, 1, 2, 3, 4, 5, 6, 7, 1000, u32::MAX].map(|waits| Backoff::default().bound(waits).as_secs());
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn the_jitter_is_full() {
        let delays: Vec<f64> = (0..10_000).map(|_| Backoff::default().delay(3, None).as_secs_f64()).collect();
        let mean = delays.iter().sum::<f64>() / 10_000.0;
        assert!((3.5..4.5).contains(&mean), "the mean of 0 to 8 s is 4 s, not {mean} s");
        assert!(delays.iter().any(|delay| *delay < 0.5) && delays.iter().any(|delay| *delay > 7.5));
    }
}
