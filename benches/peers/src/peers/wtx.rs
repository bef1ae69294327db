//! wtx: hands out slices of its read buffer, and writes straight to its transport.

use std::io::{self, IoSlice};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use wtx::{
    collection::Vector,
    rng::{Xorshift64, simple_seed},
    stream::{StreamReader, StreamWriter},
    web_socket::{FrameMut, OpCode, WebSocketBuffer, WebSocketMut, WebSocketPayloadOrigin},
};

use crate::{
    error::Result,
    payload::Kind,
    peer::{About, Io, Peer, unexpected},
    tally::Tally,
};

type Connection<'a, S> = WebSocketMut<'a, (), &'a mut Xorshift64, &'a mut Buffered<S>, true>;

const BUFFER: usize = 128 << 10;

/// A connection of its does not give back its transport, which has to be flushed: one is made over these for each batch.
pub struct Wtx<S> {
    io: Buffered<S>,
    buffer: WebSocketBuffer,
    keys: Xorshift64,
    /// For messages that came in several frames.
    message: Vector<u8>,
    /// It masks in place: a payload that is kept elsewhere is copied here first, without an allocation each.
    scratch: Vec<u8>,
}

impl<S: Io> Peer for Wtx<S> {
    type Io = S;

    const ABOUT: About = About {
        name: "wtx",
        how: "features `optimization`, `tokio` and `web-socket`, a network buffer of 128 KiB; `read_frame` with the origin \
              `Adaptive`, with which what is received is borrowed. It has no `feed`: `write_frame` into a transport of its \
              traits over a `BufWriter` of 128 KiB stands for it. Mask keys come from `Xorshift64`, as in its examples, \
              which can be predicted.",
        fragment: None,
        lacks: &[],
    };

    fn over(io: S) -> Result<Self> {
        Ok(Self {
            io: Buffered(BufWriter::with_capacity(BUFFER, io)),
            buffer: WebSocketBuffer::with_capacity(BUFFER, 0, 0)?,
            keys: Xorshift64::from(simple_seed()),
            message: Vector::new(),
            scratch: Vec::new(),
        })
    }

    async fn receive(&mut self, messages: u64, tally: &mut Tally) -> Result<()> {
        let Self { io, buffer, keys, message, .. } = self;
        let mut ws = Connection::new((), false, keys, io, buffer);
        for _ in 0..messages {
            let frame = ws.read_frame(message, WebSocketPayloadOrigin::Adaptive).await?;
            match frame.op_code() {
                OpCode::Text => tally.count(Kind::Text, frame.payload()),
                OpCode::Binary => tally.count(Kind::Binary, frame.payload()),
                other => return Err(unexpected(other).into()),
            }
        }
        Ok(())
    }

    async fn feed(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        let Self { io, buffer, keys, scratch, .. } = self;
        let mut ws = Connection::new((), false, keys, io, buffer);
        for _ in 0..messages {
            scratch.clear();
            scratch.extend_from_slice(payload);
            ws.write_frame(&mut FrameMut::new_fin(OpCode::Binary, scratch)).await?;
        }
        Ok(())
    }

    async fn feed_fresh(&mut self, payload: &Bytes, messages: u64) -> Result<()> {
        let Self { io, buffer, keys, .. } = self;
        let mut ws = Connection::new((), false, keys, io, buffer);
        for _ in 0..messages {
            ws.write_frame(&mut FrameMut::new_fin(OpCode::Binary, &mut payload.to_vec())).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.io.0.flush().await?)
    }
}

/// A transport as wtx wants it.
struct Buffered<S>(BufWriter<S>);

impl<S: Io> StreamReader for Buffered<S> {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.0.read(bytes).await?)
    }
}

impl<S: Io> StreamWriter for Buffered<S> {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        let mut slices = [IoSlice::new(&[]); 8];
        slices.iter_mut().zip(bytes).for_each(|(slice, part)| *slice = IoSlice::new(part));
        let mut rest = &mut slices[..bytes.len()];
        while !rest.is_empty() {
            match self.0.write_vectored(rest).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                n => IoSlice::advance_slices(&mut rest, n),
            }
        }
        Ok(())
    }
}
