//! tokio-tungstenite: the client that most use.

use bytes::Bytes;
use futures::FutureExt as _;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, unexpected},
    stream_sink::{OWNED, Socket, StreamSink},
    tally::Tally,
};

pub type TokioTungstenite<S> = StreamSink<WebSocketStream<S>>;

impl<S: Io> Socket for WebSocketStream<S> {
    type Io = S;
    type Message = Message;
    type Failure = Error;

    /// Its docs name 128 KiB for high load, which is its default in both directions.
    const ABOUT: About = About {
        name: "tokio-tungstenite",
        how: "its defaults, which are the buffers of 128 KiB that its docs name for high load; `next`, `feed`, `flush`.",
        fragment: None,
        lacks: OWNED,
    };

    fn over(io: S) -> Result<Self> {
        let made = Self::from_raw_socket(io, Role::Client, None).now_or_never();
        Ok(made.ok_or("it is not made at once")?)
    }

    #[inline(always)]
    fn count(message: Message, tally: &mut Tally) -> Result<()> {
        match message {
            Message::Text(text) => tally.count(Kind::Text, text.as_bytes()),
            Message::Binary(data) => tally.count(Kind::Binary, &data),
            other => return Err(unexpected(other).into()),
        }
        Ok(())
    }

    fn shared(payload: Bytes) -> Message {
        Message::Binary(payload)
    }
}
