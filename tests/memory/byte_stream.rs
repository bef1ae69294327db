//! A stream of bytes holds no more than the read buffer and the mark, whatever the peer does, and copies what is read once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use testkit::{
    frame::{BINARY, encode},
    heap,
    task::{Task, now},
};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use wsflow::{ByteStream, Config, WebSocketStream};

const KIB: usize = 1024;

/// A server that says the same message for ever, and takes what it hears if it `takes`.
#[derive(Debug)]
struct Repeating {
    bytes: Vec<u8>,
    at: usize,
    takes: bool,
}

impl AsyncRead for Repeating {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Pending;
        }
        while buf.remaining() > 0 {
            let at = self.at % self.bytes.len();
            let n = buf.remaining().min(self.bytes.len() - at);
            buf.put_slice(&self.bytes[at..at + n]);
            self.at += n;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Repeating {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn open(message: usize, takes: bool, config: Config) -> ByteStream<Repeating> {
    let bytes = if message == 0 { Vec::new() } else { encode(true, 0, BINARY, &vec![7; message]) };
    WebSocketStream::from_upgraded(Repeating { bytes, at: 0, takes }, config.without_timers()).into_byte_stream()
}

/// B313.
#[test]
fn reading_allocates_nothing_once_it_is_warm() {
    for message in [1, 100, 5000, 60 * KIB, 1 << 20] {
        let mut stream = open(message, true, Config::default());
        let mut buf = vec![0; 8 * KIB];
        let mut read = |reads| {
            for _ in 0..reads {
                let n = now(stream.read(&mut buf)).unwrap();
                assert!(n > 0 && buf[..n].iter().all(|byte| *byte == 7));
            }
        };
        read(20_000 / message.isqrt());
        let before = heap::allocations();
        read(10_000);
        // A poll by hand allocates its task.
        let allocations = heap::allocations() - before - 10_000;
        assert!(allocations <= 10_000 / 8, "{allocations} allocations for messages of {message} bytes");
    }
}

/// B319.
#[test]
fn what_is_kept_while_it_is_shut_down_is_at_most_the_read_buffer() {
    const MAX: usize = 64 * KIB;
    for message in [1, 100, 5000, 1 << 20] {
        let mut stream = open(message, true, Config::default().read_buffer_max(MAX));
        let (polled, peak) = heap::peak(|| Task::new().poll_once(stream.shutdown()));
        assert!(polled.is_pending());
        // What is kept, while it moves to where there is more room, and the read buffer.
        assert!(peak < 3 * MAX, "{peak} bytes at messages of {message}");
        let io = stream.get_ref().get_ref();
        let payload = io.at / io.bytes.len() * message + io.at % io.bytes.len();
        assert!(payload <= 2 * MAX, "{payload} bytes were read");
        let mut kept = 0;
        while kept < MAX {
            let slice = now(stream.fill_buf()).unwrap();
            assert!(slice.iter().all(|byte| *byte == 7));
            kept += slice.len();
            let n = slice.len();
            stream.consume(n);
        }
    }
}

/// B311.
#[test]
fn what_is_written_and_not_taken_is_at_most_the_mark_and_one_message() {
    for write in [100, 5000, 1 << 20] {
        let mut stream = open(0, false, Config::default().write_high_water_mark(128 * KIB));
        let data = vec![7; write];
        let (written, peak) = heap::peak(|| {
            let mut written = 0;
            while let Poll::Ready(n) = Task::new().poll_once(stream.write(&data)) {
                written += n.unwrap();
            }
            written
        });
        assert!((64 * KIB..=192 * KIB).contains(&written), "{written} bytes by {write}");
        assert!(peak < 600 * KIB, "{peak} bytes for writes of {write}");
    }
}
