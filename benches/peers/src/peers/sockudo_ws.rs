//! sockudo-ws: made for low latency.

use bytes::Bytes;
use sockudo_ws::{Config, Error, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, unexpected},
    stream_sink::{OWNED, Socket, StreamSink},
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

    fn look(message: &Message) -> Result<(Kind, &[u8])> {
        match message {
            Message::Text(text) => Ok((Kind::Text, text)),
            Message::Binary(data) => Ok((Kind::Binary, data)),
            other => Err(unexpected(other).into()),
        }
    }

    fn shared(payload: Bytes) -> Message {
        Message::Binary(payload)
    }
}
