//! The event API, told by dialogues with scripted servers. Row numbers `B…` and decisions `V…` stand in the names.

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
