//! A scripted transport in memory: what every single read and write of the client meets is written down beforehand.
//!
//! It keeps exactly one waker per direction, the latest, as a real socket does, and forgets it once it has woken it. A
//! direction that stands at [`Step::Pending`] stays there until the test says that it is ready; the test wakes one
//! direction at a time. Flushes follow the writes, unless they have [a script of their own](Script::flushes).

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frame::encode;
use crate::wire::Wire;

/// What one poll of a direction meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// As many bytes as there are, and as fit.
    Ready,
    /// At most so many bytes.
    Partial(usize),
    /// Nothing, until the test wakes the direction.
    Pending,
    /// An error of this kind.
    Error(io::ErrorKind),
}

#[derive(Debug)]
struct Steps {
    script: VecDeque<Step>,
    then: Step,
}

impl Steps {
    fn new(steps: impl IntoIterator<Item = Step>, then: Step) -> Self {
        Self { script: steps.into_iter().collect(), then }
    }

    fn is_stalled(&self) -> bool {
        self.script.front().copied().unwrap_or(self.then) == Step::Pending
    }

    /// The step that this poll meets: how many bytes it lets through. Pending stays in the script.
    fn next(&mut self) -> Poll<io::Result<usize>> {
        if self.is_stalled() {
            return Poll::Pending;
        }
        Poll::Ready(match self.script.pop_front().unwrap_or(self.then) {
            Step::Partial(n) => Ok(n),
            Step::Error(kind) => Err(kind.into()),
            Step::Ready | Step::Pending => Ok(usize::MAX),
        })
    }

    /// Takes a Pending that is next off the script. Returns whether there was one.
    fn skip_pending(&mut self) -> bool {
        let is_next = self.script.front() == Some(&Step::Pending);
        if is_next {
            self.script.pop_front();
        }
        is_next
    }
}

#[derive(Debug)]
struct Direction {
    steps: Steps,
    waker: Option<Waker>,
}

impl Direction {
    fn new() -> Self {
        Self { steps: Steps::new([], Step::Ready), waker: None }
    }

    fn pend<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Debug)]
struct State {
    read: Direction,
    write: Direction,
    /// Of flushes, if they do not follow the writes. They wait with the waker of the writes.
    flush: Option<Steps>,
    /// What the server has sent and the client has not read.
    input: VecDeque<u8>,
    input_ended: bool,
    output: Vec<u8>,
    reads: usize,
    writes: usize,
    is_shut_down: bool,
}

/// The client's end.
#[derive(Debug)]
pub struct ScriptIo(Arc<Mutex<State>>);

/// The test's end.
#[derive(Debug, Clone)]
pub struct Script(Arc<Mutex<State>>);

/// A transport that is always ready, has no input and takes everything, until it is told otherwise.
pub fn script_io() -> (ScriptIo, Script) {
    let state = Arc::new(Mutex::new(State {
        read: Direction::new(),
        write: Direction::new(),
        flush: None,
        input: VecDeque::new(),
        input_ended: false,
        output: Vec::new(),
        reads: 0,
        writes: 0,
        is_shut_down: false,
    }));
    (ScriptIo(Arc::clone(&state)), Script(state))
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The steps of the coming reads, and what follows when they are used up.
    pub fn reads(&self, steps: impl IntoIterator<Item = Step>, then: Step) {
        self.state().read.steps = Steps::new(steps, then);
    }

    /// The steps of the coming writes, and what follows when they are used up. A flush is Pending where a write is,
    /// unless flushes have steps of their own; so is a shutdown.
    pub fn writes(&self, steps: impl IntoIterator<Item = Step>, then: Step) {
        self.state().write.steps = Steps::new(steps, then);
    }

    /// The steps of the coming flushes, whatever the writes meet: the transport may take bytes and hold them.
    /// [`Step::Partial`] is as good as [`Step::Ready`].
    pub fn flushes(&self, steps: impl IntoIterator<Item = Step>, then: Step) {
        self.state().flush = Some(Steps::new(steps, then));
    }

    /// The server sends bytes.
    pub fn input(&self, bytes: impl AsRef<[u8]>) {
        let waker = {
            let mut state = self.state();
            state.input.extend(bytes.as_ref());
            if state.read.steps.is_stalled() { None } else { state.read.waker.take() }
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// The server sends a frame.
    pub fn frame(&self, opcode: u8, payload: impl AsRef<[u8]>) {
        self.input(encode(true, 0, opcode, payload.as_ref()));
    }

    /// The server ends its side.
    pub fn end(&self) {
        self.state().input_ended = true;
        self.input([]);
    }

    /// A read that stood at Pending is ready. Returns whether there was one, in the script or for want of input. Only who
    /// waits to read is woken.
    pub fn wake_read(&self) -> bool {
        self.wake(|state| (state.read.steps.skip_pending(), state.read.waker.take()))
    }

    /// A write that stood at Pending is ready. Returns whether there was one in the script. Only who waits to write, or
    /// to flush, is woken.
    pub fn wake_write(&self) -> bool {
        self.wake(|state| (state.write.steps.skip_pending(), state.write.waker.take()))
    }

    /// A flush that stood at Pending in a script of its own is ready. Returns whether there was one. As a socket has one
    /// waker for both, who waits to write is woken, too.
    pub fn wake_flush(&self) -> bool {
        self.wake(|state| (state.flush.as_mut().is_some_and(Steps::skip_pending), state.write.waker.take()))
    }

    fn wake(&self, wake: impl FnOnce(&mut State) -> (bool, Option<Waker>)) -> bool {
        let (was_stalled, waker) = wake(&mut self.state());
        waker.into_iter().for_each(Waker::wake);
        was_stalled
    }

    /// All bytes that the client has written.
    pub fn output(&self) -> Vec<u8> {
        self.state().output.clone()
    }

    /// How many bytes the client has written.
    pub fn output_len(&self) -> usize {
        self.state().output.len()
    }

    /// What the client has written, as a server reads it.
    pub fn wire(&self) -> Wire {
        Wire::read(&self.state().output)
    }

    /// How many bytes the client has not read.
    pub fn unread(&self) -> usize {
        self.state().input.len()
    }

    /// How often a read was polled.
    pub fn read_calls(&self) -> usize {
        self.state().reads
    }

    /// How often a write was polled.
    pub fn write_calls(&self) -> usize {
        self.state().writes
    }

    /// Whether the client has ended its side.
    pub fn is_shut_down(&self) -> bool {
        self.state().is_shut_down
    }
}

impl AsyncRead for ScriptIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock().unwrap();
        state.reads += 1;
        let is_step_left = !state.read.steps.is_stalled();
        if is_step_left && state.input.is_empty() && !state.input_ended {
            return state.read.pend(cx);
        }
        let Poll::Ready(step) = state.read.steps.next() else { return state.read.pend(cx) };
        let n = step?.min(buf.remaining()).min(state.input.len());
        let (first, second) = state.input.as_slices();
        let of_first = n.min(first.len());
        buf.put_slice(&first[..of_first]);
        buf.put_slice(&second[..n - of_first]);
        state.input.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock().unwrap();
        state.writes += 1;
        assert!(slices.iter().any(|slice| !slice.is_empty()), "a write of nothing");
        let Poll::Ready(step) = state.write.steps.next() else { return state.write.pend(cx) };
        let mut left = step?;
        let before = state.output.len();
        for slice in slices {
            let n = left.min(slice.len());
            state.output.extend_from_slice(&slice[..n]);
            left -= n;
        }
        Poll::Ready(Ok(state.output.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock().unwrap();
        let step = match &mut state.flush {
            Some(steps) => steps.next(),
            None if state.write.steps.is_stalled() => Poll::Pending,
            None => Poll::Ready(Ok(usize::MAX)),
        };
        match step {
            Poll::Ready(step) => Poll::Ready(step.map(|_| ())),
            Poll::Pending => state.write.pend(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock().unwrap();
        if state.write.steps.is_stalled() {
            return state.write.pend(cx);
        }
        state.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}
