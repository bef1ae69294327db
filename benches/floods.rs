//! How long a connection keeps its thread from others while its peer never stops talking, or takes whatever it is sent.
//!
//! Beside the task with the connection another one ticks on the same thread. `cargo bench --bench floods` takes a minute
//! and fails where the thread is kept too long; `cargo bench --bench floods -- TCP` runs the cases with that in their
//! names. Without `--bench` it only shows that they run.

use std::{
    env,
    io::{self, IoSlice},
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use testkit::flood::{AlwaysReady, Flood, PREPARED};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{self, Runtime},
    time::{MissedTickBehavior, interval, timeout},
};
use wsflow::{Config, Deflate, Message, UpgradedParts, WebSocketStream};
use wsflow_benches::{
    MIB,
    client::Io,
    flood,
    payload::Content,
    server::{Server, Task},
};

/// How often the other task wants to run.
const TICK: Duration = Duration::from_millis(10);

/// How far two ticks may be apart.
const MOST: Duration = Duration::from_millis(25);

/// When whoever waits for the connection gives up.
const TIMEOUT: Duration = Duration::from_millis(50);

/// When it must have given up.
const LATEST: Duration = Duration::from_millis(75);

/// A delay may be the machine's: one that is the connection's is there each time.
const TRIES: usize = 3;

/// What the task with the connection does.
#[derive(Debug, Clone, Copy)]
enum Case {
    ReadTcp(Flood),
    ReadMemory(Flood),
    /// Sends messages of so many bytes, in frames of one.
    Send(usize),
    SendCompressed(usize),
}

const CASES: [Case; 10] = [
    Case::ReadTcp(Flood::Pings),
    Case::ReadMemory(Flood::Pings),
    Case::ReadTcp(Flood::Pongs),
    Case::ReadMemory(Flood::Pongs),
    Case::ReadTcp(Flood::Fragments),
    Case::ReadMemory(Flood::Fragments),
    Case::ReadTcp(Flood::Messages),
    Case::ReadMemory(Flood::Messages),
    Case::SendCompressed(MIB),
    Case::Send(64 * MIB),
];

impl Case {
    fn name(self) -> String {
        match self {
            Self::ReadTcp(flood) => format!("read {}, TCP", flood.name()),
            Self::ReadMemory(flood) => format!("read {}, memory", flood.name()),
            Self::Send(size) => format!("send {} MiB in frames of 1 B, memory", size / MIB),
            Self::SendCompressed(size) => format!("send {} MiB in compressed frames of 1 B, memory", size / MIB),
        }
    }

    /// Uses a connection until its transport breaks, `time` after the first poll, and tells how many frames moved.
    ///
    /// All that takes long is done before the first poll.
    fn prepare(self, time: Duration) -> BoxFuture<'static, u64> {
        match self {
            Self::ReadTcp(flood) => {
                let server = Server::start(Task::Pour(flood.frames(PREPARED)), None);
                read(Breaking::after(time, server.connect()), flood).boxed()
            }
            Self::ReadMemory(flood) => {
                read(Breaking::after(time, AlwaysReady::pouring(flood, usize::MAX)), flood).boxed()
            }
            Self::Send(size) => send(time, None, Content::Binary.message(size)).boxed(),
            Self::SendCompressed(size) => send(time, Some(Deflate::default()), Content::Ascii.message(size)).boxed(),
        }
    }
}

async fn read<S: Io>(io: Breaking<S>, flood: Flood) -> u64 {
    let mut ws = flood::open(flood, io);
    while let Some(Ok(_)) = ws.next().await {}
    ws.stats().wire_bytes_received / flood.frame().len() as u64
}

async fn send(time: Duration, deflate: Option<Deflate>, message: Message) -> u64 {
    let extensions = if deflate.is_some() { "permessage-deflate" } else { "" }.to_owned();
    let config = Config::default().fragment_size(1).deflate(deflate);
    let io = Breaking::after(time, AlwaysReady::taking(usize::MAX));
    let mut ws =
        WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).config(config).extensions(extensions)).unwrap();
    let mut fed = 0;
    while ws.feed(message.clone()).await.is_ok() {
        fed += message.len() as u64;
        if ws.flush().await.is_err() {
            break;
        }
    }
    // Each byte is a frame.
    fed - ws.buffered_amount()
}

/// How far two ticks were apart at most, until it is over.
async fn longest_gap(is_over: Arc<AtomicBool>) -> Duration {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest
}

fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The longest gap between two ticks, and frames per second.
fn ticks_beside(case: Case, time: Duration) -> (Duration, f64) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let connection = case.prepare(time);
    runtime.block_on(async {
        let is_over = Arc::<AtomicBool>::default();
        // Spawned first, it is polled first.
        let ticks = tokio::spawn(longest_gap(Arc::clone(&is_over)));
        let start = Instant::now();
        let frames = tokio::spawn(connection).await.expect("no panic");
        let rate = frames as f64 / start.elapsed().as_secs_f64();
        is_over.store(true, Relaxed);
        (ticks.await.expect("no panic"), rate)
    })
}

/// After how long a timeout around the connection fires, if it does.
fn timeout_around(case: Case, time: Duration) -> Option<Duration> {
    let runtime = runtime();
    let _entered = runtime.enter();
    let connection = case.prepare(time);
    runtime.block_on(async {
        let start = Instant::now();
        timeout(TIMEOUT, connection).await.is_err().then(|| start.elapsed())
    })
}

/// A transport that breaks some time after it was first polled.
struct Breaking<S> {
    io: S,
    time: Duration,
    until: Option<Instant>,
}

impl<S> Breaking<S> {
    fn after(time: Duration, io: S) -> Self {
        Self { io, time, until: None }
    }

    /// The transport, as long as it is whole.
    fn io(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        let now = Instant::now();
        if now < *self.until.get_or_insert(now + self.time) {
            Ok(Pin::new(&mut self.io))
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

impl<S: Io> AsyncRead for Breaking<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_read(cx, buf)
    }
}

impl<S: Io> AsyncWrite for Breaking<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).map_or("", String::as_str);
    let (time, time_of_timeout, tries) = if is_bench {
        (Duration::from_secs(2), Duration::from_millis(500), TRIES)
    } else {
        (Duration::from_millis(100), Duration::from_millis(100), 1)
    };

    println!("{:<52} {:>12} {:>16} {:>14}", "", "longest gap", "items/s", "50 ms are over");
    let mut is_fair = true;
    for case in CASES.into_iter().filter(|case| case.name().contains(filter)) {
        let (mut gap, mut rate) = ticks_beside(case, time);
        for _ in 1..tries {
            if gap <= MOST {
                break;
            }
            let (other_gap, other_rate) = ticks_beside(case, time);
            (gap, rate) = (gap.min(other_gap), rate.max(other_rate));
        }
        let mut fired = timeout_around(case, time_of_timeout);
        for _ in 1..tries {
            if fired.is_some_and(|after| after <= LATEST) {
                break;
            }
            // None is the worst.
            let again = timeout_around(case, time_of_timeout);
            fired = fired.into_iter().chain(again).min();
        }
        let is_late = gap > MOST || fired.is_none_or(|after| after > LATEST);
        is_fair &= !is_late;
        println!(
            "{:<52} {:>9.1} ms {rate:>16.0} {:>14}{}",
            case.name(),
            gap.as_secs_f64() * 1e3,
            fired.map_or("never".to_owned(), |after| format!("{:.1} ms", after.as_secs_f64() * 1e3)),
            if is_late { "  too late" } else { "" },
        );
    }
    if !is_bench || is_fair {
        return ExitCode::SUCCESS;
    }
    eprintln!("floods: two ticks of {TICK:?} may be {MOST:?} apart, and {TIMEOUT:?} may last {LATEST:?}");
    ExitCode::FAILURE
}
