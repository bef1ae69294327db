//! Reading and writing take turns: whatever is queued, the peer's ping is answered soon, and what comes is received soon.
//!
//! Soon is told in what leaves meanwhile, so that no clock is asked: the peer takes all that the client writes.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    task::{JoinSet, coop},
};
use wsflow::{Config, Deflate, Message, NextOrRoom, UpgradedParts, WebSocketStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The largest frame that a client sends.
const FRAME: usize = 256 * KIB;

/// The most that one poll writes: 2 MiB, and the last write, of 1 MiB, may have begun before that.
const POLL: usize = 3 * MIB;

/// The same of what is compressed: 64 KiB, and the frame that they end.
const COMPRESSING_POLL: usize = 64 * KIB + FRAME;

/// The most that leaves between the peer's ping and the pong, and until the message behind the ping is received: what two
/// polls write, as the one that reads writes, too, before another task receives, and a frame that each of them has begun.
const fn most(poll: usize) -> usize {
    2 * (poll + FRAME)
}

/// The most of it that leaves once the client has read the ping: the frame that is being written, and one behind it that
/// must not be changed any more.
const MOST_ONCE_READ: usize = 2 * FRAME + 16 * KIB;

/// What the peer takes between a pong and its next ping: each comes at another place of a frame.
const PAUSE: usize = 333_333;

/// How often it asks.
const PINGS: usize = 5;

/// A peer that has heard nothing else for so long ends the connection.
const PATIENCE: usize = 12 * MIB;

const PING: u8 = 9;
const PONG: u8 = 10;

/// How much left before something happened, at most, in bytes of headers and payloads.
#[derive(Debug, Default, Clone, Copy)]
struct Left {
    until_pong: usize,
    until_pong_once_read: usize,
    until_received: usize,
}

/// What was asked of the client and is not done.
#[derive(Debug, Default)]
struct Asked {
    /// How much has left since, and since the client has read it.
    left: usize,
    left_once_read: Option<usize>,
    is_answered: bool,
    is_received: bool,
}

/// The peer's side. It takes all that is written, at once.
#[derive(Debug, Default)]
struct Peer {
    /// Headers that have not come as a whole.
    head: BytesMut,
    /// What is still to come of the frame whose header has.
    rest: usize,
    /// What it takes until it asks the next time.
    pause: usize,
    asked: Option<Asked>,
    /// What it has said and the client has not read.
    said: BytesMut,
    reader: Option<Waker>,
    pings: usize,
    most: Left,
    is_over: bool,
}

impl Peer {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = if self.rest > 0 { self.rest.min(bytes.len()) } else { 1 };
            self.count(n);
            if self.rest > 0 {
                self.rest -= n;
            } else {
                self.head.extend_from_slice(&bytes[..n]);
                self.end_head();
            }
            bytes.advance(n);
        }
    }

    /// Of which the header's last byte may have come.
    fn end_head(&mut self) {
        let Some(&second) = self.head.get(1) else { return };
        let (len, header) = match (second & 0x7f, &self.head[2..]) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]).try_into().expect("a length"), 10)
            }
            (126 | 127, _) => return,
            (len, _) => (usize::from(len), 2),
        };
        if self.head.len() < header + 4 {
            return;
        }
        if self.head[0] & 15 == PONG {
            self.hear_pong();
        }
        self.head.clear();
        self.rest = len;
    }

    fn count(&mut self, n: usize) {
        let Some(asked) = &mut self.asked else {
            self.pause = self.pause.saturating_sub(n);
            if self.pause == 0 && !self.is_over {
                self.ask();
            }
            return;
        };
        asked.left += n;
        if let Some(left) = &mut asked.left_once_read {
            *left += n;
        }
        if !asked.is_answered {
            self.most.until_pong = self.most.until_pong.max(asked.left);
            let once_read = asked.left_once_read.unwrap_or(0);
            self.most.until_pong_once_read = self.most.until_pong_once_read.max(once_read);
        }
        if !asked.is_received {
            self.most.until_received = self.most.until_received.max(asked.left);
        }
        self.is_over |= asked.left > PATIENCE;
    }

    fn ask(&mut self) {
        self.said.extend_from_slice(&[0x80 | PING, 0, 0x81, 0]);
        self.asked = Some(Asked::default());
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn hear_pong(&mut self) {
        self.asked.as_mut().expect("a ping was sent").is_answered = true;
        self.end_round();
    }

    fn hear_received(&mut self) {
        self.asked.as_mut().expect("a message was sent").is_received = true;
        self.end_round();
    }

    fn end_round(&mut self) {
        if self.asked.as_ref().is_some_and(|asked| asked.is_answered && asked.is_received) {
            self.asked = None;
            self.pause = PAUSE;
            self.pings += 1;
            self.is_over |= self.pings == PINGS;
        }
    }
}

/// The client's transport, and the peer behind it.
#[derive(Clone)]
struct Pipe {
    peer: Arc<Mutex<Peer>>,
    over: Arc<Notify>,
    /// The most that is taken in a turn of the task that writes.
    takes: usize,
    /// What was taken in this turn.
    taken: usize,
}

impl Pipe {
    fn peer(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().expect("nobody has panicked")
    }

    fn take(&mut self, slices: &[&[u8]], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.taken >= self.takes {
            // The system's buffer is full, until the peer had its turn.
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // As tokio's own sockets do, it lets others run.
        let coop = ready!(coop::poll_proceed(cx));
        coop.made_progress();
        let mut n = 0;
        for slice in slices {
            let part = &slice[..slice.len().min(self.takes - self.taken)];
            self.peer().take(part);
            self.taken += part.len();
            n += part.len();
        }
        if self.peer().is_over {
            self.over.notify_one();
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let coop = ready!(coop::poll_proceed(cx));
        let mut peer = self.peer();
        if peer.said.is_empty() {
            peer.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        coop.made_progress();
        let n = peer.said.len().min(buf.remaining());
        buf.put_slice(&peer.said.split_to(n));
        if let Some(asked) = &mut peer.asked {
            asked.left_once_read.get_or_insert(0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.take(&[buf], cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.take(&slices.iter().map(|slice| &**slice).collect::<Vec<_>>(), cx)
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

/// Who sends, and who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One task does both, by `next_or_room`.
    OneTask,
    /// Two tasks, each with a part of what `StreamExt::split` makes.
    Split,
    /// Two tasks, each with a half.
    Halves,
    /// Halves, and a sender for each of four tasks.
    ManySenders,
}

/// A client that always has something to send.
struct Row {
    way: Way,
    message: usize,
    is_compressed: bool,
    /// The most that the transport takes in a turn.
    takes: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, message, is_compressed, takes } = self;
        let compressed = if *is_compressed { "compressed" } else { "as they are" };
        let takes = if *takes == usize::MAX { "all".to_owned() } else { format!("{} KiB", takes / KIB) };
        write!(f, "{way:?}, messages of {} KiB {compressed}, the transport takes {takes}", message / KIB)
    }
}

impl Row {
    /// What left before the peer was answered, at most.
    fn run(&self) -> Left {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let peer = Arc::new(Mutex::new(Peer { pause: PAUSE, ..Peer::default() }));
            let pipe = Pipe { peer, over: Arc::default(), takes: self.takes, taken: 0 };
            let mut tasks = JoinSet::new();
            self.start(pipe.clone(), &mut tasks);
            tokio::select! {
                () = pipe.over.notified() => {}
                Some(end) = tasks.join_next() => panic!("{self}: {end:?}"),
            }
            pipe.peer().most
        })
    }

    fn start(&self, pipe: Pipe, tasks: &mut JoinSet<()>) {
        let peer = Arc::clone(&pipe.peer);
        let message = Message::from(noise(self.message));
        let mut config = Config::default().without_timers();
        let mut extensions = "";
        if self.is_compressed {
            // The level is a matter of time alone.
            config = config.deflate(Deflate::default().level(0));
            extensions = "permessage-deflate";
        }
        let parts = UpgradedParts::new(pipe).extensions(extensions).config(config);
        let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("extensions that were offered");
        let receive = move || peer.lock().expect("nobody has panicked").hear_received();
        match self.way {
            Way::OneTask => drop(tasks.spawn(async move {
                loop {
                    while ws.has_room() {
                        ws.feed(message.clone()).await.expect("open");
                    }
                    if let NextOrRoom::Message(_) = ws.next_or_room().await.expect("open").expect("open") {
                        receive();
                    }
                }
            })),
            Way::Split => {
                let (mut sink, mut stream) = ws.split();
                tasks.spawn(async move { while sink.send(message.clone()).await.is_ok() {} });
                tasks.spawn(async move {
                    while let Some(Ok(_)) = stream.next().await {
                        receive();
                    }
                });
            }
            Way::Halves | Way::ManySenders => {
                let (sender, mut receiver) = ws.into_split();
                for _ in 0..if self.way == Way::Halves { 1 } else { 4 } {
                    let (sender, message) = (sender.clone(), message.clone());
                    tasks.spawn(async move { while sender.send(message.clone()).await.is_ok() {} });
                }
                tasks.spawn(async move {
                    while let Some(Ok(_)) = receiver.next().await {
                        receive();
                    }
                });
            }
        }
    }
}

/// Bytes that cannot be compressed.
fn noise(len: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes.into()
}

/// Each size over each transport.
#[track_caller]
fn assert_soon(way: Way, is_compressed: bool) {
    let mut wrong = Vec::new();
    for takes in [usize::MAX, 64 * KIB] {
        for message in [KIB, 64 * KIB, 256 * KIB, 20 * MIB] {
            let row = Row { way, message, is_compressed, takes };
            let left = row.run();
            let at_most = most(if is_compressed { COMPRESSING_POLL } else { POLL });
            println!("{row}: {left:?}");
            let Left { until_pong, until_pong_once_read, until_received } = left;
            for (what, came, at_most) in [
                ("the pong", until_pong, at_most),
                ("the pong to a ping that was read", until_pong_once_read, MOST_ONCE_READ),
                ("the message was received", until_received, at_most),
            ] {
                if came > at_most {
                    wrong.push(format!("{row}: {came} bytes left before {what}, at most {at_most} may"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_task_that_sends_reads_soon() {
    assert_soon(Way::OneTask, false);
}

#[test]
fn one_task_that_sends_compressed_reads_soon() {
    assert_soon(Way::OneTask, true);
}

#[test]
fn beside_a_task_that_sends_another_reads_soon() {
    assert_soon(Way::Split, false);
}

#[test]
fn beside_a_task_that_sends_compressed_another_reads_soon() {
    assert_soon(Way::Split, true);
}

#[test]
fn halves_that_send_read_soon() {
    assert_soon(Way::Halves, false);
}

#[test]
fn halves_that_send_compressed_read_soon() {
    assert_soon(Way::Halves, true);
}

#[test]
fn halves_with_many_senders_read_soon() {
    assert_soon(Way::ManySenders, false);
}

#[test]
fn halves_with_many_senders_that_compress_read_soon() {
    assert_soon(Way::ManySenders, true);
}
