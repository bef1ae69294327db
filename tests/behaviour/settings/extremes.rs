//! Settings and peers at their extremes: what no sensible one would be, and what must hold all the same.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use testkit::{
    frame::{BINARY, encode},
    peer::Peer,
};
use wsflow::{Config, Deflate, Error, Message, Phase, UpgradedParts, WebSocketStream};

#[tokio::test]
async fn a_timeout_of_any_length_is_no_panic() {
    let config = Config::default()
        .close_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .tcp_end_timeout(Duration::MAX)
        .keepalive_interval(Duration::MAX)
        .keepalive_timeout(Duration::MAX)
        .message_timeout(Duration::MAX)
        .max_message_size(None);
    // The peer closes; we do; and we wait for room.
    let (mut peer, io) = Peer::pipe(1000);
    peer.close(1000, "").await;
    let mut ws = WebSocketStream::from_upgraded(io, config.clone());
    let (item, ()) = tokio::join!(ws.next(), async {
        peer.expect_close(1000, "").await;
        peer.finish().await;
    });
    assert!(item.is_none(), "{item:?}");

    let (mut peer, io) = Peer::pipe(100);
    let mut ws = WebSocketStream::from_upgraded(io, config);
    let sending = async {
        ws.send(vec![0; 10_000].into()).await.expect("sent");
        ws.close_with(wsflow::CloseFrame::empty()).await.expect("closed")
    };
    let (closed, ()) = tokio::join!(sending, async {
        peer.expect_binary(vec![0; 10_000]).await;
        peer.expect_close(None, "").await;
        peer.close(None, "").await;
        peer.finish().await;
    });
    assert!(closed.was_clean, "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_write_timeout_is_delivered_before_it() {
    let (_peer, io) = Peer::pipe(64);
    let read_buf = (1..=3).flat_map(|i| encode(true, 0, BINARY, &[i])).collect::<Bytes>();
    let config = Config::default().write_timeout(Duration::from_secs(1));
    let mut ws = WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).read_buf(read_buf).config(config))
        .expect("no extensions");
    assert_eq!(ws.next().await.expect("a message").expect("no error"), Message::from(vec![1]));
    let error = ws.send(vec![0; 1000].into()).await.expect_err("nobody reads");
    assert!(matches!(error, Error::Timeout { phase: Phase::Write, .. }), "{error:?}");
    for i in [2, 3] {
        assert_eq!(ws.next().await.expect("a message").expect("no error"), Message::from(vec![i]));
    }
    let error = ws.next().await.expect("an error").expect_err("an error");
    assert!(matches!(error, Error::Timeout { phase: Phase::Write, .. }), "{error:?}");
    assert!(ws.next().await.is_none());
}

/// B209.
#[tokio::test]
async fn behind_a_large_frame_no_more_is_read_than_the_read_buffer_holds() {
    const LARGE: usize = 3 << 20;
    let (mut peer, io) = Peer::pipe(8 << 20);
    peer.binary(vec![0; LARGE]).await;
    peer.raw(encode(true, 0, BINARY, b"x").repeat(1 << 20)).await;
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    assert_eq!(ws.next().await.expect("a message").expect("no error").len(), LARGE);
    let ahead = ws.stats().wire_bytes_received - LARGE as u64;
    assert!(ahead <= 128 * 1024 + 10, "{ahead} bytes were read ahead");
}

#[tokio::test]
async fn parts_that_were_upgraded_elsewhere_keep_what_the_client_said_of_its_compression() {
    let (mut peer, io) = Peer::pipe(10_000);
    let config = Config::default().deflate(Deflate::default().client_no_context_takeover(true));
    let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(config);
    let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate");
    for _ in 0..2 {
        ws.feed("the same words, the same words".into()).await.expect("room");
    }
    ws.flush().await.expect("flushed");
    let first = peer.expect_frame().await;
    assert_eq!(peer.expect_frame().await.payload, first.payload, "each message is compressed by itself");
}
