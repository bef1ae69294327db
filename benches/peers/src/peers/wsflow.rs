//! wsflow: the crate that these benches belong to, with its defaults.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use wsflow::{Config, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, ended},
    tally::Tally,
};

pub struct Wsflow<S>(WebSocketStream<S>);

impl<S: Io> Peer for Wsflow<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "wsflow",
        how: "its defaults; `next`, `feed`, `flush`. Messages above 256 KiB go out in several frames.",
        fragment: Some(256 << 10),
        no_owned: None,
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self(WebSocketStream::from_upgraded(io, Config::default())))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            match self.0.next().await.ok_or_else(ended)?? {
                Message::Text(text) => tally.count(Kind::Text, text.as_bytes()),
                Message::Binary(data) => tally.count(Kind::Binary, &data),
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
            self.0.feed(payload.into()).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
