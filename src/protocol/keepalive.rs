//! Whether the peer is there: any byte from it says so, and when none comes it is asked by a ping.
//!
//! ```text
//!          a read has        keepalive_interval:     the ping         keepalive_timeout,
//!          found nothing     a ping is queued        was taken        noticed late
//!   Heard ─────────► Quiet ─────────► Asking ─────────► Asked ─────────► Late
//!     ▲                │                │                 │                │
//!     └─ a byte came ──┴────────────────┴─────────────────┴────────────────┘
//!                                       │ keepalive_timeout                │ a moment more
//!                                       └─────────────────┴────────────────┴──► Gone
//! ```
//!
//! A silence that nobody listened to does not count, so a slow consumer makes no peer a dead one.
//!
//! A ping waits behind what the system and the peer hold. Where the transport was full with it, and takes bytes again, the
//! peer has read something, and its time begins again: a slow peer is not dead. A transport that was not full proves nothing,
//! and neither does it once more was taken behind the ping than a system and a peer can hold.

use std::time::{Duration, Instant};

use crate::limits::{LATE, MAX_ON_THE_WAY};

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
    Asking { until: Instant, transport: Transport },
    /// The transport has taken the ping, and so many bytes behind it. Until then something must have come.
    Asked { until: Instant, behind: usize, transport: Transport },
    /// Nothing has come, but nobody looked in time: what came meanwhile may still be on its way from the system to the
    /// transport.
    Late { until: Instant, behind: usize, transport: Transport },
}

/// Whether the transport has taken nothing for a moment since the peer was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    NeverFull,
    /// What it takes then it has room for since the peer has read.
    WasFull,
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
            State::Quiet { until }
            | State::Asking { until, .. }
            | State::Asked { until, .. }
            | State::Late { until, .. } => Some(until),
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

    /// The transport has room for nothing.
    pub(super) fn stalled(&mut self) {
        if let State::Asking { transport, .. } | State::Asked { transport, .. } | State::Late { transport, .. } =
            &mut self.state
        {
            *transport = Transport::WasFull;
        }
    }

    /// The transport took `n` bytes. `behind_ping`: the ping was among them, and so many bytes behind it.
    #[inline]
    pub(super) fn taken(&mut self, n: usize, behind_ping: Option<usize>, now: impl FnOnce() -> Instant) {
        match self.state {
            State::Heard | State::Quiet { .. } => {}
            State::Asking { transport, .. } => {
                let until = now() + self.timeout;
                self.state = match behind_ping {
                    Some(behind) => State::Asked { until, behind, transport },
                    None => State::Asking { until, transport },
                };
            }
            State::Asked { until, behind, transport } | State::Late { until, behind, transport } => {
                let behind = behind.saturating_add(n);
                let has_read = transport == Transport::WasFull && behind < MAX_ON_THE_WAY;
                self.state = match self.state {
                    _ if has_read => State::Asked { until: now() + self.timeout, behind, transport },
                    State::Late { .. } => State::Late { until, behind, transport },
                    _ => State::Asked { until, behind, transport },
                };
            }
        }
    }

    /// The deadline passed, or not. A read has found the transport empty just before.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Silence> {
        let deadline = self.deadline().filter(|deadline| *deadline <= now)?;
        let is_late = now - deadline > LATE;
        match self.state {
            State::Quiet { .. } => {
                self.state = State::Asking { until: now + self.timeout, transport: Transport::NeverFull };
                Some(Silence::Ask)
            }
            // Nobody polled, so nobody wrote.
            State::Asking { transport, .. } if is_late => {
                self.state = State::Asking { until: now + self.timeout, transport };
                None
            }
            State::Asked { behind, transport, .. } if is_late => {
                self.state = State::Late { until: now + LATE, behind, transport };
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
        keepalive.taken(6, Some(0), || asked);
        assert_eq!(keepalive.deadline(), Some(asked + timeout));
        assert_eq!(keepalive.handle_timeout(asked + timeout), Some(Silence::Gone));
    }

    /// Where nobody wrote, the ping has its time anew. Where nobody read, what has come meanwhile has a moment to be found.
    #[test]
    fn who_looks_late_gives_a_peer_more_time() {
        const MOMENT: Duration = Duration::from_millis(1);
        for (has_left, is_late) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut keepalive, start) = (keepalive(), Instant::now());
            assert_eq!(keepalive.timeout(), TIMEOUT);
            keepalive.quiet(|| start);
            let asked = start + INTERVAL;
            assert_eq!(keepalive.handle_timeout(asked), Some(Silence::Ask));
            let last = asked + TIMEOUT / 2;
            keepalive.taken(6, has_left.then_some(0), || last);
            let mut due = last + TIMEOUT;
            assert_eq!(keepalive.deadline(), Some(due));
            assert_eq!(keepalive.handle_timeout(due - MOMENT), None);
            if is_late {
                let looked = due + LATE + MOMENT;
                assert_eq!(keepalive.handle_timeout(looked), None);
                due = looked + if has_left { LATE } else { TIMEOUT };
                assert_eq!(keepalive.deadline(), Some(due));
                assert_eq!(keepalive.handle_timeout(due - MOMENT), None);
            }
            assert_eq!(keepalive.handle_timeout(due + LATE), Some(Silence::Gone), "{has_left} {is_late}");
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Heard,
        /// A read finds the transport empty, and the reader looks at the clock.
        Read,
        /// The transport takes so many bytes, with the ping if it waits, or without it.
        Taken(usize, bool),
        Stalled,
    }

    fn steps() -> impl Strategy<Value = Vec<(Duration, Step)>> {
        let step = prop_oneof![
            1 => Just(Step::Heard),
            8 => Just(Step::Read),
            4 => (1..6_usize << 20, any::<bool>()).prop_map(|(n, with_ping)| Step::Taken(n, with_ping)),
            1 => Just(Step::Stalled),
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
        /// When the transport took the ping.
        left: Option<Instant>,
        /// Whether it was full since the peer was asked, and how many bytes it took behind the ping.
        was_full: bool,
        behind: usize,
        /// When it took something last that proves a peer that reads, or that the ping gets on.
        progress: Option<Instant>,
    }

    impl History {
        /// Before that no peer is dead.
        fn due(&self) -> Option<Instant> {
            Some(self.asked?.max(self.progress.unwrap_or(self.asked?)) + TIMEOUT)
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
                    Step::Taken(n, with_ping) => {
                        let takes_ping = with_ping && history.asked.is_some() && history.left.is_none();
                        keepalive.taken(n, takes_ping.then_some(n / 2), || now);
                        if takes_ping {
                            (history.left, history.behind, history.progress) = (Some(now), n / 2, Some(now));
                        } else if history.left.is_none() {
                            history.progress = Some(now);
                        } else {
                            history.behind += n;
                            if history.was_full && history.behind < MAX_ON_THE_WAY {
                                history.progress = Some(now);
                            }
                        }
                    }
                    Step::Stalled => {
                        keepalive.stalled();
                        history.was_full |= history.asked.is_some();
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
                keepalive.taken(1000, None, || now);
            }
            keepalive.taken(6, Some(0), || now);
            // What a transport that was never full takes behind the ping does not count.
            keepalive.taken(1000, None, || now + TIMEOUT / 2);
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
                        keepalive.taken(6, Some(0), || now);
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

    /// The peer reads slowly. Its time begins again each time that the full transport takes something.
    #[test]
    fn a_peer_that_reads_has_its_time_anew_until_it_must_have_read_the_ping() {
        const STEP: usize = 1 << 20;
        let (mut keepalive, start) = (keepalive(), Instant::now());
        keepalive.quiet(|| start);
        let mut now = start + INTERVAL;
        assert_eq!(keepalive.handle_timeout(now), Some(Silence::Ask));
        keepalive.stalled();
        keepalive.taken(STEP, Some(0), || now);
        for _ in 1..MAX_ON_THE_WAY / STEP {
            now += TIMEOUT - Duration::from_millis(1);
            assert_eq!(keepalive.handle_timeout(now), None);
            keepalive.taken(STEP, None, || now);
            assert_eq!(keepalive.deadline(), Some(now + TIMEOUT));
        }
        let last = now;
        keepalive.taken(STEP, None, || now + TIMEOUT / 2);
        assert_eq!(keepalive.deadline(), Some(last + TIMEOUT), "it has read the ping");
        assert_eq!(keepalive.handle_timeout(last + TIMEOUT), Some(Silence::Gone));
    }

    #[test]
    fn off_it_has_no_deadline() {
        let mut keepalive = Keepalive::new(None, TIMEOUT);
        keepalive.quiet(|| unreachable!("the clock is not read"));
        assert_eq!(keepalive.deadline(), None);
        assert_eq!(keepalive.handle_timeout(Instant::now()), None);
    }
}
