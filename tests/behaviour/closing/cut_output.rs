//! What is cut from the output, over TLS that has begun to send it.
//!
//! OpenSSL encrypts a record of up to 16 KiB, and says that nothing of it was taken while a part of it is still to be
//! written: it must be offered the same bytes again. A client that cuts them from its output, since the peer's Close or a
//! violation has come, must not cut what OpenSSL holds. Rustls takes what it encrypts; it is held to the same.

use std::{panic::AssertUnwindSafe, pin::Pin};

use futures::{FutureExt as _, Sink as _, StreamExt as _};
use testkit::{
    frame::{CLOSE, Frame, PONG, close_body, encode},
    peer::Peer,
    task::Task,
    tls::Authority,
};
use tokio::io::{AsyncRead, AsyncWrite};
use wsflow::{CloseFrame, Config, Connector, Error, Message, ReadyState, WebSocketStream};

use crate::support::tls::{ForClient as _, native_server};

/// What the client has to send when the server stops reading.
#[derive(Debug, Clone, Default)]
struct Output {
    /// How many bytes the wire holds.
    wire: usize,
    /// The payload of a message that the wire still holds as a whole.
    before: Option<usize>,
    /// Payloads of the messages that it does not hold.
    messages: Vec<usize>,
    fragment_size: Option<usize>,
    /// The client answers a ping of so many bytes.
    pong: Option<usize>,
    /// The client has begun to close.
    closes: bool,
}

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Close,
    Violation,
}

/// The reply is longer than some messages, and the one to a violation shorter.
const CODE: u16 = 4222;
const REASON: &str = "it is long, so that the Close frame that answers it is longer than the message before it";

/// Of the wire's 256 bytes it leaves 26: no record.
const NEARLY_ALL: Output =
    Output { wire: 256, before: Some(200), messages: vec![], fragment_size: None, pong: None, closes: false };

#[tokio::test(start_paused = true)]
async fn of_many_small_messages_whole_ones_leave_and_then_the_close_frame() {
    each(&Output { wire: 256, messages: vec![1000; 20], ..Output::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn behind_a_record_that_is_out_whole_messages_leave_and_then_the_close_frame() {
    each(&Output { wire: 20_000, messages: vec![1000; 60], ..Output::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_as_long_as_the_close_frame_is_not_taken_for_it() {
    each(&Output { messages: vec![2], ..NEARLY_ALL }).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_shorter_than_the_close_frame_is_not_taken_for_its_first_bytes() {
    each(&Output { messages: vec![50], ..NEARLY_ALL }).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_longer_than_the_close_frame_is_finished() {
    each(&Output { messages: vec![5000], ..NEARLY_ALL }).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_is_finished() {
    each(&Output { wire: 20_000, messages: vec![1 << 20, 10], ..Output::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_message_in_fragments_whole_ones_leave_and_then_the_close_frame() {
    let output = Output { wire: 20_000, messages: vec![60_000], fragment_size: Some(1000), ..Output::default() };
    each(&output).await;
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_finished() {
    each(&Output { pong: Some(100), ..NEARLY_ALL }).await;
}

#[tokio::test(start_paused = true)]
async fn our_own_close_frame_is_finished_and_is_the_only_one() {
    each(&Output { closes: true, ..NEARLY_ALL }).await;
}

/// Every TLS library as client and as server, and either end.
async fn each(output: &Output) {
    let authority = Authority::new();
    let mut failed = Vec::new();
    for comes in [Comes::Close, Comes::Violation] {
        for connector in authority.connectors(None) {
            for is_server_native in [true, false] {
                let server = if is_server_native { "native" } else { "rustls" };
                let case = format!("{comes:?}, client: {}, server: {server}", name(&connector));
                // All of them are shown.
                println!("{case}");
                let one = one(output, comes, &authority, connector.clone(), is_server_native);
                if AssertUnwindSafe(one).catch_unwind().await.is_err() {
                    failed.push(case);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

async fn one(output: &Output, comes: Comes, authority: &Authority, connector: Connector, is_server_native: bool) {
    const NAME: &str = "localhost";
    let (peer, io) = Peer::pipe(output.wire);
    // The messages are queued without waiting for room.
    let config = Config::default().fragment_size(output.fragment_size).write_high_water_mark(usize::MAX);
    let builder = WebSocketStream::builder("wss://localhost/").tls(connector).config(config);
    let opening = builder.connect_tls_over(io);
    if is_server_native {
        let acceptor = native_server(authority, &[NAME]);
        let (ws, peer) = tokio::join!(opening, async {
            let mut peer = Peer::over(acceptor.accept(peer.into_io()).await.expect("TLS"));
            peer.accept().await;
            peer
        });
        cut(output, comes, ws.expect("open"), peer).await;
    } else {
        let server = authority.server(&[NAME]);
        let (ws, peer) = tokio::join!(opening, async {
            let mut peer = server.handshake(peer).await.1.expect("TLS");
            peer.accept().await;
            peer
        });
        cut(output, comes, ws.expect("open"), peer).await;
    }
}

fn name(connector: &Connector) -> &'static str {
    if matches!(connector, Connector::NativeTls(_)) { "native" } else { "rustls" }
}

async fn cut<C, P>(output: &Output, comes: Comes, mut ws: WebSocketStream<C>, mut peer: Peer<P>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    let task = Task::new();
    let sizes: Vec<usize> = output.before.into_iter().chain(output.messages.iter().copied()).collect();
    let queued: Vec<Vec<u8>> = (0..).zip(&sizes).map(|(i, &size)| vec![i; size]).collect();
    let mut messages = queued.iter().map(|payload| Message::binary(payload.clone()));

    // The wire is full, in the middle of a record.
    for message in messages.by_ref().take(output.before.iter().len()) {
        Pin::new(&mut ws).start_send(message).expect("open");
        assert!(task.poll(|cx| Pin::new(&mut ws).poll_flush(cx)).is_ready(), "the wire holds it");
    }
    for message in messages {
        Pin::new(&mut ws).start_send(message).expect("open");
    }
    if let Some(len) = output.pong {
        peer.ping(vec![b'p'; len]).await;
    }
    // Each may use up what tokio lets a task do in one go.
    tokio::task::yield_now().await;
    if output.closes {
        assert!(task.poll_once(ws.close_with(CloseFrame::new(1000, "mine"))).is_pending());
    }
    assert!(task.poll_once(ws.next()).is_pending());
    assert!(task.poll(|cx| Pin::new(&mut ws).poll_flush(cx)).is_pending(), "the wire holds all of it");

    match comes {
        Comes::Close => peer.close(CODE, REASON).await,
        Comes::Violation => peer.raw(encode(true, 0, 3, b"")).await,
    }
    tokio::task::yield_now().await;
    let early = task.poll_once(ws.next());
    assert!(early.is_pending(), "it ended although nothing could leave: {early:?}");
    assert_eq!(ws.ready_state(), ReadyState::Closing);

    let (error, frames) = tokio::join!(end(&mut ws), frames(&mut peer));

    // What the server got: whole frames, and one Close frame behind them.
    let (close, before) = frames.split_last().expect("frames");
    let body = match comes {
        _ if output.closes => close_body(Some(1000), "mine"),
        Comes::Close => close_body(Some(CODE), REASON),
        Comes::Violation => close_body(Some(1002), ""),
    };
    assert_eq!(*close, Frame::new(CLOSE, body));
    let control = before.iter().filter(|frame| frame.opcode >= CLOSE);
    let pongs: Vec<_> = output.pong.iter().map(|&len| Frame::new(PONG, vec![b'p'; len])).collect();
    assert!(control.eq(&pongs), "other control frames than {pongs:?}");
    let (mut arrived, mut part) = (Vec::new(), Vec::new());
    for frame in before.iter().filter(|frame| frame.opcode < CLOSE) {
        part.extend_from_slice(&frame.payload);
        if frame.fin {
            arrived.push(std::mem::take(&mut part));
        }
    }
    assert!(arrived.len() <= queued.len() && arrived == queued[..arrived.len()], "other messages than were sent");
    assert!(part.is_empty() || queued[arrived.len()].starts_with(&part), "another message than was sent");

    // What the client says of it.
    let closed = ws.closed().expect("an end");
    let end = (u16::from(closed.code), &*closed.reason, closed.was_clean);
    match (comes, error) {
        (Comes::Close, None) => {
            assert_eq!(end, (CODE, REASON, true));
            assert_eq!(arrived.len(), queued.len(), "clean, and messages are lost");
        }
        (Comes::Close, Some(Error::Closed(_))) => assert_eq!(end, (CODE, REASON, false)),
        (Comes::Violation, Some(Error::ProtocolViolation(_))) => assert_eq!(end, (1006, "", false)),
        (_, error) => panic!("{end:?} {error:?}"),
    }
    let payload = arrived.iter().map(Vec::len).sum::<usize>() + part.len();
    let stats = ws.stats();
    assert_eq!((stats.messages_sent, stats.payload_bytes_sent), (arrived.len() as u64, payload as u64));
    assert_eq!(ws.buffered_amount(), (sizes.iter().sum::<usize>() - payload) as u64);
    let wire = frames.iter().map(|frame| encode(frame.fin, 0, frame.opcode, &frame.payload).len() + 4).sum::<usize>();
    assert_eq!(stats.wire_bytes_sent, wire as u64);
}

/// The error that the client ends with.
async fn end<C: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<C>) -> Option<Error> {
    let mut error = None;
    while let Some(item) = ws.next().await {
        assert!(error.replace(item.expect_err("no message comes")).is_none(), "two errors");
    }
    error
}

/// Reads all that the client sends, and ends behind its Close frame.
async fn frames<P: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<P>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &Frame| frame.opcode != CLOSE) {
        frames.push(peer.expect_frame().await);
    }
    peer.finish().await;
    peer.expect_eof().await;
    frames
}
