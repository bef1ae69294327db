//! What the handles of a `WebSocket` and its task share.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    BinaryType,
    event::{Callback, Listeners, Table},
};
use crate::{
    close::{CloseFrame, Closed},
    error::Error,
    outbox::Outbox,
    protocol::ReadyState,
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
    outbox: Outbox,
    state: Mutex<State>,
    listeners: Mutex<Listeners>,
    /// Cancelled by a close while connecting.
    abort: CancellationToken,
    /// Wakes the tasks that wait until the `close` event was handled.
    finished: Notify,
}

#[derive(Default)]
struct State {
    protocol: String,
    extensions: String,
    binary_type: BinaryType,
    error: Option<Error>,
    is_close_handled: bool,
}

impl Shared {
    pub(super) fn new(url: &Url) -> Arc<Self> {
        Arc::new(Self {
            url: url.as_str().to_owned(),
            outbox: Outbox::connecting(),
            state: Mutex::default(),
            listeners: Mutex::default(),
            abort: CancellationToken::new(),
            finished: Notify::new(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn negotiated(&self) -> (String, String) {
        let state = self.state();
        (state.protocol.clone(), state.extensions.clone())
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

    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listener_tables(&self) -> &Mutex<Listeners> {
        &self.listeners
    }

    pub(super) fn set_handler<E>(&self, table: fn(&mut Listeners) -> &mut Table<E>, handler: Callback<E>) {
        let replaced = self.listeners().set_handler(table, handler);
        drop(replaced);
    }

    pub(super) fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Begins to close, or gives up to connect.
    pub(super) fn close(&self, frame: CloseFrame) {
        if self.outbox.close(frame) == ReadyState::Connecting {
            self.abort.cancel();
        }
    }

    /// Drops the transport, or gives up to connect.
    pub(super) fn abort(&self) {
        if self.outbox.abort() == ReadyState::Connecting {
            self.abort.cancel();
        }
    }

    /// Waits until the `close` event was handled.
    pub(super) async fn until_finished(&self) {
        let mut finished = pin!(self.finished.notified());
        // From here on it is not missed.
        finished.as_mut().enable();
        if !self.state().is_close_handled {
            finished.await;
        }
    }

    // What the task does.

    /// The connection is open, unless it was closed before. Returns whether it is.
    pub(super) fn open(&self, protocol: &str, extensions: &str) -> bool {
        let (protocol, extensions) = (protocol.to_owned(), extensions.to_owned());
        {
            // Before the state says that it is open.
            let mut state = self.state();
            (state.protocol, state.extensions) = (protocol, extensions);
        }
        let is_open = self.outbox.open();
        if !is_open {
            let mut state = self.state();
            (state.protocol, state.extensions) = (String::new(), String::new());
        }
        is_open
    }

    pub(super) fn set_error(&self, error: Error) {
        self.state().error.get_or_insert(error);
    }

    /// No event will come any more. Waiting tasks are woken, and the listeners go: they may own handles, which would
    /// keep each other for ever.
    pub(super) fn finish(&self) {
        let closed = Closed::abnormal();
        self.outbox.end(closed.clone(), closed.into());
        self.state().is_close_handled = true;
        self.finished.notify_waiters();
        let listeners = self.listeners().finish();
        drop(listeners);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
