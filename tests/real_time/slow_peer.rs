//! Peers that read slowly, or not at all, over TCP: what is felt of them, and when they count as dead.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream as StdStream,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use futures::{SinkExt as _, StreamExt as _, future::join_all};
use socket2::SockRef;
use testkit::{frame, server::Script};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{oneshot, watch},
    time::timeout,
};
use wsflow::{ClientBuilder, CloseFrame, Config, Error, Message, Phase, WebSocketStream};

use crate::shared_turn;

/// A peer on a thread of its own. It answers pings, and a Close, when it comes to them.
struct Peer {
    /// How many bytes it has read.
    read: watch::Receiver<usize>,
    thread: JoinHandle<Seen>,
    /// Dropped, the peer reads as fast as it can.
    _reins: Sender<()>,
}

/// What the peer has seen until the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: usize,
    has_closed: bool,
}

/// How a peer reads.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// So many bytes each 50 ms.
    Each(usize),
    Frozen,
    /// All, and it answers no ping.
    Mute,
}

impl Peer {
    fn run(io: StdStream, manner: Manner) -> Self {
        let (reins, freed) = channel();
        let (count, read) = watch::channel(0);
        Self { read, thread: thread::spawn(move || serve(io, manner, &freed, &count)), _reins: reins }
    }

    /// Waits until it has read so many bytes.
    async fn has_read(&mut self, bytes: usize) {
        self.read.wait_for(|read| *read >= bytes).await.expect("the peer is there");
    }
}

fn serve(mut io: StdStream, manner: Manner, freed: &Receiver<()>, count: &watch::Sender<usize>) -> Seen {
    const TICK: Duration = Duration::from_millis(50);
    let size = match manner {
        Manner::Each(size) => size,
        Manner::Frozen | Manner::Mute => 1 << 16,
    };
    let (mut seen, mut buffer, mut chunk) = (Seen::default(), BytesMut::new(), vec![0; size]);
    let begun = Instant::now();
    let mut read = 0;
    loop {
        while let Some(frame) = frame::take(&mut buffer) {
            match frame.opcode {
                frame::PING if matches!(manner, Manner::Mute) => {}
                frame::PING => io.write_all(&frame::encode(true, 0, frame::PONG, &frame.payload)).unwrap(),
                frame::CLOSE => {
                    io.write_all(&frame::encode(true, 0, frame::CLOSE, &frame.payload)).unwrap();
                    return Seen { has_closed: true, ..seen };
                }
                _ => seen.messages += usize::from(frame.fin),
            }
        }
        // It waits for its time to read, or until it is let go.
        match manner {
            Manner::Mute => {}
            Manner::Frozen => _ = freed.recv(),
            Manner::Each(size) => {
                let due = TICK * u32::try_from(read / size).unwrap();
                let _ = freed.recv_timeout(due.saturating_sub(begun.elapsed()));
            }
        }
        match io.read(&mut chunk) {
            Ok(0) | Err(_) => return seen,
            Ok(n) => {
                read += n;
                count.send_replace(read);
                buffer.extend_from_slice(&chunk[..n]);
            }
        }
    }
}

async fn connect(
    manner: Manner,
    config: Config,
    options: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (WebSocketStream, Peer) {
    let server = Script::bind().await;
    let client = options(WebSocketStream::builder(server.url("/")).config(config)).connect();
    let (ws, peer) = tokio::join!(client, server.accept());
    let io = peer.into_io().into_std().unwrap();
    io.set_nonblocking(false).unwrap();
    (ws.unwrap(), Peer::run(io, manner))
}

fn message() -> Message {
    Message::binary(vec![7; 16 << 10])
}

#[tokio::test]
async fn the_options_of_tcp_are_set_on_the_socket() {
    let _turn = shared_turn().await;
    let options = |ws: &WebSocketStream| {
        let socket = SockRef::from(ws.get_ref().get_ref().as_tcp().unwrap());
        (
            socket.tcp_notsent_lowat().unwrap(),
            socket.tcp_user_timeout().unwrap(),
            // Linux doubles what it is given.
            socket.recv_buffer_size().unwrap() / 2,
        )
    };
    let (ws, _peer) = connect(Manner::Frozen, Config::default(), |client| client).await;
    let (lowat, user_timeout, recv_buffer) = options(&ws);
    assert_eq!((lowat, user_timeout), (128 << 10, Some(Duration::from_secs(60))));
    let (ws, _peer) = connect(Manner::Frozen, Config::default(), |client| {
        client.tcp_notsent_lowat(1 << 16).tcp_user_timeout(Duration::from_secs(7)).tcp_recv_buffer_size(1 << 14)
    })
    .await;
    assert_eq!(options(&ws), (1 << 16, Some(Duration::from_secs(7)), 1 << 14));
    assert_ne!(recv_buffer, 1 << 14);
    let (ws, _peer) = connect(Manner::Frozen, Config::default(), |client| {
        client.tcp_notsent_lowat(None).tcp_user_timeout(None).tcp_recv_buffer_size(None)
    })
    .await;
    let (lowat, user_timeout, _) = options(&ws);
    assert_eq!((lowat, user_timeout), (0, None), "as the system has it");
}

/// Without a low-water mark the system takes some 4 MiB at once, and a ping is not answered within 17 s.
#[tokio::test]
async fn a_slow_peer_is_felt_before_megabytes_were_taken_and_a_ping_gets_through_soon() {
    let _turn = shared_turn().await;
    let (ws, mut peer) = connect(Manner::Each(4 << 10), Config::default(), |client| client).await;
    let (sender, mut receiver) = ws.into_split();
    let receiving = tokio::spawn(async move { while receiver.next().await.is_some() {} });
    let pouring = tokio::spawn({
        let sender = sender.clone();
        async move { while sender.send(message()).await.is_ok() {} }
    });
    // As much as it takes for the peer to fill all queues on the way.
    peer.has_read(80 << 10).await;
    let taken = sender.stats().wire_bytes_sent;
    assert!(taken < 1 << 20, "{taken} bytes were taken for a peer that has read 80 KiB");
    let rtt = timeout(Duration::from_secs(15), sender.ping()).await.expect("a pong in time").unwrap();
    assert!(rtt < Duration::from_secs(12), "{rtt:?}");
    drop(peer._reins);
    pouring.abort();
    let _ = pouring.await;
    assert!(sender.close_with(CloseFrame::new(1000, "")).await.unwrap().was_clean);
    receiving.await.unwrap();
}

/// Also where the system has queued all that it may before the close: 50, 100 and 1000 KB/s.
#[tokio::test]
async fn a_close_with_the_default_deadlines_cuts_no_slow_peer() {
    let _turn = shared_turn().await;
    let peers = [2500, 5000, 50_000].map(|each| async move {
        let (mut ws, peer) = connect(Manner::Each(each), Config::default(), |client| client).await;
        let mut sent = 0;
        // Until nothing is taken for a while.
        while timeout(Duration::from_millis(300), ws.feed(message())).await.is_ok_and(|fed| fed.is_ok()) && sent < 100 {
            sent += 1;
        }
        let closed = ws.close_with(CloseFrame::new(1000, "")).await;
        assert!(closed.as_ref().is_ok_and(|closed| closed.was_clean), "{each} bytes each 50 ms: {closed:?}");
        let seen = tokio::task::spawn_blocking(|| peer.thread.join().unwrap()).await.unwrap();
        assert!(seen.has_closed && seen.messages >= sent, "{each} bytes each 50 ms: {seen:?} of {sent}");
    });
    join_all(peers).await;
}

/// As in a program that was stopped: its system still acknowledges what it has room for.
#[tokio::test]
async fn who_only_sends_learns_that_the_peer_is_frozen() {
    let _turn = shared_turn().await;
    let limit = Duration::from_secs(1);
    let config = Config::default().write_timeout(limit);
    let (mut ws, _peer) = connect(Manner::Frozen, config, |client| client).await;
    let sending = async {
        loop {
            if let Err(error) = ws.send(message()).await {
                break error;
            }
        }
    };
    let error = timeout(Duration::from_secs(20), sending).await.expect("an end");
    assert!(matches!(error, Error::Timeout { phase: Phase::Write, after, .. } if after == limit), "{error}");
}

/// The system's own deadline, where there is no other: it takes a window that stays closed for a dead peer.
#[tokio::test]
async fn without_a_write_timeout_the_deadline_of_tcp_finds_a_frozen_peer() {
    let _turn = shared_turn().await;
    let config = Config::default().write_timeout(None);
    let (mut ws, _peer) =
        connect(Manner::Frozen, config, |client| client.tcp_user_timeout(Duration::from_secs(1))).await;
    let sending = async {
        loop {
            if let Err(error) = ws.send(message()).await {
                break error;
            }
        }
    };
    let error = timeout(Duration::from_secs(20), sending).await.expect("an end");
    assert!(error.is_timeout() && matches!(error, Error::Io(_)), "{error}");
}

/// It reads all that is sent and answers no ping, as a relay that swallows: what it takes proves nothing for long.
#[tokio::test]
async fn a_sender_that_never_pauses_finds_a_peer_that_only_reads() {
    let _turn = shared_turn().await;
    let limit = Duration::from_millis(500);
    let config = Config::default().keepalive_interval(limit).keepalive_timeout(limit);
    let (ws, _peer) = connect(Manner::Mute, config, |client| client).await;
    let (sender, mut receiver) = ws.into_split();
    let pouring = tokio::spawn(async move {
        while sender.send(message()).await.is_ok() {}
        sender
    });
    let end = timeout(Duration::from_secs(20), receiver.next()).await.expect("an end");
    assert!(matches!(end, Some(Err(Error::Timeout { phase: Phase::Keepalive, .. }))), "{end:?}");
    let error = pouring.await.unwrap().send("more").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { phase: Phase::Keepalive, .. }), "{error}");
}

/// It reads 80 KB/s, says nothing and comes to the pings late: more than both times of keepalive pass before it answers one.
#[tokio::test]
async fn keepalive_does_not_end_a_peer_that_reads_slowly() {
    let _turn = shared_turn().await;
    let config =
        Config::default().keepalive_interval(Duration::from_millis(200)).keepalive_timeout(Duration::from_secs(3));
    let (ws, mut peer) = connect(Manner::Each(4 << 10), config, |client| client).await;
    let (sender, mut receiver) = ws.into_split();
    let mut receiving = tokio::spawn(async move { receiver.next().await });
    let pouring = tokio::spawn({
        let sender = sender.clone();
        async move { while sender.send(message()).await.is_ok() {} }
    });
    // Far longer than both times together.
    let end = tokio::select! {
        () = peer.has_read(500 << 10) => None,
        end = &mut receiving => Some(end),
    };
    assert!(end.is_none(), "{end:?}");
    drop(peer._reins);
    pouring.abort();
    let _ = pouring.await;
    assert!(sender.close_with(CloseFrame::new(1000, "")).await.unwrap().was_clean);
}

/// Goes on for a while and rests for a while, until the end of all moods: `WSFLOW_MOODY_SECONDS=600` is a soak.
struct Moods {
    mood: Duration,
    turn: u32,
    rests_at: Instant,
    end: Instant,
}

impl Moods {
    fn new() -> Self {
        let (mood, seconds) = match std::env::var("WSFLOW_MOODY_SECONDS") {
            Ok(seconds) => (4000, seconds.parse().expect("seconds")),
            Err(_) => (300, 3.0),
        };
        let now = Instant::now();
        let end = now + Duration::from_secs_f64(seconds);
        Self { mood: Duration::from_millis(mood), turn: 0, rests_at: now, end }
    }

    /// Whether it goes on, after its rest if that is due.
    async fn go_on(&mut self) -> bool {
        if Instant::now() < self.rests_at {
            return true;
        }
        self.turn += 1;
        let mood = self.mood * (self.turn * 7 % 5 + 1) / 5;
        tokio::time::sleep(mood).await;
        self.rests_at = Instant::now() + mood;
        Instant::now() < self.end
    }
}

/// Both sides send and read as fast as they can for a while, and then not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_speed_changes_between_nothing_and_all_keeps_its_connection_both_ways() {
    let _turn = shared_turn().await;
    let server = Script::bind().await;
    let (ws, peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let (sender, mut receiver) = ws.unwrap().into_split();
    let (mut io_read, mut io_write) = peer.into_io().into_split();

    let sending = tokio::spawn(async move {
        let (mut moods, mut sent) = (Moods::new(), 0);
        while moods.go_on().await {
            sender.send(message()).await.unwrap();
            sent += 1;
        }
        (sent, sender.close_with(CloseFrame::new(1000, "")).await.unwrap())
    });
    let receiving = tokio::spawn(async move {
        let (mut moods, mut received) = (Moods::new(), 0);
        while let Some(message) = receiver.next().await {
            message.unwrap();
            received += 1;
            moods.go_on().await;
        }
        received
    });
    let (close, closed) = oneshot::channel();
    let pouring = tokio::spawn(async move {
        let frame = frame::encode(true, 0, frame::BINARY, message().as_bytes());
        let (mut moods, mut poured) = (Moods::new(), 0);
        while moods.go_on().await && closed.is_empty() {
            io_write.write_all(&frame).await.unwrap();
            poured += 1;
        }
        let body: Vec<u8> = closed.await.unwrap();
        io_write.write_all(&frame::encode(true, 0, frame::CLOSE, &body)).await.unwrap();
        io_write.shutdown().await.unwrap();
        poured
    });
    let (mut moods, mut seen, mut buffer) = (Moods::new(), 0, BytesMut::new());
    let body = 'reading: loop {
        while let Some(frame) = frame::take(&mut buffer) {
            match frame.opcode {
                frame::CLOSE => break 'reading frame.payload,
                frame::PING => {}
                _ => seen += usize::from(frame.fin),
            }
        }
        moods.go_on().await;
        assert_ne!(io_read.read_buf(&mut buffer).await.unwrap(), 0, "the client ended without a Close");
    };
    close.send(body).unwrap();
    let ((sent, end), received, poured) = (sending.await.unwrap(), receiving.await.unwrap(), pouring.await.unwrap());
    println!("{sent} messages sent, {received} received");
    assert!(end.is_normal(), "{end}");
    assert_eq!((seen, received), (sent, poured));
}
