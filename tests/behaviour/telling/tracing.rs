//! What a subscriber of `tracing` is shown of a connection, and what nobody is shown.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _, poll};
use testkit::{peer::Peer, server::Script};
use tokio::{io::DuplexStream, task::yield_now, time::advance};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;
use wsflow::{ClientBuilder, CloseFrame, Config, Message, WebSocketStream};

/// It stands in all that must not be shown.
const SECRET: &str = "s3cret";

const SPAN: &str = "websocket{network.protocol.name=\"websocket\" server.address=\"feed.example\" server.port=80 \
                    url.scheme=\"ws\" url.path=\"/prices\"}";

/// All that this thread shows, as lines of text.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn record() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// All of it, of whatever crate. No line may have a secret.
    fn text(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("UTF-8");
        // Also not in Base64, as Basic credentials are.
        for secret in [SECRET, "czNjcmV0", "M2NyZX", "zY3JldA"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        text
    }

    /// The events of this crate: level, name and fields. Each must stand in `span`.
    fn events(&self, span: &str) -> Vec<String> {
        let text = self.text();
        let events = text.lines().filter_map(|line| {
            let (context, event) = line.split_once(": wsflow: ")?;
            let (level, in_span) = context.trim_start().split_once(' ').expect("a level");
            assert_eq!(in_span, span, "{line}");
            Some(format!("{level} {event}"))
        });
        events.collect()
    }

    /// The last of them.
    fn last(&self, span: &str) -> String {
        self.events(span).pop().expect("an event")
    }
}

fn secret(what: &str) -> String {
    format!("{SECRET}-{what}")
}

/// With a secret wherever there is a place for one.
fn builder() -> ClientBuilder {
    let userinfo = format!("{}:{}", secret("user"), secret("password"));
    WebSocketStream::builder(format!("ws://{userinfo}@feed.example/prices?token={}", secret("query")))
        .protocols([secret("subprotocol")])
        .header("Cookie", secret("cookie"))
        .header("X-Api-Key", secret("key"))
}

async fn open(config: Config) -> (Peer<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let (ws, ()) = tokio::join!(builder().config(config).connect_over(io), async {
        let head = peer.request().await;
        advance(Duration::from_millis(250)).await;
        peer.raw(head.answer(&format!("Sec-WebSocket-Protocol: {}\r\n", secret("subprotocol")))).await;
    });
    (peer, ws.expect("open"))
}

const OPENED: [&str; 3] = [
    "DEBUG response received elapsed_ms=250.0",
    "DEBUG handshake done http.response.status_code=101 subprotocol=true compression=false",
    "DEBUG open elapsed_ms=250.0",
];

#[tokio::test(start_paused = true)]
async fn a_connection_shows_its_steps_and_its_end_and_no_secret() {
    let (log, _guard) = Log::record();
    let (mut peer, mut ws) = open(Config::default().keepalive_interval(Duration::from_secs(1))).await;
    peer.text(&secret("payload")).await;
    ws.next().await.unwrap().unwrap();
    ws.send(secret("answer").into()).await.unwrap();
    peer.expect_text(&secret("answer")).await;
    let (end, ()) = tokio::join!(ws.next(), async {
        let ping = peer.expect_ping().await;
        advance(Duration::from_millis(20)).await;
        peer.pong(ping).await;
        peer.close(1008, &secret("reason")).await;
        peer.expect_close(1008, &secret("reason")).await;
        peer.finish().await;
    });
    assert!(end.is_none());
    drop(ws);
    let events = log.events(SPAN);
    assert_eq!(events[..3], OPENED);
    assert_eq!(events[3..5], ["TRACE keepalive ping queued", "TRACE pong received rtt_ms=20.0"]);
    assert_eq!(events[5], "DEBUG closing by=\"remote\" websocket.close_code=1008");
    assert!(events[6].starts_with("DEBUG closed websocket.close_code=1008 was_clean=true open_ms="), "{}", events[6]);
    let counted = "messages_received=1 messages_sent=1 payload_bytes_received=14 payload_bytes_sent=13";
    assert!(events[6].contains(counted), "{}", events[6]);
    assert_eq!(events.len(), 7, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_of_ours_is_shown_with_both_codes() {
    let (log, _guard) = Log::record();
    let (mut peer, mut ws) = open(Config::default()).await;
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(4000, secret("reason"))), async {
        peer.expect_close(4000, &secret("reason")).await;
        peer.close(4001, &secret("reason")).await;
        peer.finish().await;
    });
    closed.unwrap();
    let events = log.events(SPAN);
    assert_eq!(events[3], "DEBUG closing by=\"local\" websocket.close_code=4000");
    assert_eq!(events[4], "DEBUG close answered websocket.close_code=4001");
    assert!(events[5].starts_with("DEBUG closed websocket.close_code=4001 was_clean=true open_ms=0.0 "), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_shown_with_the_error() {
    let (log, _guard) = Log::record();
    let (_peer, mut ws) = open(Config::default()).await;
    ws.next().await.unwrap().expect_err("nobody is there");
    let events = log.events(SPAN);
    assert_eq!(events[3..5], ["TRACE keepalive ping queued", "DEBUG keepalive timed out timeout_ms=30000.0"]);
    let error = "error.type=\"timeout\" error=\"waiting for a sign of life from the peer timed out after 30s\"";
    let expected = format!("DEBUG closed websocket.close_code=1006 was_clean=false {error} open_ms=");
    assert!(events[5].starts_with(&expected), "{}", events[5]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_peer_is_told_of_is_shown() {
    let (log, _guard) = Log::record();
    let (mut peer, mut ws) = open(Config::default()).await;
    peer.text(&secret("x").repeat(2)).await;
    peer.raw([0xf1, 0x00]).await;
    ws.next().await.unwrap().unwrap();
    ws.next().await.unwrap().expect_err("reserved bits");
    let error = "error.type=\"protocol_violation\" error=\"protocol violation by the peer: a frame with the reserved bits 111 \
                 (RSV1-3) without an extension that defines them\"";
    assert_eq!(log.events(SPAN)[3], format!("DEBUG failing {error} websocket.close_code=1002"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_halves_is_shown_with_how_long_their_senders_waited() {
    let (log, _guard) = Log::record();
    let (peer, ws) = open(Config::default().write_high_water_mark(1000)).await;
    let (sender, _receiver) = ws.into_split();
    let mut peer = Peer::over(peer.into_io());
    // More than the pipe holds.
    sender.send(Message::binary(vec![7; 1 << 17])).await.unwrap();
    let mut second = Box::pin(sender.send("second"));
    assert!(poll!(&mut second).is_pending());
    for _ in 0..50 {
        yield_now().await;
    }
    advance(Duration::from_secs(4)).await;
    peer.expect_message().await;
    second.await.unwrap();
    drop(peer);
    sender.closed().await;
    let last = log.last(SPAN);
    assert!(last.starts_with("DEBUG closed websocket.close_code=1006 was_clean=false "), "{last}");
    assert!(last.ends_with(" write_held_back_ms=4000.0"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_says_so_and_one_that_is_given_back_does_not() {
    for (is_dropped, expected) in [(true, "DEBUG dropped open_ms=3000.0"), (false, OPENED[2])] {
        let (log, _guard) = Log::record();
        let (_peer, ws) = open(Config::default()).await;
        advance(Duration::from_secs(3)).await;
        if is_dropped {
            drop(ws);
        } else {
            let _parts = ws.into_parts();
        }
        assert_eq!(log.last(SPAN), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_was_upgraded_elsewhere_has_a_span_without_a_url() {
    let (log, _guard) = Log::record();
    let (_peer, io) = Peer::pipe(64);
    drop(WebSocketStream::from_upgraded(io, Config::default()));
    assert_eq!(log.last("websocket{network.protocol.name=\"websocket\"}"), "DEBUG dropped open_ms=0.0");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_upgrade_is_shown_without_what_the_server_wrote() {
    let body = secret("body");
    for (answer, expected) in [
        (
            format!("HTTP/1.1 403 {body}\r\nX: {body}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            "error.type=\"refused\" http.response.status_code=403 \
             error=\"the server refused the upgrade with status 403 Forbidden\"",
        ),
        (
            format!("HTTP/1.1 101 x\r\nUpgrade: {body}\r\n\r\n"),
            "error.type=\"handshake\" error=\"the server's response is no answer to the upgrade request\"",
        ),
        (
            format!("HTTP/1.1 {body}\r\n\r\n"),
            "error.type=\"handshake\" error=\"the server's response is no answer to the upgrade request\"",
        ),
    ] {
        let (log, _guard) = Log::record();
        let (mut peer, io) = Peer::pipe(1 << 16);
        let (ws, ()) = tokio::join!(builder().connect_over(io), async {
            peer.request().await;
            peer.raw(&answer).await;
        });
        let error = crate::support::error(ws);
        assert_eq!(log.last(SPAN), format!("DEBUG connecting failed elapsed_ms=0.0 {expected}"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_connecting_is_shown() {
    let (log, _guard) = Log::record();
    let (_peer, io) = Peer::pipe(1 << 16);
    crate::support::error(builder().handshake_timeout(Duration::from_secs(5)).connect_over(io).await);
    let error = "error.type=\"timeout\" error=\"the opening handshake with ws://feed.example:80 timed out after 5s\"";
    assert_eq!(log.events(SPAN), [format!("DEBUG connecting failed elapsed_ms=5000.0 {error}")]);
}

fn span(script: &Script) -> String {
    let address = format!("server.address=\"127.0.0.1\" server.port={}", script.addr().port());
    format!("websocket{{network.protocol.name=\"websocket\" {address} url.scheme=\"ws\" url.path=\"/a\"}}")
}

/// An event without its time, which is the machine's here.
fn timeless(event: &str) -> String {
    let words = event.split(' ').filter(|word| !word.contains("elapsed_ms="));
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn redirects_are_shown_without_their_queries() {
    let (log, _guard) = Log::record();
    let script = Script::bind().await;
    let builder = WebSocketStream::builder(script.url("/a")).redirects(1);
    let (ws, _) = tokio::join!(builder.connect(), async {
        let mut peer = script.peer().await;
        peer.request().await;
        peer.raw(format!("HTTP/1.1 302 x\r\nLocation: /b?{}\r\n\r\n", secret("query"))).await;
        script.accept().await
    });
    let _ = ws.expect("open");
    let events: Vec<_> = log.events(&span(&script)).iter().map(|event| timeless(event)).collect();
    let there = format!("server.address=\"127.0.0.1\" server.port={} url.scheme=\"ws\"", script.addr().port());
    assert_eq!(
        events[..6],
        [
            "DEBUG connected".into(),
            "DEBUG response received".into(),
            format!("DEBUG redirect followed http.response.status_code=302 {there} url.path=\"/b\""),
            "DEBUG connected".into(),
            "DEBUG response received".into(),
            "DEBUG handshake done http.response.status_code=101 subprotocol=false compression=false".into(),
        ]
    );
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_shown() {
    let (log, _guard) = Log::record();
    let script = Script::bind().await;
    let (url, span) = (script.url("/a"), span(&script));
    drop(script);
    crate::support::error(WebSocketStream::connect(url).await);
    let [event] = &log.events(&span)[..] else { panic!("{}", log.text()) };
    let expected = "DEBUG connecting failed error.type=\"connect\" error=\"cannot connect to ws://127.0.0.1:";
    assert!(timeless(event).starts_with(expected), "{event}");
}

#[cfg(feature = "proxy")]
#[tokio::test]
async fn a_tunnel_is_shown_without_the_proxys_credentials() {
    for (answer, expected) in [
        ("200 OK", "DEBUG tunnel opened".to_owned()),
        ("407 s3cret", "DEBUG connecting failed error.type=\"proxy\"".to_owned()),
    ] {
        let (log, _guard) = Log::record();
        let script = Script::bind().await;
        let url = format!("http://{}:{}@{}", secret("user"), secret("password"), script.addr());
        let proxy = wsflow::Proxy::http(url).expect("a proxy");
        let (_ws, ()) = tokio::join!(builder().proxy(proxy).connect(), async {
            let mut peer = script.peer().await;
            peer.request().await;
            peer.raw(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n")).await;
            if answer.starts_with('2') {
                peer.accept().await;
            }
        });
        let events: Vec<_> = log.events(SPAN).iter().map(|event| timeless(event)).collect();
        assert_eq!(events[0], "DEBUG connected");
        assert!(events[1].starts_with(&expected), "{}", events[1]);
    }
}
