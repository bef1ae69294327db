//! web-socket: a message at a time, straight over its transport.

use bytes::Bytes;
use tokio::io::BufStream;
use web_socket::{DataType, Event, MessageType, WebSocket};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, unexpected},
    tally::Tally,
    workload::Need,
};

pub struct WebSocketRs<S: Io>(WebSocket<BufStream<S>>);

impl<S: Io> Peer for WebSocketRs<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "web-socket",
        how: "it has no buffers, and reads each header on its own: it stands over a `BufStream` of 128 KiB, into which \
              `send` stands for `feed`; `recv`, and its `flash`. Each message received is a `Box` of its own. It leaves \
              the check of UTF-8 to its user: `std::str::from_utf8`.",
        fragment: None,
        lacks: &[
            (Need::TakePayload, "it takes slices, never a payload of its own"),
            (Need::LendMessage, "its messages own their payload"),
        ],
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self(WebSocket::client(BufStream::with_capacity(128 << 10, 128 << 10, io))))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            match self.0.recv().await? {
                Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
                    tally.count(Kind::Text, std::str::from_utf8(&data)?.as_bytes());
                }
                Event::Data { ty: DataType::Complete(MessageType::Binary), data } => tally.count(Kind::Binary, &data),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.0.send(&payload[..]).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            let payload = payload.to_vec();
            self.0.send(&payload[..]).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flash().await?)
    }
}
