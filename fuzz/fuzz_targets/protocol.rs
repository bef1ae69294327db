//! Any bytes of a server, any commands, any times, in any order: what a client yields is what the bytes mean, what it
//! writes is right, and it ends.
#![no_main]

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{Sink, Stream};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use testkit::{
    frame,
    hostile_io::{Direction, HostileIo},
};
use tokio::io::AsyncWrite;
use wsflow::{CloseFrame, Config, Deflate, Error, Kind, Message, ReadyState, UpgradedParts, WebSocketStream};
use wsflow_fuzz::{
    judge::{self, Limits, Verdict},
    poll,
};

#[derive(Debug, Arbitrary)]
struct Input {
    read_buffer_max: u16,
    write_high_water_mark: u16,
    max_message_size: Option<u16>,
    max_frame_size: Option<u16>,
    max_fragments: Option<u8>,
    fragment_size: Option<u16>,
    copy_payloads_up_to: u8,
    close_timeout: Option<u8>,
    tcp_end_timeout: u8,
    write_timeout: Option<u8>,
    keepalive: Option<(u8, u8)>,
    message_timeout: Option<u8>,
    deflate: bool,
    is_vectored: bool,
    reads: Vec<u8>,
    writes: Vec<u8>,
    flushes: Vec<u8>,
    /// How many times it is polled after each step.
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Bytes(Vec<u8>),
    Frame { fin: bool, rsv: u8, opcode: u8, payload: Vec<u8> },
    Text(String),
    Fragment { opcode: u8, payload: Vec<u8> },
    ServerClose { code: u16, reason: String },
    End,
    Break,
    Next,
    NextRef,
    Reader { chunks: u8 },
    Ready,
    Feed(String),
    FeedLarge(u16),
    FeedRef(Vec<u8>),
    Flush,
    Ping(Vec<u8>),
    Writer { is_text: bool, pieces: Vec<Vec<u8>>, is_finished: bool },
    Compression(bool),
    Close { code: u16, reason: String },
    PollClose,
    Advance(u16),
    Hold(u8, bool),
}

/// What has been seen of the connection.
#[derive(Default)]
struct Seen {
    received: Vec<judge::Message>,
    errors: Vec<Error>,
    has_ended: bool,
    /// Chunks were dropped, or messages, so that only a part of them was seen.
    is_partial: bool,
    queued: Vec<judge::Message>,
    /// A message was begun and not finished.
    is_abandoned: bool,
}

impl Seen {
    /// Returns whether there may be more at once.
    fn item(&mut self, item: Poll<Option<Result<judge::Message, Error>>>) -> bool {
        match item {
            Poll::Pending => return false,
            Poll::Ready(None) => self.has_ended = true,
            Poll::Ready(Some(item)) => {
                assert!(!self.has_ended, "an item after the end");
                assert!(self.errors.is_empty(), "an item after an error: {:?}, {item:?}", self.errors);
                match item {
                    Ok(message) => self.received.push(message),
                    Err(error) => self.errors.push(error),
                }
            }
        }
        !self.has_ended
    }
}

fn own(message: Message) -> judge::Message {
    (message.is_text(), message.as_bytes().to_vec())
}

fn config(input: &Input) -> (Config, Limits) {
    let seconds = |seconds: u8| Duration::from_secs(u64::from(seconds));
    let limits = Limits {
        message: input.max_message_size.map_or(1 << 20, usize::from),
        frame: input.max_frame_size.map_or(u64::MAX, u64::from),
        fragments: usize::from(input.max_fragments.unwrap_or(u8::MAX)).max(1),
        deflate: input.deflate,
    };
    let config = Config::default()
        .read_buffer_max(usize::from(input.read_buffer_max))
        .write_high_water_mark(usize::from(input.write_high_water_mark))
        .max_message_size(limits.message)
        .max_frame_size(input.max_frame_size.map(usize::from))
        .max_fragments(limits.fragments)
        .fragment_size(input.fragment_size.map(|size| usize::from(size) + 16))
        .copy_payloads_up_to(usize::from(input.copy_payloads_up_to))
        .close_timeout(input.close_timeout.map_or(Duration::from_secs(1), seconds))
        .tcp_end_timeout(seconds(input.tcp_end_timeout))
        .write_timeout(input.write_timeout.map(seconds))
        .keepalive_interval(input.keepalive.map(|(interval, _)| seconds(interval)))
        .keepalive_timeout(seconds(input.keepalive.map_or(1, |(_, timeout)| timeout)))
        .message_timeout(input.message_timeout.map(seconds))
        .deflate(input.deflate.then(Deflate::default));
    (config, limits)
}

fuzz_target!(|input: Input| poll::run(target(input)));

async fn target(input: Input) {
    let (config, limits) = config(&input);
    let io = HostileIo::new(input.reads, input.writes, input.flushes, input.is_vectored);
    let extensions = if input.deflate { "permessage-deflate" } else { "" };
    let parts = UpgradedParts::new(io.clone()).extensions(extensions).config(config);
    let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("valid extensions");
    let mut seen = Seen::default();
    let mut sent = Vec::new();
    let mut has_closed = false;
    // Of what was judged nothing is judged again.
    let mut checked = (0, 0, 0);
    let send = |sent: &mut Vec<u8>, bytes: &[u8]| {
        sent.extend(bytes);
        io.input(bytes);
    };
    for step in input.steps {
        let cx = &mut Context::from_waker(Waker::noop());
        match step {
            Step::Bytes(bytes) => send(&mut sent, &bytes),
            Step::Frame { fin, rsv, opcode, payload } => {
                send(&mut sent, &frame::encode(fin, rsv & 7, opcode & 15, &payload));
            }
            Step::Text(text) => send(&mut sent, &frame::encode(true, 0, frame::TEXT, text.as_bytes())),
            Step::Fragment { opcode, payload } => send(&mut sent, &frame::encode(false, 0, opcode & 3, &payload)),
            Step::ServerClose { code, reason } => {
                let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
                send(&mut sent, &frame::encode(true, 0, frame::CLOSE, &body));
            }
            Step::End => io.end(),
            Step::Break => io.break_off(),
            Step::Next => {
                let item = Pin::new(&mut ws).poll_next(cx);
                seen.item(item.map(|item| item.map(|item| item.map(own))));
            }
            Step::NextRef => {
                let item = ws.poll_next_ref(cx).map(|item| item.map(|item| item.map(|it| own(it.to_message()))));
                seen.item(item);
            }
            Step::Reader { chunks } => {
                if let Poll::Ready(begun) = poll::once(ws.next_reader()) {
                    match begun {
                        None => seen.has_ended = true,
                        Some(Err(error)) => {
                            seen.item(Poll::Ready(Some(Err(error))));
                        }
                        Some(Ok(mut reader)) => {
                            let mut whole = Some(Vec::new());
                            let is_text = reader.kind() == Kind::Text;
                            for _ in 0..chunks {
                                match reader.poll_chunk(cx) {
                                    Poll::Ready(Some(Ok(chunk))) => whole.as_mut().expect("no end yet").extend(chunk),
                                    Poll::Ready(Some(Err(error))) => {
                                        // The stream yields no further error: it gave this one.
                                        seen.errors.push(error);
                                        whole = None;
                                        break;
                                    }
                                    Poll::Ready(None) => {
                                        let whole = whole.take().expect("it ends once");
                                        // A reader has no limit of size, and the judge has.
                                        if whole.len() > limits.message {
                                            (seen.is_partial, seen.is_abandoned) = (true, true);
                                        }
                                        seen.received.push((is_text, whole));
                                        break;
                                    }
                                    Poll::Pending => {}
                                }
                            }
                            seen.is_partial |= whole.is_some();
                        }
                    }
                }
            }
            Step::Ready => {
                let _ = Pin::new(&mut ws).poll_ready(cx);
            }
            Step::Feed(text) => feed(&mut ws, Message::text(text), &mut seen),
            Step::FeedLarge(len) => feed(&mut ws, Message::binary(vec![7; usize::from(len)]), &mut seen),
            Step::FeedRef(bytes) => {
                if let Poll::Ready(Ok(())) = poll::once(ws.feed_ref(&bytes)) {
                    seen.queued.push((false, bytes));
                }
            }
            Step::Flush => {
                if let Poll::Ready(Ok(())) = Pin::new(&mut ws).poll_flush(cx) {
                    assert_eq!(ws.buffered_amount(), 0, "flushed, and something waits");
                }
            }
            Step::Ping(payload) => {
                let len = payload.len();
                let pinged = ws.send_ping(payload);
                assert!(len <= 125 || pinged.is_err(), "a ping of {len} bytes");
            }
            Step::Writer { is_text, pieces, is_finished } => {
                let mut writer = ws.writer(if is_text { Kind::Text } else { Kind::Binary });
                let mut whole = Vec::new();
                for piece in &pieces {
                    if let Poll::Ready(Ok(n)) = pin!(&mut writer).poll_write(cx, piece) {
                        whole.extend_from_slice(&piece[..n]);
                    }
                }
                let is_valid = !is_text || std::str::from_utf8(&whole).is_ok();
                if is_finished && !is_valid {
                    assert!(matches!(poll::once(writer.finish()), Poll::Ready(Err(_))), "a text that is not UTF-8");
                    seen.is_abandoned = true;
                } else if is_finished {
                    // Also where it fails it may have been queued before.
                    let _ = poll::once(writer.finish());
                    seen.queued.push((is_text, whole));
                } else {
                    drop(writer);
                    seen.is_abandoned = true;
                }
            }
            Step::Compression(is_on) => ws.set_compression(is_on),
            Step::Close { code, reason } => {
                let is_valid = frame::is_close_code(code) && reason.len() <= CloseFrame::MAX_REASON;
                let closed = poll::once(ws.close_with(CloseFrame::new(code, reason)));
                let was_refused = matches!(closed, Poll::Ready(Err(_)));
                assert!(is_valid || was_refused, "closed with {code}");
                has_closed |= !was_refused;
            }
            Step::PollClose => {
                let _ = Pin::new(&mut ws).poll_close(cx);
                has_closed = true;
            }
            Step::Advance(ms) => tokio::time::advance(Duration::from_millis(u64::from(ms))).await,
            Step::Hold(which, is_held) => {
                let directions = [Direction::Read, Direction::Write, Direction::Flush];
                io.hold(directions[usize::from(which) % 3], is_held);
            }
        }
        let now = (io.output_len(), seen.received.len(), seen.errors.len());
        if now != std::mem::replace(&mut checked, now) {
            check(&ws, &io, &sent, limits, &seen);
        }
    }
    // It may read all that came, and then has to end, whatever the peer does.
    while {
        let cx = &mut Context::from_waker(Waker::noop());
        let before = (io.taken(), ws.stats());
        let more = seen.item(Pin::new(&mut ws).poll_next(cx).map(|item| item.map(|item| item.map(own))));
        more || before != (io.taken(), ws.stats())
    } {}
    io.release();
    poll::must_end("a close", ws.close_with(CloseFrame::new(1000, ""))).await.expect("a valid close");
    assert_eq!(ws.ready_state(), ReadyState::Closed);
    assert!(ws.closed().is_some());
    let cx = &mut Context::from_waker(Waker::noop());
    while {
        let item = Pin::new(&mut ws).poll_next(cx);
        assert!(item.is_ready(), "a stream that has ended waits");
        !matches!(item, Poll::Ready(None)) && seen.item(item.map(|item| item.map(|item| item.map(own))))
    } {}
    assert!(matches!(Pin::new(&mut ws).poll_next(cx), Poll::Ready(None)), "an item after the end");
    assert!(ws.send_ping("").is_err());
    check(&ws, &io, &sent, limits, &seen);
    let (_, verdict) = judge::server(&sent, limits);
    if let (Some(Error::ProtocolViolation(_) | Error::Limit(_)), Verdict::Open | Verdict::Close(_)) =
        (seen.errors.first(), &verdict)
    {
        panic!("{:?} of what is right", seen.errors);
    }
    // All of it was read by somebody who looked.
    if matches!(verdict, Verdict::Bad(_)) && !has_closed && !seen.is_abandoned && io.unread() == 0 {
        assert!(!ws.closed().unwrap().was_clean, "a clean end of what is wrong: {verdict:?}");
    }
}

fn feed(ws: &mut WebSocketStream<HostileIo>, message: Message, seen: &mut Seen) {
    let cx = &mut Context::from_waker(Waker::noop());
    let ready = Pin::new(&mut *ws).poll_ready(cx);
    let result = Pin::new(&mut *ws).start_send(message.clone());
    if let Poll::Ready(Ok(())) = ready {
        assert!(!matches!(result, Err(Error::NotReady)), "ready, and it is not");
    }
    if result.is_ok() {
        seen.queued.push(own(message));
    }
}

fn check(ws: &WebSocketStream<HostileIo>, io: &HostileIo, sent: &[u8], limits: Limits, seen: &Seen) {
    assert!(seen.errors.len() <= 1, "{:?}", seen.errors);
    let written = judge::client(&io.output(), limits.deflate);
    // What was queued goes out as it is, in order.
    assert!(written.messages.len() <= seen.queued.len(), "a message that nobody sent");
    for (i, (message, (is_text, payload))) in written.messages.iter().zip(&seen.queued).enumerate() {
        assert_eq!(message.is_text, *is_text, "message {i}");
        if !message.is_compressed {
            assert_eq!(&message.payload, payload, "message {i}");
        }
    }
    let (messages, _) = judge::server(sent, limits);
    let is_known = !limits.deflate || messages.len() >= seen.received.len();
    if !seen.is_partial && is_known {
        assert!(messages.starts_with(&seen.received), "{:?} of {messages:?}", seen.received);
    }
    assert!(ws.stats().wire_bytes_received as usize <= io.taken());
    assert_eq!(ws.stats().wire_bytes_sent as usize, io.output().len());
    assert!(ws.stats().messages_sent as usize <= seen.queued.len());
}
