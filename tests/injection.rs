//! Header injection: what a caller passes on from somebody else never adds a line to a request.

use tokio::io::{AsyncReadExt as _, duplex};
use wsflow::{ClientBuilder, CloseFrame, Config, Error, WebSocketStream};

/// The head of the request that `builder` sends, or why it sends none.
async fn request(builder: ClientBuilder) -> Result<String, Error> {
    let (io, mut server) = duplex(64 * 1024);
    let connecting = tokio::spawn(builder.connect_over(io));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match server.read_u8().await {
            Ok(byte) => head.push(byte),
            // The client has dropped its end. It sends nothing before it fails.
            Err(_) => {
                assert_eq!(head, b"");
                return Err(connecting.await.expect("no panic").err().expect("an error"));
            }
        }
    }
    connecting.abort();
    Ok(String::from_utf8(head).expect("UTF-8"))
}

const EVIL: [&str; 6] = [
    "a\r\nInjected: b",
    "a\nInjected: b",
    "a\rInjected: b",
    "a\0Injected: b",
    "a\r\n\r\nInjected: b",
    "\r\nInjected: b",
];

fn url() -> ClientBuilder {
    WebSocketStream::builder("ws://example.com/")
}

#[tokio::test]
async fn a_header_a_host_or_a_subprotocol_with_a_line_end_is_refused_and_nothing_is_sent() {
    for evil in EVIL {
        for (what, builder) in [
            ("a value", url().header("x", evil)),
            ("a name", url().header(evil, "x")),
            ("an origin", url().origin(evil)),
            ("a host", url().host(evil)),
            ("a subprotocol", url().protocols([evil])),
            ("the second", url().protocols(["a", evil])),
        ] {
            let refused = request(builder).await.expect_err(what);
            assert!(
                matches!(refused, Error::InvalidHeader(_) | Error::InvalidUrl(_) | Error::InvalidSubprotocol(_)),
                "{what} {evil:?}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_url_with_a_line_end_is_refused_or_adds_no_line() {
    let plain = request(url()).await.expect("a request").lines().count();
    for evil in EVIL {
        for url in [
            format!("ws://example.com/{evil}"),
            format!("ws://example.com/?{evil}"),
            format!("ws://{evil}.example.com/"),
            format!("ws://example.com:{evil}/"),
            format!("ws://{evil}@example.com/"),
            format!("ws://user:{evil}@example.com/"),
            format!("{evil}ws://example.com/"),
        ] {
            match request(WebSocketStream::builder(&url)).await {
                Ok(head) => {
                    let lines: Vec<_> = head.lines().collect();
                    // Credentials are a line of ours.
                    let own = usize::from(
                        head.contains("\r\nauthorization: Basic ") || head.contains("\r\nAuthorization: Basic "),
                    );
                    assert_eq!(lines.len(), plain + own, "{url:?}: {head}");
                    assert!(!head.contains("\r\nInjected") && !head.contains("\r\n\r\nI"), "{url:?}: {head}");
                    assert!(!head.bytes().any(|byte| byte == 0), "{url:?}: {head}");
                    assert!(head.split("\r\n").all(|line| !line.contains(['\r', '\n'])), "{url:?}: {head}");
                }
                Err(error) => assert!(matches!(error, Error::InvalidUrl(_)), "{url:?}: {error:?}"),
            }
        }
    }
}

#[cfg(feature = "proxy")]
#[tokio::test]
async fn the_credentials_of_a_proxy_add_no_line_to_its_request() {
    use wsflow::Proxy;

    for evil in EVIL {
        for url in [format!("http://{evil}:b@127.0.0.1:PORT"), format!("http://a:{evil}@127.0.0.1:PORT")] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("a bound socket").port().to_string();
            let Ok(proxy) = Proxy::http(url.replace("PORT", &port)) else { continue };
            let connecting = tokio::spawn(WebSocketStream::builder("ws://example.com/").proxy(proxy).connect());
            let (mut tcp, _) = listener.accept().await.expect("a client");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.expect("a request"));
            }
            connecting.abort();
            let head = String::from_utf8(head).expect("UTF-8");
            assert!(!head.contains("Injected"), "{url:?}: {head}");
            assert!(head.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0'])), "{url:?}: {head}");
        }
    }
}

#[tokio::test]
async fn a_close_reason_may_have_any_character_and_stays_a_reason() {
    let (io, mut server) = duplex(1024);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    let closing = tokio::spawn(async move { ws.close_with(CloseFrame::new(1000, "a\r\nInjected: b")).await });
    let mut head = [0; 6];
    server.read_exact(&mut head).await.expect("a frame");
    // A Close frame of two bytes of code and 14 of reason, masked.
    assert_eq!(head[..2], [0x88, 0x80 | 16]);
    closing.abort();
}
