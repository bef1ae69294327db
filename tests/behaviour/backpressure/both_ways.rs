//! One task that reads and writes, against a peer that pours and reads only now and then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::SinkExt as _;
use testkit::frame::{BINARY, encode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::timeout,
};
use wsflow::{Config, Message, NextOrRoom, WebSocketStream};

const MESSAGES: usize = 2_000;
const SIZE: usize = 1000;
/// A client's frame of so many bytes has a header of 8.
const WIRE: usize = SIZE + 8;

/// Sends a message before each that it reads, and waits until it is out: it reads from nobody who does not read.
async fn pour(mut io: DuplexStream, read: Arc<AtomicUsize>) {
    let frame = encode(true, 0, BINARY, &[7; SIZE]);
    let mut bytes = vec![0; WIRE];
    for _ in 0..MESSAGES {
        io.write_all(&frame).await.unwrap();
        io.read_exact(&mut bytes).await.unwrap();
        read.fetch_add(1, Ordering::Relaxed);
    }
    io.write_all(&encode(true, 0, 8, &1000u16.to_be_bytes())).await.unwrap();
    let _ = io.read_to_end(&mut bytes).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_message_or_room_cannot_be_stopped_by_a_peer_that_pours() {
    for mark in [0, 5_000, 128 * 1024] {
        for pipe in [100, 4096, 1 << 20] {
            let (io, server) = tokio::io::duplex(pipe);
            let read = Arc::new(AtomicUsize::new(0));
            let server = tokio::spawn(pour(server, read.clone()));
            let mut ws = WebSocketStream::from_upgraded(io, Config::default().write_high_water_mark(mark));
            let (mut fed, mut received, mut turns) = (0, 0, 0);
            let talk = async {
                loop {
                    while fed < MESSAGES && ws.has_room() {
                        let feed = ws.feed(Message::binary(vec![1; SIZE]));
                        assert!(futures::FutureExt::now_or_never(feed).is_some(), "feed waits although there is room");
                        fed += 1;
                    }
                    turns += 1;
                    match ws.next_or_room().await.transpose().unwrap() {
                        Some(NextOrRoom::Message(message)) => {
                            assert_eq!(message.len(), SIZE);
                            received += 1;
                        }
                        Some(NextOrRoom::Room) => assert!(ws.has_room()),
                        None => break,
                    }
                }
            };
            timeout(Duration::from_secs(60), talk).await.unwrap_or_else(|_| panic!("a deadlock: {mark}, {pipe}"));
            assert_eq!((fed, received, read.load(Ordering::Relaxed)), (MESSAGES, MESSAGES, MESSAGES));
            assert!(turns <= 2 * MESSAGES + 1, "{turns} turns for {MESSAGES} messages each way");
            drop(ws);
            server.await.unwrap();
        }
    }
}
