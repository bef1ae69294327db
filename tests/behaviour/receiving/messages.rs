//! Messages of every length and kind, both ways, whole and in fragments, and what is counted of them.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use wsflow::{CloseFrame, Config, Message, UpgradedParts, WebSocketStream};

use crate::limits;
use crate::support::watch::{PIECES, open, trace};

const KIB: usize = 1024;

fn binary(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// The bytes of a frame of ours on the wire.
fn wire_len(frame: &Frame) -> u64 {
    let len = frame.payload.len();
    let length = if len < 126 {
        0
    } else if len < 65_536 {
        2
    } else {
        8
    };
    (2 + length + 4 + len) as u64
}

/// B68, B72, B75, B166, B211.
#[tokio::test]
async fn every_length_of_a_length_goes_out_and_comes_back() {
    let lens = [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1_000_000];
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let lens = &lens[..if at_once == 1 { 10 } else { lens.len() }];
        let echoing = async {
            for &len in lens {
                for message in [Message::binary(binary(len)), Message::text("x".repeat(len))] {
                    ws.send(message.clone()).await.expect("open");
                    assert_eq!(ws.next().await.expect("open").expect("open"), message);
                }
            }
            ws.close().await.expect("clean");
            ws
        };
        let (mut ws, ()) = tokio::join!(echoing, async {
            loop {
                let first = peer.expect_frame().await;
                if first.opcode == CLOSE {
                    peer.close(None, "").await;
                    peer.finish().await;
                    break;
                }
                peer.frame(first.fin, 0, first.opcode, &first.payload).await;
                let mut fin = first.fin;
                while !fin {
                    let next = peer.expect_frame().await;
                    assert_eq!(next.opcode, CONTINUATION);
                    peer.frame(next.fin, 0, CONTINUATION, &next.payload).await;
                    fin = next.fin;
                }
            }
        });
        assert_eq!(ws.stats().messages_received, 2 * lens.len() as u64);
        trace(&mut ws).await;
    }
}

/// B68, B70, B165.
#[tokio::test]
async fn text_and_bytes_are_what_was_sent() {
    let texts = ["¥¥¥¥¥¥", "匶", "𐑾", "\u{feff}bom", "a\0b", "e\u{301}", "ロボット"];
    let data = Bytes::from_static(b"0123456789");
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        for text in texts {
            ws.send(text.into()).await.expect("open");
            peer.expect_text(text).await;
            peer.text(text).await;
            assert_eq!(ws.next().await.expect("open").expect("open"), text.into());
        }
        // Of a slice only what it shows.
        ws.send(data.slice(2..5).into()).await.expect("open");
        peer.expect_binary(b"234").await;
        assert_eq!(data, &b"0123456789"[..]);
    }
}

/// B76, B162.
#[tokio::test]
async fn the_order_is_kept_both_ways_whatever_the_kind_and_the_size() {
    let messages: Vec<Message> = (0..300)
        .map(|i| match i % 5 {
            0 => Message::binary(binary(i)),
            1 => Message::text(format!("{i}")),
            2 => Message::binary(binary(20_000 + i)),
            3 => Message::text(""),
            _ => Message::binary(Bytes::from(binary(40_000)).slice(i..)),
        })
        .collect();
    let (mut peer, mut ws) = open(Config::default(), 1 << 20);
    let sending = async {
        for message in &messages {
            ws.feed(message.clone()).await.expect("open");
        }
        ws.flush().await.expect("open");
        for message in &messages {
            assert_eq!(&ws.next().await.expect("open").expect("open"), message);
        }
    };
    tokio::join!(sending, async {
        for message in &messages {
            let (opcode, payload) = peer.expect_message().await;
            assert_eq!((opcode == TEXT, payload.as_slice()), (message.is_text(), message.as_bytes()));
        }
        for message in &messages {
            peer.frame(true, 0, if message.is_text() { TEXT } else { BINARY }, message.as_bytes()).await;
        }
    });
}

/// A pipe that holds exactly one message, or one byte more or less, is where a missed wake-up hangs.
/// B78.
#[tokio::test(start_paused = true)]
async fn many_messages_to_a_slow_reader_all_arrive() {
    for size in [4, 16, 64, 128, 256].map(|kib| kib * KIB) {
        for size in [size - 1, size, size + 1] {
            let count = if size == 65_536 { 50 } else { 6 };
            // The pipe holds exactly a payload, or a whole frame.
            for capacity in [size, size + if size < 65_536 { 8 } else { 14 }] {
                let (mut peer, io) = Peer::pipe(capacity);
                let mut ws = WebSocketStream::from_upgraded(io, Config::default());
                let payload = Bytes::from(binary(size));
                let sending = async {
                    for i in 0..count {
                        // Shared and owned payloads take different ways.
                        let data = if i % 2 == 0 { payload.clone() } else { Bytes::from(payload.to_vec()) };
                        ws.send(Message::Binary(data)).await.expect("open");
                    }
                    ws.close_with(CloseFrame::empty()).await.expect("an end")
                };
                let (closed, ()) = tokio::join!(sending, async {
                    for _ in 0..count {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        peer.expect_binary(&payload).await;
                    }
                    peer.expect_close(None, "").await;
                    peer.close(None, "").await;
                    peer.finish().await;
                });
                assert!(closed.was_clean, "{size} over {capacity}: {closed:?}");
                assert_eq!(ws.buffered_amount(), 0);
            }
        }
    }
}

/// B78, B210.
#[tokio::test(start_paused = true)]
async fn many_messages_to_a_slow_reader_of_ours_all_arrive() {
    for size in [4, 16, 64, 128, 256].map(|kib| kib * KIB) {
        for size in [size - 10, size - 4, size - 1, size, size + 1] {
            let (mut peer, io) = Peer::pipe(size);
            let mut ws = WebSocketStream::from_upgraded(io, Config::default());
            let payload = binary(size);
            tokio::join!(
                async {
                    for _ in 0..6 {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        let message = ws.next().await.expect("open").expect("open");
                        assert!(message.as_bytes() == payload, "{size}");
                    }
                    assert!(trace(&mut ws).await.closed.was_clean);
                },
                async {
                    for _ in 0..6 {
                        peer.binary(&payload).await;
                    }
                    peer.close(None, "").await;
                    peer.expect_close(None, "").await;
                    peer.finish().await;
                }
            );
        }
    }
}

/// B156, B163.
#[tokio::test]
async fn fragments_are_one_message_and_control_frames_stand_between_them() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let script = [
            encode(false, 0, TEXT, "匶".as_bytes().split_at(1).0),
            encode(true, 0, PING, b"between"),
            encode(false, 0, CONTINUATION, "匶".as_bytes().split_at(1).1),
            encode(true, 0, PONG, b"unsolicited"),
            encode(false, 0, CONTINUATION, b""),
            encode(true, 0, CONTINUATION, b"!"),
            // The same without any payload, and from an empty start.
            encode(false, 0, BINARY, b""),
            encode(true, 0, CONTINUATION, b""),
            encode(false, 0, BINARY, b""),
            encode(true, 0, PING, b"again"),
            encode(true, 0, CONTINUATION, &binary(100_000)[..if at_once == 1 { 1000 } else { 100_000 }]),
        ];
        let (trace, ()) = tokio::join!(trace(&mut ws), async {
            peer.raw(script[..2].concat()).await;
            // It is answered before the message is whole.
            peer.expect_pong("between").await;
            peer.raw(script[2..].concat()).await;
            peer.expect_pong("again").await;
            peer.close(1000, "").await;
            peer.expect_close(1000, "").await;
            peer.finish().await;
        });
        assert_eq!(trace.messages[..2], [Message::text("匶!"), Message::binary(vec![])]);
        assert_eq!(trace.messages.len(), 3);
        assert!(binary(100_000).starts_with(trace.messages[2].as_bytes()));
    }
}

/// B156, B242.
#[tokio::test]
async fn a_close_between_fragments_is_answered_and_an_unclean_end_with_its_code() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let close = encode(true, 0, CLOSE, &close_body(Some(1000), ""));
        peer.raw([encode(true, 0, TEXT, b"whole"), encode(false, 0, TEXT, b"half"), close].concat()).await;
        peer.finish().await;
        let trace = trace(&mut ws).await;
        assert_eq!((&trace.messages[..], trace.end()), (&["whole".into()][..], (1000, "", false)));
        peer.expect_close(1000, "").await;
    }
}

/// B228.
#[tokio::test]
async fn a_large_message_goes_out_in_fragments_with_a_pong_between_them() {
    for shared in [false, true] {
        let (mut peer, io) = Peer::pipe(1000);
        let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(20_000));
        let data = Bytes::from(binary(1_000_000));
        let kept = shared.then(|| data.clone());
        ws.feed(Message::Binary(data)).await.expect("room");
        let serving = async {
            peer.ping("while it is being sent").await;
            let (mut payload, mut before_pong) = (Vec::new(), None);
            loop {
                let frame = peer.expect_frame().await;
                if frame.opcode == PONG {
                    assert_eq!(frame.payload, b"while it is being sent");
                    before_pong = Some(payload.len());
                    continue;
                }
                assert_eq!(frame.opcode, if payload.is_empty() { BINARY } else { CONTINUATION });
                assert_eq!(frame.payload.len(), 20_000);
                payload.extend_from_slice(&frame.payload);
                if frame.fin {
                    break;
                }
            }
            assert!(payload == binary(1_000_000), "other bytes");
            // It waits behind what is encoded already: 128 KiB or one frame.
            assert!(before_pong.is_some_and(|len| len <= 140_000), "{before_pong:?}");
            peer.close(1000, "").await;
            peer.finish().await;
        };
        let (trace, ()) = tokio::join!(trace(&mut ws), serving);
        assert!(trace.closed.was_clean, "{:?} {}", trace.closed, kept.is_some());
    }
}

#[tokio::test]
async fn leftover_bytes_and_what_was_agreed_are_taken_over() {
    let script = [
        encode(true, 0, TEXT, b"one"),
        encode(false, 0, TEXT, b"t"),
        encode(true, 0, 0, b"wo"),
        encode(true, 0, TEXT, b"three"),
    ];
    let script = script.concat();
    for cut in 0..=script.len() {
        let (mut peer, io) = Peer::pipe(4096);
        let (read_buf, rest) = script.split_at(cut);
        let parts = UpgradedParts::new(io)
            .read_buf(Bytes::copy_from_slice(read_buf))
            .protocol("chat")
            .extensions("permessage-deflate");
        let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate");
        assert_eq!(
            (ws.protocol(), ws.extensions(), ws.url(), ws.response().is_some()),
            ("chat", "permessage-deflate", None, false)
        );
        peer.raw(rest).await;
        for text in ["one", "two", "three"] {
            assert_eq!(ws.next().now_or_never().expect("here").expect("open").expect("open"), text.into(), "{cut}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_taken_apart_and_put_together_again_within_any_frame() {
    let second = [encode(true, 0, PING, b"ping"), encode(true, 0, TEXT, "zwei 匶".as_bytes())].concat();
    for cut in 0..=second.len() {
        let (mut peer, io) = Peer::pipe(4096);
        let parts = UpgradedParts::new(io).protocol("chat");
        let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("no extensions");
        peer.raw([&encode(true, 0, TEXT, b"eins")[..], &second[..cut]].concat()).await;
        assert_eq!(ws.next().await.expect("open").expect("open"), "eins".into());
        // All that came of the second is read, and waits.
        let early = ws.next().now_or_never();
        assert_eq!(early.is_some(), cut == second.len());
        ws.flush().await.expect("open");
        let parts = ws.into_parts();
        let whole_ping = 2 + 4;
        let expected = if cut < whole_ping { &second[..cut] } else { &second[whole_ping..cut] };
        assert_eq!(parts.read_buf, if early.is_some() { &b""[..] } else { expected }, "{cut}");
        assert_eq!((parts.protocol.as_str(), parts.extensions.as_str()), ("chat", ""));
        let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("no extensions");
        peer.raw(&second[cut..]).await;
        if early.is_none() {
            assert_eq!(ws.next().await.expect("open").expect("open"), "zwei 匶".into(), "{cut}");
        }
        ws.send("after".into()).await.expect("open");
        peer.expect_pong("ping").await;
        peer.expect_text("after").await;
    }
}

#[tokio::test]
async fn taking_a_connection_apart_gives_the_transport_itself() {
    let (mut peer, io) = Peer::pipe(4096);
    let ws = WebSocketStream::from_upgraded(io, Config::default());
    let mut parts = ws.into_parts();
    parts.io.write_all(b"x").await.expect("open");
    assert_eq!(peer.byte().await, b'x');
}

#[tokio::test]
async fn the_counters_are_what_the_peer_counts() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default().fragment_size(100), at_once);
        let script = [
            encode(true, 0, TEXT, b"text"),
            encode(true, 0, PING, b"ping"),
            encode(false, 0, BINARY, &[1; 500]),
            encode(true, 0, CONTINUATION, &[2; 300]),
            encode(true, 0, PONG, b""),
            encode(true, 0, TEXT, b""),
        ]
        .concat();
        let end = encode(true, 0, CLOSE, &close_body(Some(1000), ""));
        let using = async {
            for text in ["", "four", "a longer one"] {
                ws.feed(text.into()).await.expect("open");
            }
            ws.feed(Message::binary(binary(1050))).await.expect("open");
            drop(ws.send_ping("p").expect("a ping"));
            let trace = trace(&mut ws).await;
            (trace, ws.stats())
        };
        let ((trace, stats), frames) = tokio::join!(using, async {
            peer.raw(&script).await;
            let mut frames = Vec::new();
            // Ping, pong, three small messages, and eleven fragments.
            while frames.len() < 1 + 1 + 3 + 11 {
                frames.push(peer.expect_frame().await);
            }
            peer.raw(&end).await;
            frames.push(peer.expect_frame().await);
            peer.finish().await;
            frames
        });
        assert!(trace.closed.was_clean, "{trace:?}");
        assert_eq!((stats.messages_received, stats.payload_bytes_received), (3, 804));
        assert_eq!(stats.wire_bytes_received, (script.len() + end.len()) as u64);
        assert_eq!((stats.messages_sent, stats.payload_bytes_sent), (4, 4 + 12 + 1050));
        assert_eq!(stats.wire_bytes_sent, frames.iter().map(wire_len).sum::<u64>());
        assert_eq!((stats.pings_received, stats.pings_sent, stats.last_rtt), (1, 1, None));
        assert_eq!(stats.discarded_messages, 0);
    }
}

/// A transport that takes everything and notes how much at a time.
struct Writes(Arc<Mutex<Vec<usize>>>);

impl AsyncRead for Writes {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A TLS record holds 16 KiB: what is left over after whole ones waits for the next write, unless the mark is reached.
#[tokio::test]
async fn what_feed_writes_fills_tls_records() {
    const RECORD: usize = limits::TLS_RECORD;
    for size in [0, 1, 64, 1000, 16_384, 100_000] {
        let writes = Arc::<Mutex<Vec<usize>>>::default();
        let mut ws = WebSocketStream::from_upgraded(Writes(Arc::clone(&writes)), Config::default());
        // Shared with the sender, so that it is copied.
        let message = Message::binary(Bytes::from(vec![7; size]));
        for _ in 0..4_000_000 / (size + 100) {
            ws.feed(message.clone()).await.unwrap();
        }
        let fed = writes.lock().unwrap().clone();
        assert!(fed.len() > 1, "{size} B: {fed:?}");
        assert!(fed.iter().all(|n| n % RECORD == 0), "{size} B: {fed:?}");
        ws.flush().await.unwrap();
        let all: usize = writes.lock().unwrap().iter().sum();
        assert_eq!(all as u64, ws.stats().wire_bytes_sent, "{size} B");
    }
}
