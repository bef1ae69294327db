//! One run: a workload, done by a client from the upgrade to the last message.

use bytes::Bytes;

use crate::{
    error::Result,
    frame,
    job::{ANSWER, Job},
    payload::Kind,
    peer::{About, Io, Peer},
    tally::Tally,
    workload::{Action, Flush, Payload, Workload},
};

/// A workload, and how many messages of it.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub workload: Workload,
    pub count: u64,
    /// Whether contents are compared too, by client and server, which costs time.
    pub checked: bool,
}

impl Task {
    /// The server's part in it.
    pub fn job(self, about: &About) -> Job {
        let Self { workload: Workload { content, size, action, .. }, count, checked } = self;
        match action {
            Action::Receive { .. } => Job::Pour { content, size, count },
            Action::Send { .. } if checked => Job::Inspect { size, count },
            Action::Send { .. } => Job::Drain { bytes: frame::sent_size(size, about.fragment) as u64 * count },
            Action::Echo { .. } => Job::Echo,
        }
    }

    pub fn payload(self) -> Bytes {
        self.workload.content.payload(self.workload.size).into()
    }

    fn tally(self) -> Tally {
        Tally::new(self.workload.content.kind(), self.checked.then(|| self.payload()))
    }
}

/// Whoever can do a whole run.
pub trait Drive: Sized {
    type Io: Io;

    const ABOUT: About;

    /// Whether it does all that a client has to do.
    const IS_CLIENT: bool;

    /// Does all of the task over a transport that is upgraded; fails if one message or byte is missing.
    async fn run(io: Self::Io, task: Task) -> Result<()>;
}

impl<P: Peer> Drive for P {
    type Io = P::Io;

    const ABOUT: About = P::ABOUT;

    const IS_CLIENT: bool = true;

    async fn run(io: P::Io, task: Task) -> Result<()> {
        let mut peer = P::over(io)?;
        match task.workload.action {
            Action::Receive { lent } => receive(&mut peer, task, lent).await,
            Action::Send { flush, payload } => send(&mut peer, task, flush, payload).await,
            Action::Echo { window } => echo(&mut peer, task, window).await,
        }
    }
}

async fn receive(peer: &mut impl Peer, task: Task, lent: bool) -> Result<()> {
    let mut tally = task.tally();
    if lent {
        peer.receive_lent(task.count, &mut tally).await?;
    } else {
        peer.receive(task.count, &mut tally).await?;
    }
    tally.judge(task.count, task.workload.size)
}

async fn send(peer: &mut impl Peer, task: Task, flush: Flush, whose: Payload) -> Result<()> {
    let payload = task.payload();
    let batch = match flush {
        Flush::Once => task.count,
        Flush::Each(messages) => messages,
    };
    let mut left = task.count;
    while left > 0 {
        let messages = batch.min(left);
        match whose {
            Payload::Shared => peer.feed(&payload, messages).await?,
            Payload::Fresh => peer.feed_fresh(&payload, messages).await?,
            Payload::Lent => peer.feed_lent(&payload, messages).await?,
        }
        peer.flush().await?;
        left -= messages;
    }
    let mut tally = Tally::new(Kind::Binary, Some(Bytes::from_static(ANSWER)));
    peer.receive(1, &mut tally).await?;
    tally.judge(1, ANSWER.len())
}

/// Fills the window, and then again by the half window that has come: the server always has something to answer, and
/// nothing that was fed waits for a reader.
async fn echo(peer: &mut impl Peer, task: Task, window: u64) -> Result<()> {
    let payload = task.payload();
    let mut tally = task.tally();
    let mut unsent = task.count;
    let mut unreceived = task.count;
    let mut more = window;
    while unreceived > 0 {
        peer.feed(&payload, more.min(unsent)).await?;
        peer.flush().await?;
        unsent -= more.min(unsent);
        more = (window / 2).max(1);
        peer.receive(more.min(unreceived), &mut tally).await?;
        unreceived -= more.min(unreceived);
    }
    tally.judge(task.count, task.workload.size)
}
