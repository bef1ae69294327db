//! Name resolution by the system, on threads of its own: a runtime that is dropped waits for none of them.
//!
//! The system's call cannot be given up: with a silent name server it takes 10 s and more. A runtime waits for the threads of
//! its blocking pool, and has few of them; so lookups are kept away from it.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io, mem,
    net::{SocketAddr, ToSocketAddrs as _},
    process,
    sync::{Arc, LazyLock},
    thread,
};

use tokio::sync::oneshot;

use crate::sync::Mutex;

/// As many as the blocking pool of a tokio runtime has by default.
const MAX_THREADS: usize = 512;

static LOOKUPS: LazyLock<Lookups> =
    LazyLock::new(|| Lookups::new(MAX_THREADS, |host| Ok((host, 0).to_socket_addrs()?.collect())));

/// The addresses of `host`, each with port 0. A future that is dropped waits for nothing; the lookup may go on.
pub(super) async fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    LOOKUPS.lookup(host).await
}

type Resolve = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Those of a process.
#[derive(Clone)]
struct Lookups(Arc<Inner>);

struct Inner {
    resolve: Box<Resolve>,
    max_threads: usize,
    state: Mutex<State>,
}

struct State {
    /// Threads do not go with a fork: what this says of them is true in this process.
    process: u32,
    threads: usize,
    /// What no thread has begun yet.
    queue: VecDeque<Arc<str>>,
    /// Those who wait, by the host: what is queued, and what is under way.
    waiting: HashMap<Arc<str>, Vec<Waiter>>,
}

type Waiter = oneshot::Sender<Result<Arc<[SocketAddr]>, Arc<io::Error>>>;

impl Lookups {
    fn new(max_threads: usize, resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { resolve: Box::new(resolve), max_threads, state: Mutex::new(State::new()) }))
    }

    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let (waiter, answer) = oneshot::channel();
        self.ask(host, waiter)?;
        match answer.await {
            Ok(Ok(addresses)) => Ok(addresses.to_vec()),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), Shared(error))),
            Err(_) => Err(io::Error::other("the thread of the lookup is gone")),
        }
    }

    /// Puts `waiter` to those who wait for `host`, with a thread to work for them.
    fn ask(&self, host: &str, waiter: Waiter) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let of_another_process = (state.process != process::id()).then(|| mem::replace(&mut *state, State::new()));
        let asked = state.join(host, waiter, self.0.max_threads, || {
            let this = self.clone();
            thread::Builder::new().name("wsflow-lookup".to_owned()).spawn(move || this.work()).map(drop)
        });
        drop(state);
        drop(of_another_process);
        asked
    }

    /// A thread looks up what is queued, and ends when nothing is.
    fn work(&self) {
        while let Some(host) = self.begin() {
            let outcome = (self.0.resolve)(&host).map(Arc::from).map_err(Arc::new);
            let waiting = self.0.state.lock().waiting.remove(&host);
            for waiter in waiting.into_iter().flatten() {
                let _given_up = waiter.send(outcome.clone());
            }
        }
    }

    /// The next lookup; `None`: there is none, and one thread less.
    fn begin(&self) -> Option<Arc<str>> {
        let mut state = self.0.state.lock();
        state.forget_given_up();
        let next = state.queue.pop_front();
        if next.is_none() {
            state.threads = state.threads.saturating_sub(1);
        }
        next
    }
}

impl State {
    fn new() -> Self {
        Self { process: process::id(), threads: 0, queue: VecDeque::new(), waiting: HashMap::new() }
    }

    fn join(
        &mut self,
        host: &str,
        waiter: Waiter,
        max_threads: usize,
        spawn: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(waiting) = self.waiting.get_mut(host) {
            waiting.retain(|waiter| !waiter.is_closed());
            waiting.push(waiter);
            return Ok(());
        }
        if self.threads < max_threads {
            match spawn() {
                Ok(()) => self.threads += 1,
                // One that is there takes it.
                Err(_) if self.threads > 0 => {}
                Err(error) => return Err(error),
            }
        } else {
            self.forget_given_up();
        }
        let host: Arc<str> = host.into();
        self.queue.push_back(host.clone());
        self.waiting.insert(host, vec![waiter]);
        Ok(())
    }

    /// What was not begun, and nobody waits for any more.
    fn forget_given_up(&mut self) {
        let waiting = &mut self.waiting;
        self.queue.retain(|host| {
            let is_awaited = waiting.get(host).is_some_and(|waiting| waiting.iter().any(|waiter| !waiter.is_closed()));
            if !is_awaited {
                waiting.remove(host);
            }
            is_awaited
        });
    }
}

/// An error that several get.
#[derive(Debug)]
struct Shared(Arc<io::Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, Receiver, Sender},
        time::{Duration, Instant},
    };

    use tokio::{join, time::timeout};

    use super::*;

    /// A name server that says which hosts it is asked for, and answers when it is told to.
    struct NameServer {
        lookups: Lookups,
        asked: Receiver<(String, Sender<io::Result<Vec<SocketAddr>>>)>,
    }

    impl NameServer {
        fn new(max_threads: usize) -> Self {
            let (asks, asked) = mpsc::channel();
            let lookups = Lookups::new(max_threads, move |host| {
                let (answer, answered) = mpsc::channel();
                asks.send((host.to_owned(), answer)).map_err(io::Error::other)?;
                answered.recv().map_err(io::Error::other)?
            });
            Self { lookups, asked }
        }

        /// The next question, of those that do not wait for others.
        fn asked(&self) -> (String, Sender<io::Result<Vec<SocketAddr>>>) {
            self.asked.recv_timeout(Duration::from_secs(10)).expect("a question")
        }

        fn is_asked_nothing(&self) -> bool {
            self.asked.try_recv().is_err()
        }

        /// Waits until no thread is left.
        fn is_idle(&self) -> bool {
            let start = Instant::now();
            while self.lookups.0.state.lock().threads > 0 {
                if start.elapsed() > Duration::from_secs(10) {
                    return false;
                }
                thread::yield_now();
            }
            let state = self.lookups.0.state.lock();
            state.queue.is_empty() && state.waiting.is_empty()
        }
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 0).into()
    }

    /// Polls it once: it asks, and waits.
    async fn begin(lookup: &mut (impl Future<Output = io::Result<Vec<SocketAddr>>> + Unpin)) {
        std::future::poll_fn(|cx| {
            assert!(std::pin::Pin::new(&mut *lookup).poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }

    /// B275.
    #[tokio::test]
    async fn equal_lookups_share_one_with_its_answer_and_with_its_error() {
        let server = NameServer::new(8);
        let lookup = |host| Box::pin(server.lookups.lookup(host));
        let (mut one, mut same, mut other) = (lookup("one"), lookup("one"), lookup("other"));
        for lookup in [&mut one, &mut same, &mut other] {
            begin(lookup).await;
        }
        for _ in 0..2 {
            let (host, answer) = server.asked();
            let outcome = if host == "one" {
                Ok(vec![address(1), address(2)])
            } else {
                Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
            };
            answer.send(outcome).expect("it waits");
        }
        let (one, same, other) = join!(one, same, other);
        assert_eq!(one.expect("found"), [address(1), address(2)]);
        assert_eq!(same.expect("found"), [address(1), address(2)]);
        let other = other.expect_err("not found");
        assert_eq!((other.kind(), other.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
        assert!(server.is_asked_nothing() && server.is_idle(), "threads end when nothing is left");
        // A later lookup asks again.
        let mut again = lookup("one");
        begin(&mut again).await;
        server.asked().1.send(Ok(vec![address(3)])).expect("it waits");
        assert_eq!(again.await.expect("found"), [address(3)]);
    }

    /// B275.
    #[tokio::test]
    async fn beyond_the_threads_lookups_wait_and_what_was_given_up_meanwhile_is_never_begun() {
        let server = NameServer::new(2);
        let lookup = |host| Box::pin(server.lookups.lookup(host));
        let (mut a, mut b, mut c, mut d) = (lookup("a"), lookup("b"), lookup("c"), lookup("d"));
        for lookup in [&mut a, &mut b, &mut c, &mut d] {
            begin(lookup).await;
        }
        let (first, second) = (server.asked(), server.asked());
        assert_eq!(server.lookups.0.state.lock().threads, 2);
        assert!(server.is_asked_nothing());
        drop(c);
        first.1.send(Ok(vec![address(1)])).expect("it waits");
        let third = server.asked();
        assert_eq!(third.0, "d");
        // Given up when it was under way: who asks again shares it.
        drop(d);
        let mut d = lookup("d");
        begin(&mut d).await;
        third.1.send(Ok(vec![address(4)])).expect("it waits");
        assert_eq!(d.await.expect("found"), [address(4)]);
        second.1.send(Ok(vec![address(2)])).expect("it waits");
        assert!(a.await.is_ok() && b.await.is_ok());
        assert!(server.is_asked_nothing() && server.is_idle());
    }

    /// It would wait for ever for a thread of its blocking pool.
    /// B274.
    #[test]
    fn a_runtime_that_is_dropped_waits_for_no_lookup() {
        let server = NameServer::new(8);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let late = runtime.block_on(async {
            let lookup = server.lookups.lookup("silent");
            timeout(Duration::from_millis(10), lookup).await.is_err()
        });
        assert!(late);
        let (_, answer) = server.asked();
        drop(runtime);
        answer.send(Ok(vec![address(1)])).expect("it is still under way");
        assert!(server.is_idle());
    }

    #[tokio::test]
    async fn a_forked_process_waits_for_no_thread_of_its_parent() {
        let server = NameServer::new(1);
        let mut lost = Box::pin(server.lookups.lookup("one"));
        begin(&mut lost).await;
        let (_, of_parent) = server.asked();
        server.lookups.0.state.lock().process = 0;
        let mut found = Box::pin(server.lookups.lookup("one"));
        begin(&mut found).await;
        assert!(lost.await.is_err());
        server.asked().1.send(Ok(vec![address(1)])).expect("it waits");
        assert_eq!(found.await.expect("found"), [address(1)]);
        drop(of_parent);
    }
}
