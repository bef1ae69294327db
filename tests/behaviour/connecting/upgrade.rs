//! Upgrades that are made elsewhere: the request that `connect` sends, and what `connect` checks of the response.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use testkit::{
    frame::{TEXT, encode},
    peer::Peer,
    request::Head,
};
use wsflow::{ClientBuilder, CloseFrame, Config, Deflate, Error, InvalidUrl, Message, WebSocketStream};

const URL: &str = "wss://user:secret@Example.com:8443/a?b=c";

/// A builder with all that shows in a request.
fn builder() -> ClientBuilder {
    WebSocketStream::builder(URL)
        .protocols(["v2.feed", "v1.feed"])
        .header("X-Shard", "7")
        .header("X-Shard", "8")
        .origin("https://example.com")
        .config(Config::default().deflate(Deflate::default()))
}

/// The headers of a request as it is on the wire, in lower case, but for the key.
fn headers_of(head: &Head) -> Vec<(String, String)> {
    let lines = head.0.lines().skip(1).filter_map(|line| line.split_once(": "));
    sorted(lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())))
}

fn sorted(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.filter(|(name, _)| name != "sec-websocket-key").collect();
    headers.sort();
    headers
}

/// A right answer to a request, with more headers.
fn answer(request: &http::Request<()>, more: &[(&'static str, &'static str)]) -> HeaderMap {
    let key = request.headers()["sec-websocket-key"].to_str().expect("a key");
    let accept = Head(format!("GET / HTTP/1.1\r\nSec-WebSocket-Key: {key}\r\n\r\n")).accept_key();
    let mut headers = HeaderMap::new();
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("sec-websocket-accept", HeaderValue::from_str(&accept).expect("a value"));
    for (name, value) in more {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// B306.
#[tokio::test]
async fn the_request_is_the_one_that_connect_sends() {
    for (builder, uri) in [
        (builder(), "https://example.com:8443/a?b=c"),
        (WebSocketStream::builder("ws://example.com"), "http://example.com/"),
        (WebSocketStream::builder("ws://[::1]:80/x").host("virtual:1").user_agent(None), "http://[::1]/x"),
        (builder().header("Authorization", "Bearer x"), "https://example.com:8443/a?b=c"),
    ] {
        let (request, _upgrade) = builder.clone().into_request().expect("a request");
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
        assert_eq!(request.uri().to_string(), uri);
        let (mut peer, io) = Peer::pipe(1 << 16);
        let (_, head) = tokio::join!(builder.clone().connect_over(io), async {
            let head = peer.request().await;
            drop(peer);
            head
        });
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        let headers = sorted(request.headers().iter().map(|(name, value)| (name.to_string(), text(value))));
        assert_eq!(headers, headers_of(&head));
        let (again, _upgrade) = builder.into_request().expect("a request");
        assert_ne!(again.headers()["sec-websocket-key"], request.headers()["sec-websocket-key"]);
    }
    let refused = WebSocketStream::builder("ftp://example.com").into_request().map(drop);
    assert!(matches!(refused, Err(Error::InvalidUrl(InvalidUrl::Scheme(_)))));
}

/// B307. The same error, in the same words.
#[tokio::test]
async fn a_response_is_judged_as_connect_judges_it() {
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(u16, Headers); 9] = [
        (101, &[]),
        (101, &[("sec-websocket-protocol", "v3.feed")]),
        (101, &[("sec-websocket-protocol", "v1.feed"), ("upgrade", "h2c")]),
        (101, &[("sec-websocket-protocol", "v1.feed"), ("connection", "close")]),
        (101, &[("sec-websocket-protocol", "v1.feed"), ("sec-websocket-accept", "x")]),
        (101, &[("sec-websocket-protocol", "v1.feed"), ("sec-websocket-extensions", "x-unknown")]),
        (101, &[("sec-websocket-protocol", "v1.feed"), ("transfer-encoding", "chunked")]),
        (200, &[("content-length", "0")]),
        (403, &[("content-length", "0"), ("retry-after", "7")]),
    ];
    for (status, more) in cases {
        let (request, upgrade) = builder().into_request().expect("a request");
        let judged = upgrade.check(StatusCode::from_u16(status).expect("a status"), &answer(&request, more));
        let judged = judged.map(|_| ()).expect_err("wrong");
        let (mut peer, io) = Peer::pipe(1 << 16);
        let (connected, ()) = tokio::join!(builder().connect_over(io), async {
            let head = peer.request().await;
            let mut lines = vec![
                ("upgrade", "websocket".to_owned()),
                ("connection", "Upgrade".to_owned()),
                ("sec-websocket-accept", head.accept_key()),
            ];
            lines.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
            lines.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            peer.raw(format!("HTTP/1.1 {status} x\r\n{lines}\r\n")).await;
        });
        assert_eq!(judged.to_string(), connected.expect_err("wrong").to_string(), "{status} {more:?}");
        if status != 101 {
            assert_eq!(judged.status().map(|status| status.as_u16()), Some(status));
            assert!(matches!(&judged, Error::Refused(response) if response.body().is_empty()), "{judged}");
        }
    }
}

/// B307.
#[tokio::test]
async fn the_stream_over_what_was_upgraded_has_what_was_agreed_on() {
    let (request, upgrade) = builder().into_request().expect("a request");
    let more = [
        ("sec-websocket-protocol", "v1.feed"),
        ("sec-websocket-extensions", "permessage-deflate; client_no_context_takeover"),
        ("x-shard", "7"),
    ];
    let agreed = upgrade.check(StatusCode::SWITCHING_PROTOCOLS, &answer(&request, &more)).expect("agreed");
    let (mut peer, io) = Peer::pipe(1 << 16);
    let mut ws = agreed.over_parts(io, Bytes::from(encode(true, 0, TEXT, b"read too far")));
    assert_eq!(ws.next().await.expect("open").expect("a message"), Message::from("read too far"));
    assert_eq!(ws.url().map(url::Url::as_str), Some("wss://user:secret@example.com:8443/a?b=c"));
    assert_eq!(ws.response().expect("a response").headers()["x-shard"], "7");
    assert_eq!((ws.protocol(), ws.extensions()), ("v1.feed", more[1].1));
    ws.send(Message::from("x".repeat(10_000))).await.expect("open");
    let frame = peer.expect_frame().await;
    assert!(frame.rsv == 4 && frame.payload.len() < 1000, "{} bytes, not compressed", frame.payload.len());
    peer.close(1000, "").await;
    peer.finish().await;
    assert!(ws.close_with(CloseFrame::new(1000, "")).await.expect("a valid code").was_clean);
}
