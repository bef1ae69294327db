//! Events, and the listeners that they are given to.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use super::WebSocket;
use crate::{close::CloseCode, message::Message};

/// `open` or `error`: that it happened is all it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Event {}

/// `message`: a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEvent {
    /// The message.
    pub data: Message,
    /// The origin of the URL that answered: scheme, host, and the port if it is not the scheme's own. After redirects it is
    /// that of the last one, as an `EventSource`'s; [`url`](super::WebSocket::url) stays what was given.
    pub origin: String,
    /// Always `""`: it is there because the browser's event has it.
    pub last_event_id: String,
}

impl MessageEvent {
    /// An event with this message and origin.
    pub fn new(data: impl Into<Message>, origin: impl Into<String>) -> Self {
        Self { data: data.into(), origin: origin.into(), last_event_id: String::new() }
    }
}

/// `close`: the connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseEvent {
    /// The code of the peer's Close frame; 1005 if it had none, 1006 if no Close frame came.
    pub code: CloseCode,
    /// The reason in the peer's Close frame.
    pub reason: String,
    /// Whether both sides said Close and everything that was queued here was sent before.
    pub was_clean: bool,
}

impl CloseEvent {
    /// An event with this code and reason.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<String>, was_clean: bool) -> Self {
        Self { code: code.into(), reason: reason.into(), was_clean }
    }
}

/// As in a browser: code 0, no reason, not clean.
impl Default for CloseEvent {
    fn default() -> Self {
        Self::new(0, "", false)
    }
}

/// Names a listener, to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// How a listener is added, as the third argument of `addEventListener`.
///
/// A method sets the field of the same name: `ListenerOptions::default().once(true)`.
#[derive(Debug, Clone, Default)]
#[must_use = "each method returns the changed options"]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Whether it is removed before its first call. Default `false`.
    pub once: bool,
    /// Removes it when it is cancelled. One that is cancelled already adds nothing. Default `None`.
    pub signal: Option<CancellationToken>,
}

impl ListenerOptions {
    /// Sets [`once`](Self#structfield.once).
    pub fn once(mut self, once: bool) -> Self {
        self.once = once;
        self
    }

    /// Sets [`signal`](Self#structfield.signal).
    pub fn signal(mut self, token: CancellationToken) -> Self {
        self.signal = Some(token);
        self
    }

    fn is_cancelled(&self) -> bool {
        self.signal.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

pub(super) type Callback<E> = Box<dyn FnMut(&WebSocket, &E) + Send>;

/// The listeners of all four events.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) open: Table<Event>,
    pub(super) message: Table<MessageEvent>,
    pub(super) error: Table<Event>,
    pub(super) close: Table<CloseEvent>,
    next_id: u64,
    /// No event comes any more: what is added would be kept for nothing.
    is_finished: bool,
}

impl Listeners {
    fn next_id(&mut self) -> ListenerId {
        self.next_id += 1;
        ListenerId(self.next_id)
    }

    /// Removes all of them, for good. The caller drops them without a lock: they are user code.
    #[must_use]
    pub(super) fn finish(&mut self) -> Self {
        std::mem::replace(self, Self { next_id: self.next_id, is_finished: true, ..Self::default() })
    }

    /// Adds a listener. One that is refused comes back, to be dropped without a lock.
    #[must_use]
    pub(super) fn add<E>(
        &mut self,
        table: fn(&mut Self) -> &mut Table<E>,
        options: ListenerOptions,
        callback: Callback<E>,
    ) -> (ListenerId, Option<Callback<E>>) {
        let id = self.next_id();
        if self.is_finished { (id, Some(callback)) } else { (id, table(self).add(id, options, callback)) }
    }

    /// Sets the handler of an event. Returns the one before, or the one that is refused, to be dropped without a lock.
    #[must_use]
    pub(super) fn set_handler<E>(
        &mut self,
        table: fn(&mut Self) -> &mut Table<E>,
        callback: Callback<E>,
    ) -> Option<Callback<E>> {
        let id = self.next_id();
        if self.is_finished { Some(callback) } else { table(self).set_handler(id, callback) }
    }

    /// Removes a listener of any event. What is returned must be dropped without a lock: it is user code.
    #[must_use]
    pub(super) fn remove(&mut self, id: ListenerId) -> impl Sized + use<> {
        (self.open.remove(id), self.message.remove(id), self.error.remove(id), self.close.remove(id))
    }
}

/// The listeners of one event, in the order of their registration. The handler (`on…`) is one of them.
pub(super) struct Table<E> {
    entries: Vec<Arc<Entry<E>>>,
    /// Which of them is the handler.
    handler: Option<ListenerId>,
}

struct Entry<E> {
    id: ListenerId,
    options: ListenerOptions,
    is_removed: AtomicBool,
    callback: Mutex<Slot<E>>,
}

/// A callback that runs is out of its slot, so that no lock is held meanwhile and it may be replaced.
struct Slot<E> {
    callback: Option<Callback<E>>,
    /// How often it was replaced: one that ran does not come back where another one has its place.
    version: u64,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { entries: Vec::new(), handler: None }
    }
}

impl<E> Table<E> {
    /// Adds a listener, unless its signal is cancelled already: then it comes back, to be dropped without a lock.
    #[must_use]
    pub(super) fn add(
        &mut self,
        id: ListenerId,
        options: ListenerOptions,
        callback: Callback<E>,
    ) -> Option<Callback<E>> {
        if options.is_cancelled() {
            return Some(callback);
        }
        let callback = Mutex::new(Slot { callback: Some(callback), version: 0 });
        self.entries.push(Arc::new(Entry { id, options, is_removed: AtomicBool::new(false), callback }));
        None
    }

    /// Sets the handler. One that is there is replaced and keeps its place, else it comes last. Returns the one before,
    /// to be dropped without a lock.
    #[must_use]
    pub(super) fn set_handler(&mut self, id: ListenerId, callback: Callback<E>) -> Option<Callback<E>> {
        if let Some(entry) = self.entries.iter().find(|entry| Some(entry.id) == self.handler) {
            let mut slot = entry.slot();
            slot.version += 1;
            return slot.callback.replace(callback);
        }
        self.handler = Some(id);
        self.add(id, ListenerOptions::default(), callback)
    }

    /// Removes the handler, and with it its place. What is returned is to be dropped without a lock.
    #[must_use]
    pub(super) fn clear_handler(&mut self) -> impl Sized + use<E> {
        self.handler.take().and_then(|id| self.remove(id))
    }

    fn remove(&mut self, id: ListenerId) -> Option<Arc<Entry<E>>> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        let entry = self.entries.remove(at);
        // A dispatch that is under way has a list of its own.
        entry.is_removed.store(true, Ordering::Relaxed);
        Some(entry)
    }
}

impl<E> Entry<E> {
    fn slot(&self) -> MutexGuard<'_, Slot<E>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, socket: &WebSocket, event: &E) {
        let (callback, version) = {
            let mut slot = self.slot();
            (slot.callback.take(), slot.version)
        };
        let Some(mut callback) = callback else { return };
        // The panic hook has reported it; the other listeners and the connection go on, as they do in a browser.
        let _ = catch_unwind(AssertUnwindSafe(|| callback(socket, event)));
        let mut slot = self.slot();
        if slot.version == version {
            slot.callback = Some(callback);
        } else {
            drop(slot);
            drop(callback);
        }
    }
}

/// Calls the listeners of an event: those that are there now, in their order, but for those that are removed before
/// their turn. No lock is held while one runs.
pub(super) fn dispatch<E>(
    listeners: &Mutex<Listeners>,
    table: fn(&mut Listeners) -> &mut Table<E>,
    socket: &WebSocket,
    event: &E,
) {
    let lock = || listeners.lock().unwrap_or_else(PoisonError::into_inner);
    let entries = table(&mut lock()).entries.clone();
    for entry in entries {
        let is_cancelled = entry.options.is_cancelled();
        let is_due = !is_cancelled && !entry.is_removed.load(Ordering::Relaxed);
        if is_cancelled || entry.options.once {
            let removed = table(&mut lock()).remove(entry.id);
            drop(removed);
        }
        if is_due {
            entry.call(socket, event);
        }
    }
}
