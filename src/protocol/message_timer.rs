//! Whether the peer still says something: how long no byte of a message has come.

use std::time::{Duration, Instant};

use crate::limits::LATE;

/// The header of a control frame from the peer, in bytes (RFC 6455, section 5.5).
const CONTROL_HEADER: usize = 2;

#[derive(Debug)]
pub(super) struct MessageTimer {
    /// `None`: it is off.
    timeout: Option<Duration>,
    /// Bytes of whole control frames that came: all others are of messages.
    control: u64,
    state: State,
}

/// `heard`: how many bytes of messages had come when a read found the transport empty first.
#[derive(Debug)]
enum State {
    /// No read has found the transport empty yet.
    Unset,
    /// Until then a byte of a message must have come.
    Waiting { heard: u64, until: Instant },
    /// None has, but nobody looked in time: what came meanwhile may still be on its way from the system to the
    /// transport.
    Late { heard: u64, until: Instant },
}

impl MessageTimer {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, control: 0, state: State::Unset }
    }

    /// How long no byte of a message may come.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called by the reader.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Unset => None,
            State::Waiting { until, .. } | State::Late { until, .. } => Some(until),
        }
    }

    /// A control frame came, with so many bytes of payload.
    pub(super) fn control(&mut self, payload: usize) {
        self.control += (CONTROL_HEADER + payload) as u64;
    }

    /// A read has found the transport empty. `received`: all bytes that came so far, the last `control` of which are of a
    /// control frame that is not whole.
    pub(super) fn quiet(&mut self, received: u64, control: usize, now: impl FnOnce() -> Instant) {
        let Some(timeout) = self.timeout else { return };
        let so_far = received - self.control - control as u64;
        let is_known = match self.state {
            State::Unset => false,
            State::Waiting { heard, .. } | State::Late { heard, .. } => heard == so_far,
        };
        if !is_known {
            self.state = State::Waiting { heard: so_far, until: now() + timeout };
        }
    }

    /// Whether the deadline passed and the connection is to end. A read has found the transport empty just before.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now) else { return false };
        match self.state {
            State::Waiting { heard, .. } if now - deadline > LATE => {
                self.state = State::Late { heard, until: now + LATE };
                false
            }
            State::Waiting { .. } | State::Late { .. } => true,
            State::Unset => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn bytes_of_messages_start_it_again_and_control_frames_do_not() {
        let (mut timer, start) = (MessageTimer::new(Some(TIMEOUT)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        // All that came, how much of it is of a control frame that is not whole, and from when on the timer runs.
        for (second, received, begun, control, since) in [
            (0, 0, 0, None, 0),
            (1, 0, 0, None, 0),
            // A pong of 7 bytes, in two pieces.
            (2, 3, 3, None, 0),
            (3, 7, 0, Some(5), 0),
            // A byte of a message, and another.
            (4, 8, 0, None, 4),
            (5, 9, 0, None, 5),
            // A ping without payload, then a ping and a byte of a message.
            (6, 11, 0, Some(0), 5),
            (7, 14, 0, Some(0), 7),
        ] {
            control.into_iter().for_each(|payload| timer.control(payload));
            timer.quiet(received, begun, || after(second));
            assert_eq!(timer.deadline(), Some(after(since) + TIMEOUT), "second {second}");
            assert!(!timer.handle_timeout(after(second)));
        }
        assert!(timer.handle_timeout(after(7) + TIMEOUT + LATE));
    }

    #[test]
    fn who_looks_late_looks_twice() {
        let (mut timer, start) = (MessageTimer::new(Some(TIMEOUT)), Instant::now());
        timer.quiet(0, 0, || start);
        let late = start + 2 * TIMEOUT;
        assert!(!timer.handle_timeout(late));
        timer.quiet(0, 0, || unreachable!("nothing came"));
        assert_eq!(timer.deadline(), Some(late + LATE));
        assert!(!timer.handle_timeout(late + LATE / 2));
        assert!(timer.handle_timeout(late + 2 * LATE));
    }

    #[test]
    fn off_it_has_no_deadline() {
        let mut timer = MessageTimer::new(None);
        timer.quiet(0, 0, || unreachable!("the clock is not read"));
        assert_eq!(timer.deadline(), None);
        assert!(!timer.handle_timeout(Instant::now()));
    }
}
