//! A server on loopback that costs little: a thread of its own with a blocking socket and prepared bytes, which knows no
//! WebSocket beyond their lengths.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::KIB;

/// How much it reads or writes at a time.
const PIECE: usize = 64 * KIB;

/// What it does with its one connection, until the client ends it.
pub enum Task {
    /// Writes these bytes again and again.
    Pour(Vec<u8>),
    /// Reads whatever comes.
    Drain,
    /// Answers each `request_len` bytes with the response.
    Echo { request_len: usize, response: Vec<u8> },
}

pub struct Server {
    address: SocketAddr,
    /// How much the system keeps for each socket and direction, where it is not to decide that itself.
    system_buffer: Option<usize>,
    moved: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Server {
    pub fn start(task: Task, system_buffer: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let moved = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&moved);
        let thread = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            set_up(&socket, system_buffer);
            // That the client ends the connection is how every task ends.
            let _ = task.run(socket, &counter);
        });
        Self { address, system_buffer, moved, thread }
    }

    /// The client's end. It belongs to the runtime that is entered.
    pub fn connect(&self) -> TcpStream {
        let socket = std::net::TcpStream::connect(self.address).expect("the server listens");
        set_up(&socket, self.system_buffer);
        socket.set_nonblocking(true).expect("a socket of this system");
        TcpStream::from_std(socket).expect("a runtime with IO")
    }

    /// How many bytes it has written, or read where it writes none.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Waits for the end, once the client has ended the connection: how many bytes it has moved in all.
    pub fn finish(self) -> u64 {
        self.thread.join().expect("the server does not panic");
        self.moved.load(Relaxed)
    }
}

fn set_up(socket: &std::net::TcpStream, system_buffer: Option<usize>) {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true).expect("a TCP socket");
    if let Some(bytes) = system_buffer {
        socket.set_recv_buffer_size(bytes).expect("a size that the system takes");
        socket.set_send_buffer_size(bytes).expect("a size that the system takes");
    }
}

impl Task {
    fn run(self, mut socket: std::net::TcpStream, moved: &AtomicU64) -> io::Result<()> {
        let mut buf = vec![0; PIECE];
        match self {
            Self::Pour(bytes) => loop {
                for piece in bytes.chunks(PIECE) {
                    socket.write_all(piece)?;
                    moved.fetch_add(piece.len() as u64, Relaxed);
                }
            },
            Self::Drain => loop {
                match socket.read(&mut buf)? {
                    0 => return Ok(()),
                    n => moved.fetch_add(n as u64, Relaxed),
                };
            },
            Self::Echo { request_len, response } => {
                let responses = response.repeat(PIECE / request_len + 1);
                let mut unanswered = 0;
                loop {
                    match socket.read(&mut buf)? {
                        0 => return Ok(()),
                        n => unanswered += n,
                    }
                    let answer = unanswered / request_len * response.len();
                    unanswered %= request_len;
                    socket.write_all(&responses[..answer])?;
                    moved.fetch_add(answer as u64, Relaxed);
                }
            }
        }
    }
}
