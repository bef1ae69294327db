//! permessage-deflate against an inflater of the naive way: any compressed bytes to the client mean the same to both, and
//! what the client compresses is what was sent.
#![no_main]

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use flate2::{Compress, Compression, FlushCompress};
use futures::{SinkExt as _, Stream as _};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use testkit::{
    frame::{self, RSV1},
    hostile_io::HostileIo,
    inflate::{Inflater, Wrong},
};
use wsflow::{CloseFrame, Config, Deflate, Error, Message, UpgradedParts, Violation, WebSocketStream};
use wsflow_fuzz::{judge, poll};

/// Beyond it a message is a violation.
const MAX_MESSAGE: usize = 64 * 1024;
/// Beyond it, too: how many blocks of a message may be said to be the last.
const MAX_FINAL_BLOCKS: usize = 8;

#[derive(Debug, Arbitrary)]
struct Input {
    client_bits: u8,
    client_no_context_takeover: bool,
    server_no_context_takeover: bool,
    level: u8,
    mem_level: u8,
    threshold: u8,
    fragment_size: Option<u16>,
    read_buffer_max: u16,
    reads: Vec<u8>,
    from_server: Vec<FromServer>,
    from_client: Vec<FromClient>,
}

#[derive(Debug, Arbitrary)]
enum FromServer {
    /// Any bytes, said to be compressed, in two frames.
    Raw {
        payload: Vec<u8>,
        cut: u8,
    },
    /// What a compressor makes, with a byte changed.
    Compressed {
        payload: Vec<u8>,
        repeat: u8,
        at: u16,
        xor: u8,
        is_final: bool,
    },
    /// Stored blocks, or blocks with fixed codes.
    Blocks(Vec<(u8, Vec<u8>)>),
    Plain(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct FromClient {
    payload: Vec<u8>,
    repeat: u16,
    is_compressed: bool,
    is_lent: bool,
}

fn compress(payload: &[u8], is_final: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 1024);
    let flush = if is_final { FlushCompress::Finish } else { FlushCompress::Sync };
    Compress::new(Compression::new(6), false).compress_vec(payload, &mut out, flush).expect("compressed");
    if !is_final {
        out.truncate(out.len() - 4);
    }
    out
}

impl FromServer {
    /// The payload, and where it is cut into frames; `None`: it is not compressed.
    fn payload(&self) -> (Vec<u8>, Option<usize>) {
        match self {
            Self::Raw { payload, cut } => (payload.clone(), Some(usize::from(*cut))),
            Self::Compressed { payload, repeat, at, xor, is_final } => {
                let mut bytes = compress(&payload.repeat(usize::from(*repeat) + 1), *is_final);
                let at = usize::from(*at) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= xor;
                }
                (bytes, Some(at))
            }
            Self::Blocks(blocks) => {
                let mut bytes = Vec::new();
                for (head, payload) in blocks {
                    bytes.push(head & 1);
                    let len = payload.len() as u16;
                    bytes.extend(len.to_le_bytes());
                    bytes.extend((!len).to_le_bytes());
                    bytes.extend(payload);
                }
                (bytes, Some(3))
            }
            Self::Plain(payload) => (payload.clone(), None),
        }
    }
}

fuzz_target!(|input: Input| poll::run(target(input)));

async fn target(input: Input) {
    let bits = 9 + input.client_bits % 7;
    let mut extensions = format!("permessage-deflate; client_max_window_bits={bits}");
    if input.client_no_context_takeover {
        extensions += "; client_no_context_takeover";
    }
    if input.server_no_context_takeover {
        extensions += "; server_no_context_takeover";
    }
    let deflate = Deflate::default()
        .level(input.level % 10)
        .mem_level(input.mem_level)
        .threshold(usize::from(input.threshold))
        .client_max_window_bits(bits);
    let config = Config::default()
        .deflate(deflate)
        .max_message_size(MAX_MESSAGE)
        .fragment_size(input.fragment_size.map(|size| usize::from(size) + 16))
        .read_buffer_max(usize::from(input.read_buffer_max))
        .keepalive_interval(None);
    let io = HostileIo::new(input.reads, Vec::new(), Vec::new(), true);
    let parts = UpgradedParts::new(io.clone()).extensions(extensions).config(config);
    let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("valid extensions");

    let mut sent = Vec::new();
    for FromClient { payload, repeat, is_compressed, is_lent } in input.from_client {
        let payload = payload.repeat(usize::from(repeat % 600) + 1);
        ws.set_compression(is_compressed);
        if is_lent {
            ws.send_ref(&payload).await.expect("open");
        } else {
            ws.send(Message::binary(payload.clone())).await.expect("open");
        }
        sent.push(payload);
    }
    let written = judge::client(&io.output(), true);
    assert_eq!(written.messages.len(), sent.len());
    let mut inflater = Inflater::new(bits, !input.client_no_context_takeover);
    for (message, payload) in written.messages.iter().zip(&sent) {
        match message.is_compressed {
            true => assert!(inflater.message(&message.payload, payload.len()).as_ref() == Ok(payload)),
            false => assert!(&message.payload == payload),
        }
    }

    let mut inflater = Inflater::new(15, !input.server_no_context_takeover);
    for from_server in input.from_server {
        let (payload, cut) = from_server.payload();
        let expected = match cut {
            Some(cut) => {
                let (start, end) = payload.split_at(cut.min(payload.len()));
                io.input(&frame::encode(false, RSV1, frame::BINARY, start));
                io.input(&frame::encode(true, 0, frame::CONTINUATION, end));
                inflater.message(&payload, MAX_MESSAGE)
            }
            None => {
                io.input(&frame::encode(true, 0, frame::BINARY, &payload));
                Ok(payload)
            }
        };
        let got = next(&mut ws);
        match (expected, &got) {
            (Ok(expected), Poll::Ready(Some(Ok(message)))) => assert!(message.as_bytes() == expected, "other bytes"),
            (Ok(_), _) if inflater.final_blocks > MAX_FINAL_BLOCKS => return,
            // A message that ends within a block is not judged: what comes of it is its own.
            (Err(Wrong::Truncated), _) => return,
            (Err(Wrong::Large), Poll::Ready(Some(Err(Error::Limit(_) | Error::ProtocolViolation(_))))) => break,
            (Err(_), Poll::Ready(Some(Err(Error::ProtocolViolation(Violation::CompressedData))))) => break,
            // It is corrupt only beyond the limit.
            (Err(Wrong::Corrupt), Poll::Ready(Some(Err(Error::Limit(_))))) => break,
            (expected, _) => panic!("{got:?} instead of {:?}", expected.map(|it| it.len())),
        }
    }
    poll::must_end("a close", ws.close_with(CloseFrame::new(1000, ""))).await.expect("a valid close");
}

/// All that it needs has come.
fn next(ws: &mut WebSocketStream<HostileIo>) -> Poll<Option<Result<Message, Error>>> {
    let mut polled = Poll::Pending;
    for _ in 0..200_000 {
        polled = Pin::new(&mut *ws).poll_next(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() || ws.get_ref().unread() == 0 && ws.closed().is_some() {
            break;
        }
        if ws.error().is_some() {
            // The peer is told, and may have its say: it ends here.
            ws.get_ref().end();
        }
    }
    polled
}
