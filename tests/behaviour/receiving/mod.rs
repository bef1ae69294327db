//! Receiving: which bytes of a peer are which messages, and which are a violation.

mod cutting;
mod events;
mod message_reader;
mod messages;
mod violations;
