//! A connection on which nothing moves costs its task nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Sink, StreamExt, future::poll_fn};
use testkit::{
    frame::{BINARY, PING, PONG, encode},
    script_io::{Step, script_io},
    task::Task,
};
use tokio::time::sleep;
use wsflow::{Config, Message, WebSocketStream};

/// What waits for a transport that stands still.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// A message of so many bytes was not taken; `0`: none is sent.
    output: usize,
    /// As many bytes of a frame of `FRAME` bytes have come.
    input: usize,
    /// A task of its own waits in a flush.
    has_writer: bool,
}

const FRAME: usize = 8 * 1024;

/// Large buffers are given back when nothing has moved for a while. Where they hold something they cannot be, and looking
/// again and again changes nothing.
#[tokio::test(start_paused = true)]
async fn nothing_moves_and_nobody_wakes() {
    let half = FRAME / 2;
    for waits in [
        Waits { output: 5 * 1024, input: 0, has_writer: false },
        Waits { output: 100 * 1024, input: 0, has_writer: false },
        Waits { output: 1024 * 1024, input: 0, has_writer: false },
        Waits { output: 0, input: half, has_writer: false },
        // More than the buffer begins with.
        Waits { output: 0, input: FRAME - 1, has_writer: false },
        Waits { output: 100 * 1024, input: half, has_writer: false },
        Waits { output: 100 * 1024, input: 0, has_writer: true },
        Waits { output: 100 * 1024, input: half, has_writer: true },
    ] {
        stands_still(waits).await;
    }
}

async fn stands_still(waits: Waits) {
    let (io, script) = script_io();
    // A ping would move something.
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().keepalive_interval(None));
    let frame = encode(true, 0, BINARY, &[7; FRAME]);
    script.writes([], Step::Pending);
    script.input(&frame[..waits.input]);
    if waits.output > 0 {
        Pin::new(&mut ws).start_send(Message::binary(vec![8; waits.output])).unwrap();
        assert!(Task::new().poll(|cx| Pin::new(&mut ws).poll_flush(cx)).is_pending());
    }
    let (mut sink, mut stream) = ws.split();

    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let reader = tokio::spawn(async move {
        let message = poll_fn(|cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            stream.poll_next_unpin(cx)
        });
        message.await.unwrap().unwrap()
    });
    let counted = Arc::clone(&polls);
    let writer = waits.has_writer.then(|| {
        tokio::spawn(async move {
            let flush = poll_fn(|cx| {
                counted.fetch_add(1, Ordering::Relaxed);
                Pin::new(&mut sink).poll_flush(cx)
            });
            flush.await.unwrap();
        })
    });
    sleep(Duration::from_secs(600)).await;
    let tasks = 1 + usize::from(waits.has_writer);
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= 3 * tasks, "{waits:?}: polled {polls} times in 600 s");

    // They sleep no deeper than before.
    script.writes([], Step::Ready);
    script.wake_write();
    if let Some(writer) = writer {
        writer.await.unwrap();
    }
    script.input(&frame[waits.input..]);
    assert_eq!(reader.await.unwrap(), Message::binary(vec![7; FRAME]));
    let sent = if waits.output > 0 { vec![(false, vec![8; waits.output])] } else { vec![] };
    assert!(script.wire().messages() == sent, "{waits:?}: another message than was sent");
}

/// Keepalive wakes its task for the ping, for the pong, and where the timer was set too early.
#[tokio::test(start_paused = true)]
async fn keepalive_wakes_its_task_three_times_per_interval() {
    let (io, script) = script_io();
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let reader = tokio::spawn(async move {
        poll_fn(|cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            ws.poll_next_unpin(cx)
        })
        .await
    });
    const ROUNDS: usize = 100;
    for round in 1..=ROUNDS {
        sleep(Duration::from_millis(30_010)).await;
        let wire = script.wire();
        let pings = wire.payloads(PING);
        assert_eq!(pings.len(), round);
        script.frame(PONG, pings[round - 1]);
    }
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= 3 * ROUNDS + 1, "polled {polls} times in {ROUNDS} intervals");
    reader.abort();
}
