//! What each option of `Config` does; the deadlines are in `closing/deadlines.rs`, the limits of
//! what comes in in `receiving/violations.rs`.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use testkit::{
    frame::{BINARY, CONTINUATION, TEXT, encode},
    peer::Peer,
    server::Script,
};
use wsflow::{Config, Deflate, Message, WebSocketStream};

use crate::support::watch::{PIECES, open};

#[tokio::test]
async fn fragment_size_is_the_largest_payload_of_a_frame() {
    let kib = 1024;
    // The option, the message, the payloads of its frames.
    let rows: [(Option<usize>, usize, Vec<usize>); 9] = [
        (Some(1000), 0, vec![0]),
        (Some(1000), 999, vec![999]),
        (Some(1000), 1000, vec![1000]),
        (Some(1000), 1001, vec![1000, 1]),
        (Some(50_000), 150_000, vec![50_000; 3]),
        (Some(0), 3, vec![1; 3]),
        (None, 1_000_000, vec![1_000_000]),
        (Some(256 * kib), 256 * kib, vec![256 * kib]),
        (Some(256 * kib), 256 * kib + 1, vec![256 * kib, 1]),
    ];
    for (fragment_size, len, payloads) in rows {
        for text in [false, true] {
            let (mut peer, mut ws) = open(Config::default().fragment_size(fragment_size), 1 << 20);
            let message = if text { Message::text("x".repeat(len)) } else { Message::binary(vec![b'x'; len]) };
            let (sent, ()) = tokio::join!(ws.send(message), async {
                for (i, &payload) in payloads.iter().enumerate() {
                    let frame = peer.expect_frame().await;
                    let opcode = match (i, text) {
                        (0, true) => TEXT,
                        (0, false) => BINARY,
                        _ => CONTINUATION,
                    };
                    let fin = i == payloads.len() - 1;
                    assert_eq!((frame.opcode, frame.fin, frame.payload.len()), (opcode, fin, payload), "{len}");
                }
            });
            sent.expect("open");
        }
    }
}

#[tokio::test]
async fn what_is_within_max_message_size_max_frame_size_and_max_fragments_is_taken() {
    let config = || Config::default().max_message_size(10).max_frame_size(6).max_fragments(3);
    for at_once in PIECES {
        let (mut peer, mut ws) = open(config(), at_once);
        let script = [
            encode(false, 0, TEXT, b"01"),
            encode(false, 0, CONTINUATION, b"23"),
            encode(true, 0, CONTINUATION, b"456789"),
            encode(true, 0, TEXT, b"012345"),
        ];
        peer.raw(script.concat()).await;
        for text in ["0123456789", "012345"] {
            assert_eq!(ws.next().await.expect("open").expect("within the limits"), text.into());
        }
    }
}

#[tokio::test]
async fn copy_payloads_up_to_gives_small_payloads_an_allocation_of_their_own() {
    for (limit, copied) in [(0, 0), (100, 100)] {
        let (mut peer, mut ws) = open(Config::default().copy_payloads_up_to(limit), 1 << 20);
        for len in [1, 50, 100, 101, 1000] {
            peer.binary(vec![7; len]).await;
            // Another stands behind it, so that the read buffer is in use.
            peer.binary([8]).await;
            let Message::Binary(data) = ws.next().await.expect("open").expect("open") else { panic!("no binary") };
            assert_eq!(data, vec![7; len]);
            assert_eq!(data.is_unique(), len <= copied, "{len} of {limit}");
            assert!(ws.next().await.expect("open").is_ok());
        }
    }
}

#[tokio::test]
async fn read_buffer_max_is_how_far_the_connection_reads_ahead() {
    let frame = encode(true, 0, BINARY, &[7; 98]);
    for (option, max) in [(0, 1024), (1024, 1024), (10_000, 10_000), (128 * 1024, 128 * 1024)] {
        let (mut peer, mut ws) = open(Config::default().read_buffer_max(option), 1 << 20);
        peer.raw(frame.repeat(5000)).await;
        let mut furthest = 0;
        for i in 1..=5000 {
            assert!(ws.next().await.expect("open").is_ok());
            furthest = furthest.max(ws.stats().wire_bytes_received - i * frame.len() as u64);
        }
        assert!(furthest <= max, "{furthest} bytes ahead of {max}");
        // It grows to its bound by use.
        assert!(furthest + 200 >= max.min(64 * 1024), "{furthest} bytes ahead of {max}");
    }
}

#[tokio::test]
async fn write_high_water_mark_is_what_the_sink_takes_before_it_waits() {
    // A message of 68 bytes costs 100.
    for (mark, taken) in [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10), (1001, 11)] {
        let (_peer, io) = Peer::pipe(1);
        let mut ws = WebSocketStream::from_upgraded(io, Config::default().write_high_water_mark(mark));
        let mut fed = 0;
        while let Some(result) = ws.feed(Message::binary(vec![0; 68])).now_or_never() {
            result.expect("a full sink waits, it does not fail");
            fed += 1;
        }
        assert_eq!(fed, taken, "{mark}");
        assert_eq!(ws.buffered_amount(), 68 * taken);
    }
}

#[tokio::test]
async fn into_parts_gives_back_what_counts_of_a_config() {
    let long = Duration::MAX;
    let deflate = Deflate::default().level(99).mem_level(0).server_max_window_bits(0).client_max_window_bits(99);
    let mut given = Config::default()
        .read_buffer_max(0)
        .write_high_water_mark(0)
        .max_message_size(1)
        .max_frame_size(2)
        .max_fragments(0)
        .fragment_size(0)
        .copy_payloads_up_to(3)
        .close_timeout(long)
        .tcp_end_timeout(long)
        .write_timeout(long)
        .keepalive_interval(long)
        .keepalive_timeout(long)
        .message_timeout(long)
        .nodelay(false);
    // A field can be set, too.
    given.deflate = Some(deflate.threshold(4).client_no_context_takeover(true));
    let (_peer, io) = Peer::pipe(1);
    let config = WebSocketStream::from_upgraded(io, given).into_parts().config;
    let sizes = [config.read_buffer_max, config.write_high_water_mark, config.copy_payloads_up_to];
    assert_eq!(sizes, [1024, 1, 3]);
    let limits = [config.max_message_size, config.max_frame_size, config.max_fragments, config.fragment_size];
    assert_eq!(limits, [1, 2, 1, 1].map(Some));
    let timeouts = [
        config.close_timeout.expect("set"),
        config.tcp_end_timeout,
        config.write_timeout.expect("set"),
        config.keepalive_interval.expect("set"),
        config.keepalive_timeout,
        config.message_timeout.expect("set"),
    ];
    assert!(timeouts.iter().all(|&timeout| timeout == timeouts[0] && timeout < long), "{timeouts:?}");
    assert!(!config.nodelay);
    let deflate = config.deflate.expect("set");
    assert_eq!((deflate.level, deflate.mem_level, deflate.threshold), (9, 1, 4));
    assert_eq!((deflate.server_max_window_bits, deflate.client_max_window_bits), (Some(8), Some(15)));
    assert_eq!((deflate.server_no_context_takeover, deflate.client_no_context_takeover), (false, true));
}

#[tokio::test]
async fn nodelay_and_the_options_of_the_socket_are_set_on_it() {
    let server = Script::bind().await;
    for nodelay in [true, false] {
        let builder = WebSocketStream::builder(server.url("/"))
            .config(Config::default().nodelay(nodelay))
            .tcp(|socket| socket.set_ttl(42).expect("IP_TTL"));
        let (ws, _peer) = tokio::join!(builder.connect(), server.accept());
        let ws = ws.expect("open");
        let socket = ws.get_ref().get_ref().as_tcp().expect("TCP");
        assert_eq!((socket.nodelay().expect("TCP_NODELAY"), socket.ttl().expect("IP_TTL")), (nodelay, 42));
    }
    let (ws, _peer) = tokio::join!(WebSocketStream::connect(server.url("/")), server.accept());
    let ws = ws.expect("open");
    assert!(ws.get_ref().get_ref().as_tcp().expect("TCP").nodelay().expect("TCP_NODELAY"), "by default it is set");
}
