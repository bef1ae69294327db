//! The clients that stand beside each other, each behind the same few functions.

use std::fmt::Debug;

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::{self, protocol::Role};
use wsflow::{Config, Message};

use crate::now;

/// A client, with its defaults, over a transport that needs no handshake.
pub trait Client {
    const NAME: &'static str;
    type Message: From<Message> + Clone;
    type Error: Debug;
    type Socket<S: Io>: Stream<Item = Result<Self::Message, Self::Error>>
        + Sink<Self::Message, Error = Self::Error>
        + Unpin;

    fn open<S: Io>(io: S) -> Self::Socket<S>;

    fn io<S: Io>(socket: &Self::Socket<S>) -> &S;

    /// Length of the payload.
    fn len(message: &Self::Message) -> usize;

    /// Reads so many messages, which have `size` bytes each.
    async fn receive<S: Io>(socket: &mut Self::Socket<S>, count: usize, size: usize) {
        for _ in 0..count {
            let message = socket.next().await.expect("no end").expect("a message");
            assert_eq!(Self::len(&message), size);
        }
    }

    /// Feeds the message so many times, then flushes.
    async fn send<S: Io>(socket: &mut Self::Socket<S>, message: &Self::Message, count: usize) {
        for _ in 0..count {
            socket.feed(message.clone()).await.expect("open");
        }
        socket.flush().await.expect("open");
    }
}

pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

pub struct Wsflow;

impl Client for Wsflow {
    const NAME: &'static str = "wsflow";
    type Message = Message;
    type Error = wsflow::Error;
    type Socket<S: Io> = wsflow::WebSocketStream<S>;

    fn open<S: Io>(io: S) -> Self::Socket<S> {
        wsflow::WebSocketStream::from_upgraded(io, Config::default())
    }

    fn io<S: Io>(socket: &Self::Socket<S>) -> &S {
        socket.get_ref()
    }

    fn len(message: &Message) -> usize {
        message.len()
    }
}

/// wsflow, with messages that are lent and not owned.
pub struct ByReference;

impl Client for ByReference {
    const NAME: &'static str = "wsflow-by-reference";
    type Message = Message;
    type Error = wsflow::Error;
    type Socket<S: Io> = wsflow::WebSocketStream<S>;

    fn open<S: Io>(io: S) -> Self::Socket<S> {
        Wsflow::open(io)
    }

    fn io<S: Io>(socket: &Self::Socket<S>) -> &S {
        socket.get_ref()
    }

    fn len(message: &Message) -> usize {
        message.len()
    }

    async fn receive<S: Io>(socket: &mut Self::Socket<S>, count: usize, size: usize) {
        for _ in 0..count {
            let message = socket.next_ref().await.expect("no end").expect("a message");
            assert_eq!(message.len(), size);
        }
    }

    async fn send<S: Io>(socket: &mut Self::Socket<S>, message: &Message, count: usize) {
        for _ in 0..count {
            socket.feed_ref(message).await.expect("open");
        }
        socket.flush().await.expect("open");
    }
}

pub struct Tungstenite;

impl Client for Tungstenite {
    const NAME: &'static str = "tokio-tungstenite";
    type Message = tungstenite::Message;
    type Error = tungstenite::Error;
    type Socket<S: Io> = tokio_tungstenite::WebSocketStream<S>;

    fn open<S: Io>(io: S) -> Self::Socket<S> {
        now(tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Client, None))
    }

    fn io<S: Io>(socket: &Self::Socket<S>) -> &S {
        socket.get_ref()
    }

    fn len(message: &tungstenite::Message) -> usize {
        message.len()
    }
}
