//! What the handles of a `WebSocket` and its task share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Handlers, InvalidStateError};
use crate::{close::CloseFrame, error::Error, message::Message, protocol::ReadyState};

/// The part of a `WebSocket` that its clones count: the drop of the last one closes the connection.
pub(super) struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(CloseFrame::empty());
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    url: String,
    origin: String,
    state: Mutex<State>,
    handlers: Mutex<Handlers>,
    /// Cancelled by a close while connecting.
    abort: CancellationToken,
    closed: Notify,
}

#[derive(Debug)]
struct State {
    ready_state: ReadyState,
    protocol: String,
    extensions: String,
    /// Messages that the connection has not taken yet.
    queue: VecDeque<Message>,
    /// Payload bytes that were sent and not taken by the transport.
    buffered_amount: u64,
    /// The Close frame that is to follow the queue.
    close: Option<CloseFrame>,
    error: Option<Error>,
    is_close_handled: bool,
    /// The task, when it waits.
    waker: Option<Waker>,
}

/// What the handles ask of the task, next in order.
pub(super) enum Request {
    Send(Message),
    Close(CloseFrame),
}

impl Shared {
    pub(super) fn new(url: &Url) -> Arc<Self> {
        Arc::new(Self {
            url: url.as_str().to_owned(),
            origin: url.origin().ascii_serialization(),
            state: Mutex::new(State {
                ready_state: ReadyState::Connecting,
                protocol: String::new(),
                extensions: String::new(),
                queue: VecDeque::new(),
                buffered_amount: 0,
                close: None,
                error: None,
                is_close_handled: false,
                waker: None,
            }),
            handlers: Mutex::default(),
            abort: CancellationToken::new(),
            closed: Notify::new(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn negotiated(&self) -> (String, String) {
        let state = self.state();
        (state.protocol.clone(), state.extensions.clone())
    }

    pub(super) fn ready_state(&self) -> ReadyState {
        self.state().ready_state
    }

    pub(super) fn buffered_amount(&self) -> u64 {
        self.state().buffered_amount
    }

    pub(super) fn error(&self) -> Option<Error> {
        self.state().error.clone()
    }

    pub(super) fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    // What the handles ask for.

    pub(super) fn send(&self, message: Message) -> Result<(), InvalidStateError> {
        let mut state = self.state();
        match state.ready_state {
            ReadyState::Connecting => return Err(InvalidStateError),
            ReadyState::Open => {
                state.buffered_amount += message.len() as u64;
                state.queue.push_back(message);
            }
            // Counted, and not sent.
            ReadyState::Closing | ReadyState::Closed => state.buffered_amount += message.len() as u64,
        }
        Self::wake(state);
        Ok(())
    }

    pub(super) fn close(&self, frame: CloseFrame) {
        let mut state = self.state();
        match state.ready_state {
            ReadyState::Connecting => self.abort.cancel(),
            ReadyState::Open => state.close = Some(frame),
            ReadyState::Closing | ReadyState::Closed => return,
        }
        state.ready_state = ReadyState::Closing;
        Self::wake(state);
    }

    pub(super) async fn closed(&self) {
        loop {
            let handled = self.closed.notified();
            if self.state().is_close_handled {
                return;
            }
            handled.await;
        }
    }

    // What the task does.

    /// The connection is open, unless it was closed before.
    pub(super) fn open(&self, protocol: &str, extensions: &str) -> bool {
        let mut state = self.state();
        let is_wanted = state.ready_state == ReadyState::Connecting;
        if is_wanted {
            state.ready_state = ReadyState::Open;
            state.protocol = protocol.to_owned();
            state.extensions = extensions.to_owned();
        }
        is_wanted
    }

    /// The state moves on. It never goes back.
    pub(super) fn advance(&self, ready_state: ReadyState) {
        let mut state = self.state();
        state.ready_state = state.ready_state.max(ready_state);
    }

    pub(super) fn fail(&self, error: Error) {
        self.state().error.get_or_insert(error);
    }

    /// The next thing to do. `None`: there is nothing, and the task will be woken.
    pub(super) fn next_request(&self, cx: &Context<'_>) -> Option<Request> {
        let mut state = self.state();
        if let Some(message) = state.queue.pop_front() {
            return Some(Request::Send(message));
        }
        let close = state.close.take().map(Request::Close);
        if close.is_none() {
            state.waker = Some(cx.waker().clone());
        }
        close
    }

    /// The transport took payload bytes.
    pub(super) fn release(&self, payload: u64) {
        if payload > 0 {
            self.state().buffered_amount -= payload;
        }
    }

    /// Nothing will be sent any more: what is queued stays in the amount only.
    pub(super) fn drop_queue(&self) {
        let queue = std::mem::take(&mut self.state().queue);
        drop(queue);
    }

    /// The last handler has returned.
    pub(super) fn close_is_handled(&self) {
        self.state().is_close_handled = true;
        self.closed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task, outside of the lock.
    fn wake(mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
