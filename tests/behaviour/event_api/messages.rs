//! Messages and their events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{
    frame::{BINARY, TEXT, encode},
    peer::Peer,
    server::Script,
};
use wsflow::{
    Config, Message,
    compat::{BinaryType, WebSocket},
};

use crate::event_api::log::{Log, Seen, plain, until, within};

/// B11, B171, B172, B174.
#[tokio::test]
async fn what_an_event_says() {
    for (url, origin) in [
        ("ws://h/path?query", "ws://h"),
        ("ws://h:80/", "ws://h"),
        ("WS://H:8080/", "ws://h:8080"),
        ("https://user:pass@h/", "wss://h"),
        ("ws://\u{e5}.example:1/", "ws://xn--5ca.example:1"),
    ] {
        let (mut peer, io) = Peer::pipe(1 << 16);
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let (builder, log) = Log::watch(plain(url), |_, _| {});
        let ws = builder.connect_over(io);
        let url = ws.url();
        ws.add_message_listener(move |ws, event| {
            assert_eq!(ws.url(), url);
            told.send(event.clone()).unwrap();
        });
        peer.accept().await;
        peer.text("data").await;
        let event = heard.recv().await.unwrap();
        assert_eq!((event.data, event.origin.as_str(), event.last_event_id.as_str()), ("data".into(), origin, ""));
        drop(peer);
        log.end(&ws).await;
    }
}

/// As an `EventSource` tells of it: a browser's socket follows none.
/// B172.
#[tokio::test]
async fn the_origin_of_a_message_is_that_of_the_last_url_and_url_stays_what_was_given() {
    let (first, last) = (Script::bind().await, Script::bind().await);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let given = first.url("/a");
    let (builder, log) = Log::watch(plain(&given).client(|client| client.redirects(2)), move |ws: &WebSocket, _| {
        told.send(ws.url()).unwrap();
    });
    let (origin_told, mut origin_heard) = tokio::sync::mpsc::unbounded_channel();
    let ws = builder.connect();
    ws.add_message_listener(move |_, event| origin_told.send(event.origin.clone()).unwrap());
    for (server, location) in [(&first, "/b"), (&first, &last.url("/c")[..])] {
        let mut peer = server.peer().await;
        peer.request().await;
        peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
        peer.expect_gone().await;
    }
    let mut peer = last.accept().await;
    for _ in 0..2 {
        peer.text("data").await;
        let origin = within(origin_heard.recv()).await.expect("a message");
        assert_eq!(origin, Some(format!("ws://{}", last.addr())));
    }
    drop(peer);
    log.end(&ws).await;
    while let Ok(url) = heard.try_recv() {
        assert_eq!(url, given);
    }
    assert_eq!(ws.url(), given);
}

/// B55, B165.
#[tokio::test]
async fn binary_type_is_read_when_the_event_is_made() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws: &WebSocket, seen| {
        let Seen::Message(Message::Binary(_)) = seen else { return };
        let next = match ws.binary_type() {
            BinaryType::ArrayBuffer => BinaryType::Blob,
            BinaryType::Blob => BinaryType::ArrayBuffer,
        };
        ws.set_binary_type(next);
    });
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    ws.add_message_listener(move |_, event| {
        let Message::Binary(data) = event.data.clone() else { panic!("{event:?}") };
        told.send(data).unwrap();
    });
    // All in one packet, so that the bytes of the last had come before the type was changed.
    let mut packet = peer.request().await.answer("").into_bytes();
    packet.extend((0..4).flat_map(|i| encode(true, 0, BINARY, &[i; 100])));
    peer.raw(packet).await;
    let mut data = Vec::<Bytes>::new();
    for _ in 0..4 {
        data.push(heard.recv().await.unwrap());
    }
    drop(peer);
    log.end(&ws).await;
    // An allocation of its own follows no other; slices of one read buffer lie one behind the other.
    let is_slice = |a: &Bytes, b: &Bytes| a.as_ptr().wrapping_add(2 * 102) == b.as_ptr();
    assert!(is_slice(&data[0], &data[2]), "ArrayBuffer is a slice of the read buffer");
    assert!(!is_slice(&data[1], &data[3]), "Blob is not");
    for (i, data) in data.iter().enumerate() {
        assert_eq!(data[..], [i as u8; 100]);
    }
}

/// Each handler waits until the server is ahead by as much as fits on the way: it never gets further.
/// B167.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_message_is_read_only_when_the_handlers_have_returned() {
    const MESSAGES: usize = 300;
    const LEN: usize = 1000;
    const PIPE: usize = 16 << 10;
    const READ_BUFFER: usize = 4 << 10;
    let written = Arc::new(AtomicUsize::new(0));
    let ahead = Arc::clone(&written);
    let mut handled = 0;
    let (ws, log, mut peer) = Log::pipe(PIPE, Config::default().read_buffer_max(READ_BUFFER), move |_, seen| {
        if !matches!(seen, Seen::Message(_)) {
            return;
        }
        handled += 1;
        let begun = Instant::now();
        while ahead.load(Relaxed) < MESSAGES.min(handled + PIPE / (LEN + 4) - 1) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server is held back by too much");
            thread::yield_now();
        }
        let at_most = handled + (PIPE + READ_BUFFER) / (LEN + 4) + 2;
        assert!(ahead.load(Relaxed) <= at_most, "the server is ahead by {}", ahead.load(Relaxed) - handled);
    });
    peer.accept().await;
    for _ in 0..MESSAGES {
        peer.binary([0; LEN]).await;
        written.fetch_add(1, Relaxed);
    }
    peer.close(None, "").await;
    peer.expect_close(None, "").await;
    drop(peer);
    assert_eq!(log.end(&ws).await.len(), MESSAGES + 2);
}

/// B163, B166.
#[tokio::test]
async fn a_message_is_handed_out_when_it_is_whole() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    peer.accept().await;
    peer.frame(false, 0, TEXT, "a").await;
    peer.frame(false, 0, 0, "").await;
    peer.ping("").await;
    peer.expect_pong("").await;
    assert_eq!(log.text(), ["open[1,0]"]);
    peer.frame(true, 0, 0, "b").await;
    until("the message", || log.lines().len() == 2).await;
    peer.close(None, "").await;
    peer.expect_close(None, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"ab\"[1,0]", "close{1,1005,\"\"}[3,0]"]);
}

/// B169.
#[tokio::test(start_paused = true)]
async fn an_idle_socket_stays_open() {
    let config = Config::default().keepalive_interval(None);
    let (ws, log, mut peer) = Log::pipe(1 << 16, config, |ws, seen| {
        if matches!(seen, Seen::Message(_)) {
            ws.send("echo").unwrap();
        }
    });
    peer.accept().await;
    // Nothing happens for an hour: that is the fact.
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(log.text(), ["open[1,0]"]);
    peer.text("still there").await;
    peer.expect_text("echo").await;
    peer.close(None, "").await;
    peer.expect_close(None, "").await;
    drop(peer);
    assert_eq!(log.end(&ws).await.len(), 3);
}

/// B162.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_arrives_whole_and_in_order_whatever_the_handlers_take() {
    let server = Script::bind().await;
    let (ws, log) = Log::connect(&server.url("/"), |_, seen| {
        if let Seen::Message(message) = seen
            && message.as_text().unwrap().ends_with("00")
        {
            thread::yield_now();
        }
    });
    let mut peer = server.accept().await;
    for i in 0..5000 {
        peer.text(&i.to_string()).await;
    }
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    drop(peer);
    let lines = log.end(&ws).await;
    let expected: Vec<_> = (0..5000).map(|i| format!("\"{i}\"[1,0]")).collect();
    assert_eq!(lines[1..5001], expected);
}
