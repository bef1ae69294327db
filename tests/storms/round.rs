//! Rounds: they are made from seeds, run on two threads until the time is over, and watched.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    env, fmt,
    hash::BuildHasher as _,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

use crate::ledger::HEADER;

/// How long a round may go on without a byte that moves: more than twice what all deadlines of its connection are together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Xorshift.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Odd, since 0 would stay 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// `true` once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// How long a message is: small, most of the time.
    pub(crate) fn size(&mut self) -> usize {
        let most = match self.below(40) {
            0 => 100 << 10,
            1..8 => 8 << 10,
            8..20 => 300,
            _ => 20,
        };
        HEADER + self.below(most)
    }

    /// Another one, for another task.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// Passes some time, up to some 100 µs, without giving up the thread.
    pub(crate) fn spin(&mut self) {
        let most = 1 << self.below(14);
        for _ in 0..self.below(most) {
            std::hint::spin_loop();
        }
    }
}

/// What the tasks of a round are doing, for the one that watches them.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Doings>>);

#[derive(Default)]
struct Doings {
    of_tasks: BTreeMap<String, String>,
    /// How often the server's socket took or gave something.
    moves: u64,
}

impl Board {
    pub(crate) fn set(&self, task: impl fmt::Display, doing: impl fmt::Debug) {
        self.lock().of_tasks.insert(task.to_string(), format!("{doing:?}"));
    }

    /// Something was read from the server's socket, or written to it.
    pub(crate) fn note_move(&self) {
        self.lock().moves += 1;
    }

    fn moves(&self) -> u64 {
        self.lock().moves
    }

    fn lock(&self) -> MutexGuard<'_, Doings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().of_tasks.iter().try_for_each(|(task, doing)| write!(f, "\n    {task}: {doing}"))
    }
}

/// Runs rounds for a share of the time, and fails if one has. `lanes`: how many run at once, so that others go on while one
/// waits for a deadline.
pub(crate) fn storm<F>(lanes: usize, share: f64, round: impl Fn(Random, Board) -> F + Sync)
where
    F: Future<Output = ()> + Send + 'static,
{
    // One storm at a time.
    static STORM: Mutex<()> = Mutex::new(());
    let _only = STORM.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds: f64 = variable("WSFLOW_STORM_SECONDS").unwrap_or(10.0);
    let until = Instant::now() + Duration::from_secs_f64(share * seconds);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lane = || {
        let (mut rounds, mut failed) = (0, 0);
        while Instant::now() < until {
            let seed = variable("WSFLOW_STORM_SEED").unwrap_or_else(|| RandomState::new().hash_one(rounds));
            let board = Board::default();
            rounds += 1;
            if let Err(what) = watch(&runtime, &board, round(Random::new(seed), board.clone())) {
                failed += 1;
                eprintln!("FAILED: WSFLOW_STORM_SEED={seed}: {what}{board}");
            }
        }
        (rounds, failed)
    };
    let (rounds, failed) = thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let ends = lanes.into_iter().map(|lane| lane.join().unwrap());
        ends.fold((0, 0), |(rounds, failed), lane| (rounds + lane.0, failed + lane.1))
    });
    runtime.shutdown_background();
    println!("{rounds} rounds, {failed} failed");
    assert_eq!(failed, 0, "of {rounds} rounds");
}

/// Spawns a task, on a thread of its own or on one of the runtime's.
pub(crate) fn spawn<T: Send + 'static>(
    has_thread: bool,
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let runtime = Handle::current();
    if has_thread { runtime.clone().spawn_blocking(move || runtime.block_on(task)) } else { runtime.spawn(task) }
}

/// Runs one round. The thread that watches it is none of the runtime's, which may be what hangs.
fn watch(runtime: &Runtime, board: &Board, round: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
    let (done, end) = channel();
    let round = runtime.spawn(round);
    runtime.spawn(async move { done.send(round.await) });
    loop {
        let moves = board.moves();
        return match end.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(panic)) => Err(format!("{panic}")),
            Err(RecvTimeoutError::Timeout) if board.moves() > moves => continue,
            Err(RecvTimeoutError::Timeout) => Err("it HANGS".into()),
            Err(RecvTimeoutError::Disconnected) => Err("the runtime is gone".into()),
        };
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}
