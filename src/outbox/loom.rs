//! Every interleaving of a few senders and a task, by loom: `tests/loom.sh`.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use loom::{future::block_on, sync::Arc, thread};

use super::{Amount, Entry, Failure, Outbox, PartWriter, Report, SenderId, SinkFlush, Taken};
use crate::{
    close::CloseFrame,
    error::Error,
    message::{Kind, Message},
    protocol::{Compression, Part, Place, ReadyState},
    stats::Stats,
    stopwatch::Stopwatch,
};

const ONE: SenderId = SenderId(1);
const TWO: SenderId = SenderId(2);

/// Room for one message of one byte.
fn outbox() -> Arc<Outbox> {
    Arc::new(Outbox::new(40, all_has_left(), Duration::ZERO))
}

fn message(text: &'static str) -> Message {
    Message::text(text)
}

fn part(place: Place, text: &'static str) -> Part {
    Part { kind: Kind::Text, place, payload: BytesMut::from(text) }
}

fn try_send(outbox: &Outbox) {
    outbox.try_send(ONE, Message::text("x"), Compression::Allowed).unwrap();
}

fn send(outbox: &Arc<Outbox>, sender: SenderId) -> thread::JoinHandle<Result<(), Error>> {
    let outbox = Arc::clone(outbox);
    thread::spawn(move || block_on(outbox.send(sender, message("x"), Compression::Allowed)))
}

/// What was taken: texts in their order.
fn texts(taken: &mut Taken) -> Vec<String> {
    let text = |(_, entry)| match entry {
        Entry::Message(message, _) => message.as_text().unwrap().to_owned(),
        Entry::Part(part, _) => String::from_utf8(part.payload.to_vec()).unwrap(),
    };
    taken.entries.drain(..).map(text).collect()
}

fn all_has_left() -> Report {
    Report {
        ready_state: ReadyState::Open,
        queued: Amount::default(),
        is_flushed: true,
        send_error: None,
        peer_close: None,
        unsent_pings: 0,
        stats: Stats::default(),
        read_pause: Stopwatch::default(),
    }
}

/// All that was taken has left.
fn report(outbox: &Outbox) {
    outbox.report(all_has_left());
}

/// Looks until `is_it`, or until there is nothing new.
fn look(outbox: &Outbox, taken: &mut Taken, cx: &Context<'_>, mut is_it: impl FnMut(&mut Taken) -> bool) -> Poll<()> {
    loop {
        outbox.take(Some(1000), taken);
        if is_it(taken) {
            return Poll::Ready(());
        }
        if outbox.wait(cx) {
            return Poll::Pending;
        }
    }
}

/// A task whose transport takes all, until it has taken so many entries, or more. Returns them.
fn drive(outbox: &Outbox, entries: usize) -> Vec<String> {
    let mut left = Vec::new();
    while left.len() < entries {
        let mut taken = Taken::default();
        block_on(poll_fn(|cx| look(outbox, &mut taken, cx, |taken| !taken.entries.is_empty())));
        left.extend(texts(&mut taken));
        report(outbox);
    }
    left
}

/// A task that sleeps until it was asked for something of which `is_it` knows.
fn wait_for(outbox: &Outbox, mut is_it: impl FnMut(&mut Taken) -> bool) {
    let mut taken = Taken::default();
    block_on(poll_fn(|cx| look(outbox, &mut taken, cx, &mut is_it)));
}

/// In a thread of its own.
fn meanwhile(outbox: &Arc<Outbox>, ask: impl FnOnce(&Outbox) + 'static) -> thread::JoinHandle<()> {
    let outbox = Arc::clone(outbox);
    thread::spawn(move || ask(&outbox))
}

#[test]
fn whoever_waits_for_room_gets_it_and_all_room_comes_back() {
    loom::model(|| {
        let outbox = outbox();
        let senders = [send(&outbox, ONE), send(&outbox, TWO)];
        drive(&outbox, 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
        assert_eq!(outbox.buffered_amount(), 0);
        try_send(&outbox);
    });
}

#[test]
fn a_send_that_is_dropped_while_room_comes_leaves_nothing_behind() {
    loom::model(|| {
        let outbox = outbox();
        try_send(&outbox);
        let dropped = meanwhile(&outbox, |outbox| {
            let mut sent = Box::pin(outbox.send(ONE, message("x"), Compression::Allowed));
            let _ = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        let waiting = send(&outbox, TWO);
        // The first, the one that waits, and perhaps the one that was dropped.
        drive(&outbox, 2);
        waiting.join().unwrap().unwrap();
        dropped.join().unwrap();
        let left = outbox.buffered_amount();
        drive(&outbox, left as usize);
        try_send(&outbox);
    });
}

#[test]
fn a_flush_ends_when_all_before_it_has_left() {
    loom::model(|| {
        let outbox = outbox();
        let flushed = meanwhile(&outbox, |outbox| {
            block_on(outbox.send(ONE, message("x"), Compression::Allowed)).unwrap();
            block_on(outbox.flush(ONE)).unwrap();
            assert_eq!(outbox.buffered_amount(), 0);
        });
        drive(&outbox, 1);
        flushed.join().unwrap();
    });
}

#[test]
fn a_close_reaches_who_waits_and_the_task() {
    loom::model(|| {
        let outbox = outbox();
        try_send(&outbox);
        let waiting = send(&outbox, TWO);
        let closing = meanwhile(&outbox, |outbox| _ = outbox.close(CloseFrame::empty()));
        wait_for(&outbox, |taken| taken.close.is_some());
        // Its room was not given back, so it waits in vain.
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closing { .. })));
        closing.join().unwrap();
    });
}

#[test]
fn two_pings_at_the_same_time_both_reach_the_task() {
    loom::model(|| {
        let outbox = outbox();
        let ping = |sender| meanwhile(&outbox, move |outbox| drop(outbox.ping(sender, None).unwrap()));
        let asked = [ping(ONE), ping(TWO)];
        let mut pings = 0;
        wait_for(&outbox, |taken| {
            pings += taken.control.take().map_or(0, |control| control.pings.len());
            pings == 2
        });
        asked.into_iter().for_each(|asked| asked.join().unwrap());
    });
}

#[test]
fn a_failure_reaches_the_task() {
    loom::model(|| {
        let outbox = outbox();
        let failing = meanwhile(&outbox, |outbox| outbox.fail(Error::InvalidText));
        wait_for(&outbox, |taken| matches!(taken.failure.as_deref(), Some(Failure::Failed(_))));
        failing.join().unwrap();
    });
}

#[test]
fn an_abort_reaches_the_task_whatever_failed_before() {
    loom::model(|| {
        let outbox = outbox();
        let abort = |outbox: &Outbox| {
            outbox.abort();
        };
        let aborting = [meanwhile(&outbox, abort), meanwhile(&outbox, |outbox| outbox.fail(Error::InvalidText))];
        wait_for(&outbox, |taken| matches!(taken.failure.as_deref(), Some(Failure::Aborted)));
        aborting.into_iter().for_each(|aborting| aborting.join().unwrap());
    });
}

#[test]
fn a_message_that_is_abandoned_or_closed_over_reaches_the_task() {
    for is_closed in [false, true] {
        loom::model(move || {
            let outbox = outbox();
            block_on(outbox.begin_message(ONE)).unwrap();
            let ending = meanwhile(&outbox, move |outbox| {
                if is_closed {
                    outbox.close(CloseFrame::empty());
                } else {
                    PartWriter::new(outbox, ONE, Compression::Allowed).abandon(0);
                }
            });
            let waiting = send(&outbox, TWO);
            wait_for(&outbox, |taken| matches!(taken.failure.as_deref(), Some(Failure::Abandoned)));
            waiting.join().unwrap().unwrap_err();
            ending.join().unwrap();
        });
    }
}

#[test]
fn the_drop_of_the_last_sender_reaches_the_task() {
    loom::model(|| {
        let outbox = outbox();
        let dropped = meanwhile(&outbox, |outbox| outbox.remove_sender(Outbox::FIRST_SENDER));
        wait_for(&outbox, |taken| !taken.has_senders);
        dropped.join().unwrap();
    });
}

#[test]
fn what_a_sink_sends_never_stands_within_a_message_in_parts() {
    loom::model(|| {
        let outbox = outbox();
        let sinking = meanwhile(&outbox, |outbox| {
            let mut place = None;
            block_on(poll_fn(|cx| outbox.poll_sink_ready(TWO, &mut place, cx))).unwrap();
            outbox.send_ready(Message::text("sink"), Compression::Allowed).unwrap();
        });
        block_on(outbox.begin_message(ONE)).unwrap();
        let mut parts = PartWriter::new(&outbox, ONE, Compression::Allowed);
        parts.start_send(part(Place::First, "first")).unwrap();
        parts.start_send(part(Place::Last, "last")).unwrap();
        let left = drive(&outbox, 3).join(" ");
        assert!(["first last sink", "sink first last"].contains(&&left[..]), "{left}");
        sinking.join().unwrap();
        assert_eq!(outbox.buffered_amount(), 0);
    });
}

#[test]
fn a_sink_is_flushed_once_what_it_sent_behind_a_message_in_parts_has_left() {
    loom::model(|| {
        let outbox = outbox();
        block_on(poll_fn(|cx| outbox.poll_sink_ready(TWO, &mut None, cx))).unwrap();
        block_on(outbox.begin_message(ONE)).unwrap();
        outbox.send_ready(Message::text("sink"), Compression::Allowed).unwrap();
        let flushing = meanwhile(&outbox, |outbox| {
            let mut flush = SinkFlush::default();
            block_on(poll_fn(|cx| outbox.poll_sink_flush(&mut flush, cx))).unwrap();
            assert_eq!(outbox.buffered_amount(), 0);
        });
        PartWriter::new(&outbox, ONE, Compression::Allowed).start_send(part(Place::Only, "only")).unwrap();
        assert_eq!(drive(&outbox, 2), ["only", "sink"]);
        flushing.join().unwrap();
    });
}

#[test]
fn a_turn_that_is_given_up_unseen_lets_others_go_on() {
    loom::model(|| {
        let outbox = outbox();
        try_send(&outbox);
        let dropped = thread::spawn({
            let outbox = Arc::clone(&outbox);
            move || {
                let is_ready = {
                    let mut turn = Box::pin(outbox.begin_message(ONE));
                    turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
                };
                // Whoever gets it ends it by its last part.
                if is_ready {
                    let mut parts = PartWriter::new(&outbox, ONE, Compression::Allowed);
                    parts.start_send(part(Place::Only, "x")).unwrap();
                }
                usize::from(is_ready)
            }
        });
        let waiting = send(&outbox, TWO);
        let taken = drive(&outbox, 1).len();
        let parts = dropped.join().unwrap();
        drive(&outbox, 2 + parts - taken);
        waiting.join().unwrap().unwrap();
        assert_eq!(outbox.buffered_amount(), 0);
    });
}
