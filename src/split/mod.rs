//! The halves of a connection, for separate tasks: what the task between them shares with each.
//!
//! ```text
//!  Sender ──► outbox (write_high_water_mark) ──► task ──► connection
//!  Receiver ◄── inbox (read_high_water_mark) ◄────┘
//! ```

mod arrivals;
mod control_frames;
mod inbox;
mod receiver;
mod sender;
mod sink;
mod unread;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::unread::Unread;
use self::{arrivals::ToInbox, inbox::Inbox};
pub use self::{receiver::Receiver, sender::Sender, sink::SenderSink};
use crate::{
    handshake::Negotiated,
    outbox::{Outbox, Report},
    stats::Stats,
    stream::WebSocketStream,
    task::Task,
};

/// What the halves and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) outbox: Outbox,
    /// How many bytes of payload a frame has at most of a message that is written piece by piece.
    pub(crate) part_size: usize,
    inbox: Inbox,
    negotiated: Box<Negotiated>,
    /// Messages that the task passed on, whose reader was dropped before their end.
    skipped: AtomicU64,
}

impl Shared {
    /// The end of a message came whose reader was dropped.
    fn count_skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// What the connection had counted when its task last ran. Of what the task passed on, received is what was handed out.
    fn stats(&self) -> Stats {
        let (stats, skipped) = (self.outbox.stats(), self.skipped.load(Ordering::Relaxed));
        Stats {
            // The task may have passed on more than it has told.
            messages_received: stats.messages_received.saturating_sub(skipped),
            discarded_messages: stats.discarded_messages + skipped,
            ..stats
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketStream<S> {
    /// Splits the connection into halves for separate tasks. A new task, on the current tokio runtime, drives the
    /// connection: it answers pings and finishes the close while the application is busy.
    ///
    /// Use it where several tasks send, or where sending and receiving must not wait for each other. A loop in one task is
    /// faster with the stream in place. There is no way back to one stream: messages that are queued would have no place
    /// in it.
    ///
    /// What was queued before leaves first, and [`compression`](Self::compression) stays as it was set. A connection that is
    /// closing, or has ended, ends as it would in place: its halves take nothing to send, and a `send` fails with
    /// [`Error::Closing`](crate::Error::Closing), or with what ended it.
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
    pub fn into_split(self) -> (Sender, Receiver) {
        let part_size = self.part_size();
        let (mut connection, config, negotiated) = self.into_inner();
        connection.skip_chunks();
        let shared = Arc::new(Shared {
            outbox: Outbox::new(
                config.write_high_water_mark,
                Report::of(&connection),
                connection.stats().write_held_back,
            ),
            part_size,
            inbox: Inbox::new(config.read_high_water_mark),
            negotiated,
            skipped: AtomicU64::new(0),
        });
        let compression = connection.compression();
        let arrivals = ToInbox::new(Arc::clone(&shared), connection.buffer_used(), config.read_buffer_max);
        tokio::spawn(Task::new(connection, arrivals));
        let receiver = Receiver::new(Arc::clone(&shared), config.max_message_size.unwrap_or(usize::MAX));
        (Sender::new(shared, compression), receiver)
    }
}
