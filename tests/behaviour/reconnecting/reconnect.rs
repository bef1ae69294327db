//! Reconnecting: when the next attempt comes, which ends are final, and how an end is known without being told.
//!
//! The clock is paused, and all IO is in memory: times are exact but for the jitter, whose bounds are asserted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, stream::FusedStream as _};
use testkit::{
    frame::{CLOSE, close_body, encode},
    peer::Peer,
};
use tokio::{
    io::DuplexStream,
    time::{Instant, advance},
};
use tokio_util::sync::CancellationToken;
use wsflow::{Backoff, CloseFrame, Config, Error, InvalidUrl, Phase, Reconnect, Retry, Violation, WebSocketStream};

type Ws = WebSocketStream<DuplexStream>;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a server does with an attempt to connect.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// It accepts.
    Accept,
    /// It answers the request with this status line and these header lines.
    Refuse(&'static str),
    /// It never answers.
    Silence,
}

use Answer::{Accept, Refuse, Silence};

/// A server in memory. It answers each attempt as told, and from the last answer on always so.
#[derive(Clone)]
struct Server {
    answers: Arc<Vec<Answer>>,
    /// When each attempt was made.
    attempts: Arc<Mutex<Vec<Instant>>>,
    /// The server's sides of the connections that were accepted or asked for.
    peers: Arc<Mutex<Vec<Peer<DuplexStream>>>>,
}

impl Server {
    fn new(answers: impl Into<Vec<Answer>>) -> Self {
        Self { answers: Arc::new(answers.into()), attempts: Arc::default(), peers: Arc::default() }
    }

    async fn connect(self, config: Config) -> Result<Ws, Error> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            attempts.push(Instant::now());
            attempts.len() - 1
        };
        let answer = self.answers[attempt.min(self.answers.len() - 1)];
        let (mut peer, io) = Peer::pipe(4096);
        let opening = WebSocketStream::builder("ws://example.com/").config(config).connect_over(io);
        let serving = async {
            match answer {
                Accept => drop(peer.accept().await),
                Refuse(head) => {
                    peer.request().await;
                    peer.raw(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")).await;
                }
                Silence => std::future::pending().await,
            }
            self.peers.lock().unwrap().push(peer);
        };
        let (opened, ()) = tokio::join!(opening, serving);
        opened
    }

    /// The server's side of the connection that was accepted last.
    fn peer(&self) -> Peer<DuplexStream> {
        self.peers.lock().unwrap().pop().expect("a connection")
    }

    /// How long each attempt was made after the one before it.
    fn waits(&self) -> Vec<Duration> {
        self.attempts.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }
}

/// The connections to a server.
macro_rules! connections {
    ($server:expr) => {
        connections!($server, Config::default())
    };
    ($server:expr, $config:expr) => {{
        let (server, config): (Server, Config) = ($server.clone(), $config);
        Reconnect::new(move || server.clone().connect(config.clone()))
    }};
}

/// The next connection.
macro_rules! open {
    ($connections:expr) => {
        $connections.next().await.expect("a connection").expect("a connection")
    };
}

/// The last item, and that nothing follows it.
macro_rules! last {
    ($connections:expr) => {{
        let error = $connections.next().await.expect("an item").err().expect("an error");
        assert!($connections.is_terminated());
        assert!($connections.next().await.is_none());
        assert!($connections.next().await.is_none());
        error
    }};
}

/// A timer may fire a millisecond late.
fn assert_within(wait: Duration, bounds: std::ops::RangeInclusive<Duration>) {
    let late = Duration::from_millis(2);
    assert!(*bounds.start() <= wait && wait <= *bounds.end() + late, "{wait:?} is not in {bounds:?}");
}

// When the next attempt comes.

#[tokio::test(start_paused = true)]
async fn the_waits_lie_within_bounds_that_double_up_to_the_maximum() {
    for (backoff, bounds) in [
        (Backoff::default(), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Backoff::default().initial(seconds(3)).max(seconds(10)), [3, 6, 10, 10, 10, 10, 10, 10]),
        (Backoff::default().initial(seconds(5)).max(seconds(2)), [5, 5, 5, 5, 5, 5, 5, 5]),
    ] {
        let server = Server::new([[Refuse("500 x"); 8].as_slice(), &[Accept]].concat());
        let started = Instant::now();
        let mut connections = connections!(server).backoff(backoff);
        let _ws = open!(connections);
        assert_eq!(server.attempts.lock().unwrap()[0], started, "the first attempt does not wait");
        assert_eq!(server.waits().len(), bounds.len());
        for (wait, bound) in server.waits().into_iter().zip(bounds) {
            assert_within(wait, Duration::ZERO..=seconds(bound));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_hangs_up_is_waited_for_longer_and_longer() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    for _ in 0..200 {
        let mut ws = open!(connections);
        server.peer().finish().await;
        assert!(ws.next().await.expect("an item").is_err());
    }
    let mean = server.waits()[10..].iter().sum::<Duration>().as_secs_f64() / 189.0;
    assert!((20.0..40.0).contains(&mean), "the mean of 0 to 60 s is 30 s, not {mean} s");
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_was_open_for_long_enough_resets_the_backoff() {
    let stable_after_3 = || Backoff::default().stable_after(seconds(3));
    for (backoff, open_for, is_dropped, is_reset) in [
        (Backoff::default(), seconds(9), false, false),
        (Backoff::default(), seconds(10), false, true),
        (Backoff::default(), seconds(9), true, false),
        (Backoff::default(), seconds(10), true, true),
        (stable_after_3(), seconds(2), false, false),
        (stable_after_3(), seconds(3), false, true),
    ] {
        // Full jitter shows no bound by one wait: so many waits show it.
        let mut longest = Duration::ZERO;
        for _ in 0..30 {
            let server = Server::new([[Refuse("500 x"); 6].as_slice(), &[Accept]].concat());
            let mut connections = connections!(server).backoff(backoff.clone());
            let mut ws = open!(connections);
            advance(open_for).await;
            let mut peer = server.peer();
            if !is_dropped {
                peer.close(1001, "").await;
                peer.finish().await;
                assert!(ws.next().await.is_none());
            }
            drop(ws);
            // What the caller does before it asks again does not count as open.
            advance(seconds(100)).await;
            let asked = Instant::now();
            let _ = open!(connections);
            longest = longest.max(asked.elapsed());
        }
        assert_eq!(longest <= Duration::from_millis(1002), is_reset, "{longest:?} after {open_for:?}");
    }
}

/// B278.
#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_and_the_backoff_comes_on_top() {
    for (refusal, asked) in [
        ("503 x\r\nRetry-After: 5", 5),
        ("429 x\r\nRetry-After: 120", 120),
        ("302 x\r\nLocation: /\r\nRetry-After: 7", 7),
        ("503 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("503 x\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", 0),
        ("503 x\r\nRetry-After: 3599", 3599),
        ("503 x\r\nRetry-After: 99999999999999999999999", 3600),
        ("503 x\r\nRetry-After: soon", 0),
        // Whatever the status, also one that is final without it.
        ("500 x\r\nRetry-After: 5", 5),
        ("418 x\r\nRetry-After: 120", 120),
        ("403 x\r\nRetry-After: 8", 8),
        ("413 x\r\nRetry-After: 9", 9),
        ("520 x\r\nRetry-After: 10", 10),
    ] {
        let server = Server::new([Refuse(refusal), Accept]);
        let _ = open!(connections!(server));
        assert_within(server.waits()[0], seconds(asked)..=seconds(asked + 1));
    }
    let server = Server::new([Refuse("503 x\r\nRetry-After: 100"), Accept]);
    let _ = open!(connections!(server).backoff(Backoff::default().retry_after_max(seconds(20))));
    assert_within(server.waits()[0], seconds(20)..=seconds(21));
}

// Which ends are final.

/// B277.
#[tokio::test(start_paused = true)]
async fn a_final_refusal_ends_the_stream_with_its_error() {
    for (refusal, status) in [
        ("400 x", 400),
        ("401 x\r\nWWW-Authenticate: Basic", 401),
        ("403 x", 403),
        ("404 x\r\nRetry-After: soon", 404),
        ("418 x", 418),
        ("200 x", 200),
        ("302 x\r\nLocation: /", 302),
    ] {
        let server = Server::new([Refuse("503 x"), Refuse(refusal), Accept]);
        let mut connections = connections!(server);
        assert_eq!(last!(connections).status().expect("a status"), status);
        assert_eq!(server.attempts(), 2);
    }
}

/// What has worked once is not misconfigured.
/// B277.
#[tokio::test(start_paused = true)]
async fn what_would_be_final_is_tried_again_after_a_connection_was_yielded() {
    let server = Server::new([
        Accept,
        Refuse("404 x"),
        Refuse("401 x"),
        Refuse("302 x\r\nLocation: /"),
        // A malformed handshake.
        Refuse("101 x"),
        Accept,
    ]);
    let mut connections = connections!(server);
    let mut ws = open!(connections);
    server.peer().finish().await;
    assert!(ws.next().await.expect("an item").is_err());
    let _ = open!(connections);
    assert_eq!(server.attempts(), 6);
    for (i, wait) in server.waits().into_iter().enumerate() {
        assert_within(wait, Duration::ZERO..=seconds(1 << i));
    }
}

/// B277.
#[tokio::test(start_paused = true)]
async fn a_malformed_handshake_is_final_before_the_first_connection() {
    let server = Server::new([Refuse("101 x"), Accept]);
    let mut connections = connections!(server);
    assert!(matches!(last!(connections), Error::Handshake(_)));
}

/// B279.
#[tokio::test(start_paused = true)]
async fn after_max_attempts_in_a_row_the_last_error_ends_the_stream() {
    for (limit, attempts) in [(1, 1), (3, 3), (0, 1)] {
        for policy in [Retry::Default, Retry::Now, Retry::After(seconds(1))] {
            let server = Server::new([[Refuse("503 x"); 9].as_slice(), &[Accept]].concat());
            let asked = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&asked);
            let mut connections =
                connections!(server).backoff(Backoff::default().max_attempts(limit)).retry(move |_| {
                    *counted.lock().unwrap() += 1;
                    policy
                });
            assert_eq!(last!(connections).status().expect("a status"), 503);
            assert_eq!((server.attempts(), *asked.lock().unwrap()), (attempts, attempts), "{limit}, {policy:?}");
        }
    }
}

/// B279.
#[tokio::test(start_paused = true)]
async fn each_connection_begins_the_count_of_attempts_anew() {
    let refuse = Refuse("503 x");
    let answers = [refuse, Accept, refuse, refuse, Accept, refuse, refuse, Refuse("500 x")];
    let server = Server::new(answers);
    let mut connections = connections!(server).backoff(Backoff::default().max_attempts(3));
    for _ in 0..2 {
        let mut ws = open!(connections);
        server.peer().finish().await;
        assert!(ws.next().await.expect("an item").is_err());
    }
    assert_eq!(last!(connections).status().expect("a status"), 500);
    assert_eq!(server.attempts(), 8);
}

/// Servers send such last words when they restart.
/// B277.
#[tokio::test(start_paused = true)]
async fn a_close_frame_that_is_invalid_is_not_final() {
    for (body, code) in [
        (vec![3], 1002),
        (close_body(Some(1005), ""), 1002),
        (close_body(Some(1006), ""), 1002),
        (close_body(Some(1015), "x"), 1002),
        ([&close_body(Some(1012), "re")[..], b"\xe2\x82"].concat(), 1007),
    ] {
        let server = Server::new([Accept]);
        let mut connections = connections!(server);
        let mut ws = open!(connections);
        let mut peer = server.peer();
        peer.raw(encode(true, 0, CLOSE, &body)).await;
        let (end, ()) = tokio::join!(ws.next(), async {
            let answer = peer.expect_frame().await;
            assert_eq!((answer.opcode, &answer.payload[..2]), (CLOSE, &u16::to_be_bytes(code)[..]));
            peer.finish().await;
        });
        let end = end.expect("an item").expect_err("an error");
        assert!(matches!(end, Error::ProtocolViolation(_)) && end.is_transient(), "{end}");
        let _ = open!(connections);
    }
}

/// B277.
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_tried_again_after_a_connection_was_yielded() {
    use testkit::{server::Script, tls::Authority};

    use crate::support::tls::ForClient as _;

    let (trusted, other) = (Authority::new(), Authority::new());
    for connector in trusted.connectors(None) {
        let script = Script::bind().await;
        let connect = || WebSocketStream::builder(format!("wss://{}", script.addr())).tls(connector.clone()).connect();
        let mut connections = Reconnect::new(connect).backoff(Backoff::default().initial(Duration::ZERO));
        let good = async || {
            let (_hello, peer) = trusted.server(&["127.0.0.1"]).handshake(script.peer().await).await;
            let mut peer = peer.expect("TLS");
            peer.accept().await;
            peer
        };
        let (first, peer) = tokio::join!(connections.next(), good());
        let mut first = first.expect("a connection").expect("a connection");
        drop(peer);
        while let Some(Ok(_)) = first.next().await {}
        let (next, _peer) = tokio::join!(connections.next(), async {
            let _refused = other.server(&["127.0.0.1"]).handshake(script.peer().await).await;
            good().await
        });
        let _ = next.expect("a connection").expect("a connection");
    }
}

/// B277.
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_the_stream_with_its_error() {
    use testkit::{server::Script, tls::Authority};

    use crate::support::tls::ForClient as _;

    let (trusted, other) = (Authority::new(), Authority::new());
    for connector in trusted.connectors(None) {
        let (script, attempts) = (Script::bind().await, Mutex::new(0));
        let mut connections = Reconnect::new(|| {
            *attempts.lock().unwrap() += 1;
            WebSocketStream::builder(format!("wss://{}", script.addr())).tls(connector.clone()).connect()
        });
        let server = async {
            let (ended, _peer) = other.server(&["127.0.0.1"]).handshake(script.peer().await).await;
            ended
        };
        let (end, _) = tokio::join!(connections.next(), server);
        let error = end.expect("an item").expect_err("an error");
        assert!(error.is_tls() && !error.is_transient(), "{error:?}");
        assert!(connections.next().await.is_none());
        assert_eq!(*attempts.lock().unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_input_ends_the_stream_with_its_error() {
    let mut connections = Reconnect::new(|| WebSocketStream::connect("ws://example.com/#"));
    assert!(matches!(last!(connections), Error::InvalidUrl(InvalidUrl::Fragment)));
}

#[tokio::test(start_paused = true)]
async fn a_close_code_that_says_never_ends_the_stream_and_every_other_does_not() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999] {
        let server = Server::new([Accept]);
        let mut connections = connections!(server);
        let mut ws = open!(connections);
        let mut peer = server.peer();
        peer.close(code, "why").await;
        peer.finish().await;
        assert!(ws.next().await.is_none(), "a clean end");
        drop(ws);
        if matches!(code, 1002 | 1003 | 1007..=1010) {
            let Error::Closed(closed) = last!(connections) else { panic!("{code}") };
            assert_eq!((u16::from(closed.code), &*closed.reason, closed.was_clean), (code, "why", true));
        } else {
            let _ = open!(connections);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_protocol_is_final() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    let mut ws = open!(connections);
    server.peer().raw([0x81, 0x80, 1, 2, 3, 4]).await;
    assert!(ws.next().await.expect("an item").is_err());
    assert!(matches!(last!(connections), Error::ProtocolViolation(Violation::MaskedFrame)));
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_the_callers_to_replace_and_sees_every_end() {
    let server = Server::new([Refuse("404 x"), Refuse("403 x"), Refuse("500 x"), Accept]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut connections = connections!(server).retry({
        let seen = Arc::clone(&seen);
        move |end| {
            seen.lock().unwrap().push(end.to_string());
            match end.status().map(|status| status.as_u16()) {
                Some(404) => Retry::Now,
                Some(403) => Retry::After(seconds(42)),
                Some(_) => Retry::Backoff,
                None => Retry::Never,
            }
        }
    });
    let mut ws = open!(connections);
    let waits = server.waits();
    assert_within(waits[0], Duration::ZERO..=Duration::ZERO);
    assert_within(waits[1], seconds(42)..=seconds(42));
    // Neither of them counts as a wait of the backoff.
    assert_within(waits[2], Duration::ZERO..=seconds(1));

    let mut peer = server.peer();
    peer.close(1000, "bye").await;
    peer.finish().await;
    assert!(ws.next().await.is_none());
    assert!(matches!(last!(connections), Error::Closed(closed) if closed.was_clean && closed.code == 1000));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "the server ws://example.com:80 refused the upgrade with status 404 Not Found",
            "the server ws://example.com:80 refused the upgrade with status 403 Forbidden",
            "the server ws://example.com:80 refused the upgrade with status 500 Internal Server Error",
            "the connection was closed with code 1000 (bye)",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn default_stands_for_the_default_policy() {
    for (refusal, is_final) in [("404 x", true), ("500 x", false)] {
        let server = Server::new([Refuse(refusal), Accept]);
        let mut connections = connections!(server).retry(|_| Retry::Default);
        assert_eq!(connections.next().await.expect("an item").is_err(), is_final);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_without_a_pause_let_other_tasks_run() {
    let mut connections =
        Reconnect::new(|| async { Err::<Ws, _>(Error::Closing { by_peer: None }) }).retry(|_| Retry::Now);
    let other = tokio::spawn(async {});
    tokio::select! {
        _ = connections.next() => panic!("there is none"),
        ran = other => ran.expect("it ran"),
    }
}

// How an end is known.

/// Asserts that 1008 is the end that is known.
macro_rules! assert_1008 {
    ($connections:expr) => {
        assert_eq!(last!($connections).close_code().expect("a code"), 1008)
    };
}

#[tokio::test(start_paused = true)]
async fn the_end_is_known_while_the_connection_is_held() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    let mut ws = open!(connections);
    let mut peer = server.peer();
    peer.close(1008, "").await;
    peer.finish().await;
    assert!(ws.next().await.is_none());
    assert_1008!(connections);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_known_to_who_closes_flushes_or_waits_for_room() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    let mut ws = open!(connections);
    let mut peer = server.peer();
    peer.close(1008, "").await;
    peer.finish().await;
    assert_eq!(ws.close_with(CloseFrame::new(1000, "")).await.expect("closed").code, 1008);
    assert_1008!(connections);

    let config = Config::default().write_timeout(seconds(5)).write_high_water_mark(1);
    for asks_for_room in [true, false] {
        let server = Server::new([Accept]);
        let ends = Arc::new(Mutex::new(Vec::new()));
        let mut connections = connections!(server, config.clone()).retry({
            let ends = Arc::clone(&ends);
            move |end| {
                ends.lock().unwrap().push(end.clone());
                Retry::Never
            }
        });
        let mut ws = open!(connections);
        let _peer = server.peer();
        ws.feed(vec![0; 10_000].into()).await.expect("room");
        let failed = if asks_for_room { ws.feed("x".into()).await } else { ws.flush().await };
        assert!(matches!(failed, Err(Error::Timeout { phase: Phase::Write, .. })));
        // It is the end once reading shows nothing more.
        assert!(ws.next().await.expect("an item").is_err());
        assert!(matches!(last!(connections), Error::Timeout { phase: Phase::Write, .. }));
        assert_eq!(ends.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_known_through_the_halves() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    let (_sender, mut receiver) = open!(connections).into_split();
    let mut peer = server.peer();
    peer.text("last").await;
    peer.close(1008, "").await;
    peer.finish().await;
    assert!(receiver.next().await.expect("a message").is_ok());
    assert!(receiver.next().await.is_none());
    assert_1008!(connections);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_known_from_another_task() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server);
    let mut ws = open!(connections);
    let mut peer = server.peer();
    let reading = tokio::spawn(async move { ws.next().await.is_none() });
    peer.close(1008, "").await;
    peer.finish().await;
    assert!(reading.await.expect("it ran"));
    assert_1008!(connections);
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_or_lives_still_is_followed_by_a_wait_and_the_policy_is_not_asked() {
    let server = Server::new([Accept]);
    let mut connections = connections!(server).retry(|end| panic!("asked about {end}"));
    drop(open!(connections));
    // One whose Close nobody has read.
    let ws = open!(connections);
    server.peer().close(1008, "").await;
    drop(ws);
    drop(open!(connections).into_parts());
    let mut alive = open!(connections);
    let mut peer = server.peer();
    let mut next = open!(connections);
    for (wait, bound) in server.waits().into_iter().zip([1, 2, 4, 8]) {
        assert_within(wait, Duration::ZERO..=seconds(bound));
    }
    assert_eq!(server.attempts(), 5);
    // Nothing was done to it, and what becomes of it later is its holder's.
    peer.text("still here").await;
    assert!(alive.next().await.expect("a message").is_ok());
    peer.close(1008, "").await;
    peer.finish().await;
    assert!(alive.next().await.is_none());
    server.peer().text("here, too").await;
    assert!(next.next().await.expect("a message").is_ok());
    drop(next);
    let _ = open!(connections);
}

// Cancellation.

#[tokio::test(start_paused = true)]
async fn a_token_ends_the_stream_at_every_point() {
    // Beforehand.
    let server = Server::new([Accept]);
    let token = CancellationToken::new();
    token.cancel();
    let mut connections = connections!(server).signal(token);
    assert!(connections.next().await.is_none());
    assert_eq!(server.attempts(), 0);
    assert!(connections.is_terminated());

    // During an attempt, and during a wait.
    for (answer, attempts) in [(Silence, 1), (Refuse("503 x\r\nRetry-After: 100"), 1)] {
        let server = Server::new([answer]);
        let token = CancellationToken::new();
        let mut connections = connections!(server).signal(token.clone());
        let started = Instant::now();
        let (next, ()) = tokio::join!(connections.next(), async {
            tokio::time::sleep(seconds(20)).await;
            token.cancel();
        });
        assert!(next.is_none());
        assert_within(started.elapsed(), seconds(20)..=seconds(20));
        assert_eq!(server.attempts(), attempts, "{answer:?}");
        assert!(connections.next().await.is_none());
    }

    // While a connection is open, to which it does nothing.
    let server = Server::new([Accept]);
    let token = CancellationToken::new();
    let mut connections = connections!(server).signal(token.clone());
    let mut ws = open!(connections);
    token.cancel();
    server.peer().text("still here").await;
    assert!(ws.next().await.expect("a message").is_ok());
    assert!(connections.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_or_dropped_attempt_drops_its_io() {
    for is_cancelled in [true, false] {
        let (mut peer, io) = Peer::pipe(4096);
        let mut io = Some(io);
        let token = CancellationToken::new();
        let mut connections = Reconnect::new(|| {
            WebSocketStream::builder("ws://example.com/").connect_over(io.take().expect("one attempt"))
        })
        .signal(token.clone());
        assert!(connections.next().now_or_never().is_none());
        peer.request().await;
        if is_cancelled {
            token.cancel();
            assert!(connections.next().await.is_none());
        } else {
            drop(connections);
        }
        peer.expect_eof().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_loses_neither_an_attempt_nor_a_wait() {
    let server = Server::new([Refuse("503 x\r\nRetry-After: 10"), Accept]);
    let mut connections = connections!(server);
    while connections.next().now_or_never().is_none() {
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(server.attempts(), 2);
    assert_within(server.waits()[0], seconds(10)..=seconds(11) + Duration::from_millis(100));
}

#[tokio::test]
async fn it_can_be_sent_to_another_thread_and_shows_no_secret() {
    fn assert_send<T: Send>(_: &T) {}
    let secret = String::from("hunter2");
    let connections = Reconnect::new(|| WebSocketStream::connect(format!("ws://user:{secret}@example.com/")));
    assert_send(&connections);
    let shown = format!("{connections:?}");
    assert!(shown.starts_with("Reconnect { state: \"new\"") && !shown.contains("hunter2"), "{shown}");
}
