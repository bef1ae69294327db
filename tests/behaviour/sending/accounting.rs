//! Exact accounting: what the sink took is either on the wire or in `buffered_amount()`, byte for byte, at any moment.

use std::{pin::Pin, sync::Arc, task::Poll};

use bytes::Bytes;
use futures::{Sink as _, SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use testkit::{
    frame::{CLOSE, PING},
    script_io::{Script, ScriptIo, Step, script_io},
    task::{Task, runtime},
    wire::payload_taken,
};
use wsflow::{Config, Message, WebSocketStream};

#[derive(Debug, Clone)]
enum Op {
    /// Sends as many bytes, if the sink is ready. `is_shared`: somebody else holds the payload, too.
    Send {
        len: usize,
        is_text: bool,
        is_shared: bool,
    },
    Flush,
    /// The transport takes what these steps let through.
    Transport(Vec<Step>),
    Ping,
    Read,
}

/// A stream, and what it must say about itself.
struct Model {
    ws: WebSocketStream<ScriptIo>,
    script: Script,
    task: Arc<Task>,
    mark: usize,
    sent: Vec<(bool, Vec<u8>)>,
    /// Holds the shared payloads.
    shared: Vec<Bytes>,
}

/// What a message costs besides its payload, as `Config::write_high_water_mark` says.
const MESSAGE_COST: usize = 32;

impl Model {
    fn new(mark: usize, fragment_size: Option<usize>) -> Self {
        let (io, script) = script_io();
        script.writes([], Step::Pending);
        let config = Config::default().write_high_water_mark(mark).fragment_size(fragment_size);
        let ws = WebSocketStream::from_upgraded(io, config);
        Self { ws, script, task: Task::new(), mark: mark.max(1), sent: Vec::new(), shared: Vec::new() }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Send { len, is_text, is_shared } => self.send(*len, *is_text, *is_shared),
            Op::Flush => {
                let flush = self.task.poll_once(self.ws.flush()).map(Result::unwrap);
                assert!(flush.is_pending() || self.ws.buffered_amount() == 0, "flushed, and something is left");
            }
            Op::Transport(steps) => self.script.writes(steps.iter().copied(), Step::Pending),
            Op::Ping => self.script.frame(PING, "ping"),
            Op::Read => assert!(self.task.poll_once(self.ws.next()).is_pending()),
        }
        self.check();
    }

    fn send(&mut self, len: usize, is_text: bool, is_shared: bool) {
        let ready = self.task.poll(|cx| Pin::new(&mut self.ws).poll_ready(cx)).map(Result::unwrap);
        assert_eq!(ready.is_ready(), self.cost() < self.mark, "cost {}, mark {}", self.cost(), self.mark);
        if ready.is_pending() {
            return;
        }
        let before = self.ws.buffered_amount();
        let payload = vec![b'a' + self.sent.len() as u8 % 26; len];
        let message = if is_text {
            Message::text(String::from_utf8(payload.clone()).unwrap())
        } else {
            Message::binary(payload.clone())
        };
        if is_shared {
            self.shared.push(message.clone().into_bytes());
        }
        Pin::new(&mut self.ws).start_send(message).unwrap();
        self.sent.push((is_text, payload));
        assert_eq!(self.ws.buffered_amount(), before + len as u64, "B66: counted before it returns");
        assert!(self.cost() < self.mark + len + MESSAGE_COST, "overshot by more than one message");
    }

    /// The cost of what is queued, from what the wire does not show.
    fn cost(&self) -> usize {
        let done = self.ws.stats().messages_sent as usize;
        self.sent[done..].iter().map(|(_, payload)| payload.len() + MESSAGE_COST).sum()
    }

    fn check(&self) {
        let output = self.script.output();
        let (taken, stats) = (payload_taken(&output), self.ws.stats());
        let sum = self.sent.iter().map(|(_, payload)| payload.len() as u64).sum::<u64>();
        assert_eq!(self.ws.buffered_amount(), sum - taken);
        assert_eq!(stats.payload_bytes_sent, taken);
        assert_eq!(stats.wire_bytes_sent, output.len() as u64);
    }

    /// Messages on the wire are those that were sent, in order, and counted.
    fn check_messages(&self) {
        let messages = self.script.wire().messages();
        assert_eq!(self.ws.stats().messages_sent, messages.len() as u64);
        assert!(messages == self.sent[..messages.len()], "other messages than were sent");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![
        2 => Just(0),
        5 => 0..300usize,
        2 => prop::sample::select(vec![125, 126, 16_384, 16_385, 65_535, 65_536]),
        1 => 60_000..400_000usize,
    ];
    let transport = prop_oneof![
        Just(Step::Ready),
        Just(Step::Pending),
        (1..30usize).prop_map(Step::Partial),
        (1..100_000usize).prop_map(Step::Partial),
    ];
    prop_oneof![
        6 => (len, any::<bool>(), any::<bool>())
            .prop_map(|(len, is_text, is_shared)| Op::Send { len, is_text, is_shared }),
        2 => Just(Op::Flush),
        4 => prop::collection::vec(transport, 0..6).prop_map(Op::Transport),
        1 => Just(Op::Ping),
        1 => Just(Op::Read),
    ]
}

fn marks() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), 1..500usize, Just(32 * 1024), Just(128 * 1024), Just(1 << 20)]
}

fn fragment_sizes() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(None), Just(Some(100)), Just(Some(16 * 1024)), Just(Some(70_000)), Just(Some(256 * 1024))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(250) })]

    /// B84, B85, B88.
    #[test]
    fn sum_in_is_sum_out_under_any_stalls(
        mark in marks(),
        fragment_size in fragment_sizes(),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut model = Model::new(mark, fragment_size);
        ops.iter().for_each(|op| model.apply(op));
        model.check_messages();

        model.apply(&Op::Transport(vec![]));
        model.script.writes([], Step::Ready);
        model.apply(&Op::Flush);
        prop_assert_eq!(model.ws.buffered_amount(), 0);
        prop_assert_eq!(model.cost(), 0);
        model.check_messages();
        prop_assert_eq!(model.ws.stats().messages_sent, model.sent.len() as u64);
    }

    /// The frame that was begun is finished, nothing else leaves but our Close, and the rest is counted for ever.
    /// B91, B157.
    #[test]
    fn after_the_peers_close_the_unsent_stays_counted(
        mark in marks(),
        fragment_size in fragment_sizes(),
        ops in prop::collection::vec(op(), 1..20),
        last in prop::collection::vec((1..50_000usize).prop_map(Step::Partial), 0..4),
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut model = Model::new(mark, fragment_size);
        ops.iter().for_each(|op| model.apply(op));

        model.script.frame(CLOSE, [3, 232]);
        model.script.writes(last, Step::Pending);
        // Whatever is written before the Close frame is read is written as ever.
        let _ = model.task.poll_once(model.ws.next());
        model.check();
        model.script.writes([], Step::Ready);
        model.script.end();
        let mut errors = 0;
        while let Poll::Ready(Some(_)) = model.task.poll_once(model.ws.next()) {
            errors += 1;
        }
        model.check();
        model.check_messages();
        let closed = model.ws.closed().expect("closed").clone();
        prop_assert_eq!(u16::from(closed.code), 1000);
        prop_assert!(!closed.was_clean || model.cost() == 0);
        // The one error may have been yielded above already.
        prop_assert!(!closed.was_clean || errors == 0);
        let wire = model.script.wire();
        prop_assert_eq!(wire.close(), Some(&[3, 232][..]));
        prop_assert_eq!(wire.rest, 0);
    }
}

/// B81, B82, B84.
#[test]
fn the_amount_falls_byte_by_byte_as_the_transport_takes_them() {
    const LEN: usize = 500;
    let mut model = Model::new(1 << 20, None);
    for text in ["x", "å", "匶", "𐑾"] {
        Pin::new(&mut model.ws).start_send(text.into()).unwrap();
    }
    assert_eq!(model.ws.buffered_amount(), 10);
    Pin::new(&mut model.ws).start_send(Message::binary(vec![7; LEN])).unwrap();
    let mut seen = vec![model.ws.buffered_amount()];
    loop {
        model.script.writes([Step::Partial(1)], Step::Pending);
        let flush = model.task.poll(|cx| Pin::new(&mut model.ws).poll_flush(cx)).map(Result::unwrap);
        let amount = model.ws.buffered_amount();
        let before = *seen.last().unwrap();
        assert!(before - amount <= 1, "one byte was taken, and the amount fell from {before} to {amount}");
        if amount < before {
            seen.push(amount);
        }
        if flush.is_ready() || amount == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), LEN + 10 + 1);
}

/// Close waits for all that is queued, also for a payload that leaves without being copied.
/// B89.
#[test]
fn after_close_the_amount_counts_down_and_then_close_goes_out() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for len in [0, 100, 16_384, 16_385, 65_536, 300_000, 600_000] {
        for fragment_size in [None, Some(16_384), Some(256 * 1024)] {
            for step in [Step::Ready, Step::Partial(4_096), Step::Partial(5_000)] {
                let mut model = Model::new(1 << 20, fragment_size);
                model.send(len, false, false);
                let mut amounts = Vec::new();
                while model.ws.buffered_amount() > 0 || model.script.wire().close().is_none() {
                    model.script.writes([step], Step::Pending);
                    assert!(model.task.poll(|cx| Pin::new(&mut model.ws).poll_close(cx)).is_pending());
                    model.check();
                    amounts.push(model.ws.buffered_amount());
                    assert!(amounts.len() < 1_000, "Close never goes out");
                }
                assert!(amounts.is_sorted_by(|before, after| before >= after));
                assert_eq!(amounts.last(), Some(&0));
                model.check_messages();
                assert_eq!(model.ws.stats().messages_sent, 1);
            }
        }
    }
}
