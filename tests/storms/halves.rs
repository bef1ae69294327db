//! Rounds over halves: some tasks that send, one that receives, and a server.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, future::try_join_all};
use tokio::sync::Notify;
use wsflow::{CloseFrame, Config, Deflate, Error, Receiver, UpgradedParts, WebSocketStream};

use crate::{
    ledger::{Cause, Id, Ledger},
    program::{Meeting, Program, Step},
    round::{Board, Random, spawn},
    server::{Manner, Served, serve, tcp},
};

/// What a round does, as its seed says.
#[derive(Debug)]
struct Plan {
    name: &'static str,
    tasks: Vec<Vec<Step>>,
    /// Whether the tasks meet before each step.
    is_in_step: bool,
    /// How many steps the receiver takes before it reads to the end.
    reads: usize,
    manner: Manner,
    end: End,
}

/// How the program ends the connection, once its tasks have ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    /// All halves are dropped.
    Drop,
    /// It does nothing more, since the connection is to end by itself.
    Wait,
}

const STEPS: &[Step] = &[
    Step::Send,
    Step::Send,
    Step::Send,
    Step::TrySend,
    Step::Flush,
    Step::Drained,
    Step::Ping,
    Step::Feed,
    Step::Feed,
    Step::Ready,
    Step::Ready,
    Step::Write,
    Step::Write,
    Step::PollOnce,
    Step::PollOnce,
    Step::Pause,
];

impl Plan {
    fn new(random: &mut Random) -> Self {
        match random.below(16) {
            0..6 => Self::any(random),
            focus => Self::pair(focus, random),
        }
    }

    /// Anything.
    fn any(random: &mut Random) -> Self {
        let steps = 1 + random.below(25);
        let mut tasks: Vec<Vec<_>> =
            (0..2 + random.below(3)).map(|_| (0..steps).map(|_| random.one_of(STEPS)).collect()).collect();
        if random.once_in(4) {
            let (task, at) = (random.below(tasks.len()), random.below(steps));
            tasks[task][at] = random.one_of(&[Step::Close, Step::DropWriter, Step::Leave]);
        }
        let (n, after) = (random.below(60), 1 + random.below(60));
        let manners = [Manner::Echo, Manner::Slow, Manner::Pour(n), Manner::Close(n, after), Manner::Vanish(n, after)];
        Self {
            name: "anything",
            tasks,
            is_in_step: false,
            reads: random.below(40),
            manner: random.one_of(&manners),
            end: random.one_of(&[End::Close, End::Close, End::Drop]),
        }
    }

    /// Two mechanisms that meet. Nothing else happens that would wake the connection's task: pings without pongs only make
    /// it busy while they meet.
    fn pair(focus: usize, random: &mut Random) -> Self {
        let (name, tasks, manner, end) = match focus {
            6 => ("two pings", vec![vec![Step::Ping; 20]; 2], Manner::PingPairs, End::Close),
            7 => {
                let sink = random.one_of(&[Step::Feed, Step::Ready]);
                ("a sink and a writer", vec![vec![sink; 20], vec![Step::Write; 20]], Manner::Quiet, End::Close)
            }
            8..11 => {
                let tasks = vec![vec![Step::WriteOn], vec![Step::Close], vec![Step::Pings]];
                ("a close over a writer", tasks, Manner::Mute, End::Wait)
            }
            11..14 => ("a dropped writer", vec![vec![Step::DropWriter], vec![Step::Pings]], Manner::Mute, End::Wait),
            _ => {
                let len = (150 << 10) + random.below(100 << 10);
                ("a message that is too large", vec![vec![Step::Pings]], Manner::Large(len), End::Wait)
            }
        };
        Self { name, tasks, is_in_step: focus != 7, reads: 0, manner, end }
    }
}

pub(crate) async fn round(mut random: Random, board: Board) {
    let plan = Plan::new(&mut random);
    let marks = [1, 200, 2 << 10, 16 << 10, 64 << 10];
    let (write_mark, read_mark) = (random.one_of(&marks), random.one_of(&marks));
    let read_buffer = random.one_of(&[1 << 10, 8 << 10, 128 << 10]);
    let fragment_size = random.one_of(&[None, Some(100), Some(4 << 10), Some(256 << 10)]);
    let (tcp_buffer, has_deflate) = (random.one_of(&[None, Some(4 << 10)]), random.once_in(16));
    // Whether the senders have threads of their own, or share the two of the runtime with the connection's task.
    let has_threads = plan.is_in_step || random.once_in(2);
    board.set("focus", plan.name);
    board.set("plan", &plan);
    board.set("has_threads", has_threads);
    board.set("marks", (write_mark, read_mark, read_buffer, fragment_size, tcp_buffer, has_deflate));
    let mut config = Config::default()
        .write_high_water_mark(write_mark)
        .read_high_water_mark(read_mark)
        .read_buffer_max(read_buffer)
        .fragment_size(fragment_size)
        .close_timeout(Duration::from_secs(2))
        .tcp_end_timeout(Duration::from_secs(1))
        .keepalive_interval(None)
        .deflate(has_deflate.then(Deflate::default));
    if let Manner::Large(_) = plan.manner {
        config = config.max_message_size(random.one_of(&[1 << 10, 10 << 10, 100 << 10]));
    }

    let ledger = Arc::new(Ledger::new(plan.tasks.len()));
    let (client, server) = tcp(tcp_buffer).await;
    let server = serve(server, plan.manner, has_deflate, Arc::clone(&ledger), random.fork(), board.clone());
    let server = tokio::spawn(server);
    let extensions = if has_deflate { "permessage-deflate" } else { "" };
    let parts = UpgradedParts::new(client).extensions(extensions).config(config);
    let (sender, receiver) = WebSocketStream::from_upgraded_parts(parts).unwrap().into_split();
    let stop = Arc::new(Notify::new());
    let (receiving, stopped) = (receive(receiver, random.fork(), plan.reads, board.clone()), Arc::clone(&stop));
    let receiving = spawn(has_threads, async move {
        tokio::select! {
            received = receiving => Some(received),
            () = stopped.notified() => None,
        }
    });
    let meeting = plan.is_in_step.then(|| Arc::new(Meeting::new(plan.tasks.len())));
    let sending = plan.tasks.into_iter().enumerate().map(|(task, steps)| {
        let (sender, random) = (sender.clone(), random.fork());
        let program = Program { task, sender, random, ledger: Arc::clone(&ledger), board: board.clone() };
        spawn(has_threads, program.run(steps, meeting.clone()))
    });
    try_join_all(sending.collect::<Vec<_>>()).await.unwrap();

    board.set("end", plan.end);
    let closed = match plan.end {
        End::Close => {
            ledger.close();
            Some(sender.close_with(CloseFrame::new(1000, "the end")).await.unwrap())
        }
        End::Wait => Some(sender.closed().await),
        End::Drop => {
            ledger.close();
            stop.notify_one();
            None
        }
    };
    board.set("end", (plan.end, &closed));
    let buffered = sender.buffered_amount();
    drop(sender);
    let received = receiving.await.unwrap();
    let served = server.await.unwrap();
    let is_clean = closed.map(|closed| closed.was_clean);
    ledger.check(&served, is_clean);
    assert!(is_clean != Some(true) || buffered == 0, "{buffered} bytes are left behind a clean end");
    match served.close {
        None => assert!(ledger.is_caused_by(Cause::PeerVanished), "no Close frame came, causes {:?}", ledger.causes()),
        Some(1011) => assert!(ledger.is_caused_by(Cause::Writer), "Close 1011, causes {:?}", ledger.causes()),
        Some(1009) => assert!(ledger.is_caused_by(Cause::TooLarge), "Close 1009, causes {:?}", ledger.causes()),
        Some(code) => assert!([0, 1000, 4000].contains(&code), "Close {code}"),
    }
    if let Some(received) = received {
        received.check(&served, is_clean);
    }
}

/// What the receiver got.
#[derive(Default)]
struct Received {
    /// `None`: a message that was not read to its end.
    messages: Vec<Option<Id>>,
    /// Whether the end was clean, if the receiver has seen it.
    is_clean: Option<bool>,
}

async fn receive(mut receiver: Receiver, mut random: Random, steps: usize, board: Board) -> Received {
    let mut received = Received::default();
    for step in 0.. {
        let way = if step < steps { random.below(40) } else { 0 };
        board.set("receiver", ("step", step, way, received.messages.len(), received.is_clean));
        let is_over = match way {
            0..20 => {
                let next = receiver.next().await;
                received.add(next.map(|next| next.map(|message| Some(Id::of_message(&message)))))
            }
            20..30 => {
                let mut batch = Vec::new();
                let many = receiver.recv_many(&mut batch, 1 + random.below(20)).await;
                received.messages.extend(batch.iter().map(|message| Some(Id::of_message(message))));
                match many {
                    Ok(0) => received.add(None),
                    Ok(_) => false,
                    Err(error) => received.add(Some(Err(error))),
                }
            }
            30..39 => {
                let next = read(&mut receiver, &mut random).await;
                received.add(next)
            }
            _ => true,
        };
        if is_over {
            break;
        }
    }
    board.set("receiver", "ended");
    received
}

/// Reads a message in chunks, or drops its reader in the middle.
async fn read(receiver: &mut Receiver, random: &mut Random) -> Option<Result<Option<Id>, Error>> {
    let mut reader = match receiver.next_reader().await? {
        Ok(reader) => reader,
        Err(error) => return Some(Err(error)),
    };
    let (mut payload, kind) = (Vec::new(), reader.kind());
    while !random.once_in(4) {
        match reader.chunk().await {
            Some(Ok(chunk)) => payload.extend_from_slice(&chunk),
            Some(Err(error)) => return Some(Err(error)),
            None => return Some(Ok(Some(Id::of(kind, &payload)))),
        }
    }
    Some(Ok(None))
}

impl Received {
    /// Returns whether this was the end.
    fn add(&mut self, next: Option<Result<Option<Id>, Error>>) -> bool {
        match next {
            Some(Ok(id)) => self.messages.push(id),
            Some(Err(_)) => {
                assert_eq!(self.is_clean, None, "an error behind the end");
                self.is_clean = Some(false);
            }
            None => _ = self.is_clean.get_or_insert(true),
        }
        next.is_none()
    }

    fn check(&self, served: &Served, is_clean: Option<bool>) {
        let is_told_twice = self.is_clean.is_some() && is_clean.is_some();
        assert!(!is_told_twice || self.is_clean == is_clean, "{:?} and {is_clean:?}", self.is_clean);
        let (got, sent) = (&self.messages, &served.sent);
        let is_like = got.iter().zip(sent).all(|(got, sent)| got.is_none_or(|got| got == *sent));
        assert!(is_like && got.len() <= sent.len(), "the server sent {sent:?}, received is {got:?}");
        assert!(self.is_clean != Some(true) || got.len() == sent.len(), "{} of {} came", got.len(), sent.len());
    }
}
