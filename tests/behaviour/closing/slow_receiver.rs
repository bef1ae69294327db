//! A close over halves whose receiver is slow: the peer has its time while the application takes what came before.

use std::time::Duration;

use futures::StreamExt as _;
use testkit::{frame, peer::Peer};
use tokio::time::{Instant, sleep};
use wsflow::{CloseFrame, Config, Error, Receiver, Sender, WebSocketStream};

const TIMEOUT: Duration = Duration::from_secs(10);
const MESSAGES: usize = 300;

/// Halves, and the server's messages of 1 KiB on their way. Of these little more than 10 are read ahead.
fn connect() -> (Sender, Receiver, Peer<tokio::io::DuplexStream>) {
    let (peer, io) = Peer::pipe(1 << 20);
    let config = Config::default()
        .close_timeout(TIMEOUT)
        .keepalive_interval(None)
        .read_high_water_mark(10 << 10)
        .read_buffer_max(4 << 10);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    (sender, receiver, peer)
}

async fn pour(peer: &mut Peer<tokio::io::DuplexStream>) {
    for i in 0..MESSAGES {
        peer.binary([&[i as u8], &[0; 1023][..]].concat()).await;
    }
}

/// It answers the Close behind its messages, as it should. It takes ten a second: 30 s in all.
#[tokio::test(start_paused = true)]
async fn a_slow_receiver_gets_all_that_came_before_the_answer() {
    let (sender, mut receiver, mut peer) = connect();
    pour(&mut peer).await;
    let closing = tokio::spawn(async move { sender.close_with(CloseFrame::new(1000, "")).await });
    peer.expect_close(1000, "").await;
    peer.close(1000, "").await;
    let mut received = 0;
    while let Some(message) = receiver.next().await {
        assert_eq!(message.unwrap().as_bytes()[0], received as u8);
        received += 1;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(received, MESSAGES);
    assert!(closing.await.unwrap().unwrap().is_normal());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_does_not_hold_the_end_up() {
    let (sender, receiver, mut peer) = connect();
    pour(&mut peer).await;
    let begun = Instant::now();
    let closed = sender.close_with(CloseFrame::new(1000, "")).await.unwrap();
    assert_eq!((begun.elapsed(), closed.was_clean), (TIMEOUT, false));
    drop(receiver);
}

/// It takes some, and no more: the time runs from the last that it took.
#[tokio::test(start_paused = true)]
async fn the_time_runs_from_the_last_message_that_was_taken() {
    let (sender, mut receiver, mut peer) = connect();
    pour(&mut peer).await;
    let closing = tokio::spawn(async move { sender.close_with(CloseFrame::new(1000, "")).await });
    peer.expect_close(1000, "").await;
    for _ in 0..5 {
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        receiver.next().await.unwrap().unwrap();
    }
    let last = Instant::now();
    assert!(!closing.await.unwrap().unwrap().was_clean);
    assert_eq!(last.elapsed(), TIMEOUT);
}

/// A server that goes on talking and does not answer: what comes is taken at once, and is no answer.
#[tokio::test(start_paused = true)]
async fn what_arrives_and_is_taken_at_once_does_not_hold_the_end_up() {
    let (sender, mut receiver, mut peer) = connect();
    let receiving = tokio::spawn(async move { while let Some(Ok(_)) = receiver.next().await {} });
    let begun = Instant::now();
    let closing = tokio::spawn(async move { sender.close_with(CloseFrame::new(1000, "")).await });
    peer.expect_close(1000, "").await;
    let talking = tokio::spawn(async move {
        loop {
            peer.frame(true, 0, frame::BINARY, [7; 100]).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(!closing.await.unwrap().unwrap().was_clean);
    assert_eq!(begun.elapsed(), TIMEOUT);
    talking.abort();
    receiving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_still_told_as_the_deadline() {
    let (sender, mut receiver, mut peer) = connect();
    let closing = tokio::spawn(async move { sender.close_with(CloseFrame::new(1000, "")).await });
    peer.expect_close(1000, "").await;
    assert_eq!(closing.await.unwrap().unwrap().code, 1006);
    assert!(matches!(receiver.next().await, Some(Err(Error::Timeout { .. }))));
}
