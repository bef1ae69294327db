//! `Reconnect`: a stream of connections, each made anew when the last one has ended.

mod backoff;
mod retry;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub use self::{backoff::Backoff, retry::Retry};
use crate::{
    connection::{EndWatch, Ended},
    error::Error,
    stream::WebSocketStream,
};

/// A [`Stream`] of connections: each time it is asked for the next one it connects, and tries again until it has one.
///
/// Your closure makes each connection anew: with fresh tokens and signed headers, over any IO. Subscribing again is up
/// to you, too.
///
/// ```no_run
/// use futures::{SinkExt, StreamExt};
/// use wsflow::{Backoff, Error, Reconnect, Retry, WebSocketStream};
///
/// # async fn sign() -> String { String::new() }
/// # async fn example(url: &str) -> Result<(), Error> {
/// let mut connections = Reconnect::new(|| async {
///     WebSocketStream::builder(url).header("Authorization", sign().await).connect().await
/// })
/// .backoff(Backoff::default())
/// .retry(|end: &Error| {
///     eprintln!("{end}");
///     if end.status().is_some_and(|status| status == 401) { Retry::Backoff } else { Retry::Default }
/// });
/// while let Some(mut ws) = connections.next().await.transpose()? {
///     if ws.send("subscribe".into()).await.is_err() {
///         continue; // why is known to `connections`
///     }
///     while let Some(Ok(message)) = ws.next().await {
///         println!("{message:?}");
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # What comes next
///
/// The first attempt is made at once. `Reconnect` knows by itself how a connection ended, also of one that was
/// [split](WebSocketStream::into_split) or moved to another task. When you ask for the next connection:
///
/// | the last attempt or connection | |
/// |---|---|
/// | failed or ended | the policy is asked: see [`retry`](Self::retry). A clean end is [`Error::Closed`] |
/// | was dropped before it ended, or lives still | as [`Retry::Backoff`]; the policy is not asked |
///
/// An end is known as soon as the task that polls the connection meets it: the peer's Close, the end or a failure of
/// the transport, a deadline, a message that breaks the protocol or a limit. A failure to write is seen by reading.
///
/// A connection that lives still is left alone and not waited for. So a loop that only spawns a task for each connection
/// makes one after another: it has to wait for the task.
///
/// Ends that are not final are not items: [`retry`](Self::retry) is where they are seen. A final one is the last item, an
/// `Err`, and then `None` comes for ever. So is the last of [`max_attempts`](Backoff::max_attempts) that failed in a row.
///
/// # Nothing is replayed
///
/// What was accepted and not sent when a connection ended is gone with it. [`Stats::messages_sent`](crate::Stats::messages_sent)
/// says how many of the accepted messages, from the first on, the transport took, and
/// [`buffered_amount`](WebSocketStream::buffered_amount) how many bytes it did not. Whether the peer has read them only an
/// answer of the peer's can tell.
///
/// # Cancel safety
///
/// Nothing is lost when a future of `next` is dropped: an attempt or a wait that was begun stays, and goes on when the
/// stream is polled again. Dropping the `Reconnect` drops an attempt and its socket. It does nothing to a connection that it
/// has handed out; neither does [`signal`](Self::signal).
///
/// # Runtime
///
/// It spawns nothing. A poll that waits needs a tokio runtime with timers.
#[must_use = "nothing happens until `next` is awaited"]
pub struct Reconnect<F, A> {
    connect: F,
    backoff: Backoff,
    policy: Policy,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Waits of the backoff since the last stable connection.
    waits: u32,
    /// Attempts that failed since the last connection was yielded.
    failures: u32,
    /// Whether a connection was ever yielded.
    has_succeeded: bool,
    state: State<A>,
}

type Policy = Box<dyn FnMut(&Error) -> Retry + Send>;

enum State<A> {
    /// Nothing was asked for yet.
    New,
    Connecting(Pin<Box<A>>),
    /// The last connection was handed out.
    HandedOut(EndWatch),
    Waiting(Pin<Box<Sleep>>),
    /// `None` comes for ever.
    Ended,
}

impl<F, A, S> Reconnect<F, A>
where
    F: FnMut() -> A,
    A: Future<Output = Result<WebSocketStream<S>, Error>>,
{
    /// A stream of the connections that `connect` makes. It is called once for each attempt.
    ///
    /// An attempt has no deadline of its own: [`ClientBuilder`](crate::ClientBuilder) has one for each phase.
    pub fn new(connect: F) -> Self {
        Self {
            connect,
            backoff: Backoff::default(),
            policy: Box::new(|_| Retry::Default),
            cancelled: None,
            waits: 0,
            failures: 0,
            has_succeeded: false,
            state: State::New,
        }
    }

    /// How long to wait before an attempt. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What is asked whenever an attempt has failed or a connection has ended. Default: [`Retry::Default`].
    ///
    /// It is also the place to log the ends that are not final, and to count attempts.
    pub fn retry(mut self, policy: impl FnMut(&Error) -> Retry + Send + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// A token that ends the stream with `None`: also during a wait, and during an attempt, which is dropped.
    ///
    /// If it is cancelled beforehand nothing is attempted. To a connection that was handed out it does nothing.
    pub fn signal(mut self, token: CancellationToken) -> Self {
        self.cancelled = Some(Box::pin(token.cancelled_owned()));
        self
    }

    fn attempt(&mut self) {
        self.state = State::Connecting(Box::pin((self.connect)()));
    }

    /// What comes after an end: a wait, or nothing but the error. `None`: the connection was dropped before it ended.
    fn after(&mut self, end: Option<Error>) -> Result<(), Error> {
        match self.delay(end.as_ref()) {
            Some(delay) => {
                self.state = State::Waiting(Box::pin(sleep(delay)));
                Ok(())
            }
            None => {
                self.state = State::Ended;
                end.map_or(Ok(()), Err)
            }
        }
    }

    /// How long to wait after an end; `None`: for ever.
    fn delay(&mut self, end: Option<&Error>) -> Option<Duration> {
        let retry = match end.map(|end| ((self.policy)(end), end)) {
            Some((Retry::Default, end)) if self.has_succeeded => Retry::default_after_success(end),
            Some((Retry::Default, end)) => Retry::default_for(end),
            Some((retry, _)) => retry,
            None => Retry::Backoff,
        };
        if self.backoff.gives_up_after(self.failures) {
            return None;
        }
        match retry {
            Retry::Default | Retry::Backoff => {
                let delay = self.backoff.delay(self.waits, end.and_then(Error::retry_after));
                self.waits = self.waits.saturating_add(1);
                Some(delay)
            }
            Retry::Now => Some(Duration::ZERO),
            Retry::After(delay) => Some(delay),
            Retry::Never => None,
        }
    }

    fn is_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        self.cancelled.as_mut().is_some_and(|cancelled| cancelled.as_mut().poll(cx).is_ready())
    }
}

/// The closure and the policy are moved about freely; the attempt is pinned by its box.
impl<F, A> Unpin for Reconnect<F, A> {}

impl<F, A, S> Stream for Reconnect<F, A>
where
    F: FnMut() -> A,
    A: Future<Output = Result<WebSocketStream<S>, Error>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Item = Result<WebSocketStream<S>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !matches!(this.state, State::Ended) && this.is_cancelled(cx) {
            this.state = State::Ended;
        }
        loop {
            let next = match &mut this.state {
                State::New => {
                    this.attempt();
                    continue;
                }
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.attempt();
                    continue;
                }
                State::Connecting(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(mut connection) => {
                        (this.failures, this.has_succeeded) = (0, true);
                        this.state = State::HandedOut(connection.watch_end());
                        return Poll::Ready(Some(Ok(connection)));
                    }
                    Err(error) => {
                        this.failures = this.failures.saturating_add(1);
                        this.after(Some(error))
                    }
                },
                State::HandedOut(watch) => {
                    let Ended { error, open_for } = watch.ended();
                    if this.backoff.is_stable(open_for) {
                        this.waits = 0;
                    }
                    this.after(error)
                }
                State::Ended => return Poll::Ready(None),
            };
            if let Err(error) = next {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl<F, A, S> FusedStream for Reconnect<F, A>
where
    F: FnMut() -> A,
    A: Future<Output = Result<WebSocketStream<S>, Error>>,
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl<F, A> fmt::Debug for Reconnect<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New => "new",
            State::Connecting(_) => "connecting",
            State::HandedOut(_) => "handed out",
            State::Waiting(_) => "waiting",
            State::Ended => "ended",
        };
        f.debug_struct("Reconnect")
            .field("state", &state)
            .field("waits", &self.waits)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
