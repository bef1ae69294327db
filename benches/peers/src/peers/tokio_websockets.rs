//! tokio-websockets: payloads in a queue, written vectored.

use bytes::Bytes;
use tokio::io::BufReader;
use tokio_websockets::{ClientBuilder, Config, Error, Message, WebSocketStream};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, unexpected},
    stream_sink::{OWNED, Socket, StreamSink},
};

pub type TokioWebsockets<S> = StreamSink<WebSocketStream<BufReader<S>>>;

impl<S: Io> Socket for WebSocketStream<BufReader<S>> {
    type Io = S;
    type Message = Message;
    type Failure = Error;

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
        Ok(ClientBuilder::new().config(config).take_over(io))
    }

    fn look(message: &Message) -> Result<(Kind, &[u8])> {
        let kind = match message {
            text if text.is_text() => Kind::Text,
            data if data.is_binary() => Kind::Binary,
            other => return Err(unexpected(other).into()),
        };
        Ok((kind, message.as_payload()))
    }

    fn shared(payload: Bytes) -> Message {
        Message::binary(payload)
    }

    fn fresh(payload: Vec<u8>) -> Message {
        Message::binary(payload)
    }
}
