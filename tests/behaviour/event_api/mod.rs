//! The event API, told by dialogues with scripted servers. Rows `B…` and decisions `V…` stand in the comments.

mod buffered_amount;
mod close;
mod construct;
mod handshake;
mod lifetime;
mod listeners;
mod log;
mod messages;
mod property;
mod scenarios;
mod send;
mod state;
mod storm;
