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
//! if let Some(closed) = ws.closed().filter(|closed| !closed.is_normal()) {
//!     return Err(closed.clone().into()); // such as 1011, "database is down"
//! }
//! # Ok(()) }
//! ```
//!
//! * [`WebSocketStream`] is the connection; its docs say what waits for what, what a dropped future loses, and how
//!   closing ends. [`ClientBuilder`] has the options of connecting, [`Config`] the bounds and deadlines.
//! * [`into_split`](WebSocketStream::into_split) splits it into a [`Sender`] and a [`Receiver`], for separate tasks.
//! * [`into_byte_stream`](WebSocketStream::into_byte_stream) makes a [`ByteStream`] of it: `AsyncRead` and `AsyncWrite` over
//!   binary messages.
//! * [`Reconnect`] makes the next connection when one has ended.
//! * [`compat::WebSocket`] is the browser's `WebSocket` on top of it: events, handlers, `bufferedAmount`.
//!
//! The [guides](guide) take one topic each: which API to use, backpressure, many senders, closing, reconnecting, errors,
//! porting from tokio-tungstenite and from the browser, testing.
//!
//! # What is held in memory
//!
//! | what | at most |
//! |---|---|
//! | read, and not yet asked for | [`Config::read_buffer_max`]; it starts at 4 KiB, grows and shrinks by use, and is freed when idle |
//! | the message being put together | [`Config::max_message_size`], and never more than twice what has come (from 1 MiB on) |
//! | a message that is read by [`MessageReader`] | what was read and not yet asked for, however large the message is; a compressed message is inflated only as it is asked for |
//! | what comes while a [`ByteStream`] is shut down | [`Config::read_buffer_max`], besides the read buffer |
//! | the buffer of lent messages that came in several frames or compressed | as much as the largest of them; it is freed when idle |
//! | queued by the sink | [`Config::write_high_water_mark`] and one message; of that 128 KiB, or 260 KiB of one message, is encoded ahead; up to 1 MiB while the transport takes all of it |
//! | queued by all senders of a connection that is split | [`Config::write_high_water_mark`], with what the connection has of it, and one message of each sink; besides 100 bytes a message |
//! | what came for a [`Receiver`] and was not taken | [`Config::read_high_water_mark`], two read buffers, and one message; besides 100 bytes a message |
//! | written by a [`MessageWriter`] | the frame being filled, of [`Config::fragment_size`]; what it has queued is the row above, a frame for a message |
//! | pongs: answers to pings, and those of `send_pong` | 16 of each that wait and on their way, of 131 bytes each |
//! | control frames for [`Receiver::next_event`] | 16 of a kind, within [`Config::read_high_water_mark`] |
//! | pings without an answer | 16, and one of keepalive |
//! | compression, if it is agreed on | a context for each direction, from its first message on: see [`Deflate`] |
//! | the response to the upgrade | a head of 64 KiB, 8 KiB of the body of a refusal |
//! | TLS | what the TLS library holds; rustls buffers 64 KiB of output |
//! | in the operating system, not sent | [`ClientBuilder::tcp_notsent_lowat`], where the system has it; this one is the system's |
//! | in the operating system, not read | as the system likes, or [`ClientBuilder::tcp_recv_buffer_size`] |
//!
//! An idle connection holds less than 10 KiB besides compression and TLS, and the task that owns it is in that: in place,
//! from [`Reconnect`], by halves, or as the event API. Buffers begin small, and what traffic has made of them is freed one
//! to two seconds after the last byte, while a task waits for a message. The future of an attempt to connect is small: what
//! it needs is boxed, and freed with it.
//!
//! The event API adds a queue without a bound, as a browser has: `send` never waits there.
//!
//! # TLS
//!
//! By default `wss` uses rustls with the platform's certificate verifier, without any set-up by the application. Its
//! cryptography is the process's default provider if there is one (`CryptoProvider::install_default`), else that of the
//! feature `aws-lc-rs`, else that of `ring`, which is on by default; else [`Error::Tls`] names these features. Nothing is
//! installed for the process. [The guide](guide::tls_and_proxies#which-features) has a table of what to write in `Cargo.toml`.
//!
//! Own roots, or a client certificate, come in as a [`Connector`]. The rustls of `Connector::Rustls` is `wsflow::rustls`,
//! with the features `std` and `tls12`, and its provider's:
//!
//! ```no_run
//! # #[cfg(all(feature = "rustls-tls", feature = "ring"))]
//! # async fn example(roots: wsflow::rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use wsflow::{Connector, WebSocketStream, rustls};
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
//! The feature `native-tls` adds the operating system's TLS, and `wsflow::native_tls` for `Connector::NativeTls`; it is
//! the default where `rustls-tls` is switched off.
//!
//! # Proxies
//!
//! The feature `proxy` adds `Proxy`, for `ClientBuilder::proxy`: a tunnel through an HTTP or a SOCKS5 proxy, given or
//! named by the environment.
//!
//! # Metrics and traces
//!
//! [`WebSocketStream::stats`], [`Sender::stats`] and [`Receiver::stats`] count messages, bytes and pings, and the time in which
//! each side has held back the other. `examples/metrics.rs` shows them as Prometheus reads them.
//!
//! The feature `tracing` shows each connection as a span `websocket` to subscribers of the crate `tracing`. The span has
//! `server.address`, `server.port`, `url.scheme`, `url.path` and `network.protocol.name`, as OpenTelemetry names them; over
//! a transport that was upgraded elsewhere it has the last one only. It begins with the attempt to connect and ends when the
//! connection is dropped. Its level is DEBUG. The target of all is `wsflow`. Times end with `_ms`: they are milliseconds, with
//! fractions.
//!
//! | event | level | fields |
//! |---|---|---|
//! | `connected` (name resolution and TCP), `TLS handshake with the proxy done`, `tunnel opened`, `TLS handshake done`, `response received` | DEBUG | `elapsed_ms`, of this phase |
//! | `redirect followed` | DEBUG | `http.response.status_code`, and where to, as in the span |
//! | `handshake done` | DEBUG | `http.response.status_code`, `subprotocol` and `compression`: whether there is one |
//! | `open` | DEBUG | `elapsed_ms`, of the whole attempt |
//! | `connecting failed`, instead of `open` | DEBUG | `elapsed_ms`, `error.type`, `error`, `http.response.status_code` of a refusal |
//! | `keepalive ping queued` | TRACE | |
//! | `pong received` | TRACE | `rtt_ms`, of keepalive's pings and of others |
//! | `keepalive timed out` | DEBUG | `timeout_ms` |
//! | `closing` | DEBUG | `by`: `local` or `remote`; `websocket.close_code`, if the Close frame has one |
//! | `close answered`, by the peer | DEBUG | `websocket.close_code`, if the Close frame has one |
//! | `failing`: this side ends the connection for an error | DEBUG | `error.type`, `error`, and `websocket.close_code`, which the peer is told |
//! | `closed` | DEBUG | `websocket.close_code`, `was_clean`, `error.type` and `error` of an unclean end, `open_ms`, and of [`Stats`] the messages, the bytes, `read_held_back_ms` and `write_held_back_ms` |
//! | `dropped`, instead of `closed` | DEBUG | `open_ms` |
//!
//! Messages make no events. No event of this crate has userinfo, a query, a header's value (so no subprotocol's name), a payload,
//! a close reason, or anything else that the other side wrote. The path is shown. The crates underneath have events of their
//! own in the same span while the connection is made.
//!
//! # Stability
//!
//! [`Utf8Bytes`] and [`Connector`] are types of tungstenite and tokio-tungstenite, and a connector has types of rustls
//! or native-tls; [`Transport`] has streams of tokio-rustls and tokio-native-tls, and the methods `signal` take a
//! `CancellationToken` of tokio-util. Each of their breaking releases is a breaking release of this crate, too. So is one
//! of tokio, bytes, http, url, futures-core and futures-sink.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod byte_stream;
mod client;
mod close;
pub mod compat;
mod config;
mod connection;
mod error;
mod event;
#[cfg(all(fuzzing, feature = "proxy"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handshake;
mod limits;
mod message;
mod message_reader;
mod message_writer;
mod outbox;
mod protocol;
#[cfg(feature = "proxy")]
mod proxy;
mod reconnect;
mod split;
mod stats;
mod stopwatch;
mod stream;
mod sync;
mod task;
mod trace;
mod transport;
mod upgrade;
mod upgraded;
mod wire;

pub use byte_stream::ByteStream;
pub use client::ClientBuilder;
pub use close::{CloseCode, CloseFrame, Closed};
pub use config::{Config, Deflate};
pub use error::{
    Error, HandshakeError, HeaderText, InvalidControl, InvalidHeader, InvalidRedirect, InvalidResponse,
    InvalidSubprotocol, InvalidUrl, InvalidVariable, LimitExceeded, Phase, ProxyCause, ProxyError, Redirected, Server,
    SharedError, Violation,
};
pub use event::Event;
pub use handshake::redirect::RedirectHeaders;
pub use message::{Kind, Message, MessageRef};
pub use message_reader::MessageReader;
pub use message_writer::MessageWriter;
// What is in a connector, so that nobody needs a line in Cargo.toml for it.
#[cfg(feature = "native-tls")]
pub use native_tls;
pub use outbox::TrySendError;
pub use protocol::{Pong, ReadyState};
#[cfg(feature = "proxy")]
pub use proxy::Proxy;
pub use reconnect::{Backoff, Reconnect, Retry};
#[cfg(feature = "rustls-tls")]
pub use rustls;
pub use split::{Receiver, Sender, SenderSink};
pub use stats::Stats;
pub use stream::{NextOrRoom, WebSocketStream};
pub use tokio_tungstenite::{Connector, tungstenite::Utf8Bytes};
pub use transport::{Socket, Transport};
pub use upgrade::{Agreed, Upgrade};
pub use upgraded::UpgradedParts;
