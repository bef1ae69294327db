//! The halves of a connection beside what is written with tokio-tungstenite: `split()`, a channel of tokio, and a task for
//! each direction. In the usual form (`recv`, `send`) and in the best one (`recv_many`, `feed`, one `flush`). And what a
//! `send` and a `flush` of each message cost over the halves, beside the stream in place and a bare hop to a task and back.
//!
//! `cargo bench --bench halves` takes some minutes and prints a table; `cargo bench --bench halves -- 'send.*64 B'` measures
//! what its rows match. Without `--bench` it only shows that they run. The server is a process of its own, so that the CPU
//! time is the client's.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cpu_time::ProcessTime;
use futures::{SinkExt as _, StreamExt as _, stream::SplitSink};
use tokio::{net::TcpStream, runtime, sync::mpsc, task::JoinSet};
use tokio_tungstenite::{
    WebSocketStream as Tungstenite,
    tungstenite::{Message as TungsteniteMessage, protocol::Role},
};
use wsflow::{Config, Message, WebSocketStream};

/// Messages that a channel holds.
const CHANNEL: usize = 1024;

/// Messages that `recv_many` takes at a time.
const BATCH: usize = 256;

const ROUNDS: usize = 5;

/// How much moves in a round, in bytes on the wire or in messages, whatever comes first.
const VOLUME: usize = 128 << 20;
const MESSAGES: usize = 400_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    Send,
    Receive,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    direction: Direction,
    size: usize,
    /// Of messages, where they are sent.
    producers: usize,
    threads: usize,
}

#[derive(Debug, Clone, Copy)]
enum Client {
    Halves,
    Usual,
    Best,
}

const CLIENTS: [Client; 3] = [Client::Halves, Client::Usual, Client::Best];

impl Row {
    fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        for direction in [Direction::Send, Direction::Receive] {
            for size in [64, 1024] {
                for threads in [1, 2] {
                    for producers in [1, 8] {
                        if direction == Direction::Send || producers == 1 {
                            rows.push(Self { direction, size, producers, threads });
                        }
                    }
                }
            }
        }
        rows
    }

    fn name(self) -> String {
        let Self { direction, size, producers, threads } = self;
        let size = if size == 1024 { "1 KiB".to_owned() } else { format!("{size} B") };
        let tasks = match direction {
            Direction::Send => format!("send {size}, {producers} producers"),
            Direction::Receive => format!("receive {size}"),
        };
        format!("{tasks}, {threads} threads")
    }

    /// How many messages a round has: as many from each producer.
    fn messages(self, is_short: bool) -> usize {
        let most = if is_short { 1000 } else { (VOLUME / self.size).min(MESSAGES) };
        most / self.producers * self.producers
    }
}

/// What a round took.
#[derive(Debug, Clone, Copy)]
struct Took {
    elapsed: Duration,
    cpu: Duration,
}

fn main() {
    let mut args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--server") {
        serve(&args[1], args[2].parse().expect("a size"));
        return;
    }
    let is_short = !args.iter().any(|arg| arg == "--bench");
    args.retain(|arg| !arg.starts_with("--"));
    println!("| | halves | usual form | best form | against the usual | against the best |");
    println!("|---|---|---|---|---|---|");
    for row in Row::all() {
        if args.iter().all(|filter| row.name().contains(filter)) {
            measure(row, is_short);
        }
    }
    if args.iter().all(|filter| "flush each".contains(filter)) {
        flush_each::measure(is_short);
    }
}

/// Rounds of all clients in turn, of which the median is printed: millions of messages a second, and CPU ns a message.
fn measure(row: Row, is_short: bool) {
    let messages = row.messages(is_short);
    let rounds = if is_short { 1 } else { ROUNDS };
    let mut took = [const { Vec::new() }; CLIENTS.len()];
    for _ in 0..rounds {
        for (client, took) in CLIENTS.iter().zip(&mut took) {
            took.push(round(*client, row, messages));
        }
    }
    let median = |took: &[Took], figure: fn(&Took) -> Duration| {
        let mut figures: Vec<f64> = took.iter().map(|took| figure(took).as_secs_f64() / messages as f64).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let elapsed = took.each_ref().map(|took| median(took, |took| took.elapsed));
    let cpu = took.each_ref().map(|took| median(took, |took| took.cpu));
    let figures =
        elapsed.iter().zip(&cpu).map(|(elapsed, cpu)| format!("{:.2} M/s, {:.0} ns", 1e-6 / elapsed, cpu * 1e9));
    let against = |other: usize| format!("{:.2}, CPU {:.2}", elapsed[other] / elapsed[0], cpu[other] / cpu[0]);
    let figures = figures.collect::<Vec<_>>().join(" | ");
    println!("| {} | {figures} | {} | {} |", row.name(), against(1), against(2));
}

fn round(client: Client, row: Row, messages: usize) -> Took {
    let server = Server::start(row);
    let runtime = match row.threads {
        1 => runtime::Builder::new_current_thread().enable_all().build(),
        threads => runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let took = runtime.expect("a runtime").block_on(async {
        let tcp = TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server listens");
        tcp.set_nodelay(true).expect("a TCP socket");
        // On a thread of the runtime, as the other tasks.
        tokio::spawn(async move {
            let (start, cpu) = (Instant::now(), ProcessTime::now());
            match row.direction {
                Direction::Send => send(client, row, tcp, messages).await,
                Direction::Receive => receive(client, tcp, messages).await,
            }
            Took { elapsed: start.elapsed(), cpu: cpu.elapsed() }
        })
        .await
        .expect("it does not panic")
    });
    server.finish();
    took
}

async fn send(client: Client, row: Row, tcp: TcpStream, messages: usize) {
    let payload = Bytes::from(vec![7; row.size]);
    let each = messages / row.producers;
    let mut producers = JoinSet::new();
    if let Client::Halves = client {
        // As many bytes as the channel holds, and no less than the default.
        let mark = Config::default().write_high_water_mark.max(CHANNEL * (row.size + 32));
        let config = Config::default().write_high_water_mark(mark);
        let (sender, _receiver) = WebSocketStream::from_upgraded(tcp, config).into_split();
        for _ in 0..row.producers {
            let (sender, payload) = (sender.clone(), payload.clone());
            producers.spawn(async move {
                for _ in 0..each {
                    sender.send(Message::Binary(payload.clone())).await.expect("open");
                }
            });
        }
        producers.join_all().await;
        sender.flush().await.expect("open");
        return;
    }
    let (sink, _stream) = Tungstenite::from_raw_socket(tcp, Role::Client, None).await.split();
    let (sender, receiver) = mpsc::channel(CHANNEL);
    for _ in 0..row.producers {
        let (sender, payload) = (sender.clone(), payload.clone());
        producers.spawn(async move {
            for _ in 0..each {
                sender.send(TungsteniteMessage::Binary(payload.clone())).await.expect("open");
            }
        });
    }
    drop(sender);
    let writer = match client {
        Client::Usual => tokio::spawn(write_usual(receiver, sink)),
        _ => tokio::spawn(write_best(receiver, sink)),
    };
    producers.join_all().await;
    writer.await.expect("it does not panic");
}

type Sink = SplitSink<Tungstenite<TcpStream>, TungsteniteMessage>;

async fn write_usual(mut receiver: mpsc::Receiver<TungsteniteMessage>, mut sink: Sink) {
    while let Some(message) = receiver.recv().await {
        sink.send(message).await.expect("open");
    }
}

async fn write_best(mut receiver: mpsc::Receiver<TungsteniteMessage>, mut sink: Sink) {
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        for message in batch.drain(..) {
            sink.feed(message).await.expect("open");
        }
        sink.flush().await.expect("open");
    }
}

async fn receive(client: Client, tcp: TcpStream, messages: usize) {
    let mut received = 0;
    if let Client::Halves = client {
        let (_sender, mut receiver) = WebSocketStream::from_upgraded(tcp, Config::default()).into_split();
        while received < messages {
            receiver.next().await.expect("open").expect("open");
            received += 1;
        }
        return;
    }
    let (_sink, mut stream) = Tungstenite::from_raw_socket(tcp, Role::Client, None).await.split();
    let (sender, mut receiver) = mpsc::channel(CHANNEL);
    tokio::spawn(async move {
        while let Some(message) = stream.next().await {
            if sender.send(message.expect("open")).await.is_err() {
                return;
            }
        }
    });
    match client {
        Client::Usual => {
            while received < messages {
                receiver.recv().await.expect("open");
                received += 1;
            }
        }
        _ => {
            let mut batch = Vec::with_capacity(BATCH);
            while received < messages {
                received += receiver.recv_many(&mut batch, BATCH).await;
                batch.clear();
            }
        }
    }
}

/// A `send` and a `flush` of each message, over a transport that takes all at once.
mod flush_each {
    use std::{
        io,
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
    };

    use cpu_time::ProcessTime;
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::{
        io::{AsyncRead, AsyncWrite, ReadBuf},
        runtime,
        sync::Notify,
    };
    use tokio_tungstenite::{
        WebSocketStream as Tungstenite,
        tungstenite::{Message as TungsteniteMessage, protocol::Role},
    };
    use wsflow::{Config, Message, WebSocketStream};

    const ROUNDS: usize = 21;

    /// A peer that takes everything and says nothing.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Silent {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Client {
        InPlace,
        /// In place, and a hop to a task and back.
        InPlaceAndHop,
        Halves,
        Tungstenite,
        TungsteniteSplit,
    }

    const CLIENTS: [Client; 5] =
        [Client::InPlace, Client::InPlaceAndHop, Client::Halves, Client::Tungstenite, Client::TungsteniteSplit];

    /// The lower quartile of all rounds, in CPU time: ns a message.
    pub(super) fn measure(is_short: bool) {
        let (rounds, messages) = if is_short { (1, 100) } else { (ROUNDS, 50_000) };
        println!();
        println!("| send and flush each, 64 B | in place | and a hop | halves | tungstenite | its split |");
        println!("|---|---|---|---|---|---|");
        for is_task in [false, true] {
            let mut took = [const { Vec::new() }; CLIENTS.len()];
            for _ in 0..rounds {
                for (client, took) in CLIENTS.iter().zip(&mut took) {
                    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    let ns = runtime.block_on(async {
                        match is_task {
                            true => tokio::spawn(round(*client, messages)).await.expect("it does not panic"),
                            false => round(*client, messages).await,
                        }
                    });
                    took.push(ns);
                }
            }
            let figures = took.map(|mut took| {
                took.sort_by(f64::total_cmp);
                format!("{:.0} ns", took[took.len() / 4])
            });
            println!("| from {} | {} |", if is_task { "a task" } else { "`block_on`" }, figures.join(" | "));
        }
    }

    async fn round(client: Client, messages: usize) -> f64 {
        let payload = bytes::Bytes::from_static(&[7; 64]);
        let message = || Message::Binary(payload.clone());
        let took = |start: ProcessTime| start.elapsed().as_nanos() as f64 / messages as f64;
        match client {
            Client::InPlace => {
                let mut ws = WebSocketStream::from_upgraded(Silent, Config::default());
                let start = ProcessTime::now();
                for _ in 0..messages {
                    ws.feed(message()).await.expect("open");
                    ws.flush().await.expect("open");
                }
                took(start)
            }
            Client::InPlaceAndHop => {
                let mut ws = WebSocketStream::from_upgraded(Silent, Config::default());
                let (there, back) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
                let (heard, answer) = (Arc::clone(&there), Arc::clone(&back));
                let task = tokio::spawn(async move {
                    loop {
                        heard.notified().await;
                        answer.notify_one();
                    }
                });
                let start = ProcessTime::now();
                for _ in 0..messages {
                    ws.feed(message()).await.expect("open");
                    ws.flush().await.expect("open");
                    there.notify_one();
                    back.notified().await;
                }
                let took = took(start);
                task.abort();
                took
            }
            Client::Halves => {
                let (sender, _receiver) = WebSocketStream::from_upgraded(Silent, Config::default()).into_split();
                let start = ProcessTime::now();
                for _ in 0..messages {
                    sender.send(message()).await.expect("open");
                    sender.flush().await.expect("open");
                }
                took(start)
            }
            Client::Tungstenite => {
                let mut ws = Tungstenite::from_raw_socket(Silent, Role::Client, None).await;
                let start = ProcessTime::now();
                for _ in 0..messages {
                    ws.send(TungsteniteMessage::Binary(payload.clone())).await.expect("open");
                }
                took(start)
            }
            Client::TungsteniteSplit => {
                let (mut sink, _stream) = Tungstenite::from_raw_socket(Silent, Role::Client, None).await.split();
                let start = ProcessTime::now();
                for _ in 0..messages {
                    sink.send(TungsteniteMessage::Binary(payload.clone())).await.expect("open");
                }
                took(start)
            }
        }
    }
}

/// A process of its own with a blocking socket, which knows no WebSocket.
struct Server {
    process: Child,
    /// It ends with this.
    _stdin: ChildStdin,
    port: u16,
}

impl Server {
    fn start(row: Row) -> Self {
        let task = if row.direction == Direction::Send { "drain" } else { "pour" };
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--server", task, &row.size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started");
        let (stdin, stdout) = (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a port");
        Self { process, _stdin: stdin, port: line.trim().parse().expect("a port") }
    }

    fn finish(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(task: &str, size: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let (mut socket, _) = listener.accept().expect("a client");
    if task == "drain" {
        let mut buf = vec![0; 64 << 10];
        while socket.read(&mut buf).is_ok_and(|n| n > 0) {}
        return;
    }
    let mut frame = match u8::try_from(size) {
        Ok(len) if len < 126 => vec![0x82, len],
        _ => [&[0x82, 126][..], &(size as u16).to_be_bytes()].concat(),
    };
    frame.resize(frame.len() + size, 7);
    let frames = frame.repeat((64 << 10) / frame.len());
    while socket.write_all(&frames).is_ok() {}
}
