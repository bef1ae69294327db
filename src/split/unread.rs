//! What the receiver has taken from the inbox: whole messages, and the one that comes in chunks.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::task::coop;

use super::{
    Shared,
    inbox::{Arrived, Batch},
};
use crate::{
    close::Closed,
    connection::MessageOrChunk,
    error::{Error, Violation},
    event::{ControlFrames, Event},
    limits::work,
    message::{Kind, Message},
    protocol::{Chunk, append},
    wire::utf8::CheckedText,
};

pub(crate) struct Unread {
    shared: Arc<Shared>,
    /// In bytes.
    max_message_size: usize,
    /// What was taken from the inbox and not handed out.
    batch: Batch,
    /// Whether somebody has asked for them.
    control: ControlFrames,
    /// The cost of what was handed out since the inbox was told.
    released: usize,
    /// Messages and chunks that were handed out since other tasks could run.
    handed_out: usize,
    state: State,
}

enum State {
    BetweenMessages,
    /// In a message that is put together.
    Assembling {
        kind: Kind,
        data: Vec<u8>,
    },
    /// In a message that is handed out in chunks.
    Reading,
    /// In a message of which nobody wants the rest.
    Skipping,
    /// A message could not be put together: this is the end, behind all that has come.
    Failed(Error),
    /// The end was handed out.
    Ended,
}

impl Unread {
    /// `max_message_size`: the limits of messages come with their chunks; it bounds the buffer in which one is put together.
    pub(super) fn new(shared: Arc<Shared>, max_message_size: usize) -> Self {
        let (batch, control) = (Batch::new(), ControlFrames::Hidden);
        Self { shared, max_message_size, batch, control, released: 0, handed_out: 0, state: State::BetweenMessages }
    }

    /// How the connection ended, once it has.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.shared.outbox.closed()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The next message, put together if it comes in chunks.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.skip_chunks();
        loop {
            match ready!(self.poll_item(cx)) {
                Some(Ok(MessageOrChunk::Message(message))) => return Poll::Ready(Some(Ok(message))),
                Some(Ok(MessageOrChunk::Chunk(chunk))) => {
                    if let Some(message) = self.assemble(chunk) {
                        return Poll::Ready(Some(Ok(message)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The next message, or the control frame before it.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        if self.control == ControlFrames::Hidden {
            self.control = ControlFrames::Shown;
            self.shared.inbox.keep_frames();
        }
        self.skip_chunks();
        loop {
            ready!(self.poll_budget(cx));
            if self.batch.is_frame_due()
                && let Some(frame) = self.shared.inbox.take_frame(&mut self.batch)
            {
                self.handed_out += 1;
                match self.state {
                    // What came behind a failure is not shown.
                    State::Failed(_) => continue,
                    _ => return Poll::Ready(Some(Ok(frame.into()))),
                }
            }
            if self.batch.is_empty() {
                match ready!(self.poll_refill(ControlFrames::Shown, cx)) {
                    Refilled::More => continue,
                    Refilled::End(end) => return Poll::Ready(end.map(Err)),
                }
            }
            match self.next_item() {
                Some(MessageOrChunk::Message(message)) => return Poll::Ready(Some(Ok(Event::Message(message)))),
                Some(MessageOrChunk::Chunk(chunk)) => {
                    if let Some(message) = self.assemble(chunk) {
                        return Poll::Ready(Some(Ok(Event::Message(message))));
                    }
                }
                None => {}
            }
        }
    }

    /// A further message, if it is there as a whole.
    pub(super) fn next_whole(&mut self) -> Option<Message> {
        if !matches!(self.batch.front()?.item, MessageOrChunk::Message(_)) {
            return None;
        }
        match self.pop()? {
            MessageOrChunk::Message(message) => Some(message),
            MessageOrChunk::Chunk(_) => None,
        }
    }

    /// The kind of the next message, which is then handed out in chunks.
    pub(crate) fn poll_begin_chunks(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Kind, Error>>> {
        self.skip_chunks();
        loop {
            // What was put together so far is the first chunk.
            let begun = match std::mem::replace(&mut self.state, State::BetweenMessages) {
                State::Assembling { kind, data } => Some(for_reader(kind, data.into(), false)),
                state => {
                    self.state = state;
                    None
                }
            };
            let chunk = match begun {
                Some(chunk) => chunk,
                None => match ready!(self.poll_item(cx)) {
                    Some(Ok(MessageOrChunk::Message(message))) => {
                        for_reader(message.kind(), message.into_bytes(), true)
                    }
                    Some(Ok(MessageOrChunk::Chunk(chunk))) => match self.state {
                        State::Skipping => {
                            self.skip(&chunk);
                            continue;
                        }
                        _ => chunk,
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                },
            };
            let kind = chunk.kind;
            // It has been paid for.
            self.batch.push_front(Arrived { item: MessageOrChunk::Chunk(chunk), cost: 0 });
            self.state = State::Reading;
            return Poll::Ready(Some(Ok(kind)));
        }
    }

    /// The next chunk of the message, of at most `max` bytes.
    pub(crate) fn poll_chunk(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Error>>> {
        let Chunk { kind, mut data, fin, .. } = match ready!(self.poll_item(cx)) {
            Some(Ok(MessageOrChunk::Chunk(chunk))) => chunk,
            Some(Ok(MessageOrChunk::Message(_))) | None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
        };
        if data.len() <= max {
            if fin {
                self.state = State::BetweenMessages;
            }
            return Poll::Ready(Some(Ok(for_reader(kind, data, fin))));
        }
        let first = for_reader(kind, data.split_to(max), false);
        self.batch.push_front(Arrived { item: MessageOrChunk::Chunk(for_reader(kind, data, fin)), cost: 0 });
        Poll::Ready(Some(Ok(first)))
    }

    /// Tells the inbox what was handed out, where that is enough to be worth a lock.
    pub(super) fn release(&mut self) {
        if self.released >= self.shared.inbox.mark() / 4 {
            self.shared.inbox.release(std::mem::take(&mut self.released));
        }
    }

    /// Nobody reads the message any more.
    fn skip_chunks(&mut self) {
        if matches!(self.state, State::Reading) {
            self.state = State::Skipping;
        }
    }

    fn skip(&mut self, chunk: &Chunk) {
        if chunk.fin {
            self.state = State::BetweenMessages;
            self.shared.count_skipped();
        }
    }

    /// Adds a chunk to the message that is put together. Returns the message with the last one.
    fn assemble(&mut self, chunk: Chunk) -> Option<Message> {
        let (kind, data) = match &mut self.state {
            State::Assembling { kind, data } => (*kind, data),
            State::Skipping => {
                self.skip(&chunk);
                return None;
            }
            state => {
                *state = State::Assembling { kind: chunk.kind, data: Vec::new() };
                return self.assemble(chunk);
            }
        };
        if let Some(excess) = chunk.excess {
            return self.fail((*excess).into());
        }
        append(data, &chunk.data, self.max_message_size);
        if !chunk.fin {
            return None;
        }
        let data = Bytes::from(std::mem::take(data));
        self.state = State::BetweenMessages;
        match kind {
            Kind::Binary => Some(Message::Binary(data)),
            // It was checked as it came, but what was checked is not what stands here.
            Kind::Text => match CheckedText::new(&data, 0, data.len()) {
                Some(text) => Some(Message::Text(text.own(data))),
                None => self.fail(Violation::InvalidUtf8.into()),
            },
        }
    }

    /// The connection is to fail, unless it has ended meanwhile.
    fn fail(&mut self, error: Error) -> Option<Message> {
        self.state = State::Failed(error.clone());
        self.shared.outbox.fail(error);
        None
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<MessageOrChunk, Error>>> {
        loop {
            ready!(self.poll_budget(cx));
            if self.batch.is_empty()
                && let Refilled::End(end) = ready!(self.poll_refill(ControlFrames::Hidden, cx))
            {
                return Poll::Ready(end.map(Err));
            }
            if let Some(item) = self.next_item() {
                return Poll::Ready(Some(Ok(item)));
            }
        }
    }

    /// A receiver that never has to wait lets others run all the same.
    #[inline]
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.handed_out >= work::PER_STEP {
            ready!(coop::poll_proceed(cx)).made_progress();
            self.handed_out = 0;
        }
        Poll::Ready(())
    }

    /// Takes what has come from the inbox. `control`: whether a control frame is enough.
    #[inline]
    fn poll_refill(&mut self, control: ControlFrames, cx: &mut Context<'_>) -> Poll<Refilled> {
        if self.has_ended() {
            return Poll::Ready(Refilled::End(None));
        }
        let released = std::mem::take(&mut self.released);
        let taken = ready!(self.shared.inbox.poll_take(&mut self.batch, released, control, cx));
        Poll::Ready(match taken {
            Some(end) => Refilled::End(self.end(end).err()),
            None => Refilled::More,
        })
    }

    /// The next item, if it is there, unless the connection has failed by what came before.
    #[inline]
    fn next_item(&mut self) -> Option<MessageOrChunk> {
        let item = self.pop();
        self.release();
        item.filter(|_| !matches!(self.state, State::Failed(_)))
    }

    /// The connection has ended. What was found wrong here comes first; behind an error comes an end without one.
    fn end(&mut self, end: Result<(), Error>) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::BetweenMessages);
        if let State::Failed(error) = state {
            return Err(error);
        }
        end?;
        self.state = State::Ended;
        Ok(())
    }

    fn pop(&mut self) -> Option<MessageOrChunk> {
        if self.batch.is_frame_due() {
            self.shared.inbox.drop_frames(&mut self.batch);
        }
        let Arrived { item, cost } = self.batch.pop()?;
        if self.shared.inbox.times_takes() {
            self.shared.inbox.note_take(cost);
        }
        self.released += cost;
        self.handed_out += 1;
        Some(item)
    }
}

/// What came of a look into the inbox.
enum Refilled {
    More,
    /// The connection has ended, with its one error.
    End(Option<Error>),
}

/// A chunk for a reader, which limits of messages do not bound.
fn for_reader(kind: Kind, data: Bytes, fin: bool) -> Chunk {
    Chunk { kind, data, fin, excess: None }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.shared.inbox.drop_receiver();
    }
}
