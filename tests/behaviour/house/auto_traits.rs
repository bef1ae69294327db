//! Where the public types may go: which are `Send`, `Sync` and `Unpin`. It holds when it compiles.

use std::marker::PhantomPinned;

use tokio::io::DuplexStream;
use wsflow::{
    Backoff, ByteStream, ClientBuilder, CloseCode, CloseFrame, Closed, Config, Deflate, Error, HeaderText,
    InvalidControl, InvalidHeader, InvalidRedirect, InvalidResponse, InvalidSubprotocol, InvalidUrl, Kind,
    LimitExceeded, Message, MessageReader, MessageRef, MessageWriter, NextOrRoom, Phase, Pong, ProxyCause, ProxyError,
    ReadyState, Receiver, Reconnect, Redirected, Retry, Sender, SenderSink, SharedError, Socket, Stats, Transport,
    TrySendError, UpgradedParts, Violation, WebSocketStream,
    compat::{
        BinaryType, CloseError, CloseEvent, Event, InvalidStateError, ListenerId, ListenerOptions, MessageEvent,
        WeakWebSocket, WebSocket, WebSocketBuilder,
    },
};

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_error<T: std::error::Error + Send + Sync + 'static>() {}

/// Asserts of each type all three.
macro_rules! goes_anywhere {
    ($($type:ty),* $(,)?) => {
        $(is_send::<$type>(); is_sync::<$type>(); is_unpin::<$type>();)*
    };
}

#[test]
fn values_options_and_events_go_anywhere() {
    goes_anywhere!(
        Backoff,
        CloseCode,
        CloseFrame,
        Closed,
        Config,
        Deflate,
        HeaderText,
        Kind,
        Message,
        MessageRef<'_>,
        NextOrRoom,
        Phase,
        ReadyState,
        Retry,
        Stats,
        ClientBuilder,
        BinaryType,
        CloseEvent,
        Event,
        wsflow::Event,
        ListenerId,
        ListenerOptions,
        MessageEvent,
        ProxyCause,
    );
    #[cfg(feature = "proxy")]
    goes_anywhere!(wsflow::Proxy);
}

#[test]
fn connections_their_halves_and_what_they_lend_go_anywhere() {
    goes_anywhere!(
        WebSocketStream,
        WebSocketStream<DuplexStream>,
        ByteStream,
        ByteStream<DuplexStream>,
        MessageReader<'_>,
        MessageWriter<'_>,
        UpgradedParts<Transport>,
        Pong,
        Receiver,
        Sender,
        SenderSink,
        Socket,
        Transport,
        WebSocket,
        WeakWebSocket,
        WebSocketBuilder,
    );
}

#[test]
fn errors_go_anywhere_and_into_a_box_of_any() {
    goes_anywhere!(Error, SharedError<dyn std::error::Error + Send + Sync>);
    is_error::<Error>();
    is_error::<InvalidControl>();
    is_error::<InvalidHeader>();
    is_error::<InvalidRedirect>();
    is_error::<InvalidResponse>();
    is_error::<InvalidSubprotocol>();
    is_error::<InvalidUrl>();
    is_error::<LimitExceeded>();
    is_error::<ProxyError>();
    is_error::<Redirected>();
    is_error::<TrySendError>();
    is_error::<Violation>();
    is_error::<CloseError>();
    is_error::<InvalidStateError>();
}

/// The attempt is pinned by its box.
#[test]
fn connections_one_after_another_are_unpin_whatever_their_attempt_is() {
    is_unpin::<Reconnect<fn(), PhantomPinned>>();
    is_send::<Reconnect<fn(), ()>>();
}
