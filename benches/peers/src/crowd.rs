//! The server of many connections: a process that pours prepared frames into all of them by turns, and costs little.
//!
//! Its first connection brings its orders, a line each; it answers with a line once it has carried one out.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    str::FromStr,
};

use tokio_tungstenite::tungstenite;

use crate::{
    error::Result,
    frame,
    payload::{Content, Kind},
    pin,
    server::Server,
};

/// What each connection gets in a burst, and sends back: this many messages of one size, then a large one.
pub const SMALL: (usize, usize) = (100, 1 << 10);
pub const LARGE: usize = 100 << 10;

/// So many connections have their burst at a time: the system's buffers would not hold that of all.
pub const AT_A_TIME: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Accept so many connections.
    Accept(usize),
    /// Write so many messages of one size to a connection at once, to one after the other, so many times.
    Pour { size: usize, batch: usize, turns: usize },
    /// Send each a burst, and take it back.
    Burst,
}

impl Order {
    fn to_line(self) -> String {
        match self {
            Self::Accept(connections) => format!("accept {connections}\n"),
            Self::Pour { size, batch, turns } => format!("pour {size} {batch} {turns}\n"),
            Self::Burst => "burst\n".into(),
        }
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: {text}"));
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["accept", connections] => Ok(Self::Accept(number(connections)?)),
            ["pour", size, batch, turns] => {
                Ok(Self::Pour { size: number(size)?, batch: number(batch)?, turns: number(turns)? })
            }
            ["burst"] => Ok(Self::Burst),
            _ => Err(format!("no such order: {line}")),
        }
    }
}

/// The server as the client sees it. It ends when this is dropped, the orders first.
pub struct Crowd {
    orders: BufReader<TcpStream>,
    server: Server,
}

impl Crowd {
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let server = Server::start(arguments)?;
        let orders = BufReader::new(TcpStream::connect(server.address())?);
        Ok(Self { orders, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Gives an order, and does not wait.
    pub fn order(&mut self, order: Order) -> io::Result<()> {
        self.orders.get_mut().write_all(order.to_line().as_bytes())
    }

    /// Waits until the order is carried out.
    pub fn done(&mut self) -> Result<()> {
        let mut line = String::new();
        self.orders.read_line(&mut line)?;
        if line == "done\n" { Ok(()) } else { Err("the server could not do it".into()) }
    }
}

/// The server's process: carries out orders until no more can come.
pub fn serve(core: usize) -> Result<()> {
    pin::to_core(core);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let (mut orders, _) = listener.accept()?;
    let mut connections = Vec::new();
    for line in BufReader::new(orders.try_clone()?).lines() {
        match line?.parse()? {
            Order::Accept(count) => {
                for _ in 0..count {
                    connections.push(accept(&listener)?);
                }
            }
            Order::Pour { size, batch, turns } => pour(&mut connections, &frames(size).repeat(batch), turns)?,
            Order::Burst => connections.chunks_mut(AT_A_TIME).try_for_each(burst)?,
        }
        orders.write_all(b"done\n")?;
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(tungstenite::accept(stream)?.into_inner())
}

fn frames(size: usize) -> Vec<u8> {
    frame::unmasked(Kind::Binary, &Content::Binary.payload(size))
}

fn pour(connections: &mut [TcpStream], frames: &[u8], turns: usize) -> io::Result<()> {
    for _ in 0..turns {
        connections.iter_mut().try_for_each(|stream| stream.write_all(frames))?;
    }
    Ok(())
}

fn burst(connections: &mut [TcpStream]) -> io::Result<()> {
    let (count, size) = SMALL;
    pour(connections, &[frames(size).repeat(count), frames(LARGE)].concat(), 1)?;
    let mut echo = vec![0; count * frame::sent_size(size, None) + frame::sent_size(LARGE, None)];
    connections.iter_mut().try_for_each(|stream| stream.read_exact(&mut echo))
}
