//! `into_split`: a `Sender` and a `Receiver` for tasks apart.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, TryFutureExt as _, future::join_all, poll};
use testkit::{
    frame::{BINARY, CONTINUATION, PING, TEXT, encode, long_head},
    peer::Peer,
    server::Script,
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use url::Url;
use wsflow::{
    CloseFrame, Closed, Config, Deflate, Error, Kind, LimitExceeded, Message, Phase, ReadyState, Receiver, Sender,
    TrySendError, WebSocketStream,
};

/// The halves of a connection over a pipe that holds `capacity` bytes each way.
fn halves(capacity: usize, config: Config) -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, io) = Peer::pipe(capacity);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    (peer, sender, receiver)
}

/// Lets the other tasks do all that they can.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Polls once, after the other tasks have done all that they can.
async fn after_settling<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    settle().await;
    poll!(future)
}

fn closed(code: u16, reason: &str, was_clean: bool) -> Closed {
    Closed::new(code, reason, was_clean)
}

fn binary(len: usize) -> Message {
    Message::binary(vec![7; len])
}

fn mark(bytes: usize) -> Config {
    Config::default().write_high_water_mark(bytes)
}

#[tokio::test]
async fn both_halves_tell_what_the_handshake_agreed_on() {
    let server = Script::bind().await;
    let url = server.url("/feed");
    let connecting = WebSocketStream::builder(&url)
        .protocols(["chat"])
        .config(Config::default().deflate(Deflate::default()))
        .connect();
    let lines = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Shard: 7\r\n";
    let (ws, _peer) = tokio::join!(connecting, async {
        let mut peer = server.peer().await;
        peer.accept_with(lines).await;
        peer
    });
    let (sender, receiver) = ws.expect("open").into_split();
    for (half, shown, protocol, extensions, response) in [
        ("sender", sender.url(), sender.protocol(), sender.extensions(), sender.response()),
        ("receiver", receiver.url(), receiver.protocol(), receiver.extensions(), receiver.response()),
    ] {
        assert_eq!(shown.map(Url::as_str), Some(url.as_str()), "{half}");
        assert_eq!((protocol, extensions), ("chat", "permessage-deflate"), "{half}");
        assert_eq!(response.expect("a response").headers()["x-shard"], "7", "{half}");
    }
    assert_eq!((receiver.ready_state(), receiver.closed()), (ReadyState::Open, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_leaves_without_a_flush_and_what_comes_is_received() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    let clone = sender.clone();
    sender.send("one").await.unwrap();
    clone.send(vec![1, 2, 3]).await.unwrap();
    peer.expect_text("one").await;
    peer.expect_binary([1, 2, 3]).await;
    peer.text("answer").await;
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("answer"));
    sender.flush().await.unwrap();
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 2));
    assert_eq!(receiver.stats().messages_received, 1);
    assert_eq!((sender.ready_state(), sender.url(), sender.protocol()), (ReadyState::Open, None, ""));
}

#[tokio::test(start_paused = true)]
async fn pings_and_the_peers_close_are_answered_while_the_application_is_busy() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    peer.text("unread").await;
    peer.ping("are you there").await;
    peer.expect_pong("are you there").await;
    peer.close(1001, "bye").await;
    peer.expect_close(1001, "bye").await;
    peer.finish().await;
    assert_eq!(sender.closed().await, closed(1001, "bye", true));
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("unread"));
    assert!(receiver.next().await.is_none());
    assert_eq!(receiver.closed(), Some(&closed(1001, "bye", true)));
}

#[tokio::test(start_paused = true)]
async fn one_budget_covers_the_queue_and_the_connection() {
    // Eight messages of 100 bytes fit; the transport takes next to nothing.
    let (mut peer, sender, _receiver) = halves(1, mark(8 * 132));
    for _ in 0..8 {
        sender.send(binary(100)).now_or_never().expect("room").unwrap();
    }
    let mut ninth = pin!(sender.send(binary(100)));
    assert!(after_settling(&mut ninth).await.is_pending());
    let refused = sender.try_send(binary(1)).expect_err("there is no room");
    assert_eq!(refused, TrySendError::Full(binary(1)));
    assert_eq!(refused.to_string(), "there is no room for the message");
    assert_eq!(refused.into_message(), binary(1));
    // One byte at most has left the first.
    assert!((798..=800).contains(&sender.buffered_amount()), "{}", sender.buffered_amount());
    // The first message makes room for the ninth.
    peer.expect_binary(vec![7; 100]).await;
    assert!(after_settling(&mut ninth).await.is_ready());
    for _ in 0..8 {
        peer.expect_binary(vec![7; 100]).await;
    }
    sender.flush().await.unwrap();
    assert_eq!(sender.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_served_in_turn_whatever_the_size() {
    let (mut peer, sender, _receiver) = halves(1, mark(1000));
    sender.send(binary(900)).await.unwrap();
    // Larger than the mark: it waits for all of it, and the small ones behind it do not pass.
    let (large, small) = (sender.clone(), sender.clone());
    let large = tokio::spawn(async move { large.send(binary(5000)).await });
    settle().await;
    let small = tokio::spawn(async move { small.send(binary(1)).await });
    settle().await;
    assert!(matches!(sender.try_send(binary(2)), Err(TrySendError::Full(_))));
    for len in [900, 5000, 1] {
        peer.expect_binary(vec![7; len]).await;
    }
    large.await.unwrap().unwrap();
    small.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_leaves_no_message_and_no_place_behind() {
    let (mut peer, sender, _receiver) = halves(1, mark(1000));
    sender.send(binary(900)).await.unwrap();
    let mut first = Box::pin(sender.send(binary(5000)));
    let mut second = Box::pin(sender.send(binary(10)));
    assert!(after_settling(&mut first).await.is_pending());
    assert!(after_settling(&mut second).await.is_pending());
    // The first stood before the second, for which there is room.
    drop(first);
    second.now_or_never().expect("room").unwrap();
    peer.expect_binary(vec![7; 900]).await;
    peer.expect_binary(vec![7; 10]).await;
    sender.flush().await.unwrap();
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 2));
    // All room is back.
    sender.try_send(binary(1000 - 32)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_what_was_queued_before_it_also_while_others_go_on_sending() {
    let (mut peer, sender, _receiver) = halves(1, mark(1000));
    sender.send(binary(300)).await.unwrap();
    let other = sender.clone();
    let endless = tokio::spawn(async move { while other.send(binary(50)).await.is_ok() {} });
    let mut flush = pin!(sender.flush());
    assert!(after_settling(&mut flush).await.is_pending());
    let reader = tokio::spawn(async move {
        loop {
            peer.expect_frame().await;
        }
    });
    timeout(Duration::from_secs(1), flush).await.expect("it does not wait for ever").unwrap();
    endless.abort();
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_out_before_the_close_and_who_waits_for_room_gets_closing() {
    let (mut peer, sender, mut receiver) = halves(1, mark(1000));
    sender.send(binary(900)).await.unwrap();
    let mut waiting = pin!(sender.send(binary(500)));
    assert!(after_settling(&mut waiting).await.is_pending());
    let mut close = pin!(sender.close_with(CloseFrame::new(1000, "done")));
    assert!(poll!(&mut close).is_pending());
    assert!(matches!(waiting.await, Err(Error::Closing { .. })));
    assert!(matches!(sender.send("late").await, Err(Error::Closing { .. })));
    let refused = sender.try_send("late").expect_err("it has ended");
    assert_eq!(refused, TrySendError::Closed("late".into()));
    assert_eq!(refused.to_string(), "the connection is closing or has ended: nothing more can be sent");
    assert_eq!(refused.into_message(), "late".into());
    assert_eq!(sender.ready_state(), ReadyState::Closing);
    peer.expect_binary(vec![7; 900]).await;
    peer.expect_close(1000, "done").await;
    // What comes before the peer's Close is still received.
    let answer = async {
        peer.text("last words").await;
        peer.close(1000, "done").await;
        peer.finish().await;
    };
    let receive = async {
        assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("last words"));
        assert!(receiver.next().await.is_none());
    };
    let (end, (), ()) = tokio::join!(close, answer, receive);
    assert_eq!(end.unwrap(), closed(1000, "done", true));
    assert_eq!(sender.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_that_may_not_be_sent_is_an_error_and_closes_nothing() {
    let (mut peer, sender, _receiver) = halves(1 << 16, Config::default());
    assert!(matches!(sender.close_with(CloseFrame::new(1005, "")).await, Err(Error::InvalidControl(_))));
    sender.send("still open").await.unwrap();
    peer.expect_text("still open").await;
}

#[tokio::test(start_paused = true)]
async fn at_its_mark_the_receiver_holds_the_peer_back() {
    let config = Config::default().read_high_water_mark(1000).read_buffer_max(1024);
    let (mut peer, _sender, mut receiver) = halves(64, config);
    let pour = tokio::spawn(async move {
        for i in 0..1000_u32 {
            peer.binary([&i.to_be_bytes()[..], &[0; 96]].concat()).await;
        }
        peer
    });
    settle().await;
    let held = receiver.stats().messages_received;
    // 8 messages of 132 bytes reach the mark of 1000, or fewer where the rest of a read buffer that they hold is too small to
    // read into. Nobody asked for them.
    assert!((5..=8).contains(&held), "{held}");
    for i in 0..1000_u32 {
        let message = receiver.next().await.unwrap().unwrap();
        assert_eq!(message.as_bytes()[..4], i.to_be_bytes());
    }
    pour.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn recv_many_takes_what_there_is_up_to_a_limit() {
    let (mut peer, _sender, mut receiver) = halves(1 << 16, Config::default());
    for text in ["a", "b", "c", "d"] {
        peer.text(text).await;
    }
    peer.close(1011, "").await;
    settle().await;
    let mut messages = Vec::new();
    assert_eq!(receiver.recv_many(&mut messages, 0).await.unwrap(), 0);
    assert_eq!(receiver.recv_many(&mut messages, 3).await.unwrap(), 3);
    assert_eq!(receiver.recv_many(&mut messages, 3).await.unwrap(), 1);
    assert_eq!(messages.iter().filter_map(Message::as_text).collect::<String>(), "abcd");
    peer.expect_close(1011, "").await;
    peer.finish().await;
    assert_eq!(receiver.recv_many(&mut messages, 3).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unclean_end_is_one_error_behind_all_that_came() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    peer.text("before").await;
    drop(peer);
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("before"));
    assert!(matches!(receiver.next().await, Some(Err(Error::Closed(_)))));
    assert!(receiver.next().await.is_none());
    assert_eq!(sender.closed().await, closed(1006, "", false));
    assert!(matches!(sender.send("late").await, Err(Error::Closed(_))));
    assert!(matches!(sender.ping().await, Err(Error::Closed(_))));
    assert_eq!((sender.ready_state(), receiver.ready_state()), (ReadyState::Closed, ReadyState::Closed));
}

#[tokio::test(start_paused = true)]
async fn what_the_transport_did_not_take_is_accounted_for() {
    // A peer that takes nothing and goes.
    let (peer, sender, mut receiver) = halves(16, mark(10_000));
    for _ in 0..10 {
        sender.send(binary(100)).await.unwrap();
    }
    settle().await;
    drop(peer);
    assert!(receiver.next().await.unwrap().is_err());
    // 6 of the 16 bytes that left are the header.
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (990, 0));
    assert!(sender.flush().await.is_err());
    assert!(sender.drained().await.is_err());
}

/// B157.
#[tokio::test(start_paused = true)]
async fn the_peers_close_before_all_was_sent_is_unclean_with_its_code() {
    let (mut peer, sender, mut receiver) = halves(64, mark(100_000));
    for _ in 0..100 {
        sender.send(binary(500)).await.unwrap();
    }
    settle().await;
    peer.close(1000, "enough").await;
    let frames = tokio::spawn(async move {
        // The frame that was begun is finished, and the answer follows.
        let first = peer.expect_frame().await;
        peer.expect_close(1000, "enough").await;
        peer.finish().await;
        first.payload.len()
    });
    let error = receiver.next().await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Closed(end) if **end == closed(1000, "enough", false)), "{error}");
    assert!(receiver.next().await.is_none());
    assert_eq!(sender.closed().await, closed(1000, "enough", false));
    assert_eq!(frames.await.unwrap(), 500);
    assert_eq!(sender.buffered_amount(), 99 * 500);
}

#[tokio::test(start_paused = true)]
async fn ping_gives_the_round_trip() {
    let (mut peer, sender, _receiver) = halves(1 << 16, Config::default());
    let answer = async {
        let payload = peer.expect_ping().await;
        tokio::time::advance(Duration::from_millis(70)).await;
        peer.pong(payload).await;
    };
    let (rtt, ()) = tokio::join!(sender.ping(), answer);
    assert_eq!(rtt.unwrap(), Duration::from_millis(70));
    settle().await;
    assert_eq!(sender.stats().last_rtt, Some(Duration::from_millis(70)));
    // Each has a payload of its own, and one that nobody answers ends with the connection.
    let mut pings = Box::pin(join_all((0..3).map(|_| sender.ping())));
    assert!(after_settling(&mut pings).await.is_pending());
    let mut payloads = Vec::new();
    for _ in 0..3 {
        payloads.push(peer.expect_ping().await);
    }
    payloads.dedup();
    assert_eq!(payloads.len(), 3);
    peer.pong(&payloads[0]).await;
    drop(peer);
    let answers = pings.await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_err(), "{answers:?}");
}

/// B193.
#[tokio::test(start_paused = true)]
async fn when_all_halves_are_dropped_what_is_queued_is_sent_and_then_a_close_without_a_code() {
    for is_sender_last in [true, false] {
        let (mut peer, sender, receiver) = halves(16, Config::default());
        let clone = sender.clone();
        for _ in 0..5 {
            sender.send(binary(100)).await.unwrap();
        }
        if is_sender_last {
            drop(receiver);
            settle().await;
            drop((sender, clone));
        } else {
            drop((sender, clone));
            settle().await;
            drop(receiver);
        }
        for _ in 0..5 {
            peer.expect_binary(vec![7; 100]).await;
        }
        peer.expect_close(None, "").await;
        peer.close(None, "").await;
        peer.expect_eof().await;
    }
}

#[tokio::test(start_paused = true)]
async fn halves_that_are_dropped_wait_for_a_silent_peer_no_longer_than_the_close_timers() {
    let (mut peer, sender, receiver) = halves(1 << 16, Config::default());
    drop((sender, receiver));
    peer.expect_close(None, "").await;
    let start = Instant::now();
    peer.expect_eof().await;
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn dropping_all_senders_closes_nothing() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    sender.send("last").await.unwrap();
    drop(sender);
    peer.expect_text("last").await;
    peer.text("still there").await;
    peer.ping("x").await;
    peer.expect_pong("x").await;
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("still there"));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_receiver_discards_what_comes_and_the_senders_go_on() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default().read_high_water_mark(1));
    peer.text("one").await;
    peer.text("two").await;
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("one"));
    settle().await;
    drop(receiver);
    for _ in 0..1000 {
        peer.text("unwanted").await;
    }
    peer.ping("x").await;
    peer.expect_pong("x").await;
    sender.send("on").await.unwrap();
    peer.expect_text("on").await;
    assert_eq!(sender.stats().discarded_messages, 1000);
    let close = async {
        peer.expect_close(1000, "").await;
        peer.text("unwanted").await;
        peer.close(1000, "").await;
        peer.finish().await;
    };
    let (end, ()) = tokio::join!(sender.close_with(CloseFrame::new(1000, "")), close);
    assert_eq!(end.unwrap(), closed(1000, "", true));
    assert_eq!(sender.stats().discarded_messages, 1001);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_within_its_timers_although_the_receiver_takes_nothing() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default().read_high_water_mark(100));
    peer.text(
        "fills the mark, since it is a text of more than one hundred bytes, which it is once this is added to it",
    )
    .await;
    peer.text("behind it").await;
    settle().await;
    let start = Instant::now();
    let mut close = pin!(sender.close_with(CloseFrame::new(1000, "")));
    assert!(poll!(&mut close).is_pending());
    peer.expect_close(1000, "").await;
    peer.close(1000, "").await;
    assert_eq!(close.await.unwrap(), closed(1006, "", false));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    // What had come is received all the same.
    assert!(receiver.next().await.unwrap().is_ok());
    assert_eq!(receiver.next().await.unwrap().unwrap(), Message::text("behind it"));
    assert!(matches!(receiver.next().await, Some(Err(Error::Timeout { phase: Phase::Close, .. }))));
    assert!(receiver.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_ends_a_close_within_its_timers() {
    let (_peer, sender, mut receiver) = halves(16, mark(1000));
    sender.send(binary(900)).await.unwrap();
    let waiting = sender.clone();
    let waiting = tokio::spawn(async move { waiting.send(binary(900)).await });
    let flushing = sender.clone();
    let flushing = tokio::spawn(async move { flushing.flush().await });
    settle().await;
    let start = Instant::now();
    assert_eq!(sender.close_with(CloseFrame::new(1000, "")).await.unwrap(), closed(1006, "", false));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closing { .. })));
    assert!(matches!(flushing.await.unwrap(), Err(Error::Timeout { phase: Phase::Close, .. })));
    assert!(matches!(receiver.next().await, Some(Err(Error::Timeout { phase: Phase::Close, .. }))));
    // 8 of the 16 bytes that left are the header.
    assert_eq!(sender.buffered_amount(), 892);
}

#[test]
fn the_halves_are_told_when_the_runtime_is_shut_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_peer, sender, mut receiver) = runtime.block_on(async { halves(16, Config::default()) });
    drop(runtime);
    assert!(matches!(receiver.next().now_or_never(), Some(Some(Err(Error::Closed(_))))));
    assert_eq!(sender.closed().now_or_never(), Some(closed(1006, "", false)));
    assert!(matches!(sender.send("late").now_or_never(), Some(Err(Error::Closed(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_a_sender_waits_its_turn_and_overshoots_by_one_message() {
    let (mut peer, sender, _receiver) = halves(1, mark(1000));
    let mut sink = sender.sink();
    assert!(matches!(sink.start_send_unpin("not ready".into()), Err(Error::NotReady)));
    // It is ready while there is any room, since nobody knows the size.
    sender.send(binary(900)).await.unwrap();
    sink.feed(binary(5000)).now_or_never().expect("ready").unwrap();
    let mut another = sender.sink();
    let mut ready = pin!(another.feed(binary(1)));
    assert!(after_settling(&mut ready).await.is_pending());
    peer.expect_binary(vec![7; 900]).await;
    peer.expect_binary(vec![7; 5000]).await;
    let (fed, ()) = tokio::join!(ready, peer.expect_binary([7]));
    fed.unwrap();
    another.flush().await.unwrap();
    // One that is ready and sends nothing holds nothing.
    futures::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await.unwrap();
    sender.try_send(binary(968)).unwrap();
    peer.expect_binary(vec![7; 968]).await;
    let close = async {
        peer.expect_close(None, "").await;
        peer.close(None, "").await;
        peer.finish().await;
    };
    let (end, ()) = tokio::join!(sink.close(), close);
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn eight_senders_over_a_slow_transport_get_their_share_in_order() {
    let (mut peer, sender, _receiver) = halves(64, mark(2000));
    for id in 0..8_u8 {
        let sender = sender.clone();
        tokio::spawn(async move {
            // One of them sends messages larger than the mark.
            let len = if id == 7 { 3000 } else { 90 };
            for i in 0_u32.. {
                let message = [&[id][..], &i.to_be_bytes(), &vec![0; len]].concat();
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut counts = [0_u32; 8];
    for _ in 0..1600 {
        let (_, payload) = peer.expect_message().await;
        let (id, i) = (usize::from(payload[0]), u32::from_be_bytes(payload[1..5].try_into().unwrap()));
        assert_eq!(i, counts[id], "the order of sender {id}");
        counts[id] += 1;
    }
    assert!(counts.iter().all(|count| (180..=220).contains(count)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_violation_tells_the_peer_and_both_halves() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    peer.text("good").await;
    peer.raw([0xff, 0x00]).await;
    peer.expect_close(1002, "").await;
    peer.finish().await;
    assert!(receiver.next().await.unwrap().is_ok());
    assert!(matches!(receiver.next().await, Some(Err(Error::ProtocolViolation(_)))));
    assert_eq!(sender.closed().await, closed(1006, "", false));
    assert!(matches!(sender.send("late").await, Err(Error::ProtocolViolation(_))));
}

#[tokio::test(start_paused = true)]
async fn close_while_a_message_is_half_sent_finishes_it() {
    let (mut peer, sender, _receiver) = halves(10, mark(1 << 20));
    sender.send(binary(100_000)).await.unwrap();
    settle().await;
    let close = tokio::spawn({
        let sender = sender.clone();
        async move { sender.close_with(CloseFrame::empty()).await }
    });
    peer.expect_binary(vec![7; 100_000]).await;
    peer.expect_close(None, "").await;
    peer.close(1000, "").await;
    peer.finish().await;
    assert_eq!(close.await.unwrap().unwrap(), closed(1000, "", true));
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_found_by_keepalive_and_everybody_is_told() {
    // With writes that wait, and without.
    for messages in [0, 3] {
        let (peer, sender, mut receiver) = halves(16, mark(250));
        let start = Instant::now();
        let sends: Vec<_> = (0..messages)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(binary(100)).await })
            })
            .collect();
        let is_keepalive = |error: &Error| matches!(error, Error::Timeout { phase: Phase::Keepalive, .. });
        assert!(receiver.next().await.unwrap().is_err_and(|error| is_keepalive(&error)));
        assert!(receiver.next().await.is_none());
        assert_eq!(start.elapsed(), Duration::from_secs(60));
        assert_eq!(sender.closed().await, closed(1006, "", false));
        // One fits, and a second; the third waited for room.
        let sent: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), messages.min(1));
        assert!(sent.iter().flat_map(|sent| sent.as_ref().err()).all(is_keepalive), "{sent:?}");
        drop(peer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_for_ten_keepalive_periods_is_no_dead_peer() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default().read_high_water_mark(1));
    peer.text("fills the mark").await;
    peer.text("waits in the transport").await;
    settle().await;
    tokio::time::advance(Duration::from_secs(600)).await;
    settle().await;
    assert_eq!(sender.ready_state(), ReadyState::Open);
    for _ in 0..2 {
        receiver.next().await.unwrap().unwrap();
    }
    // Then it is asked as always.
    let start = Instant::now();
    assert!(matches!(receiver.next().await, Some(Err(Error::Timeout { phase: Phase::Keepalive, .. }))));
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn keepalive_runs_while_the_application_is_busy() {
    let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default());
    // The application asks for nothing for ten minutes.
    let answers = tokio::spawn(async move {
        for _ in 0..20 {
            let payload = peer.expect_ping().await;
            peer.pong(payload).await;
        }
        peer
    });
    let mut peer = answers.await.unwrap();
    assert_eq!(sender.ready_state(), ReadyState::Open);
    assert!(sender.stats().last_rtt.is_some());
    peer.text("alive").await;
    assert_eq!(receiver.next().await.unwrap().unwrap().as_text(), Some("alive"));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_silent_ends_with_1011() {
    let (mut peer, _sender, mut receiver) = halves(1 << 16, Config::default().message_timeout(Duration::from_secs(45)));
    peer.text("the last").await;
    let answers = async {
        let payload = peer.expect_ping().await;
        peer.pong(payload).await;
        peer.expect_close(1011, "").await;
        peer.finish().await;
    };
    let receive = async {
        receiver.next().await.unwrap().unwrap();
        receiver.next().await.unwrap().unwrap_err()
    };
    let start = Instant::now();
    let (error, ()) = tokio::join!(receive, answers);
    assert!(matches!(error, Error::Timeout { phase: Phase::Message, .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(45));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_only_pings_ends_also_if_nobody_receives_and_the_pings_come_in_pieces() {
    for begun in [&b""[..], &encode(false, 0, TEXT, b"begun")] {
        let (mut peer, sender, receiver) = halves(1 << 16, Config::default().message_timeout(Duration::from_secs(45)));
        peer.raw(begun).await;
        settle().await;
        drop(receiver);
        let pings = async {
            loop {
                let ping = encode(true, 0, PING, b"ping");
                for piece in [&ping[..3], &ping[3..]] {
                    peer.raw(piece).await;
                    sleep(Duration::from_secs(5)).await;
                }
            }
        };
        let start = Instant::now();
        let end = tokio::select! {
            end = sender.closed() => end,
            _ = timeout(Duration::from_secs(600), pings) => panic!("it never ends, {} bytes begun", begun.len()),
        };
        assert_eq!(end, closed(1006, "", false));
        assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
        assert!(matches!(sender.send("late").await, Err(Error::Timeout { phase: Phase::Message, .. })));
    }
}

/// A payload that is not the same anywhere.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * i / 7 % 251) as u8).collect()
}

/// Sends messages of these lengths, each in frames of `frame` bytes at most, then a Close, and waits for the answer.
async fn serve(mut peer: Peer<DuplexStream>, lens: Vec<usize>, frame: usize) {
    for len in lens {
        let payload = noise(len);
        let last = len.saturating_sub(1) / frame;
        for (i, part) in (0..=last).map(|i| (i, &payload[i * frame..len.min((i + 1) * frame)])) {
            peer.frame(i == last, 0, if i == 0 { 2 } else { 0 }, part).await;
        }
    }
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
}

const LENS: [usize; 9] = [0, 1, 1000, 65_535, 65_536, 65_537, 100_000, 300_000, 5];

#[tokio::test(start_paused = true)]
async fn large_messages_travel_in_chunks_and_next_puts_them_together() {
    for frame in [usize::MAX >> 1, 70_000, 10_000] {
        let (peer, _sender, mut receiver) = halves(20_000, Config::default().read_high_water_mark(10_000));
        let server = tokio::spawn(serve(peer, LENS.to_vec(), frame));
        for len in LENS {
            assert!(receiver.next().await.unwrap().unwrap() == Message::from(noise(len)), "{len} in {frame}");
        }
        assert!(receiver.next().await.is_none());
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_read_as_it_comes_and_skipped_where_its_reader_is_dropped() {
    use tokio::io::AsyncReadExt as _;
    for frame in [usize::MAX >> 1, 10_000] {
        for way in 0..4 {
            let (peer, _sender, mut receiver) = halves(20_000, Config::default().read_high_water_mark(10_000));
            let server = tokio::spawn(serve(peer, LENS.to_vec(), frame));
            for (i, len) in LENS.into_iter().enumerate() {
                let what = format!("{len} in {frame}, way {way}");
                // Every other message is taken as a whole.
                if i % 2 == way % 2 {
                    assert!(receiver.next().await.unwrap().unwrap() == Message::from(noise(len)), "{what}");
                    continue;
                }
                let mut reader = receiver.next_reader().await.unwrap().unwrap();
                let mut data = Vec::new();
                if way < 2 {
                    reader.read_to_end(&mut data).await.unwrap();
                    assert!(reader.chunk().await.is_none(), "{what}");
                } else {
                    let first = reader.chunk().await;
                    data.extend(first.into_iter().flat_map(Result::unwrap));
                }
                assert!(noise(len).starts_with(&data) && (way >= 2 || data.len() == len), "{what}: {}", data.len());
            }
            assert!(receiver.next_reader().await.is_none());
            server.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_received_once_its_reader_has_its_end_and_else_discarded() {
    for len in [0, 5, 65_536, 300_000] {
        for frame in [usize::MAX >> 1, 10_000] {
            for chunks in 0..10 {
                let (peer, sender, mut receiver) = halves(1 << 20, Config::default());
                let server = tokio::spawn(serve(peer, vec![len, 4], frame));
                let mut reader = receiver.next_reader().await.unwrap().unwrap();
                let (mut read, mut is_ended) = (0, false);
                for _ in 0..chunks {
                    match reader.chunk().await {
                        Some(chunk) => read += chunk.unwrap().len(),
                        None => is_ended = true,
                    }
                }
                assert_eq!(receiver.next().await.unwrap().unwrap().len(), 4);
                assert!(receiver.next().await.is_none());
                server.await.unwrap();
                let (stats, what) = (receiver.stats(), format!("{read} of {len} in {frame}, ended: {is_ended}"));
                assert_eq!(sender.stats().discarded_messages, stats.discarded_messages, "{what}");
                assert_eq!(stats.messages_received + stats.discarded_messages, 2, "{what}");
                assert!(!is_ended || stats.discarded_messages == 0, "{what}");
                assert!(read == len || stats.discarded_messages == 1, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_that_is_dropped_leaves_its_message_to_a_reader() {
    let (mut peer, _sender, mut receiver) = halves(1 << 20, Config::default());
    peer.frame(false, 0, 2, noise(100_000)).await;
    assert!(timeout(Duration::from_millis(1), receiver.next()).await.is_err());
    peer.frame(true, 0, 0, [9; 10]).await;
    let mut reader = receiver.next_reader().await.unwrap().unwrap();
    let mut data = Vec::new();
    while let Some(chunk) = reader.chunk().await {
        data.extend(chunk.unwrap());
    }
    assert!(data == [noise(100_000), vec![9; 10]].concat(), "{} bytes", data.len());
}

#[tokio::test(start_paused = true)]
async fn max_message_size_bounds_what_is_put_together_and_not_what_is_read() {
    let config = || Config::default().max_message_size(150_000);
    let (mut peer, sender, mut receiver) = halves(1 << 20, config());
    peer.binary(noise(150_000)).await;
    assert_eq!(receiver.next().await.unwrap().unwrap().len(), 150_000);
    peer.binary(noise(150_001)).await;
    let answer = async {
        peer.expect_close(1009, "").await;
        peer.finish().await;
    };
    let (end, ()) = tokio::join!(receiver.next(), answer);
    assert!(matches!(end, Some(Err(Error::Limit(_)))), "{end:?}");
    assert!(receiver.next().await.is_none());
    assert!(matches!(sender.send("late").await, Err(Error::Limit(_))));

    let (mut peer, _sender, mut receiver) = halves(1 << 20, config());
    let server = tokio::spawn(async move { peer.binary(noise(1_000_000)).await });
    let mut reader = receiver.next_reader().await.unwrap().unwrap();
    let mut len = 0;
    while let Some(chunk) = reader.chunk().await {
        len += chunk.unwrap().len();
    }
    assert_eq!(len, 1_000_000);
    server.await.unwrap();
}

/// The header of a server's frame of so many bytes, without a byte of its payload.
fn header(fin: bool, opcode: u8, len: u64) -> Vec<u8> {
    long_head(u8::from(fin) << 7 | opcode, len)
}

/// The frames of a message that is beyond a limit with the last of them, and that limit, if messages have at most 150 000
/// bytes in ten frames.
fn beyond_limits() -> Vec<(&'static str, Vec<Vec<u8>>, LimitExceeded)> {
    let size = LimitExceeded::MessageSize { limit: 150_000 };
    let fragments = LimitExceeded::Fragments { limit: 10 };
    let begun = |len: usize| encode(false, 0, BINARY, &noise(len));
    let ten = |first: Vec<u8>, len: usize| [vec![first], vec![encode(false, 0, CONTINUATION, &noise(len)); 9]].concat();
    let eleven = |first: Vec<u8>, len: usize, last: Vec<u8>| [ten(first, len), vec![last]].concat();
    vec![
        ("one frame", vec![header(true, BINARY, 150_001)], size),
        ("the first of many frames", vec![header(false, BINARY, 1 << 40)], size),
        ("the second frame", vec![begun(1000), header(true, CONTINUATION, 149_001)], size),
        ("the second frame of a large message", vec![begun(70_000), header(false, CONTINUATION, 80_001)], size),
        ("an empty eleventh frame", eleven(begun(70_000), 0, encode(false, 0, CONTINUATION, b"")), fragments),
        ("an eleventh frame, the last", eleven(begun(70_000), 100, encode(true, 0, CONTINUATION, b"end")), fragments),
        ("the header of an eleventh frame", eleven(begun(100), 7000, header(true, CONTINUATION, 70_000)), fragments),
    ]
}

#[tokio::test(start_paused = true)]
async fn next_refuses_a_message_at_the_header_by_which_it_is_beyond_a_limit() {
    let config = Config::default().max_message_size(150_000).max_fragments(10);
    for (what, frames, limit) in beyond_limits() {
        // With a mark of 1 one chunk waits for the receiver at a time.
        for mark in [1, 1 << 20] {
            // In the last run the receiver comes later than all frames.
            for is_late in [false, true] {
                let (mut peer, sender, mut receiver) = halves(1 << 20, config.clone().read_high_water_mark(mark));
                for frame in &frames {
                    if !is_late {
                        assert!(receiver.next().now_or_never().is_none(), "{what}");
                    }
                    peer.raw(frame).await;
                    settle().await;
                }
                let answer = async {
                    peer.expect_close(u16::from(limit.close_code()), "").await;
                    peer.finish().await;
                };
                let both = timeout(Duration::from_secs(1), async { tokio::join!(receiver.next(), answer) });
                let (end, ()) = both.await.unwrap_or_else(|_| panic!("{what}: it is read on"));
                assert!(matches!(end, Some(Err(Error::Limit(came))) if came == limit), "{what}: {end:?}");
                assert!(receiver.next().await.is_none());
                assert!(matches!(sender.send("late").await, Err(Error::Limit(_))));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_empty_frames_ends_for_next_and_not_for_a_reader() {
    const FRAMES: usize = 100_000;
    for len in [1000, 70_000] {
        let config = Config::default().max_fragments(1000);
        let flood =
            [encode(false, 0, BINARY, &noise(len)), encode(false, 0, CONTINUATION, b"").repeat(FRAMES)].concat();
        let (mut peer, _sender, mut receiver) = halves(flood.len() + 100, config.clone());
        peer.raw(&flood).await;
        let end = timeout(Duration::from_secs(1), receiver.next()).await.expect("it takes them without end");
        assert!(matches!(end, Some(Err(Error::Limit(LimitExceeded::Fragments { limit: 1000 })))), "{end:?}");

        let (mut peer, _sender, mut receiver) = halves(flood.len() + 100, config);
        peer.raw(&flood).await;
        peer.frame(true, 0, CONTINUATION, b"end").await;
        peer.text("next").await;
        settle().await;
        let mut reader = receiver.next_reader().await.unwrap().unwrap();
        let mut data = Vec::new();
        while let Some(chunk) = reader.chunk().await {
            data.extend(chunk.unwrap());
        }
        assert!(data == [noise(len), b"end".to_vec()].concat(), "{} bytes", data.len());
        assert_eq!(receiver.next().await.unwrap().unwrap(), Message::text("next"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_where_a_dropped_next_was_within_limits_and_next_goes_on_behind_it() {
    let config = Config::default().max_message_size(150_000).max_fragments(2);
    for is_read in [false, true] {
        let (mut peer, _sender, mut receiver) = halves(1 << 20, config.clone());
        peer.frame(false, 0, BINARY, noise(100_000)).await;
        assert!(timeout(Duration::from_millis(1), receiver.next()).await.is_err());
        let mut reader = receiver.next_reader().await.unwrap().unwrap();
        peer.frame(false, 0, CONTINUATION, noise(100_000)).await;
        peer.frame(true, 0, CONTINUATION, b"end").await;
        peer.text("next").await;
        let mut len = 0;
        while is_read && let Some(chunk) = reader.chunk().await {
            len += chunk.unwrap().len();
        }
        assert!(!is_read || len == 200_003, "{len}");
        assert_eq!(receiver.next().await.unwrap().unwrap(), Message::text("next"));
        let answer = async {
            peer.frame(false, 0, BINARY, noise(70_000)).await;
            peer.raw(header(true, CONTINUATION, 80_001)).await;
            peer.expect_close(1009, "").await;
            peer.finish().await;
        };
        let (end, ()) = tokio::join!(receiver.next(), answer);
        assert!(matches!(end, Some(Err(Error::Limit(LimitExceeded::MessageSize { limit: 150_000 })))), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_off_is_an_error_and_not_an_end() {
    let (mut peer, _sender, mut receiver) = halves(1 << 20, Config::default());
    peer.frame(false, 0, 2, noise(100_000)).await;
    let mut reader = receiver.next_reader().await.unwrap().unwrap();
    drop(peer);
    let mut len = 0;
    let error = loop {
        match reader.chunk().await.expect("it does not end") {
            Ok(chunk) => len += chunk.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(len, 100_000);
    assert!(matches!(error, Error::Closed(_)), "{error}");
    assert!(receiver.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_peers_close_within_a_message_is_an_unclean_end_with_its_code() {
    let end = closed(1001, "bye", false);
    for len in [0, 10, 70_000] {
        for is_read in [false, true] {
            let (mut peer, sender, mut receiver) = halves(1 << 20, Config::default());
            let receive = async {
                if !is_read {
                    return receiver.next().await.unwrap().unwrap_err();
                }
                // Half a message of up to 64 KiB is put together until its end has come: it has no reader.
                let mut reader = match receiver.next_reader().await.unwrap() {
                    Ok(reader) => reader,
                    Err(error) => return error,
                };
                loop {
                    if let Err(error) = reader.chunk().await.expect("half a message has an end") {
                        return error;
                    }
                }
            };
            let serve = async {
                peer.frame(false, 0, BINARY, noise(len)).await;
                settle().await;
                peer.close(1001, "bye").await;
                peer.expect_close(1001, "bye").await;
                peer.finish().await;
            };
            let (error, ()) = tokio::join!(receive, serve);
            assert!(matches!(&error, Error::Closed(closed) if **closed == end), "{len}, {is_read}: {error:?}");
            assert!(receiver.next().await.is_none());
            assert_eq!((sender.closed().await, receiver.closed()), (end.clone(), Some(&end)));
            assert_eq!(sender.stats().discarded_messages, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_peers_close_within_a_message_is_clean_if_nobody_receives() {
    let (mut peer, sender, receiver) = halves(1 << 20, Config::default());
    peer.frame(false, 0, BINARY, noise(70_000)).await;
    settle().await;
    drop(receiver);
    settle().await;
    peer.close(1001, "bye").await;
    peer.expect_close(1001, "bye").await;
    peer.finish().await;
    assert_eq!(sender.closed().await, closed(1001, "bye", true));
}

#[tokio::test(start_paused = true)]
async fn a_writer_holds_the_turn_and_control_frames_pass() {
    use tokio::io::AsyncWriteExt as _;
    let (mut peer, sender, _receiver) = halves(1 << 16, Config::default().fragment_size(1000));
    sender.send("before").await.unwrap();
    let mut writing = sender.clone();
    let mut writer = writing.writer(Kind::Binary).await.unwrap();
    writer.write_all(&noise(2500)).await.unwrap();
    // Others wait, whatever room there is.
    let mut behind = Box::pin(sender.send("behind"));
    assert!(after_settling(&mut behind).await.is_pending());
    assert!(matches!(sender.try_send("behind"), Err(TrySendError::Full(_))));
    let mut waiting = sender.clone();
    let mut another = Box::pin(waiting.writer(Kind::Text));
    assert!(after_settling(&mut another).await.is_pending());
    peer.expect_text("before").await;
    for (opcode, range) in [(2, 0..1000), (0, 1000..2000)] {
        let frame = peer.expect_frame().await;
        assert_eq!((frame.fin, frame.opcode, frame.payload), (false, opcode, noise(2500)[range].to_vec()));
    }
    peer.ping("between").await;
    peer.expect_pong("between").await;
    writer.finish().now_or_never();
    let frame = peer.expect_frame().await;
    assert_eq!((frame.fin, frame.opcode, frame.payload), (true, 0, noise(2500)[2000..].to_vec()));
    behind.await.unwrap();
    let mut another = another.await.unwrap();
    another.write_all(b"text").await.unwrap();
    let (finished, ()) = tokio::join!(another.finish(), async {
        peer.expect_text("behind").await;
        peer.expect_text("text").await;
    });
    finished.unwrap();
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 4));
    // All room is back.
    sender.try_send(binary(128 * 1024 - 32)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_room_and_its_frames_give_it_back_one_by_one() {
    use tokio::io::AsyncWriteExt as _;
    let (mut peer, sender, _receiver) = halves(16, mark(5000).fragment_size(1000));
    let mut writing = sender.clone();
    let mut writer = writing.writer(Kind::Binary).await.unwrap();
    let data = noise(1_000_000);
    let write = async {
        for piece in data.chunks(700) {
            writer.write_all(piece).await.unwrap();
            // The mark and a frame, and the frame that is being filled.
            assert!(writer.buffered_amount() <= 7000, "{}", writer.buffered_amount());
        }
        writer.finish().await.unwrap();
    };
    let ((), (opcode, payload)) = tokio::join!(write, peer.expect_message());
    assert!(opcode == 2 && payload == data, "{} bytes", payload.len());
    settle().await;
    assert_eq!(sender.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_or_closed_over_fails_the_connection_with_1011() {
    use tokio::io::AsyncWriteExt as _;
    for is_closed in [false, true] {
        let (mut peer, sender, mut receiver) = halves(1 << 16, Config::default().fragment_size(1000));
        let mut writing = sender.clone();
        let mut writer = writing.writer(Kind::Binary).await.unwrap();
        writer.write_all(&noise(1500)).await.unwrap();
        let mut behind = Box::pin(sender.send("behind"));
        assert!(after_settling(&mut behind).await.is_pending());
        if is_closed {
            let mut close = Box::pin(sender.close_with(CloseFrame::new(1000, "")));
            assert!(after_settling(&mut close).await.is_pending());
            assert!(writer.write_all(&noise(1500)).await.is_err());
        } else {
            drop(writer);
        }
        assert!(matches!(behind.await, Err(Error::UnfinishedMessage)));
        let frame = peer.expect_frame().await;
        let (fin, opcode) = (frame.fin, frame.opcode);
        if opcode == 2 {
            assert!(!fin);
            peer.expect_close(1011, "").await;
        } else {
            assert_eq!((opcode, &frame.payload[..2]), (8, &1011_u16.to_be_bytes()[..]));
        }
        peer.finish().await;
        assert!(matches!(receiver.next().await, Some(Err(Error::UnfinishedMessage))));
        assert_eq!(sender.closed().await, closed(1006, "", false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_future_is_dropped_leaves_the_turn() {
    let (mut peer, sender, _receiver) = halves(1, mark(1000));
    sender.send(binary(968)).await.unwrap();
    let mut waiting = sender.clone();
    let mut writer = Box::pin(waiting.writer(Kind::Binary));
    assert!(after_settling(&mut writer).await.is_pending());
    peer.expect_binary(vec![7; 968]).await;
    // It has the turn by now, and nobody has looked.
    settle().await;
    drop(writer);
    sender.send("next").await.unwrap();
    peer.expect_text("next").await;
}

#[tokio::test(start_paused = true)]
async fn compression_is_switched_for_each_sender() {
    use wsflow::{Deflate, UpgradedParts};
    let (mut peer, io) = Peer::pipe(1 << 16);
    let parts =
        UpgradedParts::new(io).extensions("permessage-deflate").config(Config::default().deflate(Deflate::default()));
    let (sender, _receiver) = WebSocketStream::from_upgraded_parts(parts).unwrap().into_split();
    let mut plain = sender.clone();
    plain.set_compression(false);
    assert!(sender.compression() && !plain.compression() && !plain.clone().compression());
    for sends_plain in [true, false, true] {
        let sender = if sends_plain { &plain } else { &sender };
        sender.send("a text that is worth it, worth it, worth it").await.unwrap();
        sender.sink().send("a text that is worth it, worth it, worth it".into()).await.unwrap();
        for _ in 0..2 {
            let frame = peer.expect_frame().await;
            assert_eq!(frame.rsv, if sends_plain { 0 } else { 0b100 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compression_that_was_switched_off_before_the_split_stays_off_for_the_sender_and_its_clones() {
    use wsflow::{Deflate, UpgradedParts};
    let (mut peer, io) = Peer::pipe(1 << 16);
    let parts =
        UpgradedParts::new(io).extensions("permessage-deflate").config(Config::default().deflate(Deflate::default()));
    let mut ws = WebSocketStream::from_upgraded_parts(parts).unwrap();
    ws.set_compression(false);
    let (mut sender, _receiver) = ws.into_split();
    let (mut clone, mut sink) = (sender.clone(), sender.sink());
    assert!(!sender.compression() && !clone.compression());
    let text = "a text that is worth it, worth it, worth it";
    sender.send(text).await.unwrap();
    clone.try_send(text).unwrap();
    sink.send(text.into()).await.unwrap();
    let mut writer = clone.writer(Kind::Text).await.unwrap();
    writer.write_all(text.as_bytes()).await.unwrap();
    writer.finish().await.unwrap();
    for _ in 0..4 {
        assert_eq!(peer.expect_frame().await.rsv, 0);
    }
    // On again, it is for this one alone.
    sender.set_compression(true);
    sender.send(text).await.unwrap();
    assert_eq!(peer.expect_frame().await.rsv, 0b100);
    assert!(!clone.compression());
}

/// Why a connection can send nothing when it is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// We have begun to close.
    Closing,
    /// The peer has closed, which was read.
    ClosedByPeer,
    /// Both have said Close, and the transport has ended.
    Ended,
    /// The transport has ended without a Close.
    Lost,
}

#[tokio::test(start_paused = true)]
async fn halves_of_a_connection_that_is_closing_or_has_ended_send_nothing_and_its_end_stays_as_it_is() {
    for over in [Over::Closing, Over::ClosedByPeer, Over::Ended, Over::Lost] {
        let (peer, io) = Peer::pipe(1 << 16);
        let mut peer = Some(peer);
        let mut ws = WebSocketStream::from_upgraded(io, Config::default());
        ws.feed("before".into()).await.unwrap();
        let at = peer.as_mut().expect("a peer");
        match over {
            Over::Closing => assert!(poll!(Box::pin(ws.close_with(CloseFrame::new(1001, "x")))).is_pending()),
            Over::ClosedByPeer | Over::Ended => {
                ws.flush().await.unwrap();
                at.close(1001, "x").await;
                assert!(poll!(ws.next()).is_pending());
                if over == Over::Ended {
                    at.finish().await;
                    assert!(ws.next().await.is_none());
                }
            }
            Over::Lost => {
                ws.flush().await.unwrap();
                peer = None;
                assert!(ws.next().await.expect("an error").is_err());
            }
        }
        let (sender, mut receiver) = ws.into_split();
        // At once, and when the task has run.
        for _ in 0..2 {
            assert!(sender.ready_state() > ReadyState::Open, "{over:?}");
            assert!(sender.send("late").await.unwrap_err().is_closed(), "{over:?}");
            assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late".into())), "{over:?}");
            assert!(sender.clone().writer(Kind::Text).await.unwrap_err().is_closed(), "{over:?}");
            assert!(sender.sink().feed("late".into()).await.unwrap_err().is_closed(), "{over:?}");
            assert!(sender.ping().await.unwrap_err().is_closed(), "{over:?}");
            settle().await;
        }
        if let Some(peer) = &mut peer {
            peer.expect_text("before").await;
            peer.expect_close(1001, "x").await;
            if over == Over::Closing {
                peer.close(1001, "x").await;
            }
            if over != Over::Ended {
                peer.finish().await;
            }
        }
        let end = if over == Over::Lost { closed(1006, "", false) } else { closed(1001, "x", true) };
        assert_eq!(timeout(Duration::from_secs(1), sender.closed()).await, Ok(end), "{over:?}");
        if over == Over::Lost {
            assert!(matches!(receiver.next().await, Some(Err(Error::Closed(_)))));
        }
        assert!(receiver.next().await.is_none(), "{over:?}");
        assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 1), "{over:?}");
        assert_eq!(sender.ready_state(), ReadyState::Closed, "{over:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_before_the_split_leaves_first_and_is_accounted_for() {
    let (mut peer, io) = Peer::pipe(16);
    let mut ws = WebSocketStream::from_upgraded(io, mark(1000));
    // Some of it has left, some waits.
    for len in [0, 5] {
        let (sent, ()) = tokio::join!(ws.send(binary(len)), peer.expect_binary(vec![7; len]));
        sent.unwrap();
    }
    for len in [100, 0, 300] {
        ws.feed(binary(len)).await.unwrap();
    }
    let (sender, _receiver) = ws.into_split();
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (400, 2));
    sender.try_send(binary(200)).unwrap();
    // Both count.
    assert!(matches!(sender.try_send(binary(400)), Err(TrySendError::Full(_))));
    let (flushed, ()) = tokio::join!(sender.flush(), async {
        for len in [100, 0, 300, 200] {
            peer.expect_binary(vec![7; len]).await;
        }
    });
    flushed.unwrap();
    assert_eq!((sender.buffered_amount(), sender.stats().messages_sent), (0, 6));
    sender.try_send(binary(968)).unwrap();
    peer.expect_binary(vec![7; 968]).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_split_after_it_was_read_in_place() {
    let (mut peer, io) = Peer::pipe(1 << 20);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().read_high_water_mark(150_000));
    peer.binary(noise(200_000)).await;
    assert_eq!(ws.next().await.unwrap().unwrap().len(), 200_000);
    // A reader that is dropped half way.
    peer.frame(false, 0, 2, noise(100_000)).await;
    ws.next_reader().await.unwrap().unwrap().chunk().await.unwrap().unwrap();
    let (_sender, mut receiver) = ws.into_split();
    peer.frame(true, 0, 0, noise(100_000)).await;
    for len in [10, 20, 30] {
        peer.binary(noise(len)).await;
    }
    settle().await;
    // All three are within the mark: what was skipped costs no more than a read buffer.
    assert_eq!(receiver.stats().messages_received, 4);
    for len in [10, 20, 30] {
        assert_eq!(receiver.next().await.unwrap().unwrap().len(), len);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_during_a_flush_sends_what_waits_behind_the_flush() {
    let (mut peer, sender, _receiver) = halves(16, mark(5000));
    sender.send(binary(100)).await.unwrap();
    let mut flush = Box::pin(sender.flush());
    assert!(after_settling(&mut flush).await.is_pending());
    sender.send(binary(200)).await.unwrap();
    settle().await;
    let mut close = Box::pin(sender.close_with(CloseFrame::new(1000, "")));
    assert!(after_settling(&mut close).await.is_pending());
    let answer = async {
        peer.expect_binary(vec![7; 100]).await;
        peer.expect_binary(vec![7; 200]).await;
        peer.expect_close(1000, "").await;
        peer.close(1000, "").await;
        peer.finish().await;
    };
    let (flushed, end, ()) = tokio::join!(flush, close, answer);
    flushed.unwrap();
    assert_eq!(end.unwrap(), closed(1000, "", true));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_dropped_within_a_message_discards_the_rest() {
    for in_one_frame in [true, false] {
        let (mut peer, sender, mut receiver) = halves(10_000, Config::default().read_high_water_mark(1000));
        let (mut reader, payload) = (receiver.next_reader().boxed(), noise(300_000));
        let pour = tokio::spawn(async move {
            if in_one_frame {
                peer.binary(payload).await;
            } else {
                for (i, part) in payload.chunks(1000).enumerate() {
                    peer.frame(i == 299, 0, if i == 0 { 2 } else { 0 }, part).await;
                }
            }
            peer
        });
        assert!(after_settling(&mut reader).await.is_ready());
        drop(reader);
        drop(receiver);
        let mut peer = pour.await.unwrap();
        peer.ping("x").await;
        peer.expect_pong("x").await;
        sender.send("on").await.unwrap();
        peer.expect_text("on").await;
        assert_eq!(sender.stats().discarded_messages, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_a_sink_or_a_writer_covers_what_was_sent_after_a_flush_that_was_dropped() {
    for is_sink in [true, false] {
        let (mut peer, sender, _receiver) = halves(1, Config::default());
        let mut sink = sender.sink();
        let mut writing = sender.clone();
        let mut writer = if is_sink { None } else { Some(writing.writer(Kind::Binary).await.unwrap()) };
        for _ in 0..2 {
            match &mut writer {
                Some(writer) => writer.write_all(&[7; 100]).await.unwrap(),
                None => sink.feed(binary(100)).await.unwrap(),
            }
            let mut flush = match &mut writer {
                Some(writer) => writer.flush().map_err(|_| ()).boxed(),
                None => sink.flush().map_err(|_| ()).boxed(),
            };
            assert!(after_settling(&mut flush).await.is_pending());
        }
        // The peer takes the first alone.
        assert_eq!(peer.expect_frame().await.payload, [7; 100]);
        let mut flush = match &mut writer {
            Some(writer) => writer.flush().map_err(|_| ()).boxed(),
            None => sink.flush().map_err(|_| ()).boxed(),
        };
        assert!(after_settling(&mut flush).await.is_pending(), "the second has not left");
        assert_eq!(peer.expect_frame().await.payload, [7; 100]);
        flush.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_is_told_also_if_the_connection_has_ended_cleanly_meanwhile() {
    let config = Config::default().max_message_size(70_000).read_high_water_mark(1 << 20);
    let (mut peer, sender, mut receiver) = halves(1 << 20, config);
    peer.text("before").await;
    // In chunks, since nobody knows yet who asks for it.
    peer.frame(false, 0, BINARY, vec![7; 65_000]).await;
    settle().await;
    peer.frame(true, 0, CONTINUATION, vec![7; 65_000]).await;
    peer.text("behind").await;
    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    peer.finish().await;
    assert_eq!(sender.closed().await, closed(1000, "", true));
    assert_eq!(receiver.next().await.unwrap().unwrap(), Message::text("before"));
    let failed = receiver.next().await.unwrap().unwrap_err();
    assert!(matches!(failed, Error::Limit(LimitExceeded::MessageSize { limit: 70_000 })), "{failed}");
    assert!(receiver.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_received_behind_a_message_above_the_limit() {
    let config = Config::default().max_message_size(70_000).read_high_water_mark(1 << 20);
    let (mut peer, _sender, mut receiver) = halves(1 << 20, config);
    peer.frame(false, 0, BINARY, vec![7; 65_000]).await;
    settle().await;
    peer.frame(true, 0, CONTINUATION, vec![7; 65_000]).await;
    peer.text("behind").await;
    settle().await;
    let (failed, ()) = tokio::join!(receiver.next(), async {
        peer.expect_close(1009, "").await;
        peer.finish().await;
    });
    let failed = failed.unwrap().unwrap_err();
    assert!(matches!(failed, Error::Limit(LimitExceeded::MessageSize { limit: 70_000 })), "{failed}");
    assert!(receiver.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_flush_within_a_message_ends_once_its_part_has_left() {
    let (mut peer, sender, _receiver) = halves(1 << 16, Config::default().keepalive_interval(None));
    let mut writing = sender.clone();
    let mut writer = writing.writer(Kind::Binary).await.unwrap();
    for (opcode, part) in [(2, b"one"), (0, b"two")] {
        writer.write_all(part).await.unwrap();
        let flushed = timeout(Duration::from_secs(100), writer.flush()).await;
        assert!(matches!(flushed, Ok(Ok(()))), "{flushed:?}");
        let frame = peer.expect_frame().await;
        assert_eq!((frame.fin, frame.opcode, &frame.payload[..]), (false, opcode, &part[..]));
    }
    writer.finish().await.unwrap();
    assert!(peer.expect_frame().await.fin);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_was_dropped_holds_back_no_part_behind_it() {
    for len in [1, 1000, 16_499, 100_000] {
        let (_peer, sender, _receiver) = halves(1_000_000, Config::default().keepalive_interval(None));
        let mut writing = sender.clone();
        let mut writer = writing.writer(Kind::Binary).await.unwrap();
        writer.write_all(&vec![7; len]).await.unwrap();
        assert!(poll!(Box::pin(writer.flush())).is_pending());
        assert!(poll!(Box::pin(writer.finish())).is_pending());
        let flushed = timeout(Duration::from_secs(100), sender.flush()).await;
        assert!(matches!(flushed, Ok(Ok(()))), "{len} bytes: {flushed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn finish_waits_for_the_last_part_although_a_flush_before_it_was_dropped() {
    let (_peer, sender, _receiver) = halves(30, Config::default().keepalive_interval(None));
    let mut writing = sender.clone();
    let mut writer = writing.writer(Kind::Binary).await.unwrap();
    writer.write_all(&[7; 10]).await.unwrap();
    assert!(poll!(Box::pin(writer.flush())).is_pending());
    settle().await;
    writer.write_all(&[8; 100]).await.unwrap();
    let finished = poll!(Box::pin(writer.finish()));
    assert!(finished.is_pending(), "{finished:?} with {} bytes waiting", sender.buffered_amount());
}

/// A payload of the user's whose drop asks the connection something.
struct Asks(Sender);

impl AsRef<[u8]> for Asks {
    fn as_ref(&self) -> &[u8] {
        &[7; 1000]
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.buffered_amount();
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_waits_for_room_may_use_its_sender_while_it_is_dropped() {
    for is_closed_by_peer in [false, true] {
        let (mut peer, sender, _receiver) = halves(1, Config::default().write_high_water_mark(1000));
        sender.send(binary(1000)).await.unwrap();
        let payload = bytes::Bytes::from_owner(Asks(sender.clone()));
        let mut waiting = Box::pin(sender.send(Message::binary(payload)));
        assert!(after_settling(&mut waiting).await.is_pending());
        if is_closed_by_peer {
            peer.close(1000, "").await;
        } else {
            let mut closing = Box::pin(sender.close_with(CloseFrame::new(1000, "")));
            assert!(poll!(&mut closing).is_pending());
        }
        let failed = waiting.await.unwrap_err();
        assert!(failed.is_closed(), "{failed}");
    }
}
