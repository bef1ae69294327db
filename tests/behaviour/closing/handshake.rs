//! Closing by either side: what is on the wire, what the stream yields, and how the end is called.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{CLOSE, Frame, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
    script_io::{Step, script_io},
    server::Script,
    task::Task,
};
use tokio::io::{AsyncRead, AsyncWrite};
use wsflow::{
    CloseCode, CloseFrame, Closed, Config, Error, InvalidControl, ReadyState, UpgradedParts, Violation, WebSocketStream,
};

use crate::support::watch::{PIECES, close_frame, open, trace};

fn clean(code: u16, reason: &str) -> Closed {
    Closed::new(code, reason, true)
}

fn unclean(code: u16, reason: &str) -> Closed {
    Closed::new(code, reason, false)
}

/// What the peer's TCP end looks like to a user of the stream.
fn closed_error(error: Option<&Error>) -> Closed {
    match error {
        Some(Error::Closed(closed)) => (**closed).clone(),
        other => panic!("an end was expected: {other:?}"),
    }
}

/// Close frames of ours, as they are on the wire.
fn frames_of_ours() -> Vec<(CloseFrame, Vec<u8>)> {
    let longest = "r".repeat(CloseFrame::MAX_REASON);
    let wide = "匶".repeat(41);
    let mut rows = vec![
        (CloseFrame::empty(), vec![]),
        (CloseFrame::default(), vec![]),
        (CloseFrame::with_reason(""), vec![]),
        (CloseFrame::with_reason("x"), close_body(Some(1000), "x")),
        (CloseFrame::new(3456, "pizza"), close_body(Some(3456), "pizza")),
        (CloseFrame::new(1000, ""), close_body(Some(1000), "")),
        (CloseFrame::new(CloseCode::GOING_AWAY, "\u{feff}ロボット"), close_body(Some(1001), "\u{feff}ロボット")),
        (CloseFrame::new(4999, &*longest), close_body(Some(4999), &longest)),
        (CloseFrame::new(4999, &*wide), close_body(Some(4999), &wide)),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000] {
        rows.push((CloseFrame::new(code, ""), close_body(Some(code), "")));
    }
    rows
}

/// B105-B109, B133, B134, B233-B235.
#[tokio::test]
async fn close_frames_of_ours_and_their_echo() {
    for (frame, body) in frames_of_ours() {
        for at_once in PIECES {
            let (mut peer, mut ws) = open(Config::default(), at_once);
            let (closed, ()) = tokio::join!(ws.close_with(frame.clone()), async {
                assert_eq!(peer.expect_frame().await, Frame::new(CLOSE, &body));
                peer.raw(encode(true, 0, CLOSE, &body)).await;
                peer.finish().await;
                peer.expect_eof().await;
            });
            let code = frame.code().map_or(1005, u16::from);
            assert_eq!(closed.expect("closed"), clean(code, frame.reason()));
            let trace = trace(&mut ws).await;
            assert_eq!((trace.messages, trace.closed), (vec![], clean(code, frame.reason())));
        }
    }
}

/// The loop of the crate's first example.
async fn read_all<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocketStream<S>) -> Result<(), Error> {
    while let Some(message) = ws.next().await.transpose()? {
        drop(message);
    }
    if let Some(closed) = ws.closed().filter(|closed| !closed.is_normal()) {
        return Err(closed.clone().into());
    }
    Ok(())
}

#[tokio::test]
async fn a_clean_close_by_a_server_in_trouble_ends_with_none_and_closed_tells() {
    let rows = [
        (Some(1000), "bye", true),
        (Some(1001), "a restart", true),
        (None, "", true),
        (Some(1008), "too many requests", false),
        (Some(1011), "database is down", false),
        (Some(4000), "the application's own", false),
    ];
    for (code, reason, is_normal) in rows {
        let (mut peer, mut ws) = open(Config::default(), 1 << 20);
        peer.text("first").await;
        peer.close(code, reason).await;
        peer.finish().await;
        let end = clean(code.unwrap_or(1005), reason);
        match read_all(&mut ws).await {
            Ok(()) => assert!(is_normal, "{end}"),
            Err(Error::Closed(closed)) => assert!(!is_normal && *closed == end, "{closed}"),
            Err(error) => panic!("{error}"),
        }
        assert!(ws.next().await.is_none());
        assert_eq!(ws.closed(), Some(&end));
    }
}

/// B99-B102, B236.
#[tokio::test]
async fn a_bad_close_is_an_error_in_every_state_and_changes_nothing() {
    let long = "r".repeat(124);
    let bells = "🔌".repeat(31);
    let mut rows: Vec<_> = [0, 1, 500, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535]
        .map(|code| (CloseFrame::new(code, ""), InvalidControl::CloseCode(code.into())))
        .into();
    rows.push((CloseFrame::new(1000, &*long), InvalidControl::CloseReason(124)));
    rows.push((CloseFrame::with_reason(&*bells), InvalidControl::CloseReason(124)));
    // The code is judged first.
    rows.push((CloseFrame::new(1005, &*long), InvalidControl::CloseCode(1005.into())));
    let refused = |result: Result<Closed, Error>, expected: &InvalidControl| match result {
        Err(Error::InvalidControl(invalid)) => assert_eq!(invalid, *expected),
        other => panic!("{expected:?} was expected: {other:?}"),
    };

    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    for (frame, expected) in &rows {
        refused(ws.close_with(frame.clone()).await, expected);
        assert_eq!((ws.ready_state(), ws.closed()), (ReadyState::Open, None));
    }
    // It is as usable as before.
    ws.send("still".into()).await.expect("open");
    peer.expect_text("still").await;
    peer.text("here").await;
    assert_eq!(ws.next().await.expect("open").expect("open"), "here".into());

    assert!(ws.close_with(CloseFrame::empty()).now_or_never().is_none());
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    for (frame, expected) in &rows {
        refused(ws.close_with(frame.clone()).await, expected);
    }
    peer.expect_close(None, "").await;
    peer.close(None, "").await;
    peer.finish().await;
    trace(&mut ws).await;
    for (frame, expected) in &rows {
        refused(ws.close_with(frame.clone()).await, expected);
    }
    assert_eq!(ws.closed(), Some(&clean(1005, "")));
    peer.expect_eof().await;
}

/// B119-B126, B130-B137, B242, B243.
#[tokio::test]
async fn the_peers_close_is_echoed_with_code_and_reason() {
    let mut rows = vec![
        (None, ""),
        (Some(1000), "Clean Close"),
        (Some(4000), "robot"),
        (Some(1001), "PASS"),
        (Some(4000), "ロボット"),
        // A byte order mark is kept.
        (Some(1000), "\u{feff}bom"),
    ];
    rows.extend([1000, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999].map(|c| (Some(c), "")));
    for (code, reason) in rows {
        for at_once in PIECES {
            let (mut peer, mut ws) = open(Config::default(), at_once);
            let (trace, ()) = tokio::join!(
                async {
                    let trace = trace(&mut ws).await;
                    drop(ws);
                    trace
                },
                async {
                    let close = encode(true, 0, CLOSE, &close_body(code, reason));
                    // What stands behind a Close frame means nothing, whatever it is.
                    let late =
                        [encode(true, 0, TEXT, b"late"), encode(true, 0, PING, b"late"), vec![0xff; 40]].concat();
                    peer.raw([encode(true, 0, TEXT, b"first"), close, late].concat()).await;
                    peer.expect_close(code, reason).await;
                    peer.finish().await;
                    peer.expect_eof().await;
                }
            );
            assert_eq!((trace.messages, trace.closed), (vec!["first".into()], clean(code.unwrap_or(1005), reason)));
        }
    }
}

/// B138.
#[tokio::test]
async fn a_close_frame_behind_the_opening_handshake_counts_even_if_we_close_first() {
    for closes_first in [false, true] {
        let (mut peer, io) = Peer::pipe(4096);
        let read_buf = [encode(true, 0, TEXT, b"first"), encode(true, 0, CLOSE, &close_body(Some(1001), "PASS"))];
        let read_buf = Bytes::from(read_buf.concat());
        let mut ws =
            WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).read_buf(read_buf)).expect("no extensions");
        peer.finish().await;
        if closes_first {
            let closed = ws.close_with(CloseFrame::new(4111, "mine")).await;
            assert_eq!(closed.expect("closed"), clean(1001, "PASS"));
            // It was in the buffer when we closed.
            assert_eq!(ws.stats().discarded_messages, 1);
        }
        let trace = trace(&mut ws).await;
        assert_eq!(trace.messages.len(), usize::from(!closes_first));
        assert_eq!(trace.closed, clean(1001, "PASS"));
        peer.expect_close(1001, "PASS").await;
        peer.expect_eof().await;
    }
}

/// B130, B139.
#[tokio::test]
async fn when_both_close_at_once_each_learns_the_others_code() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(4111, "local")), async {
            // Ours is out when the peer's comes.
            let first = peer.expect_frame().await;
            assert_eq!(first, close_frame(4111, "local"));
            peer.close(4222, "remote").await;
            peer.finish().await;
            peer.expect_eof().await;
        });
        assert_eq!(closed.expect("closed"), clean(4222, "remote"));
        trace(&mut ws).await;
    }
}

/// B111.
#[tokio::test]
async fn the_peers_close_that_came_before_ours_is_answered_and_ours_is_not_sent() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.close(4222, "remote").await;
    assert!(ws.next().now_or_never().is_none());
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    let ((), closed) = tokio::join!(
        async {
            peer.expect_close(4222, "remote").await;
            peer.finish().await;
            peer.expect_eof().await;
        },
        ws.close_with(CloseFrame::new(4111, "local"))
    );
    assert_eq!(closed.expect("closed"), clean(4222, "remote"));
}

/// A loop that reads and feeds needs no flush, whatever stands behind the message that it answers.
#[tokio::test]
async fn an_answer_to_what_came_with_the_peers_close_leaves_before_it_is_echoed() {
    for closes in [false, true] {
        let (mut peer, mut ws) = open(Config::default(), usize::MAX);
        let close = encode(true, 0, CLOSE, &close_body(Some(1001), ""));
        peer.raw([encode(true, 0, TEXT, b"a question"), close].concat()).await;
        let question = ws.next().await.expect("open").expect("a question");
        ws.feed(question).await.expect("room");
        let end = async {
            if closes {
                ws.close().await.expect("clean");
            } else {
                assert!(ws.next().await.is_none());
            }
        };
        tokio::join!(end, async {
            peer.expect_text("a question").await;
            assert_eq!(peer.expect_frame().await.opcode, CLOSE);
            peer.finish().await;
        });
        assert_eq!(ws.closed(), Some(&clean(1001, "")));
        assert_eq!((ws.stats().messages_sent, ws.buffered_amount()), (1, 0));
    }
}

/// B110, B241.
#[tokio::test]
async fn closing_again_sends_nothing_and_changes_nothing() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    for frame in [CloseFrame::new(4001, "one"), CloseFrame::new(4002, "two"), CloseFrame::empty()] {
        assert!(ws.close_with(frame).now_or_never().is_none());
    }
    assert!(ws.close().now_or_never().is_none());
    peer.expect_close(4001, "one").await;
    peer.close(4001, "one").await;
    peer.finish().await;
    assert_eq!(trace(&mut ws).await.closed, clean(4001, "one"));
    drop(ws);
    peer.expect_eof().await;
}

/// The transport has taken a part of our Close frame, or all of it without having flushed it, when the peer's Close or a
/// violation comes.
/// B110.
#[tokio::test(start_paused = true)]
async fn the_close_frame_that_has_begun_to_leave_is_finished_and_is_the_only_one() {
    let mine = close_body(Some(1000), "mine");
    // With its header and key.
    let len = 6 + mine.len();
    for taken in [1, 7, len - 1, len] {
        for (comes, violation) in [
            (encode(true, 0, CLOSE, &close_body(Some(4222), "theirs")), None),
            (vec![0x81, 0x80, 1, 2, 3, 4], Some(Violation::MaskedFrame)),
            (encode(true, 0, 3, b""), Some(Violation::ReservedOpcode(3))),
        ] {
            for is_polled_by_reader in [false, true] {
                let case = format!("{taken} of {len} bytes taken, violation: {violation:?}, {is_polled_by_reader}");
                println!("{case}");
                let (io, script) = script_io();
                let mut ws = WebSocketStream::from_upgraded(io, Config::default());
                let task = Task::new();
                let poll = |ws: &mut WebSocketStream<_>| match is_polled_by_reader {
                    true => task.poll_once(ws.next()).map(|_| ()),
                    false => task.poll_once(ws.close()).map(|_| ()),
                };
                script.writes([Step::Partial(taken)], Step::Pending);
                script.flushes([], Step::Pending);
                assert!(task.poll_once(ws.close_with(CloseFrame::new(1000, "mine"))).is_pending(), "{case}");
                assert_eq!(script.output_len(), taken, "{case}");

                script.input(&comes);
                assert!(poll(&mut ws).is_pending(), "{case}");
                // The rest of it leaves, and is not flushed.
                script.writes([], Step::Ready);
                script.wake_write();
                assert!(poll(&mut ws).is_pending(), "{case}");
                assert_eq!(script.wire().frames, [Frame::new(CLOSE, &mine)], "{case}");

                script.flushes([], Step::Ready);
                script.wake_flush();
                script.end();
                let trace = trace(&mut ws).await;
                assert_eq!(script.wire().frames, [Frame::new(CLOSE, &mine)], "{case}");
                match (violation, &trace.error) {
                    (None, None) => assert_eq!(trace.closed, clean(4222, "theirs"), "{case}"),
                    (Some(violation), Some(Error::ProtocolViolation(violated))) => {
                        assert_eq!((*violated, trace.closed), (violation, unclean(1006, "")));
                    }
                    (_, error) => panic!("{case}: {error:?}"),
                }
            }
        }
    }
}

/// B140, B244.
#[tokio::test]
async fn the_end_of_tcp_without_a_close_frame_is_unclean() {
    let server = Script::bind().await;
    for before in
        [&b""[..], &encode(true, 0, PING, b"ping"), &encode(false, 0, TEXT, b"half"), &[0x81, 5, b'h'], &[0x81]]
    {
        let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
        let mut ws = ws.expect("open");
        peer.text("first").await;
        peer.raw(before).await;
        peer.finish().await;
        let trace = trace(&mut ws).await;
        assert_eq!((trace.messages.len(), &trace.closed), (1, &unclean(1006, "")));
        assert_eq!(closed_error(trace.error.as_ref()), unclean(1006, ""));
        // No Close frame where none came and nothing was violated.
        drop(ws);
        assert!(peer.rest().await.iter().all(|frame| frame.opcode == PONG));
    }
}

/// B141.
#[tokio::test]
async fn a_reset_is_an_io_error_behind_what_came_before() {
    let server = Script::bind().await;
    let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let mut ws = ws.expect("open");
    peer.text("first").await;
    assert_eq!(ws.next().await.expect("open").expect("open"), "first".into());
    peer.reset();
    let trace = trace(&mut ws).await;
    assert!(matches!(&trace.error, Some(Error::Io(cause)) if cause.kind() == std::io::ErrorKind::ConnectionReset));
    assert_eq!((trace.messages, trace.closed), (vec![], unclean(1006, "")));
}

/// B142.
#[tokio::test]
async fn the_peers_close_and_the_end_of_tcp_at_once_is_clean() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        peer.close(1000, "bye").await;
        peer.finish().await;
        assert_eq!(trace(&mut ws).await.closed, clean(1000, "bye"));
        peer.expect_close(1000, "bye").await;
        drop(ws);
        peer.expect_eof().await;
    }
}

/// B142.
#[tokio::test]
async fn a_peer_that_is_gone_after_its_close_leaves_the_end_with_its_code() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.close(1000, "bye").await;
    drop(peer);
    // Our answer cannot leave.
    let trace = trace(&mut ws).await;
    assert_eq!((closed_error(trace.error.as_ref()), trace.closed), (unclean(1000, "bye"), unclean(1000, "bye")));
}

/// B143, B245.
#[tokio::test]
async fn the_end_of_tcp_instead_of_an_answer_is_unclean() {
    let server = Script::bind().await;
    for resets in [false, true] {
        let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
        let mut ws = ws.expect("open");
        let (closed, ()) = tokio::join!(ws.close_with(CloseFrame::new(1000, "bye")), async {
            peer.expect_close(1000, "bye").await;
            if resets { peer.reset() } else { drop(peer) }
        });
        assert_eq!(closed.expect("an end is no error"), unclean(1006, ""));
        let trace = trace(&mut ws).await;
        assert_eq!(matches!(trace.error, Some(Error::Io(_))), resets, "{trace:?}");
    }
}

#[tokio::test]
async fn the_write_side_is_shut_down_when_the_stream_ends_although_it_is_kept() {
    let server = Script::bind().await;
    for peer_begins in [false, true] {
        let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
        let mut ws = ws.expect("open");
        let using = async {
            if peer_begins {
                assert!(ws.next().await.is_none());
            } else {
                ws.close().await.expect("clean");
            }
            ws
        };
        let (_kept, ()) = tokio::join!(using, async {
            if peer_begins {
                peer.close(1000, "").await;
                peer.expect_close(1000, "").await;
            } else {
                peer.expect_close(None, "").await;
                peer.close(None, "").await;
            }
            peer.finish().await;
            peer.expect_eof().await;
        });
    }
}
