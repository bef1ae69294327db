//! The event API in its first form: what the main example needs of it.

mod support;

#[path = "support/deflate.rs"]
mod deflate;

use std::sync::{Arc, Mutex};

use deflate::{RSV1, Reader, deflated};
use futures::{SinkExt, StreamExt};
use support::{Frame, Script, TEXT};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_tungstenite::tungstenite::{
    Message as Peer,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use wsflow::{
    Config, Deflate, Message, ReadyState,
    compat::{CloseError, InvalidStateError, WebSocket},
};

/// Serves one connection: echoes, and after the text "Goodbye" closes with 1000.
async fn echo_server() -> String {
    recording_echo_server().await.0
}

/// The same, and tells what it got.
async fn recording_echo_server() -> (String, mpsc::UnboundedReceiver<Peer>) {
    let (record, recorded) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut peer = tokio_tungstenite::accept_async(tcp).await.unwrap();
        while let Some(Ok(message)) = peer.next().await {
            let _ = record.send(message.clone());
            let is_goodbye = message == Peer::text("Goodbye");
            if message.is_text() || message.is_binary() {
                peer.send(message).await.unwrap();
            }
            if is_goodbye {
                let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
                peer.close(Some(frame)).await.unwrap();
            }
        }
    });
    (url, recorded)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, ws: &WebSocket, what: impl std::fmt::Display) {
        let line = format!("{what}[{}]", u16::from(ws.ready_state()));
        self.0.lock().unwrap().push(line);
    }

    /// A socket whose four handlers write to this log, and whose `on_open` is also `opened`.
    fn connect(&self, url: &str, mut opened: impl FnMut(&WebSocket) + Send + 'static) -> WebSocket {
        let [a, b, c, d] = [self.clone(), self.clone(), self.clone(), self.clone()];
        WebSocket::builder(url)
            .unwrap()
            .on_open(move |ws, _| {
                a.add(ws, "open");
                opened(ws);
            })
            .on_message(move |ws, event| b.add(ws, format_args!("message {:?}", event.data.as_text().unwrap())))
            .on_error(move |ws, _| c.add(ws, "error"))
            .on_close(move |ws, e| d.add(ws, format_args!("close {} {} {:?}", e.was_clean, e.code, e.reason)))
            .connect()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn b133_b135_events_come_in_order_with_the_state_of_a_browser() {
    let log = Log::default();
    let ws = log.connect(&echo_server().await, |ws| {
        ws.send("hello").unwrap();
        ws.send("Goodbye").unwrap();
        assert_eq!(ws.buffered_amount(), 12);
    });
    assert_eq!(ws.ready_state(), ReadyState::Connecting);
    ws.closed().await;
    let expected = ["open[1]", "message \"hello\"[1]", "message \"Goodbye\"[1]", "close true 1000 \"bye\"[3]"];
    assert_eq!(log.take(), expected);
    assert_eq!(ws.buffered_amount(), 0);
}

#[tokio::test]
async fn b60_b61_b99_b110_close_moves_the_state_at_once_and_judges_its_arguments() {
    let log = Log::default();
    let ws = log.connect(&echo_server().await, |ws| {
        assert_eq!(ws.close_with(1005, ""), Err(CloseError::InvalidAccess));
        assert_eq!(ws.close_with(3000, &"x".repeat(124)), Err(CloseError::Syntax));
        assert_eq!(ws.ready_state(), ReadyState::Open);
        assert_eq!(ws.close_with(3000, "why"), Ok(()));
        assert_eq!(ws.ready_state(), ReadyState::Closing);
        assert_eq!(ws.close(), Ok(()));
        // B67: counted, not sent.
        ws.send("late").unwrap();
    });
    ws.closed().await;
    assert_eq!(log.take(), ["open[1]", "close true 3000 \"why\"[3]"]);
    assert_eq!(ws.buffered_amount(), 4);
}

#[tokio::test]
async fn b65_b104_while_connecting_send_is_an_error_and_close_aborts() {
    let log = Log::default();
    let ws = log.connect(&echo_server().await, |_| {});
    assert_eq!(ws.send("early"), Err(InvalidStateError));
    assert_eq!(ws.buffered_amount(), 0);
    ws.close().unwrap();
    assert_eq!(ws.ready_state(), ReadyState::Closing);
    ws.closed().await;
    assert_eq!(log.take(), ["error[3]", "close false 1006 \"\"[3]"]);
}

#[tokio::test]
async fn b146_a_failed_handshake_is_an_error_and_a_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let log = Log::default();
    let ws = log.connect(&url, |_| {});
    ws.closed().await;
    assert_eq!(log.take(), ["error[3]", "close false 1006 \"\"[3]"]);
    assert!(matches!(ws.error(), Some(wsflow::Error::Io(_))), "{:?}", ws.error());
}

#[tokio::test]
async fn v10_dropping_the_last_handle_sends_what_is_queued_and_closes() {
    let (url, mut recorded) = recording_echo_server().await;
    let log = Log::default();
    let (done, mut closed) = mpsc::unbounded_channel();
    let ws = log.connect(&url, |_| {});
    ws.set_on_close(move |_, event| done.send((event.code, event.was_clean)).unwrap());
    let mut handle = Some(ws.clone());
    ws.set_on_open(move |ws, _| {
        ws.send("last words").unwrap();
        handle.take();
    });
    drop(ws);
    assert_eq!(closed.recv().await, Some((1005.into(), true)));
    assert_eq!(recorded.recv().await, Some(Peer::text("last words")));
    assert_eq!(recorded.recv().await, Some(Peer::Close(None)));
}

#[tokio::test]
async fn b25_b51_compression_is_offered_as_browsers_do() {
    let server = Script::bind().await;
    let (record, mut recorded) = mpsc::unbounded_channel();
    let ws = WebSocket::builder(&server.url("/"))
        .unwrap()
        .on_open(|ws, _| {
            assert_eq!(ws.extensions(), "permessage-deflate; client_max_window_bits=9");
            ws.send("hello hello hello hello").unwrap();
            // B87: what is counted is what was given.
            assert_eq!(ws.buffered_amount(), 23);
        })
        .on_message(move |_, event| record.send(event.data.clone()).unwrap())
        .connect();
    assert_eq!(ws.extensions(), "");

    let mut peer = server.peer().await;
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n";
    let head = peer.accept_with(agreed).await;
    assert_eq!(head.header("Sec-WebSocket-Extensions"), Some("permessage-deflate; client_max_window_bits"));
    let frame = peer.expect_frame().await;
    assert_eq!(frame.rsv, RSV1);
    assert_eq!(Reader::new(9, true).message(&frame.payload, 100), b"hello hello hello hello");
    peer.frame(true, RSV1, TEXT, deflated("and back")).await;
    assert_eq!(recorded.recv().await, Some(Message::from("and back")));
    assert_eq!(ws.buffered_amount(), 0);

    peer.close(1000, "").await;
    peer.expect_close(1000, "").await;
    drop(peer);
    ws.closed().await;
    assert_eq!(ws.extensions(), "permessage-deflate; client_max_window_bits=9");
}

#[tokio::test]
async fn b25_a_config_says_what_is_offered() {
    let small = Config::default().deflate(Deflate::default().client_max_window_bits(9));
    for (config, offer) in [(Config::default(), None), (small, Some("permessage-deflate; client_max_window_bits=9"))] {
        let server = Script::bind().await;
        let ws = WebSocket::builder(&server.url("/"))
            .unwrap()
            .config(config)
            .on_open(|ws, _| ws.send("plain").unwrap())
            .connect();
        let mut peer = server.peer().await;
        assert_eq!(peer.accept().await.header("Sec-WebSocket-Extensions"), offer);
        assert_eq!(peer.expect_frame().await, Frame::new(TEXT, "plain"));
        assert_eq!(ws.extensions(), "");
    }
}
