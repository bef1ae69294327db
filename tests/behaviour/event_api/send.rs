//! `send`: what reaches the server, in every state.

use bytes::Bytes;
use testkit::{
    frame::{BINARY, TEXT},
    peer::Peer,
};
use wsflow::{
    Config, Error, Message, ReadyState,
    compat::{InvalidStateError, WebSocket},
};

use crate::event_api::log::{Log, Seen, plain};

/// B65, B66, B67, B90, B93.
#[tokio::test]
async fn send_in_every_state() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| match seen {
        Seen::Open => {
            ws.send("four").unwrap();
            assert_eq!(ws.buffered_amount(), 4);
            ws.close().unwrap();
            ws.send("closing").unwrap();
            assert_eq!(ws.buffered_amount(), 11);
        }
        Seen::Close(_) => {
            ws.send("closed").unwrap();
            assert_eq!(ws.buffered_amount(), 13);
        }
        Seen::Message(_) | Seen::Error => {}
    });
    assert_eq!(ws.send("early"), Err(InvalidStateError));
    assert_eq!(ws.buffered_amount(), 0);
    peer.accept().await;
    peer.expect_text("four").await;
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1005,\"\"}[3,7]"]);
    ws.send("later").unwrap();
    assert_eq!(ws.buffered_amount(), 18);
    peer.expect_eof().await;
}

/// B68, B70, B72, B73, B75, B76.
#[tokio::test]
async fn messages_of_every_kind_and_length_arrive_in_order() {
    let lengths = [0, 1, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 300_000];
    let payload = |len: usize| (0..len).map(|i| i as u8).collect::<Vec<_>>();
    let (ws, log, mut peer) = Log::pipe(1 << 14, Config::default(), move |ws: &WebSocket, seen| {
        if *seen != Seen::Open {
            return;
        }
        let mut total = 0;
        for len in lengths {
            ws.send("x".repeat(len)).unwrap();
            // B70: of a slice its window alone; B73: what the caller still holds cannot change it.
            let whole = Bytes::from(payload(len + 2));
            ws.send(whole.slice(1..=len)).unwrap();
            total += 2 * len as u64;
            assert_eq!(ws.buffered_amount(), total);
        }
        for text in ["", "\u{a5}\u{a5}", "e\u{301} \u{10451}", "\u{feff}bom"] {
            ws.send(text).unwrap();
        }
        ws.close().unwrap();
    });
    peer.accept().await;
    for len in lengths {
        assert_eq!(peer.expect_message().await, (TEXT, vec![b'x'; len]));
        assert_eq!(peer.expect_message().await, (BINARY, payload(len + 2)[1..=len].to_vec()));
    }
    for text in ["", "\u{a5}\u{a5}", "e\u{301} \u{10451}", "\u{feff}bom"] {
        peer.expect_text(text).await;
    }
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1005,\"\"}[3,0]"]);
}

/// B79.
#[tokio::test]
async fn send_inside_of_a_handler_calls_none() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| match seen {
        // That no handler runs inside of another one is watched by the log.
        Seen::Open => ws.send("1").unwrap(),
        Seen::Message(message) if message.as_text() == Some("3") => ws.close_with(1000, "enough").unwrap(),
        Seen::Message(message) => ws.send(format!("{}1", message.as_text().unwrap())).unwrap(),
        Seen::Error | Seen::Close(_) => {}
    });
    peer.accept().await;
    peer.expect_text("1").await;
    peer.text("2").await;
    peer.expect_text("21").await;
    peer.text("3").await;
    peer.expect_close(1000, "enough").await;
    peer.close(1000, "enough").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"2\"[1,0]", "\"3\"[1,0]", "close{1,1000,\"enough\"}[3,0]"]);
}

/// B77, B160.
#[tokio::test(start_paused = true)]
async fn more_than_may_wait_ends_the_connection_and_send_does_not_fail() {
    let (mut peer, io) = Peer::pipe(256);
    let builder = plain("ws://h/").max_buffered_amount(1000);
    let (builder, log) = Log::watch(builder, |ws, seen| {
        if *seen == Seen::Open {
            ws.send(vec![0; 600]).unwrap();
            ws.send(vec![0; 400]).unwrap();
            assert_eq!(ws.buffered_amount(), 1000);
            ws.send("x").unwrap();
            // It has grown all the same, and nothing happens before the handler has returned.
            assert_eq!(ws.buffered_amount(), 1001);
            assert_eq!(ws.ready_state(), ReadyState::Open);
            ws.close_with(4000, "too late").unwrap();
        }
    });
    let ws = builder.connect_over(io);
    peer.accept().await;
    // No closing handshake.
    peer.expect_gone().await;
    let lines = log.end(&ws).await;
    // What fits in the pipe behind a header of 8 bytes had left.
    assert_eq!(lines, ["open[1,0]", "error[3,753]", "close{0,1006,\"\"}[3,753]"]);
    assert_eq!(ws.buffered_amount(), 753);
    assert!(matches!(ws.error(), Some(Error::Overflow(1000))), "{:?}", ws.error());
}

/// B77.
#[tokio::test]
async fn what_was_sent_makes_room_below_the_limit() {
    let (mut peer, io) = Peer::pipe(256);
    let (builder, log) = Log::watch(plain("ws://h/").max_buffered_amount(1000), |ws, seen| match seen {
        Seen::Open => ws.send(vec![0; 1000]).unwrap(),
        Seen::Message(_) => ws.send(vec![1; 1000]).unwrap(),
        Seen::Error | Seen::Close(_) => {}
    });
    let ws = builder.connect_over(io);
    peer.accept().await;
    peer.expect_binary([0; 1000]).await;
    for _ in 0..3 {
        peer.text("more").await;
        peer.expect_binary([1; 1000]).await;
    }
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    let more = "\"more\"[1,0]";
    assert_eq!(log.end(&ws).await, ["open[1,0]", more, more, more, "close{1,1000,\"\"}[3,0]"]);
}

/// B78.
#[tokio::test]
async fn as_many_bytes_as_any_buffer_holds_do_not_hang() {
    for len in [65_536, 65_535, 65_537, 131_072 - 32, 131_072, 16_384, 262_144] {
        let (ws, log, mut peer) = Log::pipe(65_536, Config::default(), move |ws: &WebSocket, seen| {
            if *seen == Seen::Open {
                for i in 0..50 {
                    ws.send(vec![i; len]).unwrap();
                }
                ws.close_with(1000, "").unwrap();
            }
        });
        peer.accept().await;
        for i in 0..50 {
            peer.expect_binary(vec![i; len]).await;
        }
        peer.expect_close(1000, "").await;
        peer.close(1000, "").await;
        peer.finish().await;
        assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1000,\"\"}[3,0]"]);
    }
}

#[tokio::test]
async fn send_takes_whatever_a_message_is_made_from() {
    let (ws, _log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if *seen == Seen::Open {
            ws.send("str").unwrap();
            ws.send(String::from("string")).unwrap();
            ws.send(vec![1]).unwrap();
            ws.send(Bytes::from_static(&[2])).unwrap();
            ws.send(Message::text("message")).unwrap();
        }
    });
    peer.accept().await;
    peer.expect_text("str").await;
    peer.expect_text("string").await;
    peer.expect_binary([1]).await;
    peer.expect_binary([2]).await;
    peer.expect_text("message").await;
    drop(ws);
}
