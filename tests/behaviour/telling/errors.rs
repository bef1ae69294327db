//! Errors as users meet them: each usual failure is provoked, and compared with its line in the docs of `Error`.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{TEXT, encode},
    peer::Peer,
    server::Script,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wsflow::{CloseCode, Config, Error, Kind, LimitExceeded, Message, Phase, WebSocketStream};

use crate::support::error;

/// Asserts that the error matches the pattern, and that the docs have this very line for it.
macro_rules! assert_documented {
    ($what:literal, $error:expr, $pattern:pat) => {{
        let error: &Error = &$error;
        assert!(matches!(error, $pattern), "{error:?}");
        assert_line($what, error, stringify!($pattern));
    }};
}

fn assert_line(what: &str, error: &Error, pattern: &str) {
    let plain = error.to_string();
    assert_eq!(format!("{:#}", anyhow::Error::new(error.clone())), plain, "with its sources it says something else");
    let docs = include_str!("../../../src/error/mod.rs");
    let line = docs.lines().find(|line| line.starts_with(&format!("/// | {what} |")));
    let line = line.unwrap_or_else(|| panic!("the docs have no line for {what:?}, which says\n{plain}"));
    let shown = line.split('`').nth(1).expect("a text");
    let transient = if error.is_transient() { "yes" } else { "no" };
    assert_eq!(line, format!("/// | {what} | `{shown}` | `{pattern}` | {transient} |"));
    assert!(says(&plain, shown), "the docs have\n{shown}\nand it says\n{plain}");
}

/// Whether `text` is what the docs show: `…` is text of the system, `:9001` any port.
fn says(text: &str, shown: &str) -> bool {
    let mut rest = text;
    for (i, part) in shown.split_inclusive(['…']).enumerate() {
        let literal = part.trim_end_matches('…');
        let (start, end) = literal.split_once(":9001").unwrap_or((literal, ""));
        let Some(at) = rest.find(start).filter(|&at| at == 0 || i > 0) else { return false };
        rest = &rest[at + start.len()..];
        if literal.contains(":9001") {
            let digits = rest.trim_start_matches(':').trim_start_matches(|c: char| c.is_ascii_digit());
            let Some(after) = digits.strip_prefix(end) else { return false };
            rest = after;
        }
    }
    rest.is_empty() || shown.ends_with('…')
}

// The lines of the table.

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let failed = error(WebSocketStream::connect("ws://host.invalid/feed?token=secret").await);
    assert_documented!("the host has no address", failed, Error::Connect { .. });
    assert!(failed.is_connect() && !failed.is_timeout());
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let url = Script::bind().await.url("/");
    let failed = error(WebSocketStream::connect(url).await);
    assert_documented!("TCP is refused", failed, Error::Connect { .. });
    let Error::Connect { server, cause } = &failed else { unreachable!() };
    assert_eq!((server.host(), cause.kind()), ("127.0.0.1", std::io::ErrorKind::ConnectionRefused));
    assert!(failed.is_connect() && !failed.is_closed());
}

/// The refusal of the upgrade that the server answers with.
async fn refusal(answer: impl AsRef<[u8]>) -> Error {
    let (mut peer, io) = Peer::pipe(4096);
    let (ws, ()) = tokio::join!(WebSocketStream::builder("ws://example.com/").connect_over(io), async {
        peer.request().await;
        peer.raw(answer).await;
        peer.finish().await;
    });
    error(ws)
}

#[tokio::test]
async fn a_refusal_with_a_body() {
    let failed = refusal("HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n{\"error\":\"token expired\"}").await;
    assert_documented!("status 403 with a body", failed, Error::Refused(_));
    assert_eq!(failed.status().expect("a status"), 403);
}

#[tokio::test]
async fn a_refusal_shows_text_only_and_not_all_of_it() {
    for (status, body, shown) in [
        ("503 busy", b"".as_slice(), "503 Service Unavailable"),
        ("599 unknown", b"", "599"),
        ("404 x", b"\x1f\x8b\x08\xff gzip", "404 Not Found"),
        ("404 x", b"<html>\r\n\x1b[2J</html>\n", "404 Not Found: <html>\\r\\n\\u{1b}[2J</html>"),
        ("404 x", "\u{fc}".repeat(300).as_bytes(), &format!("404 Not Found: {}…", "\u{fc}".repeat(200))),
    ] {
        let answer = [format!("HTTP/1.1 {status}\r\n\r\n").as_bytes(), body].concat();
        let failed = refusal(answer).await;
        assert_eq!(
            failed.to_string(),
            format!("the server ws://example.com:80 refused the upgrade with status {shown}")
        );
    }
}

#[tokio::test]
async fn redirects_in_a_loop() {
    let server = Script::bind().await;
    let addr = server.addr();
    let builder =
        WebSocketStream::builder("ws://a.example/").redirects(5).resolver(move |_, _| async move { Ok([addr]) });
    let (ws, ()) = tokio::join!(builder.connect(), async {
        for location in ["/b", "/"] {
            let mut peer = server.peer().await;
            peer.request().await;
            peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")).await;
        }
    });
    let failed = error(ws);
    assert_documented!("redirects lead in a loop", failed, Error::Redirect(_));
    assert_eq!(failed.status(), None);
}

/// By the platform's verifier, which has words of its own on other systems.
#[cfg(all(feature = "rustls-tls", target_os = "linux"))]
#[tokio::test]
async fn a_certificate_of_an_unknown_issuer() {
    let tls = testkit::tls::Authority::new().server(&["localhost"]);
    let (peer, io) = Peer::pipe(64 * 1024);
    let opening = WebSocketStream::builder("wss://localhost/").connect_tls_over(io);
    let (ws, _) = tokio::join!(opening, tls.handshake(peer));
    let failed = error(ws);
    assert_documented!("the certificate's issuer is unknown", failed, Error::Tls(_));
    assert!(failed.is_tls() && !failed.is_connect());
    let Error::Tls(cause) = &failed else { unreachable!() };
    assert!(matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))), "{cause:?}");
}

/// Over a pipe, past its opening handshake.
fn open(config: Config) -> (Peer<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
    let (peer, io) = Peer::pipe(1000);
    (peer, WebSocketStream::from_upgraded(io, config))
}

#[tokio::test]
async fn a_close_by_the_peer() {
    let (mut peer, mut ws) = open(Config::default());
    peer.close(1008, "no such feed").await;
    peer.finish().await;
    assert!(ws.next().await.is_none(), "a clean close is no error of the stream");
    let failed = ws.send("late".into()).await.expect_err("sent");
    assert_documented!("a send after the server closed with 1008", failed, Error::Closed(_));
    assert!(failed.is_closed());
    assert_eq!(failed.close_code(), Some(CloseCode::POLICY_VIOLATION));
}

#[tokio::test]
async fn a_fin_without_a_close_frame() {
    let server = Script::bind().await;
    let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let mut ws = ws.expect("open");
    peer.finish().await;
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("FIN without a Close frame", failed, Error::Closed(_));
    assert!(failed.is_closed());
    assert_eq!(failed.close_code(), Some(CloseCode::ABNORMAL_CLOSURE));
}

#[tokio::test]
async fn an_rst() {
    let server = Script::bind().await;
    let (ws, peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let mut ws = ws.expect("open");
    peer.reset();
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("RST", failed, Error::Io(_));
    let Error::Io(cause) = &failed else { unreachable!() };
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(!failed.is_connect() && !failed.is_timeout());
}

#[tokio::test]
async fn a_message_that_is_too_large() {
    let (mut peer, mut ws) = open(Config::default().max_message_size(1024));
    peer.raw(&encode(true, 0, TEXT, &[b'x'; 1025])[..900]).await;
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("a message above the limit", failed, Error::Limit(LimitExceeded::MessageSize { .. }));
    assert_eq!(failed.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
}

#[tokio::test]
async fn a_text_on_a_byte_stream() {
    let (mut peer, ws) = open(Config::default());
    peer.text("x").await;
    let failed = ws.into_byte_stream().read_u8().await.expect_err("an error");
    let failed: &Error = failed.get_ref().and_then(|cause| cause.downcast_ref()).expect("an error of this crate");
    assert_documented!("a text on a byte stream", failed, Error::UnexpectedText);
    assert_eq!(failed.close_code(), Some(CloseCode::UNSUPPORTED_DATA));
}

#[tokio::test]
async fn a_masked_frame() {
    let (mut peer, mut ws) = open(Config::default());
    peer.raw([0x81, 0x80, 1, 2, 3, 4]).await;
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("a frame that RFC 6455 forbids", failed, Error::ProtocolViolation(_));
    assert_eq!(failed.close_code(), Some(CloseCode::PROTOCOL_ERROR));
}

#[tokio::test]
async fn a_message_writer_that_is_dropped() {
    let (mut peer, mut ws) = open(Config::default());
    drop(ws.writer(Kind::Binary));
    let (failed, ()) = tokio::join!(ws.next(), async {
        peer.expect_close(1011, "").await;
        peer.finish().await;
    });
    let failed = failed.expect("an item").expect_err("an error");
    assert_documented!("a message writer is dropped too early", failed, Error::UnfinishedMessage);
    assert_eq!(failed.close_code(), Some(CloseCode::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_text_that_is_not_utf_8() {
    let (_peer, mut ws) = open(Config::default());
    let failed = ws.writer(Kind::Text).write(b"\xff").await.expect_err("an error");
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidData);
    let failed: Error =
        failed.get_ref().and_then(|cause| cause.downcast_ref()).cloned().expect("an error of this crate");
    assert_documented!("a text that is not UTF-8 is written", failed, Error::InvalidText);
}

#[tokio::test]
async fn a_url_that_is_none() {
    let failed = error(WebSocketStream::connect("example.com/feed").await);
    assert_documented!("a URL without a scheme", failed, Error::InvalidUrl(_));
}

/// Linux drops the SYN for a listener whose queue is full: to the client that is a host that does not answer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_does_not_answer() {
    use std::net::SocketAddr;
    use tokio::{
        net::{TcpSocket, TcpStream},
        time::timeout,
    };

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let full = socket.listen(1).expect("listen");
    let address = full.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream.expect("connect"));
    }
    let builder = WebSocketStream::builder(format!("ws://{address}/")).connect_timeout(Duration::from_millis(50));
    let failed = error(builder.connect().await);
    assert_documented!("the host does not answer", failed, Error::Timeout { phase: Phase::Connect, .. });
    assert!(failed.is_timeout() && failed.is_connect());
}

#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_tls() {
    use crate::support::tls::ForClient as _;

    let (_peer, io) = Peer::pipe(64 * 1024);
    let connector = testkit::tls::Authority::new().connectors(None).remove(0);
    let opening = WebSocketStream::builder("wss://user:secret@example.com/?secret").tls(connector);
    let failed = error(opening.connect_tls_over(io).await);
    assert_documented!("the server does not answer TLS", failed, Error::Timeout { phase: Phase::Tls, .. });
    assert!(failed.is_timeout() && failed.is_tls() && !failed.is_connect());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_request() {
    let (_peer, io) = Peer::pipe(4096);
    let failed = error(WebSocketStream::builder("ws://user:secret@example.com/?secret").connect_over(io).await);
    assert_documented!("the server does not answer HTTP", failed, Error::Timeout { phase: Phase::Handshake, .. });
    assert!(failed.is_timeout() && !failed.is_connect());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing() {
    let (_peer, mut ws) = open(Config::default().write_timeout(Duration::from_secs(5)));
    let failed = ws.send(Message::binary(vec![0; 2000])).await.expect_err("sent");
    assert_documented!("the server does not read", failed, Error::Timeout { phase: Phase::Write, .. });
    assert!(failed.is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone() {
    let (_peer, mut ws) = open(Config::default());
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("the server is gone", failed, Error::Timeout { phase: Phase::Keepalive, .. });
    assert!(failed.is_timeout() && failed.close_code().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing() {
    let (_peer, mut ws) = open(Config::default().message_timeout(Duration::from_secs(5)));
    let failed = ws.next().await.expect("an item").expect_err("an error");
    assert_documented!("the server sends no message", failed, Error::Timeout { phase: Phase::Message, .. });
    assert!(failed.is_timeout());
    assert_eq!(failed.close_code(), Some(CloseCode::INTERNAL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close() {
    let (_peer, mut ws) = open(Config::default());
    let failed = ws.close().await.expect_err("closed");
    assert_documented!("the server does not answer our Close", failed, Error::Timeout { phase: Phase::Close, .. });
    assert!(failed.is_timeout());
}

#[cfg(feature = "proxy")]
mod proxies {
    use tokio::io::AsyncReadExt as _;
    use wsflow::{ClientBuilder, Proxy};

    use super::*;

    fn through(scheme: &str, proxy: &Script) -> ClientBuilder {
        let url = format!("{scheme}://user:secret@{}", proxy.addr());
        let proxy = if scheme == "socks5" { Proxy::socks5(url) } else { Proxy::http(url) };
        WebSocketStream::builder("ws://server.invalid/?secret").proxy(proxy.expect("a proxy"))
    }

    /// What a proxy comes to that gives one of these answers each time that something comes.
    async fn answered(scheme: &str, answers: &[&[u8]]) -> Error {
        let proxy = Script::bind().await;
        let (ws, ()) = tokio::join!(through(scheme, &proxy).connect(), async {
            let mut peer = proxy.peer().await;
            for answer in answers {
                let _asked = peer.io_mut().read(&mut [0; 512]).await.expect("the client is there");
                peer.raw(answer).await;
            }
        });
        let failed = error(ws);
        assert!(failed.is_connect() && !failed.is_timeout() && !failed.is_tls() && !failed.is_closed());
        assert!(!format!("{failed:?}").contains("secret"), "{failed:?}");
        failed
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_answer() {
        let proxy = Script::bind().await;
        let failed = error(through("http", &proxy).handshake_timeout(Duration::from_millis(50)).connect().await);
        assert_documented!("the proxy does not answer", failed, Error::Timeout { phase: Phase::Proxy, .. });
        assert!(failed.is_timeout() && failed.is_connect() && !failed.is_tls());
    }

    #[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
    #[tokio::test]
    async fn an_https_proxy_that_does_not_answer() {
        let proxy = Script::bind().await;
        let failed = error(through("https", &proxy).tls_timeout(Duration::from_millis(50)).connect().await);
        assert_documented!("an https proxy does not answer", failed, Error::Timeout { phase: Phase::ProxyTls, .. });
        assert!(failed.is_timeout() && failed.is_connect() && failed.is_tls());
    }

    /// By the platform's verifier, which has words of its own on other systems.
    #[cfg(all(feature = "rustls-tls", target_os = "linux"))]
    #[tokio::test]
    async fn a_certificate_of_a_proxy_from_an_unknown_issuer() {
        let tls = testkit::tls::Authority::new().server(&["localhost"]);
        let script = Script::bind().await;
        let proxy = Proxy::http(format!("https://localhost:{}", script.addr().port())).expect("a proxy");
        let opening = WebSocketStream::builder("ws://server.invalid/").proxy(proxy).connect();
        let (ws, _) = tokio::join!(opening, async { tls.handshake(script.peer().await).await });
        let failed = error(ws);
        assert_documented!("the issuer of a proxy is unknown", failed, Error::Proxy(_));
        assert!(failed.is_tls() && failed.is_connect());
        assert_eq!(failed.status(), None);
    }

    #[tokio::test]
    async fn refusals_of_http_proxies() {
        let failed = answered("http", &[b"HTTP/1.1 407 x\r\nContent-Length: 4\r\n\r\nwho?"]).await;
        assert_documented!("the proxy wants credentials", failed, Error::Proxy(_));
        assert_eq!(failed.status().expect("a status"), 407);
        let failed = answered("http", &[b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n"]).await;
        assert_documented!("the proxy cannot reach the server", failed, Error::Proxy(_));
        assert_eq!(failed.status().expect("a status"), 502);
    }

    /// A proxy that is not there, or that is none, is called a proxy, and what it was for is named.
    #[tokio::test]
    async fn a_proxy_that_is_not_there_or_is_none_is_called_one() {
        for scheme in ["http", "socks5"] {
            let proxy = Script::bind().await;
            let (addr, builder) = (proxy.addr(), through(scheme, &proxy));
            drop(proxy);
            let text = error(builder.connect().await).to_string();
            let start = format!("cannot connect to the proxy {scheme}://{addr} for ws://server.invalid:80: ");
            assert!(text.starts_with(&start), "{text}");
        }
        let failed = answered("http", &[b"SSH-2.0-OpenSSH_9.6\r\n"]).await.to_string();
        assert!(failed.starts_with("the proxy 127.0.0.1:") && failed.contains("it begins with \"S"), "{failed}");
        let failed = answered("socks5", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await.to_string();
        assert!(failed.ends_with(" for ws://server.invalid:80 does not speak SOCKS5"), "{failed}");
    }

    #[tokio::test]
    async fn what_a_server_answers_through_a_proxy_names_both() {
        let both = |proxy: &Script| format!("ws://server.invalid:80 through the proxy http://{}", proxy.addr());
        for (answer, redirects, start, end) in [
            ("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n", 0, "the server {} refused the upgrade with status 403", ""),
            ("HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n", 1, "a redirect was not followed: ", " {way}"),
        ] {
            let proxy = Script::bind().await;
            let (ws, ()) = tokio::join!(through("http", &proxy).redirects(redirects).connect(), async {
                let mut peer = proxy.peer().await;
                peer.request().await;
                peer.raw("HTTP/1.1 200 OK\r\n\r\n").await;
                peer.request().await;
                peer.raw(answer).await;
            });
            let text = error(ws).to_string();
            let way = format!("through the proxy http://{}", proxy.addr());
            assert!(text.starts_with(&start.replace("{}", &both(&proxy))), "{text}");
            assert!(text.ends_with(&end.replace("{way}", &way)), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_given_by_host_and_port_too() {
        for given in ["127.0.0.1:3128", "user:secret@127.0.0.1:3128", "http://127.0.0.1:3128"] {
            assert_eq!(format!("{:?}", Proxy::http(given).expect("a proxy")), "http://127.0.0.1:3128", "{given}");
        }
        assert_eq!(format!("{:?}", Proxy::http("localhost:3128").expect("a proxy")), "http://localhost:3128");
    }

    #[tokio::test]
    async fn refusals_of_socks_proxies() {
        let failed = answered("socks5", &[b"\x05\x02", b"\x01\x01"]).await;
        assert_documented!("a SOCKS proxy refuses the password", failed, Error::Proxy(_));
        let failed = answered("socks5", &[b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0"]).await;
        assert_documented!("a SOCKS proxy cannot reach it", failed, Error::Proxy(_));
        assert_eq!(failed.status(), None);
    }
}

// What holds for all.

#[test]
fn the_table_has_no_other_lines() {
    let lines = include_str!("../../../src/error/mod.rs").lines().filter(|line| line.starts_with("/// | ")).skip(1);
    let tests = include_str!("errors.rs");
    for line in lines {
        let what = line.split(" | ").nth(1).expect("a cell");
        assert!(tests.contains(&format!("assert_documented!(\"{what}\", ")), "no test provokes {what:?}");
    }
}

#[test]
fn says_compares_all_but_what_the_system_says() {
    assert!(says("to h:4711: x (os error 7)", "to h:9001: x (os error …)"));
    assert!(says("to h:80: dns error: y", "to h:80: dns error: …"));
    assert!(says("abc", "abc"));
    for (text, shown) in [("abcd", "abc"), ("xabc", "abc"), ("to h:1: y", "to h:9001: x"), ("to h: z", "to h:9001: z…")]
    {
        assert!(!says(text, shown), "{text} {shown}");
    }
}

#[tokio::test]
async fn what_the_caller_gave_is_named() {
    let builder = || WebSocketStream::builder("ws://h/");
    let (_peer, mut ws) = open(Config::default());
    for (failed, text) in [
        (error(builder().protocols(["a b"]).connect().await), "invalid subprotocol: names[0] has the character ' '"),
        (error(builder().protocols(["a", "A"]).connect().await), "invalid subprotocol: names[1] is listed before"),
        (error(builder().header("host", "x").connect().await), "invalid header: \"host\" is set by the handshake"),
        (error(WebSocketStream::connect("ftp://h/").await), "invalid URL: the scheme is \"ftp\""),
        (
            ws.send_ping(vec![0; 126]).expect_err("sent"),
            "invalid control frame: a payload of 126 bytes for a ping or a pong",
        ),
        (Error::TooManyPings { limit: 16 }, "too many pings: 16 wait for their pongs already"),
    ] {
        assert!(failed.to_string().starts_with(text), "{failed}");
        assert!(!failed.is_transient() && std::error::Error::source(&failed).is_none(), "{failed}");
    }
}

#[tokio::test]
async fn a_wrong_header_of_the_response_is_named_and_cut() {
    let failed = refusal(format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: {}\r\n\r\n", "x".repeat(1000)));
    assert_eq!(
        failed.await.to_string(),
        format!(
            "invalid handshake response of ws://example.com:80: the header Connection is \"{}…\", expected the token \"upgrade\"",
            "x".repeat(200)
        )
    );
}

#[tokio::test]
async fn a_redirect_that_nobody_asked_to_follow_says_where_it_leads_and_what_follows_it() {
    for (location, shown) in [
        ("/b", "; it leads to /b, and `redirects(n)` follows"),
        ("https://u:s3cret@h/b?token=s3cret", "; it leads to …@h/b?…, and `redirects(n)` follows"),
    ] {
        let failed = refusal(format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(failed.to_string().ends_with(&format!("302 Found{shown}")), "{failed}");
    }
}

#[tokio::test]
async fn a_url_that_lacks_something_says_what() {
    for (url, text) in [
        ("127.0.0.1:8080", "it has no scheme, expected one such as wss://example.com/feed"),
        (
            "localhost:8080/feed",
            "the scheme is \"localhost\", expected ws, wss, http or https, as in wss://example.com/feed",
        ),
    ] {
        let failed = error(WebSocketStream::connect(url).await);
        assert_eq!(failed.to_string(), format!("invalid URL: {text}"));
    }
    let failed = error(WebSocketStream::builder("ws://h/").header("Sec-WebSocket-Protocol", "a").connect().await);
    assert!(failed.to_string().ends_with("see `protocols()`"), "{failed}");
}

/// By rustls and by the operating system's library, of a server that answers in plain and of one that says nothing.
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_suspected_of_it() {
    use crate::support::tls::ForClient as _;

    for connector in testkit::tls::Authority::new().connectors(None) {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let (mut peer, io) = Peer::pipe(64 * 1024);
            let opening = WebSocketStream::builder("wss://localhost:1234/").tls(connector.clone());
            let (ws, ()) = tokio::join!(opening.connect_tls_over(io), async {
                peer.byte().await;
                peer.raw(answer).await;
                peer.finish().await;
            });
            let text = error(ws).to_string();
            assert!(text.starts_with("TLS error with wss://localhost:1234: "), "{text}");
            assert!(text.ends_with(": does the server speak TLS on this port?"), "{text}");
        }
    }
}

#[tokio::test]
async fn debug_of_an_error_is_its_text_and_the_structure_is_there_for_who_asks() {
    let failed = refusal("HTTP/1.1 403 x\r\nServer: nginx\r\nX-Key: s3cret\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(format!("{failed:?}"), failed.to_string());
    let structure = format!("{failed:#?}");
    for part in ["Refused(", "status: 403", "\"nginx\"", "\"x-key\": Sensitive", "4 bytes"] {
        assert!(structure.contains(part), "{part}: {structure}");
    }
    let url = Script::bind().await.url("/");
    let failed = error(WebSocketStream::connect(url).await);
    assert_eq!(format!("{failed:?}"), failed.to_string());
    let structure = format!("{failed:#?}");
    assert!(structure.starts_with("Connect {") && structure.contains("ConnectionRefused"), "{structure}");
}

#[test]
fn debug_of_a_message_is_text_where_it_is_text_and_never_long() {
    for (message, shown) in [
        (Message::text("h\u{e9}\n\""), "Text(\"h\u{e9}\\n\\\"\", 5 bytes)".to_owned()),
        (Message::text(""), "Text(\"\", 0 bytes)".to_owned()),
        (Message::text("x".repeat(257)), format!("Text(\"{}\"…, 257 bytes)", "x".repeat(256))),
        // No character is cut.
        (Message::text("\u{5339}".repeat(100)), format!("Text(\"{}\"…, 300 bytes)", "\u{5339}".repeat(85))),
        (Message::binary(b"a\0\xff".as_slice()), "Binary(b\"a\\x00\\xff\", 3 bytes)".to_owned()),
        (Message::binary(vec![b'x'; 1000]), format!("Binary(b\"{}\"…, 1000 bytes)", "x".repeat(256))),
    ] {
        assert_eq!(format!("{message:?}"), shown);
    }
}

/// All that an error is shown as.
fn shown(failed: &Error) -> [String; 3] {
    [failed.to_string(), format!("{failed:?}"), format!("{failed:#?}")]
}

#[tokio::test]
async fn every_text_that_a_peer_has_a_part_in_is_bounded() {
    let long = "x".repeat(60_000);
    let mut all = Vec::new();
    for answer in [
        format!("HTTP/1.1 403 {long}\r\n\r\n"),
        format!("HTTP/1.1 403 No\r\n{long}: x\r\n\r\n"),
        format!("HTTP/1.1 403 No\r\nServer: {long}\r\n\r\n"),
        format!("HTTP/1.1 403 No\r\n\r\n{long}"),
        format!("HTTP/1.1 101 x\r\nUpgrade: {long}\r\n\r\n"),
        format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: {long}\r\n\r\n"),
        format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {long}\r\n\r\n"),
        format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection : {long}\r\n\r\n"),
        format!("{long}\r\n\r\n"),
    ] {
        let (mut peer, io) = Peer::pipe(256 * 1024);
        let (ws, ()) = tokio::join!(WebSocketStream::builder("ws://example.com/").connect_over(io), async {
            peer.request().await;
            peer.raw(&answer).await;
            peer.finish().await;
        });
        all.push((answer[..60].to_owned(), error(ws)));
    }
    for header in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        let (mut peer, io) = Peer::pipe(256 * 1024);
        let (ws, ()) = tokio::join!(WebSocketStream::builder("ws://example.com/").connect_over(io), async {
            let head = peer.request().await;
            peer.raw(head.answer(&format!("{header}: {long}\u{e9}\r\n"))).await;
        });
        all.push((header.to_owned(), error(ws)));
    }
    for location in [format!("/{long}"), format!("{long}://h/"), format!("//{long}/")] {
        let server = Script::bind().await;
        let addr = server.addr();
        let builder =
            WebSocketStream::builder("ws://a.example/").redirects(1).resolver(move |_, _| async move { Ok([addr]) });
        let (ws, ()) = tokio::join!(builder.connect(), async {
            for location in [location.as_str(), "/b"] {
                let Ok(mut peer) = tokio::time::timeout(Duration::from_secs(1), server.peer()).await else { return };
                peer.request().await;
                peer.raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")).await;
            }
        });
        all.push((format!("Location: {}", &location[..20]), error(ws)));
    }
    let (mut peer, mut ws) = open(Config::default());
    peer.close(4000, &"x".repeat(123)).await;
    peer.finish().await;
    assert!(ws.next().await.is_none());
    all.push(("a close reason".to_owned(), ws.send("late".into()).await.expect_err("sent")));
    for (what, failed) in all {
        let [text, debug, structure] = shown(&failed).map(|shown| shown.chars().count());
        assert!(text < 1000 && debug < 1000 && structure < 5000, "{what}: {text}, {debug}, {structure}");
    }
}

/// The names in it are the other side's, as many as it likes.
#[cfg(feature = "rustls-tls")]
#[tokio::test]
async fn a_certificate_for_a_thousand_other_names_makes_no_text_of_them() {
    use crate::support::tls::ForClient as _;

    let names: Vec<String> = (0..1000).map(|i| format!("a-name-of-another-server-{i}.example")).collect();
    let authority = testkit::tls::Authority::new();
    let tls = authority.server(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let (peer, io) = Peer::pipe(256 * 1024);
    let opening = WebSocketStream::builder("wss://localhost/").tls(authority.connectors(None).remove(0));
    let (ws, _) = tokio::join!(opening.connect_tls_over(io), tls.handshake(peer));
    let failed = error(ws);
    assert!(failed.is_tls(), "{failed:?}");
    let [text, debug, structure] = shown(&failed).map(|shown| shown.chars().count());
    assert!(text < 1000 && debug < 1000 && structure < 5000, "{text}, {debug}, {structure}: {failed}");
}
