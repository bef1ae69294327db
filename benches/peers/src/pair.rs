//! The two clients that the smaller benches put side by side, wsflow and tokio-tungstenite, each behind the same few
//! functions and connected by its own means.

use bytes::Bytes;
use futures::{SinkExt, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, connect_async_tls_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};
use wsflow::Config;

use crate::error::Result;

/// In the order of the tables.
pub const NAMES: [&str; 2] = [Wsflow::NAME, Tungstenite::NAME];

pub type Wsflow = wsflow::WebSocketStream;
pub type Tungstenite = tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is asked of a connection beyond the client's defaults.
#[derive(Clone, Default)]
pub struct Options {
    /// Messages and frames of any size are taken.
    pub any_size: bool,
    pub tls: Option<Connector>,
}

pub trait Client: Sized + 'static {
    const NAME: &'static str;

    /// Larger messages go out in frames of at most this many bytes.
    const FRAGMENT: Option<usize>;

    async fn connect(url: &str, options: Options) -> Result<Self>;

    /// The payload of the next message, which has to be a binary one.
    async fn receive(&mut self) -> Result<Bytes>;

    async fn feed(&mut self, payload: Bytes) -> Result<()>;

    async fn flush(&mut self) -> Result<()>;
}

impl Client for Wsflow {
    const NAME: &'static str = "wsflow";

    const FRAGMENT: Option<usize> = Some(256 << 10);

    async fn connect(url: &str, options: Options) -> Result<Self> {
        let mut builder = Self::builder(url);
        if options.any_size {
            builder = builder.config(Config::default().max_message_size(None));
        }
        if let Some(connector) = options.tls {
            builder = builder.tls(connector);
        }
        Ok(builder.connect().await?)
    }

    async fn receive(&mut self) -> Result<Bytes> {
        match self.next().await.ok_or("the connection has ended")?? {
            wsflow::Message::Binary(payload) => Ok(payload),
            other => Err(format!("not a binary message: {other:?}").into()),
        }
    }

    async fn feed(&mut self, payload: Bytes) -> Result<()> {
        Ok(SinkExt::feed(self, payload.into()).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(SinkExt::flush(self).await?)
    }
}

impl Client for Tungstenite {
    const NAME: &'static str = "tokio-tungstenite";

    const FRAGMENT: Option<usize> = None;

    async fn connect(url: &str, options: Options) -> Result<Self> {
        let limit = |default| if options.any_size { None } else { default };
        let mut config = WebSocketConfig::default();
        config.max_message_size = limit(config.max_message_size);
        config.max_frame_size = limit(config.max_frame_size);
        let (socket, _) = connect_async_tls_with_config(url, Some(config), true, options.tls).await?;
        Ok(socket)
    }

    async fn receive(&mut self) -> Result<Bytes> {
        match self.next().await.ok_or("the connection has ended")?? {
            tungstenite::Message::Binary(payload) => Ok(payload),
            other => Err(format!("not a binary message: {other:?}").into()),
        }
    }

    async fn feed(&mut self, payload: Bytes) -> Result<()> {
        Ok(SinkExt::feed(self, tungstenite::Message::Binary(payload)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(SinkExt::flush(self).await?)
    }
}
