//! Whether the peer is there, and whether it still says something: who is found dead and when, and who is not.
//!
//! `B<n>` and `V<n>` are the rows of the behaviours that this crate follows; each test names the ones that it shows.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CLOSE, PING, PONG, TEXT, close_body, encode},
    peer::Peer,
    script_io::{Script, ScriptIo, Step, script_io},
    wire::payload_taken,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wsflow::{CloseFrame, Closed, Config, Error, Message, Phase, ReadyState, WebSocketStream, compat::WebSocket};

type Ws = WebSocketStream<ScriptIo>;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn open(config: Config) -> (Ws, Script) {
    let (io, script) = script_io();
    (WebSocketStream::from_upgraded(io, config), script)
}

/// How many pings have come to the peer.
fn pings(script: &Script) -> usize {
    script.wire().payloads(PING).len()
}

/// Answers a ping of which no pong was sent.
fn answer(script: &Script, answered: &mut usize) {
    let wire = script.wire();
    for payload in &wire.payloads(PING)[*answered..] {
        script.frame(PONG, payload);
        *answered += 1;
    }
}

fn assert_timeout(error: &Error, phase: Phase, limit: f64) {
    let is_right = matches!(error, Error::Timeout { phase: p, after, server: None, .. } if (*p, *after) == (phase, seconds(limit)));
    assert!(is_right, "{error:?} is not {phase:?} after {limit} s");
}

// The table of faults.

/// What the peer does each second, half a second after it began.
type Peers = Box<dyn FnMut(&Script, u64)>;

/// In the last of so many seconds, again and again.
fn every(period: u64, mut act: impl FnMut(&Script) + 'static) -> Peers {
    Box::new(move |script, second| {
        if second % period == period - 1 {
            act(script);
        }
    })
}

/// Once.
fn at(when: u64, mut act: impl FnMut(&Script) + 'static) -> Peers {
    Box::new(move |script, second| {
        if second == when {
            act(script);
        }
    })
}

fn silent() -> Peers {
    Box::new(|_, _| {})
}

fn both(mut first: Peers, mut second: Peers) -> Peers {
    Box::new(move |script, at| {
        first(script, at);
        second(script, at);
    })
}

/// It answers pings, within a second.
fn answers() -> Peers {
    let mut answered = 0;
    every(1, move |script| answer(script, &mut answered))
}

/// It takes `n` bytes each 20 s, until it stops.
fn takes(n: usize, until: u64) -> Peers {
    let mut act = every(20, move |script| {
        script.writes([Step::Partial(n)], Step::Pending);
        script.wake_write();
    });
    Box::new(move |script, second| {
        if second < until {
            act(script, second);
        }
    })
}

/// It sends the bytes of a frame of 50 MB, one each 20 s.
fn drips_a_message() -> Peers {
    let mut bytes = encode(true, 0, BINARY, &[]);
    bytes.splice(1.., [127, 0, 0, 0, 0, 3, 0, 0, 0]);
    bytes.extend([7; 200]);
    let mut bytes = bytes.into_iter();
    every(20, move |script| script.input([bytes.next().unwrap()]))
}

fn half_a_message(script: &Script) {
    script.input(&encode(true, 0, BINARY, &[7; 1000])[..500]);
}

/// It sends a frame each 20 s.
fn sends(opcode: u8, payload: &'static str) -> Peers {
    every(20, move |script| script.frame(opcode, payload))
}

/// How it ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Not within an hour.
    Open,
    Keepalive {
        at: f64,
    },
    Message {
        at: f64,
    },
    /// By the peer's Close, with this code.
    Closed {
        code: u16,
        at: f64,
    },
}

struct Row {
    what: &'static str,
    config: Config,
    /// Whether the transport takes anything without the peer's doing.
    takes_all: bool,
    /// A message of so many bytes is queued before the stream is read.
    queued: usize,
    peer: fn() -> Peers,
    end: End,
    /// How many pings come to the peer.
    pings: usize,
}

/// The defaults: 30 s, and 30 s.
fn row(what: &'static str, peer: fn() -> Peers, end: End) -> Row {
    Row { what, config: Config::default(), takes_all: true, queued: 0, peer, end, pings: 0 }
}

fn table() -> Vec<Row> {
    let message_timeout = || Config::default().message_timeout(seconds(45.0));
    let stuck = Row { takes_all: false, queued: 100_000, ..row("", silent, End::Open) };
    vec![
        // Is the peer there?
        Row { pings: 1, ..row("it vanished", silent, End::Keepalive { at: 60.0 }) },
        Row {
            config: Config::default().keepalive_interval(seconds(5.0)).keepalive_timeout(seconds(3.0)),
            pings: 1,
            ..row("it vanished, other limits", silent, End::Keepalive { at: 8.0 })
        },
        Row { what: "it takes nothing, and messages wait", end: End::Keepalive { at: 60.0 }, ..clone(&stuck) },
        Row {
            what: "it takes the first bytes only",
            peer: || takes(5_000, 20),
            end: End::Keepalive { at: 60.0 },
            ..clone(&stuck)
        },
        Row { queued: 100_000, pings: 1, ..row("it takes all and vanished", silent, End::Keepalive { at: 60.0 }) },
        Row {
            pings: 1,
            peer: || at(10, half_a_message),
            ..row("it stalls within a frame", silent, End::Keepalive { at: 70.5 })
        },
        Row {
            pings: 1,
            peer: || at(10, |script| script.input([0x82])),
            ..row("it stalls within a header", silent, End::Keepalive { at: 70.5 })
        },
        Row {
            // Each ping leaves a quarter of a second before the peer acts.
            config: Config::default().keepalive_interval(seconds(29.75)),
            pings: 119,
            ..row("it answers pings", answers, End::Open)
        },
        row("one message comes for an hour, and no pong", drips_a_message, End::Open),
        row("it sends pings", || sends(PING, "there"), End::Open),
        row("it sends pongs of its own", || sends(PONG, "there"), End::Open),
        Row {
            takes_all: false,
            queued: 4_000_000,
            pings: 1,
            ..row("a message goes out for an hour, and no pong comes", || takes(10_000, 3600), End::Open)
        },
        Row {
            takes_all: false,
            queued: 4_000_000,
            ..row("the same, and it stops", || takes(10_000, 300), End::Keepalive { at: 329.5 })
        },
        Row { what: "it takes nothing, and talks", peer: || sends(PONG, "there"), ..clone(&stuck) },
        Row {
            config: Config::default().keepalive_interval(None),
            ..row("it vanished, and nobody asks", silent, End::Open)
        },
        // Does it still say something?
        Row {
            config: message_timeout(),
            pings: 1,
            ..row("it answers pings and sends no message", answers, End::Message { at: 45.0 })
        },
        Row {
            config: message_timeout(),
            ..row("it sends pongs alone", || sends(PONG, "there"), End::Message { at: 45.0 })
        },
        Row {
            config: message_timeout(),
            ..row("it sends pings alone", || sends(PING, "there"), End::Message { at: 45.0 })
        },
        Row {
            config: message_timeout(),
            peer: || every(1, |script| script.input(&encode(true, 0, PONG, &[7; 38])[..])),
            ..row("it sends pongs all the time", silent, End::Message { at: 45.0 })
        },
        Row {
            config: message_timeout(),
            peer: || {
                let mut bytes = encode(true, 0, PONG, &[7; 38]).into_iter().cycle();
                every(1, move |script| script.input([bytes.next().unwrap()]))
            },
            ..row("pongs come byte by byte", silent, End::Message { at: 45.0 })
        },
        Row { config: message_timeout(), ..row("one message comes for an hour", drips_a_message, End::Open) },
        Row { config: message_timeout(), ..row("it sends empty messages", || sends(TEXT, ""), End::Open) },
        Row {
            config: message_timeout(),
            peer: || both(answers(), at(10, |script| script.input(encode(false, 0, BINARY, &[7; 1000])))),
            pings: 1,
            ..row("it answers pings and stalls between fragments", silent, End::Message { at: 55.5 })
        },
        Row {
            config: message_timeout(),
            what: "no message comes, and it cannot be told",
            // The Close frame has its time to leave.
            end: End::Message { at: 47.0 },
            ..clone(&stuck)
        },
        Row {
            config: Config::default().message_timeout(seconds(90.0)),
            pings: 1,
            ..row("it vanished, which shows first", silent, End::Keepalive { at: 60.0 })
        },
        Row {
            config: message_timeout().keepalive_interval(None),
            ..row("it vanished, and a message is waited for", silent, End::Message { at: 45.0 })
        },
        // Closing has deadlines of its own.
        Row {
            what: "it closes, and stops reading",
            config: message_timeout(),
            peer: || at(10, |script| script.frame(CLOSE, close_body(Some(4000), ""))),
            end: End::Closed { code: 4000, at: 20.5 },
            ..clone(&stuck)
        },
        Row {
            config: message_timeout().without_timers(),
            ..row("it vanished, and there are no timers", silent, End::Open)
        },
    ]
}

fn clone(row: &Row) -> Row {
    Row { config: row.config.clone(), ..*row }
}

/// Reads to the end, if that comes within an hour: the error, and when it came. The one who lends sees what the one who
/// takes does.
async fn end(ws: &mut Ws, is_lent: bool, start: Instant) -> Option<(Error, Duration)> {
    let reading = async {
        loop {
            let failed = if is_lent {
                ws.next_ref().await.expect("an error comes first").err()
            } else {
                ws.next().await.expect("an error comes first").err()
            };
            if let Some(error) = failed {
                return (error, start.elapsed());
            }
        }
    };
    timeout(seconds(3600.0), reading).await.ok()
}

/// V8, B169.
#[tokio::test(start_paused = true)]
async fn who_is_found_dead_and_when() {
    for row in table() {
        for is_lent in [false, true] {
            check(clone(&row), is_lent).await;
        }
    }
}

async fn check(row: Row, is_lent: bool) {
    let Row { what, config, takes_all, queued, peer, end: expected, pings: expected_pings } = row;
    let (keepalive_timeout, message_timeout) = (config.keepalive_timeout, config.message_timeout);
    let (mut ws, script) = open(config);
    if !takes_all {
        script.writes([], Step::Pending);
    }
    if queued > 0 {
        ws.feed(Message::binary(vec![8; queued])).await.unwrap();
    }
    let start = Instant::now();
    let mut peer = peer();
    let acting = async {
        for second in 0.. {
            sleep_until(start + seconds(second as f64 + 0.5)).await;
            peer(&script, second);
        }
    };
    let ended = tokio::select! {
        ended = end(&mut ws, is_lent, start) => ended,
        () = acting => unreachable!(),
    };

    let output = script.output();
    assert_eq!(
        ws.buffered_amount(),
        queued as u64 - payload_taken(&output),
        "{what}: what was queued is accounted for"
    );
    assert_eq!(pings(&script), expected_pings, "{what}: pings");
    let close = script.wire().close().map(<[u8]>::to_vec);
    let Some((error, when)) = ended else {
        assert!(matches!(expected, End::Open), "{what}: {expected:?} was expected");
        assert_eq!((ws.ready_state(), close), (ReadyState::Open, None), "{what}");
        return;
    };
    let (closed, at) = match expected {
        End::Open => panic!("{what}: {error} after {when:?}"),
        End::Keepalive { at } => {
            assert_timeout(&error, Phase::Keepalive, keepalive_timeout.as_secs_f64());
            assert_eq!(close, None, "{what}: a dead peer is told nothing");
            assert!(script.is_shut_down() || !takes_all, "{what}: the transport ends");
            (Closed::new(1006, "", false), at)
        }
        End::Message { at } => {
            assert_timeout(&error, Phase::Message, message_timeout.unwrap().as_secs_f64());
            assert_eq!(close, takes_all.then(|| close_body(Some(1011), "")), "{what}: it is told");
            (Closed::new(1006, "", false), at)
        }
        End::Closed { code, at } => {
            assert!(error.is_closed(), "{what}: {error:?}");
            (Closed::new(code, "", false), at)
        }
    };
    assert_eq!((when, ws.closed()), (seconds(at), Some(&closed)), "{what}: {error}");
    // It is the one error, and whoever asks later gets it, too.
    assert!(ws.next().await.is_none(), "{what}");
    crate::support::watch::assert_same(&ws.send("late".into()).await.unwrap_err(), &error);
    assert_eq!(ws.close_with(CloseFrame::empty()).await.unwrap(), closed, "{what}");
}

// What is not silence.

/// V8.
#[tokio::test(start_paused = true)]
async fn a_slow_consumer_makes_no_peer_a_dead_one() {
    for is_lent in [false, true] {
        let (mut ws, script) = open(Config::default().read_buffer_max(1024).message_timeout(seconds(45.0)));
        // More than is read at once, and then nothing.
        for _ in 0..10 {
            script.frame(BINARY, [7; 1000]);
            script.frame(PING, "there?");
        }
        // Ten times as long as a silence may take.
        for _ in 0..10 {
            if is_lent {
                assert_eq!(ws.next_ref().await.unwrap().unwrap().len(), 1000);
            } else {
                assert_eq!(ws.next().await.unwrap().unwrap().len(), 1000);
            }
            sleep(seconds(60.0)).await;
        }
        assert_eq!(pings(&script), 0);
        // From now on it listens, and only from now on a silence counts.
        assert!(timeout(seconds(29.9), ws.next()).await.is_err());
        assert_eq!(pings(&script), 0);
        assert!(timeout(seconds(0.2), ws.next()).await.is_err());
        assert_eq!(pings(&script), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_minute_between_two_calls_of_next_does_not_count() {
    let (mut ws, script) = open(Config::default());
    for i in 0..5 {
        let before = Instant::now();
        let (message, ()) = tokio::join!(ws.next(), async {
            sleep(seconds(29.0)).await;
            script.frame(TEXT, i.to_string());
        });
        assert_eq!((message.unwrap().unwrap(), before.elapsed()), (i.to_string().into(), seconds(29.0)));
        sleep(seconds(60.0)).await;
    }
    assert_eq!(pings(&script), 0);
}

/// A future of `next` is dropped, as in a `select!`, and another branch works for a minute.
async fn away(ws: &mut Ws, minutes: f64) {
    assert!(ws.next().now_or_never().is_none());
    sleep(seconds(60.0 * minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn a_next_that_was_dropped_for_a_minute_reads_first_and_then_asks() {
    // Something has come meanwhile: nobody is asked.
    let (mut ws, script) = open(Config::default());
    away(&mut ws, 1.0).await;
    script.input(&encode(true, 0, TEXT, b"half")[..3]);
    assert!(timeout(seconds(29.9), ws.next()).await.is_err());
    assert_eq!(pings(&script), 0);

    // Nothing has: the peer is asked, and has its whole time from then on.
    for answers_after in [Some(29.0), None] {
        let (mut ws, script) = open(Config::default());
        away(&mut ws, 1.0).await;
        assert!(ws.next().now_or_never().is_none());
        assert_eq!(pings(&script), 1);
        let back = Instant::now();
        match answers_after {
            Some(after) => {
                assert!(timeout(seconds(after), ws.next()).await.is_err());
                script.input([0x8a]);
                assert!(timeout(seconds(29.9), ws.next()).await.is_err());
                assert_eq!(pings(&script), 1);
            }
            None => {
                let (error, _) = end(&mut ws, false, back).await.unwrap();
                assert_timeout(&error, Phase::Keepalive, 30.0);
                assert_eq!(back.elapsed(), seconds(30.0));
            }
        }
    }
}

/// While a ping has no answer: what came meanwhile counts, and what is still on its way to the transport has a moment.
#[tokio::test(start_paused = true)]
async fn a_timer_that_is_late_reads_before_it_judges() {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Pong {
        Waits,
        ComesAtOnce,
        Never,
    }
    for pong in [Pong::Waits, Pong::ComesAtOnce, Pong::Never] {
        let (mut ws, script) = open(Config::default());
        away(&mut ws, 0.5).await;
        // The ping leaves, and nobody looks for a minute.
        away(&mut ws, 1.0).await;
        assert_eq!(pings(&script), 1);
        let back = Instant::now();
        if pong == Pong::Waits {
            answer(&script, &mut 0);
        }
        assert!(timeout(seconds(0.5), ws.next()).await.is_err(), "{pong:?}");
        match pong {
            Pong::Never => {
                let (error, when) = end(&mut ws, false, back).await.unwrap();
                assert_timeout(&error, Phase::Keepalive, 30.0);
                assert_eq!(when, seconds(1.0));
                continue;
            }
            Pong::ComesAtOnce => answer(&script, &mut 0),
            Pong::Waits => {}
        }
        assert!(timeout(seconds(29.4), ws.next()).await.is_err(), "{pong:?}");
        assert_eq!((ws.ready_state(), pings(&script)), (ReadyState::Open, 1), "{pong:?}");
    }
}

/// Who looks in only now and then finds a dead peer all the same.
#[tokio::test(start_paused = true)]
async fn a_peer_is_found_dead_by_who_is_away_most_of_the_time() {
    let (mut ws, _script) = open(Config::default());
    for minute in 0.. {
        assert!(minute < 4, "it is never found");
        if let Ok(item) = timeout(seconds(5.0), ws.next()).await {
            assert_timeout(&item.unwrap().unwrap_err(), Phase::Keepalive, 30.0);
            break;
        }
        sleep(seconds(55.0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_came_while_nobody_looked_counts() {
    for came in [true, false] {
        let (mut ws, script) = open(Config::default().message_timeout(seconds(10.0)).keepalive_interval(None));
        away(&mut ws, 1.0).await;
        let back = Instant::now();
        if came {
            script.input(&encode(true, 0, BINARY, &[7; 100])[..50]);
        }
        let (error, when) = end(&mut ws, false, back).await.unwrap();
        assert_timeout(&error, Phase::Message, 10.0);
        assert_eq!(when, seconds(if came { 10.0 } else { 1.0 }));
    }
}

// Who waits for what.

#[tokio::test(start_paused = true)]
async fn who_only_writes_has_no_keepalive() {
    let (mut ws, script) = open(Config::default().write_high_water_mark(1).message_timeout(seconds(45.0)));
    script.writes([], Step::Pending);
    ws.feed("waits".into()).await.unwrap();
    // Also where somebody read before.
    for reads_first in [false, true] {
        if reads_first {
            // Large buffers are freed by a timer that the writer has, too.
            script.frame(BINARY, [7; 20_000]);
            assert_eq!(ws.next().await.unwrap().unwrap().len(), 20_000);
            away(&mut ws, 1.0).await;
        }
        assert!(timeout(seconds(3600.0), ws.flush()).await.is_err());
        assert!(timeout(seconds(3600.0), ws.feed("never".into())).await.is_err());
        assert_eq!(ws.ready_state(), ReadyState::Open);
    }
    assert_eq!((ws.buffered_amount(), ws.stats().pings_sent), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_hears_of_the_dead_peer_from_the_reader() {
    let (ws, script) = open(Config::default());
    script.writes([Step::Partial(500)], Step::Pending);
    let (mut sink, mut stream) = ws.split();
    let start = Instant::now();
    let writing = async {
        let error = sink.send(Message::binary(vec![8; 100_000])).await.unwrap_err();
        (error, start.elapsed())
    };
    let reading = async { (stream.next().await.unwrap().unwrap_err(), start.elapsed()) };
    let (write, read) = tokio::join!(writing, reading);
    for (error, when) in [write, read] {
        assert_timeout(&error, Phase::Keepalive, 30.0);
        assert_eq!(when, seconds(60.0));
    }
    let ws = sink.reunite(stream).unwrap();
    assert_eq!(ws.buffered_amount(), 100_000 - payload_taken(&script.output()));
}

#[tokio::test(start_paused = true)]
async fn closing_switches_keepalive_off() {
    let config = || Config::default().close_timeout(None).message_timeout(seconds(45.0));
    // Nothing was asked yet, and an answer is waited for.
    for waited in [10.0, 40.0] {
        let (mut ws, script) = open(config());
        assert!(timeout(seconds(waited), ws.next()).await.is_err());
        let before = pings(&script);
        assert!(ws.close().now_or_never().is_none());
        assert!(timeout(seconds(3600.0), ws.next()).await.is_err());
        assert!(timeout(seconds(3600.0), ws.close()).await.is_err());
        assert_eq!((pings(&script), ws.error().is_none()), (before, true));
        script.frame(CLOSE, b"");
        script.end();
        assert!(ws.next().await.is_none());
        assert!(ws.closed().unwrap().was_clean);
    }
}

// Keepalive's pings and those of the user.

#[tokio::test(start_paused = true)]
async fn keepalives_ping_is_matched_and_counted_as_any_other() {
    let (mut ws, script) = open(Config::default());
    let mut payloads = Vec::new();
    for millis in [250, 40] {
        let waiting = async {
            sleep(seconds(30.0) + Duration::from_millis(millis)).await;
            let wire = script.wire();
            payloads.push(wire.payloads(PING).pop().expect("a ping").to_vec());
            script.frame(PONG, payloads.last().unwrap());
        };
        tokio::select! { _ = ws.next() => unreachable!(), () = waiting => {} }
        assert!(ws.next().now_or_never().is_none());
        assert_eq!(ws.stats().last_rtt, Some(Duration::from_millis(millis)));
    }
    assert_eq!((ws.stats().pings_sent, ws.stats().messages_received), (2, 0));
    assert_ne!(payloads[0], payloads[1]);
}

#[tokio::test(start_paused = true)]
async fn sixteen_pings_of_the_user_and_keepalives_take_no_place_from_each_other() {
    // The peer takes nothing, or takes all and says nothing until it answers keepalive's ping alone.
    for takes_all in [false, true] {
        let (mut ws, script) = open(Config::default());
        if !takes_all {
            script.writes([], Step::Pending);
        }
        let mut pongs: Vec<_> = (0..15_u8).map(|i| ws.send_ping([i].to_vec()).unwrap()).collect();
        assert!(timeout(seconds(31.0), ws.next()).await.is_err());
        assert_eq!(ws.stats().pings_sent, 16, "keepalive's is the sixteenth");
        pongs.push(ws.send_ping("sixteenth of the user").unwrap());
        assert!(matches!(ws.send_ping("17th"), Err(Error::TooManyPings { limit: 16 })));
        script.writes([], Step::Ready);
        script.wake_write();
        assert!(ws.next().now_or_never().is_none());
        let wire = script.wire();
        let payloads = wire.payloads(PING);
        assert_eq!((payloads.len(), payloads[16]), (17, &b"sixteenth of the user"[..]));
        // As a pong answers all pings before it, so does keepalive's.
        script.frame(PONG, payloads[15]);
        assert!(ws.next().now_or_never().is_none());
        let last = pongs.pop().unwrap();
        for pong in pongs {
            assert!(pong.now_or_never().expect("an answer").is_ok());
        }
        script.frame(PONG, payloads[16]);
        assert!(ws.next().now_or_never().is_none());
        assert!(last.now_or_never().expect("an answer").is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_one_ping_waits_to_leave_however_long_it_takes() {
    // It waits for the transport, or for the end of a frame that the transport has begun to take.
    for is_frame_begun in [false, true] {
        let (mut ws, script) = open(Config::default().fragment_size(None));
        if is_frame_begun {
            script.writes([Step::Partial(1000)], Step::Pending);
            ws.feed(Message::from(vec![5; 1 << 20])).await.unwrap();
            assert!(ws.flush().now_or_never().is_none());
        } else {
            script.writes([], Step::Pending);
        }
        for _ in 0..20 {
            assert!(timeout(seconds(40.0), ws.next()).await.is_err());
            script.frame(PONG, "there");
        }
        script.writes([], Step::Ready);
        script.wake_write();
        assert!(ws.next().now_or_never().is_none());
        assert_eq!((pings(&script), ws.stats().pings_sent), (1, 1), "a frame is begun: {is_frame_begun}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_a_dead_peer_owes_yields_the_error_that_ended_the_connection() {
    let (mut ws, _script) = open(Config::default());
    let pong = ws.send_ping("p").unwrap();
    assert!(ws.next().await.unwrap().is_err());
    assert_timeout(&pong.await.unwrap_err(), Phase::Keepalive, 30.0);
}

// The event API.

/// B169.
#[tokio::test(start_paused = true)]
async fn the_event_api_has_no_keepalive_unless_it_is_given_a_config() {
    for config in [None, Some(Config::default())] {
        let (mut peer, io) = Peer::pipe(4096);
        let mut builder = WebSocket::builder("ws://h/").unwrap();
        let is_on = config.is_some();
        if let Some(config) = config {
            builder = builder.config(config);
        }
        let ws = builder.connect_over(io);
        peer.accept().await;
        let start = Instant::now();
        if is_on {
            peer.expect_ping().await;
            assert_eq!(start.elapsed(), seconds(30.0));
            ws.closed().await;
            assert_eq!(start.elapsed(), seconds(60.0));
            assert_timeout(&ws.error().expect("a cause"), Phase::Keepalive, 30.0);
        } else {
            assert!(timeout(seconds(3000.0), peer.byte()).await.is_err(), "it sent something");
            assert_eq!(ws.ready_state(), ReadyState::Open);
        }
    }
}
