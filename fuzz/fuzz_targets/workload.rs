//! A connection to a server that does all right, over a hostile transport, with polls dropped anywhere: every message
//! arrives once, in order, both ways, pings are answered, and the close is clean. Whole, by reference, and in halves.
#![no_main]

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use futures::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use testkit::{
    frame,
    hostile_io::{Direction, HostileIo},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use wsflow::{CloseFrame, Config, Error, Kind, Message, Receiver, Sender, TrySendError, WebSocketStream};
use wsflow_fuzz::{
    judge::{self, Written},
    poll,
};

#[derive(Debug, Arbitrary)]
struct Input {
    read_buffer_max: u16,
    write_high_water_mark: u16,
    read_high_water_mark: u16,
    fragment_size: Option<u16>,
    copy_payloads_up_to: u8,
    is_vectored: bool,
    reads: Vec<u8>,
    writes: Vec<u8>,
    flushes: Vec<u8>,
    way: Way,
    is_closed_by_server: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Way {
    Whole,
    ByReference,
    Halves,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// The server sends a message, in as many frames, with pings between.
    Serve {
        is_text: bool,
        len: u16,
        fragment: u16,
        has_pings: bool,
    },
    Next,
    Read {
        chunks: u8,
    },
    Ready,
    Send {
        is_text: bool,
        len: u16,
    },
    Flush,
    Ping,
    /// A message piece by piece, with polls dropped between.
    Write {
        is_text: bool,
        pieces: Vec<u16>,
        flushes: u8,
    },
    Hold(u8),
    Release(u8),
    Yield(u8),
}

/// The server's side, and what must come of it.
#[derive(Default)]
struct Model {
    served: Vec<judge::Message>,
    pings: usize,
    received: Vec<judge::Message>,
    queued: Vec<judge::Message>,
    seed: u8,
}

impl Model {
    fn payload(&mut self, is_text: bool, len: u16) -> Vec<u8> {
        self.seed = self.seed.wrapping_add(1);
        (0..len).map(|i| (i as u8).wrapping_add(self.seed) & if is_text { 0x7f } else { 0xff }).collect()
    }

    fn serve(&mut self, io: &HostileIo, is_text: bool, len: u16, fragment: u16, has_pings: bool) {
        let mut bytes = Vec::new();
        let payload = self.payload(is_text, len);
        let pieces = payload.chunks(usize::from(fragment).max(1)).collect::<Vec<_>>();
        let opcode = if is_text { frame::TEXT } else { frame::BINARY };
        if pieces.is_empty() {
            bytes.extend(frame::encode(true, 0, opcode, &[]));
        }
        // Not too many of them, since the transport gives byte by byte.
        let most = 40;
        let (pieces, rest) = pieces.split_at(pieces.len().min(most));
        for (i, piece) in pieces.iter().enumerate() {
            let opcode = if i == 0 { opcode } else { frame::CONTINUATION };
            let is_last = i + 1 == pieces.len() && rest.is_empty();
            bytes.extend(frame::encode(is_last, 0, opcode, piece));
            if has_pings {
                self.pings += 1;
                bytes.extend(frame::encode(true, 0, frame::PING, &self.pings.to_be_bytes()));
            }
        }
        if !rest.is_empty() {
            bytes.extend(frame::encode(true, 0, frame::CONTINUATION, &rest.concat()));
        }
        io.input(&bytes);
        self.served.push((is_text, payload));
    }

    fn receive(&mut self, message: &Message) {
        self.received.push((message.is_text(), message.as_bytes().to_vec()));
        let n = self.received.len();
        assert_eq!(self.served.get(n - 1), self.received.last(), "message {n}");
    }

    fn message(&mut self, is_text: bool, len: u16) -> Message {
        let payload = self.payload(is_text, len);
        self.queued.push((is_text, payload.clone()));
        if is_text { Message::text(String::from_utf8(payload).expect("ASCII")) } else { Message::binary(payload) }
    }

    fn check_written(&self, written: &Written) {
        assert!(written.messages.len() <= self.queued.len(), "a message that nobody sent");
        for (i, (message, (is_text, payload))) in written.messages.iter().zip(&self.queued).enumerate() {
            assert!(message.is_text == *is_text && message.payload == *payload, "message {i} has changed");
        }
    }

    fn check_end(&self, io: &HostileIo, is_closed_by_server: bool) {
        assert_eq!(self.received.len(), self.served.len(), "messages are missing");
        let written = judge::client(&io.output(), false);
        self.check_written(&written);
        assert_eq!(written.messages.len(), self.queued.len(), "messages were not sent");
        assert!(written.close.is_some(), "no Close frame");
        // Only the latest need an answer (RFC 6455, section 5.5.3), and answers keep their order.
        let mut last = 0;
        for pong in &written.pongs {
            let pong = usize::from_be_bytes(pong[..].try_into().expect("a pong to a ping"));
            assert!(pong > last && pong <= self.pings, "the pong {pong} after {last}");
            last = pong;
        }
        // A Close frame of the server's ends that duty (section 5.5.2).
        assert!(is_closed_by_server || last == self.pings, "the latest ping has no answer: {last} of {}", self.pings);
    }
}

fn hold(io: &HostileIo, which: u8, is_held: bool) {
    io.hold([Direction::Read, Direction::Write, Direction::Flush][usize::from(which) % 3], is_held);
}

/// A server that answers pings and Close frames.
fn server(io: HostileIo) -> HostileIo {
    let (mut parsed, mut has_closed) = (0, false);
    io.with_server(move |output| {
        let mut answer = Vec::new();
        while let Some((frame, size)) = frame::decode(&output[parsed..]) {
            parsed += size;
            match frame.opcode {
                frame::PING => answer.extend(frame::encode(true, 0, frame::PONG, &frame.payload)),
                frame::CLOSE => {
                    answer.extend(frame::encode(true, 0, frame::CLOSE, &frame.payload));
                    has_closed = true;
                }
                _ => {}
            }
        }
        (answer, has_closed)
    })
}

fuzz_target!(|input: Input| poll::run(target(input)));

async fn target(input: Input) {
    let config = Config::default()
        .read_buffer_max(usize::from(input.read_buffer_max))
        .write_high_water_mark(usize::from(input.write_high_water_mark))
        .read_high_water_mark(usize::from(input.read_high_water_mark))
        .fragment_size(input.fragment_size.map(|size| usize::from(size) + 16))
        .copy_payloads_up_to(usize::from(input.copy_payloads_up_to))
        // Nothing else is to wake a task that was forgotten.
        .keepalive_interval(None);
    let io = HostileIo::new(input.reads, input.writes, input.flushes, input.is_vectored);
    let ws = WebSocketStream::from_upgraded(server(io.clone()), config);
    let model = Model::default();
    match input.way {
        Way::Halves => {
            let (sender, receiver) = ws.into_split();
            halves(sender, receiver, &io, model, input.steps, input.is_closed_by_server).await;
        }
        way => whole(ws, &io, model, input.steps, matches!(way, Way::ByReference), input.is_closed_by_server).await,
    }
}

async fn whole(
    mut ws: WebSocketStream<HostileIo>,
    io: &HostileIo,
    mut model: Model,
    steps: Vec<Step>,
    by_reference: bool,
    is_closed_by_server: bool,
) {
    // Of what was judged nothing is judged again.
    let mut checked = 0;
    for step in steps {
        let cx = &mut Context::from_waker(Waker::noop());
        match step {
            Step::Serve { is_text, len, fragment, has_pings } => {
                model.serve(io, is_text, len, fragment, has_pings);
            }
            Step::Next if by_reference => {
                if let Poll::Ready(item) = ws.poll_next_ref(cx) {
                    model.receive(&item.expect("open").expect("right").to_message());
                }
            }
            Step::Next => {
                if let Poll::Ready(item) = Pin::new(&mut ws).poll_next(cx) {
                    model.receive(&item.expect("open").expect("right"));
                }
            }
            Step::Read { chunks } => {
                if let Poll::Ready(item) = poll::once(ws.next_reader()) {
                    let mut reader = item.expect("open").expect("right");
                    let mut payload = Vec::new();
                    // Polls that are dropped, and then to its end.
                    for _ in 0..chunks {
                        if let Poll::Ready(Some(chunk)) = poll::once(reader.chunk()) {
                            payload.extend(chunk.expect("right"));
                        }
                    }
                    io.release();
                    while let Some(chunk) = poll::must_end("a reader", reader.chunk()).await {
                        payload.extend(chunk.expect("right"));
                    }
                    let is_text = reader.kind() == Kind::Text;
                    model.received.push((is_text, payload));
                    assert_eq!(
                        model.served.get(model.received.len() - 1),
                        model.received.last(),
                        "a message in chunks"
                    );
                }
            }
            Step::Ready => {
                let _ = Pin::new(&mut ws).poll_ready(cx);
            }
            Step::Send { is_text, len } => {
                let ready = Pin::new(&mut ws).poll_ready(cx);
                assert_eq!(ready.is_ready(), ws.has_room(), "whether there is room");
                if ready.is_ready() {
                    let message = model.message(is_text, len);
                    if by_reference {
                        let Poll::Ready(Ok(())) = (match message.as_text() {
                            Some(text) => poll::once(ws.feed_ref(text)),
                            None => poll::once(ws.feed_ref(message.as_bytes())),
                        }) else {
                            panic!("it was ready");
                        };
                    } else {
                        Pin::new(&mut ws).start_send(message).expect("it was ready");
                    }
                }
            }
            Step::Flush => {
                if let Poll::Ready(result) = Pin::new(&mut ws).poll_flush(cx) {
                    result.expect("open");
                    assert_eq!(ws.buffered_amount(), 0, "flushed, and something waits");
                    let written = judge::client(&io.output(), false);
                    assert_eq!(written.messages.len(), model.queued.len(), "flushed, and a message is missing");
                    assert_eq!(written.rest, 0, "flushed, and a part of a frame is missing");
                }
            }
            Step::Ping => {
                let _ = ws.send_ping("");
            }
            Step::Write { is_text, pieces, flushes } => {
                let mut writer = ws.writer(if is_text { Kind::Text } else { Kind::Binary });
                let mut whole = Vec::new();
                for len in pieces {
                    let piece = model.payload(is_text, len);
                    if let Poll::Ready(taken) = pin!(&mut writer).poll_write(cx, &piece) {
                        whole.extend_from_slice(&piece[..taken.expect("open")]);
                    }
                    match flushes % 3 {
                        0 => {}
                        1 => drop(poll::once(writer.flush())),
                        _ => {
                            io.release();
                            poll::must_end("a flush within a message", writer.flush()).await.expect("open");
                        }
                    }
                }
                model.queued.push((is_text, whole));
                if let Poll::Ready(result) = poll::once(writer.finish()) {
                    result.expect("open");
                }
            }
            Step::Hold(which) => hold(io, which, true),
            Step::Release(which) => hold(io, which, false),
            Step::Yield(_) => tokio::task::yield_now().await,
        }
        if io.output_len() != std::mem::replace(&mut checked, io.output_len()) {
            check(&ws, io, &model);
        }
    }
    io.release();
    poll::must_end("a flush", ws.flush()).await.expect("open");
    check(&ws, io, &model);
    while model.received.len() < model.served.len() {
        let message = poll::must_end("a message", ws.next()).await.expect("open").expect("right");
        model.receive(&message);
    }
    // A ping that came after the last message is read before the close, and one that is read after it has no answer.
    while ws.stats().pings_received < model.pings as u64 {
        assert!(poll::once(ws.next()).is_pending(), "a message that nobody sent");
    }
    let closed = if is_closed_by_server {
        io.input(&frame::encode(true, 0, frame::CLOSE, &1001_u16.to_be_bytes()));
        assert!(poll::must_end("the end", ws.next()).await.is_none());
        ws.closed().expect("it has ended").clone()
    } else {
        poll::must_end("a close", ws.close_with(CloseFrame::new(1000, "done"))).await.expect("a valid close")
    };
    assert!(closed.was_clean, "{closed:?} {:?}", ws.error());
    assert!(ws.next().await.is_none());
    let stats = ws.stats();
    assert_eq!(stats.messages_received as usize, model.served.len());
    assert_eq!(stats.messages_sent as usize, model.queued.len());
    model.check_end(io, is_closed_by_server);
}

fn check(ws: &WebSocketStream<HostileIo>, io: &HostileIo, model: &Model) {
    let output = io.output();
    model.check_written(&judge::client(&output, false));
    assert_eq!(ws.stats().wire_bytes_sent as usize, output.len());
    // What was queued has left, or waits.
    let queued: usize = model.queued.iter().map(|(_, payload)| payload.len()).sum();
    let sent = ws.stats().payload_bytes_sent as usize;
    assert_eq!(sent + ws.buffered_amount() as usize, queued, "bytes that are neither sent nor waiting");
}

async fn halves(
    mut sender: Sender,
    mut receiver: Receiver,
    io: &HostileIo,
    mut model: Model,
    steps: Vec<Step>,
    is_closed_by_server: bool,
) {
    let mut checked = 0;
    for step in steps {
        let cx = &mut Context::from_waker(Waker::noop());
        match step {
            Step::Serve { is_text, len, fragment, has_pings } => {
                model.serve(io, is_text, len, fragment, has_pings);
            }
            Step::Next => {
                if let Poll::Ready(item) = Pin::new(&mut receiver).poll_next(cx) {
                    model.receive(&item.expect("open").expect("right"));
                }
            }
            Step::Read { chunks } => {
                if let Poll::Ready(item) = poll::once(receiver.next_reader()) {
                    let mut reader = item.expect("open").expect("right");
                    let mut payload = Vec::new();
                    for _ in 0..chunks {
                        if let Poll::Ready(Some(chunk)) = poll::once(reader.chunk()) {
                            payload.extend(chunk.expect("right"));
                        }
                    }
                    io.release();
                    while let Some(chunk) = poll::must_end("a reader", reader.chunk()).await {
                        payload.extend(chunk.expect("right"));
                    }
                    let is_text = reader.kind() == Kind::Text;
                    model.received.push((is_text, payload));
                    assert_eq!(
                        model.served.get(model.received.len() - 1),
                        model.received.last(),
                        "a message in chunks"
                    );
                }
            }
            Step::Ready => sender = sender.clone(),
            Step::Send { is_text, len } => {
                let message = model.message(is_text, len);
                match sender.try_send(message) {
                    Ok(()) => {}
                    Err(TrySendError::Full(message)) => {
                        let (_, payload) = model.queued.pop().expect("queued");
                        assert_eq!(message.as_bytes(), payload, "another message came back");
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::Flush => {
                if let Poll::Ready(result) = poll::once(sender.flush()) {
                    result.expect("open");
                    let written = judge::client(&io.output(), false);
                    assert_eq!(written.messages.len(), model.queued.len(), "flushed, and a message is missing");
                }
            }
            Step::Ping => {
                let _ = poll::once(sender.ping());
            }
            Step::Write { is_text, pieces, flushes } => {
                io.release();
                let kind = if is_text { Kind::Text } else { Kind::Binary };
                let mut writer = poll::must_end("a turn", sender.writer(kind)).await.expect("open");
                let mut whole = Vec::new();
                for len in pieces {
                    let piece = model.payload(is_text, len);
                    if let Poll::Ready(taken) = pin!(&mut writer).poll_write(cx, &piece) {
                        whole.extend_from_slice(&piece[..taken.expect("open")]);
                    }
                    match flushes % 3 {
                        0 => {}
                        1 => drop(poll::once(writer.flush())),
                        _ => {
                            io.release();
                            poll::must_end("a flush within a message", writer.flush()).await.expect("open");
                        }
                    }
                }
                model.queued.push((is_text, whole));
                if let Poll::Ready(result) = poll::once(writer.finish()) {
                    result.expect("open");
                }
            }
            Step::Hold(which) => hold(io, which, true),
            Step::Release(which) => hold(io, which, false),
            Step::Yield(times) => {
                for _ in 0..=times % 16 {
                    tokio::task::yield_now().await;
                }
            }
        }
        if io.output_len() != std::mem::replace(&mut checked, io.output_len()) {
            model.check_written(&judge::client(&io.output(), false));
        }
        let queued: usize = model.queued.iter().map(|(_, payload)| payload.len()).sum();
        let known = sender.stats().payload_bytes_sent as usize;
        assert!(sender.buffered_amount() as usize <= queued - known, "more waits than was sent");
    }
    io.release();
    poll::must_end("a flush", sender.flush()).await.expect("open");
    assert_eq!(sender.buffered_amount(), 0, "flushed, and something waits");
    while model.received.len() < model.served.len() {
        let message = poll::must_end("a message", receiver.next()).await.expect("open").expect("right");
        model.receive(&message);
    }
    if !model.served.is_empty() {
        // All that came is read and answered: the server's answer to this comes behind it.
        let ping = async {
            loop {
                match sender.ping().await {
                    Err(Error::TooManyPings { .. }) => tokio::task::yield_now().await,
                    ended => break ended,
                }
            }
        };
        poll::must_end("a ping", ping).await.expect("open");
    }
    if is_closed_by_server {
        io.input(&frame::encode(true, 0, frame::CLOSE, &1001_u16.to_be_bytes()));
    }
    let closed = poll::must_end("a close", sender.close_with(CloseFrame::new(1000, "done"))).await;
    let closed = closed.expect("a valid close");
    assert!(closed.was_clean, "{closed:?}");
    assert!(poll::must_end("the end", receiver.next()).await.is_none());
    model.check_end(io, is_closed_by_server);
}
