//! A scripted server: each test is a dialogue with it, frame by frame and byte by byte.
//!
//! ```ignore
//! let server = Script::bind().await;
//! let (ws, mut peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
//! peer.text("hello").await;
//! peer.expect_close(1000, "").await;
//! peer.expect_eof().await;
//! ```
//!
//! Whatever is expected and does not come is a panic that says so, at latest after the peer's patience.

// Each test binary uses its own part of the script, and sees all of it.
#![allow(dead_code, unreachable_pub)]

pub mod frame;
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
pub mod tls;
pub mod watch;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub use frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close_body, encode};

/// A listening TCP socket of this machine.
pub struct Script {
    listener: TcpListener,
}

impl Script {
    pub async fn bind() -> Self {
        Self::bind_to("127.0.0.1:0").await
    }

    pub async fn bind_to(address: &str) -> Self {
        Self { listener: TcpListener::bind(address).await.expect("a free port") }
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }

    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr())
    }

    /// The next TCP connection, nothing of it read yet.
    pub async fn peer(&self) -> Peer {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        Peer::over(accepted.expect("no client connected").expect("accept").0)
    }

    /// The next connection, with its opening handshake done.
    pub async fn accept(&self) -> Peer {
        let mut peer = self.peer().await;
        peer.accept().await;
        peer
    }
}

/// How long a peer over a real socket waits for anything: far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The server's side of one connection.
pub struct Peer<IO = TcpStream> {
    io: IO,
    buf: BytesMut,
    last_mask: [u8; 4],
    /// The client's Close frame has come: nothing may follow it.
    is_closed: bool,
    patience: Duration,
}

impl Peer<DuplexStream> {
    /// A peer in memory and the client's end. Each direction holds at most `capacity` bytes.
    ///
    /// Its patience is an hour, so that under a paused clock every timer of the client comes first.
    pub fn pipe(capacity: usize) -> (Self, DuplexStream) {
        let (io, client) = tokio::io::duplex(capacity);
        (Self { patience: Duration::from_secs(3600), ..Self::over(io) }, client)
    }
}

impl Peer<TcpStream> {
    /// The client's address.
    pub fn remote(&self) -> SocketAddr {
        self.io.peer_addr().expect("a connected socket")
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.io).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<IO> {
    pub fn over(io: IO) -> Self {
        Self { io, buf: BytesMut::new(), last_mask: [0; 4], is_closed: false, patience: PATIENCE }
    }

    /// The IO, for what no dialogue can do. What was read already is not in it.
    pub fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The IO itself, of which nothing was read.
    pub fn into_io(self) -> IO {
        assert!(self.buf.is_empty(), "{:?} was read", self.buf);
        self.io
    }

    // The opening handshake.

    /// Reads the request's head.
    pub async fn request(&mut self) -> Head {
        loop {
            if let Some(end) = self.buf.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buf.split_to(end + 4).to_vec();
                return Head(String::from_utf8(head).expect("a request in UTF-8"));
            }
            self.more("a request").await;
        }
    }

    /// Reads the request and answers it with a right 101.
    pub async fn accept(&mut self) -> Head {
        self.accept_with("").await
    }

    /// With more header lines, each with its line end.
    pub async fn accept_with(&mut self, lines: &str) -> Head {
        let head = self.request().await;
        self.raw(head.answer(lines)).await;
        head
    }

    // What the server says.

    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        let (io, bytes) = (&mut self.io, bytes.as_ref());
        let written = timeout(self.patience, async {
            io.write_all(bytes).await?;
            io.flush().await
        });
        written.await.expect("the client does not read").expect("the client is there");
    }

    /// One frame as a server sends it, not masked. `rsv` has RSV1 as 4, RSV2 as 2, RSV3 as 1.
    pub async fn frame(&mut self, fin: bool, rsv: u8, opcode: u8, payload: impl AsRef<[u8]>) {
        self.raw(encode(fin, rsv, opcode, payload.as_ref())).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.frame(true, 0, TEXT, text).await;
    }

    pub async fn binary(&mut self, data: impl AsRef<[u8]>) {
        self.frame(true, 0, BINARY, data).await;
    }

    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(true, 0, PING, payload).await;
    }

    pub async fn pong(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(true, 0, PONG, payload).await;
    }

    /// A Close frame; without a code its body is empty.
    pub async fn close(&mut self, code: impl Into<Option<u16>>, reason: &str) {
        self.frame(true, 0, CLOSE, close_body(code.into(), reason)).await;
    }

    /// FIN: nothing more will be sent, but the client can still be heard.
    pub async fn finish(&mut self) {
        self.io.shutdown().await.expect("the client is there");
    }

    // What the client must say.

    /// One byte, whatever it means.
    pub async fn byte(&mut self) -> u8 {
        while self.buf.is_empty() {
            self.more("a byte").await;
        }
        self.buf.split_to(1)[0]
    }

    /// Puts a byte back in front of what is read next.
    pub fn put_back(&mut self, byte: u8) {
        let rest = self.buf.split();
        self.buf.extend_from_slice(&[byte]);
        self.buf.unsplit(rest);
    }

    /// The next frame.
    pub async fn expect_frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.take_frame() {
                return frame;
            }
            self.more("a frame").await;
        }
    }

    /// Takes a frame that is there. It must be masked, with another key than the frame before it; it must not follow a
    /// Close frame.
    fn take_frame(&mut self) -> Option<Frame> {
        let (frame, mask) = frame::decode(&mut self.buf)?;
        assert_ne!(mask, self.last_mask, "a masking key is not fresh (RFC 6455, section 5.3)");
        assert!(!self.is_closed, "a frame after the Close frame (RFC 6455, section 5.5.1): {frame:?}");
        self.last_mask = mask;
        self.is_closed = frame.opcode == CLOSE;
        Some(frame)
    }

    /// The next message, put together from its frames, with its opcode.
    pub async fn expect_message(&mut self) -> (u8, Vec<u8>) {
        let Frame { mut fin, opcode, mut payload, .. } = self.expect_frame().await;
        assert!(opcode == TEXT || opcode == BINARY, "a message was expected, came opcode {opcode}: {payload:?}");
        while !fin {
            let next = self.expect_frame().await;
            assert_eq!(next.opcode, CONTINUATION, "inside of a message");
            payload.extend_from_slice(&next.payload);
            fin = next.fin;
        }
        (opcode, payload)
    }

    pub async fn expect_text(&mut self, text: &str) {
        let (opcode, payload) = self.expect_message().await;
        assert_eq!((opcode, String::from_utf8_lossy(&payload).as_ref()), (TEXT, text));
    }

    pub async fn expect_binary(&mut self, data: impl AsRef<[u8]>) {
        let (opcode, payload) = self.expect_message().await;
        assert_eq!(opcode, BINARY);
        assert!(payload == data.as_ref(), "{} bytes of other content or length", payload.len());
    }

    pub async fn expect_ping(&mut self) -> Vec<u8> {
        let frame = self.expect_frame().await;
        assert_eq!((frame.fin, frame.rsv, frame.opcode), (true, 0, PING), "{frame:?}");
        frame.payload
    }

    pub async fn expect_pong(&mut self, payload: impl AsRef<[u8]>) {
        assert_eq!(self.expect_frame().await, Frame::new(PONG, payload));
    }

    pub async fn expect_close(&mut self, code: impl Into<Option<u16>>, reason: &str) {
        assert_eq!(self.expect_frame().await, Frame::new(CLOSE, close_body(code.into(), reason)));
    }

    /// The end of what the client sends, with nothing before it.
    pub async fn expect_eof(&mut self) {
        assert!(self.buf.is_empty(), "the end was expected, came {:?}", self.buf);
        let came = self.read("the end").await;
        assert_eq!(came.expect("the end"), 0, "the end was expected, came {:?}", self.buf);
    }

    /// The end of the connection, whatever comes before it and whether by FIN or by RST.
    pub async fn expect_gone(&mut self) {
        while !matches!(self.read("the end").await, Ok(0) | Err(_)) {
            self.buf.clear();
        }
    }

    async fn more(&mut self, expected: &str) {
        let came = self.read(expected).await.unwrap_or_else(|error| panic!("{expected} was expected: {error}"));
        assert_ne!(came, 0, "{expected} was expected, the client ended after {:?}", self.buf);
    }

    async fn read(&mut self, expected: &str) -> std::io::Result<usize> {
        self.buf.reserve(8 * 1024);
        let Ok(read) = timeout(self.patience, self.io.read_buf(&mut self.buf)).await else {
            panic!("{expected} was expected, nothing comes after {:?}", self.buf)
        };
        read
    }
}

/// The head of a request, as text.
#[derive(Debug, Clone)]
pub struct Head(pub String);

impl Head {
    /// The value of the only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(": "));
        let mut named = || lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = named();
        assert_eq!(named(), None, "{name} stands twice in {:?}", self.0);
        value
    }

    /// The value of `Sec-WebSocket-Accept` that answers it.
    pub fn accept_key(&self) -> String {
        derive_accept_key(self.header("Sec-WebSocket-Key").expect("a key").as_bytes())
    }

    /// A right 101, with more header lines, each with its line end.
    pub fn answer(&self, lines: &str) -> String {
        let accept = self.accept_key();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        )
    }
}

/// The error of a result whose value need not be `Debug`.
pub fn error<T, E: Debug>(result: Result<T, E>) -> E {
    result.err().expect("an error was expected")
}
