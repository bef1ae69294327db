//! A backpressure-aware streaming WebSocket client.

mod client;
mod close;
mod config;
mod error;
mod handshake;
mod message;
mod refusal;
mod request;
mod response;
mod stats;
mod stream;
mod subprotocol;
mod target;
mod tls;
mod transport;

pub use client::ClientBuilder;
pub use close::{CloseCode, CloseFrame, Closed};
pub use config::Config;
pub use error::{
    Error, HeaderText, InvalidControl, InvalidHeader, InvalidProtocol, InvalidResponse, InvalidUrl, LimitExceeded,
    Phase, Violation,
};
pub use message::Message;
pub use stats::Stats;
pub use stream::WebSocketStream;
pub use tokio_tungstenite::Connector;
pub use transport::Transport;
