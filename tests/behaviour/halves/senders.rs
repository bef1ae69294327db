//! The senders of a connection that is split, their sinks and their writers: whose turn it is, what a flush covers, and what is
//! told of a message that cannot leave.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use futures::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    future::{Either, select},
    poll,
};
use testkit::{
    frame::{BINARY, CONTINUATION},
    peer::Peer,
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    sync::oneshot,
    task::yield_now,
    time::timeout,
};
use wsflow::{
    CloseFrame, Closed, Config, Error, Kind, Message, Receiver, Sender, SenderSink, TrySendError, WebSocketStream,
};

/// A small mark, and one that nothing here comes near to.
const MARKS: [usize; 2] = [1, 100_000];

/// Long after whatever is to happen, under a paused clock.
const LONG: Duration = Duration::from_secs(100);

/// The halves of a connection over a pipe that holds `capacity` bytes each way, with this mark of the senders.
fn halves(capacity: usize, mark: usize) -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, io) = Peer::pipe(capacity);
    let config = Config::default().write_high_water_mark(mark).keepalive_interval(None);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    (peer, sender, receiver)
}

/// Lets the other tasks do all that they can.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Polls once, after the other tasks have done all that they can.
async fn after_settling<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    settle().await;
    poll!(future)
}

async fn ready(sink: &mut SenderSink) {
    poll_fn(|cx| sink.poll_ready_unpin(cx)).await.expect("open");
}

fn binary(len: usize) -> Message {
    Message::binary(vec![7; len])
}

fn closed(code: u16, was_clean: bool) -> Closed {
    Closed::new(code, "", was_clean)
}

/// A part of a binary message, as a frame of its own.
async fn expect_part(peer: &mut Peer<DuplexStream>, fin: bool, opcode: u8, payload: &[u8]) {
    let frame = peer.expect_frame().await;
    assert_eq!((frame.fin, frame.opcode, &frame.payload[..]), (fin, opcode, payload));
}

// A sink and a writer.

#[tokio::test(start_paused = true)]
async fn what_a_ready_sink_sends_comes_behind_the_message_of_a_writer_that_has_the_turn() {
    for mark in MARKS {
        for sink_flushes_first in [true, false] {
            let (mut peer, sender, _receiver) = halves(1 << 16, mark);
            let mut sink = sender.sink();
            ready(&mut sink).await;
            let mut writing = sender.clone();
            let mut writer = writing.writer(Kind::Binary).await.unwrap();
            writer.write_all(b"one").await.unwrap();
            sink.start_send_unpin("behind".into()).unwrap();
            let mut flush = sink.flush();
            if sink_flushes_first {
                assert!(after_settling(&mut flush).await.is_pending());
            }
            let flushed = timeout(LONG, writer.flush()).await;
            assert!(matches!(flushed, Ok(Ok(()))), "it waits for what is behind it: {flushed:?}");
            expect_part(&mut peer, false, BINARY, b"one").await;
            assert!(after_settling(&mut flush).await.is_pending(), "its message has not left");
            writer.write_all(b"two").await.unwrap();
            // All but the part that is being filled: what is behind it has been taken.
            assert_eq!(sender.buffered_amount(), 6);
            timeout(LONG, writer.finish()).await.expect("it ends").unwrap();
            expect_part(&mut peer, true, CONTINUATION, b"two").await;
            peer.expect_text("behind").await;
            timeout(LONG, flush).await.expect("it ends").unwrap();
            assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 2));
            // All room is back.
            sender.try_send(binary(mark.saturating_sub(32))).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_sends_that_waited_for_room_before_a_writer_comes_behind_the_writers_message() {
    for mark in [1, 1000] {
        let (mut peer, sender, _receiver) = halves(1, mark);
        // The pipe takes one byte of it.
        sender.send(binary(968)).await.unwrap();
        let mut sink = sender.sink();
        let mut waiting = Box::pin(ready(&mut sink));
        assert!(after_settling(&mut waiting).await.is_pending());
        let (has_turn, mut turn) = oneshot::channel();
        let (go_on, gone_on) = oneshot::channel();
        let mut writing = sender.clone();
        let writer = tokio::spawn(async move {
            let mut writer = writing.writer(Kind::Binary).await.unwrap();
            writer.write_all(b"one").await.unwrap();
            has_turn.send(()).unwrap();
            gone_on.await.unwrap();
            writer.finish().await.unwrap();
        });
        settle().await;
        assert!(turn.try_recv().is_err(), "the sink waits before it");
        peer.expect_binary(vec![7; 968]).await;
        // Both have got what they waited for, and the sink has not looked.
        timeout(LONG, turn).await.expect("there is room").unwrap();
        timeout(LONG, waiting).await.expect("there is room");
        sink.start_send_unpin("behind".into()).unwrap();
        settle().await;
        go_on.send(()).unwrap();
        peer.expect_binary("one").await;
        peer.expect_text("behind").await;
        timeout(LONG, sink.flush()).await.expect("it ends").unwrap();
        writer.await.unwrap();
        assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_sent_behind_a_writer_that_is_dropped_is_told_and_counted() {
    for mark in MARKS {
        let (mut peer, sender, mut receiver) = halves(1 << 16, mark);
        let mut sink = sender.sink();
        ready(&mut sink).await;
        let mut writing = sender.clone();
        let mut writer = writing.writer(Kind::Binary).await.unwrap();
        writer.write_all(b"one").await.unwrap();
        timeout(LONG, writer.flush()).await.expect("it ends").unwrap();
        sink.start_send_unpin("behind".into()).unwrap();
        let mut flush = sink.flush();
        assert!(after_settling(&mut flush).await.is_pending());
        drop(writer);
        expect_part(&mut peer, false, BINARY, b"one").await;
        peer.expect_close(1011, "").await;
        peer.finish().await;
        let failed = timeout(LONG, flush).await.expect("it ends").unwrap_err();
        assert!(matches!(failed, Error::UnfinishedMessage), "{failed}");
        assert!(matches!(receiver.next().await, Some(Err(Error::UnfinishedMessage))));
        assert_eq!(sender.closed().await, closed(1006, false));
        assert_eq!(sender.buffered_amount(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_forgotten_is_abandoned_by_what_its_sender_does_next_or_by_a_close() {
    type Next = for<'a> fn(&'a mut Sender, &'a Sender) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
    let all: [(&str, Next); 8] = [
        ("send", |sender, _| {
            async { assert!(matches!(sender.send("late").await, Err(Error::UnfinishedMessage))) }.boxed_local()
        }),
        ("try_send", |sender, _| {
            async { assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late".into()))) }.boxed_local()
        }),
        // All that was queued has left.
        ("flush", |sender, _| async { sender.flush().await.unwrap() }.boxed_local()),
        ("ping", |sender, _| {
            async { assert!(matches!(sender.ping().await, Err(Error::UnfinishedMessage))) }.boxed_local()
        }),
        ("writer", |sender, _| {
            async { assert!(matches!(sender.writer(Kind::Text).await, Err(Error::UnfinishedMessage))) }.boxed_local()
        }),
        ("drop", |sender, other| async { drop(mem::replace(sender, other.clone())) }.boxed_local()),
        ("close", |sender, _| {
            // It waits for the end, and begins to close at once.
            async { assert!(poll!(Box::pin(sender.close_with(CloseFrame::empty()))).is_pending()) }.boxed_local()
        }),
        ("a clone's close", |_, other| {
            async { assert!(poll!(Box::pin(other.close_with(CloseFrame::empty()))).is_pending()) }.boxed_local()
        }),
    ];
    for (name, next) in all {
        for has_begun in [true, false] {
            let what = format!("{name}, a part has left: {has_begun}");
            let (mut peer, sender, mut receiver) = halves(1 << 16, 1000);
            let mut forgetful = sender.clone();
            let mut writer = forgetful.writer(Kind::Binary).await.unwrap();
            if has_begun {
                writer.write_all(b"one").await.unwrap();
                writer.flush().await.unwrap();
                expect_part(&mut peer, false, BINARY, b"one").await;
            }
            mem::forget(writer);
            let mut waiting = Box::pin(sender.send("waits"));
            let mut sink = sender.sink();
            let mut also = Box::pin(ready(&mut sink).map(drop));
            // Until then they wait, as behind a slow one.
            assert!(timeout(LONG, &mut waiting).await.is_err(), "{what}");
            assert!(after_settling(&mut also).await.is_pending(), "{what}");
            drop(also);
            peer.ping("x").await;
            peer.expect_pong("x").await;

            timeout(LONG, next(&mut forgetful, &sender)).await.unwrap_or_else(|_| panic!("{what}: it hangs"));
            let failed = timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what}: others hang")).unwrap_err();
            assert!(matches!(failed, Error::UnfinishedMessage), "{what}: {failed}");
            peer.expect_close(1011, "").await;
            peer.finish().await;
            assert!(matches!(receiver.next().await, Some(Err(Error::UnfinishedMessage))), "{what}");
            assert_eq!(timeout(LONG, sender.closed()).await.expect("it ends"), closed(1006, false), "{what}");
            assert_eq!(sender.buffered_amount(), 0, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_took_and_could_not_queue_since_the_peer_closed_stays_in_the_amount() {
    for ends in ["finish", "flush", "drop"] {
        let (mut peer, sender, mut receiver) = halves(1 << 16, 1000);
        let mut writing = sender.clone();
        let mut writer = writing.writer(Kind::Binary).await.unwrap();
        writer.write_all(&[7; 10]).await.unwrap();
        assert_eq!(writer.buffered_amount(), 10);
        peer.close(1001, "").await;
        peer.expect_close(1001, "").await;
        match ends {
            "finish" => assert!(writer.finish().await.is_err()),
            "flush" => assert!(writer.flush().await.is_err()),
            _ => drop(writer),
        }
        assert_eq!(sender.buffered_amount(), 10, "{ends}");
        peer.finish().await;
        assert_eq!(sender.closed().await, closed(1001, false), "{ends}");
        assert!(matches!(receiver.next().await, Some(Err(Error::Closed(_)))), "{ends}");
        assert_eq!(sender.buffered_amount(), 10, "{ends}");
    }
}

// A sink alone.

#[tokio::test]
async fn a_sink_that_never_has_to_wait_lets_other_tasks_run() {
    let (_peer, sender, _receiver) = halves(1, usize::MAX);
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Relaxed);
            yield_now().await;
        }
    });
    let mut sink = sender.sink();
    for _ in 0..50_000 {
        sink.feed(binary(1)).await.unwrap();
    }
    let turns = turns.load(Relaxed);
    assert!(turns >= 10, "the other task had {turns} turns");
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_a_sink_behind_a_dropped_one_covers_what_a_clone_has_sent_meanwhile() {
    for has_left in [true, false] {
        let (mut peer, sender, _receiver) = halves(1, 100_000);
        let mut sink = sender.sink();
        sink.feed(binary(100)).await.unwrap();
        assert!(after_settling(&mut sink.flush()).await.is_pending());
        if has_left {
            peer.expect_binary(vec![7; 100]).await;
            settle().await;
        }
        sender.send(binary(200)).await.unwrap();
        let mut flush = sink.flush();
        assert!(after_settling(&mut flush).await.is_pending(), "the first has left: {has_left}");
        if !has_left {
            peer.expect_binary(vec![7; 100]).await;
            assert!(after_settling(&mut flush).await.is_pending(), "the second has not left");
        }
        peer.expect_binary(vec![7; 200]).await;
        timeout(LONG, flush).await.expect("it ends").unwrap();
        assert_eq!(sender.buffered_amount(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_a_sink_ends_also_while_others_go_on_sending() {
    for in_one_task in [true, false] {
        let (mut peer, sender, _receiver) = halves(1, 1000);
        let mut sink = sender.sink();
        sink.feed(binary(300)).await.unwrap();
        let endless = async move { while sender.send(binary(50)).await.is_ok() {} };
        let reader = tokio::spawn(async move {
            loop {
                peer.expect_frame().await;
            }
        });
        let flush = async { timeout(Duration::from_secs(1), sink.flush()).await };
        let flushed = if in_one_task {
            // Each wakes the task, so that the flush is polled whenever something was sent.
            match select(Box::pin(flush), Box::pin(endless)).await {
                Either::Left((flushed, _)) => flushed,
                Either::Right(_) => panic!("it has ended"),
            }
        } else {
            tokio::spawn(endless);
            flush.await
        };
        assert!(matches!(flushed, Ok(Ok(()))), "in one task: {in_one_task}: {flushed:?}");
        reader.abort();
    }
}
