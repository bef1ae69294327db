//! `close`: what is judged, what goes out, what comes back, and how long it may take.

use std::time::Duration;

use testkit::frame::{CLOSE, CONTINUATION, TEXT, encode};
use tokio::time::Instant;
use wsflow::{
    Closed, Config, Error, ReadyState,
    compat::{CloseError, WebSocket},
};

use crate::event_api::log::{Log, Seen};

fn judge(ws: &WebSocket) {
    let before = (ws.ready_state(), ws.buffered_amount());
    let long = ["x".repeat(124), "\u{1f50c}".repeat(32), "\u{30ed}".repeat(41) + "x"];
    for code in [0, 1, 500, 999, 1001, 1002, 1004, 1005, 1006, 1011, 1015, 2999, 5000, 65_535] {
        assert_eq!(ws.close_with(code, ""), Err(CloseError::InvalidAccess), "{code}");
        // B102: the code is judged first.
        assert_eq!(ws.close_with(code, &long[0]), Err(CloseError::InvalidAccess), "{code}");
    }
    for reason in &long {
        assert_eq!(ws.close_with(1000, reason), Err(CloseError::Syntax), "{reason}");
    }
    assert_eq!((ws.ready_state(), ws.buffered_amount()), before);
}

/// B99-B102, B119-B126.
#[tokio::test]
async fn arguments_are_judged_in_every_state_and_change_nothing() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        judge(ws);
        if matches!(seen, Seen::Message(_)) {
            ws.close_with(3000, "why").unwrap();
            judge(ws);
        }
    });
    assert_eq!(ws.ready_state(), ReadyState::Connecting);
    judge(&ws);
    peer.accept().await;
    peer.text("still open").await;
    peer.expect_close(3000, "why").await;
    peer.close(3000, "why").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"still open\"[1,0]", "close{1,3000,\"why\"}[3,0]"]);
    judge(&ws);
}

/// B100, B105, B106, B107, B119, B126.
#[tokio::test]
async fn what_close_puts_on_the_wire() {
    let japanese = "\u{30ed}".repeat(41);
    let ascii = "x".repeat(123);
    let cases =
        [(None, ""), (Some(1000), ""), (Some(1000), "Clean Close"), (Some(3000), &ascii), (Some(3999), "\u{feff}bom")];
    for (code, reason) in cases.into_iter().chain([(Some(4000), japanese.as_str()), (Some(4999), "")]) {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), {
            let reason = reason.to_owned();
            move |ws: &WebSocket, seen| {
                if *seen == Seen::Open {
                    assert_eq!(code.map_or_else(|| ws.close(), |code| ws.close_with(code, &reason)), Ok(()));
                }
            }
        });
        peer.accept().await;
        peer.expect_close(code, reason).await;
        // B132: a reason comes back as it is, with a leading BOM.
        peer.close(code, reason).await;
        peer.finish().await;
        peer.expect_eof().await;
        let end = format!("close{{1,{},{reason:?}}}[3,0]", code.unwrap_or(1005));
        assert_eq!(log.end(&ws).await, ["open[1,0]", &end]);
    }
}

/// B110.
#[tokio::test]
async fn closing_again_sends_nothing_and_is_no_event() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        let again = if *seen == Seen::Open { 4001 } else { 4002 };
        for _ in 0..3 {
            ws.close_with(again, "").unwrap();
            ws.close().unwrap();
        }
        assert!(ws.ready_state() >= ReadyState::Closing);
    });
    peer.accept().await;
    peer.expect_close(4001, "").await;
    peer.close(4001, "").await;
    peer.finish().await;
    peer.expect_eof().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,4001,\"\"}[3,0]"]);
}

/// B111, B130, B138.
#[tokio::test]
async fn a_close_that_came_before_ours_is_answered_and_ours_is_not_sent() {
    // In the packet of the 101, and behind a message in whose handler we close.
    for behind_message in [false, true] {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), move |ws: &WebSocket, seen| {
            if matches!(seen, Seen::Message(_)) == behind_message && ws.ready_state() == ReadyState::Open {
                ws.send("before").unwrap();
                ws.close_with(4111, "mine").unwrap();
                assert_eq!(ws.ready_state(), ReadyState::Closing);
            }
        });
        let mut packet = peer.request().await.answer("").into_bytes();
        if behind_message {
            packet.extend_from_slice(&encode(true, 0, TEXT, b"m"));
        }
        packet.extend_from_slice(&encode(true, 0, CLOSE, b"\x03\xe9PASS"));
        peer.raw(packet).await;
        peer.expect_text("before").await;
        peer.expect_close(1001, "PASS").await;
        peer.finish().await;
        let mut expected = vec!["open[1,0]", "\"m\"[1,0]", "close{1,1001,\"PASS\"}[3,0]"];
        if !behind_message {
            expected.remove(1);
        }
        assert_eq!(log.end(&ws).await, expected);
    }
}

/// B113, B164, B216.
#[tokio::test]
async fn after_close_no_message_is_handed_out_however_many_come() {
    let (ws, log, mut peer) = Log::pipe(1 << 10, Config::default(), |ws, seen| {
        if matches!(seen, Seen::Message(_)) {
            ws.close().unwrap();
        }
    });
    peer.accept().await;
    for _ in 0..500 {
        peer.text("more than any buffer holds, in sum").await;
    }
    peer.expect_close(None, "").await;
    peer.text("late").await;
    peer.close(None, "").await;
    peer.finish().await;
    let message = "\"more than any buffer holds, in sum\"[1,0]";
    assert_eq!(log.end(&ws).await, ["open[1,0]", message, "close{1,1005,\"\"}[3,0]"]);
}

/// B115, B170.
#[tokio::test]
async fn pings_are_answered_until_a_close_frame_is_out_or_came() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if matches!(seen, Seen::Message(_)) {
            ws.close().unwrap();
        }
    });
    peer.accept().await;
    peer.ping("1").await;
    peer.expect_pong("1").await;
    peer.text("close").await;
    peer.expect_close(None, "").await;
    peer.ping("2").await;
    peer.close(None, "").await;
    peer.ping("3").await;
    peer.finish().await;
    peer.expect_eof().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"close\"[1,0]", "close{1,1005,\"\"}[3,0]"]);
}

/// How the socket of `open` ends under a paused clock, and when.
async fn timed(config: Config, open: fn(&WebSocket), is_answered: bool, capacity: usize) -> (String, Duration) {
    let (ws, log, mut peer) = Log::pipe(capacity, config, move |ws: &WebSocket, seen| {
        if *seen == Seen::Open {
            open(ws);
        }
    });
    peer.accept().await;
    if is_answered {
        peer.expect_close(4000, "").await;
        peer.close(4000, "").await;
    }
    let begun = Instant::now();
    let lines = log.end(&ws).await;
    (lines.last().unwrap().clone(), begun.elapsed())
}

/// B116, B117, B144, B145.
#[tokio::test(start_paused = true)]
async fn both_timers_with_and_without_an_answer() {
    let seconds = Duration::from_secs;
    let config = || Config::default().close_timeout(seconds(7)).tcp_end_timeout(seconds(3));
    let close: fn(&WebSocket) = |ws| ws.close_with(4000, "").unwrap();
    let end = |code: u16, clean: u8, amount: u64| format!("close{{{clean},{code},\"\"}}[3,{amount}]");
    assert_eq!(timed(config(), close, false, 1 << 16).await, (end(1006, 0, 0), seconds(7)));
    assert_eq!(timed(config(), close, true, 1 << 16).await, (end(4000, 1, 0), seconds(3)));
    assert_eq!(timed(Config::default(), close, false, 1 << 16).await, (end(1006, 0, 0), seconds(10)));
    assert_eq!(timed(Config::default(), close, true, 1 << 16).await, (end(4000, 1, 0), seconds(2)));
    // More is queued than the sink takes, and the server takes nothing: the deadline holds all the same.
    let queued: fn(&WebSocket) = |ws| {
        for _ in 0..1000 {
            ws.send(vec![0; 10_000]).unwrap();
        }
        ws.close_with(4000, "").unwrap();
    };
    let (line, elapsed) = timed(config(), queued, false, 1 << 10).await;
    assert_eq!(elapsed, seconds(7));
    assert!(line.starts_with("close{0,1006,\"\"}[3,999"), "{line}");
}

/// B116.
#[tokio::test(start_paused = true)]
async fn the_close_event_waits_for_an_answer_that_is_late() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if *seen == Seen::Open {
            ws.close().unwrap();
        }
    });
    peer.accept().await;
    peer.expect_close(None, "").await;
    // The server takes its time: that is the fact.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((log.text().len(), ws.ready_state()), (1, ReadyState::Closing));
    peer.close(None, "").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "close{1,1005,\"\"}[3,0]"]);
}

/// A browser tells nothing of the message that is lost.
#[tokio::test]
async fn the_peers_close_within_a_message_is_a_clean_close_event_and_error_tells_of_it() {
    for (code, reason) in [(Some(1001), "away"), (Some(4000), ""), (None, "")] {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
        peer.accept().await;
        peer.text("whole").await;
        peer.frame(false, 0, TEXT, "half of").await;
        peer.frame(false, 0, CONTINUATION, " a mess").await;
        peer.close(code, reason).await;
        peer.expect_close(code, reason).await;
        peer.finish().await;
        let shown = code.unwrap_or(1005);
        let close = format!("close{{1,{shown},{reason:?}}}[3,0]");
        assert_eq!(log.end(&ws).await, ["open[1,0]", "\"whole\"[1,0]", &close]);
        let error = ws.error().expect("it is told");
        assert!(matches!(&error, Error::Closed(end) if **end == Closed::new(shown, reason, false)), "{error}");
    }
}

/// B294.
#[tokio::test]
async fn abort_from_a_handler_fires_close_and_no_further_message() {
    let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
        if matches!(seen, Seen::Message(_)) {
            ws.abort();
        }
    });
    peer.accept().await;
    peer.raw(encode(true, 0, TEXT, b"one").repeat(2)).await;
    assert_eq!(log.end(&ws).await, ["open[1,0]", "\"one\"[1,0]", "close{0,1006,\"\"}[3,0]"]);
    peer.expect_gone().await;
    ws.abort();
}

/// B294, B104.
#[tokio::test]
async fn abort_while_connecting_is_a_close() {
    let (ws, log, _peer) = Log::pipe(1 << 16, Config::default(), |_, _| {});
    ws.abort();
    assert_eq!(log.end(&ws).await, ["error[3,0]", "close{0,1006,\"\"}[3,0]"]);
}
