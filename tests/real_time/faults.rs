//! Faults of the network: each of them against each way of using a connection, plain and over TLS.
//!
//! Every cell ends in time and with the error that the table says, and accounts for every message: what the server got
//! is whole, in order and without a gap from the first on; what the client calls sent is what left it.

use std::{
    io::ErrorKind,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _, future::join_all};
use testkit::{
    fault_proxy::{Fault, FaultProxy, Taken, Way},
    peer::Peer,
    tls::{Authority, TlsServer},
    wire::Wire,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_tungstenite::{accept_async, tungstenite};
use tokio_util::sync::CancellationToken;
use wsflow::{
    ClientBuilder, CloseFrame, Config, Connector, Error, Message, Phase, Reconnect, Retry, Stats, WebSocketStream,
};

use crate::{support::tls::ForClient as _, turn};

const KIB: usize = 1024;

/// How long a cell may take. Those that end by a deadline of the client have short ones.
const LIMIT: Duration = Duration::from_secs(20);

/// A deadline that passes.
const SHORT: Duration = Duration::from_millis(800);

/// How the connection is used. All messages have 1 KiB but for those of `Bulk` and `Large`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// One message after the other, each sent once the echo of the one before it has come.
    Echo,
    /// Many messages that are not answered, then a Close.
    Bulk,
    /// All messages are fed by reference, then all echoes are lent.
    ByReference,
    /// One task sends, another receives.
    Halves,
    /// One message and its echo, both in many frames.
    Large,
    /// As `Echo`, and the fault comes with the closing handshake.
    Close,
    /// As `Echo`, and on a second connection, without a fault, from the first message on that was not answered.
    Reconnect,
}

impl Job {
    const ALL: [Self; 7] =
        [Self::Echo, Self::Bulk, Self::ByReference, Self::Halves, Self::Large, Self::Close, Self::Reconnect];

    fn messages(self) -> u64 {
        match self {
            Self::Echo | Self::ByReference | Self::Reconnect => 12,
            Self::Bulk => 60,
            Self::Halves => 200,
            Self::Large => 1,
            Self::Close => 4,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Bulk => 32 * KIB,
            Self::Large => 1024 * KIB,
            _ => KIB,
        }
    }

    fn message(self, number: u64) -> Message {
        message(number, self.size())
    }
}

/// How the connection that met the fault ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    /// By the server's Close frame with 1012. In the job `Reconnect` it sends one behind its sixth message.
    Restart,
    /// By FIN alone: 1006.
    Lost,
    /// By RST.
    Reset,
    Keepalive,
    Write,
    CloseTimeout,
}

impl End {
    fn of(account: &Account) -> Option<Self> {
        Some(match &account.error {
            None if account.code == 1012 => Self::Restart,
            None => Self::Clean,
            Some(Error::Closed(closed)) if u16::from(closed.code) == 1006 => Self::Lost,
            Some(Error::Io(cause)) => match cause.kind() {
                // TLS that ends without saying so.
                ErrorKind::UnexpectedEof => Self::Lost,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
                _ => return None,
            },
            Some(Error::Timeout { phase: Phase::Keepalive, .. }) => Self::Keepalive,
            Some(Error::Timeout { phase: Phase::Write, .. }) => Self::Write,
            Some(Error::Timeout { phase: Phase::Close, .. }) => Self::CloseTimeout,
            Some(_) => return None,
        })
    }
}

/// What each job ends with, in the order of [`Job::ALL`].
type Row = [End; 7];

/// A fault that delays what it does not lose: nobody notices, but for the server's Close of the job `Reconnect`.
const HARMLESS: Row = [Clean, Clean, Clean, Clean, Clean, Clean, End::Restart];

/// Number and contents tell of each other.
fn message(number: u64, size: usize) -> Message {
    let pattern = format!("{number:08} ");
    let text: String = pattern.chars().cycle().take(size).collect();
    if number.is_multiple_of(2) { Message::text(text) } else { Message::binary(text.into_bytes()) }
}

/// The number of a message that is whole, and as it was sent.
fn number(of: &Message) -> u64 {
    let number = of.as_bytes().get(..8).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let number = number.unwrap_or_else(|| panic!("{} bytes that were not sent", of.len()));
    assert!(*of == message(number, of.len()), "message {number} is not as it was sent");
    number
}

/// What happened on one connection.
#[derive(Debug, Default)]
struct Account {
    /// The messages that the sink, or a sender, accepted.
    accepted: Range<u64>,
    /// The numbers of the echoes.
    echoes: Vec<u64>,
    error: Option<Error>,
    /// Of the Close frame that came, or what stands for it.
    code: u16,
    stats: Stats,
    buffered_amount: u64,
}

impl Account {
    fn from(first: u64) -> Self {
        Self { accepted: first..first, ..Self::default() }
    }

    fn accept(&mut self) {
        self.accepted.end += 1;
    }

    fn echo(&mut self, message: &Message) {
        self.echoes.push(number(message));
    }
}

/// A server that keeps the numbers of the messages it got, for each of its connections.
struct Server {
    listener: TcpListener,
    tls: Option<Arc<TlsServer>>,
    echoes: bool,
    /// Behind how many messages of its first connection it sends a Close.
    restarts_after: Option<usize>,
}

impl Server {
    fn run(self, ended: CancellationToken) -> JoinHandle<Vec<Vec<u64>>> {
        tokio::spawn(async move {
            let (mut connections, mut restarts_after) = (JoinSet::new(), self.restarts_after);
            let logs = Arc::<Mutex<Vec<Vec<u64>>>>::default();
            while let Some(Ok((tcp, _))) = ended.run_until_cancelled(self.listener.accept()).await {
                let (tls, logs, restarts_after) = (self.tls.clone(), Arc::clone(&logs), restarts_after.take());
                let index = {
                    let mut logs = logs.lock().unwrap();
                    logs.push(Vec::new());
                    logs.len() - 1
                };
                connections.spawn(async move {
                    let log = |number| logs.lock().unwrap()[index].push(number);
                    match tls {
                        None => serve(tcp, self.echoes, restarts_after, log).await,
                        Some(tls) => {
                            let (_, peer) = tls.handshake(Peer::over(tcp)).await;
                            serve(peer.expect("TLS").into_io(), self.echoes, restarts_after, log).await;
                        }
                    }
                });
            }
            connections.join_all().await;
            std::mem::take(&mut *logs.lock().unwrap())
        })
    }
}

/// Whatever breaks ends it.
async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin,
    echoes: bool,
    restarts_after: Option<usize>,
    log: impl Fn(u64),
) {
    let Ok(mut ws) = accept_async(io).await else { return };
    let mut got = 0;
    while let Some(Ok(message)) = ws.next().await {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        let ours = Message::try_from(message.clone()).expect("a message");
        log(number(&ours));
        got += 1;
        if echoes && ws.send(message).await.is_err() {
            break;
        }
        if restarts_after == Some(got) {
            let restart = tungstenite::protocol::CloseFrame { code: 1012.into(), reason: "".into() };
            let _ = ws.close(Some(restart)).await;
        }
    }
}

struct Cell {
    fault: Fault,
    job: Job,
    expected: End,
    tls: Option<(Arc<TlsServer>, Connector)>,
}

impl Cell {
    /// Deadlines pass where something is waited for that never comes; elsewhere they are so long that they do not.
    fn config(&self) -> Config {
        let config = Config::default().fragment_size(16 * KIB);
        match self.expected {
            Keepalive | Write | CloseTimeout => {
                let config = config.keepalive_interval(SHORT).keepalive_timeout(SHORT).close_timeout(SHORT);
                config.tcp_end_timeout(SHORT).write_timeout(SHORT)
            }
            _ => config,
        }
    }

    async fn run(&self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = FaultProxy::before(listener.local_addr().expect("a bound socket"), self.fault).await;
        let ended = CancellationToken::new();
        let server = Server {
            listener,
            tls: self.tls.as_ref().map(|(tls, _)| Arc::clone(tls)),
            echoes: self.job != Job::Bulk,
            restarts_after: (self.job == Job::Reconnect).then_some(6),
        };
        let server = server.run(ended.clone());
        let builder = match &self.tls {
            None => WebSocketStream::builder(format!("ws://{}/", proxy.addr())),
            Some((_, connector)) => WebSocketStream::builder(format!("wss://{}/", proxy.addr())).tls(connector.clone()),
        };
        let builder = builder.config(self.config()).tcp(small_send_buffer);
        let accounts = self.client(builder, &proxy).await;
        let taken = proxy.end().await;
        ended.cancel();
        let logs = server.await.expect("the server");
        assert_eq!((accounts.len(), taken.len()), (logs.len(), logs.len()), "connections");
        for ((account, log), taken) in accounts.iter().zip(&logs).zip(&taken) {
            self.check(account, log, taken);
        }

        assert_eq!(End::of(&accounts[0]), Some(self.expected), "{:?}", accounts[0]);
        let last = accounts.last().expect("a connection");
        if last.error.is_none() {
            let all = 0..self.job.messages();
            assert_eq!(logs.iter().flatten().copied().max(), all.clone().last(), "all messages came");
            assert_eq!(last.accepted.end, all.end, "all messages were sent");
            if self.job != Job::Bulk {
                assert_eq!(last.echoes.last().copied(), all.last(), "all echoes came");
            }
        } else {
            assert_ne!(self.job, Job::Reconnect, "the second connection has no fault: {last:?}");
        }
    }

    async fn client(&self, builder: ClientBuilder, proxy: &FaultProxy) -> Vec<Account> {
        if self.job == Job::Reconnect {
            return reconnect(builder, proxy).await;
        }
        let mut ws = builder.connect().await.expect("nothing happens before the proxy is armed");
        if self.job != Job::Close {
            proxy.arm();
        }
        if self.job == Job::Halves {
            return vec![halves(ws).await];
        }
        let mut account = Account::default();
        let done = match self.job {
            Job::Bulk => bulk(&mut ws, &mut account).await,
            Job::ByReference => by_reference(&mut ws, &mut account).await,
            job => echo(&mut ws, &mut account, job).await,
        };
        if self.job == Job::Close {
            proxy.arm();
        }
        if done.is_ok() {
            ws.close_with(CloseFrame::new(1000, "")).await.expect("a frame that can be sent");
        }
        end(&mut ws, &mut account, done.err()).await;
        vec![account]
    }

    /// What holds however a connection ended.
    fn check(&self, account: &Account, log: &[u64], taken: &Taken) {
        let first = account.accepted.start;
        let sent = account.stats.messages_sent;
        let accepted = account.accepted.end - first;
        assert!(log.iter().copied().eq(first..first + log.len() as u64), "from {first} on came {log:?}");
        assert!(account.echoes.iter().copied().eq(first..first + account.echoes.len() as u64), "{account:?}");
        let (got, echoes) = (log.len() as u64, account.echoes.len() as u64);
        assert!(echoes <= got && got <= sent && sent <= accepted, "{got} came: {account:?}");
        assert_eq!(account.stats.messages_received, echoes);
        let bytes = accepted * self.job.size() as u64;
        assert_eq!(account.buffered_amount, bytes - account.stats.payload_bytes_sent, "{account:?}");
        if account.error.is_none() && self.job != Job::Reconnect {
            assert_eq!((got, sent, account.buffered_amount), (accepted, accepted, 0), "a clean end");
        }
        if self.tls.is_none() && taken.is_all {
            let head = taken.bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("a request") + 4;
            let wire = Wire::read(&taken.bytes[head..]);
            assert_eq!(wire.messages().len() as u64, sent, "what was sent is what left: {account:?}");
            assert_eq!(taken.bytes.len() - head, account.stats.wire_bytes_sent as usize);
        }
    }
}

/// So that what nobody takes is noticed soon.
fn small_send_buffer(socket: &TcpStream) {
    socket2::SockRef::from(socket).set_send_buffer_size(128 * KIB).expect("SO_SNDBUF");
}

/// Reads on to the end. Whoever sends hears of the same end, or that it is closing.
async fn end<S>(ws: &mut WebSocketStream<S>, account: &mut Account, sending: Option<Error>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut yielded = None;
    while let Some(item) = ws.next().await {
        match item {
            Ok(message) => account.echo(&message),
            Err(error) => assert!(yielded.replace(error).is_none(), "a second error"),
        }
    }
    account.error = ws.error().cloned();
    account.code = ws.closed().expect("an end").code.into();
    account.stats = ws.stats();
    account.buffered_amount = ws.buffered_amount();
    if let (Some(error), Some(sending)) = (&account.error, sending)
        && !sending.is_closed()
    {
        crate::support::watch::assert_same(error, &sending);
    }
}

/// The next message, or the error that stands for its absence.
async fn next(ws: &mut WebSocketStream) -> Result<Message, Error> {
    ws.next().await.unwrap_or_else(|| Err(Error::Closing { by_peer: None }))
}

async fn echo(ws: &mut WebSocketStream, account: &mut Account, job: Job) -> Result<(), Error> {
    for i in account.accepted.start..job.messages() {
        let sending = ws.send(job.message(i));
        account.accept();
        sending.await?;
        account.echo(&next(ws).await?);
    }
    Ok(())
}

async fn bulk(ws: &mut WebSocketStream, account: &mut Account) -> Result<(), Error> {
    for i in 0..Job::Bulk.messages() {
        ws.feed(Job::Bulk.message(i)).await?;
        account.accept();
    }
    ws.flush().await
}

async fn by_reference(ws: &mut WebSocketStream, account: &mut Account) -> Result<(), Error> {
    for i in 0..Job::ByReference.messages() {
        ws.feed_ref(&Job::ByReference.message(i)).await?;
        account.accept();
    }
    ws.flush().await?;
    for _ in 0..Job::ByReference.messages() {
        let echo = ws.next_ref().await.unwrap_or_else(|| Err(Error::Closing { by_peer: None }))?;
        account.echo(&echo.to_message());
    }
    Ok(())
}

async fn halves(ws: WebSocketStream) -> Account {
    let (sender, mut receiver) = ws.into_split();
    let sending = async {
        let mut sent = 0;
        for i in 0..Job::Halves.messages() {
            match sender.send(Job::Halves.message(i)).await {
                Ok(()) => sent += 1,
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    };
    let receiving = async {
        let mut account = Account::default();
        while account.echoes.len() < Job::Halves.messages() as usize {
            match receiver.next().await {
                Some(Ok(message)) => account.echo(&message),
                Some(Err(error)) => {
                    account.error = Some(error);
                    break;
                }
                None => break,
            }
        }
        account
    };
    let ((sent, failed), mut account) = tokio::join!(sending, receiving);
    account.accepted = 0..sent;
    if account.error.is_none() && failed.is_none() {
        sender.close_with(CloseFrame::new(1000, "")).await.expect("a frame that can be sent");
    }
    while let Some(item) = receiver.next().await {
        account.error = Some(item.expect_err("an end"));
    }
    if let (Some(error), Some(failed)) = (&account.error, failed)
        && !failed.is_closed()
    {
        crate::support::watch::assert_same(error, &failed);
    }
    let closed = sender.closed().await;
    assert_eq!(closed.was_clean, account.error.is_none(), "{closed:?}");
    account.code = closed.code.into();
    account.stats = sender.stats();
    account.buffered_amount = sender.buffered_amount();
    account
}

async fn reconnect(builder: ClientBuilder, proxy: &FaultProxy) -> Vec<Account> {
    let (mut accounts, mut answered) = (Vec::new(), 0);
    let mut connections = Reconnect::new(|| builder.clone().connect()).retry(|_| Retry::Now);
    while answered < Job::Reconnect.messages() {
        let mut ws = connections.next().await.expect("the next").expect("nothing is final");
        proxy.arm();
        let mut account = Account::from(answered);
        let done = echo(&mut ws, &mut account, Job::Reconnect).await;
        if done.is_ok() {
            ws.close_with(CloseFrame::new(1000, "")).await.expect("a frame that can be sent");
        }
        end(&mut ws, &mut account, done.err()).await;
        answered += account.echoes.len() as u64;
        accounts.push(account);
    }
    accounts
}

/// All cells of a fault, beside one another, plain and over TLS.
async fn show(fault: Fault, row: Row) {
    let authority = Authority::new();
    let tls = Arc::new(authority.server(&["127.0.0.1"]));
    let connector = authority.connectors(None).remove(0);
    let cells = Job::ALL.into_iter().zip(row).flat_map(|(job, expected)| {
        [None, Some((Arc::clone(&tls), connector.clone()))].map(|tls| Cell { fault, job, expected, tls })
    });
    let running = cells.map(|cell| {
        tokio::spawn(async move {
            let scheme = if cell.tls.is_some() { "wss" } else { "ws" };
            let name = format!("{:?} over {scheme} with {:?}", cell.job, cell.fault);
            let start = std::time::Instant::now();
            let in_time = timeout(LIMIT, cell.run()).await.is_ok();
            (name, in_time, start.elapsed())
        })
    });
    let mut wrong = Vec::new();
    for (outcome, job) in join_all(running).await.into_iter().zip((0..14).map(|i| (Job::ALL[i / 2], i % 2))) {
        match outcome {
            Ok((name, in_time, took)) => {
                if !in_time {
                    wrong.push(format!("{name}: no end within {LIMIT:?}"));
                }
                println!("{name}: {took:?}");
            }
            Err(error) => wrong.push(format!("{job:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{fault:?}: {wrong:#?}");
}

use End::{Clean, CloseTimeout, Keepalive, Lost, Reset, Write};

#[tokio::test]
async fn a_network_that_stands_still_for_a_while_loses_nothing() {
    let _turn = turn().await;
    show(Fault::Stall { at: 3000, time: Duration::from_millis(300) }, HARMLESS).await;
}

#[tokio::test]
async fn a_network_that_puts_segments_together_loses_nothing() {
    let _turn = turn().await;
    show(Fault::Coalesce(Duration::from_millis(10)), HARMLESS).await;
}

#[tokio::test]
async fn a_network_that_passes_on_byte_by_byte_loses_nothing() {
    let _turn = turn().await;
    show(Fault::Dribble { first: 20_000 }, HARMLESS).await;
}

#[tokio::test]
async fn a_network_with_a_long_way_loses_nothing() {
    let _turn = turn().await;
    show(Fault::Delay(Duration::from_millis(25)), HARMLESS).await;
}

#[tokio::test]
async fn a_network_that_takes_nothing_any_more_ends_by_a_deadline() {
    let _turn = turn().await;
    show(Fault::StallForEver, [Keepalive, Write, Keepalive, Keepalive, Write, CloseTimeout, Keepalive]).await;
}

#[tokio::test]
async fn a_network_that_loses_one_way_ends_by_a_deadline() {
    let _turn = turn().await;
    let row = [Keepalive, CloseTimeout, Keepalive, Keepalive, Keepalive, CloseTimeout, Keepalive];
    tokio::join!(show(Fault::Lose(Way::Up), row), show(Fault::Lose(Way::Down), row));
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_with_1006() {
    let _turn = turn().await;
    let early = [Lost; 7];
    // Of the bulk nothing comes back but a Close frame, which is whole by then; closing moves a few bytes.
    let late_down = [Lost, Clean, Lost, Lost, Lost, Clean, Lost];
    let late_up = [Lost, Lost, Lost, Lost, Lost, Clean, Lost];
    tokio::join!(
        show(Fault::Cut { way: Way::Down, at: 1 }, early),
        show(Fault::Cut { way: Way::Up, at: 1 }, early),
        show(Fault::Cut { way: Way::Down, at: 3000 }, late_down),
        show(Fault::Cut { way: Way::Up, at: 3000 }, late_up),
    );
}

#[tokio::test]
async fn a_connection_that_is_reset_ends_with_an_io_error() {
    let _turn = turn().await;
    let late = [Reset, Clean, Reset, Reset, Reset, Clean, Reset];
    tokio::join!(
        show(Fault::Reset { way: Way::Up, at: 1 }, [Reset; 7]),
        show(Fault::Reset { way: Way::Down, at: 3000 }, late),
    );
}

/// The numbers would not tell a message that lacks its end.
#[test]
#[should_panic(expected = "is not as it was sent")]
fn half_a_message_is_noticed() {
    let whole = message(1, 100);
    let mut bytes = whole.as_bytes().to_vec();
    bytes[99] ^= 1;
    number(&Message::binary(bytes));
}
