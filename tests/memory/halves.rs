//! What the halves hold in memory, counted by the allocator: both marks, whatever the peer does.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt as _;
use testkit::{
    frame::{BINARY, PING, encode},
    heap,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime,
    task::yield_now,
    time::timeout,
};
use wsflow::{Config, Receiver, Sender, TrySendError, WebSocketStream};

const KIB: usize = 1024;

/// The marks in these tests.
const MARK: usize = 64 * KIB;

/// A transport that takes nothing, or all, and that has these bytes to be read, so often.
struct Transport {
    takes: bool,
    served: &'static [u8],
    at: usize,
    times: usize,
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.times == 0 {
            return Poll::Pending;
        }
        let n = buf.remaining().min(self.served.len() - self.at);
        buf.put_slice(&self.served[self.at..self.at + n]);
        self.at += n;
        if self.at == self.served.len() {
            self.at = 0;
            self.times -= 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes { Poll::Ready(Ok(buf.len())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn halves(takes: bool, served: &'static [u8]) -> (Sender, Receiver) {
    let times = if served.is_empty() { 0 } else { usize::MAX };
    open(Transport { takes, served, at: 0, times })
}

fn open(transport: Transport) -> (Sender, Receiver) {
    let config = Config::default().write_high_water_mark(MARK).read_high_water_mark(MARK).keepalive_interval(None);
    WebSocketStream::from_upgraded(transport, config).into_split()
}

/// What is held of `run`, beyond what was held before, once it is done: it gives what is to be kept until then.
fn held_by<T>(run: impl AsyncFnOnce() -> T) -> usize {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let before = heap::held();
        let kept = run().await;
        let held = heap::held() - before;
        drop(kept);
        held as usize
    })
}

async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[test]
fn senders_hold_the_mark_and_what_each_message_needs_besides() {
    // (payload, at most for the mark and 48 bytes a message): what small messages take besides is bookkeeping.
    for (payload, most) in [(0, 4 * MARK), (16, 3 * MARK), (1000, 2 * MARK), (MARK - 32, 2 * MARK)] {
        for settles in [false, true] {
            let held = held_by(async || {
                let (sender, receiver) = halves(false, &[]);
                let mut messages = 0;
                loop {
                    match sender.try_send(vec![7; payload]) {
                        Ok(()) => messages += 1,
                        Err(TrySendError::Full(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                    if settles {
                        settle().await;
                    }
                }
                assert_eq!(messages, MARK / (payload + 32));
                settle().await;
                (sender, receiver)
            });
            assert!((MARK / 4..most + 32 * KIB).contains(&held), "{payload} B: {held} B are held");
        }
    }
}

#[test]
fn a_receiver_that_takes_nothing_holds_its_mark_and_the_read_buffer() {
    let message = |len: usize| encode(true, 0, BINARY, &vec![7; len]);
    let pings = encode(true, 0, PING, &[0; 125]).repeat(1000);
    let floods: [(&str, Vec<u8>); 6] = [
        ("empty messages", message(0).repeat(1000)),
        ("small messages", message(16).repeat(1000)),
        ("messages of 1 KiB", message(KIB).repeat(100)),
        ("messages of 60 KiB", message(60 * KIB)),
        // Each would keep a whole read buffer.
        ("a message among many pings", [message(1), pings.clone()].concat()),
        ("two messages among many pings", [message(1), message(100), pings].concat()),
    ];
    for (name, served) in floods {
        let served = served.leak();
        let held = held_by(async || {
            let halves = halves(true, served);
            settle().await;
            assert!(halves.1.stats().messages_received > 0);
            halves
        });
        assert!(held < 4 * MARK + 2 * 128 * KIB, "{name}: {held} B are held");
    }
}

/// Where a message is more than half of a read buffer, each may keep one of its own.
#[test]
fn a_receiver_of_messages_about_as_large_as_its_read_buffer_holds_its_mark_two_of_these_and_a_message() {
    const MARK: usize = KIB * KIB;
    for read_buffer_max in [64 * KIB, 128 * KIB] {
        for len in [20_000, 33_000, 40_000, 60_000] {
            let served = encode(true, 0, BINARY, &vec![7; len]).leak();
            let held = held_by(async || {
                let config = Config::default().read_high_water_mark(MARK).read_buffer_max(read_buffer_max);
                let transport = Transport { takes: true, served, at: 0, times: usize::MAX };
                let config = config.keepalive_interval(None);
                let halves = WebSocketStream::from_upgraded(transport, config).into_split();
                settle().await;
                assert!(halves.1.stats().messages_received > 8);
                halves
            });
            // The last is what an idle connection holds.
            let most = MARK + 2 * read_buffer_max + len + 100 * (MARK / len) + 10 * KIB;
            assert!((MARK / 2..=most).contains(&held), "{len} B, {read_buffer_max} B: {held} B are held, not {most}");
        }
    }
}

#[test]
fn what_a_burst_took_is_given_back() {
    const MESSAGES: usize = 20_000;
    let served = encode(true, 0, BINARY, &[7; 16]).repeat(MESSAGES).leak();
    let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let before = heap::held();
        let (sender, mut receiver) = open(Transport { takes: true, served, at: 0, times: 1 });
        for _ in 0..MESSAGES {
            receiver.next().await.expect("open").expect("open");
            let _ = sender.try_send([7; 16].to_vec());
        }
        sender.flush().await.expect("open");
        // The task waits for the socket, and the receiver for the task. Then the connection is idle.
        assert!(timeout(Duration::from_secs(5), receiver.next()).await.is_err());
        let held = heap::held() - before;
        assert!(held < 20 * KIB as isize, "{held} B are held");
    });
}
