//! A transport in memory: what is read from it is prepared, what is written to it is taken.
//!
//! tokio's `duplex` would copy every byte into a pipe and out of it again, under a lock, and wake a task for each turn:
//! that would be measured. Here a read is one copy, as from a socket, and a write is none.

use std::{
    hint::black_box,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The client's end. It serves its input whenever the [`Tap`] is opened.
#[derive(Debug)]
pub struct Memory {
    input: Vec<u8>,
    output: Option<Vec<u8>>,
    state: Arc<State>,
}

/// The bench's end.
#[derive(Debug)]
pub struct Tap {
    input_len: usize,
    state: Arc<State>,
}

/// The two ends are on one thread: no order has to be kept.
#[derive(Debug, Default)]
struct State {
    unread: AtomicUsize,
    written: AtomicUsize,
    reader: AtomicWaker,
}

impl Memory {
    /// Serves this input, and drops what is written.
    pub fn serving(input: Vec<u8>) -> (Self, Tap) {
        let state = Arc::<State>::default();
        let tap = Tap { input_len: input.len(), state: Arc::clone(&state) };
        (Self { input, output: None, state }, tap)
    }

    /// Serves nothing, and drops what is written.
    pub fn taking() -> (Self, Tap) {
        Self::serving(Vec::new())
    }

    /// Serves nothing, and keeps what is written.
    pub fn keeping() -> Self {
        Self { input: Vec::new(), output: Some(Vec::new()), state: Arc::default() }
    }

    /// What was written and kept.
    pub fn kept(&self) -> &[u8] {
        self.output.as_deref().unwrap_or_default()
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        match &mut self.output {
            Some(output) => output.extend_from_slice(bytes),
            None => _ = black_box(bytes),
        }
        self.state.written.fetch_add(bytes.len(), Relaxed);
        bytes.len()
    }
}

impl Tap {
    /// Serves the input once more.
    pub fn open(&self) {
        let unread = self.state.unread.swap(self.input_len, Relaxed);
        assert_eq!(unread, 0, "bytes of the input before were not read");
        self.state.reader.wake();
    }

    /// How many bytes were written since this was asked last.
    pub fn written(&self) -> usize {
        self.state.written.swap(0, Relaxed)
    }
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let unread = self.state.unread.load(Relaxed);
        if unread == 0 {
            self.state.reader.register(cx.waker());
            return Poll::Pending;
        }
        let rest = &self.input[self.input.len() - unread..];
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        self.state.unread.store(unread - n, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.take(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| self.take(slice)).sum()))
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
