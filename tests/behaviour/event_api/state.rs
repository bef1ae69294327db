//! `readyState`, seen at each moment, also between events.

use std::time::{Duration, Instant};

use wsflow::{Config, ReadyState, compat::WebSocket};

use crate::event_api::log::{Log, Seen, until};

/// B58, B59, B61, B62.
#[tokio::test]
async fn the_state_at_each_event_and_right_after_close() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| match seen {
        Seen::Message(_) => {
            ws.close().unwrap();
            assert_eq!(ws.ready_state(), ReadyState::Closing);
        }
        Seen::Close(_) => {
            ws.close().unwrap();
            assert_eq!(ws.ready_state(), ReadyState::Closed);
        }
        Seen::Open | Seen::Error => {}
    });
    assert_eq!(ws.ready_state(), ReadyState::Connecting);
    peer.accept().await;
    peer.text("now").await;
    peer.expect_close(None, "").await;
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    peer.close(None, "").await;
    // Both have said Close; the event waits for the end of the transport.
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"now\"[1,0]", "close{1,1005,\"\"}[3,0]"]);
}

/// B60, B104.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_the_state_may_be_closed_right_after_a_close_while_connecting() {
    let (ws, log, _peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    ws.close().unwrap();
    // Without an await: a page would see CLOSING until its turn ends.
    let begun = Instant::now();
    while ws.ready_state() != ReadyState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(20), "never closed");
        std::thread::yield_now();
    }
    assert_eq!(log.end(&ws).await, ["error[3,0]", "close{0,1006,\"\"}[3,0]"]);
}

/// B61.
#[tokio::test]
async fn the_peers_close_moves_the_state_without_an_event() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    peer.accept().await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    until("CLOSING", || ws.ready_state() == ReadyState::Closing).await;
    assert_eq!(log.text(), ["open[1,0]"]);
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1000,\"\"}[3,0]"]);
}

/// B61, B158.
#[tokio::test(start_paused = true)]
async fn the_state_moves_although_the_answer_is_stuck() {
    let (ws, log, mut peer) = Log::pipe(256, Config::default(), |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            ws.send(vec![0; 1 << 20]).unwrap();
        }
    });
    peer.accept().await;
    peer.close(4000, "bye").await;
    until("CLOSING", || ws.ready_state() == ReadyState::Closing).await;
    assert_eq!(log.lines().len(), 1);
    let unsent = ws.buffered_amount();
    assert!(unsent > 1_048_000, "{unsent}");
    assert_eq!(log.end(&ws).await, ["open[1,0]", &format!("close{{0,4000,\"bye\"}}[3,{unsent}]")]);
}
