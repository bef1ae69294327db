//! The panic hook of the process: what it is told of a handler that panics.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use testkit::peer::Peer;
use wsflow::compat::WebSocket;

/// B186.
#[tokio::test]
async fn a_panic_is_reported_by_the_panic_hook() {
    let thread = std::thread::current().id();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let (before, reported) = (std::panic::take_hook(), Arc::clone(&reports));
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == thread {
            reported.lock().unwrap().push(info.payload().downcast_ref::<&str>().copied().unwrap_or_default());
        } else {
            before(info);
        }
    }));
    let (mut peer, io) = Peer::pipe(1 << 16);
    let ws = WebSocket::builder("ws://h/").unwrap().on_open(|_, _| panic!("of a handler")).connect_over(io);
    peer.accept().await;
    peer.close(None, "").await;
    peer.expect_close(None, "").await;
    drop(peer);
    tokio::time::timeout(Duration::from_secs(20), ws.closed()).await.expect("an end");
    assert_eq!(*reports.lock().unwrap(), ["of a handler"]);
}
