//! Tunnels through proxies: what a proxy sees, and what each of its answers comes to.

use std::time::Duration;

use futures::StreamExt as _;
use testkit::{peer::Peer, server::Script};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wsflow::{
    Backoff, ClientBuilder, Error, InvalidUrl, Phase, Proxy, ProxyCause, Reconnect, Retry, WebSocketStream,
    compat::WebSocket,
};

use crate::support::error;

/// Opens nothing but through the proxy: the name resolves nowhere.
const SERVER: &str = "server.invalid";

fn http(script: &Script, userinfo: &str) -> Proxy {
    Proxy::http(format!("http://{userinfo}{}", script.addr())).expect("a proxy")
}

fn socks5(script: &Script, userinfo: &str) -> Proxy {
    Proxy::socks5(format!("socks5://{userinfo}{}", script.addr())).expect("a proxy")
}

fn through(proxy: Proxy) -> ClientBuilder {
    WebSocketStream::builder(format!("ws://{SERVER}/feed")).proxy(proxy)
}

/// Asserts that the client sends these bytes next.
async fn expect(peer: &mut Peer, bytes: &[u8]) {
    let mut seen = vec![0; bytes.len()];
    peer.io_mut().read_exact(&mut seen).await.expect("the client is there");
    assert_eq!(seen, bytes);
}

// HTTP.

#[tokio::test]
async fn an_http_proxy_sees_connect_and_its_credentials_and_the_server_sees_none_of_them() {
    for (userinfo, credentials) in [
        ("", None),
        ("user:secret@", Some("Basic dXNlcjpzZWNyZXQ=")),
        ("us%65r:s%3Aecret@", Some("Basic dXNlcjpzOmVjcmV0")),
    ] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(http(&script, userinfo)).connect(), async {
            let mut peer = script.peer().await;
            let head = peer.request().await;
            assert!(head.0.starts_with("CONNECT server.invalid:80 HTTP/1.1\r\n"), "{}", head.0);
            assert_eq!(head.header("Host"), Some("server.invalid:80"));
            assert_eq!(head.header("Proxy-Authorization"), credentials);
            peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
            let head = peer.accept().await;
            assert!(head.0.starts_with("GET /feed HTTP/1.1\r\n"), "{}", head.0);
            assert_eq!(head.header("Proxy-Authorization"), None);
            assert_eq!(head.header("Authorization"), None);
        });
        let _ = ws.expect("open");
    }
}

/// B270.
#[tokio::test]
async fn each_address_of_a_proxys_host_is_tried() {
    let (nobody, script) = (Script::bind().await.addr(), Script::bind().await);
    let addresses = [nobody, script.addr()];
    let builder = through(Proxy::http("http://proxy.invalid").expect("a proxy")).resolver(move |host, _| {
        assert_eq!(host, "proxy.invalid");
        std::future::ready(Ok(addresses))
    });
    let (ws, ()) = tokio::join!(builder.connect(), async {
        let mut peer = script.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
        peer.accept().await;
    });
    let _ = ws.expect("open");
}

#[tokio::test]
async fn a_proxy_and_the_server_are_told_the_same_user_agent() {
    let builder = |script: &Script| through(http(script, ""));
    let script = Script::bind().await;
    let default = concat!("wsflow/", env!("CARGO_PKG_VERSION"));
    for (builder, expected) in [
        (builder(&script), Some(default)),
        (builder(&script).user_agent("mine"), Some("mine")),
        (builder(&script).user_agent(None), None),
        (builder(&script).header("User-Agent", "mine"), Some("mine")),
    ] {
        let (ws, ()) = tokio::join!(builder.connect(), async {
            let mut peer = script.peer().await;
            assert_eq!(peer.request().await.header("User-Agent"), expected);
            peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
            assert_eq!(peer.accept().await.header("User-Agent"), expected);
        });
        let _ = ws.expect("open");
    }
}

#[tokio::test]
async fn the_event_api_goes_through_a_proxy() {
    let script = Script::bind().await;
    let proxy = http(&script, "user:secret@");
    let ws = WebSocket::builder(&format!("ws://{SERVER}/feed")).unwrap().client(|client| client.proxy(proxy));
    let ws = ws.on_open(|ws, _| ws.send("hello").unwrap()).connect();
    let mut peer = script.peer().await;
    let head = peer.request().await;
    assert!(head.0.starts_with("CONNECT server.invalid:80 HTTP/1.1\r\n"), "{}", head.0);
    peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
    peer.accept().await;
    peer.expect_text("hello").await;
    ws.close().unwrap();
    peer.expect_close(None, "").await;
}

#[tokio::test]
async fn any_2xx_opens_the_tunnel_also_byte_by_byte_and_with_an_informational_response_before() {
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200\r\nVia: x\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 x\r\n\r\n",
        "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 x\r\n\r\n",
    ] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(http(&script, "")).connect(), async {
            let mut peer = script.peer().await;
            peer.request().await;
            peer.io_mut().set_nodelay(true).expect("a socket");
            for byte in answer.bytes() {
                peer.raw([byte]).await;
            }
            peer.accept().await;
        });
        let _ = ws.unwrap_or_else(|error| panic!("{answer}: {error}"));
    }
}

#[tokio::test]
async fn bytes_behind_the_proxys_head_belong_to_the_tunnel() {
    let script = Script::bind().await;
    let (refused, ()) = tokio::join!(through(http(&script, "")).connect(), async {
        let mut peer = script.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n").await;
        peer.request().await;
    });
    let refused = error(refused);
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(418));
}

#[tokio::test]
async fn a_refusal_is_the_proxys_with_status_headers_and_body() {
    for (status, is_transient) in [(407, false), (403, false), (502, true), (302, false)] {
        let script = Script::bind().await;
        let (refused, ()) = tokio::join!(through(http(&script, "user:secret@")).connect(), async {
            let mut peer = script.peer().await;
            peer.request().await;
            let answer = format!("HTTP/1.1 {status} x\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwhy?");
            peer.raw(answer).await;
            peer.expect_gone().await;
        });
        let refused = error(refused);
        assert_eq!(refused.status().map(|status| status.as_u16()), Some(status));
        assert_eq!((refused.is_transient(), refused.is_connect()), (is_transient, true), "{refused}");
        let text = refused.to_string();
        let start =
            format!("the proxy {} for ws://{SERVER}:80 refused the tunnel with status {status} ", script.addr());
        assert!(text.starts_with(&start) && text.ends_with(": why?"), "{text}");
        assert!(!format!("{refused:?}{text}").contains("secret"));
        let Error::Proxy(refused) = refused else { panic!("{refused:?}") };
        let ProxyCause::Refused(response) = &refused.cause else { panic!("{refused:?}") };
        assert_eq!(response.headers()["Proxy-Authenticate"], "Basic");
    }
}

#[tokio::test]
async fn the_head_of_a_proxy_is_read_leniently_but_for_what_decides() {
    let many = "X-Via: a\r\n".repeat(150);
    for (head, reason) in [
        ("HTTP/1.1  200 OK\r\n\r\n", None),
        ("HTTP/1.1 200\r\nServer : a\r\nX: a\r\n b\r\nnonsense\r\nY: \0\r\n\r\n", None),
        (&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), None),
        ("HTTP/1.1 200 OK\r\nConnection : close\r\n\r\n", Some("has white space before its colon")),
        ("HTTP/2 200 OK\r\n\r\n", Some("it begins with \"HTTP/2")),
    ] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(http(&script, "")).connect(), async {
            let mut peer = script.peer().await;
            peer.request().await;
            peer.raw(head).await;
            if reason.is_none() {
                peer.accept().await;
            }
        });
        match reason {
            None => drop(ws.unwrap_or_else(|error| panic!("{head}: {error}"))),
            Some(reason) => {
                let failed = error(ws);
                assert!(matches!(failed, Error::Proxy(_)) && failed.to_string().contains(reason), "{head}: {failed}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_proxy_that_has_not_read_the_request_is_read() {
    for _ in 0..3 {
        let script = Script::bind().await;
        let user = format!("{}:p@", "x".repeat(8 << 20));
        let (refused, ()) = tokio::join!(through(http(&script, &user)).connect(), async {
            let mut peer = script.peer().await;
            peer.byte().await;
            peer.raw("HTTP/1.1 431 x\r\nContent-Length: 4\r\n\r\ncut!").await;
        });
        let refused = error(refused);
        assert!(matches!(refused, Error::Proxy(_)), "{refused}");
        assert_eq!(refused.status().expect("a status"), 431);
    }
}

/// The rest of the request would be the first bytes of the tunnel.
#[tokio::test]
async fn a_tunnel_before_the_request_was_sent_is_none() {
    let script = Script::bind().await;
    let user = format!("{}:p@", "x".repeat(8 << 20));
    let (refused, _peer) = tokio::join!(through(http(&script, &user)).connect(), async {
        let mut peer = script.peer().await;
        peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
        peer
    });
    let refused = error(refused).to_string();
    assert!(refused.contains("a tunnel before the request was sent"), "{refused}");
}

#[tokio::test]
async fn an_http_proxy_that_breaks_off_or_speaks_something_else_is_told_as_the_proxys() {
    for (answer, is_transient) in
        [("", true), ("HTTP/1.1 200 OK\r\n", true), ("SSH-2.0-x\r\n", false), (&"x: y\r\n".repeat(20_000), false)]
    {
        let script = Script::bind().await;
        let (failed, ()) = tokio::join!(through(http(&script, "")).connect(), async {
            let mut peer = script.peer().await;
            peer.request().await;
            // The client may be gone before it has taken all of this.
            let _gone = peer.io_mut().write_all(answer.as_bytes()).await;
            let _gone = peer.io_mut().shutdown().await;
            let _gone = peer.io_mut().read_to_end(&mut Vec::new()).await;
        });
        let failed = error(failed);
        let Error::Proxy(cause) = &failed else { panic!("{failed:?}") };
        assert!(matches!(cause.cause, ProxyCause::Response(_)), "{failed:?}");
        assert_eq!(failed.is_transient(), is_transient, "{failed}");
    }
}

#[tokio::test]
async fn a_proxy_that_never_answers_takes_the_time_of_a_handshake() {
    let limit = Duration::from_millis(50);
    let (a, b) = (Script::bind().await, Script::bind().await);
    for proxy in [http(&a, ""), socks5(&b, "")] {
        let shown = format!("{proxy:?}");
        let late = error(through(proxy).handshake_timeout(limit).connect().await);
        assert!(matches!(late, Error::Timeout { phase: Phase::Proxy, .. }), "{late:?}");
        assert_eq!(
            late.to_string(),
            format!("opening a tunnel to ws://{SERVER}:80 through the proxy {shown} timed out after 50ms")
        );
        assert!(late.is_connect() && late.is_transient());
    }
}

#[tokio::test]
async fn no_proxy_is_asked_after_proxy_none() {
    let (proxy, server) = (Script::bind().await, Script::bind().await);
    let builder =
        WebSocketStream::builder(format!("ws://{}/", server.addr())).proxy(http(&proxy, "")).proxy(Proxy::none());
    let (ws, ()) = tokio::join!(builder.connect(), async { drop(server.peer().await.accept().await) });
    let _ = ws.expect("open");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let proxy = http(&Script::bind().await, "user:secret@");
    let shown = format!("{proxy:?}");
    let failed = error(through(proxy).connect().await).to_string();
    assert!(failed.starts_with(&format!("cannot connect to the proxy {shown} for ws://{SERVER}:80: ")), "{failed}");
}

// SOCKS5.

#[tokio::test]
async fn a_socks5_proxy_gets_the_name_or_the_address_of_the_server() {
    for (host, address) in [
        ("server.invalid", &b"\x03\x0eserver.invalid"[..]),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("[2001:db8::1]", b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
    ] {
        // The address in the reply has each of the three types, too.
        for reply in [&b"\x01\0\0\0\0"[..], b"\x03\x02xy", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            let script = Script::bind().await;
            let builder = WebSocketStream::builder(format!("ws://{host}:9001/")).proxy(socks5(&script, ""));
            let (ws, ()) = tokio::join!(builder.connect(), async {
                let mut peer = script.peer().await;
                expect(&mut peer, b"\x05\x01\x00").await;
                peer.raw(b"\x05\x00").await;
                expect(&mut peer, &[b"\x05\x01\x00", address, &9001u16.to_be_bytes()].concat()).await;
                for byte in [b"\x05\x00\x00", reply, b"\x04\x38"].concat() {
                    peer.raw([byte]).await;
                }
                peer.accept().await;
            });
            let _ = ws.unwrap_or_else(|error| panic!("{host}: {error}"));
        }
    }
}

#[tokio::test]
async fn a_socks5_proxy_gets_the_credentials_if_it_asks_for_them() {
    for asks in [true, false] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(socks5(&script, "us%65r:s%3Asecret@")).connect(), async {
            let mut peer = script.peer().await;
            expect(&mut peer, b"\x05\x02\x00\x02").await;
            if asks {
                peer.raw(b"\x05\x02").await;
                expect(&mut peer, b"\x01\x04user\x08s:secret").await;
                peer.raw(b"\x01\x00").await;
            } else {
                peer.raw(b"\x05\x00").await;
            }
            expect(&mut peer, b"\x05\x01\x00\x03\x0eserver.invalid\x00\x50").await;
            peer.raw(b"\x05\x00\x00\x01\0\0\0\0\0\0").await;
            assert_eq!(peer.accept().await.header("Authorization"), None);
        });
        let _ = ws.expect("open");
    }
}

#[tokio::test]
async fn each_refusal_of_a_socks5_proxy_has_its_name() {
    let reply = |code: u8| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    for (userinfo, answers, says, is_transient) in [
        ("", vec![b"\x05\xff".to_vec()], "takes none of the offered ways to authenticate", false),
        ("", vec![b"\x05\x02".to_vec()], "takes none of the offered ways to authenticate", false),
        ("u:p@", vec![b"\x05\x02".to_vec(), b"\x01\x01".to_vec()], "refused the credentials", false),
        ("u:p@", vec![b"\x05\x02".to_vec(), b"\x05\x00".to_vec()], "does not speak SOCKS5", false),
        ("u:p@", vec![b"\x05\x02".to_vec(), b"\x00\x01".to_vec()], "does not speak SOCKS5", false),
        ("", vec![b"HT".to_vec()], "does not speak SOCKS5", false),
        ("", vec![b"\x05\x00".to_vec(), b"\x04\x00\x00\x01".to_vec()], "does not speak SOCKS5", false),
        ("", vec![b"\x05\x00".to_vec(), b"\x05\x00\x00\x02".to_vec()], "does not speak SOCKS5", false),
        (
            "",
            vec![b"\x05\x00".to_vec(), reply(2)],
            "refused the tunnel with SOCKS reply 2 (not allowed by its rules)",
            false,
        ),
        ("", vec![b"\x05\x00".to_vec(), reply(5)], "refused the tunnel with SOCKS reply 5 (connection refused)", true),
        ("", vec![b"\x05\x00".to_vec(), reply(99)], "refused the tunnel with SOCKS reply 99 (unassigned)", false),
    ] {
        let script = Script::bind().await;
        let (failed, ()) = tokio::join!(through(socks5(&script, userinfo)).connect(), async {
            let mut peer = script.peer().await;
            for answer in answers {
                peer.io_mut().readable().await.expect("a socket");
                let _asked = peer.io_mut().read(&mut [0; 512]).await.expect("the client is there");
                peer.raw(answer).await;
            }
            let _gone = peer.io_mut().read_to_end(&mut Vec::new()).await;
        });
        let failed = error(failed);
        assert_eq!(failed.to_string(), format!("the proxy {} for ws://{SERVER}:80 {says}", script.addr()));
        assert_eq!(failed.is_transient(), is_transient, "{failed}");
    }
}

#[tokio::test]
async fn a_socks5_proxy_that_breaks_off_is_named() {
    let script = Script::bind().await;
    let (failed, ()) = tokio::join!(through(socks5(&script, "")).connect(), async {
        let mut peer = script.peer().await;
        expect(&mut peer, b"\x05\x01\x00").await;
        peer.raw(b"\x05").await;
    });
    let failed = error(failed);
    assert!(failed.is_connect() && failed.is_transient(), "{failed:?}");
    assert!(
        failed.to_string().starts_with(&format!("cannot connect to the proxy socks5://{} for ws://", script.addr())),
        "{failed}"
    );
}

#[tokio::test]
async fn a_name_that_socks5_cannot_carry_is_refused() {
    let script = Script::bind().await;
    let url = format!("ws://{}.invalid/", "x".repeat(255));
    let failed = error(WebSocketStream::builder(url).proxy(socks5(&script, "")).connect().await);
    assert!(matches!(failed, Error::InvalidUrl(InvalidUrl::Host(_))), "{failed:?}");
}

// Both.

#[tokio::test]
async fn each_hop_of_redirects_asks_the_proxy_for_a_tunnel_of_its_own() {
    let script = Script::bind().await;
    let (ws, ()) = tokio::join!(through(http(&script, "")).redirects(1).connect(), async {
        for (server, answer) in
            [(SERVER, Some("HTTP/1.1 302 x\r\nLocation: ws://other.invalid:81/\r\n\r\n")), ("other.invalid", None)]
        {
            let mut peer = script.peer().await;
            let head = peer.request().await;
            assert!(head.0.starts_with(&format!("CONNECT {server}:8")), "{}", head.0);
            peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
            match answer {
                Some(answer) => {
                    peer.request().await;
                    peer.raw(answer).await;
                }
                None => drop(peer.accept().await),
            }
        }
    });
    let _ = ws.expect("open");
}

#[tokio::test]
async fn a_stream_of_connections_tries_again_after_a_502_and_ends_with_a_407() {
    let script = Script::bind().await;
    let builder = through(http(&script, ""));
    let mut connections = Reconnect::new(move || builder.clone().connect())
        .backoff(Backoff::default().initial(Duration::from_millis(1)).max(Duration::from_millis(1)));
    let (item, ()) = tokio::join!(connections.next(), async {
        for status in [502, 407] {
            let mut peer = script.peer().await;
            peer.request().await;
            peer.raw(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n")).await;
            peer.expect_gone().await;
        }
    });
    let refused = item.expect("an item").expect_err("an error");
    assert_eq!(refused.status().expect("a status"), 407);
    assert!(connections.next().await.is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket_a_given_proxy_is_reached_there() {
    let path = std::env::temp_dir().join(format!("wsflow-{}-proxy", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    let proxy = Proxy::http("http://proxy.invalid").expect("a proxy");
    let (ws, ()) = tokio::join!(through(proxy).unix(&path).connect(), async {
        let mut peer = Peer::over(listener.accept().await.expect("a client").0);
        let head = peer.request().await;
        assert!(head.0.starts_with("CONNECT server.invalid:80 HTTP/1.1\r\n"), "{}", head.0);
        peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
        peer.accept().await;
    });
    std::fs::remove_file(&path).expect("removed");
    let _ = ws.expect("open");
}

#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
mod https {
    use futures::SinkExt as _;
    use tokio::io::{AsyncRead, AsyncWrite};
    use wsflow::{Socket, Transport};

    use super::*;
    use testkit::tls::Authority;

    use crate::support::tls::ForClient as _;

    /// What the proxy is called. TCP goes to the script, whatever the name.
    const PROXY: &str = "proxy.invalid";

    /// Through the proxy at `script`, by its name.
    fn through(scheme: &str, script: &Script) -> ClientBuilder {
        let addr = script.addr();
        let proxy = Proxy::http(format!("https://user:secret@{PROXY}:{}", addr.port())).expect("a proxy");
        WebSocketStream::builder(format!("{scheme}://{SERVER}/feed")).proxy(proxy).resolver(move |host, port| {
            assert_eq!((host, port), (PROXY, addr.port()), "the proxy resolves the server");
            async move { Ok([addr]) }
        })
    }

    #[tokio::test]
    async fn ws_and_wss_go_through_tls_with_the_proxy() {
        let authority = Authority::new();
        let (proxy_tls, server_tls) = (authority.server(&[PROXY]), authority.server(&[SERVER]));
        for connector in authority.connectors(None) {
            for (scheme, port) in [("ws", 80), ("wss", 443)] {
                let script = Script::bind().await;
                let client = async {
                    let mut ws = through(scheme, &script).tls(connector.clone()).connect().await.expect("open");
                    assert_eq!(matches!(ws.get_ref(), Transport::Plain(_)), scheme == "ws");
                    let socket = ws.get_ref().get_ref();
                    assert!(matches!(socket, Socket::TlsProxy(_)), "{socket:?}");
                    let tcp = socket.as_tcp().expect("TCP to the proxy");
                    assert_eq!(tcp.peer_addr().expect("connected"), script.addr());
                    ws.send(large().into()).await.expect("sent");
                    assert_eq!(ws.next().await.expect("a message").expect("a message").as_text(), Some("back"));
                    ws.close().await.expect("closed");
                };
                let server = async {
                    let (hello, peer) = proxy_tls.handshake(script.peer().await).await;
                    assert_eq!(hello.server_name.as_deref(), Some(PROXY));
                    assert_eq!(hello.alpn, ["http/1.1"]);
                    let mut peer = peer.expect("TLS");
                    let head = peer.request().await;
                    assert!(head.0.starts_with(&format!("CONNECT {SERVER}:{port} HTTP/1.1\r\n")), "{}", head.0);
                    assert_eq!(head.header("Proxy-Authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
                    peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
                    if scheme == "ws" {
                        return serve(peer).await;
                    }
                    let (hello, peer) = server_tls.handshake(peer).await;
                    assert_eq!(hello.server_name.as_deref(), Some(SERVER));
                    serve(peer.expect("TLS in TLS")).await;
                };
                tokio::join!(client, server);
            }
        }
    }

    /// Larger than what the buffers of TLS hold.
    fn large() -> String {
        "x".repeat(1 << 20)
    }

    async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<IO>) {
        let head = peer.accept().await;
        assert_eq!(head.header("Proxy-Authorization"), None);
        peer.expect_text(&large()).await;
        peer.text("back").await;
        peer.expect_close(None, "").await;
        peer.close(None, "").await;
        peer.finish().await;
    }

    #[tokio::test]
    async fn a_certificate_of_the_proxy_that_does_not_hold_is_the_proxys() {
        let (authority, stranger) = (Authority::new(), Authority::new());
        for tls in [authority.server(&[SERVER]), stranger.server(&[PROXY])] {
            for connector in authority.connectors(None) {
                for scheme in ["ws", "wss"] {
                    let script = Script::bind().await;
                    let (failed, _) = tokio::join!(through(scheme, &script).tls(connector.clone()).connect(), async {
                        let (_, peer) = tls.handshake(script.peer().await).await;
                        // With TLS 1.3 the server may be through before the client refuses: nothing was asked then.
                        if let Ok(mut peer) = peer {
                            let _gone = peer.io_mut().read_to_end(&mut Vec::new()).await;
                        }
                    });
                    let failed = error(failed);
                    let Error::Proxy(cause) = &failed else { panic!("{failed:?}") };
                    assert!(matches!(cause.cause, ProxyCause::Tls(_)), "{failed:?}");
                    let server = format!("{scheme}://{SERVER}:{}", if scheme == "ws" { 80 } else { 443 });
                    let start = format!("the proxy {PROXY}:{} for {server} failed in TLS: ", script.addr().port());
                    assert!(failed.to_string().starts_with(&start), "{failed}");
                    assert!(failed.is_tls() && failed.is_connect() && !failed.is_transient(), "{failed}");
                    assert!(!format!("{failed:?}").contains("secret"));
                }
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_of_the_server_that_does_not_hold_is_not_the_proxys() {
        let authority = Authority::new();
        let tls = authority.server(&[PROXY]);
        for connector in authority.connectors(None) {
            let script = Script::bind().await;
            let (failed, ()) = tokio::join!(through("wss", &script).tls(connector).connect(), async {
                let mut peer = tls.handshake(script.peer().await).await.1.expect("TLS");
                peer.request().await;
                peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
                let (_, peer) = tls.handshake(peer).await;
                drop(peer);
            });
            let failed = error(failed);
            assert!(matches!(failed, Error::Tls(_)), "{failed:?}");
            assert!(failed.is_tls() && !failed.is_connect());
        }
    }

    #[tokio::test]
    async fn a_proxy_that_breaks_off_in_its_tls_handshake_may_speak_no_tls() {
        let authority = Authority::new();
        for connector in authority.connectors(None) {
            let script = Script::bind().await;
            let (failed, ()) = tokio::join!(through("ws", &script).tls(connector).connect(), async {
                script.peer().await.finish().await;
            });
            let failed = error(failed);
            assert!(failed.is_tls() && failed.is_connect() && !failed.is_transient(), "{failed:?}");
            assert_eq!(Retry::default_for(&failed), Retry::Never);
            assert_eq!(Retry::default_after_success(&failed), Retry::Backoff);
        }
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_answer_tls_takes_the_time_of_tls() {
        let limit = Duration::from_millis(50);
        for connector in Authority::new().connectors(None) {
            let script = Script::bind().await;
            let late = error(through("ws", &script).tls(connector).tls_timeout(limit).connect().await);
            assert!(matches!(late, Error::Timeout { phase: Phase::ProxyTls, .. }), "{late:?}");
            let port = script.addr().port();
            assert_eq!(
                late.to_string(),
                format!(
                    "the TLS handshake with the proxy https://{PROXY}:{port} for ws://{SERVER}:80 timed out after 50ms"
                )
            );
            assert!(late.is_timeout() && late.is_tls() && late.is_connect() && late.is_transient());
        }
    }

    #[tokio::test]
    async fn plain_is_no_connector_for_an_https_proxy_and_nothing_is_opened() {
        let script = Script::bind().await;
        let failed = error(through("ws", &script).tls(wsflow::Connector::Plain).connect().await);
        assert!(matches!(failed, Error::Tls(_)) && failed.to_string().contains("Connector::Plain"), "{failed:?}");
        let asked = tokio::time::timeout(Duration::from_millis(10), script.peer()).await;
        assert!(asked.is_err(), "the proxy was asked");
    }
}

#[cfg(feature = "rustls-tls")]
#[tokio::test]
async fn wss_is_tls_with_the_server_through_either_proxy() {
    use testkit::tls::Authority;

    use crate::support::tls::ForClient as _;

    let authority = Authority::new();
    let tls = authority.server(&[SERVER]);
    for is_http in [true, false] {
        for connector in authority.connectors(None) {
            let script = Script::bind().await;
            let proxy = if is_http { http(&script, "") } else { socks5(&script, "") };
            let builder = WebSocketStream::builder(format!("wss://{SERVER}/")).tls(connector).proxy(proxy);
            let (ws, ()) = tokio::join!(builder.connect(), async {
                let mut peer = script.peer().await;
                if is_http {
                    let head = peer.request().await;
                    assert!(head.0.starts_with("CONNECT server.invalid:443 HTTP/1.1\r\n"), "{}", head.0);
                    peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
                } else {
                    expect(&mut peer, b"\x05\x01\x00").await;
                    peer.raw(b"\x05\x00").await;
                    expect(&mut peer, b"\x05\x01\x00\x03\x0eserver.invalid\x01\xbb").await;
                    peer.raw(b"\x05\x00\x00\x01\0\0\0\0\0\0").await;
                }
                let (hello, peer) = tls.handshake(peer).await;
                assert_eq!(hello.server_name.as_deref(), Some(SERVER));
                peer.expect("TLS").accept().await;
            });
            let _ = ws.expect("open");
        }
    }
}

#[test]
fn a_proxy_shows_no_credentials_and_refuses_what_is_no_url_of_its_kind() {
    let proxy = Proxy::http("http://user:secret@h/x").expect("a proxy");
    assert_eq!(format!("{proxy:?}"), "http://h:80");
    let proxy = Proxy::socks5("socks5h://user:secret@h").expect("a proxy");
    assert_eq!(format!("{proxy:?}"), "socks5://h:1080");
    assert_eq!(format!("{:?}", Proxy::socks5("socks5://[::1]:80").expect("a proxy")), "socks5://[::1]:80");
    assert_eq!(format!("{:?}", Proxy::http("https://user:secret@h/x").expect("a proxy")), "https://h:443");
    for url in ["socks5://h/", "ws://h/", "wss://h/", "mailto://x"] {
        let refused = error(Proxy::http(url));
        assert!(matches!(refused, Error::InvalidUrl(InvalidUrl::ProxyScheme(_))), "{url}: {refused:?}");
    }
    for url in ["", "h:x", "http://h/", "socks4://h/", "socks5://", &format!("socks5://{}@h", "u".repeat(256))] {
        assert!(matches!(Proxy::socks5(url), Err(Error::InvalidUrl(_))), "{url}");
    }
}

#[tokio::test]
async fn a_line_end_in_credentials_adds_no_line_to_what_an_http_proxy_is_sent() {
    // "u\r\nX-Evil: 1:p\0" and "uX:p" in Base64.
    for (userinfo, credentials) in [("u%0d%0aX-Evil%3A 1:p%00@", "dQ0KWC1FdmlsOiAxOnAA"), ("u\r\nX:p\n@", "dVg6cA==")] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(http(&script, userinfo)).connect(), async {
            let mut peer = script.peer().await;
            let head = peer.request().await;
            let version = env!("CARGO_PKG_VERSION");
            let expected = format!(
                "CONNECT {SERVER}:80 HTTP/1.1\r\nHost: {SERVER}:80\r\nUser-Agent: wsflow/{version}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
            );
            assert_eq!(head.0, expected, "{userinfo:?}");
            peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
            peer.accept().await;
        });
        let _ = ws.expect("open");
    }
}

#[tokio::test]
async fn credentials_for_socks5_have_their_length_whatever_is_in_them() {
    let longest = "x".repeat(255);
    for (userinfo, sent) in [
        ("u%0d%0a%00:p%0a@".to_owned(), b"\x01\x04u\r\n\0\x02p\n".to_vec()),
        (format!("{longest}:{longest}@"), [b"\x01\xff", longest.as_bytes(), b"\xff", longest.as_bytes()].concat()),
    ] {
        let script = Script::bind().await;
        let (ws, ()) = tokio::join!(through(socks5(&script, &userinfo)).connect(), async {
            let mut peer = script.peer().await;
            expect(&mut peer, b"\x05\x02\x00\x02").await;
            peer.raw(b"\x05\x02").await;
            expect(&mut peer, &sent).await;
            peer.raw(b"\x01\x00").await;
            expect(&mut peer, b"\x05\x01\x00\x03\x0eserver.invalid\x00\x50").await;
            peer.raw(b"\x05\x00\x00\x01\0\0\0\0\0\0").await;
            peer.accept().await;
        });
        let _ = ws.expect("open");
    }
    let longer = "x".repeat(256);
    for userinfo in [format!("{longer}@"), format!("u:{longer}@"), format!("u:{}@", "%0a".repeat(256))] {
        let refused = error(Proxy::socks5(format!("socks5://{userinfo}h")));
        assert!(matches!(refused, Error::InvalidUrl(InvalidUrl::ProxyCredentials)), "{refused:?}");
    }
}

#[test]
fn a_line_end_in_the_host_of_a_proxy_is_refused() {
    for host in ["h%0d%0aX-Evil: 1", "h%00", "h\0i"] {
        let refused = Proxy::http(format!("http://{host}"));
        assert!(matches!(error(refused), Error::InvalidUrl(InvalidUrl::Parse(_))), "{host:?}");
    }
    // The host of a socks5 URL stays encoded: it is a name, and is sent to nobody but the resolver.
    for host in ["h%0d%0aX-Evil: 1", "h\0i"] {
        let refused = Proxy::socks5(format!("socks5://{host}"));
        assert!(matches!(error(refused), Error::InvalidUrl(InvalidUrl::Parse(_))), "{host:?}");
    }
}
