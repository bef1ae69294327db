//! ws-tool: hands out slices of its read buffer.

use bytes::Bytes;
use tokio::io::BufStream;
use ws_tool::{
    codec::{AsyncFrameCodec, FrameConfig},
    frame::OpCode,
};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, unexpected},
    tally::Tally,
    workload::Need,
};

/// The size of each buffer, which its benches leave to their user: as large as those of the others.
const BUFFER: usize = 128 << 10;

pub struct WsTool<S: Io>(AsyncFrameCodec<BufStream<S>>);

impl<S: Io> Peer for WsTool<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "ws-tool",
        how: "its async codec of frames over a `BufStream`, as in its benches, with buffers of 128 KiB; what is received is \
              borrowed. `send` into that stream stands for `feed`. UTF-8 is checked by SIMD.",
        fragment: None,
        lacks: &[(Need::TakePayload, "it takes slices, never a payload of its own")],
    };

    fn over(io: S) -> Result<Self> {
        let config = FrameConfig { resize_size: BUFFER, ..FrameConfig::default() };
        Ok(Self(AsyncFrameCodec::new_with(BufStream::with_capacity(BUFFER, BUFFER, io), config)))
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            let (header, payload) = self.0.receive().await?;
            match header.code {
                OpCode::Text => tally.count(Kind::Text, payload),
                OpCode::Binary => tally.count(Kind::Binary, payload),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.0.send(OpCode::Binary, payload).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            let payload = payload.to_vec();
            self.0.send(OpCode::Binary, &payload).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}
