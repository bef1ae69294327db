//! Events, and the handlers that they are given to.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::MutexGuard,
};

use super::{WebSocket, shared::Shared};
use crate::{close::CloseCode, message::Message};

/// `open` or `error`: that it happened is all it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Event {}

/// `message`: a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEvent {
    /// The message.
    pub data: Message,
    /// The origin of the URL: scheme, host, and the port if it is not the scheme's own.
    pub origin: String,
    /// Always `""`: it is there because the browser's event has it.
    pub last_event_id: String,
}

/// `close`: the connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseEvent {
    /// The code of the peer's Close frame; 1005 if it had none, 1006 if no Close frame came.
    pub code: CloseCode,
    /// The reason in the peer's Close frame.
    pub reason: String,
    /// Whether both sides said Close and everything that was queued here was sent before.
    pub was_clean: bool,
}

pub(super) type Handler<E> = Box<dyn FnMut(&WebSocket, &E) + Send>;

/// The handler for one kind of event.
///
/// A handler that runs is out of its slot, so that no lock is held and it may set the slot itself.
pub(super) struct Slot<E> {
    handler: Option<Handler<E>>,
    /// How often the slot was set: a handler does not go back into a slot that was set while it ran.
    version: u64,
}

impl<E> Default for Slot<E> {
    fn default() -> Self {
        Self { handler: None, version: 0 }
    }
}

impl<E> Slot<E> {
    /// Sets the handler. The one before is dropped by the caller's lock guard's end at the latest.
    pub(super) fn set(&mut self, handler: Option<Handler<E>>) {
        self.version += 1;
        self.handler = handler;
    }
}

#[derive(Default)]
pub(super) struct Handlers {
    pub(super) open: Slot<Event>,
    pub(super) message: Slot<MessageEvent>,
    pub(super) error: Slot<Event>,
    pub(super) close: Slot<CloseEvent>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

/// Calls the handler in a slot, if there is one.
pub(super) fn call<E>(shared: &Shared, socket: &WebSocket, slot: fn(&mut Handlers) -> &mut Slot<E>, event: &E) {
    let of = |handlers: &mut MutexGuard<'_, Handlers>| {
        let slot = slot(handlers);
        (slot.handler.take(), slot.version)
    };
    let (Some(mut handler), version) = of(&mut shared.handlers()) else { return };
    // The panic hook has reported it; the connection goes on, as it does in a browser.
    let _ = catch_unwind(AssertUnwindSafe(|| handler(socket, event)));
    let mut handlers = shared.handlers();
    let slot = slot(&mut handlers);
    if slot.version == version {
        slot.handler = Some(handler);
    } else {
        // Its drop is foreign code too.
        drop(handlers);
        drop(handler);
    }
}
