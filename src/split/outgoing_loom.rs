//! Every interleaving of a few senders and a driver, by loom: `tests/loom.sh`.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use loom::{future::block_on, sync::Arc, thread};

use super::Outgoing;
use crate::{
    close::CloseFrame,
    driver::{Queue, Queued, Sent},
    error::Error,
    message::{Kind, Message},
    protocol::{Compression, Part, Place, ReadyState},
    stats::Stats,
    stopwatch::Stopwatch,
};

/// Room for one message of one byte.
fn outgoing() -> Arc<Outgoing> {
    Arc::new(Outgoing::new(40, ReadyState::Open, Stats::default()))
}

fn message() -> Queued {
    Message::text("x").into()
}

fn try_send(outgoing: &Outgoing) {
    outgoing.try_send(Message::text("x"), Compression::Allowed).unwrap();
}

fn send(outgoing: &Arc<Outgoing>) -> thread::JoinHandle<Result<(), Error>> {
    let outgoing = Arc::clone(outgoing);
    thread::spawn(move || block_on(outgoing.send(message())))
}

/// A driver whose transport takes all, until it has taken so many messages, or more. Returns how many.
fn drive(outgoing: &Outgoing, messages: u64) -> u64 {
    let mut taken = 0;
    while taken < messages {
        let batch = block_on(poll_fn(|cx| {
            let mut batch = VecDeque::new();
            outgoing.take(&mut batch, cx);
            if batch.is_empty() { Poll::Pending } else { Poll::Ready(batch) }
        }));
        let n = batch.len() as u64;
        outgoing.update(
            Sent { entries: n, payload: n },
            true,
            ReadyState::Open,
            (Stats::default(), Stopwatch::default()),
        );
        taken += n;
    }
    taken
}

#[test]
fn whoever_waits_for_room_gets_it_and_all_room_comes_back() {
    loom::model(|| {
        let outgoing = outgoing();
        let senders = [send(&outgoing), send(&outgoing)];
        drive(&outgoing, 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
        assert_eq!(outgoing.buffered_amount(), 0);
        try_send(&outgoing);
    });
}

#[test]
fn a_send_that_is_dropped_while_room_comes_leaves_nothing_behind() {
    loom::model(|| {
        let outgoing = outgoing();
        try_send(&outgoing);
        let dropped = thread::spawn({
            let outgoing = Arc::clone(&outgoing);
            move || {
                let mut sent = Box::pin(outgoing.send(message()));
                let _ = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        });
        let waiting = send(&outgoing);
        // The first, the one that waits, and perhaps the one that was dropped.
        drive(&outgoing, 2);
        waiting.join().unwrap().unwrap();
        dropped.join().unwrap();
        let left = outgoing.buffered_amount();
        drive(&outgoing, left);
        try_send(&outgoing);
    });
}

#[test]
fn a_flush_ends_when_all_before_it_has_left() {
    loom::model(|| {
        let outgoing = outgoing();
        let flushed = thread::spawn({
            let outgoing = Arc::clone(&outgoing);
            move || {
                block_on(outgoing.send(message())).unwrap();
                block_on(outgoing.flush()).unwrap();
                assert_eq!(outgoing.buffered_amount(), 0);
            }
        });
        drive(&outgoing, 1);
        flushed.join().unwrap();
    });
}

#[test]
fn a_close_reaches_who_waits_and_the_driver() {
    loom::model(|| {
        let outgoing = outgoing();
        try_send(&outgoing);
        let waiting = send(&outgoing);
        let closing = thread::spawn({
            let outgoing = Arc::clone(&outgoing);
            move || outgoing.close(CloseFrame::empty())
        });
        block_on(poll_fn(|cx| {
            let mut batch = VecDeque::new();
            outgoing.take(&mut batch, cx);
            if outgoing.take_close().is_some() { Poll::Ready(()) } else { Poll::Pending }
        }));
        // Its room was not given back, so it waits in vain.
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closing)));
        closing.join().unwrap();
    });
}

#[test]
fn a_turn_that_is_given_up_unseen_lets_others_go_on() {
    loom::model(|| {
        let outgoing = outgoing();
        try_send(&outgoing);
        let dropped = thread::spawn({
            let outgoing = Arc::clone(&outgoing);
            move || {
                let is_ready = {
                    let mut turn = Box::pin(outgoing.turn());
                    turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
                };
                // Whoever gets it ends it by its last part.
                if is_ready {
                    let part = Part { kind: Kind::Text, place: Place::Only, payload: BytesMut::from("x") };
                    outgoing.send_part(part, Compression::Allowed).unwrap();
                }
                u64::from(is_ready)
            }
        });
        let waiting = send(&outgoing);
        let taken = drive(&outgoing, 1);
        let parts = dropped.join().unwrap();
        drive(&outgoing, 2 + parts - taken);
        waiting.join().unwrap().unwrap();
        assert_eq!(outgoing.buffered_amount(), 0);
    });
}
