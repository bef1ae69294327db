//! Halves: a connection that is split for tasks apart.

mod senders;
mod split;
mod split_sink;
