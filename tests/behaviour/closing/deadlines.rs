//! Closing takes no longer than it may: slow peers, silent peers, and peers that never stop.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, PING, encode},
    peer::Peer,
};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};
use wsflow::{CloseFrame, Closed, Config, Error, Message, Phase, ReadyState, WebSocketStream};

use crate::support::watch::{PIECES, close_frame, open, trace};

fn closed(code: u16, reason: &str, was_clean: bool) -> Closed {
    Closed::new(code, reason, was_clean)
}

fn over_pipe(capacity: usize, config: Config) -> (Peer<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (peer, io) = Peer::pipe(capacity);
    (peer, WebSocketStream::from_upgraded(io, config))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// B117, B144.
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_our_close_is_waited_for_for_close_timeout() {
    let rows = [(Config::default(), 10), (Config::default().close_timeout(seconds(3)), 3)];
    for (config, expected) in rows {
        for at_once in PIECES {
            let (mut peer, mut ws) = open(config.clone(), at_once);
            let start = Instant::now();
            let end = ws.close_with(CloseFrame::new(1000, "bye")).await;
            assert_eq!((end.expect("an end"), start.elapsed().as_secs()), (closed(1006, "", false), expected));
            let trace = trace(&mut ws).await;
            assert!(matches!(trace.error, Some(Error::Timeout { phase: Phase::Close, .. })), "{trace:?}");
            assert_eq!(peer.rest().await, [close_frame(1000, "bye")]);
        }
    }
    // The end that the reader sees is the same.
    let (_peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(ws.close().now_or_never().is_none());
    let start = Instant::now();
    assert!(matches!(trace(&mut ws).await.error, Some(Error::Timeout { phase: Phase::Close, .. })));
    assert_eq!(start.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn error_tells_what_made_the_end_of_close_with_unclean() {
    // A peer that never answers.
    let (_peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(ws.error().is_none());
    assert_eq!(ws.close_with(CloseFrame::empty()).await.expect("an end"), closed(1006, "", false));
    assert!(matches!(ws.error(), Some(Error::Timeout { phase: Phase::Close, .. })), "{:?}", ws.error());
    // A peer that ends TCP instead.
    let (peer, mut ws) = open(Config::default(), 1 << 20);
    drop(peer);
    assert_eq!(ws.close_with(CloseFrame::empty()).await.expect("an end"), closed(1006, "", false));
    assert!(ws.error().is_some());
    // A clean end has no cause, whatever its code.
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.close(1011, "").await;
    peer.finish().await;
    assert_eq!(ws.close_with(CloseFrame::empty()).await.expect("an end"), closed(1011, "", true));
    assert!(ws.error().is_none());
}

/// B117.
#[tokio::test(start_paused = true)]
async fn without_close_timeout_the_answer_is_waited_for_for_ever() {
    let (mut peer, mut ws) = open(Config::default().close_timeout(None), 1 << 20);
    assert!(timeout(seconds(86_400), ws.close()).await.is_err());
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
    assert_eq!(trace(&mut ws).await.closed, closed(1005, "", true));
}

/// B117, B145.
#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_tcp_open_after_both_close_frames_is_left_cleanly() {
    for (config, expected) in [(Config::default(), 2), (Config::default().tcp_end_timeout(seconds(7)), 7)] {
        for we_begin in [true, false] {
            let (mut peer, mut ws) = open(config.clone(), 1 << 20);
            let start = Instant::now();
            let using = async {
                let end = if we_begin {
                    ws.close_with(CloseFrame::new(1000, "bye")).await.expect("an end")
                } else {
                    trace(&mut ws).await.closed
                };
                (end, start.elapsed().as_secs(), ws)
            };
            let (end, ()) = tokio::join!(using, async {
                if we_begin {
                    peer.expect_close(1000, "bye").await;
                    peer.close(1000, "bye").await;
                } else {
                    peer.close(1000, "bye").await;
                    peer.expect_close(1000, "bye").await;
                }
                // It is the client that ends, and it does so although the stream is kept.
                peer.expect_eof().await;
            });
            assert_eq!((end.0, end.1), (closed(1000, "bye", true), expected));
        }
    }
}

/// B116, B237.
#[tokio::test(start_paused = true)]
async fn closing_waits_for_an_answer_that_is_late() {
    for by_sink in [true, false] {
        let (mut peer, mut ws) = open(Config::default(), 1 << 20);
        let start = Instant::now();
        let using = async {
            if by_sink {
                ws.close().await.expect("clean");
            } else {
                assert!(ws.close_with(CloseFrame::empty()).await.expect("an end").was_clean);
            }
            start.elapsed()
        };
        let (took, ()) = tokio::join!(using, async {
            peer.expect_close(None, "").await;
            sleep(seconds(1)).await;
            peer.close(None, "").await;
            peer.finish().await;
        });
        assert_eq!(took, seconds(1));
    }
}

/// B117.
#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_not_cut_while_it_makes_progress() {
    const PIECE: usize = 10_000;
    let (mut peer, mut ws) = over_pipe(PIECE, Config::default());
    for _ in 0..4 {
        ws.feed(Message::binary(vec![5; 30 * 1024])).await.expect("room");
    }
    ws.feed(Message::binary(vec![6; 20 * PIECE])).await.expect("room");
    let start = Instant::now();
    let (end, ()) = tokio::join!(ws.close_with(CloseFrame::empty()), async {
        for _ in 0..30 {
            sleep(seconds(9)).await;
            peer.take(PIECE).await;
        }
        for _ in 0..4 {
            peer.expect_binary(vec![5; 30 * 1024]).await;
        }
        peer.expect_binary(vec![6; 20 * PIECE]).await;
        peer.expect_close(None, "").await;
        // The answer has its time from then on.
        sleep(seconds(9)).await;
        peer.close(None, "").await;
        peer.finish().await;
    });
    assert_eq!(end.expect("an end"), closed(1005, "", true));
    assert!(start.elapsed() > seconds(270), "{:?}", start.elapsed());
    assert_eq!(ws.buffered_amount(), 0);
}

/// B117.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_left_after_close_timeout() {
    for stalled_before in [0, 60] {
        let (mut peer, mut ws) = over_pipe(1000, Config::default());
        ws.feed(Message::binary(vec![5; 100_000])).await.expect("room");
        assert!(ws.flush().now_or_never().is_none());
        // How long it has taken nothing before we close does not count.
        sleep(seconds(stalled_before)).await;
        let start = Instant::now();
        let end = ws.close_with(CloseFrame::empty()).await;
        assert_eq!((end.expect("an end"), start.elapsed()), (closed(1006, "", false), seconds(10)));
        let left = ws.buffered_amount();
        assert_eq!(left, 100_000 - (1000 - 14));
        let trace = trace(&mut ws).await;
        assert!(matches!(trace.error, Some(Error::Timeout { phase: Phase::Close, .. })), "{trace:?}");
        assert_eq!(ws.buffered_amount(), left);
        peer.take(1000).await;
        drop(ws);
    }
}

/// B157, B225.
#[tokio::test(start_paused = true)]
async fn the_peers_close_while_a_message_is_being_sent_ends_reader_and_writer_alike() {
    for reads_on in [true, false] {
        let (mut peer, ws) = over_pipe(1000, Config::default());
        let (mut sink, mut stream) = ws.split();
        let writing = async {
            let first = sink.send(Message::binary(vec![5; 20 << 20])).await;
            let next = sink.send("never".into()).await;
            let last = sink.close().await;
            [first, next, last].map(|result| result.expect_err("closed"))
        };
        let reading = async { (stream.next().await, stream.next().await.is_none()) };
        let (errors, (read, is_over), ()) = tokio::join!(writing, reading, async {
            assert_eq!(peer.byte().await, 0x02);
            peer.put_back(0x02);
            peer.close(4567, "full").await;
            if reads_on {
                let frame = peer.expect_frame().await;
                assert_eq!((frame.fin, frame.payload.len()), (false, 256 * 1024));
                peer.expect_close(4567, "full").await;
                peer.finish().await;
            }
        });
        assert!(is_over);
        let read = read.expect("an error").expect_err("an error");
        for error in errors.iter().chain([&read]) {
            assert!(matches!(error, Error::Closed(end) if **end == closed(4567, "full", false)), "{error:?}");
        }
    }
}

/// B157.
#[tokio::test(start_paused = true)]
async fn frames_not_begun_are_not_sent_after_the_peers_close() {
    let (mut peer, mut ws) = over_pipe(1000, Config::default().fragment_size(10_000));
    ws.feed(Message::binary(vec![5; 1_000_000])).await.expect("room");
    ws.feed("never".into()).now_or_never();
    let (trace, frames) = tokio::join!(
        async {
            let trace = trace(&mut ws).await;
            let amount = ws.buffered_amount();
            drop(ws);
            (trace, amount)
        },
        async {
            assert_eq!(peer.byte().await, 0x02);
            peer.put_back(0x02);
            peer.close(4567, "full").await;
            peer.finish().await;
            peer.rest().await
        }
    );
    let (trace, amount) = trace;
    assert_eq!(trace.closed, closed(4567, "full", false));
    assert!(matches!(trace.error, Some(Error::Closed(end)) if *end == trace.closed));
    assert_eq!(frames.len(), 2, "the frame that was begun, and the answer");
    assert_eq!((frames[0].opcode, frames[0].fin, frames[0].payload.len()), (BINARY, false, 10_000));
    assert_eq!(frames[1], close_frame(4567, "full"));
    assert_eq!(amount, 990_000);
}

/// B157, B158.
#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_and_stops_reading_ends_with_its_code_after_close_timeout() {
    for ends_its_side in [false, true] {
        for closes in [false, true] {
            let (mut peer, mut ws) = over_pipe(1000, Config::default());
            ws.feed(Message::binary(vec![5; 3 << 20])).await.expect("room");
            let start = Instant::now();
            peer.text("first").await;
            peer.close(4567, "full").await;
            if ends_its_side {
                peer.finish().await;
            }
            if closes {
                let end = ws.close_with(CloseFrame::new(1000, "mine")).await;
                assert_eq!(end.expect("an end"), closed(4567, "full", false));
            } else {
                assert_eq!(ws.next().await.expect("open").expect("open"), "first".into());
                assert!(ws.next().now_or_never().is_none());
                assert_eq!(ws.ready_state(), ReadyState::Closing);
            }
            let trace = trace(&mut ws).await;
            assert_eq!(start.elapsed(), seconds(10));
            assert!(matches!(trace.error, Some(Error::Closed(end)) if *end == closed(4567, "full", false)));
            assert_eq!(trace.closed, closed(4567, "full", false));
            assert_eq!(ws.buffered_amount(), (3 << 20) - (1000 - 14));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_in_time_counts_although_nobody_polled_for_long() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    assert!(ws.close().now_or_never().is_none());
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    sleep(seconds(3600)).await;
    assert_eq!(ws.close_with(CloseFrame::empty()).await.expect("an end"), closed(1005, "", true));
}

#[tokio::test(start_paused = true)]
async fn write_timeout_ends_a_connection_whose_peer_takes_nothing() {
    let config = Config::default().write_timeout(seconds(5)).keepalive_interval(None);
    let (mut peer, mut ws) = over_pipe(1000, config);
    // Nothing is overdue while nothing waits.
    assert!(timeout(seconds(3600), ws.next()).await.is_err());
    ws.feed(Message::binary(vec![5; 100_000])).await.expect("room");
    // Progress of any size starts it again.
    for _ in 0..20 {
        assert!(timeout(seconds(4), ws.flush()).await.is_err());
        peer.take(10).await;
        assert!(ws.flush().now_or_never().is_none());
    }
    let start = Instant::now();
    assert!(matches!(ws.flush().await, Err(Error::Timeout { phase: Phase::Write, .. })));
    assert_eq!(start.elapsed(), seconds(5));
    let trace = trace(&mut ws).await;
    assert!(matches!(trace.error, Some(Error::Timeout { phase: Phase::Write, .. })), "{trace:?}");
    assert_eq!(trace.closed, closed(1006, "", false));
    assert_eq!(ws.buffered_amount(), 100_000 - (1000 + 200 - 14));
}

#[tokio::test(start_paused = true)]
async fn write_timeout_is_seen_by_a_reader_too_while_the_peer_goes_on_talking() {
    let (mut peer, mut ws) = over_pipe(1000, Config::default().write_timeout(seconds(5)));
    ws.feed(Message::binary(vec![5; 100_000])).await.expect("room");
    let start = Instant::now();
    let (trace, ()) = tokio::join!(trace(&mut ws), async {
        for _ in 0..49 {
            peer.text("tick").await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!((trace.messages.len(), start.elapsed()), (49, seconds(5)));
    assert!(matches!(trace.error, Some(Error::Timeout { phase: Phase::Write, .. })), "{trace:?}");
}

/// B169.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open() {
    let (mut peer, mut ws) = open(Config::default().keepalive_interval(None), 1 << 20);
    assert!(timeout(seconds(86_400), ws.next()).await.is_err());
    ws.send("still".into()).await.expect("open");
    peer.expect_text("still").await;
    peer.raw(encode(true, 0, PING, b"")).await;
    peer.text("here").await;
    assert_eq!(ws.next().await.expect("open").expect("open"), "here".into());
}
