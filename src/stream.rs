//! An open WebSocket.

use bytes::BytesMut;
use http::Response;
use url::Url;

use crate::config::Config;
use crate::handshake::Negotiated;
use crate::transport::Transport;

/// An open WebSocket over `S`.
#[derive(Debug)]
pub struct WebSocketStream<S = Transport> {
    io: S,
    negotiated: Negotiated,
}

impl<S> WebSocketStream<S> {
    pub(crate) fn new(io: S, negotiated: Negotiated, _config: Config) -> Self {
        Self { io, negotiated }
    }

    /// The URL that was connected to.
    pub fn url(&self) -> Option<&Url> {
        self.negotiated.url.as_ref()
    }

    /// Status and headers of the response that opened the connection.
    pub fn response(&self) -> Option<&Response<()>> {
        self.negotiated.response.as_ref()
    }

    /// The chosen subprotocol, `""` for none.
    pub fn protocol(&self) -> &str {
        &self.negotiated.protocol
    }

    /// The extensions in use, `""` for none.
    pub fn extensions(&self) -> &str {
        &self.negotiated.extensions
    }

    /// The IO.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The IO and what was read from it beyond the handshake.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.negotiated.read_buf)
    }
}
