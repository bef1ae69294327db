//! What the task is asked to do besides sending what is queued.

use tokio::sync::oneshot;

use crate::{close::CloseFrame, error::Error, protocol::Pong};

/// A ping that somebody asked for.
pub(crate) type PingRequest = oneshot::Sender<Result<Pong, Error>>;

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

#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) pings: Vec<PingRequest>,
    /// The Close frame that is to follow what is queued.
    pub(super) close: Option<CloseFrame>,
    failure: Option<Box<Failure>>,
}

impl Requests {
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
