//! What needs real time: how long it waits is measured, or a deadline passes while sockets or threads are at work.
//!
//! One test runs at a time: each takes its [`turn`] first.

#[cfg(feature = "rustls-tls")]
mod faults;
mod slow_peer;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test runs.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
