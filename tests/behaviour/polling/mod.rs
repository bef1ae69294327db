//! Polling: wakers, futures that are dropped, and runtimes.

mod cancel;
mod idle;
mod runtimes;
mod wakeups;
