//! wsflow: the crate that these benches belong to, with its defaults.

use bytes::Bytes;
use wsflow::{Config, Error, Message, MessageRef, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, ended},
    stream_sink::{Socket, StreamSink},
    tally::Tally,
};

pub type Wsflow<S> = StreamSink<WebSocketStream<S>>;

impl<S: Io> Socket for WebSocketStream<S> {
    type Io = S;
    type Message = Message;
    type Failure = Error;

    const ABOUT: About = About {
        name: "wsflow",
        how: "its defaults; `next`, `feed`, `flush`, and by reference `next_ref` and `feed_ref`. Messages above 256 KiB go out in several frames.",
        fragment: Some(256 << 10),
        lacks: &[],
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self::from_upgraded(io, Config::default()))
    }

    #[inline(always)]
    fn count(message: Message, tally: &mut Tally) -> Result<()> {
        match message {
            Message::Text(text) => tally.count(Kind::Text, text.as_bytes()),
            Message::Binary(data) => tally.count(Kind::Binary, &data),
        }
        Ok(())
    }

    fn shared(payload: Bytes) -> Message {
        Message::Binary(payload)
    }

    async fn receive_lent(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            match self.next_ref().await.ok_or_else(ended)?? {
                MessageRef::Text(text) => tally.count(Kind::Text, text.as_bytes()),
                MessageRef::Binary(data) => tally.count(Kind::Binary, data),
            }
        }
        Ok(())
    }

    async fn feed_lent(&mut self, payload: &[u8], messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.feed_ref(payload).await?;
        }
        Ok(())
    }
}
