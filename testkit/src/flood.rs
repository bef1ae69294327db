//! Peers that never stop talking, and a transport over which one does: it always has bytes, and always takes them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a peer says without end. All its frames are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One Ping after another.
    Pings,
    /// One Pong after another.
    Pongs,
    /// Of one message, which has no end.
    Fragments,
    /// One binary message after another.
    Messages,
}

impl Flood {
    /// Each kind.
    pub const ALL: [Self; 4] = [Self::Pings, Self::Pongs, Self::Fragments, Self::Messages];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pings => "pings",
            Self::Pongs => "pongs",
            Self::Fragments => "empty fragments",
            Self::Messages => "empty messages",
        }
    }

    /// What comes again and again.
    pub fn frame(self) -> [u8; 2] {
        match self {
            Self::Pings => [0x89, 0],
            Self::Pongs => [0x8a, 0],
            Self::Fragments => [0x00, 0],
            Self::Messages => [0x82, 0],
        }
    }

    /// So many bytes of it, or nearly.
    pub fn frames(self, bytes: usize) -> Vec<u8> {
        self.frame().repeat(bytes / self.frame().len())
    }
}

/// How much of a flood is prepared.
pub const PREPARED: usize = 256 * 1024;

/// A transport that is ready whenever it is polled, and takes no part in tokio's cooperative budget.
#[derive(Debug)]
pub struct AlwaysReady {
    /// Empty: nothing ever comes.
    frames: Vec<u8>,
    /// How far in `frames` the reader is.
    at: usize,
    /// How many bytes were read.
    pub read: usize,
    /// How many bytes were written.
    pub written: usize,
    /// How many bytes it gives, and how many it takes, before it breaks.
    most: usize,
}

impl AlwaysReady {
    /// Pours a flood.
    pub fn pouring(flood: Flood, most: usize) -> Self {
        Self::repeating(flood.frames(PREPARED), most)
    }

    /// Gives these again and again.
    pub fn repeating(frames: Vec<u8>, most: usize) -> Self {
        Self { frames, ..Self::taking(most) }
    }

    /// Takes what is written, and gives nothing.
    pub fn taking(most: usize) -> Self {
        Self { frames: Vec::new(), at: 0, read: 0, written: 0, most }
    }

    fn take(&mut self, n: usize) -> Poll<io::Result<usize>> {
        if self.written >= self.most {
            return Poll::Ready(Err(io::Error::other(format!("{} bytes were written, without an end", self.written))));
        }
        self.written += n;
        Poll::Ready(Ok(n))
    }
}

impl AsyncRead for AlwaysReady {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.frames.is_empty() {
            return Poll::Pending;
        }
        if this.read >= this.most {
            return Poll::Ready(Err(io::Error::other(format!("{} bytes were read, without an end", this.read))));
        }
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let rest = &this.frames[this.at..];
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            this.at = (this.at + n) % this.frames.len();
        }
        this.read += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AlwaysReady {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.take(slices.iter().map(|slice| slice.len()).sum())
    }

    /// As a TCP socket.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
