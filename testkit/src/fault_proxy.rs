//! A TCP proxy that does to connections what networks do to them.
//!
//! A fault begins once the proxy is [armed](FaultProxy::arm); until then everything passes. Bytes are counted from there on.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both ways stand still once, behind so many bytes.
    Stall {
        /// Behind so many bytes.
        at: usize,
        /// For so long.
        time: Duration,
    },
    /// Nothing is taken any more, either way.
    StallForEver,
    /// What comes within so long is passed on at once.
    Coalesce(Duration),
    /// The first bytes of both ways are passed on one by one.
    Dribble {
        /// So many.
        first: usize,
    },
    /// Everything is passed on so much later.
    Delay(Duration),
    /// So many bytes pass this way; then both sides get FIN.
    Cut {
        /// This way.
        way: Way,
        /// Behind so many bytes.
        at: usize,
    },
    /// So many bytes pass this way; then both sides get RST.
    Reset {
        /// This way.
        way: Way,
        /// Behind so many bytes.
        at: usize,
    },
    /// What goes this way is taken, and goes nowhere; so does its end.
    Lose(Way),
}

/// How much is passed on at a time at most.
const CHUNK: usize = 16 * 1024;

/// How large the receive buffers are. The system doubles it.
const SOCKET_BUFFER: u32 = 128 * 1024;

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    is_armed: watch::Sender<bool>,
    ended: CancellationToken,
    task: JoinHandle<Vec<Taken>>,
}

/// What was taken of one client.
#[derive(Debug, Default)]
pub struct Taken {
    /// Everything up to here.
    pub bytes: Vec<u8>,
    /// The client's FIN came behind these bytes: there is nothing that the proxy did not see.
    pub is_all: bool,
}

impl FaultProxy {
    /// Stands before `server`. The fault happens to the first connection; others just pass.
    pub async fn before(server: SocketAddr, fault: Fault) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(SOCKET_BUFFER).expect("SO_RCVBUF");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(16).expect("listen");
        let (is_armed, ended) = (watch::Sender::new(false), CancellationToken::new());
        let addr = listener.local_addr().expect("a bound socket");
        let task = tokio::spawn(accept(listener, server, fault, is_armed.subscribe(), ended.clone()));
        Self { addr, is_armed, ended, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on the fault counts.
    pub fn arm(&self) {
        self.is_armed.send_replace(true);
    }

    /// Ends what stands still or is lost. Gives what was taken of each client: they must all have ended.
    pub async fn end(self) -> Vec<Taken> {
        self.ended.cancel();
        self.task.await.expect("the proxy")
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    fault: Fault,
    is_armed: watch::Receiver<bool>,
    ended: CancellationToken,
) -> Vec<Taken> {
    let (mut fault, mut connections, mut taken) = (Some(fault), JoinSet::new(), Vec::new());
    while let Some(Ok((client, _))) = ended.run_until_cancelled(listener.accept()).await {
        let server = TcpStream::connect(server).await.expect("the server listens");
        let connection = Connection {
            fault: fault.take(),
            is_armed: is_armed.clone(),
            ended: ended.clone(),
            is_broken: CancellationToken::new(),
        };
        let record = Arc::<Mutex<Taken>>::default();
        taken.push(Arc::clone(&record));
        connections.spawn(async move { connection.pass(client, server, &record).await });
    }
    connections.join_all().await;
    taken.iter().map(|taken| std::mem::take(&mut *taken.lock().unwrap())).collect()
}

struct Connection {
    fault: Option<Fault>,
    is_armed: watch::Receiver<bool>,
    ended: CancellationToken,
    /// It was cut or reset.
    is_broken: CancellationToken,
}

impl Connection {
    async fn pass(&self, client: TcpStream, server: TcpStream, taken: &Mutex<Taken>) {
        for socket in [&client, &server] {
            socket.set_nodelay(true).expect("TCP_NODELAY");
        }
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        // Whoever ends by an error takes nothing from the other way.
        let (up, down) = tokio::join!(
            self.pump(Way::Up, from_client, to_server, Some(taken)),
            self.pump(Way::Down, from_server, to_client, None)
        );
        taken.lock().unwrap().is_all = up.is_ok();
        drop(down);
    }

    /// The halves are returned, so that nothing is closed before both ways are done.
    async fn pump(
        &self,
        way: Way,
        mut from: OwnedReadHalf,
        to: OwnedWriteHalf,
        taken: Option<&Mutex<Taken>>,
    ) -> io::Result<(OwnedReadHalf, Option<OwnedWriteHalf>)> {
        let mut line = Line { to, passed: 0 };
        let passing = async {
            let mut chunk = vec![0; CHUNK];
            loop {
                let n = from.read(&mut chunk).await?;
                record(taken, &chunk[..n]);
                let fault = self.fault.filter(|_| *self.is_armed.borrow());
                if fault == Some(Fault::StallForEver) || fault == Some(Fault::Lose(way)) && n == 0 {
                    self.ended.cancelled().await;
                    return Ok(());
                }
                if n == 0 {
                    return line.to.shutdown().await;
                }
                match fault {
                    Some(Fault::Coalesce(time)) => {
                        let mut all = chunk[..n].to_vec();
                        sleep(time).await;
                        while let Ok(n @ 1..) = from.try_read(&mut chunk) {
                            record(taken, &chunk[..n]);
                            all.extend_from_slice(&chunk[..n]);
                        }
                        line.to.write_all(&all).await?;
                    }
                    Some(Fault::Delay(time)) => {
                        return delayed(time, &chunk[..n], &mut from, &mut line.to, taken).await;
                    }
                    Some(fault) => {
                        if line.put(way, fault, &chunk[..n]).await?.is_break() {
                            self.is_broken.cancel();
                            return Ok(());
                        }
                    }
                    None => line.to.write_all(&chunk[..n]).await?,
                }
            }
        };
        let passed = self.is_broken.run_until_cancelled(passing).await;
        if let Some(Fault::Reset { .. }) = self.fault
            && self.is_broken.is_cancelled()
        {
            // A half that is dropped sends FIN; the sockets are closed with their other halves.
            line.to.forget();
            socket2::SockRef::from(from.as_ref()).set_linger(Some(Duration::ZERO))?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if !self.is_broken.is_cancelled() {
            passed.transpose()?;
        }
        let _ = line.to.shutdown().await;
        // The rest of it, up to FIN.
        let mut rest = Vec::new();
        let end = from.read_to_end(&mut rest).await;
        record(taken, &rest);
        end.map(|_| (from, Some(line.to)))
    }
}

/// Where bytes are passed on to.
struct Line {
    to: OwnedWriteHalf,
    /// Since the fault counts.
    passed: usize,
}

impl Line {
    /// Passes bytes on, or not. Breaks where the connection does.
    async fn put(&mut self, way: Way, fault: Fault, bytes: &[u8]) -> io::Result<std::ops::ControlFlow<()>> {
        let until = |at: usize| bytes.split_at(at.saturating_sub(self.passed).min(bytes.len()));
        match fault {
            Fault::Cut { way: cut, at } | Fault::Reset { way: cut, at } if cut == way => {
                let (first, rest) = until(at);
                self.to.write_all(first).await?;
                if !rest.is_empty() {
                    return Ok(std::ops::ControlFlow::Break(()));
                }
            }
            Fault::Lose(lost) if lost == way => {}
            Fault::Dribble { first } => {
                let (singly, rest) = until(first);
                for byte in singly {
                    self.to.write_all(&[*byte]).await?;
                }
                self.to.write_all(rest).await?;
            }
            Fault::Stall { at, time } => {
                let (first, rest) = until(at);
                self.to.write_all(first).await?;
                if self.passed < at && !rest.is_empty() {
                    sleep(time).await;
                }
                self.to.write_all(rest).await?;
            }
            _ => self.to.write_all(bytes).await?,
        }
        self.passed += bytes.len();
        Ok(std::ops::ControlFlow::Continue(()))
    }
}

/// Passes everything on so much later, the end included.
async fn delayed(
    time: Duration,
    first: &[u8],
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    taken: Option<&Mutex<Taken>>,
) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let taking = async move {
        let mut chunk = first.to_vec();
        // The queue is gone if nothing can be written any more.
        while queue.send((Instant::now() + time, chunk)).await.is_ok() {
            let mut next = vec![0; CHUNK];
            let n = from.read(&mut next).await?;
            record(taken, &next[..n]);
            if n == 0 {
                break;
            }
            next.truncate(n);
            chunk = next;
        }
        Ok(())
    };
    let giving = async move {
        while let Some((when, chunk)) = due.recv().await {
            sleep_until(when).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(taking, giving).map(|_| ())
}

fn record(taken: Option<&Mutex<Taken>>, bytes: &[u8]) {
    if let Some(taken) = taken {
        taken.lock().unwrap().bytes.extend_from_slice(bytes);
    }
}
