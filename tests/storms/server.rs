//! The server of a round: it reads frame by frame, notes what has arrived and what it sent, and behaves in its manner.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use socket2::SockRef;
use testkit::{
    deflate,
    frame::{self, BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close_body, encode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, tcp::OwnedReadHalf},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::sleep,
};
use wsflow::Kind;

use crate::{
    ledger::{Cause, Id, Ledger, MAX_LEN},
    round::{Board, Random},
};

/// The number of the server among those who send.
pub(crate) const SERVER: usize = 0xffff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Quiet,
    /// It answers no ping.
    Mute,
    /// It answers a ping when the next one has come, and then both.
    PingPairs,
    /// It sends each message back.
    Echo,
    /// It reads a little at a time, as others do at random.
    Slow,
    /// It sends so many messages.
    Pour(usize),
    /// It sends so many messages, and closes after it got as many from the client as the second says.
    Close(usize, usize),
    /// The same, but it vanishes.
    Vanish(usize, usize),
    /// It sends one message of so many bytes, in pieces, and answers no ping.
    Large(usize),
}

/// What the server knows when the connection has ended.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) arrived: Vec<Id>,
    pub(crate) sent: Vec<Id>,
    /// The code of the client's Close frame, 0 if it had none.
    pub(crate) close: Option<u16>,
    /// Whether it has read the client's Close frame, or all until the client's FIN.
    pub(crate) has_read_all: bool,
}

/// The two ends of a connection. `buffer`: the size of the kernel's buffers, if it is set.
pub(crate) async fn tcp(buffer: Option<u32>) -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = buffer {
            socket.set_send_buffer_size(size).unwrap();
            socket.set_recv_buffer_size(size).unwrap();
            // Segments that are small beside the window: else Linux may send 2 000 bytes each 200 ms from then on.
            SockRef::from(&socket).set_tcp_mss(536).unwrap();
        }
        socket
    };
    let server = socket();
    server.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = server.listen(1).unwrap();
    let (client, server) = tokio::join!(socket().connect(listener.local_addr().unwrap()), listener.accept());
    let (client, (server, _)) = (client.unwrap(), server.unwrap());
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

pub(crate) struct Server {
    manner: Manner,
    ledger: Arc<Ledger>,
    random: Random,
    board: Board,
    served: Served,
    /// What is to be written, in order. Behind the last comes FIN.
    writes: Option<UnboundedSender<Vec<u8>>>,
    has_closed: bool,
    /// The payload of a ping that waits for the next one.
    ping: Option<Vec<u8>>,
}

/// Serves one connection until its end. `has_deflate`: compression was agreed on.
pub(crate) async fn serve(
    io: TcpStream,
    manner: Manner,
    has_deflate: bool,
    ledger: Arc<Ledger>,
    random: Random,
    board: Board,
) -> Served {
    let (reader, mut writer) = io.into_split();
    let (writes, mut queue) = unbounded_channel::<Vec<u8>>();
    let mut random = random;
    let (mut pauses, moves) = (random.fork(), board.clone());
    let writing = tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            // A message in pieces is to come in pieces.
            for piece in bytes.chunks(16 << 10) {
                if writer.write_all(piece).await.is_err() {
                    return;
                }
                moves.note_move();
                if pauses.once_in(4) {
                    tokio::task::yield_now().await;
                }
            }
        }
        let _ = writer.shutdown().await;
    });
    let served = Served::default();
    let mut server =
        Server { manner, ledger, random, board, served, writes: Some(writes), has_closed: false, ping: None };
    server.begin();
    server.read(reader, has_deflate).await;
    // What is not written yet is lost when it vanishes.
    writing.abort();
    let _ = writing.await;
    server.board.set("server", "ended");
    server.served
}

impl Server {
    fn write(&self, bytes: Vec<u8>) {
        if let Some(writes) = &self.writes {
            let _ = writes.send(bytes);
        }
    }

    fn message(&mut self, id: Id) {
        let (opcode, payload) = (if id.kind() == Kind::Text { TEXT } else { BINARY }, id.payload());
        let cut = if self.random.once_in(3) { self.random.below(payload.len()) } else { 0 };
        let bytes = match payload.split_at(cut) {
            ([], _) => encode(true, 0, opcode, &payload),
            (head, rest) => [encode(false, 0, opcode, head), encode(true, 0, CONTINUATION, rest)].concat(),
        };
        self.served.sent.push(id);
        self.write(bytes);
    }

    fn begin(&mut self) {
        let (Manner::Pour(n) | Manner::Close(n, _) | Manner::Vanish(n, _)) = self.manner else {
            if let Manner::Large(len) = self.manner {
                self.ledger.cause(Cause::TooLarge);
                self.message(Id { task: SERVER, seq: 0, len });
            }
            return;
        };
        for seq in 0..n {
            let len = self.random.size();
            self.message(Id { task: SERVER, seq, len });
        }
    }

    async fn read(&mut self, mut reader: OwnedReadHalf, has_deflate: bool) {
        let mut inflater = deflate::Reader::new(15, true);
        let (mut buffer, mut message) = (BytesMut::new(), None::<Frame>);
        let mut slow_reads = match self.manner {
            Manner::Slow => 50,
            Manner::Echo | Manner::Close(..) | Manner::Vanish(..) if self.random.once_in(2) => 50,
            _ => 0,
        };
        loop {
            while let Some(frame) = frame::take(&mut buffer) {
                assert!(self.served.close.is_none(), "a frame behind Close: opcode {}", frame.opcode);
                match frame.opcode {
                    PING if !self.has_closed => self.pinged(frame.payload),
                    PING | PONG => {}
                    CLOSE => self.closed(&frame.payload),
                    CONTINUATION => {
                        let message = message.as_mut().expect("a continuation of no message");
                        message.fin = frame.fin;
                        message.payload.extend_from_slice(&frame.payload);
                    }
                    opcode => {
                        assert!(message.is_none(), "a message, opcode {opcode}, inside of another");
                        message = Some(frame);
                    }
                }
                if let Some(Frame { opcode, rsv, mut payload, .. }) = message.take_if(|message| message.fin) {
                    if rsv != 0 {
                        assert!(has_deflate && rsv == frame::RSV1, "reserved bits {rsv}");
                        payload = inflater.message(&payload, MAX_LEN);
                    }
                    let kind = if opcode == TEXT { Kind::Text } else { Kind::Binary };
                    let id = Id::of(kind, &payload);
                    self.served.arrived.push(id);
                    if self.manner == Manner::Echo && !self.has_closed {
                        self.message(id);
                    }
                }
            }
            match self.manner {
                Manner::Close(_, after) if !self.has_closed && self.served.arrived.len() >= after => {
                    self.ledger.cause(Cause::PeerClosed);
                    self.has_closed = true;
                    self.write(encode(true, 0, CLOSE, &close_body(Some(4000), "enough")));
                }
                Manner::Vanish(_, after) if self.served.arrived.len() >= after => {
                    self.ledger.cause(Cause::PeerVanished);
                    return;
                }
                _ => {}
            }
            let size = if slow_reads == 0 { 128 << 10 } else { 4 << 10 };
            if slow_reads > 0 {
                slow_reads -= 1;
                sleep(Duration::from_millis(1)).await;
            }
            buffer.reserve(size);
            self.board.set("server", ("reads", self.served.arrived.len(), "arrived", self.served.close));
            match (&mut reader).take(size as u64).read_buf(&mut buffer).await {
                Ok(0) => {
                    self.served.has_read_all = true;
                    return;
                }
                Ok(_) => self.board.note_move(),
                Err(_) => return,
            }
        }
    }

    fn pinged(&mut self, payload: Vec<u8>) {
        match self.manner {
            Manner::Mute | Manner::Large(_) => return,
            Manner::PingPairs if self.ping.is_none() => return self.ping = Some(payload),
            _ => {}
        }
        for payload in self.ping.take().into_iter().chain([payload]) {
            self.write(encode(true, 0, PONG, &payload));
        }
    }

    /// The client's Close frame has come: ours follows, if it was not there before, and then FIN.
    fn closed(&mut self, body: &[u8]) {
        let code = body.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
        self.served.close = Some(code.unwrap_or(0));
        self.served.has_read_all = true;
        if !std::mem::replace(&mut self.has_closed, true) {
            self.write(encode(true, 0, CLOSE, body));
        }
        self.writes = None;
    }
}
