//! Messages that are written piece by piece: the frames that a peer sees, what waits, and what is left of a message that
//! nobody finishes.

use std::{io, mem, pin::Pin, sync::Arc, task::Poll};

use futures::{FutureExt as _, SinkExt, StreamExt as _};
use proptest::{collection::vec, prelude::*, sample::Index};
use testkit::{
    deflate::Reader,
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, RSV1, TEXT, close_body},
    script_io::{Script, ScriptIo, Step, script_io},
    task::{self, Task},
    wire::{Wire, payload_taken},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use wsflow::{CloseFrame, Config, Deflate, Error, Kind, Message, MessageWriter, UpgradedParts, WebSocketStream};

const KIB: usize = 1024;
const DEFLATE: &str = "permessage-deflate";

type Ws = WebSocketStream<ScriptIo>;
type Writer<'a> = MessageWriter<'a, ScriptIo>;

/// A connection on which the server agreed to these extensions.
fn open(config: Config, extensions: &str) -> (Ws, Script) {
    let (io, script) = script_io();
    let parts = UpgradedParts::new(io).extensions(extensions).config(config);
    (WebSocketStream::from_upgraded_parts(parts).expect("extensions"), script)
}

/// What is done with a writer.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// So many bytes, however many writes that takes.
    Write(usize),
    Flush,
    Shutdown,
}

/// The next `n` bytes of a payload behind `start` bytes.
fn pattern(start: usize, n: usize) -> Vec<u8> {
    (start..start + n).map(|i| b'a' + (i / 7 % 23) as u8).collect()
}

/// Does it. Whenever the transport has stalled it goes on.
fn run<T>(task: &Arc<Task>, script: &Script, mut future: impl Future<Output = T> + Unpin) -> T {
    loop {
        if let Poll::Ready(answer) = task.poll_once(&mut future) {
            return answer;
        }
        assert!(script.wake_write(), "it waits for the transport");
    }
}

/// The error that an `io::Error` is made of.
fn cause(error: &io::Error) -> &Error {
    error.get_ref().and_then(|cause| cause.downcast_ref()).expect("an error of this crate")
}

/// The one error that the stream yields, and then its end.
fn end(ws: &mut Ws, task: &Arc<Task>) -> Error {
    let item = task.poll_once(ws.next());
    let Poll::Ready(Some(Err(error))) = item else { panic!("an error was expected: {item:?}") };
    assert!(matches!(task.poll_once(ws.next()), Poll::Pending | Poll::Ready(None)), "there is one error only");
    error
}

/// B228.
#[tokio::test]
async fn frames_end_where_they_are_full_or_flushed() {
    use Op::{Flush, Shutdown, Write};
    let default = 256 * KIB;
    let cases: [(Option<usize>, &[Op], &[usize]); 16] = [
        (Some(10), &[], &[0]),
        (Some(10), &[Write(0)], &[0]),
        (Some(10), &[Flush], &[0]),
        (Some(10), &[Write(9)], &[9]),
        (Some(10), &[Write(10)], &[10]),
        (Some(10), &[Write(10), Write(0)], &[10]),
        (Some(10), &[Write(11)], &[10, 1]),
        (Some(10), &[Write(20)], &[10, 10]),
        (Some(10), &[Write(4), Write(4), Write(4), Write(13)], &[10, 10, 5]),
        (Some(10), &[Write(4), Flush, Write(4)], &[4, 4]),
        (Some(10), &[Write(10), Flush, Flush, Write(1)], &[10, 1]),
        (Some(10), &[Write(4), Shutdown, Write(3), Flush], &[4, 3, 0]),
        (Some(0), &[Write(3)], &[1, 1, 1]),
        (Some(default), &[Write(default + 1)], &[default, 1]),
        (None, &[Write(2 * default + 1)], &[default, default, 1]),
        (Some(300 * KIB), &[Write(300 * KIB), Write(16 * KIB), Flush, Write(1)], &[300 * KIB, 16 * KIB, 1]),
    ];
    for (kind, opcode) in [(Kind::Text, TEXT), (Kind::Binary, BINARY)] {
        for (fragment_size, ops, lens) in cases {
            let (mut ws, script) = open(Config::default().fragment_size(fragment_size), "");
            let mut writer = ws.writer(kind);
            assert_eq!(writer.kind(), kind);
            let mut written = 0;
            for op in ops {
                match *op {
                    Write(n) => writer.write_all(&pattern(written, n)).await.unwrap(),
                    Flush => writer.flush().await.unwrap(),
                    Shutdown => writer.shutdown().await.unwrap(),
                }
                if let Write(n) = op {
                    written += n;
                }
            }
            writer.finish().await.unwrap();
            let mut start = 0;
            let frames = lens.iter().enumerate().map(|(i, &len)| {
                let payload = pattern(start, len);
                start += len;
                Frame { fin: i == lens.len() - 1, rsv: 0, opcode: if i == 0 { opcode } else { CONTINUATION }, payload }
            });
            assert!(script.wire().frames == frames.collect::<Vec<_>>(), "{fragment_size:?} {ops:?}");
            assert_eq!((ws.stats().messages_sent, ws.buffered_amount()), (1, 0));
            assert_eq!(ws.stats().payload_bytes_sent, written as u64);
        }
    }
}

#[tokio::test]
async fn a_flush_hands_over_what_was_written_and_a_write_does_not() {
    let (mut ws, script) = open(Config::default(), "");
    let mut writer = ws.writer(Kind::Binary);
    writer.write_all(b"first").await.unwrap();
    assert_eq!((script.output_len(), writer.buffered_amount()), (0, 5));
    writer.flush().await.unwrap();
    assert_eq!((script.output_len(), writer.buffered_amount()), (2 + 4 + 5, 0));
    writer.write_all(b"second").await.unwrap();
    assert_eq!((script.output_len(), writer.buffered_amount()), (2 + 4 + 5, 6));
    writer.finish().await.unwrap();
    assert_eq!(script.wire().messages(), [(false, b"firstsecond".to_vec())]);
}

#[test]
fn a_full_frame_is_written_without_a_flush() {
    let (mut ws, script) = open(Config::default().fragment_size(100 * KIB).write_high_water_mark(1024 * KIB), "");
    let task = Task::new();
    let mut writer = ws.writer(Kind::Binary);
    assert!(task.poll_once(writer.write_all(&[7; 100 * KIB + 1])).map(Result::unwrap).is_ready());
    assert!(script.output_len() > 100 * KIB, "{} bytes were written", script.output_len());
    // Small ones go out together.
    drop(writer);
    let (mut ws, script) = open(Config::default().fragment_size(100), "");
    let mut writer = ws.writer(Kind::Binary);
    assert!(task.poll_once(writer.write_all(&[7; 300 * KIB])).map(Result::unwrap).is_ready());
    assert!(script.output_len() > 150 * KIB, "{} bytes were written", script.output_len());
    assert!(script.write_calls() < 10, "{} writes", script.write_calls());
}

/// B220.
#[test]
fn a_write_waits_at_the_mark_and_is_woken_when_the_transport_takes_a_frame() {
    let (mut ws, script) = open(Config::default().fragment_size(400).write_high_water_mark(1000), "");
    script.writes([Step::Pending, Step::Partial(408 + 407), Step::Pending, Step::Partial(1)], Step::Pending);
    let task = Task::new();
    let mut writer = ws.writer(Kind::Binary);
    let mut taken = 0;
    let mut write_to_the_mark = |writer: &mut Writer<'_>| {
        while let Poll::Ready(n) = task.poll(|cx| Pin::new(&mut *writer).poll_write(cx, &[7; 5000])) {
            taken += n.expect("open");
        }
        assert_eq!(writer.buffered_amount(), taken as u64 - payload_taken(&script.output()));
        taken
    };
    // Each frame costs 432: two are below the mark, the third is above it.
    assert_eq!(write_to_the_mark(&mut writer), 1200);
    assert!(!task.was_woken());
    // One frame is out, and all of the second but a byte: 864 are below the mark.
    assert!(script.wake_write() && task.was_woken());
    assert_eq!(write_to_the_mark(&mut writer), 1600);
    // That byte.
    assert!(script.wake_write() && task.was_woken());
    assert_eq!(write_to_the_mark(&mut writer), 2000);
    assert_eq!(script.output_len(), 2 * 408);
}

/// A message, or what is done to write one.
#[derive(Debug, Clone)]
enum Sent {
    Whole(Message),
    Written { kind: Kind, payload: Vec<u8>, cuts: Vec<(Index, bool)> },
}

fn payloads() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    prop_oneof![
        "[a-c¥匶🔌]{0,300}".prop_map(|text| (Kind::Text, text.into_bytes())),
        vec(any::<u8>(), 0..600).prop_map(|data| (Kind::Binary, data)),
        (0..60_000usize).prop_map(|len| (Kind::Binary, pattern(len, len))),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let whole = payloads().prop_map(|(kind, payload)| match kind {
        Kind::Text => Sent::Whole(String::from_utf8(payload).unwrap().into()),
        Kind::Binary => Sent::Whole(payload.into()),
    });
    // Where a write ends, and whether a flush comes behind it.
    let cuts = vec((any::<Index>(), prop::bool::weighted(0.3)), 0..12);
    let written = (payloads(), cuts).prop_map(|((kind, payload), cuts)| Sent::Written { kind, payload, cuts });
    prop_oneof![1 => whole, 2 => written]
}

fn stalls() -> impl Strategy<Value = Vec<Step>> {
    let step =
        prop_oneof![1 => Just(Step::Ready), 3 => (1..3000usize).prop_map(Step::Partial), 2 => Just(Step::Pending)];
    vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// B223.
    #[test]
    fn any_mix_of_writers_and_messages_arrives_in_order(
        sent in vec(sent(), 1..6),
        fragment_size in prop_oneof![1 => Just(None), 3 => (100..3000usize).prop_map(Some), 2 => (3000..40_000usize).prop_map(Some)],
        mark in prop::sample::select(vec![0usize, 1000, 128 * KIB]),
        threshold in prop::sample::select(vec![0usize, 100]),
        has_context_takeover: bool,
        is_compressed: bool,
        stalls in stalls(),
    ) {
        let extensions = match (is_compressed, has_context_takeover) {
            (true, true) => DEFLATE,
            (true, false) => "permessage-deflate; client_no_context_takeover",
            (false, _) => "",
        };
        let config = Config::default().fragment_size(fragment_size).write_high_water_mark(mark);
        let (mut ws, script) = open(config.deflate(Deflate::default().threshold(threshold)), extensions);
        script.writes(stalls, Step::Ready);
        let (task, mut expected, mut total) = (Task::new(), Vec::new(), 0);
        for sent in &sent {
            match sent {
                Sent::Whole(message) => {
                    run(&task, &script, Box::pin(ws.feed(message.clone()))).unwrap();
                    expected.push((message.is_text(), message.as_bytes().to_vec()));
                    total += message.len() as u64;
                }
                Sent::Written { kind, payload, cuts } => {
                    let mut writer = ws.writer(*kind);
                    let mut cuts: Vec<_> = cuts.iter().map(|(at, flush)| (at.index(payload.len() + 1), *flush)).collect();
                    cuts.sort_unstable();
                    let mut start = 0;
                    for (at, is_flushed) in cuts.into_iter().chain([(payload.len(), false)]) {
                        while start < at {
                            let n = run(&task, &script, writer.write(&payload[start..at]).boxed_local()).unwrap();
                            start += n;
                            total += n as u64;
                            if !is_compressed {
                                // B84: exact at every point.
                                prop_assert_eq!(writer.buffered_amount(), total - payload_taken(&script.output()));
                            }
                        }
                        if is_flushed {
                            run(&task, &script, writer.flush().boxed_local()).unwrap();
                            prop_assert_eq!(writer.buffered_amount(), 0);
                        }
                    }
                    run(&task, &script, Box::pin(writer.finish())).unwrap();
                    expected.push((*kind == Kind::Text, payload.clone()));
                }
            }
        }
        run(&task, &script, Box::pin(SinkExt::<Message>::flush(&mut ws))).unwrap();
        prop_assert_eq!(ws.buffered_amount(), 0);
        let stats = ws.stats();
        prop_assert_eq!((stats.messages_sent, stats.payload_bytes_sent), (sent.len() as u64, total));

        let wire = Wire::read_with(&script.output(), if is_compressed { RSV1 } else { 0 });
        prop_assert_eq!(wire.rest, 0);
        let limit = fragment_size.unwrap_or(usize::MAX);
        prop_assert!(is_compressed || wire.frames.iter().all(|frame| frame.payload.len() <= limit));
        let mut reader = Reader::new(15, has_context_takeover);
        let first_frames = wire.frames.iter().filter(|frame| frame.opcode != CONTINUATION);
        let received = first_frames.zip(wire.messages()).map(|(first, (is_text, payload))| {
            (is_text, if first.rsv == RSV1 { reader.message(&payload, 100_000) } else { payload })
        });
        prop_assert_eq!(received.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_writer_dropped_anywhere_leaves_no_end_of_its_message_and_then_a_close_1011(
        before in prop::option::of(0..3000usize),
        pieces in vec((0..3000usize, prop::bool::weighted(0.2)), 0..8),
        fragment_size in 1..2000usize,
        mark in prop::sample::select(vec![0usize, 1000, 128 * KIB]),
        extensions in prop::sample::select(vec!["", DEFLATE]),
        stalls in stalls(),
        then in prop::sample::select(vec![Step::Ready, Step::Pending]),
    ) {
        let runtime = task::runtime();
        let _entered = runtime.enter();
        let config = Config::default().fragment_size(fragment_size).write_high_water_mark(mark);
        let (mut ws, script) = open(config, extensions);
        script.writes(stalls, then);
        let (task, mut taken) = (Task::new(), 0);
        if let Some(len) = before {
            ws.start_send_unpin(pattern(0, len).into()).unwrap();
            taken += len;
        }
        let mut writer = ws.writer(Kind::Binary);
        'writing: for (len, is_flushed) in pieces {
            let payload = pattern(taken, len);
            let mut start = 0;
            while start < len {
                let Poll::Ready(n) = task.poll_once(writer.write(&payload[start..])) else { break 'writing };
                let n = n.unwrap();
                start += n;
                taken += n;
            }
            if is_flushed && task.poll_once(writer.flush()).is_pending() {
                break;
            }
        }
        let buffered = writer.buffered_amount();
        drop(writer);
        prop_assert_eq!(ws.buffered_amount(), buffered, "what the writer had taken is not lost in silence");

        script.writes([], Step::Ready);
        script.end();
        prop_assert!(matches!(end(&mut ws, &task), Error::UnfinishedMessage));
        prop_assert_eq!(ws.buffered_amount(), taken as u64 - ws.stats().payload_bytes_sent);
        prop_assert!(matches!(task.poll_once(ws.send("late".into())), Poll::Ready(Err(Error::UnfinishedMessage))));
        let wire = Wire::read_with(&script.output(), if extensions.is_empty() { 0 } else { RSV1 });
        prop_assert_eq!((wire.rest, wire.close()), (0, Some(&close_body(Some(1011), "")[..])));
        let whole = wire.messages().len() as u64;
        prop_assert!(whole <= u64::from(before.is_some()), "half a message looks whole");
        prop_assert_eq!(whole, ws.stats().messages_sent);
        if extensions.is_empty() {
            prop_assert_eq!(payload_taken(&script.output()), ws.stats().payload_bytes_sent);
        }
    }

    #[test]
    fn text_is_judged_as_the_whole_however_it_is_cut(
        text in "[a-z¥匶🔌\u{10ffff}]{1,40}",
        wrong in prop::option::of((any::<Index>(), any::<u8>())),
        cuts in vec(1..12usize, 1..6),
        fragment_size in 1..20usize,
    ) {
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (mut ws, script) = open(Config::default().fragment_size(fragment_size), "");
        let mut writer = ws.writer(Kind::Text);
        let (mut rest, mut error) = (&bytes[..], None);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() || error.is_some() {
                break;
            }
            match writer.write(&rest[..rest.len().min(*cut)]).now_or_never().expect("it does not wait") {
                Ok(n) => rest = &rest[n..],
                Err(failed) => error = Some(cause(&failed).clone()),
            }
        }
        if error.is_none() {
            error = writer.finish().now_or_never().expect("it does not wait").err();
        } else {
            drop(writer);
        }
        prop_assert_eq!(error.is_none(), std::str::from_utf8(&bytes).is_ok());
        match error {
            None => prop_assert_eq!(script.wire().messages(), [(true, bytes)]),
            Some(error) => {
                prop_assert!(matches!(error, Error::InvalidText));
                prop_assert!(script.wire().messages().is_empty());
            }
        }
    }
}

/// B148.
#[tokio::test]
async fn bytes_that_are_no_text_are_refused_and_the_writer_goes_on() {
    for (good, bad, better) in [
        (&b"a"[..], &b"b\xffc"[..], &b"bc"[..]),
        (b"\xe5\x8c", b"x", b"\xb6"),
        (b"\xf0\x9f", b"\x94 ", b"\x94\x8c"),
        (b"", b"\xed\xa0\x80", b""),
    ] {
        let (mut ws, script) = open(Config::default(), "");
        let mut writer = ws.writer(Kind::Text);
        writer.write_all(good).await.unwrap();
        for _ in 0..2 {
            let failed = writer.write(bad).await.expect_err("it is no text");
            assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
            assert!(matches!(cause(&failed), Error::InvalidText));
            assert_eq!(writer.buffered_amount(), good.len() as u64);
        }
        writer.write_all(better).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(script.wire().messages(), [(true, [good, better].concat())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_finished_within_a_character_fails_the_connection() {
    let (mut ws, script) = open(Config::default(), "");
    let mut writer = ws.writer(Kind::Text);
    writer.write_all(b"abc\xe5\x8c").await.unwrap();
    writer.flush().await.unwrap();
    assert!(matches!(writer.finish().await, Err(Error::InvalidText)));
    script.end();
    assert!(matches!(end(&mut ws, &Task::new()), Error::UnfinishedMessage));
    let frame = Frame { fin: false, rsv: 0, opcode: TEXT, payload: b"abc\xe5\x8c".to_vec() };
    assert_eq!(script.wire().frames, [frame, Frame::new(CLOSE, close_body(Some(1011), ""))]);
}

#[test]
fn a_finish_that_was_polled_and_dropped_has_queued_the_whole_message() {
    let (mut ws, script) = open(Config::default().fragment_size(100).write_high_water_mark(0), "");
    script.writes([Step::Partial(50)], Step::Pending);
    let task = Task::new();
    let mut writer = ws.writer(Kind::Binary);
    assert!(task.poll_once(writer.write(&pattern(0, 100))).is_ready());
    assert!(task.poll_once(writer.write(&pattern(100, 1))).is_pending());
    assert!(task.poll_once(writer.finish()).is_pending());
    ws.start_send_unpin("after".into()).expect_err("the mark is reached");
    script.writes([], Step::Ready);
    assert!(task.poll_once(ws.send("after".into())).map(Result::unwrap).is_ready());
    assert_eq!(script.wire().messages(), [(false, pattern(0, 100)), (true, b"after".to_vec())]);
}

#[test]
fn a_finish_that_was_never_polled_is_a_drop() {
    let (mut ws, script) = open(Config::default().without_timers(), "");
    drop(ws.writer(Kind::Binary).finish());
    script.end();
    assert!(matches!(end(&mut ws, &Task::new()), Error::UnfinishedMessage));
    assert_eq!(script.wire().frames, [Frame::new(CLOSE, close_body(Some(1011), ""))]);
}

#[tokio::test]
async fn the_first_frame_decides_whether_the_message_is_compressed() {
    let cases: [(&[Op], &str, bool); 5] = [
        (&[Op::Write(99), Op::Flush, Op::Write(5000)], DEFLATE, false),
        (&[Op::Write(100), Op::Flush, Op::Write(5)], DEFLATE, true),
        (&[Op::Write(99)], DEFLATE, false),
        (&[Op::Write(1000)], DEFLATE, true),
        // zlib has no such window.
        (&[Op::Write(1000)], "permessage-deflate; client_max_window_bits=8", false),
    ];
    for (ops, extensions, is_compressed) in cases {
        let (mut ws, script) = open(Config::default().deflate(Deflate::default().threshold(100)), extensions);
        let mut writer = ws.writer(Kind::Binary);
        let mut written = 0;
        for op in ops {
            match *op {
                Op::Write(n) => {
                    writer.write_all(&pattern(written, n)).await.unwrap();
                    written += n;
                }
                Op::Flush | Op::Shutdown => writer.flush().await.unwrap(),
            }
        }
        writer.finish().await.unwrap();
        let wire = Wire::read_with(&script.output(), RSV1);
        assert_eq!(wire.frames[0].rsv == RSV1, is_compressed, "{ops:?}");
        let payload = wire.messages().remove(0).1;
        let payload = if is_compressed { Reader::new(15, true).message(&payload, written) } else { payload };
        assert_eq!(payload, pattern(0, written));
    }
}

#[tokio::test]
async fn an_empty_end_of_a_compressed_message_is_a_frame_that_inflates_to_nothing() {
    let (mut ws, script) = open(Config::default(), DEFLATE);
    let mut writer = ws.writer(Kind::Text);
    writer.write_all(b"text").await.unwrap();
    writer.flush().await.unwrap();
    writer.finish().await.unwrap();
    ws.writer(Kind::Text).finish().await.unwrap();
    ws.send("text".into()).await.unwrap();
    let wire = Wire::read_with(&script.output(), RSV1);
    assert_eq!(wire.frames.iter().map(|frame| frame.rsv).collect::<Vec<_>>(), [RSV1, 0, RSV1, RSV1]);
    let mut reader = Reader::new(15, true);
    let received = wire.messages().into_iter().map(|(_, payload)| reader.message(&payload, 10));
    assert_eq!(received.collect::<Vec<_>>(), [&b"text"[..], b"", b"text"]);
}

/// B224.
#[tokio::test(start_paused = true)]
async fn a_writer_on_a_connection_that_has_ended_says_why() {
    // Closed by the peer.
    let (mut ws, script) = open(Config::default(), "");
    script.frame(CLOSE, close_body(Some(1008), "no such feed"));
    script.end();
    assert!(ws.next().await.is_none());
    let mut writer = ws.writer(Kind::Binary);
    let failed = writer.write(b"late").await.expect_err("closed");
    assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
    assert!(matches!(cause(&failed), Error::Closed(closed) if u16::from(closed.code) == 1008));
    assert!(matches!(writer.finish().await, Err(Error::Closed(_))));
    assert!(ws.next().await.is_none());

    // Closing.
    let (mut ws, _script) = open(Config::default(), "");
    assert!(ws.close_with(CloseFrame::new(1000, "bye")).now_or_never().is_none());
    let failed = ws.writer(Kind::Text).write(b"late").await.expect_err("closing");
    assert!(matches!(cause(&failed), Error::Closing { .. }));
    assert!(matches!(ws.writer(Kind::Text).finish().await, Err(Error::Closing { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_breaks_is_the_error_of_the_writer_and_of_the_stream() {
    for is_flushed in [false, true] {
        let (mut ws, script) = open(Config::default().fragment_size(100), "");
        script.writes([Step::Error(io::ErrorKind::ConnectionReset)], Step::Pending);
        let mut writer = ws.writer(Kind::Binary);
        let failed = if is_flushed {
            writer.write_all(&[7; 50]).await.unwrap();
            writer.flush().await
        } else {
            writer.write_all(&vec![7; 1024 * KIB]).await
        };
        let failed = failed.expect_err("broken");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionReset);
        assert!(matches!(cause(&failed), Error::Io(_)));
        assert!(matches!(cause(&writer.write(b"more").await.expect_err("broken")), Error::Io(_)));
        drop(writer);
        script.end();
        assert!(matches!(ws.next().await, Some(Err(Error::Io(_)))), "a writer that is dropped later hides nothing");
        assert_eq!(ws.stats().messages_sent, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_left_after_write_timeout() {
    let (mut ws, script) = open(Config::default().write_timeout(std::time::Duration::from_secs(5)), "");
    script.writes([], Step::Pending);
    let failed = ws.writer(Kind::Binary).write_all(&vec![7; 1024 * KIB]).await.expect_err("it takes nothing");
    assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(cause(&failed), Error::Timeout { .. }));
}

/// A message of which a frame was sent, whose writer nobody can finish or drop any more.
async fn forget(ws: &mut Ws) {
    let mut writer = ws.writer(Kind::Binary);
    writer.write_all(b"half").await.unwrap();
    writer.flush().await.unwrap();
    mem::forget(writer);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_forgotten_fails_the_connection_when_something_else_is_sent() {
    for way in 0..5 {
        let (mut ws, script) = open(Config::default(), "");
        forget(&mut ws).await;
        let failed = match way {
            0 => ws.send("another".into()).await.err(),
            1 => ws.feed_ref("another").await.err(),
            2 => ws.writer(Kind::Binary).finish().await.err(),
            3 => {
                ws.writer(Kind::Text).write_all(&vec![b'x'; 1024 * KIB]).await.err().map(|error| cause(&error).clone())
            }
            _ => {
                assert!(ws.close_with(CloseFrame::empty()).now_or_never().is_none());
                Some(Error::UnfinishedMessage)
            }
        };
        assert!(matches!(failed, Some(Error::UnfinishedMessage)), "{way}: {failed:?}");
        script.end();
        assert!(matches!(end(&mut ws, &Task::new()), Error::UnfinishedMessage));
        let half = Frame { fin: false, ..Frame::new(BINARY, b"half") };
        assert_eq!(script.wire().frames, [half, Frame::new(CLOSE, close_body(Some(1011), ""))], "{way}");
    }
}

/// B228.
#[tokio::test(start_paused = true)]
async fn control_frames_pass_between_the_frames_of_a_message() {
    // The stream can be read again only because the writer was forgotten.
    let (mut ws, script) = open(Config::default(), "");
    forget(&mut ws).await;
    script.frame(PING, "are you there?");
    assert!(ws.next().now_or_never().is_none());
    let half = Frame { fin: false, ..Frame::new(BINARY, b"half") };
    assert_eq!(script.wire().frames, [half, Frame::new(PONG, "are you there?")]);
}

/// B225.
#[tokio::test(start_paused = true)]
async fn the_peers_close_in_the_middle_of_a_message_is_an_unclean_end() {
    let (mut ws, script) = open(Config::default(), "");
    forget(&mut ws).await;
    script.frame(CLOSE, close_body(Some(1001), "gone"));
    script.end();
    let error = end(&mut ws, &Task::new());
    assert!(matches!(&error, Error::Closed(closed) if !closed.was_clean && u16::from(closed.code) == 1001), "{error}");
    assert_eq!(script.wire().close(), Some(&close_body(Some(1001), "gone")[..]));
}

#[test]
fn a_writer_is_unpin_and_shows_no_payload() {
    fn assert_unpin<T: Unpin + Send>(_: &T) {}
    let (mut ws, _script) = open(Config::default(), "");
    let mut writer = ws.writer(Kind::Text);
    assert_unpin(&writer);
    assert!(writer.write_all(b"secret").now_or_never().is_some());
    assert_eq!(format!("{writer:?}"), "MessageWriter { kind: Text, queued: Nothing, frame: 6, .. }");
}
