//! The halves of a connection, for separate tasks, and the task that drives the connection between them.
//!
//! ```text
//!  Sender ──► outgoing (room: write_high_water_mark) ──► task ──► connection
//!  Receiver ◄── incoming (read_high_water_mark) ◄────────┘
//! ```

mod inbox;
mod incoming;
mod outgoing;
#[cfg(all(test, wsflow_loom))]
mod outgoing_loom;
mod receiver;
mod room;
mod sender;
mod sink;
mod task;
mod try_send_error;
mod turn;
mod watchers;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::turn::Turn;
use self::{incoming::Incoming, outgoing::Outgoing, task::Task};
pub use self::{receiver::Receiver, sender::Sender, sink::SenderSink, try_send_error::TrySendError};
use crate::{handshake::Negotiated, stream::WebSocketStream};

/// What the halves and the task share.
pub(crate) struct Shared {
    outgoing: Outgoing,
    /// How many bytes of payload a frame has at most of a message that is written piece by piece.
    part_size: usize,
    incoming: Incoming,
    negotiated: Negotiated,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketStream<S> {
    /// Splits the connection into halves for separate tasks. A new task, on the current tokio runtime, drives the
    /// connection: it answers pings and finishes the close while the application is busy.
    ///
    /// Use it where several tasks send, or where sending and receiving must not wait for each other. A loop in one task is
    /// faster with the stream in place. There is no way back to one stream: messages that are queued would have no place
    /// in it.
    ///
    /// ```no_run
    /// # async fn example(ws: wsflow::WebSocketStream) -> Result<(), wsflow::Error> {
    /// use futures::StreamExt;
    /// use wsflow::CloseFrame;
    ///
    /// let (sender, mut receiver) = ws.into_split();
    /// let ticks = sender.clone();
    /// let ticker = tokio::spawn(async move {
    ///     for tick in 0..10 {
    ///         ticks.send(format!("tick {tick}")).await?; // waits for room
    ///     }
    ///     ticks.close_with(CloseFrame::new(1000, "done")).await
    /// });
    /// while let Some(message) = receiver.next().await.transpose()? {
    ///     println!("{message:?}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as `tokio::spawn`.
    pub fn into_split(mut self) -> (Sender, Receiver) {
        self.skip_chunks();
        let mut outgoing = Outgoing::new(self.config().write_high_water_mark, self.ready_state(), self.stats());
        if !self.is_flushed() {
            outgoing = outgoing.with_leftover(self.buffered_amount());
        }
        let shared = Arc::new(Shared {
            outgoing,
            part_size: self.part_size(),
            incoming: Incoming::new(self.config().read_high_water_mark),
            negotiated: self.take_negotiated(),
        });
        let max_message_size = self.config().max_message_size;
        tokio::spawn(Task::new(Arc::clone(&shared), self).run());
        (Sender::new(Arc::clone(&shared)), Receiver::new(shared, max_message_size))
    }
}
