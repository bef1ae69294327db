//! The examples, each run as a person runs it.

mod callback_vs_stream;
mod dashboard;
mod small;
#[path = "../support/mod.rs"]
mod support;
mod tunnel;
