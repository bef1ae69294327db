//! Opening TCP: from a host to its addresses, and from these to a socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::{TcpSocket, TcpStream};

use crate::{
    config::Config,
    error::{Error, Server, SharedError},
    transport::{
        dial::Dialer,
        lookup::lookup,
        race::{self, Lost},
    },
};

/// Resolves the host of `server` and opens TCP to the first of its addresses that answers.
pub(super) async fn connect(dialer: &Dialer, server: &Arc<Server>, config: &Config) -> Result<TcpStream, Error> {
    let failed = |cause| Error::Connect { server: server.clone(), cause: SharedError::new(cause) };
    let addresses = addresses(dialer, server).await.map_err(|cause| failed(step("dns error".to_owned(), cause)))?;
    let mut addresses = race::in_turn(addresses);
    if let Some(local) = dialer.local_address {
        addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
        if addresses.is_empty() {
            let text = format!("it has no address that {local} could connect to");
            return Err(failed(io::Error::new(io::ErrorKind::AddrNotAvailable, text)));
        }
    }
    let racing = race::race(addresses, config.has_timers, |address| open(dialer, address));
    let stream = racing.await.map_err(|Lost { cause, tried }| {
        let what = match tried {
            Some((first, tried @ 2..)) => format!("tcp connect error at {first}, the first of {tried} addresses tried"),
            _ => "tcp connect error".to_owned(),
        };
        failed(step(what, cause))
    })?;
    if config.nodelay {
        // A system that refuses goes on without it.
        let _ = stream.set_nodelay(true);
    }
    dialer.tcp.apply(&stream);
    Ok(stream)
}

/// The addresses of the host of `server`, each with its port.
async fn addresses(dialer: &Dialer, server: &Server) -> io::Result<Vec<SocketAddr>> {
    // A target's port is always explicit.
    let (host, port) = (server.host(), server.port_u16().unwrap_or_default());
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match &dialer.resolver {
        Some(resolver) => resolver.resolve(host, port).await,
        None => {
            let mut addresses = lookup(host).await?;
            addresses.iter_mut().for_each(|address| address.set_port(port));
            Ok(addresses)
        }
    }
}

/// Opens TCP to one address.
async fn open(dialer: &Dialer, address: SocketAddr) -> io::Result<TcpStream> {
    if dialer.allow_address.as_ref().is_some_and(|allow| !allow(&address)) {
        let text = format!("{address} is not allowed (allow_address)");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = dialer.tcp.recv_buffer_size {
        // A system that refuses goes on with its own.
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if let Some(local) = dialer.local_address {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(address).await
}

/// What failed, and why: both are shown, and the kind is that of the cause.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Step {
    what: String,
    source: io::Error,
}

fn step(what: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Step { what, source })
}
