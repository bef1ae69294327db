//! Hostile servers: what each costs in memory and in time, how it ends, and that other tasks of the thread still run.
//!
//! Each server is met in every [`Way`] in which a client may receive. A [`Row`] says once what comes of it, and what does in
//! the ways that differ: limits of whole messages do not bound a reader, which holds no whole message.
//!
//! Each test prints its figures, which `cargo test --test memory hostile:: -- --nocapture` shows.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use cpu_time::ThreadTime;
use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _, future::join};
use testkit::{
    deflate::Compressor,
    flood::Flood,
    frame::{BINARY, CLOSE, CONTINUATION, PING, RSV1, TEXT, close_body, encode, long_head},
    heap,
    request::Head,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime,
    time::{Sleep, advance, sleep},
};
use wsflow::{
    CloseFrame, Closed, Config, Deflate, Error, InvalidResponse, LimitExceeded, Message, MessageReader, Phase,
    Receiver, Sender, Transport, UpgradedParts, Violation, WebSocketStream, compat::WebSocket,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const MILLION: usize = 1_000_000;

/// By how much the other task moves the clock each time it runs.
const BEAT: Duration = Duration::from_millis(1);

/// The most that a connection may work before another task runs, in time of the CPU: the machine may be busy.
const MOST_WORK: Duration = Duration::from_millis(100);

/// The most that a connection may read before another task runs, where it does nothing but copy it, or discard it.
const MOST_READ: usize = 3 * MIB;

/// The most that one read gives, as with a socket.
const SOCKET: usize = 256 * KIB;

/// How the server's side ends, once all was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Silence,
    Eof,
}

/// A transport with a server behind it that says what was made beforehand. It is ready whenever it is polled, unless it
/// has a pace, and allocates nothing.
struct Server {
    /// What is said, and how often.
    parts: Vec<(Vec<u8>, usize)>,
    /// The part that is being said, how often it was said already, and how much of it is read.
    at: (usize, usize, usize),
    then: Then,
    /// The most that one read gives.
    at_a_time: usize,
    /// How long the server waits before each read.
    pace: Option<(Duration, Pin<Box<Sleep>>)>,
    /// The most that one write takes.
    takes: usize,
    /// How many bytes the server still takes before it says anything.
    listens: usize,
    /// Who waits for it to speak.
    reader: Option<Waker>,
    read: Arc<AtomicUsize>,
    /// How many bytes it took.
    taken: Arc<AtomicUsize>,
    /// The request, until all of it has come and was answered; `None`: the connection is open from the start.
    request: Option<Vec<u8>>,
}

impl Server {
    fn saying(first: impl Into<Vec<u8>>) -> Self {
        let silent = Self {
            parts: Vec::new(),
            at: (0, 0, 0),
            then: Then::Silence,
            at_a_time: SOCKET,
            pace: None,
            takes: usize::MAX,
            listens: 0,
            reader: None,
            read: Arc::default(),
            taken: Arc::default(),
            request: None,
        };
        silent.and(first)
    }

    fn and(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and_again(bytes, 1)
    }

    fn and_again(mut self, bytes: impl Into<Vec<u8>>, times: usize) -> Self {
        let bytes = bytes.into();
        // A read of nothing would be the end.
        if !bytes.is_empty() {
            self.parts.push((bytes, times));
        }
        self
    }

    /// A Close frame that is as it should be, and the end.
    fn and_closes(self) -> Self {
        Self { then: Then::Eof, ..self.and(close(1000)) }
    }

    fn one_byte_at_a_time(self) -> Self {
        Self { at_a_time: 1, ..self }
    }

    /// With the opening handshake before.
    fn with_handshake(self) -> Self {
        Self { request: Some(Vec::new()), ..self }
    }

    /// Answers the request, once all of it has come.
    fn hear(&mut self, bytes: &[u8]) {
        let Some(request) = &mut self.request else { return };
        request.extend_from_slice(bytes);
        if request.ends_with(b"\r\n\r\n") {
            let answer = Head(String::from_utf8_lossy(request).into_owned())
                .answer("Sec-WebSocket-Extensions: permessage-deflate\r\n");
            self.parts.insert(0, (answer.into(), 1));
            self.request = None;
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// To be called within a runtime.
    fn one_byte_every(self, pace: Duration) -> Self {
        Self { pace: Some((pace, Box::pin(sleep(pace)))), ..self.one_byte_at_a_time() }
    }

    /// Of each write. With 0, writes wait for ever.
    fn that_takes(self, bytes: usize) -> Self {
        Self { takes: bytes, ..self }
    }

    /// It says nothing before.
    fn that_listens_first_to(self, bytes: usize) -> Self {
        Self { listens: bytes, ..self }
    }

    fn open(self, config: Config) -> WebSocketStream<Self> {
        let extensions = if config.deflate.is_some() { "permessage-deflate" } else { "" };
        let parts = UpgradedParts::new(self).extensions(extensions).config(config);
        WebSocketStream::from_upgraded_parts(parts).expect("extensions that were offered")
    }
}

impl AsyncRead for Server {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.listens > 0 || this.request.is_some() {
            this.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (part, time, at) = &mut this.at;
        let Some((bytes, times)) = this.parts.get(*part) else {
            return if this.then == Then::Eof { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        if let Some((pace, sleeping)) = &mut this.pace {
            ready!(sleeping.as_mut().poll(cx));
            *sleeping = Box::pin(sleep(*pace));
        }
        let n = (bytes.len() - *at).min(this.at_a_time).min(buf.remaining());
        buf.put_slice(&bytes[*at..*at + n]);
        *at += n;
        if *at == bytes.len() {
            (*time, *at) = (*time + 1, 0);
        }
        if *time == *times {
            (*part, *time) = (*part + 1, 0);
        }
        this.read.fetch_add(n, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = bytes.len().min(self.takes);
        if n == 0 {
            return Poll::Pending;
        }
        self.hear(&bytes[..n]);
        self.taken.fetch_add(n, Relaxed);
        self.listens = self.listens.saturating_sub(n);
        if self.listens == 0 {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a client had of a server.
#[derive(Debug, Default)]
struct Outcome {
    /// Whole ones.
    messages: usize,
    /// Of all messages together, also of one that a reader did not read to its end.
    bytes: usize,
    errors: Vec<Error>,
    /// How the connection ended, if it did.
    closed: Option<Closed>,
}

/// Whoever reads by chunks leaves when it has had so much.
const ENOUGH: usize = 80 * MIB;

impl Outcome {
    async fn of_messages(items: &mut (impl Stream<Item = Result<Message, Error>> + Unpin)) -> Self {
        let mut outcome = Self::default();
        while let Some(item) = items.next().await {
            match item {
                Ok(message) => {
                    outcome.messages += 1;
                    outcome.bytes += message.len();
                }
                Err(error) => outcome.errors.push(error),
            }
        }
        outcome
    }

    async fn of_chunks(source: &mut impl Readable) -> Self {
        let mut outcome = Self::default();
        while outcome.bytes < ENOUGH
            && let Some(reader) = source.next_reader().await
        {
            match reader {
                Ok(reader) => outcome.read(reader).await,
                Err(error) => outcome.errors.push(error),
            }
        }
        outcome
    }

    async fn read<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut reader: MessageReader<'_, S>) {
        while self.bytes < ENOUGH {
            match reader.chunk().await {
                Some(Ok(chunk)) => self.bytes += chunk.len(),
                Some(Err(error)) => return self.errors.push(error),
                None => {
                    self.messages += 1;
                    return;
                }
            }
        }
    }
}

/// What gives each message as a reader.
trait Readable {
    type Io: AsyncRead + AsyncWrite + Unpin + Send;

    fn next_reader(&mut self) -> impl Future<Output = Option<Result<MessageReader<'_, Self::Io>, Error>>> + Send;
}

impl Readable for WebSocketStream<Server> {
    type Io = Server;

    fn next_reader(&mut self) -> impl Future<Output = Option<Result<MessageReader<'_, Server>, Error>>> + Send {
        self.next_reader()
    }
}

impl Readable for Receiver {
    type Io = Transport;

    fn next_reader(&mut self) -> impl Future<Output = Option<Result<MessageReader<'_>, Error>>> + Send {
        self.next_reader()
    }
}

/// What a client does besides receiving.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Nothing,
    /// At once. It receives what comes meanwhile.
    Closes,
    /// A message of so many bytes.
    Sends(usize),
}

impl Deed {
    async fn in_place(self, ws: &mut WebSocketStream<Server>) {
        match self {
            Self::Nothing => {}
            Self::Closes => drop(ws.close_with(CloseFrame::new(1000, "bye")).await),
            // It leaves while the client receives.
            Self::Sends(len) => ws.feed(vec![7; len].into()).await.expect("it is open"),
        }
    }

    async fn by(self, sender: &Sender) {
        match self {
            Self::Nothing => {}
            Self::Closes => drop(sender.close_with(CloseFrame::new(1000, "bye")).await),
            Self::Sends(len) => sender.send(vec![7; len]).await.expect("it is open"),
        }
    }
}

/// How a client receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    InPlace,
    InPlaceByReader,
    Halves,
    HalvesByReader,
    /// Nobody receives for ten seconds, and then somebody does.
    HalvesLate,
}

impl Way {
    const ALL: [Self; 5] = [Self::InPlace, Self::InPlaceByReader, Self::Halves, Self::HalvesByReader, Self::HalvesLate];

    fn is_by_reader(self) -> bool {
        matches!(self, Self::InPlaceByReader | Self::HalvesByReader)
    }

    fn is_in_place(self) -> bool {
        matches!(self, Self::InPlace | Self::InPlaceByReader)
    }

    async fn receive(self, server: Server, config: Config, deed: Deed) -> Outcome {
        let mut ws = server.open(config);
        if self.is_in_place() {
            deed.in_place(&mut ws).await;
            let outcome = if self.is_by_reader() {
                Outcome::of_chunks(&mut ws).await
            } else {
                Outcome::of_messages(&mut ws).await
            };
            return Outcome { closed: ws.closed().cloned(), ..outcome };
        }
        let (sender, mut receiver) = ws.into_split();
        let receiving = async {
            if self == Self::HalvesLate {
                sleep(Duration::from_secs(10)).await;
            }
            let outcome = match self.is_by_reader() {
                true => Outcome::of_chunks(&mut receiver).await,
                false => Outcome::of_messages(&mut receiver).await,
            };
            Outcome { closed: receiver.closed().cloned(), ..outcome }
        };
        join(deed.by(&sender), receiving).await.1
    }
}

/// How it ends for a client.
#[derive(Debug)]
enum End {
    /// Cleanly, after so many messages, of so many bytes together.
    Clean(usize, usize),
    /// By the peer's Close with this code, before all was said.
    Unclean(u16),
    Violation(Violation),
    Limit(LimitExceeded),
    Timeout(Phase),
    Handshake(InvalidResponse),
    /// It does not end: the client had [`ENOUGH`].
    Enough,
}

impl End {
    fn is_of(&self, outcome: &Outcome) -> bool {
        let Outcome { messages, bytes, errors, closed } = outcome;
        let was_clean = closed.as_ref().map(|closed| closed.was_clean);
        match (self, &errors[..]) {
            (Self::Clean(expected, of), []) => (expected, of, was_clean) == (messages, bytes, Some(true)),
            (Self::Enough, []) => *bytes >= ENOUGH && was_clean.is_none(),
            (Self::Handshake(expected), [Error::Handshake(came)]) => came.cause == *expected && was_clean.is_none(),
            (Self::Timeout(Phase::Handshake), [Error::Timeout { phase, .. }]) => *phase == Phase::Handshake,
            // Each is told once, and the connection is closed by then.
            (_, [_]) if was_clean != Some(false) => false,
            (Self::Unclean(code), [Error::Closed(end)]) => end.code == *code && !end.was_clean,
            (Self::Violation(expected), [Error::ProtocolViolation(came)]) => came == expected,
            (Self::Limit(expected), [Error::Limit(came)]) => came == expected,
            (Self::Timeout(expected), [Error::Timeout { phase, .. }]) => phase == expected,
            _ => false,
        }
    }
}

/// The most that a client may need for a server.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// The most bytes of heap at a time.
    heap: usize,
    /// Seconds, of the CPU: the machine may be busy.
    seconds: u64,
    /// The most work before another task runs, in time of the CPU.
    wait: Duration,
}

/// The most for a server of which nothing is kept: its read buffer, and what is written.
const LITTLE: Most = Most { heap: 320 * KIB, seconds: 10, wait: MOST_WORK };

/// A server, and what comes of it.
struct Row {
    name: String,
    server: Box<dyn Fn() -> Server>,
    config: Config,
    deed: Deed,
    most: Most,
    /// The most bytes of heap, where a reader needs less.
    heap_by_reader: Option<usize>,
    /// What the halves may hold besides.
    halves_hold: usize,
    end: End,
    end_by_reader: Option<End>,
}

impl Row {
    fn new(name: impl Into<String>, server: impl Fn() -> Server + 'static, end: End) -> Self {
        Self {
            name: name.into(),
            server: Box::new(server),
            config: Config::default(),
            deed: Deed::Nothing,
            most: LITTLE,
            heap_by_reader: None,
            halves_hold: 0,
            end,
            end_by_reader: None,
        }
    }

    fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    fn client(self, deed: Deed) -> Self {
        Self { deed, ..self }
    }

    fn heap(self, heap: usize) -> Self {
        Self { most: Most { heap, ..self.most }, ..self }
    }

    /// Where a reader needs less than who asks for whole messages.
    fn heap_by_reader(self, heap: usize) -> Self {
        Self { heap_by_reader: Some(heap), ..self }
    }

    /// Where what has come fills [`Config::read_high_water_mark`].
    fn halves_hold(self, bytes: usize) -> Self {
        Self { halves_hold: bytes, ..self }
    }

    fn seconds(self, seconds: u64) -> Self {
        Self { most: Most { seconds, ..self.most }, ..self }
    }

    /// Where other tasks run sooner.
    fn wait(self, wait: Duration) -> Self {
        Self { most: Most { wait, ..self.most }, ..self }
    }

    /// Where it ends in another way by reader.
    fn by_reader(self, end: End) -> Self {
        Self { end_by_reader: Some(end), ..self }
    }

    /// Meets the server in each way, and tells all that is wrong with it.
    #[track_caller]
    fn run(self) {
        Self::run_all([self]);
    }

    #[track_caller]
    fn run_all(rows: impl IntoIterator<Item = Self>) {
        let each = |row: Self| Way::ALL.into_iter().flat_map(move |way| row.meet(way));
        let wrong: Vec<_> = rows.into_iter().flat_map(each).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn meet(&self, way: Way) -> Vec<String> {
        let (mut most, mut end) = (self.most, &self.end);
        if way.is_by_reader() {
            most = Most { heap: self.heap_by_reader.unwrap_or(most.heap), ..most };
            end = self.end_by_reader.as_ref().unwrap_or(end);
        }
        if !way.is_in_place() {
            most.heap += self.halves_hold;
        }
        let (config, deed) = (self.config.clone(), self.deed);
        let name = format!("{}, {way:?}", self.name);
        meet(&name, most, end, || (self.server)(), move |server| way.receive(server, config, deed))
    }
}

/// What this thread has worked so far, in time of the CPU.
fn worked() -> Duration {
    ThreadTime::now().as_duration()
}

/// Lets each task run once that is ready: tokio's `yield_now` lets them run several times.
async fn next_turn() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A client meets a server, on one thread with another task, which moves the clock. Returns what is wrong.
///
/// `prepare` makes the server; what this allocates is not counted.
fn meet<C>(
    name: &str,
    most: Most,
    end: &End,
    prepare: impl FnOnce() -> Server,
    client: impl FnOnce(Server) -> C,
) -> Vec<String>
where
    C: Future<Output = Outcome> + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let server = runtime.block_on(async { prepare() });
    let read = Arc::clone(&server.read);
    let start = worked();
    let ((outcome, longest, largest), peak) = heap::peak(|| {
        runtime.block_on(async {
            let client = client(server);
            let client = tokio::spawn(async {
                // The other task is the first.
                next_turn().await;
                client.await
            });
            let is_over = client.abort_handle();
            let read = Arc::clone(&read);
            let other = tokio::spawn(async move {
                let (mut longest, mut largest) = (Duration::ZERO, 0);
                while !is_over.is_finished() {
                    let before = (worked(), read.load(Relaxed));
                    let _ = advance(BEAT).now_or_never();
                    next_turn().await;
                    longest = longest.max(worked() - before.0);
                    largest = largest.max(read.load(Relaxed) - before.1);
                    if (worked() - start).as_secs() >= most.seconds {
                        is_over.abort();
                    }
                }
                (longest, largest)
            });
            let outcome = client.await;
            let (longest, largest) = other.await.expect("no panic");
            (outcome, longest, largest)
        })
    });
    let read = read.load(Relaxed);
    println!(
        "{name}: {} KiB of heap (at most {}), {:?} in all, {} KiB read, {longest:?} and {} KiB read before the other task \
         ran",
        peak / KIB,
        most.heap / KIB,
        worked() - start,
        read / KIB,
        largest / KIB
    );
    let outcome = match outcome {
        Ok(outcome) if end.is_of(&outcome) => None,
        Ok(outcome) => Some(format!("it ended with {outcome:?}, expected {end:?}")),
        Err(error) if error.is_cancelled() => Some(format!("no end after {} s, expected {end:?}", most.seconds)),
        Err(error) => Some(error.to_string()),
    };
    let wrong = [
        outcome,
        (peak > most.heap).then(|| format!("{peak} bytes of heap of at most {}", most.heap)),
        (longest > most.wait).then(|| format!("the other task waited for {longest:?}")),
        (largest > MOST_READ).then(|| format!("the other task waited while {largest} bytes were read")),
    ];
    wrong.into_iter().flatten().map(|wrong| format!("{name}: {wrong}")).collect()
}

/// Behind these the connection is not open, so that nobody receives.
#[track_caller]
fn assert_connecting(name: &str, most: Most, prepare: impl FnOnce() -> Server, end: End) {
    let connecting = |server| async {
        let connected = WebSocketStream::builder("ws://example.com/").connect_over(server).await;
        Outcome { errors: connected.err().into_iter().collect(), ..Outcome::default() }
    };
    let wrong = meet(name, most, &end, prepare, connecting);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn close(code: u16) -> Vec<u8> {
    encode(true, 0, CLOSE, &close_body(Some(code), ""))
}

/// A million of what the flood says, and then a Close.
fn a_million(flood: Flood) -> Server {
    let frames = flood.frames(2 * MILLION);
    let server = match flood {
        Flood::Fragments => {
            let (first, last) = (encode(false, 0, BINARY, b""), encode(true, 0, CONTINUATION, b""));
            Server::saying(first).and(frames).and(last)
        }
        Flood::Pings | Flood::Pongs | Flood::Messages => Server::saying(frames),
    };
    server.and_closes()
}

#[test]
fn a_declared_length_of_2_to_the_63_is_refused() {
    let server = || Server::saying(long_head(0x82, 1 << 63)).and([0; 1000]);
    Row::new("length of 2^63", server, End::Violation(Violation::LengthOverflow)).run();
}

#[test]
fn a_declared_length_of_2_to_the_62_allocates_1_mib_even_without_a_limit() {
    let server = || Server::saying(long_head(0x82, 1 << 62)).and([0; 1000]);
    // Nothing more comes, not even a pong.
    Row::new("length of 2^62, no limit", server, End::Timeout(Phase::Keepalive))
        .config(Config::default().max_message_size(None))
        .heap(MIB + 320 * KIB)
        .heap_by_reader(LITTLE.heap)
        .run();
}

const LIMIT: usize = 16 * MIB;

/// A message of one byte more than the limit, up to the payload that takes it beyond: of its only frame, or of its second.
/// With how much that frame declares.
fn beyond_the_limit() -> [(&'static str, Vec<u8>, usize); 2] {
    let first = encode(false, 0, BINARY, &[7; MIB]);
    let (whole, rest) = (LIMIT + 1, LIMIT + 1 - MIB);
    [
        ("its frame", long_head(0x80 | BINARY, whole as u64), whole),
        ("its second frame", [first, long_head(0x80 | CONTINUATION, rest as u64)].concat(), rest),
    ]
}

#[test]
fn a_message_that_declares_more_than_the_limit_is_refused_at_its_header() {
    Row::run_all(beyond_the_limit().map(|(name, begun, _)| {
        let server = move || Server::saying(begun.clone()).and([7; 1000]);
        let end = End::Limit(LimitExceeded::MessageSize { limit: LIMIT });
        Row::new(format!("{name} declares too much, and does not come"), server, end)
            .config(Config::default().max_message_size(LIMIT))
            .heap(3 * MIB)
            // A reader takes a message of any size.
            .by_reader(End::Timeout(Phase::Keepalive))
            .heap_by_reader(LITTLE.heap)
            .halves_hold(128 * KIB)
    }));
}

#[test]
fn of_a_message_above_the_limit_no_more_is_held_than_what_came_before_the_header_that_says_so() {
    Row::run_all(beyond_the_limit().map(|(name, begun, declared)| {
        let held = if declared > LIMIT { 0 } else { 2 * MIB };
        let server = move || Server::saying(begun.clone()).and(vec![7; declared]).and_closes();
        let end = End::Limit(LimitExceeded::MessageSize { limit: LIMIT });
        Row::new(format!("{name} declares too much, and comes"), server, end)
            .config(Config::default().max_message_size(LIMIT))
            .heap(LITTLE.heap + held)
            .by_reader(End::Clean(1, LIMIT + 1))
            .heap_by_reader(LITTLE.heap)
            .halves_hold(128 * KIB)
    }));
}

/// The buffer in which it is put together does not grow beyond the limit.
#[test]
fn a_message_as_large_as_the_limit_takes_little_more() {
    let server = || Server::saying(encode(true, 0, BINARY, &vec![7; LIMIT - 1])).and_closes();
    Row::new("a message as large as the limit", server, End::Clean(1, LIMIT - 1))
        .config(Config::default().max_message_size(LIMIT))
        .heap(LIMIT + MIB)
        .heap_by_reader(LITTLE.heap)
        .halves_hold(128 * KIB)
        .run();
}

#[test]
fn a_million_empty_fragments_end_at_the_limit() {
    let end = End::Limit(LimitExceeded::Fragments { limit: 65_536 });
    Row::new("a million empty fragments", || a_million(Flood::Fragments), end).by_reader(End::Clean(1, 0)).run();
}

#[test]
fn a_million_empty_fragments_behind_a_large_one_end_at_the_limit() {
    const LARGE: usize = 70_000;
    let server = || {
        let last = encode(true, 0, CONTINUATION, b"");
        Server::saying(encode(false, 0, BINARY, &[7; LARGE]))
            .and(Flood::Fragments.frames(2 * MILLION))
            .and(last)
            .and_closes()
    };
    let end = End::Limit(LimitExceeded::Fragments { limit: 65_536 });
    Row::new("70 000 bytes, and a million empty fragments", server, end)
        .by_reader(End::Clean(1, LARGE))
        .heap(LITTLE.heap + 2 * LARGE)
        .heap_by_reader(LITTLE.heap)
        .run();
}

#[test]
fn a_million_empty_fragments_without_a_limit_are_one_empty_message() {
    Row::new("a million empty fragments without a limit", || a_million(Flood::Fragments), End::Clean(1, 0))
        .config(Config::default().max_fragments(None))
        .run();
}

#[test]
fn a_flood_of_pings_ends_with_its_close() {
    assert_flood_is_survived(Flood::Pings, 0);
}

#[test]
fn a_flood_of_pongs_ends_with_its_close() {
    assert_flood_is_survived(Flood::Pongs, 0);
}

#[test]
fn of_a_flood_of_empty_messages_each_is_delivered() {
    assert_flood_is_survived(Flood::Messages, MILLION);
}

/// What the halves hold of empty messages: of each its bookkeeping, which takes more memory than it costs.
const MESSAGES_HELD: usize = MIB - LITTLE.heap;

#[track_caller]
fn assert_flood_is_survived(flood: Flood, messages: usize) {
    let name = format!("a million {}", flood.name());
    Row::new(name, move || a_million(flood), End::Clean(messages, 0)).halves_hold(MESSAGES_HELD).run();
}

#[test]
fn a_flood_of_pings_from_a_server_that_takes_no_pongs_stays_small() {
    // The server closed, but cannot have seen our answer.
    Row::new("a million pings, no pong is taken", || a_million(Flood::Pings).that_takes(0), End::Unclean(1000)).run();
}

/// 10 MiB that are 10 GiB of zeros, in one frame.
fn bomb() -> Server {
    let zeros = vec![0; MIB];
    let mut compressor = Compressor::new(9, true);
    let first = compressor.flushed(&zeros);
    // From the second time on it refers to zeros before it, and can be repeated.
    let (again, times) = (compressor.flushed(&zeros), 10 * KIB);
    let header = long_head(0x80 | 0x40 | BINARY, (first.len() + times * again.len()) as u64);
    Server::saying([header, first].concat()).and_again(again, times)
}

#[test]
fn a_deflate_bomb_ends_at_the_limit() {
    let end = End::Limit(LimitExceeded::MessageSize { limit: 4 * MIB });
    Row::new("a deflate bomb of 10 GiB, at most 4 MiB", bomb, end)
        .config(Config::default().deflate(Deflate::default()).max_message_size(4 * MIB))
        .heap(5 * MIB)
        .by_reader(End::Enough)
        .heap_by_reader(512 * KIB)
        .run();
}

/// Bits as deflate has them, the first ones lowest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for i in 0..count {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.len / 8] |= u8::from(value >> i & 1 == 1) << (self.len % 8);
            self.len += 1;
        }
    }

    /// A dynamic block with nothing in it (RFC 1951, section 3.2.7): its tables have a code for the end, and one distance.
    fn push_empty_dynamic_block(&mut self) {
        self.push(0b100, 3);
        // 257 lengths, 1 distance, and code lengths up to that of the length 1, which is the 18th.
        self.push(0, 5);
        self.push(0, 5);
        self.push(14, 4);
        for i in 0..18 {
            // Codes of one bit: the third is that of "as many zeros", the last that of the length 1.
            self.push(u32::from(i == 2 || i == 17), 3);
        }
        // Of the two, that of the length 1 is 0.
        for zeros in [138, 118] {
            self.push(1, 1);
            self.push(zeros - 11, 7);
        }
        self.push(0, 2);
        // The end of the block.
        self.push(0, 1);
    }
}

/// Messages that are cheap to make, and dear to inflate, or look so. With what comes of each.
fn dear_messages() -> [(&'static str, Vec<u8>, usize); 6] {
    let mut dynamic = Bits::default();
    for _ in 0..320 {
        dynamic.push_empty_dynamic_block();
    }
    // An empty stored block ends each, of which four bytes are left out (RFC 7692, section 7.2.1).
    dynamic.push(0, 8);
    [
        ("final blocks", [0x03, 0].repeat(8), 0),
        ("final blocks of one letter", [0x4b, 0x04, 0].repeat(8), 8),
        (
            "final blocks behind 32 KiB",
            [Compressor::new(9, true).flushed(&[7; 32 * KIB]), [0x03, 0].repeat(8)].concat(),
            32 * KIB,
        ),
        ("dynamic blocks", dynamic.bytes, 0),
        ("stored blocks", [[0, 0, 0, 0xff, 0xff].repeat(800), vec![0]].concat(), 0),
        ("nothing", vec![0], 0),
    ]
}

/// A server that says some 192 KiB of these messages, and how many they are.
fn dear_server(body: &[u8]) -> (impl Fn() -> Server + 'static + use<>, usize) {
    let message = encode(true, RSV1, BINARY, body);
    let at_once = 64 * KIB / message.len();
    (move || Server::saying([]).and_again(message.repeat(at_once), 3).and_closes(), 3 * at_once)
}

#[test]
fn messages_of_blocks_that_say_little_keep_nobody_waiting() {
    Row::run_all(dear_messages().map(|(name, body, len)| {
        let (server, count) = dear_server(&body);
        let end =
            |by_reader| if by_reader && count * len > ENOUGH { End::Enough } else { End::Clean(count, count * len) };
        Row::new(format!("192 KiB of messages of {name}"), server, end(false))
            .by_reader(end(true))
            .wait(Duration::from_millis(25))
            .config(Config::default().deflate(Deflate::default()))
            .halves_hold(MESSAGES_HELD)
    }));
}

#[test]
fn messages_of_blocks_that_say_little_keep_nobody_waiting_in_the_event_api() {
    for (name, body, len) in dear_messages() {
        let (server, count) = dear_server(&body);
        let listening = |server: Server| async {
            let outcome = Arc::new(Mutex::new(Outcome::default()));
            let (counted, ended) = (Arc::clone(&outcome), Arc::clone(&outcome));
            let ws = WebSocket::builder("ws://example.com/")
                .expect("a URL")
                .config(Config::default().deflate(Deflate::default()))
                .on_message(move |_, event| {
                    let mut counted = counted.lock().expect("no panic");
                    counted.messages += 1;
                    counted.bytes += event.data.len();
                })
                .on_close(move |_, event| {
                    let closed = Closed::new(event.code, event.reason.clone(), event.was_clean);
                    ended.lock().expect("no panic").closed = Some(closed);
                })
                .connect_over(server);
            ws.closed().await;
            std::mem::take(&mut *outcome.lock().expect("no panic"))
        };
        let most = Most { wait: Duration::from_millis(25), ..LITTLE };
        let end = End::Clean(count, count * len);
        let name = format!("192 KiB of messages of {name}, event API");
        let wrong = meet(&name, most, &end, || server().with_handshake(), listening);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// It has read them all before it closes, and nothing of them was answered.
#[test]
fn of_60_000_pings_before_our_close_the_latest_are_answered() {
    const PINGS: usize = 60_000;
    let closing = |server: Server| async move {
        let mut ws = server.open(Config::default());
        let first = ws.next().await.expect("a message").expect("a message");
        let closed = ws.close_with(CloseFrame::new(1000, "bye")).await.expect("a clean end");
        Outcome { messages: 1, bytes: first.len(), closed: Some(closed), ..Outcome::default() }
    };
    let taken = Arc::new(AtomicUsize::new(0));
    let server = || {
        let said = [encode(true, 0, BINARY, b"x"), encode(true, 0, PING, b"").repeat(PINGS)].concat();
        Server { taken: Arc::clone(&taken), ..Server::saying(said).and_closes() }
    };
    let start = worked();
    let wrong = meet("60 000 pings, and our Close", LITTLE, &End::Clean(1, 1), server, closing);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (taken, worked) = (taken.load(Relaxed), worked() - start);
    // Each pong is 6 bytes, each batch of them 16.
    assert!(taken < 6 * PINGS / 50, "{taken} bytes");
    assert!(worked < Duration::from_millis(300), "{worked:?}");
}

const STATUS_LINE: &str = "HTTP/1.1 101 Switching Protocols\r\n";

#[test]
fn a_101_of_endless_headers_ends_at_64_kib() {
    for (name, said) in [("headers", "X-More: and more\r\n"), ("a header", "more")] {
        let server = || Server::saying(STATUS_LINE).and("A: b\r\nC: ").and_again(said, usize::MAX);
        let expected = InvalidResponse::HeadTooLarge { limit: 64 * KIB };
        assert_connecting(&format!("a 101 with {name} without end"), LITTLE, server, End::Handshake(expected));
    }
}

#[test]
fn a_handshake_that_dribbles_ends_after_its_30_s() {
    let most = Most { heap: 64 * KIB, ..LITTLE };
    let server = || Server::saying(STATUS_LINE).and_again("A: b\r\n", MILLION).one_byte_every(Duration::from_secs(1));
    assert_connecting("a handshake that dribbles", most, server, End::Timeout(Phase::Handshake));
}

#[test]
fn a_close_frame_that_breaks_off_ends_by_keepalive() {
    let server = || Server::saying([0x88, 125, 0x03, 0xe8]);
    Row::new("a Close frame that breaks off", server, End::Timeout(Phase::Keepalive)).heap(64 * KIB).run();
}

/// The rest of the message is not lost in silence (RFC 6455, section 5.4: the message has no end).
#[test]
fn a_close_within_a_message_is_no_clean_end() {
    Row::run_all([("that is normal", 1000), ("of a server in trouble", 1011)].map(|(name, code)| {
        let server = move || {
            let begun = encode(false, 0, TEXT, b"half a ");
            Server { then: Then::Eof, ..Server::saying(begun).and(close(code)) }
        };
        Row::new(format!("a Close {name} within a message"), server, End::Unclean(code)).heap(64 * KIB)
    }));
}

#[test]
fn our_close_ends_although_the_servers_dribbles() {
    let server = || {
        let close = encode(true, 0, CLOSE, &close_body(Some(1000), &"x".repeat(123)));
        Server::saying(close).one_byte_every(Duration::from_secs(1))
    };
    Row::new("a Close frame that dribbles", server, End::Timeout(Phase::Close))
        .client(Deed::Closes)
        .heap(64 * KIB)
        .run();
}

#[test]
fn our_close_ends_although_the_server_says_anything_but_a_close() {
    Row::run_all(Flood::ALL.map(|flood| {
        let server = move || {
            let first = if flood == Flood::Fragments { vec![0x02, 0] } else { flood.frame().to_vec() };
            Server::saying(first).and_again(flood.frames(64 * KIB), usize::MAX)
        };
        let config = Config::default().close_timeout(Duration::from_millis(500)).max_fragments(None);
        Row::new(format!("no Close, but {}", flood.name()), server, End::Timeout(Phase::Close))
            .config(config)
            .client(Deed::Closes)
            .halves_hold(if flood == Flood::Messages { MESSAGES_HELD } else { 0 })
    }));
}

#[test]
fn a_close_with_a_flood_behind_it_is_a_clean_end() {
    let server = || Server::saying(close(1000)).and_again([0; 64 * KIB], usize::MAX);
    Row::new("a Close, and no end", server, End::Clean(0, 0))
        .config(Config::default().tcp_end_timeout(Duration::from_millis(500)))
        .run();
}

#[test]
fn text_of_16_mib_that_is_invalid_in_its_last_byte_is_refused() {
    let server = || {
        let text = [vec![b'a'; 16 * MIB - 1], vec![0xff]].concat();
        Server::saying(encode(true, 0, TEXT, &text))
    };
    Row::new("16 MiB of text, invalid in the last byte", server, End::Violation(Violation::InvalidUtf8))
        .heap(33 * MIB)
        .heap_by_reader(LITTLE.heap)
        .run();
}

/// A build without optimization takes one to three microseconds for each byte.
const DRIBBLED: usize = if cfg!(debug_assertions) { MIB } else { 16 * MIB };

#[test]
fn a_message_of_16_mib_one_byte_at_a_time_is_delivered() {
    let server = || Server::saying(encode(true, 0, BINARY, &vec![7; DRIBBLED])).and_closes().one_byte_at_a_time();
    Row::new(format!("{} MiB, one byte at a time", DRIBBLED / MIB), server, End::Clean(1, DRIBBLED))
        .heap(2 * DRIBBLED + MIB)
        .heap_by_reader(LITTLE.heap)
        .seconds(30)
        .run();
}

#[test]
fn a_server_that_takes_one_byte_at_a_time_gets_1_mib() {
    // Four frames, each with a header of 14 bytes.
    let server = || Server::saying([]).and_closes().that_takes(1).that_listens_first_to(MIB + 4 * 14);
    Row::new("1 MiB is taken one byte at a time", server, End::Clean(0, 0))
        .client(Deed::Sends(MIB))
        .heap(2 * MIB)
        .run();
}

#[test]
fn a_close_frame_with_any_code_is_a_clean_end_or_a_violation() {
    // Each takes some 100 µs in a build without optimization.
    for (way, last) in
        [(Way::InPlace, u16::MAX), (Way::InPlaceByReader, 5000), (Way::Halves, 5000), (Way::HalvesByReader, 5000)]
    {
        let every = move |server: Server| async move {
            for code in 0..=last {
                let server = Server { then: Then::Eof, read: Arc::clone(&server.read), ..Server::saying(close(code)) };
                let outcome = way.receive(server, Config::default(), Deed::Nothing).await;
                next_turn().await;
                let closed = outcome.closed.as_ref().expect("an end");
                let expected = match code {
                    1000..=1003 | 1007..=1014 | 3000..=4999 => End::Clean(0, 0),
                    _ => End::Violation(Violation::CloseCode(code.into())),
                };
                assert!(expected.is_of(&outcome), "{code}: {outcome:?}");
                assert!(!closed.was_clean || closed.code == code, "{code}: {closed:?}");
            }
            Outcome { closed: Some(Closed::new(1000, "", true)), ..Outcome::default() }
        };
        let most = Most { heap: 64 * KIB, ..LITTLE };
        let name = format!("a Close frame with each code up to {last}, {way:?}");
        let wrong = meet(&name, most, &End::Clean(0, 0), || Server::saying([]), every);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
