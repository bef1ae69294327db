//! Sending: which frames a peer sees, and what is counted of them.

mod accounting;
mod masking;
mod message_writer;
