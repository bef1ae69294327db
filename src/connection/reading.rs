//! Reading from a connection: messages that are taken or lent, and the end.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Connection, wakers::Role, writing::FlushMode};
use crate::{
    error::Error,
    event::{ControlFrames, Event},
    limits::work,
    message::{Message, MessageRef},
    protocol::{Delivery, Incoming, Payload, Received},
};

/// Where a message stands that is lent, until the next call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loan {
    /// In the read buffer.
    Front(Payload),
    /// In the buffer in which it was put together.
    Assembled(Payload),
}

/// What the reader has been told of the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadSide {
    Open,
    /// The one error.
    ErrorReported,
    /// `None`, for ever.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The next message, the one error, or the end.
    #[inline]
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.budget.is_due() {
            ready!(self.poll_budget(cx));
        }
        let buf = self.read_buffer.unread();
        if let Some(payload) = self.protocol.next_front(buf) {
            self.budget.spend(1);
            if payload.len() > self.copy_payloads_up_to {
                return Poll::Ready(Some(Ok(payload.take(buf))));
            }
            return Poll::Ready(Some(Ok(payload.take_copy(buf))));
        }
        self.poll_message(cx).map(Result::transpose)
    }

    /// A poll begins, and pays for what was done.
    #[cold]
    pub(super) fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.budget.begin_poll();
        ready!(self.budget.poll(cx));
        self.write_control(Role::Reader, cx);
        Poll::Ready(())
    }

    /// As [`poll_next`](Self::poll_next), for a message that stays where it is: [`lent`](Self::lent) gives it, until the
    /// next call.
    #[inline]
    pub(crate) fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Loan, Error>>> {
        if self.budget.is_due() {
            ready!(self.poll_budget(cx));
        }
        if let Some(payload) = self.protocol.next_front(self.read_buffer.peek()) {
            self.budget.spend(1);
            return Poll::Ready(Some(Ok(self.read_buffer.lend(payload))));
        }
        self.poll_loan(cx).map(Result::transpose)
    }

    #[cold]
    fn poll_loan(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Loan>, Error>> {
        let received = ready!(self.poll_received(cx))?;
        Poll::Ready(Ok(received.map(|received| match received {
            Received::Front(payload) => self.read_buffer.lend(payload),
            Received::Assembled { data, payload } => {
                self.protocol.keep_lent(data);
                Loan::Assembled(payload)
            }
        })))
    }

    /// The message that is lent.
    #[inline]
    pub(crate) fn lent(&self, loan: Loan) -> MessageRef<'_> {
        match loan {
            Loan::Front(range) => range.lend(self.read_buffer.all()),
            Loan::Assembled(payload) => payload.lend(self.protocol.lent()),
        }
    }

    /// The next message, after all frames before it; `None`: the end.
    ///
    /// Out of line and cold: a whole message in the read buffer then takes 33 to 38 cycles instead of 70. Its type is not
    /// that of `poll_next`, else both kinds of messages go through one place in memory, which costs the same again.
    #[cold]
    #[inline(never)]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let received = ready!(self.poll_received(cx))?;
        let (buf, copy_up_to) = (self.read_buffer.unread(), self.copy_payloads_up_to);
        Poll::Ready(Ok(received.map(|received| received.take(buf, copy_up_to))))
    }

    /// The next message, lent from its buffer, after all frames before it; `None`: the end.
    #[cold]
    #[inline(never)]
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, Error>> {
        self.protocol.skip_chunks();
        self.poll_event(cx, Delivery::Whole, ControlFrames::Hidden, |incoming, _| match incoming {
            Incoming::Message(received) => Some(received),
            Incoming::Chunk(_) | Incoming::Control(_) | Incoming::Handled => None,
        })
    }

    /// As [`poll_next`](Self::poll_next), with the control frames among the messages.
    pub(crate) fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        self.protocol.skip_chunks();
        let copy_up_to = self.copy_payloads_up_to;
        let event = self.poll_event(cx, Delivery::Whole, ControlFrames::Shown, |incoming, buf| match incoming {
            Incoming::Message(received) => Some(Event::Message(received.take(buf, copy_up_to))),
            Incoming::Control(frame) => Some(frame.into()),
            Incoming::Chunk(_) | Incoming::Handled => None,
        });
        event.map(Result::transpose)
    }

    /// What `pick` takes of the next event of which it takes anything; `None`: the end. It is given the read buffer, too.
    pub(super) fn poll_event<T>(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
        control: ControlFrames,
        pick: impl Fn(Incoming, &mut BytesMut) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.budget.begin_poll();
        loop {
            if self.budget.poll(cx).is_pending() {
                if self.protocol.is_control_due() {
                    // The next poll pays before it hands anything out, and writes then.
                    self.budget.spend(work::PER_STEP);
                }
                return Poll::Pending;
            }
            if let Some(event) = self.next_event(delivery, control) {
                match pick(event, self.read_buffer.unread()) {
                    Some(picked) => {
                        self.write_control(Role::Reader, cx);
                        // Of what is handed out only the peer's Close ends the input.
                        if self.protocol.has_pending_end() {
                            self.write_answer(cx);
                        }
                        return Poll::Ready(Ok(Some(picked)));
                    }
                    None => continue,
                }
            }
            if self.read_side == ReadSide::Ended {
                return Poll::Ready(Ok(None));
            }
            let step = self.poll_step(Role::Reader, cx);
            if self.protocol.has_rest() {
                ready!(step);
                continue;
            }
            if self.read_side == ReadSide::Open
                && let Some(error) = self.protocol.error()
            {
                let error = error.clone();
                self.read_side = ReadSide::ErrorReported;
                return Poll::Ready(Err(error));
            }
            if self.protocol.is_done() {
                self.read_side = ReadSide::Ended;
                return Poll::Ready(Ok(None));
            }
            ready!(step);
        }
    }

    /// How many bytes of read buffers have been used up: by what was parsed, or as a rest that is too small.
    pub(crate) fn buffer_used(&self) -> u64 {
        let parsed = self.protocol.stats().wire_bytes_received - self.read_buffer.peek().len() as u64;
        parsed + self.read_buffer.left_unused()
    }

    /// Whether the reader has got `None`.
    pub(crate) fn is_read_side_ended(&self) -> bool {
        self.read_side == ReadSide::Ended
    }

    /// What comes next in the read buffer.
    pub(super) fn next_event(&mut self, delivery: Delivery, control: ControlFrames) -> Option<Incoming> {
        let (read_at, buf) = (self.read_at.into_std(), self.read_buffer.unread());
        let event = self.protocol.next_event(read_at, buf, delivery, control);
        self.budget.spend(self.protocol.take_work() + usize::from(event.is_some()));
        if event.is_none() && self.protocol.is_pending_end_due() {
            self.end_input();
        }
        event
    }

    /// Deals with the peer's Close, or a failure, if one has come. Returns whether it did: our Close is then written by the
    /// next step.
    pub(super) fn end_input(&mut self) -> bool {
        let has_ended = self.protocol.has_pending_end();
        if has_ended {
            self.protocol.apply_pending_end(Instant::now().into_std());
        }
        has_ended
    }

    /// Answers the peer's Close before it is handed out, as far as the transport takes what is queued before the answer. The
    /// caller may not poll again.
    #[cold]
    fn write_answer(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_write(Role::Reader, cx, FlushMode::All);
        if !self.budget.has_yielded() && self.end_input() {
            let _ = self.poll_write(Role::Reader, cx, FlushMode::All);
        }
        self.wake_other_role(Role::Reader);
    }

    pub(super) fn poll_read(&mut self, role: Role, cx: &mut Context<'_>) -> Poll<()> {
        let bytes_needed = self.protocol.bytes_needed(self.read_buffer.peek());
        let (io, read_buffer) = (&mut self.io, &mut self.read_buffer);
        let result = ready!(self.wakers.poll(role, cx, |cx| read_buffer.poll_read(io, cx, bytes_needed)));
        let now = Instant::now();
        self.note_reader(now);
        self.note_held_back(now);
        self.read_at = now;
        self.read_pause.stop(|| now);
        match result {
            Ok(0) => self.protocol.handle_end(None),
            Ok(n) => {
                self.read_pause.start(|| now);
                self.budget.spend(n.div_ceil(work::COPIED_BYTES));
                self.protocol.handle_read(n);
            }
            // TLS calls an end without close_notify an error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.protocol.handle_end(None),
            Err(error) => self.protocol.handle_end(Some(Error::io(error))),
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::{
        close::CloseFrame,
        config::Config,
        connection::{FirstStep, MessageOrChunk},
        error::Phase,
    };

    const MESSAGES: usize = 200;

    /// How a connection ends while nobody reads.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum End {
        WriteError,
        WriteTimeout,
        /// Our Close has left and is not answered.
        NoAnswer,
        /// Our Close cannot leave.
        Stuck,
    }

    /// A connection that is over, as who only writes has seen. `MESSAGES` came before, of which one was taken; a part of
    /// the others was read.
    async fn ended(end: End) -> (Connection<DuplexStream>, Option<DuplexStream>) {
        let (mut peer, io) = duplex(1 << 20);
        let config = Config::default().read_buffer_max(4096).write_timeout(Duration::from_secs(5));
        let mut connection = Connection::new(io, BytesMut::new(), &config, None);
        for i in 0..MESSAGES {
            peer.write_all(&[&[0x82, 126, 0, 200][..], &[i as u8; 200]].concat()).await.unwrap();
        }
        let first = poll_fn(|cx| connection.poll_next(cx)).await;
        assert_eq!(first.unwrap().unwrap().as_bytes(), [0; 200]);
        match end {
            End::WriteError => drop(peer),
            End::WriteTimeout | End::NoAnswer | End::Stuck => {
                if end != End::NoAnswer {
                    connection.start_send(Message::binary(vec![7; 2 << 20])).unwrap();
                }
                if end != End::WriteTimeout {
                    connection.close(CloseFrame::new(1000, "")).unwrap();
                }
                poll_fn(|cx| connection.poll_write_only(cx)).await;
                return (connection, Some(peer));
            }
        }
        connection.start_send(Message::text("ours")).unwrap();
        poll_fn(|cx| connection.poll_write_only(cx)).await;
        (connection, None)
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_the_end_is_yielded_although_who_only_writes_has_seen_the_end() {
        for end in [End::WriteError, End::WriteTimeout, End::NoAnswer, End::Stuck] {
            for in_chunks in [false, true] {
                let (mut connection, peer) = ended(end).await;
                let told = connection.error().expect("an unclean end").clone();
                match end {
                    End::WriteError => assert!(matches!(told, Error::Io(_)), "{told}"),
                    End::WriteTimeout => assert!(matches!(told, Error::Timeout { phase: Phase::Write, .. }), "{told}"),
                    End::NoAnswer | End::Stuck => {
                        assert!(matches!(told, Error::Timeout { phase: Phase::Close | Phase::Write, .. }), "{told}");
                    }
                }
                let mut next = 1;
                let error = loop {
                    let item = if in_chunks {
                        poll_fn(|cx| connection.poll_message_or_chunk(cx, 100_000, 100_000)).await.map(|item| {
                            item.map(|item| match item {
                                MessageOrChunk::Message(message) => message,
                                MessageOrChunk::Chunk(_) => panic!("{end:?}: a chunk"),
                            })
                        })
                    } else {
                        poll_fn(|cx| connection.poll_next(cx)).await
                    };
                    match item.unwrap_or_else(|| panic!("{end:?}: no error behind {next}")) {
                        Ok(message) => assert_eq!(message.as_bytes(), [next; 200], "{end:?}"),
                        Err(error) => break error,
                    }
                    next += 1;
                };
                assert_eq!(usize::from(next), MESSAGES, "{end:?}: {error}");
                assert_eq!(error.to_string(), told.to_string());
                assert!(poll_fn(|cx| connection.poll_next(cx)).await.is_none(), "{end:?}: it comes once");
                assert_eq!(connection.stats().messages_received, MESSAGES as u64);
                drop(peer);
            }
        }
    }

    /// A poll that was cut off while it wrote begins with reading the next time, but not where all that is left to do is to tell
    /// the peer why.
    #[tokio::test]
    async fn the_close_that_tells_of_a_failure_leaves_before_the_end_of_the_transport_is_read() {
        let (mut peer, io) = duplex(1 << 20);
        let mut connection = Connection::new(io, BytesMut::new(), &Config::default(), None);
        peer.shutdown().await.unwrap();
        connection.first_step = FirstStep::Read;
        connection.fail(Error::UnfinishedMessage);
        assert!(matches!(poll_fn(|cx| connection.poll_next(cx)).await, Some(Err(Error::UnfinishedMessage))));
        drop(connection);
        let mut close = [0; 8];
        peer.read_exact(&mut close).await.unwrap();
        let code = [close[6] ^ close[2], close[7] ^ close[3]];
        assert_eq!((&close[..2], u16::from_be_bytes(code)), (&[0x88, 0x82][..], 1011));
    }

    /// A Close of the peer's that is found then changes nothing: the end was told.
    #[tokio::test(start_paused = true)]
    async fn who_was_told_the_end_is_told_the_same_behind_what_came_before() {
        let (mut connection, peer) = ended(End::NoAnswer).await;
        let told = connection.closed().cloned();
        peer.unwrap().write_all(&[0x88, 2, 3, 0xe9]).await.unwrap();
        for _ in 1..MESSAGES {
            poll_fn(|cx| connection.poll_next(cx)).await.unwrap().unwrap();
        }
        assert!(matches!(poll_fn(|cx| connection.poll_next(cx)).await, Some(Err(Error::Timeout { .. }))));
        assert!(poll_fn(|cx| connection.poll_next(cx)).await.is_none());
        assert_eq!(connection.closed().cloned(), told);
    }
}
