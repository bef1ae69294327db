//! Any response to the opening handshake, any answer of a proxy: an error or a connection, at last, and no byte of the
//! tunnel is lost.
//!
//! The first byte says what is asked; the second, how many bytes come at a time. In the rest `{accept}` stands for the
//! right answer to the key.
#![no_main]

use futures::StreamExt as _;
use libfuzzer_sys::fuzz_target;
use testkit::hostile_io::HostileIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wsflow::{Config, Deflate, Proxy, WebSocketStream};
use wsflow_fuzz::{
    judge::{self, Limits},
    poll,
};

const MARK: &[u8] = b"{accept}";

fuzz_target!(|data: &[u8]| {
    if let [kind, step, rest @ ..] = data {
        poll::run(target(*kind, *step, rest));
    }
});

async fn target(kind: u8, step: u8, rest: &[u8]) {
    let ends = kind & 0x80 == 0;
    let steps = if step == 0 { Vec::new() } else { vec![step, 0] };
    let io = HostileIo::new(steps, Vec::new(), Vec::new(), true);
    match kind & 7 {
        0..=3 => open(io, kind, rest, ends).await,
        kind => tunnel(io, kind, rest, ends).await,
    }
}

async fn open(io: HostileIo, kind: u8, rest: &[u8], ends: bool) {
    let response = rest.to_vec();
    let mut is_answered = false;
    let io = io.with_server(move |request| {
        if is_answered || !request.ends_with(b"\r\n\r\n") {
            return (Vec::new(), false);
        }
        is_answered = true;
        (fill_in(&response, request), ends)
    });
    let mut builder = WebSocketStream::builder("ws://example.com/chat?a=b");
    let mut config = Config::default().max_message_size(64 * 1024).keepalive_interval(None);
    if kind & 1 != 0 {
        builder = builder.protocols(["chat", "superchat"]);
    }
    if kind & 2 != 0 {
        config = config.deflate(Deflate::default().client_max_window_bits(12).server_max_window_bits(11));
    }
    let connecting = builder.config(config).connect_over(io.clone());
    let Ok(mut ws) = poll::must_end("a handshake", connecting).await else { return };
    // It is only open by a response that says all this.
    let lower = String::from_utf8_lossy(rest).to_lowercase();
    let lower = lower.trim_start_matches(['\r', '\n']);
    let said = ["101", "upgrade", "websocket", "connection", "{accept}", "sec-websocket-accept"];
    assert!(lower.starts_with("http/1.1 101") && said.iter().all(|word| lower.contains(word)), "{lower}");
    assert!(["", "chat", "superchat"].contains(&ws.protocol()));
    assert!(kind & 1 != 0 || ws.protocol().is_empty(), "a subprotocol that was not offered");
    assert!(kind & 2 != 0 || ws.extensions().is_empty(), "an extension that was not offered");
    // What came after the head belongs to the frames.
    let response = fill_in(rest, &io.output());
    let end = end_of_head(&response).expect("a head has an end");
    let limits =
        Limits { message: 64 * 1024, frame: u64::MAX, fragments: 65_536, deflate: !ws.extensions().is_empty() };
    let (expected, verdict) = judge::server(&response[end..], limits);
    let mut got = Vec::new();
    while let Some(Ok(message)) = match ends {
        true => poll::must_end("a connection that was ended", ws.next()).await,
        // Bytes at a time come with a Pending between.
        false => (0..1000)
            .find_map(|_| match poll::once(ws.next()) {
                std::task::Poll::Ready(item) => Some(item),
                std::task::Poll::Pending => None,
            })
            .flatten(),
    } {
        got.push((message.is_text(), message.as_bytes().to_vec()));
    }
    if verdict != judge::Verdict::Unknown && ends {
        assert_eq!(got, expected);
    }
}

fn fill_in(response: &[u8], request: &[u8]) -> Vec<u8> {
    let request = std::str::from_utf8(request).expect("a request is ASCII");
    let key = request.lines().find_map(|line| line.split_once("ec-WebSocket-Key: ")).expect("a key").1;
    let accept = derive_accept_key(key.as_bytes());
    match response.windows(MARK.len()).position(|window| window == MARK) {
        Some(at) => [&response[..at], accept.as_bytes(), &response[at + MARK.len()..]].concat(),
        None => response.to_vec(),
    }
}

/// Lines may end in a line feed alone, and there may be empty ones first (RFC 9112, section 2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let [b'\n', ..] | [b'\r', b'\n', ..] = &bytes[start..] {
        start += if bytes[start] == b'\n' { 1 } else { 2 };
    }
    (start..bytes.len()).find_map(|at| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

async fn tunnel(mut io: HostileIo, kind: u8, rest: &[u8], ends: bool) {
    io.input(rest);
    if ends {
        io.end();
    }
    let proxy = match kind {
        4 => Proxy::http("http://user:password@proxy.example:8080"),
        5 => Proxy::http("http://proxy.example"),
        6 => Proxy::socks5("socks5://user:password@proxy.example"),
        _ => Proxy::socks5("socks5://proxy.example"),
    };
    let proxy = proxy.expect("a valid URL");
    let opening = wsflow::fuzzing::open_tunnel(&mut io, &proxy, "ws://example.com/");
    let Ok(opened) = tokio::time::timeout(std::time::Duration::from_secs(1000), opening).await else {
        // The builder has a deadline for it.
        assert!(!ends, "a tunnel whose proxy has ended waits for ever");
        return;
    };
    if opened.is_err() {
        return;
    }
    let expected = match kind {
        4 | 5 => end_of_head(rest),
        _ => socks5_reply(rest, kind == 6),
    };
    assert_eq!(Some(io.taken()), expected, "bytes of the tunnel were taken, or of the answer were left");
}

/// How many bytes a proxy's answers have that open a tunnel (RFC 1928, RFC 1929).
fn socks5_reply(bytes: &[u8], has_credentials: bool) -> Option<usize> {
    let [5, method, rest @ ..] = bytes else { return None };
    let (rest, at) = match (method, rest) {
        (0, rest) => (rest, 2),
        (2, [_, 0, rest @ ..]) if has_credentials => (rest, 4),
        _ => return None,
    };
    let address = match rest {
        [5, 0, _, 1, ..] => 4,
        [5, 0, _, 4, ..] => 16,
        [5, 0, _, 3, len, ..] => 1 + usize::from(*len),
        _ => return None,
    };
    let end = at + 4 + address + 2;
    (end <= bytes.len()).then_some(end)
}
