//! A client of a gateway as Discord has one, against a real server, Node's `ws`: it has a heartbeat of its own, close codes decide
//! what comes next, and a session is resumed over connections and over a restart of the server.
//!
//! `tests/interop.sh` runs this; `interop/gateway.mjs` is the server.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use wsflow::{Backoff, CloseFrame, Config, Error, Reconnect, Retry, WebSocketStream};

/// What anything may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

// The client.

/// What is known of the session, over connections.
#[derive(Debug, Default)]
struct Session {
    id: Option<String>,
    seq: u64,
}

/// What the client tells its application.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Ready(String),
    Resumed,
    Event(u64),
}

/// Why a connection is given up by this side.
enum Broken {
    /// What was heard of the end is known to `Reconnect`.
    Ended,
    /// The heartbeat had no answer, or the server asked for another connection.
    Again,
}

/// Runs until an end is final, and gives that.
async fn run(url: String, token: &'static str, told: mpsc::UnboundedSender<Told>) -> Option<Error> {
    let session = Arc::new(Mutex::new(Session::default()));
    let mut connections = Reconnect::new(move || {
        // The heartbeat is the protocol's: pings beside it would find nothing that it does not.
        let config = Config::default().keepalive_interval(None);
        WebSocketStream::builder(url.clone()).config(config).connect()
    })
    .backoff(Backoff::default().initial(Duration::from_millis(20)).max(Duration::from_millis(200)))
    .retry({
        let session = Arc::clone(&session);
        move |end| match end.close_code().map(u16::from) {
            // Wrong token, shard, version or intents: it would be the same again.
            Some(4004 | 4010..=4014) => Retry::Never,
            // The session is gone.
            Some(4007 | 4009) => {
                *session.lock().unwrap() = Session::default();
                Retry::Backoff
            }
            // Also what the default would not come back from before the first success.
            _ => Retry::Backoff,
        }
    });
    while let Some(next) = connections.next().await {
        let mut ws = match next {
            Ok(ws) => ws,
            Err(end) => return Some(end),
        };
        if matches!(converse(&mut ws, token, &session, &told).await, Err(Broken::Again)) {
            // With 1000 or 1001 the session would end.
            let _ = ws.close_with(CloseFrame::new(4000, "resuming")).await;
        }
    }
    None
}

/// One connection, to its end.
async fn converse(
    ws: &mut WebSocketStream,
    token: &str,
    session: &Mutex<Session>,
    told: &mpsc::UnboundedSender<Told>,
) -> Result<(), Broken> {
    let hello = next(ws).await?;
    assert_eq!(hello["op"], 10, "{hello}");
    let period = Duration::from_millis(hello["d"]["heartbeat_interval"].as_u64().unwrap());
    let mut heartbeat = interval_at(Instant::now() + period, period);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_answered = true;

    let begin = {
        let session = session.lock().unwrap();
        match &session.id {
            Some(id) => json!({ "op": 6, "d": { "token": token, "session_id": id, "seq": session.seq } }),
            None => json!({ "op": 2, "d": { "token": token } }),
        }
    };
    send(ws, begin).await?;
    loop {
        let payload = tokio::select! {
            payload = next(ws) => payload?,
            _ = heartbeat.tick() => {
                if !std::mem::take(&mut is_answered) {
                    return Err(Broken::Again);
                }
                let seq = session.lock().unwrap().seq;
                send(ws, json!({ "op": 1, "d": seq })).await?;
                continue;
            }
        };
        match payload["op"].as_u64() {
            Some(0) => {
                let mut session = session.lock().unwrap();
                session.seq = payload["s"].as_u64().unwrap();
                let news = match payload["t"].as_str() {
                    Some("READY") => {
                        let id = payload["d"]["session_id"].as_str().unwrap().to_owned();
                        session.id = Some(id.clone());
                        Told::Ready(id)
                    }
                    Some("RESUMED") => Told::Resumed,
                    _ => Told::Event(payload["d"]["n"].as_u64().unwrap()),
                };
                told.send(news).unwrap();
            }
            Some(7) => return Err(Broken::Again),
            Some(9) => {
                *session.lock().unwrap() = Session::default();
                return Err(Broken::Again);
            }
            Some(11) => is_answered = true,
            op => panic!("opcode {op:?}"),
        }
    }
}

async fn next(ws: &mut WebSocketStream) -> Result<Value, Broken> {
    match ws.next().await {
        Some(Ok(message)) => Ok(serde_json::from_str(message.as_text().unwrap()).unwrap()),
        Some(Err(_)) | None => Err(Broken::Ended),
    }
}

/// A send that fails is no reason to give up: why is heard by reading on.
async fn send(ws: &mut WebSocketStream, payload: Value) -> Result<(), Broken> {
    if ws.send(payload.to_string().into()).await.is_err() {
        while let Some(Ok(_)) = ws.next().await {}
        return Err(Broken::Ended);
    }
    Ok(())
}

// The server, and the tests.

struct Gateway {
    node: PathBuf,
    state: PathBuf,
    port: String,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl Gateway {
    /// `None`: there is no Node to run it.
    async fn start(name: &str) -> Option<Self> {
        let Some(node) = env::var_os("INTEROP_NODE") else {
            println!("gateway: nothing to run against; tests/interop.sh runs this with a server");
            return None;
        };
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gateway-{name}.json"));
        let _ = std::fs::remove_file(&state);
        Some(Self::spawn(node.into(), state, "0").await)
    }

    async fn spawn(node: PathBuf, state: PathBuf, port: &str) -> Self {
        let mut process = Command::new(&node)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/gateway.mjs"))
            .args([Path::new(port), &state])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut gateway = Self { node, state, port: String::new(), stdin, stdout, process };
        gateway.port = gateway.line().await;
        gateway
    }

    /// Kills it: the system ends its connections, and nobody says Close. It comes back at the same address.
    async fn restart(self) -> Self {
        let Self { node, state, port, mut process, .. } = self;
        process.kill().await.unwrap();
        Self::spawn(node, state, &port).await
    }

    fn connect(&self, token: &'static str) -> (JoinHandle<Option<Error>>, mpsc::UnboundedReceiver<Told>) {
        let (tell, told) = mpsc::unbounded_channel();
        (tokio::spawn(run(format!("ws://127.0.0.1:{}/?v=10&encoding=json", self.port), token, tell)), told)
    }

    async fn say(&mut self, command: &str) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        line.expect("the server prints a line in time").unwrap().expect("the server runs")
    }

    /// The next line that is no heartbeat.
    async fn expect(&mut self, expected: &str) {
        let line = loop {
            let line = self.line().await;
            if !line.starts_with("heartbeat") {
                break line;
            }
        };
        assert_eq!(line, expected);
    }

    /// Waits for a heartbeat with this sequence number.
    async fn expect_heartbeat(&mut self, seq: u64) {
        while self.line().await != format!("heartbeat {seq}") {}
    }
}

async fn expect(told: &mut mpsc::UnboundedReceiver<Told>, expected: impl IntoIterator<Item = Told>) {
    for expected in expected {
        assert_eq!(timeout(PATIENCE, told.recv()).await.expect("news in time"), Some(expected));
    }
}

fn ready(session: &str) -> Told {
    Told::Ready(session.into())
}

#[tokio::test]
async fn close_codes_decide_what_comes_next() {
    let Some(mut gateway) = Gateway::start("codes").await else { return };
    let (client, mut told) = gateway.connect("secret");
    gateway.expect("identify").await;
    expect(&mut told, [ready("session-0")]).await;
    let mut session = 0;
    for (code, is_resumed) in
        [(4000, true), (4001, true), (4008, true), (4009, false), (1001, true), (4007, false), (1000, true)]
    {
        gateway.say("emit 2").await;
        let last = told_events(&mut told, 2).await;
        gateway.say(&format!("close {code}")).await;
        gateway.expect(&format!("closed {code}")).await;
        if is_resumed {
            gateway.expect(&format!("resume session-{session} {last}")).await;
            expect(&mut told, [Told::Resumed]).await;
        } else {
            session += 1;
            gateway.expect("identify").await;
            expect(&mut told, [ready(&format!("session-{session}"))]).await;
        }
    }
    gateway.say("close 4014").await;
    let end = timeout(PATIENCE, client).await.expect("an end in time").unwrap().expect("it is final");
    assert_eq!(end.close_code(), Some(4014.into()), "{end}");
}

/// Takes so many events, and gives the number of the last.
async fn told_events(told: &mut mpsc::UnboundedReceiver<Told>, count: usize) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        match timeout(PATIENCE, told.recv()).await.expect("an event in time") {
            Some(Told::Event(n)) => {
                assert!(last == 0 || n == last + 1, "{n} behind {last}");
                last = n;
            }
            other => panic!("{other:?}"),
        }
    }
    last
}

#[tokio::test]
async fn a_wrong_token_is_final() {
    let Some(mut gateway) = Gateway::start("token").await else { return };
    let (client, _told) = gateway.connect("wrong");
    gateway.expect("identify").await;
    let end = timeout(PATIENCE, client).await.expect("an end in time").unwrap().expect("it is final");
    assert_eq!(end.to_string(), "the connection was closed with code 4004 (Authentication failed.)");
}

#[tokio::test]
async fn the_heartbeat_is_the_protocols_own_and_a_zombie_is_left_for_a_resume() {
    let Some(mut gateway) = Gateway::start("heartbeat").await else { return };
    let (client, mut told) = gateway.connect("secret");
    gateway.expect("identify").await;
    expect(&mut told, [ready("session-0")]).await;
    gateway.expect_heartbeat(1).await;
    gateway.say("emit 3").await;
    gateway.expect_heartbeat(4).await;
    gateway.say("mute").await;
    gateway.expect("closed 4000").await;
    gateway.expect("resume session-0 4").await;
    expect(&mut told, [Told::Event(2), Told::Event(3), Told::Event(4), Told::Resumed]).await;
    client.abort();
}

#[tokio::test]
async fn the_server_asks_for_another_connection_or_for_another_session() {
    let Some(mut gateway) = Gateway::start("opcodes").await else { return };
    let (client, mut told) = gateway.connect("secret");
    gateway.expect("identify").await;
    expect(&mut told, [ready("session-0")]).await;
    gateway.say("reconnect").await;
    gateway.expect("closed 4000").await;
    gateway.expect("resume session-0 1").await;
    expect(&mut told, [Told::Resumed]).await;
    gateway.say("invalid").await;
    gateway.expect("closed 4000").await;
    gateway.expect("identify").await;
    expect(&mut told, [ready("session-1")]).await;
    client.abort();
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_the_server_and_no_event_is_lost() {
    let Some(mut gateway) = Gateway::start("restart").await else { return };
    let (client, mut told) = gateway.connect("secret");
    gateway.expect("identify").await;
    expect(&mut told, [ready("session-0")]).await;
    for round in 0..3 {
        gateway.say("emit 100").await;
        // It is killed in full flow, before any of these need have been heard, and then behind some: the others come with the
        // resume.
        if round > 0 {
            while !matches!(timeout(PATIENCE, told.recv()).await.expect("news in time"), Some(Told::Event(_))) {}
        }
        let saved = loop {
            let state: Value = serde_json::from_slice(&std::fs::read(&gateway.state).unwrap()).unwrap_or_default();
            match state["session-0"].as_u64() {
                Some(last) if last == 1 + 100 * (round + 1) => break last,
                _ => tokio::task::yield_now().await,
            }
        };
        gateway = gateway.restart().await;
        let line = gateway.line().await;
        let seq: u64 = line.strip_prefix("resume session-0 ").expect(&line).parse().unwrap();
        assert!(seq <= saved, "{line}");
        let mut last = 0;
        loop {
            match timeout(PATIENCE, told.recv()).await.expect("news in time").expect("the client runs") {
                Told::Event(n) => {
                    assert!(last == 0 || n == last + 1, "{n} behind {last}");
                    last = n;
                }
                Told::Resumed => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(last, saved);
    }
    client.abort();
}
