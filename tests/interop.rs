//! The client against servers that others wrote, over ws and wss: Python's `websockets` and Node's `ws`.
//!
//! `tests/interop.sh` installs them and runs this; `interop/server.py` says what they serve.

use std::{
    env,
    future::Future,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use futures::{FutureExt, SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use wsflow::{ClientBuilder, CloseFrame, Config, Connector, Deflate, Error, InvalidResponse, Message, WebSocketStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const HAS_TLS: bool = cfg!(any(feature = "native-tls", feature = "rustls-tls"));
/// What one case may take, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let servers: Vec<_> = [("websockets", "INTEROP_PYTHON", "server.py"), ("ws", "INTEROP_NODE", "server.mjs")]
        .into_iter()
        .filter_map(|(name, variable, script)| Some((name, env::var_os(variable)?, script)))
        .collect();
    if servers.is_empty() {
        println!("interop: nothing to run against; tests/interop.sh runs this with servers");
        return ExitCode::SUCCESS;
    }

    let certificates = Certificates::generate();
    let mut failures = 0;
    for (name, program, script) in servers {
        for scheme in if HAS_TLS { ["ws", "wss"].as_slice() } else { &["ws"] } {
            let tls = (*scheme == "wss").then_some(&certificates);
            let mut peer = Peer::start(format!("{name} {scheme}"), Command::new(&program), script, tls).await;
            failures += run_all(&mut peer, &certificates).await;
        }
    }
    println!("interop: {}", if failures == 0 { "all passed".into() } else { format!("{failures} FAILED") });
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run_all(peer: &mut Peer, certificates: &Certificates) -> usize {
    let name = peer.name.clone();
    let mut failures = 0;
    failures += case(&name, "echo, texts and binaries up to 16 MiB", echo_of_all_sizes(peer)).await;
    failures += case(&name, "receive 20 000 x 1 KiB", receive(peer, 20_000, KIB)).await;
    failures += case(&name, "receive 64 x 1 MiB", receive(peer, 64, MIB)).await;
    failures += case(&name, "send 20 000 x 1 KiB", send(peer, 20_000, KIB)).await;
    failures += case(&name, "send 64 x 1 MiB", send(peer, 64, MIB)).await;
    failures += case(&name, "echo, both ways at once, 20 000", both_ways_at_once(peer, 20_000)).await;
    failures += case(&name, "the server closes", the_server_closes(peer)).await;
    failures += case(&name, "the client closes", the_client_closes(peer)).await;
    failures += case(&name, "the client closes in full flow", the_client_closes_in_full_flow(peer)).await;
    failures += case(&name, "subprotocols", subprotocols(peer)).await;
    failures += case(&name, "deflate: nothing is offered by default", no_compression_by_default(peer)).await;
    for has_context_takeover in [true, false] {
        let takeover = if has_context_takeover { "" } else { ", no takeover" };
        let what = format!("deflate: windows by the client{takeover}");
        failures += case(&name, &what, windows_by_the_client(peer, has_context_takeover)).await;
        let what = format!("deflate: windows by the server{takeover}");
        failures += case(&name, &what, windows_by_the_server(peer, has_context_takeover)).await;
    }
    failures += case(&name, "deflate: receive 20 000 x 1 KiB", receive_compressed(peer, 20_000, KIB)).await;
    failures += case(&name, "deflate: receive 64 x 1 MiB", receive_compressed(peer, 64, MIB)).await;
    if let Ok(example) = env::var("INTEROP_MAIN_JOB") {
        failures += case(&name, &example, main_job(peer, &example, certificates)).await;
    }
    failures
}

/// Runs one case, prints its result and returns how many failed: 0 or 1.
async fn case(peer: &str, name: &str, run: impl Future<Output = ()>) -> usize {
    let start = Instant::now();
    let outcome = tokio::time::timeout(DEADLINE, AssertUnwindSafe(run).catch_unwind()).await;
    let verdict = match outcome {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) => "FAILED",
        Err(_) => "FAILED: too slow",
    };
    println!("{peer:15} {name:40} {:8.3} s  {verdict}", start.elapsed().as_secs_f64());
    usize::from(verdict != "ok")
}

async fn echo_of_all_sizes(peer: &Peer) {
    let mut ws = peer.connect("/echo").await;
    for size in [0, 1, 125, 126, 65_535, 65_536, MIB, 16 * MIB] {
        let letters: String = (b'a'..=b'z').cycle().take(size).map(char::from).collect();
        for message in [Message::from(letters), Message::from(content(size, size))] {
            assert_echo(&mut ws, message).await;
        }
    }
    for text in ["Grüße aus Köln", "世界", "🦀", &"é€𐍈".repeat(50_000)] {
        assert_echo(&mut ws, Message::from(text)).await;
    }
    close(ws).await;
}

async fn assert_echo(ws: &mut WebSocketStream, message: Message) {
    ws.send(message.clone()).await.unwrap();
    let answer = ws.next().await.unwrap().unwrap();
    assert_eq!((answer.is_text(), answer.len()), (message.is_text(), message.len()));
    assert!(answer == message, "the echo of {} bytes has other content", message.len());
}

async fn receive(peer: &Peer, count: usize, size: usize) {
    receive_all(peer.connect(&format!("/source?count={count}&size={size}")).await, count, size).await;
}

async fn receive_compressed(peer: &Peer, count: usize, size: usize) {
    let path = format!("/source?count={count}&size={size}&deflate");
    receive_all(peer.connect_compressed(&path, Deflate::default()).await, count, size).await;
}

async fn receive_all(mut ws: WebSocketStream, count: usize, size: usize) {
    let pattern = content(0, size + PERIOD);
    for number in 0..count {
        let message = ws.next().await.unwrap().unwrap();
        assert_eq!((message.is_binary(), message.len()), (true, size), "message {number}");
        assert!(message.as_bytes() == &pattern[number % PERIOD..][..size], "message {number} has other content");
    }
    assert!(ws.next().await.is_none());
    let closed = ws.closed().unwrap();
    assert!(closed.was_clean && closed.code == 1000, "{closed}");
}

async fn send(peer: &Peer, count: usize, size: usize) {
    let mut ws = peer.connect("/sink").await;
    for number in 0..count {
        ws.feed(content(number, size).into()).await.unwrap();
    }
    ws.flush().await.unwrap();
    assert_eq!(ws.buffered_amount(), 0);
    ws.send("done".into()).await.unwrap();
    let answer = ws.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::from(format!("{count} {}", count * size)));
    close(ws).await;
}

async fn both_ways_at_once(peer: &Peer, count: usize) {
    let (mut sink, mut stream) = peer.connect("/echo").await.split();
    let sender = tokio::spawn(async move {
        for number in 0..count {
            sink.feed(content(number, number % 2000).into()).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    for number in 0..count {
        let message = stream.next().await.unwrap().unwrap();
        assert!(message == Message::from(content(number, number % 2000)), "message {number} has other content");
    }
    close(sender.await.unwrap().reunite(stream).unwrap()).await;
}

async fn the_server_closes(peer: &Peer) {
    let mut ws = peer.connect("/close?code=4001&reason=maintenance").await;
    assert!(ws.next().await.is_none());
    let closed = ws.closed().unwrap();
    assert!(closed.was_clean && closed.code == 4001 && closed.reason == "maintenance", "{closed}");
}

async fn the_client_closes(peer: &mut Peer) {
    // `ws` still lives when the server says that the connection ended: the client has ended TCP by itself.
    let mut ws = peer.connect("/closed").await;
    let closed = ws.close_with(CloseFrame::new(4002, "Tschüß")).await.unwrap();
    assert!(closed.was_clean && closed.code == 4002, "{closed}");
    assert_eq!(peer.line().await, "4002 Tschüß");

    let mut ws = peer.connect("/closed").await;
    SinkExt::close(&mut ws).await.unwrap();
    assert!(ws.closed().unwrap().was_clean);
    assert_eq!(peer.line().await.trim_end(), "1005");
}

async fn the_client_closes_in_full_flow(peer: &Peer) {
    for _ in 0..2 {
        let mut ws = peer.connect("/ticks").await;
        for seq in 1..=5000 {
            let tick = ws.next().await.unwrap().unwrap();
            assert!(tick.as_text().unwrap().ends_with(&format!("\"seq\":{seq}}}")), "tick {seq}: {tick:?}");
        }
        close(ws).await;
    }
}

async fn subprotocols(peer: &Peer) {
    let ws = peer.connect("/echo").await;
    assert_eq!(ws.protocol(), "");
    close(ws).await;

    let ws = peer.connect_with("/echo", &["v2.feed", "v1.feed"]).await.unwrap();
    assert_eq!(ws.protocol(), "v1.feed");
    close(ws).await;

    let refused = peer.connect_with("/echo", &["v2.feed"]).await.unwrap_err();
    let Error::Handshake(refused) = refused else { panic!("{refused}") };
    assert!(matches!(refused.cause, InvalidResponse::NoSubprotocol), "{refused}");
}

async fn no_compression_by_default(peer: &Peer) {
    let ws = peer.connect("/echo?deflate").await;
    assert_eq!(ws.extensions(), "");
    close(ws).await;
}

/// The client asks for each size of a window, for both sides.
async fn windows_by_the_client(peer: &Peer, has_context_takeover: bool) {
    let takeover = Deflate::default()
        .client_no_context_takeover(!has_context_takeover)
        .server_no_context_takeover(!has_context_takeover);
    for bits in 8..=15 {
        // No zlib has a window of 8 bits: `websockets` agrees to it and cannot compress.
        let server_bits = if peer.name.starts_with("websockets") { bits.max(9) } else { bits };
        let deflate = takeover.clone().client_max_window_bits(bits).server_max_window_bits(server_bits);
        echo_compressed(peer, "/echo?deflate", deflate, [bits, server_bits], has_context_takeover).await;
    }
}

/// The server asks for each size of a window, of a client that sends a bare offer.
async fn windows_by_the_server(peer: &Peer, has_context_takeover: bool) {
    let takeover = if has_context_takeover { "" } else { "&no_takeover" };
    for bits in 8..=15 {
        let server_bits = if peer.name.starts_with("websockets") { bits.max(9) } else { bits };
        let path = format!("/echo?deflate&client_bits={bits}&server_bits={server_bits}{takeover}");
        echo_compressed(peer, &path, Deflate::default(), [bits, server_bits], has_context_takeover).await;
    }
}

/// Random messages there and back, of which each refers to those before.
async fn echo_compressed(peer: &Peer, path: &str, deflate: Deflate, [client, server]: [u8; 2], takeover: bool) {
    let mut ws = peer.connect_compressed(path, deflate).await;
    let extensions = ws.extensions().to_owned();
    // Without an answer the client keeps to what it said itself.
    for (name, bits) in [("client_max_window_bits", client), ("server_max_window_bits", server)] {
        let is_silent = name.starts_with("client") && path.ends_with("deflate") || bits == 15;
        let is_named = extensions.contains(&format!("{name}={bits}"));
        assert!(is_named || is_silent, "{name}={bits} is not in {extensions:?}");
    }
    assert_eq!(extensions.contains("server_no_context_takeover"), !takeover, "{extensions}");
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(client));
    for number in 0..40 {
        let len = random.below(if number % 10 == 9 { 200_000 } else { 2000 });
        let message = if number % 2 == 0 {
            Message::from((0..len).map(|_| WORDS[random.below(WORDS.len())]).collect::<String>())
        } else {
            // Noise, and noise that comes again within a window or just beyond.
            let noise: Vec<u8> = (0..len.min(600)).map(|_| random.next() as u8).collect();
            Message::from(noise.into_iter().cycle().take(len).collect::<Vec<u8>>())
        };
        if number % 7 == 6 {
            ws.set_compression(false);
            ws.feed(message.clone()).await.unwrap();
            ws.set_compression(true);
        }
        assert_echo(&mut ws, message.clone()).await;
        if number % 7 == 6 {
            assert!(ws.next().await.unwrap().unwrap() == message);
        }
    }
    let stats = ws.stats();
    let is_compressed = stats.wire_bytes_sent < stats.payload_bytes_sent;
    assert_eq!(is_compressed, client > 8, "{stats:?}");
    assert!(stats.wire_bytes_received < stats.payload_bytes_received, "{stats:?}");
    close(ws).await;
}

const WORDS: [&str; 12] =
    ["tick ", "price ", "Grüße ", "世界", "🦀", "a", "b", "{\"symbol\":\"WSF\"}", "\n", "0.5", "7", " and so on"];

/// xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// The example that measures the crate's main job, against this server instead of its own.
async fn main_job(peer: &Peer, example: &str, certificates: &Certificates) {
    // It is run as it was built: a cargo below cargo would build parts of it anew.
    let this = env::current_exe().unwrap();
    let status = Command::new(this.ancestors().nth(2).unwrap().join("examples").join(example))
        .args(["--seconds", "1", "--url", &format!("{}/ticks", peer.url), "--plot"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop.svg"))
        .env("SSL_CERT_FILE", &certificates.ca)
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    assert!(status.success(), "{status}");
}

async fn close(mut ws: WebSocketStream) {
    let closed = ws.close_with(CloseFrame::new(1000, "")).await.unwrap();
    assert!(closed.was_clean && closed.code == 1000, "{closed}");
}

/// The content of message `number`: its byte j is (number + j) % 251, as in `/source`. The period is prime, so that
/// bytes which moved by any power of two are noticed.
fn content(number: usize, size: usize) -> Vec<u8> {
    (number % PERIOD..).map(|byte| (byte % PERIOD) as u8).take(size).collect()
}

const PERIOD: usize = 251;

/// A server that runs as a child process, killed when this is dropped.
struct Peer {
    name: String,
    url: String,
    tls: Option<Connector>,
    stdout: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Peer {
    async fn start(name: String, mut command: Command, script: &str, tls: Option<&Certificates>) -> Self {
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script));
        if let Some(certificates) = tls {
            command.arg("--cert").arg(&certificates.chain).arg("--key").arg(&certificates.key);
        }
        // The servers end with their standard input: they do not outlive this process however it ends.
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the server starts");
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut peer =
            Self { name, url: String::new(), tls: tls.map(Certificates::connector), stdout, _process: process };
        let port = peer.line().await;
        peer.url = if tls.is_some() { format!("wss://localhost:{port}") } else { format!("ws://127.0.0.1:{port}") };
        peer
    }

    /// The next line that the server prints, soon.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(10), self.stdout.next_line()).await;
        line.expect("the server prints a line").unwrap().expect("the server runs")
    }

    async fn connect(&self, path: &str) -> WebSocketStream {
        self.connect_with(path, &[]).await.unwrap()
    }

    async fn connect_compressed(&self, path: &str, deflate: Deflate) -> WebSocketStream {
        let ws = self.open(path, |builder| builder.config(Config::default().deflate(deflate))).await.unwrap();
        assert!(ws.extensions().starts_with("permessage-deflate"), "{:?}", ws.extensions());
        ws
    }

    async fn connect_with(&self, path: &str, protocols: &[&str]) -> Result<WebSocketStream, Error> {
        self.open(path, |builder| builder.protocols(protocols.iter().copied())).await
    }

    async fn open(
        &self,
        path: &str,
        set: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<WebSocketStream, Error> {
        let mut builder = set(WebSocketStream::builder(format!("{}{path}", self.url)));
        if let Some(connector) = &self.tls {
            builder = builder.tls(connector.clone());
        }
        builder.connect().await
    }
}

/// A certificate authority made for this run and a certificate by it for this machine, as files.
struct Certificates {
    ca: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();

        let write = |name: &str, pem: String| {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        Self {
            ca: write("interop-ca.pem", ca.pem()),
            chain: write("interop-chain.pem", leaf.pem()),
            key: write("interop-key.pem", key.serialize_pem()),
        }
    }

    /// Trusts this authority alone.
    #[cfg(feature = "rustls-tls")]
    fn connector(&self) -> Connector {
        use rustls::pki_types::{CertificateDer, pem::PemObject};

        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Connector::Rustls(config.into())
    }

    /// Trusts this authority too.
    #[cfg(all(feature = "native-tls", not(feature = "rustls-tls")))]
    fn connector(&self) -> Connector {
        let ca = native_tls::Certificate::from_pem(&std::fs::read(&self.ca).unwrap()).unwrap();
        Connector::NativeTls(native_tls::TlsConnector::builder().add_root_certificate(ca).build().unwrap())
    }

    #[cfg(not(any(feature = "native-tls", feature = "rustls-tls")))]
    fn connector(&self) -> Connector {
        unreachable!("there is no wss without TLS")
    }
}
