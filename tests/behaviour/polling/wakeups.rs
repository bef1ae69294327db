//! No lost wake-up: a reader and a writer that are two tasks, over a transport that keeps one waker per direction.

use std::{
    cell::Cell,
    future::Future,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpListener,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::{Sink, SinkExt, Stream, StreamExt};
use proptest::prelude::*;
use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode},
    masking::masked,
    script_io::{Script, ScriptIo, Step, script_io},
    task::{Task, runtime},
};
use tokio::time::{advance, timeout};
use wsflow::{Config, Error, Message, Phase, WebSocketStream};

/// Whose turn it is, or who is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Reader,
    Writer,
}

/// A reader and a writer of one connection, each a task of its own that is polled when it was woken, and only then.
struct Pair {
    ws: WebSocketStream<ScriptIo>,
    script: Script,
    reader: Arc<Task>,
    writer: Arc<Task>,
    received: Vec<String>,
    is_read_side_done: bool,
    is_closing: bool,
    fed: usize,
    is_flush_due: bool,
    /// How long the output was when it was last looked at, and how many pongs were in it.
    seen: Cell<(usize, usize)>,
}

const MESSAGES: usize = 12;

/// Messages, and pings, from the server.
const ITEMS: usize = 7;

impl Pair {
    fn new(reads: &[Step], writes: &[Step]) -> Self {
        let (io, script) = script_io();
        script.reads(reads.iter().copied(), Step::Ready);
        script.writes(writes.iter().copied(), Step::Ready);
        // Small enough that the writer waits at the mark, and the reader reads more than once.
        let config = Config::default().write_high_water_mark(100).read_buffer_max(1024).fragment_size(16);
        Self {
            ws: WebSocketStream::from_upgraded(io, config),
            script,
            reader: Task::new(),
            writer: Task::new(),
            received: Vec::new(),
            is_read_side_done: false,
            is_closing: false,
            fed: 0,
            is_flush_due: false,
            seen: Cell::new((0, 0)),
        }
    }

    /// What the server says before it closes: pings among messages, one of them in fragments.
    fn input(&self) {
        for i in 1..ITEMS {
            self.script.frame(TEXT, format!("server {i}"));
            self.script.frame(PING, format!("ping {i}"));
        }
        self.script.input(encode(false, 0, TEXT, b"frag"));
        self.script.frame(PING, "within");
        self.script.input(encode(true, 0, CONTINUATION, b"ments"));
    }

    fn is_done(&self, who: Who) -> bool {
        match who {
            Who::Reader if self.is_closing => self.is_read_side_done,
            Who::Reader => self.received.len() == ITEMS && self.has_answered(),
            Who::Writer => self.fed == MESSAGES && !self.is_flush_due,
        }
    }

    /// Whether all pongs are out. It looks only where something was written since.
    fn has_answered(&self) -> bool {
        let (seen, pongs) = self.seen.get();
        let len = self.script.output_len();
        let pongs = if seen == len { pongs } else { self.script.wire().payloads(PONG).len() };
        self.seen.set((len, pongs));
        pongs == ITEMS
    }

    fn poll(&mut self, who: Who) {
        match who {
            Who::Reader => self.poll_reader(),
            Who::Writer => self.poll_writer(),
        }
    }

    fn poll_reader(&mut self) {
        let task = Arc::clone(&self.reader);
        while let Poll::Ready(item) = task.poll(|cx| Pin::new(&mut self.ws).poll_next(cx)) {
            match item {
                Some(message) => self.received.push(message.unwrap().as_text().unwrap().to_owned()),
                None => {
                    self.is_read_side_done = true;
                    return;
                }
            }
        }
    }

    fn poll_writer(&mut self) {
        let task = Arc::clone(&self.writer);
        loop {
            if self.is_flush_due {
                if task.poll(|cx| Pin::new(&mut self.ws).poll_flush(cx)).map(Result::unwrap).is_pending() {
                    return;
                }
                self.is_flush_due = false;
            }
            if self.fed == MESSAGES {
                return;
            }
            if task.poll(|cx| Pin::new(&mut self.ws).poll_ready(cx)).map(Result::unwrap).is_pending() {
                return;
            }
            Pin::new(&mut self.ws).start_send(client_message(self.fed)).unwrap();
            self.fed += 1;
            self.is_flush_due = self.fed.is_multiple_of(5) || self.fed == MESSAGES;
        }
    }

    /// Polls whoever was woken; when all sleep the transport moves one step, in this direction first. Ends when those
    /// who are not away are done.
    fn run(&mut self, first: Who, away: Option<Who>) {
        let order = if first == Who::Reader { [Who::Reader, Who::Writer] } else { [Who::Writer, Who::Reader] };
        let here = order.into_iter().filter(|&who| Some(who) != away).collect::<Vec<_>>();
        for who in &here {
            self.poll(*who);
        }
        for turn in 0.. {
            if here.iter().all(|&who| self.is_done(who)) {
                return;
            }
            assert!(turn < 10_000, "they wake each other for ever");
            let mut is_anybody_awake = false;
            for &who in &here {
                let task = if who == Who::Reader { &self.reader } else { &self.writer };
                if task.was_woken() {
                    is_anybody_awake = true;
                    self.poll(who);
                }
            }
            if is_anybody_awake {
                continue;
            }
            let moved = match first {
                Who::Reader => self.script.wake_read() || self.script.wake_write(),
                Who::Writer => self.script.wake_write() || self.script.wake_read(),
            };
            assert!(moved, "a lost wake-up: everybody sleeps, and the transport is ready; {here:?}");
        }
    }

    fn assert_all_has_come(&mut self) {
        self.run(Who::Reader, None);
        let wire = self.script.wire();
        let sent = wire.messages().into_iter().map(|(_, data)| Message::binary(data)).collect::<Vec<_>>();
        assert_eq!(sent, (0..MESSAGES).map(client_message).collect::<Vec<_>>());
        assert_eq!(self.received.last().unwrap(), "fragments");

        self.script.frame(CLOSE, [3, 232]);
        self.script.end();
        self.is_closing = true;
        self.run(Who::Reader, None);
        assert_eq!(self.script.wire().close(), Some(&[3, 232][..]));
        assert_eq!(self.script.wire().rest, 0);
    }
}

/// Empty ones, small ones, and ones of several frames that are larger than the mark.
fn client_message(i: usize) -> Message {
    Message::binary(vec![i as u8; [0, 1, 40, 130][i % 4]])
}

/// All sequences of a ready, a pending and a partial step that are so long.
fn sequences(len: u32) -> impl Iterator<Item = Vec<Step>> {
    const STEPS: [Step; 3] = [Step::Ready, Step::Pending, Step::Partial(1)];
    (0..3usize.pow(len)).map(move |code| (0..len).map(|i| STEPS[code / 3usize.pow(i) % 3]).collect())
}

#[test]
fn two_tasks_get_on_with_all_steps_up_to_length_8() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (i, steps) in (0..=8).flat_map(sequences).enumerate() {
        // Who comes first takes turns, and so does whether writes meet the same steps as reads or the mirrored ones.
        let mirrored = steps.iter().rev().copied().collect::<Vec<_>>();
        let first = if i % 2 == 0 { Who::Reader } else { Who::Writer };
        let writes = if i % 4 < 2 { &steps } else { &mirrored };
        let mut pair = Pair::new(&steps, writes);
        pair.input();
        pair.run(first, None);
        pair.assert_all_has_come();
    }
}

/// One role was polled and given up, as by a timeout, and its task never polls that role again while the other works.
#[test]
fn a_role_that_was_dropped_takes_nobodys_wake_up() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for steps in (0..=6).flat_map(sequences) {
        for away in [Who::Reader, Who::Writer] {
            for is_given_up_first in [true, false] {
                let mut pair = Pair::new(&steps, &steps);
                let here = if away == Who::Reader { Who::Writer } else { Who::Reader };
                pair.input();
                if is_given_up_first {
                    pair.poll(away);
                    pair.poll(here);
                } else {
                    pair.poll(here);
                    pair.poll(away);
                }
                pair.run(here, Some(away));
                pair.assert_all_has_come();
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Ready), Just(Step::Pending), (1usize..40).prop_map(Step::Partial)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn two_tasks_get_on_with_any_steps(
        reads in prop::collection::vec(step(), 9..80),
        writes in prop::collection::vec(step(), 9..80),
        is_reader_first: bool,
        away in prop_oneof![Just(None), Just(Some(Who::Reader)), Just(Some(Who::Writer))],
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut pair = Pair::new(&reads, &writes);
        pair.input();
        let first = if is_reader_first { Who::Reader } else { Who::Writer };
        if let Some(away) = away {
            pair.poll(away);
        }
        pair.run(first, away);
        pair.assert_all_has_come();
    }
}

fn idle_stream(config: Config) -> (WebSocketStream<ScriptIo>, Script) {
    let (io, script) = script_io();
    (WebSocketStream::from_upgraded(io, config), script)
}

/// Over `StreamExt::split`, with the tasks of a runtime: the task of the half that was given up waits for something
/// else for ever.
#[tokio::test(start_paused = true)]
async fn a_next_that_timed_out_leaves_the_writer_its_wake_up() {
    let (ws, script) = idle_stream(Config::default().write_high_water_mark(1));
    let (mut sink, mut stream) = ws.split();
    script.writes([Step::Partial(3)], Step::Pending);

    let writer = tokio::spawn(async move { sink.send("hello".into()).await.map(|()| sink) });
    tokio::task::yield_now().await;
    let given_up = tokio::spawn(async move {
        assert!(timeout(Duration::from_secs(1), stream.next()).await.is_err());
        std::future::pending::<()>().await;
        drop(stream);
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!writer.is_finished() && !given_up.is_finished());

    script.writes([], Step::Ready);
    script.wake_write();
    let _sink = timeout(Duration::from_secs(1), writer).await.expect("the writer sleeps on").unwrap().unwrap();
    assert_eq!(script.wire().messages(), [(true, b"hello".to_vec())]);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_timed_out_leaves_the_reader_its_wake_up() {
    let (ws, script) = idle_stream(Config::default().write_high_water_mark(1));
    let (mut sink, mut stream) = ws.split();
    script.writes([Step::Partial(3)], Step::Pending);

    let reader = tokio::spawn(async move { stream.next().await.map(|item| (item, stream)) });
    tokio::task::yield_now().await;
    let given_up = tokio::spawn(async move {
        assert!(timeout(Duration::from_secs(1), sink.send("hello".into())).await.is_err());
        std::future::pending::<()>().await;
        drop(sink);
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!reader.is_finished() && !given_up.is_finished());

    script.frame(TEXT, "there");
    let (item, _stream) =
        timeout(Duration::from_secs(1), reader).await.expect("the reader sleeps on").unwrap().unwrap();
    assert_eq!(item.unwrap(), Message::text("there"));
}

/// B225: what a write waits for may not come by the transport at all, but by what the reader has read.
#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_hears_at_once_of_the_end_that_the_reader_read() {
    type Tell = fn(&Script);
    let ends: [(&str, Tell); 4] = [
        ("Close", |script| script.frame(CLOSE, [3, 232])),
        ("a violation", |script| script.frame(3, "")),
        ("the end", Script::end),
        ("an error", |script| {
            script.reads([Step::Error(ErrorKind::ConnectionReset)], Step::Pending);
            script.end();
        }),
    ];
    for (end, tell) in ends {
        for is_flush in [false, true] {
            let (mut ws, script) = idle_stream(Config::default().write_high_water_mark(1));
            let (reader, writer) = (Task::new(), Task::new());
            script.writes([Step::Partial(2)], Step::Pending);
            ws.start_send_unpin("hello".into()).unwrap();
            assert!(reader.poll_once(ws.next()).is_pending());
            let poll_writer = |ws: &mut WebSocketStream<ScriptIo>| {
                writer.poll(|cx| if is_flush { ws.poll_flush_unpin(cx) } else { ws.poll_ready_unpin(cx) })
            };
            assert!(poll_writer(&mut ws).is_pending());

            tell(&script);
            let _ = reader.poll_once(ws.next());
            assert!(writer.was_woken(), "{end}, flush: {is_flush}");
            assert!(matches!(poll_writer(&mut ws), Poll::Ready(Err(_))), "{end}, flush: {is_flush}");
        }
    }
}

/// The peer closes and ends its side while our answer cannot leave: there is nothing to read, again and again.
#[tokio::test(start_paused = true)]
async fn an_ended_transport_is_not_read_while_the_answer_to_a_close_waits() {
    let (mut ws, script) = idle_stream(Config::default().close_timeout(Duration::from_secs(2)));
    script.writes([Step::Partial(2)], Step::Pending);
    script.frame(CLOSE, [3, 232]);
    script.end();
    let task = Task::new();
    assert!(task.poll_once(ws.next()).is_pending());
    assert_eq!(script.read_calls(), 2);

    // Two seconds are what the answer gets to leave.
    let error = wait_as(&task, &mut ws).await;
    assert!(matches!(error, Error::Closed(_)), "{error:?}");
    assert!(!ws.closed().unwrap().was_clean);
}

/// A write error is held back from the reader until what can still be read was read, or a deadline.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_hears_of_the_write_error_that_the_writer_met() {
    for is_flush in [false, true] {
        let (mut ws, script) = idle_stream(Config::default().write_high_water_mark(1));
        let (reader, writer) = (Task::new(), Task::new());
        assert!(reader.poll_once(ws.next()).is_pending());
        script.writes([], Step::Error(ErrorKind::BrokenPipe));
        ws.start_send_unpin("hello".into()).unwrap();
        let answer = writer.poll(|cx| if is_flush { ws.poll_flush_unpin(cx) } else { ws.poll_ready_unpin(cx) });
        assert!(matches!(answer, Poll::Ready(Err(Error::Io(_)))), "{answer:?}");

        // The reader does what its task does: it polls when it was woken.
        let error = wait_as(&reader, &mut ws).await;
        assert!(matches!(error, Error::Io(_)), "{error:?}");
    }
}

/// The writer was ready, and went off to do something else.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_hears_of_the_stall_that_the_writer_met() {
    let config = Config::default().write_high_water_mark(1 << 20).write_timeout(Duration::from_secs(3));
    let (mut ws, script) = idle_stream(config);
    let (reader, writer) = (Task::new(), Task::new());
    assert!(reader.poll_once(ws.next()).is_pending());
    script.writes([], Step::Pending);
    ws.start_send_unpin(Message::binary(vec![0; 100_000])).unwrap();
    assert!(matches!(writer.poll(|cx| ws.poll_ready_unpin(cx)), Poll::Ready(Ok(()))));

    let error = wait_as(&reader, &mut ws).await;
    assert!(matches!(error, Error::Timeout { phase: Phase::Write, .. }), "{error:?}");
}

/// Polls for reading when `task` was woken, and only then, until there is an error; gives up after 10 s.
async fn wait_as(task: &Arc<Task>, ws: &mut WebSocketStream<ScriptIo>) -> Error {
    for _ in 0..100 {
        tokio::task::yield_now().await;
        if task.was_woken()
            && let Poll::Ready(item) = task.poll_once(ws.next())
        {
            return item.expect("an error first").expect_err("an error");
        }
        advance(Duration::from_millis(100)).await;
    }
    panic!("the reader was never woken");
}

#[test]
fn a_million_messages_are_echoed_through_the_halves_of_a_split_stream() {
    const COUNT: u64 = 1_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || echo(&mut listener.accept().unwrap().0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let io = tokio::net::TcpStream::connect(address).await.unwrap();
        io.set_nodelay(true).unwrap();
        let (mut sink, mut stream) = WebSocketStream::from_upgraded(io, Config::default()).split();
        let writer = tokio::spawn(async move {
            for i in 0..COUNT {
                sink.feed(Message::binary(i.to_be_bytes().to_vec())).await.unwrap();
                // Waits of many lengths: for each message, for some, for many.
                if i < 10_000 || i % 4_099 == 0 {
                    sink.flush().await.unwrap();
                }
            }
            sink.flush().await.unwrap();
            sink
        });
        let reader = tokio::spawn(async move {
            for i in 0..COUNT {
                let message = stream.next().await.unwrap().unwrap();
                assert_eq!(message.as_bytes(), i.to_be_bytes());
            }
        });
        let all = async { (writer.await.unwrap(), reader.await.unwrap()) };
        let _halves = timeout(Duration::from_secs(60), all).await.expect("a lost wake-up");
    });
    server.join().unwrap();
}

/// Echoes messages of 8 bytes until the client is gone.
fn echo(socket: &mut std::net::TcpStream) {
    const IN: usize = 2 + 4 + 8;
    let (mut buf, mut out, mut len) = (vec![0; 64 * 1024], Vec::new(), 0);
    loop {
        match socket.read(&mut buf[len..]) {
            Ok(0) | Err(_) => return,
            Ok(n) => len += n,
        }
        let whole = len - len % IN;
        out.clear();
        for frame in buf[..whole].chunks_exact(IN) {
            assert_eq!(frame[..2], [0x80 | BINARY, 0x80 | 8]);
            let (key, payload) = frame[2..].split_at(4);
            out.extend_from_slice(&[0x80 | BINARY, 8]);
            out.extend(masked(key.try_into().expect("a key"), payload));
        }
        buf.copy_within(whole..len, 0);
        len -= whole;
        if socket.write_all(&out).is_err() {
            return;
        }
    }
}

#[allow(dead_code, reason = "the assertion is that it compiles")]
fn halves_may_be_spawned(ws: WebSocketStream) -> impl Future + Send + 'static {
    let (sink, stream) = ws.split();
    async move { drop((sink, stream)) }
}
