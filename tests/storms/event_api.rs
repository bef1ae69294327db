//! Rounds over the event API: some tasks and the handlers use one socket, until one of them closes it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::peer::Peer;
use tokio::{
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::sleep,
};
use wsflow::{
    Config, ReadyState,
    compat::{CloseEvent, ListenerOptions, WebSocket},
};

use crate::{
    ledger::{Cause, Fate, Id, Ledger},
    round::{Board, Random},
    server::{Manner, Served, serve, tcp},
};

/// How the program ends the connection, once its tasks have ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Close,
    Shutdown,
    /// All handles are dropped.
    Drop,
}

#[derive(Debug)]
enum Seen {
    Open,
    Message(Id),
    Error,
    Close(CloseEvent),
}

/// A socket of which all events are logged, and what is known of it.
struct Socket {
    ws: WebSocket,
    log: Arc<Mutex<Vec<Seen>>>,
    is_open: oneshot::Receiver<()>,
    has_ended: oneshot::Receiver<()>,
}

/// Once in how many steps somebody closes.
const NEVER: usize = usize::MAX;

pub(crate) async fn round(mut random: Random, board: Board) {
    let (tasks, steps) = (1 + random.below(4), 1 + random.below(60));
    let (n, after) = (random.below(60), 1 + random.below(60));
    let manners = [Manner::Echo, Manner::Slow, Manner::Pour(n), Manner::Close(n, after), Manner::Vanish(n, after)];
    let (manner, end) = (random.one_of(&manners), random.one_of(&[End::Close, End::Shutdown, End::Drop]));
    let (close_once_in, tcp_buffer) = (random.one_of(&[50, NEVER, NEVER]), random.one_of(&[None, Some(4 << 10)]));
    board.set("plan", (tasks, steps, manner, end, close_once_in, tcp_buffer));

    // The handlers come behind the tasks.
    let ledger = Arc::new(Ledger::new(tasks + 1));
    let (client, server) = tcp(tcp_buffer).await;
    let serving = serve_after_handshake(server, manner, Arc::clone(&ledger), random.fork(), board.clone());
    let server = tokio::spawn(serving);
    let user = User { task: tasks, close_once_in, random: random.fork(), ledger: Arc::clone(&ledger) };
    let Socket { ws, log, is_open, has_ended } = connect(client, user, &mut random);
    board.set("end", "waits for open");
    is_open.await.expect("an open event");
    let mut using = JoinSet::new();
    for task in 0..tasks {
        let user = User { task, close_once_in, random: random.fork(), ledger: Arc::clone(&ledger) };
        using.spawn(user.run(ws.clone(), steps, board.clone()));
    }
    while let Some(ended) = using.join_next().await {
        ended.unwrap();
    }

    ledger.close();
    match end {
        End::Close => ws.close().unwrap(),
        End::Shutdown => ws.shutdown(),
        End::Drop => {}
    }
    let ws = (!matches!(end, End::Drop)).then_some(ws);
    board.set("end", "waits for close");
    has_ended.await.expect("a close event");
    if let Some(ws) = &ws {
        ws.closed().await;
    }
    board.set("end", "waits for the server");
    let served = server.await.unwrap();
    let log = log.lock().unwrap();
    let is_clean = check(&log, &served, &ledger);
    ledger.check(&served, Some(is_clean));
    if let Some(ws) = ws {
        assert_eq!(ws.ready_state(), ReadyState::Closed);
        let lost = ledger.bytes_sent() - served.arrived.iter().map(|id| id.len).sum::<usize>();
        assert!(!is_clean || ws.buffered_amount() == lost as u64, "{} and {lost}", ws.buffered_amount());
    }
}

async fn serve_after_handshake(
    io: tokio::net::TcpStream,
    manner: Manner,
    ledger: Arc<Ledger>,
    random: Random,
    board: Board,
) -> Served {
    let mut peer = Peer::over(io);
    peer.accept().await;
    serve(peer.into_io(), manner, false, ledger, random, board).await
}

fn connect(io: tokio::net::TcpStream, mut user: User, random: &mut Random) -> Socket {
    let log = Arc::new(Mutex::new(Vec::new()));
    let add = || {
        let log = Arc::clone(&log);
        // No two handlers run at a time.
        move |seen| log.try_lock().expect("two handlers at once").push(seen)
    };
    let (open, message, error, close) = (add(), add(), add(), add());
    let ((opened, is_open), (ended, has_ended)) = (oneshot::channel(), oneshot::channel());
    let (mut opened, mut ended) = (Some(opened), Some(ended));
    let config = Config::default()
        .write_high_water_mark(random.one_of(&[1, 2 << 10, 64 << 10]))
        .read_buffer_max(random.one_of(&[1 << 10, 128 << 10]))
        .close_timeout(Duration::from_secs(2))
        .tcp_end_timeout(Duration::from_secs(1))
        .keepalive_interval(None);
    let ws = WebSocket::builder("ws://storm/")
        .unwrap()
        .config(config)
        .on_open(move |_, _| {
            open(Seen::Open);
            opened.take().map(|opened| opened.send(()));
        })
        .on_message(move |ws, event| {
            message(Seen::Message(Id::of_message(&event.data)));
            if user.random.once_in(4) {
                user.step(ws);
            }
        })
        .on_error(move |_, _| error(Seen::Error))
        .on_close(move |_, event| {
            close(Seen::Close(event.clone()));
            ended.take().map(|ended| ended.send(()));
        })
        .connect_over(io);
    Socket { ws, log, is_open, has_ended }
}

/// A task, or the handlers.
struct User {
    task: usize,
    close_once_in: usize,
    random: Random,
    ledger: Arc<Ledger>,
}

impl User {
    async fn run(mut self, ws: WebSocket, steps: usize, board: Board) {
        for step in 0..steps {
            board.set(format_args!("task {}", self.task), step);
            match self.random.below(30) {
                0 => ws.drained().await,
                1 => sleep(Duration::from_millis(1)).await,
                2..8 => yield_now().await,
                8..12 => self.random.spin(),
                _ => self.step(&ws),
            }
        }
        board.set(format_args!("task {}", self.task), "ended");
    }

    fn step(&mut self, ws: &WebSocket) {
        if self.random.once_in(self.close_once_in) {
            self.ledger.close();
            return ws.close_with(4000, "a task").unwrap();
        }
        match self.random.below(10) {
            0..7 => {
                let id = self.ledger.next(self.task, self.random.size());
                ws.send(id.message()).unwrap();
                // Where the socket is open still, it was when this was sent.
                let is_sent = ws.ready_state() == ReadyState::Open;
                self.ledger.settle(id, if is_sent { Fate::Accepted } else { Fate::Untold });
            }
            7 => {
                let once = ListenerOptions::default().once(self.random.once_in(2));
                let id = ws.add_message_listener_with(once, |_, _| {});
                if self.random.once_in(2) {
                    ws.remove_listener(id);
                }
            }
            8 => {
                let clone = ws.clone();
                ws.set_on_open(move |_, _| drop(clone.clone()));
                ws.clear_on_open();
            }
            _ => drop(ws.clone()),
        }
    }
}

/// Checks the order of the events, and what came. Returns whether the end was clean.
fn check(log: &[Seen], served: &Served, ledger: &Ledger) -> bool {
    let [Seen::Open, middle @ .., Seen::Close(close)] = log else { panic!("the events are {log:?}") };
    let messages = match middle {
        [messages @ .., Seen::Error] => messages,
        messages => messages,
    };
    let is_next = |(seen, sent): (&Seen, &Id)| matches!(seen, Seen::Message(id) if id == sent);
    let is_in_order = messages.len() <= served.sent.len() && messages.iter().zip(&served.sent).all(is_next);
    assert!(is_in_order, "the server sent {:?}, the events are {log:?}", served.sent);
    let is_all = messages.len() == served.sent.len();
    assert!(is_all || !close.was_clean || ledger.is_caused_by(Cause::Closed), "messages are lost: {log:?}");
    close.was_clean
}
