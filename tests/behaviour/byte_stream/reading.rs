//! Reads: which bytes they give, which limits apply, and how each end reads.

use std::io::{self, ErrorKind};

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    deflate::Compressor,
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, close_body, encode},
    peer::Peer,
    script_io::{Step, script_io},
    task::{is_waiting, now},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional, duplex, split},
    task::yield_now,
};
use wsflow::{ByteStream, Config, Deflate, Error, LimitExceeded, Message, UpgradedParts, WebSocketStream};

use super::{cause, open, pattern};
use testkit::script_io::{Script, ScriptIo};

const KIB: usize = 1024;

fn open_compressed() -> (ByteStream<ScriptIo>, Script) {
    let (io, script) = script_io();
    let config = Config::default().deflate(Deflate::default()).without_timers();
    let parts = UpgradedParts::new(io).extensions("permessage-deflate").config(config);
    (WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate").into_byte_stream(), script)
}

/// All that is read until the end, and how that reads. Each read beyond gives the same.
fn to_the_end(stream: &mut ByteStream<ScriptIo>) -> (Vec<u8>, Result<(), io::Error>) {
    let mut data = Vec::new();
    let end = now(stream.read_to_end(&mut data)).map(|_| ());
    for _ in 0..2 {
        let again = now(stream.read(&mut [0; 8]));
        assert_eq!(again.as_ref().map_err(io::Error::kind), end.as_ref().map(|()| &0).map_err(io::Error::kind));
    }
    (data, end)
}

/// B313.
#[test]
fn messages_are_read_as_bytes_in_whatever_frames_they_come() {
    let data = pattern(300 * KIB);
    let whole = encode(true, 0, BINARY, &data);
    let pieces: Vec<u8> = data.chunks(1000).flat_map(|piece| encode(true, 0, BINARY, piece)).collect();
    let mut fragments: Vec<u8> = encode(false, 0, BINARY, &[]);
    fragments.extend(data.chunks(1000).flat_map(|piece| encode(false, 0, CONTINUATION, piece)));
    fragments.extend(encode(true, 0, CONTINUATION, &[]));
    for bytes in [whole, pieces, fragments] {
        for at_once in [1, 700, 1 << 20] {
            let (mut stream, script) = open(Config::default());
            script.reads([], Step::Partial(if at_once == 1 { 77 } else { at_once }));
            script.input(&bytes);
            script.frame(CLOSE, close_body(Some(1000), ""));
            script.end();
            let mut read = Vec::new();
            let mut buf = vec![0; if at_once == 1 { 13 } else { at_once }];
            loop {
                match now(stream.read(&mut buf)).unwrap() {
                    0 => break,
                    n => read.extend_from_slice(&buf[..n]),
                }
            }
            assert!(read == data, "{} bytes", read.len());
        }
    }
}

/// B313.
#[test]
fn a_compressed_message_is_read_as_bytes() {
    let (mut stream, script) = open_compressed();
    let data = pattern(200 * KIB);
    script.input(encode(true, RSV1, BINARY, &Compressor::new(6, true).message(&data)));
    script.frame(CLOSE, close_body(Some(1000), ""));
    script.end();
    let (read, end) = to_the_end(&mut stream);
    assert!(read == data, "{} bytes", read.len());
    end.unwrap();
}

/// B314.
#[test]
fn the_size_of_a_message_has_no_limit_and_that_of_a_frame_has() {
    let config = Config::default().max_message_size(1000).max_fragments(3).max_frame_size(500);
    let (mut stream, script) = open(config);
    let data = pattern(2500);
    let mut bytes = encode(false, 0, BINARY, &[]);
    bytes.extend(data.chunks(500).flat_map(|piece| encode(false, 0, CONTINUATION, piece)));
    script.input([bytes, encode(true, 0, CONTINUATION, &[]), encode(true, 0, BINARY, &[7; 501])].concat());
    let mut read = vec![0; 2500];
    now(stream.read_exact(&mut read)).unwrap();
    assert_eq!(read, data);
    let error = now(stream.read(&mut [0; 8])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(matches!(cause(&error), Error::Limit(LimitExceeded::FrameSize { len: 501, limit: 500 })), "{error}");
    assert_eq!(script.wire().close(), Some(&close_body(Some(1009), "")[..]));
}

/// B314.
#[test]
fn an_empty_message_reads_as_nothing_and_the_slice_is_empty_at_the_end_only() {
    let (mut stream, script) = open(Config::default());
    let empty = [encode(true, 0, BINARY, b""), encode(true, 0, TEXT, b""), encode(true, 0, PING, b"?")].concat();
    script.input(&empty);
    assert!(is_waiting(stream.read(&mut [0; 8])));
    assert!(is_waiting(stream.fill_buf()));
    script.input([&empty[..], &encode(true, 0, BINARY, b"one\ntwo\nthree"), &empty].concat());
    assert_eq!(now(stream.fill_buf()).unwrap(), b"one\ntwo\nthree");
    stream.consume(0);
    let mut line = String::new();
    now(stream.read_line(&mut line)).unwrap();
    stream.consume(2);
    assert_eq!((&*line, now(stream.fill_buf()).unwrap()), ("one\n", &b"o\nthree"[..]));
    stream.consume(2);
    // A line goes on in the next message.
    script.input([&empty[..], &encode(true, 0, BINARY, b"teen\n")].concat());
    line.clear();
    now(stream.read_line(&mut line)).unwrap();
    assert_eq!(line, "threeteen\n");
    assert!(is_waiting(stream.fill_buf()));
    script.frame(CLOSE, close_body(None, ""));
    script.end();
    assert_eq!(now(stream.fill_buf()).unwrap(), b"");
    assert_eq!(script.wire().payloads(PONG).len(), 4, "each ping is answered");
}

/// B315.
#[test]
fn a_normal_close_reads_as_the_end_and_every_other_end_is_an_error() {
    for code in [None, Some(1000), Some(1001), Some(1002), Some(1003), Some(1008), Some(1011), Some(1012), Some(4000)] {
        let (mut stream, script) = open(Config::default());
        script.frame(BINARY, b"all of it");
        script.frame(CLOSE, close_body(code, ""));
        script.end();
        let (data, end) = to_the_end(&mut stream);
        assert_eq!(data, b"all of it");
        match code {
            None | Some(1000 | 1001) => end.unwrap(),
            Some(code) => {
                let error = end.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                assert!(matches!(cause(&error), Error::Closed(closed) if closed.code == code), "{error}");
            }
        }
    }
    let ends: [(Option<Step>, Vec<u8>, ErrorKind); 4] = [
        (None, vec![], ErrorKind::UnexpectedEof),
        // Within a message.
        (None, encode(false, 0, BINARY, b""), ErrorKind::UnexpectedEof),
        (Some(Step::Error(ErrorKind::ConnectionReset)), vec![], ErrorKind::ConnectionReset),
        (None, vec![0xff, 0xff], ErrorKind::InvalidData),
    ];
    for (step, bytes, kind) in ends {
        let (mut stream, script) = open(Config::default());
        script.frame(BINARY, b"all of it");
        script.input(bytes);
        if let Some(step) = step {
            script.reads([Step::Ready], step);
        }
        script.end();
        let (data, end) = to_the_end(&mut stream);
        let error = end.unwrap_err();
        assert_eq!((&data[..], error.kind()), (&b"all of it"[..], kind), "{error}");
        cause(&error);
    }
}

/// The peer closes in the middle of a message: half of it is no end.
///
/// B315.
#[test]
fn a_close_within_a_message_is_an_error() {
    let (mut stream, script) = open(Config::default());
    script.input(encode(false, 0, BINARY, b"half"));
    script.frame(CLOSE, close_body(Some(1000), ""));
    script.end();
    let (data, end) = to_the_end(&mut stream);
    assert_eq!((&data[..], end.unwrap_err().kind()), (&b"half"[..], ErrorKind::UnexpectedEof));
}

/// B316.
#[test]
fn a_text_is_invalid_data_at_its_first_byte_and_once_and_fails_with_1003() {
    let fragments = [encode(false, 0, TEXT, b""), encode(true, 0, CONTINUATION, b"text")].concat();
    for (text, silent) in [(encode(true, 0, TEXT, b"text"), 2), (fragments, 4)] {
        let (mut stream, script) = open(Config::default());
        script.frame(BINARY, b"before");
        let mut data = [0; 16];
        assert_eq!(now(stream.read(&mut data)).unwrap(), 6);
        script.input(&text[..silent]);
        assert!(is_waiting(stream.read(&mut data)), "no byte of the text has come");
        script.input(&text[silent..=silent]);
        let error = now(stream.read(&mut data)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(matches!(cause(&error), Error::UnexpectedText), "{error}");
        assert_eq!(script.wire().close(), Some(&close_body(Some(1003), "")[..]));
        script.input(&text[silent + 1..]);
        script.frame(BINARY, b"behind");
        script.end();
        for _ in 0..3 {
            assert_eq!(now(stream.read(&mut data)).unwrap(), 0, "it was told");
        }
        let error = now(stream.write(b"late")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(cause(&error), Error::UnexpectedText), "{error}");
    }
}

/// B317.
#[test]
fn the_stream_of_messages_comes_back_behind_the_message_at_hand() {
    let (mut stream, script) = open(Config::default());
    script.input([encode(true, 0, BINARY, b"at hand"), encode(true, 0, TEXT, "next".as_bytes())].concat());
    now(stream.write_all(b"written")).unwrap();
    now(stream.read_exact(&mut [0; 2])).unwrap();
    let mut ws = stream.into_inner();
    assert_eq!(now(ws.next()).unwrap().unwrap(), Message::from("next"));
    now(ws.flush()).unwrap();
    assert_eq!(script.wire().messages(), [(false, b"written".to_vec())]);
}

/// Each way to read on skips what has not come of the message, and halves do, too.
///
/// B317.
#[tokio::test]
async fn what_still_comes_of_the_message_at_hand_is_skipped() {
    for way in 0..4 {
        let (mut peer, io) = Peer::pipe(1 << 20);
        let mut stream = WebSocketStream::from_upgraded(io, Config::default()).into_byte_stream();
        peer.frame(false, 0, BINARY, b"at hand").await;
        let mut data = [0; 4];
        stream.read_exact(&mut data).await.unwrap();
        peer.frame(true, 0, CONTINUATION, b"the rest").await;
        peer.binary(b"next").await;
        let mut ws = stream.into_inner();
        let next = match way {
            0 => ws.next().await.unwrap().unwrap().as_bytes().to_vec(),
            1 => ws.next_ref().await.unwrap().unwrap().as_bytes().to_vec(),
            2 => {
                ws.into_byte_stream().read_exact(&mut data).await.unwrap();
                data.to_vec()
            }
            _ => ws.into_split().1.next().await.unwrap().unwrap().as_bytes().to_vec(),
        };
        assert_eq!(next, b"next", "{way}");
    }
}

/// B317.
#[tokio::test]
async fn a_drop_drops_the_transport() {
    let (mut peer, io) = Peer::pipe(1 << 20);
    let mut stream = WebSocketStream::from_upgraded(io, Config::default()).into_byte_stream();
    stream.write_all(b"lost").await.unwrap();
    drop(stream);
    peer.expect_eof().await;
}

/// Both directions are larger than all that is between: none may wait for the other.
///
/// B318.
#[tokio::test]
async fn a_reader_and_a_writer_are_two_tasks() {
    const LEN: usize = 1 << 20;
    let (peer, io) = Peer::pipe(4 * KIB);
    let config = Config::default().write_high_water_mark(4 * KIB).read_buffer_max(4 * KIB);
    let (mut reader, mut writer) = split(WebSocketStream::from_upgraded(io, config).into_byte_stream());
    let data = pattern(LEN);
    let writing = tokio::spawn({
        let data = data.clone();
        async move {
            for piece in data.chunks(10_000) {
                writer.write_all(piece).await.unwrap();
                yield_now().await;
            }
            writer.flush().await.unwrap();
            writer.shutdown().await.unwrap();
        }
    });
    let serving = tokio::spawn(echo(peer, LEN));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == data, "{} bytes", read.len());
    writing.await.unwrap();
    serving.await.unwrap();
}

/// Says what it hears, as one message in many frames, until the client closes.
async fn echo(mut peer: Peer<tokio::io::DuplexStream>, len: usize) {
    let mut echoed = 0;
    while echoed < len {
        let (opcode, data) = peer.expect_message().await;
        assert_eq!(opcode, BINARY);
        peer.frame(false, 0, if echoed == 0 { BINARY } else { CONTINUATION }, &data).await;
        echoed += data.len();
    }
    peer.frame(true, 0, CONTINUATION, b"").await;
    peer.expect_close(1000, "").await;
    peer.close(1000, "").await;
}

/// One task that moves both directions: a tunnel.
///
/// B318.
#[tokio::test]
async fn a_tunnel_in_one_task_waits_for_neither_side_alone() {
    const LEN: usize = 1 << 20;
    let (peer, io) = Peer::pipe(4 * KIB);
    let mut stream = WebSocketStream::from_upgraded(io, Config::default()).into_byte_stream();
    let (near, mut far) = duplex(4 * KIB);
    let serving = tokio::spawn(echo(peer, LEN));
    let tunnel = tokio::spawn(async move { copy_bidirectional(&mut far, &mut stream).await });
    let (reader, mut writer) = split(near);
    let mut reader = BufReader::new(reader);
    let data = pattern(LEN);
    let mut read = vec![0; LEN];
    let (wrote, got) = tokio::join!(writer.write_all(&data), reader.read_exact(&mut read));
    wrote.unwrap();
    got.unwrap();
    assert!(read == data);
    drop((reader, writer));
    let (up, down) = tunnel.await.unwrap().unwrap();
    assert_eq!((up, down), (LEN as u64, LEN as u64));
    serving.await.unwrap();
}
