//! Deadlines that pass, and ends that are not waited for, while sockets and threads are at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{CLOSE, Frame, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
    server::Script,
};
use tokio::time::timeout;
use wsflow::{CloseFrame, Closed, Config, Error, Message, Phase, WebSocketStream, compat::WebSocket};

use crate::{
    support::watch::{Endless, trace},
    turn,
};

/// B114, B162.
#[tokio::test]
async fn a_violation_by_us_never_shows_in_a_long_dialogue() {
    let _turn = turn().await;
    let server = Script::bind().await;
    let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let mut ws = ws.expect("open");
    let start = Instant::now();
    let (trace, frames) = tokio::join!(
        async {
            for i in 0..200 {
                let Message::Text(text) = ws.next().await.expect("open").expect("open") else { panic!("no text") };
                assert_eq!(text.as_str(), format!("{i}"));
                ws.feed(Message::Text(text)).await.expect("open");
            }
            ws.flush().await.expect("open");
            trace(&mut ws).await
        },
        async {
            let script = (0..200)
                .flat_map(|i| [encode(true, 0, TEXT, format!("{i}").as_bytes()), encode(true, 0, PING, b"p")].concat());
            peer.raw(script.collect::<Vec<_>>()).await;
            for i in 0..200 {
                loop {
                    let frame = peer.expect_frame().await;
                    if frame.opcode == TEXT {
                        assert_eq!(frame.payload, format!("{i}").as_bytes());
                        break;
                    }
                    assert_eq!(frame, Frame::new(PONG, "p"));
                }
            }
            peer.close(1000, "").await;
            peer.finish().await;
            peer.rest().await
        }
    );
    assert_eq!(trace.closed, Closed::new(1000, "", true));
    assert_eq!(frames.iter().filter(|frame| frame.opcode == CLOSE).count(), 1);
    assert!(start.elapsed() < Duration::from_secs(2), "the end of TCP is not waited for once it has come");
}

/// The clock cannot be paused: nothing is ever idle.
/// B117, B159.
#[tokio::test]
async fn a_peer_that_never_stops_talking_holds_no_deadline_up() {
    let _turn = turn().await;
    let short = Duration::from_millis(50);
    let text = encode(true, 0, TEXT, &[b'a'; 10_000]);
    let scripts = [
        (encode(true, 0, CLOSE, &close_body(Some(1000), "bye")), Some(Closed::new(1000, "bye", true))),
        (vec![0x83, 0], Some(Closed::new(1006, "", false))),
        // It does not answer our Close.
        (text.clone(), None),
    ];
    for (script, expected) in scripts {
        let config = Config::default().close_timeout(short).tcp_end_timeout(short);
        let mut ws = WebSocketStream::from_upgraded(Endless { script, frame: text.clone() }, config);
        let ending = async {
            match expected {
                Some(expected) => assert_eq!(trace(&mut ws).await.closed, expected),
                None => {
                    let end = ws.close_with(CloseFrame::empty()).await.expect("an end");
                    assert_eq!(end, Closed::new(1006, "", false));
                    assert!(matches!(trace(&mut ws).await.error, Some(Error::Timeout { phase: Phase::Close, .. })));
                }
            }
        };
        timeout(Duration::from_secs(5), ending).await.expect("it never ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_takes_ten_keepalive_periods_kills_no_peer() {
    let _turn = turn().await;
    const PERIOD: Duration = Duration::from_millis(10);
    // A peer that answers no ping, and whose messages and Close wait for the handlers.
    let (mut peer, io) = Peer::pipe(64);
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    let ws = WebSocket::builder("ws://h/")
        .unwrap()
        .config(Config::default().keepalive_interval(PERIOD).keepalive_timeout(PERIOD))
        .on_message(move |_, _| {
            std::thread::sleep(4 * PERIOD);
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .connect_over(io);
    peer.accept().await;
    for _ in 0..5 {
        peer.binary([0; 60]).await;
    }
    peer.close(1000, "").await;
    ws.closed().await;
    assert_eq!(received.load(Ordering::Relaxed), 5);
    assert!(ws.error().is_none(), "{:?}", ws.error());
}

#[tokio::test]
async fn each_status_that_redirects_is_followed_and_the_body_is_not_waited_for() {
    let _turn = turn().await;
    let mut fastest = Duration::MAX;
    for status in [301, 302, 303, 307, 308] {
        let server = Script::bind().await;
        let started = Instant::now();
        let builder = WebSocketStream::builder(server.url("/a")).redirects(1);
        let (ws, head) = tokio::join!(builder.connect(), async {
            let mut peer = server.peer().await;
            peer.request().await;
            let head = format!("HTTP/1.1 {status} Elsewhere\r\nLocation: /b\r\nContent-Length: 9\r\n\r\n");
            peer.raw(head).await;
            peer.expect_gone().await;
            server.peer().await.accept().await
        });
        let ws = ws.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert!(head.0.starts_with("GET /b "), "{}", head.0);
        assert_eq!(ws.url().expect("a URL").as_str(), server.url("/b"));
        fastest = fastest.min(started.elapsed());
    }
    // The body of a refusal is waited for that long.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[cfg(feature = "proxy")]
#[tokio::test]
async fn a_refusal_whose_body_is_late_is_told_as_a_refusal_with_what_came() {
    let _turn = turn().await;
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let script = Script::bind().await;
    let proxy = wsflow::Proxy::http(format!("http://{}", script.addr())).expect("a proxy");
    let builder = WebSocketStream::builder("ws://example.com/").proxy(proxy);
    let (refused, ()) = tokio::join!(builder.handshake_timeout(limit).connect(), async {
        let mut peer = script.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 407 x\r\nContent-Length: 999\r\n\r\nwhy").await;
        peer.expect_gone().await;
    });
    let refused = crate::support::error(refused);
    let text = format!(
        "the proxy {} for ws://example.com:80 refused the tunnel with status 407 Proxy Authentication Required: why",
        script.addr()
    );
    assert_eq!(refused.to_string(), text);
    assert!(!refused.is_timeout());
    // Where nothing else bounds it a body is waited for that long.
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
