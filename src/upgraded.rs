//! A transport that was upgraded elsewhere, in its parts.

use bytes::Bytes;

use crate::config::Config;

/// An upgraded transport in its parts: what [`WebSocketStream::from_upgraded_parts`](crate::WebSocketStream::from_upgraded_parts) takes and
/// [`WebSocketStream::into_parts`](crate::WebSocketStream::into_parts) gives back.
///
/// ```
/// use wsflow::{Config, UpgradedParts};
///
/// # let (io, _) = tokio::io::duplex(1);
/// let parts = UpgradedParts::new(io).protocol("chat").config(Config::default().max_message_size(1024 * 1024));
/// assert_eq!(parts.config.max_message_size, Some(1024 * 1024));
/// ```
#[derive(Debug, Clone)]
#[must_use = "the transport is in it"]
#[non_exhaustive]
pub struct UpgradedParts<S> {
    /// The transport, after the handshake.
    pub io: S,
    /// Bytes that were read from it already and belong to the frames.
    pub read_buf: Bytes,
    /// The agreed subprotocol, `""` if none.
    pub protocol: String,
    /// The agreed extensions, as in the response's `Sec-WebSocket-Extensions`, `""` if none. Only permessage-deflate
    /// can be in use.
    pub extensions: String,
    /// Bounds and deadlines.
    pub config: Config,
}

impl<S> UpgradedParts<S> {
    /// The parts of a transport from which nothing was read, without subprotocol and extensions.
    pub fn new(io: S) -> Self {
        Self {
            io,
            read_buf: Bytes::new(),
            protocol: String::new(),
            extensions: String::new(),
            config: Config::default(),
        }
    }

    /// Sets [`read_buf`](Self#structfield.read_buf). Default: empty.
    pub fn read_buf(mut self, read_buf: impl Into<Bytes>) -> Self {
        self.read_buf = read_buf.into();
        self
    }

    /// Sets [`protocol`](Self#structfield.protocol). Default: `""`.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Sets [`extensions`](Self#structfield.extensions). Default: `""`.
    pub fn extensions(mut self, extensions: impl Into<String>) -> Self {
        self.extensions = extensions.into();
        self
    }

    /// Sets [`config`](Self#structfield.config). Default: [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }
}
