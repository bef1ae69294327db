//! The log of a socket: what its handlers saw, and what must hold of every log.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use testkit::peer::Peer;
use tokio::{
    io::DuplexStream,
    time::{error::Elapsed, timeout},
};
use wsflow::{
    Config, Message, ReadyState,
    compat::{CloseEvent, WebSocket, WebSocketBuilder},
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Open,
    Message(Message),
    Error,
    Close(CloseEvent),
}

/// What a handler saw of its socket when it was called.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) seen: Seen,
    pub(crate) state: ReadyState,
    pub(crate) amount: u64,
}

/// `open[1,0]`, `"text"[1,0]`, `<3 bytes>[1,0]`, `error[3,0]`, `close{1,1000,"reason"}[3,0]`: in brackets stand
/// `readyState` and `bufferedAmount`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.seen {
            Seen::Open => write!(f, "open")?,
            Seen::Message(Message::Text(text)) => write!(f, "{:?}", text.as_str())?,
            Seen::Message(Message::Binary(data)) => write!(f, "<{} bytes>", data.len())?,
            Seen::Error => write!(f, "error")?,
            Seen::Close(CloseEvent { code, reason, was_clean, .. }) => {
                write!(f, "close{{{},{code},{reason:?}}}", u8::from(*was_clean))?;
            }
        }
        write!(f, "[{},{}]", u16::from(self.state), self.amount)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Sets the four handlers: each writes what it sees, and then does what the test wants.
    pub(crate) fn watch(
        builder: WebSocketBuilder,
        act: impl FnMut(&WebSocket, &Seen) + Send + 'static,
    ) -> (WebSocketBuilder, Self) {
        let log = Self::default();
        let act = Arc::new(Mutex::new(act));
        let handler = || {
            let (log, act) = (log.clone(), Arc::clone(&act));
            move |ws: &WebSocket, seen: Seen| {
                log.add(Line { seen: seen.clone(), state: ws.ready_state(), amount: ws.buffered_amount() });
                // No two handlers run at a time.
                let mut act = act.try_lock().expect("two handlers run at once");
                act(ws, &seen);
            }
        };
        let (open, message, error, close) = (handler(), handler(), handler(), handler());
        let builder = builder
            .on_open(move |ws, _| open(ws, Seen::Open))
            .on_message(move |ws, event| message(ws, Seen::Message(event.data.clone())))
            .on_error(move |ws, _| error(ws, Seen::Error))
            .on_close(move |ws, event| close(ws, Seen::Close(event.clone())));
        (builder, log)
    }

    /// A socket to `url` with a log. It offers no compression.
    pub(crate) fn connect(url: &str, act: impl FnMut(&WebSocket, &Seen) + Send + 'static) -> (WebSocket, Self) {
        let (builder, log) = Self::watch(plain(url), act);
        (builder.connect(), log)
    }

    /// The same in memory. Each direction holds at most `capacity` bytes; the server has said nothing yet.
    pub(crate) fn pipe(
        capacity: usize,
        config: Config,
        act: impl FnMut(&WebSocket, &Seen) + Send + 'static,
    ) -> (WebSocket, Self, Peer<DuplexStream>) {
        let (peer, io) = Peer::pipe(capacity);
        let (builder, log) = Self::watch(plain("ws://h/").config(config), act);
        (builder.connect_over(io), log, peer)
    }

    fn add(&self, line: Line) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> Vec<String> {
        self.lines().iter().map(Line::to_string).collect()
    }

    /// Waits for the end of a socket and gives its log, of which everything holds that must hold of every log.
    pub(crate) async fn end(&self, ws: &WebSocket) -> Vec<String> {
        let mut states = Vec::new();
        for _ in 0..200 {
            states.push(ws.ready_state());
            tokio::task::yield_now().await;
        }
        let closed = within(ws.closed()).await.unwrap_or_else(|_| panic!("no close event behind {:?}", self.text()));
        // An event too many would come now.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(states.is_sorted(), "readyState went back: {states:?}");
        assert_eq!(ws.ready_state(), ReadyState::Closed);
        let lines = self.lines();
        check(&lines);
        // B305.
        let shown = Seen::Close(CloseEvent::new(closed.code, closed.reason, closed.was_clean));
        assert_eq!(lines.last().map(|line| &line.seen), Some(&shown), "what closed() gives");
        lines.iter().map(Line::to_string).collect()
    }
}

/// A builder without compression, so that tests can read the wire.
pub(crate) fn plain(url: &str) -> WebSocketBuilder {
    WebSocket::builder(url).expect("a valid URL").config(Config::default())
}

/// Fails after what is far more than a loaded machine needs, and under a paused clock more than any deadline.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> Result<T, Elapsed> {
    timeout(Duration::from_secs(60), future).await
}

/// What must hold of every log: each event in its state; `open` first if at all; one `close`, last; at most one
/// `error`, right before it; the state never goes back (B62, B63, B161, B162).
fn check(lines: &[Line]) {
    let text: Vec<_> = lines.iter().map(Line::to_string).collect();
    assert!(lines.is_sorted_by_key(|line| line.state), "readyState went back: {text:?}");
    for (i, line) in lines.iter().enumerate() {
        let behind = lines.len() - 1 - i;
        let (state, is_in_place) = match line.seen {
            Seen::Open => (ReadyState::Open, i == 0),
            Seen::Message(_) => (ReadyState::Open, i > 0 && behind > 0),
            Seen::Error => (ReadyState::Closed, behind == 1),
            Seen::Close(_) => (ReadyState::Closed, behind == 0),
        };
        assert!(is_in_place && line.state == state, "event {i} of {text:?}");
    }
    assert!(matches!(lines.last(), Some(Line { seen: Seen::Close(_), .. })), "no close in {text:?}");
}

/// Waits, without letting a paused clock go on, for what no event tells.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::task::yield_now().await;
    }
}
