//! Writes: which messages they are, when they leave, and when nothing can be written.

use std::{
    io::{ErrorKind, IoSlice},
    pin::Pin,
    task::Poll,
};

use testkit::{
    frame::{BINARY, close_body, encode},
    script_io::Step,
    task::{Task, is_waiting, now},
};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, BufWriter};
use wsflow::{Config, Error};

use super::{cause, open, pattern};

const KIB: usize = 1024;

/// B310.
#[test]
fn a_write_is_a_message_of_at_most_64_kib() {
    for len in [1, 125, 16 * KIB, 16 * KIB + 1, 64 * KIB, 64 * KIB + 1, 200 * KIB] {
        let (mut stream, script) = open(Config::default());
        let data = pattern(len);
        assert_eq!(now(stream.write(&data)).unwrap(), len.min(64 * KIB));
        now(stream.flush()).unwrap();
        assert_eq!(script.wire().messages(), [(false, data[..len.min(64 * KIB)].to_vec())]);
        assert_eq!(script.wire().payloads(BINARY).len(), 1, "{len} bytes are one frame");
    }
}

/// B310.
#[test]
fn a_buf_writer_makes_one_message_of_many_writes() {
    let (stream, script) = open(Config::default());
    let mut writer = BufWriter::with_capacity(64 * KIB, stream);
    for byte in 0..100 {
        now(writer.write_all(&[byte])).unwrap();
    }
    now(writer.flush()).unwrap();
    assert_eq!(script.wire().messages(), [(false, (0..100).collect())]);
}

/// B310.
#[test]
fn slices_are_gathered_into_one_message() {
    let long = pattern(50 * KIB);
    let table: [(&[&[u8]], usize); 6] = [
        (&[b"a", b"bc"], 3),
        (&[b"", b"a", b"", b"bc", b""], 3),
        (&[b"", b"abc"], 3),
        (&[&long, b"x", &long], 64 * KIB),
        (&[&long, &long[..14 * KIB], b"x"], 64 * KIB),
        (&[&long, &long[..14 * KIB - 1], b"x"], 64 * KIB),
    ];
    for (slices, taken) in table {
        let (mut stream, script) = open(Config::default());
        assert!(stream.is_write_vectored());
        let mut all = slices.concat();
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        assert_eq!(now(stream.write_vectored(&slices)).unwrap(), taken);
        now(stream.flush()).unwrap();
        all.truncate(taken);
        assert_eq!(script.wire().messages(), [(false, all)]);
    }
}

/// B310.
#[test]
fn an_empty_write_sends_nothing() {
    let (mut stream, script) = open(Config::default());
    assert_eq!(now(stream.write(b"")).unwrap(), 0);
    assert_eq!(now(stream.write_vectored(&[])).unwrap(), 0);
    assert_eq!(now(stream.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"")])).unwrap(), 0);
    now(stream.flush()).unwrap();
    assert_eq!((script.output_len(), stream.get_ref().stats().messages_sent), (0, 0));
}

/// B311.
#[test]
fn what_is_written_leaves_with_a_flush_or_before_the_transport_is_read_or_when_there_is_enough() {
    let (mut stream, script) = open(Config::default());
    now(stream.write_all(b"flushed")).unwrap();
    assert_eq!(script.output_len(), 0, "nobody asked for it");
    now(stream.flush()).unwrap();
    assert_eq!(script.wire().messages().len(), 1);

    now(stream.write_all(b"read")).unwrap();
    assert!(is_waiting(stream.read(&mut [0; 8])));
    assert_eq!(script.wire().messages().len(), 2, "a reader that waits has written it");

    for _ in 0..5 {
        now(stream.write_all(&[7; 16 * KIB])).unwrap();
    }
    assert!(script.output_len() >= 64 * KIB, "{}", script.output_len());
}

/// B311.
#[test]
fn a_flush_waits_until_the_transport_has_taken_all() {
    let (mut stream, script) = open(Config::default());
    script.writes([Step::Partial(3), Step::Pending], Step::Ready);
    now(stream.write_all(b"abc")).unwrap();
    assert!(is_waiting(stream.flush()));
    script.wake_write();
    now(stream.flush()).unwrap();
    assert_eq!(script.wire().messages(), [(false, b"abc".to_vec())]);
}

/// B311.
#[test]
fn a_write_waits_at_the_high_water_mark() {
    let (mut stream, script) = open(Config::default().write_high_water_mark(10 * KIB));
    script.writes([Step::Pending], Step::Ready);
    let task = Task::new();
    let mut write = |data: &[u8]| task.poll(|cx| Pin::new(&mut stream).poll_write(cx, data));
    assert!(write(&[1; 10 * KIB]).is_ready());
    assert!(write(&[2; 10 * KIB]).is_pending());
    script.wake_write();
    assert!(task.was_woken());
    assert!(matches!(write(&[3; 10 * KIB]), Poll::Ready(Ok(n)) if n == 10 * KIB));
    now(stream.flush()).unwrap();
    let first: Vec<_> = script.wire().messages().iter().map(|(_, data)| data[0]).collect();
    assert_eq!(first, [1, 3], "who waits has written nothing");
}

/// B312.
#[test]
fn nothing_is_written_after_a_shutdown_and_what_came_is_still_read() {
    let (mut stream, script) = open(Config::default());
    script.input(encode(true, 0, BINARY, b"before"));
    assert!(is_waiting(stream.shutdown()));
    for data in [&b"late"[..], b""] {
        let error = now(stream.write(data)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(cause(&error), Error::Closing { by_peer: None }), "{error}");
    }
    let mut data = [0; 16];
    assert_eq!(now(stream.read(&mut data)).unwrap(), 6);
    assert_eq!(&data[..6], b"before");
}

/// B312.
#[test]
fn nothing_is_written_after_the_peers_close_and_what_came_is_still_read() {
    let (mut stream, script) = open(Config::default());
    script.input([encode(true, 0, BINARY, b"before"), encode(true, 0, BINARY, b"more")].concat());
    script.frame(8, close_body(Some(4001), "gone"));
    let mut data = [0; 16];
    assert_eq!(now(stream.read(&mut data)).unwrap(), 6);
    now(stream.write_all(b"it is not read yet")).unwrap();
    assert_eq!(now(stream.read(&mut data)).unwrap(), 4);
    assert_eq!(&data[..4], b"more");
    assert!(is_waiting(stream.read(&mut data)), "TCP has not ended");
    for data in [&b"late"[..], b""] {
        let error = now(stream.write(data)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(cause(&error).close_code(), Some(4001.into()), "{error}");
    }
    script.end();
    assert_eq!(cause(&now(stream.read(&mut data)).unwrap_err()).close_code(), Some(4001.into()));
    let error = now(stream.write(b"late")).unwrap_err();
    assert_eq!((error.kind(), cause(&error).close_code()), (ErrorKind::BrokenPipe, Some(4001.into())));
}

/// A Close that was read while what was written cannot leave: it would be cut.
///
/// B312.
#[test]
fn nothing_is_taken_that_the_peers_close_would_cut() {
    let (mut stream, script) = open(Config::default());
    script.writes([Step::Pending], Step::Pending);
    now(stream.write_all(b"held")).unwrap();
    script.frame(8, close_body(Some(1000), ""));
    assert!(is_waiting(stream.read(&mut [0; 8])));
    let error = now(stream.write(b"late")).unwrap_err();
    assert_eq!((error.kind(), cause(&error).close_code()), (ErrorKind::BrokenPipe, Some(1000.into())));
}

/// B312.
#[test]
fn nothing_is_written_after_a_failure() {
    let (mut stream, script) = open(Config::default());
    script.writes([], Step::Error(ErrorKind::ConnectionReset));
    script.reads([], Step::Error(ErrorKind::ConnectionReset));
    script.end();
    now(stream.write_all(b"lost")).unwrap();
    let error = now(stream.flush()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = now(stream.write(b"late")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(matches!(cause(&error), Error::Io(cause) if cause.kind() == ErrorKind::ConnectionReset), "{error}");
    assert_eq!(now(stream.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
