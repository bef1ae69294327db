//! What a connection has counted so far.

use std::time::Duration;

/// Counters of one connection, from its opening on. A snapshot: it does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Messages handed to the reader; one that is read by a [`MessageReader`](crate::MessageReader) once its end was.
    pub messages_received: u64,
    /// Messages of which every byte was taken by the transport.
    pub messages_sent: u64,
    /// Payload bytes handed to the reader: of messages, and of the parts that a
    /// [`MessageReader`](crate::MessageReader) gave.
    pub payload_bytes_received: u64,
    /// Payload bytes taken by the transport.
    pub payload_bytes_sent: u64,
    /// Bytes read from the transport after the handshake, control frames and framing included.
    pub wire_bytes_received: u64,
    /// Bytes taken by the transport after the handshake, control frames and framing included.
    pub wire_bytes_sent: u64,
    /// Pings from the peer. Of pings that came faster than pongs could leave, only the latest are answered.
    pub pings_received: u64,
    /// Pings queued by [`send_ping`](crate::WebSocketStream::send_ping), and by keepalive
    /// ([`Config::keepalive_interval`](crate::Config::keepalive_interval)).
    pub pings_sent: u64,
    /// The round-trip time that the last answered ping measured.
    pub last_rtt: Option<Duration>,
    /// Messages that still came after our Close was queued, and are not handed to the reader; and messages whose
    /// [`MessageReader`](crate::MessageReader) was dropped before their end, once that has come.
    pub discarded_messages: u64,
}
