//! The example `dashboard`, run as a person runs it; `tests/dashboard.sh` looks at its page in a browser.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use futures::{SinkExt as _, StreamExt as _};
use wsflow::WebSocketStream;

/// Cargo builds the examples beside the tests: `target/debug/deps/this-test`, `target/debug/examples/that-example`.
fn command() -> Command {
    let test = env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/<profile>/deps");
    Command::new(profile.join("examples").join(format!("dashboard{}", env::consts::EXE_SUFFIX)))
}

/// The dashboard, on a free port. It ends with the test.
struct Dashboard {
    process: Child,
    /// Host and port.
    address: String,
}

impl Dashboard {
    fn start() -> Self {
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--limit", "16MiB", "--seconds", "60"]).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the example can be started");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its standard output");
        BufReader::new(stdout).read_line(&mut line).expect("a first line");
        let address = line.trim_end().strip_prefix("the page is at http://").and_then(|rest| rest.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("a URL in {line:?}")).to_owned();
        Self { process, address }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.process.kill().expect("the example can be killed");
        self.process.wait().expect("the example has ended");
    }
}

#[test]
fn dashboard_ends_by_itself() {
    let output = command().args(["--listen", "127.0.0.1:0", "--seconds", "0.2"]).output().expect("it can be started");
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.starts_with("the page is at http://127.0.0.1:"), "{out}");
}

#[test]
fn dashboard_help_has_each_option_and_no_role_of_its_processes() {
    let output = command().arg("--help").output().expect("it can be started");
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout);
    for part in
        ["--listen <ADDRESS>", "[default: 127.0.0.1:8080]", "--limit <SIZE>", "[default: 256MiB]", "--seconds <N>"]
    {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(!out.contains("Commands:"), "{out}");
}

#[test]
fn dashboard_says_what_it_expects_instead_of_a_wrong_option() {
    for (option, expected) in [
        ("--listen=localhost", "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"),
        ("--limit=1000KiB", "expected 1 MiB or more"),
        ("--limit=much", "expected a size above 0, such as 64MiB, 1GiB or a number of bytes"),
        ("--seconds=0", "expected a number of seconds from 0.1 to 86400"),
    ] {
        let output = command().arg(option).output().expect("it can be started");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && err.contains(expected), "{option}: {err}");
    }
}

#[test]
fn dashboard_says_which_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = command().args(["--listen", &address]).output().expect("it can be started");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1), "{output:?}");
    assert!(err.starts_with(&format!("error: cannot listen on --listen {address}: ")), "{err}");
}

#[test]
fn dashboard_serves_its_page() {
    let dashboard = Dashboard::start();
    let mut socket = TcpStream::connect(&dashboard.address).expect("it listens");
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", dashboard.address);
    socket.write_all(request.as_bytes()).expect("a request");
    let mut response = String::new();
    socket.read_to_string(&mut response).expect("a response in text");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(body.contains(r#"<input id="speed" type="range""#) && body.ends_with("</html>\n"), "{body}");
}

#[tokio::test]
async fn dashboard_tells_of_both_consumers_and_takes_their_speed() {
    let dashboard = Dashboard::start();
    let mut ws = WebSocketStream::connect(&format!("ws://{}/lines", dashboard.address)).await.expect("a WebSocket");
    ws.send(r#"{"speed":262144}"#.into()).await.expect("an order");
    let mut most_behind_the_stream = 0;
    // Until the queue of the event API has come to the limit, and both have gone on at the new speed.
    loop {
        let message = ws.next().await.expect("a line").expect("the connection lasts");
        let line: serde_json::Value = serde_json::from_str(message.as_text().expect("text")).expect("JSON");
        let [callback, stream] = [&line["callback"], &line["stream"]];
        let waiting = stream["waiting"].as_u64().expect("bytes behind the stream");
        most_behind_the_stream = waiting.max(most_behind_the_stream);
        let rate = stream["rate"].as_f64().expect("bytes a second");
        let is_slow = line["speed"] == 262_144 && (100_000.0..400_000.0).contains(&rate);
        if is_slow && callback["restarts"].as_u64().expect("a number") > 0 {
            assert_eq!(stream["restarts"], 0, "{line}");
            break;
        }
    }
    assert!((1..=256 << 10).contains(&most_behind_the_stream), "{most_behind_the_stream}");
}

#[tokio::test]
async fn dashboard_refuses_a_speed_that_the_slider_has_not() {
    let dashboard = Dashboard::start();
    for order in [r#"{"speed":0}"#, r#"{"speed":-1}"#, r#"{"speed":1073741825}"#, "{}", "fast"] {
        let mut ws = WebSocketStream::connect(&format!("ws://{}/lines", dashboard.address)).await.expect("a WebSocket");
        ws.send(order.into()).await.expect("an order");
        while ws.next().await.is_some_and(|line| line.is_ok()) {}
        let closed = ws.closed().expect("a Close frame").clone();
        assert_eq!(closed.code, 1008, "{order}");
        assert_eq!(closed.reason, r#"expected {"speed":N}, N from 65536 to 1073741824"#, "{order}");
    }
}
