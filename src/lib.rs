//! A backpressure-aware streaming WebSocket client.

mod close;
mod config;
mod error;
mod message;
mod stats;

pub use close::{CloseCode, CloseFrame, Closed};
pub use config::Config;
pub use error::{
    Error, HeaderText, InvalidControl, InvalidHeader, InvalidProtocol, InvalidResponse, InvalidUrl, LimitExceeded,
    Phase, Violation,
};
pub use message::Message;
pub use stats::Stats;
