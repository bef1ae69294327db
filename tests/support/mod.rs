//! What tests share that needs the types of the client; the rest is in `testkit`.

// Each test binary uses its own part of it, and sees all of it.
#![allow(dead_code, unreachable_pub)]

pub mod flood;
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
pub mod tls;
pub mod watch;

use std::fmt::Debug;

/// The error of a result whose value need not be `Debug`.
pub fn error<T, E: Debug>(result: Result<T, E>) -> E {
    result.err().expect("an error was expected")
}
