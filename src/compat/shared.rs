//! What the handles of a `WebSocket` and its task share.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    BinaryType, InvalidStateError,
    event::{Callback, Listeners, Table},
};
use crate::{
    close::CloseFrame,
    driver::{Handover, Queue, Queued},
    error::Error,
    message::Message,
    protocol::ReadyState,
    sync::{move_all, register},
};

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

pub(super) struct Shared {
    url: String,
    origin: String,
    state: Mutex<State>,
    listeners: Mutex<Listeners>,
    /// Cancelled by a close while connecting.
    abort: CancellationToken,
    /// Wakes the tasks that wait for a state.
    changed: Notify,
}

pub(super) struct State {
    ready_state: ReadyState,
    protocol: String,
    extensions: String,
    /// Messages that the connection has not taken yet.
    queue: VecDeque<Queued>,
    /// Payload bytes that were sent and not taken by the transport.
    buffered_amount: u64,
    max_buffered_amount: Option<u64>,
    binary_type: BinaryType,
    /// Whether more was sent than may be buffered.
    is_overflow: bool,
    /// The Close frame that is to follow the queue.
    close: Option<CloseFrame>,
    error: Option<Error>,
    is_close_handled: bool,
    /// The task, when it waits.
    waker: Option<Waker>,
}

impl State {
    pub(super) fn is_drained(&self) -> bool {
        self.buffered_amount == 0 || self.ready_state == ReadyState::Closed
    }

    pub(super) fn is_close_handled(&self) -> bool {
        self.is_close_handled
    }
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
                max_buffered_amount: None,
                binary_type: BinaryType::default(),
                is_overflow: false,
                close: None,
                error: None,
                is_close_handled: false,
                waker: None,
            }),
            listeners: Mutex::default(),
            abort: CancellationToken::new(),
            changed: Notify::new(),
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

    pub(super) fn binary_type(&self) -> BinaryType {
        self.state().binary_type
    }

    pub(super) fn set_binary_type(&self, binary_type: BinaryType) {
        self.state().binary_type = binary_type;
    }

    pub(super) fn set_max_buffered_amount(&self, bytes: Option<u64>) {
        self.state().max_buffered_amount = bytes;
    }

    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listener_tables(&self) -> &Mutex<Listeners> {
        &self.listeners
    }

    pub(super) fn set_handler<E>(&self, table: fn(&mut Listeners) -> &mut Table<E>, handler: Callback<E>) {
        let mut listeners = self.listeners();
        let id = listeners.next_id();
        let replaced = table(&mut listeners).set_handler(id, handler);
        drop(listeners);
        drop(replaced);
    }

    /// How much may be queued, where that is limited.
    pub(super) fn max_buffered_amount(&self) -> u64 {
        self.state().max_buffered_amount.unwrap_or(u64::MAX)
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
                let is_within = |max| state.buffered_amount <= max;
                if state.max_buffered_amount.is_none_or(is_within) {
                    state.queue.push_back(message.into());
                } else {
                    state.is_overflow = true;
                }
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

    /// Waits for a state.
    pub(super) async fn until(&self, is_reached: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on a change is not missed.
            changed.as_mut().enable();
            if is_reached(&self.state()) {
                return;
            }
            changed.await;
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
        self.changed.notify_waiters();
    }

    pub(super) fn fail(&self, error: Error) {
        self.state().error.get_or_insert(error);
    }

    /// The Close frame, once no message is before it.
    pub(super) fn take_close(&self) -> Option<CloseFrame> {
        let mut state = self.state();
        if state.queue.is_empty() { state.close.take() } else { None }
    }

    /// Whether more was sent than may wait: the connection is to be given up.
    pub(super) fn is_overflow(&self) -> bool {
        self.state().is_overflow
    }

    /// The transport took payload bytes.
    pub(super) fn release(&self, payload: u64) {
        if payload > 0 {
            let mut state = self.state();
            state.buffered_amount -= payload;
            if state.buffered_amount == 0 {
                self.changed.notify_waiters();
            }
        }
    }

    /// Nothing will be sent any more: what is queued stays in the amount only. Returns whether there was something.
    pub(super) fn drop_queue(&self) -> bool {
        let queue = std::mem::take(&mut self.state().queue);
        !queue.is_empty()
    }

    /// No event will come any more. Waiting tasks are woken, and the listeners go: they may own handles, which would
    /// keep each other for ever.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        state.ready_state = ReadyState::Closed;
        state.is_close_handled = true;
        drop(state);
        self.drop_queue();
        self.changed.notify_waiters();
        let listeners = self.listeners().take();
        drop(listeners);
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

impl Queue for Shared {
    fn take(&self, batch: &mut VecDeque<Queued>, cx: &Context<'_>) -> Handover {
        let mut state = self.state();
        move_all(&mut state.queue, batch);
        register(&mut state.waker, cx);
        if state.close.is_some() { Handover::AtOnce } else { Handover::WhenReady }
    }
}
