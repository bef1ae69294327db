//! What futures' `split` does to a `WebSocketStream`: its `SplitSink` keeps one message in a slot of its own.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use testkit::peer::Peer;
use tokio::{io::DuplexStream, time::sleep};
use wsflow::{CloseFrame, Closed, Config, Error, Message};

use crate::support::watch::open;

#[tokio::test]
async fn a_split_sink_keeps_one_message_that_reunite_drops() {
    for flushes in [false, true] {
        let (mut peer, ws) = open(Config::default(), 1 << 20);
        let (mut sink, stream) = ws.split();
        for text in ["first", "second"] {
            sink.feed(Message::from(text)).await.expect("room");
        }
        if flushes {
            sink.flush().await.expect("open");
        }
        let mut ws = sink.reunite(stream).expect("the two halves of one stream");
        let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
            peer.expect_text("first").await;
            if flushes {
                peer.expect_text("second").await;
            }
            peer.expect_close(None, "").await;
            peer.close(None, "").await;
            peer.finish().await;
        });
        // The connection never had the second one.
        assert_eq!(closed.expect("an end"), Closed::new(1005, "", true));
        assert_eq!((ws.stats().messages_sent, ws.buffered_amount()), (1 + u64::from(flushes), 0));
    }
}

/// Whether `echo` answers a peer that waits for each answer.
async fn is_answered(mut peer: Peer<DuplexStream>, echo: impl Future<Output = Result<(), Error>>) -> bool {
    let dialogue = async {
        for text in ["one", "two"] {
            peer.text(text).await;
            peer.expect_text(text).await;
        }
    };
    tokio::select! {
        end = echo => panic!("it ended: {end:?}"),
        () = dialogue => true,
        () = sleep(Duration::from_secs(20)) => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_reads_and_feeds_needs_a_flush_on_split_halves_and_none_in_place() {
    let (peer, mut ws) = open(Config::default(), 1 << 20);
    let in_place = async {
        while let Some(message) = ws.next().await.transpose()? {
            ws.feed(message).await?;
        }
        Ok(())
    };
    assert!(is_answered(peer, in_place).await);

    for flushes in [false, true] {
        let (peer, ws) = open(Config::default(), 1 << 20);
        let (mut sink, mut stream) = ws.split();
        let on_halves = async {
            while let Some(message) = stream.next().await.transpose()? {
                sink.feed(message).await?;
                if flushes {
                    sink.flush().await?;
                }
            }
            Ok(())
        };
        assert_eq!(is_answered(peer, on_halves).await, flushes);
    }

    // `forward` and `send_all` flush by themselves.
    let (peer, ws) = open(Config::default(), 1 << 20);
    let (sink, stream) = ws.split();
    assert!(is_answered(peer, stream.forward(sink)).await);
    let (peer, ws) = open(Config::default(), 1 << 20);
    let (mut sink, mut stream) = ws.split();
    assert!(is_answered(peer, sink.send_all(&mut stream)).await);
}
