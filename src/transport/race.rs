//! The race of a host's addresses: each is tried, and the first that connects wins (Happy Eyeballs, RFC 8305).

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// How long an attempt has for itself before the next one begins beside it (section 8, Connection Attempt Delay).
const DELAY: Duration = Duration::from_millis(250);

/// How many attempts are open at most: a name may have hundreds of addresses.
const MAX_OPEN: usize = 8;

/// All addresses failed.
#[derive(Debug)]
pub(super) struct Lost {
    /// Why the first of them did.
    pub(super) cause: io::Error,
    /// The first of them, and how many were tried.
    pub(super) tried: Option<(SocketAddr, usize)>,
}

/// The order in which addresses are tried (section 4): families alternate, and that of the first one leads. Within a family
/// the order stays as it was, and doubles go.
pub(super) fn in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    // IPv6 that carries an address of IPv4 is IPv4 on the wire.
    let addresses: Vec<_> = addresses.into_iter().map(canonical).filter(|&it| seen.insert(it)).collect();
    let leads = addresses.first().map(SocketAddr::is_ipv4);
    let (leading, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|it| Some(it.is_ipv4()) == leads);
    let (mut leading, mut other) = (leading.into_iter(), other.into_iter());
    let mut in_turn = Vec::with_capacity(seen.len());
    while in_turn.len() < seen.len() {
        in_turn.extend(leading.next());
        in_turn.extend(other.next());
    }
    in_turn
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        // As it was, with its zone.
        _ => address,
    }
}

/// Connects to each of `addresses` in their order until one succeeds (section 5). The next one is begun when an attempt
/// fails, and when the last one begun has had its time: never, if there are no timers. All others are dropped then.
pub(super) async fn race<T, A>(
    addresses: Vec<SocketAddr>,
    has_timers: bool,
    connect: impl Fn(SocketAddr) -> A,
) -> Result<T, Lost>
where
    A: Future<Output = io::Result<T>>,
{
    let first = addresses.first().copied();
    let mut race =
        Race { tried: 0, first_cause: None, waiting: addresses.into_iter(), open: VecDeque::new(), next: None };
    let winner = std::future::poll_fn(|cx| race.poll(cx, has_timers, &connect)).await;
    winner.ok_or_else(|| Lost {
        cause: race.first_cause.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no address")),
        tried: first.map(|first| (first, race.tried)),
    })
}

struct Race<A> {
    waiting: std::vec::IntoIter<SocketAddr>,
    /// The oldest first.
    open: VecDeque<Attempt<A>>,
    /// When the next one is due, although none has failed. `None`: never.
    next: Option<Pin<Box<Sleep>>>,
    tried: usize,
    /// Why the first address failed.
    first_cause: Option<io::Error>,
}

struct Attempt<A> {
    /// Counted from 0.
    place: usize,
    connecting: Pin<Box<A>>,
}

impl<A> Race<A> {
    /// The winner, or `None` if there is none.
    fn poll<T>(&mut self, cx: &mut Context<'_>, has_timers: bool, connect: impl Fn(SocketAddr) -> A) -> Poll<Option<T>>
    where
        A: Future<Output = io::Result<T>>,
    {
        loop {
            let has_failed = match self.poll_open(cx) {
                Poll::Ready(Ok(winner)) => return Poll::Ready(Some(winner)),
                Poll::Ready(Err((place, cause))) => {
                    self.lost(place, cause);
                    true
                }
                Poll::Pending => false,
            };
            let is_due = |next: &mut Pin<Box<Sleep>>| next.as_mut().poll(cx).is_ready();
            if has_failed || self.open.is_empty() || self.next.as_mut().is_some_and(is_due) {
                match self.waiting.next() {
                    Some(address) => self.begin(connect(address), has_timers),
                    None if self.open.is_empty() => return Poll::Ready(None),
                    // Others may have failed, too.
                    None if has_failed => {}
                    None => return Poll::Pending,
                }
            } else {
                return Poll::Pending;
            }
        }
    }

    /// The first attempt that has an outcome: what it connected, or which one it was, and why it failed.
    fn poll_open<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, (usize, io::Error)>>
    where
        A: Future<Output = io::Result<T>>,
    {
        for index in 0..self.open.len() {
            let Some(attempt) = self.open.get_mut(index) else { break };
            if let Poll::Ready(outcome) = attempt.connecting.as_mut().poll(cx) {
                let place = attempt.place;
                self.open.remove(index);
                return Poll::Ready(outcome.map_err(|cause| (place, cause)));
            }
        }
        Poll::Pending
    }

    fn begin(&mut self, connecting: A, has_timers: bool) {
        if self.open.len() >= MAX_OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            self.lost(oldest.place, io::Error::new(io::ErrorKind::TimedOut, "it did not answer"));
        }
        self.open.push_back(Attempt { place: self.tried, connecting: Box::pin(connecting) });
        self.tried += 1;
        let is_last = self.waiting.as_slice().is_empty();
        self.next = (has_timers && !is_last).then(|| Box::pin(sleep(DELAY)));
    }

    fn lost(&mut self, place: usize, cause: io::Error) {
        if place == 0 {
            self.first_cause = Some(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        net::{Ipv4Addr, Ipv6Addr},
        rc::Rc,
    };

    use tokio::time::Instant;

    use super::*;

    /// IPv4, told by its last byte.
    fn v4(last: u8) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, last), 80).into()
    }

    /// IPv6, told by its last part.
    fn v6(last: u16) -> SocketAddr {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 80).into()
    }

    #[test]
    fn families_alternate_the_first_one_leads_and_doubles_go() {
        let mapped = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(), 80));
        for (given, tried) in [
            (vec![], vec![]),
            (vec![v4(1)], vec![v4(1)]),
            (vec![v4(1), v4(2), v4(3)], vec![v4(1), v4(2), v4(3)]),
            (vec![v6(1), v6(2), v4(1), v4(2)], vec![v6(1), v4(1), v6(2), v4(2)]),
            (vec![v4(1), v4(2), v4(3), v6(9)], vec![v4(1), v6(9), v4(2), v4(3)]),
            (vec![v4(1), v6(1), v6(2), v6(3)], vec![v4(1), v6(1), v6(2), v6(3)]),
            (vec![v6(1), v4(1), v6(1), v4(1), v6(2)], vec![v6(1), v4(1), v6(2)]),
            (vec![mapped, v6(1), v4(1), v4(2)], vec![v4(1), v6(1), v4(2)]),
        ] {
            assert_eq!(in_turn(given.clone()), tried, "{given:?}");
        }
    }

    /// What an address does, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Peer {
        Silent,
        Refuses(u64),
        Accepts(u64),
    }
    use Peer::{Accepts, Refuses, Silent};

    /// When an attempt was begun, and when it was dropped, in milliseconds.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Seen {
        begun: u64,
        dropped: Option<u64>,
    }

    struct Dropped<'a>(usize, &'a RefCell<Vec<Seen>>, Instant);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut()[self.0].dropped = Some(since(self.2));
        }
    }

    fn since(start: Instant) -> u64 {
        start.elapsed().as_millis().try_into().expect("a short test")
    }

    /// Who won and when, or the text of the first address's cause with how many were tried; and what was seen of each.
    async fn run(peers: &[Peer], has_timers: bool) -> (Result<(u8, u64), (String, usize, u64)>, Vec<Seen>) {
        let start = Instant::now();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let addresses = (0..).map(v4).take(peers.len()).collect();
        let outcome = race(addresses, has_timers, |address| {
            let SocketAddr::V4(address) = address else { panic!("{address}") };
            let place = address.ip().octets()[3];
            let peer = peers[usize::from(place)];
            seen.borrow_mut().push(Seen { begun: since(start), dropped: None });
            let dropped = Dropped(seen.borrow().len() - 1, &seen, start);
            async move {
                let _dropped = dropped;
                match peer {
                    Silent => std::future::pending().await,
                    Refuses(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("{place} refused")))
                    }
                    Accepts(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(place)
                    }
                }
            }
        })
        .await;
        let outcome = match outcome {
            Ok(place) => Ok((place, since(start))),
            Err(Lost { cause, tried }) => Err((cause.to_string(), tried.map_or(0, |(_, tried)| tried), since(start))),
        };
        let seen = seen.borrow().clone();
        (outcome, seen)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_connects_wins_and_all_others_are_dropped() {
        for (peers, winner, begun) in [
            (&[Accepts(0)][..], (0, 0), &[0][..]),
            (&[Accepts(0), Accepts(0)], (0, 0), &[0]),
            // The next one begins after 250 ms, or at once when one fails.
            (&[Silent, Accepts(10), Accepts(0)], (1, 260), &[0, 250]),
            (&[Refuses(0), Accepts(0)], (1, 0), &[0, 0]),
            (&[Refuses(100), Silent, Accepts(10)], (2, 360), &[0, 100, 350]),
            (&[Silent, Silent, Silent, Accepts(0)], (3, 750), &[0, 250, 500, 750]),
            // An older one fails: the next one begins at once, and the one after it 250 ms later.
            (&[Refuses(300), Silent, Silent, Accepts(0)], (3, 550), &[0, 250, 300, 550]),
            // Two that fail at once make room for two.
            (&[Refuses(260), Refuses(10), Silent, Accepts(5)], (3, 265), &[0, 250, 260, 260]),
            // One that is slow still wins.
            (&[Accepts(400), Silent, Accepts(0)], (0, 400), &[0, 250]),
            (&[Accepts(2000), Refuses(0), Refuses(0)], (0, 2000), &[0, 250, 250]),
            // The older one of two that connect at the same time.
            (&[Accepts(300), Accepts(50)], (0, 300), &[0, 250]),
        ] {
            let (outcome, seen) = run(peers, true).await;
            assert_eq!(outcome, Ok(winner), "{begun:?}");
            assert_eq!(seen.iter().map(|seen| seen.begun).collect::<Vec<_>>(), begun);
            assert!(seen.iter().all(|seen| seen.dropped.is_some_and(|at| at <= winner.1)), "{seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_fail_the_first_ones_cause_is_told() {
        for (peers, text, at) in [
            (&[][..], "it has no address", 0),
            (&[Refuses(5)], "0 refused", 5),
            (&[Refuses(600), Refuses(0), Refuses(10)], "0 refused", 600),
            (&[Refuses(0), Refuses(0), Refuses(700)], "0 refused", 700),
        ] {
            let (outcome, _) = run(peers, true).await;
            assert_eq!(outcome, Err((text.to_owned(), peers.len(), at)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_8_are_open_and_the_oldest_is_given_up_for_the_next() {
        let (outcome, seen) = run(&[[Silent; 10].as_slice(), &[Accepts(100)]].concat(), true).await;
        assert_eq!(outcome, Ok((10, 2600)));
        for (place, seen) in seen.iter().enumerate() {
            let begun = 250 * place as u64;
            let dropped = if place < 3 { begun + 8 * 250 } else { 2600 };
            assert_eq!(*seen, Seen { begun, dropped: Some(dropped) }, "{place}");
        }
        // One that was given up has failed, too.
        let (outcome, _) = run(&[[Silent].as_slice(), &[Refuses(4000); 8]].concat(), true).await;
        assert_eq!(outcome, Err(("it did not answer".to_owned(), 9, 6000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_that_is_dropped_drops_its_attempts() {
        let dropped = std::cell::Cell::new(0);
        struct Count<'a>(&'a std::cell::Cell<u32>);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let racing = race(vec![v4(1), v4(2)], true, |_| {
            let count = Count(&dropped);
            async move {
                let _count = count;
                std::future::pending::<io::Result<()>>().await
            }
        });
        let late = tokio::time::timeout(Duration::from_millis(300), racing).await;
        assert!(late.is_err());
        assert_eq!(dropped.get(), 2);
    }

    /// No timer is made: this runtime has none.
    #[test]
    fn without_timers_the_next_one_begins_when_one_fails() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let refuse_first =
            |address| std::future::ready(if address == v4(1) { Err(io::ErrorKind::Other.into()) } else { Ok(()) });
        runtime.block_on(race(vec![v4(1), v4(2), v4(3)], false, refuse_first)).expect("the second one");
    }
}
