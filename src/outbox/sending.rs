//! Sending: what a sender wants it gets once there is room for it and it is its turn.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{task::coop, time::Instant};

use super::{
    Outbox, SenderId, TrySendError,
    entry::{self, Entry},
    state::{Aftermath, Phase, Want},
    waiters::{Place, Waiting},
};
use crate::{error::Error, message::Message, protocol::Compression};

/// Waits until a sender has what it wants. Dropped, it leaves neither a place nor a message behind.
#[derive(Debug)]
#[must_use = "nothing is sent unless it is polled"]
pub(crate) struct WaitForRoom<'a> {
    outbox: &'a Outbox,
    sender: SenderId,
    want: Option<Want>,
    place: Option<Place>,
}

impl Future for WaitForRoom<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { outbox, sender, want, place } = &mut *self;
        outbox.poll_room(*sender, want, place, cx)
    }
}

impl Drop for WaitForRoom<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.outbox.leave(place);
        }
    }
}

impl Outbox {
    /// Queues a message, if there is room for it and nobody waits.
    pub(crate) fn try_send(
        &self,
        sender: SenderId,
        message: Message,
        compression: Compression,
    ) -> Result<(), TrySendError> {
        self.change(|state, after| {
            state.abandon_forgotten(sender, after);
            if !matches!(state.phase, Phase::Open) {
                return Err(TrySendError::Closed(message));
            }
            if !state.is_free_for(entry::cost(message.len())) {
                return Err(TrySendError::Full(message));
            }
            state.push(Entry::Message(message, compression), after);
            Ok(())
        })
    }

    /// Queues a message, once there is room for it and it is its turn.
    #[inline]
    pub(crate) fn send(&self, sender: SenderId, message: Message, compression: Compression) -> WaitForRoom<'_> {
        let want = Want::Message(Entry::Message(message, compression));
        WaitForRoom { outbox: self, sender, want: Some(want), place: None }
    }

    /// Waits for the turn, which no other sender has then until it is given up.
    pub(crate) fn begin_message(&self, sender: SenderId) -> WaitForRoom<'_> {
        WaitForRoom { outbox: self, sender, want: Some(Want::Turn(sender)), place: None }
    }

    /// Ready when the sender has got what it wants, or never will.
    pub(super) fn poll_room(
        &self,
        sender: SenderId,
        want: &mut Option<Want>,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if let Some(at) = *place {
            let answer = self.poll_place(at, cx);
            if answer.is_ready() {
                *place = None;
            }
            return answer;
        }
        let mut after = Aftermath::default();
        let mut may_go_on = false;
        loop {
            let answer = self.state.look(cx, |state, task| {
                state.abandon_forgotten(sender, &mut after);
                // A sender that never has to wait lets others run all the same.
                if !may_go_on && state.is_step_due() {
                    return Ok(None);
                }
                if let Err(error) = state.check_open() {
                    return Ok(Some(Poll::Ready(Err(error))));
                }
                if state.is_free_for(want.as_ref().map_or(0, Want::cost)) {
                    if let Some(want) = want.take() {
                        state.admit(want, None, &mut after);
                    }
                    return Ok(Some(Poll::Ready(Ok(()))));
                }
                *place = state.waiters.wait(want, task)?;
                state.write_wait.start(Instant::now);
                Ok(Some(Poll::Pending))
            });
            after.settle();
            match answer {
                Some(answer) => return answer,
                None => ready!(coop::poll_proceed(cx)).made_progress(),
            }
            may_go_on = true;
        }
    }

    fn poll_place(&self, place: Place, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.state.look(cx, |state, task| {
            Ok(match state.waiters.poll(place, task)? {
                Waiting::Waits => Poll::Pending,
                Waiting::Granted => Poll::Ready(Ok(())),
                Waiting::InVain => {
                    Poll::Ready(Err(state.check_open().err().unwrap_or(Error::Closing { by_peer: None })))
                }
            })
        })
    }

    /// Somebody does not wait for room any more: others may have room now.
    pub(super) fn leave(&self, place: Place) {
        let left = self.change(|state, after| {
            let left = state.waiters.leave(place);
            // It may have got the turn, and never seen it.
            if state.turn.as_ref().is_some_and(|turn| turn.place == Some(place)) {
                state.end_turn(after);
            }
            state.grant(after);
            left
        });
        drop(left);
    }
}
