//! Whether the peer is there: any byte from it says so, and when none comes it is asked by a ping.
//!
//! ```text
//!          a read has        keepalive_interval:     the ping         keepalive_timeout,
//!          found nothing     a ping is queued        was flushed      noticed late
//!   Heard ─────────► Quiet ─────────► Asking ─────────► Asked ─────────► Late
//!     ▲                │                │                 │                │
//!     └─ a byte came ──┴────────────────┴─────────────────┴────────────────┘
//!                                       │ keepalive_timeout                │ a moment more
//!                                       └─────────────────┴────────────────┴──► Gone
//! ```
//!
//! A silence that nobody listened to does not count, so a slow consumer makes no peer a dead one.

use std::time::{Duration, Instant};

use crate::limits::LATE;

#[derive(Debug)]
pub(super) struct Keepalive {
    /// `None`: it is off.
    interval: Option<Duration>,
    timeout: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The peer was heard, and no read has found the transport empty since.
    Heard,
    /// Nothing comes. Until then nobody minds.
    Quiet { until: Instant },
    /// A ping waits to leave. Until then the transport must have taken something of what goes out.
    Asking { until: Instant },
    /// The ping has left. Until then something must have come.
    Asked { until: Instant },
    /// Nothing has come, but nobody looked in time: what came meanwhile may still be on its way from the system to the
    /// transport.
    Late { until: Instant },
}

/// What a silence has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The peer is to be asked by a ping.
    Ask,
    /// It has not answered in time: it is dead.
    Gone,
}

impl Keepalive {
    pub(super) fn new(interval: Option<Duration>, timeout: Duration) -> Self {
        Self { interval, timeout, state: State::Heard }
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called by the reader.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Heard => None,
            State::Quiet { until } | State::Asking { until } | State::Asked { until } | State::Late { until } => {
                Some(until)
            }
        }
    }

    /// A byte came.
    #[inline]
    pub(super) fn heard(&mut self) {
        self.state = State::Heard;
    }

    /// A read has found the transport empty.
    #[inline]
    pub(super) fn quiet(&mut self, now: impl FnOnce() -> Instant) {
        if let (State::Heard, Some(interval)) = (&self.state, self.interval) {
            self.state = State::Quiet { until: now() + interval };
        }
    }

    /// The transport took something. While a ping waits this may be of what stands before it.
    #[inline]
    pub(super) fn taken(&mut self, now: impl FnOnce() -> Instant) {
        if let State::Asking { until } = &mut self.state {
            *until = now() + self.timeout;
        }
    }

    /// The transport was flushed: if a ping waited, it has left.
    pub(super) fn flushed(&mut self, now: impl FnOnce() -> Instant) {
        if let State::Asking { .. } = self.state {
            self.state = State::Asked { until: now() + self.timeout };
        }
    }

    /// The deadline passed, or not. A read has found the transport empty just before.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Silence> {
        let deadline = self.deadline().filter(|deadline| *deadline <= now)?;
        let is_late = now - deadline > LATE;
        match self.state {
            State::Quiet { .. } => {
                self.state = State::Asking { until: now + self.timeout };
                Some(Silence::Ask)
            }
            // Nobody polled, so nobody wrote.
            State::Asking { .. } if is_late => {
                self.state = State::Asking { until: now + self.timeout };
                None
            }
            State::Asked { .. } if is_late => {
                self.state = State::Late { until: now + LATE };
                None
            }
            State::Asking { .. } | State::Asked { .. } | State::Late { .. } => Some(Silence::Gone),
            State::Heard => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn keepalive() -> Keepalive {
        Keepalive::new(Some(INTERVAL), TIMEOUT)
    }

    /// Also where an answer may take less than it takes to count as late.
    #[test]
    fn a_question_has_the_whole_timeout_to_leave_and_again_to_be_answered() {
        let timeout = LATE / 2;
        let (mut keepalive, start) = (Keepalive::new(Some(INTERVAL), timeout), Instant::now());
        keepalive.quiet(|| start);
        let asked = start + INTERVAL;
        assert_eq!(keepalive.handle_timeout(asked), Some(Silence::Ask));
        assert_eq!(keepalive.deadline(), Some(asked + timeout));
        assert_eq!(keepalive.handle_timeout(asked), None, "it is not dead yet");
        keepalive.flushed(|| asked);
        assert_eq!(keepalive.deadline(), Some(asked + timeout));
        assert_eq!(keepalive.handle_timeout(asked + timeout), Some(Silence::Gone));
    }

    /// Where nobody wrote, the ping has its time anew. Where nobody read, what has come meanwhile has a moment to be found.
    #[test]
    fn who_looks_late_gives_a_peer_more_time() {
        const MOMENT: Duration = Duration::from_millis(1);
        for (is_flushed, is_late) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut keepalive, start) = (keepalive(), Instant::now());
            assert_eq!(keepalive.timeout(), TIMEOUT);
            keepalive.quiet(|| start);
            let asked = start + INTERVAL;
            assert_eq!(keepalive.handle_timeout(asked), Some(Silence::Ask));
            let last = asked + TIMEOUT / 2;
            keepalive.taken(|| last);
            if is_flushed {
                keepalive.flushed(|| last);
            }
            let mut due = last + TIMEOUT;
            assert_eq!(keepalive.deadline(), Some(due));
            assert_eq!(keepalive.handle_timeout(due - MOMENT), None);
            if is_late {
                let looked = due + LATE + MOMENT;
                assert_eq!(keepalive.handle_timeout(looked), None);
                due = looked + if is_flushed { LATE } else { TIMEOUT };
                assert_eq!(keepalive.deadline(), Some(due));
                assert_eq!(keepalive.handle_timeout(due - MOMENT), None);
            }
            assert_eq!(keepalive.handle_timeout(due + LATE), Some(Silence::Gone), "{is_flushed} {is_late}");
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Heard,
        /// A read finds the transport empty, and the reader looks at the clock.
        Read,
        Taken,
        Flushed,
    }

    fn steps() -> impl Strategy<Value = Vec<(Duration, Step)>> {
        let step = prop_oneof![
            1 => Just(Step::Heard),
            8 => Just(Step::Read),
            3 => Just(Step::Taken),
            2 => Just(Step::Flushed),
        ];
        let pause = prop_oneof![3 => 0..1500u64, 2 => 0..25_000u64, 1 => 0..90_000u64].prop_map(Duration::from_millis);
        prop::collection::vec((pause, step), 0..60)
    }

    /// The rules, from the whole history.
    #[derive(Debug, Default)]
    struct History {
        /// When a read found the transport empty first, since a byte came.
        quiet: Option<Instant>,
        /// When the peer was asked since.
        asked: Option<Instant>,
        /// When the ping was flushed.
        flushed: Option<Instant>,
        /// When the transport took something last while the ping was not flushed.
        taken: Option<Instant>,
    }

    impl History {
        /// Before that no peer is dead.
        fn due(&self) -> Option<Instant> {
            let last = self.asked?.max(self.flushed.or(self.taken).unwrap_or(self.asked?));
            Some(last + TIMEOUT)
        }
    }

    proptest! {
        #[test]
        fn nobody_is_asked_or_dead_before_the_time(steps in steps()) {
            let (mut keepalive, mut history, mut now) = (keepalive(), History::default(), Instant::now());
            for (pause, step) in steps {
                now += pause;
                match step {
                    Step::Heard => {
                        keepalive.heard();
                        history = History::default();
                        prop_assert_eq!(keepalive.deadline(), None);
                    }
                    Step::Taken => {
                        keepalive.taken(|| now);
                        if history.flushed.is_none() {
                            history.taken = Some(now);
                        }
                    }
                    Step::Flushed => {
                        keepalive.flushed(|| now);
                        if history.asked.is_some() {
                            history.flushed.get_or_insert(now);
                        }
                    }
                    Step::Read => {
                        keepalive.quiet(|| now);
                        let quiet = *history.quiet.get_or_insert(now);
                        let is_due = keepalive.deadline().expect("it waits") <= now;
                        let silence = keepalive.handle_timeout(now);
                        prop_assert!(is_due || silence.is_none());
                        let is_ask_due = history.asked.is_none() && quiet + INTERVAL <= now;
                        prop_assert_eq!(silence == Some(Silence::Ask), is_ask_due);
                        if is_ask_due {
                            history = History { quiet: Some(quiet), asked: Some(now), ..History::default() };
                        }
                        if silence == Some(Silence::Gone) {
                            prop_assert!(history.due().expect("it was asked") <= now);
                            return Ok(());
                        }
                    }
                }
            }
        }

        #[test]
        fn a_dead_peer_is_found_in_time_by_who_looks_in_time(taken in prop::collection::vec(0..20_000u64, 0..20)) {
            let (mut keepalive, start) = (keepalive(), Instant::now());
            let mut now = start;
            keepalive.quiet(|| now);
            now += INTERVAL;
            prop_assert_eq!(keepalive.deadline(), Some(now));
            prop_assert_eq!(keepalive.handle_timeout(now), Some(Silence::Ask));
            for pause in taken {
                now += Duration::from_millis(pause);
                prop_assert_eq!(keepalive.handle_timeout(now), None);
                keepalive.taken(|| now);
            }
            keepalive.flushed(|| now);
            // What is taken behind the ping does not count.
            keepalive.taken(|| now + TIMEOUT / 2);
            keepalive.flushed(|| now + TIMEOUT / 2);
            prop_assert_eq!(keepalive.deadline(), Some(now + TIMEOUT));
            prop_assert_eq!(keepalive.handle_timeout(now + TIMEOUT), Some(Silence::Gone));
        }

        #[test]
        fn a_dead_peer_is_found_by_who_looks_in_now_and_then(pauses in prop::collection::vec(1_000..200_000u64, 200)) {
            let (mut keepalive, mut now) = (keepalive(), Instant::now());
            let mut looks = 0;
            let mut asked = None;
            for pause in pauses {
                keepalive.quiet(|| now);
                match keepalive.handle_timeout(now) {
                    Some(Silence::Gone) => break,
                    Some(Silence::Ask) => {
                        keepalive.flushed(|| now);
                        asked = Some(now);
                    }
                    None => {}
                }
                // Once the answer is overdue it is looked for twice.
                looks += usize::from(asked.is_some_and(|asked| asked + TIMEOUT <= now));
                prop_assert!(looks <= 1);
                now += Duration::from_millis(pause);
            }
        }
    }

    #[test]
    fn off_it_has_no_deadline() {
        let mut keepalive = Keepalive::new(None, TIMEOUT);
        keepalive.quiet(|| unreachable!("the clock is not read"));
        assert_eq!(keepalive.deadline(), None);
        assert_eq!(keepalive.handle_timeout(Instant::now()), None);
    }
}
