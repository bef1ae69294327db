//! The accounting as a property: whatever is sent and however it is taken, `bufferedAmount` is what was accepted and
//! not taken by the transport.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use futures::FutureExt as _;
use proptest::{prelude::*, test_runner::TestCaseResult};
use testkit::{
    frame::{CLOSE, PING, TEXT, close_body, encode},
    peer::Peer,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use wsflow::{Config, Deflate, ReadyState, compat::WebSocket};

use crate::event_api::log::{Log, Seen, plain};

#[derive(Debug, Clone)]
enum Op {
    /// The client sends a message of so many bytes, that compress well or not at all.
    Send(usize, bool),
    /// It sends so much in its next handler.
    SendInHandler(usize),
    /// The server reads at most so many bytes.
    Read(usize),
    /// The server says something, which is an event.
    Say,
    Ping,
    Close,
    PeerClose,
    PeerBreaksTheProtocol,
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![0..200_usize, 0..20_000_usize, 0..200_000_usize];
    prop_oneof![
        6 => (len(), any::<bool>()).prop_map(|(len, is_random)| Op::Send(len, is_random)),
        3 => len().prop_map(Op::SendInHandler),
        8 => len().prop_map(Op::Read),
        8 => Just(Op::Say),
        1 => Just(Op::Ping),
        1 => Just(Op::Close),
        1 => Just(Op::PeerClose),
        1 => Just(Op::PeerBreaksTheProtocol),
        1 => Just(Op::Reset),
    ]
}

#[derive(Debug, Clone)]
struct Case {
    is_compressed: bool,
    fragment_size: usize,
    mark: usize,
    max_buffered_amount: Option<u64>,
    pipe: usize,
    /// Whether the server reads to the end, or is gone.
    is_read: bool,
    ops: Vec<Op>,
}

fn case() -> impl Strategy<Value = Case> {
    let ops = prop::collection::vec(op(), 1..40);
    let bounds = (prop_oneof![1000..5000_usize, Just(1 << 18)], prop_oneof![Just(1), Just(1000), Just(1 << 17)]);
    let limit = prop_oneof![3 => Just(None), 1 => (0..300_000_u64).prop_map(Some)];
    let pipe = prop_oneof![Just(1 << 8), Just(5000), Just(1 << 16)];
    (any::<bool>(), bounds, limit, pipe, any::<bool>(), ops).prop_map(
        |(is_compressed, (fragment_size, mark), max_buffered_amount, pipe, is_read, ops)| Case {
            is_compressed,
            fragment_size,
            mark,
            max_buffered_amount,
            pipe,
            is_read,
            ops,
        },
    )
}

/// What the transport has taken, read off the frames that were written to it.
#[derive(Debug, Default)]
struct Wire {
    bytes: Vec<u8>,
    /// Where the first frame begins.
    start: Option<usize>,
}

impl Wire {
    fn wrote(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.start.is_none() {
            let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
            self.start = end.map(|end| end + 4);
        }
    }

    /// The data frames: the length of each and how much of it was written.
    fn frames(&self) -> Vec<(usize, usize)> {
        let mut frames = Vec::new();
        let mut at = self.start.unwrap_or(self.bytes.len());
        while let Some(&[first, second]) = self.bytes.get(at..at + 2) {
            let (len, size) = match second & 127 {
                126 => (
                    self.bytes.get(at + 2..at + 4).map(|len| u64::from(u16::from_be_bytes(len.try_into().unwrap()))),
                    8,
                ),
                127 => (self.bytes.get(at + 2..at + 10).map(|len| u64::from_be_bytes(len.try_into().unwrap())), 14),
                len => (Some(u64::from(len)), 6),
            };
            let Some(len) = len else { break };
            let (len, body) = (len as usize, at + size);
            if first & 8 == 0 {
                frames.push((len, self.bytes.len().saturating_sub(body).min(len)));
            }
            at = body + len;
        }
        frames
    }
}

/// A transport that keeps what it took.
struct Metered {
    io: DuplexStream,
    wire: Arc<Mutex<Wire>>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.wire.lock().unwrap().wrote(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What was sent, and what must be left of it.
#[derive(Debug)]
struct Account {
    fragment_size: usize,
    accepted: u64,
    /// The payload behind each data frame that can be on the wire, in order.
    frames: Vec<usize>,
    wire: Arc<Mutex<Wire>>,
}

impl Account {
    fn send(&mut self, ws: &WebSocket, data: Vec<u8>) {
        let len = data.len();
        let is_open = ws.ready_state() == ReadyState::Open;
        let before = ws.buffered_amount();
        if ws.send(data).is_err() {
            assert_eq!((ws.ready_state(), ws.buffered_amount()), (ReadyState::Connecting, 0));
            return;
        }
        assert_eq!(ws.buffered_amount(), before + len as u64);
        self.accepted += len as u64;
        if is_open {
            self.frames
                .extend((0..len.max(1)).step_by(self.fragment_size).map(|at| (len - at).min(self.fragment_size)));
        }
    }

    /// What the transport has not taken, rounded down and up for the one compressed frame that is on its way.
    fn left(&self) -> [u64; 2] {
        let written = self.wire.lock().unwrap().frames();
        assert!(written.len() <= self.frames.len(), "more frames than were sent");
        let mut taken = [0, 0];
        for (&payload, (len, written)) in self.frames.iter().zip(written) {
            let (payload, len, written) = (payload as u64, len.max(1) as u64, written as u64);
            taken[0] += (payload * written).div_ceil(len);
            taken[1] += payload * written / len;
        }
        taken.map(|taken| self.accepted - taken)
    }

    fn check(&self, ws: &WebSocket, when: &str) {
        let ([at_least, at_most], amount) = (self.left(), ws.buffered_amount());
        assert!((at_least..=at_most).contains(&amount), "{when}: {amount}, expected {at_least} to {at_most}");
    }
}

async fn run(case: Case) -> TestCaseResult {
    let wire = Arc::new(Mutex::new(Wire::default()));
    let fragment_size = case.fragment_size;
    let account = Account { fragment_size, accepted: 0, frames: Vec::new(), wire: Arc::clone(&wire) };
    let account = Arc::new(Mutex::new(account));
    let in_handler = Arc::new(Mutex::new(None));
    let (mut peer, io) = Peer::pipe(case.pipe);
    let deflate = case.is_compressed.then(Deflate::default);
    let config = Config::default().fragment_size(fragment_size).write_high_water_mark(case.mark).deflate(deflate);
    let builder = plain("ws://h/").config(config).max_buffered_amount(case.max_buffered_amount);
    let (builder, log) = Log::watch(builder, {
        let (account, in_handler) = (Arc::clone(&account), Arc::clone(&in_handler));
        move |ws: &WebSocket, seen: &Seen| {
            let mut account = account.lock().unwrap();
            account.check(ws, &format!("{seen:?}"));
            if let Some(len) = in_handler.lock().unwrap().take() {
                account.send(ws, vec![0; len]);
            }
        }
    });
    let ws = builder.connect_over(Metered { io, wire });
    let lines = if case.is_compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    peer.accept_with(lines).await;
    let mut io = Some(peer.into_io());
    let mut random = 1_u32;
    for op in case.ops {
        // What is said is short, and is not said where the client reads no more.
        let said = match op {
            Op::Say => encode(true, 0, TEXT, b"event"),
            Op::Ping => encode(true, 0, PING, b"ping"),
            Op::PeerClose => encode(true, 0, CLOSE, &close_body(Some(1000), "")),
            Op::PeerBreaksTheProtocol => encode(true, 7, TEXT, b""),
            _ => Vec::new(),
        };
        match op {
            Op::Send(len, is_random) => {
                let byte = || {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    random as u8
                };
                let data = if is_random { std::iter::repeat_with(byte).take(len).collect() } else { vec![7; len] };
                account.lock().unwrap().send(&ws, data);
            }
            Op::SendInHandler(len) => *in_handler.lock().unwrap() = Some(len),
            Op::Read(len) => {
                if let Some(io) = &mut io {
                    let mut buf = vec![0; len];
                    let mut read = 0;
                    while let Some(Ok(n @ 1..)) = io.read(&mut buf[read..]).now_or_never() {
                        read += n;
                        tokio::task::yield_now().await;
                    }
                }
            }
            Op::Close => ws.close().unwrap(),
            Op::Reset => io = None,
            Op::Say | Op::Ping | Op::PeerClose | Op::PeerBreaksTheProtocol => {
                if let Some(io) = &mut io {
                    let _ = io.write(&said).now_or_never();
                }
            }
        }
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    match io {
        Some(mut io) if case.is_read => {
            ws.close().unwrap();
            let drain = async { while matches!(io.read(&mut [0; 4096]).await, Ok(1..)) {} };
            tokio::join!(log.end(&ws), drain);
        }
        Some(io) => {
            ws.close().unwrap();
            // It is there, and does nothing any more.
            log.end(&ws).await;
            drop(io);
        }
        None => drop(log.end(&ws).await),
    }
    account.lock().unwrap().check(&ws, "at the end");
    account.lock().unwrap().send(&ws, vec![0; 3]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// B66, B77, B82-B93.
    #[test]
    fn at_every_event_the_amount_is_what_was_accepted_and_not_taken(case in case()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(case))?;
    }
}
