//! A backpressure-aware streaming WebSocket client.

mod close;
mod config;
mod connection;
mod error;
mod frame;
mod handshake;
mod mask;
mod message;
mod protocol;
mod read_buffer;
mod stats;
mod stream;
mod transport;
mod utf8;
mod wakers;

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
