//! What a connection holds in memory, counted by the allocator: each bound that the configuration names.

use std::{
    cell::Cell,
    io::{self, BufRead as _, BufReader, IoSlice, Write as _},
    net::{SocketAddr, TcpListener},
    pin::Pin,
    process::{Child, ChildStdout, Command, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink, SinkExt, StreamExt};
use testkit::{
    frame::{BINARY, CONTINUATION, PING, TEXT, encode},
    heap::{self, Since},
    script_io::{Step, script_io},
    task::{Task, runtime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout},
};
use wsflow::{Config, Message, WebSocketStream};

use crate::limits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A transport that allocates nothing: it hands out bytes that were made beforehand, so many at a time, and then waits.
struct Source {
    bytes: Bytes,
    at_a_time: usize,
    /// How many bytes it leaves of each write.
    leaves: usize,
    /// How often it took some.
    writes: Rc<Cell<usize>>,
}

impl Source {
    fn new(bytes: Vec<u8>, at_a_time: usize) -> Self {
        Self { bytes: bytes.into(), at_a_time, leaves: 0, writes: Rc::default() }
    }

    /// It takes nothing.
    fn stalled(bytes: Vec<u8>) -> Self {
        Self { leaves: usize::MAX, ..Self::new(bytes, usize::MAX) }
    }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = self.bytes.len().min(self.at_a_time).min(buf.remaining());
        if n == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&self.bytes.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Source {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices.iter().map(|slice| slice.len()).sum::<usize>().saturating_sub(self.leaves) {
            0 => Poll::Pending,
            n => {
                self.writes.set(self.writes.get() + 1);
                Poll::Ready(Ok(n))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll_next(ws: &mut WebSocketStream<Source>, task: &Arc<Task>) -> Option<Message> {
    match task.poll_once(ws.next()) {
        Poll::Ready(item) => Some(item.unwrap().unwrap()),
        Poll::Pending => None,
    }
}

/// Feeds until the sink waits. Returns how many messages it took.
fn feed_to_the_mark<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut WebSocketStream<S>,
    task: &Arc<Task>,
    message: impl Fn() -> Message,
) -> usize {
    let mut fed = 0;
    while task.poll(|cx| Pin::new(&mut *ws).poll_ready(cx)).map(Result::unwrap).is_ready() {
        Pin::new(&mut *ws).start_send(message()).unwrap();
        fed += 1;
    }
    fed
}

/// What an idle connection may hold, itself included.
const IDLE: usize = 10 * KIB;

#[test]
fn an_idle_connection_that_has_seen_a_few_messages_holds_at_most_10_kib() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (source, task) = (Source::new(encode(true, 0, TEXT, &[b'x'; 100]).repeat(20), 102), Task::new());
    let since = Since::now();
    let mut ws = WebSocketStream::from_upgraded(source, Config::default());
    while let Some(message) = poll_next(&mut ws, &task) {
        Pin::new(&mut ws).start_send(message).unwrap();
    }
    assert_eq!(ws.stats().messages_sent, 20);
    let held = since.held() + size_of_val(&ws);
    assert!(held <= IDLE, "{held} bytes");
}

#[test]
fn what_traffic_made_large_is_given_back_once_nothing_moves() {
    let small = encode(true, 0, BINARY, &[b'x'; 100]);
    let fragment = |fin, opcode| encode(fin, 0, opcode, &vec![0; MIB]);
    let empty = Message::binary(Bytes::new());
    let large = Message::binary(Bytes::from_static(&[0; MIB]));
    // What comes, what is sent, and the least that is held meanwhile.
    let bursts: [(&str, Vec<u8>, Vec<Message>, usize); 7] = [
        ("small messages in", small.repeat(20_000), vec![], 5 * IDLE),
        ("a large message in", encode(true, 0, BINARY, &vec![0; 3 * MIB]), vec![], 5 * IDLE),
        ("fragments in", [fragment(false, BINARY), fragment(true, CONTINUATION)].concat(), vec![], 5 * IDLE),
        (
            "small messages in, and half a frame",
            [small.repeat(20_000), small[..50].to_vec()].concat(),
            vec![],
            5 * IDLE,
        ),
        ("a few empty messages out", vec![], vec![empty.clone(); 300], IDLE),
        ("empty messages out", vec![], vec![empty; 20_000], 5 * IDLE),
        ("large messages out", vec![], vec![large; 10], 5 * IDLE),
    ];
    for ((name, incoming, outgoing, burst), is_lent) in bursts.iter().flat_map(|burst| [(burst, false), (burst, true)])
    {
        runtime().block_on(async {
            let source = Source::new(incoming.clone(), usize::MAX);
            // What the source hands out is not given back by it.
            let _kept = source.bytes.clone();
            let since = Since::now();
            let mut ws = Box::new(WebSocketStream::from_upgraded(source, Config::default()));
            for message in outgoing {
                ws.feed(message.clone()).await.unwrap();
            }
            ws.flush().await.unwrap();
            let start = Instant::now();
            let some = Duration::from_millis(900);
            if is_lent {
                while timeout(some, ws.next_ref()).await.is_ok() {}
            } else {
                while timeout(some, ws.next()).await.is_ok() {}
            }
            assert!(since.peak() > *burst, "{name}: {} bytes are no burst", since.peak());
            assert!(timeout(Duration::from_millis(1200), ws.next()).await.is_err());
            assert!(start.elapsed() < Duration::from_millis(2200), "{name}");
            assert!(since.held() <= IDLE, "{name}, lent {is_lent}: {} bytes", since.held());
        });
    }
}

#[test]
fn the_buffer_of_a_lent_message_is_given_back_where_no_other_has_grown() {
    runtime().block_on(async {
        let fragments = [encode(false, 0, BINARY, &vec![0; MIB]), encode(true, 0, CONTINUATION, &[])].concat();
        let source = Source::new(fragments, usize::MAX);
        let _kept = source.bytes.clone();
        let since = Since::now();
        let config = Config::default().read_buffer_max(4 * KIB);
        let mut ws = Box::new(WebSocketStream::from_upgraded(source, config));
        assert_eq!(ws.next_ref().await.unwrap().unwrap().len(), MIB);
        assert!(since.held() > MIB);
        assert!(timeout(Duration::from_millis(2200), ws.next()).await.is_err());
        assert!(since.held() <= IDLE, "{} bytes", since.held());
    });
}

#[test]
fn buffers_in_use_are_not_given_back() {
    runtime().block_on(async {
        let small = encode(true, 0, BINARY, &[b'x'; 100]);
        let (client, mut server) = tokio::io::duplex(256 * KIB);
        let mut ws = WebSocketStream::from_upgraded(client, Config::default());
        let second = small.repeat(2000);
        server.write_all(&second).await.unwrap();
        let since = Since::now();
        let mut allocated = vec![];
        for _ in 0..10 {
            for _ in 0..2000 {
                ws.next().await.unwrap().unwrap();
            }
            assert!(timeout(Duration::from_millis(800), ws.next()).await.is_err());
            allocated.push(since.ever());
            server.write_all(&second).await.unwrap();
        }
        let again = allocated[9] - allocated[4];
        assert!(again < KIB, "{again} bytes are allocated again although the buffers are in use");
    });
}

#[test]
fn a_header_that_declares_60_mib_allocates_nothing_of_that_size() {
    for fin in [true, false] {
        for opcode in [TEXT, BINARY] {
            let mut bytes = encode(fin, 0, opcode, &vec![b'x'; 60 * MIB]);
            bytes.truncate(10 + 10);
            let (source, task) = (Source::new(bytes, usize::MAX), Task::new());
            let since = Since::now();
            let mut ws = WebSocketStream::from_upgraded(source, Config::default());
            for _ in 0..10 {
                assert!(poll_next(&mut ws, &task).is_none());
            }
            assert!(since.peak() <= MIB + 64 * KIB, "{} bytes", since.peak());
        }
    }
}

/// Whether in one frame or in fragments: what is held is at most twice what has come, from 1 MiB on, and no byte is
/// copied more often than doubling makes necessary.
#[test]
fn a_large_message_holds_at_most_twice_what_has_come() {
    const SIZE: usize = 16 * MIB;
    let whole = encode(true, 0, BINARY, &vec![7; SIZE]);
    let mut fragments = encode(false, 0, BINARY, &[]);
    (0..SIZE / (100 * KIB)).for_each(|_| fragments.extend(encode(false, 0, CONTINUATION, &vec![7; 100 * KIB])));
    fragments.extend(encode(true, 0, CONTINUATION, &vec![7; SIZE % (100 * KIB)]));
    for bytes in [whole, fragments] {
        for read_buffer_max in [KIB, 128 * KIB, 4 * MIB] {
            for at_a_time in [16 * KIB, MIB] {
                let (source, task) = (Source::new(bytes.clone(), at_a_time), Task::new());
                let since = Since::now();
                let mut ws = WebSocketStream::from_upgraded(source, Config::default().read_buffer_max(read_buffer_max));
                let message = poll_next(&mut ws, &task).unwrap();
                let peak = since.peak();
                assert_eq!(message.len(), SIZE);
                let bound = 2 * SIZE + 2 * read_buffer_max + 64 * KIB;
                assert!(peak <= bound, "{peak} bytes, expected at most {bound}");
                let ever = since.ever();
                assert!(
                    ever <= 3 * SIZE + 4 * read_buffer_max,
                    "{ever} bytes for reads of {at_a_time}, {read_buffer_max}"
                );
            }
        }
    }
}

#[test]
fn a_frame_larger_than_the_read_buffer_grows_with_what_comes() {
    const SIZE: usize = 16 * MIB;
    for arrived in [10, MIB / 2, 3 * MIB, 10 * MIB] {
        let mut bytes = encode(true, 0, BINARY, &vec![7; SIZE]);
        bytes.truncate(arrived);
        let (source, task) = (Source::new(bytes, 64 * KIB), Task::new());
        let since = Since::now();
        let mut ws = WebSocketStream::from_upgraded(source, Config::default());
        assert!(poll_next(&mut ws, &task).is_none());
        let bound = limits::LARGE_FRAME_START.max(2 * arrived) + 128 * KIB + 64 * KIB;
        assert!(since.peak() <= bound, "{} bytes for {arrived}, expected at most {bound}", since.peak());
        // A reader that polls in vain does not pay for it again.
        let before = since.ever();
        (0..10).for_each(|_| assert!(poll_next(&mut ws, &task).is_none()));
        assert_eq!(since.ever(), before);
    }
}

#[test]
fn beside_large_messages_at_most_16_kib_are_read_ahead() {
    const SIZE: usize = 256 * KIB;
    let frames = encode(true, 0, BINARY, &vec![7; SIZE]).repeat(5);
    let (source, task) = (Source::new(frames, usize::MAX), Task::new());
    let since = Since::now();
    let mut ws = WebSocketStream::from_upgraded(source, Config::default());
    for _ in 0..5 {
        assert_eq!(poll_next(&mut ws, &task).map(|message| message.len()), Some(SIZE));
    }
    let beside = since.peak() - SIZE;
    assert!(beside <= limits::AFTER_LARGE_FRAME + 8 * KIB, "{beside} bytes beside the message");
}

#[test]
fn a_large_read_buffer_is_not_copied_at_each_read_of_a_larger_frame() {
    let mut bytes = encode(true, 0, BINARY, &vec![7; 6 * MIB]);
    bytes.truncate(3 * MIB);
    let (source, task) = (Source::new(bytes, 4 * KIB), Task::new());
    let since = Since::now();
    let mut ws = WebSocketStream::from_upgraded(source, Config::default().read_buffer_max(4 * MIB));
    assert!(poll_next(&mut ws, &task).is_none());
    assert!(since.ever() <= 16 * MIB, "{} bytes", since.ever());
}

#[test]
fn fragments_of_one_byte_cost_no_more_than_what_they_carry() {
    let mut bytes = encode(false, 0, BINARY, &[]);
    bytes.extend(encode(false, 0, CONTINUATION, b"x").repeat(65_535));
    let (source, task) = (Source::new(bytes, usize::MAX), Task::new());
    let (since, before) = (Since::now(), heap::allocations());
    let mut ws = WebSocketStream::from_upgraded(source, Config::default());
    assert!(poll_next(&mut ws, &task).is_none());
    assert!(since.held() <= 128 * KIB + 2 * 64 * KIB + 16 * KIB, "{} bytes", since.held());
    // What it is put together in doubles each time.
    let allocations = heap::allocations() - before;
    assert!(allocations < 50, "{allocations} allocations");
}

#[test]
fn a_flood_of_pings_to_a_client_that_cannot_answer_costs_a_few_pongs() {
    let (source, task) = (Source::stalled(encode(true, 0, PING, &[7; 125]).repeat(50_000)), Task::new());
    let since = Since::now();
    let mut ws = WebSocketStream::from_upgraded(source, Config::default());
    assert!(poll_next(&mut ws, &task).is_none());
    assert_eq!(ws.stats().pings_received, 50_000);
    // The buffer may have grown to its bound, and shrinks in steps.
    assert!(since.peak() <= 2 * 128 * KIB + 32 * KIB, "{} bytes", since.peak());
    assert!(since.held() <= 128 * KIB + 16 * KIB, "{} bytes", since.held());
}

#[test]
fn what_can_never_leave_is_freed_once_the_transport_is_broken() {
    let runtime = runtime();
    let _entered = runtime.enter();
    // Some of it is encoded, the rest is queued.
    for size in [0, 10 * KIB, 64 * KIB] {
        let (message, task) = (Message::from(vec![0; size]), Task::new());
        let (io, script) = script_io();
        script.writes([], Step::Pending);
        let since = Since::now();
        let mut ws = WebSocketStream::from_upgraded(io, Config::default().write_high_water_mark(MIB));
        feed_to_the_mark(&mut ws, &task, || message.clone());
        assert!(since.held() > 128 * KIB, "{size}: {} bytes are not much", since.held());
        script.writes([], Step::Error(io::ErrorKind::BrokenPipe));
        script.wake_write();
        assert!(matches!(task.poll_once(ws.flush()), Poll::Ready(Err(_))));
        assert!(since.held() <= IDLE, "{size}: {} bytes", since.held());
        assert!(ws.buffered_amount() > 0 || size == 0, "what did not leave stays counted");
    }
}

/// What waits to be written is held once, with a little beside it.
#[test]
fn the_write_side_holds_the_mark_and_one_message() {
    let shared = Bytes::from(vec![7; 8 * MIB]);
    // The mark, the size of a message, and what the heap may hold.
    let cases = [
        (128 * KIB, 0, 256 * KIB),
        (128 * KIB, 100, 300 * KIB),
        (128 * KIB, 20 * KIB, 300 * KIB),
        (128 * KIB, 8 * MIB, 8 * MIB + 64 * KIB),
        (4 * MIB, 100, 6 * MIB),
        (4 * MIB, 64 * KIB, 4 * MIB + 256 * KIB),
    ];
    for (mark, size, bound) in cases {
        let (source, task) = (Source::stalled(vec![]), Task::new());
        let since = Since::now();
        let mut ws = WebSocketStream::from_upgraded(source, Config::default().write_high_water_mark(mark));
        let fed = feed_to_the_mark(&mut ws, &task, || Message::binary(vec![7; size]));
        assert!(fed * (size + 32) < mark + size + 32, "{fed} messages");
        assert!(since.peak() <= bound, "mark {mark}, size {size}: {} bytes", since.peak());
    }

    // A payload that somebody else holds as well is copied piece by piece.
    let (source, task) = (Source::stalled(vec![]), Task::new());
    let since = Since::now();
    let mut ws = WebSocketStream::from_upgraded(source, Config::default());
    assert_eq!(feed_to_the_mark(&mut ws, &task, || Message::binary(shared.clone())), 1);
    assert!(since.peak() <= 256 * KIB + 16 * KIB, "{} bytes", since.peak());

    // In larger bursts where the transport takes them, but for a little; one that nobody else holds is masked where it is.
    for leaves in [0, 14, 3_000] {
        for (fragment_size, owned_besides) in [(256 * KIB, 64 * KIB), (8_000, MIB + 64 * KIB)] {
            for is_owned in [false, true] {
                let source = Source { leaves, ..Source::new(vec![], usize::MAX) };
                let (writes, case) = (source.writes.clone(), (leaves, fragment_size, is_owned));
                let since = Since::now();
                let mut ws = WebSocketStream::from_upgraded(source, Config::default().fragment_size(fragment_size));
                let payload = if is_owned { Bytes::from(vec![7; 8 * MIB]) } else { shared.clone() };
                let _ = task.poll_once(ws.send(Message::Binary(payload)));
                assert!(ws.stats().payload_bytes_sent >= (8 * MIB - leaves) as u64);
                assert!(writes.get() <= 18, "{case:?}: {} writes", writes.get());
                let bound = if is_owned { 8 * MIB + owned_besides } else { MIB + 64 * KIB };
                assert!(since.peak() <= bound, "{case:?}: {} bytes", since.peak());
            }
        }
    }
}

/// A cache of last prices: small messages that are kept, among others that are not.
#[test]
fn kept_messages_do_not_pin_the_read_buffer_when_they_are_copied() {
    let mut bytes = Vec::new();
    for _ in 0..2_000 {
        bytes.extend(encode(true, 0, TEXT, &[b'p'; 20]));
        bytes.extend(encode(true, 0, BINARY, &[7; 4 * KIB]));
    }
    let held = |copy_payloads_up_to| {
        let (source, task) = (Source::new(bytes.clone(), 16 * KIB), Task::new());
        let mut prices = Vec::with_capacity(2_000);
        let since = Since::now();
        let config = Config::default().copy_payloads_up_to(copy_payloads_up_to);
        let mut ws = WebSocketStream::from_upgraded(source, config);
        while let Some(message) = poll_next(&mut ws, &task) {
            if message.is_text() {
                prices.push(message);
            }
        }
        assert_eq!(prices.len(), 2_000);
        since.held()
    };
    assert!(held(0) >= 4 * MIB, "slices pin {} bytes", held(0));
    assert!(held(20) <= 2_000 * 64 + 2 * 128 * KIB, "copies hold {} bytes", held(20));
    assert!(held(19) >= 4 * MIB, "the bound counts");
}

/// In the other process: what this test asks for.
const ASKED: &str = "WSFLOW_TEST_SERVER";

/// A server in a process of its own, which sends messages of 64 KiB as fast as it can.
struct Server {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Server {
    fn start(messages: usize, send_buffer: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["connection::server_process", "--exact", "--ignored", "--nocapture"])
            .env(ASKED, format!("{messages} {send_buffer}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, lines, address: ([127, 0, 0, 1], 0).into() };
        let port = server.answer().try_into().unwrap();
        server.address.set_port(port);
        server
    }

    /// Its next number, among what the test harness says.
    fn answer(&mut self) -> usize {
        let number = |line: io::Result<String>| line.unwrap().split_once("server: ")?.1.parse().ok();
        self.lines.by_ref().find_map(number).expect("the server says something")
    }

    /// How many bytes it got rid of so far.
    fn written(&mut self) -> usize {
        writeln!(self.child.stdin.as_mut().unwrap(), "how many?").unwrap();
        self.answer()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the server of the other tests, which start it"]
fn server_process() {
    let Ok(asked) = std::env::var(ASKED) else { return };
    let (messages, send_buffer) = asked.split_once(' ').unwrap();
    let (messages, send_buffer) = (messages.parse::<usize>().unwrap(), send_buffer.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_send_buffer_size(send_buffer).unwrap();
    println!("\nserver: {}", listener.local_addr().unwrap().port());
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let frame = encode(true, 0, BINARY, &[7; 64 * KIB]);
        for _ in 0..messages {
            let mut left = &frame[..];
            while !left.is_empty() {
                let Ok(n) = socket.write(left) else { return };
                left = &left[n..];
                counter.fetch_add(n, Ordering::SeqCst);
            }
        }
        // It stays until the client is done.
        let _ = io::copy(&mut socket, &mut io::sink());
    });
    for _ in io::stdin().lines() {
        println!("\nserver: {}", written.load(Ordering::SeqCst));
    }
}

/// B197, B209: what the server got rid of is in the system's buffers and in the read buffer; then 1 GiB comes through
/// what is held here.
#[test]
fn a_gib_from_another_process_at_a_slow_reader() {
    const READ_BUFFER_MAX: usize = 128 * KIB;
    const MESSAGE: usize = 64 * KIB;
    const MESSAGES: usize = 1024 * MIB / MESSAGE;
    const SOCKET_BUFFER: usize = 64 * KIB;
    let mut server = Server::start(MESSAGES, SOCKET_BUFFER);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BUFFER as u32).unwrap();
        // The system doubles what it is asked for, at both ends.
        let in_system = socket.recv_buffer_size().unwrap() as usize + 2 * SOCKET_BUFFER;
        let io = socket.connect(server.address).await.unwrap();
        let since = Since::now();
        let config = Config::default().read_buffer_max(READ_BUFFER_MAX);
        let mut ws = WebSocketStream::from_upgraded(io, config);
        assert_eq!(ws.next().await.unwrap().unwrap().len(), MESSAGE);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (written, bound) = (server.written(), MESSAGE + 10 + in_system + READ_BUFFER_MAX);
        assert!(written <= bound, "the server got rid of {written} bytes, expected at most {bound}");

        for i in 1..MESSAGES {
            if i % 1_000 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(ws.next().await.unwrap().unwrap().len(), MESSAGE);
        }
        let bound = READ_BUFFER_MAX + MESSAGE + 64 * KIB;
        assert!(since.peak() <= bound, "{} bytes were held, expected at most {bound}", since.peak());
    });
}
