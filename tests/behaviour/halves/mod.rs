//! Halves: a connection that is split for tasks apart.

mod one_cause;
mod senders;
mod split;
mod split_sink;
