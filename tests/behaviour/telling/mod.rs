//! Telling: what errors, `Debug` and traces say, and what they keep for themselves.

mod errors;
mod secrets;
#[cfg(feature = "tracing")]
mod tracing;
