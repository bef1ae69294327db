//! TCP breaks off at any byte of a dialogue: what was whole is yielded, then there is one end, and nobody waits.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    deflate::Compressor,
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, close_body, encode},
    script_io::{Script, ScriptIo, Step, script_io},
    wire::payload_taken,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use wsflow::{
    CloseCode, CloseFrame, Closed, Config, Error, Message, Phase, ReadyState, Receiver, Sender, TrySendError,
    UpgradedParts, WebSocketStream,
};

/// What the server says, and what of it is whole where.
#[derive(Debug, Default)]
struct Dialogue {
    bytes: Vec<u8>,
    /// The messages, each with where it ends.
    messages: Vec<(usize, Message)>,
    /// The pings likewise.
    pings: Vec<(usize, Vec<u8>)>,
}

impl Dialogue {
    fn frame(&mut self, fin: bool, rsv: u8, opcode: u8, payload: &[u8]) {
        self.bytes.extend(encode(fin, rsv, opcode, payload));
    }

    /// The bytes so far end with this message.
    fn ends(&mut self, message: impl Into<Message>) {
        self.messages.push((self.bytes.len(), message.into()));
    }

    fn ping(&mut self, payload: &[u8]) {
        self.frame(true, 0, PING, payload);
        self.pings.push((self.bytes.len(), payload.to_vec()));
    }

    /// Whole messages, fragments, compressed messages, both, with pings and pongs before, between and within, and the Close.
    fn new() -> Self {
        let (mut dialogue, mut compressor) = (Self::default(), Compressor::new(6, true));
        dialogue.frame(true, 0, TEXT, "whole €".as_bytes());
        dialogue.ends("whole €");
        dialogue.ping(b"between");
        dialogue.frame(false, 0, TEXT, b"in ");
        dialogue.ping(b"within");
        dialogue.frame(false, 0, CONTINUATION, b"");
        dialogue.frame(true, 0, CONTINUATION, b"fragments");
        dialogue.ends("in fragments");
        dialogue.frame(true, RSV1, TEXT, &compressor.message(b"compressed, compressed"));
        dialogue.ends("compressed, compressed");
        dialogue.frame(true, 0, PONG, b"unasked");
        let compressed = compressor.message(&[7; 1000]);
        let (first, last) = compressed.split_at(compressed.len() / 2);
        dialogue.frame(false, RSV1, BINARY, first);
        dialogue.ping(b"within a compressed one");
        dialogue.frame(true, 0, CONTINUATION, last);
        dialogue.ends(vec![7; 1000]);
        dialogue.frame(true, 0, BINARY, &[8; 300]);
        dialogue.ends(vec![8; 300]);
        dialogue.frame(true, 0, BINARY, b"");
        dialogue.ends(Vec::new());
        dialogue.frame(true, 0, CLOSE, &close_body(Some(4000), "enough"));
        dialogue
    }

    fn messages(&self, cut: usize) -> Vec<Message> {
        self.messages.iter().filter(|(end, _)| *end <= cut).map(|(_, message)| message.clone()).collect()
    }
}

fn open() -> (WebSocketStream<ScriptIo>, Script) {
    let (io, script) = script_io();
    let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(Config::default());
    (WebSocketStream::from_upgraded_parts(parts).unwrap(), script)
}

/// The messages, and the one error. The end comes within a second, whoever else may have to be waited for.
async fn read(ws: &mut WebSocketStream<ScriptIo>, what: &str) -> (Vec<Message>, Option<Error>) {
    let (mut messages, mut error) = (Vec::new(), None);
    let reading = async {
        while let Some(item) = ws.next().await {
            assert!(error.is_none(), "{what}: {item:?} behind {error:?}");
            match item {
                Ok(message) => messages.push(message),
                Err(cause) => error = Some(cause),
            }
        }
    };
    timeout(Duration::from_secs(1), reading).await.unwrap_or_else(|_| panic!("{what}: it hangs"));
    assert!(ws.next().await.is_none(), "{what}: something behind the end");
    (messages, error)
}

#[tokio::test(start_paused = true)]
async fn what_was_whole_is_yielded_before_the_end() {
    let dialogue = Dialogue::new();
    let all = dialogue.bytes.len();
    for cut in 0..=all {
        for is_reset in [false, true] {
            for at_once in [1, all] {
                let what = format!("cut at {cut} of {all}, {at_once} at once, reset: {is_reset}");
                let (mut ws, script) = open();
                let then = if is_reset { Step::Error(ErrorKind::ConnectionReset) } else { Step::Ready };
                script.reads(vec![Step::Partial(at_once); cut.div_ceil(at_once)], then);
                script.input(&dialogue.bytes[..cut]);
                script.end();
                ws.set_compression(false);
                ws.feed("ours".into()).await.unwrap();
                let pong = ws.send_ping("ours").unwrap();

                let (messages, error) = read(&mut ws, &what).await;
                assert_eq!(messages, dialogue.messages(cut), "{what}");
                let closed = ws.closed().expect("an end").clone();
                assert_eq!(closed.was_clean, error.is_none(), "{what}");
                let wire = script.wire();
                if cut == all {
                    assert_eq!((u16::from(closed.code), closed.was_clean), (4000, true), "{what}");
                    assert_eq!(wire.close(), Some(&close_body(Some(4000), "enough")[..]), "{what}");
                } else {
                    assert_eq!(closed.code, CloseCode::ABNORMAL_CLOSURE, "{what}");
                    let error = error.unwrap_or_else(|| panic!("{what}: no error"));
                    match error {
                        Error::Io(cause) if is_reset => assert_eq!(cause.kind(), ErrorKind::ConnectionReset, "{what}"),
                        Error::Closed(_) if !is_reset => {}
                        other => panic!("{what}: {other:?}"),
                    }
                    let pings = dialogue.pings.iter().filter(|(end, _)| *end <= cut).map(|(_, payload)| &payload[..]);
                    assert_eq!(wire.payloads(PONG), pings.collect::<Vec<_>>(), "{what}");
                    assert_eq!(wire.close(), None, "{what}");
                }
                assert!(pong.await.is_err(), "{what}");
                assert_eq!(wire.messages(), [(true, b"ours".to_vec())], "{what}");
                assert_eq!(ws.buffered_amount(), 0, "{what}");
            }
        }
    }
}

/// The other way: what the server said is there, and what we say breaks off.
#[tokio::test(start_paused = true)]
async fn what_came_is_yielded_although_nothing_can_be_sent_any_more() {
    let dialogue = Dialogue::new();
    let ours = "ours, ours";
    let mut clean = 0;
    for cut in 0..150 {
        for has_close in [true, false] {
            let what = format!("cut at {cut}, with the Close: {has_close}");
            let (mut ws, script) = open();
            script.writes(vec![Step::Partial(1); cut], Step::Error(ErrorKind::BrokenPipe));
            let close = encode(true, 0, CLOSE, &close_body(Some(4000), "enough")).len();
            let end = dialogue.bytes.len() - if has_close { 0 } else { close };
            script.input(&dialogue.bytes[..end]);
            script.end();
            ws.set_compression(false);
            ws.feed(ours.into()).await.unwrap();

            let (messages, error) = read(&mut ws, &what).await;
            assert_eq!(messages, dialogue.messages(end), "{what}");
            let closed = ws.closed().expect("an end").clone();
            assert_eq!(closed.was_clean, error.is_none(), "{what}");
            assert_eq!(u16::from(closed.code), if has_close { 4000 } else { 1006 }, "{what}");
            clean += usize::from(closed.was_clean);
            assert_eq!(ws.buffered_amount(), ours.len() as u64 - payload_taken(&script.output()), "{what}");
        }
    }
    assert!((1..150).contains(&clean), "{clean} of 300 were clean");
}

/// A reader comes long after the deadline that a failed write began, and what the server said is still in the transport.
#[tokio::test(start_paused = true)]
async fn who_reads_late_after_a_failed_write_gets_all_that_came_and_the_close() {
    const MESSAGES: usize = 200;
    let stalls = || Config::default().write_timeout(Duration::from_secs(5));
    for (config, write) in [(Config::default(), Step::Error(ErrorKind::BrokenPipe)), (stalls(), Step::Pending)] {
        for (late, has_close) in [(0, true), (0, false), (30, true), (30, false)] {
            for is_read_before in [false, true] {
                let what = format!("{write:?}, {late} s late, a Close: {has_close}, read before: {is_read_before}");
                let (io, script) = script_io();
                let mut ws = WebSocketStream::from_upgraded(io, config.clone().read_buffer_max(4096));
                script.writes([], write);
                let expected: Vec<_> = (0..MESSAGES).map(|i| Message::from(vec![i as u8; 1000])).collect();
                for message in &expected {
                    script.frame(BINARY, message.as_bytes());
                }
                if has_close {
                    script.frame(CLOSE, close_body(Some(4000), "enough"));
                }
                let mut messages = Vec::new();
                if is_read_before {
                    messages.push(ws.next().await.unwrap().unwrap());
                }
                let failed = ws.send("ours".into()).await.unwrap_err();
                sleep(Duration::from_secs(late)).await;
                let error = loop {
                    match timeout(Duration::from_secs(60), ws.next()).await.expect("it ends").expect("an error") {
                        Ok(message) => messages.push(message),
                        Err(error) => break error,
                    }
                };
                assert!(messages == expected, "{what}: {} messages", messages.len());
                assert!(ws.next().await.is_none(), "{what}: something behind the end");
                let closed = ws.closed().expect("an end");
                assert_eq!(
                    (u16::from(closed.code), closed.was_clean),
                    (if has_close { 4000 } else { 1006 }, false),
                    "{what}"
                );
                if !has_close {
                    assert_eq!(error.to_string(), failed.to_string(), "{what}");
                }
            }
        }
    }
}

/// The server's end never stops talking, and takes nothing.
struct Flood(usize);

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() >= 102 {
            buf.put_slice(&encode(true, 0, BINARY, &[7; 100]));
        }
        self.0 += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_of_a_server_that_never_stops_talking_comes_to_an_end() {
    let mut ws = WebSocketStream::from_upgraded(Flood(0), Config::default());
    ws.send("ours".into()).await.unwrap_err();
    sleep(Duration::from_secs(30)).await;
    let error = loop {
        match ws.next().await.expect("an error") {
            Ok(_) => assert!(ws.get_ref().0 < 64 << 20, "it is read without end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Io(cause) if cause.kind() == ErrorKind::BrokenPipe), "{error}");
    assert!(ws.get_ref().0 > 6 << 20, "less than a socket may hold: {}", ws.get_ref().0);
}

/// Reader and writer are two tasks. The writer finds out that the connection is over while the reader is busy.
#[tokio::test(start_paused = true)]
async fn what_was_read_is_yielded_although_the_writer_saw_the_end_first() {
    let (io, script) = script_io();
    let config = Config::default().write_timeout(Duration::from_secs(5)).read_buffer_max(4096);
    let mut ws = WebSocketStream::from_upgraded(io, config);
    script.writes([], Step::Pending);
    for i in 0..100 {
        script.frame(BINARY, [i; 100]);
    }
    let mut seen = vec![ws.next().await.unwrap().unwrap()];
    let (mut sink, mut stream) = ws.split();
    let writer = tokio::spawn(async move { sink.send("ours".into()).await.unwrap_err() });
    let failed = writer.await.unwrap();
    assert!(matches!(failed, Error::Timeout { phase: Phase::Write, .. }), "{failed}");
    let error = loop {
        match timeout(Duration::from_secs(60), stream.next()).await.expect("it ends").expect("an error") {
            Ok(message) => seen.push(message),
            Err(error) => break error,
        }
    };
    assert_eq!(seen.len(), 100, "{error}");
    assert_eq!(error.to_string(), failed.to_string());
    assert!(stream.next().await.is_none());
}

/// What of a full inbox, and behind it, a receiver gets that comes so late: all of it, and then one error.
async fn receive_late(receiver: &mut Receiver, late: u64) -> (Vec<Message>, Error) {
    sleep(Duration::from_secs(late)).await;
    let mut messages = Vec::new();
    let error = loop {
        match timeout(Duration::from_secs(60), receiver.next()).await.expect("it ends").expect("an error") {
            Ok(message) => messages.push(message),
            Err(error) => break error,
        }
    };
    assert!(receiver.next().await.is_none(), "something behind the end");
    (messages, error)
}

/// Halves with a full inbox, behind which more messages of 1000 bytes have come, and all of these messages. The read buffer
/// may hold all of them, or few.
async fn full_inbox(config: Config, write: Step) -> (Sender, Receiver, Script, Vec<Message>) {
    let (io, script) = script_io();
    script.writes([], write);
    let expected: Vec<_> = (0..200_u8).map(|i| Message::from(vec![i; 1000])).collect();
    for message in &expected {
        script.frame(BINARY, message.as_bytes());
    }
    let config = config.read_high_water_mark(4000);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    for _ in 0..50 {
        yield_now().await;
    }
    assert!(receiver.stats().messages_received < 10, "the inbox is full");
    (sender, receiver, script, expected)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_whose_inbox_was_full_gets_all_that_came_when_writing_fails_and_senders_are_told_at_once() {
    let stalls = || Config::default().write_timeout(Duration::from_secs(5));
    // When writing fails, and the end: where the transport is broken, the peer's Close may still come.
    for (config, write, fails_at, ends_at) in
        [(Config::default(), Step::Error(ErrorKind::BrokenPipe), 0, 2), (stalls(), Step::Pending, 5, 5)]
    {
        for (late, read_buffer_max) in [(0, 4096), (0, 1 << 18), (30, 4096), (30, 1 << 18)] {
            let what = format!("{write:?}, {late} s late, a read buffer of {read_buffer_max}");
            let config = config.clone().write_high_water_mark(100).read_buffer_max(read_buffer_max);
            let (sender, mut receiver, _script, expected) = full_inbox(config, write).await;
            let begun = Instant::now();
            sender.send("ours").await.unwrap();
            let waiting = sender.send(vec![7; 100]);
            let (failed, flushed) =
                timeout(Duration::from_secs(60), async { tokio::join!(waiting, sender.flush()) }).await.expect("told");
            let failed = failed.unwrap_err().to_string();
            assert_eq!(flushed.unwrap_err().to_string(), failed, "{what}");
            assert_eq!(sender.send("late").await.unwrap_err().to_string(), failed, "{what}");
            assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late".into())), "{what}");
            assert_eq!(sender.flush().await.unwrap_err().to_string(), failed, "{what}");
            assert_eq!(sender.ping().await.unwrap_err().to_string(), failed, "{what}");
            assert_eq!(begun.elapsed(), Duration::from_secs(fails_at), "{what}");
            assert_eq!(sender.closed().await, Closed::new(1006, "", false), "{what}");
            assert_eq!(begun.elapsed(), Duration::from_secs(ends_at), "{what}");
            assert_eq!(sender.send("late").await.unwrap_err().to_string(), failed, "{what}");
            assert_eq!((sender.ready_state(), sender.buffered_amount()), (ReadyState::Closed, 4), "{what}");
            let (messages, error) = receive_late(&mut receiver, late).await;
            assert!(messages == expected, "{what}: {} messages", messages.len());
            assert_eq!(error.to_string(), failed, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_whose_inbox_was_full_gets_all_that_came_when_a_close_was_not_answered_in_time() {
    for (late, read_buffer_max) in [(0, 4096), (0, 1 << 18), (30, 4096), (30, 1 << 18)] {
        let what = format!("{late} s late, a read buffer of {read_buffer_max}");
        let config = Config::default().read_buffer_max(read_buffer_max);
        let (sender, mut receiver, _script, expected) = full_inbox(config, Step::Ready).await;
        let begun = Instant::now();
        let end = sender.close_with(CloseFrame::new(1000, "")).await.unwrap();
        assert_eq!((end, begun.elapsed()), (Closed::new(1006, "", false), Duration::from_secs(10)), "{what}");
        assert!(matches!(sender.send("late").await, Err(Error::Timeout { phase: Phase::Close, .. })), "{what}");
        let (messages, error) = receive_late(&mut receiver, late).await;
        assert!(matches!(error, Error::Timeout { phase: Phase::Close, .. }), "{what}: {error}");
        // What had been read by then is there.
        let read = if read_buffer_max == 4096 { 4 } else { expected.len() };
        assert!(messages.len() >= read && messages[..] == expected[..messages.len()], "{what}: {}", messages.len());
    }
}
