//! Connecting: everything before the first frame.

mod dial;
mod handshake;
mod injection;
#[cfg(feature = "proxy")]
mod proxy;
mod redirects;
#[cfg(any(feature = "rustls-tls", feature = "native-tls"))]
mod tls;
mod upgrade;
