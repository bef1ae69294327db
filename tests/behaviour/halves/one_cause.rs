//! Where a connection fails everybody is told the same cause: senders that wait, and those that come later.

use std::{future::Future, pin::Pin, time::Duration};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::join_all};
use testkit::peer::Peer;
use tokio::{io::DuplexStream, task::yield_now};
use wsflow::{CloseFrame, Config, Error, Kind, Message, WebSocketStream};

/// Larger than all room on the way.
const LARGE: usize = 64 << 10;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What fails, by whom, and how the error's text begins.
struct Row {
    name: &'static str,
    fail: fn(Peer<DuplexStream>) -> Boxed<()>,
    text: &'static str,
}

/// It reads nothing, so that no sender gets room.
async fn hold(peer: Peer<DuplexStream>) {
    tokio::time::sleep(Duration::from_secs(100)).await;
    drop(peer);
}

const ROWS: [Row; 4] = [
    Row { name: "the transport ends", fail: |peer| Box::pin(async { drop(peer) }), text: "transport error: " },
    Row {
        name: "a violation",
        fail: |mut peer| {
            Box::pin(async move {
                peer.frame(true, 7, 1, "x").await;
                hold(peer).await;
            })
        },
        text: "protocol violation by the peer: ",
    },
    Row {
        name: "a message above the limit",
        fail: |mut peer| {
            Box::pin(async move {
                peer.binary(vec![0; 3000]).await;
                hold(peer).await;
            })
        },
        text: "limit exceeded by the peer: ",
    },
    Row { name: "nothing is taken", fail: |peer| Box::pin(hold(peer)), text: "writing what was queued timed out" },
];

#[tokio::test(start_paused = true)]
async fn every_sender_and_the_receiver_are_told_what_failed() {
    for Row { name, fail, text } in ROWS {
        for round in 0..20 {
            let (peer, io) = Peer::pipe(1 << 10);
            let config = Config::default()
                .write_high_water_mark(1 << 10)
                .max_message_size(2000)
                .keepalive_interval(None)
                .write_timeout(Duration::from_secs(5));
            let (sender, mut receiver) = WebSocketStream::from_upgraded(io, config).into_split();
            sender.send(Message::binary(vec![0; LARGE])).await.unwrap();
            let mut waiting: Vec<Boxed<Result<(), Error>>> = Vec::new();
            for _ in 0..3 {
                let sender = sender.clone();
                let mut sink = sender.sink();
                let mut writing = sender.clone();
                let (flushing, pinging) = (sender.clone(), sender.clone());
                waiting.push(Box::pin(async move { sender.send("waits").await }));
                waiting.push(Box::pin(async move { flushing.flush().await }));
                waiting.push(Box::pin(async move { pinging.ping().await.map(|_| ()) }));
                waiting.push(Box::pin(async move { sink.send("waits".into()).await }));
                waiting.push(Box::pin(async move { writing.writer(Kind::Text).await.map(|_| ()) }));
            }
            let waiting: Vec<_> = waiting.into_iter().map(tokio::spawn).collect();
            for _ in 0..round {
                yield_now().await;
            }
            let failing = fail(peer);
            let failed = async {
                let mut told = Vec::new();
                for waited in join_all(waiting).await {
                    told.push(waited.unwrap().expect_err("an error").to_string());
                }
                told.push(sender.send("late").await.unwrap_err().to_string());
                told.push(sender.flush().await.unwrap_err().to_string());
                told.push(sender.ping().await.unwrap_err().to_string());
                told.push(sender.try_send("late").unwrap_err().to_string());
                told
            };
            let receiving = async {
                loop {
                    if let Err(error) = receiver.next().await.expect("an error") {
                        break error.to_string();
                    }
                }
            };
            let (told, received, ()) = tokio::join!(failed, receiving, failing);
            assert!(received.starts_with(text), "{name}: {received}");
            // `try_send` says that nothing can be sent, and gives the message back.
            assert!(
                told[..told.len() - 1].iter().all(|told| *told == received),
                "{name}, {round}: {received}: {told:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_close_of_ones_own_is_followed_by_does_not_speak_of_the_peers_frame() {
    let (mut peer, io) = Peer::pipe(1 << 10);
    let (sender, mut receiver) = WebSocketStream::from_upgraded(io, Config::default()).into_split();
    let closing = sender.close_with(CloseFrame::new(1000, "done"));
    tokio::pin!(closing);
    assert!(closing.as_mut().now_or_never().is_none());
    let during = sender.send("late").await.unwrap_err();
    assert_eq!(during.to_string(), "the connection is closing: nothing more can be sent");
    peer.expect_close(1000, "done").await;
    peer.close(1000, "done").await;
    peer.finish().await;
    assert!(closing.await.unwrap().was_clean);
    let after = sender.send("late").await.unwrap_err();
    assert_eq!(after.to_string(), "the connection was closed with code 1000 (done)");
    assert!(receiver.next().await.is_none());
}
