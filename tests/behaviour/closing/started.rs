//! A close that is begun and not waited for, the peer's Close as soon as it was read, and a connection that is aborted.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::peer::Peer;
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep},
};
use wsflow::{
    CloseFrame, Closed, Config, Error, InvalidControl, Kind, Message, ReadyState, Receiver, Sender, WebSocketStream,
};

type Ws = WebSocketStream<DuplexStream>;

fn open(config: Config) -> (Peer<DuplexStream>, Ws) {
    let (peer, io) = Peer::pipe(1 << 20);
    (peer, WebSocketStream::from_upgraded(io, config))
}

fn halves(config: Config) -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, ws) = open(config);
    let (sender, receiver) = ws.into_split();
    (peer, sender, receiver)
}

/// The closing handshake is over, and the peer leaves TCP open.
async fn closed_by_peer(peer: &mut Peer<DuplexStream>, code: u16) {
    peer.text("last").await;
    peer.close(code, "why").await;
    peer.expect_close(code, "why").await;
}

fn by_peer(error: &Error) -> Option<u16> {
    match error {
        Error::Closing { by_peer } => by_peer.as_ref().map(|frame| frame.code().expect("a code").into()),
        error => panic!("{error}"),
    }
}

/// B290. A gateway says with it whether to come back.
#[tokio::test(start_paused = true)]
async fn the_peers_close_is_known_when_it_was_read_and_a_send_tells_it() {
    let (mut peer, mut ws) = open(Config::default());
    assert_eq!(ws.peer_close(), None);
    let begun = Instant::now();
    peer.text("last").await;
    peer.close(4013, "why").await;
    assert_eq!(ws.next().await.expect("open").expect("open"), "last".into());
    assert!(ws.next().now_or_never().is_none(), "the peer has not ended TCP");
    peer.expect_close(4013, "why").await;
    assert_eq!(ws.peer_close(), Some(&CloseFrame::new(4013, "why")));
    let refused = ws.send("heartbeat".into()).await.expect_err("closing");
    assert_eq!((by_peer(&refused), refused.close_code().map(u16::from)), (Some(4013), Some(4013)));
    assert_eq!(
        refused.to_string(),
        "the connection is closing: nothing more can be sent; the peer closed with code 4013 (why)"
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(ws.next().await.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(2), "`tcp_end_timeout`");
    assert_eq!(ws.peer_close(), Some(&CloseFrame::new(4013, "why")));
}

/// B290.
#[tokio::test(start_paused = true)]
async fn both_halves_know_the_peers_close_before_the_end() {
    let (mut peer, sender, mut receiver) = halves(Config::default());
    assert_eq!((sender.peer_close(), receiver.peer_close()), (None, None));
    let begun = Instant::now();
    closed_by_peer(&mut peer, 4013).await;
    let frame = CloseFrame::new(4013, "why");
    assert_eq!((sender.peer_close(), receiver.peer_close()), (Some(&frame), Some(&frame)));
    assert_eq!((receiver.closed(), begun.elapsed()), (None, Duration::ZERO));
    for refused in [
        sender.send("heartbeat").await.expect_err("closing"),
        sender.sink().feed("x".into()).await.expect_err("closing"),
    ] {
        assert_eq!(by_peer(&refused), Some(4013));
    }
    assert_eq!(receiver.next().await.expect("open").expect("open"), "last".into());
    assert!(receiver.next().await.is_none());
    assert_eq!(receiver.closed(), Some(&Closed::new(4013, "why", true)));
}

#[tokio::test(start_paused = true)]
async fn the_close_of_a_peer_without_a_code_is_1005_and_an_invalid_one_is_none() {
    let (mut peer, mut ws) = open(Config::default());
    peer.close(None, "").await;
    assert!(ws.next().now_or_never().is_none());
    assert_eq!(ws.peer_close(), Some(&CloseFrame::empty()));
    assert_eq!(ws.send("x".into()).await.expect_err("closing").close_code(), Some(1005.into()));

    let (mut peer, mut ws) = open(Config::default());
    peer.close(1005, "").await;
    assert!(matches!(ws.next().await, Some(Err(Error::ProtocolViolation(_)))));
    assert_eq!(ws.peer_close(), None);
}

/// B291. The deadline for the end of TCP begins when our Close has left.
#[tokio::test(start_paused = true)]
async fn without_time_for_the_end_of_tcp_what_is_queued_and_our_close_leave_all_the_same() {
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().tcp_end_timeout(Duration::ZERO));
    ws.feed(Message::binary(vec![5; 100_000])).await.expect("room");
    assert!(ws.flush().now_or_never().is_none());
    let (end, ()) = tokio::join!(ws.next(), async {
        peer.close(1000, "").await;
        // A slow peer takes what was begun, and then our answer.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(peer.expect_frame().await.payload.len(), 100_000);
        peer.expect_close(1000, "").await;
    });
    drop(end);
    assert_eq!(ws.closed().map(|closed| u16::from(closed.code)), Some(1000));
}

/// B292.
#[tokio::test]
async fn behind_start_close_messages_are_yielded_until_the_peers_close() {
    let (mut peer, mut ws) = open(Config::default());
    ws.feed("queued".into()).await.expect("room");
    ws.start_close(CloseFrame::new(1000, "done")).expect("a good frame");
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    assert!(matches!(ws.feed("late".into()).await, Err(Error::Closing { by_peer: None })));
    // A second one changes nothing.
    ws.start_close(CloseFrame::new(4000, "other")).expect("nothing to do");
    let serving = async {
        peer.expect_text("queued").await;
        peer.expect_close(1000, "done").await;
        peer.text("output").await;
        peer.text("exit status").await;
        peer.close(1000, "").await;
        peer.finish().await;
    };
    let reading = async {
        let messages: Vec<_> = ws.by_ref().map(|message| message.expect("open")).collect().await;
        assert_eq!(messages, ["output".into(), "exit status".into()]);
    };
    tokio::join!(serving, reading);
    assert_eq!(ws.closed(), Some(&Closed::new(1000, "", true)));
    assert_eq!(ws.stats().discarded_messages, 0);
    ws.start_close(CloseFrame::empty()).expect("it has ended");
}

/// B292.
#[tokio::test]
async fn a_flush_behind_start_close_is_done_when_the_close_has_left() {
    let (mut peer, mut ws) = open(Config::default());
    ws.start_close(CloseFrame::new(1000, "")).expect("a good frame");
    ws.flush().await.expect("it leaves");
    assert!(peer.expect_close(1000, "").now_or_never().is_some());
    peer.text("late").await;
    peer.close(1000, "").await;
    peer.finish().await;
    // From here on what comes is discarded, and the first frame counts.
    let closed = ws.close_with(CloseFrame::new(4000, "")).await.expect("an end");
    assert_eq!((closed, ws.stats().discarded_messages), (Closed::new(1000, "", true), 1));
}

/// B292.
#[tokio::test]
async fn a_frame_that_may_not_be_sent_starts_no_close() {
    let (_peer, mut ws) = open(Config::default());
    assert!(matches!(ws.start_close(CloseFrame::new(1006, "")), Err(InvalidControl::CloseCode(_))));
    assert_eq!(ws.ready_state(), ReadyState::Open);
    let (sender, _receiver) = ws.into_split();
    assert!(matches!(
        sender.start_close(CloseFrame::new(1000, "x".repeat(124))),
        Err(InvalidControl::CloseReason(124))
    ));
    assert_eq!(sender.ready_state(), ReadyState::Open);
}

/// B292.
#[tokio::test]
async fn halves_yield_on_behind_start_close_also_where_it_was_begun_before() {
    for begun_before in [false, true] {
        let (mut peer, mut ws) = open(Config::default());
        if begun_before {
            ws.start_close(CloseFrame::new(1000, "")).expect("a good frame");
        }
        let (sender, mut receiver) = ws.into_split();
        sender.start_close(CloseFrame::new(1000, "")).expect("a good frame");
        peer.expect_close(1000, "").await;
        peer.text("late").await;
        peer.close(1000, "").await;
        peer.finish().await;
        assert_eq!(receiver.next().await.expect("open").expect("open"), "late".into());
        assert!(receiver.next().await.is_none());
        assert!(sender.closed().await.was_clean);
    }
}

/// B293. 300 messages at ten a second, of which the peer had sent all before it saw our Close.
#[tokio::test(start_paused = true)]
async fn who_takes_slowly_behind_start_close_loses_nothing() {
    let (mut peer, mut ws) = open(Config::default().read_buffer_max(4 << 10));
    for i in 0..300_u32 {
        peer.binary([&i.to_be_bytes()[..], &[0; 1000]].concat()).await;
    }
    ws.start_close(CloseFrame::new(1000, "")).expect("a good frame");
    let serving = async {
        peer.expect_close(1000, "").await;
        peer.close(1000, "").await;
        peer.finish().await;
    };
    let reading = async {
        let mut taken = 0_u32;
        while let Some(message) = ws.next().await {
            assert_eq!(message.expect("in time").as_bytes()[..4], taken.to_be_bytes());
            taken += 1;
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(taken, 300);
    };
    tokio::join!(serving, reading);
    assert!(ws.closed().expect("an end").was_clean);
}

/// B293. What arrives alone does not extend the time for an answer.
#[tokio::test(start_paused = true)]
async fn a_peer_that_talks_and_does_not_answer_ends_in_time() {
    let (mut peer, mut ws) = open(Config::default());
    ws.start_close(CloseFrame::new(1000, "")).expect("a good frame");
    let begun = Instant::now();
    let serving = async {
        loop {
            peer.text("and another thing").await;
            sleep(Duration::from_secs(1)).await;
        }
    };
    let reading = async {
        while let Some(message) = ws.next().await {
            if let Err(error) = message {
                return error;
            }
        }
        panic!("no error");
    };
    let error = tokio::select! { error = reading => error, () = serving => unreachable!() };
    assert!(error.is_timeout(), "{error}");
    assert!((10..=11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// B294.
#[tokio::test(start_paused = true)]
async fn abort_ends_the_halves_at_once_and_everybody_hears_of_it() {
    for by_receiver in [false, true] {
        let (mut peer, sender, mut receiver) = halves(Config::default().write_high_water_mark(1000));
        peer.text("read before").await;
        let begun = Instant::now();
        tokio::task::yield_now().await;
        sender.send(vec![0; 1 << 21]).await.expect("room");
        tokio::task::yield_now().await;
        let (waiting, pinging, flushing) = (sender.clone(), sender.clone(), sender.clone());
        let waiting = tokio::spawn(async move { waiting.send("no room").await });
        let pinging = tokio::spawn(async move { pinging.ping().await });
        let flushing = tokio::spawn(async move { flushing.flush().await });
        let mut writing = sender.clone();
        tokio::task::yield_now().await;
        let amount = sender.buffered_amount();
        assert!(amount > 0);
        if by_receiver {
            receiver.abort();
        } else {
            sender.abort();
        }
        sender.abort();
        assert!(matches!(sender.send("late").await, Err(Error::Aborted)));
        assert!(matches!(waiting.await.expect("no panic"), Err(Error::Aborted)));
        assert!(matches!(pinging.await.expect("no panic"), Err(Error::Aborted)));
        assert!(matches!(flushing.await.expect("no panic"), Err(Error::Aborted)));
        assert!(matches!(writing.writer(Kind::Text).await, Err(Error::Aborted)));
        assert!(matches!(sender.drained().await, Err(Error::Aborted)));
        assert_eq!(sender.closed().await, Closed::new(1006, "", false));
        assert_eq!(sender.close_with(CloseFrame::empty()).await.expect("an end"), Closed::new(1006, "", false));
        assert_eq!(sender.buffered_amount(), amount);
        assert_eq!(receiver.next().await.expect("a message").expect("a message"), "read before".into());
        let end = receiver.next().await.expect("an error").expect_err("an error");
        assert!(matches!(end, Error::Aborted) && end.is_closed(), "{end}");
        assert_eq!(end.to_string(), "was aborted");
        assert!(receiver.next().await.is_none());
        // No Close frame.
        peer.expect_gone().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

/// B304. The first frame counts, as of `close_with`.
#[tokio::test]
async fn a_close_that_is_polled_by_hand_is_that_of_close_with() {
    let (mut peer, mut ws) = open(Config::default());
    let mut cx = Context::from_waker(Waker::noop());
    let refused = ws.poll_close_with(&CloseFrame::new(1005, ""), &mut cx);
    assert!(matches!(refused, Poll::Ready(Err(Error::InvalidControl(InvalidControl::CloseCode(_))))));
    assert_eq!(ws.ready_state(), ReadyState::Open);
    ws.feed("before".into()).await.expect("room");
    assert!(ws.poll_close_with(&CloseFrame::new(1001, "first"), &mut cx).is_pending());
    assert!(ws.poll_close_with(&CloseFrame::new(1000, "second"), &mut cx).is_pending());
    peer.expect_text("before").await;
    peer.expect_close(1001, "first").await;
    peer.text("dropped").await;
    peer.close(1001, "first").await;
    peer.finish().await;
    let closed = poll_fn(|cx| ws.poll_close_with(&CloseFrame::new(1000, "third"), cx)).await;
    assert_eq!(closed.expect("a valid frame"), Closed::new(1001, "first", true));
    assert_eq!(ws.stats().discarded_messages, 1);
}
