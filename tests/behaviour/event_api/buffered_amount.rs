//! `bufferedAmount`, to the byte.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{
    frame::{CLOSE, TEXT, encode},
    peer::Peer,
    server::Script,
};
use wsflow::{Config, Deflate, ReadyState, compat::WebSocket};

use crate::event_api::log::{Log, Seen, plain, until, within};

/// B80, B81, B85, B88.
#[tokio::test]
async fn it_counts_utf_8_bytes_of_payload_and_drains_to_zero() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if *seen == Seen::Open {
            for (text, amount) in [("x", 1), ("\u{e5}", 3), ("\u{5336}", 6), ("\u{1043e}", 10), ("", 10)] {
                ws.send(text).unwrap();
                assert_eq!(ws.buffered_amount(), amount);
            }
            ws.send(vec![0; 5]).unwrap();
            assert_eq!(ws.buffered_amount(), 15);
        }
    });
    assert_eq!(ws.buffered_amount(), 0);
    peer.accept().await;
    for text in ["x", "\u{e5}", "\u{5336}", "\u{1043e}", ""] {
        peer.expect_text(text).await;
    }
    peer.expect_binary([0; 5]).await;
    // B85: nor do pongs and Close frames count.
    peer.ping([7; 125]).await;
    peer.expect_pong([7; 125]).await;
    assert_eq!(ws.buffered_amount(), 0);
    peer.text("end").await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"end\"[1,0]", "close{1,1000,\"\"}[3,0]"]);
}

/// A handler that blocks is the fact: for as long as it does, the server has the bytes and the amount stays.
/// B82, B83, B95.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_never_falls_while_a_handler_runs() {
    let server = Script::bind().await;
    let (arrived, arrival) = mpsc::channel();
    let (ws, log) = Log::connect(&server.url("/"), move |ws, seen| match seen {
        Seen::Open => {
            ws.send("hello").unwrap();
            assert_eq!(ws.buffered_amount(), 5);
            arrival.recv_timeout(Duration::from_millis(50)).expect_err("sent while the handler runs");
            assert_eq!(ws.buffered_amount(), 5);
        }
        // The bytes of the first one have left; those of this one only count.
        Seen::Message(_) => {
            assert_eq!(ws.buffered_amount(), 0);
            ws.send("again").unwrap();
            assert_eq!(ws.buffered_amount(), 5);
            arrival.recv_timeout(Duration::from_millis(50)).expect_err("sent while the handler runs");
            assert_eq!(ws.buffered_amount(), 5);
        }
        Seen::Error | Seen::Close(_) => {}
    });
    let mut peer = server.accept().await;
    peer.expect_text("hello").await;
    peer.text("event").await;
    peer.expect_text("again").await;
    let _ = arrived.send(());
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    drop(peer);
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"event\"[1,0]", "close{1,1000,\"\"}[3,0]"]);
}

/// B83.
#[tokio::test]
async fn what_one_handler_sent_has_left_when_the_next_message_of_the_packet_is_handed_out() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if let Seen::Message(message) = seen {
            ws.send(message.clone()).unwrap();
        }
    });
    peer.accept().await;
    let packet: Vec<_> = ["a", "bb", "ccc"].iter().flat_map(|text| encode(true, 0, TEXT, text.as_bytes())).collect();
    peer.raw([packet, encode(true, 0, CLOSE, b"\x03\xe8")].concat()).await;
    for text in ["a", "bb", "ccc"] {
        peer.expect_text(text).await;
    }
    peer.expect_close(1000, "").await;
    peer.finish().await;
    let messages = ["open[1,0]", "\"a\"[1,0]", "\"bb\"[1,0]", "\"ccc\"[1,0]", "close{1,1000,\"\"}[3,0]"];
    assert_eq!(log.end(&ws).await, messages);
}

/// B83, V3.
#[tokio::test]
async fn however_many_messages_were_sent_they_leave_before_a_close_that_came_with_the_101_is_read() {
    const MESSAGES: u32 = 3000;
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if *seen == Seen::Open {
            (0..MESSAGES).for_each(|i| ws.send(i.to_string()).unwrap());
        }
    });
    let mut packet = peer.request().await.answer("").into_bytes();
    packet.extend_from_slice(&encode(true, 0, CLOSE, b"\x03\xe8"));
    peer.raw(packet).await;
    for i in 0..MESSAGES {
        peer.expect_text(&i.to_string()).await;
    }
    peer.expect_close(1000, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1000,\"\"}[3,0]"]);
}

/// Into a pipe of 64 KiB go 64 KiB and not a byte more: the header takes 14 of them.
/// B84, B86, B97.
#[tokio::test(start_paused = true)]
async fn a_message_half_sent_counts_half() {
    const PIPE: u64 = 1 << 16;
    const LEN: u64 = 8 << 20;
    // Not fragmented, so that there is one header.
    let (ws, log, mut peer) = Log::pipe(PIPE as usize, Config::default().fragment_size(None), |ws, seen| {
        if *seen == Seen::Open {
            ws.send(Bytes::from(vec![0; LEN as usize])).unwrap();
        }
    });
    peer.accept().await;
    until("a full pipe", || ws.buffered_amount() == LEN - (PIPE - 14)).await;
    peer.take(1 << 20).await;
    until("a full pipe", || ws.buffered_amount() == LEN - (PIPE - 14) - (1 << 20)).await;
    peer.expect_binary(vec![0; LEN as usize]).await;
    assert_eq!(within(ws.drained()).await, Ok(()));
    assert_eq!(ws.buffered_amount(), 0);
    drop(peer);
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{0,1006,\"\"}[3,0]"]);
}

/// B87.
#[tokio::test(start_paused = true)]
async fn with_compression_it_counts_the_bytes_before_it() {
    const LEN: u64 = 1 << 20;
    let (mut peer, io) = Peer::pipe(256);
    let builder = plain("ws://h/").config(Config::default().deflate(Deflate::default()));
    let (builder, log) = Log::watch(builder, |ws, seen| {
        if *seen == Seen::Open {
            ws.send("x".repeat(LEN as usize)).unwrap();
            assert_eq!(ws.buffered_amount(), LEN);
        }
    });
    let ws = builder.connect_over(io);
    peer.accept_with("Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
    // A part of the compressed frames is out: a part of the message counts no more.
    until("progress", || (1..LEN).contains(&ws.buffered_amount())).await;
    let stalled = ws.buffered_amount();
    assert!(stalled > LEN / 4, "{stalled}");
    let wire = peer.expect_frame().await.payload.len();
    assert!(wire < 1000, "{wire} bytes on the wire");
    while ws.buffered_amount() > 0 {
        peer.expect_frame().await;
        tokio::task::yield_now().await;
    }
    drop(peer);
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{0,1006,\"\"}[3,0]"]);
}

/// B89, B112, B114.
#[tokio::test(start_paused = true)]
async fn after_close_the_queue_still_drains_and_the_close_frame_is_last() {
    let (ws, log, mut peer) = Log::pipe(1 << 10, Config::default(), |ws, seen| {
        if *seen == Seen::Open {
            ws.send(vec![1; 300_000]).unwrap();
            ws.send("last").unwrap();
            ws.close_with(1000, "done").unwrap();
            ws.send("too late").unwrap();
            assert_eq!(ws.buffered_amount(), 300_012);
        }
    });
    peer.accept().await;
    let mut last = 300_012;
    for _ in 0..100 {
        peer.take(1 << 10).await;
        let amount = ws.buffered_amount();
        assert!(amount <= last, "{amount} after {last}");
        last = amount;
    }
    assert!(last < 300_012 - 90_000, "{last}");
    peer.expect_binary(vec![1; 300_000]).await;
    peer.expect_text("last").await;
    peer.expect_close(1000, "done").await;
    peer.close(1000, "done").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1000,\"done\"}[3,8]"]);
}

/// B91, B92.
#[tokio::test]
async fn a_lost_connection_keeps_what_was_not_sent_and_goes_on_counting() {
    let server = Script::bind().await;
    const LEN: u64 = 32 << 20;
    let (ws, log) = Log::connect(&server.url("/"), |ws, seen| {
        if *seen == Seen::Open {
            ws.send(vec![0; LEN as usize]).unwrap();
        }
    });
    let mut peer = server.accept().await;
    peer.take(1 << 20).await;
    peer.reset();
    let lines = log.end(&ws).await;
    let left = ws.buffered_amount();
    assert!(left > 0 && left <= LEN - (1 << 20), "{left}");
    assert_eq!(lines, ["open[1,0]", &format!("close{{0,1006,\"\"}}[3,{left}]")]);
    // B98: it cannot drain any more, and who waits for it is told so.
    assert_eq!(within(ws.drained()).await, Ok(()));
    ws.send("more").unwrap();
    assert_eq!(ws.buffered_amount(), left + 4);
}

/// B98.
#[tokio::test]
async fn drained_waits_for_zero_and_not_for_the_end() {
    let (ws, _log, mut peer) = Log::pipe(1 << 10, Config::default(), |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            ws.send(vec![0; 100_000]).unwrap();
        }
    });
    // Nothing waits yet.
    assert_eq!(within(ws.drained()).await, Ok(()));
    peer.accept().await;
    until("it waits", || ws.buffered_amount() > 0).await;
    let (drained, ()) = tokio::join!(within(ws.drained()), async {
        let begun = Instant::now();
        peer.expect_binary(vec![0; 100_000]).await;
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
    assert_eq!(drained, Ok(()));
    assert_eq!((ws.buffered_amount(), ws.ready_state()), (0, ReadyState::Open));
}
