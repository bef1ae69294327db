//! A transport that gives and takes as few bytes as it likes, and holds reads, writes and flushes apart.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a transport that is not vectored may hold of a write that was Pending: a TLS record.
const HELD: usize = 16 * 1024;

/// So many steps are taken, and then all is moved at once: megabytes byte by byte would take a target's time for nothing.
const MOST_STEPS: usize = 4096;

/// One direction: how many bytes it moves at a time, over and over. A step of 0 is Pending, and wakes at once.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<u8>,
    at: usize,
    is_held: bool,
    waker: Option<Waker>,
}

impl Steps {
    fn new(steps: Vec<u8>) -> Self {
        Self { steps, ..Self::default() }
    }

    fn next(&mut self, cx: &Context<'_>) -> Poll<usize> {
        if self.is_held {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.steps.is_empty() || self.at == MOST_STEPS {
            return Poll::Ready(usize::MAX);
        }
        let step = self.steps[self.at % self.steps.len()];
        self.at += 1;
        match step {
            // A script of nothing else would never move.
            0 if self.steps.iter().any(|&step| step > 0) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            0 | 255 => Poll::Ready(usize::MAX),
            // From a byte to more than a read buffer.
            step => Poll::Ready(usize::from(step).pow(2)),
        }
    }

    fn hold(&mut self, is_held: bool) -> Option<Waker> {
        self.is_held = is_held;
        self.waker.take()
    }
}

#[derive(Debug, Default)]
struct State {
    input: VecDeque<u8>,
    input_ended: bool,
    broken: bool,
    read: Steps,
    write: Steps,
    flush: Steps,
    output: Vec<u8>,
    is_vectored: bool,
    /// The first bytes of a write that was Pending, which has to be offered again as it was.
    held: Vec<u8>,
    is_shut_down: bool,
    taken: usize,
    /// Of a server: what it says once the client has said something.
    server: Option<Server>,
}

/// Answers what the client has written, given all of it.
pub type Answer = Box<dyn FnMut(&[u8]) -> (Vec<u8>, bool) + Send>;

struct Server(Answer);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

/// The transport; a clone is the server's view of it.
#[derive(Debug, Clone, Default)]
pub struct HostileIo(Arc<Mutex<State>>);

/// The directions that can be held.
#[derive(Debug, Clone, Copy)]
pub enum Direction {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes.
    Flush,
}

impl HostileIo {
    /// How many bytes the reads move at a time, over and over, the writes, and the flushes: a step of 0 is Pending, and wakes at once.
    pub fn new(reads: Vec<u8>, writes: Vec<u8>, flushes: Vec<u8>, is_vectored: bool) -> Self {
        let (read, write, flush) = (Steps::new(reads), Steps::new(writes), Steps::new(flushes));
        Self(Arc::new(Mutex::new(State { read, write, flush, is_vectored, ..State::default() })))
    }

    /// A transport without moods.
    pub fn tame(input: &[u8]) -> Self {
        let io = Self::new(Vec::new(), Vec::new(), Vec::new(), true);
        io.input(input);
        io
    }

    /// After each write `answer` gets all that was written, and says what the server says to it, and whether it ends.
    #[must_use]
    pub fn with_server(self, answer: impl FnMut(&[u8]) -> (Vec<u8>, bool) + Send + 'static) -> Self {
        self.state().server = Some(Server(Box::new(answer)));
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn wake(waker: Option<Waker>) {
        waker.into_iter().for_each(Waker::wake);
    }

    /// The server sends bytes.
    pub fn input(&self, bytes: &[u8]) {
        let waker = {
            let mut state = self.state();
            state.input.extend(bytes);
            if state.read.is_held { None } else { state.read.waker.take() }
        };
        Self::wake(waker);
    }

    /// The server ends its side.
    pub fn end(&self) {
        self.state().input_ended = true;
        self.input(&[]);
    }

    /// Everything fails from now on.
    pub fn break_off(&self) {
        let wakers = {
            let mut state = self.state();
            state.broken = true;
            [state.read.waker.take(), state.write.waker.take(), state.flush.waker.take()]
        };
        wakers.into_iter().for_each(Self::wake);
    }

    /// Nothing moves this way, or moves again.
    pub fn hold(&self, direction: Direction, is_held: bool) {
        let waker = {
            let mut state = self.state();
            let steps = match direction {
                Direction::Read => &mut state.read,
                Direction::Write => &mut state.write,
                Direction::Flush => &mut state.flush,
            };
            // Who waits is woken once it moves.
            if is_held {
                steps.is_held = true;
                None
            } else {
                steps.hold(false)
            }
        };
        Self::wake(waker);
    }

    /// Everything moves again.
    pub fn release(&self) {
        [Direction::Read, Direction::Write, Direction::Flush].into_iter().for_each(|it| self.hold(it, false));
    }

    /// All bytes that the client has written.
    pub fn output(&self) -> Vec<u8> {
        self.state().output.clone()
    }

    /// How many bytes the client has written.
    pub fn output_len(&self) -> usize {
        self.state().output.len()
    }

    /// How many bytes were read from it.
    pub fn taken(&self) -> usize {
        self.state().taken
    }

    /// How many bytes the client has not read.
    pub fn unread(&self) -> usize {
        self.state().input.len()
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for HostileIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock().unwrap();
        assert!(buf.remaining() > 0, "a read into nothing");
        if state.broken {
            return Poll::Ready(Err(broken()));
        }
        if state.input.is_empty() && !state.input_ended {
            state.read.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Poll::Ready(step) = state.read.next(cx) else { return Poll::Pending };
        let n = step.min(buf.remaining()).min(state.input.len());
        let (first, second) = state.input.as_slices();
        let of_first = n.min(first.len());
        buf.put_slice(&first[..of_first]);
        buf.put_slice(&second[..n - of_first]);
        state.input.drain(..n);
        state.taken += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HostileIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (written, waker) = {
            let state = &mut *self.0.lock().unwrap();
            assert!(slices.iter().any(|slice| !slice.is_empty()), "a write of nothing");
            assert!(!state.is_shut_down, "a write after shutdown");
            if state.broken {
                return Poll::Ready(Err(broken()));
            }
            if !state.is_vectored {
                assert!(slices[0].starts_with(&state.held), "a write that was Pending was not offered again as it was");
            }
            let Poll::Ready(mut left) = state.write.next(cx) else {
                if !state.is_vectored {
                    state.held = slices[0][..slices[0].len().min(HELD)].to_vec();
                }
                return Poll::Pending;
            };
            state.held.clear();
            let before = state.output.len();
            for slice in slices {
                let n = left.min(slice.len());
                state.output.extend_from_slice(&slice[..n]);
                left -= n;
            }
            let mut waker = None;
            if let Some(Server(answer)) = &mut state.server {
                let (bytes, ends) = answer(&state.output);
                state.input_ended |= ends;
                if ends || !bytes.is_empty() {
                    state.input.extend(bytes);
                    waker = state.read.waker.take();
                }
            }
            (state.output.len() - before, waker)
        };
        Self::wake(waker);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.state().is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.broken {
            return Poll::Ready(Err(broken()));
        }
        state.flush.next(cx).map(|_| Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.broken {
            return Poll::Ready(Err(broken()));
        }
        let Poll::Ready(_) = state.write.next(cx) else { return Poll::Pending };
        state.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}
