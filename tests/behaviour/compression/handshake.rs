//! Compression in the opening handshake: the offer on the wire, the answers, and what follows from them.
//!
//! `B<n>` are the rows of the behaviours that this crate follows; the rules are those of RFC 7692, section 7.1.

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    deflate::{Reader, deflated},
    frame::{BINARY, Frame, RSV1, TEXT},
    peer::Peer,
    server::Script,
};
use wsflow::{Config, Deflate, Error, InvalidResponse, Message, UpgradedParts, WebSocketStream};

const BARE: &str = "permessage-deflate; client_max_window_bits";

/// The outcome of a connection whose server answers with these header lines, and the offer that it read.
async fn connect(config: Config, lines: &str) -> (Result<WebSocketStream, Error>, Peer, Option<String>) {
    let server = Script::bind().await;
    let builder = WebSocketStream::builder(server.url("/")).config(config);
    let serving = async {
        let mut peer = server.peer().await;
        let head = peer.accept_with(lines).await;
        let offer = head.header("Sec-WebSocket-Extensions").map(str::to_owned);
        (peer, offer)
    };
    let (ws, (peer, offer)) = tokio::join!(builder.connect(), serving);
    (ws, peer, offer)
}

fn answer(extensions: &str) -> String {
    format!("Sec-WebSocket-Extensions: {extensions}\r\n")
}

/// B25.
#[tokio::test]
async fn nothing_is_offered_unless_it_is_asked_for() {
    let (ws, _, offer) = connect(Config::default(), "").await;
    assert_eq!((ws.expect("open").extensions(), offer), ("", None));
    let (ws, _, offer) = connect(Config::default().deflate(Deflate::default()).deflate(None), "").await;
    assert_eq!((ws.expect("open").extensions(), offer), ("", None));
}

/// B25, B51.
#[tokio::test]
async fn each_option_of_the_offer() {
    let bare = Deflate::default();
    let cases = [
        (bare.clone(), "", ""),
        (bare.clone().level(1).mem_level(1).threshold(100), "", ""),
        (bare.clone().server_no_context_takeover(true), "; server_no_context_takeover", ""),
        (bare.clone().client_no_context_takeover(true), "; client_no_context_takeover", ""),
        (bare.clone().server_max_window_bits(9), "; server_max_window_bits=9", ""),
        (bare.clone().server_max_window_bits(0), "; server_max_window_bits=8", ""),
        (bare.clone().server_max_window_bits(99), "; server_max_window_bits=15", ""),
        (bare.clone().client_max_window_bits(9), "", "=9"),
        (bare.clone().client_max_window_bits(0), "", "=8"),
        (bare.clone().client_max_window_bits(99), "", "=15"),
        (bare.client_max_window_bits(9).client_max_window_bits(None), "", ""),
    ];
    for (deflate, parameters, bits) in cases {
        // The server declines.
        let (ws, _, offer) = connect(Config::default().deflate(deflate), "").await;
        assert_eq!(ws.expect("open").extensions(), "");
        assert_eq!(offer.expect("an offer"), format!("permessage-deflate{parameters}; client_max_window_bits{bits}"));
    }
}

#[tokio::test]
async fn a_server_that_declines_gets_plain_messages() {
    let (ws, mut peer, _) = connect(Config::default().deflate(Deflate::default()), "").await;
    let mut ws = ws.expect("open");
    ws.send("plain".into()).await.unwrap();
    assert_eq!(peer.expect_frame().await, Frame::new(TEXT, "plain"));
}

/// B51.
#[tokio::test]
async fn extensions_are_what_the_server_said() {
    for (lines, extensions) in [
        (answer("permessage-deflate"), "permessage-deflate"),
        (answer("  permessage-deflate ;client_max_window_bits=10  "), "permessage-deflate ;client_max_window_bits=10"),
        (
            answer("permessage-deflate; client_max_window_bits=\"10\""),
            "permessage-deflate; client_max_window_bits=\"10\"",
        ),
        (answer("permessage-deflate; server_max_window_bits=8"), "permessage-deflate; server_max_window_bits=8"),
        (
            "sec-websocket-extensions: \r\nSEC-WEBSOCKET-EXTENSIONS: permessage-deflate\r\n".into(),
            ", permessage-deflate",
        ),
    ] {
        let (ws, mut peer, offer) = connect(Config::default().deflate(Deflate::default()), &lines).await;
        let mut ws = ws.expect("open");
        assert_eq!((ws.extensions(), offer.as_deref()), (extensions, Some(BARE)));
        ws.send("compressed".into()).await.unwrap();
        let frame = peer.expect_frame().await;
        assert_eq!((frame.fin, frame.rsv, frame.opcode), (true, RSV1, TEXT));
        assert_eq!(Reader::new(10, true).message(&frame.payload, 100), b"compressed");
        peer.frame(true, RSV1, BINARY, deflated("compressed")).await;
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::from(b"compressed".to_vec()));
    }
}

/// B37.
#[tokio::test]
async fn answers_that_are_no_agreement() {
    let bare = Deflate::default();
    let twice = format!("{}{}", answer("permessage-deflate"), answer("permessage-deflate"));
    let other = format!("{}{}", answer("permessage-deflate"), answer("x-more"));
    for (deflate, lines) in [
        (None, answer("permessage-deflate")),
        (Some(bare.clone()), answer("x-webkit-deflate-frame")),
        (Some(bare.clone()), answer("permessage-deflate, permessage-deflate")),
        (Some(bare.clone()), twice),
        (Some(bare.clone()), other),
        (Some(bare.clone()), answer("permessage-deflate; unknown")),
        (Some(bare.clone()), answer("permessage-deflate; server_max_window_bits")),
        (Some(bare.clone()), answer("permessage-deflate; server_max_window_bits=7")),
        (Some(bare.clone()), answer("permessage-deflate; server_max_window_bits=16")),
        (Some(bare.clone()), answer("permessage-deflate; client_max_window_bits")),
        (Some(bare.clone()), answer("permessage-deflate; client_no_context_takeover=1")),
        (Some(bare.clone()), answer("permessage-deflate; client_no_context_takeover; client_no_context_takeover")),
        (Some(bare.clone()), answer("permessage-deflate;")),
        (Some(bare.clone()), answer(",")),
        (Some(bare.clone().server_no_context_takeover(true)), answer("permessage-deflate")),
        (Some(bare.clone().server_max_window_bits(12)), answer("permessage-deflate; server_max_window_bits=13")),
        (Some(bare.client_max_window_bits(12)), answer("permessage-deflate; client_max_window_bits=13")),
    ] {
        let (ws, mut peer, _) = connect(Config::default().deflate(deflate), &lines).await;
        let error = crate::support::error(ws);
        let Error::Handshake(failed) = &error else { panic!("{lines}: {error:?}") };
        let InvalidResponse::Extension(shown) = &failed.cause else { panic!("{lines}: {error:?}") };
        let values: Vec<_> = lines.lines().filter_map(|line| line.split_once(": ")).map(|(_, value)| value).collect();
        assert!(shown.starts_with(&format!("{:?}: ", values.join(", "))), "{shown}");
        peer.expect_gone().await;
    }
}

#[tokio::test]
async fn what_was_agreed_on_rules_what_is_sent() {
    let text = "a message that repeats itself: a message that repeats itself";
    let bare = Deflate::default();
    for (deflate, extensions, window_bits, has_context_takeover) in [
        (bare.clone(), "permessage-deflate", 15, true),
        (bare.clone(), "permessage-deflate; client_max_window_bits=9", 9, true),
        (bare.clone(), "permessage-deflate; client_no_context_takeover", 15, false),
        // What the client said of itself it keeps, though the server is silent.
        (bare.clone().client_max_window_bits(9), "permessage-deflate", 9, true),
        (bare.clone().client_no_context_takeover(true), "permessage-deflate", 15, false),
        (bare.clone().level(0), "permessage-deflate", 15, true),
        (bare.client_max_window_bits(8), "permessage-deflate", 8, true),
    ] {
        let (ws, mut peer, _) = connect(Config::default().deflate(deflate), &answer(extensions)).await;
        let mut ws = ws.expect("open");
        let mut reader = Reader::new(window_bits, has_context_takeover);
        let mut sizes = Vec::new();
        for _ in 0..2 {
            ws.send(text.into()).await.unwrap();
            let frame = peer.expect_frame().await;
            if window_bits == 8 {
                assert_eq!(frame, Frame::new(TEXT, text));
            } else {
                assert_eq!(frame.rsv, RSV1);
                assert_eq!(reader.message(&frame.payload, 100), text.as_bytes());
            }
            sizes.push(frame.payload.len());
        }
        if !has_context_takeover {
            assert_eq!(sizes[0], sizes[1]);
        }
    }
}

#[tokio::test]
async fn each_option_of_the_compressor_has_its_effect() {
    let text: String = (0..20_000u32).map(|i| char::from(b'a' + (i.wrapping_mul(i) >> 7) as u8 % 26)).collect();
    let bare = Deflate::default();
    let mut sizes = Vec::new();
    for deflate in [bare.clone(), bare.clone().level(0), bare.clone().level(1), bare.clone().mem_level(1)] {
        let (ws, mut peer, _) = connect(Config::default().deflate(deflate), &answer("permessage-deflate")).await;
        ws.expect("open").send(text.as_str().into()).await.unwrap();
        sizes.push(peer.expect_frame().await.payload.len());
    }
    let [default, stored, fast, small] = sizes[..] else { unreachable!() };
    assert!(default < fast && default < small && fast < stored && small < stored && stored > text.len(), "{sizes:?}");

    let config = Config::default().deflate(bare.threshold(5));
    let (ws, mut peer, _) = connect(config, &answer("permessage-deflate")).await;
    let mut ws = ws.expect("open");
    for (message, rsv) in [("four", 0), ("fives", RSV1), ("", 0)] {
        ws.send(message.into()).await.unwrap();
        assert_eq!(peer.expect_frame().await.rsv, rsv, "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_made_elsewhere_brings_its_agreement() {
    for (extensions, is_compressed) in
        [("", false), ("permessage-deflate; client_max_window_bits=9; server_no_context_takeover", true)]
    {
        let (mut peer, io) = Peer::pipe(4096);
        let parts = UpgradedParts::new(io).extensions(extensions);
        let mut ws = WebSocketStream::from_upgraded_parts(parts).expect("permessage-deflate");
        assert_eq!(ws.extensions(), extensions);
        ws.send("compressed".into()).await.unwrap();
        let frame = peer.expect_frame().await;
        assert_eq!(frame.rsv, if is_compressed { RSV1 } else { 0 });
        assert_eq!(ws.into_parts().extensions, extensions);
    }
}

#[tokio::test]
async fn an_upgrade_made_elsewhere_with_extensions_that_cannot_be_used_is_refused_at_once() {
    let small = Config::default().deflate(Deflate::default().client_max_window_bits(9));
    for (extensions, config) in [
        ("x-other", Config::default()),
        ("permessage-deflate, x-other", Config::default()),
        ("permessage-deflate; unknown", Config::default()),
        ("permessage-deflate; server_max_window_bits=7", Config::default()),
        ("permessage-deflate; client_max_window_bits=10", small),
        (";", Config::default()),
    ] {
        let (mut peer, io) = Peer::pipe(4096);
        let parts = UpgradedParts::new(io).extensions(extensions).config(config);
        match WebSocketStream::from_upgraded_parts(parts) {
            Err(Error::Handshake(failed)) if matches!(failed.cause, InvalidResponse::Extension(_)) => {}
            other => panic!("{extensions:?}: {other:?}"),
        }
        peer.expect_eof().await;
    }
}
