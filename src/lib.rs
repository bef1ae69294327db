//! A backpressure-aware streaming WebSocket client.

mod client;
mod close;
pub mod compat;
mod config;
mod connection;
mod error;
mod frame;
mod handshake;
mod mask;
mod message;
mod protocol;
mod read_buffer;
mod refusal;
mod request;
mod response;
mod stats;
mod stream;
mod subprotocol;
mod target;
mod tls;
mod transport;
mod utf8;
mod wakers;

pub use client::ClientBuilder;
pub use close::{CloseCode, CloseFrame, Closed};
pub use config::Config;
pub use error::{
    Error, HeaderText, InvalidControl, InvalidHeader, InvalidProtocol, InvalidResponse, InvalidUrl, LimitExceeded,
    Phase, Violation,
};
pub use message::Message;
pub use protocol::{Pong, ReadyState};
pub use stats::Stats;
pub use stream::{UpgradedParts, WebSocketStream};
pub use tokio_tungstenite::Connector;
pub use transport::Transport;
