//! What a message costs in memory that is written piece by piece: the same whatever its length.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use testkit::heap;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    task::coop::unconstrained,
};
use wsflow::{Config, Deflate, Kind, UpgradedParts, WebSocketStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// 4 GiB where it is optimised: no counter of 32 bits, and no sum of what was sent, holds that.
const LEN: u64 = if cfg!(debug_assertions) { 256 } else { 4 * KIB as u64 } * MIB as u64;

/// A peer that takes all, or nothing, and says nothing.
struct Taker {
    takes: bool,
}

impl AsyncRead for Taker {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Taker {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.takes { Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum())) } else { Poll::Pending }
    }

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

fn open(takes: bool, config: Config, extensions: &str) -> WebSocketStream<Taker> {
    let parts = UpgradedParts::new(Taker { takes }).extensions(extensions).config(config.without_timers());
    WebSocketStream::from_upgraded_parts(parts).expect("extensions")
}

/// Lines of a log: they compress to a tenth or so.
fn lines() -> Vec<u8> {
    (0..)
        .flat_map(|i| format!("tick {i}: bid {}, ask {}\n", i * 7919 % 10_007, i * 104_729 % 10_007).into_bytes())
        .take(100_000)
        .collect()
}

/// Writes one message of `len` bytes. Returns the most that was held meanwhile.
fn write(ws: &mut WebSocketStream<Taker>, piece: &[u8], len: u64) -> usize {
    let ((), peak) = heap::peak(|| {
        let writing = async {
            let mut writer = ws.writer(Kind::Binary);
            let mut rest = len;
            while rest > 0 {
                let n = rest.min(piece.len() as u64);
                writer.write_all(&piece[..n as usize]).await.unwrap();
                rest -= n;
            }
            writer.finish().await.unwrap();
        };
        // It lets other tasks run in between, and does not wait for anything else.
        let mut writing = std::pin::pin!(unconstrained(writing));
        while writing.as_mut().now_or_never().is_none() {}
    });
    peak
}

#[test]
fn a_message_of_4_gib_is_written_in_less_than_1_mib() {
    for extensions in ["", "permessage-deflate"] {
        let piece = lines();
        let mut ws = open(true, Config::default().deflate(Deflate::default().level(1)), extensions);
        // Compressing takes a hundred times as long.
        let len = if cfg!(debug_assertions) && !extensions.is_empty() { LEN / 8 } else { LEN };
        let start = std::time::Instant::now();
        let peak = write(&mut ws, &piece, len);
        let stats = ws.stats();
        println!(
            "{extensions:?}: {len} bytes in {:?}, {peak} bytes held, {} on the wire",
            start.elapsed(),
            stats.wire_bytes_sent
        );
        assert!(peak < MIB, "{extensions:?}: {peak} bytes were held");
        assert_eq!((stats.messages_sent, stats.payload_bytes_sent), (1, len));
        assert_eq!(stats.wire_bytes_sent < len / 2, !extensions.is_empty());
    }
}

#[test]
fn a_short_message_takes_no_large_buffer() {
    let mut ws = open(true, Config::default(), "");
    let peak = write(&mut ws, b"a short message", 15);
    assert!(peak < 4 * KIB, "{peak} bytes were held");
}

#[test]
fn of_what_has_left_a_writer_holds_nothing_while_it_waits_for_more() {
    let mut ws = open(true, Config::default(), "");
    let before = heap::held();
    let mut writer = ws.writer(Kind::Binary);
    let held = (0..10).map(|_| {
        let writing = async {
            writer.write_all(&[7; 200 * KIB]).await.unwrap();
            writer.flush().await.unwrap();
        };
        unconstrained(writing).now_or_never().expect("the transport takes all");
        heap::held() - before
    });
    let most = held.max().unwrap();
    assert!(most < 64 * KIB as isize, "{most} bytes are held");
}

#[test]
fn a_peer_that_takes_nothing_costs_no_more_than_the_mark_and_two_frames() {
    for (fragment_size, mark) in [(256 * KIB, 128 * KIB), (64 * KIB, MIB), (1000, 300 * KIB)] {
        let mut ws = open(false, Config::default().fragment_size(fragment_size).write_high_water_mark(mark), "");
        let piece = lines();
        let (taken, peak) = heap::peak(|| {
            let mut writer = ws.writer(Kind::Binary);
            let mut taken = 0;
            while let Some(n) = unconstrained(writer.write(&piece)).now_or_never() {
                taken += n.unwrap();
            }
            assert_eq!(writer.buffered_amount(), taken as u64);
            std::mem::forget(writer);
            taken
        });
        assert!(taken < mark + 2 * fragment_size, "{taken} bytes were taken");
        // A buffer that grows by doubling may be twice as large as what is in it.
        let bound = 2 * (mark + 2 * fragment_size);
        assert!(peak < bound, "{peak} bytes were held, expected less than {bound}");
    }
}
