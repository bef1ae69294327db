//! Closing, by either side, by the network and by a deadline.

mod cut_off;
#[cfg(all(feature = "native-tls", unix))]
mod cut_output;
mod deadlines;
mod handshake;
mod slow_receiver;
mod started;
mod traffic;
