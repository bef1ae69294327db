//! The ledger of a round: what its tasks have sent, what they were told of it, and what may have broken the connection.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use wsflow::{Kind, Message};

use crate::{round::Random, server::Served};

/// One message: who sent it, and how many it sent before. Its payload follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) task: usize,
    pub(crate) seq: usize,
    pub(crate) len: usize,
}

/// What the payload begins with.
pub(crate) const HEADER: usize = 18;
pub(crate) const MAX_LEN: usize = 1 << 19;

/// Payloads are slices of this text, which compresses badly.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (mut random, letters) = (Random::new(7), Vec::from_iter(b'0'..=b'o'));
    (0..2 * MAX_LEN).map(|_| random.one_of(&letters)).collect()
});

impl Id {
    pub(crate) fn kind(self) -> Kind {
        if self.seq.is_multiple_of(2) { Kind::Text } else { Kind::Binary }
    }

    pub(crate) fn payload(self) -> Vec<u8> {
        let header = format!("{:04x}{:06x}{:08x}", self.task, self.seq, self.len);
        [header.as_bytes(), self.pattern()].concat()
    }

    pub(crate) fn message(self) -> Message {
        match self.kind() {
            Kind::Text => Message::text(String::from_utf8(self.payload()).unwrap()),
            Kind::Binary => Message::binary(self.payload()),
        }
    }

    fn pattern(self) -> &'static [u8] {
        let start = (self.task * 7919 + self.seq * 104_729) % MAX_LEN;
        &PATTERN[start..start + self.len - HEADER]
    }

    /// Which message this is. It must be whole, and nothing else.
    pub(crate) fn of(kind: Kind, payload: &[u8]) -> Self {
        let head = String::from_utf8_lossy(&payload[..HEADER.min(payload.len())]);
        let number = |range| head.get(range).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let (Some(task), Some(seq), Some(len)) = (number(0..4), number(4..10), number(10..18)) else {
            panic!("a message that nobody sent: {head:?}");
        };
        let id = Self { task, seq, len };
        let is_whole = payload.len() == len && id.kind() == kind && payload[HEADER..] == *id.pattern();
        assert!(is_whole, "a message of {} bytes, {kind:?}, that is not {id:?}", payload.len());
        id
    }

    pub(crate) fn of_message(message: &Message) -> Self {
        let kind = if message.as_text().is_some() { Kind::Text } else { Kind::Binary };
        Self::of(kind, message.as_bytes())
    }
}

/// What a task was told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is queued.
    Accepted,
    /// Nothing: it has not ended yet, or its future was dropped.
    Untold,
    /// It will not be sent.
    Refused,
}

/// Why the connection may close, or fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The program closed it. On its own this is clean.
    Closed,
    /// A writer was dropped, or the connection closed while there was one.
    Writer,
    PeerClosed,
    PeerVanished,
    /// A message above `max_message_size` was sent here.
    TooLarge,
}

#[derive(Default)]
struct Log {
    sent: Vec<(Id, Fate)>,
    /// How many of these have their last fate.
    settled: usize,
    /// How many of these have left, as a flush says.
    flushed: usize,
}

#[derive(Default)]
struct State {
    tasks: Vec<Log>,
    causes: Vec<Cause>,
    writers: usize,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

/// What was settled when a flush began, of each task.
#[derive(Clone)]
pub(crate) struct Mark(Vec<usize>);

impl Mark {
    /// With this message, and all before it.
    pub(crate) fn with(mut self, id: Id) -> Self {
        self.0[id.task] = id.seq + 1;
        self
    }
}

impl Ledger {
    pub(crate) fn new(tasks: usize) -> Self {
        Self(Mutex::new(State { tasks: (0..tasks).map(|_| Log::default()).collect(), ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message of a task, of which nothing is told yet.
    pub(crate) fn next(&self, task: usize, len: usize) -> Id {
        let log = &mut self.state().tasks[task];
        let id = Id { task, seq: log.sent.len(), len };
        log.sent.push((id, Fate::Untold));
        id
    }

    pub(crate) fn settle(&self, id: Id, fate: Fate) {
        let log = &mut self.state().tasks[id.task];
        log.sent[id.seq].1 = fate;
        log.settled = id.seq + 1;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.state().tasks.iter().map(|log| log.settled).collect())
    }

    /// All that was settled before this mark has left.
    pub(crate) fn flushed(&self, mark: &Mark) {
        for (log, settled) in self.state().tasks.iter_mut().zip(&mark.0) {
            log.flushed = log.flushed.max(*settled);
        }
    }

    pub(crate) fn cause(&self, cause: Cause) {
        self.state().cause(cause);
    }

    pub(crate) fn causes(&self) -> Vec<Cause> {
        self.state().causes.clone()
    }

    pub(crate) fn is_caused_by(&self, cause: Cause) -> bool {
        self.state().causes.contains(&cause)
    }

    pub(crate) fn bytes_sent(&self) -> usize {
        self.state().tasks.iter().flat_map(|log| &log.sent).map(|(id, _)| id.len).sum()
    }

    /// A writer is asked for.
    pub(crate) fn begin_writer(&self) {
        let mut state = self.state();
        state.writers += 1;
        if state.causes.contains(&Cause::Closed) {
            state.cause(Cause::Writer);
        }
    }

    pub(crate) fn end_writer(&self) {
        self.state().writers -= 1;
    }

    /// The program closes the connection.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.cause(Cause::Closed);
        if state.writers > 0 {
            state.cause(Cause::Writer);
        }
    }

    /// Compares what has arrived with what was sent. `is_clean`: what the client says of its end, if anything.
    pub(crate) fn check(&self, served: &Served, is_clean: Option<bool>) {
        let state = self.state();
        let causes = &state.causes;
        let is_explained = causes.iter().any(|cause| *cause != Cause::Closed);
        assert!(is_clean != Some(false) || is_explained, "an unclean end without a cause: {causes:?}");
        let is_whole = is_clean == Some(true) || !is_explained;
        for (task, log) in state.tasks.iter().enumerate() {
            let arrived: Vec<Id> = served.arrived.iter().copied().filter(|id| id.task == task).collect();
            assert!(arrived.is_sorted_by(|a, b| a.seq < b.seq), "twice, or out of order: {arrived:?}");
            for id in &arrived {
                let sent = log.sent.get(id.seq);
                let is_sent = sent.is_some_and(|(sent, fate)| sent == id && *fate != Fate::Refused);
                assert!(is_sent, "{id:?} arrived, of which the program says {sent:?}");
            }
            let must_arrive = match arrived.last() {
                _ if is_whole => log.sent.len(),
                Some(last) if served.has_read_all => log.flushed.max(last.seq),
                Some(last) => last.seq,
                None if served.has_read_all => log.flushed,
                None => 0,
            };
            let mut arrived = arrived.iter().peekable();
            for (id, fate) in &log.sent[..must_arrive] {
                let has_arrived = arrived.next_if_eq(&id).is_some();
                assert!(
                    has_arrived || *fate != Fate::Accepted,
                    "{id:?} was accepted and is lost, of {} sent, {} flushed, {} arrived; clean {is_clean:?}, {causes:?}",
                    log.sent.len(),
                    log.flushed,
                    served.arrived.len(),
                );
            }
        }
    }
}

impl State {
    fn cause(&mut self, cause: Cause) {
        if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }
}
