//! Cancel safety: every future is dropped at every point where it waits, and taken up again by a new one.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use futures::{Sink, SinkExt, StreamExt};
use proptest::prelude::*;
use testkit::{
    frame::{CLOSE, PING, PONG, TEXT, close_body, encode},
    script_io::{Script, ScriptIo, Step, script_io},
    task::{Task, runtime},
};
use wsflow::{CloseFrame, Config, Error, Message, WebSocketStream};

type Ws = WebSocketStream<ScriptIo>;

/// A transport that hands over one byte, then waits, each way: each byte is an await point.
fn byte_by_byte(config: Config) -> (Ws, Script, Arc<Task>) {
    let (io, script) = script_io();
    let steps = || std::iter::repeat_n([Step::Partial(1), Step::Pending], 4_000).flatten();
    script.reads(steps(), Step::Ready);
    script.writes(steps(), Step::Ready);
    (WebSocketStream::from_upgraded(io, config), script, Task::new())
}

/// Polls new futures, each of them once, until one is ready. Returns how many were dropped, and what the last one said.
async fn again_and_again<T>(
    (ws, script, task): (&mut Ws, &Script, &Arc<Task>),
    mut poll: impl AsyncFnMut(&mut Ws) -> T,
) -> (usize, T) {
    for dropped in 0..20_000 {
        if let Poll::Ready(answer) = task.poll_once(poll(ws)) {
            return (dropped, answer);
        }
        script.wake_read();
        script.wake_write();
        // Else the budget of this task would be used up.
        tokio::task::yield_now().await;
    }
    panic!("it never ends");
}

#[tokio::test(start_paused = true)]
async fn next_dropped_at_every_byte_loses_nothing() {
    let (mut ws, script, task) = byte_by_byte(Config::default());
    let long = "å".repeat(200);
    script.frame(TEXT, "one");
    script.frame(PING, "ping");
    script.input(encode(false, 0, TEXT, b"tw"));
    script.input(encode(true, 0, 0, b"o"));
    script.frame(TEXT, &long);
    script.frame(CLOSE, close_body(Some(1001), "gone"));
    script.end();
    for expected in ["one", "two", &long] {
        let (dropped, item) = again_and_again((&mut ws, &script, &task), async |ws| ws.next().await).await;
        assert_eq!(item.unwrap().unwrap().as_text(), Some(expected));
        assert!(dropped >= expected.len());
    }
    let (_, end) = again_and_again((&mut ws, &script, &task), async |ws| ws.next().await).await;
    assert!(end.is_none());
    assert!(ws.closed().unwrap().was_clean);
    let wire = script.wire();
    assert_eq!(wire.payloads(PONG), [b"ping"]);
    assert_eq!(wire.close(), Some(&close_body(Some(1001), "gone")[..]));
    assert_eq!(wire.frames.len(), 2);
}

/// B227.
#[tokio::test(start_paused = true)]
async fn flush_and_ready_dropped_at_every_byte_tear_no_frame() {
    let (mut ws, script, task) = byte_by_byte(Config::default().write_high_water_mark(200).fragment_size(50));
    let messages =
        [Message::text("hello"), Message::binary(vec![1; 120]), Message::text(""), Message::binary(vec![2; 60])];
    for message in &messages {
        let ready = async |ws: &mut Ws| poll_fn(|cx| Pin::new(&mut *ws).poll_ready(cx)).await;
        again_and_again((&mut ws, &script, &task), ready).await.1.unwrap();
        ws.start_send_unpin(message.clone()).unwrap();
    }
    let flush = async |ws: &mut Ws| SinkExt::<Message>::flush(ws).await;
    let (dropped, answer) = again_and_again((&mut ws, &script, &task), flush).await;
    answer.unwrap();
    assert!(dropped > 60, "{dropped}");
    let sent = messages.map(|message| (message.is_text(), message.into_bytes().to_vec()));
    assert_eq!(script.wire().messages(), sent);
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_at_any_point_sent_all_of_its_message_or_nothing() {
    // The mark is reached: the first polls wait for it, the later ones for the flush.
    let mut outcomes = [0, 0];
    for polls in 1..400 {
        let (mut ws, script, task) = byte_by_byte(Config::default().write_high_water_mark(1));
        ws.start_send_unpin(Message::binary(vec![1; 50])).unwrap();
        let mut is_sent = false;
        {
            let mut send = std::pin::pin!(ws.send(Message::text("hello")));
            for _ in 0..polls {
                is_sent |= task.poll(|cx| send.as_mut().poll(cx)).map(Result::unwrap).is_ready();
                if is_sent {
                    break;
                }
                script.wake_write();
            }
        }
        let flush = async |ws: &mut Ws| SinkExt::<Message>::flush(ws).await;
        again_and_again((&mut ws, &script, &task), flush).await.1.unwrap();
        let mut messages = script.wire().messages();
        assert_eq!(messages.remove(0), (false, vec![1; 50]));
        outcomes[messages.len()] += 1;
        if let Some(message) = messages.pop() {
            assert_eq!(message, (true, b"hello".to_vec()));
        }
        if is_sent {
            break;
        }
    }
    assert!(outcomes.iter().all(|&times| times > 5), "gone and queued: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_feed_dropped_while_it_waits_has_not_queued_its_message() {
    let (mut ws, script, task) = byte_by_byte(Config::default().write_high_water_mark(1));
    ws.start_send_unpin(Message::binary(vec![1; 50])).unwrap();
    let mut dropped = 0;
    while task.poll_once(ws.feed(Message::text("gone"))).map(Result::unwrap).is_pending() {
        assert_eq!(ws.buffered_amount() + script.output_len().saturating_sub(6) as u64, 50);
        dropped += 1;
        script.wake_write();
    }
    // The last one was taken.
    assert!(dropped > 50);
    assert_eq!(ws.buffered_amount(), 4);
    let flush = async |ws: &mut Ws| SinkExt::<Message>::flush(ws).await;
    again_and_again((&mut ws, &script, &task), flush).await.1.unwrap();
    assert_eq!(script.wire().messages(), [(false, vec![1; 50]), (true, b"gone".to_vec())]);
}

#[tokio::test(start_paused = true)]
async fn close_dropped_at_every_byte_sends_one_close_behind_all_that_is_queued() {
    for is_sink in [false, true] {
        let (mut ws, script, task) = byte_by_byte(Config::default());
        ws.start_send_unpin("last words".into()).unwrap();
        script.frame(TEXT, "discarded");
        script.frame(PING, "ping");
        script.frame(CLOSE, close_body(Some(1000), "bye"));
        script.end();
        let frame = if is_sink { CloseFrame::empty() } else { CloseFrame::new(1000, "bye") };
        if is_sink {
            let close = async |ws: &mut Ws| SinkExt::<Message>::close(ws).await;
            again_and_again((&mut ws, &script, &task), close).await.1.unwrap();
        } else {
            let close = async |ws: &mut Ws| ws.close_with(frame.clone()).await;
            let (dropped, closed) = again_and_again((&mut ws, &script, &task), close).await;
            assert!(dropped > 20, "{dropped}");
            assert!(closed.unwrap().was_clean);
        }
        let wire = script.wire();
        assert_eq!(wire.messages(), [(true, b"last words".to_vec())]);
        let body = frame.code().map_or_else(Vec::new, |code| close_body(Some(code.into()), frame.reason()));
        assert_eq!(wire.close(), Some(&body[..]));
        assert_eq!(ws.stats().discarded_messages, 1);
        assert!(ws.next().await.is_none());
    }
}

/// A future that is polled once and dropped.
#[derive(Debug, Clone, Copy)]
enum Op {
    Next,
    Feed(usize),
    Flush,
    Close,
    /// The transport takes up its steps again.
    Wake,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Next),
        4 => prop_oneof![0..40usize, 200..500usize].prop_map(Op::Feed),
        3 => Just(Op::Flush),
        8 => Just(Op::Wake),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![2 => Just(Step::Pending), 3 => (1..60usize).prop_map(Step::Partial)];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_futures_dropped_in_any_order_leave_the_wire_well_formed(
        ops in prop::collection::vec(op(), 0..120),
        reads in steps(),
        writes in steps(),
        is_closed_here: bool,
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (io, script) = script_io();
        script.reads(reads, Step::Ready);
        script.writes(writes, Step::Ready);
        let config = Config::default().write_high_water_mark(300).fragment_size(64).read_buffer_max(1024);
        let (mut ws, task) = (WebSocketStream::from_upgraded(io, config), Task::new());
        for i in 0..10 {
            script.frame(TEXT, format!("message {i}"));
            script.frame(PING, format!("ping {i}"));
        }
        let (mut received, mut fed) = (Vec::new(), Vec::new());
        let last = if is_closed_here { vec![Op::Close] } else { vec![] };
        for op in ops.into_iter().chain(last) {
            match op {
                Op::Next => if let Poll::Ready(item) = task.poll_once(ws.next()) {
                    received.push(item.unwrap().unwrap().into_bytes());
                },
                Op::Feed(len) => {
                    let payload = vec![fed.len() as u8; len];
                    if task.poll_once(ws.feed(Message::binary(payload.clone()))).map(Result::unwrap).is_ready() {
                        fed.push((false, payload));
                    }
                }
                Op::Flush => {
                    let _: Poll<Result<(), Error>> = task.poll_once(SinkExt::<Message>::flush(&mut ws));
                }
                Op::Close => assert!(task.poll_once(ws.close_with(CloseFrame::new(1000, "bye"))).is_pending()),
                Op::Wake => {
                    script.wake_read();
                    script.wake_write();
                }
            }
        }
        // Everything flows from now on, and it ends.
        script.reads([], Step::Ready);
        script.writes([], Step::Ready);
        if !is_closed_here {
            prop_assert!(task.poll_once(SinkExt::<Message>::flush(&mut ws)).is_ready());
        }
        loop {
            match task.poll_once(ws.next()) {
                Poll::Ready(Some(item)) => received.push(item.unwrap().into_bytes()),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    script.frame(CLOSE, close_body(Some(1000), "bye"));
                    script.end();
                }
            }
        }
        let wire = script.wire();
        prop_assert_eq!(wire.messages(), fed);
        prop_assert_eq!(wire.close(), Some(&close_body(Some(1000), "bye")[..]));
        prop_assert_eq!(wire.rest, 0);
        // Nothing follows our own Close, so pings behind it stay without answer.
        prop_assert!(is_closed_here || wire.payloads(PONG).last() == Some(&&b"ping 9"[..]));
        let all = (0..10).map(|i| format!("message {i}")).collect::<Vec<_>>();
        prop_assert_eq!(&received[..], &all[..received.len()]);
        prop_assert!(is_closed_here || received.len() == 10);
        prop_assert_eq!(received.len() as u64 + ws.stats().discarded_messages, 10);
    }
}
