//! Says whether `wss` begins by default, and whether rustls itself finds a provider for who asks it elsewhere in the program.

use std::panic;

use tokio::io::AsyncReadExt as _;
use wsflow::WebSocketStream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    #[cfg(feature = "installs")]
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("it is the first one");
    let (mut server, io) = tokio::io::duplex(64 * 1024);
    let connecting = WebSocketStream::builder("wss://localhost/").connect_tls_over(io);
    let (ended, begun) = tokio::join!(connecting, async {
        // The type of a record with a handshake.
        let begun = server.read_u8().await.is_ok_and(|kind| kind == 22);
        drop(server);
        begun
    });
    let error = ended.err().expect("nobody answers");
    println!("wss: {}", if begun { "begins".to_owned() } else { error.to_string() });
    assert_eq!(rustls::crypto::CryptoProvider::get_default().is_some(), cfg!(feature = "installs"), "it was left alone");
    // It is the message of what may panic next, and is not wanted.
    panic::set_hook(Box::new(|_| {}));
    let elsewhere = panic::catch_unwind(|| drop(rustls::ClientConfig::builder()));
    println!("elsewhere: {}", if elsewhere.is_ok() { "works" } else { "panics" });
}
