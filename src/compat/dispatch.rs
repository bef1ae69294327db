//! The task that drives a connection and calls the handlers.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BinaryType, CloseEvent, Event, MessageEvent, WebSocket,
    event::{self, Listeners, Table},
    shared::{Handle, Shared},
};
use crate::{
    close::Closed, driver::Driver, error::Error, message::Message, protocol::ReadyState, stream::WebSocketStream,
};

/// What drives one connection. It does not keep the handles alive.
pub(super) struct Dispatch {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
    /// Whether messages were dropped before the stream had taken them.
    is_unsent: bool,
    /// The event for each message: only its data changes.
    message: MessageEvent,
}

/// No event comes any more, also if the runtime was shut down before the last one.
impl Drop for Dispatch {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

/// How the task goes on.
enum Turn {
    Message(Message),
    /// The stream's last item.
    End(Option<Error>),
    Overflow,
}

impl Dispatch {
    pub(super) fn spawn<S, F>(handle: &Arc<Handle>, connecting: F)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<WebSocketStream<S>, Error>> + Send + 'static,
    {
        let shared = Arc::clone(handle.shared());
        let message = MessageEvent::new(Bytes::new(), shared.origin());
        let dispatch = Self { shared, handle: Arc::downgrade(handle), is_unsent: false, message };
        tokio::spawn(dispatch.run(connecting));
    }

    async fn run<S>(mut self, connecting: impl Future<Output = Result<WebSocketStream<S>, Error>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match connecting.await {
            // A close while connecting may come too late for the attempt, and has been decided all the same.
            Ok(stream) if self.shared.open(stream.protocol(), stream.extensions()) => {
                self.fire(|listeners| &mut listeners.open, &Event {});
                self.drive(stream).await;
            }
            Ok(_) => self.fail(Error::Aborted),
            Err(error) => self.fail(error),
        }
    }

    /// Sends what is queued, and hands out what comes, until the end.
    async fn drive<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: WebSocketStream<S>) {
        let mut driver = Driver::new(stream);
        loop {
            match poll_fn(|cx| self.poll(&mut driver, cx)).await {
                Turn::Message(data) => self.receive(data),
                Turn::End(error) => {
                    let mut closed = driver.stream.closed().cloned().unwrap_or_else(Closed::abnormal);
                    closed.was_clean &= !self.is_unsent;
                    // A browser shows its own failures; that the other side or the network ended it is no error.
                    let is_event = matches!(error, Some(Error::ProtocolViolation(_) | Error::Limit(_)));
                    self.end(closed, error, is_event);
                    // The peer may still be reading why.
                    while poll_fn(|cx| driver.poll_next(cx)).await.is_some() {}
                    return;
                }
                Turn::Overflow => {
                    // The connection is closed, and not the WebSocket: no closing handshake.
                    drop(driver);
                    return self.fail(Error::Overflow(self.shared.max_buffered_amount()));
                }
            }
        }
    }

    /// One turn between two events. No handler runs meanwhile, so the amount may fall and the state may move.
    fn poll<S>(&mut self, driver: &mut Driver<S>, cx: &mut Context<'_>) -> Poll<Turn>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // The next event shows what the transport takes of this, even if its message has come already.
        driver.poll_send(&*self.shared, cx);
        let mut item = driver.poll_next(cx);
        // Only now, since a Close of the peer's that has come already is answered, and not crossed.
        if driver.is_handed_over()
            && let Some(frame) = self.shared.take_close()
        {
            // The frame was checked when it was asked for.
            let _ = driver.stream.begin_close(frame);
            if item.is_pending() {
                item = driver.poll_next(cx);
            }
        }
        self.shared.release(driver.take_sent().payload);
        if driver.stream.ready_state() > ReadyState::Open {
            self.shared.advance(ReadyState::Closing);
            self.is_unsent |= self.shared.drop_queue() | driver.drop_batch();
        }
        if self.shared.is_overflow() {
            return Poll::Ready(Turn::Overflow);
        }
        item.map(|item| match item {
            Some(Ok(message)) => Turn::Message(message),
            Some(Err(error)) => Turn::End(Some(error)),
            None => Turn::End(None),
        })
    }

    /// Hands out a message, unless the socket was closed meanwhile.
    fn receive(&mut self, data: Message) {
        if self.shared.ready_state() != ReadyState::Open {
            return;
        }
        self.message.data = match (data, self.shared.binary_type()) {
            (Message::Binary(data), BinaryType::Blob) => Message::Binary(Bytes::copy_from_slice(&data)),
            (data, _) => data,
        };
        self.fire(|listeners| &mut listeners.message, &self.message);
        // What nobody kept goes before the next read, which may then use its buffer again.
        self.message.data = Message::binary(Bytes::new());
    }

    /// The connection could not be made, or was given up.
    fn fail(&self, error: Error) {
        self.end(Closed::abnormal(), Some(error), true);
    }

    /// The last events: `error`, if it is one that a browser shows, then `close`.
    fn end(&self, closed: Closed, error: Option<Error>, is_event: bool) {
        self.shared.advance(ReadyState::Closed);
        if let Some(error) = error {
            self.shared.fail(error);
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
