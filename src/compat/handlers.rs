//! What arrives goes to the event handlers, one event after another.

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BinaryType, CloseEvent, Event, MessageEvent, WebSocket,
    event::{self, Listeners, Table},
    shared::{Handle, Shared},
};
use crate::{
    close::Closed,
    connection::Connection,
    error::Error,
    message::Message,
    outbox::Outbox,
    stream::WebSocketStream,
    task::{Arrivals, Demand, Task, Turn},
};

/// Calls the handlers of one socket. It does not keep the handles alive.
pub(super) struct Handlers {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
    /// The message that has come, until the outbox knows what has left: no handler sees the amount fall.
    arrived: Option<Message>,
    /// The event for each message: only its data changes.
    message: MessageEvent,
}

/// No event comes any more, also if the runtime was shut down before the last one.
impl Drop for Handlers {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl Handlers {
    /// Spawns the task of a socket that is connecting. `connecting` is freed before the connection is driven.
    pub(super) fn spawn<S, F>(handle: &Arc<Handle>, connecting: F)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<WebSocketStream<S>, Error>> + Send + 'static,
    {
        let shared = Arc::clone(handle.shared());
        let message = MessageEvent::new(Bytes::new(), "");
        let handlers = Self { shared, handle: Arc::downgrade(handle), arrived: None, message };
        let connecting = Box::pin(connecting);
        tokio::spawn(async move {
            if let Some(task) = handlers.opened(connecting.await) {
                task.await;
            }
        });
    }

    /// The attempt to connect has ended: the first event, and the task that drives the connection.
    fn opened<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        connected: Result<WebSocketStream<S>, Error>,
    ) -> Option<Task<S, Self>> {
        match connected {
            // A close while connecting may come too late for the attempt, and has been decided all the same.
            Ok(stream) if self.shared.open(stream.protocol(), stream.extensions()) => {
                // As that of an EventSource, it is the origin after redirects.
                self.message.origin = stream.url().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
                self.fire(|listeners| &mut listeners.open, &Event {});
                Some(Task::new(stream.into_inner().0, self))
            }
            Ok(_) => self.fail(Error::Aborted),
            Err(error) => self.fail(error),
        }
    }

    /// The connection could not be made.
    fn fail<T>(&mut self, error: Error) -> Option<T> {
        let closed = Closed::abnormal();
        self.outbox().end(closed.clone(), error.clone());
        self.last_events(closed, Some(error), true);
        None
    }

    /// `error`, if it is one that a browser shows, then `close`.
    fn last_events(&self, closed: Closed, error: Option<Error>, is_event: bool) {
        if let Some(error) = error {
            self.shared.set_error(error);
        }
        if is_event {
            self.fire(|listeners| &mut listeners.error, &Event {});
        }
        let Closed { code, reason, was_clean } = closed;
        self.fire(|listeners| &mut listeners.close, &CloseEvent { code, reason, was_clean });
        self.shared.finish();
    }

    fn fire<E>(&self, table: fn(&mut Listeners) -> &mut Table<E>, event: &E) {
        // Once the last handle is gone the socket is closing: a new one has nothing more to close.
        let handle = self.handle.upgrade().unwrap_or_else(|| Handle::new(Arc::clone(&self.shared)));
        event::dispatch(self.shared.listener_tables(), table, &WebSocket { handle }, event);
    }
}

impl Arrivals for Handlers {
    const WANTS_BEHIND_CLOSE: bool = false;
    const MINDS_CUT_MESSAGE: bool = false;

    fn outbox(&self) -> &Outbox {
        self.shared.outbox()
    }

    /// The next message is read only after the handlers of the one before have returned.
    fn demand(&mut self, _: &Context<'_>) -> Demand {
        Demand::Wanted
    }

    fn poll_take<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Turn, Error>>> {
        let item = ready!(connection.poll_next(cx));
        Poll::Ready(item.map(|message| {
            self.arrived = Some(message?);
            Ok(Turn::IsOver)
        }))
    }

    /// Calls the handlers of a message, unless the socket was closed meanwhile.
    fn hand_out(&mut self, is_open: bool) {
        let Some(data) = self.arrived.take().filter(|_| is_open) else { return };
        self.message.data = match (data, self.shared.binary_type()) {
            (Message::Binary(data), BinaryType::Blob) => Message::Binary(Bytes::copy_from_slice(&data)),
            (data, _) => data,
        };
        self.fire(|listeners| &mut listeners.message, &self.message);
        // What nobody kept goes before the next read, which may then use its buffer again.
        self.message.data = Message::binary(Bytes::new());
    }

    fn end(&mut self, closed: Closed, end: Result<(), Error>) {
        let error = end.err();
        // A browser shows its own failures; that the other side or the network ended it is no error.
        let is_event = matches!(error, Some(Error::ProtocolViolation(_) | Error::Limit(_) | Error::Overflow(_)));
        self.last_events(closed, error, is_event);
    }
}
