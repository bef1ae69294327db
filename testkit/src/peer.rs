//! A scripted peer: the server's side of one connection, over a socket or in memory.
//!
//! Whatever is expected and does not come is a panic that says so, at latest after the peer's patience.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::frame::{self, BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close_body, encode};
use crate::request::Head;

/// How long a peer over a real socket waits for anything: far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The server's side of one connection.
#[derive(Debug)]
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
    /// A peer over this IO.
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

    /// Any bytes.
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

    /// A text of one frame.
    pub async fn text(&mut self, text: &str) {
        self.frame(true, 0, TEXT, text).await;
    }

    /// A binary message of one frame.
    pub async fn binary(&mut self, data: impl AsRef<[u8]>) {
        self.frame(true, 0, BINARY, data).await;
    }

    /// A Ping.
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(true, 0, PING, payload).await;
    }

    /// A Pong.
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
        let mask = frame::Head::of_client(&self.buf)?.key(&self.buf)?;
        let frame = frame::take(&mut self.buf)?;
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

    /// The next message is this text.
    pub async fn expect_text(&mut self, text: &str) {
        let (opcode, payload) = self.expect_message().await;
        assert_eq!((opcode, String::from_utf8_lossy(&payload).as_ref()), (TEXT, text));
    }

    /// The next message is binary, and has these bytes.
    pub async fn expect_binary(&mut self, data: impl AsRef<[u8]>) {
        let (opcode, payload) = self.expect_message().await;
        assert_eq!(opcode, BINARY);
        assert!(payload == data.as_ref(), "{} bytes of other content or length", payload.len());
    }

    /// The next frame is a Ping; gives what it carries.
    pub async fn expect_ping(&mut self) -> Vec<u8> {
        let frame = self.expect_frame().await;
        assert_eq!((frame.fin, frame.rsv, frame.opcode), (true, 0, PING), "{frame:?}");
        frame.payload
    }

    /// The next frame is this Pong.
    pub async fn expect_pong(&mut self, payload: impl AsRef<[u8]>) {
        assert_eq!(self.expect_frame().await, Frame::new(PONG, payload));
    }

    /// The next frame is this Close; without a code its body is empty.
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

    /// All frames that still come, until the client has ended, by FIN or RST.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = self.take_frame() {
                frames.push(frame);
            }
            if !matches!(self.read("the end").await, Ok(1..)) {
                assert!(self.buf.is_empty(), "the client ended inside of a frame: {:?}", self.buf);
                return frames;
            }
        }
    }

    /// The same, while `bytes` are sent again and again for as long as the client takes them.
    pub async fn rest_while_pouring(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.io);
        let pouring = async {
            while writer.write_all(bytes).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let buf = &mut self.buf;
        let reading = async { while matches!(reader.read_buf(buf).await, Ok(1..)) {} };
        let ending = async {
            tokio::select! { () = pouring => {}, () = reading => {} }
        };
        timeout(self.patience, ending).await.expect("the client did not end");
        let mut frames = Vec::new();
        while let Some(frame) = self.take_frame() {
            frames.push(frame);
        }
        assert!(self.buf.is_empty(), "the client ended inside of a frame: {:?}", self.buf);
        frames
    }

    /// Takes `n` bytes more off the wire, for the frames that are expected later.
    pub async fn take(&mut self, n: usize) {
        let mut bytes = vec![0; n];
        self.io.read_exact(&mut bytes).await.expect("more bytes");
        self.buf.extend_from_slice(&bytes);
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::Peer;
    use crate::frame::{CLOSE, PING, TEXT, close_body, encode_masked};

    #[tokio::test(start_paused = true)]
    async fn what_comes_as_expected_passes() {
        let (mut peer, mut client) = Peer::pipe(1024);
        client.write_all(&encode_masked([1; 4], false, 0, TEXT, b"he")).await.expect("a pipe");
        client.write_all(&encode_masked([2; 4], true, 0, 0, b"llo")).await.expect("a pipe");
        client.write_all(&encode_masked([3; 4], true, 0, CLOSE, &close_body(Some(1000), ""))).await.expect("a pipe");
        drop(client);
        peer.expect_text("hello").await;
        peer.expect_close(1000, "").await;
        peer.expect_eof().await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic = "a masking key is not fresh"]
    async fn a_masking_key_that_is_used_twice_is_caught() {
        let (mut peer, mut client) = Peer::pipe(1024);
        client.write_all(&encode_masked([1; 4], true, 0, PING, b"").repeat(2)).await.expect("a pipe");
        peer.expect_ping().await;
        peer.expect_ping().await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic = "a frame was expected, nothing comes"]
    async fn what_does_not_come_is_a_panic() {
        let (mut peer, _client) = Peer::pipe(1024);
        peer.expect_text("hello").await;
    }
}
