//! Which cryptography rustls gets: that of the process's default provider, else one of the features `aws-lc-rs` and `ring`.
//!
//! A process has one default, and it stays: so this is a process of its own with one test.
#![cfg(feature = "rustls-tls")]

#[path = "support/mod.rs"]
mod support;

use rustls::{
    CipherSuite,
    crypto::{CryptoProvider, ring},
};
use testkit::peer::Peer;
use tokio::io::AsyncReadExt as _;
use wsflow::{Error, WebSocketStream};

use crate::support::error;

/// The cipher suites that are offered to a server with the default connector, or the error.
async fn offered() -> Result<Vec<u16>, Error> {
    let (mut peer, io) = Peer::pipe(64 * 1024);
    let connecting = WebSocketStream::builder("wss://localhost/").connect_tls_over(io);
    let reading = async {
        // A record's header, a handshake's header, version and random (RFC 8446, sections 4.1.2 and 5.1).
        let mut start = [0; 5 + 4 + 2 + 32];
        peer.io_mut().read_exact(&mut start).await.ok()?;
        let mut session = vec![0; usize::from(peer.io_mut().read_u8().await.ok()?)];
        peer.io_mut().read_exact(&mut session).await.ok()?;
        let mut suites = Vec::new();
        for _ in 0..peer.io_mut().read_u16().await.ok()? / 2 {
            suites.push(peer.io_mut().read_u16().await.ok()?);
        }
        drop(peer);
        Some(suites)
    };
    let (ended, suites) = tokio::join!(connecting, reading);
    let failed = error(ended);
    suites.ok_or(failed)
}

#[tokio::test]
async fn the_processs_default_counts_also_one_that_comes_later_and_none_is_installed() {
    let suite = |suites: &[u16], suite: CipherSuite| suites.contains(&u16::from(suite));
    let before = offered().await;
    if cfg!(any(feature = "ring", feature = "aws-lc-rs")) {
        let suites = before.expect("a provider of ours");
        assert!(suite(&suites, CipherSuite::TLS13_AES_128_GCM_SHA256), "{suites:?}");
        assert!(suite(&suites, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256), "{suites:?}");
    } else {
        let failed = before.expect_err("no provider");
        assert!(matches!(failed, Error::Tls(_)), "{failed:?}");
        let text = failed.to_string();
        assert!(text.contains("`ring`") && text.contains("`aws-lc-rs`"), "{text}");
    }
    assert!(CryptoProvider::get_default().is_none());
    // An error was not kept, and what was made for another provider does not count any more.
    let only = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    CryptoProvider { cipher_suites: only, ..ring::default_provider() }.install_default().expect("the first one");
    for _ in 0..2 {
        let suites = offered().await.expect("the default");
        assert!(suite(&suites, CipherSuite::TLS13_AES_128_GCM_SHA256), "{suites:?}");
        assert!(!suite(&suites, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256), "{suites:?}");
    }
}
