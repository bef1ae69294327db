//! Secrets of a caller or a server are in no `Debug`, in no text of an error, in none of its causes, and in no record of the
//! crate `log`.
//!
//! `tracing.rs` shows the same of traces.

use std::{error::Error as _, fmt::Debug, io};

use bytes::Bytes;
use testkit::{peer::Peer, server::Script};
use tokio_util::sync::CancellationToken;
use wsflow::{
    ClientBuilder, Config, Error, InvalidHeader, InvalidRedirect, InvalidSubprotocol, InvalidUrl, Phase, Reconnect,
    WebSocketStream, compat::WebSocket,
};

use crate::support::error;

/// A part of all that must not be shown.
const SECRET: &str = "s3cret";

/// A URL with a secret wherever there is a place for one but the path, which is shown.
fn url(host: impl std::fmt::Display) -> String {
    format!("ws://{SECRET}:{SECRET}@{host}/feed?token={SECRET}")
}

/// A name of a subprotocol that has a token in it, as Kubernetes wants it.
fn subprotocol() -> String {
    format!("bearer.{SECRET}")
}

fn with_secrets(builder: ClientBuilder) -> ClientBuilder {
    builder.protocols([subprotocol()]).header("Authorization", format!("Bearer {SECRET}")).header("Cookie", SECRET)
}

fn builder(host: impl std::fmt::Display) -> ClientBuilder {
    with_secrets(WebSocketStream::builder(url(host)))
}

/// Neither as it is nor in Base64, wherever it begins there.
fn assert_hidden(what: &str, shown: &str) {
    for secret in [SECRET, "czNjcmV0", "M2NyZX", "zY3JldA"] {
        assert!(!shown.contains(secret), "{what}: {secret} is in {shown}");
    }
}

fn assert_debug_hides(what: &str, value: &dyn Debug) {
    assert_hidden(what, &format!("{value:?}"));
    assert_hidden(what, &format!("{value:#?}"));
}

/// The error, its causes, and the `io::Error` that it can become.
fn assert_error_hides(what: &str, failed: &Error) {
    assert_debug_hides(what, failed);
    let mut cause: Option<&dyn std::error::Error> = Some(failed);
    while let Some(error) = cause {
        assert_hidden(what, &format!("{error} {error:?}"));
        cause = error.source();
    }
    let failed = io::Error::from(failed.clone());
    assert_hidden(what, &format!("{failed} {failed:?} {:?}", failed.source()));
}

/// Answers the request of `builder` with `answer`, of which `{accept}` is filled in.
async fn answered(
    builder: ClientBuilder,
    answer: &str,
) -> (Result<WebSocketStream<tokio::io::DuplexStream>, Error>, Peer<tokio::io::DuplexStream>) {
    let (mut peer, io) = Peer::pipe(64 * 1024);
    let (ws, ()) = tokio::join!(builder.connect_over(io), async {
        let head = peer.request().await;
        // What is not shown was sent.
        assert!(head.0.contains(SECRET), "{}", head.0);
        peer.raw(answer.replace("{accept}", &head.accept_key())).await;
    });
    (ws, peer)
}

const SWITCHING: &str =
    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n";

#[tokio::test]
async fn no_builder_and_no_connection_shows_a_secret() {
    assert_debug_hides("ClientBuilder", &builder("h"));
    assert_debug_hides("ClientBuilder with a bad URL", &builder("a b"));
    assert_debug_hides("ClientBuilder with a bad host", &builder("h").host(format!("u:{SECRET}@h/?{SECRET}")));
    assert_debug_hides("ClientBuilder with a bad subprotocol", &builder("h").protocols([format!("{SECRET},")]));
    assert_debug_hides("ClientBuilder with a bad header", &builder("h").header(format!("X-Key: {SECRET}"), ""));
    let request = http::Request::get(url("h"))
        .header("Authorization", SECRET)
        .header("Sec-WebSocket-Protocol", subprotocol())
        .body(())
        .expect("a request");
    assert_debug_hides("ClientBuilder of a request", &ClientBuilder::from_request(request));

    let events = WebSocket::builder(&url("h")).expect("a URL").protocols([subprotocol()]).expect("names");
    assert_debug_hides("compat::WebSocketBuilder", &events);
    let events = events.connect();
    assert_debug_hides("compat::WebSocket", &events);
    assert_debug_hides("compat::WeakWebSocket", &events.downgrade());

    let again = builder("h");
    assert_debug_hides("Reconnect", &Reconnect::new(move || again.clone().connect()));

    let lines = format!("Sec-WebSocket-Protocol: {}\r\nSet-Cookie: {SECRET}\r\n\r\n", subprotocol());
    let (ws, _peer) = answered(builder("h"), &format!("{SWITCHING}{lines}")).await;
    let mut ws = ws.expect("open");
    assert_eq!(ws.protocol(), subprotocol());
    assert_debug_hides("WebSocketStream", &ws);
    assert_debug_hides("the response's headers", &ws.response().expect("a response").headers());
    assert_debug_hides("MessageWriter", &ws.writer(wsflow::Kind::Text));
    let (sender, receiver) = ws.into_split();
    assert_debug_hides("Sender", &sender);
    assert_debug_hides("Receiver", &receiver);
    assert_debug_hides("SenderSink", &sender.sink());
}

#[tokio::test]
async fn no_error_of_what_a_caller_gave_shows_a_secret() {
    for (what, given, is_expected) in [
        ("a fragment", builder("h/#"), (|error| matches!(error, InvalidUrl::Fragment)) as fn(&InvalidUrl) -> bool),
        ("a URL that does not parse", builder("a b"), |error| matches!(error, InvalidUrl::Parse(_))),
        ("a scheme", WebSocketStream::builder(url("h").replace("ws:", "ftp:")), |error| {
            matches!(error, InvalidUrl::Scheme(_))
        }),
        ("a resource", WebSocketStream::builder(format!("{}{}", url("h"), "x".repeat(70_000))), |error| {
            matches!(error, InvalidUrl::Resource(_))
        }),
        ("a host", builder("h").host(format!("{SECRET}:{SECRET}@h")), |error| matches!(error, InvalidUrl::Host(_))),
        ("a URL as a host", builder("h").host(url("h")), |error| matches!(error, InvalidUrl::Host(_))),
    ] {
        let failed = error(given.connect().await);
        let Error::InvalidUrl(invalid) = &failed else { panic!("{what}: {failed:?}") };
        assert!(is_expected(invalid), "{what}: {invalid:?}");
        assert_error_hides(what, &failed);
    }
    for names in [vec![format!("{SECRET},")], vec![subprotocol(), subprotocol()]] {
        let failed = error(builder("h").protocols(names).connect().await);
        assert!(matches!(
            failed,
            Error::InvalidSubprotocol(InvalidSubprotocol::Character { .. } | InvalidSubprotocol::Duplicate { .. })
        ));
        assert_error_hides("subprotocols", &failed);
    }
    for (name, value) in [
        ("Authorization", format!("Bearer {SECRET}\n")),
        (format!("Authorization: Bearer {SECRET}").as_str(), String::new()),
        (format!("X\r\nAuthorization: {SECRET}").as_str(), String::new()),
        ("Host", SECRET.to_owned()),
    ] {
        let failed = error(builder("h").header(name, value).connect().await);
        assert!(matches!(
            failed,
            Error::InvalidHeader(InvalidHeader::Value(_) | InvalidHeader::Name(_) | InvalidHeader::Owned(_))
        ));
        assert_error_hides("headers", &failed);
    }
}

#[tokio::test]
async fn no_error_of_connecting_shows_a_secret() {
    let token = CancellationToken::new();
    token.cancel();
    assert_error_hides("aborted", &error(builder("h").signal(token).connect().await));
    let failed = error(builder("127.0.0.1:0").connect().await);
    assert!(matches!(failed, Error::Connect { .. }), "{failed:?}");
    assert_error_hides("connect", &failed);

    let (failed, _) = answered(
        builder("h"),
        &format!(
            "HTTP/1.1 401 No\r\nSet-Cookie: a={SECRET}\r\nLocation: /?token={SECRET}\r\nContent-Length: 0\r\n\r\n"
        ),
    )
    .await;
    let failed = error(failed);
    let Error::Refused(response) = &failed else { panic!("{failed:?}") };
    // A caller that asks for it gets it.
    assert_eq!(response.headers()["set-cookie"], format!("a={SECRET}"));
    assert_error_hides("refused", &failed);
    let response: http::Response<Bytes> = (**response).clone();
    assert_debug_hides("a response", &response);

    let (failed, _) = answered(builder("h"), &format!("{SWITCHING}Set-Cookie: {SECRET}\r\n\r\n")).await;
    let failed = error(failed);
    assert!(matches!(failed, Error::Handshake(_)), "{failed:?}");
    assert_error_hides("a response without the subprotocol", &failed);
}

#[tokio::test]
async fn no_refusal_shows_what_may_be_a_secret_in_its_headers_or_its_body() {
    for name in [
        "Set-Cookie",
        "Set-Cookie2",
        "Cookie",
        "Authorization",
        "Proxy-Authorization",
        "Authentication-Info",
        "Link",
        "Refresh",
        "Location",
        "Content-Location",
        "X-Auth-Token",
        "X-Csrf-Token",
    ] {
        let (failed, _) =
            answered(builder("h"), &format!("HTTP/1.1 401 No\r\n{name}: {SECRET}\r\nContent-Length: 0\r\n\r\n")).await;
        let failed = error(failed);
        let Error::Refused(response) = &failed else { panic!("{failed:?}") };
        assert_eq!(response.headers()[name], SECRET, "who asks for it gets it");
        assert_error_hides(name, &failed);
        assert_debug_hides(name, &response.headers());
    }
    // Of a body the text shows what a terminal may see, since it says why. The structure has its length.
    let (failed, _) =
        answered(builder("h"), &format!("HTTP/1.1 401 No\r\nServer: nginx\r\nContent-Length: 6\r\n\r\n{SECRET}")).await;
    let failed = error(failed);
    assert_hidden("a body", &format!("{failed:#?}"));
    assert!(format!("{failed:#?}").contains("nginx"), "{failed:#?}");
}

#[tokio::test]
async fn no_subprotocol_that_was_not_asked_for_is_shown() {
    // A server that repeats the token in another case.
    for name in [subprotocol().to_ascii_uppercase(), format!("{}, x", subprotocol())] {
        let (failed, _) = answered(builder("h"), &format!("{SWITCHING}Sec-WebSocket-Protocol: {name}\r\n\r\n")).await;
        let failed = error(failed);
        for shown in [failed.to_string(), format!("{failed:?}"), format!("{failed:#?}")] {
            assert_hidden(&name, &shown.to_ascii_lowercase());
        }
        assert!(failed.to_string().contains("a subprotocol that was not asked for"), "{failed}");
    }
}

/// The records of the crate `log` that this thread has made while it listens.
struct Log;

thread_local! {
    static RECORDS: std::cell::RefCell<Option<Vec<String>>> = const { std::cell::RefCell::new(None) };
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        RECORDS.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        RECORDS.with_borrow_mut(|records| {
            records.iter_mut().for_each(|records| records.push(format!("{}: {}", record.target(), record.args())));
        });
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn no_record_of_the_crate_log_shows_a_secret() {
    log::set_logger(&Log).expect("no other logger is installed");
    log::set_max_level(log::LevelFilter::Trace);
    RECORDS.set(Some(Vec::new()));
    log::trace!("it listens");
    let lines = format!("Sec-WebSocket-Protocol: {}\r\nSet-Cookie: {SECRET}\r\n\r\n", subprotocol());
    let (ws, _peer) = answered(builder("h"), &format!("{SWITCHING}{lines}")).await;
    let mut ws = ws.expect("open");
    futures::SinkExt::send(&mut ws, SECRET.into()).await.expect("sent");
    drop(ws);
    let (failed, _) = answered(builder("h"), &format!("HTTP/1.1 401 No\r\nSet-Cookie: {SECRET}\r\n\r\n{SECRET}")).await;
    drop(failed);
    let server = Script::bind().await;
    let (ws, _peer) = tokio::join!(with_secrets(WebSocketStream::builder(url(server.addr()))).connect(), async {
        let mut peer = server.peer().await;
        peer.accept_with(&format!("Sec-WebSocket-Protocol: {}\r\n", subprotocol())).await;
        peer
    });
    let _ = ws.expect("open");
    let records = RECORDS.take().expect("records");
    assert!(records.iter().any(|record| record.ends_with("it listens")), "{records:?}");
    for record in records {
        assert_hidden("a record", &record);
    }
}

#[tokio::test(start_paused = true)]
async fn no_timeout_shows_a_secret() {
    let (_peer, io) = Peer::pipe(4096);
    let failed = error(builder("h").connect_over(io).await);
    assert!(matches!(failed, Error::Timeout { phase: Phase::Handshake, .. }), "{failed:?}");
    assert_error_hides("timeout", &failed);
}

#[tokio::test]
async fn no_redirect_that_is_not_followed_shows_a_secret() {
    for location in [
        format!("/feed?token={SECRET}"),
        format!("//u:{SECRET}@h:x/?{SECRET}"),
        format!("ftp://u:{SECRET}@h/?{SECRET}"),
    ] {
        let server = Script::bind().await;
        let (ws, ()) = tokio::join!(builder(server.addr()).redirects(9).connect(), async {
            let mut peer = server.peer().await;
            peer.request().await;
            peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
        });
        let failed = error(ws);
        let Error::Redirect(redirected) = &failed else { panic!("{failed:?}") };
        assert!(matches!(redirected.reason(), InvalidRedirect::Loop | InvalidRedirect::Location(_)), "{failed:?}");
        assert_error_hides(&location, &failed);
    }
}

#[tokio::test]
async fn no_error_of_an_open_connection_shows_a_secret() {
    let lines = format!("Sec-WebSocket-Protocol: {}\r\n\r\n", subprotocol());
    let config = Config::default().max_message_size(1);
    for bytes in [&b"\x81\x80\0\0\0\0"[..], b"\x82\x02ab", b"\x88\x00"] {
        let (ws, mut peer) = answered(builder("h").config(config.clone()), &format!("{SWITCHING}{lines}")).await;
        let mut ws = ws.expect("open");
        peer.raw(bytes).await;
        let (_ended, ()) = tokio::join!(futures::StreamExt::next(&mut ws), async {
            peer.expect_frame().await;
            peer.finish().await;
        });
        assert_error_hides("sending", &error(futures::SinkExt::send(&mut ws, "x".into()).await));
        assert_debug_hides("a closed WebSocketStream", &ws);
    }
}

#[cfg(feature = "proxy")]
mod proxy {
    use wsflow::{Proxy, ProxyCause};

    use super::*;

    fn through(proxy: Proxy) -> ClientBuilder {
        builder("server.invalid").proxy(proxy)
    }

    #[tokio::test]
    async fn no_proxy_and_no_error_of_one_shows_a_secret() {
        let authority = |host: &dyn std::fmt::Display| format!("{SECRET}:{SECRET}@{host}/?{SECRET}");
        assert_debug_hides("an HTTP proxy", &Proxy::http(format!("http://{}", authority(&"h"))).expect("a proxy"));
        assert_debug_hides("a SOCKS5 proxy", &Proxy::socks5(format!("socks5://{}", authority(&"h"))).expect("a proxy"));
        for url in [
            format!("ftp://{}", authority(&"h")),
            format!("http://{}", authority(&"a b")),
            format!("http://{}", authority(&"h:x")),
        ] {
            assert_error_hides(&url, &error(Proxy::http(&url)));
            assert_error_hides(&url, &error(Proxy::socks5(&url)));
        }
        for userinfo in [format!("{}@", SECRET.repeat(50)), format!("u:{}@", SECRET.repeat(50))] {
            let failed = error(Proxy::socks5(format!("socks5://{userinfo}h")));
            assert!(matches!(failed, Error::InvalidUrl(InvalidUrl::ProxyCredentials)), "{failed:?}");
            assert_error_hides("credentials that are too long", &failed);
        }
        let nobody = Proxy::http(format!("http://{}", authority(&"127.0.0.1:0"))).expect("a proxy");
        assert_error_hides("a proxy that is not there", &error(through(nobody).connect().await));
    }

    #[tokio::test]
    async fn no_refusal_of_a_proxy_shows_a_secret() {
        let script = Script::bind().await;
        let proxy = Proxy::http(format!("http://{SECRET}:{SECRET}@{}", script.addr())).expect("a proxy");
        let (failed, ()) = tokio::join!(through(proxy).connect(), async {
            let mut peer = script.peer().await;
            let head = peer.request().await;
            assert_eq!(head.header("Proxy-Authorization"), Some("Basic czNjcmV0OnMzY3JldA=="));
            peer.raw(format!("HTTP/1.1 407 No\r\nSet-Cookie: {SECRET}\r\nContent-Length: 0\r\n\r\n")).await;
        });
        let failed = error(failed);
        let Error::Proxy(refused) = &failed else { panic!("{failed:?}") };
        assert!(matches!(refused.cause, ProxyCause::Refused(_)), "{failed:?}");
        assert_error_hides("407", &failed);
    }
}
