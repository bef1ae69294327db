//! sockudo-ws: made for low latency.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use sockudo_ws::{Config, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, ended, unexpected},
    tally::Tally,
};

pub struct SockudoWs<S>(WebSocketStream<S>);

impl<S: Io> Peer for SockudoWs<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "sockudo-ws",
        how: "features `simd` and `fastrand`, its defaults, with which writes are batched up to 64 KiB; `next`, `feed`, \
              `flush`.",
        fragment: None,
        no_owned: None,
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self(WebSocketStream::client(io, Config::default())))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            match self.0.next().await.ok_or_else(ended)?? {
                Message::Text(text) => tally.count(Kind::Text, &text),
                Message::Binary(data) => tally.count(Kind::Binary, &data),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.0.feed(Message::Binary(payload.clone())).await?;
        }
        Ok(())
    }

    async fn feed_owned(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
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
