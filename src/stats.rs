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
    /// Pongs from the peer, also those that answer no ping.
    pub pongs_received: u64,
    /// Messages that still came after our Close was queued, and are not handed to the reader; and messages whose
    /// [`MessageReader`](crate::MessageReader) was dropped before their end, once that has come; and the message within which
    /// the peer closed, if there was one.
    pub discarded_messages: u64,
    /// How long this side has held back its peer: the time in which the transport was not read, since what had come was
    /// not used up. It runs from each read that brought bytes to the next attempt to read.
    ///
    /// So the time that the application takes for its messages is in it, and the time in which it asks for none. Time in
    /// which the transport had nothing to read is not, nor is the time until a task that was woken polls. Of a
    /// connection that is split it grows while the task between waits for the [`Receiver`](crate::Receiver).
    pub read_held_back: Duration,
    /// How long the peer has held back this side: the time in which the queue was full
    /// ([`Config::write_high_water_mark`](crate::Config::write_high_water_mark)) and somebody had asked for room.
    ///
    /// It runs from a `poll_ready` that returned `Pending` until there is room, or nothing can be sent any more. Of a
    /// connection that is split it is the time in which one [`Sender`](crate::Sender) or more waited; two that wait at once
    /// do not count twice.
    pub write_held_back: Duration,
}
