//! Ways to dial: a builder that is used again, every address of a host, which are allowed, a local address, a resolver of one's own, a Unix socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use testkit::server::Script;
use tokio::net::TcpStream;
use wsflow::{ClientBuilder, Error, Phase, WebSocketStream};

use crate::support::error;

#[tokio::test]
async fn a_builder_is_used_again_with_all_of_its_options() {
    let server = Script::bind().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let builder = WebSocketStream::builder(server.url("/feed"))
        .header("Authorization", "Bearer x")
        .protocols(["v1"])
        .tcp(move |socket| {
            counted.fetch_add(1, Ordering::Relaxed);
            socket.set_ttl(42).expect("IP_TTL");
        });
    for connections in 1..=3 {
        let (ws, head) = tokio::join!(builder.clone().connect(), async {
            server.peer().await.accept_with("Sec-WebSocket-Protocol: v1\r\n").await
        });
        let ws = ws.expect("open");
        assert_eq!(head.header("Authorization"), Some("Bearer x"));
        assert_eq!(ws.get_ref().get_ref().as_tcp().expect("TCP").ttl().expect("IP_TTL"), 42);
        assert_eq!(calls.load(Ordering::Relaxed), connections);
    }
}

// Every address of a host. How long each has for itself is a test of the race, with paused time; silent ones are in `real_time`.

/// An address of this machine where nobody listens.
async fn nobody(address: &str) -> SocketAddr {
    Script::bind_to(address).await.addr()
}

/// Leads to these addresses.
fn leading_to(addresses: impl Into<Vec<SocketAddr>>) -> ClientBuilder {
    let addresses = addresses.into();
    WebSocketStream::builder("ws://feed.invalid/").resolver(move |_, _| std::future::ready(Ok(addresses.clone())))
}

/// B270.
#[tokio::test]
async fn each_address_of_either_family_is_tried_and_the_caller_gets_the_winners_socket_alone() {
    let (none4, none6) = (nobody("127.0.0.1:0").await, nobody("[::1]:0").await);
    for (bind, dead) in
        [("127.0.0.1:0", vec![none4, none6, none4]), ("[::1]:0", vec![none4, none6]), ("127.0.0.1:0", vec![none6])]
    {
        let server = Script::bind_to(bind).await;
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let seen = sockets.clone();
        let builder = leading_to([dead, vec![server.addr()]].concat()).tcp(move |socket| {
            let peer = socket.peer_addr().expect("connected");
            seen.lock().expect("whole").push((peer, socket.nodelay().expect("TCP_NODELAY")));
        });
        let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
        let _ = ws.expect("open");
        assert_eq!(*sockets.lock().expect("whole"), [(server.addr(), true)]);
    }
}

/// B271.
#[tokio::test]
async fn where_all_addresses_fail_the_first_ones_cause_is_told_and_how_many_were_tried() {
    let dead = [nobody("[::1]:0").await, nobody("127.0.0.1:0").await, nobody("127.0.0.1:0").await];
    let failed = error(leading_to(dead).connect().await);
    let text = format!(
        "cannot connect to ws://feed.invalid:80: tcp connect error at {}, the first of 3 addresses tried: Connection refused",
        dead[0]
    );
    assert!(failed.to_string().starts_with(&text), "{failed}");
    let Error::Connect { cause, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    let failed = error(leading_to([dead[1]]).connect().await);
    let text = "cannot connect to ws://feed.invalid:80: tcp connect error: Connection refused";
    assert!(failed.to_string().starts_with(text), "{failed}");
}

/// B272.
#[tokio::test]
async fn a_server_that_fails_once_tcp_is_open_is_the_only_one_that_was_asked() {
    let (first, second) = (Script::bind().await, Script::bind().await);
    let (refused, ()) = tokio::join!(leading_to([first.addr(), second.addr()]).connect(), async {
        let mut peer = first.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n").await;
    });
    assert!(matches!(error(refused), Error::Refused(_)));
    nobody_came_to(&second).await;
}

// Which addresses are allowed.

/// Allows what `allow` says, and notes what it was asked.
fn noting(
    builder: ClientBuilder,
    allow: impl Fn(&SocketAddr) -> bool + Send + Sync + 'static,
) -> (ClientBuilder, Arc<Mutex<Vec<SocketAddr>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let builder = builder.allow_address(move |address| {
        noted.lock().expect("whole").push(*address);
        allow(address)
    });
    (builder, asked)
}

/// Asserts that no TCP connection came to `server`.
async fn nobody_came_to(server: &Script) {
    let next = TcpStream::connect(server.addr()).await.expect("it listens");
    assert_eq!(server.peer().await.remote(), next.local_addr().expect("connected"), "somebody came before");
}

/// B276.
#[tokio::test]
async fn an_address_that_is_not_allowed_is_not_connected_to_and_the_next_one_is_tried() {
    let (forbidden, server) = (Script::bind_to("[::1]:0").await, Script::bind().await);
    let addresses = [forbidden.addr(), server.addr()];
    let (builder, asked) = noting(leading_to(addresses), SocketAddr::is_ipv4);
    let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
    let _ = ws.expect("open");
    assert_eq!(*asked.lock().expect("whole"), addresses);
    nobody_came_to(&forbidden).await;
}

/// B276.
#[tokio::test]
async fn where_no_address_is_allowed_the_error_says_so() {
    let server = Script::bind().await;
    let port = server.addr().port();
    let loopback = SocketAddr::from(([127, 0, 0, 1], port));
    let mapped = format!("ws://[::ffff:127.0.0.1]:{port}/");
    for (builder, host, asked_for) in [
        (leading_to([loopback]), "ws://feed.invalid:80", loopback),
        // A host that is an address is asked for, too, as what it is on the wire.
        (WebSocketStream::builder(server.url("/")), &*format!("ws://{loopback}"), loopback),
        (WebSocketStream::builder(&mapped), &*format!("ws://[::ffff:7f00:1]:{port}"), loopback),
    ] {
        let (builder, asked) = noting(builder, |address| !address.ip().is_loopback());
        let failed = error(builder.connect().await);
        let text = format!("cannot connect to {host}: tcp connect error: {loopback} is not allowed (allow_address)");
        assert_eq!(failed.to_string(), text);
        let Error::Connect { cause, .. } = &failed else { panic!("{failed:?}") };
        assert_eq!(cause.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(*asked.lock().expect("whole"), [asked_for]);
    }
    nobody_came_to(&server).await;
}

/// B276.
#[tokio::test]
async fn a_redirect_leads_to_no_address_that_is_not_allowed() {
    let (server, inside) = (Script::bind().await, Script::bind().await);
    let (here, there) = (server.addr(), inside.addr());
    let builder = WebSocketStream::builder(server.url("/")).redirects(1);
    let (builder, asked) = noting(builder, move |address| *address == here);
    let (failed, ()) = tokio::join!(builder.connect(), async {
        let mut peer = server.peer().await;
        peer.request().await;
        peer.raw(format!("HTTP/1.1 307 x\r\nLocation: ws://{there}/\r\nContent-Length: 0\r\n\r\n")).await;
    });
    let failed = error(failed);
    assert!(matches!(failed, Error::Connect { .. }), "{failed:?}");
    assert_eq!(*asked.lock().expect("whole"), [here, there]);
    nobody_came_to(&inside).await;
}

/// The server's name is resolved there.
/// B276.
#[cfg(feature = "proxy")]
#[tokio::test]
async fn the_address_of_a_proxy_is_asked_for_and_not_that_of_the_server() {
    use wsflow::Proxy;

    let proxy = Script::bind().await;
    let url = format!("http://{}", proxy.addr());
    let through = || WebSocketStream::builder("ws://192.0.2.1/").proxy(Proxy::http(&url).expect("a proxy"));
    let (builder, asked) = noting(through(), |address| address.ip().is_loopback());
    let (ws, ()) = tokio::join!(builder.connect(), async {
        let mut peer = proxy.peer().await;
        peer.request().await;
        peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
        peer.accept().await;
    });
    let _ = ws.expect("open");
    assert_eq!(*asked.lock().expect("whole"), [proxy.addr()]);
    let (builder, asked) = noting(through(), |address| !address.ip().is_loopback());
    assert!(matches!(error(builder.connect().await), Error::Connect { .. }));
    assert_eq!(*asked.lock().expect("whole"), [proxy.addr()]);
    nobody_came_to(&proxy).await;
}

// The local address.

/// B273.
#[tokio::test]
async fn only_addresses_of_the_local_addresss_family_are_tried() {
    let server = Script::bind().await;
    let none6 = nobody("[::1]:0").await;
    let builder = leading_to([none6, server.addr()]).local_address([127, 0, 0, 1].into());
    let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
    let _ = ws.expect("open");
    let failed = error(leading_to([none6, none6]).local_address([127, 0, 0, 1].into()).connect().await);
    let text = "cannot connect to ws://feed.invalid:80: it has no address that 127.0.0.1 could connect to";
    assert_eq!(failed.to_string(), text);
}

/// The whole of 127.0.0.0/8 is this machine only on Linux.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_connection_comes_from_the_local_address() {
    let server = Script::bind().await;
    let local: IpAddr = [127, 0, 0, 2].into();
    let builder = WebSocketStream::builder(server.url("/")).local_address(local);
    let (ws, peer) = tokio::join!(builder.connect(), server.accept());
    let _ = ws.expect("open");
    assert_eq!(peer.remote().ip(), local);
}

#[tokio::test]
async fn a_local_address_of_another_machine_or_of_the_other_family_cannot_connect() {
    let server = Script::bind().await;
    for (local, kind) in [
        // TEST-NET-1 (RFC 5737) is nobody's.
        (IpAddr::from([192, 0, 2, 1]), io::ErrorKind::AddrNotAvailable),
        ("::1".parse().expect("an address"), io::ErrorKind::AddrNotAvailable),
    ] {
        let failed = error(WebSocketStream::builder(server.url("/")).local_address(local).connect().await);
        let Error::Connect { cause, .. } = &failed else { panic!("{failed:?}") };
        assert_eq!(cause.kind(), kind, "{failed}");
    }
}

// The resolver.

#[tokio::test]
async fn the_resolver_is_asked_for_host_and_port_and_its_addresses_are_tried_in_turn() {
    let server = Script::bind().await;
    let nobody = Script::bind().await.addr();
    for (url, asked, answer) in [
        ("ws://feed.invalid/", ("feed.invalid", 80), vec![server.addr()]),
        ("ws://feed.invalid:81/", ("feed.invalid", 81), vec![nobody, server.addr()]),
        // IPv6 is preferred, since it stands first; nobody listens there.
        (
            "ws://feed.invalid/",
            ("feed.invalid", 80),
            vec![SocketAddr::new([0u16, 0, 0, 0, 0, 0, 0, 1].into(), 1), server.addr()],
        ),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let asks = seen.clone();
        let builder = WebSocketStream::builder(url).resolver(move |host, port| {
            asks.lock().expect("whole").push((host.to_owned(), port));
            let answer = answer.clone();
            async move { Ok(answer) }
        });
        let (ws, head) = tokio::join!(builder.connect(), async { server.peer().await.accept().await });
        let _ = ws.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(*seen.lock().expect("whole"), [(asked.0.to_owned(), asked.1)]);
        assert_eq!(head.header("Host"), url.strip_prefix("ws://").and_then(|url| url.strip_suffix('/')));
    }
}

#[tokio::test]
async fn an_address_with_port_0_gets_the_urls_port() {
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(format!("ws://feed.invalid:{}/", server.addr().port()))
        .resolver(|_, _| async { Ok([SocketAddr::from(([127, 0, 0, 1], 0))]) });
    let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
    let _ = ws.expect("open");
}

#[tokio::test]
async fn an_address_in_the_url_is_not_resolved() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Script::bind_to(bind).await;
        let builder = WebSocketStream::builder(server.url("/"))
            .resolver(|host, _| -> std::future::Ready<io::Result<Vec<SocketAddr>>> { panic!("asked for {host}") });
        let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
        let _ = ws.expect("open");
    }
}

#[tokio::test]
async fn a_resolver_that_fails_or_has_no_address_says_so() {
    for (answer, text) in [
        (Err(io::ErrorKind::PermissionDenied), "cannot connect to ws://feed.invalid:80: dns error: permission denied"),
        (Ok(vec![]), "cannot connect to ws://feed.invalid:80: dns error: the resolver gave no address"),
    ] {
        let builder = WebSocketStream::builder("ws://feed.invalid/").resolver(move |_, _| {
            let answer: Result<Vec<SocketAddr>, _> = answer.clone();
            async move { answer.map_err(io::Error::from) }
        });
        let failed = error(builder.connect().await);
        assert_eq!(failed.to_string(), text);
        assert!(failed.is_connect() && failed.is_transient());
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_timed_out() {
    let builder = WebSocketStream::builder("ws://feed.invalid/")
        .resolver(|_, _| std::future::pending::<io::Result<Vec<SocketAddr>>>());
    let failed = error(builder.connect().await);
    assert!(
        matches!(failed, Error::Timeout { phase: Phase::Connect, after, .. } if after == Duration::from_secs(30)),
        "{failed:?}"
    );
}

// Unix sockets.

#[cfg(unix)]
mod unix {
    use std::path::PathBuf;

    use tokio::{io::AsyncWrite as _, net::UnixListener};
    use wsflow::{Socket, Transport};

    use super::*;
    use testkit::peer::Peer;

    /// A path of its own for each test.
    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("wsflow-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[tokio::test]
    async fn the_url_gives_host_and_path_and_messages_go_both_ways() {
        use futures::{SinkExt as _, StreamExt as _};

        let path = path("plain");
        let listener = UnixListener::bind(&path).expect("bound");
        let builder = WebSocketStream::builder("ws://docker.invalid/events?all").unix(&path);
        let (ws, (mut peer, head)) = tokio::join!(builder.connect(), async {
            let mut peer = Peer::over(listener.accept().await.expect("a client").0);
            let head = peer.accept().await;
            (peer, head)
        });
        std::fs::remove_file(&path).expect("removed");
        let mut ws = ws.expect("open");
        assert!(head.0.starts_with("GET /events?all HTTP/1.1\r\n"), "{head:?}");
        assert_eq!(head.header("Host"), Some("docker.invalid"));
        let socket = ws.get_ref();
        assert!(matches!(socket, Transport::Plain(Socket::Unix(_))) && socket.is_write_vectored());
        assert!(socket.get_ref().as_tcp().is_none());
        // Large enough to go out in several parts, which one write takes.
        let large = "x".repeat(300 * 1024);
        let (sent, ()) = tokio::join!(ws.send(large.as_str().into()), peer.expect_text(&large));
        sent.expect("sent");
        peer.text("back").await;
        assert_eq!(ws.next().await.expect("a message").expect("a message").as_text(), Some("back"));
        peer.close(1000, "").await;
        let (end, ()) = tokio::join!(ws.next(), async {
            peer.expect_close(1000, "").await;
            peer.finish().await;
        });
        assert!(end.is_none());
    }

    #[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
    #[tokio::test]
    async fn wss_adds_tls_for_the_urls_host() {
        use crate::support::tls::ForClient as _;

        let authority = testkit::tls::Authority::new();
        let tls = authority.server(&["docker.example"]);
        for connector in authority.connectors(None) {
            let path = path("tls");
            let listener = UnixListener::bind(&path).expect("bound");
            let builder = WebSocketStream::builder("wss://docker.example/").tls(connector).unix(&path);
            let (ws, ()) = tokio::join!(builder.connect(), async {
                let peer = Peer::over(listener.accept().await.expect("a client").0);
                let (hello, peer) = tls.handshake(peer).await;
                assert_eq!(hello.server_name.as_deref(), Some("docker.example"));
                peer.expect("TLS").accept().await;
            });
            std::fs::remove_file(&path).expect("removed");
            assert!(matches!(ws.expect("open").get_ref().get_ref(), Socket::Unix(_)));
        }
    }

    #[tokio::test]
    async fn a_path_where_nobody_listens_is_in_the_error() {
        let path = path("nobody");
        let failed = error(WebSocketStream::builder("ws://docker.invalid/").unix(&path).connect().await);
        let text = failed.to_string();
        let start = format!("cannot connect to ws://docker.invalid:80: the Unix socket {}: ", path.display());
        assert!(text.starts_with(&start), "{text}");
        let Error::Connect { cause, .. } = &failed else { panic!("{failed:?}") };
        assert_eq!(cause.kind(), io::ErrorKind::NotFound);
    }
}
