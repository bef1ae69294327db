//! Pings of our own that wait for their pongs (RFC 6455, sections 5.5.2 and 5.5.3).

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use crate::{
    close::Closed,
    error::{Error, InvalidControl},
    wire::frame::MAX_CONTROL_PAYLOAD,
};

/// Pings that may wait for their pongs at the same time.
const MAX_PINGS: usize = 16;

pin_project! {
    /// The answer to a ping: the time from the call of `send_ping` until the pong was read.
    ///
    /// It is resolved when the connection is polled for reading, and may be held anywhere, also after the connection is
    /// gone: then it yields the error that ended it, which is [`Error::Closed`] with the
    /// peer's code if the peer closed. Dropping it has no effect.
    #[derive(Debug)]
    #[must_use = "a pong is waited for by `.await`"]
    pub struct Pong {
        #[pin]
        answer: oneshot::Receiver<Result<Duration, Error>>,
        wanted: Arc<()>,
    }
}

impl Future for Pong {
    type Output = Result<Duration, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The sender is dropped unused only when the connection itself is dropped.
        self.project().answer.poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(Closed::abnormal().into())))
    }
}

/// What is told of a pong, once: the other end of a [`Pong`].
#[derive(Debug)]
pub(crate) struct PongAnswer {
    answer: oneshot::Sender<Result<Duration, Error>>,
    unanswered: Arc<()>,
}

impl PongAnswer {
    pub(crate) fn new() -> (Self, Pong) {
        let (answer, pong) = oneshot::channel();
        let unanswered = Arc::new(());
        (Self { answer, unanswered: unanswered.clone() }, Pong { answer: pong, wanted: unanswered })
    }

    pub(crate) fn tell(self, answer: Result<Duration, Error>) {
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(answer);
    }

    /// Tells, wherever this goes, whether somebody still waits for it.
    pub(crate) fn watch(&self) -> PongWatch {
        PongWatch(Arc::downgrade(&self.unanswered))
    }
}

#[derive(Debug)]
pub(crate) struct PongWatch(Weak<()>);

impl PongWatch {
    /// Whether there are a [`Pong`] that was not dropped, and its answer that was not told.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.strong_count() == 2
    }
}

#[derive(Debug)]
struct Ping {
    payload: Bytes,
    sent: Instant,
    asker: Asker,
}

/// Which task is told of the pong.
#[derive(Debug)]
enum Asker {
    User(PongAnswer),
    /// Any byte is an answer to it: this one only measures the time.
    Keepalive,
}

impl Asker {
    fn is_waiting_user(&self) -> bool {
        matches!(self, Self::User(pong) if !pong.answer.is_closed())
    }

    fn is_keepalive(&self) -> bool {
        matches!(self, Self::Keepalive)
    }

    fn tell(self, answer: Result<Duration, Error>) {
        if let Self::User(pong) = self {
            pong.tell(answer);
        }
    }
}

/// Whether the payload of a ping or a pong fits in a control frame (RFC 6455, section 5.5).
pub(crate) fn validate_payload(payload: &[u8]) -> Result<(), InvalidControl> {
    if payload.len() > MAX_CONTROL_PAYLOAD { Err(InvalidControl::ControlPayload(payload.len())) } else { Ok(()) }
}

/// Whether there may be another ping of the user: so many wait for their pongs, or to be sent.
pub(crate) fn check_pings(waiting: usize, unsent: usize) -> Result<(), Error> {
    if waiting.max(unsent) >= MAX_PINGS { Err(Error::TooManyPings { limit: MAX_PINGS }) } else { Ok(()) }
}

/// The pings that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pings(VecDeque<Ping>);

impl Pings {
    /// Whether there is a place for another ping of the user. `unsent`: those that have not left yet, whether or not somebody
    /// waits for their pongs.
    pub(crate) fn check_place(&mut self, unsent: usize) -> Result<(), Error> {
        // A ping that nobody waits for any more gives its place to this one.
        self.0.retain(|ping| ping.asker.is_keepalive() || ping.asker.is_waiting_user());
        let waiting = self.0.iter().filter(|ping| !ping.asker.is_keepalive()).count();
        check_pings(waiting, unsent)
    }

    /// A ping of the user, who asked at `asked`.
    pub(crate) fn push(&mut self, payload: Bytes, answer: PongAnswer, asked: Instant) {
        self.0.push_back(Ping { payload, sent: asked, asker: Asker::User(answer) });
    }

    /// A ping of keepalive. It takes the place of the one before and of no user's, and there is always room for it.
    pub(crate) fn push_keepalive(&mut self, payload: Bytes, now: Instant) {
        self.0.retain(|ping| !ping.asker.is_keepalive());
        self.0.push_back(Ping { payload, sent: now, asker: Asker::Keepalive });
    }

    /// A pong answers the ping with its payload and, since a peer may answer the latest alone, all before it. An
    /// unsolicited pong answers none. Returns the round-trip time of the ping that it answers.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let at = self.0.iter().position(|ping| ping.payload == payload)?;
        let mut rtt = None;
        for ping in self.0.drain(..=at) {
            let time = now.saturating_duration_since(ping.sent);
            rtt = Some(time);
            ping.asker.tell(Ok(time));
        }
        rtt
    }

    /// No pong will come any more.
    pub(crate) fn end(&mut self, error: &Error) {
        for ping in self.0.drain(..) {
            ping.asker.tell(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn payload(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn sixteen_may_wait_and_one_that_nobody_waits_for_gives_its_place() {
        let (mut pings, now) = (Pings::default(), Instant::now());
        let push = |pings: &mut Pings, unsent| {
            pings.check_place(unsent)?;
            let (answer, pong) = PongAnswer::new();
            pings.push(payload("ping"), answer, now);
            Ok::<_, Error>(pong)
        };
        let mut pongs: Vec<Pong> = (0..MAX_PINGS).map(|_| push(&mut pings, 0).unwrap()).collect();
        // It takes no place of these, and only one of its own.
        pings.push_keepalive(payload("first"), now);
        pings.push_keepalive(payload("second"), now);
        assert_eq!(pings.0.len(), MAX_PINGS + 1);
        assert!(matches!(push(&mut pings, 0), Err(Error::TooManyPings { limit: MAX_PINGS })));
        pongs.pop();
        pongs.push(push(&mut pings, 0).unwrap());
        assert!(matches!(push(&mut pings, 0), Err(Error::TooManyPings { .. })));
        pongs.clear();
        // A ping that has not left takes a place, also if nobody waits for its pong.
        assert!(matches!(push(&mut pings, MAX_PINGS), Err(Error::TooManyPings { .. })));
        assert!(push(&mut pings, MAX_PINGS - 1).is_ok());
    }

    #[test]
    fn a_payload_of_125_bytes_fits_in_a_control_frame() {
        assert_eq!(validate_payload(&[0; 125]), Ok(()));
        assert_eq!(validate_payload(&[0; 126]), Err(InvalidControl::ControlPayload(126)));
    }

    #[test]
    fn a_pong_is_waited_for_until_it_is_told_or_dropped() {
        let (answer, pong) = PongAnswer::new();
        let watch = answer.watch();
        assert!(watch.is_waiting());
        answer.tell(Ok(Duration::ZERO));
        assert!(!watch.is_waiting());
        drop(pong);
        let (answer, pong) = PongAnswer::new();
        let watch = answer.watch();
        drop(pong);
        assert!(!watch.is_waiting());
        drop(answer);
        assert!(!watch.is_waiting());
    }

    #[test]
    fn a_pong_answers_its_ping_and_all_before_it_and_the_end_answers_the_rest() {
        let (mut pings, start) = (Pings::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let mut ping = |text, millis| {
            let (answer, pong) = PongAnswer::new();
            pings.push(payload(text), answer, after(millis));
            pong
        };
        let (first, second, third) = (ping("1", 0), ping("2", 10), ping("3", 20));
        assert_eq!(pings.pong(b"unsolicited", after(30)), None);
        assert_eq!(pings.pong(b"2", after(50)), Some(Duration::from_millis(40)));
        assert_eq!(first.now_or_never().unwrap().unwrap(), Duration::from_millis(50));
        assert_eq!(second.now_or_never().unwrap().unwrap(), Duration::from_millis(40));
        pings.push_keepalive(payload("4"), after(60));
        assert_eq!(pings.pong(b"2", after(70)), None, "it was answered");
        pings.end(&Error::Aborted);
        assert!(matches!(third.now_or_never(), Some(Err(Error::Aborted))));
        assert_eq!(pings.pong(b"4", after(80)), None);
    }
}
