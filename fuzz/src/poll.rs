//! Polls that are dropped, and a clock that only the target moves.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Runs a target with paused time. Whatever waits for ever fails it: with nothing left to do the clock jumps ahead.
pub fn run<T>(target: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::unconstrained(target))
}

/// Polls a future once, and drops it.
pub fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Longer than all deadlines of a connection together.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits for what has to come.
pub async fn must_end<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(FOREVER, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} waits for ever"),
    }
}
