//! Backpressure: a slow side slows the other one down, and nothing is ever an error for being too much.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    pin::{Pin, pin},
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use testkit::{
    frame::{BINARY, CONTINUATION, PING, PONG, TEXT, encode},
    script_io::{Script, ScriptIo, Step, script_io},
    task::{Task, runtime},
};
use tokio::{sync::oneshot, time::timeout};
use wsflow::{Config, Message, WebSocketStream};

use crate::limits;

const MIB: usize = 1024 * 1024;

/// What the system holds for a socket of this machine, both ends together, as far as these tests are concerned: the
/// system doubles what it is asked for.
const SOCKET_BUFFER: usize = 64 * 1024;

/// How long the idle side is idle.
const IDLE: Duration = Duration::from_secs(2);

/// A client over TCP with small socket buffers, and what the server does with its end.
async fn tcp<T: Send + 'static>(
    config: Config,
    server: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (WebSocketStream<tokio::net::TcpStream>, thread::JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // An accepted socket has the buffers of the listening one.
    let buffers = socket2::SockRef::from(&listener);
    buffers.set_recv_buffer_size(SOCKET_BUFFER).unwrap();
    buffers.set_send_buffer_size(SOCKET_BUFFER).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || server(listener.accept().unwrap().0));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SOCKET_BUFFER as u32).unwrap();
    socket.set_send_buffer_size(SOCKET_BUFFER as u32).unwrap();
    let io = socket.connect(address).await.unwrap();
    (WebSocketStream::from_upgraded(io, config), server)
}

/// B210.
#[tokio::test]
async fn a_reader_idle_for_2_s_slows_a_server_that_sends_16_mib() {
    let (sent, mut all_sent) = oneshot::channel();
    let (mut ws, server) = tcp(Config::default(), |mut socket| {
        let frame = encode(true, 0, BINARY, &vec![7; MIB]);
        (0..16).for_each(|_| socket.write_all(&frame).unwrap());
        sent.send(()).unwrap();
    })
    .await;
    assert_eq!(ws.next().await.unwrap().unwrap().len(), MIB);
    timeout(IDLE, &mut all_sent).await.expect_err("the server got rid of 16 MiB that nobody reads");
    for _ in 1..16 {
        assert_eq!(ws.next().await.unwrap().unwrap().len(), MIB);
    }
    all_sent.await.unwrap();
    server.join().unwrap();
}

/// B221, B222.
#[tokio::test]
async fn a_send_of_8_mib_waits_for_a_server_that_is_idle_for_2_s() {
    let (read, may_read) = mpsc::channel();
    let (mut ws, server) = tcp(Config::default(), move |mut socket| {
        may_read.recv().unwrap();
        io::copy(&mut socket, &mut io::sink()).unwrap()
    })
    .await;
    {
        let mut send = pin!(ws.send(Message::binary(vec![7; 8 * MIB])));
        timeout(IDLE, &mut send).await.expect_err("sent 8 MiB that nobody reads");
        read.send(()).unwrap();
        send.await.unwrap();
    }
    assert_eq!(ws.buffered_amount(), 0);
    drop(ws);
    server.join().unwrap();
}

/// Sizes that fill every buffer exactly (crbug 1286909), at a reader that waits before each.
/// B78.
#[tokio::test]
async fn messages_of_exactly_the_sizes_of_the_buffers_all_arrive() {
    for size in [4 * 1024, 64 * 1024, 128 * 1024, MIB] {
        let (mut ws, server) = tcp(Config::default(), move |mut socket| {
            let (sent, mut echoed) = (encode(true, 0, BINARY, &vec![7; size]), vec![0; 50]);
            for _ in 0..50 {
                socket.write_all(&sent).unwrap();
            }
            // 50 empty messages come back.
            let mut left = 50 * 6;
            while left > 0 {
                let n = socket.read(&mut echoed).unwrap();
                assert!(n > 0);
                left -= n;
            }
        })
        .await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
            let message = timeout(Duration::from_secs(10), ws.next()).await.expect("it hangs").unwrap().unwrap();
            assert_eq!(message.len(), size);
            ws.feed(Message::binary(vec![])).await.unwrap();
        }
        ws.flush().await.unwrap();
        server.join().unwrap();
    }
}

/// A stream by hand, whose transport takes nothing.
fn stalled(config: Config) -> (WebSocketStream<ScriptIo>, Script, Arc<Task>) {
    let (io, script) = script_io();
    script.writes([], Step::Pending);
    (WebSocketStream::from_upgraded(io, config), script, Task::new())
}

/// B220.
#[test]
fn feed_waits_at_the_mark_and_is_never_an_error() {
    let runtime = runtime();
    let _entered = runtime.enter();
    // The mark, the size of each message, and how many are taken.
    let cases = [
        (0, 0, 1),
        (1, 0, 1),
        (32, 0, 1),
        (33, 0, 2),
        (64 * 32, 0, 64),
        (128 * 1024, 0, 4096),
        (1000, 68, 10),
        (1001, 68, 11),
        (100, MIB, 1),
        (128 * 1024, 128 * 1024 - 33, 2),
        (128 * 1024, 128 * 1024 - 32, 1),
        (128 * 1024, 20_000, 7),
    ];
    for (mark, size, taken) in cases {
        let (mut ws, script, task) = stalled(Config::default().write_high_water_mark(mark));
        for i in 0..taken {
            let fed = task.poll_once(ws.feed(Message::binary(vec![0; size])));
            assert!(matches!(fed, Poll::Ready(Ok(()))), "mark {mark}, size {size}, message {i}: {fed:?}");
        }
        for _ in 0..3 {
            let fed = task.poll_once(ws.feed(Message::binary(vec![0; size])));
            assert!(fed.is_pending(), "mark {mark}, size {size}: {fed:?}");
        }
        assert_eq!(ws.buffered_amount(), (taken * size) as u64);

        script.writes([], Step::Ready);
        script.wake_write();
        assert!(task.was_woken());
        assert!(matches!(task.poll_once(ws.feed("at last".into())), Poll::Ready(Ok(()))));
    }
}

/// A message that is being written costs all of it until its last byte is out.
#[test]
fn the_sink_is_ready_again_when_the_message_was_written_as_a_whole() {
    let (mut ws, script, task) = stalled(Config::default().write_high_water_mark(1));
    ws.start_send_unpin("hello".into()).unwrap();
    for taken in 0..6 + 5 {
        assert!(task.poll(|cx| Pin::new(&mut ws).poll_ready(cx)).is_pending(), "after {taken} bytes");
        script.writes([Step::Partial(1)], Step::Pending);
        script.wake_write();
        assert!(task.was_woken());
    }
    assert!(task.poll(|cx| Pin::new(&mut ws).poll_ready(cx)).is_ready());
}

/// Larger writes cost less, but nobody has flushed: so much waits only while the transport has shown that it takes it.
#[test]
fn what_is_fed_goes_out_from_64_kib_on_and_from_112_kib_while_the_transport_takes_all_of_it() {
    let runtime = runtime();
    for size in [1, 100, 1_000, 16 * 1024] {
        let (io, script) = script_io();
        // The mark is far away.
        let (mut ws, task) =
            (WebSocketStream::from_upgraded(io, Config::default().write_high_water_mark(100 * MIB)), Task::new());
        for _ in 0..2 {
            let mut writes = Vec::new();
            while writes.len() < 4 {
                let before = script.output_len();
                assert!(task.poll_once(ws.feed(Message::binary(vec![7; size]))).is_ready());
                writes.extend(Some(script.output_len() - before).filter(|&written| written > 0));
            }
            let expected = [limits::MIN_WRITE, limits::GROWN_WRITE, limits::GROWN_WRITE, limits::GROWN_WRITE];
            assert_eq!(writes, expected, "messages of {size} bytes");
            // A connection that has been idle begins anew.
            runtime.block_on(async { timeout(Duration::from_secs(5), ws.next()).await }).expect_err("nothing is said");
            assert_eq!(ws.buffered_amount(), 0);
        }
    }
}

/// A read loop that only feeds: all answers go out by themselves once there is nothing more to read.
#[test]
fn a_loop_that_reads_and_feeds_answers_everything_without_a_flush() {
    let (io, script) = script_io();
    let (mut ws, task) = (WebSocketStream::from_upgraded(io, Config::default()), Task::new());
    for i in 0..100 {
        script.frame(TEXT, format!("{i}"));
    }
    while let Poll::Ready(item) = task.poll(|cx| Pin::new(&mut ws).poll_next(cx)) {
        let message = item.unwrap().unwrap();
        assert!(matches!(task.poll_once(ws.feed(message)), Poll::Ready(Ok(()))));
    }
    assert_eq!(script.wire().messages().len(), 100);
    assert_eq!(ws.buffered_amount(), 0);
    assert!(script.write_calls() <= 3, "{} writes: they are not batched", script.write_calls());
}

/// So it does while input never ends: what was read is answered before more is read.
#[test]
fn answers_go_out_while_input_never_ends() {
    const IN_A_READ: usize = 10;
    let (io, script) = script_io();
    let (mut ws, task) = (WebSocketStream::from_upgraded(io, Config::default()), Task::new());
    let frames = encode(true, 0, TEXT, b"hello").repeat(IN_A_READ);
    script.input(&frames);
    let mut answered = 0;
    for read in 0..1_000 {
        for _ in 0..IN_A_READ {
            let Poll::Ready(item) = task.poll(|cx| Pin::new(&mut ws).poll_next(cx)) else { panic!("there is input") };
            let message = item.unwrap().unwrap();
            assert!(matches!(task.poll_once(ws.feed(message)), Poll::Ready(Ok(()))));
            // There is always more to read.
            if script.unread() == 0 {
                script.frame(PING, [read as u8]);
                script.input(&frames);
            }
        }
        let lag = answered + IN_A_READ - (ws.stats().messages_sent as usize).min(answered + IN_A_READ);
        assert!(lag <= 2 * IN_A_READ, "{lag} answers wait");
        answered += IN_A_READ;
    }
    assert!(script.wire().payloads(PONG).len() > 100);
}

/// B209: beyond what its buffer holds the socket is not read for a reader that does not read.
#[test]
fn the_transport_is_not_read_before_what_was_read_is_used_up() {
    for max in [1024, 4096, 128 * 1024] {
        let (io, script) = script_io();
        let (mut ws, task) = (WebSocketStream::from_upgraded(io, Config::default().read_buffer_max(max)), Task::new());
        let frame = encode(true, 0, BINARY, &[7; 100]);
        let all = 4_000 * frame.len();
        script.input(frame.repeat(4_000));
        for i in 1..=4_000 {
            assert!(task.poll(|cx| Pin::new(&mut ws).poll_next(cx)).is_ready());
            let ahead = all - script.unread() - i * frame.len();
            assert!(ahead <= max, "{ahead} bytes were read ahead of the reader, expected at most {max}");
        }
    }
}

/// A peer that floods with pings and does not read gets the latest answered, and costs nothing.
#[test]
fn of_a_flood_of_pings_the_latest_are_answered() {
    let (mut ws, script, task) = stalled(Config::default());
    for i in 0..10_000 {
        script.frame(PING, format!("{i}"));
    }
    assert!(task.poll_once(ws.next()).is_pending());
    script.writes([], Step::Ready);
    assert!(task.poll_once(ws.next()).is_pending());
    let wire = script.wire();
    let pongs = wire.payloads(PONG);
    assert!(pongs.len() <= 32, "{} pongs", pongs.len());
    assert_eq!(pongs.last(), Some(&&b"9999"[..]));
    assert_eq!(ws.stats().pings_received, 10_000);
}

/// A transport that took all at once gets several frames in a write. When it stalls, a pong overtakes those that it has
/// not begun, but for the first 16 KiB that it was offered and may hold.
/// B168.
#[test]
fn a_pong_waits_behind_no_more_than_a_frame_of_a_large_message() {
    const FRAME: usize = limits::CHUNK + 14;
    // How much the transport takes before it stalls, and how many frames go before the pong.
    let cases = [
        (0, 1),
        (1, 1),
        (FRAME - limits::TLS_RECORD, 1),
        (FRAME - limits::TLS_RECORD + 1, 2),
        (FRAME - 1, 2),
        (FRAME, 2),
        (2 * FRAME + 50_000, 3),
        (3 * FRAME + 50_000, 4),
    ];
    let payload: Bytes = (0..2 * MIB).map(|i| (i / 1000) as u8).collect();
    // Shared payloads and owned ones take different ways.
    let shared = || Message::Binary(payload.clone());
    let owned = || Message::binary(payload.to_vec());
    for (message, (taken, before)) in
        cases.into_iter().flat_map(|case| [(&shared as &dyn Fn() -> _, case), (&owned, case)])
    {
        let (io, script) = script_io();
        let (mut ws, task) = (WebSocketStream::from_upgraded(io, Config::default()), Task::new());
        let _ = task.poll_once(ws.send(message()));
        let (frames, writes) = (script.wire().frames.len(), script.write_calls());
        assert!(writes <= frames / 2, "{frames} frames in {writes} writes");
        script.writes([Step::Partial(taken)].into_iter().filter(|_| taken > 0), Step::Pending);
        assert!(task.poll_once(ws.send(message())).is_pending());
        script.frame(PING, "late");
        assert!(task.poll(|cx| Pin::new(&mut ws).poll_next(cx)).is_pending());
        script.writes([], Step::Ready);
        assert!(task.poll_once(SinkExt::<Message>::flush(&mut ws)).is_ready());
        let wire = script.wire();
        let pong = wire.frames[frames..].iter().position(|frame| frame.opcode == PONG);
        assert_eq!(pong, Some(before), "{taken} bytes were taken");
        for (_, message) in wire.messages() {
            assert!(message == payload, "{taken} bytes were taken");
        }
        assert_eq!((wire.messages().len(), ws.buffered_amount(), ws.stats().messages_sent), (2, 0, 2));
    }
}

/// Pongs are told apart by their order.
#[test]
fn pings_keep_their_order_before_the_frames_of_a_large_message() {
    let (mut ws, script, task) = stalled(Config::default());
    let payload = Bytes::from(vec![7; 2 * MIB]);
    assert!(task.poll_once(ws.send(Message::Binary(payload.clone()))).is_pending());
    script.writes([Step::Partial(300 * 1024)], Step::Pending);
    assert!(task.poll_once(SinkExt::<Message>::flush(&mut ws)).is_pending());
    let _pongs: Vec<_> = ["first", "second", "third"].into_iter().map(|payload| ws.send_ping(payload)).collect();
    script.writes([], Step::Ready);
    let flush: Poll<Result<(), wsflow::Error>> = task.poll_once(SinkExt::<Message>::flush(&mut ws));
    assert!(flush.is_ready());
    assert_eq!(script.wire().payloads(PING), [&b"first"[..], b"second", b"third"]);
    assert_eq!(script.wire().frames.last().unwrap().opcode, CONTINUATION);
    assert!(script.wire().messages() == [(false, payload.to_vec())]);
}

/// Nor do pings of our own pile up when nobody waits for their pongs.
#[test]
fn pings_of_our_own_do_not_pile_up_at_a_peer_that_does_not_read() {
    let (mut ws, script, task) = stalled(Config::default());
    let sent = (0..1_000).filter(|_| ws.send_ping(vec![7; 125]).is_ok()).count();
    assert!(sent <= 16, "{sent} pings were queued");
    script.writes([], Step::Ready);
    let flush: Poll<Result<(), wsflow::Error>> = task.poll_once(SinkExt::<Message>::flush(&mut ws));
    assert!(flush.is_ready());
    assert_eq!(script.wire().payloads(PING).len(), sent);
    assert!(ws.send_ping("again").is_ok());
}

/// `start_send` without `poll_ready` is misuse. It is an error, since it would be the one queue without a bound.
#[test]
fn start_send_before_the_sink_is_ready_is_an_error_and_queues_nothing() {
    for (mark, len, taken) in [(0, 0, 1), (100, 0, 4), (100, 10, 3), (128 * 1024, 0, 4096)] {
        let (mut ws, script, task) = stalled(Config::default().write_high_water_mark(mark));
        for i in 0..1_000_000.min(2 * taken) {
            let sent = Pin::new(&mut ws).start_send(Message::binary(vec![7; len]));
            match sent {
                Ok(()) => assert!(i < taken, "{i} messages for a mark of {mark}"),
                Err(error) => assert!(i >= taken && matches!(error, wsflow::Error::NotReady), "{i}: {error:?}"),
            }
        }
        assert_eq!(ws.buffered_amount(), (taken * len) as u64);
        // The connection is as it was.
        script.writes([], Step::Ready);
        assert!(matches!(task.poll_once(ws.send("next".into())), Poll::Ready(Ok(()))));
        assert_eq!(ws.stats().messages_sent, taken as u64 + 1);
    }
}
