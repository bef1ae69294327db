//! The small examples, run as a person runs them.

use std::{
    env,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// Cargo builds the examples beside the tests: `target/debug/deps/this-test`, `target/debug/examples/that-example`.
fn path(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/<profile>/deps");
    let path = profile.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    path
}

fn run(example: &str, args: &[&str]) -> (Output, String) {
    let output =
        Command::new(path(example)).args(args).stdin(Stdio::null()).output().expect("the example can be started");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, out)
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

    let mut child = Command::new(path("market_feed"))
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
