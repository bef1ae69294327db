//! What the client does, as its users and its peers see it: a folder for each topic, a file for each question.
//!
//! CONTRIBUTING.md says which folder answers which question. Nothing here is alone in its process: what touches what a
//! process has once, counts allocations or needs real time is a binary of its own.

mod backpressure;
mod byte_stream;
mod closing;
mod compression;
mod connecting;
mod event_api;
mod halves;
mod house;
#[path = "../../src/limits.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use a part of them")]
mod limits;
mod pings;
mod polling;
mod receiving;
mod reconnecting;
mod sending;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod telling;
