//! The task between the halves: it drives the connection, takes what the senders queue, and queues what comes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Shared,
    incoming::{Arrived, Demand},
};
use crate::{
    close::{CloseFrame, Closed},
    driver::Driver,
    error::Error,
    limits::{MAX_BATCH, MAX_IDLE_PLACES, MAX_READ_CHUNK, MAX_WHOLE},
    protocol::ReadyState,
    stream::WebSocketStream,
    trace::Lifespan,
};

/// What drives one connection. It does not keep the halves alive.
pub(super) struct Task<S> {
    shared: Arc<Shared>,
    driver: Driver<S>,
    /// What has come, and is queued for the receiver as one.
    batch: VecDeque<Arrived>,
    /// How many bytes had been parsed when the last message came.
    parsed: u64,
    /// The connection's: how long senders wait is known here.
    lifespan: Lifespan,
}

/// The halves are told of the end, also if the runtime is shut down before it comes.
impl<S> Drop for Task<S> {
    fn drop(&mut self) {
        let closed = Closed::abnormal();
        let error = Error::from(closed.clone());
        self.shared.outgoing.end(closed, error.clone());
        self.shared.incoming.end(Err(error));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Task<S> {
    pub(super) fn new(shared: Arc<Shared>, mut stream: WebSocketStream<S>) -> Self {
        let (parsed, lifespan) = (stream.bytes_parsed(), stream.take_lifespan());
        Self { shared, driver: Driver::new(stream), batch: VecDeque::new(), parsed, lifespan }
    }

    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.end(end);
        // The peer may still be reading why.
        while poll_fn(|cx| self.driver.poll_next(cx)).await.is_some() {}
    }

    /// Moves what there is to move, both ways. Ready with the end of the connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.take_requests();
            self.driver.poll_send(&self.shared.outgoing, cx);
            // Only now, since it comes behind what is queued.
            let is_closing = self.close();
            let item = self.poll_receive(cx);
            let has_more = self.report();
            match item {
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending if has_more || is_closing => {}
                Poll::Pending => {
                    self.driver.shrink();
                    self.batch.shrink_to(MAX_IDLE_PLACES);
                    return Poll::Pending;
                }
            }
        }
    }

    fn take_requests(&mut self) {
        if let Some(error) = self.shared.incoming.take_failure() {
            self.driver.stream.fail(error);
        }
        if let Some(unsent) = self.shared.outgoing.take_abandoned() {
            self.driver.stream.abandon_message(unsent);
        }
        for request in self.shared.outgoing.take_pings() {
            let stream = &mut self.driver.stream;
            // Each has a payload of its own.
            let payload = Bytes::copy_from_slice(&stream.counters().pings_sent.to_be_bytes());
            // Whoever asked may have stopped waiting.
            let _ = request.send(stream.send_ping(payload));
        }
    }

    /// Begins to close once the connection has all that is before the Close frame. Returns whether it did.
    fn close(&mut self) -> bool {
        if !self.driver.is_handed_over() {
            return false;
        }
        let Some(frame) = self.shared.outgoing.take_close() else { return false };
        // The frame was checked when it was asked for.
        let _ = self.driver.stream.begin_close_and_read_on(frame);
        true
    }

    /// Queues what has come. Ready when the connection has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let mut room = match self.shared.incoming.demand(cx) {
                Demand::Room(room) => room,
                Demand::Full => return self.driver.stream.poll_write_only(cx).map(|()| self.outcome()),
                Demand::Dropped => {
                    self.driver.stream.discard_messages();
                    if !self.shared.outgoing.has_senders() {
                        self.shared.outgoing.close(CloseFrame::empty());
                    }
                    usize::MAX
                }
            };
            let mut held = 0;
            let end = loop {
                match self.driver.stream.poll_message_or_chunk(MAX_WHOLE, MAX_READ_CHUNK, cx) {
                    Poll::Ready(Some(Ok(item))) => {
                        let parsed = self.driver.stream.bytes_parsed();
                        let new = parsed - std::mem::replace(&mut self.parsed, parsed);
                        let arrived = Arrived::new(item, new, self.driver.stream.config().read_buffer_max);
                        held += arrived.cost;
                        room = room.saturating_sub(arrived.cost);
                        self.batch.push_back(arrived);
                        if room == 0 || self.batch.len() >= MAX_BATCH {
                            break None;
                        }
                    }
                    Poll::Ready(Some(Err(error))) => break Some(Poll::Ready(Err(error))),
                    Poll::Ready(None) => break Some(Poll::Ready(Ok(()))),
                    Poll::Pending => break Some(Poll::Pending),
                }
            };
            if held > 0 {
                self.shared.incoming.push(&mut self.batch, held);
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Tells the senders what has left. Returns whether there is more to take over.
    fn report(&mut self) -> bool {
        let stream = &self.driver.stream;
        let (state, counted) = (stream.ready_state(), (stream.counters(), stream.read_pause()));
        let has_more = self.shared.outgoing.update(self.driver.take_sent(), self.driver.is_flushed(), state, counted);
        has_more && state == ReadyState::Open && self.driver.is_handed_over()
    }

    /// How the connection has ended.
    fn outcome(&self) -> Result<(), Error> {
        self.driver.stream.error().cloned().map_or(Ok(()), Err)
    }

    fn end(&mut self, end: Result<(), Error>) {
        self.report();
        let is_unsent = self.driver.drop_batch() | self.shared.outgoing.has_unsent();
        let mut closed = self.driver.stream.closed().cloned().unwrap_or_else(Closed::abnormal);
        closed.was_clean &= !is_unsent;
        let error = match &end {
            Err(error) => error.clone(),
            Ok(()) => closed.clone().into(),
        };
        let end = if is_unsent { Err(error.clone()) } else { end };
        let outgoing = &self.shared.outgoing;
        self.lifespan.end(|| (Some(closed.clone()), end.clone().err(), outgoing.stats()));
        self.shared.outgoing.end(closed, error);
        self.shared.incoming.end(end);
    }
}
