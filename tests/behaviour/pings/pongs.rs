//! Pings and pongs, of the peer and of our own.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, Frame, PING, PONG, TEXT, encode},
    peer::Peer,
};
use tokio::{io::DuplexStream, time::sleep};
use wsflow::{CloseFrame, Closed, Config, Error, InvalidControl, Message, Receiver, Sender, WebSocketStream};

use crate::support::watch::{PIECES, assert_same, close_frame, open, trace};

/// B168.
#[tokio::test]
async fn pong_is_sent_while_reader_is_idle() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let serving = async {
            for payload in [&b""[..], b"ping", &[0xff; 125]] {
                peer.ping(payload).await;
                peer.expect_pong(payload).await;
            }
            peer.close(1000, "").await;
            peer.expect_close(1000, "").await;
            peer.finish().await;
        };
        let (trace, ()) = tokio::join!(trace(&mut ws), serving);
        assert_eq!((trace.messages, trace.closed.was_clean), (vec![], true));
        assert_eq!(ws.stats().pings_received, 3);
    }
}

/// B168. Who takes its time for each message is no reason for the peer to wait.
#[tokio::test]
async fn a_pong_leaves_before_the_message_behind_its_ping_is_handed_out() {
    for way in ["next", "next_ref", "next_reader", "chunk"] {
        let (mut peer, mut ws) = open(Config::default(), 1 << 20);
        let (first, ping) = (encode(true, 0, BINARY, b"first"), encode(true, 0, PING, b"p"));
        peer.raw([first, ping, encode(true, 0, BINARY, b"next")].concat()).await;
        assert!(ws.next().await.expect("open").is_ok());
        ws.feed("fed before".into()).await.expect("room");
        match way {
            "next" => assert!(ws.next().await.expect("open").is_ok()),
            "next_ref" => assert!(ws.next_ref().await.expect("open").is_ok()),
            "next_reader" => assert!(ws.next_reader().await.expect("open").is_ok()),
            _ => {
                let mut reader = ws.next_reader().await.expect("open").expect("a message");
                assert!(reader.chunk().await.expect("a chunk").is_ok());
            }
        }
        let left = async {
            peer.expect_text("fed before").await;
            peer.expect_pong("p").await;
        };
        assert!(left.now_or_never().is_some(), "{way}");
    }
}

/// Nobody waits for a transport that takes nothing: messages go on.
#[tokio::test]
async fn a_pong_that_cannot_leave_holds_no_message_back() {
    let (mut peer, io) = Peer::pipe(64);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    ws.feed(Message::binary(vec![5; 1000])).await.expect("room");
    assert!(ws.flush().now_or_never().is_none());
    peer.raw([encode(true, 0, PING, b"p"), encode(true, 0, BINARY, b"next")].concat()).await;
    assert!(ws.next().now_or_never().expect("it has come").expect("open").is_ok());
}

/// B168.
#[tokio::test]
async fn of_more_pings_than_pongs_can_leave_the_latest_are_answered() {
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(10_000));
    ws.feed(Message::binary(vec![5; 100_000])).await.expect("room");
    assert!(ws.flush().now_or_never().is_none());
    let (_, ()) = tokio::join!(ws.next(), async {
        for i in 0..100_u8 {
            peer.ping([i]).await;
        }
        let mut answered = Vec::new();
        let mut is_whole = false;
        while !is_whole || answered.last() != Some(&99) {
            let frame = peer.expect_frame().await;
            match frame.opcode {
                PONG => answered.push(frame.payload[0]),
                _ => is_whole = frame.fin,
            }
        }
        assert!(answered.is_sorted(), "{answered:?}");
        assert!(answered.ends_with(&(84..100).collect::<Vec<_>>()), "{answered:?}");
        assert!(answered.len() <= 2 * 16, "{answered:?}");
        peer.finish().await;
    });
    assert_eq!(ws.stats().pings_received, 100);
}

#[tokio::test(start_paused = true)]
async fn a_pong_tells_the_round_trip_time() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    for millis in [250, 40] {
        let pong = ws.send_ping(format!("{millis}")).expect("a ping");
        ws.flush().await.expect("open");
        let (_, ()) = tokio::join!(ws.next(), async {
            assert_eq!(peer.expect_ping().await, format!("{millis}").as_bytes());
            sleep(Duration::from_millis(millis)).await;
            // Unsolicited ones mean nothing.
            peer.pong("").await;
            peer.pong("another").await;
            peer.pong(format!("{millis}")).await;
            peer.pong(format!("{millis}")).await;
            peer.text("on").await;
        });
        assert_eq!(pong.await.expect("a pong"), Duration::from_millis(millis));
        assert_eq!(ws.stats().last_rtt, Some(Duration::from_millis(millis)));
    }
    // Four came for each.
    assert_eq!((ws.stats().pings_sent, ws.stats().pongs_received), (2, 8));
}

#[tokio::test]
async fn a_ping_goes_out_before_messages_that_wait() {
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(10_000));
    ws.feed(Message::binary(vec![5; 400_000])).await.expect("room");
    assert!(ws.flush().now_or_never().is_none());
    let pong = ws.send_ping("now").expect("a ping");
    let (pong, _, ()) = tokio::join!(pong, ws.next(), async {
        let mut before = 0;
        while peer.expect_frame().await != Frame::new(PING, "now") {
            before += 1;
        }
        assert!(before <= 14, "behind {before} of 40 fragments");
        peer.pong("now").await;
        while !peer.expect_frame().await.fin {}
        peer.text("on").await;
    });
    assert!(pong.is_ok());
}

#[tokio::test]
async fn a_pong_goes_out_between_the_fragments_of_a_large_message() {
    for (is_shared, room) in [(true, 1000), (true, 1 << 16), (false, 1000), (false, 1 << 16)] {
        let (mut peer, io) = Peer::pipe(room);
        let mut ws = WebSocketStream::from_upgraded(io, Config::default());
        let payload = Bytes::from(vec![5; 5 << 20]);
        let _kept = is_shared.then(|| payload.clone());
        ws.feed(Message::Binary(payload)).await.expect("room");
        assert!(ws.flush().now_or_never().is_none());
        let (_, ()) = tokio::join!(ws.next(), async {
            for _ in 0..3 {
                assert!(!peer.expect_frame().await.fin);
            }
            peer.ping("late").await;
            let mut behind = 0;
            while peer.expect_frame().await.opcode != PONG {
                behind += 1;
            }
            assert!(behind <= 2, "behind {behind} of 20 fragments, shared: {is_shared}, room for {room} bytes");
            while !peer.expect_frame().await.fin {}
            peer.finish().await;
        });
    }
}

#[tokio::test]
async fn a_pong_answers_earlier_pings_too() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    let pongs: Vec<_> = ["1", "2", "3"].map(|payload| ws.send_ping(payload).expect("a ping")).into();
    let mut pongs = pongs.into_iter();
    peer.pong("2").await;
    assert!(ws.next().now_or_never().is_none());
    for answered in [true, true, false] {
        assert_eq!(pongs.next().expect("three").now_or_never().is_some(), answered);
    }
}

#[tokio::test]
async fn a_ping_that_cannot_be_sent_is_a_typed_error() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(matches!(ws.send_ping(vec![0; 126]), Err(Error::InvalidControl(InvalidControl::ControlPayload(126)))));
    let mut pongs: Vec<_> = (0..16_u8).map(|i| ws.send_ping(vec![i; 125]).expect("room")).collect();
    assert!(matches!(ws.send_ping("17th"), Err(Error::TooManyPings { limit: 16 })));
    ws.flush().await.expect("open");
    for i in 0..16 {
        assert_eq!(peer.expect_ping().await, [i; 125]);
    }
    assert!(matches!(ws.send_ping("17th"), Err(Error::TooManyPings { limit: 16 })));
    // One that nobody waits for any more makes room, and so does an answer.
    pongs.pop();
    pongs.push(ws.send_ping("17th").expect("room"));
    peer.pong([0; 125]).await;
    assert!(ws.next().now_or_never().is_none());
    let _room = ws.send_ping("18th").expect("room");
    assert_eq!(ws.stats().pings_sent, 18);
}

/// Nobody waits for the pongs, and the peer takes nothing: of them, or of a frame that they have to wait for.
#[tokio::test]
async fn pings_that_have_not_left_are_bounded() {
    for is_in_frame in [false, true] {
        let (_peer, io) = Peer::pipe(100);
        let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(None));
        if is_in_frame {
            assert!(ws.send(Message::binary(vec![0; 1 << 20])).now_or_never().is_none());
        }
        let mut sent = 0;
        let refused = loop {
            match ws.send_ping(vec![0; 125]) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
            assert!(ws.flush().now_or_never().is_none() && sent <= 16, "{sent} pings are held");
        };
        assert!(matches!(refused, Error::TooManyPings { limit: 16 }), "{refused:?}");
        assert_eq!(sent, 16);
    }
}

#[tokio::test]
async fn a_pong_that_never_came_yields_the_error_that_ended_the_connection() {
    let abnormal = Closed::new(1006, "", false);
    // The transport ends.
    let (peer, mut ws) = open(Config::default(), 1 << 20);
    let pong = ws.send_ping("p").expect("a ping");
    drop(peer);
    let error = trace(&mut ws).await.error.expect("unclean");
    assert_same(&pong.await.expect_err("no pong"), &error);
    // The connection is dropped.
    let (_peer, mut ws) = open(Config::default(), 1 << 20);
    let pong = ws.send_ping("p").expect("a ping");
    drop(ws);
    assert!(matches!(pong.await, Err(Error::Closed(closed)) if *closed == abnormal));
    // The peer closes.
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    let pong = ws.send_ping("p").expect("a ping");
    peer.close(1001, "bye").await;
    peer.finish().await;
    assert!(trace(&mut ws).await.closed.was_clean);
    let error = pong.await.expect_err("no pong");
    assert!(matches!(&error, Error::Closed(closed) if closed.code == 1001 && closed.reason == "bye"), "{error:?}");
}

#[tokio::test]
async fn a_pong_may_come_while_we_close() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    let pong = ws.send_ping("p").expect("a ping");
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
        assert_eq!(peer.expect_ping().await, b"p");
        assert_eq!(peer.expect_frame().await, close_frame(None, ""));
        peer.pong("p").await;
        peer.close(None, "").await;
        peer.finish().await;
    });
    assert!(closed.expect("an end").was_clean);
    assert!(pong.await.is_ok());
}

#[tokio::test]
async fn pings_that_came_before_our_close_are_answered_before_it() {
    // It holds a ping, and not the pong to it: the first pong is on its way when the others come.
    let (mut peer, io) = Peer::pipe(4);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    for i in 1..=3 {
        peer.ping([i]).await;
        assert!(ws.next().now_or_never().is_none());
    }
    assert_eq!(ws.stats().pings_received, 3);
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
        for i in 1..=3 {
            peer.expect_pong([i]).await;
        }
        assert_eq!(peer.expect_frame().await, close_frame(None, ""));
        peer.close(None, "").await;
        peer.finish().await;
    });
    assert!(closed.expect("an end").was_clean);
}

/// The halves of a connection over a pipe.
fn halves() -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, io) = Peer::pipe(1 << 20);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, Config::default()).into_split();
    (peer, sender, receiver)
}

/// B302. They leave by the next flush, in place, and by themselves on halves.
#[tokio::test]
async fn pongs_of_our_own_leave_without_a_ping() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    ws.send_pong("alive").expect("open");
    ws.flush().await.expect("open");
    peer.expect_pong("alive").await;
    ws.send_pong([7; 125].to_vec()).expect("open");
    assert!(ws.next().now_or_never().is_none(), "a poll for reading writes it, too");
    peer.expect_pong([7; 125]).await;

    let (mut peer, sender, _receiver) = halves();
    sender.send_pong("alive").expect("open");
    peer.expect_pong("alive").await;
}

/// B302.
#[tokio::test]
async fn of_pongs_of_our_own_that_wait_the_latest_sixteen_leave() {
    let expected: Vec<_> = (4..20_u8).collect();
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    for i in 0..20 {
        ws.send_pong(vec![i]).expect("open");
    }
    ws.flush().await.expect("open");
    let _pong = ws.send_ping("end").expect("open");
    ws.flush().await.expect("open");
    assert_eq!(pongs_until_ping(&mut peer).await, expected, "in place");

    let (mut peer, sender, _receiver) = halves();
    for i in 0..20 {
        sender.send_pong(vec![i]).expect("open");
    }
    let _pong = sender.send_ping("end").expect("open");
    assert_eq!(pongs_until_ping(&mut peer).await, expected, "halves");
}

/// The first byte of each pong before the next ping.
async fn pongs_until_ping(peer: &mut Peer<DuplexStream>) -> Vec<u8> {
    let mut pongs = Vec::new();
    loop {
        let Frame { opcode, payload, .. } = peer.expect_frame().await;
        match opcode {
            PONG => pongs.push(payload[0]),
            PING => return pongs,
            opcode => panic!("opcode {opcode}"),
        }
    }
}

/// B302.
#[tokio::test]
async fn pongs_of_our_own_go_behind_the_answers() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    let text = encode(true, 0, TEXT, b"text");
    peer.raw([text.clone(), encode(true, 0, PING, b"asked"), text].concat()).await;
    assert!(ws.next().await.expect("open").is_ok());
    // The ping has been read, and nobody has looked at it.
    ws.send_pong("own").expect("open");
    assert!(ws.next().await.expect("open").is_ok());
    peer.expect_pong("asked").await;
    peer.expect_pong("own").await;
}

/// B302, B303.
#[tokio::test]
async fn a_ping_or_a_pong_that_cannot_be_sent_is_a_typed_error_on_halves_too() {
    let (mut peer, sender, _receiver) = halves();
    let too_long = |error| matches!(error, Error::InvalidControl(InvalidControl::ControlPayload(126)));
    assert!(too_long(sender.send_ping(vec![0; 126]).expect_err("too long")));
    assert!(too_long(sender.send_pong(vec![0; 126]).expect_err("too long")));
    let mut pongs: Vec<_> = (0..16_u8).map(|i| sender.send_ping(vec![i; 125]).expect("room")).collect();
    assert!(matches!(sender.send_ping("17th"), Err(Error::TooManyPings { limit: 16 })));
    assert!(matches!(sender.ping().await, Err(Error::TooManyPings { limit: 16 })));
    for i in 0..16 {
        assert_eq!(peer.expect_ping().await, [i; 125]);
    }
    assert!(matches!(sender.send_ping("17th"), Err(Error::TooManyPings { limit: 16 })));
    // One that nobody waits for any more makes room, and so does an answer.
    pongs.pop();
    pongs.push(sender.send_ping("17th").expect("room"));
    assert_eq!(peer.expect_ping().await, b"17th");
    peer.pong([0; 125]).await;
    assert!(pongs.remove(0).await.is_ok());
    let room = sender.send_ping("18th").expect("room");
    // Those that nobody waits for, and that have not left, count as well.
    drop((room, pongs));
    for _ in 0..15 {
        drop(sender.send_ping("unsent").expect("room"));
    }
    assert!(matches!(sender.send_ping("one more"), Err(Error::TooManyPings { limit: 16 })));
    sender.start_close(CloseFrame::new(1000, "")).expect("a valid code");
    assert!(matches!(sender.send_ping(""), Err(Error::Closing { by_peer: None })));
    assert!(matches!(sender.send_pong(""), Err(Error::Closing { by_peer: None })));

    let (_peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(too_long(ws.send_pong(vec![0; 126]).expect_err("too long")));
    ws.start_close(CloseFrame::new(1000, "")).expect("a valid code");
    assert!(matches!(ws.send_pong(""), Err(Error::Closing { by_peer: None })));
}

/// B303. Also where the task has not seen that it was asked.
#[tokio::test]
async fn a_ping_over_halves_hears_of_the_end() {
    let (_peer, sender, _receiver) = halves();
    let pong = sender.send_ping("p").expect("open");
    sender.abort();
    assert!(matches!(pong.await, Err(Error::Aborted)));
    assert!(matches!(sender.send_ping("late"), Err(Error::Aborted)));
    assert!(matches!(sender.send_pong("late"), Err(Error::Aborted)));
}
