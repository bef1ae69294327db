//! tokio-websockets: payloads in a queue, written vectored.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::BufReader;
use tokio_websockets::{ClientBuilder, Config, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, ended, unexpected},
    stream_sink::OWNED,
    tally::Tally,
};

/// Its loops are its own: with the shared ones the compiler lays it out so that a small message received costs half as
/// much again.
pub struct TokioWebsockets<S>(WebSocketStream<BufReader<S>>);

impl<S: Io> Peer for TokioWebsockets<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "tokio-websockets",
        how: "feature `fastrand`, SIMD by the processor's features; a flush threshold of 64 KiB instead of 8; its own read \
              buffer of 8 KiB cannot be set, so that it stands over a `BufReader` of 128 KiB, which makes it faster; \
              `next`, `feed`, `flush`.",
        fragment: Some(4 << 20),
        lacks: OWNED,
    };

    fn over(io: S) -> Result<Self> {
        let config = Config::default().flush_threshold(64 << 10);
        let io = BufReader::with_capacity(128 << 10, io);
        Ok(Self(ClientBuilder::new().config(config).take_over(io)))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            let message = self.0.next().await.ok_or_else(ended)??;
            let kind = match &message {
                text if text.is_text() => Kind::Text,
                data if data.is_binary() => Kind::Binary,
                other => return Err(unexpected(other).into()),
            };
            tally.count(kind, message.as_payload());
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.0.feed(Message::binary(payload.clone())).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            let payload = payload.to_vec();
            self.0.feed(Message::binary(payload)).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
