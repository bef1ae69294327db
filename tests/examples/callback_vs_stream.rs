//! The project's main example, run as a person runs it, but for a short time.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio_tungstenite::tungstenite::{self, WebSocket};

/// Cargo builds the examples beside the tests: `target/debug/deps/this-test`, `target/debug/examples/that-example`.
fn example() -> Command {
    let test = env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/<profile>/deps");
    let path = profile.join("examples").join(format!("callback_vs_stream{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    let mut command = Command::new(path);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the example can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (out, err) = (out.into_owned(), err.into_owned());
    (output, out, err)
}

/// The columns of a run in the table at the end: messages, MB/s, peak waiting, peak memory, time.
fn row<'a>(out: &'a str, run: &str) -> Vec<&'a str> {
    let (_, table) = out.split_once("peak waiting").unwrap_or_else(|| panic!("a table in {out}"));
    let row = table.lines().find_map(|line| line.strip_prefix(run)).unwrap_or_else(|| panic!("{run} in {out}"));
    row.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
}

fn bytes(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').expect("a number and a unit");
    let unit = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => panic!("{unit} is no unit of bytes"),
    };
    number.parse::<f64>().expect("a number") * unit
}

#[test]
fn four_runs_a_table_and_four_curves() {
    let svg = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("callback_vs_stream_test.svg");
    let _ = fs::remove_file(&svg);
    let mut command = example();
    command.args(["--seconds", "1", "--ceiling", "32MiB", "--pace", "1MiB", "--plot"]).arg(&svg);
    let (output, out, err) = output(&mut command);
    assert!(output.status.success(), "{out}{err}");

    let runs = ["receive, event API", "receive, stream", "send, event API", "send, stream"];
    for run in runs {
        let columns = row(&out, run);
        assert_eq!(columns.len(), 5, "{run}: {columns:?}");
        assert!(columns[0].parse::<u64>().expect("a number of messages") > 100, "{run}: {columns:?}");
        #[cfg(target_os = "linux")]
        assert!(bytes(columns[3]) > 0.0, "{run}: {columns:?}");
    }
    let waiting = |run| bytes(row(&out, run)[2]);
    assert!(waiting("receive, event API") > 4.0 * waiting("receive, stream"), "{out}");
    assert!(waiting("send, event API") > 4.0 * waiting("send, stream"), "{out}");
    let bound = 256.0 * 1024.0; // the buffers that the stream has by default, and a message
    assert!(waiting("receive, stream") < bound && waiting("send, stream") < bound, "{out}");

    let drawing = fs::read_to_string(&svg).expect("the drawing was written");
    for color in ["#D62728", "#1F77B4", "#FF8C00", "#50C878"] {
        let curves = drawing.lines().filter(|line| line.starts_with("<polyline") && line.contains(color));
        assert!(curves.count() >= 2, "a curve and its entry in the legend, in {color}");
    }
    for run in runs {
        assert!(drawing.contains(run), "{run} in the legend");
    }
}

#[test]
fn a_run_that_passes_the_ceiling_stops_with_a_clear_line() {
    let mut command = example();
    command.args([
        "--seconds",
        "1",
        "--ceiling",
        "1KiB",
        "--pace",
        "64KiB",
        "--plot",
        "callback_vs_stream_ceiling.svg",
    ]);
    let (output, out, err) = output(&mut command);
    assert!(output.status.success(), "{out}{err}");
    let line = out.lines().find(|line| line.starts_with("receive, event API")).expect("a line of the first run");
    assert!(line.contains("stopped: ") && line.contains(" waiting after "), "{line}");
}

#[test]
fn bad_arguments_are_told_what_was_expected() {
    let cases: [(&[&str], &str); 11] = [
        (&["--seconds", "0"], "expected a number of seconds"),
        (&["--seconds", "soon"], "expected a number of seconds"),
        (&["--message-size", "3"], "expected a size from 96 B"),
        (&["--ceiling", "much"], "expected a size above 0"),
        (&["--pace", "0"], "expected a size above 0"),
        (&["--url", "http://localhost/"], "expected a WebSocket URL"),
        (&["--url", "localhost"], "expected a WebSocket URL"),
        (&["--plot", "curves.png"], "expected the name of an SVG file"),
        (&["--plot", "no/such/folder/curves.svg"], "cannot write --plot"),
        (&["--colour", "red"], "unexpected argument '--colour'"),
        (&["faster"], "'faster'"),
    ];
    for (args, expected) in cases {
        let (output, out, err) = output(example().args(args));
        assert!(!output.status.success(), "{args:?}: {out}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let (listener, url) = listen();
    drop(listener);
    let (output, out, err) = output(example().args(["--url", &url]));
    assert!(!output.status.success(), "{out}");
    assert!(err.contains(&url), "{err}");
}

#[test]
fn a_server_that_echoes_is_sent_ticks_first() {
    let (listener, url) = listen();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut ws = accept(socket);
                while let Ok(message) = ws.read() {
                    if message.is_text() && ws.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut command = example();
    command.args(["--seconds", "0.5", "--pace", "128KiB", "--plot", "callback_vs_stream_echo.svg", "--url", &url]);
    let (output, out, err) = output(&mut command);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("which echoes"), "{out}");
    let waiting = |run| bytes(row(&out, run)[2]);
    assert!(waiting("receive, event API") > 2.0 * waiting("receive, stream"), "{out}");
    assert_eq!(row(&out, "send, stream").len(), 5, "{out}");
}

#[test]
fn a_server_that_only_listens_gets_no_receive_runs() {
    let (listener, url) = listen();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut ws = accept(socket);
                while ws.read().is_ok() {}
            });
        }
    });
    let mut command = example();
    command.args(["--seconds", "0.5", "--plot", "callback_vs_stream_listen.svg", "--url", &url]);
    let (output, out, err) = output(&mut command);
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.matches("left out: the server sends nothing and echoes nothing").count(), 2, "{out}");
    assert_eq!(row(&out, "send, event API").len(), 5, "{out}");
    assert_eq!(row(&out, "send, stream").len(), 5, "{out}");
}

#[test]
fn the_embedded_server_does_not_outlive_its_parent() {
    let mut parent = Killed::start(&["--seconds", "60", "--plot", "callback_vs_stream_killed.svg"]);
    let stdout = parent.process.stdout.take().expect("its standard output");
    let first = BufReader::new(stdout).lines().next().expect("a first line").expect("text");
    assert!(first.starts_with("embedded server at ws://"), "{first}");
    parent.kill_and_wait_for_its_children();
}

#[test]
fn a_run_does_not_outlive_its_parent() {
    let (listener, url) = listen();
    let parent = Killed::start(&["--seconds", "60", "--plot", "callback_vs_stream_killed.svg", "--url", &url]);
    let mut probe = accept(listener.accept().expect("the parent, to see what the server does").0);
    for message in ["one", "two"] {
        probe.send(message.into()).expect("the parent listens");
    }
    let mut run = accept(listener.accept().expect("the first run").0);
    parent.kill_and_wait_for_its_children();
    assert!(run.read().is_err());
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    (listener, url)
}

fn accept(socket: TcpStream) -> WebSocket<TcpStream> {
    tungstenite::accept(socket).expect("a WebSocket handshake")
}

/// The example, to be killed. Its standard error is a pipe, which its children inherit: it ends with the last of them.
struct Killed {
    process: Child,
    stderr: ChildStderr,
}

impl Killed {
    fn start(args: &[&str]) -> Self {
        let mut command = example();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the example can be started");
        let stderr = process.stderr.take().expect("its standard error");
        Self { process, stderr }
    }

    fn kill_and_wait_for_its_children(mut self) {
        self.process.kill().expect("the parent can be killed");
        self.process.wait().expect("the parent has ended");
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(self.stderr.read_to_end(&mut Vec::new())));
        end.recv_timeout(Duration::from_secs(20)).expect("no child is left").expect("a pipe can be read");
    }
}
