//! Backpressure as a time: how long the transport was not read, and how long who sends waited for room.

use std::{future::poll_fn, pin::Pin, time::Duration};

use futures::{Sink as _, SinkExt as _, StreamExt as _, poll};
use testkit::{
    frame::{TEXT, encode},
    peer::Peer,
};
use tokio::{
    io::DuplexStream,
    task::yield_now,
    time::{advance, timeout},
};
use wsflow::{Config, Error, Kind, Message, Receiver, Sender, WebSocketStream};

fn whole(config: Config) -> (Peer<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (peer, io) = Peer::pipe(64);
    (peer, WebSocketStream::from_upgraded(io, config))
}

fn halves(config: Config) -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, stream) = whole(config);
    let (sender, receiver) = stream.into_split();
    (peer, sender, receiver)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn pass(time: u64) {
    settle().await;
    advance(seconds(time)).await;
    settle().await;
}

/// Lets the other tasks do all that they can.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn binary(len: usize) -> Message {
    Message::binary(vec![7; len])
}

async fn room(ws: &mut WebSocketStream<DuplexStream>) -> Result<(), Error> {
    poll_fn(|cx| Pin::new(&mut *ws).poll_ready(cx)).await
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_held_back_from_a_read_that_brought_bytes_to_the_next() {
    let (mut peer, mut ws) = whole(Config::default());
    pass(1).await;
    peer.text("one").await;
    peer.text("two").await;
    assert_eq!(ws.stats().read_held_back, Duration::ZERO, "nothing was read");
    assert_eq!(ws.next().await.unwrap().unwrap(), "one".into());
    pass(3).await;
    assert_eq!(ws.next().await.unwrap().unwrap(), "two".into());
    pass(2).await;
    assert_eq!(ws.stats().read_held_back, seconds(5), "it counts while it lasts");
    timeout(seconds(7), ws.next()).await.expect_err("there is nothing more");
    pass(4).await;
    assert_eq!(ws.stats().read_held_back, seconds(5), "the transport was empty");
    // The time goes on where it was, and ends with the connection.
    peer.text("three").await;
    assert_eq!(ws.next().await.unwrap().unwrap(), "three".into());
    pass(1).await;
    drop(peer);
    ws.next().await.unwrap().expect_err("the transport has ended");
    pass(9).await;
    assert_eq!(ws.stats().read_held_back, seconds(6));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_with_the_handshake_hold_the_peer_back_from_the_start() {
    let (_peer, io) = Peer::pipe(64);
    let parts = wsflow::UpgradedParts::new(io).read_buf(encode(true, 0, TEXT, b"early"));
    let mut ws = WebSocketStream::from_upgraded_parts(parts).unwrap();
    pass(2).await;
    assert_eq!(ws.next().await.unwrap().unwrap(), "early".into());
    assert_eq!(ws.stats().read_held_back, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn who_writes_is_held_back_from_asking_for_room_until_there_is_some() {
    let (mut peer, mut ws) = whole(Config::default().write_high_water_mark(1000));
    ws.feed(binary(1000)).await.unwrap();
    pass(3).await;
    assert_eq!(ws.stats().write_held_back, Duration::ZERO, "nobody has asked for room");
    assert!(poll!(Box::pin(room(&mut ws))).is_pending());
    pass(4).await;
    assert_eq!(ws.stats().write_held_back, seconds(4), "it counts while it lasts");
    let (ready, message) = tokio::join!(room(&mut ws), peer.expect_message());
    ready.unwrap();
    assert_eq!(message.1.len(), 1000);
    pass(5).await;
    assert_eq!(ws.stats().write_held_back, seconds(4), "there is room");
}

#[tokio::test(start_paused = true)]
async fn room_that_the_reader_makes_ends_the_wait_of_who_writes() {
    let (mut peer, mut ws) = whole(Config::default().write_high_water_mark(1000));
    ws.feed(binary(1000)).await.unwrap();
    assert!(poll!(Box::pin(room(&mut ws))).is_pending());
    pass(4).await;
    // Whoever has asked is gone; the reader writes.
    let reading = timeout(seconds(5), ws.next());
    let (idle, _) = tokio::join!(reading, peer.expect_message());
    idle.expect_err("nothing comes");
    assert_eq!(ws.stats().write_held_back, seconds(4));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_ends_with_the_connection() {
    let (peer, mut ws) = whole(Config::default().write_high_water_mark(1000));
    ws.feed(binary(1000)).await.unwrap();
    assert!(poll!(Box::pin(room(&mut ws))).is_pending());
    pass(4).await;
    drop(peer);
    room(&mut ws).await.expect_err("nothing can be sent any more");
    pass(5).await;
    assert_eq!(ws.stats().write_held_back, seconds(4));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_holds_the_peer_back_once_its_queue_is_full() {
    let (mut peer, sender, mut receiver) = halves(Config::default().read_high_water_mark(100));
    peer.binary([1; 10]).await;
    pass(3).await;
    assert_eq!(receiver.stats().read_held_back, Duration::ZERO, "there is room: the task has read on");
    for _ in 0..2 {
        peer.binary([1; 50]).await;
        settle().await;
    }
    pass(4).await;
    assert_eq!(sender.stats().read_held_back, seconds(4), "the task does not read");
    for _ in 0..3 {
        receiver.next().await.unwrap().unwrap();
    }
    timeout(seconds(5), receiver.next()).await.expect_err("there is nothing more");
    assert_eq!(receiver.stats().read_held_back, seconds(4));
}

#[tokio::test(start_paused = true)]
async fn senders_are_held_back_while_one_or_more_of_them_wait() {
    let (mut peer, sender, _receiver) = halves(Config::default().write_high_water_mark(1032));
    sender.send(binary(1000)).await.unwrap();
    pass(3).await;
    assert_eq!(sender.stats().write_held_back, Duration::ZERO, "nobody waits");
    let (mut first, mut second) = (Box::pin(sender.send(binary(900))), Box::pin(sender.send(binary(100))));
    assert!(poll!(&mut first).is_pending());
    pass(2).await;
    assert!(poll!(&mut second).is_pending());
    pass(2).await;
    assert_eq!(sender.stats().write_held_back, seconds(4), "two that wait at once count once");
    // Who does not wait any more is not held back.
    drop((first, second));
    pass(5).await;
    assert_eq!(sender.stats().write_held_back, seconds(4));
    let mut third = Box::pin(sender.send(binary(1000)));
    assert!(poll!(&mut third).is_pending());
    pass(1).await;
    assert_eq!(peer.expect_message().await.1.len(), 1000);
    third.await.unwrap();
    pass(5).await;
    assert_eq!(sender.stats().write_held_back, seconds(5));
    // As is who waits when the connection ends.
    let mut fourth = Box::pin(sender.send(binary(1000)));
    assert!(poll!(&mut fourth).is_pending());
    pass(1).await;
    drop(peer);
    fourth.await.expect_err("nothing can be sent any more");
    pass(5).await;
    assert_eq!(sender.stats().write_held_back, seconds(6));
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_a_half_is_held_back_between_its_frames() {
    let config = Config::default().write_high_water_mark(1032).fragment_size(500);
    let (mut peer, sender, _receiver) = halves(config);
    let mut writing = sender.clone();
    let mut writer = writing.writer(Kind::Binary).await.unwrap();
    let writing = async {
        tokio::io::AsyncWriteExt::write_all(&mut writer, &[7; 4000]).await.unwrap();
        writer.finish().await
    };
    let mut writing = Box::pin(writing);
    assert!(poll!(&mut writing).is_pending());
    pass(2).await;
    assert_eq!(sender.stats().write_held_back, seconds(2));
    let (finished, message) = tokio::join!(writing, peer.expect_message());
    finished.unwrap();
    assert_eq!(message.1.len(), 4000);
    pass(5).await;
    assert_eq!(sender.stats().write_held_back, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_before_a_split_goes_on_in_the_halves() {
    let (mut peer, mut ws) = whole(Config::default().write_high_water_mark(1000));
    peer.text("one").await;
    ws.next().await.unwrap().unwrap();
    pass(2).await;
    ws.feed(binary(1000)).await.unwrap();
    assert!(poll!(Box::pin(room(&mut ws))).is_pending());
    pass(3).await;
    let (sender, _receiver) = ws.into_split();
    assert_eq!(peer.expect_message().await.1.len(), 1000);
    pass(9).await;
    let stats = sender.stats();
    assert_eq!((stats.read_held_back, stats.write_held_back), (seconds(5), seconds(3)));
}
