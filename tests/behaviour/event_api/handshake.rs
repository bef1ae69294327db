//! The opening handshake as the users of the event API see it: what fails is an `error` and a `close`, what succeeds an
//! `open`.

use std::time::Duration;

use testkit::{
    frame::{CLOSE, TEXT, encode},
    peer::Peer,
    request::Head,
    server::Script,
};
use tokio::{io::AsyncWriteExt as _, time::Instant};
use tokio_util::sync::CancellationToken;
use wsflow::{Config, Deflate, Error, Phase, ReadyState, compat::WebSocket};

use crate::event_api::log::{Log, Seen, plain};

const FAILED: [&str; 2] = ["error[3,0]", "close{0,1006,\"\"}[3,0]"];

/// An answer to the request.
type Answer = fn(&Head) -> String;

/// Answers in memory and gives the log of the end.
async fn log_of(protocols: &[&str], answer: Answer) -> (WebSocket, Vec<String>) {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let (builder, log) = Log::watch(plain("ws://h/").protocols(protocols.iter().copied()).unwrap(), |_, _| {});
    let ws = builder.connect_over(io);
    let head = peer.request().await;
    peer.raw(answer(&head)).await;
    peer.expect_gone().await;
    let log = log.end(&ws).await;
    (ws, log)
}

/// B32-B41, B43, B53, B146.
#[tokio::test(start_paused = true)]
async fn every_failed_handshake_looks_the_same() {
    let cases: &[(&str, &[&str], Answer)] = &[
        ("B32 200", &[], |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("B32 301", &[], |_| "HTTP/1.1 301 Moved\r\nLocation: ws://h/\r\nContent-Length: 0\r\n\r\n".into()),
        ("B32 401", &[], |_| "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno".into()),
        ("B32 404", &[], |_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()),
        ("B32 503", &[], |_| "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".into()),
        ("B33", &[], |_| "FOO BAR BAZ\r\n\r\n".into()),
        ("B34", &[], |head| head.answer("").replace("Upgrade: websocket", "Upgrade: h2c")),
        ("B35", &[], |head| head.answer("").replace("Connection: Upgrade", "Connection: close")),
        ("B36", &[], |head| head.answer("").replace(&head.accept_key(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("B37", &[], |head| head.answer("Sec-WebSocket-Extensions: permessage-deflate\r\n")),
        ("B38", &[], |head| head.answer("Sec-WebSocket-Protocol: foobar\r\n")),
        ("B39", &["foobar"], |head| head.answer("Sec-WebSocket-Protocol: FOOBAR\r\n")),
        ("B40", &["foobar"], |head| head.answer("")),
    ];
    for (row, protocols, answer) in cases {
        let (ws, log) = log_of(protocols, *answer).await;
        assert_eq!(log, FAILED, "{row}");
        assert_eq!((ws.protocol(), ws.extensions()), (String::new(), String::new()), "{row}");
        // What went wrong is told to those who ask in Rust.
        let error = ws.error().unwrap_or_else(|| panic!("{row}: no error"));
        assert_eq!(matches!(error, Error::Refused(_)), row.starts_with("B32"), "{row}: {error:?}");
        assert!(matches!(error, Error::Refused(_) | Error::Handshake(_)), "{row}: {error:?}");
        assert_eq!(ws.send("late"), Ok(()), "{row}");
        assert_eq!(ws.buffered_amount(), 4, "{row}");
    }
}

/// B14, B31.
#[tokio::test]
async fn a_server_that_is_not_there_is_a_failed_handshake() {
    let gone = Script::bind().await.url("/");
    for url in [gone.as_str(), "ws://127.0.0.1:0/", "ws://nobody.invalid/"] {
        let (ws, log) = Log::connect(url, |_, _| {});
        assert_eq!(log.end(&ws).await, FAILED, "{url}");
        assert!(matches!(ws.error(), Some(Error::Connect { .. })), "{url}: {:?}", ws.error());
    }
}

/// B31.
#[cfg(feature = "rustls-tls")]
#[tokio::test]
async fn a_server_without_tls_is_a_failed_handshake() {
    let server = Script::bind().await;
    let url = server.url("/").replace("ws://", "wss://");
    let (ws, log) = Log::connect(&url, |_, _| {});
    let mut peer = server.peer().await;
    peer.raw("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(log.end(&ws).await, FAILED);
    assert!(matches!(ws.error(), Some(Error::Tls(_))), "{:?}", ws.error());
}

/// B30.
#[tokio::test]
async fn a_header_that_is_refused_is_a_failed_handshake_and_opens_no_connection() {
    let server = Script::bind().await;
    let (builder, log) = Log::watch(plain(&server.url("/")).header("Sec-WebSocket-Key", "x"), |_, _| {});
    let ws = builder.connect();
    assert_eq!(log.end(&ws).await, FAILED);
    assert!(matches!(ws.error(), Some(Error::InvalidHeader(_))), "{:?}", ws.error());
    // The next connection is the first one.
    let (again, log) = Log::connect(&server.url("/second"), |_, _| {});
    let mut peer = server.peer().await;
    assert!(peer.request().await.0.starts_with("GET /second "));
    drop(peer);
    log.end(&again).await;
}

/// B13, B21-B28.
#[tokio::test]
async fn what_the_server_is_asked() {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let builder = WebSocket::builder("http://foo:bar@Example.com:8080/a?b c").unwrap();
    let ws = builder
        .protocols(["v2", "v1"])
        .unwrap()
        .header("Origin", "https://example.org")
        .header("Cookie", "a=b")
        .connect_over(io);
    let head = peer.request().await;
    assert!(head.0.starts_with("GET /a?b%20c HTTP/1.1\r\n"), "{head:?}");
    for (name, value) in [
        ("Host", Some("example.com:8080")),
        ("Upgrade", Some("websocket")),
        ("Connection", Some("Upgrade")),
        ("Sec-WebSocket-Version", Some("13")),
        ("Sec-WebSocket-Protocol", Some("v2, v1")),
        // B25: browsers offer compression, and so does this API unless it is given a configuration.
        ("Sec-WebSocket-Extensions", Some("permessage-deflate; client_max_window_bits")),
        ("Authorization", Some("Basic Zm9vOmJhcg==")),
        ("Origin", Some("https://example.org")),
        ("Cookie", Some("a=b")),
        ("Referer", None),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    assert_eq!(head.header("Sec-WebSocket-Key").map(str::len), Some(24));
    drop((ws, peer));

    let (mut peer, io) = Peer::pipe(1 << 16);
    let _ws = plain("ws://h/").connect_over(io);
    let head = peer.request().await;
    for name in ["Origin", "Cookie", "Referer", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Authorization"] {
        assert_eq!(head.header(name), None, "{name}");
    }
}

/// B24, B49, B50, B51, B52.
#[tokio::test]
async fn what_was_agreed_shows_in_open_and_stays() {
    let extensions = "permessage-deflate; server_no_context_takeover";
    for (protocols, lines, expected) in [
        (
            &["v2", "v1"][..],
            format!("Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Extensions: {extensions}\r\n"),
            ["v1", extensions],
        ),
        (&[], String::new(), ["", ""]),
    ] {
        let (mut peer, io) = Peer::pipe(1 << 16);
        let agreed = move |ws: &WebSocket| assert_eq!([ws.protocol(), ws.extensions()], expected);
        let builder = plain("ws://h/").config(Config::default().deflate(Deflate::default()));
        let (builder, log) = Log::watch(builder.protocols(protocols.iter().copied()).unwrap(), move |ws, _| agreed(ws));
        let ws = builder.connect_over(io);
        assert_eq!([ws.protocol(), ws.extensions()], ["", ""]);
        peer.accept_with(&lines).await;
        peer.close(1000, "").await;
        peer.expect_close(1000, "").await;
        peer.finish().await;
        assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1000,\"\"}[3,0]"]);
        agreed(&ws);
    }
}

/// B29, B42, B59.
#[tokio::test]
async fn what_comes_with_the_head_is_an_event_behind_open() {
    for piece in [1, 1 << 16] {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
        let mut bytes = peer.request().await.answer("").into_bytes();
        bytes.extend_from_slice(&encode(true, 0, TEXT, b"first"));
        bytes.extend_from_slice(&encode(true, 0, CLOSE, b"\x03\xe9PASS"));
        for piece in bytes.chunks(piece) {
            peer.raw(piece).await;
            tokio::task::yield_now().await;
        }
        // B29: not a byte more than the request was written before.
        peer.expect_close(1001, "PASS").await;
        peer.finish().await;
        assert_eq!(log.end(&ws).await, ["open[1,0]", "\"first\"[1,0]", "close{1,1001,\"PASS\"}[3,0]"]);
    }
}

/// B60, B64, B104, B147.
#[tokio::test]
async fn close_while_connecting_aborts_and_never_opens() {
    // Before the request, and when the answer is on its way.
    for is_late in [false, true] {
        let server = Script::bind().await;
        let (ws, log) = Log::connect(&server.url("/"), |_, _| {});
        let mut peer = if is_late {
            let mut peer = server.peer().await;
            peer.accept().await;
            Some(peer)
        } else {
            None
        };
        if ws.ready_state() == ReadyState::Connecting {
            // Code and reason are judged, and then ignored.
            ws.close_with(4000, "ignored").unwrap();
            assert_eq!(ws.ready_state(), ReadyState::Closing);
            assert_eq!(log.text(), [""; 0], "an event inside of close()");
            assert_eq!(log.end(&ws).await, FAILED);
            assert!(matches!(ws.error(), Some(Error::Aborted)), "{:?}", ws.error());
        }
        if let Some(peer) = &mut peer {
            peer.expect_gone().await;
        }
    }
}

/// B60, B65, B104.
#[tokio::test]
async fn a_server_that_never_answers_is_left_at_once() {
    let server = Script::bind().await;
    let (ws, log) = Log::connect(&server.url("/"), |_, _| {});
    let mut peer = server.peer().await;
    peer.request().await;
    assert!(ws.send("early").is_err());
    assert_eq!(ws.buffered_amount(), 0);
    ws.close().unwrap();
    ws.close_with(3000, "again").unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    // B67: from here on it is counted.
    ws.send("late").unwrap();
    assert_eq!(log.end(&ws).await, ["error[3,4]", "close{0,1006,\"\"}[3,4]"]);
    peer.expect_eof().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_else_a_client_has_can_be_set() {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let token = CancellationToken::new();
    let signal = token.clone();
    let builder = plain("ws://h/")
        .client(|client| client.handshake_timeout(Duration::from_secs(2)).origin("https://a").signal(signal));
    let (builder, log) = Log::watch(builder, |_, _| {});
    let begun = Instant::now();
    let ws = builder.connect_over(io);
    assert_eq!(peer.request().await.header("Origin"), Some("https://a"));
    // It has no effect here.
    token.cancel();
    assert_eq!(log.end(&ws).await, FAILED);
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert!(matches!(ws.error(), Some(Error::Timeout { phase: Phase::Handshake, .. })), "{:?}", ws.error());
}

/// B20.
#[tokio::test]
async fn sockets_to_one_host_connect_at_once_and_do_not_mix() {
    let server = Script::bind().await;
    let sockets: Vec<_> = (0..25)
        .map(|i| {
            let seen = move |ws: &WebSocket, seen: &Seen| match seen {
                Seen::Open => ws.send(i.to_string()).unwrap(),
                Seen::Message(message) => {
                    assert_eq!(message.as_text(), Some(i.to_string().as_str()));
                    ws.close().unwrap();
                }
                Seen::Error | Seen::Close(_) => {}
            };
            Log::connect(&server.url("/"), seen)
        })
        .collect();
    let mut peers = Vec::new();
    for _ in 0..sockets.len() {
        peers.push(server.peer().await);
    }
    for peer in &mut peers {
        peer.accept().await;
        let (_, payload) = peer.expect_message().await;
        peer.text(&String::from_utf8(payload).unwrap()).await;
        peer.expect_close(None, "").await;
        peer.close(None, "").await;
        peer.finish().await;
    }
    for (i, (ws, log)) in sockets.iter().enumerate() {
        assert_eq!(log.end(ws).await, ["open[1,0]", &format!("\"{i}\"[1,0]"), "close{1,1005,\"\"}[3,0]"]);
    }
}

/// B43.
#[tokio::test]
async fn a_head_that_breaks_off_is_a_failed_handshake() {
    let server = Script::bind().await;
    let (ws, log) = Log::connect(&server.url("/"), |_, _| {});
    let mut peer = server.peer().await;
    peer.request().await;
    let mut io = peer.into_io();
    io.write_all(b"HTTP/1.1 101 Swi").await.unwrap();
    drop(io);
    assert_eq!(log.end(&ws).await, FAILED);
}
