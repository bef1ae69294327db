//! Peers that say nothing, in memory and with paused time: what proves that they are there, and which deadlines there are.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use testkit::{peer::Peer, server::Script};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, interval, timeout},
};
use wsflow::{Config, Error, Message, Phase, WebSocketStream, compat::WebSocket};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);

/// A sender of a little now and then would fill the system's queue for minutes after the peer is gone.
#[tokio::test(start_paused = true)]
async fn a_transport_that_was_never_full_is_no_sign_of_life() {
    let (peer, io) = Peer::pipe(1 << 20);
    let (sender, mut receiver) = WebSocketStream::from_upgraded(io, Config::default()).into_split();
    let begun = Instant::now();
    let sending = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(5));
        while sender.send(Message::binary(vec![0; 1024])).await.is_ok() {
            ticks.tick().await;
        }
    });
    let end = receiver.next().await;
    assert!(matches!(end, Some(Err(Error::Timeout { phase: Phase::Keepalive, .. }))), "{end:?}");
    assert_eq!(begun.elapsed(), INTERVAL + TIMEOUT);
    sending.await.unwrap();
    drop(peer);
}

/// It reads 1 KiB each 20 s, and has not come to the ping, which left between two frames.
#[tokio::test(start_paused = true)]
async fn a_full_transport_that_takes_something_again_is_a_sign_of_life() {
    let (mut peer, io) = Peer::pipe(4 << 10);
    let config = Config::default().fragment_size(1 << 10);
    let (sender, mut receiver) = WebSocketStream::from_upgraded(io, config).into_split();
    sender.send(Message::binary(vec![0; 1 << 20])).await.unwrap();
    let receiving = tokio::spawn(async move { receiver.next().await });
    let mut ticks = interval(Duration::from_secs(20));
    ticks.tick().await;
    for _ in 0..100 {
        ticks.tick().await;
        peer.io_mut().read_exact(&mut [0; 1024]).await.unwrap();
    }
    assert!(!receiving.is_finished(), "{:?}", receiving.await);
    // It reads nothing more.
    let last = Instant::now();
    let end = receiving.await.unwrap();
    assert!(matches!(end, Some(Err(Error::Timeout { phase: Phase::Keepalive, .. }))), "{end:?}");
    assert_eq!(last.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn over_a_transport_of_the_callers_there_is_a_write_timeout_only_if_it_is_set() {
    let limit = Duration::from_secs(60);
    assert_eq!(Config::default().write_timeout, Some(limit));
    for (config, has_one) in [(Config::default(), false), (Config::default().write_timeout(limit), true)] {
        let (_peer, io) = Peer::pipe(1024);
        let mut ws = WebSocketStream::from_upgraded(io, config);
        let sent = timeout(Duration::from_secs(3600), ws.send(Message::binary(vec![0; 1 << 20]))).await;
        let is_over = matches!(sent, Ok(Err(Error::Timeout { phase: Phase::Write, after, .. })) if after == limit);
        assert_eq!((is_over, sent.is_err()), (has_one, !has_one), "{sent:?}");
    }
    let (mut peer, io) = Peer::pipe(1024);
    let (ws, _) = tokio::join!(WebSocketStream::builder("ws://host/").connect_over(io), peer.accept());
    assert_eq!(ws.unwrap().into_parts().config.write_timeout, None);
}

#[tokio::test]
async fn a_socket_that_connect_opens_has_a_write_timeout_and_the_event_api_has_none() {
    let server = Script::bind().await;
    let (ws, _) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    assert_eq!(ws.unwrap().into_parts().config.write_timeout, Some(Duration::from_secs(60)));
    let shown = |config: Option<Config>| {
        let mut shown = String::new();
        let builder = WebSocket::builder("ws://host/").unwrap();
        let builder = if let Some(config) = config { builder.config(config) } else { builder };
        let _ = builder.client(|client| {
            shown = format!("{client:?}");
            client
        });
        shown
    };
    assert!(shown(None).contains("write_timeout: None"), "{}", shown(None));
    assert!(shown(Some(Config::default())).contains("write_timeout: Some(60s)"));
}
