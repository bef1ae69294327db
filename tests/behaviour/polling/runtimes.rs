//! Runtimes without timers, no runtime at all, and a connection that moves from one runtime to another.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt as _, SinkExt as _, Stream as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, PING, encode},
    script_io::{Script, ScriptIo, Step, script_io},
};
use tokio::runtime::{Builder, Runtime};
use wsflow::{CloseFrame, Config, Error, Message, WebSocketStream};

fn without_time() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn open(config: Config) -> (WebSocketStream<ScriptIo>, Script) {
    let (io, script) = script_io();
    script.reads([], Step::Ready);
    (WebSocketStream::from_upgraded(io, config), script)
}

fn poll_next(ws: &mut WebSocketStream<ScriptIo>) -> Poll<Option<Result<Message, Error>>> {
    Pin::new(ws).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// What a server may have sent before the first poll that waits.
fn inputs() -> [(&'static str, Vec<u8>); 4] {
    let half = |frame: Vec<u8>| frame[..frame.len() / 2].to_vec();
    [
        ("nothing", Vec::new()),
        ("a ping", encode(true, 0, PING, b"x")),
        ("half of a small message", half(encode(true, 0, BINARY, &[7; 100]))),
        ("half of a large message", half(encode(true, 0, BINARY, &[7; 100_000]))),
    ]
}

#[test]
fn without_timers_the_first_poll_that_waits_panics_whatever_came() {
    for (input, bytes) in inputs() {
        for runtime in [None, Some(without_time())] {
            let _entered = runtime.as_ref().map(Runtime::enter);
            let (mut ws, script) = open(Config::default());
            // What is there is read without a clock.
            script.frame(BINARY, [7; 20_000]);
            assert!(poll_next(&mut ws).is_ready());
            script.input(bytes.clone());
            let polled = catch_unwind(AssertUnwindSafe(|| poll_next(&mut ws)));
            assert!(polled.is_err(), "{input}: {polled:?}");
        }
    }
}

#[test]
fn a_config_without_timers_needs_none() {
    for (input, bytes) in inputs() {
        for runtime in [None, Some(without_time())] {
            let _entered = runtime.as_ref().map(Runtime::enter);
            let config = Config::default().write_timeout(Duration::from_secs(1)).without_timers();
            let (mut ws, script) = open(config);
            script.input(bytes.clone());
            assert!(poll_next(&mut ws).is_pending(), "{input}");
            script.writes([], Step::Pending);
            assert!(ws.send(Message::binary(vec![7; 1 << 20])).now_or_never().is_none(), "{input}: it waits");
            assert!(ws.close_with(CloseFrame::empty()).now_or_never().is_none(), "{input}: it waits");
            script.writes([], Step::Ready);
            assert!(ws.close_with(CloseFrame::empty()).now_or_never().is_none(), "{input}: it waits for the answer");
        }
    }
}

#[test]
fn a_connection_without_timers_closes_by_what_the_peer_does() {
    let (mut ws, script) = open(Config::default().without_timers());
    script.frame(BINARY, b"last");
    script.frame(CLOSE, 1000u16.to_be_bytes());
    script.end();
    assert_eq!(ws.next().now_or_never().flatten().unwrap().unwrap(), Message::binary(&b"last"[..]));
    assert!(ws.next().now_or_never().unwrap().is_none());
    assert!(ws.closed().unwrap().was_clean);
}

#[test]
fn a_connection_goes_on_in_a_second_runtime() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut ws, script) = open(Config::default().close_timeout(Duration::from_secs(3)));
    let first = runtime();
    first.block_on(async {
        // It waits with a deadline, and so has a timer of this runtime.
        let closing = tokio::time::timeout(Duration::from_secs(1), ws.close_with(CloseFrame::empty()));
        assert!(closing.await.is_err());
    });
    drop(first);
    runtime().block_on(async {
        let closed = tokio::time::timeout(Duration::from_secs(10), ws.close_with(CloseFrame::empty())).await;
        assert_eq!(closed.expect("its deadline passes").unwrap().code, 1006);
    });
    drop(script);
}
