//! Whole connections, event by event and frame by frame, in one table. Each is played in memory, byte by byte and in
//! one go, and over TCP.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use testkit::{
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
    server::Script,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use wsflow::{Config, compat::WebSocket};

use crate::event_api::log::{Log, Seen, plain, until};
use crate::support::watch::{PIECES, Pieces};

/// What the server does.
enum Step {
    /// Says these bytes in one packet.
    Say(Vec<u8>),
    /// Reads this frame and no other.
    Expect(Frame),
    /// Ends its side.
    Finish,
}

use Step::{Expect, Finish, Say};

type Act = dyn Fn(&WebSocket, &Seen) + Send + Sync;

struct Scenario {
    rows: &'static str,
    config: Config,
    /// What the client does in its handlers.
    act: Arc<Act>,
    /// In the packet of the 101.
    with_head: Vec<u8>,
    script: Vec<Step>,
    log: Vec<String>,
}

impl Scenario {
    fn new(rows: &'static str, script: Vec<Step>, log: &[&str]) -> Self {
        let log = log.iter().map(|&line| line.to_owned()).collect();
        Self { rows, config: Config::default(), act: Arc::new(|_, _| {}), with_head: Vec::new(), script, log }
    }

    fn opening(mut self, act: impl Fn(&WebSocket) + Send + Sync + 'static) -> Self {
        self.act = Arc::new(move |ws, seen| {
            if *seen == Seen::Open {
                act(ws);
            }
        });
        self
    }

    fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    fn with_head(mut self, bytes: Vec<u8>) -> Self {
        self.with_head = bytes;
        self
    }

    async fn play<IO: AsyncRead + AsyncWrite + Unpin>(&self, peer: &mut Peer<IO>) {
        let mut head = peer.request().await.answer("").into_bytes();
        head.extend_from_slice(&self.with_head);
        peer.raw(head).await;
        for step in &self.script {
            match step {
                Say(bytes) => peer.raw(bytes).await,
                Expect(frame) => assert_eq!(peer.expect_frame().await, *frame, "{}", self.rows),
                Finish => peer.finish().await,
            }
        }
        peer.expect_eof().await;
    }

    async fn over_memory(&self, at_once: usize) {
        let (mut peer, io) = Peer::pipe(1 << 20);
        let act = Arc::clone(&self.act);
        let builder = plain("ws://h/").config(self.config.clone());
        let (builder, log) = Log::watch(builder, move |ws, seen| act(ws, seen));
        let ws = builder.connect_over(Pieces { io, at_once });
        let (lines, ()) = tokio::join!(log.end(&ws), self.play(&mut peer));
        assert_eq!(lines, self.log, "{} in memory, {at_once} at once", self.rows);
    }

    async fn over_tcp(&self) {
        let server = Script::bind().await;
        let act = Arc::clone(&self.act);
        let builder = plain(&server.url("/")).config(self.config.clone());
        let (builder, log) = Log::watch(builder, move |ws, seen| act(ws, seen));
        let ws = builder.connect();
        let mut peer = server.peer().await;
        let (lines, ()) = tokio::join!(log.end(&ws), self.play(&mut peer));
        assert_eq!(lines, self.log, "{} over TCP", self.rows);
    }
}

fn close(code: impl Into<Option<u16>>, reason: &str) -> Vec<u8> {
    encode(true, 0, CLOSE, &close_body(code.into(), reason))
}

fn expect_close(code: impl Into<Option<u16>>, reason: &str) -> Step {
    Expect(Frame::new(CLOSE, close_body(code.into(), reason)))
}

fn text(text: &str) -> Vec<u8> {
    encode(true, 0, TEXT, text.as_bytes())
}

const OPEN: &str = "open[1,0]";
const ERROR: &str = "error[3,0]";
const ABNORMAL: &str = "close{0,1006,\"\"}[3,0]";

/// Rows B133-B162 and those behind them, as far as no clock and no full buffer is in them.
fn regular() -> Vec<Scenario> {
    let normal = || vec![expect_close(1000, ""), Finish];
    vec![
        Scenario::new(
            "B133 client closes with a code",
            vec![expect_close(1000, "r"), Say(close(1000, "r")), Finish],
            &[OPEN, "close{1,1000,\"r\"}[3,0]"],
        )
        .opening(|ws| ws.close_with(1000, "r").unwrap()),
        Scenario::new(
            "B134 B123 client closes without a code",
            vec![expect_close(None, ""), Say(close(None, "")), Finish],
            &[OPEN, "close{1,1005,\"\"}[3,0]"],
        )
        .opening(|ws| ws.close().unwrap()),
        Scenario::new(
            "B135 server closes behind a message",
            [vec![Say(text("m")), Say(close(1000, ""))], normal()].into_iter().flatten().collect(),
            &[OPEN, "\"m\"[1,0]", "close{1,1000,\"\"}[3,0]"],
        ),
        Scenario::new(
            "B136 B131 server closes without a code",
            vec![Say(close(None, "")), expect_close(None, ""), Finish],
            &[OPEN, "close{1,1005,\"\"}[3,0]"],
        ),
        Scenario::new(
            "B137 B126 B131 server closes with a private code",
            vec![Say(close(4000, "robot")), expect_close(4000, "robot"), Finish],
            &[OPEN, "close{1,4000,\"robot\"}[3,0]"],
        ),
        Scenario::new(
            "B132 a BOM in a reason stays",
            vec![Say(close(1001, "\u{feff}\u{30ed}")), expect_close(1001, "\u{feff}\u{30ed}"), Finish],
            &[OPEN, "close{1,1001,\"\\u{feff}\u{30ed}\"}[3,0]"],
        ),
        Scenario::new(
            "B138 B111 server closes with the 101, client closes in open",
            vec![expect_close(1001, "PASS"), Finish],
            &[OPEN, "close{1,1001,\"PASS\"}[3,0]"],
        )
        .with_head(close(1001, "PASS"))
        .opening(|ws| ws.close_with(4111, "mine").unwrap()),
        Scenario::new(
            "B139 B130 both close at once",
            vec![expect_close(4111, "mine"), Say(close(4222, "remote")), Finish],
            &[OPEN, "close{1,4222,\"remote\"}[3,0]"],
        )
        .opening(|ws| ws.close_with(4111, "mine").unwrap()),
        Scenario::new("B140 V1 the end of TCP without a Close", vec![Finish], &[OPEN, ABNORMAL]),
        Scenario::new(
            "B140 V1 V2 the end of TCP behind messages and inside of one",
            vec![Say([text("a"), text("b"), text("cut")[..3].to_vec()].concat()), Finish],
            &[OPEN, "\"a\"[1,0]", "\"b\"[1,0]", ABNORMAL],
        ),
        Scenario::new(
            "B142 the server closes and ends its side at once",
            vec![Say(close(1000, "")), Finish, expect_close(1000, "")],
            &[OPEN, "close{1,1000,\"\"}[3,0]"],
        ),
        Scenario::new(
            "B143 the end of TCP in place of the answer",
            vec![expect_close(None, ""), Finish],
            &[OPEN, ABNORMAL],
        )
        .opening(|ws| ws.close().unwrap()),
        Scenario::new(
            "B156 B163 B168 control frames between fragments",
            vec![
                Say(encode(false, 0, TEXT, b"fr")),
                Say(encode(true, 0, PING, b"p")),
                Expect(Frame::new(PONG, "p")),
                Say(encode(false, 0, CONTINUATION, b"ag")),
                Say(encode(true, 0, PONG, b"unasked")),
                Say(encode(true, 0, CONTINUATION, b"ment")),
                Say(close(1000, "")),
                expect_close(1000, ""),
                Finish,
            ],
            &[OPEN, "\"fragment\"[1,0]", "close{1,1000,\"\"}[3,0]"],
        ),
        Scenario::new(
            "B159 B170 frames behind the server's Close",
            vec![
                Say([close(1000, "first"), text("late"), encode(true, 0, PING, b"late"), close(4000, "second")]
                    .concat()),
                Say(b"\xff\xff and what is no frame".to_vec()),
                expect_close(1000, "first"),
                Finish,
            ],
            &[OPEN, "close{1,1000,\"first\"}[3,0]"],
        ),
        Scenario::new(
            "B161 two violations in one packet",
            vec![Say([encode(true, 2, TEXT, b"x"), encode(true, 0, 3, b"")].concat()), expect_close(1002, ""), Finish],
            &[OPEN, ERROR, ABNORMAL],
        ),
        Scenario::new(
            "B161 a violation behind our own Close: there is no second one",
            vec![expect_close(4000, ""), Say(encode(true, 0, 3, b"")), Finish],
            &[OPEN, ERROR, ABNORMAL],
        )
        .opening(|ws| ws.close_with(4000, "").unwrap()),
        Scenario::new(
            "B162 B190 all messages before the Close in their packet",
            vec![Say([text("1"), text("2"), text("3"), close(1000, "")].concat()), expect_close(1000, ""), Finish],
            &[OPEN, "\"1\"[1,0]", "\"2\"[1,0]", "\"3\"[1,0]", "close{1,1000,\"\"}[3,0]"],
        ),
        Scenario::new(
            "B165 B166 empty messages of both kinds",
            vec![
                Say([text(""), encode(true, 0, BINARY, b"")].concat()),
                Say(close(1000, "")),
                expect_close(1000, ""),
                Finish,
            ],
            &[OPEN, "\"\"[1,0]", "<0 bytes>[1,0]", "close{1,1000,\"\"}[3,0]"],
        ),
    ]
}

/// Rows B119-B121: what the peer may say.
fn codes() -> Vec<Scenario> {
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let scenario = |code: u16| Scenario {
        log: vec![OPEN.into(), format!("close{{1,{code},\"x\"}}[3,0]")],
        ..Scenario::new("B119-B121", vec![Say(close(code, "x")), expect_close(code, "x"), Finish], &[])
    };
    valid.map(scenario).into()
}

/// Rows B127-B129 and B148-B155: what ends with an error, and the code that the server is told.
fn violations() -> Vec<Scenario> {
    let masked = [&[0x81, 0x81, 1, 2, 3, 4][..], b"x"].concat();
    let cases: Vec<(&'static str, Vec<u8>, u16)> = vec![
        ("B148", encode(true, 0, TEXT, b"\xff"), 1007),
        (
            "B149 over fragments",
            [encode(false, 0, TEXT, b"\xe2\x82"), encode(true, 0, CONTINUATION, b"x")].concat(),
            1007,
        ),
        ("B149 cut at the end", encode(true, 0, TEXT, b"ok \xe2\x82"), 1007),
        ("B152", masked, 1002),
        ("B153 RSV1", encode(true, 4, TEXT, b"x"), 1002),
        ("B153 RSV2", encode(true, 2, BINARY, b"x"), 1002),
        ("B153 RSV3", encode(true, 1, TEXT, b"x"), 1002),
        ("B153 RSV1 on a ping", encode(true, 4, PING, b""), 1002),
        ("B155 ping in fragments", encode(false, 0, PING, b""), 1002),
        ("B155 long ping", encode(true, 0, PING, &[0; 126]), 1002),
        ("B155 continuation of nothing", encode(true, 0, CONTINUATION, b""), 1002),
        ("B155 message in a message", [encode(false, 0, TEXT, b""), encode(true, 0, TEXT, b"")].concat(), 1002),
        ("B155 length too long", vec![0x82, 126, 0, 1, 0], 1002),
        ("B155 length with its highest bit", vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("B128", encode(true, 0, CLOSE, b"\x03"), 1002),
        ("B129", encode(true, 0, CLOSE, b"\x03\xe8\xff"), 1007),
    ];
    let reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| ("B154", encode(true, 0, opcode, b""), 1002));
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535]
        .map(|code| ("B127 B122 B124 B125", close(code, ""), 1002));
    let all = cases.into_iter().chain(reserved).chain(codes);
    // What came before is handed out before (B154).
    let scenario = |(rows, bytes, code): (&'static str, Vec<u8>, u16)| {
        let script = vec![Say([text("before"), bytes].concat()), expect_close(code, ""), Finish];
        Scenario::new(rows, script, &[OPEN, "\"before\"[1,0]", ERROR, ABNORMAL])
    };
    let limits = [
        ("B150 message", Config::default().max_message_size(10), encode(true, 0, BINARY, &[0; 11]), 1009),
        (
            "B150 fragments",
            Config::default().max_message_size(10),
            [encode(false, 0, BINARY, &[0; 10]), encode(true, 0, CONTINUATION, &[0; 1])].concat(),
            1009,
        ),
        ("B150 frame", Config::default().max_frame_size(10), encode(true, 0, BINARY, &[0; 11]), 1009),
        (
            "B151",
            Config::default().max_fragments(2),
            [encode(false, 0, TEXT, b""), encode(false, 0, CONTINUATION, b""), encode(true, 0, CONTINUATION, b"")]
                .concat(),
            1008,
        ),
    ];
    let limits = limits.map(|(rows, config, bytes, code)| scenario((rows, bytes, code)).config(config));
    all.map(scenario).chain(limits).collect()
}

/// B119-B163.
#[tokio::test(start_paused = true)]
async fn each_scenario_in_memory() {
    for scenario in regular().iter().chain(&codes()).chain(&violations()) {
        for at_once in PIECES {
            scenario.over_memory(at_once).await;
        }
    }
}

/// B119-B163.
#[tokio::test]
async fn each_scenario_over_tcp() {
    for scenario in regular().iter().chain(&codes()).chain(&violations()) {
        scenario.over_tcp().await;
    }
}

/// B119-B163.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scenario_over_tcp_on_several_threads() {
    for scenario in &regular() {
        scenario.over_tcp().await;
    }
}

/// B141.
#[tokio::test]
async fn a_reset_is_a_close_without_an_error_behind_what_came() {
    let server = Script::bind().await;
    let (arrived, arrival) = std::sync::mpsc::channel();
    let (ws, log) = Log::connect(&server.url("/"), move |_, seen| {
        if matches!(seen, Seen::Message(_)) {
            arrived.send(()).unwrap();
        }
    });
    let mut peer = server.accept().await;
    peer.text("before").await;
    // A reset may overtake what is not read yet.
    until("the message", || arrival.try_recv().is_ok()).await;
    peer.reset();
    assert_eq!(log.end(&ws).await, [OPEN, "\"before\"[1,0]", ABNORMAL]);
    assert!(matches!(ws.error(), Some(wsflow::Error::Io(_))), "{:?}", ws.error());
}

/// MiBs are queued and the server reads as much as it had to, which is nothing of the second message.
/// B157, V3.
#[tokio::test(start_paused = true)]
async fn a_close_while_data_waits_is_unclean_with_its_code_and_the_rest_stays_counted() {
    for is_read in [true, false] {
        let (ws, log, mut peer) = Log::pipe(1 << 16, Config::default(), |ws, seen| {
            if *seen == Seen::Open {
                for _ in 0..64 {
                    ws.send(vec![0; 1 << 20]).unwrap();
                }
            }
        });
        peer.accept().await;
        until("a full pipe", || (1..64 << 20).contains(&ws.buffered_amount())).await;
        let begun = tokio::time::Instant::now();
        peer.close(4567, "enough").await;
        until("CLOSING", || u16::from(ws.ready_state()) == 2).await;
        ws.send("counted").unwrap();
        if is_read {
            // The frame that was begun is finished, nothing else is sent, and the Close is answered.
            let frame = peer.expect_frame().await;
            assert_eq!((frame.opcode, frame.fin, frame.payload.len()), (BINARY, false, 256 << 10));
            peer.expect_close(4567, "enough").await;
            peer.finish().await;
            peer.expect_eof().await;
        }
        let lines = log.end(&ws).await;
        // B158: where the server reads nothing, `close_timeout` ends it.
        assert_eq!(begun.elapsed().as_secs(), if is_read { 0 } else { 10 });
        let left = (64 << 20) + 7 - if is_read { 256 << 10 } else { (1 << 16) - 14 };
        assert_eq!(lines, [OPEN, &format!("close{{0,4567,\"enough\"}}[3,{left}]")]);
    }
}

/// A transport during whose first read behind the opening handshake another thread would have sent.
struct Interrupted {
    io: DuplexStream,
    socket: Arc<Mutex<Option<WebSocket>>>,
}

impl AsyncRead for Interrupted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let mut socket = self.socket.lock().unwrap();
        if let Some(socket) = socket.take_if(|socket| u16::from(socket.ready_state()) == 1) {
            socket.send("crossed").unwrap();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Interrupted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// B157, V3.
#[tokio::test]
async fn a_message_that_crosses_the_servers_close_is_not_sent_and_makes_the_end_unclean() {
    let (mut peer, io) = Peer::pipe(1 << 16);
    let socket = Arc::new(Mutex::new(None));
    let (builder, log) = Log::watch(plain("ws://h/"), |_, _| {});
    let ws = builder.connect_over(Interrupted { io, socket: Arc::clone(&socket) });
    *socket.lock().unwrap() = Some(ws.clone());
    peer.accept().await;
    until("open", || log.lines().len() == 1).await;
    peer.close(4000, "bye").await;
    peer.expect_close(4000, "bye").await;
    peer.finish().await;
    assert_eq!(log.end(&ws).await, [OPEN, "close{0,4000,\"bye\"}[3,7]"]);
}
