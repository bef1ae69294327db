//! The task that drives a connection and calls the handlers.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;

use super::{
    CloseEvent, Event, MessageEvent, WebSocket,
    event::{self, Handlers, Slot},
    shared::{Handle, Request, Shared},
};
use crate::{
    client::ClientBuilder, close::Closed, error::Error, message::Message, protocol::ReadyState, stream::WebSocketStream,
};

/// What the handlers are called on. It does not keep the connection open.
pub(super) struct Dispatch {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
}

impl Dispatch {
    pub(super) fn spawn(client: ClientBuilder, handle: &Arc<Handle>) {
        let dispatch = Self { shared: Arc::clone(handle.shared()), handle: Arc::downgrade(handle) };
        tokio::spawn(dispatch.run(client));
    }

    async fn run(self, client: ClientBuilder) {
        match client.signal(self.shared.abort_token()).connect().await {
            // A close while connecting may come too late for the attempt, and has been decided all the same.
            Ok(stream) if self.shared.open(stream.protocol(), stream.extensions()) => {
                self.fire(|handlers| &mut handlers.open, &Event {});
                self.drive(stream).await;
            }
            Ok(_) => self.end(&Error::Aborted, true),
            Err(error) => self.end(&error, true),
        }
    }

    /// Sends what is queued, and hands out what comes, until the end.
    async fn drive(self, mut stream: WebSocketStream) {
        let mut released = 0;
        loop {
            let item = poll_fn(|cx| self.poll(&mut stream, &mut released, cx)).await;
            match item {
                Some(Ok(data)) => {
                    let origin = self.shared.origin().to_owned();
                    let event = MessageEvent { data, origin, last_event_id: String::new() };
                    self.fire(|handlers| &mut handlers.message, &event);
                }
                Some(Err(error)) => {
                    // The peer may still be reading why.
                    let is_event = matches!(error, Error::Protocol(_) | Error::Limit(_));
                    self.end_with(stream.closed().cloned().unwrap_or_else(Closed::abnormal), Some(error), is_event);
                    while poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await.is_some() {}
                    return;
                }
                None => {
                    self.end_with(stream.closed().cloned().unwrap_or_else(Closed::abnormal), None, false);
                    return;
                }
            }
        }
    }

    /// One turn between two events. No handler runs meanwhile, so the amount may fall and the state may move.
    fn poll(
        &self,
        stream: &mut WebSocketStream,
        released: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        self.poll_requests(stream, cx);
        let item = Pin::new(&mut *stream).poll_next(cx);
        let sent = stream.stats().payload_bytes_sent;
        self.shared.release(sent - std::mem::replace(released, sent));
        if stream.ready_state() > ReadyState::Open {
            self.shared.advance(ReadyState::Closing);
            self.shared.drop_queue();
        }
        item
    }

    /// Carries out what the handles ask for, as far as the sink takes it.
    fn poll_requests(&self, stream: &mut WebSocketStream, cx: &mut Context<'_>) {
        for _ in 0..REQUESTS_PER_TURN {
            let Poll::Ready(Ok(())) = Pin::new(&mut *stream).poll_ready(cx) else { return };
            let Some(request) = self.shared.next_request(cx) else { return };
            // Neither can fail: the sink is ready, and the frame was judged when it was asked for.
            let _ = match request {
                Request::Send(message) => Pin::new(&mut *stream).start_send(message),
                Request::Close(frame) => stream.begin_close(frame),
            };
        }
        cx.waker().wake_by_ref();
    }

    fn end(&self, error: &Error, is_event: bool) {
        self.end_with(Closed::abnormal(), Some(error.clone()), is_event);
    }

    /// The last events: `error`, if it is one that a browser shows, then `close`.
    fn end_with(&self, closed: Closed, error: Option<Error>, is_event: bool) {
        self.shared.advance(ReadyState::Closed);
        self.shared.drop_queue();
        if let Some(error) = error {
            self.shared.fail(error);
        }
        if is_event {
            self.fire(|handlers| &mut handlers.error, &Event {});
        }
        let Closed { code, reason, was_clean } = closed;
        self.fire(|handlers| &mut handlers.close, &CloseEvent { code, reason, was_clean });
        self.shared.close_is_handled();
    }

    fn fire<E>(&self, slot: fn(&mut Handlers) -> &mut Slot<E>, event: &E) {
        // Once the last handle is gone the socket is closing: a new one has nothing more to close.
        let handle = self.handle.upgrade().unwrap_or_else(|| Handle::new(Arc::clone(&self.shared)));
        event::call(&self.shared, &WebSocket { handle }, slot, event);
    }
}

/// How many requests are carried out before the amount is brought up to date and the socket is read: a sender that is
/// as fast as the transport would hold up both for ever.
const REQUESTS_PER_TURN: usize = 256;
