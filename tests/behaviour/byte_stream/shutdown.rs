//! A shutdown: it closes, waits for the end, and keeps for the reader what comes before the peer's Close.

use std::{io::ErrorKind, pin::Pin, time::Duration};

use testkit::{
    frame::{BINARY, CLOSE, TEXT, close_body, encode},
    peer::Peer,
    script_io::Step,
    task::{Task, is_waiting, now},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, DuplexStream, split},
    time::{Instant, sleep},
};
use wsflow::{ByteStream, Config, Error, Phase, WebSocketStream};

use super::{cause, open, pattern};

const KIB: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

fn connect(read_buffer_max: usize) -> (ByteStream<DuplexStream>, Peer<DuplexStream>) {
    let (peer, io) = Peer::pipe(1 << 20);
    let config = Config::default().close_timeout(TIMEOUT).keepalive_interval(None).read_buffer_max(read_buffer_max);
    (WebSocketStream::from_upgraded(io, config).into_byte_stream(), peer)
}

/// B319.
#[test]
fn a_shutdown_closes_with_1000_behind_what_was_written_and_waits_for_the_end() {
    let (mut stream, script) = open(Config::default());
    now(stream.write_all(b"last")).unwrap();
    assert!(is_waiting(stream.shutdown()));
    assert_eq!(script.wire().messages(), [(false, b"last".to_vec())]);
    assert_eq!(script.wire().close(), Some(&close_body(Some(1000), "")[..]));
    script.frame(CLOSE, close_body(Some(1000), ""));
    assert!(is_waiting(stream.shutdown()), "TCP has not ended");
    script.end();
    for _ in 0..3 {
        now(stream.shutdown()).unwrap();
    }
    assert_eq!(now(stream.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(script.wire().payloads(CLOSE).len(), 1);
}

/// The end is clean. That the code is a complaint the reader hears.
///
/// B315, B319.
#[test]
fn a_shutdown_is_ok_after_a_clean_end_of_any_code() {
    for (code, is_end) in
        [(None, true), (Some(1000), true), (Some(1001), true), (Some(1011), false), (Some(4000), false)]
    {
        for is_answer in [false, true] {
            let (mut stream, script) = open(Config::default());
            if is_answer {
                assert!(is_waiting(stream.shutdown()));
            }
            script.frame(CLOSE, close_body(code, ""));
            script.end();
            now(stream.shutdown()).unwrap();
            now(stream.shutdown()).unwrap();
            assert_eq!(now(stream.read(&mut [0; 8])).is_ok(), is_end, "{code:?}");
        }
    }
}

/// B319.
#[test]
fn a_shutdown_gives_the_error_of_an_unclean_end_each_time() {
    let (mut stream, script) = open(Config::default());
    script.frame(BINARY, b"before");
    script.end();
    for _ in 0..3 {
        let error = now(stream.shutdown()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(cause(&error), Error::Closed(closed) if closed.code == 1006), "{error}");
    }
    let mut data = Vec::new();
    let error = now(stream.read_to_end(&mut data)).unwrap_err();
    assert_eq!((&data[..], error.kind()), (&b"before"[..], ErrorKind::UnexpectedEof));
}

/// The last row is as much as is kept.
///
/// B319.
#[tokio::test(start_paused = true)]
async fn what_comes_before_the_peers_close_is_kept_for_the_reader() {
    for (len, message) in [(0, 1), (6, 6), (3000, 1), (3000, 700), (4096, 4096), (4096, 100)] {
        let (mut stream, mut peer) = connect(4 * KIB);
        let data = pattern(len);
        let serving = tokio::spawn({
            let data = data.clone();
            async move {
                peer.expect_close(1000, "").await;
                for piece in data.chunks(message) {
                    peer.binary(piece).await;
                    peer.ping(b"?").await;
                }
                peer.close(1000, "").await;
            }
        });
        let begun = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        serving.await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == data, "{len} by {message}: {} bytes", read.len());
        assert!(stream.get_ref().closed().unwrap().is_normal());
    }
}

/// What was read before and not taken comes first.
///
/// B319.
#[tokio::test(start_paused = true)]
async fn what_is_kept_comes_behind_what_was_read_before() {
    let (mut stream, mut peer) = connect(4 * KIB);
    let data = pattern(4000);
    peer.binary(&data[..3000]).await;
    let mut read = vec![0; 10];
    stream.read_exact(&mut read).await.unwrap();
    peer.binary(&data[3000..]).await;
    peer.close(1000, "").await;
    let serving = tokio::spawn(async move { peer.expect_close(1000, "").await });
    stream.shutdown().await.unwrap();
    serving.await.unwrap();
    stream.read_to_end(&mut read).await.unwrap();
    assert!(read == data, "{} bytes", read.len());
}

/// B319.
#[tokio::test(start_paused = true)]
async fn beyond_the_read_buffer_nothing_is_read_and_close_timeout_ends_it() {
    const MAX: usize = 16 * KIB;
    let data = pattern(200 * KIB);
    for message in [100, 5000, 200 * KIB] {
        let (mut stream, mut peer) = connect(MAX);
        for piece in data.chunks(message) {
            peer.binary(piece).await;
        }
        let begun = Instant::now();
        let error = stream.shutdown().await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::TimedOut, TIMEOUT));
        assert!(matches!(cause(&error), Error::Timeout { phase: Phase::Close, .. }), "{error}");
        // What was kept, and the read buffer.
        let taken = stream.get_ref().stats().wire_bytes_received as usize;
        assert!((MAX..=2 * MAX).contains(&taken), "{taken} bytes were read");
        assert_eq!(stream.shutdown().await.unwrap_err().kind(), ErrorKind::TimedOut, "a second one");
        let mut read = Vec::new();
        let error = stream.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(read.len() >= MAX - 200 && data.starts_with(&read), "{} bytes", read.len());
    }
}

/// It takes 30 s for all, and `close_timeout` is 10 s.
///
/// B319.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_all_that_came_before_the_peers_close() {
    let (stream, mut peer) = connect(4 * KIB);
    let data = pattern(60 * KIB);
    peer.binary(&data).await;
    let (mut reader, mut writer) = split(stream);
    let closing = tokio::spawn(async move { writer.shutdown().await });
    peer.expect_close(1000, "").await;
    peer.close(1000, "").await;
    drop(peer);
    let mut read = vec![];
    while read.len() < data.len() {
        sleep(Duration::from_millis(500)).await;
        let mut piece = [0; KIB];
        let n = reader.read(&mut piece).await.unwrap();
        read.extend_from_slice(&piece[..n]);
    }
    assert!(read == data);
    assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
    closing.await.unwrap().unwrap();
}

/// B319.
#[tokio::test(start_paused = true)]
async fn the_time_runs_from_what_was_taken_last() {
    let (stream, mut peer) = connect(4 * KIB);
    peer.binary(pattern(60 * KIB)).await;
    let (mut reader, mut writer) = split(stream);
    let closing = tokio::spawn(async move { writer.shutdown().await });
    peer.expect_close(1000, "").await;
    for _ in 0..5 {
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        reader.read_exact(&mut [0; 10]).await.unwrap();
    }
    let last = Instant::now();
    assert_eq!(closing.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(last.elapsed(), TIMEOUT);
}

/// A peer that goes on talking and does not answer: what comes is taken at once, in small pieces, and is no answer.
///
/// B319.
#[tokio::test(start_paused = true)]
async fn what_arrives_and_is_taken_at_once_does_not_hold_the_end_up() {
    let (stream, mut peer) = connect(4 * KIB);
    let (mut reader, mut writer) = split(stream);
    let reading = tokio::spawn(async move { while reader.read(&mut [0; 10]).await.is_ok_and(|n| n > 0) {} });
    let begun = Instant::now();
    let closing = tokio::spawn(async move { writer.shutdown().await });
    peer.expect_close(1000, "").await;
    let talking = tokio::spawn(async move {
        loop {
            peer.binary([7; 100]).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(closing.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(begun.elapsed(), TIMEOUT);
    talking.abort();
    reading.await.unwrap();
}

/// B316, B319.
#[test]
fn a_text_that_comes_while_it_is_shut_down_is_told_behind_what_is_kept() {
    let (mut stream, script) = open(Config::default());
    assert!(is_waiting(stream.shutdown()));
    script.input([encode(true, 0, BINARY, b"before"), encode(true, 0, TEXT, b"text")].concat());
    script.end();
    let error = now(stream.shutdown()).unwrap_err();
    assert!(matches!(cause(&error), Error::UnexpectedText), "{error}");
    let mut data = [0; 16];
    assert_eq!(now(stream.read(&mut data)).unwrap(), 6);
    assert_eq!(now(stream.read(&mut data)).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(now(stream.read(&mut data)).unwrap(), 0);
}

/// Each of the two tasks does something that the other one waits for, and no transport wakes it.
///
/// B318, B319.
#[test]
fn the_reader_and_who_shuts_down_wake_each_other() {
    const MAX: usize = KIB;
    let (mut stream, script) = open(Config::default().read_buffer_max(MAX));
    let (reading, closing) = (Task::new(), Task::new());
    assert!(reading.poll_once(stream.read(&mut [0; 8])).is_pending());
    script.reads([Step::Ready], Step::Ready);
    script.input(encode(true, 0, BINARY, &pattern(8 * MAX)));
    reading.was_woken();
    assert!(closing.poll(|cx| Pin::new(&mut stream).poll_shutdown(cx)).is_pending());
    assert!(reading.was_woken(), "there is something to read");

    // It is full: nothing more is read until the reader takes something.
    let unread = script.unread();
    assert!(unread > 5 * MAX, "{unread}");
    closing.was_woken();
    assert!(closing.poll(|cx| Pin::new(&mut stream).poll_shutdown(cx)).is_pending());
    assert_eq!(script.unread(), unread);
    let mut data = [0; 100];
    assert!(reading.poll_once(stream.read(&mut data)).is_ready());
    assert!(closing.was_woken(), "there is room");
    assert!(data[..] == pattern(8 * MAX)[..100]);
}
