//! Violations by the peer: what stands before one is delivered, then comes one error, and the peer is told why.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; each table names the ones that it shows.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_body, encode, long_head},
    peer::Peer,
    server::Script,
};
use tokio::time::Instant;
use wsflow::{
    CloseCode, CloseFrame, Config, Error, LimitExceeded, Message, Pong, ReadyState, UpgradedParts, Violation,
    WebSocketStream,
};

use crate::support::watch::{PIECES, assert_same, close_frame, open, trace};

/// What a peer sends, the messages that are whole before it goes wrong, and what it is called.
struct Case {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    error: Expected,
    code: u16,
    config: Config,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Protocol(Violation),
    Limit(LimitExceeded),
}

impl Case {
    /// A good message, and then `bytes`, which break the rules.
    fn new(bytes: impl AsRef<[u8]>, violation: Violation) -> Self {
        let code = match violation {
            Violation::InvalidUtf8 | Violation::CloseReasonUtf8 => 1007,
            _ => 1002,
        };
        let bytes = [&encode(true, 0, TEXT, b"before"), bytes.as_ref()].concat();
        let (error, config) = (Expected::Protocol(violation), Config::default());
        Self { bytes, messages: vec!["before".into()], error, code, config }
    }

    fn limit(config: Config, bytes: impl AsRef<[u8]>, limit: LimitExceeded, code: u16) -> Self {
        let bytes = [&encode(true, 0, TEXT, b"before"), bytes.as_ref()].concat();
        Self { bytes, messages: vec!["before".into()], error: Expected::Limit(limit), code, config }
    }

    fn and(mut self, message: impl Into<Message>) -> Self {
        self.messages.push(message.into());
        self
    }

    fn check(&self, error: &Error) {
        let came = match error {
            Error::ProtocolViolation(violation) => Expected::Protocol(*violation),
            Error::Limit(limit) => Expected::Limit(*limit),
            other => panic!("{:?} was expected: {other:?}", self.error),
        };
        assert_eq!(came, self.error);
        assert_eq!(error.close_code(), Some(CloseCode::from(self.code)), "{error:?}");
    }
}

/// Shows every case over every way that its bytes can come.
async fn show(cases: impl IntoIterator<Item = Case>) {
    let server = Script::bind().await;
    for case in cases {
        over_memory(&case).await;
        as_leftover(&case).await;
        over_tcp(&case, &server).await;
    }
}

/// One byte at a time and all at once, with more behind it that means nothing.
async fn over_memory(case: &Case) {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(case.config.clone(), at_once);
        let serving = async {
            peer.raw(&case.bytes).await;
            peer.raw(encode(true, 0, TEXT, b"late")).await;
            peer.close(1000, "late").await;
            peer.finish().await;
            peer.rest().await.into_iter().filter(|frame| frame.opcode != PONG).collect::<Vec<_>>()
        };
        let (trace, frames) = tokio::join!(
            async {
                let trace = trace(&mut ws).await;
                drop(ws);
                trace
            },
            serving
        );
        assert_eq!(trace.messages, case.messages, "{:?}", case.error);
        case.check(trace.error.as_ref().expect("an error"));
        assert_eq!(trace.end(), (1006, "", false), "{:?}", case.error);
        assert_eq!(frames, [close_frame(case.code, "")], "{:?}", case.error);
    }
}

/// In the bytes that came behind the opening handshake.
async fn as_leftover(case: &Case) {
    let (mut peer, io) = Peer::pipe(4096);
    let read_buf = Bytes::from(case.bytes.clone());
    let parts = UpgradedParts::new(io).read_buf(read_buf).config(case.config.clone());
    let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("no extensions");
    let (trace, frames) = tokio::join!(trace(&mut ws), async {
        peer.finish().await;
        peer.rest().await.into_iter().filter(|frame| frame.opcode != PONG).collect::<Vec<_>>()
    });
    assert_eq!(trace.messages, case.messages, "{:?}", case.error);
    case.check(trace.error.as_ref().expect("an error"));
    assert_eq!(frames, [close_frame(case.code, "")], "{:?}", case.error);
}

/// Over TCP, with a user who drops the connection at the error while the peer goes on pouring.
async fn over_tcp(case: &Case, server: &Script) {
    let builder = WebSocketStream::builder(server.url("/")).config(case.config.clone());
    let (ws, mut peer) = tokio::join!(builder.connect(), server.accept());
    let mut ws = ws.expect("open");
    let using = async {
        for message in &case.messages {
            assert_eq!(&ws.next().await.expect("a message").expect("a message"), message);
        }
        case.check(&ws.next().await.expect("an error").expect_err("an error"));
        drop(ws);
    };
    let ((), frames) = tokio::join!(using, async {
        peer.raw(&case.bytes).await;
        let rest = peer.rest_while_pouring(&encode(true, 0, BINARY, &[7; 40_000])).await;
        rest.into_iter().filter(|frame| frame.opcode != PONG).collect::<Vec<_>>()
    });
    assert_eq!(frames, [close_frame(case.code, "")], "{:?}", case.error);
}

/// B152.
#[tokio::test]
async fn masked_frames_are_refused() {
    let frames = [
        vec![0x81, 0x81, 1, 2, 3, 4, b'a' ^ 1],
        vec![0x82, 0x80, 0, 0, 0, 0],
        vec![0x89, 0x80, 1, 2, 3, 4],
        vec![0x8a, 0x80, 1, 2, 3, 4],
        vec![0x88, 0x80, 1, 2, 3, 4],
        vec![0x81, 0xfe, 0, 200, 1, 2, 3, 4],
    ];
    show(frames.map(|bytes| Case::new(bytes, Violation::MaskedFrame))).await;
    let inside = [encode(false, 0, TEXT, b"a"), vec![0x80, 0x81, 1, 2, 3, 4, b'b' ^ 1]].concat();
    show([Case::new(inside, Violation::MaskedFrame)]).await;
}

/// B153.
#[tokio::test]
async fn reserved_bits_are_refused_on_every_kind_of_frame() {
    for rsv in 1..=7 {
        let refused = Violation::ReservedBits(rsv);
        show([TEXT, BINARY, CLOSE, PING, PONG].map(|opcode| Case::new(encode(true, rsv, opcode, b""), refused))).await;
        let first = Case::new(encode(false, rsv, BINARY, b"a"), refused);
        let next = [encode(false, 0, TEXT, b"a"), encode(true, rsv, CONTINUATION, b"b")].concat();
        let between = [encode(false, 0, TEXT, b"a"), encode(true, rsv, PING, b"b")].concat();
        show([first, Case::new(next, refused), Case::new(between, refused)]).await;
    }
}

/// B154.
#[tokio::test]
async fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let refused = Violation::ReservedOpcode(opcode);
        let between = [encode(false, 0, TEXT, b"a"), encode(true, 0, opcode, b"")].concat();
        let cases = [
            encode(true, 0, opcode, b""),
            encode(true, 0, opcode, b"test"),
            encode(false, 0, opcode, &[0; 70_000]),
            between,
        ];
        show(cases.map(|bytes| Case::new(bytes, refused))).await;
    }
}

/// B155.
#[tokio::test]
async fn control_frames_in_pieces_or_too_long_are_refused() {
    for opcode in [CLOSE, PING, PONG] {
        show([
            Case::new(encode(false, 0, opcode, b""), Violation::FragmentedControl),
            Case::new(encode(false, 0, opcode, &close_body(Some(1000), "x")), Violation::FragmentedControl),
            Case::new(encode(true, 0, opcode, &[b'a'; 126]), Violation::ControlTooLong),
            Case::new(encode(true, 0, opcode, &[b'a'; 65_536]), Violation::ControlTooLong),
            Case::new([0x80 | opcode, 126, 0, 1, 0], Violation::ControlTooLong),
        ])
        .await;
    }
}

/// B155.
#[tokio::test]
async fn fragments_out_of_order_are_refused() {
    let first = encode(false, 0, TEXT, b"a");
    let last = encode(true, 0, CONTINUATION, b"b");
    let (unexpected, expected) = (Violation::UnexpectedContinuation, Violation::ExpectedContinuation);
    show([
        Case::new(&last, unexpected),
        Case::new(encode(false, 0, CONTINUATION, b""), unexpected),
        Case::new([&first[..], &last, &last].concat(), unexpected).and("ab"),
        Case::new([&encode(true, 0, BINARY, b"x")[..], &last].concat(), unexpected).and(Message::binary(&b"x"[..])),
        Case::new([&first[..], &encode(true, 0, TEXT, b"b")].concat(), expected),
        Case::new([&first[..], &encode(false, 0, BINARY, b"")].concat(), expected),
        Case::new([&first[..], &encode(true, 0, PING, b""), &first].concat(), expected),
    ])
    .await;
}

/// B155.
#[tokio::test]
async fn lengths_in_more_bytes_than_they_need_are_refused() {
    for len in [0, 1, 125] {
        let short = [&[0x82, 126][..], &(len as u16).to_be_bytes()].concat();
        show([Case::new(short, Violation::NonMinimalLength(len))]).await;
    }
    for len in [0, 125, 126, 65_535] {
        show([Case::new(long_head(0x82, len), Violation::NonMinimalLength(len))]).await;
    }
    for len in [1 << 63, u64::MAX] {
        show([Case::new(long_head(0x81, len), Violation::LengthOverflow)]).await;
    }
}

/// B148.
#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let texts: [&[u8]; 9] = [
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"fine and then \xfe",
        // Cut at the end.
        b"\xe5\x8c",
        b"fine \xf0\x9f\x94",
        b"\xc3",
    ];
    show(texts.map(|text| Case::new(encode(true, 0, TEXT, text), Violation::InvalidUtf8))).await;
    let long = [&[b'a'; 70_000][..], b"\xff"].concat();
    show([Case::new(encode(true, 0, TEXT, &long), Violation::InvalidUtf8)]).await;
}

/// B149.
#[tokio::test]
async fn text_that_is_not_utf_8_over_several_fragments_is_refused() {
    let rows: [&[&[u8]]; 6] = [
        &[b"\xe5", b"\x41", b""],
        &[b"\xe5\x8c", b"\xb6\xb6"],
        &[b"a", b"\xff"],
        // Cut at the end of the message.
        &[b"\xe5", b"\x8c"],
        &[b"\xe5\x8c", b""],
        &[b"", b"\xf0", b"\x9f", b"\x94"],
    ];
    show(rows.map(|pieces| {
        let last = pieces.len() - 1;
        let frame = |(i, piece): (usize, &&[u8])| encode(i == last, 0, if i == 0 { TEXT } else { CONTINUATION }, piece);
        Case::new(pieces.iter().enumerate().flat_map(frame).collect::<Vec<_>>(), Violation::InvalidUtf8)
    }))
    .await;
}

/// The peer sends no more until it was told, and waits for it.
/// B149.
#[tokio::test]
async fn bad_text_is_refused_before_its_frame_has_ended() {
    let rows = [
        [&[0x81, 100][..], b"fine \xff"].concat(),
        [&[0x81, 100][..], b"fine \xed\xa0"].concat(),
        [&[0x01, 100][..], b"fine \xff"].concat(),
        [&long_head(0x81, 1 << 20)[..], b"fine \xff"].concat(),
        [&encode(false, 0, TEXT, b"\xe5")[..], &[0x80, 100, 0x41]].concat(),
        encode(false, 0, TEXT, b"\xff"),
    ];
    for bytes in rows {
        for at_once in PIECES {
            let (mut peer, mut ws) = open(Config::default(), at_once);
            let (item, ()) = tokio::join!(ws.next(), async {
                peer.raw(&bytes).await;
                peer.expect_close(1007, "").await;
                peer.expect_eof().await;
            });
            let error = item.expect("an error").expect_err("an error");
            assert!(matches!(error, Error::ProtocolViolation(Violation::InvalidUtf8)), "{error:?}");
        }
    }
}

/// B127.
#[tokio::test]
async fn close_codes_that_may_not_be_sent_are_refused() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 5001, 65_535] {
        let refused = Violation::CloseCode(code.into());
        show(["", "why"].map(|reason| Case::new(encode(true, 0, CLOSE, &close_body(Some(code), reason)), refused)))
            .await;
    }
}

/// B128, B129.
#[tokio::test]
async fn close_bodies_of_one_byte_or_with_a_bad_reason_are_refused() {
    show([
        Case::new(encode(true, 0, CLOSE, b"\x03"), Violation::CloseBodyOfOneByte),
        Case::new(encode(true, 0, CLOSE, b"\x03\xe8\xff"), Violation::CloseReasonUtf8),
        Case::new(encode(true, 0, CLOSE, b"\x03\xe8ok \xe5\x8c"), Violation::CloseReasonUtf8),
        // A code that may not be sent is found first.
        Case::new(encode(true, 0, CLOSE, b"\x03\xee\xff"), Violation::CloseCode(1006.into())),
    ])
    .await;
}

/// B150.
#[tokio::test]
async fn messages_and_frames_beyond_their_limits_are_refused() {
    let message = || Config::default().max_message_size(10);
    let too_big = LimitExceeded::MessageSize { limit: 10 };
    let whole = [encode(true, 0, BINARY, b"0123456789"), encode(true, 0, BINARY, &[0; 11])].concat();
    let whole = || Case::limit(message(), &whole, too_big, 1009).and(Message::binary(&b"0123456789"[..]));
    let exact = [encode(false, 0, TEXT, b"01234"), encode(true, 0, CONTINUATION, b"56789")].concat();
    let over = [encode(false, 0, TEXT, b"01234"), encode(false, 0, CONTINUATION, b"567890")].concat();
    let fragments = Case::limit(message(), [exact, over].concat(), too_big, 1009).and("0123456789");
    // The length alone is enough.
    let declared = Case::limit(message(), [0x81, 11], too_big, 1009);
    let huge = Case::limit(message(), long_head(0x82, u64::MAX / 2), too_big, 1009);
    show([whole(), fragments, declared, huge]).await;

    let frame = || Config::default().max_frame_size(10);
    let too_long = |len| LimitExceeded::FrameSize { len, limit: 10 };
    let exact = [encode(false, 0, TEXT, b"0123456789"), encode(true, 0, CONTINUATION, b"0123456789")].concat();
    let next = [&exact[..], &encode(false, 0, BINARY, b""), &encode(true, 0, CONTINUATION, &[0; 11])].concat();
    show([
        Case::limit(frame(), encode(true, 0, BINARY, &[0; 11]), too_long(11), 1009),
        Case::limit(frame(), next, too_long(11), 1009).and("01234567890123456789"),
        Case::limit(frame(), long_head(0x01, 1 << 40), too_long(1 << 40), 1009),
    ])
    .await;

    // Even without any limit nothing is put together that no memory could hold.
    let unlimited = Config::default().max_message_size(None);
    let first = encode(false, 0, BINARY, b"a");
    let most = [first, long_head(0x80, u64::MAX / 2)].concat();
    let limit = LimitExceeded::MessageSize { limit: isize::MAX as usize };
    show([Case::limit(unlimited, most, limit, 1009)]).await;
}

/// B151.
#[tokio::test]
async fn more_fragments_than_allowed_are_refused() {
    let (first, next) = (encode(false, 0, TEXT, b"a"), encode(false, 0, CONTINUATION, b""));
    let last = encode(true, 0, CONTINUATION, b"b");
    let limit = |limit| (Config::default().max_fragments(limit), LimitExceeded::Fragments { limit });
    let ((three, too_many), (one, not_one)) = (limit(3), limit(1));
    show([
        // A ping is no fragment.
        Case::limit(
            three.clone(),
            [&first[..], &next, &encode(true, 0, PING, b""), &last, &first, &next, &next, &next].concat(),
            too_many,
            1008,
        )
        .and("ab"),
        Case::limit(three, [&first[..], &next, &next, &last].concat(), too_many, 1008),
        Case::limit(one, [&first[..], &last].concat(), not_one, 1008),
    ])
    .await;
    // The first frame counts, so that 0 is 1.
    let none = Config::default().max_fragments(0);
    let whole = encode(true, 0, TEXT, b"w");
    let bytes = [whole, first, last].concat();
    show([Case::limit(none, bytes, LimitExceeded::Fragments { limit: 1 }, 1008).and("w")]).await;
}

/// B161.
#[tokio::test]
async fn the_first_of_several_violations_counts() {
    let bytes = [encode(true, 0, TEXT, b"\xff"), encode(true, 0, 3, b""), vec![0x81, 0x80]].concat();
    show([Case::new(bytes, Violation::InvalidUtf8)]).await;
}

#[tokio::test]
async fn a_failed_connection_tells_its_writer_and_its_pings_the_same_error() {
    let (mut peer, io) = Peer::pipe(100);
    let read_buf = Bytes::from_static(&[0x83, 0]);
    let config = Config::default().fragment_size(200);
    let mut ws = WebSocketStream::from_upgraded_parts(UpgradedParts::new(io).read_buf(read_buf).config(config))
        .expect("no extensions");
    let pong: Pong = ws.send_ping("p").expect("a ping");
    ws.feed(Message::binary(vec![5; 1000])).await.expect("room");
    let (error, ()) = tokio::join!(ws.next(), async {
        assert_eq!(peer.expect_frame().await.opcode, PING);
        // The one that the transport began to take.
        assert_eq!(peer.expect_frame().await.payload.len(), 200);
        peer.expect_close(1002, "").await;
    });
    let error = error.expect("an error").expect_err("an error");
    assert_same(&ws.flush().await.expect_err("flushed"), &error);
    assert_same(&ws.feed("x".into()).await.expect_err("fed"), &error);
    assert_same(&ws.send("x".into()).await.expect_err("sent"), &error);
    assert_same(&ws.send_ping("p").expect_err("pinged"), &error);
    assert_same(&pong.await.expect_err("an error"), &error);
    drop(peer);
    assert_same(&ws.close().await.expect_err("closed"), &error);
    assert!(ws.next().await.is_none());
}

/// A loop that reads and feeds needs no flush, whatever stands behind the message that it answers.
#[tokio::test]
async fn what_was_fed_before_a_violation_leaves_before_our_close() {
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    peer.raw([&encode(true, 0, TEXT, b"a question")[..], &[0x83, 0]].concat()).await;
    let question = ws.next().await.expect("open").expect("a question");
    ws.feed(question).await.expect("room");
    ws.next().await.expect("an error").expect_err("an error");
    assert_eq!(peer.expect_frame().await.payload, b"a question"[..]);
    peer.expect_close(1002, "").await;
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test]
async fn a_violation_inside_of_a_large_message_of_ours_is_answered_behind_its_frame() {
    let (mut peer, io) = Peer::pipe(1000);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default().fragment_size(50_000));
    ws.feed(Message::binary(vec![5; 500_000])).await.expect("room");
    let (trace, ()) = tokio::join!(trace(&mut ws), async {
        // A byte of the first frame has left when the violation comes.
        assert_eq!(peer.byte().await, 0x02);
        peer.raw([0x83, 0]).await;
        peer.put_back(0x02);
        let frame = peer.expect_frame().await;
        assert_eq!((frame.fin, frame.opcode, frame.payload.len()), (false, BINARY, 50_000));
        peer.expect_close(1002, "").await;
        peer.expect_eof().await;
        drop(peer);
    });
    assert!(matches!(trace.error, Some(Error::ProtocolViolation(Violation::ReservedOpcode(3)))), "{trace:?}");
    assert_eq!(ws.buffered_amount(), 450_000);
}

/// The error is held back for the peer to be told, but not for ever.
#[tokio::test(start_paused = true)]
async fn a_violation_by_a_peer_that_takes_nothing_is_reported_after_tcp_end_timeout() {
    let (mut peer, io) = Peer::pipe(100);
    let mut ws = WebSocketStream::from_upgraded(io, Config::default());
    let start = Instant::now();
    ws.feed(Message::binary(vec![5; 10_000])).await.expect("room");
    peer.raw([0x83, 0]).await;
    let error = ws.next().await.expect("an error").expect_err("an error");
    assert!(matches!(error, Error::ProtocolViolation(Violation::ReservedOpcode(3))), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(ws.ready_state(), ReadyState::Closed);
    assert_eq!(trace_after_error(&mut ws).await, 4);
    assert_eq!(ws.buffered_amount(), 10_000 - 92);

    async fn trace_after_error(ws: &mut WebSocketStream<tokio::io::DuplexStream>) -> u64 {
        let start = Instant::now() - Duration::from_secs(2);
        assert!(ws.next().await.is_none());
        start.elapsed().as_secs()
    }
}

#[tokio::test]
async fn a_violation_behind_our_own_close_sends_no_second_one() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), at_once);
        let (closed, frames) = tokio::join!(ws.close_with(CloseFrame::new(1000, "bye")), async {
            let frame = peer.expect_frame().await;
            peer.raw(encode(true, 0, CLOSE, &close_body(Some(1006), ""))).await;
            peer.finish().await;
            [vec![frame], peer.rest().await].concat()
        });
        assert_eq!(closed.expect("closed"), wsflow_closed(1006));
        assert_eq!(frames, [close_frame(1000, "bye")]);
        let trace = trace(&mut ws).await;
        assert!(matches!(trace.error, Some(Error::ProtocolViolation(Violation::CloseCode(_)))), "{trace:?}");
    }
}

fn wsflow_closed(code: u16) -> wsflow::Closed {
    wsflow::Closed::new(code, "", false)
}
