//! The control frames that wait to be encoded.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::close::CloseFrame;

/// Pongs that wait. Of more pings only the latest are answered (RFC 6455, section 5.5.3).
const MAX_PONGS: usize = 16;

/// Adds a pong to those that wait: of too many the oldest goes.
pub(crate) fn push_latest(pongs: &mut VecDeque<Bytes>, payload: Bytes) {
    if pongs.len() == MAX_PONGS {
        pongs.pop_front();
    }
    pongs.push_back(payload);
}

#[derive(Debug)]
pub(super) struct Control {
    /// The answers to pings.
    pongs: VecDeque<Bytes>,
    /// The caller's own.
    own_pongs: VecDeque<Bytes>,
    pings: VecDeque<Ping>,
    close: Close,
}

/// A ping of our own, by its payload.
#[derive(Debug)]
pub(super) enum Ping {
    OfUser(Bytes),
    OfKeepalive(Bytes),
}

/// Our Close frame.
#[derive(Debug)]
enum Close {
    None,
    Queued(CloseFrame),
    /// Nothing may follow it (RFC 6455, section 5.5.1).
    Encoded,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { pongs: VecDeque::new(), own_pongs: VecDeque::new(), pings: VecDeque::new(), close: Close::None }
    }

    /// Whether pings of our own wait.
    pub(super) fn has_pings(&self) -> bool {
        !self.pings.is_empty()
    }

    /// Pings of the user that wait.
    pub(super) fn user_pings(&self) -> usize {
        self.pings.iter().filter(|ping| matches!(ping, Ping::OfUser(_))).count()
    }

    /// Whether a ping of keepalive waits.
    pub(super) fn has_keepalive(&self) -> bool {
        self.pings.iter().any(|ping| matches!(ping, Ping::OfKeepalive(_)))
    }

    /// Whether there are pongs or pings to encode.
    #[inline]
    pub(super) fn has_pongs_or_pings(&self) -> bool {
        !self.pongs.is_empty() || !self.own_pongs.is_empty() || !self.pings.is_empty()
    }

    /// Whether there is anything to encode.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.has_pongs_or_pings() || self.has_close()
    }

    /// Whether our Close frame waits.
    pub(super) fn has_close(&self) -> bool {
        matches!(self.close, Close::Queued(_))
    }

    /// Whether nothing may be encoded any more.
    pub(super) fn is_close_encoded(&self) -> bool {
        matches!(self.close, Close::Encoded)
    }

    /// The answer to a ping.
    pub(super) fn push_pong(&mut self, payload: Bytes) {
        push_latest(&mut self.pongs, payload);
    }

    /// A pong of the caller's own, behind the answers.
    pub(super) fn push_own_pong(&mut self, payload: Bytes) {
        push_latest(&mut self.own_pongs, payload);
    }

    /// A ping of our own. The caller bounds their number.
    pub(super) fn push_ping(&mut self, ping: Ping) {
        self.pings.push_back(ping);
    }

    /// There is one Close frame only.
    pub(super) fn push_close(&mut self, frame: CloseFrame) {
        if matches!(self.close, Close::None) {
            self.close = Close::Queued(frame);
        }
    }

    pub(super) fn take_pong(&mut self) -> Option<Bytes> {
        self.pongs.pop_front().or_else(|| self.own_pongs.pop_front())
    }

    pub(super) fn take_ping(&mut self) -> Option<Ping> {
        self.pings.pop_front()
    }

    /// The payload of the Close frame, if it waits: nothing is encoded after it.
    pub(super) fn take_close(&mut self) -> Option<Vec<u8>> {
        let Close::Queued(frame) = &self.close else { return None };
        let mut payload = Vec::new();
        if let Some(code) = frame.code() {
            payload.extend_from_slice(&u16::from(code).to_be_bytes());
            payload.extend_from_slice(frame.reason().as_bytes());
        }
        self.close = Close::Encoded;
        Some(payload)
    }

    /// Drops what waits. `is_close_dropped`: our Close frame was dropped from what was encoded.
    pub(super) fn abort_unsent(&mut self, is_close_dropped: bool) {
        self.pongs.clear();
        self.own_pongs.clear();
        self.pings.clear();
        if is_close_dropped || matches!(self.close, Close::Queued(_)) {
            self.close = Close::None;
        }
    }

    /// Drops everything, for good.
    pub(super) fn clear(&mut self) {
        *self = Self { close: Close::Encoded, ..Self::new() };
    }
}
