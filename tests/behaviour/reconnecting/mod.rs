//! Reconnecting: a stream of connections.

mod reconnect;
