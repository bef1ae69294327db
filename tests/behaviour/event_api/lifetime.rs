//! How long a socket lives: handles that are dropped in every state and in every handler, and runtimes that end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::{peer::Peer, server::Script};
use tokio::{io::DuplexStream, time::Instant};
use wsflow::{Closed, Config, ReadyState, compat::WebSocket};

use crate::event_api::log::{Log, Seen, plain, until, within};

/// Waits for the `close` event of a socket of which no handle is left.
async fn end(log: &Log) -> Vec<String> {
    until("close", || matches!(log.lines().last(), Some(line) if matches!(line.seen, Seen::Close(_)))).await;
    log.text()
}

/// B192, V10.
#[tokio::test]
async fn dropped_while_connecting_the_attempt_is_given_up() {
    let server = Script::bind().await;
    let (ws, log) = Log::connect(&server.url("/"), |ws, _| assert_eq!(ws.ready_state(), ReadyState::Closed));
    let mut peer = server.peer().await;
    peer.request().await;
    drop(ws);
    peer.expect_eof().await;
    assert_eq!(end(&log).await, ["error[3,0]", "close{0,1006,\"\"}[3,0]"]);
}

/// B192, B193, V10.
#[tokio::test]
async fn dropped_while_open_what_is_queued_is_sent_and_then_a_close_without_code() {
    let (ws, log, mut peer) = Log::pipe(1 << 10, Config::default(), |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            ws.send(vec![1; 100_000]).unwrap();
        }
    });
    peer.accept().await;
    until("open", || log.lines().len() == 1).await;
    let clone = ws.clone();
    drop(ws);
    peer.text("a handle is left").await;
    until("the message", || log.lines().len() == 2).await;
    drop(clone);
    peer.text("closing").await;
    peer.expect_binary(vec![1; 100_000]).await;
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
    let lines = end(&log).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[2], "close{1,1005,\"\"}[3,0]");
}

/// B193, V10.
#[tokio::test(start_paused = true)]
async fn the_close_of_a_dropped_socket_keeps_the_deadlines() {
    for (capacity, queued) in [(1 << 16, 0), (256, 10 << 20)] {
        let (ws, log, mut peer) = Log::pipe(capacity, Config::default(), move |ws: &WebSocket, seen| {
            if *seen == Seen::Open {
                for _ in 0..queued / 4096 {
                    ws.send(vec![0; 4096]).unwrap();
                }
            }
        });
        peer.accept().await;
        until("open", || log.lines().len() == 1).await;
        let begun = Instant::now();
        drop(ws);
        // The server takes nothing and says nothing.
        tokio::time::sleep(Duration::from_secs(11)).await;
        let lines = end(&log).await;
        assert!(lines[1].starts_with("close{0,1006,\"\"}"), "{lines:?}");
        assert_eq!(begun.elapsed().as_secs(), 11);
        peer.expect_gone().await;
    }
}

/// B192, V10.
#[tokio::test]
async fn dropped_while_closing_and_when_closed_nothing_changes() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    peer.accept().await;
    until("open", || ws.ready_state() == ReadyState::Open).await;
    ws.close_with(4000, "mine").unwrap();
    let clone = ws.clone();
    drop(ws);
    peer.expect_close(4000, "mine").await;
    peer.close(4000, "mine").await;
    peer.finish().await;
    assert_eq!(log.end(&clone).await, ["open[1,0]", "close{1,4000,\"mine\"}[3,0]"]);
    drop(clone);
    peer.expect_eof().await;
}

/// B192, V10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_handle_dropped_inside_of_each_handler() {
    for in_event in ["open", "message", "error", "close"] {
        let last = Arc::new(Mutex::new(None::<WebSocket>));
        let held = Arc::clone(&last);
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), move |ws, seen| {
            let is_now = match seen {
                Seen::Open => in_event == "open",
                Seen::Message(_) => in_event == "message",
                Seen::Error => in_event == "error",
                Seen::Close(_) => in_event == "close",
            };
            if is_now {
                let held = held.lock().unwrap().take();
                drop(held);
                // The one that the handler was given still works.
                ws.send("works").unwrap();
            }
        });
        *last.lock().unwrap() = Some(ws);
        peer.accept().await;
        if in_event != "open" {
            peer.text("m").await;
        }
        if matches!(in_event, "open" | "message") {
            peer.expect_text("works").await;
            peer.expect_close(None, "").await;
            peer.close(None, "").await;
        } else {
            peer.frame(true, 0, 3, "").await;
            peer.expect_close(1002, "").await;
        }
        peer.finish().await;
        let lines = end(&log).await;
        let is_clean = matches!(in_event, "open" | "message");
        let expected = match in_event {
            "open" => 2,
            "message" => 3,
            _ => 4,
        };
        assert_eq!(lines.len(), expected, "{in_event}: {lines:?}");
        assert_eq!(lines.last().unwrap().starts_with("close{1,1005"), is_clean, "{in_event}: {lines:?}");
    }
}

/// V10.
#[tokio::test]
async fn a_handle_taken_out_of_a_handler_is_one_more_handle() {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), move |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            *keep.lock().unwrap() = Some(ws.clone());
        }
    });
    peer.accept().await;
    until("open", || kept.lock().unwrap().is_some()).await;
    drop(ws);
    peer.text("still open").await;
    until("the message", || log.lines().len() == 2).await;
    let handle = kept.lock().unwrap().take();
    drop(handle);
    peer.expect_close(None, "").await;
    drop(peer);
    assert_eq!(end(&log).await.len(), 3);
}

/// B194.
#[tokio::test]
async fn shutdown_leaves_as_a_page_does() {
    // Open: 1001, behind what is queued.
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            ws.send("last words").unwrap();
            ws.shutdown();
            assert_eq!(ws.ready_state(), ReadyState::Closing);
            ws.shutdown();
        }
    });
    peer.accept().await;
    peer.expect_text("last words").await;
    peer.expect_close(1001, "").await;
    peer.close(1001, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1001,\"\"}[3,0]"]);
    // Connecting: the attempt fails. Closing: nothing.
    let (ws, log, peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    ws.shutdown();
    assert_eq!(log.end(&ws).await, ["error[3,0]", "close{0,1006,\"\"}[3,0]"]);
    ws.shutdown();
    drop(peer);
}

#[tokio::test]
async fn a_handler_that_owns_a_handle_keeps_the_connection_open_and_one_with_a_weak_handle_does_not() {
    // Weak.
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    let weak = ws.downgrade();
    let (own, upgraded) = (weak.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&upgraded);
    ws.add_message_listener(move |_, _| seen.lock().unwrap().push(own.upgrade().map(|ws| ws.ready_state())));
    peer.accept().await;
    peer.text("a handle is left").await;
    until("the message", || upgraded.lock().unwrap().len() == 1).await;
    drop(ws);
    peer.expect_close(None, "").await;
    assert!(weak.upgrade().is_none());
    peer.close(None, "").await;
    peer.finish().await;
    assert_eq!(end(&log).await.last().unwrap(), "close{1,1005,\"\"}[3,0]");
    assert_eq!(*upgraded.lock().unwrap(), [Some(ReadyState::Open)]);

    // Not weak.
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    let own = ws.clone();
    ws.add_message_listener(move |_, _| own.close_with(4000, "by its handler").unwrap());
    peer.accept().await;
    until("open", || log.lines().len() == 1).await;
    drop(ws);
    peer.text("still open").await;
    peer.expect_close(4000, "by its handler").await;
    peer.close(4000, "").await;
    peer.finish().await;
    assert_eq!(end(&log).await.len(), 3);
}

#[tokio::test]
async fn listeners_that_own_their_socket_do_not_keep_it_for_ever() {
    let witness = Arc::new(());
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    for _ in 0..2 {
        let (own, held) = (ws.clone(), Arc::clone(&witness));
        ws.add_message_listener(move |_, _| drop((own.ready_state(), Arc::clone(&held))));
        let (own, held) = (ws.clone(), Arc::clone(&witness));
        ws.add_close_listener(move |_, _| drop((own.ready_state(), Arc::clone(&held))));
    }
    peer.accept().await;
    peer.close(None, "").await;
    peer.expect_close(None, "").await;
    peer.finish().await;
    log.end(&ws).await;
    until("nobody holds it", || Arc::strong_count(&witness) == 1).await;
}

/// What is set and added here owns the socket, and the witness.
fn set_and_add_all(ws: &WebSocket, witness: &Arc<()>) {
    macro_rules! each {
        ($($set_or_add:ident)*) => {
            $({
                let (own, held) = (ws.clone(), Arc::clone(witness));
                ws.$set_or_add(move |_, _| drop((own.ready_state(), Arc::clone(&held))));
            })*
        };
    }
    each! {
        set_on_open set_on_message set_on_error set_on_close
        add_open_listener add_message_listener add_error_listener add_close_listener
    }
}

#[tokio::test]
async fn a_listener_that_is_set_after_the_end_is_dropped_at_once() {
    for is_refused in [true, false] {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
        if is_refused {
            peer.request().await;
            peer.raw("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
        } else {
            peer.accept().await;
            peer.close(None, "").await;
            peer.expect_close(None, "").await;
            peer.finish().await;
        }
        log.end(&ws).await;
        let witness = Arc::new(());
        for _ in 0..2 {
            set_and_add_all(&ws, &witness);
            assert_eq!(Arc::strong_count(&witness), 1, "refused: {is_refused}");
        }
        // Names go on, and nothing that is done with one fails.
        let (one, two) = (ws.add_close_listener(|_, _| {}), ws.add_close_listener(|_, _| {}));
        assert_ne!(one, two);
        ws.remove_listener(one);
        ws.clear_on_close();
    }
}

#[tokio::test]
async fn a_listener_that_is_set_in_the_last_event_is_dropped_behind_it() {
    let witness = Arc::new(());
    let held = Arc::clone(&witness);
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), move |ws: &WebSocket, seen| {
        if matches!(seen, Seen::Close(_)) {
            set_and_add_all(ws, &held);
        }
    });
    peer.accept().await;
    drop(peer);
    log.end(&ws).await;
    until("nobody holds it", || Arc::strong_count(&witness) == 1).await;
}

/// B202.
#[tokio::test]
async fn a_dropped_closed_or_drained_future_is_nothing() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    for _ in 0..3 {
        drop(ws.closed());
        drop(ws.drained());
        let waiting = tokio::time::timeout(Duration::from_millis(1), ws.closed());
        assert!(waiting.await.is_err());
    }
    peer.accept().await;
    drop(peer);
    log.end(&ws).await;
    // Over, and over again.
    assert_eq!(within(ws.closed()).await, Ok(Closed::new(1006, "", false)));
    assert_eq!(within(ws.drained()).await, Ok(()));
}

#[test]
fn a_runtime_that_is_shut_down_ends_its_sockets_for_those_who_wait_on_another() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let theirs = runtime();
    let (ws, peer): (WebSocket, Peer<DuplexStream>) = theirs.block_on(async {
        let (mut peer, io) = Peer::pipe(1 << 16);
        let ws = plain("ws://h/").connect_over(io);
        peer.accept().await;
        until("open", || ws.ready_state() == ReadyState::Open).await;
        (ws, peer)
    });
    drop(theirs);
    assert_eq!(ws.ready_state(), ReadyState::Closed);
    assert_eq!(runtime().block_on(within(ws.closed())), Ok(Closed::new(1006, "", false)));
    drop(peer);
}
