//! What the parts of the codec cost by themselves, each beside the plain way to write it: CPU time.
//!
//! `cargo bench --bench codec` measures all; `cargo bench --bench codec -- mask` what its ids match.

// The files below are the package's private ones, compiled here once more with their tests, of which this bench uses
// its own part: nothing but a bench needs a door to them. The package's lowest two floors import nothing from above.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../src/close.rs"]
mod close;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/error/mod.rs"]
mod error;
#[path = "../src/limits.rs"]
mod limits;
#[path = "../src/message.rs"]
mod message;
#[path = "../src/wire/mod.rs"]
mod wire;

use std::hint::black_box;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use config::WindowBits;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use error::Violation;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use wire::{
    deflate::{Deflater, Direction, Flush, Inflater},
    frame::{Header, OpCode},
    mask::{Mask, Masks},
    utf8::Utf8Checker,
};
use wsflow_benches::{KIB, MIB, clock::CpuTime, group, group_of, payload::Content, ticks};

const SIZES: [usize; 5] = [16, 64, KIB, 16 * KIB, MIB];

fn mask_in_place(criterion: &mut Criterion<CpuTime>) {
    let mask = Masks::new().next();
    for size in SIZES {
        let payload = Content::Binary.message(size).into_bytes();
        let (mut ours, mut theirs) = (payload.to_vec(), payload.to_vec());
        apply(mask, &mut ours);
        apply_bytewise(mask.key(), &mut theirs);
        assert_eq!(ours, theirs);
        let mut group = group(criterion, "mask in place", size, 1);
        group.bench_function("wsflow", |bencher| bencher.iter(|| apply(mask, black_box(&mut ours))));
        group.bench_function("bytewise", |bencher| bencher.iter(|| apply_bytewise(mask.key(), black_box(&mut theirs))));
    }
}

/// Each payload begins with a mask that was not turned yet.
fn apply(mut mask: Mask, payload: &mut [u8]) {
    mask.apply(payload);
}

fn apply_bytewise(key: [u8; 4], payload: &mut [u8]) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

fn mask_copy(criterion: &mut Criterion<CpuTime>) {
    let mask = Masks::new().next();
    for size in SIZES {
        let payload = Content::Binary.message(size).into_bytes();
        let (mut ours, mut theirs) = (BytesMut::with_capacity(size), BytesMut::with_capacity(size));
        copy(mask, &payload, &mut ours);
        copy_bytewise(mask.key(), &payload, &mut theirs);
        assert_eq!(ours, theirs);
        let mut group = group(criterion, "mask copy", size, 1);
        group.bench_function("wsflow", |bencher| {
            bencher.iter(|| {
                ours.clear();
                copy(mask, black_box(&payload), &mut ours);
            });
        });
        group.bench_function("bytewise", |bencher| {
            bencher.iter(|| {
                theirs.clear();
                copy_bytewise(mask.key(), black_box(&payload), &mut theirs);
            });
        });
    }
}

fn copy(mut mask: Mask, payload: &[u8], out: &mut BytesMut) {
    mask.copy(payload, out);
}

fn copy_bytewise(key: [u8; 4], payload: &[u8], out: &mut BytesMut) {
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Each makes a text of bytes, without a copy.
fn check_utf8(criterion: &mut Criterion<CpuTime>) {
    for content in [Content::Ascii, Content::Mixed] {
        for size in SIZES {
            let bytes = content.message(size).into_bytes();
            let ours = || {
                let mut checker = Utf8Checker::default();
                checker.check(black_box(&bytes)).expect("a text");
                checker.finish(&bytes, 0).expect("a text").own(bytes.clone())
            };
            // It checks by `std::str::from_utf8`.
            let theirs = || Utf8Bytes::try_from(black_box(&bytes).clone()).expect("a text");
            assert_eq!(ours(), theirs());
            let mut group = group(criterion, &format!("utf8 {}", content.name()), size, 1);
            group.bench_function("wsflow", |bencher| bencher.iter(ours));
            group.bench_function("std", |bencher| bencher.iter(theirs));
        }
    }
}

/// A length of each form: in 7 bits, in 2 bytes, in 8 bytes. A header costs the same whatever stands behind it, so that
/// only headers are counted.
const LENGTHS: [usize; 3] = [16, KIB, MIB];

fn parse_header(criterion: &mut Criterion<CpuTime>) {
    for len in LENGTHS {
        let bytes = testkit::frame::encode(true, 0, testkit::frame::BINARY, &vec![0; len]);
        let ours = || Header::parse(black_box(&bytes)).expect("no violation").expect("a whole header");
        let theirs = || parse_plainly(black_box(&bytes)).expect("a whole header");
        let (Header { fin, rsv, opcode, len: parsed }, size) = ours();
        assert_eq!((fin, rsv, opcode as u8, parsed, size), theirs());
        let mut group = group(criterion, "header parse", len, 1);
        group.throughput(Throughput::Elements(1));
        group.bench_function("wsflow", |bencher| bencher.iter(ours));
        group.bench_function("plain", |bencher| bencher.iter(theirs));
    }
}

/// Field by field: FIN, the reserved bits, the opcode, the length, and how long the header is. It judges nothing.
fn parse_plainly(bytes: &[u8]) -> Option<(bool, u8, u8, u64, usize)> {
    let mut rest = bytes;
    let first = rest.try_get_u8().ok()?;
    let len = match rest.try_get_u8().ok()? & 0x7f {
        126 => rest.try_get_u16().ok()?.into(),
        127 => rest.try_get_u64().ok()?,
        len => len.into(),
    };
    Some((first & 0x80 != 0, first >> 4 & 0x7, first & 0xf, len, bytes.len() - rest.len()))
}

fn encode_header(criterion: &mut Criterion<CpuTime>) {
    let key = Masks::new().next().key();
    for len in LENGTHS {
        let header = Header { fin: true, rsv: 0, opcode: OpCode::Binary, len: len as u64 };
        let (mut ours, mut theirs) = (BytesMut::with_capacity(16), BytesMut::with_capacity(16));
        header.encode(key, &mut ours);
        encode_plainly(&header, key, &mut theirs);
        assert_eq!(ours, theirs);
        let mut group = group(criterion, "header encode", len, 1);
        group.throughput(Throughput::Elements(1));
        group.bench_function("wsflow", |bencher| {
            bencher.iter(|| {
                ours.clear();
                black_box(&header).encode(key, &mut ours)
            });
        });
        group.bench_function("plain", |bencher| {
            bencher.iter(|| {
                theirs.clear();
                encode_plainly(black_box(&header), key, &mut theirs);
            });
        });
    }
}

/// Field by field.
fn encode_plainly(header: &Header, key: [u8; 4], out: &mut BytesMut) {
    out.put_u8(u8::from(header.fin) << 7 | header.rsv << 4 | header.opcode as u8);
    match header.len {
        len @ 0..=125 => out.put_u8(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.put_u8(0x80 | 126);
            out.put_u16(len as u16);
        }
        len => {
            out.put_u8(0x80 | 127);
            out.put_u64(len);
        }
    }
    out.put_slice(&key);
}

/// How a flush ends, and what a message leaves out (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const DIRECTION: Direction = Direction { window_bits: WindowBits::MAX, has_context_takeover: true };

/// Market ticks, each message flushed, at the default level.
fn compress(criterion: &mut Criterion<CpuTime>) {
    for (name, corpus) in corpora() {
        let mut group = group_of(criterion, &format!("deflate/{name}"), corpus.len(), total(&corpus));
        let mut ours = Deflater::new(None, DIRECTION);
        group.bench_function("wsflow", |bencher| bencher.iter(|| compress_all(&mut ours, &corpus)));
        let mut theirs = Compress::new(Compression::default(), false);
        group.bench_function("flate2", |bencher| {
            bencher.iter(|| corpus.iter().map(|payload| compress_plainly(&mut theirs, payload)).collect::<Vec<_>>());
        });
    }
}

fn inflate(criterion: &mut Criterion<CpuTime>) {
    for (name, corpus) in corpora() {
        let messages = compress_all(&mut Deflater::new(None, DIRECTION), &corpus);
        let mut group = group_of(criterion, &format!("inflate/{name}"), corpus.len(), total(&corpus));
        let mut ours = Inflater::new(DIRECTION);
        group.bench_function("wsflow", |bencher| {
            bencher.iter(|| {
                for (message, payload) in messages.iter().zip(&corpus) {
                    assert_eq!(inflate_one(&mut ours, message, payload.len()).len(), payload.len());
                }
            });
        });
        let mut theirs = Decompress::new(false);
        group.bench_function("flate2", |bencher| {
            bencher.iter(|| {
                for (message, payload) in messages.iter().zip(&corpus) {
                    assert_eq!(inflate_plainly(&mut theirs, message, payload.len()).len(), payload.len());
                }
            });
        });
    }
}

fn corpora() -> [(&'static str, Vec<Bytes>); 2] {
    ticks::SIZES.map(|(name, size)| (name, ticks::ticks(size).into_iter().map(wsflow::Message::into_bytes).collect()))
}

fn total(corpus: &[Bytes]) -> usize {
    corpus.iter().map(Bytes::len).sum()
}

fn compress_all(deflater: &mut Deflater, corpus: &[Bytes]) -> Vec<Vec<u8>> {
    corpus
        .iter()
        .map(|payload| {
            let mut out = Vec::new();
            deflater.compress(payload, Flush::Message, &mut out);
            out
        })
        .collect()
}

/// Into room for all of it, which a flush can make a little longer.
fn compress_plainly(stream: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    stream.compress_vec(payload, &mut out, FlushCompress::Sync).expect("no error is possible");
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflate_one(inflater: &mut Inflater, message: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let inflated = inflater.inflate(message, true, usize::MAX, |piece| {
        out.extend_from_slice(piece);
        Ok::<_, Violation>(())
    });
    assert_eq!(inflated.expect("it was compressed").made, len);
    out
}

/// Into room for all of it: one byte more than it has shows that no more comes.
fn inflate_plainly(stream: &mut Decompress, message: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 1);
    for piece in [message, &TAIL] {
        stream.decompress_vec(piece, &mut out, FlushDecompress::Sync).expect("it was compressed");
    }
    out
}

criterion_group! {
    name = benches;
    config = wsflow_benches::criterion(CpuTime);
    targets = mask_in_place, mask_copy, check_utf8, parse_header, encode_header, compress, inflate
}
criterion_main!(benches);
