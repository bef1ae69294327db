//! fastwebsockets: frames, read and written one by one.

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use tokio::io::BufWriter;

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, unexpected},
    tally::Tally,
};

/// It masks in place: a payload that is kept elsewhere is copied into `scratch` first, without an allocation each.
pub struct FastWebsockets<S> {
    ws: WebSocket<BufWriter<S>>,
    scratch: Vec<u8>,
}

impl<S: Io> Peer for FastWebsockets<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "fastwebsockets",
        how: "feature `simd`. It has no `feed`: `write_frame` into a `BufWriter` of 128 KiB stands for it, and its `flush` \
              for that of a buffered transport, as its docs say. It hands out frames, of which only its \
              `FragmentCollector`, which cannot be flushed, makes messages; the server sends messages of one frame. A frame \
              received holds a share of its read buffer, also where it is only looked at; a payload that is lent is \
              copied before it is masked.",
        fragment: None,
        lacks: &[],
    };

    fn over(io: S) -> Result<Self> {
        let ws = WebSocket::after_handshake(BufWriter::with_capacity(128 << 10, io), Role::Client);
        Ok(Self { ws, scratch: Vec::new() })
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        for _ in 0..messages {
            let frame = self.ws.read_frame().await?;
            match frame.opcode {
                OpCode::Text if frame.fin => tally.count(Kind::Text, &frame.payload),
                OpCode::Binary if frame.fin => tally.count(Kind::Binary, &frame.payload),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.scratch.clear();
            self.scratch.extend_from_slice(payload);
            self.ws.write_frame(Frame::binary(Payload::BorrowedMut(&mut self.scratch))).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        for _ in 0..messages {
            let payload = payload.to_vec();
            self.ws.write_frame(Frame::binary(Payload::Owned(payload))).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.ws.flush().await?)
    }
}
