//! Mask keys: each frame has one of its own that nobody foresees (RFC 6455, section 10.3).

use std::collections::HashSet;

use futures::SinkExt as _;
use testkit::peer::Peer;
use tokio::io::AsyncReadExt as _;
use wsflow::{Config, WebSocketStream};

/// So many frames are sent on each of so many connections: keys are drawn several times for each.
const FRAMES: usize = 200;
const CONNECTIONS: usize = 8;

/// The keys of the frames of one message on a new connection, which has a byte in each.
async fn keys() -> Vec<u32> {
    let (mut peer, io) = Peer::pipe(64 * 1024);
    let config = Config::default().fragment_size(1);
    let (ws, _) = tokio::join!(WebSocketStream::builder("ws://h/").config(config).connect_over(io), peer.accept());
    let mut ws = ws.expect("open");
    ws.send("x".repeat(FRAMES).into()).await.expect("sent");
    let mut keys = Vec::new();
    for _ in 0..FRAMES {
        // The first byte says what frame it is, the second that it is masked and has one byte.
        let mut frame = [0; 7];
        peer.io_mut().read_exact(&mut frame).await.expect("a frame");
        let [_, 0x81, a, b, c, d, masked] = frame else { panic!("{frame:x?}") };
        assert_eq!(masked ^ a, b'x', "{frame:x?}");
        keys.push(u32::from_be_bytes([a, b, c, d]));
    }
    keys
}

#[tokio::test]
async fn keys_are_new_for_each_frame_and_each_connection_and_show_no_pattern() {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.extend(keys().await);
    }
    // Of so many random numbers of 32 bits two are alike once in 3000 runs, and four nearly never.
    let nearly_all = all.len() - 2;
    assert!(all.iter().collect::<HashSet<_>>().len() >= nearly_all, "{all:x?}");
    for apart in [1, 2, 4, FRAMES] {
        let steps: HashSet<_> = all.iter().zip(&all[apart..]).map(|(a, b)| b.wrapping_sub(*a)).collect();
        assert!(steps.len() >= nearly_all - apart, "a counter: {all:x?}");
    }
    // Each bit is set in half of them, give or take six standard deviations.
    for bit in 0..u32::BITS {
        let set = all.iter().filter(|key| *key >> bit & 1 == 1).count();
        assert!(set.abs_diff(all.len() / 2) < 6 * 20, "bit {bit} is set in {set} of {}", all.len());
    }
}
