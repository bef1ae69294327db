//! What a peer does wrong with compression: one error, and a Close frame that says why reaches the server.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; the rules are those of RFC 7692.

use futures::StreamExt as _;
use testkit::{
    deflate::{Compressor, deflated},
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, encode},
    peer::Peer,
};
use tokio::io::DuplexStream;
use wsflow::{CloseCode, Config, Deflate, Error, LimitExceeded, Message, UpgradedParts, Violation, WebSocketStream};

use crate::support::watch::{PIECES, Pieces, close_frame, trace};

/// A connection over a pipe on which these extensions were agreed on.
fn open(
    config: Config,
    extensions: &str,
    at_once: usize,
) -> (Peer<DuplexStream>, WebSocketStream<Pieces<DuplexStream>>) {
    let (peer, io) = Peer::pipe(1 << 20);
    let parts = UpgradedParts::new(Pieces { io, at_once }).extensions(extensions).config(config);
    (peer, WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate"))
}

/// What a peer sends, the messages that are whole before it goes wrong, and what it is called.
struct Case {
    extensions: &'static str,
    config: Config,
    bytes: Vec<u8>,
    messages: Vec<Message>,
    violation: Violation,
}

impl Case {
    /// A good message, and then `bytes`, which break the rules.
    fn new(bytes: impl AsRef<[u8]>, violation: Violation) -> Self {
        let bytes = [&encode(true, RSV1, TEXT, &deflated("before")), bytes.as_ref()].concat();
        let (extensions, config) = ("permessage-deflate", Config::default());
        Self { extensions, config, bytes, messages: vec!["before".into()], violation }
    }

    /// The whole dialogue, one byte at a time and all at once.
    async fn show(&self) {
        for at_once in PIECES {
            let (mut peer, mut ws) = open(self.config.clone(), self.extensions, at_once);
            let using = async {
                let trace = trace(&mut ws).await;
                drop(ws);
                trace
            };
            let serving = async {
                peer.raw(&self.bytes).await;
                peer.raw(encode(true, RSV1, TEXT, &deflated("late"))).await;
                peer.close(1000, "late").await;
                peer.finish().await;
                peer.rest().await
            };
            let (trace, frames) = tokio::join!(using, serving);
            assert_eq!(trace.messages, self.messages, "{:?}", self.violation);
            let error = trace.error.as_ref().expect("an error");
            assert!(matches!(error, Error::ProtocolViolation(violation) if *violation == self.violation), "{error:?}");
            assert_eq!(trace.end(), (1006, "", false));
            let code = match self.violation {
                Violation::InvalidUtf8 | Violation::CompressedData => 1007,
                _ => 1002,
            };
            assert_eq!(error.close_code(), Some(CloseCode::from(code)));
            let frames: Vec<_> = frames.into_iter().filter(|frame| frame.opcode != PONG).collect();
            assert_eq!(frames, [close_frame(code, "")], "{:?}", self.violation);
        }
    }
}

/// B153.
#[tokio::test(start_paused = true)]
async fn the_bit_of_compression_without_agreement() {
    for config in [Config::default(), Config::default().deflate(Deflate::default())] {
        for opcode in [TEXT, BINARY] {
            let bytes = encode(true, RSV1, opcode, &deflated("x"));
            let case = Case::new([], Violation::ReservedBits(RSV1));
            Case { extensions: "", config: config.clone(), bytes, messages: Vec::new(), ..case }.show().await;
        }
    }
}

/// B153.
#[tokio::test(start_paused = true)]
async fn the_bit_of_compression_on_a_control_frame() {
    for opcode in [PING, PONG, CLOSE] {
        Case::new(encode(true, RSV1, opcode, b""), Violation::ReservedBits(RSV1)).show().await;
        // Inside of a message it is no better.
        let begun = encode(false, RSV1, TEXT, &[]);
        let bytes = [begun, encode(true, RSV1, opcode, b"")].concat();
        Case::new(bytes, Violation::ReservedBits(RSV1)).show().await;
    }
}

/// B153.
#[tokio::test(start_paused = true)]
async fn the_bit_of_compression_on_a_continuation() {
    for first in [0, RSV1] {
        let bytes = [encode(false, first, TEXT, &[]), encode(true, RSV1, CONTINUATION, &deflated("x"))].concat();
        Case::new(bytes, Violation::ReservedBits(RSV1)).show().await;
    }
}

/// B153.
#[tokio::test(start_paused = true)]
async fn the_other_reserved_bits_mean_nothing_with_compression_either() {
    for bits in [1, 2, 3, 5, 6, 7] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            Case::new(encode(true, bits, opcode, b""), Violation::ReservedBits(bits)).show().await;
        }
        let bytes = [encode(false, RSV1, TEXT, &[]), encode(true, bits, CONTINUATION, b"")].concat();
        Case::new(bytes, Violation::ReservedBits(bits)).show().await;
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_does_not_inflate() {
    // A message that refers to one which was never sent.
    let mut compressor = Compressor::new(9, true);
    compressor.message(&[b'x'; 40]);
    compressor.message(b"a text that is worth a reference to it");
    let referring = compressor.message(b"a text that is worth a reference to it");
    let noise = [
        // Blocks of type 3; a stored block with two lengths; a code that is over-subscribed; a distance without a code.
        vec![0b110],
        vec![0b111, 1, 2, 3],
        vec![0b000, 5, 0, 5, 0, 1, 2, 3, 4, 5],
        vec![0b100, 0xff, 0xff, 0xff, 0xff, 0xff],
        referring.clone(),
    ];
    for body in noise {
        for opcode in [TEXT, BINARY] {
            Case::new(encode(true, RSV1, opcode, &body), Violation::CompressedData).show().await;
            let (first, second) = body.split_at(1);
            let frames = [
                encode(false, RSV1, opcode, &[]),
                encode(false, 0, CONTINUATION, first),
                encode(true, 0, PING, b""),
                encode(true, 0, CONTINUATION, second),
            ];
            Case::new(frames.concat(), Violation::CompressedData).show().await;
        }
    }
    // A server that promised to forget its context and refers to it all the same.
    let text = b"a text that is worth a reference to it";
    let mut compressor = Compressor::new(9, true);
    let frames = [compressor.message(text), compressor.message(text)].map(|body| encode(true, RSV1, BINARY, &body));
    let messages = vec![Message::from(text.to_vec())];
    let case = Case::new([], Violation::CompressedData);
    let extensions = "permessage-deflate; server_no_context_takeover";
    Case { extensions, bytes: frames.concat(), messages, ..case }.show().await;
}

/// B148, B149.
#[tokio::test(start_paused = true)]
async fn inflated_text_that_is_not_utf8() {
    for text in [&b"\xff"[..], b"ok \xc0\x80", b"\xed\xa0\x80", b"cut \xe2\x82", &[b'a'; 40_000], b"\xf4\x90\x80\x80"] {
        let text = [text, if text.len() > 1000 { b"\xf0\x9f" } else { b"" }].concat();
        Case::new(encode(true, RSV1, TEXT, &deflated(&text)), Violation::InvalidUtf8).show().await;
    }
    // As binary it is none of anybody's business.
    let (mut peer, mut ws) = open(Config::default(), "permessage-deflate", 1);
    peer.frame(true, RSV1, BINARY, deflated(b"\xff")).await;
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::from(vec![0xff]));
}

/// B149.
#[tokio::test(start_paused = true)]
async fn invalid_utf8_is_found_before_the_message_ends() {
    for at_once in PIECES {
        let (mut peer, mut ws) = open(Config::default(), "permessage-deflate", at_once);
        let mut compressor = Compressor::new(6, true);
        let dialogue = async {
            // A frame of which more is to come, and a message of which more is to come.
            let body = compressor.flushed(b"good so far \xff");
            let frame = encode(false, RSV1, TEXT, &[&body[..], &[0; 100]].concat());
            peer.raw(&frame[..2 + body.len()]).await;
            peer.expect_close(1007, "").await;
        };
        let (item, ()) = tokio::join!(ws.next(), dialogue);
        assert!(matches!(item, Some(Err(Error::ProtocolViolation(Violation::InvalidUtf8)))), "{item:?}");
    }
}

/// The error that these bytes end in, after the messages before it.
async fn limited(config: Config, bytes: Vec<u8>, code: u16) -> (Vec<Message>, LimitExceeded) {
    let (mut peer, mut ws) = open(config, "permessage-deflate", 1 << 20);
    let (trace, frames) = tokio::join!(
        async {
            let trace = trace(&mut ws).await;
            drop(ws);
            trace
        },
        async {
            peer.raw(bytes).await;
            peer.finish().await;
            peer.rest().await
        }
    );
    assert_eq!(frames, [close_frame(code, "")]);
    match trace.error {
        Some(Error::Limit(limit)) => (trace.messages, limit),
        other => panic!("{other:?}"),
    }
}

/// B150.
#[tokio::test(start_paused = true)]
async fn a_message_may_inflate_to_the_limit_and_no_further() {
    for limit in [0, 1, 999, 16 * 1024, 100_000] {
        let config = Config::default().max_message_size(limit);
        // Zeros, and bytes that grow by being compressed: the limit is for what comes out.
        let noise: Vec<u8> = (0..=limit as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        for payload in [vec![0; limit + 1], noise] {
            let mut compressor = Compressor::new(1, true);
            let fits = encode(true, RSV1, BINARY, &compressor.message(&payload[..limit]));
            let body = compressor.message(&payload);
            let (first, second) = body.split_at(body.len() / 2);
            let frames = [encode(false, RSV1, BINARY, first), encode(true, 0, CONTINUATION, second)].concat();
            let (messages, exceeded) = limited(config.clone(), [fits, frames].concat(), 1009).await;
            assert_eq!(messages, [Message::from(payload[..limit].to_vec())]);
            assert_eq!(exceeded, LimitExceeded::MessageSize { limit });
        }
    }
}

/// B150.
#[tokio::test(start_paused = true)]
async fn the_limit_of_a_frame_is_one_of_what_is_on_the_wire() {
    let payload = vec![0; 50_000];
    let body = deflated(&payload);
    let frame = encode(true, RSV1, BINARY, &body);
    let exact = Config::default().max_frame_size(body.len());
    let (messages, exceeded) =
        limited(exact, [frame, encode(true, RSV1, BINARY, &[&body[..], &[0]].concat())].concat(), 1009).await;
    assert_eq!(messages, [Message::from(payload)]);
    assert_eq!(exceeded, LimitExceeded::FrameSize { len: body.len() as u64 + 1, limit: body.len() });
}

/// B151.
#[tokio::test(start_paused = true)]
async fn compressed_fragments_are_counted() {
    let empty = encode(false, 0, CONTINUATION, &[]);
    let bytes = [encode(false, RSV1, BINARY, &[]), empty.repeat(10)].concat();
    let (_, exceeded) = limited(Config::default().max_fragments(10), bytes, 1008).await;
    assert_eq!(exceeded, LimitExceeded::Fragments { limit: 10 });
}
