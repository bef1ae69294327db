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
    answer: oneshot::Sender<Result<Duration, Error>>,
}

/// The pings that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pings(VecDeque<Ping>);

impl Pings {
    /// `unsent`: pings that have not left yet, whether or not somebody waits for their pongs.
    pub(crate) fn push(&mut self, payload: Bytes, unsent: usize, now: Instant) -> Result<Pong, Error> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(InvalidControl::PingPayload(payload.len()).into());
        }
        // A ping that nobody waits for any more gives its place to this one.
        self.0.retain(|ping| !ping.answer.is_closed());
        if self.0.len().max(unsent) >= MAX_PINGS {
            return Err(Error::TooManyPings { limit: MAX_PINGS });
        }
        let (answer, pong) = oneshot::channel();
        self.0.push_back(Ping { payload, sent: now, answer });
        Ok(Pong { answer: pong })
    }

    /// A pong answers the ping with its payload and, since a peer may answer the latest alone, all before it. An
    /// unsolicited pong answers none. Returns the round-trip time of the ping that it answers.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let at = self.0.iter().position(|ping| ping.payload == payload)?;
        let mut rtt = None;
        for ping in self.0.drain(..=at) {
            let time = now.saturating_duration_since(ping.sent);
            rtt = Some(time);
            // Whoever asked may have stopped waiting.
            let _ = ping.answer.send(Ok(time));
        }
        rtt
    }

    /// No pong will come any more.
    pub(crate) fn end(&mut self, error: &Error) {
        for ping in self.0.drain(..) {
            let _ = ping.answer.send(Err(error.clone()));
        }
    }
}
