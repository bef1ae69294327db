//! Connecting by TLS: names, roots, certificates of either side, and what each failure is called.
//!
//! Each test runs with every TLS library of the build.

use std::time::Duration;

use testkit::{
    peer::Peer,
    server::Script,
    tls::{Authority, Hello, TlsServer},
};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use wsflow::{Connector, Error, Phase, Transport, UpgradedParts, WebSocketStream, compat::WebSocket};

use crate::support::error;
use crate::support::tls::ForClient as _;

/// Names under which this machine is reached and for which the server has a certificate.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "xn--bcher-kva.example"];

fn hello(server_name: Option<&str>) -> Hello {
    Hello { server_name: server_name.map(str::to_owned), alpn: vec!["http/1.1".to_owned()] }
}

fn is_rustls(connector: &Connector) -> bool {
    match connector {
        #[cfg(feature = "rustls-tls")]
        Connector::Rustls(_) => true,
        _ => false,
    }
}

#[tokio::test]
async fn wss_opens_by_name_and_by_address_with_http_1_1_as_alpn() {
    let authority = Authority::new();
    let tls = authority.server(&NAMES);
    for (bind, host, server_name) in [
        ("127.0.0.1:0", "localhost", Some("localhost")),
        ("127.0.0.1:0", "LOCALHOST", Some("localhost")),
        // An address is no server name (RFC 6066, section 3), but the certificate must have it.
        ("127.0.0.1:0", "127.0.0.1", None),
        ("[::1]:0", "[::1]", None),
    ] {
        for connector in authority.connectors(None) {
            let server = Script::bind_to(bind).await;
            let url = format!("wss://{host}:{}/x", server.addr().port());
            let (ws, ()) = tokio::join!(WebSocketStream::builder(&url).tls(connector).connect(), async {
                let (seen, peer) = tls.handshake(server.peer().await).await;
                assert_eq!(seen, hello(server_name), "{url}");
                let mut peer = peer.expect("TLS");
                let head = peer.accept().await;
                let port = server.addr().port();
                assert_eq!(head.header("Host"), Some(format!("{}:{port}", host.to_lowercase()).as_str()));
            });
            let ws = ws.unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(ws.url().expect("a url").scheme(), "wss");
            assert!(!matches!(ws.get_ref(), Transport::Plain(_)));
        }
    }
}

#[tokio::test]
async fn a_host_of_its_own_is_the_server_name_too() {
    let authority = Authority::new();
    let tls = authority.server(&NAMES);
    for connector in authority.connectors(None) {
        let server = Script::bind().await;
        let url = format!("wss://{}/", server.addr());
        let builder = WebSocketStream::builder(url).tls(connector).host("B\u{fc}cher.example:444");
        let (ws, ()) = tokio::join!(builder.connect(), async {
            let (seen, peer) = tls.handshake(server.peer().await).await;
            assert_eq!(seen, hello(Some("xn--bcher-kva.example")));
            let head = peer.expect("TLS").accept().await;
            assert_eq!(head.header("Host"), Some("xn--bcher-kva.example:444"));
        });
        let _ = ws.expect("open");
    }
}

/// B42.
#[tokio::test]
async fn connect_tls_over_adds_tls_for_the_urls_host_and_keeps_what_comes_with_the_head() {
    let authority = Authority::new();
    let tls = authority.server(&NAMES);
    for url in ["wss://b\u{fc}cher.example/", "ws://b\u{fc}cher.example:444/", "wss://b\u{fc}cher.example./"] {
        for connector in authority.connectors(None) {
            let is_rustls = is_rustls(&connector);
            let (peer, io) = Peer::pipe(64 * 1024);
            let opening = WebSocketStream::builder(url).tls(connector).connect_tls_over(io);
            let (ws, mut peer) = tokio::join!(opening, async {
                let (seen, peer) = tls.handshake(peer).await;
                assert_eq!(seen, hello(Some("xn--bcher-kva.example")));
                let mut peer = peer.expect("TLS");
                let head = peer.request().await;
                peer.raw([head.answer("").as_bytes(), b"frames"].concat()).await;
                peer
            });
            let UpgradedParts { io: mut transport, read_buf, .. } = ws.expect("open").into_parts();
            assert_eq!(read_buf, "frames");
            // What the transport takes by either kind of write arrives once it is flushed.
            assert_eq!(transport.is_write_vectored(), is_rustls);
            let parts = [std::io::IoSlice::new(b"\x81\x82\x01\x01"), std::io::IoSlice::new(b"\x01\x01ii")];
            let mut written = transport.write_vectored(&parts).await.expect("written");
            while written < 8 {
                written += transport.write(&b"\x81\x82\x01\x01\x01\x01ii"[written..]).await.expect("written");
            }
            transport.flush().await.expect("flushed");
            peer.expect_text("hh").await;
            peer.raw("more").await;
            let mut more = [0; 4];
            transport.read_exact(&mut more).await.expect("more");
            assert_eq!(&more, b"more");
            transport.shutdown().await.expect("shut down");
            peer.expect_eof().await;
        }
    }
}

#[tokio::test]
async fn connect_over_never_adds_tls() {
    let (mut peer, io) = Peer::pipe(4096);
    let builder = WebSocketStream::builder("wss://example.com/").tls(Connector::Plain);
    let (ws, head) = tokio::join!(builder.connect_over(io), peer.accept());
    assert_eq!(ws.expect("open").url().expect("a url").as_str(), "wss://example.com/");
    assert_eq!(head.header("Host"), Some("example.com"));
}

/// B31.
#[tokio::test]
async fn a_certificate_for_another_name_is_a_tls_error() {
    let authority = Authority::new();
    let tls = authority.server(&["other.example", "127.0.0.2"]);
    for connector in authority.connectors(None) {
        for host in ["localhost", "127.0.0.1"] {
            let server = Script::bind().await;
            let url = format!("wss://{host}:{}/", server.addr().port());
            let opening = WebSocketStream::builder(url).tls(connector.clone()).connect();
            let (ws, ()) = tokio::join!(opening, async {
                let (_, peer) = tls.handshake(server.peer().await).await;
                assert!(peer.is_err(), "the client went on");
            });
            let failed = error(ws);
            assert!(matches!(failed, Error::Tls(_)), "{failed:?}");
        }
    }
}

/// B31.
#[tokio::test]
async fn a_certificate_that_is_out_of_date_or_signed_by_a_stranger_is_a_tls_error() {
    let authority = Authority::new();
    // What rustls says, and what OpenSSL says.
    for (what, tls, reasons) in [
        ("expired", authority.server_in_years(&NAMES, 2000, 2001), ["expired", "expired"]),
        ("of the future", authority.server_in_years(&NAMES, 2300, 2301), ["not valid yet", "not yet valid"]),
        ("self-signed", TlsServer::self_signed(&NAMES), ["UnknownIssuer", "self-signed certificate"]),
        // Of another authority that goes by the same name.
        ("a stranger's", Authority::new().server(&NAMES), ["BadSignature", "certificate signature failure"]),
    ] {
        for connector in authority.connectors(None) {
            let (peer, io) = Peer::pipe(64 * 1024);
            let opening = WebSocketStream::builder("wss://localhost/").tls(connector).connect_tls_over(io);
            let (ws, ()) = tokio::join!(opening, async {
                assert!(tls.handshake(peer).await.1.is_err(), "{what}: the client went on");
            });
            let failed = error(ws);
            assert!(matches!(failed, Error::Tls(_)) && !failed.is_transient(), "{what}: {failed:?}");
            let text = failed.to_string();
            // Other systems than Linux have other libraries, and other words.
            let is_known = reasons.iter().any(|reason| text.contains(reason));
            assert!(is_known || cfg!(all(feature = "native-tls", not(target_os = "linux"))), "{what}: {text}");
        }
    }
}

/// The start of an answer to any ClientHello: a ServerHello of TLS `3.minor`, without a session, with
/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and without compression (RFC 5246, section 7.4.1.3).
fn server_hello(minor: u8) -> Vec<u8> {
    let hello = [&[3, minor][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let handshake = [&[2, 0, 0, hello.len() as u8][..], &hello].concat();
    [&[22, 3, minor, 0, handshake.len() as u8][..], &handshake].concat()
}

#[tokio::test]
async fn a_server_of_tls_1_1_or_older_is_refused_with_an_alert() {
    // One that the caller gave, and the default.
    for connector in Authority::new().connectors(None).into_iter().map(Some).chain([None]) {
        for minor in [0, 1, 2] {
            let (mut peer, io) = Peer::pipe(64 * 1024);
            let mut builder = WebSocketStream::builder("wss://localhost/");
            if let Some(connector) = connector.clone() {
                builder = builder.tls(connector);
            }
            let (ws, last) = tokio::join!(builder.connect_tls_over(io), async {
                peer.byte().await;
                peer.raw(server_hello(minor)).await;
                let mut sent = Vec::new();
                peer.io_mut().read_to_end(&mut sent).await.expect("the end");
                sent.split_off(sent.len() - 2)
            });
            let failed = error(ws);
            assert!(matches!(failed, Error::Tls(_)), "3.{minor}: {failed:?}");
            assert_eq!(last, [2, 70], "3.{minor}: fatal, protocol_version: {failed}");
        }
    }
}

/// B31.
#[tokio::test]
async fn without_own_roots_an_unknown_authority_is_a_tls_error_and_no_provider_need_be_installed() {
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    let tls = Authority::new().server(&NAMES);
    // The second time the settings are there already.
    for _ in 0..2 {
        let server = Script::bind().await;
        let url = format!("wss://localhost:{}/", server.addr().port());
        let (ws, ()) = tokio::join!(WebSocketStream::connect(url), async {
            let (seen, peer) = tls.handshake(server.peer().await).await;
            assert_eq!(seen, hello(Some("localhost")));
            assert!(peer.is_err(), "the client went on");
        });
        let Error::Tls(cause) = error(ws) else { panic!("a TLS error was expected") };
        #[cfg(feature = "rustls-tls")]
        assert!(matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))), "{cause:?}");
        #[cfg(not(feature = "rustls-tls"))]
        assert!(cause.is::<native_tls::Error>(), "{cause:?}");
    }
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let authority = Authority::new();
    let tls = authority.server_for_members(&NAMES);
    let client = authority.issue(&["client.example"]);
    for connector in authority.connectors(Some(&client)) {
        let (peer, io) = Peer::pipe(64 * 1024);
        let opening = WebSocketStream::builder("wss://localhost/").tls(connector).connect_tls_over(io);
        let (ws, _peer) = tokio::join!(opening, async {
            let mut peer = tls.handshake(peer).await.1.expect("TLS");
            peer.accept().await;
            peer
        });
        let _ = ws.expect("open");
    }
    for connector in authority.connectors(None) {
        let is_rustls = is_rustls(&connector);
        let (peer, io) = Peer::pipe(64 * 1024);
        let opening = WebSocketStream::builder("wss://localhost/").tls(connector).connect_tls_over(io);
        let (ws, ()) = tokio::join!(opening, async {
            assert!(tls.handshake(peer).await.1.is_err(), "a client without a certificate");
        });
        // By TLS 1.3 the client learns of it only when it reads; then native-tls does not say that TLS failed.
        let failed = error(ws);
        assert!(matches!(failed, Error::Tls(_)) || !is_rustls && matches!(failed, Error::Io(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_a_tls_error_and_so_is_a_connection_that_ends() {
    let authority = Authority::new();
    for connector in authority.connectors(None) {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let (mut peer, io) = Peer::pipe(64 * 1024);
            let opening = WebSocketStream::builder("wss://localhost/").tls(connector.clone()).connect_tls_over(io);
            let (ws, ()) = tokio::join!(opening, async {
                peer.raw(answer).await;
                peer.finish().await;
            });
            let failed = error(ws);
            assert!(matches!(failed, Error::Tls(_)), "{answer:?}: {failed:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_never_finishes_tls_is_timed_out_in_that_phase() {
    for connector in Authority::new().connectors(None) {
        let server = Script::bind().await;
        let url = format!("wss://{}/", server.addr());
        let builder = WebSocketStream::builder(url).tls(connector).tls_timeout(Duration::from_millis(50));
        let (ws, mut peer) = tokio::join!(builder.connect(), server.peer());
        assert!(matches!(error(ws), Error::Timeout { phase: Phase::Tls, .. }));
        peer.expect_gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn tls_may_take_30_s_unless_it_may_take_for_ever() {
    for connector in Authority::new().connectors(None) {
        let (_peer, io) = Peer::pipe(64 * 1024);
        let started = tokio::time::Instant::now();
        let opening = WebSocketStream::builder("wss://localhost/").tls(connector.clone()).connect_tls_over(io);
        assert!(matches!(error(opening.await), Error::Timeout { phase: Phase::Tls, .. }));
        assert_eq!(started.elapsed(), Duration::from_secs(30));

        let (_peer, io) = Peer::pipe(64 * 1024);
        let builder = WebSocketStream::builder("wss://localhost/").tls(connector).tls_timeout(None);
        let opening = tokio::time::timeout(Duration::from_secs(86_400), builder.connect_tls_over(io));
        assert!(opening.await.is_err(), "it waits for ever");
    }
}

/// B204.
#[tokio::test]
async fn a_token_cancelled_during_tls_aborts_it() {
    for connector in Authority::new().connectors(None) {
        let server = Script::bind().await;
        let token = CancellationToken::new();
        let url = format!("wss://{}/", server.addr());
        let builder = WebSocketStream::builder(url).tls(connector).signal(token.clone());
        let (ws, mut peer) = tokio::join!(builder.connect(), async {
            let mut peer = server.peer().await;
            peer.byte().await;
            token.cancel();
            peer
        });
        assert!(matches!(error(ws), Error::Aborted));
        peer.expect_gone().await;
    }
}

#[tokio::test]
async fn a_plain_connector_is_refused_for_wss_before_any_io() {
    // Nobody listens there: had TCP been tried, it were an IO error.
    let refused = WebSocketStream::builder("wss://127.0.0.1:0/").tls(Connector::Plain).connect().await;
    let refused = error(refused);
    assert!(matches!(refused, Error::Tls(_)), "{refused:?}");
    assert!(refused.to_string().contains("Connector::Plain"), "{refused}");
    let (mut peer, io) = Peer::pipe(64);
    let refused = WebSocketStream::builder("ws://h/").tls(Connector::Plain).connect_tls_over(io).await;
    assert!(matches!(error(refused), Error::Tls(_)));
    peer.expect_eof().await;
    // For ws it is what is wanted.
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(server.url("/")).tls(Connector::Plain);
    let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
    assert!(matches!(ws.expect("open").get_ref(), Transport::Plain(_)));
}

#[cfg(feature = "rustls-tls")]
#[tokio::test]
async fn alpn_that_the_caller_set_stays() {
    let authority = Authority::new();
    let Some(Connector::Rustls(config)) = authority.connectors(None).into_iter().next() else { panic!("rustls") };
    let mut config = rustls::ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h3".to_vec()];
    let tls = authority.server(&NAMES);
    let (peer, io) = Peer::pipe(64 * 1024);
    let builder = WebSocketStream::builder("wss://localhost/").tls(Connector::Rustls(config.into()));
    let (ws, _peer) = tokio::join!(builder.connect_tls_over(io), async {
        let (seen, peer) = tls.handshake(peer).await;
        assert_eq!(seen.alpn, ["http/1.1", "h3"]);
        let mut peer = peer.expect("TLS");
        peer.accept().await;
        peer
    });
    let _ = ws.expect("open");
}

#[test]
fn the_libraries_of_the_connectors_come_with_the_crate() {
    #[cfg(feature = "rustls-tls")]
    {
        use wsflow::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

        let builder = ClientConfig::builder_with_provider(default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        assert!(is_rustls(&Connector::Rustls(config.into())));
    }
    #[cfg(feature = "native-tls")]
    {
        use wsflow::native_tls::TlsConnector;

        let connector = TlsConnector::new().expect("a connector");
        assert!(!is_rustls(&Connector::NativeTls(connector)));
    }
}

#[tokio::test]
async fn the_event_api_opens_wss_with_own_roots() {
    let authority = Authority::new();
    let tls = authority.server(&NAMES);
    for connector in authority.connectors(None) {
        let server = Script::bind().await;
        let url = server.url("/").replace("ws://127.0.0.1", "wss://localhost");
        let builder = WebSocket::builder(&url).expect("a URL").tls(connector);
        let ws = builder.on_open(|ws, _| ws.send("hello").expect("open")).connect();
        let mut peer = tls.handshake(server.peer().await).await.1.expect("TLS");
        peer.accept().await;
        peer.expect_text("hello").await;
        peer.close(1000, "").await;
        peer.expect_close(1000, "").await;
        peer.finish().await;
        ws.closed().await;
        assert!(ws.error().is_none(), "{:?}", ws.error());
    }
}
