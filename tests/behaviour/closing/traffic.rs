//! What is sent and what still comes around a close: queued messages, unread ones, pings, and late sends.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, Frame, PONG, TEXT, encode},
    peer::Peer,
};
use wsflow::{CloseFrame, Closed, Config, Error, Message, WebSocketStream};

use crate::support::watch::{PIECES, close_frame, open, trace};

fn clean(code: u16, reason: &str) -> Closed {
    Closed::new(code, reason, true)
}

fn unclean(code: u16, reason: &str) -> Closed {
    Closed::new(code, reason, false)
}

/// B116, B237.
#[tokio::test]
async fn sink_close_sends_what_is_queued_then_an_empty_close_and_waits_for_the_handshake() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        for i in 0..100 {
            ws.feed(format!("message {i}").into()).await.expect("room");
        }
        let (closed, ()) = tokio::join!(ws.close(), async {
            for i in 0..100 {
                peer.expect_text(&format!("message {i}")).await;
            }
            peer.expect_close(None, "").await;
            peer.close(None, "").await;
            peer.finish().await;
            peer.expect_eof().await;
        });
        closed.expect("clean");
        assert_eq!((ws.buffered_amount(), ws.stats().messages_sent), (0, 100));
        assert_eq!(trace(&mut ws).await.closed, clean(1005, ""));
    }
}

/// B112.
#[tokio::test]
async fn large_messages_leave_before_the_close_frame() {
    // Owned payloads go out without a copy, shared ones are copied.
    for shared in [false, true] {
        for size in [16 * 1024 + 1, 64 * 1024, 128 * 1024, 256 * 1024, 256 * 1024 + 1, 1_000_000] {
            let (mut peer, io) = Peer::pipe(1000);
            let mut ws = WebSocketStream::from_upgraded(io, Config::default());
            let data = Bytes::from(vec![5; size]);
            let kept = shared.then(|| data.clone());
            ws.feed(Message::Binary(data)).await.expect("room");
            let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
                peer.expect_binary(vec![5; size]).await;
                peer.expect_close(None, "").await;
                peer.close(None, "").await;
                peer.finish().await;
            });
            assert_eq!(closed.expect("closed"), clean(1005, ""), "{size} {}", kept.is_some());
        }
    }
}

/// B113, B216, B247.
#[tokio::test]
async fn messages_behind_our_close_are_counted_and_not_yielded() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        // Unread when we close: whole ones, and one of which a part was read.
        for text in ["one", "two"] {
            peer.text(text).await;
        }
        peer.frame(false, 0, TEXT, "thr").await;
        assert_eq!(ws.next().await.expect("open").expect("open"), "one".into());
        let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
            peer.expect_close(None, "").await;
            peer.raw(encode(true, 0, 0, b"ee")).await;
            // Beyond every buffer and limit, and not even text: nobody looks at it.
            peer.frame(true, 0, BINARY, vec![0; if at_once == 1 { 200_000 } else { 3 << 20 }]).await;
            peer.frame(true, 0, TEXT, [0xff]).await;
            peer.close(None, "").await;
            peer.finish().await;
        });
        assert_eq!(closed.expect("closed"), clean(1005, ""));
        assert_eq!(ws.stats().discarded_messages, 4);
        assert_eq!(ws.stats().messages_received, 1);
        assert_eq!(trace(&mut ws).await.messages, []);
    }
}

/// B216.
#[tokio::test]
async fn closing_with_full_buffers_both_ways_does_not_hang() {
    let (mut peer, io) = Peer::pipe(64 * 1024);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    let mut fed = 0;
    while let Some(result) = ws.feed(Message::binary(vec![5; 50_000])).now_or_never() {
        result.expect("open");
        fed += 1;
    }
    assert!(ws.buffered_amount() > 128 * 1024);
    // The peer listens only when all that it has to say is taken.
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(1000, "")), async {
        for _ in 0..32 {
            peer.binary(vec![7; 64 * 1024]).await;
        }
        for _ in 0..fed {
            peer.expect_binary(vec![5; 50_000]).await;
        }
        peer.expect_close(1000, "").await;
        peer.close(1000, "").await;
        peer.finish().await;
    });
    assert_eq!(closed.expect("closed"), clean(1000, ""));
    assert_eq!((ws.stats().discarded_messages, ws.buffered_amount()), (32, 0));
}

/// B224, B246.
#[tokio::test]
async fn sending_after_close_is_a_typed_error() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(ws.close().now_or_never().is_none());
    assert!(matches!(ws.send("x".into()).await, Err(Error::Closing { .. })));
    assert!(matches!(ws.feed("x".into()).await, Err(Error::Closing { .. })));
    assert!(matches!(ws.send_ping("x"), Err(Error::Closing { .. })));
    ws.flush().await.expect("what was queued before can be flushed");
    assert_eq!(ws.buffered_amount(), 0);
    peer.expect_close(None, "").await;
    peer.close(1000, "").await;
    peer.finish().await;
    trace(&mut ws).await;
    assert!(matches!(ws.send("x".into()).await, Err(Error::Closed(closed)) if *closed == clean(1000, "")));
    drop(ws);
    peer.expect_eof().await;

    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.close(1000, "").await;
    assert!(ws.next().now_or_never().is_none());
    assert!(matches!(ws.send("x".into()).await, Err(Error::Closing { by_peer: Some(_) })), "the peer has closed");
    assert!(matches!(ws.send_ping("x"), Err(Error::Closing { by_peer: Some(_) })));
    drop(ws);
    assert_eq!(peer.rest().await, [close_frame(1000, "")]);
}

/// B115.
#[tokio::test]
async fn pings_are_answered_until_our_close_is_out() {
    // Before: it waits behind a message that the peer has not taken.
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(20_000));
    ws.feed(Message::binary(vec![5; 400_000])).await.expect("room");
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
        peer.ping("early").await;
        let (mut fragments, mut pongs) = (0, 0);
        loop {
            let frame = peer.expect_frame().await;
            match frame.opcode {
                CLOSE => break,
                PONG => pongs += 1,
                _ => fragments += 1,
            }
        }
        assert_eq!((fragments, pongs), (20, 1));
        // After: nothing may follow our Close frame.
        peer.ping("late").await;
        peer.close(None, "").await;
        peer.finish().await;
        peer.expect_eof().await;
    });
    assert_eq!(closed.expect("closed"), clean(1005, ""));
    assert_eq!(ws.stats().pings_received, 2);
}

/// B170.
#[tokio::test]
async fn a_ping_behind_the_peers_close_is_not_answered() {
    let (mut peer, mut ws) = open(Config::default(), 1);
    peer.ping("before").await;
    peer.close(1000, "").await;
    peer.ping("behind").await;
    peer.finish().await;
    trace(&mut ws).await;
    drop(ws);
    assert_eq!(peer.rest().await, [Frame::new(PONG, "before"), close_frame(1000, "")]);
    // It is the same for one that comes in a read of its own.
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.close(1000, "").await;
    assert!(ws.next().now_or_never().is_none());
    peer.expect_close(1000, "").await;
    peer.ping("behind").await;
    assert!(ws.next().now_or_never().is_none());
    peer.finish().await;
    trace(&mut ws).await;
    drop(ws);
    peer.expect_eof().await;
}

/// `forward` answers every message by itself: an echo.
#[tokio::test]
async fn forward_over_split_halves_ends_as_the_connection_does() {
    for is_clean in [true, false] {
        let (mut peer, io) = Peer::pipe(1 << 16);
        let (sink, stream) = WebSocketStream::from_upgraded(io, Config::default()).split();
        let (ended, ()) = tokio::join!(stream.forward(sink), async move {
            peer.text("a").await;
            peer.expect_text("a").await;
            if is_clean {
                peer.close(1000, "bye").await;
                peer.expect_close(1000, "bye").await;
                peer.finish().await;
                peer.expect_eof().await;
            }
        });
        match ended {
            Ok(()) => assert!(is_clean),
            Err(Error::Closed(closed)) => assert_eq!((&*closed, is_clean), (&unclean(1006, ""), false)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn forward_into_a_connection_ends_with_a_clean_close_of_ours() {
    for at_once in PIECES {
        let (mut peer, ws) = open(Config::default(), at_once);
        let (mut sink, mut stream) = ws.split();
        let mut messages = futures::stream::iter(["a", "b"].map(|text| Ok(text.into()))).fuse();
        let (sent, read, ()) = tokio::join!(sink.send_all(&mut messages), stream.next(), async {
            peer.expect_text("a").await;
            peer.expect_text("b").await;
            peer.text("answer").await;
        });
        sent.expect("sent");
        assert_eq!(read.expect("open").expect("open"), "answer".into());
        let (closed, end, ()) = tokio::join!(sink.close(), stream.next(), async {
            peer.expect_close(None, "").await;
            peer.close(None, "").await;
            peer.finish().await;
            peer.expect_eof().await;
        });
        closed.expect("clean");
        assert!(end.is_none());
    }
}
