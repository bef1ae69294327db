//! yawc: a codec of tokio-util.

use bytes::Bytes;
use futures::SinkExt as _;
use yawc::{Frame, OpCode, Options, Role, WebSocket};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, unexpected},
    stream_sink::{OWNED, feed},
    tally::Tally,
};

/// Its stream ends where it fails, and does not say why: what is received comes from `next_frame`.
pub struct Yawc<S>(WebSocket<S>);

impl<S: Io> Peer for Yawc<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "yawc",
        how: "feature `simd`; the settings for throughput of its benches: a read buffer of 128 KiB, a write boundary of \
              64 KiB, UTF-8 checked (by default it is not); `next_frame`, `feed`, `flush`.",
        fragment: None,
        lacks: OWNED,
    };

    fn over(io: S) -> Result<Self> {
        let options = Options::default()
            .with_utf8()
            .without_compression()
            .with_limits(64 << 20, 128 << 20) // by default a message of 1 MiB is too large
            .with_read_buffer_capacity(128 << 10)
            .with_backpressure_boundary(64 << 10);
        Ok(Self(WebSocket::from_stream(io, Role::Client, options)?))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            let frame = self.0.next_frame().await?;
            match frame.opcode() {
                OpCode::Text => tally.count(Kind::Text, frame.payload()),
                OpCode::Binary => tally.count(Kind::Binary, frame.payload()),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        feed(&mut self.0, messages, || Frame::binary(payload.clone())).await
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        feed(&mut self.0, messages, || Frame::binary(payload.to_vec())).await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
