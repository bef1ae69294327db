//! The programs of senders: each is a task with a clone of the `Sender`, and takes one step after another.

use std::{
    fmt::Debug,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use futures::{SinkExt as _, future::poll_fn, poll};
use tokio::{io::AsyncWriteExt as _, task::yield_now, time::sleep};
use wsflow::{CloseFrame, Error, MessageWriter, Sender};

use crate::{
    ledger::{Cause, Fate, Id, Ledger, Mark},
    round::{Board, Random},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Send,
    TrySend,
    Flush,
    Drained,
    Ping,
    /// Pings are asked for, and their pongs are not waited for.
    Pings,
    /// A sink is fed, and flushed.
    Feed,
    /// A sink is ready, and some time later it is used, or dropped.
    Ready,
    Write,
    /// A message is written in many pieces.
    WriteOn,
    /// A future is polled once, and dropped.
    PollOnce,
    Pause,
    DropWriter,
    Close,
    /// The task ends here.
    Leave,
}

/// Where tasks meet. Tokio's `Barrier` lets them go on one after another, on the thread of the last; here they go at once.
pub(crate) struct Meeting {
    tasks: usize,
    arrived: AtomicUsize,
}

impl Meeting {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { tasks, arrived: AtomicUsize::new(0) }
    }

    async fn wait(&self, nth: usize) {
        self.arrived.fetch_add(1, Relaxed);
        let mut turns = 0;
        while self.arrived.load(Relaxed) < self.tasks * (nth + 1) {
            turns += 1;
            if turns < 1000 { yield_now().await } else { sleep(Duration::from_millis(1)).await }
        }
    }
}

pub(crate) struct Program {
    pub(crate) task: usize,
    pub(crate) sender: Sender,
    pub(crate) random: Random,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) board: Board,
}

impl Program {
    /// `meeting`: where all tasks meet before each step.
    pub(crate) async fn run(mut self, steps: Vec<Step>, meeting: Option<Arc<Meeting>>) {
        for (at, step) in steps.into_iter().enumerate() {
            if let Some(meeting) = &meeting {
                self.doing((at, step, "waits for the others"));
                meeting.wait(at).await;
                self.random.spin();
            }
            self.doing((at, step));
            match step {
                Step::Leave => break,
                _ => self.step(step).await,
            }
        }
        self.doing("ended");
    }

    fn doing(&self, what: impl Debug) {
        self.board.set(format_args!("task {}", self.task), what);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Send => {
                let id = self.next();
                let sent = self.sender.send(id.message()).await;
                self.told(id, sent);
            }
            Step::TrySend => {
                let id = self.next();
                let sent = self.sender.try_send(id.message());
                self.ledger.settle(id, if sent.is_ok() { Fate::Accepted } else { Fate::Refused });
            }
            Step::Flush => self.flushed(self.sender.flush()).await,
            Step::Drained => self.flushed(self.sender.drained()).await,
            Step::Ping => _ = self.is_ok(self.sender.ping().await),
            Step::Pings => {
                for _ in 0..16 {
                    self.ping_and_leave().await;
                    if self.random.once_in(3) {
                        self.random.spin();
                    }
                }
            }
            Step::Feed => {
                let mut sink = self.sender.sink();
                for _ in 0..1 + self.random.below(6) {
                    let id = self.next();
                    let fed = sink.feed(id.message()).await;
                    self.told(id, fed);
                }
                self.flushed(sink.flush()).await;
            }
            Step::Ready => {
                let mut sink = self.sender.sink();
                let ready = poll_fn(|cx| sink.poll_ready_unpin(cx)).await;
                if self.is_ok(ready) && !self.random.once_in(3) {
                    self.pause().await;
                    let id = self.next();
                    let sent = sink.start_send_unpin(id.message());
                    self.told(id, sent);
                }
            }
            Step::Write | Step::WriteOn | Step::DropWriter => self.write(step).await,
            Step::PollOnce => self.poll_once().await,
            Step::Pause => self.pause().await,
            Step::Close => {
                self.ledger.close();
                let closed = self.sender.close_with(CloseFrame::new(4000, "a task")).await.unwrap();
                self.doing(("closed", closed));
            }
            Step::Leave => {}
        }
    }

    fn next(&mut self) -> Id {
        self.ledger.next(self.task, self.random.size())
    }

    fn told(&self, id: Id, sent: Result<(), Error>) {
        let fate = if self.is_ok(sent) { Fate::Accepted } else { Fate::Refused };
        self.ledger.settle(id, fate);
    }

    async fn flushed(&self, flush: impl Future<Output = Result<(), Error>>) {
        let mark = self.ledger.mark();
        if self.is_ok(flush.await) {
            self.ledger.flushed(&mark);
        }
    }

    /// Whether it went well. A failure has a cause.
    fn is_ok<T, E: Into<std::io::Error> + Debug>(&self, result: Result<T, E>) -> bool {
        let Err(error) = result else { return true };
        let (text, causes) = (format!("{error:?}"), self.ledger.causes());
        let error = error.into().downcast::<Error>().expect("an Error");
        let is_explained = match error {
            Error::TooManyPings { .. } => true,
            Error::UnfinishedMessage => causes.contains(&Cause::Writer),
            _ => !causes.is_empty(),
        };
        assert!(is_explained, "task {} got {text}, without a cause among {causes:?}", self.task);
        false
    }

    async fn write(&mut self, way: Step) {
        let id = if way == Step::WriteOn { self.ledger.next(self.task, 100 << 10) } else { self.next() };
        #[allow(unused_mut)]
        let mut sender = self.sender.clone();
        self.ledger.begin_writer();
        // What a sink sends while the message is written comes behind it: a flush within it does not cover that.
        let before = self.ledger.mark();
        let fate = match sender.writer(id.kind()).await {
            Ok(writer) => self.fill(writer, id, way, &before).await,
            Err(error) => {
                self.is_ok::<(), _>(Err(error));
                Fate::Refused
            }
        };
        self.ledger.end_writer();
        self.ledger.settle(id, fate);
    }

    async fn fill(&mut self, mut writer: MessageWriter<'_>, id: Id, way: Step, before: &Mark) -> Fate {
        let payload = id.payload();
        let pieces = if way == Step::WriteOn { 1000 } else { 1 + self.random.below(8) };
        let (mut rest, size) = (&payload[..], 1 + payload.len() / pieces);
        while let Some((piece, others)) = rest.split_at_checked(size.min(rest.len()))
            && !piece.is_empty()
        {
            rest = others;
            self.doing(("writes", id, rest.len()));
            let is_flushed = self.random.once_in(2);
            let written = match writer.write_all(piece).await {
                Ok(()) if is_flushed => writer.flush().await,
                written => written,
            };
            if !self.is_ok(written) {
                return Fate::Refused;
            }
            if is_flushed {
                self.ledger.flushed(before);
            }
            if way == Step::DropWriter {
                self.random.spin();
                if self.random.once_in(3) {
                    break;
                }
            }
        }
        if way == Step::DropWriter {
            self.ledger.cause(Cause::Writer);
            return Fate::Refused;
        }
        self.doing(("finishes", id));
        let mark = before.clone().with(id);
        if self.is_ok(writer.finish().await) {
            self.ledger.flushed(&mark);
            Fate::Accepted
        } else {
            Fate::Untold
        }
    }

    async fn ping_and_leave(&self) {
        if let Poll::Ready(pong) = poll!(pin!(self.sender.ping())) {
            self.is_ok(pong);
        }
    }

    async fn poll_once(&mut self) {
        match self.random.below(5) {
            0 => {
                let id = self.next();
                match poll!(pin!(self.sender.send(id.message()))) {
                    Poll::Ready(sent) => self.told(id, sent),
                    Poll::Pending => self.ledger.settle(id, Fate::Untold),
                }
            }
            1 => {
                let mark = self.ledger.mark();
                if let Poll::Ready(flushed) = poll!(pin!(self.sender.flush()))
                    && self.is_ok(flushed)
                {
                    self.ledger.flushed(&mark);
                }
            }
            2 => self.ping_and_leave().await,
            3 => {
                let mut sink = self.sender.sink();
                if let Poll::Ready(ready) = poll!(pin!(poll_fn(|cx| sink.poll_ready_unpin(cx)))) {
                    self.is_ok(ready);
                }
            }
            _ => {
                let id = self.next();
                #[allow(unused_mut)]
                let mut sender = self.sender.clone();
                self.ledger.begin_writer();
                let before = self.ledger.mark();
                let polled = poll!(pin!(sender.writer(id.kind())));
                let fate = match polled {
                    Poll::Ready(Ok(writer)) => self.fill(writer, id, Step::Write, &before).await,
                    Poll::Ready(Err(_)) | Poll::Pending => Fate::Refused,
                };
                self.ledger.end_writer();
                self.ledger.settle(id, fate);
            }
        }
    }

    async fn pause(&mut self) {
        match self.random.below(10) {
            0 => sleep(Duration::from_millis(1)).await,
            1..5 => self.random.spin(),
            times => {
                for _ in 0..times {
                    yield_now().await;
                }
            }
        }
    }
}
