//! Rounds over halves with a sender that always has something to compress, while the server pings.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use testkit::frame::{self, PING, PONG, encode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::interval,
};
use wsflow::{Config, Deflate, UpgradedParts, WebSocketStream};

use crate::{
    ledger::Id,
    round::{Board, Random},
    server::tcp,
};

/// How late a pong may be.
const PONG_WITHIN: Duration = Duration::from_millis(1500);

pub(crate) async fn round(mut random: Random, board: Board) {
    let len = random.one_of(&[16 << 10, 64 << 10, 256 << 10]);
    board.set("plan", len);
    let (client, server) = tcp(None).await;
    let config = Config::default().deflate(Deflate::default()).keepalive_interval(None);
    let parts = UpgradedParts::new(client).extensions("permessage-deflate").config(config);
    let (sender, receiver) = WebSocketStream::from_upgraded_parts(parts).unwrap().into_split();
    let sending = tokio::spawn(async move {
        let message = Id { task: 0, seq: 0, len }.message();
        while sender.send(message.clone()).await.is_ok() {}
    });

    let (mut reader, mut writer) = server.into_split();
    let (mut buffer, mut pings, mut pong, mut latest) = (BytesMut::new(), VecDeque::new(), 0_u32, Duration::ZERO);
    let mut ticks = interval(Duration::from_millis(100));
    let end = Instant::now() + PONG_WITHIN + Duration::from_millis(300);
    while Instant::now() < end {
        tokio::select! {
            tick = ticks.tick() => {
                let ping: u32 = pong + pings.len() as u32;
                pings.push_back(tick.into_std());
                writer.write_all(&encode(true, 0, PING, &ping.to_be_bytes())).await.unwrap();
            }
            read = reader.read_buf(&mut buffer) => assert_ne!(read.unwrap(), 0, "the client has gone"),
        }
        while let Some(frame) = frame::take(&mut buffer) {
            if frame.opcode == PONG {
                assert_eq!(frame.payload, pong.to_be_bytes(), "the pongs");
                latest = latest.max(pings.pop_front().unwrap().elapsed());
                pong += 1;
            }
        }
        let waiting = pings.front().map_or(Duration::ZERO, Instant::elapsed);
        assert!(latest.max(waiting) < PONG_WITHIN, "pong {pong} is {:?} late", latest.max(waiting));
    }
    board.set("end", latest);
    drop(receiver);
    sending.abort();
}
