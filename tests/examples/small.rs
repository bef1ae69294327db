//! The small examples, run as a person runs them.

#[path = "../../examples/support/echo.rs"]
mod echo;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{TEXT, encode},
    peer::{PATIENCE, Peer},
    server::Script,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::Child,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite;
use wsflow::{CloseFrame, Message, WebSocketStream};

use crate::support::error;

/// Cargo builds the examples beside the tests: `target/debug/deps/this-test`, `target/debug/examples/that-example`.
fn program(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/<profile>/deps");
    let path = profile.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    path
}

fn run(example: &str, args: &[&str]) -> (Output, String) {
    let output = Command::new(program(example)).args(args).stdin(Stdio::null()).output();
    let output = output.expect("the example can be started");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, out)
}

/// An example beside the server of a test. It ends with the test at latest.
pub(crate) fn start(example: &str, args: &[&str]) -> Child {
    let mut command = tokio::process::Command::new(program(example));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("the example can be started")
}

/// What an example wrote, and whether it succeeded.
#[derive(Debug)]
struct Ended {
    is_success: bool,
    out: String,
    err: String,
}

/// Gives an example these lines, and waits for its end.
async fn end_of(mut child: Child, input: &str) -> Ended {
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that has ended already takes nothing.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the example ends").expect("a status");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { is_success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// Sends the same message until no byte of it is taken for a second, then gives way to `reader` and sends its rest. Returns
/// how many messages that are.
async fn pour(peer: &mut Peer, len: usize, reader: impl FnOnce()) -> usize {
    /// What the system may hold for the sockets on the way, and more.
    const LIMIT: usize = 128 << 20;
    let frame = encode(true, 0, TEXT, &vec![b'x'; len]);
    let mut sent = 0;
    while let Ok(n) = timeout(Duration::from_secs(1), peer.io_mut().write(&frame[sent % frame.len()..])).await {
        sent += n.expect("the client is there");
        assert!(sent < LIMIT, "nothing slows the server down");
    }
    reader();
    peer.raw(&frame[sent % frame.len()..]).await;
    sent / frame.len() + 1
}

#[test]
fn each_example_says_what_it_does_and_what_it_takes() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").read_dir().expect("there are examples");
    for entry in examples.map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if name == "support" || name == "proxy" && !cfg!(feature = "proxy") {
            continue;
        }
        let (output, out) = run(name, &["--help"]);
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(out.contains("Usage: ") && !out.starts_with("Usage: "), "{name}: {out}");
        // Wrong input is an error with the usage, not a panic.
        let (output, _) = run(name, &["--no-such-option"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    }
}

#[test]
fn browser_echo_hears_its_own_words() {
    let (output, out) = run("browser_echo", &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(out, "Message from server Hello Server!\n");
}

#[test]
fn browser_echo_tells_that_nobody_is_there() {
    let (output, _) = run("browser_echo", &["ws://127.0.0.1:0/"]);
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Error: "), "{output:?}");
}

#[test]
fn hyper_client_gets_its_words_back() {
    let (output, out) = run("hyper_client", &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(out, "Hello by hyper!\nclosed with 1000\n");
}

#[test]
fn bulk_upload_holds_more_behind_buffered_amount_than_behind_a_sink() {
    let (output, out) = run("bulk_upload", &[]);
    assert!(output.status.success(), "{output:?}");
    let waited = |what: &str| -> u64 {
        let line = out.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{what} in {out}"));
        let (_, rest) = line.split_once("at most").expect("a peak");
        rest.split_whitespace()
            .next()
            .and_then(|peak| peak.parse().ok())
            .unwrap_or_else(|| panic!("a number in {line}"))
    };
    let (polled, sunk) = (waited("bufferedAmount"), waited("sink"));
    // One chunk beyond the limit, and beyond the mark.
    assert!(polled <= (1 << 20) + 2 * (64 << 10), "{polled}");
    assert!(sunk <= (128 << 10) + (64 << 10), "{sunk}");
    assert!(polled > sunk, "{out}");
}

#[test]
fn split_loses_nothing() {
    let (output, out) = run("split", &["--seconds", "0.5", "--pause", "0.1"]);
    assert!(output.status.success(), "{output:?}");
    let last = out.lines().last().expect("a line");
    assert!(last.starts_with("sent ") && last.ends_with("closed with 1000 (clean: true)"), "{out}");
}

#[test]
fn big_file_goes_up_and_down_as_one_message() {
    let (output, out) = run("big_file", &["--mib", "16"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(out, "16777216 bytes up, 16777216 bytes down, as one message each; closed with 1000\n");
    // A file that is there.
    let (output, out) = run("big_file", &["--file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")]);
    assert!(output.status.success() && out.ends_with("closed with 1000\n"), "{output:?}");
}

#[test]
fn metrics_shows_what_was_counted_as_prometheus_reads_it() {
    let (output, out) = run("metrics", &["--seconds", "0.5", "--every", "0.1"]);
    assert!(output.status.success(), "{output:?}");
    let value = |name: &str| -> f64 {
        let line = out.lines().rfind(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {out}"));
        line.split(' ').next_back().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("a number in {line}"))
    };
    let sent = value("websocket_client_messages_total{network_io_direction=\"transmit\"}");
    assert!(sent > 0.0, "{out}");
    assert_eq!(value("websocket_client_payload_io_bytes_total{network_io_direction=\"transmit\"}"), 1000.0 * sent);
    assert!(value("websocket_client_held_back_duration_seconds_total{network_io_direction=\"transmit\"}") >= 0.0);
    assert!(out.ends_with("closed with 1000\n"), "{out}");
}

#[cfg(unix)]
#[test]
fn market_feed_subscribes_and_closes_cleanly_at_ctrl_c() {
    use std::io::{BufRead as _, BufReader};

    let mut child = Command::new(program("market_feed"))
        .args(["--channel", "BTC-USD"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example can be started");
    let lines = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines = lines.lines().map(|line| line.expect("a line"));
    assert_eq!(lines.by_ref().take(2).collect::<Vec<_>>(), ["open", "subscribed: BTC-USD"]);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is kill");
    assert!(killed.success());
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().expect("it ends").success(), "{rest:?}");
    assert_eq!(rest[0], "closed: 1000 (clean: true)");
    assert!(rest[1].starts_with("Totals { connections: 1, ticks: "), "{rest:?}");
}

#[tokio::test]
async fn wscat_sends_lines_and_prints_what_comes() {
    let url = echo::server().await.expect("a free port");
    let execute = ["--execute", "/hello"];
    for (args, input, out, err) in [
        (&[][..], "one\n//two\n/binary 00fF\n", "one\n/two\n<2 bytes> 00ff\n", &["closed cleanly with code 1000"][..]),
        (&[], "/ping\n/close 4000 good bye\nlate\n", "", &["pong after ", "closed cleanly with code 4000 (good bye)"]),
        (
            &[],
            "/pong\n/binary 0\n/binary +1\n/close x\n/close 1005\n",
            "",
            &["not a command: /pong", "expected hex", "expected a code", "invalid control frame", "with code 1000"],
        ),
        (&["--count", "2"], "one\ntwo\n", "one\ntwo\n", &["closed cleanly with code 1000"]),
        (&execute, "not read\n", "/hello\n", &["closed cleanly with code 1000"]),
    ] {
        let ended = end_of(start("wscat", &[args, &[&url]].concat()), input).await;
        assert!(ended.is_success && ended.out == out, "{args:?} {input:?}: {ended:?}");
        for text in err {
            assert!(ended.err.contains(text), "{text} in {ended:?}");
        }
    }
}

#[tokio::test]
async fn wscat_asks_for_what_its_options_say() {
    let server = Script::bind().await;
    let url = server.url("/feed");
    let options = ["--header", "X-Key: a:b", "--protocol", "v1", "--host", "example.com", "--compress"];
    let child = start("wscat", &[&options[..], &[&url]].concat());
    let mut peer = server.peer().await;
    let head = peer.accept_with("Sec-WebSocket-Protocol: v1\r\n").await;
    let asked = ["x-key", "sec-websocket-protocol", "host", "sec-websocket-extensions"].map(|name| head.header(name));
    assert_eq!(asked[..3], [Some("a:b"), Some("v1"), Some("example.com")]);
    assert!(asked[3].is_some_and(|extensions| extensions.contains("permessage-deflate")), "{asked:?}");
    peer.close(1001, "").await;
    peer.expect_close(1001, "").await;
    peer.finish().await;
    let ended = end_of(child, "").await;
    assert!(ended.is_success && ended.err.contains("protocol: \"v1\""), "{ended:?}");
}

#[tokio::test]
async fn wscat_fails_with_the_error_of_the_connection() {
    for (args, expected) in [
        (&["ws://127.0.0.1:0/"][..], "Error: cannot connect to ws://127.0.0.1:0"),
        (&["localhost"], "Error: invalid URL: "),
        (&["ws://localhost", "--header", "x"], "expected 'Name: value'"),
        (&["ws://localhost", "--connect-timeout", "0"], "expected a number of seconds"),
        #[cfg(not(feature = "proxy"))]
        (&["ws://localhost", "--proxy", "socks5://localhost"], "Error: --proxy: this build has no proxies"),
        #[cfg(feature = "proxy")]
        (
            &["ws://localhost", "--proxy", "socks5://127.0.0.1:0"],
            "Error: cannot connect to the proxy socks5://127.0.0.1:0 for ws://localhost:80",
        ),
        (&["wss://localhost", "--ca", "no such file"], "Error: --ca no such file"),
    ] {
        let ended = end_of(start("wscat", args), "").await;
        assert!(!ended.is_success && ended.err.contains(expected), "{expected} in {ended:?}");
    }

    // A server that goes away instead of answering.
    let server = Script::bind().await;
    let child = start("wscat", &["--execute", "hello", &server.url("/")]);
    let mut peer = server.accept().await;
    peer.expect_text("hello").await;
    peer.close(1000, "not today").await;
    peer.expect_close(1000, "not today").await;
    peer.finish().await;
    let ended = end_of(child, "").await;
    let expected = "Error: closed cleanly with code 1000 (not today), after 0 of 1 messages";
    assert!(!ended.is_success && ended.err.contains(expected), "{ended:?}");
}

#[cfg(all(feature = "rustls-tls", feature = "ring"))]
#[tokio::test]
async fn wscat_trusts_the_authority_that_it_is_given() {
    let authority = testkit::tls::Authority::new();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wscat-authority.pem");
    std::fs::write(&file, authority.pem()).expect("a file");
    let server = Script::bind().await;
    let url = format!("wss://{}", server.addr());
    let child = start("wscat", &["--ca", file.to_str().expect("UTF-8"), "--execute", "hello", &url]);
    let (_, peer) = authority.server(&["127.0.0.1"]).handshake(server.peer().await).await;
    let mut peer = peer.expect("a TLS handshake");
    peer.accept().await;
    peer.expect_text("hello").await;
    peer.text("from under TLS").await;
    peer.expect_close(1000, "").await;
    peer.close(1000, "").await;
    peer.finish().await;
    let ended = end_of(child, "").await;
    assert!(ended.is_success && ended.out == "from under TLS\n", "{ended:?}");
}

#[tokio::test]
async fn wscat_reads_no_faster_than_its_output_is_read() {
    const LEN: usize = 64 << 10;
    let server = Script::bind().await;
    let mut child = start("wscat", &[&server.url("/")]);
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut peer = server.accept().await;
    let printed = tokio::sync::oneshot::channel();
    let messages = pour(&mut peer, LEN, || {
        tokio::spawn(async move {
            let mut text = Vec::new();
            out.read_to_end(&mut text).await.expect("a pipe");
            printed.0.send(text.len()).expect("the test waits");
        });
    })
    .await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    let printed = timeout(PATIENCE, printed.1).await.expect("all is printed").expect("a length");
    assert_eq!(printed, messages * (LEN + 1));
    assert!(end_of(child, "").await.is_success);
}

#[test]
fn load_measures_at_a_rate_and_as_fast_as_it_can() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load.svg");
    let file = file.to_str().expect("UTF-8");
    for pace in [["--messages-per-second", "50"], ["--in-flight", "4"]] {
        let (output, out) =
            run("load", &[&["--duration", "1", "--connections", "10", "--svg", file], &pace[..]].concat());
        assert!(output.status.success(), "{output:?}");
        for text in ["10 connections", "p50", "p90", "p99", "p99.9", "max", "MiB/s", file] {
            assert!(out.contains(text), "{text} in {out}");
        }
        assert!(!out.contains("no answer") && !out.contains("failed"), "{out}");
        let drawing = std::fs::read_to_string(file).expect("a drawing");
        assert!(drawing.starts_with("<svg") && drawing.contains("Latency by percentile"), "{drawing}");
        std::fs::remove_file(file).expect("it was there");
        let rate = out.lines().find_map(|line| line.split_once(" messages/s")).expect("a rate").0;
        let rate: u64 = rate.parse().expect("a number");
        // 50 on each connection, and fewer on one that was late to open.
        assert!(rate > 250 && (rate <= 500 || pace[0] == "--in-flight"), "{out}");
    }
}

#[test]
fn load_counts_failures_by_kind() {
    let (output, out) = run("load", &["--duration", "0.1", "--connections", "3", "--url", "ws://127.0.0.1:0"]);
    assert!(
        !output.status.success() && out.contains("3 connections failed: connect, such as: cannot connect"),
        "{out}"
    );
}

/// A client that waits for room, and then measures from its own sending, would show two or three late messages here.
#[tokio::test]
async fn load_measures_from_when_a_message_was_due_and_not_from_when_it_could_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    // An accepted socket has the buffer of the listening one.
    socket2::SockRef::from(&listener).set_recv_buffer_size(64 << 10).expect("SO_RCVBUF");
    let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
    let load = ["--connections", "1", "--size", "2MiB", "--messages-per-second", "20", "--duration", "0.6"];
    let child = start("load", &[&load[..], &["--url", &url]].concat());
    let (tcp, _) = listener.accept().await.expect("a client");
    let mut peer = tokio_tungstenite::accept_async(tcp).await.expect("a handshake");
    // It stops for longer than the client sends. Each message is then answered by its stamp alone.
    sleep(Duration::from_millis(1500)).await;
    while let Some(Ok(message)) = peer.next().await {
        if let tungstenite::Message::Binary(data) = message {
            peer.send(tungstenite::Message::Binary(data.slice(..8))).await.expect("the client is there");
        }
    }
    let ended = end_of(child, "").await;
    assert!(ended.is_success && !ended.out.contains("failed"), "{ended:?}");
    // Due within 0.6 s, answered after 1.5 s.
    let p50 = ended.out.lines().find_map(|line| line.trim().strip_prefix("p50")).expect("a percentile").trim();
    let seconds: f64 = match p50.strip_suffix("ms") {
        Some(ms) => ms.parse::<f64>().expect("a number") / 1000.0,
        None => p50.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).expect("a number"),
    };
    assert!(seconds > 0.9, "{ended:?}");
}

/// A proxy before `upstream`, and its URL.
async fn proxy(upstream: &str) -> (Child, String) {
    let mut child = start("axum_proxy", &["--upstream", upstream, "--listen", "127.0.0.1:0"]);
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    timeout(PATIENCE, out.read_line(&mut line)).await.expect("it listens").expect("a line");
    (child, line.split(' ').next().expect("a URL").to_owned())
}

/// A client and an upstream, with a proxy in between.
async fn through_proxy() -> (Child, WebSocketStream, Peer) {
    let server = Script::bind().await;
    let (child, url) = proxy(&server.url("/")).await;
    let (ws, peer) = tokio::join!(WebSocketStream::connect(url), server.accept());
    (child, ws.expect("a connection"), peer)
}

#[tokio::test]
async fn axum_proxy_passes_messages_on_both_ways_and_the_clients_close() {
    let (_proxy, mut ws, mut peer) = through_proxy().await;
    ws.send("up, with ü".into()).await.expect("a send");
    peer.expect_text("up, with ü").await;
    ws.send(vec![1, 2].into()).await.expect("a send");
    peer.expect_binary([1, 2]).await;
    peer.text("down, with ü").await;
    peer.binary([3, 4]).await;
    for expected in [Message::from("down, with ü"), Message::from(vec![3, 4])] {
        assert_eq!(ws.next().await.expect("a message").expect("no error"), expected);
    }
    let upstream = async {
        peer.expect_close(4000, "good bye").await;
        peer.close(4000, "good bye").await;
        peer.finish().await;
    };
    let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(4000, "good bye")), upstream);
    let closed = closed.expect("a valid close");
    assert_eq!((closed.code.into(), closed.was_clean), (4000, true), "{closed}");
}

#[tokio::test]
async fn axum_proxy_tells_the_client_how_its_upstream_ended() {
    for (sent, told) in
        [(Some((4001, "over")), (4001, "over")), (Some((1011, "")), (1011, "")), (None, (1014, "the upstream is gone"))]
    {
        let (_proxy, mut ws, mut peer) = through_proxy().await;
        peer.text("last words").await;
        if let Some((code, reason)) = sent {
            peer.close(code, reason).await;
            peer.expect_close(code, reason).await;
        }
        peer.finish().await;
        assert_eq!(ws.next().await.expect("a message").expect("no error").as_text(), Some("last words"));
        assert!(ws.next().await.is_none());
        let closed = ws.closed().expect("an end");
        assert_eq!((closed.code.into(), &*closed.reason), told);
    }
}

#[tokio::test]
async fn axum_proxy_tells_the_upstream_that_its_client_is_gone() {
    let (_proxy, ws, mut peer) = through_proxy().await;
    drop(ws);
    peer.expect_close(1001, "the client is gone").await;
}

#[tokio::test]
async fn axum_proxy_refuses_a_client_while_its_upstream_cannot_be_reached() {
    let (_proxy, url) = proxy("ws://127.0.0.1:0/").await;
    let refused = error(WebSocketStream::connect(url).await);
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(502), "{refused}");
}

#[tokio::test]
async fn axum_proxy_agrees_with_the_client_on_what_the_upstream_chose() {
    let server = Script::bind().await;
    let (_proxy, url) = proxy(&server.url("/")).await;
    let upstream = async {
        let mut peer = server.peer().await;
        let head = peer.accept_with("Sec-WebSocket-Protocol: v1\r\n").await;
        assert_eq!(head.header("sec-websocket-protocol"), Some("v2, v1"), "in the client's order");
        peer
    };
    let (ws, _peer) = tokio::join!(WebSocketStream::builder(url).protocols(["v2", "v1"]).connect(), upstream);
    assert_eq!(ws.expect("a connection").protocol(), "v1");
}

#[tokio::test]
async fn axum_proxy_slows_an_upstream_whose_client_is_slow() {
    let (_proxy, mut ws, mut peer) = through_proxy().await;
    let (read, may_read) = tokio::sync::oneshot::channel();
    let client = tokio::spawn(async move {
        may_read.await.expect("the pour has stalled");
        let mut count = 0;
        while let Some(message) = ws.next().await {
            assert_eq!(message.expect("no error").len(), 64 << 10);
            count += 1;
        }
        (count, ws.closed().cloned().expect("an end"))
    });
    let messages = pour(&mut peer, 64 << 10, || read.send(()).expect("the client waits")).await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    let (count, closed) = timeout(PATIENCE, client).await.expect("the client reads all").expect("no panic");
    assert_eq!((count, closed.code.into()), (messages, 1000));
}

#[test]
fn soak_finds_every_message_in_its_place_and_nothing_left() {
    let (output, out) = run("soak", &["--minutes", "0.05", "--connections", "20"]);
    assert!(output.status.success() && out.ends_with("\n"), "{output:?}");
    let last = out.lines().last().expect("a line");
    assert!(last.starts_with("after: heap "), "{out}");
}
