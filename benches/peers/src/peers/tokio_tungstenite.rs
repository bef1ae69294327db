//! tokio-tungstenite: the client that most use.

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, ended, unexpected},
    tally::Tally,
};

pub struct TokioTungstenite<S>(WebSocketStream<S>);

impl<S: Io> Peer for TokioTungstenite<S> {
    type Io = S;

    /// Its docs name 128 KiB for high load, which is its default in both directions.
    const ABOUT: About = About {
        name: "tokio-tungstenite",
        how: "its defaults, which are the buffers of 128 KiB that its docs name for high load; `next`, `feed`, `flush`.",
        fragment: None,
        no_owned: None,
    };

    fn over(io: S) -> Result<Self> {
        let made = WebSocketStream::from_raw_socket(io, Role::Client, None).now_or_never();
        Ok(Self(made.ok_or("it is not made at once")?))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            match self.0.next().await.ok_or_else(ended)?? {
                Message::Text(text) => tally.count(Kind::Text, text.as_bytes()),
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
            self.0.feed(Message::Binary(payload.into())).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
