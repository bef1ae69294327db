//! The entries that wait for the connection, in their order, and how much is queued in all.

use std::collections::VecDeque;

use super::entry::Entry;
use crate::{limits::MAX_IDLE_PLACES, sync::move_all};

/// Where an entry stands in the order in which all of them leave: which message, and which part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(super) message: u64,
    /// 0 for a whole message.
    part: u64,
}

impl Position {
    pub(super) fn message(message: u64) -> Self {
        Self { message, part: 0 }
    }
}

/// What is queued and was not taken by the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    /// The cost, in bytes, of each message and part until the transport has taken all of it.
    pub(crate) cost: usize,
    /// Bytes of their payloads.
    pub(crate) payload: u64,
}

impl Amount {
    #[inline]
    fn of(entry: &Entry) -> Self {
        Self { cost: entry.cost(), payload: entry.len() as u64 }
    }

    #[inline]
    fn add(&mut self, other: Self) {
        self.cost = self.cost.saturating_add(other.cost);
        self.payload += other.payload;
    }

    fn subtract(&mut self, other: Self) {
        self.cost = self.cost.saturating_sub(other.cost);
        self.payload -= other.payload;
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<(Position, Entry)>,
    /// Of the last entry that was queued, and of the last that the connection has.
    last: Position,
    taken: Position,
    /// Up to here the transport has taken everything, and was flushed.
    flushed: Position,
    /// Up to which entries somebody asked for a flush, first ones first. What is behind the first has to wait for it, since a
    /// transport that always has more to take is never flushed.
    flushes: VecDeque<Position>,
    /// What waits here.
    waiting: Amount,
    /// What waits for the end of a message that is being written, and what can never leave.
    kept: Amount,
    /// What the connection has, by what it said last and what it took since.
    connection: Amount,
}

impl Queue {
    /// `connection`: what was queued in the connection before, or not flushed. It leaves first.
    pub(super) fn new(connection: Amount, is_flushed: bool) -> Self {
        let first = Position::message(1);
        Self {
            entries: VecDeque::with_capacity(MAX_IDLE_PLACES),
            last: first,
            taken: first,
            flushed: if is_flushed { first } else { Position::default() },
            flushes: VecDeque::new(),
            waiting: Amount::default(),
            kept: Amount::default(),
            connection,
        }
    }

    /// The cost of all that is queued, here and in the connection.
    pub(super) fn cost(&self) -> usize {
        self.waiting.cost.saturating_add(self.kept.cost).saturating_add(self.connection.cost)
    }

    /// Payload bytes that were queued and not taken by the transport.
    pub(super) fn buffered(&self) -> u64 {
        self.waiting.payload + self.kept.payload + self.connection.payload
    }

    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// Whether something is left that the connection has not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    // What is queued.

    /// The entry is queued later, and counts from now on.
    pub(super) fn keep(&mut self, entry: &Entry) {
        self.kept.add(Amount::of(entry));
    }

    /// Queues a message that was kept until now.
    pub(super) fn push_kept(&mut self, entry: Entry) {
        self.kept.subtract(Amount::of(&entry));
        self.push_message(entry);
    }

    /// These bytes are not queued, and count for ever.
    pub(super) fn count_unsent(&mut self, payload: usize) {
        self.kept.payload += payload as u64;
    }

    #[inline]
    pub(super) fn push_message(&mut self, entry: Entry) {
        self.waiting.add(Amount::of(&entry));
        self.last = Position::message(self.last.message + 1);
        self.entries.push_back((self.last, entry));
    }

    /// Queues a part of the message with this number.
    pub(super) fn push_part(&mut self, message: u64, entry: Entry) {
        self.waiting.add(Amount::of(&entry));
        let part = if self.last.message == message { self.last.part + 1 } else { 1 };
        self.last = Position { message, part };
        self.entries.push_back((self.last, entry));
    }

    /// What is queued next comes behind this message, of which no part may have come.
    pub(super) fn end_message(&mut self, message: u64) {
        self.last = self.last.max(Position::message(message));
    }

    // Flushes.

    pub(super) fn is_flushed(&self, position: Position) -> bool {
        self.flushed >= position
    }

    /// A flush of all up to `position` is wanted.
    pub(super) fn want_flush(&mut self, position: Position) {
        if !self.is_flushed(position)
            && let Err(at) = self.flushes.binary_search(&position)
        {
            self.flushes.insert(at, position);
        }
    }

    // What the connection takes.

    /// How many entries the connection may take now: what is behind a flush waits for it.
    pub(super) fn due(&self) -> usize {
        match self.flushes.front() {
            Some(flush) => self.entries.partition_point(|(position, _)| position <= flush),
            None => self.entries.len(),
        }
    }

    /// Moves up to `n` entries to `taken`, which is empty: as many as `room` bytes have room for, and at least one. Returns how
    /// many.
    pub(super) fn take(&mut self, n: usize, mut room: usize, taken: &mut VecDeque<(Position, Entry)>) -> usize {
        if n >= self.entries.len() && self.waiting.cost <= room {
            self.connection.add(std::mem::take(&mut self.waiting));
            self.taken = self.last;
            move_all(&mut self.entries, taken);
            return taken.len();
        }
        let mut moved = Amount::default();
        while taken.len() < n
            && let Some((position, entry)) = self.entries.front()
            && (taken.is_empty() || entry.cost() <= room)
        {
            room = room.saturating_sub(entry.cost());
            moved.add(Amount::of(entry));
            self.taken = *position;
            taken.extend(self.entries.pop_front());
        }
        self.waiting.subtract(moved);
        self.connection.add(moved);
        taken.len()
    }

    /// What the connection has left of what it took, and whether that is nothing and the transport was flushed. Returns
    /// whether a flush ended by that.
    pub(super) fn report(&mut self, connection: Amount, is_flushed: bool) -> bool {
        self.connection = connection;
        let is_new = is_flushed && self.flushed < self.taken;
        if is_new {
            self.flushed = self.taken;
            while self.flushes.front().is_some_and(|flush| *flush <= self.flushed) {
                self.flushes.pop_front();
            }
        }
        is_new
    }

    /// Nothing leaves any more. `last`: the last that was sent. The caller drops the entries without a lock.
    pub(super) fn end(&mut self, last: Position) -> impl Sized + use<> {
        self.last = last;
        self.flushes = VecDeque::new();
        // It stays in the amount.
        self.kept.payload += std::mem::take(&mut self.waiting).payload;
        std::mem::take(&mut self.entries)
    }
}
