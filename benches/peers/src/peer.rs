//! What a client has to be able to do to take part.

use std::{fmt, io};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{error::Result, tally::Tally, workload::Need};

/// A transport.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

/// What is to be known of a peer.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name, which is that of its crate.
    pub name: &'static str,
    /// In which way it is driven, and what to know of it.
    pub how: &'static str,
    /// Larger messages go out in frames of at most this many bytes.
    pub fragment: Option<usize>,
    /// What it cannot do, and why.
    pub lacks: &'static [(Need, &'static str)],
}

/// A WebSocket client, driven in the fastest way that its docs show, in loops of its own, as in a user's program: to be
/// asked for each message would be a cost that is not the client's.
pub trait Peer: Sized {
    type Io: Io;

    const ABOUT: About;

    /// Begins on a transport that is upgraded and from which nothing was read since.
    fn over(io: Self::Io) -> Result<Self>;

    /// Waits for so many messages and counts each.
    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()>;

    /// Queues so many binary messages with this payload, which somebody else keeps. They may be written, and need not be.
    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()>;

    /// As [`receive`](Self::receive), with messages that nobody has to own. Most that lend at all lend always.
    async fn receive_lent(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        self.receive(messages, tally).await
    }

    /// As [`feed`](Self::feed), with a payload that is shown as a slice. Most that take one take nothing else.
    async fn feed_lent(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        self.feed(payload, messages).await
    }

    /// As [`feed`](Self::feed), with a copy for each message that nobody else has.
    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()>;

    /// Waits until what was fed is written.
    async fn flush(&mut self) -> Result<()>;
}

/// For a stream of messages that has ended too early.
pub fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// For a message that nobody sent.
pub fn unexpected(what: impl fmt::Debug) -> io::Error {
    io::Error::other(format!("not a message of data: {what:?}"))
}
