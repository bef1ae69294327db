//! tokio-websockets: payloads in a queue, written vectored.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio_websockets::{ClientBuilder, Config, Message, WebSocketStream};

use super::{About, Io, Peer, Result, ended, unexpected};
use crate::payload::Kind;

pub struct TokioWebsockets<S>(WebSocketStream<S>);

impl<S: Io> Peer for TokioWebsockets<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "tokio-websockets",
        how: "feature `fastrand`, SIMD by the processor's features; a flush threshold of 64 KiB instead of 8; `next`, \
              `feed`, `flush`. Its read buffer cannot be set.",
        fragment: Some(4 << 20),
        no_owned: None,
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self(ClientBuilder::new().config(Config::default().flush_threshold(64 << 10)).take_over(io)))
    }

    async fn receive(&mut self, show: &mut impl FnMut(Kind, &[u8])) -> Result<()> {
        let message = self.0.next().await.ok_or_else(ended)??;
        let kind = match &message {
            text if text.is_text() => Kind::Text,
            data if data.is_binary() => Kind::Binary,
            other => return Err(unexpected(other).into()),
        };
        show(kind, message.as_payload());
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes) -> Result<()> {
        Ok(self.0.feed(Message::binary(payload.clone())).await?)
    }

    async fn feed_owned(&mut self, payload: Vec<u8>) -> Result<()> {
        Ok(self.0.feed(Message::binary(payload)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
