//! A WebSocket client with backpressure: the connection is a [`Stream`](futures_core::Stream) of messages and a
//! [`Sink`](futures_sink::Sink) for them, and every buffer in it has a bound.
//!
//! ```no_run
//! use futures::{SinkExt, StreamExt};
//! use wsflow::WebSocketStream;
//!
//! # async fn example() -> Result<(), wsflow::Error> {
//! let mut ws = WebSocketStream::connect("wss://example.com/feed").await?;
//! ws.send("subscribe".into()).await?;
//! while let Some(message) = ws.next().await.transpose()? {
//!     println!("{:?}", message.as_text());
//! }
//! # Ok(()) }
//! ```
//!
//! * [`WebSocketStream`] is the connection; its docs say what waits for what, what a dropped future loses, and how
//!   closing ends. [`ClientBuilder`] has the options of connecting, [`Config`] the bounds and deadlines.
//! * [`compat::WebSocket`] is the browser's `WebSocket` on top of it: events, handlers, `bufferedAmount`.
//!
//! # What is held in memory
//!
//! | what | at most |
//! |---|---|
//! | read, and not yet asked for | [`Config::read_buffer_max`]; it starts at 4 KiB, grows and shrinks by use, and is given back when idle |
//! | the message being put together | [`Config::max_message_size`], and never more than twice what has come (from 1 MiB on) |
//! | queued by the sink | [`Config::write_high_water_mark`] and one message; of that 128 KiB, or 260 KiB of one message, is encoded ahead; up to 1 MiB while the transport takes all of it |
//! | answers to pings | 16 that wait and 16 on their way, of 131 bytes each |
//! | pings without an answer | 16 |
//! | compression, if it is agreed on | a context for each direction, from its first message on: see [`Deflate`] |
//! | the response to the upgrade | a head of 64 KiB, 8 KiB of the body of a refusal |
//! | TLS | what the TLS library holds; rustls buffers 64 KiB of output |
//!
//! An idle connection holds less than 10 KiB besides compression and TLS: buffers begin small, and what traffic has made
//! of them is given back one to two seconds after the last byte, by whoever waits for a message.
//!
//! The event API adds a queue without a bound, as a browser has: `send` never waits there.
//!
//! # TLS
//!
//! By default `wss` uses rustls with the ring provider and the platform's certificate verifier, without any set-up by the
//! application. Own roots, a client certificate, or another provider come in as a [`Connector`]:
//!
//! ```no_run
//! # #[cfg(feature = "rustls-tls")]
//! # async fn example(roots: rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use wsflow::{Connector, WebSocketStream};
//!
//! let provider = Arc::new(rustls::crypto::ring::default_provider());
//! let tls = rustls::ClientConfig::builder_with_provider(provider)
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_no_client_auth(); // or .with_client_auth_cert(certificates, key)?
//! let ws = WebSocketStream::builder("wss://localhost:8443/")
//!     .tls(Connector::Rustls(Arc::new(tls)))
//!     .connect()
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! The feature `native-tls` adds the operating system's TLS; it is the default where `rustls-tls` is switched off.
//!
//! # Stability
//!
//! [`Utf8Bytes`] and [`Connector`] are types of tungstenite and tokio-tungstenite: each of their 0.x releases is a
//! breaking release of this crate, too.
//!
//! # The house
//!
//! Imports point down; a test holds them to it.
//!
//! ```text
//! 5 compat      compat/mod.rs           the browser's WebSocket: readyState, send, close, on*
//!               compat/shared.rs        what its handles and its task share: the queue, bufferedAmount
//!               compat/dispatch.rs      the task that drives a connection and calls the handlers
//!               compat/event.rs         events and handlers
//! 4 public      client.rs               builder, connect
//!               stream.rs               WebSocketStream: Stream + Sink, polled in place
//! 3 IO, time    connection.rs           transport + protocol + one timer; polls IO after the handshake
//!               read_buffer.rs          how much is read, into what
//!               idle.rs                 when large buffers are given back
//!               wakers.rs               who waits for the transport: a reader and a writer
//!               handshake.rs            the opening handshake: a request out, a response in
//!               request.rs, response.rs, refusal.rs    each of its three texts
//!               extension.rs            permessage-deflate in it: the offer, and what became of it
//!               transport.rs, tls.rs    TCP, and TLS over it
//!               target.rs               the URL, judged and taken apart
//!               subprotocol.rs          the subprotocols that are offered
//! 2 protocol    protocol/mod.rs         sans-IO: no IO, no clock; the one fail()
//!               protocol/inbound.rs     frames -> messages: fragments, limits, inflate, UTF-8
//!                 inbound/assembly.rs   the one message that is being put together
//!               protocol/outbound.rs    messages -> bytes: deflate, header, mask
//!                 outbound/current.rs   the large message that is being sent
//!                 outbound/burst.rs     how much goes out in one write
//!                 outbound/control.rs   pongs, pings and the Close frame that wait
//!                 outbound/encoded.rs   the bytes that go out next
//!                 outbound/ledger.rs    what has been written so far
//!               protocol/closing.rs     the close handshake: one enum
//!               protocol/pings.rs       pings that wait for their pongs
//! 1 wire        frame.rs  mask.rs  utf8.rs  deflate.rs  token.rs
//! 0 words       message.rs  close.rs  error.rs  config.rs  stats.rs
//! ```
//!
//! A message on its way in: `connection` reads into the read buffer; `protocol` takes it apart (`frame`), checks,
//! inflates and assembles it (`inbound`, `deflate`, `utf8`); `stream` yields it, as a slice of the read buffer where it
//! came in one frame. On its way out: `stream` hands it to `protocol`, `outbound` makes frames of it (`deflate`, `frame`,
//! `mask`), `connection` writes them and tells `outbound` how many bytes were taken, which is what `poll_ready` waits for
//! and `buffered_amount` shows.

mod client;
mod close;
pub mod compat;
mod config;
mod connection;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod idle;
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
mod token;
mod transport;
mod utf8;
mod wakers;

pub use client::ClientBuilder;
pub use close::{CloseCode, CloseFrame, Closed};
pub use config::{Config, Deflate};
pub use error::{
    Cause, Error, HeaderText, InvalidControl, InvalidHeader, InvalidProtocol, InvalidResponse, InvalidUrl,
    LimitExceeded, Phase, Violation,
};
pub use message::Message;
pub use protocol::{Pong, ReadyState};
pub use stats::Stats;
pub use stream::{UpgradedParts, WebSocketStream};
pub use tokio_tungstenite::Connector;
pub use tokio_tungstenite::tungstenite::Utf8Bytes;
pub use transport::Transport;
