//! The loops of clients that are a `Stream` and a `Sink` of messages; what is a client's own is in its file.

use std::error;

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};

use crate::{
    error::Result,
    peer::{About, Io, Peer, ended},
    tally::Tally,
    workload::Need,
};

/// A client's connection, and what its messages are.
pub trait Socket:
    Stream<Item = Result<<Self as Socket>::Message, <Self as Socket>::Failure>>
    + Sink<<Self as Socket>::Message, Error = <Self as Socket>::Failure>
    + Unpin
    + Sized
{
    type Io: Io;
    type Message;
    type Failure: error::Error + Send + Sync + 'static;

    const ABOUT: About;

    fn over(io: Self::Io) -> Result<Self>;

    /// Fails for a message that is not one of data. It takes the message, as a user's `match` does.
    fn count(message: Self::Message, tally: &mut Tally) -> Result<()>;

    fn shared(payload: Bytes) -> Self::Message;

    /// Of a payload that nobody else has.
    fn fresh(payload: Vec<u8>) -> Self::Message {
        Self::shared(payload.into())
    }

    /// As [`Peer::receive_lent`], for those that lend, which no `Stream` does.
    async fn receive_lent(&mut self, _messages: u64, _tally: &mut Tally) -> Result<()> {
        Err(LENDS_NOTHING.into())
    }

    /// As [`Peer::feed_lent`], for those that copy, which no `Sink` does.
    async fn feed_lent(&mut self, _payload: &[u8], _messages: u64) -> Result<()> {
        Err(LENDS_NOTHING.into())
    }
}

/// What clients cannot do whose messages own their payload in both directions.
pub const OWNED: &[(Need, &str)] = &[(Need::LendMessage, LENDS_NOTHING), (Need::CopyPayload, LENDS_NOTHING)];

const LENDS_NOTHING: &str = "its messages own their payload";

/// Such a client, driven.
pub struct StreamSink<S>(S);

impl<S: Socket> Peer for StreamSink<S> {
    type Io = S::Io;

    const ABOUT: About = S::ABOUT;

    fn over(io: S::Io) -> Result<Self> {
        Ok(Self(S::over(io)?))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            S::count(self.0.next().await.ok_or_else(ended)??, tally)?;
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        feed(&mut self.0, messages, || S::shared(payload.clone())).await
    }

    async fn receive_lent(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        self.0.receive_lent(messages, tally).await
    }

    async fn feed_lent(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        self.0.feed_lent(payload, messages).await
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        feed(&mut self.0, messages, || S::fresh(payload.to_vec())).await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}

/// Feeds so many messages, each made anew.
pub async fn feed<S, M>(sink: &mut S, messages: u64, message: impl Fn() -> M) -> Result<()>
where
    S: Sink<M, Error: error::Error + Send + Sync + 'static> + Unpin,
{
    for _ in 0..messages {
        sink.feed(message()).await?;
    }
    Ok(())
}
