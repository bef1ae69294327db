//! The cheap server: it pours prepared bytes, counts bytes, or echoes, and does nothing else. It is a process of its own,
//! so that what getrusage says of the client's process is the client's alone.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    str::FromStr as _,
    thread,
    time::Duration,
};

use testkit::frame::{CONTINUATION, Head};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    frame,
    job::{ANSWER, Job},
    payload::{Content, Kind},
    pin,
};

/// How much is poured or read at a time.
const BLOCK: usize = 1 << 20;

/// A connection on which nothing happens for so long is given up: what it waits for will not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server as the client sees it; it ends when this is dropped.
pub struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts this binary again with the arguments that make it [`serve`].
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().ok_or_else(|| io::Error::other("no pipe to the server"))?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { process, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take()); // it ends with its input
        let _ = self.process.wait();
    }
}

/// The server's process: serves one connection after the other on this core, until its input ends.
pub fn serve(core: usize) -> io::Result<()> {
    pin::to_core(core);
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = Connection::accept(stream).and_then(Connection::work) {
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    eprintln!("server: gave up a connection on which nothing happened for {PATIENCE:?}");
                }
                _ => eprintln!("server: {error}"),
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    job: Job,
}

impl Connection {
    fn accept(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut head = BufReader::new(&stream).lines();
        let request = head.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        let path = request.split(' ').nth(1).unwrap_or_default();
        let job = Job::from_str(path).map_err(io::Error::other)?;
        let mut key = String::new();
        for line in head {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => key = value.to_owned(),
                None if line.is_empty() => break,
                _ => {}
            }
        }
        let accept = derive_accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        (&stream).write_all(response.as_bytes())?;
        Ok(Self { stream, job })
    }

    fn work(mut self) -> io::Result<()> {
        match self.job {
            Job::Pour { content, size, count } => self.pour(content, size, count)?,
            Job::Drain { bytes } => self.drain(bytes)?,
            Job::Inspect { size, count } => self.inspect(size, count)?,
            Job::Echo => return self.echo(),
        }
        while self.stream.read(&mut [0; 1024])? > 0 {}
        Ok(())
    }

    fn pour(&mut self, content: Content, size: usize, mut count: u64) -> io::Result<()> {
        let frame = frame::unmasked(content.kind(), &content.payload(size));
        let in_block = (BLOCK / frame.len()).max(1) as u64;
        let block = frame.repeat(in_block.min(count) as usize);
        while count > 0 {
            let frames = count.min(in_block);
            self.stream.write_all(&block[..frames as usize * frame.len()])?;
            count -= frames;
        }
        Ok(())
    }

    fn drain(&mut self, mut bytes: u64) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        while bytes > 0 {
            let n = some(self.stream.read(&mut block)?)? as u64;
            bytes = bytes.checked_sub(n).ok_or_else(|| io::Error::other("more bytes than the client announced"))?;
        }
        self.answer()
    }

    fn inspect(&mut self, size: usize, count: u64) -> io::Result<()> {
        let expected = Content::Binary.payload(size);
        let (mut messages, mut message) = (0, Vec::new());
        let mut frames = Frames::default();
        while messages < count {
            frames.read(&mut self.stream)?;
            while let Some((head, payload)) = frames.next()? {
                let opcode = if message.is_empty() { Kind::Binary.opcode() } else { CONTINUATION };
                if head.opcode != opcode {
                    return Err(io::Error::other(format!("opcode {} instead of {opcode}", head.opcode)));
                }
                message.extend_from_slice(payload);
                if head.fin {
                    if message != expected {
                        return Err(io::Error::other("a message is not the one that was to be sent"));
                    }
                    message.clear();
                    messages += 1;
                }
            }
        }
        self.answer()
    }

    fn answer(&mut self) -> io::Result<()> {
        self.stream.write_all(&frame::unmasked(Kind::Binary, ANSWER))
    }

    fn echo(mut self) -> io::Result<()> {
        let mut frames = Frames::default();
        let mut output = Vec::with_capacity(BLOCK);
        while frames.read(&mut self.stream).is_ok() {
            while let Some((head, payload)) = frames.next()? {
                let first = u8::from(head.fin) << 7 | head.opcode;
                output.extend_from_slice(&testkit::frame::head(first, head.len));
                output.extend_from_slice(payload);
            }
            self.stream.write_all(&output)?;
            output.clear();
        }
        Ok(())
    }
}

/// The client's frames, unmasked.
struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { buffer: vec![0; 2 * BLOCK], start: 0, end: 0 }
    }
}

impl Frames {
    fn read(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.end += some(stream.read(&mut self.buffer[self.end..])?)?;
        Ok(())
    }

    /// The next frame that has come whole.
    fn next(&mut self) -> io::Result<Option<(Head, &[u8])>> {
        let rest = &mut self.buffer[self.start..self.end];
        let Some(head) = Head::read(rest) else { return Ok(None) };
        if !head.is_masked {
            return Err(io::Error::other("a frame that is not masked"));
        }
        let (Some(key), Ok(len)) = (head.key(rest), usize::try_from(head.len)) else { return Ok(None) };
        let end = head.start() + len;
        let Some(payload) = rest.get_mut(head.start()..end) else { return Ok(None) };
        frame::apply(key, payload);
        self.start += end;
        Ok(Some((head, payload)))
    }
}

fn some(n: usize) -> io::Result<usize> {
    if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) }
}
