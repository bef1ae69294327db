//! How a connection fails.

use wsflow::{Closed, Error};

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    WebSocket(#[from] Error),
    #[error("the server closed the connection: {0}")]
    Closed(Closed),
    #[error("a message came that was not sent: the server is no echo server")]
    NoEcho,
}

impl Failure {
    /// One of a few words, by which failures are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoEcho => "no echo",
            Self::Closed(_) => "closed",
            Self::WebSocket(error) if error.is_timeout() => "timeout",
            Self::WebSocket(error) if error.is_connect() => "connect",
            Self::WebSocket(error) if error.is_tls() => "tls",
            Self::WebSocket(error) if error.is_closed() => "closed",
            Self::WebSocket(error) if error.status().is_some() => "refused",
            Self::WebSocket(Error::Io(_)) => "transport",
            Self::WebSocket(_) => "other",
        }
    }
}
