//! Dialling: from a host and a port to a connected socket, in the way that the caller chose.

#[cfg(unix)]
use std::{io, path::Path};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

#[cfg(unix)]
use crate::error::SharedError;
use crate::{
    config::Config,
    error::{Error, Server},
    transport::{resolver::Resolver, socket::Socket, tcp, tcp_options::TcpOptions},
};

/// Whether an address may be connected to: the caller's own word.
pub(crate) type AllowAddress = Arc<dyn Fn(&SocketAddr) -> bool + Send + Sync>;

/// The options of dialling.
#[derive(Clone, Default)]
pub(crate) struct Dialer {
    /// The socket to connect to instead of TCP.
    #[cfg(unix)]
    pub(crate) unix: Option<Arc<Path>>,
    /// Where TCP comes from.
    pub(crate) local_address: Option<IpAddr>,
    /// Asked instead of the system.
    pub(crate) resolver: Option<Resolver>,
    /// Asked before each TCP connect. `None`: every address may be connected to.
    pub(crate) allow_address: Option<AllowAddress>,
    pub(crate) tcp: TcpOptions,
}

impl Dialer {
    /// Whether it opens Unix sockets.
    #[cfg(feature = "proxy")]
    pub(crate) fn is_unix(&self) -> bool {
        #[cfg(unix)]
        return self.unix.is_some();
        #[cfg(not(unix))]
        false
    }

    /// Opens a socket to `server`, a host with a port.
    pub(crate) async fn dial(&self, server: &Arc<Server>, config: &Config) -> Result<Socket, Error> {
        #[cfg(unix)]
        if let Some(path) = &self.unix {
            return unix(path, server).await;
        }
        Ok(Socket::Tcp(tcp::connect(self, server, config).await?))
    }
}

#[cfg(unix)]
async fn unix(path: &Path, server: &Arc<Server>) -> Result<Socket, Error> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Socket::Unix(stream)),
        Err(error) => {
            let cause = io::Error::new(error.kind(), format!("the Unix socket {}: {error}", path.display()));
            Err(Error::Connect { server: server.clone(), cause: SharedError::new(cause) })
        }
    }
}
