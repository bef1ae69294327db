//! The browser's `WebSocket`: events and handlers over the stream.
//!
//! For code and knowledge that come from the browser. Nothing here waits: `send` queues without a bound and
//! [`buffered_amount`](WebSocket::buffered_amount) tells how much. New code is better off with
//! [`WebSocketStream`], which waits instead.
//!
//! Compression (permessage-deflate) is offered to the server, as browsers do, unless a
//! [`config`](WebSocketBuilder::config) says otherwise.
//! `docs/browser.md` in the repository lists what is missing here, or differs from a browser.

mod event;
mod handlers;
mod shared;

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::Connector;

pub use self::event::{CloseEvent, Event, ListenerId, ListenerOptions, MessageEvent};
use self::{
    handlers::Handlers,
    shared::{Handle, Shared},
};
use crate::{
    client::ClientBuilder,
    close::{CloseCode, CloseFrame, Closed},
    config::{Config, Deflate},
    error::{Error, InvalidSubprotocol, InvalidUrl},
    handshake::subprotocol::Grammar,
    message::Message,
    protocol::ReadyState,
    stream::WebSocketStream,
    transport::target::Target,
};

/// A browser's `WebSocket`. Its clones are handles to the same connection.
///
/// Handlers run one after another on a task of the connection's own, never two at a time, and no lock is held while
/// they run: `send`, `close` and setting handlers are allowed inside. The next message is read only after the handler
/// of the one before returned. A handler that panics does not stop the connection.
///
/// # Async work
///
/// A handler is a plain function: it cannot await, and while it runs the next event waits. What takes long goes to a
/// task of its own:
///
/// ```no_run
/// use wsflow::{Message, compat::WebSocket};
///
/// # async fn answer(question: Message) -> Message { question }
/// # fn example() -> Result<(), wsflow::InvalidUrl> {
/// let ws = WebSocket::builder("wss://example.com/feed")?
///     .on_message(|ws, event| {
///         let (ws, question) = (ws.clone(), event.data.clone());
///         tokio::spawn(async move {
///             let answer = answer(question).await;
///             let _ = ws.send(answer); // it fails while connecting only
///         });
///     })
///     .connect();
/// # Ok(()) }
/// ```
///
/// Such tasks run side by side, and nothing bounds their number. Where their order matters, the handler sends to a
/// channel that one task reads.
///
/// # Drop
///
/// When the last handle is dropped, what was queued is still sent, then a Close frame without a code, within the
/// configured deadlines; events that come meanwhile still reach the handlers. While connecting the attempt is aborted.
///
/// A handler that owns a handle of its own socket keeps the connection open: that handle is dropped with the handler,
/// when the connection has ended. A handler needs none, since its first argument is the socket. Where it has to own
/// one, [`downgrade`](Self::downgrade) gives a [`WeakWebSocket`], which does not count.
#[derive(Clone)]
#[must_use = "the connection closes when the last handle is dropped"]
pub struct WebSocket {
    handle: Arc<Handle>,
}

/// A handle that does not keep the connection open: see [`WebSocket`], "Drop".
#[derive(Clone)]
pub struct WeakWebSocket {
    handle: Weak<Handle>,
}

/// `send` was called while connecting: nothing was queued. In every other state `send` does not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("InvalidStateError: the connection is not open yet")]
pub struct InvalidStateError;

/// In what form binary messages are handed out, as the browser's `binaryType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BinaryType {
    /// A slice of the read buffer, without a copy. It keeps that buffer alive as long as it is kept.
    #[default]
    ArrayBuffer,
    /// An allocation of its own. Keeping it keeps no other memory alive.
    Blob,
}

/// Why `close_with` did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseError {
    /// The code is one that an application may not send.
    #[error("InvalidAccessError: the close code must be 1000 or 3000-4999")]
    InvalidAccess,
    /// The reason is longer than a Close frame can carry.
    #[error("SyntaxError: the close reason must have at most 123 bytes of UTF-8")]
    Syntax,
}

impl WebSocket {
    /// Connects. Handlers that are set afterwards may miss early events: [`builder`](Self::builder) takes them before.
    ///
    /// # Errors
    ///
    /// If the URL is invalid. Every other failure is reported by events.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as [`WebSocketBuilder::connect`].
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self::builder(url)?.connect())
    }

    /// Begins a connection with handlers and options.
    ///
    /// # Errors
    ///
    /// If the URL cannot be connected to.
    pub fn builder(url: &str) -> Result<WebSocketBuilder, InvalidUrl> {
        let target = Target::parse(url)?;
        let shared = Shared::new(target.url());
        let config = Config::default().deflate(Deflate::default()).keepalive_interval(None).write_timeout(None);
        let client = ClientBuilder::new(Ok(target)).grammar(Grammar::Token).config(config).tcp_user_timeout(None);
        Ok(WebSocketBuilder { client, shared })
    }

    /// The URL that was given, serialised as the WHATWG URL standard does. Redirects do not change it: where they led is the
    /// [`origin`](MessageEvent#structfield.origin) of messages.
    pub fn url(&self) -> String {
        self.shared().url().to_owned()
    }

    /// The subprotocol that the server chose; `""` before the connection is open, and if there is none.
    pub fn protocol(&self) -> String {
        self.shared().negotiated().0
    }

    /// The extensions in use; `""` before the connection is open, and if there are none.
    pub fn extensions(&self) -> String {
        self.shared().negotiated().1
    }

    /// The state. It moves at once in [`close`](Self::close), else just before the event that shows it, or without one
    /// when the peer begins to close.
    pub fn ready_state(&self) -> ReadyState {
        self.shared().outbox().ready_state()
    }

    /// Payload bytes that `send` has taken and the transport has not. It never falls while a handler runs, also counts
    /// what was sent after the close, and is not reset when the connection ends.
    pub fn buffered_amount(&self) -> u64 {
        self.shared().outbox().buffered_amount()
    }

    /// What ended the connection, if it was an error. Events do not tell, as in a browser: also where the peer closed within
    /// a message, which `close` calls clean and this does not.
    pub fn error(&self) -> Option<Error> {
        self.shared().error()
    }

    /// Queues a message. It never waits; after the close it drops the message, of which
    /// [`buffered_amount`](Self::buffered_amount) still tells.
    ///
    /// If that goes beyond [`max_buffered_amount`](WebSocketBuilder::max_buffered_amount) the connection is given up: an
    /// `error` and a `close` event with code 1006 follow. This call does not fail.
    ///
    /// # Errors
    ///
    /// While connecting.
    pub fn send(&self, data: impl Into<Message>) -> Result<(), InvalidStateError> {
        if self.shared().outbox().post(data.into()) { Ok(()) } else { Err(InvalidStateError) }
    }

    /// In what form binary messages are handed out.
    pub fn binary_type(&self) -> BinaryType {
        self.shared().binary_type()
    }

    /// Sets in what form binary messages are handed out, from the next event on.
    pub fn set_binary_type(&self, binary_type: BinaryType) {
        self.shared().set_binary_type(binary_type);
    }

    /// Removes a listener, also from the event that is being handed out, if its turn has not come. One that is unknown
    /// is no error.
    pub fn remove_listener(&self, id: ListenerId) {
        let removed = self.shared().listeners().remove(id);
        drop(removed);
    }

    /// Closes the connection without a code, once what is queued was sent. While connecting it aborts the attempt.
    ///
    /// # Errors
    ///
    /// None: the `Result` is that of [`close_with`](Self::close_with).
    pub fn close(&self) -> Result<(), CloseError> {
        self.shared().close(CloseFrame::empty());
        Ok(())
    }

    /// Closes the connection with a code and a reason, once what is queued was sent. On one that is closing or closed
    /// it does nothing; while connecting it aborts the attempt.
    ///
    /// # Errors
    ///
    /// If the code is not 1000 or 3000-4999, or else if the reason has more than 123 bytes; in every state.
    pub fn close_with(&self, code: u16, reason: &str) -> Result<(), CloseError> {
        if !CloseCode::from(code).is_valid_for_event_api() {
            return Err(CloseError::InvalidAccess);
        }
        if reason.len() > CloseFrame::MAX_REASON {
            return Err(CloseError::Syntax);
        }
        self.shared().close(CloseFrame::new(code, reason));
        Ok(())
    }

    /// Drops the transport of a connection: what is queued is lost, and the peer gets no Close frame. `close` fires with 1006,
    /// unclean, without `error`; in a handler, once the handlers of that event have returned, and no `message` follows. While
    /// connecting it is [`close`](Self::close). On a connection that has ended it does nothing.
    pub fn abort(&self) {
        self.shared().abort();
    }

    /// Leaves, as a page that goes away does: an open connection is closed with code 1001 once what is queued was sent,
    /// an attempt to connect is aborted. On one that is closing or closed it does nothing.
    pub fn shutdown(&self) {
        self.shared().close(CloseFrame::new(CloseCode::GOING_AWAY, ""));
    }

    /// Waits until [`buffered_amount`](Self::buffered_amount) is 0, or the connection has ended, after which it cannot
    /// fall any more. Cancel safe.
    pub async fn drained(&self) {
        // It says how it ended by its state.
        let _ = self.shared().outbox().drained().await;
    }

    /// Waits until the `close` event was handled, and gives what it has shown. Cancel safe.
    pub async fn closed(&self) -> Closed {
        self.shared().until_finished().await;
        // Nobody calls a handler any more where the runtime was shut down before.
        self.shared().outbox().closed().cloned().unwrap_or_else(Closed::abnormal)
    }

    /// A handle that does not keep the connection open.
    pub fn downgrade(&self) -> WeakWebSocket {
        WeakWebSocket { handle: Arc::downgrade(&self.handle) }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.handle.shared()
    }
}

impl WeakWebSocket {
    /// The socket, or `None` once its last handle was dropped.
    pub fn upgrade(&self) -> Option<WebSocket> {
        Some(WebSocket { handle: self.handle.upgrade()? })
    }
}

impl fmt::Debug for WeakWebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakWebSocket").finish_non_exhaustive()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("ready_state", &self.ready_state())
            .field("buffered_amount", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}

/// The options and first handlers of a [`WebSocket`].
#[must_use = "nothing happens before `connect`"]
pub struct WebSocketBuilder {
    client: ClientBuilder,
    shared: Arc<Shared>,
}

impl WebSocketBuilder {
    /// The subprotocols to offer, in the order of preference. Names are tokens, as in a browser.
    ///
    /// # Errors
    ///
    /// If a name is not valid or is listed twice.
    pub fn protocols(
        mut self,
        protocols: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, InvalidSubprotocol> {
        self.client = self.client.protocols(protocols);
        self.client.check_protocols()?;
        Ok(self)
    }

    /// Adds a header to the request, as [`ClientBuilder::header`]. One that is refused shows as an `error` event.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.client = self.client.header(name, value);
        self
    }

    /// The bounds and deadlines of the connection. Without it they are the defaults with
    /// [`Config::deflate`] on, since browsers offer compression, without
    /// [keepalive](Config::keepalive_interval), since they send no pings, and without a
    /// [`write_timeout`](Config::write_timeout), since they wait for ever; what is given here is taken as it is. For the
    /// same reason TCP has no [`tcp_user_timeout`](ClientBuilder::tcp_user_timeout) here, unless
    /// [`client`](Self::client) sets one.
    pub fn config(mut self, config: Config) -> Self {
        self.client = self.client.config(config);
        self
    }

    /// The TLS settings to use for `wss`, as [`ClientBuilder::tls`].
    pub fn tls(mut self, connector: Connector) -> Self {
        self.client = self.client.tls(connector);
        self
    }

    /// Sets whatever else a [`ClientBuilder`] has: a proxy, timeouts of connecting, redirects, a resolver. `configure` gets
    /// the one of this socket.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wsflow::compat::WebSocket;
    /// let builder = WebSocket::builder("wss://example.com/chat")?.client(|client| client.connect_timeout(Duration::from_secs(5)));
    /// # Ok::<(), wsflow::InvalidUrl>(())
    /// ```
    ///
    /// What the connection is refused for shows as an `error` event. A [`signal`](ClientBuilder::signal) has no effect here:
    /// [`close`](WebSocket::close) ends the attempt.
    pub fn client(mut self, configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.client = configure(self.client);
        self
    }

    /// How much may be queued, in bytes of payload. Default `None`: no limit, as in a browser.
    ///
    /// What [`send`](WebSocket::send) queues beyond ends the connection at once, without a closing handshake. New code
    /// is better off with a sink that waits.
    pub fn max_buffered_amount(self, bytes: impl Into<Option<u64>>) -> Self {
        self.shared.outbox().set_max_buffered_amount(bytes.into());
        self
    }

    /// Begins to connect, on a task of the current tokio runtime, and returns at once.
    ///
    /// Keep the socket that it returns: its drop aborts the attempt. The compiler warns where the socket is not used, and
    /// refuses it where warnings are denied:
    ///
    /// ```compile_fail
    /// #![deny(unused_must_use)]
    /// # fn main() -> Result<(), wsflow::InvalidUrl> {
    /// wsflow::compat::WebSocket::builder("wss://example.com/feed")?.connect();
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect(self) -> WebSocket {
        self.begin(ClientBuilder::connect)
    }

    /// As [`connect`](Self::connect), over `io`, which is connected to the server already: through a proxy, a tunnel,
    /// TLS of your own or a test's pipe. See [`ClientBuilder::connect_over`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect_over<S>(self, io: S) -> WebSocket
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.begin(|client| client.connect_over(io))
    }

    fn begin<S, F>(self, connect: impl FnOnce(ClientBuilder) -> F) -> WebSocket
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<WebSocketStream<S>, Error>> + Send + 'static,
    {
        let handle = Handle::new(self.shared);
        let client = self.client.signal(handle.shared().abort_token());
        Handlers::spawn(&handle, connect(client));
        WebSocket { handle }
    }
}

/// Without what may be secret: the URL's password, the values of headers.
impl fmt::Debug for WebSocketBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketBuilder").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What is there for each of the four events: the handler (`on…`), which can be set in the builder, before anything can
/// happen, or on the socket; and listeners.
macro_rules! events {
    ($($event:ident: $type:ty, $when:literal, $on:ident $set_on:ident $clear_on:ident $add:ident $add_with:ident;)*) => {
        impl WebSocketBuilder {
            $(
                #[doc = concat!("Sets the handler that is called ", $when, ".")]
                pub fn $on(self, handler: impl FnMut(&WebSocket, &$type) + Send + 'static) -> Self {
                    self.shared.set_handler(|listeners| &mut listeners.$event, Box::new(handler));
                    self
                }
            )*
        }

        impl WebSocket {
            $(
                #[doc = concat!("Sets the handler that is called ", $when, ".")]
                ///
                /// It takes the place of the one before among the listeners, or else the last one. Once the `close` event
                /// was handled it is dropped at once.
                pub fn $set_on(&self, handler: impl FnMut(&WebSocket, &$type) + Send + 'static) {
                    self.shared().set_handler(|listeners| &mut listeners.$event, Box::new(handler));
                }

                #[doc = concat!("Removes the handler that is called ", $when, ".")]
                pub fn $clear_on(&self) {
                    let removed = self.shared().listeners().$event.clear_handler();
                    drop(removed);
                }

                #[doc = concat!("Adds a listener that is called ", $when, ".")]
                pub fn $add(&self, listener: impl FnMut(&WebSocket, &$type) + Send + 'static) -> ListenerId {
                    self.$add_with(ListenerOptions::default(), listener)
                }

                #[doc = concat!("Adds a listener that is called ", $when, ", with options.")]
                ///
                /// Listeners are called in the order in which they were added. One that is added while an event is
                /// handed out is not called for that event. Once the `close` event was handled it is dropped at once.
                pub fn $add_with(
                    &self,
                    options: ListenerOptions,
                    listener: impl FnMut(&WebSocket, &$type) + Send + 'static,
                ) -> ListenerId {
                    let listener = Box::new(listener);
                    let (id, refused) =
                        self.shared().listeners().add(|listeners| &mut listeners.$event, options, listener);
                    drop(refused);
                    id
                }
            )*
        }
    };
}

events! {
    open: Event, "when the connection is open",
        on_open set_on_open clear_on_open add_open_listener add_open_listener_with;
    message: MessageEvent, "with each message",
        on_message set_on_message clear_on_message add_message_listener add_message_listener_with;
    error: Event, "when the connection fails, just before it is closed",
        on_error set_on_error clear_on_error add_error_listener add_error_listener_with;
    close: CloseEvent, "once, when the connection has ended or could not be made",
        on_close set_on_close clear_on_close add_close_listener add_close_listener_with;
}
