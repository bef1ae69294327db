//! `Outbox`: what the senders of a connection share with the task that drives it.
//!
//! ```text
//!  send, sink ───► waiters ──► queue ──► taken by the connection ──► has left
//!  writer ───────► (the turn) ──┘  ▲          as it has room            │
//!                                  └─────── room, flushes, the end ◄────┘
//!  ping, pong, close, fail, abort ──► requests ──► task
//! ```
//!
//! The task takes requests and entries ([`Outbox::take`]), and registers its waker in the look that finds nothing new
//! ([`Outbox::wait`]). While it works nobody wakes it.

mod driving;
mod entry;
#[cfg(all(test, wsflow_loom))]
mod loom;
mod queue;
mod requests;
mod sending;
mod sink;
mod state;
mod try_send_error;
mod turn;
mod waiters;
mod watchers;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

pub use self::try_send_error::TrySendError;
pub(crate) use self::{
    driving::{Report, Standing, Taken},
    entry::Entry,
    queue::Amount,
    requests::{Failure, PingRequest, PingsAndPongs},
    sink::{SinkFlush, SinkPlace},
    turn::PartWriter,
};
use self::{
    queue::Queue,
    requests::Requests,
    state::{Aftermath, Phase, State, Want},
    waiters::Waiters,
    watchers::Watchers,
};
use crate::{
    close::{CloseFrame, Closed},
    error::Error,
    message::Message,
    protocol::{Compression, Pong, PongAnswer, ReadyState, validate_payload},
    stats::Stats,
    stopwatch::Stopwatch,
    sync::{Hint, Mutex, WakerSlot},
};

#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// As the state says, for the task, which asks before each turn.
    has_news: Hint,
    /// The peer's Close frame, once it has come.
    peer_close: OnceLock<Arc<CloseFrame>>,
    /// How the connection has ended.
    closed: OnceLock<Box<Closed>>,
}

/// One of the senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderId(u64);

impl Outbox {
    /// The sender that an outbox begins with.
    pub(crate) const FIRST_SENDER: SenderId = SenderId(0);

    /// The outbox of a connection. `mark`: how much may be queued before senders wait. `from`: how the connection stands,
    /// and for how long a sender has waited for room so far.
    pub(crate) fn new(mark: usize, from: Report, write_held_back: Duration) -> Self {
        let Report { ready_state, queued, is_flushed, send_error, peer_close, stats, unsent_pings, read_pause } = from;
        let phase = match ready_state {
            ReadyState::Connecting => Phase::Connecting,
            ReadyState::Open => Phase::Open,
            ReadyState::Closing | ReadyState::Closed => {
                Phase::Closing(send_error.unwrap_or(Error::Closing { by_peer: None }))
            }
        };
        let state = Mutex::new(State {
            phase,
            queue: Queue::new(queued, is_flushed),
            mark,
            max_buffered_amount: None,
            waiters: Waiters::new(),
            turn: None,
            requests: Requests::default(),
            senders: 1,
            last_sender: Self::FIRST_SENDER,
            stats,
            unsent_pings,
            read_pause,
            write_wait: Stopwatch::stopped_at(write_held_back),
            watchers: Watchers::default(),
            task: WakerSlot::default(),
            has_news: true,
        });
        let peer_close = peer_close.map_or_else(OnceLock::new, OnceLock::from);
        Self { state, has_news: Hint::new(true), peer_close, closed: OnceLock::new() }
    }

    /// The outbox of a connection that is not open yet. Its senders never wait for room.
    pub(crate) fn connecting() -> Self {
        let from = Report {
            ready_state: ReadyState::Connecting,
            queued: Amount::default(),
            is_flushed: true,
            send_error: None,
            peer_close: None,
            stats: Stats::default(),
            unsent_pings: 0,
            read_pause: Stopwatch::default(),
        };
        Self::new(usize::MAX, from, Duration::ZERO)
    }

    // Getters.

    pub(crate) fn buffered_amount(&self) -> u64 {
        self.state.lock().queue.buffered()
    }

    pub(crate) fn ready_state(&self) -> ReadyState {
        match self.state.lock().phase {
            Phase::Connecting => ReadyState::Connecting,
            Phase::Open | Phase::Broken(_) => ReadyState::Open,
            Phase::Closing(_) => ReadyState::Closing,
            Phase::Ended(_) => ReadyState::Closed,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats { read_held_back: state.read_pause.elapsed(), write_held_back: state.write_wait.elapsed(), ..state.stats }
    }

    /// How the connection has ended, once it has.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closed.get().map(|closed| &**closed)
    }

    /// The same, where it has ended.
    fn how_ended(&self) -> Closed {
        self.closed().cloned().unwrap_or_else(Closed::abnormal)
    }

    /// The peer's Close frame, once it has come.
    pub(crate) fn peer_close(&self) -> Option<&CloseFrame> {
        self.peer_close.get().map(|frame| &**frame)
    }

    // Senders.

    pub(crate) fn add_sender(&self) -> SenderId {
        let mut state = self.state.lock();
        state.senders += 1;
        state.last_sender.0 += 1;
        state.last_sender
    }

    pub(crate) fn remove_sender(&self, sender: SenderId) {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            state.senders -= 1;
            if state.senders == 0 {
                state.wake_task(after);
            }
        });
    }

    // What the task is asked for.

    /// Asks for a ping: with this payload, or with one that no other ping has.
    pub(crate) fn ping(&self, sender: SenderId, payload: Option<Bytes>) -> Result<Pong, Error> {
        let (answer, pong) = PongAnswer::new();
        let request = PingRequest { payload, answer, asked: Instant::now() };
        let refused = self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            state.check_open()?;
            validate_payload(request.payload.as_deref().unwrap_or_default())?;
            state.requests.ping(request, state.unsent_pings)?;
            state.wake_task(after);
            Ok(())
        });
        refused.map(|()| pong)
    }

    /// Asks for a pong.
    pub(crate) fn pong(&self, sender: SenderId, payload: Bytes) -> Result<(), Error> {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            state.check_open()?;
            validate_payload(&payload)?;
            state.requests.pong(payload);
            state.wake_task(after);
            Ok(())
        })
    }

    /// Begins to close, if the connection is open: what is queued goes out first. Senders that wait for room fail, and so does
    /// a message that is being written, and with it the connection. Returns the state before.
    pub(crate) fn close(&self, frame: CloseFrame) -> ReadyState {
        self.change(|state, after| match state.phase {
            Phase::Connecting => {
                state.begin_closing(Error::Closing { by_peer: None }, after);
                ReadyState::Connecting
            }
            Phase::Open | Phase::Broken(_) => {
                if state.turn.is_some() {
                    state.abandon(0, after);
                } else {
                    state.requests.close = Some(Box::new(frame));
                    state.begin_closing(Error::Closing { by_peer: None }, after);
                }
                ReadyState::Open
            }
            Phase::Closing(_) => ReadyState::Closing,
            Phase::Ended(_) => ReadyState::Closed,
        })
    }

    /// Drops the transport at once, unless the connection has ended, or is not open yet: then it begins to close. Returns the
    /// state before.
    pub(crate) fn abort(&self) -> ReadyState {
        let before = self.ready_state();
        match before {
            ReadyState::Connecting => return self.close(CloseFrame::empty()),
            ReadyState::Open | ReadyState::Closing => self.change(|state, after| {
                state.fail(Failure::Aborted, after);
                state.begin_closing(Error::Aborted, after);
            }),
            ReadyState::Closed => {}
        }
        before
    }

    /// What came cannot be taken: the connection fails.
    pub(crate) fn fail(&self, error: Error) {
        self.change(|state, after| state.fail(Failure::Failed(error), after));
    }

    // What the event API does.

    /// How much may be buffered, in bytes of payload: more ends the connection. `None`: any amount.
    pub(crate) fn set_max_buffered_amount(&self, bytes: Option<u64>) {
        self.state.lock().max_buffered_amount = bytes;
    }

    /// Queues a message, without waiting. `false` while connecting. Once the connection is closing the message only counts.
    pub(crate) fn post(&self, message: Message) -> bool {
        self.change(|state, after| {
            let entry = Entry::Message(message, Compression::Allowed);
            match state.phase {
                Phase::Connecting => {
                    after.drop_unsent(Want::Message(entry));
                    return false;
                }
                Phase::Open | Phase::Broken(_) if !state.requests.has_failure() => {
                    let amount = state.queue.buffered() + entry.len() as u64;
                    match state.max_buffered_amount.filter(|max| amount > *max) {
                        None => state.push(entry, after),
                        Some(max) => {
                            state.queue.count_unsent(entry.len());
                            after.drop_unsent(Want::Message(entry));
                            state.fail(Failure::Overflow(max), after);
                        }
                    }
                }
                Phase::Open | Phase::Broken(_) | Phase::Closing(_) | Phase::Ended(_) => {
                    state.queue.count_unsent(entry.len());
                    after.drop_unsent(Want::Message(entry));
                }
            }
            true
        })
    }

    /// The connection is open, unless it was closed before. Returns whether it is.
    pub(crate) fn open(&self) -> bool {
        let mut state = self.state.lock();
        let is_wanted = matches!(state.phase, Phase::Connecting);
        if is_wanted {
            state.phase = Phase::Open;
        }
        is_wanted
    }

    /// Changes the state, and does then what may run code of others.
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut State, &mut Aftermath) -> R) -> R {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        let answer = change(&mut state, &mut after);
        self.has_news.set(state.has_news);
        drop(state);
        after.settle();
        answer
    }
}
