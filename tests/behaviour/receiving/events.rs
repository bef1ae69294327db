//! `next_event`: messages, and the control frames among them.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    task::yield_now,
};
use wsflow::{CloseFrame, Config, Error, Event, Message, Receiver, Sender, WebSocketStream};

use crate::support::watch::{PIECES, open};

/// Whoever shows events.
enum Reading<S> {
    InPlace(WebSocketStream<S>),
    Halves(Sender, Receiver),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Reading<S> {
    fn both(ws: impl Fn() -> (Peer<DuplexStream>, WebSocketStream<S>)) -> [(Peer<DuplexStream>, Self); 2] {
        let ((first, in_place), (second, split)) = (ws(), ws());
        let (sender, receiver) = split.into_split();
        [(first, Self::InPlace(in_place)), (second, Self::Halves(sender, receiver))]
    }

    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        match self {
            Self::InPlace(ws) => ws.next_event().await,
            Self::Halves(_, receiver) => receiver.next_event().await,
        }
    }

    fn start_close(&mut self, frame: CloseFrame) {
        match self {
            Self::InPlace(ws) => ws.start_close(frame),
            Self::Halves(sender, _) => sender.start_close(frame),
        }
        .expect("a valid code");
    }
}

fn halves(config: Config) -> (Peer<DuplexStream>, Sender, Receiver) {
    let (peer, io) = Peer::pipe(1 << 20);
    let (sender, receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    (peer, sender, receiver)
}

/// Lets the other tasks do all that they can.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Each event in a word, until the end.
async fn words<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(reading: &mut Reading<S>) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(event) = reading.next_event().await {
        words.push(word(event));
    }
    words
}

fn word(event: Result<Event, Error>) -> String {
    let text = |payload: Bytes| String::from_utf8_lossy(&payload).into_owned();
    match event {
        Ok(Event::Message(message)) => format!("message {}", message.as_text().unwrap_or("of bytes")),
        Ok(Event::Ping(payload)) => format!("ping {}", text(payload)),
        Ok(Event::Pong(payload)) => format!("pong {}", text(payload)),
        Ok(Event::Close(frame)) => {
            format!("close {} {}", frame.code().map_or(1005, u16::from), frame.reason())
        }
        Ok(other) => format!("{other:?}"),
        Err(Error::Closed(closed)) => format!("error {} {}", closed.code, closed.reason),
        Err(Error::ProtocolViolation(_)) => "violation".into(),
        Err(error) => format!("{error}"),
    }
}

/// B300.
#[tokio::test]
async fn control_frames_are_shown_at_their_places_and_dealt_with() {
    for at_once in PIECES {
        for (mut peer, mut reading) in Reading::both(|| open(Config::default(), at_once)) {
            // On halves they are kept from the first poll on.
            assert!(reading.next_event().now_or_never().is_none());
            peer.raw(
                [
                    encode(true, 0, PING, b"a"),
                    encode(false, 0, TEXT, b"in "),
                    encode(true, 0, PING, b"b"),
                    encode(true, 0, CONTINUATION, b"two"),
                    encode(true, 0, PONG, b"nobody asked"),
                    encode(true, 0, TEXT, b"whole"),
                    encode(true, 0, PONG, b""),
                    encode(true, 0, CLOSE, &close_body(Some(1001), "bye")),
                ]
                .concat(),
            )
            .await;
            let serving = async {
                peer.expect_pong("a").await;
                peer.expect_pong("b").await;
                peer.expect_close(1001, "bye").await;
                peer.finish().await;
            };
            let (words, ()) = tokio::join!(words(&mut reading), serving);
            let expected =
                ["ping a", "ping b", "message in two", "pong nobody asked", "message whole", "pong ", "close 1001 bye"];
            assert_eq!(words, expected, "{at_once} at once");
        }
    }
}

/// B300. A message that is large comes to a receiver in chunks, and a ping within it before it.
#[tokio::test]
async fn a_ping_within_a_large_message_comes_before_it() {
    for (mut peer, mut reading) in Reading::both(|| open(Config::default(), 1 << 20)) {
        assert!(reading.next_event().now_or_never().is_none());
        let piece = vec![b'x'; 100_000];
        peer.raw([encode(false, 0, TEXT, &piece), encode(true, 0, PING, b"p")].concat()).await;
        assert_eq!(word(reading.next_event().await.expect("open")), "ping p");
        peer.raw([encode(true, 0, CONTINUATION, &piece), encode(true, 0, PING, b"q")].concat()).await;
        let Some(Ok(Event::Message(message))) = reading.next_event().await else { panic!("no message") };
        assert_eq!(message.len(), 200_000);
        assert_eq!(word(reading.next_event().await.expect("open")), "ping q");
    }
}

/// B300. The end, after the peer's Close or without it.
#[tokio::test]
async fn a_close_is_shown_if_it_is_valid_and_then_comes_the_end() {
    for (name, we_begin, sent, expected) in [
        ("it answers ours", true, encode(true, 0, CLOSE, &close_body(Some(1000), "")), vec!["close 1000 "]),
        ("without a code", false, encode(true, 0, CLOSE, b""), vec!["close 1005 "]),
        ("an invalid code", false, encode(true, 0, CLOSE, &close_body(Some(1006), "")), vec!["violation"]),
        (
            "within a message",
            false,
            [encode(false, 0, TEXT, b"half"), encode(true, 0, CLOSE, &close_body(Some(1001), "gone"))].concat(),
            vec!["close 1001 gone", "error 1001 gone"],
        ),
        ("none", false, vec![], vec!["error 1006 "]),
    ] {
        for (mut peer, mut reading) in Reading::both(|| open(Config::default(), 1 << 20)) {
            assert!(reading.next_event().now_or_never().is_none());
            if we_begin {
                reading.start_close(CloseFrame::new(1000, ""));
            }
            let serving = async {
                peer.raw(&sent).await;
                if !sent.is_empty() {
                    assert_eq!(peer.expect_frame().await.opcode, CLOSE);
                }
                peer.finish().await;
            };
            let (words, ()) = tokio::join!(words(&mut reading), serving);
            assert_eq!(words, expected, "{name}");
        }
    }
}

/// B300. Who is shown the peer's Close may not poll again.
#[tokio::test]
async fn the_answer_to_a_close_leaves_before_the_close_is_shown() {
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    peer.raw([encode(true, 0, PING, b"p"), encode(true, 0, CLOSE, &close_body(Some(1001), ""))].concat()).await;
    assert_eq!(word(ws.next_event().await.expect("open")), "ping p");
    assert_eq!(word(ws.next_event().await.expect("open")), "close 1001 ");
    let left = async {
        peer.expect_pong("p").await;
        peer.expect_close(1001, "").await;
    };
    assert!(left.now_or_never().is_some());
}

/// B300.
#[tokio::test]
async fn answers_to_our_own_pings_are_shown() {
    for (mut peer, mut reading) in Reading::both(|| open(Config::default(), 1 << 20)) {
        assert!(reading.next_event().now_or_never().is_none());
        let pong = match &mut reading {
            Reading::InPlace(ws) => ws.send_ping("mine"),
            Reading::Halves(sender, _) => sender.send_ping("mine"),
        }
        .expect("a ping");
        let serving = async {
            assert_eq!(peer.expect_ping().await, b"mine");
            peer.pong("mine").await;
        };
        let (event, ()) = tokio::join!(reading.next_event(), serving);
        assert_eq!(word(event.expect("open")), "pong mine");
        assert!(pong.now_or_never().expect("it has come").is_ok());
    }
}

/// B301. What is read while another method reads is not shown.
#[tokio::test]
async fn other_methods_drop_the_control_frames_before_their_message() {
    for (mut peer, mut reading) in Reading::both(|| open(Config::default(), 1 << 20)) {
        assert!(reading.next_event().now_or_never().is_none());
        let message = |text: &str| [encode(true, 0, PING, text.as_bytes()), encode(true, 0, TEXT, text.as_bytes())];
        peer.raw(["1", "2", "3", "4"].iter().flat_map(|text| message(text)).collect::<Vec<_>>().concat()).await;
        settle().await;
        match &mut reading {
            Reading::InPlace(ws) => {
                assert_eq!(ws.next().await.expect("open").expect("a message"), Message::from("1"));
                assert_eq!(ws.next().await.expect("open").expect("a message"), Message::from("2"));
                assert!(ws.next_reader().await.expect("open").is_ok());
            }
            Reading::Halves(_, receiver) => {
                let mut messages = Vec::new();
                assert_eq!(receiver.next().await.expect("open").expect("a message"), Message::from("1"));
                assert_eq!(receiver.recv_many(&mut messages, 1).await.expect("open"), 1);
                assert_eq!(messages, [Message::from("2")]);
                assert!(receiver.next_reader().await.expect("open").is_ok());
            }
        }
        assert_eq!(word(reading.next_event().await.expect("open")), "ping 4");
        assert_eq!(word(reading.next_event().await.expect("open")), "message 4");
    }
}

/// B301.
#[tokio::test]
async fn halves_keep_control_frames_from_the_first_poll_on() {
    let (mut peer, _sender, mut receiver) = halves(Config::default());
    peer.raw([encode(true, 0, PING, b"early"), encode(true, 0, TEXT, b"1")].concat()).await;
    settle().await;
    assert_eq!(word(receiver.next_event().await.expect("open")), "message 1");
    peer.ping("late").await;
    settle().await;
    assert_eq!(word(receiver.next_event().now_or_never().expect("it has come").expect("open")), "ping late");
}

/// B301. The oldest frees what it cost: the connection reads and answers on.
#[tokio::test(start_paused = true)]
async fn of_a_kind_the_latest_sixteen_are_kept_for_a_receiver() {
    let (mut peer, _sender, mut receiver) = halves(Config::default().read_high_water_mark(4096));
    assert!(receiver.next_event().now_or_never().is_none());
    peer.text("first").await;
    settle().await;
    for i in 0..500_u16 {
        peer.ping(format!("{i}")).await;
        peer.pong(format!("{i}")).await;
        peer.expect_pong(format!("{i}")).await;
        if i == 400 {
            // What the receiver has taken already makes room as well.
            assert_eq!(word(receiver.next_event().await.expect("open")), "message first");
        }
    }
    peer.text("last").await;
    settle().await;
    let mut words = Vec::new();
    while let Some(event) = receiver.next_event().now_or_never() {
        words.push(word(event.expect("open")));
    }
    let frames = (484..500).flat_map(|i| [format!("ping {i}"), format!("pong {i}")]);
    assert_eq!(words, frames.chain(["message last".to_owned()]).collect::<Vec<_>>());
}

/// B301. They cost as messages do: nothing is read beyond the mark, and taking them makes room.
#[tokio::test]
async fn control_frames_that_wait_cost_room() {
    let (mut peer, _sender, mut receiver) = halves(Config::default().read_high_water_mark(64).read_buffer_max(4096));
    assert!(receiver.next_event().now_or_never().is_none());
    // Each costs 33 bytes.
    for i in 0..2 {
        peer.ping(format!("{i}")).await;
        peer.expect_pong(format!("{i}")).await;
    }
    peer.ping("2").await;
    settle().await;
    assert!(peer.expect_frame().now_or_never().is_none(), "it was read beyond the mark");
    for i in 0..3 {
        assert_eq!(word(receiver.next_event().await.expect("open")), format!("ping {i}"));
    }
    peer.expect_pong("2").await;
}

/// B301. Where control frames alone take all room, who waits for a message does not wait for ever.
#[tokio::test(start_paused = true)]
async fn control_frames_that_nobody_takes_keep_no_message_back() {
    let (mut peer, _sender, mut receiver) = halves(Config::default().read_high_water_mark(1));
    assert!(receiver.next_event().now_or_never().is_none());
    peer.ping("p").await;
    peer.expect_pong("p").await;
    let (message, ()) = tokio::join!(receiver.next(), async {
        settle().await;
        peer.binary("next").await;
    });
    assert_eq!(message.expect("open").expect("a message"), Message::binary("next"));
    let sent = encode(true, 0, BINARY, b"more");
    peer.raw([encode(true, 0, PING, b"q"), sent].concat()).await;
    assert_eq!(word(receiver.next_event().await.expect("open")), "ping q");
    assert_eq!(word(receiver.next_event().await.expect("open")), "message of bytes");
}
