//! Line ends and NUL in what a caller or a server gives: none of it becomes a line of its own in a request.

use futures::StreamExt as _;
use testkit::{peer::Peer, request::Head, server::Script};
use wsflow::{ClientBuilder, CloseFrame, Error, InvalidHeader, InvalidResponse, InvalidUrl, WebSocketStream};

use crate::support::error;

const URL: &str = "ws://h/";

/// What ends a line, or a string in C.
const ENDS: [&str; 4] = ["\r\n", "\r", "\n", "\0"];

/// An end before, in and behind a word, with a header behind it.
fn with(end: &str) -> [String; 3] {
    [format!("{end}X-Evil: 1"), format!("a{end}X-Evil: 1"), format!("a{end}")]
}

#[tokio::test]
async fn what_a_caller_gives_with_a_line_end_in_it_is_refused_before_any_io() {
    type Give = fn(&str) -> ClientBuilder;
    type Expected = fn(&Error) -> bool;
    let rows: [(&str, Give, Expected); 7] = [
        (
            "a header's name",
            |text| WebSocketStream::builder(URL).header(text, "x"),
            |error| matches!(error, Error::InvalidHeader(InvalidHeader::Name(_))),
        ),
        (
            "a header's value",
            |text| WebSocketStream::builder(URL).header("X-Key", text),
            |error| matches!(error, Error::InvalidHeader(InvalidHeader::Value(_))),
        ),
        (
            "Origin",
            |text| WebSocketStream::builder(URL).origin(text),
            |error| matches!(error, Error::InvalidHeader(InvalidHeader::Value(_))),
        ),
        (
            "a subprotocol",
            |text| WebSocketStream::builder(URL).protocols(["fine", text]),
            |error| matches!(error, Error::InvalidSubprotocol(_)),
        ),
        (
            "Host, and the name that TLS checks",
            |text| WebSocketStream::builder(URL).host(text),
            |error| matches!(error, Error::InvalidUrl(InvalidUrl::Host(_))),
        ),
        (
            "Host, encoded",
            |text| WebSocketStream::builder(URL).host(encoded(text)),
            |error| matches!(error, Error::InvalidUrl(InvalidUrl::Host(_))),
        ),
        (
            "a URL's host, encoded",
            |text| WebSocketStream::builder(format!("ws://{}/", encoded(text))),
            |error| matches!(error, Error::InvalidUrl(InvalidUrl::Parse(_))),
        ),
    ];
    for (what, give, is_expected) in rows {
        for text in ENDS.into_iter().flat_map(with) {
            let (mut peer, io) = Peer::pipe(4096);
            let refused = error(give(&text).connect_over(io).await);
            assert!(is_expected(&refused), "{what}, {text:?}: {refused:?}");
            assert!(!refused.to_string().contains(['\r', '\n', '\0']), "{what}, {text:?}: {refused}");
            peer.expect_eof().await;
        }
    }
}

/// As a URL has it.
fn encoded(text: &str) -> String {
    text.replace('\r', "%0d").replace('\n', "%0A").replace('\0', "%00")
}

/// The request for `url`, byte by byte, has this resource, host and credentials, and no other line than it must have.
async fn assert_request(url: &str, resource: &str, host: &str, credentials: Option<&str>) {
    let (mut peer, io) = Peer::pipe(4096);
    let (ws, head) = tokio::join!(WebSocketStream::builder(url).connect_over(io), peer.accept());
    let _ = ws.unwrap_or_else(|error| panic!("{url:?}: {error}"));
    let key = head.header("Sec-WebSocket-Key").expect("a key");
    let credentials = credentials.map(|value| format!("Authorization: Basic {value}\r\n")).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "GET {resource} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nUser-Agent: wsflow/{version}\r\n{credentials}\r\n"
    );
    assert_eq!(head.0, expected, "{url:?}");
}

#[tokio::test]
async fn a_line_end_in_a_url_is_dropped_or_encoded() {
    for (url, resource, host, credentials) in [
        // WHATWG URL drops line ends, and what is encoded stays so.
        ("ws://h/a\r\nX-Evil: 1", "/aX-Evil:%201", "h", None),
        ("ws://h/a\rb\nc\0d", "/abc%00d", "h", None),
        ("ws://h/a%0D%0AX-Evil:%201%00", "/a%0D%0AX-Evil:%201%00", "h", None),
        ("ws://h/?a\r\nX-Evil: 1\0b", "/?aX-Evil:%201%00b", "h", None),
        ("ws://h/?a%0d%0aX-Evil:%201", "/?a%0d%0aX-Evil:%201", "h", None),
        ("ws://h\r\n.example/", "/", "h.example", None),
        // "u\r\nX-Evil: 1:p\0" in Base64.
        ("ws://u%0d%0aX-Evil: 1:p%00@h/", "/", "h", Some("dQ0KWC1FdmlsOiAxOnAA")),
        // "uX:p".
        ("ws://u\r\nX:p\n@h/", "/", "h", Some("dVg6cA==")),
    ] {
        assert_request(url, resource, host, credentials).await;
    }
}

/// Answers a request for `/a` with a redirect of these header lines. Gives the request that follows, or the error.
async fn redirected(lines: &str) -> Result<Head, Error> {
    let server = Script::bind().await;
    let asking = WebSocketStream::builder(server.url("/a")).redirects(1).connect();
    let serving = async {
        let mut peer = server.peer().await;
        peer.request().await;
        peer.raw(format!("HTTP/1.1 302 Found\r\n{lines}\r\n\r\n")).await;
        server.peer().await.request().await
    };
    tokio::select! {
        ws = asking => Err(error(ws)),
        head = serving => Ok(head),
    }
}

#[tokio::test]
async fn a_line_end_in_a_location_adds_no_line_to_the_next_request() {
    for (lines, resource) in [
        ("Location: /b%0d%0aX-Evil:%201", "/b%0d%0aX-Evil:%201"),
        ("Location: /b\tX-Evil: 1", "/bX-Evil:%201"),
        // A header of the response, and none of the request.
        ("Location: /b\nX-Evil: 1", "/b"),
        ("Location: /b\r\nX-Evil: 1", "/b"),
    ] {
        let head = redirected(lines).await.unwrap_or_else(|error| panic!("{lines:?}: {error}"));
        assert!(head.0.starts_with(&format!("GET {resource} HTTP/1.1\r\n")), "{lines:?}: {head:?}");
        assert_eq!(head.header("X-Evil"), None, "{lines:?}");
    }
    // A line end by itself, NUL, and a line that goes on (RFC 9112, section 5.2) are no header.
    for lines in ["Location: /b\rX-Evil: 1", "Location: /b\0", "Location: /b\r\n X-Evil: 1"] {
        let refused = redirected(lines).await.expect_err("followed");
        let Error::Handshake(failed) = &refused else { panic!("{lines:?}: {refused:?}") };
        assert!(matches!(failed.cause, InvalidResponse::Malformed(_)), "{lines:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_close_reason_with_line_ends_is_the_payload_of_one_frame_and_escaped_in_an_error() {
    const REASON: &str = "bye\r\nX-Evil: 1\0";
    for is_ours in [true, false] {
        let (mut peer, io) = Peer::pipe(4096);
        let (ws, _) = tokio::join!(WebSocketStream::builder(URL).connect_over(io), peer.accept());
        let mut ws = ws.expect("open");
        if is_ours {
            let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(4000, REASON)), async {
                peer.expect_close(4000, REASON).await;
                peer.close(4000, "").await;
                peer.expect_eof().await;
            });
            closed.expect("closed");
        } else {
            peer.close(4000, REASON).await;
            let ((), ended) = tokio::join!(
                async {
                    peer.expect_close(4000, REASON).await;
                    peer.finish().await;
                },
                ws.next()
            );
            assert!(ended.is_none(), "{ended:?}");
            let told = Error::from(ws.closed().expect("closed").clone()).to_string();
            assert!(told.contains("(bye\\r\\nX-Evil: 1\\0)"), "{told}");
        }
    }
}
