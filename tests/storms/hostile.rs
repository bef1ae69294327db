//! Rounds against a hostile server: what it says is made at random, from what servers say and from noise, and the client uses
//! one of six ways of the API. Whatever it says, nothing panics, and the connection ends within its deadlines.
//!
//! A round has a thread, and its clock is paused: a silence of a minute takes no time.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use testkit::{
    deflate::Compressor,
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, encode, head},
    peer::Peer,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, split},
    runtime::Builder,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use wsflow::{CloseFrame, Config, Deflate, Kind, MessageRef, UpgradedParts, WebSocketStream, compat::WebSocket};

use crate::round::{Board, Random};

/// All deadlines of a connection together, and all silences of a server.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How the client uses the API.
#[derive(Debug, Clone, Copy)]
enum Way {
    InPlace,
    ByReference,
    ByReader,
    Split,
    Halves,
    EventApi,
}

/// What the client does besides receiving.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Nothing,
    Sends,
    /// After so many messages.
    Closes(usize),
}

pub(crate) async fn round(mut random: Random, board: Board) {
    let ways = [Way::InPlace, Way::ByReference, Way::ByReader, Way::Split, Way::Halves, Way::EventApi];
    let (way, is_compressed) = (random.one_of(&ways), random.once_in(2));
    let deed = [Deed::Nothing, Deed::Sends, Deed::Closes(random.below(5))][random.below(3)];
    board.set("plan", (way, is_compressed, deed));
    let dialogue = move || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let talking = timeout(PATIENCE, dialogue(random, way, is_compressed, deed));
            talking.await.expect("it does not end");
        });
    };
    spawn_blocking(dialogue).await.expect("no panic");
}

async fn dialogue(mut random: Random, way: Way, is_compressed: bool, deed: Deed) {
    let (client, server) = tokio::io::duplex(random.one_of(&[64, 1000, 64 << 10]));
    let mut config = Config::default()
        .max_message_size(20_000)
        .max_frame_size(10_000)
        .max_fragments(20)
        // Over a caller's IO there is none: who only sends would wait for ever for a server that hears nothing.
        .write_timeout(Duration::from_secs(60))
        .read_buffer_max(random.one_of(&[4 << 10, 128 << 10]));
    if is_compressed {
        config = config.deflate(Deflate::default());
    }
    let serving = tokio::spawn(serve(random.fork(), server, matches!(way, Way::EventApi), is_compressed));
    if let Way::EventApi = way {
        use_events(client, config, deed).await;
    } else {
        let extensions = if is_compressed { "permessage-deflate" } else { "" };
        let parts = UpgradedParts::new(client).extensions(extensions).config(config);
        receive(WebSocketStream::from_upgraded_parts(parts).unwrap(), way, deed).await;
    }
    serving.abort();
    if let Err(error) = serving.await {
        assert!(error.is_cancelled(), "{error}");
    }
}

async fn receive(mut ws: WebSocketStream<DuplexStream>, way: Way, deed: Deed) {
    match way {
        Way::InPlace | Way::EventApi => {
            let mut taken = 0;
            while let Some(Ok(message)) = ws.next().await {
                taken += 1;
                match deed {
                    Deed::Sends => drop(ws.send(message).await),
                    Deed::Closes(after) if taken > after => drop(ws.close_with(CloseFrame::new(1000, "")).await),
                    Deed::Nothing | Deed::Closes(_) => {}
                }
            }
            assert!(ws.next().await.is_none() && ws.closed().is_some());
        }
        Way::ByReference => {
            let (mut taken, mut ping) = (0, None);
            while let Some(Ok(message)) = ws.next_ref().await {
                taken += 1;
                let len = message.as_bytes().len();
                assert!(!matches!(message, MessageRef::Text(text) if text.len() != len));
                match deed {
                    Deed::Sends => ping = ws.send_ping("ping").ok(),
                    Deed::Closes(after) if taken > after => drop(ws.start_close(CloseFrame::new(1000, ""))),
                    Deed::Nothing | Deed::Closes(_) => {}
                }
            }
            assert!(ws.next_ref().await.is_none() && ws.closed().is_some());
            if let Some(pong) = ping {
                let _ = pong.await;
            }
        }
        Way::ByReader => {
            let mut taken = 0;
            while let Some(Ok(mut reader)) = ws.next_reader().await {
                taken += 1;
                // Some are given up.
                for _ in 0..taken {
                    if !matches!(reader.chunk().await, Some(Ok(_))) {
                        break;
                    }
                }
                match deed {
                    Deed::Closes(after) if taken > after => drop(ws.close().await),
                    Deed::Nothing | Deed::Sends | Deed::Closes(_) => {}
                }
            }
        }
        Way::Split => {
            let (mut sink, mut stream) = ws.split();
            let sending = async {
                if let Deed::Sends = deed {
                    while sink.send(vec![7; 3000].into()).await.is_ok() {
                        sleep(Duration::from_millis(300)).await;
                    }
                }
            };
            let receiving = async { while let Some(Ok(_)) = stream.next().await {} };
            futures::join!(sending, receiving);
        }
        Way::Halves => {
            let (mut sender, mut receiver) = ws.into_split();
            let sending = async {
                match deed {
                    Deed::Nothing => {}
                    Deed::Sends => loop {
                        let Ok(mut writer) = sender.writer(Kind::Binary).await else { break };
                        if writer.write_all(&[7; 3000]).await.is_err() || writer.finish().await.is_err() {
                            break;
                        }
                        sleep(Duration::from_millis(300)).await;
                    },
                    Deed::Closes(after) => {
                        sleep(Duration::from_secs(after as u64)).await;
                        let _ = sender.close_with(CloseFrame::new(1000, "")).await;
                    }
                }
                sender.closed().await;
            };
            let receiving = async { while let Some(Ok(_)) = receiver.next().await {} };
            futures::join!(sending, receiving);
        }
    }
}

async fn use_events(client: DuplexStream, config: Config, deed: Deed) {
    let mut taken = 0;
    let builder = WebSocket::builder("ws://example.com/").expect("a URL").config(config);
    let ws = builder
        .on_message(move |ws, event| {
            taken += 1;
            match deed {
                Deed::Nothing => {}
                Deed::Sends => ws.send(event.data.clone()).expect("it was open"),
                Deed::Closes(after) if taken > after => ws.close_with(3000, "enough").expect("a good code"),
                Deed::Closes(_) => {}
            }
        })
        .connect_over(client);
    ws.closed().await;
}

/// Says what comes to its mind, and hears what it wants.
async fn serve(mut random: Random, server: DuplexStream, has_handshake: bool, is_compressed: bool) {
    let mut peer = Peer::over(server);
    if has_handshake {
        peer.accept_with(if is_compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" }).await;
    }
    let (mut reader, mut writer) = split(std::mem::replace(peer.io_mut(), tokio::io::duplex(1).0));
    let hearing = tokio::spawn({
        let mut random = random.fork();
        async move {
            let mut buffer = vec![0; 4096];
            while !random.once_in(200) && matches!(reader.read(&mut buffer).await, Ok(1..)) {
                if random.once_in(20) {
                    sleep(Duration::from_millis(random.below(3000) as u64)).await;
                }
            }
            // It hears nothing more.
            reader
        }
    });
    let mut compressor = Compressor::new(6, true);
    for _ in 0..1 + random.below(60) {
        let said = saying(&mut random, &mut compressor, is_compressed);
        if writer.write_all(&said).await.is_err() {
            break;
        }
        if random.once_in(8) {
            sleep(Duration::from_millis(random.below(40_000) as u64)).await;
        }
    }
    match random.below(3) {
        0 => {}
        1 => _ = writer.shutdown().await,
        // Silence, for longer than any deadline.
        _ => sleep(Duration::from_secs(600)).await,
    }
    if random.once_in(2) {
        let _ = hearing.await;
    } else {
        hearing.abort();
    }
}

fn bytes(random: &mut Random, most: usize) -> Vec<u8> {
    let ascii = random.once_in(2);
    (0..random.below(most + 1)).map(|_| if ascii { b'a' } else { random.below(256) as u8 }).collect()
}

fn saying(random: &mut Random, compressor: &mut Compressor, is_compressed: bool) -> Vec<u8> {
    let most = random.one_of(&[0, 20, 200, 200, 12_000]);
    let fin = !random.once_in(6);
    match random.below(16) {
        0..4 => encode(fin, 0, TEXT, &vec![b'a'; random.below(most + 1)]),
        4..6 => encode(fin, 0, BINARY, &bytes(random, most)),
        6 => encode(fin, 0, CONTINUATION, &bytes(random, most)),
        7 => encode(true, 0, TEXT, &bytes(random, 50)),
        8 => encode(true, 0, PING, &bytes(random, 125)).repeat(1 + random.below(40)),
        9 => encode(true, 0, PONG, &bytes(random, 125)),
        10 if random.once_in(2) => {
            let code = random.one_of(&[0_u16, 999, 1000, 1001, 1005, 1006, 1011, 1015, 3000, 5000]);
            let said = [&code.to_be_bytes()[..], &bytes(random, 123)].concat();
            encode(true, 0, CLOSE, &said[..said.len().min(1 + random.below(said.len()))])
        }
        11 | 12 if is_compressed => encode(true, RSV1, BINARY, &compressor.message(&bytes(random, most))),
        13 if is_compressed => encode(fin, RSV1, BINARY, &bytes(random, most)),
        14 if random.once_in(3) => {
            // A header that means anything, and less than it says.
            let len = random.one_of(&[0, 125, 126, 65_536, 1 << 40, u64::MAX]);
            [head(random.below(256) as u8, len), bytes(random, 200)].concat()
        }
        15 if random.once_in(3) => bytes(random, 300),
        _ => encode(true, 0, BINARY, b""),
    }
}
