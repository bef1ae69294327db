//! Pings: whether the peer is there, and how it learns that we are.

mod keepalive;
mod pongs;
mod silence;
