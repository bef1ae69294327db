//! What is judged and known before anything is sent: the URL, the subprotocols, the attributes of a new socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use testkit::server::Script;
use tokio_util::sync::CancellationToken;
use wsflow::{
    InvalidSubprotocol, InvalidUrl, ReadyState,
    compat::{BinaryType, CloseEvent, Event, ListenerOptions, MessageEvent, WebSocket},
};

use crate::event_api::log::{Log, plain};

/// B1, B3, B4, B5, B6.
#[tokio::test]
async fn a_url_that_cannot_be_used_is_an_error_of_the_constructor() {
    let parse = ["ws://foo bar.com/", "ws://h:99999/", "ws://", "ws://[::1/", "/relative", "relative", ""];
    for url in parse {
        assert!(matches!(WebSocket::new(url), Err(InvalidUrl::Parse(_))), "{url:?}");
    }
    for (url, scheme) in
        [("ftp://h/", "ftp"), ("mailto:a@b.c", "mailto"), ("about:blank", "about"), ("ftp://h/#", "ftp")]
    {
        assert_eq!(WebSocket::new(url).unwrap_err(), InvalidUrl::Scheme(scheme.into()), "{url}");
    }
    for url in ["ws://h/#", "ws://h/#test", "https://h/#x"] {
        assert_eq!(WebSocket::new(url).unwrap_err(), InvalidUrl::Fragment, "{url}");
    }
    // B6: the URL is judged first, and the builder that would take bad subprotocols is not even there.
    assert!(WebSocket::builder("ws://h/#").is_err());
}

/// B2, B7-B12.
#[tokio::test]
async fn url_is_serialised_as_whatwg_does() {
    for (given, url) in [
        ("http://h/", "ws://h/"),
        ("https://h/", "wss://h/"),
        ("WS://EXAMPLE.com", "ws://example.com/"),
        ("ws://h:80", "ws://h/"),
        ("wss://h:443/", "wss://h/"),
        ("ws://h:443", "ws://h:443/"),
        ("wss://h:80/", "wss://h:80/"),
        ("http://h:80/", "ws://h/"),
        ("ws:h", "ws://h/"),
        ("ws:/h", "ws://h/"),
        ("ws://h?\u{e5}", "ws://h/?%C3%A5"),
        ("ws://h/?foo%20bar baz", "ws://h/?foo%20bar%20baz"),
        ("ws://h/x\0y\0", "ws://h/x%00y"),
        ("ws://\u{e5}.example/", "ws://xn--5ca.example/"),
        ("ws://user:pass@h/", "ws://user:pass@h/"),
    ] {
        let ws = WebSocket::new(given).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!(ws.url(), url, "{given}");
        ws.close().unwrap();
    }
}

#[test]
fn events_and_options_can_be_made_outside_of_the_crate() {
    let message = MessageEvent::new("data", "ws://h");
    assert_eq!((message.data.as_text(), &*message.origin, &*message.last_event_id), (Some("data"), "ws://h", ""));
    let close = CloseEvent::new(1000, "bye", true);
    assert_eq!((close.code, &*close.reason, close.was_clean), (1000.into(), "bye", true));
    assert_eq!(Event::default(), Event::default());
    let options = ListenerOptions::default();
    assert!(!options.once && options.signal.is_none());
    let options = options.once(true).signal(CancellationToken::new());
    assert!(options.once && options.signal.is_some());
}

/// B13.
#[test]
fn the_password_is_not_in_what_is_logged() {
    let builder = WebSocket::builder("ws://user:hunter2@h/").unwrap().header("Authorization", "Bearer hunter2");
    assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
}

/// B16, B50, B51, B54, B56, B58, B80.
#[tokio::test]
async fn a_new_socket_is_connecting_and_has_nothing_to_tell() {
    let server = Script::bind().await;
    let (ws, log) = Log::connect(&server.url("/"), |_, _| {});
    assert_eq!(ws.ready_state(), ReadyState::Connecting);
    assert_eq!((ws.protocol(), ws.extensions()), (String::new(), String::new()));
    assert_eq!(ws.buffered_amount(), 0);
    assert_eq!(ws.binary_type(), BinaryType::ArrayBuffer);
    assert!(ws.error().is_none());
    // Nothing fires in the turn that makes a socket.
    assert_eq!(log.text(), [""; 0]);
    let numbers = [ReadyState::Connecting, ReadyState::Open, ReadyState::Closing, ReadyState::Closed].map(u16::from);
    assert_eq!(numbers, [0, 1, 2, 3]);
    ws.close().unwrap();
    log.end(&ws).await;
}

/// B16.
#[test]
fn outside_of_a_runtime_connect_panics_and_nothing_hangs() {
    let outcome = catch_unwind(AssertUnwindSafe(|| plain("ws://h/").connect()));
    assert!(outcome.is_err());
}

/// B18, B44-B49.
#[test]
fn subprotocols_are_judged_when_they_are_given() {
    let protocols = |names: &[&str]| plain("ws://h/").protocols(names.iter().copied()).map(drop);
    assert_eq!(protocols(&[]), Ok(()));
    assert_eq!(protocols(&["echo"]), Ok(()));
    assert_eq!(protocols(&["v2.echo", "v1.echo"]), Ok(()));
    assert_eq!(protocols(&[""]), Err(InvalidSubprotocol::Empty));
    for (names, index, character) in
        [(&["a b"][..], 0, ' '), (&["a", "b,c"], 1, ','), (&["\u{7f}"], 0, '\u{7f}'), (&["\u{e5}"], 0, '\u{e5}')]
    {
        assert_eq!(protocols(names), Err(InvalidSubprotocol::Character { index, character }));
    }
    assert_eq!(protocols(&["echo", "echo"]), Err(InvalidSubprotocol::Duplicate { index: 1 }));
    assert_eq!(protocols(&["a", "echo", "eCho"]), Err(InvalidSubprotocol::Duplicate { index: 2 }));
}

/// B173.
#[test]
fn a_close_event_of_ones_own_says_nothing() {
    let event = CloseEvent::default();
    assert_eq!((event.was_clean, event.code, event.reason.as_str()), (false, 0.into(), ""));
}
