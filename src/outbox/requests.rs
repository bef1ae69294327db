//! What the task is asked to do besides sending what is queued.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    close::CloseFrame,
    error::Error,
    protocol::{PongAnswer, PongWatch, check_pings, push_latest},
};

/// A ping that somebody asked for.
#[derive(Debug)]
pub(crate) struct PingRequest {
    /// `None`: one that no other ping has.
    pub(crate) payload: Option<Bytes>,
    pub(crate) answer: PongAnswer,
    pub(crate) asked: Instant,
}

/// How the connection is to fail.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The peer is told why.
    Failed(Error),
    /// A message in parts will not be finished.
    Abandoned,
    /// More was to be buffered than this limit, in bytes. What was queued before is offered to the transport once, which is
    /// dropped then.
    Overflow(u64),
    /// The transport is dropped, and nobody is told.
    Aborted,
}

impl Failure {
    /// Whether the peer is not told.
    pub(super) fn is_abrupt(&self) -> bool {
        matches!(self, Self::Overflow(_) | Self::Aborted)
    }
}

/// Pings and pongs that somebody asked for.
#[derive(Debug, Default)]
pub(crate) struct PingsAndPongs {
    pub(crate) pings: Vec<PingRequest>,
    /// The latest.
    pub(crate) pongs: VecDeque<Bytes>,
}

/// Boxed is what most connections never ask for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) control: Option<Box<PingsAndPongs>>,
    /// Pings that somebody may wait for.
    waiting_pings: Vec<PongWatch>,
    /// The Close frame that is to follow what is queued.
    pub(super) close: Option<Box<CloseFrame>>,
    failure: Option<Box<Failure>>,
}

impl Requests {
    /// Asks for a ping, unless too many wait. `unsent`: those that the connection has not sent.
    pub(super) fn ping(&mut self, request: PingRequest, unsent: usize) -> Result<(), Error> {
        self.waiting_pings.retain(PongWatch::is_waiting);
        let asked = self.control.as_ref().map_or(0, |control| control.pings.len());
        check_pings(self.waiting_pings.len(), asked + unsent)?;
        self.waiting_pings.push(request.answer.watch());
        self.control.get_or_insert_default().pings.push(request);
        Ok(())
    }

    /// Asks for a pong.
    pub(super) fn pong(&mut self, payload: Bytes) {
        push_latest(&mut self.control.get_or_insert_default().pongs, payload);
    }

    /// The first failure counts, but for one that leaves nothing to do.
    pub(super) fn fail(&mut self, failure: Failure) {
        match self.failure {
            Some(_) if !failure.is_abrupt() => {}
            _ => self.failure = Some(Box::new(failure)),
        }
    }

    pub(super) fn has_failure(&self) -> bool {
        self.failure.is_some()
    }

    pub(super) fn take_failure(&mut self) -> Option<Box<Failure>> {
        self.failure.take()
    }
}
