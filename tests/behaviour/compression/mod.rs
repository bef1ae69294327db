//! Compression: what is negotiated, what goes through, and what a peer does wrong.

mod handshake;
mod messages;
mod violations;
