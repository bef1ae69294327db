//! How a connection ended, reported to the `Reconnect` that made it.
//!
//! It is told once: when the end is known, or when the connection is dropped before that. Nothing is done for it between.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::Error;

/// What was told. `error`: `None` if the connection was dropped before it ended.
#[derive(Debug)]
struct Told {
    error: Option<Error>,
    at: Instant,
}

/// The connection's side. Nobody listens by default.
#[derive(Debug, Default)]
pub(super) struct EndReport(Option<Arc<OnceLock<Told>>>);

impl EndReport {
    /// Tells the end that is given, if somebody waits for it.
    pub(super) fn tell(&mut self, end: impl FnOnce() -> Option<Error>) {
        if self.0.is_some()
            && let Some(error) = end()
        {
            self.set(Some(error));
        }
    }

    fn set(&mut self, error: Option<Error>) {
        if let Some(told) = self.0.take() {
            // It is empty: only one connection has it, and it was not taken before.
            let _ = told.set(Told { error, at: Instant::now() });
        }
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// The side of the `Reconnect`.
#[derive(Debug)]
pub(crate) struct EndWatch {
    since: Instant,
    told: Arc<OnceLock<Told>>,
}

/// What is known of a connection that was handed out.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended, also if that was clean. `None`: it was dropped before, or lives still.
    pub(crate) error: Option<Error>,
    /// How long it was open.
    pub(crate) open_for: Duration,
}

impl EndWatch {
    pub(super) fn new() -> (EndReport, Self) {
        let told = Arc::new(OnceLock::new());
        (EndReport(Some(Arc::clone(&told))), Self { since: Instant::now(), told })
    }

    /// What is known by now.
    pub(crate) fn ended(&self) -> Ended {
        let (error, at) = match self.told.get() {
            Some(told) => (told.error.clone(), told.at),
            None => (None, Instant::now()),
        };
        Ended { error, open_for: at.saturating_duration_since(self.since) }
    }
}
