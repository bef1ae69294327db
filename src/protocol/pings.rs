//! Pings of our own that wait for their pongs (RFC 6455, sections 5.5.2 and 5.5.3).

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
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
    }
}

impl Future for Pong {
    type Output = Result<Duration, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The sender is dropped unused only when the connection itself is dropped.
        self.project().answer.poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(Closed::abnormal().into())))
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
    User(oneshot::Sender<Result<Duration, Error>>),
    /// Any byte is an answer to it: this one only measures the time.
    Keepalive,
}

impl Asker {
    fn is_waiting_user(&self) -> bool {
        matches!(self, Self::User(answer) if !answer.is_closed())
    }

    fn is_keepalive(&self) -> bool {
        matches!(self, Self::Keepalive)
    }

    fn tell(self, answer: Result<Duration, Error>) {
        if let Self::User(asker) = self {
            // Whoever asked may have stopped waiting.
            let _ = asker.send(answer);
        }
    }
}

/// The pings that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pings(VecDeque<Ping>);

impl Pings {
    /// A ping of the user. `unsent`: those that have not left yet, whether or not somebody waits for their pongs.
    pub(crate) fn push(&mut self, payload: Bytes, unsent: usize, now: Instant) -> Result<Pong, Error> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(InvalidControl::PingPayload(payload.len()).into());
        }
        // A ping that nobody waits for any more gives its place to this one.
        self.0.retain(|ping| ping.asker.is_keepalive() || ping.asker.is_waiting_user());
        let waiting = self.0.iter().filter(|ping| !ping.asker.is_keepalive()).count();
        if waiting.max(unsent) >= MAX_PINGS {
            return Err(Error::TooManyPings { limit: MAX_PINGS });
        }
        let (answer, pong) = oneshot::channel();
        self.0.push_back(Ping { payload, sent: now, asker: Asker::User(answer) });
        Ok(Pong { answer: pong })
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
        let push = |pings: &mut Pings, unsent| pings.push(payload("ping"), unsent, now);
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
        let (mut pings, now) = (Pings::default(), Instant::now());
        assert!(pings.push(Bytes::from_static(&[0; 125]), 0, now).is_ok());
        let refused = pings.push(Bytes::from_static(&[0; 126]), 0, now);
        assert!(matches!(refused, Err(Error::InvalidControl(InvalidControl::PingPayload(126)))));
    }

    #[test]
    fn a_pong_answers_its_ping_and_all_before_it_and_the_end_answers_the_rest() {
        let (mut pings, start) = (Pings::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let mut ping = |text, millis| pings.push(payload(text), 0, after(millis)).unwrap();
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
