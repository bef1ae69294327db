//! sockudo-ws: made for low latency.

use bytes::Bytes;
use sockudo_ws::{Config, Error, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, unexpected},
    stream_sink::{OWNED, Socket, StreamSink},
    tally::Tally,
};

pub type SockudoWs<S> = StreamSink<WebSocketStream<S>>;

impl<S: Io> Socket for WebSocketStream<S> {
    type Io = S;
    type Message = Message;
    type Failure = Error;

    const ABOUT: About = About {
        name: "sockudo-ws",
        how: "features `simd` and `fastrand`, its defaults, with which writes are batched up to 64 KiB; `next`, `feed`, \
              `flush`.",
        fragment: None,
        lacks: OWNED,
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self::client(io, Config::default()))
    }

    #[inline(always)]
    fn count(message: Message, tally: &mut Tally) -> Result<()> {
        match message {
            Message::Text(text) => tally.count(Kind::Text, &text),
            Message::Binary(data) => tally.count(Kind::Binary, &data),
            other => return Err(unexpected(other).into()),
        }
        Ok(())
    }

    fn shared(payload: Bytes) -> Message {
        Message::Binary(payload)
    }
}
