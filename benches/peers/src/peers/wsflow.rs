//! wsflow: the crate that these benches belong to, with its defaults.

use bytes::Bytes;
use wsflow::{Config, Error, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io},
    stream_sink::{OWNED, Socket, StreamSink},
};

pub type Wsflow<S> = StreamSink<WebSocketStream<S>>;

impl<S: Io> Socket for WebSocketStream<S> {
    type Io = S;
    type Message = Message;
    type Failure = Error;

    const ABOUT: About = About {
        name: "wsflow",
        how: "its defaults; `next`, `feed`, `flush`. Messages above 256 KiB go out in several frames.",
        fragment: Some(256 << 10),
        lacks: OWNED,
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self::from_upgraded(io, Config::default()))
    }

    fn look(message: &Message) -> Result<(Kind, &[u8])> {
        match message {
            Message::Text(text) => Ok((Kind::Text, text.as_bytes())),
            Message::Binary(data) => Ok((Kind::Binary, data)),
        }
    }

    fn shared(payload: Bytes) -> Message {
        Message::Binary(payload)
    }
}
