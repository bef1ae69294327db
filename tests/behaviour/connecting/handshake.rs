//! The opening handshake: what is asked, what is accepted, and what each failure is called.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use proptest::prelude::*;
use testkit::{
    frame::{TEXT, encode},
    peer::{PATIENCE, Peer},
    request::Head,
    server::Script,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wsflow::{
    ClientBuilder, Config, Error, InvalidHeader, InvalidResponse, InvalidSubprotocol, InvalidUrl, Phase, UpgradedParts,
    WebSocketStream,
};

use crate::support::error;

const URL: &str = "ws://example.com/a?b=c";

/// What is sent as such unless said otherwise.
const USER_AGENT: &str = concat!("wsflow/", env!("CARGO_PKG_VERSION"));

/// Connects over a pipe to a server that gives `answer` to the request and then ends.
async fn connect(
    builder: ClientBuilder,
    answer: impl FnOnce(&Head) -> Vec<u8>,
) -> Result<WebSocketStream<DuplexStream>, Error> {
    let (mut peer, io) = Peer::pipe(256 * 1024);
    let serving = async {
        let head = peer.request().await;
        peer.raw(answer(&head)).await;
        peer.finish().await;
        peer
    };
    let (ws, _peer) = tokio::join!(builder.connect_over(io), serving);
    ws
}

async fn connect_to(answer: impl FnOnce(&Head) -> Vec<u8>) -> Result<WebSocketStream<DuplexStream>, Error> {
    connect(WebSocketStream::builder(URL), answer).await
}

/// A 101 of the given header lines, `{accept}` filled in.
fn switching(lines: &str) -> impl FnOnce(&Head) -> Vec<u8> + use<> {
    let head = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n\r\n");
    move |request| head.replace("{accept}", &request.accept_key()).into_bytes()
}

fn fixed(bytes: impl AsRef<[u8]>) -> impl FnOnce(&Head) -> Vec<u8> {
    let bytes = bytes.as_ref().to_vec();
    move |_| bytes
}

fn invalid_response(error: Error) -> InvalidResponse {
    match error {
        Error::Handshake(failed) => failed.cause.clone(),
        other => panic!("an invalid response was expected: {other:?}"),
    }
}

fn refused(error: Error) -> http::Response<Bytes> {
    match error {
        Error::Refused(response) => (*response).clone(),
        other => panic!("a refusal was expected: {other:?}"),
    }
}

/// The request that a builder makes, and that nothing follows it before the response (B29).
async fn request_of(builder: ClientBuilder) -> Head {
    let (mut peer, io) = Peer::pipe(4096);
    let (ws, head) = tokio::join!(builder.connect_over(io), async {
        let head = peer.request().await;
        peer.finish().await;
        peer.expect_eof().await;
        head
    });
    assert!(matches!(invalid_response(error(ws)), InvalidResponse::Truncated { received: 0 }));
    head
}

// A: URLs. What they parse to is tested beside the parser.

/// B1, B6, B30, B45, B195.
#[tokio::test]
async fn misuse_is_judged_in_order_and_before_any_io() {
    let bad_url = |error: &Error| matches!(error, Error::InvalidUrl(InvalidUrl::Parse(_)));
    let bad_scheme = |error: &Error| matches!(error, Error::InvalidUrl(InvalidUrl::Scheme(_)));
    let bad_fragment = |error: &Error| matches!(error, Error::InvalidUrl(InvalidUrl::Fragment));
    let bad_host = |error: &Error| matches!(error, Error::InvalidUrl(InvalidUrl::Host(_)));
    let bad_protocol = |error: &Error| matches!(error, Error::InvalidSubprotocol(InvalidSubprotocol::Empty));
    let bad_header = |error: &Error| matches!(error, Error::InvalidHeader(InvalidHeader::Owned(_)));
    type Row<'a> = (&'a str, &'a str, &'a str, &'a str, &'a dyn Fn(&Error) -> bool);
    let rows: [Row<'_>; 6] = [
        ("ws://a b/#", "/", "", "Host", &bad_url),
        ("ftp://h/#", "/", "", "Host", &bad_scheme),
        ("http://h/#", "/", "", "Host", &bad_fragment),
        ("http://h/", "/", "", "Host", &bad_host),
        ("http://h/", "h", "", "Host", &bad_protocol),
        ("http://h/", "h", "a", "Host", &bad_header),
    ];
    for (url, host, protocol, name, expected) in rows {
        // The order in which they were given does not matter.
        let builder = || WebSocketStream::builder(url).header(name, "x").protocols([protocol]).host(host);
        let (mut peer, io) = Peer::pipe(64);
        let refused = error(builder().connect_over(io).await);
        assert!(expected(&refused), "{url} {host} {protocol} {name}: {refused:?}");
        peer.expect_eof().await;
        assert!(expected(&error(builder().connect().await)), "{url}");
        let (mut peer, io) = Peer::pipe(64);
        assert!(expected(&error(builder().connect_tls_over(io).await)), "{url}");
        peer.expect_eof().await;
    }
    assert!(bad_url(&error(WebSocketStream::connect("").await)));
}

/// B2, B7, B12.
#[tokio::test]
async fn scheme_and_host_in_any_case_connect_and_the_url_is_kept() {
    let server = Script::bind().await;
    let port = server.addr().port();
    for (url, shown) in [
        (format!("http://127.0.0.1:{port}"), format!("ws://127.0.0.1:{port}/")),
        (format!("WS://LOCALHOST:{port}/X"), format!("ws://localhost:{port}/X")),
        (format!("ws://u:p@127.0.0.1:{port}"), format!("ws://u:p@127.0.0.1:{port}/")),
    ] {
        let (ws, _peer) = tokio::join!(WebSocketStream::connect(&url), server.accept());
        assert_eq!(ws.expect("open").url().expect("a url").as_str(), shown);
    }
}

/// B13.
#[tokio::test]
async fn userinfo_is_sent_as_basic_credentials_unless_a_header_says_otherwise() {
    let head = request_of(WebSocketStream::builder("ws://foo:bar@example.com/")).await;
    assert_eq!(head.header("Authorization"), Some("Basic Zm9vOmJhcg=="));
    assert_eq!(head.header("Host"), Some("example.com"));
    let builder = WebSocketStream::builder("ws://foo:bar@example.com/").header("authorization", "Bearer x");
    assert_eq!(request_of(builder).await.header("Authorization"), Some("Bearer x"));
}

/// B13.
#[tokio::test]
async fn secrets_are_not_in_what_is_logged() {
    let builder = WebSocketStream::builder("ws://foo:secret@h/?token=secret").header("X-Key", "secret");
    assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
    let refused = error(WebSocketStream::builder("ws://h").header("X-Key", "secret\n").connect().await);
    assert!(!format!("{refused:?} {refused}").contains("secret"), "{refused:?}");
    let refused = error(WebSocketStream::connect("ws://foo:secret@h/#").await);
    assert!(!format!("{refused:?} {refused}").contains("secret"), "{refused:?}");
    let ws = connect(WebSocketStream::builder("ws://foo:secret@h/"), |head| head.answer("").into_bytes()).await;
    assert!(!format!("{ws:?}").contains("secret"), "{ws:?}");
}

/// B14, B31.
#[tokio::test]
async fn a_port_or_a_host_that_nobody_listens_on_is_a_connect_error() {
    let refusing = {
        let server = Script::bind().await;
        server.url("/")
    };
    let refused = error(WebSocketStream::connect(refusing).await);
    let Error::Connect { cause, .. } = refused else { panic!("a connect error was expected: {refused:?}") };
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(matches!(error(WebSocketStream::connect("ws://127.0.0.1:0/").await), Error::Connect { .. }));
    let unresolvable = WebSocketStream::builder("ws://name.invalid/").connect_timeout(Duration::from_secs(5));
    let failed = error(unresolvable.connect().await);
    assert!(failed.is_connect(), "{failed:?}");
}

// B: the request.

/// B21-B29.
#[tokio::test]
async fn the_request_byte_by_byte() {
    let builder = WebSocketStream::builder(URL)
        .protocols(["b", "a"])
        .header("X-API-key", "1")
        .header("x-api-key", [b'2', 0xe9])
        .origin("https://example.com");
    let (mut peer, io) = Peer::pipe(4096);
    let (_ws, head) = tokio::join!(builder.connect_over(io), async {
        // A head of bytes that are not UTF-8 cannot be had as text.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.byte().await);
        }
        peer.finish().await;
        peer.expect_eof().await;
        String::from_utf8_lossy(&head).into_owned()
    });
    let key = Head(head.clone()).header("Sec-WebSocket-Key").expect("a key").to_owned();
    assert_eq!(
        head,
        format!(
            "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: b, a\r\n\
             User-Agent: {USER_AGENT}\r\nX-Api-Key: 1\r\nX-Api-Key: 2\u{fffd}\r\nOrigin: https://example.com\r\n\r\n"
        )
    );
}

/// B24-B28, B49.
#[tokio::test]
async fn a_plain_request_has_no_header_that_nobody_asked_for() {
    let head = request_of(WebSocketStream::builder("ws://example.com:8080/").protocols([""; 0])).await;
    let key = head.header("Sec-WebSocket-Key").expect("a key");
    assert_eq!(
        head.0,
        format!(
            "GET / HTTP/1.1\r\nHost: example.com:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nUser-Agent: {USER_AGENT}\r\n\r\n"
        )
    );
}

/// B22.
#[tokio::test]
async fn the_key_is_16_bytes_and_new_for_each_connection() {
    let mut keys = Vec::new();
    for _ in 0..3 {
        let head = request_of(WebSocketStream::builder(URL)).await;
        let key = head.header("Sec-WebSocket-Key").expect("a key").to_owned();
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
        assert!(!keys.contains(&key), "{key} came twice");
        keys.push(key);
    }
}

/// B30.
#[tokio::test]
async fn headers_that_are_refused() {
    let refused = async |name: &str, value: &[u8]| match error(
        WebSocketStream::builder(URL).header("X-Fine", "1").header(name, value).header("Host", "h").connect().await,
    ) {
        Error::InvalidHeader(invalid) => invalid,
        other => panic!("{name}: {other:?}"),
    };
    for name in ["Host", "Connection", "UPGRADE", "sec-websocket-key"] {
        assert_eq!(refused(name, b"x").await, InvalidHeader::Owned(name.into()));
    }
    for part in ["Version", "Protocol", "Extensions", "Accept"] {
        let name = format!("Sec-WebSocket-{part}");
        assert_eq!(refused(&name, b"x").await, InvalidHeader::Owned(name.as_str().into()));
    }
    for name in ["", "a b", "a:", "\u{e9}", "a\r\nb"] {
        assert_eq!(refused(name, b"x").await, InvalidHeader::Name(name.into()));
    }
    for value in [b"a\r\nb: c".as_slice(), b"\0", b"\x7f"] {
        assert_eq!(refused("X-Key", value).await, InvalidHeader::Value("X-Key".into()));
    }
}

/// B30.
#[tokio::test]
async fn headers_of_framing_and_of_proxies_are_refused_and_a_request_does_not_pass_them_on() {
    let names = [
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Expect",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
    ];
    let mut request = http::Request::get("ws://example.com/")
        .header("Connection", "X-Hop, close")
        .header("Connection", "\tx-other-hop")
        .header("X-Hop", "1")
        .header("X-Other-Hop", "1")
        .header("X-End", "1");
    for name in names {
        let failed = error(WebSocketStream::builder(URL).header(name, "1").connect().await);
        let Error::InvalidHeader(InvalidHeader::Owned(owned)) = &failed else { panic!("{name}: {failed:?}") };
        assert_eq!(&**owned, name);
        request = request.header(name, "1");
    }
    let head = request_of(ClientBuilder::from_request(request.body(()).expect("a request"))).await;
    for name in names.into_iter().chain(["X-Hop", "X-Other-Hop"]) {
        assert_eq!(head.header(name), None, "{}", head.0);
    }
    assert_eq!((head.header("X-End"), head.header("Connection")), (Some("1"), Some("Upgrade")));
}

#[tokio::test]
async fn as_many_headers_as_an_application_passes_on_are_an_error_and_no_panic() {
    let mut builder = WebSocketStream::builder(URL);
    for i in 0..40_000 {
        builder = builder.header(format!("x-{i}"), "");
    }
    let failed = error(builder.connect().await);
    assert!(matches!(failed, Error::InvalidHeader(_)) && failed.to_string().contains("too many"), "{failed:?}");
}

#[tokio::test]
async fn as_many_subprotocols_as_an_application_passes_on_take_linear_time() {
    let names: Vec<String> = (0..32_000).map(|i| format!("a-name-of-some-length-{i}")).collect();
    let start = cpu_time::ThreadTime::now();
    let builder = WebSocketStream::builder(URL).protocols(names);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    drop(builder);
}

#[tokio::test]
async fn a_host_of_its_own_is_shown_in_place_of_the_urls() {
    let head = request_of(WebSocketStream::builder("ws://127.0.0.1:1/").host("B\u{fc}cher.example:8080")).await;
    assert_eq!(head.header("Host"), Some("xn--bcher-kva.example:8080"));
}

#[tokio::test]
async fn a_request_gives_its_uri_its_protocols_and_the_headers_that_are_its_own() {
    let request = http::Request::get("wss://u:p@example.com:444/x?y")
        .header("Host", "other.example")
        .header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("Sec-WebSocket-Version", "8")
        .header("Sec-WebSocket-Extensions", "permessage-deflate")
        .header("Sec-WebSocket-Protocol", "b,a")
        .header("Sec-WebSocket-Protocol", "c")
        .header("Connection", "close")
        .header("Upgrade", "h2c")
        .header("Cookie", "a=1")
        .header("Cookie", "b=2")
        .body(())
        .unwrap();
    let head = request_of(ClientBuilder::from_request(request)).await;
    let key = head.header("Sec-WebSocket-Key").expect("a key");
    assert_ne!(key, "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(
        head.0,
        format!(
            "GET /x?y HTTP/1.1\r\nHost: other.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: b, a, c\r\n\
             User-Agent: {USER_AGENT}\r\nCookie: a=1\r\nCookie: b=2\r\nAuthorization: Basic dTpw\r\n\r\n"
        )
    );
}

/// B26.
#[tokio::test]
async fn the_user_agent_is_this_crate_unless_the_caller_says_otherwise() {
    let builder = || WebSocketStream::builder(URL);
    let request = http::Request::get(URL).header("User-Agent", "mine").body(()).expect("a request");
    for (builder, expected) in [
        (builder(), Some(USER_AGENT)),
        (builder().user_agent("mine"), Some("mine")),
        (builder().user_agent(None), None),
        (builder().header("user-agent", "mine"), Some("mine")),
        (builder().user_agent("yours").header("User-Agent", "mine"), Some("mine")),
        (builder().header("User-Agent", "mine").user_agent(None), Some("mine")),
        (builder().headers([(http::header::USER_AGENT, http::HeaderValue::from_static("mine"))]), Some("mine")),
        (ClientBuilder::from_request(request), Some("mine")),
    ] {
        assert_eq!(request_of(builder).await.header("User-Agent"), expected);
    }
    let refused = error(builder().user_agent("a\r\nb").connect().await);
    assert!(matches!(refused, Error::InvalidHeader(InvalidHeader::Value(_))), "{refused}");
}

#[tokio::test]
async fn headers_are_added_as_header_adds_one() {
    let value = http::HeaderValue::from_static;
    let headers = [(http::header::COOKIE, value("a")), (http::header::COOKIE, value("b"))];
    let head = request_of(WebSocketStream::builder(URL).header("Cookie", "0").headers(headers)).await;
    assert!(head.0.contains("Cookie: 0\r\nCookie: a\r\nCookie: b\r\n"), "{}", head.0);
    let refused = error(WebSocketStream::builder(URL).headers([(http::header::HOST, value("a"))]).connect().await);
    assert!(matches!(refused, Error::InvalidHeader(InvalidHeader::Owned(_))), "{refused}");
}

#[tokio::test]
async fn the_host_of_a_request_must_be_one() {
    for hosts in [&["a b"][..], &["a", "b"], &["u@a"], &["a/"], &[""]] {
        let request = hosts.iter().fold(http::Request::get(URL), |request, host| request.header("Host", *host));
        let refused = error(ClientBuilder::from_request(request.body(()).expect("a request")).connect().await);
        assert!(matches!(refused, Error::InvalidUrl(InvalidUrl::Host(_))), "{hosts:?}: {refused}");
    }
}

/// B46.
#[tokio::test]
async fn subprotocols_that_are_no_tokens_are_offered_and_chosen() {
    const NAME: &str = "SPDY/3.1+portforward.k8s.io";
    let builder = WebSocketStream::builder(URL).protocols([NAME, "base64.binary"]);
    let ws = connect(builder, |head| {
        assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("SPDY/3.1+portforward.k8s.io, base64.binary"));
        head.answer(&format!("Sec-WebSocket-Protocol: {NAME}\r\n")).into_bytes()
    });
    assert_eq!(ws.await.expect("open").protocol(), NAME);
}

/// B40.
#[tokio::test]
async fn a_server_that_ignores_subprotocols_is_accepted_if_none_is_required() {
    let builder = || WebSocketStream::builder(URL).protocols(["a"]).subprotocol_required(false);
    for lines in ["", "Sec-WebSocket-Protocol:\r\n"] {
        let ws = connect(builder(), |head| head.answer(lines).into_bytes()).await;
        assert_eq!(ws.unwrap_or_else(|error| panic!("{lines}: {error}")).protocol(), "");
    }
    let ws = connect(builder(), |head| head.answer("Sec-WebSocket-Protocol: a\r\n").into_bytes()).await;
    assert_eq!(ws.expect("open").protocol(), "a");
    let other = connect(builder(), |head| head.answer("Sec-WebSocket-Protocol: b\r\n").into_bytes()).await;
    assert!(matches!(invalid_response(error(other)), InvalidResponse::Subprotocol(_)));
}

#[tokio::test]
async fn a_request_is_judged_as_everything_else() {
    for (uri, protocol) in [("/relative", "a"), ("ftp://h/", "a"), ("ws://h/", "a,,b")] {
        let request = http::Request::get(uri).header("Sec-WebSocket-Protocol", protocol).body(()).unwrap();
        let refused = error(ClientBuilder::from_request(request).connect().await);
        assert!(
            matches!(refused, Error::InvalidUrl(_) | Error::InvalidSubprotocol(_)),
            "{uri} {protocol}: {refused:?}"
        );
    }
}

// C: the response.

/// B32.
#[tokio::test]
async fn a_status_other_than_101_is_a_refusal_with_status_headers_and_body() {
    for status in [200, 204, 301, 400, 401, 403, 404, 426, 500, 503, 599] {
        let answer = format!("HTTP/1.1 {status} Whatever\r\nX-Why: a\r\nX-Why: b\r\nContent-Length: 4\r\n\r\nbodyrest");
        let response = refused(error(connect_to(fixed(answer)).await));
        assert_eq!(response.status(), status);
        let why: Vec<_> = response.headers().get_all("x-why").iter().collect();
        assert_eq!(why, ["a", "b"]);
        assert_eq!(response.body(), if status == 204 { "" } else { "body" });
    }
    let from_proxy = fixed("HTTP/1.0 503 Service Unavailable\r\n\r\ntry later");
    let response = refused(error(connect_to(from_proxy).await));
    assert_eq!((response.status().as_u16(), &response.body()[..]), (503, b"try later".as_slice()));
}

/// B32.
#[tokio::test]
async fn the_body_of_a_refusal_in_every_framing() {
    let long = "x".repeat(20_000);
    for (framing, wire, body) in [
        ("Content-Length: 0", "rest".to_owned(), String::new()),
        ("Content-Length: 9", "short".to_owned(), "short".to_owned()),
        ("X-None: 1", "until the end".to_owned(), "until the end".to_owned()),
        ("X-None: 1", long.clone(), long[..8192].to_owned()),
        ("Content-Length: 20000", long.clone(), long[..8192].to_owned()),
        ("Transfer-Encoding: chunked", "4\r\nwho \r\n5;a=b\r\nknows\r\n0\r\n\r\n".to_owned(), "who knows".to_owned()),
        ("Transfer-Encoding: chunked", format!("4e20\r\n{long}\r\n0\r\n\r\n"), long[..8192].to_owned()),
        ("Transfer-Encoding: chunked", format!("1;{long}\r\na\r\n0\r\n\r\n"), String::new()),
        ("Transfer-Encoding: chunked", "2\r\nok\r\nno size\r\n".to_owned(), "ok".to_owned()),
        ("Transfer-Encoding: chunked", "ffffffffffffffff\r\nok".to_owned(), "ok".to_owned()),
        ("Content-Length: 99999999999999999999", "ok".to_owned(), "ok".to_owned()),
    ] {
        let answer = format!("HTTP/1.1 403 Forbidden\r\n{framing}\r\n\r\n{wire}");
        let response = refused(error(connect_to(fixed(answer)).await));
        assert_eq!(response.body(), body.as_str(), "{framing}");
    }
}

/// B32.
#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_given_as_far_as_it_came() {
    for (limit, waited) in [(Some(30_000), 1000), (None, 1000), (Some(300), 300)] {
        let (mut peer, io) = Peer::pipe(4096);
        let builder = WebSocketStream::builder(URL).handshake_timeout(limit.map(Duration::from_millis));
        let started = Instant::now();
        let (ws, ()) = tokio::join!(builder.connect_over(io), async {
            peer.request().await;
            peer.raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nwhy: ").await;
            peer.raw("because").await;
            peer.expect_eof().await;
        });
        let response = refused(error(ws));
        assert_eq!((response.status().as_u16(), &response.body()[..]), (401, b"why: because".as_slice()));
        assert_eq!(started.elapsed(), Duration::from_millis(waited));
    }
}

const TOO_LARGE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 4\r\n\r\ncut!";

/// A pipe has room for a part of the request: the server refuses before it has read it, and goes.
/// B32.
#[tokio::test]
async fn a_refusal_that_comes_before_the_request_was_written_is_read() {
    let builder = || WebSocketStream::builder(URL).header("Cookie", "x".repeat(60_000));
    for goes in [true, false] {
        let (mut peer, io) = Peer::pipe(4096);
        peer.raw(TOO_LARGE).await;
        let kept = if goes {
            drop(peer);
            None
        } else {
            Some(peer)
        };
        let response = refused(error(timeout(PATIENCE, builder().connect_over(io)).await.expect("an answer")));
        assert_eq!((response.status().as_u16(), &response.body()[..]), (431, b"cut!".as_slice()));
        drop(kept);
    }
    // The same by TCP, where the rest of the request is answered with RST.
    let builder = |url: String| WebSocketStream::builder(url).header("Cookie", "x".repeat(8 << 20));
    for _ in 0..10 {
        let server = Script::bind().await;
        let (ws, ()) = tokio::join!(builder(server.url("/")).connect(), async {
            let mut peer = server.peer().await;
            peer.byte().await;
            peer.raw(TOO_LARGE).await;
        });
        assert_eq!(refused(error(ws)).status(), 431);
    }
}

/// B29, B33.
#[tokio::test(start_paused = true)]
async fn what_comes_before_the_request_was_written_and_is_no_refusal_is_an_error() {
    let builder = || WebSocketStream::builder(URL).header("Cookie", "x".repeat(60_000));
    let (mut peer, io) = Peer::pipe(4096);
    peer.raw("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    let invalid = invalid_response(error(builder().connect_over(io).await));
    assert!(matches!(&invalid, InvalidResponse::Malformed(text) if text.contains("before the request")), "{invalid}");
    // Nothing but the end: what failed was writing.
    let (peer, io) = Peer::pipe(4096);
    drop(peer);
    let Error::Io(cause) = error(builder().connect_over(io).await) else { panic!("an IO error was expected") };
    assert_eq!(cause.kind(), std::io::ErrorKind::BrokenPipe);
    // Writing has failed, and reading goes on for ever.
    let started = Instant::now();
    let (silent, _peer) = tokio::io::duplex(64);
    let io = tokio::io::join(silent, Broken);
    let Error::Io(cause) = error(builder().connect_over(io).await) else { panic!("an IO error was expected") };
    assert_eq!((cause.kind(), started.elapsed()), (std::io::ErrorKind::BrokenPipe, Duration::from_secs(1)));
}

/// It takes nothing.
#[derive(Debug)]
struct Broken;

impl tokio::io::AsyncWrite for Broken {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }
    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

/// B33.
#[tokio::test]
async fn what_is_no_response_is_malformed() {
    for garbage in [
        b"FOO BAR BAZ\r\n\r\n".as_slice(),
        b"HTTP/2 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 1O1 Switching Protocols\r\n\r\n",
        b"HTTP/1.1  1011 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade : websocket\r\n\r\n",
        b"HTTP/1.1101 Switching Protocols\r\n\r\n",
        b"http/1.1 101 Switching Protocols\r\n\r\n",
        b"<html>\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ] {
        let invalid = invalid_response(error(connect_to(fixed(garbage)).await));
        assert!(matches!(invalid, InvalidResponse::Malformed(_)), "{garbage:?}: {invalid:?}");
    }
    let old = |head: &Head| head.answer("").replace("HTTP/1.1", "HTTP/1.0").into_bytes();
    let invalid = invalid_response(error(connect_to(old).await));
    assert!(matches!(invalid, InvalidResponse::Malformed(_)), "{invalid:?}");
}

/// What is no head as a strict reader has it, and is read as browsers and curl read it.
/// B33, B41.
#[tokio::test]
async fn what_decides_nothing_is_read_leniently() {
    let many: String = (0..150).map(|i| format!("X-{i}: {i}\r\n")).collect();
    for (what, status_line, lines, name, value) in [
        ("a folded header", "HTTP/1.1 101 x", "X: a\r\n b\r\n\t c \r\n", "x", Some("a b c")),
        ("a header that is folded at once", "HTTP/1.1 101 x", "X:\r\n a\r\n", "x", Some("a")),
        ("white space before a colon", "HTTP/1.1 101 x", "X \t: a\r\n", "x", Some("a")),
        ("a line without a colon", "HTTP/1.1 101 x", "nonsense\r\nX: a\r\n", "x", Some("a")),
        ("one that is folded", "HTTP/1.1 101 x", "nonsense\r\n x: a\r\n", "x", None),
        ("a line without a name", "HTTP/1.1 101 x", ": b\r\nX: a\r\n", "x", Some("a")),
        ("a bad character in a value", "HTTP/1.1 101 x", "X: a\0b\r\n", "x", None),
        ("a CR in a value", "HTTP/1.1 101 x", "X: a\rb\r\n", "x", None),
        ("a bad character in a name", "HTTP/1.1 101 x", "X\u{e9}: a\r\nX: b\r\n", "x", Some("b")),
        ("a space in a name", "HTTP/1.1 101 x", "X Y: a\r\n", "x", None),
        ("LF alone", "HTTP/1.1 101 x", "X: a\nY: b\n", "y", Some("b")),
        ("two spaces in the status line", "HTTP/1.1  101  x", "X: a\r\n", "x", Some("a")),
        ("150 headers", "HTTP/1.1 101 x", &many, "x-149", Some("149")),
        ("no white space behind a colon", "HTTP/1.1 101", "X:a\r\n", "x", Some("a")),
    ] {
        let answer =
            |head: &Head| head.answer(lines).replacen("HTTP/1.1 101 Switching Protocols", status_line, 1).into_bytes();
        let ws = connect_to(answer).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let headers = ws.response().expect("a response").headers();
        assert_eq!(headers.get(name).map(|value| value.to_str().expect("text")), value, "{what}");
    }
    // Behind the status line it is no continuation of anything (RFC 9112, section 2.2).
    let answer = |head: &Head| head.answer("").replacen("\r\n", "\r\n X: a\r\n", 1).into_bytes();
    assert_eq!(connect_to(answer).await.expect("open").response().expect("a response").headers().get("x"), None);
}

/// B33-B38.
#[tokio::test]
async fn what_decides_is_read_strictly() {
    for (what, from, to, reason) in [
        ("a space before a colon", "Upgrade:", "Upgrade :", "the header upgrade has white space before its colon"),
        ("a tab before a colon", "Connection:", "Connection\t:", "the header connection has white space before"),
        ("a folded header", "Connection: ", "Connection:\r\n ", "the header connection has more than one line"),
        ("a header that goes on", "Upgrade\r\nSec", "Upgrade\r\n ,x\r\nSec", "connection has more than one line"),
        ("an empty fold", "websocket\r\n", "websocket\r\n \r\n", "the header upgrade has more than one line"),
        ("a folded key", "Accept: ", "Accept:\r\n\t", "the header sec-websocket-accept has more than one line"),
        ("no colon", "Upgrade: websocket", "Upgrade websocket", "the header upgrade has no colon"),
        ("a NUL in a value", "websocket\r\n", "web\0socket\r\n", "the header upgrade has a character that no header"),
        ("a NUL in a name", "Upgrade:", "Upg\0rade:", "the header upgrade has a character that no header"),
        ("a CR in a value", "websocket\r\n", "websocket\rX: y\r\n", "the header upgrade has a character that no"),
        ("white space before a name", "x\r\n", "x\r\n Upgrade: h2c\r\n", "upgrade has white space before its name"),
        ("whatever begins so", "x\r\n", "x\r\nSec-WebSocket-New : a\r\n", "the header sec-websocket-new has white"),
        ("Location in a 101", "x\r\n", "x\r\nLocation : a\r\n", "the header location has white space before its colon"),
        ("a version of its own", "HTTP/1.1", "HTTP/1.2", "it begins with \"HTTP/1.2 101 x\""),
        ("a tab for a space", "HTTP/1.1 ", "HTTP/1.1\t", "it begins with"),
        ("a code of four digits", "101", "1010", "it begins with"),
        ("an alert of TLS", "HTTP", "\u{15}\u{3}\u{1}", "it is TLS: is the scheme wss?"),
    ] {
        let answer = |head: &Head| {
            let answer = head.answer("").replacen("Switching Protocols", "x", 1);
            assert!(answer.contains(from), "{what}: {answer}");
            answer.replacen(from, to, 1).into_bytes()
        };
        let invalid = invalid_response(error(connect_to(answer).await));
        assert!(matches!(invalid, InvalidResponse::Malformed(_)), "{what}: {invalid}");
        assert!(invalid.to_string().contains(reason), "{what}: {invalid}");
    }
}

/// B33.
#[tokio::test]
async fn a_server_of_another_protocol_is_told_by_its_first_bytes() {
    let (mut peer, io) = Peer::pipe(4096);
    let (ws, ()) = tokio::join!(WebSocketStream::builder(URL).connect_over(io), async {
        peer.request().await;
        peer.raw("SSH-2.0-OpenSSH_9.6\r\n").await;
        // And it goes on to wait for the client.
        peer.expect_eof().await;
    });
    assert!(matches!(invalid_response(error(ws)), InvalidResponse::Malformed(_)));
}

/// The length of [`Head::answer`], in bytes.
const HEAD_LEN: usize = 129;

const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const ACCEPT: &str = "Sec-WebSocket-Accept: {accept}";

/// B34, B35, B36, B41.
#[tokio::test]
async fn what_a_101_must_say_in_any_of_its_forms() {
    for lines in [
        "Upgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}",
        "upgrade:WEBSOCKET\r\nconnection:UPGRADE\r\nsec-websocket-accept:{accept}",
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {accept}",
        "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection:  a ,\tUPGRADE , b\r\nSec-WebSocket-Accept: {accept}",
        "Upgrade:\t websocket \t\r\nConnection: Upgrade  \r\nSec-WebSocket-Accept: \t {accept} \t ",
    ] {
        let _ = connect_to(switching(lines)).await.unwrap_or_else(|error| panic!("{lines}: {error}"));
    }
    for reason in ["101 Switching Protocols:", "101 ", "101", "101 Web Socket Protocol Handshake", "101 \u{e9}"] {
        let answer = |head: &Head| head.answer("").replace("101 Switching Protocols", reason).into_bytes();
        let _ = connect_to(answer).await.unwrap_or_else(|error| panic!("{reason}: {error}"));
    }
}

/// B34, B35, B36.
#[tokio::test]
async fn what_a_101_lacks() {
    let wrong = |lines: [&str; 3]| connect_to(switching(&lines.join("\r\n")));
    for upgrade in
        ["X: y", "Upgrade:", "Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: websocket\r\nUpgrade: websocket"]
    {
        let invalid = invalid_response(error(wrong([upgrade, CONNECTION, ACCEPT]).await));
        assert!(matches!(invalid, InvalidResponse::Upgrade(_)), "{upgrade}: {invalid:?}");
    }
    for connection in ["X: y", "Connection:", "Connection: close", "Connection: upgraded", "Connection: not upgrade"] {
        let invalid = invalid_response(error(wrong([UPGRADE, connection, ACCEPT]).await));
        assert!(matches!(invalid, InvalidResponse::Connection(_)), "{connection}: {invalid:?}");
    }
    for accept in [
        "X: y",
        "Sec-WebSocket-Accept:",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Accept: {accept}=",
        "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Accept: {accept}",
    ] {
        let invalid = invalid_response(error(wrong([UPGRADE, CONNECTION, accept]).await));
        assert!(matches!(invalid, InvalidResponse::Accept(_)), "{accept}: {invalid:?}");
    }
    let upper_cased = |head: &Head| {
        let key = head.accept_key();
        head.answer("").replace(&key, &key.to_ascii_uppercase()).into_bytes()
    };
    let invalid = invalid_response(error(connect_to(upper_cased).await));
    assert!(matches!(invalid, InvalidResponse::Accept(_)), "{invalid:?}");
    let missing = invalid_response(error(wrong(["X: y", CONNECTION, ACCEPT]).await));
    assert!(matches!(&missing, InvalidResponse::Upgrade(header) if header.as_str().is_none()), "{missing:?}");
    assert_eq!(missing.to_string(), "the header Upgrade is missing, expected \"websocket\"");
}

/// B33, B35.
#[tokio::test]
async fn a_101_with_a_body_or_with_a_connection_in_quotes_is_malformed() {
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: x\r\n",
        "Content-Length:\r\n",
        "Connection: \"a, upgrade, b\"\r\n",
    ] {
        let invalid = invalid_response(error(connect_to(|head| head.answer(lines).into_bytes()).await));
        assert!(matches!(invalid, InvalidResponse::Malformed(_)), "{lines}: {invalid:?}");
    }
    for lines in ["Content-Length: 0\r\n", "Content-Length: 0\r\nContent-Length: 0\r\n"] {
        let _ =
            connect_to(|head| head.answer(lines).into_bytes()).await.unwrap_or_else(|error| panic!("{lines}: {error}"));
    }
}

/// B37, B51.
#[tokio::test]
async fn an_extension_that_was_not_offered() {
    for extensions in ["permessage-deflate", "x-webkit-deflate-frame", "foo; bar=1", ",", "=\"\u{1}"] {
        let lines = format!("Sec-WebSocket-Extensions: {extensions}\r\n");
        let failed = connect_to(move |head| head.answer(&lines).into_bytes()).await;
        let invalid = invalid_response(error(failed));
        let malformed = extensions.contains('\u{1}');
        assert!(
            matches!(&invalid, InvalidResponse::Extension(shown) if shown.starts_with(&format!("{extensions:?}: ")))
                || malformed && matches!(invalid, InvalidResponse::Malformed(_)),
            "{extensions}: {invalid:?}"
        );
    }
    let empty = |head: &Head| head.answer("Sec-WebSocket-Extensions: \r\n").into_bytes();
    assert_eq!(connect_to(empty).await.expect("open").extensions(), "");
}

/// B38, B39, B40, B50.
#[tokio::test]
async fn the_subprotocol_must_be_one_of_those_offered() {
    let chosen = |offered: &'static [&'static str], lines: &'static str| {
        let builder = WebSocketStream::builder(URL).protocols(offered.iter().copied());
        connect(builder, move |head| head.answer(lines).into_bytes())
    };
    for (offered, lines, protocol) in [
        (["chat"].as_slice(), "Sec-WebSocket-Protocol: chat\r\n", "chat"),
        (&["a", "b"], "Sec-WebSocket-Protocol: \tb \r\n", "b"),
        (&[], "", ""),
        (&[], "Sec-WebSocket-Protocol:\r\n", ""),
    ] {
        let ws = chosen(offered, lines).await.unwrap_or_else(|error| panic!("{offered:?} {lines}: {error}"));
        assert_eq!(ws.protocol(), protocol);
    }
    for (offered, lines) in [
        ([].as_slice(), "Sec-WebSocket-Protocol: foobar\r\n"),
        (&["foobar"], "Sec-WebSocket-Protocol: FOOBAR\r\n"),
        (&["a"], "Sec-WebSocket-Protocol: b\r\n"),
        (&["a", "b"], "Sec-WebSocket-Protocol: a, b\r\n"),
        (&["a", "b"], "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"),
    ] {
        let invalid = invalid_response(error(chosen(offered, lines).await));
        assert!(matches!(invalid, InvalidResponse::Subprotocol(_)), "{offered:?} {lines}: {invalid:?}");
    }
    for lines in ["", "Sec-WebSocket-Protocol:\r\n", "Sec-WebSocket-Protocol:  \r\n"] {
        let invalid = invalid_response(error(chosen(&["a"], lines).await));
        assert_eq!(invalid, InvalidResponse::NoSubprotocol, "{lines}");
    }
}

/// B28, B52.
#[tokio::test]
async fn status_and_headers_of_the_response_are_kept() {
    let answer = |head: &Head| head.answer("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n").into_bytes();
    let ws = connect_to(answer).await.expect("open");
    let response = ws.response().expect("a response");
    assert_eq!(response.status(), 101);
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

/// B42.
#[tokio::test]
async fn what_comes_with_the_head_is_kept() {
    let frames = encode(true, 0, TEXT, &[b'x'; 300]);
    for len in [1, 2, 300, frames.len()] {
        let frames = frames[..len].to_vec();
        let sent = frames.clone();
        let ws = connect_to(move |head| [head.answer("").as_bytes(), &sent].concat()).await.expect("open");
        let UpgradedParts { mut io, read_buf, .. } = ws.into_parts();
        let mut rest = BytesMut::from(read_buf);
        while io.read_buf(&mut rest).await.expect("the rest") > 0 {}
        assert_eq!(rest, frames);
    }
}

/// B42.
#[tokio::test]
async fn a_head_byte_by_byte_and_a_frame_behind_it() {
    // A pipe of one byte: every read of either side gets a single one.
    let (mut peer, io) = Peer::pipe(1);
    let serving = async {
        let head = peer.request().await;
        peer.raw(head.answer("")).await;
        peer.text("first").await;
        peer.finish().await;
    };
    let connecting = async {
        let ws = WebSocketStream::builder(URL).connect_over(io).await.expect("open");
        let UpgradedParts { mut io, read_buf, .. } = ws.into_parts();
        let mut rest = BytesMut::from(read_buf);
        while io.read_buf(&mut rest).await.expect("the rest") > 0 {}
        rest
    };
    let (rest, ()) = tokio::join!(connecting, serving);
    assert_eq!(rest, encode(true, 0, TEXT, b"first"));
}

#[tokio::test]
async fn informational_responses_before_the_101_are_skipped() {
    let answer = |head: &Head| {
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{}x", head.answer(""))
            .into_bytes()
    };
    let ws = connect_to(answer).await.expect("open");
    assert_eq!(ws.response().expect("a response").headers().get("link"), None);
    assert_eq!(ws.into_parts().read_buf, "x");
    let refusing = fixed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(refused(error(connect_to(refusing).await)).status(), 404);
}

#[tokio::test]
async fn a_head_has_a_limit_however_it_is_filled() {
    let too_large = InvalidResponse::HeadTooLarge { limit: 64 * 1024 };
    let endless_header = format!("HTTP/1.1 101 Switching Protocols\r\nA: {}", "x".repeat(70_000));
    let endless_reason = format!("HTTP/1.1 101 {}", "x".repeat(70_000));
    let endless_line_ends = "\r\n".repeat(40_000);
    let endless_informational = "HTTP/1.1 100 Continue\r\n\r\n".repeat(3_000);
    let whole = format!("HTTP/1.1 101 Switching Protocols\r\nA: {}\r\n\r\n", "x".repeat(66_000));
    for head in [endless_header, endless_reason, endless_line_ends, endless_informational, whole] {
        assert_eq!(invalid_response(error(connect_to(fixed(&head)).await)), too_large, "{}", &head[..40]);
    }
    let fits = format!("X-Large: {}\r\n", "x".repeat(65_000));
    let _ = connect_to(move |head| head.answer(&fits).into_bytes()).await.expect("a head of 65 000 bytes");
    // There is no limit to their number but that.
    let many = "A: b\r\n".repeat(10_000);
    let ws = connect_to(move |head| head.answer(&many).into_bytes()).await.expect("a head of 60 000 bytes");
    assert_eq!(ws.response().expect("a response").headers().get_all("a").iter().count(), 10_000);
}

#[tokio::test]
async fn the_limit_of_a_head_is_exact_wherever_reads_end() {
    for before in ["", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for (len, fits) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
            let lines = "X-Large: \r\n";
            let filling = len - before.len() - HEAD_LEN - lines.len();
            let lines = lines.replace(' ', &" ".repeat(filling + 1));
            // What comes at a time is less than what fits, and the last of it crosses the limit.
            let (mut peer, io) = Peer::pipe(1000);
            let serving = async {
                let head = peer.request().await;
                peer.raw(format!("{before}{}", head.answer(&lines))).await;
            };
            let (ws, ()) = tokio::join!(WebSocketStream::builder(URL).connect_over(io), serving);
            assert_eq!(ws.is_ok(), fits, "{len} bytes with {before:?}");
        }
    }
}

/// B197.
#[tokio::test]
async fn no_more_than_4_kib_is_read_beyond_the_head() {
    let ws = connect_to(|head| [head.answer("").as_bytes(), &[0; 200_000]].concat()).await.expect("open");
    let rest = ws.into_parts().read_buf.len();
    assert!(rest <= 4096, "{rest}");
}

#[tokio::test]
async fn a_head_that_breaks_off_is_truncated_wherever_it_does() {
    for cut in 0..HEAD_LEN {
        let failed = connect_to(|head| head.answer("").as_bytes()[..cut].to_vec()).await;
        assert_eq!(invalid_response(error(failed)), InvalidResponse::Truncated { received: cut });
    }
    let server = Script::bind().await;
    let (ws, ()) = tokio::join!(WebSocketStream::connect(server.url("/")), async {
        let mut peer = server.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 101").await;
        peer.reset();
    });
    let Error::Io(cause) = error(ws) else { panic!("an IO error was expected") };
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionReset);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    /// Whatever a server sends, connecting ends with an answer.
    /// B33.
    #[test]
    fn garbage_is_never_a_panic_nor_a_hang(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        prefix in prop::sample::select(vec![
            "",
            "HTTP/1.1 ",
            "HTTP/1.1 101 Switching Protocols\r\n",
            "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]),
    ) {
        let answer = [prefix.as_bytes(), &bytes].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let failed = runtime.block_on(connect_to(fixed(answer))).err();
        prop_assert!(matches!(failed, Some(Error::Handshake(_) | Error::Refused(_))), "{failed:?}");
    }

    /// A right answer with one byte changed.
    /// B33.
    #[test]
    fn a_changed_byte_is_never_a_panic_nor_a_hang(at in 0..HEAD_LEN, byte: u8) {
        let answer = move |head: &Head| {
            let mut bytes = head.answer("").into_bytes();
            bytes[at] = byte;
            bytes
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let failed = runtime.block_on(connect_to(answer)).err();
        prop_assert!(matches!(failed, None | Some(Error::Handshake(_) | Error::Refused(_))), "{failed:?}");
    }
}

// Deadlines.

#[tokio::test]
async fn each_phase_has_a_deadline_of_its_own_handshake() {
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(server.url("/")).handshake_timeout(Duration::from_millis(50));
    let (ws, mut peer) = tokio::join!(builder.connect(), server.peer());
    assert!(matches!(error(ws), Error::Timeout { phase: Phase::Handshake, .. }));
    peer.request().await;
    peer.expect_eof().await;
}

/// Linux drops the SYN for a listener whose queue is full: to the client that is a host that does not answer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_phase_has_a_deadline_of_its_own_connect() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let full = socket.listen(1).expect("listen");
    let address = full.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream.expect("connect"));
    }
    let builder = WebSocketStream::builder(format!("ws://{address}/")).connect_timeout(Duration::from_millis(50));
    let connecting = timeout(PATIENCE, builder.connect());
    assert!(matches!(error(connecting.await.expect("an end")), Error::Timeout { phase: Phase::Connect, .. }));
}

#[tokio::test(start_paused = true)]
async fn the_handshake_may_take_30_s_unless_it_may_take_for_ever() {
    let limited = |limit: Option<Option<Duration>>| {
        let builder = WebSocketStream::builder(URL);
        limit.into_iter().fold(builder, ClientBuilder::handshake_timeout)
    };
    for (limit, expected) in [
        (None, Duration::from_secs(30)),
        (Some(Some(Duration::from_secs(3))), Duration::from_secs(3)),
        // A server that sends a little now and then does not move the deadline.
        (Some(Some(Duration::from_millis(1500))), Duration::from_millis(1500)),
    ] {
        let (mut peer, io) = Peer::pipe(4096);
        let started = Instant::now();
        let dribbling = async {
            peer.request().await;
            peer.raw("HTTP/1.1 200 OK\r\nA: ").await;
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                peer.raw("x").await;
            }
        };
        let ws = tokio::select! {
            ws = limited(limit).connect_over(io) => ws,
            () = dribbling => unreachable!(),
        };
        assert!(matches!(error(ws), Error::Timeout { phase: Phase::Handshake, .. }));
        assert_eq!(started.elapsed(), expected);
    }
    for limit in [None, Some(Duration::MAX)] {
        let (_peer, io) = Peer::pipe(4096);
        let connecting = limited(Some(limit)).connect_over(io);
        assert!(timeout(Duration::from_secs(86_400), connecting).await.is_err(), "{limit:?}");
    }
}

/// Each phase is well within its own limit. Under a paused clock no time passes but that which somebody waits for.
#[tokio::test(start_paused = true)]
async fn the_whole_attempt_has_a_deadline_that_names_the_phase_that_ran() {
    let builder = || WebSocketStream::builder("ws://a.example/").timeout(Duration::from_secs(3));
    let limit = Duration::from_secs(3);
    let silent = builder().resolver(|_, _| std::future::pending::<std::io::Result<Vec<SocketAddr>>>());
    let started = Instant::now();
    let late = error(silent.connect().await);
    let Error::Timeout { phase: Phase::Attempt, after, during: Some(Phase::Connect), .. } = late else {
        panic!("{late}")
    };
    assert_eq!((after, started.elapsed()), (limit, limit));
    assert!(late.is_timeout() && late.is_connect() && late.is_transient());
    assert_eq!(late.to_string(), "the attempt to connect to ws://a.example:80 timed out after 3s, in connecting");

    let (_peer, io) = Peer::pipe(4096);
    let started = Instant::now();
    let late = error(builder().connect_over(io).await);
    assert_eq!(started.elapsed(), limit);
    assert_eq!(
        late.to_string(),
        "the attempt to connect to ws://a.example:80 timed out after 3s, in the opening handshake"
    );
    assert!(late.is_timeout() && !late.is_connect());

    // Without it: as ever.
    let (_peer, io) = Peer::pipe(4096);
    let late = error(builder().timeout(None).connect_over(io).await);
    assert!(matches!(late, Error::Timeout { phase: Phase::Handshake, during: None, .. }), "{late}");
}

/// A redirect does not begin it anew.
#[tokio::test]
async fn the_deadline_of_the_attempt_goes_on_through_redirects() {
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(server.url("/0")).redirects(100).timeout(Duration::from_millis(300));
    let redirecting = async {
        for hop in 1.. {
            let mut peer = server.peer().await;
            peer.request().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: /{hop}\r\n\r\n")).await;
        }
    };
    let late = tokio::select! {
        ws = builder.connect() => error(ws),
        () = redirecting => unreachable!(),
    };
    assert!(matches!(late, Error::Timeout { phase: Phase::Attempt, .. }), "{late}");
}

// Q: giving up.

/// B203.
#[tokio::test]
async fn a_token_cancelled_beforehand_opens_no_socket() {
    let server = Script::bind().await;
    let token = CancellationToken::new();
    token.cancel();
    let aborted = WebSocketStream::builder(server.url("/")).signal(token.clone()).connect().await;
    assert!(matches!(error(aborted), Error::Aborted));
    // The first connection that the server sees is this one.
    let marker = TcpStream::connect(server.addr()).await.expect("connect");
    assert_eq!(server.peer().await.remote(), marker.local_addr().expect("connected"));

    let (mut peer, io) = Peer::pipe(64);
    assert!(matches!(
        error(WebSocketStream::builder(URL).signal(token.clone()).connect_over(io).await),
        Error::Aborted
    ));
    peer.expect_eof().await;
    // Misuse is judged before it.
    let misused = WebSocketStream::builder("ftp://h/").signal(token).connect().await;
    assert!(matches!(error(misused), Error::InvalidUrl(_)));
}

/// B204.
#[tokio::test]
async fn a_token_cancelled_during_the_handshake_aborts_it() {
    let server = Script::bind().await;
    let token = CancellationToken::new();
    let builder = WebSocketStream::builder(server.url("/")).signal(token.clone());
    let (ws, mut peer) = tokio::join!(builder.connect(), async {
        let mut peer = server.peer().await;
        peer.request().await;
        token.cancel();
        peer
    });
    assert!(matches!(error(ws), Error::Aborted));
    peer.expect_eof().await;
}

/// B204.
#[tokio::test]
async fn dropping_the_future_aborts_the_attempt() {
    let server = Script::bind().await;
    let (asked, was_asked) = oneshot::channel();
    let serving = async {
        let mut peer = server.peer().await;
        peer.request().await;
        asked.send(()).expect("the client waits");
        peer.expect_eof().await;
    };
    let giving_up = async {
        let connecting = WebSocketStream::connect(server.url("/"));
        tokio::select! {
            _ = connecting => panic!("there was no answer"),
            _ = was_asked => {}
        }
    };
    tokio::join!(serving, giving_up);
}

/// B205, B206.
#[tokio::test]
async fn after_opening_a_token_does_nothing() {
    let server = Script::bind().await;
    let token = CancellationToken::new();
    let builder = WebSocketStream::builder(server.url("/")).signal(token.clone());
    let (ws, mut peer) = tokio::join!(builder.connect(), server.accept());
    token.cancel();
    let mut io = ws.expect("open").into_parts().io;
    io.write_all(&[0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1]).await.expect("still open");
    peer.expect_text("x").await;
    peer.raw("y").await;
    assert_eq!(io.read_u8().await.expect("still open"), b'y');
}

// TCP.

#[tokio::test]
async fn the_socket_is_shown_before_anything_is_sent_with_nodelay_as_configured() {
    let server = Script::bind().await;
    for nodelay in [true, false] {
        let (seen, socket) = std::sync::mpsc::channel();
        let builder = WebSocketStream::builder(server.url("/"))
            .config(Config::default().nodelay(nodelay))
            .tcp(move |stream| seen.send((stream.nodelay().unwrap(), stream.local_addr().unwrap())).unwrap());
        let (ws, peer) = tokio::join!(builder.connect(), server.accept());
        let ws = ws.expect("open");
        assert_eq!(socket.try_recv().expect("called"), (nodelay, peer.remote()));
        assert_eq!(ws.get_ref().get_ref().as_tcp().expect("TCP").local_addr().expect("open"), peer.remote());
    }
}

#[tokio::test]
async fn an_ipv6_literal_connects() {
    let server = Script::bind_to("[::1]:0").await;
    let (ws, head) =
        tokio::join!(WebSocketStream::connect(server.url("/")), async { server.peer().await.accept().await });
    let _ = ws.expect("open");
    assert_eq!(head.header("Host"), Some(server.addr().to_string().as_str()));
}

#[tokio::test]
async fn the_futures_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&WebSocketStream::connect(URL));
    is_send(&WebSocketStream::builder(URL).connect_over(tokio::io::duplex(1).0));
    is_send(&WebSocketStream::builder(URL).connect_tls_over(tokio::io::duplex(1).0));
}

#[cfg(not(any(feature = "rustls-tls", feature = "native-tls")))]
#[tokio::test]
async fn wss_in_a_build_without_tls_says_which_feature_it_needs_before_any_io() {
    let refused = error(WebSocketStream::connect("wss://127.0.0.1:0/").await);
    assert!(matches!(refused, Error::Tls(_)), "{refused:?}");
    assert!(refused.to_string().contains("rustls-tls"), "{refused}");
}
