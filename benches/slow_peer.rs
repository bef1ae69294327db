//! What the system's send queue hides of a slow peer, and what a low-water mark for it costs.
//!
//! ```sh
//! cargo bench --bench slow_peer                # the tables of docs/slow_peers.md, some three minutes
//! python3 tests/lossy_link.py --loss 0 --delay 25 COMMAND --bench --listen 10.99.0.1 --through 10.99.0.2    # over a long way
//! ```
//!
//! CPU time is that of the process, without the peer's thread.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use cpu_time::{ProcessTime, ThreadTime};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{runtime::Builder, time::sleep};
use wsflow::{Config, Message, WebSocketStream};

const KIB: usize = 1024;
/// The low-water marks that are tried; `None` is the system's.
const LOWATS: [Option<u32>; 5] = [None, Some(64 << 10), Some(128 << 10), Some(256 << 10), Some(512 << 10)];

/// Where the peer listens, and by way of which address it is reached.
#[derive(Clone, Copy)]
struct Way {
    listen: IpAddr,
    through: IpAddr,
}

/// A peer on a thread of its own, which answers pings once it has read them.
struct Peer {
    address: SocketAddr,
    read: Arc<AtomicU64>,
    /// Nanoseconds of CPU time of its thread.
    cpu: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Peer {
    /// `each`: how many bytes it reads each 200 ms; `None`: as fast as it can.
    fn start(way: Way, each: Option<usize>) -> Self {
        let listener = TcpListener::bind((way.listen, 0)).expect("a free port");
        let address = SocketAddr::new(way.through, listener.local_addr().expect("it is bound").port());
        let (read, cpu, is_over) = (Arc::default(), Arc::default(), Arc::default());
        let peer = Self { address, read, cpu, is_over };
        let (read, cpu, is_over) = (Arc::clone(&peer.read), Arc::clone(&peer.cpu), Arc::clone(&peer.is_over));
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            socket.set_nodelay(true).expect("a TCP socket");
            serve(&mut socket, each, &read, &cpu);
            is_over.store(true, Relaxed);
        });
        peer
    }
}

fn serve(socket: &mut TcpStream, each: Option<usize>, count: &AtomicU64, cpu: &AtomicU64) {
    let begun = Instant::now();
    let mut chunk = vec![0; each.unwrap_or(256 * KIB)];
    let (mut scan, mut read) = (Scan::default(), 0);
    loop {
        if let Some(each) = each {
            let due = Duration::from_millis(200) * u32::try_from(read / each).expect("a short run");
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let Ok(n @ 1..) = socket.read(&mut chunk) else { return };
        read += n;
        count.fetch_add(n as u64, Relaxed);
        for pong in scan.pings(&chunk[..n]) {
            if socket.write_all(&pong).is_err() {
                return;
            }
        }
        cpu.store(ThreadTime::now().as_duration().as_nanos() as u64, Relaxed);
    }
}

/// Finds pings among frames, and skips the payloads of others.
#[derive(Default)]
struct Scan {
    /// Bytes of payload that are skipped.
    skip: usize,
    begun: Vec<u8>,
}

impl Scan {
    fn pings(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pongs = Vec::new();
        loop {
            let n = self.skip.min(bytes.len());
            self.skip -= n;
            bytes.advance(n);
            if bytes.is_empty() {
                return pongs;
            }
            // A header comes byte by byte; a ping with its payload.
            self.begun.push(bytes.get_u8());
            let [first, second, rest @ ..] = &self.begun[..] else { continue };
            let (len, extended) = match second & 0x7f {
                126 if rest.len() >= 2 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
                127 if rest.len() >= 8 => (u64::from_be_bytes(rest[..8].try_into().expect("eight bytes")) as usize, 8),
                126 | 127 => continue,
                len => (usize::from(len), 0),
            };
            let is_ping = first & 15 == 9;
            if rest.len() < extended + 4 + if is_ping { len } else { 0 } {
                continue;
            }
            if is_ping {
                let (key, payload) = rest.split_at(4);
                let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
                pongs.push([0x8a, len as u8].into_iter().chain(payload).collect());
            } else {
                self.skip = len;
            }
            self.begun.clear();
        }
    }
}

/// A connection over a socket that has the options of `connect`.
async fn connect(peer: &Peer, lowat: Option<u32>) -> WebSocketStream {
    // The peer speaks no handshake: the socket is made as `connect` makes it, and then upgraded.
    let stream = tokio::net::TcpStream::connect(peer.address).await.expect("the peer listens");
    stream.set_nodelay(true).expect("a TCP socket");
    if let Some(lowat) = lowat {
        socket2::SockRef::from(&stream).set_tcp_notsent_lowat(lowat).expect("Linux");
    }
    let config = Config::default().keepalive_interval(None).close_timeout(Duration::ZERO);
    WebSocketStream::from_upgraded(wsflow::Transport::Plain(wsflow::Socket::Tcp(stream)), config)
}

fn message(len: usize) -> Message {
    Message::Binary(Bytes::from(vec![7; len]))
}

fn name(lowat: Option<u32>) -> String {
    lowat.map_or("the system's".into(), |bytes| format!("{} KiB", bytes >> 10))
}

/// A peer that reads so much each 200 ms, and halves that send all the time.
async fn slow_peer(way: Way, lowat: Option<u32>, each: usize) -> String {
    let peer = Peer::start(way, Some(each));
    let (sender, mut receiver) = connect(&peer, lowat).await.into_split();
    let receiving = tokio::spawn(async move { while let Some(Ok(_)) = receiver.next().await {} });
    let sending = tokio::spawn({
        let sender = sender.clone();
        async move { while sender.send(message(64 * KIB)).await.is_ok() {} }
    });
    let (begun, end) = (Instant::now(), Duration::from_secs(20));
    let (mut taken, mut taken_at, mut longest, mut after_1_s) = (0, begun, Duration::ZERO, 0);
    let mut ping = None;
    let mut rtt = String::from("not within 17 s");
    while begun.elapsed() < end {
        sleep(Duration::from_millis(5)).await;
        let now = sender.stats().wire_bytes_sent;
        if begun.elapsed() < Duration::from_secs(1) {
            after_1_s = now;
        } else {
            longest = longest.max(taken_at.elapsed());
        }
        if now > taken {
            (taken, taken_at) = (now, Instant::now());
        }
        if begun.elapsed() > Duration::from_secs(3) && ping.is_none() {
            let sender = sender.clone();
            ping = Some(tokio::spawn(async move { sender.ping().await }));
        }
        if ping.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
            && let Some(Ok(Ok(time))) = async { Some(ping.take()?.await) }.await
        {
            rtt = format!("{:.1} s", time.as_secs_f64());
        }
    }
    sending.abort();
    receiving.abort();
    format!("{} KiB | {:.1} s | {rtt}", after_1_s >> 10, longest.as_secs_f64())
}

/// Feeds as fast as it goes for a while: MB/s, and CPU time for each message.
async fn feed(way: Way, lowat: Option<u32>, len: usize, duration: Duration) -> (f64, Duration) {
    let peer = Peer::start(way, None);
    let mut ws = connect(&peer, lowat).await;
    let message = message(len);
    // Until TCP has found its rate.
    let warm = Instant::now();
    while warm.elapsed() < duration / 4 {
        ws.feed(message.clone()).await.expect("the peer reads");
    }
    let peer_cpu = || Duration::from_nanos(peer.cpu.load(Relaxed));
    let (cpu, theirs, begun, read) = (ProcessTime::now(), peer_cpu(), Instant::now(), peer.read.load(Relaxed));
    let mut sent: u32 = 0;
    while begun.elapsed() < duration {
        ws.feed(message.clone()).await.expect("the peer reads");
        sent += 1;
    }
    let cpu = cpu.elapsed().saturating_sub(peer_cpu() - theirs);
    let rate = (peer.read.load(Relaxed) - read) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    drop(ws);
    while !peer.is_over.load(Relaxed) {
        sleep(Duration::from_millis(1)).await;
    }
    (rate, cpu / sent.max(1))
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1)?.parse().expect("an address"))
    };
    // Without `--bench` it only shows that it runs.
    let is_short = !arguments.iter().any(|argument| argument == "--bench");
    let local = IpAddr::from([127, 0, 0, 1]);
    let way = Way { listen: option("--listen").unwrap_or(local), through: option("--through").unwrap_or(local) };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    if way.listen == local {
        println!(
            "| the peer reads | low-water mark | taken after 1 s | longest without progress | a ping asked for after 3 s |"
        );
        println!("|---|---|---|---|---|");
        let slow = [2 * KIB, 10 * KIB, 16 * KIB, 200 * KIB];
        for each in if is_short { &slow[3..] } else { &slow[..] } {
            let each = *each;
            for lowat in if is_short { &LOWATS[2..3] } else { &LOWATS[..] } {
                let lowat = *lowat;
                let row = runtime.block_on(slow_peer(way, lowat, each));
                println!("| {} KiB/s | {} | {row} |", each * 5 / KIB, name(lowat));
            }
        }
    }
    let sizes: &[usize] =
        if way.listen == local { &[64, 64 * KIB, 256 * KIB, 1024 * KIB] } else { &[64 * KIB, 256 * KIB] };
    println!("\n| fed, bytes | low-water mark | MB/s | CPU a message |");
    println!("|---|---|---|---|");
    // In turn, so that a change of the machine shows in all of them.
    let (rounds, duration) = match way.listen == local {
        true if is_short => (1, Duration::from_millis(10)),
        true => (5, Duration::from_millis(400)),
        false => (1, Duration::from_secs(8)),
    };
    for &len in sizes {
        let mut measured = LOWATS.map(|_| Vec::new());
        for _ in 0..rounds {
            for (measured, lowat) in measured.iter_mut().zip(LOWATS) {
                measured.push(runtime.block_on(feed(way, lowat, len, duration)));
            }
        }
        for (mut measured, lowat) in measured.into_iter().zip(LOWATS) {
            measured.sort_by_key(|(_, cpu)| *cpu);
            let (rate, cpu) = measured[measured.len() / 2];
            println!("| {len} | {} | {rate:.1} | {cpu:.2?} |", name(lowat));
        }
    }
}
