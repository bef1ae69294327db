//! The closing handshake (RFC 6455, section 7).
//!
//! ```text
//!           close()             the peer's Close              the transport ends, or the deadline passes
//!   Open ──────────────► Sent ─────────────────► Received ──────────────────────┬──► Done
//!    │ │                  │                         ▲                           │
//!    │ └──────────────────│─────────────────────────┘                           │
//!    │  the peer's Close  │ fail()                                              │
//!    │ fail()             ▼                                                     │
//!    ├──────────────────► Failed ───────────────────────────────────────────────┤
//!    └───────────────────────────── the transport ends or breaks ───────────────┘
//! ```
//!
//! In `Sent`, `Received` and `Failed` our own Close frame is on its way, too:
//!
//! ```text
//!   Queued ──► Taken ──► Flushed
//!      └─────────┴─────► Lost
//! ```
//!
//! What is asked of a connection's state is asked here and stored nowhere else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    close::{CloseFrame, Closed},
    error::{Error, Phase},
};

/// The state of a connection as the browser's `readyState` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum ReadyState {
    /// 0: the opening handshake is under way.
    Connecting = 0,
    /// 1: messages can be sent and received.
    Open = 1,
    /// 2: the closing handshake is under way.
    Closing = 2,
    /// 3: the connection has ended, or never came to be.
    Closed = 3,
}

impl From<ReadyState> for u16 {
    fn from(state: ReadyState) -> Self {
        state as Self
    }
}

/// How far our own Close frame has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OurClose {
    /// Not taken by the transport as a whole.
    Queued,
    /// Taken by the transport, which may still hold it.
    Taken,
    /// The transport was flushed since it took it.
    Flushed,
    /// It cannot leave any more.
    Lost,
}

impl OurClose {
    /// Whether it may still leave.
    fn is_pending(self) -> bool {
        matches!(self, Self::Queued | Self::Taken)
    }
}

#[derive(Debug)]
enum State {
    Open,
    /// We began to close. `since`: when that was, and then when our Close frame was flushed or lost.
    Sent {
        ours: OurClose,
        since: Instant,
    },
    /// The peer's Close has come. `ended`: the transport's end, too. `since`: when it came, and then when our Close frame was
    /// flushed.
    Received {
        ours: OurClose,
        ended: bool,
        since: Instant,
        closed: Closed,
        unclean: Option<Unclean>,
    },
    /// We failed the connection. The peer is told by a Close frame where it can be.
    Failed {
        ours: OurClose,
        until: Instant,
        closed: Closed,
        error: Error,
    },
    Done {
        closed: Closed,
        unclean: Option<Unclean>,
    },
}

/// What makes an end unclean.
#[derive(Debug)]
enum Unclean {
    /// A message lacks what the peer's Close stands in place of. But for that all went well.
    Cut(Error),
    Other(Error),
}

impl Unclean {
    fn error(&self) -> &Error {
        match self {
            Self::Cut(error) | Self::Other(error) => error,
        }
    }
}

/// What is lost by the peer's Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Nothing,
    /// The end of a message of the peer's.
    Cut,
    /// Messages of ours that can no longer leave (RFC 6455, section 5.5.1), whatever else is.
    Unsent,
}

/// The closing handshake of one connection.
#[derive(Debug)]
pub(crate) struct Closing {
    state: State,
    /// The peer's Close frame.
    peer: Option<Arc<CloseFrame>>,
    close_timeout: Option<Duration>,
    tcp_end_timeout: Duration,
}

impl Closing {
    pub(crate) fn new(close_timeout: Option<Duration>, tcp_end_timeout: Duration) -> Self {
        Self { state: State::Open, peer: None, close_timeout, tcp_end_timeout }
    }

    // What is asked of it.

    pub(crate) fn ready_state(&self) -> ReadyState {
        match self.state {
            State::Open => ReadyState::Open,
            State::Sent { .. } => ReadyState::Closing,
            // It is certain how the connection ended as soon as the reader is told.
            State::Received { .. } | State::Failed { .. } if self.error().is_none() => ReadyState::Closing,
            State::Received { .. } | State::Failed { .. } | State::Done { .. } => ReadyState::Closed,
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether frames from the peer still mean something.
    pub(crate) fn is_parsing(&self) -> bool {
        matches!(self.state, State::Open | State::Sent { .. })
    }

    /// Whether our own Close frame may still leave.
    fn is_close_pending(&self) -> bool {
        match self.state {
            State::Sent { ours, .. } | State::Received { ours, .. } | State::Failed { ours, .. } => ours.is_pending(),
            State::Open | State::Done { .. } => false,
        }
    }

    /// Whether nothing more is to be written although the transport is still there: its write side can be shut down.
    pub(crate) fn is_write_side_done(&self) -> bool {
        match self.state {
            State::Failed { ours, .. } => !ours.is_pending(),
            State::Done { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Whether the transport has ended although our answer is still to leave: there is nothing to read any more.
    pub(crate) fn has_transport_ended(&self) -> bool {
        matches!(self.state, State::Received { ended: true, .. })
    }

    /// What makes this an unclean end, once the peer has been told as well as it could be.
    pub(crate) fn error(&self) -> Option<&Error> {
        match &self.state {
            State::Failed { ours, error, .. } if !ours.is_pending() => Some(error),
            State::Received { ours, unclean, .. } if !ours.is_pending() => unclean.as_ref().map(Unclean::error),
            State::Done { unclean, .. } => unclean.as_ref().map(Unclean::error),
            _ => None,
        }
    }

    /// Why nothing can be sent any more, if that is so.
    pub(crate) fn send_error(&self) -> Option<Error> {
        match &self.state {
            State::Open => None,
            State::Sent { .. } => Some(Error::Closing { by_peer: None }),
            State::Failed { error, .. } => Some(error.clone()),
            State::Received { unclean: Some(unclean), .. } | State::Done { unclean: Some(unclean), .. } => {
                Some(unclean.error().clone())
            }
            State::Received { unclean: None, .. } => Some(Error::Closing { by_peer: self.peer.clone() }),
            State::Done { unclean: None, closed } => Some(closed.clone().into()),
        }
    }

    /// Why no pong comes any more, if that is so.
    pub(crate) fn pong_error(&self) -> Option<Error> {
        self.outcome().or_else(|| self.send_error())
    }

    /// How the connection ends, as soon as the peer's Close, a failure or the transport's end decides it. It is an error
    /// also where the end is clean.
    pub(crate) fn outcome(&self) -> Option<Error> {
        match &self.state {
            State::Open | State::Sent { .. } => None,
            State::Failed { error, .. } => Some(error.clone()),
            State::Received { closed, unclean, .. } | State::Done { closed, unclean } => {
                Some(unclean.as_ref().map_or_else(|| closed.clone().into(), |unclean| unclean.error().clone()))
            }
        }
    }

    /// The peer's Close frame, once it was dealt with.
    pub(crate) fn peer_close(&self) -> Option<&Arc<CloseFrame>> {
        self.peer.as_ref()
    }

    /// How the connection ended, once that is certain.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        match &self.state {
            State::Done { closed, .. } => Some(closed),
            State::Failed { closed, .. } | State::Received { closed, .. } if self.error().is_some() => Some(closed),
            _ => None,
        }
    }

    /// Whether the end is unclean only since the peer's Close came within a message. Both sides have closed as they should,
    /// which is all that a browser asks for.
    pub(crate) fn is_cut(&self) -> bool {
        let (State::Received { unclean, .. } | State::Done { unclean, .. }) = &self.state else { return false };
        matches!(unclean, Some(Unclean::Cut(_)))
    }

    /// When something is overdue. `stalled_since`: since when the transport has taken nothing of what waits for it.
    pub(crate) fn deadline(&self, stalled_since: Option<Instant>) -> Option<Instant> {
        match self.state {
            State::Open | State::Done { .. } => None,
            State::Sent { ours, since } if ours.is_pending() => Some(stalled_since?.max(since) + self.close_timeout?),
            State::Sent { since, .. } => Some(since + self.close_timeout?),
            State::Received { ours, since, .. } if ours.is_pending() => {
                Some(stalled_since?.max(since) + self.close_timeout?)
            }
            State::Received { since, .. } => Some(since + self.tcp_end_timeout),
            State::Failed { until, .. } => Some(until),
        }
    }

    // What happens to it.

    /// The user's close, if the connection is open. Returns whether a Close frame is to be sent.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        let is_open = self.is_open();
        if is_open {
            self.state = State::Sent { ours: OurClose::Queued, since: now };
        }
        is_open
    }

    /// The peer's Close. Returns whether a Close frame is to be queued, if none is on its way.
    pub(crate) fn handle_peer_close(&mut self, frame: &Arc<CloseFrame>, loss: Loss, now: Instant) -> bool {
        let ours = match self.state {
            State::Sent { ours, .. } => ours,
            _ => OurClose::Queued,
        };
        let is_unsent = loss == Loss::Unsent || ours == OurClose::Lost;
        let closed = Closed::by_peer(frame, loss == Loss::Nothing && !is_unsent);
        let unclean = match loss {
            _ if is_unsent => Some(Unclean::Other(closed.clone().into())),
            Loss::Cut => Some(Unclean::Cut(closed.clone().into())),
            Loss::Nothing | Loss::Unsent => None,
        };
        self.peer = Some(Arc::clone(frame));
        self.state = State::Received { ours, ended: false, since: now, closed, unclean };
        ours == OurClose::Queued
    }

    /// A failure of which the peer is to be told. Returns whether a Close frame is to be queued, if none is on its way.
    pub(crate) fn fail(&mut self, error: Error, now: Instant) -> bool {
        let ours = match self.state {
            State::Open => OurClose::Queued,
            State::Sent { ours, .. } => ours,
            _ => return false,
        };
        self.state = State::Failed { ours, until: now + self.tcp_end_timeout, closed: Closed::abnormal(), error };
        ours == OurClose::Queued
    }

    /// Our Close frame was taken by the transport, which may still hold it.
    pub(crate) fn close_taken(&mut self) {
        if let State::Sent { ours, .. } | State::Received { ours, .. } | State::Failed { ours, .. } = &mut self.state
            && *ours == OurClose::Queued
        {
            *ours = OurClose::Taken;
        }
    }

    /// The transport was flushed. Returns whether our Close frame left by that.
    pub(crate) fn flushed(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let is_taken = matches!(
            self.state,
            State::Sent { ours: OurClose::Taken, .. }
                | State::Received { ours: OurClose::Taken, .. }
                | State::Failed { ours: OurClose::Taken, .. }
        );
        if is_taken {
            self.close_ended(OurClose::Flushed, now());
        }
        is_taken
    }

    /// Our Close frame cannot leave any more.
    pub(crate) fn close_lost(&mut self, now: Instant) {
        if self.is_close_pending() {
            match self.state {
                State::Received { .. } => self.answer_lost(),
                _ => self.close_ended(OurClose::Lost, now),
            }
        }
    }

    /// The application took something at `at` of what waits for it: until then the peer's answer may have waited behind that.
    pub(crate) fn taken(&mut self, at: Instant) {
        if let State::Sent { ours, since } = &mut self.state
            && !ours.is_pending()
        {
            *since = at.max(*since);
        }
    }

    /// What was read waited for the application between these times, and the peer's answer may have waited behind it.
    pub(crate) fn held_back(&mut self, from: Instant, until: Instant) {
        if let State::Sent { ours, since } = &mut self.state
            && !ours.is_pending()
        {
            *since += until.saturating_duration_since(from.max(*since));
        }
    }

    /// Our Close frame was flushed or lost: the peer has its time from now on.
    fn close_ended(&mut self, how: OurClose, now: Instant) {
        match &mut self.state {
            State::Sent { ours, since } => (*ours, *since) = (how, now),
            State::Received { ended: true, .. } => self.finish(),
            State::Received { ours, since, .. } => (*ours, *since) = (how, now),
            State::Failed { ours, until, .. } => (*ours, *until) = (how, now + self.tcp_end_timeout),
            State::Open | State::Done { .. } => {}
        }
    }

    /// The connection ends, by `cause`, or as a transport ends. Nobody is told.
    pub(crate) fn end(&mut self, cause: Option<Error>) {
        match &mut self.state {
            State::Open | State::Sent { .. } => {
                let closed = Closed::abnormal();
                let error = cause.unwrap_or_else(|| closed.clone().into());
                self.state = State::Done { closed, unclean: Some(Unclean::Other(error)) };
            }
            // Our answer may still leave: a peer can end its side alone.
            State::Received { ours, ended, .. } if ours.is_pending() && cause.is_none() => *ended = true,
            State::Received { ours, .. } if ours.is_pending() => self.answer_lost(),
            State::Received { .. } | State::Failed { .. } => self.finish(),
            State::Done { .. } => {}
        }
    }

    /// The deadline passed.
    pub(crate) fn overdue(&mut self, now: Instant) {
        match &mut self.state {
            State::Open | State::Done { .. } => {}
            State::Sent { .. } => self.end(Some(Error::timeout(Phase::Close, self.close_timeout))),
            State::Received { ours, .. } if ours.is_pending() => self.answer_lost(),
            // The peer could not be told; it gets as long again to end the transport.
            State::Failed { ours, .. } if ours.is_pending() => self.close_ended(OurClose::Lost, now),
            State::Received { .. } | State::Failed { .. } => self.finish(),
        }
    }

    /// The peer closed and our answer cannot leave: unclean, with the peer's code (RFC 6455, section 7.1.5).
    fn answer_lost(&mut self) {
        if let State::Received { closed, unclean, .. } = &mut self.state {
            closed.was_clean = false;
            *unclean = Some(Unclean::Other(closed.clone().into()));
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Open) {
            State::Received { closed, unclean, .. } => State::Done { closed, unclean },
            State::Failed { closed, error, .. } => State::Done { closed, unclean: Some(Unclean::Other(error)) },
            state => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::error::Violation;

    /// The peer has closed with 1001, and the transport ends before or after our answer has left.
    #[test]
    fn an_end_is_clean_if_our_answer_to_the_peers_close_has_left() {
        let reset = || Some(Error::io(io::ErrorKind::ConnectionReset.into()));
        for (is_flushed_before, cause, is_flushed_after, was_clean) in [
            (true, None, false, true),
            (true, reset(), false, true),
            // The peer has ended its side alone, and may still read.
            (false, None, true, true),
            (false, reset(), false, false),
        ] {
            let now = Instant::now();
            let mut closing = Closing::new(None, Duration::from_secs(2));
            assert!(
                closing.handle_peer_close(&Arc::new(CloseFrame::new(1001, "bye")), Loss::Nothing, now),
                "an answer is due"
            );
            let flush = |closing: &mut Closing| {
                closing.close_taken();
                assert!(closing.flushed(|| now));
            };
            if is_flushed_before {
                flush(&mut closing);
            }
            closing.end(cause.clone());
            assert_eq!(closing.is_done(), is_flushed_before || cause.is_some(), "{cause:?}");
            if is_flushed_after {
                flush(&mut closing);
            }
            assert_eq!(closing.closed(), Some(&Closed::new(1001, "bye", was_clean)), "{cause:?}");
            assert_eq!(closing.error().is_some(), !was_clean, "{cause:?}");
        }
    }

    /// What can be asked of `closing`, in words; the deadline in seconds since `begun`.
    fn answers(closing: &Closing, begun: Instant) -> String {
        let name = |error: &Error| match error {
            Error::Closing { by_peer: None } => "closing".into(),
            Error::Closing { by_peer: Some(frame) } => format!("closing:{}", frame.effective_code()),
            Error::Closed(closed) => closed.code.to_string(),
            Error::Io(_) => "io".into(),
            Error::Timeout { .. } => "timeout".into(),
            Error::ProtocolViolation(_) => "violation".into(),
            error => format!("{error:?}"),
        };
        let mut words = vec![format!("{:?}", closing.ready_state()).to_lowercase()];
        for (word, is_so) in [
            ("parsing", closing.is_parsing()),
            ("pending", closing.is_close_pending()),
            ("ended", closing.has_transport_ended()),
            ("shut", closing.is_write_side_done()),
            ("done", closing.is_done()),
            ("cut", closing.is_cut()),
        ] {
            words.extend(is_so.then(|| word.into()));
        }
        words.extend(closing.error().map(|error| format!("error={}", name(error))));
        words.extend(closing.send_error().map(|error| format!("send={}", name(&error))));
        words.extend(closing.outcome().map(|error| format!("outcome={}", name(&error))));
        let pong_error = closing.outcome().or(closing.send_error()).as_ref().map(name);
        assert_eq!(closing.pong_error().as_ref().map(name), pong_error, "{words:?}");
        words.extend(
            closing
                .closed()
                .map(|closed| format!("{} {}", closed.code, if closed.was_clean { "clean" } else { "unclean" })),
        );
        words.extend(closing.deadline(None).map(|deadline| format!("until={}", (deadline - begun).as_secs())));
        words.join(" ")
    }

    /// Each step is a second after the one before. Behind a step stands `+` where a Close frame is to be queued by it.
    #[test]
    fn what_happens_in_each_state_and_what_is_told_of_it() {
        let table = [
            ("", "open parsing"),
            ("close+", "closing parsing pending send=closing"),
            ("close+ close", "closing parsing pending send=closing"),
            ("close+ taken", "closing parsing pending send=closing"),
            ("close+ taken flushed", "closing parsing send=closing until=12"),
            ("close+ flushed", "closing parsing pending send=closing"),
            ("close+ lost", "closing parsing send=closing until=11"),
            ("close+ lost peer", "closed error=1001 send=1001 outcome=1001 1001 unclean until=4"),
            ("close+ overdue", "closed shut done error=timeout send=timeout outcome=timeout 1006 unclean"),
            ("close+ end", "closed shut done error=1006 send=1006 outcome=1006 1006 unclean"),
            ("close+ reset", "closed shut done error=io send=io outcome=io 1006 unclean"),
            ("close+ peer+", "closing pending send=closing:1001 outcome=1001"),
            ("close+ taken peer", "closing pending send=closing:1001 outcome=1001"),
            ("close+ taken flushed peer", "closing send=closing:1001 outcome=1001 until=5"),
            ("close+ taken flushed peer end", "closed shut done send=1001 outcome=1001 1001 clean"),
            ("close+ taken flushed peer reset", "closed shut done send=1001 outcome=1001 1001 clean"),
            ("close+ taken flushed peer overdue", "closed shut done send=1001 outcome=1001 1001 clean"),
            (
                "close+ taken flushed fail",
                "closed shut error=violation send=violation outcome=violation 1006 unclean until=5",
            ),
            ("close+ taken fail", "closing pending send=violation outcome=violation until=4"),
            ("close+ fail+", "closing pending send=violation outcome=violation until=3"),
            ("peer+", "closing pending send=closing:1001 outcome=1001"),
            ("peer+ close", "closing pending send=closing:1001 outcome=1001"),
            ("peer+ taken flushed", "closing send=closing:1001 outcome=1001 until=4"),
            ("peer+ lost", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("peer+ overdue", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("peer+ end", "closing pending ended send=closing:1001 outcome=1001"),
            ("peer+ end taken flushed", "closed shut done send=1001 outcome=1001 1001 clean"),
            ("peer+ end overdue", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("peer+ reset", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("peer+ fail", "closing pending send=closing:1001 outcome=1001"),
            ("unsent+", "closing pending send=1001 outcome=1001"),
            ("unsent+ taken flushed", "closed error=1001 send=1001 outcome=1001 1001 unclean until=4"),
            ("unsent+ taken flushed end", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("cut+", "closing pending cut send=1001 outcome=1001"),
            ("cut+ taken flushed", "closed cut error=1001 send=1001 outcome=1001 1001 unclean until=4"),
            ("cut+ taken flushed end", "closed shut done cut error=1001 send=1001 outcome=1001 1001 unclean"),
            ("cut+ lost", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("cut+ overdue", "closed shut done error=1001 send=1001 outcome=1001 1001 unclean"),
            ("close+ taken flushed cut", "closed cut error=1001 send=1001 outcome=1001 1001 unclean until=5"),
            ("close+ lost cut", "closed error=1001 send=1001 outcome=1001 1001 unclean until=4"),
            ("fail+", "closing pending send=violation outcome=violation until=2"),
            ("fail+ fail", "closing pending send=violation outcome=violation until=2"),
            ("fail+ taken", "closing pending send=violation outcome=violation until=2"),
            (
                "fail+ taken flushed",
                "closed shut error=violation send=violation outcome=violation 1006 unclean until=4",
            ),
            ("fail+ lost", "closed shut error=violation send=violation outcome=violation 1006 unclean until=3"),
            ("fail+ overdue", "closed shut error=violation send=violation outcome=violation 1006 unclean until=3"),
            ("fail+ overdue overdue", "closed shut done error=violation send=violation outcome=violation 1006 unclean"),
            ("fail+ end", "closed shut done error=violation send=violation outcome=violation 1006 unclean"),
            ("end", "closed shut done error=1006 send=1006 outcome=1006 1006 unclean"),
            ("end end overdue lost", "closed shut done error=1006 send=1006 outcome=1006 1006 unclean"),
            ("reset", "closed shut done error=io send=io outcome=io 1006 unclean"),
            ("overdue lost", "open parsing"),
        ];
        for (steps, expected) in table {
            let begun = Instant::now();
            let mut closing = Closing::new(Some(Duration::from_secs(10)), Duration::from_secs(2));
            for (second, step) in steps.split_whitespace().enumerate() {
                let now = begun + Duration::from_secs(second as u64);
                let frame = Arc::new(CloseFrame::new(1001, ""));
                let is_close_due = match step.trim_end_matches('+') {
                    "close" => closing.close(now),
                    "peer" => closing.handle_peer_close(&frame, Loss::Nothing, now),
                    "unsent" => closing.handle_peer_close(&frame, Loss::Unsent, now),
                    "cut" => closing.handle_peer_close(&frame, Loss::Cut, now),
                    "fail" => closing.fail(Violation::MaskedFrame.into(), now),
                    other => {
                        match other {
                            "taken" => closing.close_taken(),
                            "flushed" => _ = closing.flushed(|| now),
                            "lost" => closing.close_lost(now),
                            "end" => closing.end(None),
                            "reset" => closing.end(Some(Error::io(io::ErrorKind::ConnectionReset.into()))),
                            "overdue" => closing.overdue(now),
                            step => panic!("{step}"),
                        }
                        false
                    }
                };
                assert_eq!(is_close_due, step.ends_with('+'), "{steps}: {step}");
            }
            assert_eq!(answers(&closing, begun), expected, "{steps}");
        }
    }

    #[test]
    fn a_close_that_waits_has_a_deadline_while_the_transport_takes_nothing() {
        let begun = Instant::now();
        let after = |secs| begun + Duration::from_secs(secs);
        let mut closing = Closing::new(Some(Duration::from_secs(10)), Duration::from_secs(2));
        closing.close(after(5));
        assert_eq!(closing.deadline(None), None, "it leaves with what is queued before it");
        for (stalled_since, until) in [(2, 15), (7, 17)] {
            assert_eq!(closing.deadline(Some(after(stalled_since))), Some(after(until)));
        }
        closing.close_taken();
        closing.flushed(|| after(6));
        assert_eq!(
            closing.deadline(Some(after(7))),
            Some(after(16)),
            "it has left: what waits behind it does not count"
        );
    }
}
