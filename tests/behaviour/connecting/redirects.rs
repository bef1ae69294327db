//! Redirects: which are followed, with which headers, and how a way ends that leads nowhere.

use std::time::Duration;

use testkit::{request::Head, server::Script};
use url::Url;
use wsflow::{ClientBuilder, Error, InvalidRedirect, InvalidUrl, Phase, RedirectHeaders, Redirected, WebSocketStream};

use crate::support::error;

/// Answers the next request with a redirect. Its body never comes.
async fn redirect(server: &Script, status: u16, location: &str) -> Head {
    answer(server, &format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 9\r\n\r\n")).await
}

async fn answer(server: &Script, text: &str) -> Head {
    let mut peer = server.peer().await;
    let head = peer.request().await;
    peer.raw(text).await;
    peer.expect_gone().await;
    head
}

fn path(head: &Head) -> &str {
    head.0.split(' ').nth(1).expect("a request line")
}

fn redirected(error: &Error) -> (&InvalidRedirect, Vec<&str>) {
    let Error::Redirect(redirected) = error else { panic!("{error:?}") };
    let redirected: &Redirected = redirected;
    (redirected.reason(), redirected.way().iter().map(Url::as_str).collect())
}

#[tokio::test]
async fn other_statuses_and_without_the_option_all_are_refusals() {
    for (status, redirects) in [(301, 0), (302, 0), (308, 0), (300, 9), (304, 9), (305, 9), (404, 9)] {
        let server = Script::bind().await;
        let builder = WebSocketStream::builder(server.url("/a")).redirects(redirects);
        let response = format!("HTTP/1.1 {status} x\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
        let (ws, _) = tokio::join!(builder.connect(), answer(&server, &response));
        assert_eq!(error(ws).status().expect("a refusal"), status);
    }
}

#[tokio::test]
async fn where_a_location_leads() {
    let server = Script::bind().await;
    let addr = server.addr();
    for (location, there) in [
        ("/b?c=d", "/b?c=d"),
        ("b", "/dir/b"),
        ("../b", "/b"),
        ("?q", "/dir/a?q"),
        (&format!("//{addr}/b"), "/b"),
        (&format!("ws://{addr}/b"), "/b"),
        (&format!("http://{addr}/b"), "/b"),
        (&format!("ws://{addr}"), "/"),
        ("/b#part", "/b"),
        ("/b\u{fc}", "/b%C3%BC"),
    ] {
        let builder = WebSocketStream::builder(server.url("/dir/a")).redirects(1);
        let (ws, head) = tokio::join!(builder.connect(), async {
            redirect(&server, 302, location).await;
            server.peer().await.accept().await
        });
        assert_eq!(path(&head), there, "{location}");
        assert_eq!(ws.expect("open").url().expect("a URL").as_str(), server.url(there), "{location}");
    }
}

#[tokio::test]
async fn a_location_that_leads_nowhere_is_an_error() {
    for (lines, reason) in [
        ("", InvalidRedirect::NoLocation),
        ("Location: /b\r\nLocation: /c\r\n", InvalidRedirect::NoLocation),
        ("Location: ftp://h/\r\n", InvalidRedirect::Location(InvalidUrl::Scheme("ftp".into()))),
        ("Location: mailto:me@h\r\n", InvalidRedirect::Location(InvalidUrl::Scheme("mailto".into()))),
        ("Location: ws://h:x/?token\r\n", InvalidRedirect::Location(InvalidUrl::Parse(url::ParseError::InvalidPort))),
    ] {
        let server = Script::bind().await;
        let builder = WebSocketStream::builder(server.url("/a")).redirects(9);
        let response = format!("HTTP/1.1 302 Found\r\n{lines}Content-Length: 9\r\n\r\n");
        let (ws, _) = tokio::join!(builder.connect(), answer(&server, &response));
        let failed = error(ws);
        assert_eq!(redirected(&failed), (&reason, vec![server.url("/a").as_str()]));
        assert!(!failed.is_transient() && !failed.to_string().contains("token"), "{failed}");
    }
}

/// The headers that a server may not see unless it is of the origin that they are for.
const SECRETS: [(&str, &str); 2] = [("Authorization", "Bearer a"), ("Cookie", "b=c")];

#[tokio::test]
async fn secrets_stay_with_their_origin_and_do_not_come_back_to_it() {
    let (first, other) = (Script::bind().await, Script::bind().await);
    let mut builder = WebSocketStream::builder(first.url("/1"))
        .header("X-Mine", "kept")
        .redirects(9)
        .redirect_headers(RedirectHeaders::Keep);
    for (name, value) in SECRETS {
        builder = builder.header(name, value);
    }
    let (ws, heads) = tokio::join!(builder.connect(), async {
        [
            (redirect(&first, 302, "/2").await, true),
            (redirect(&first, 302, &other.url("/3")).await, true),
            (redirect(&other, 302, "/4").await, false),
            (redirect(&other, 302, &first.url("/5")).await, false),
            (first.peer().await.accept().await, false),
        ]
    });
    let _ = ws.expect("open");
    for (i, (head, is_trusted)) in heads.iter().enumerate() {
        assert_eq!(path(head), format!("/{}", i + 1));
        assert_eq!(head.header("X-Mine"), Some("kept"));
        for (name, value) in SECRETS {
            assert_eq!(head.header(name), is_trusted.then_some(value), "{head:?}");
        }
    }
}

#[tokio::test]
async fn userinfo_stays_with_its_origin_too_and_that_of_a_location_is_dropped() {
    const MINE: Option<&str> = Some("Basic bWU6c2VjcmV0");
    let (first, other) = (Script::bind().await, Script::bind().await);
    let url = first.url("/1").replace("ws://", "ws://me:secret@");
    let (ws, heads) = tokio::join!(WebSocketStream::builder(&url).redirects(9).connect(), async {
        [
            (redirect(&first, 302, "/2").await, MINE),
            (redirect(&first, 302, &first.url("/3").replace("ws://", "ws://you:x@")).await, MINE),
            (redirect(&first, 302, &other.url("/4").replace("ws://", "ws://you:x@")).await, MINE),
            (redirect(&other, 302, &first.url("/5")).await, None),
            (first.peer().await.accept().await, None),
        ]
    });
    assert_eq!(ws.expect("open").url().expect("a URL").as_str(), first.url("/5"));
    for (head, credentials) in &heads {
        assert_eq!(head.header("Authorization"), *credentials, "{head:?}");
    }
}

#[tokio::test]
async fn another_origin_gets_the_user_agent_and_the_origin_alone_unless_asked_to() {
    for (headers, is_kept) in [(None, false), (Some(RedirectHeaders::Drop), false), (Some(RedirectHeaders::Keep), true)]
    {
        let (first, other) = (Script::bind().await, Script::bind().await);
        let builder = WebSocketStream::builder(first.url("/1"))
            .header("X-Api-Key", "mine")
            .header("User-Agent", "mine")
            .origin("https://mine.example")
            .protocols(["mine"])
            .subprotocol_required(false)
            .redirects(9);
        let builder = headers.into_iter().fold(builder, ClientBuilder::redirect_headers);
        let (ws, heads) = tokio::join!(builder.connect(), async {
            [
                (redirect(&first, 302, "/2").await, true),
                (redirect(&first, 302, &other.url("/3")).await, true),
                // It does not come back.
                (redirect(&other, 302, &first.url("/4")).await, is_kept),
                (first.peer().await.accept().await, is_kept),
            ]
        });
        let _ = ws.expect("open");
        for (head, is_there) in heads {
            for name in ["X-Api-Key", "Sec-WebSocket-Protocol"] {
                assert_eq!(head.header(name), is_there.then_some("mine"), "{headers:?}: {head:?}");
            }
            assert_eq!(head.header("User-Agent"), Some("mine"));
            assert_eq!(head.header("Origin"), Some("https://mine.example"));
        }
    }
}

#[tokio::test]
async fn a_redirect_to_where_subprotocols_may_not_go_is_not_followed() {
    let (first, other) = (Script::bind().await, Script::bind().await);
    let builder = WebSocketStream::builder(first.url("/1")).protocols(["mine"]).redirects(9);
    let there = other.url("/2");
    let (ws, _head) = tokio::join!(builder.connect(), redirect(&first, 302, &there));
    let failed = error(ws);
    let (reason, way) = redirected(&failed);
    assert_eq!((reason, way.len()), (&InvalidRedirect::Subprotocols, 2), "{failed}");
}

/// Unlike `host()`, that of a request goes on only as a header.
#[tokio::test]
async fn the_host_of_a_request_goes_on_with_a_location_without_an_authority() {
    let server = Script::bind().await;
    let request = http::Request::get(server.url("/1")).header("Host", FRONT).header("Cookie", "a").body(());
    let builder = ClientBuilder::from_request(request.expect("a request")).redirects(9);
    let (ws, heads) = tokio::join!(builder.connect(), async {
        [
            (redirect(&server, 302, "/2").await, true),
            (redirect(&server, 302, &server.url("/3")).await, true),
            (server.peer().await.accept().await, false),
        ]
    });
    let _ = ws.expect("open");
    for (head, is_front) in heads {
        assert_eq!(head.header("Host") == Some(FRONT), is_front, "{head:?}");
        assert_eq!(head.header("Cookie").is_some(), is_front, "{head:?}");
    }
}

/// The host that `host()` gives, where the URL has an address.
const FRONT: &str = "front.example";

/// A connection to `server` as `FRONT`, with secrets. Every name leads to `server`.
fn as_front(server: &Script, path: &str) -> ClientBuilder {
    let addr = server.addr();
    let mut builder =
        WebSocketStream::builder(server.url(path)).host(FRONT).resolver(move |_, _| async move { Ok([addr]) });
    for (name, value) in SECRETS {
        builder = builder.header(name, value);
    }
    builder.header("X-Mine", "kept").redirects(9).redirect_headers(RedirectHeaders::Keep)
}

fn has_secrets(head: &Head) -> bool {
    let has = SECRETS.map(|(name, value)| {
        assert!(head.header(name).is_none_or(|sent| sent == value), "{head:?}");
        head.header(name).is_some()
    });
    assert!(has.iter().all(|&has_it| has_it == has[0]), "{head:?}");
    has[0]
}

/// An origin is the scheme, and the host and the port of `Host` as sent. The address behind it may be that of many.
#[tokio::test]
async fn another_host_goes_on_with_a_location_without_an_authority_and_no_secret_goes_to_another() {
    let server = Script::bind().await;
    let addr = server.addr().to_string();
    for (location, host, is_trusted) in [
        // No authority: the same server, as it was asked for.
        ("/b", FRONT, true),
        ("b", FRONT, true),
        ("../b", FRONT, true),
        ("?b", FRONT, true),
        ("./b#part", FRONT, true),
        ("ws:/b", FRONT, true),
        ("ws:b", FRONT, true),
        // The same origin.
        ("//front.example/b", FRONT, true),
        ("/\\front.example/b", FRONT, true),
        ("\\\\front.example\\b", FRONT, true),
        ("ws://front.example/b", FRONT, true),
        ("http://you@FRONT.example:80/b", FRONT, true),
        // Another name.
        ("//other.example/b", "other.example", false),
        ("/\\other.example/b", "other.example", false),
        ("\\\\other.example\\b", "other.example", false),
        ("ws:///other.example/b", "other.example", false),
        ("/\t/other.example/b", "other.example", false),
        ("ws:\\\\other.example/b", "other.example", false),
        ("http:other.example/b", "other.example", false),
        ("//front.example./b", "front.example.", false),
        // Another port.
        ("//front.example:81/b", "front.example:81", false),
        // The address that was connected to, as the URL has it: another virtual host.
        (&format!("//{addr}/b"), &addr, false),
        (&format!("/\\{addr}/b"), &addr, false),
        (&format!("\\\\{addr}\\b"), &addr, false),
        (&format!("ws://{addr}/b"), &addr, false),
        (&format!("http:{addr}/b"), &addr, false),
    ] {
        let (ws, (first, second)) = tokio::join!(as_front(&server, "/dir/a").connect(), async {
            (redirect(&server, 307, location).await, server.peer().await.accept().await)
        });
        let _ = ws.unwrap_or_else(|error| panic!("{location}: {error}"));
        assert!(first.header("Host") == Some(FRONT) && has_secrets(&first), "{first:?}");
        assert_eq!(second.header("Host"), Some(host), "{location}");
        assert_eq!(has_secrets(&second), is_trusted, "{location}: {second:?}");
        assert_eq!(second.header("X-Mine"), Some("kept"));
    }
}

#[tokio::test]
async fn another_host_is_dropped_for_good() {
    let server = Script::bind().await;
    let addr = server.addr().to_string();
    let (ws, heads) = tokio::join!(as_front(&server, "/1").connect(), async {
        [
            (redirect(&server, 302, "/2").await, FRONT, true),
            (redirect(&server, 302, "3").await, FRONT, true),
            // The same place but for the host, so no loop.
            (redirect(&server, 302, &server.url("/3")).await, FRONT, true),
            (redirect(&server, 302, "/4").await, &*addr, false),
            (redirect(&server, 302, "//front.example/5").await, &*addr, false),
            (server.peer().await.accept().await, FRONT, false),
        ]
    });
    assert_eq!(ws.expect("open").url().expect("a URL").as_str(), "ws://front.example/5");
    for (head, host, is_trusted) in &heads {
        assert_eq!(head.header("Host"), Some(*host), "{head:?}");
        assert_eq!(has_secrets(head), *is_trusted, "{head:?}");
    }
}

#[tokio::test]
async fn userinfo_goes_where_the_host_that_it_was_sent_with_goes() {
    let server = Script::bind().await;
    let addr = server.addr();
    let url = server.url("/1").replace("ws://", "ws://me:secret@");
    for (location, is_trusted) in
        [("/2", true), ("//front.example/2", true), ("//other.example/2", false), (&format!("//{addr}/2"), false)]
    {
        let builder = WebSocketStream::builder(&url).host(FRONT).resolver(move |_, _| async move { Ok([addr]) });
        let (ws, second) = tokio::join!(builder.redirects(1).connect(), async {
            redirect(&server, 302, location).await;
            server.peer().await.accept().await
        });
        let ws = ws.unwrap_or_else(|error| panic!("{location}: {error}"));
        assert_eq!(second.header("Authorization").is_some(), is_trusted, "{location}: {second:?}");
        assert_eq!(ws.url().expect("a URL").username(), if is_trusted { "me" } else { "" }, "{location}");
    }
}

#[tokio::test]
async fn a_loop_is_an_error_that_lists_the_way_without_secrets() {
    let server = Script::bind().await;
    let url = server.url("/a?token=x").replace("ws://", "ws://me:secret@");
    let (ws, ()) = tokio::join!(WebSocketStream::builder(&url).redirects(9).connect(), async {
        redirect(&server, 302, "/b?token=y").await;
        redirect(&server, 302, "/a?token=x").await;
    });
    let failed = error(ws);
    let (a, b) = (server.url("/a"), server.url("/b"));
    assert_eq!(redirected(&failed), (&InvalidRedirect::Loop, vec![a.as_str(), &b, &a]));
    assert_eq!(failed.to_string(), format!("a redirect was not followed: they lead in a loop: {a} -> {b} -> {a}"));
    assert!(!format!("{failed:?}").contains("secret") && !format!("{failed:?}").contains("token"), "{failed:?}");
}

#[tokio::test]
async fn another_query_is_another_place() {
    let server = Script::bind().await;
    let (ws, ()) = tokio::join!(WebSocketStream::builder(server.url("/")).redirects(1).connect(), async {
        redirect(&server, 302, "/?seen").await;
        server.accept().await;
    });
    let _ = ws.expect("open");
}

#[tokio::test]
async fn one_redirect_more_than_allowed_is_an_error() {
    for limit in [1, 2, 3] {
        let server = Script::bind().await;
        let (ws, ()) = tokio::join!(WebSocketStream::builder(server.url("/0")).redirects(limit).connect(), async {
            for hop in 1..=limit + 1 {
                redirect(&server, 302, &format!("/{hop}")).await;
            }
        });
        let failed = error(ws);
        let (reason, way) = redirected(&failed);
        assert_eq!(reason, &InvalidRedirect::TooMany { limit });
        let expected: Vec<_> = (0..=limit + 1).map(|hop| server.url(&format!("/{hop}"))).collect();
        assert_eq!(way, expected);
    }
}

#[tokio::test]
async fn a_hop_that_does_not_answer_is_timed_out() {
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(server.url("/")).redirects(1).handshake_timeout(Duration::from_millis(300));
    let (ws, mut silent) = tokio::join!(builder.connect(), async {
        redirect(&server, 302, "/b").await;
        server.peer().await
    });
    assert!(matches!(error(ws), Error::Timeout { phase: Phase::Handshake, .. }));
    silent.expect_gone().await;
}

#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
mod tls {
    use super::*;
    use testkit::tls::Authority;

    use crate::support::tls::ForClient as _;

    #[tokio::test]
    async fn from_wss_to_ws_is_refused_and_nothing_is_asked_there() {
        let authority = Authority::new();
        let tls = authority.server(&["localhost"]);
        for connector in authority.connectors(None) {
            for scheme in ["ws", "http"] {
                let (server, plain) = (Script::bind().await, Script::bind().await);
                let there = format!("{scheme}://{}/b", plain.addr());
                let here = format!("wss://localhost:{}/", server.addr().port());
                let builder = WebSocketStream::builder(&here).tls(connector.clone()).redirects(9);
                let (ws, ()) = tokio::join!(builder.connect(), async {
                    let mut peer = tls.handshake(server.peer().await).await.1.expect("TLS");
                    peer.request().await;
                    peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\n\r\n")).await;
                });
                let failed = error(ws);
                assert_eq!(redirected(&failed), (&InvalidRedirect::Downgrade, vec![here.as_str(), &plain.url("/b")]));
                let asked = tokio::time::timeout(Duration::from_millis(10), plain.peer()).await;
                assert!(asked.is_err(), "the plain server was asked");
            }
        }
    }

    #[tokio::test]
    async fn the_certificate_is_for_the_host_that_goes_on() {
        let authority = Authority::new();
        let tls = authority.server(&[FRONT]);
        for connector in authority.connectors(None) {
            let server = Script::bind().await;
            let here = format!("wss://localhost:{}/a", server.addr().port());
            let builder = WebSocketStream::builder(&here).host(FRONT).tls(connector).redirects(1);
            let (ws, head) = tokio::join!(builder.connect(), async {
                let mut peer = tls.handshake(server.peer().await).await.1.expect("TLS");
                peer.request().await;
                peer.raw("HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n").await;
                tls.handshake(server.peer().await).await.1.expect("TLS for the same name").accept().await
            });
            assert_eq!(ws.expect("open").url().expect("a URL").path(), "/b");
            assert_eq!(head.header("Host"), Some(FRONT));
        }
    }

    #[tokio::test]
    async fn from_ws_to_wss_adds_tls_and_is_another_origin() {
        let authority = Authority::new();
        let tls = authority.server(&["localhost"]);
        for connector in authority.connectors(None) {
            let (plain, server) = (Script::bind().await, Script::bind().await);
            let there = format!("https://localhost:{}/b", server.addr().port());
            let builder = WebSocketStream::builder(plain.url("/")).tls(connector).header("Cookie", "a=b").redirects(1);
            let (ws, head) = tokio::join!(builder.connect(), async {
                redirect(&plain, 301, &there).await;
                tls.handshake(server.peer().await).await.1.expect("TLS").accept().await
            });
            assert_eq!(ws.expect("open").url().expect("a URL").scheme(), "wss");
            assert_eq!(head.header("Cookie"), None);
        }
    }
}
