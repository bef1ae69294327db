//! What needs real time: how long it waits is measured, or a deadline passes while sockets or threads are at work.
//!
//! One test runs at a time: each takes its [`turn`] first. Some share theirs.

#[cfg(feature = "rustls-tls")]
mod faults;
#[cfg(target_os = "linux")]
mod silent;
mod slow_peer;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::const_new(());

/// Waits until no other test runs.
async fn turn() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}

/// Waits until none runs but those that share their turn, too: they mostly wait, and seconds more or less do not matter to them.
async fn shared_turn() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}
