//! What the feature `tracing` shows of a connection: one span, and events in it.
//!
//! Callers need not know whether the feature is on: without it, the same types hold nothing and do nothing.
//!
//! No event has a query, userinfo, a header's value, a payload, or a text of the other side's, such as a close reason.

#[cfg(feature = "tracing")]
mod cause;
#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;

#[cfg(not(feature = "tracing"))]
pub(crate) use self::off::{Lifespan, Trace};
#[cfg(feature = "tracing")]
pub(crate) use self::on::{Lifespan, Trace};

/// Which side began the closing handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Local,
    Remote,
}

/// What a trace shows of what a response agreed to.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "nobody looks at it"))]
pub(crate) struct Agreed {
    pub(crate) has_subprotocol: bool,
    pub(crate) has_compression: bool,
}
