//! The browser's `WebSocket`: events and handlers over the stream.
//!
//! For code and knowledge that come from the browser. Nothing here waits: `send` queues without a bound and
//! [`buffered_amount`](WebSocket::buffered_amount) tells how much. New code is better off with
//! [`WebSocketStream`](crate::WebSocketStream), which waits instead.
//!
//! Compression (permessage-deflate) is offered to the server, as browsers do, unless a
//! [`config`](WebSocketBuilder::config) says otherwise.

mod dispatch;
mod event;
mod shared;

use std::{fmt, sync::Arc};

pub use self::event::{CloseEvent, Event, MessageEvent};
use self::{
    dispatch::Dispatch,
    event::Handlers,
    shared::{Handle, Shared},
};
use crate::{
    client::ClientBuilder,
    close::{CloseCode, CloseFrame},
    config::{Config, Deflate},
    error::{Error, InvalidProtocol, InvalidUrl},
    message::Message,
    protocol::ReadyState,
    target::Target,
};

/// A browser's `WebSocket`. Its clones are handles to the same connection.
///
/// Handlers run one after another on a task of the connection's own, never two at a time, and no lock is held while
/// they run: `send`, `close` and setting handlers are allowed inside. The next message is read only after the handler
/// of the one before returned. A handler that panics does not stop the connection.
///
/// # Drop
///
/// When the last handle is dropped, what was queued is still sent, then a Close frame without a code, within the
/// configured deadlines; events that come meanwhile still reach the handlers. While connecting the attempt is aborted.
#[derive(Clone)]
pub struct WebSocket {
    handle: Arc<Handle>,
}

/// `send` was called while connecting: nothing was queued. In every other state `send` does not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("InvalidStateError: the connection is not open yet")]
pub struct InvalidStateError;

/// Why `close_with` did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
    /// If the URL cannot be connected to. Whatever else goes wrong shows as events.
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
        let config = Config::default().deflate(Deflate::default());
        Ok(WebSocketBuilder { client: ClientBuilder::new(Ok(target)).config(config), shared })
    }

    /// The URL, serialised as the WHATWG URL standard does.
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
        self.shared().ready_state()
    }

    /// Payload bytes that `send` has taken and the transport has not. It never falls while a handler runs, also counts
    /// what was sent after the close, and is not reset when the connection ends.
    pub fn buffered_amount(&self) -> u64 {
        self.shared().buffered_amount()
    }

    /// What ended the connection, if it was an error. Events do not tell, as in a browser.
    pub fn error(&self) -> Option<Error> {
        self.shared().error()
    }

    /// Queues a message. It never waits; after the close it drops the message, of which
    /// [`buffered_amount`](Self::buffered_amount) still tells.
    ///
    /// # Errors
    ///
    /// While connecting.
    pub fn send(&self, data: impl Into<Message>) -> Result<(), InvalidStateError> {
        self.shared().send(data.into())
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

    /// Waits until the `close` event was handled. Cancel safe.
    pub async fn closed(&self) {
        self.shared().closed().await;
    }

    fn shared(&self) -> &Arc<Shared> {
        self.handle.shared()
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
#[derive(Debug)]
pub struct WebSocketBuilder {
    client: ClientBuilder,
    shared: Arc<Shared>,
}

impl WebSocketBuilder {
    /// The subprotocols to offer, in the order of preference.
    ///
    /// # Errors
    ///
    /// If a name is not valid or stands twice.
    pub fn protocols(
        mut self,
        protocols: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, InvalidProtocol> {
        self.client = self.client.protocols(protocols);
        self.client.check_protocols()?;
        Ok(self)
    }

    /// Adds a header to the request, as [`ClientBuilder::header`]. One that is refused shows as an `error` event.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.client = self.client.header(name, value);
        self
    }

    /// The bounds and deadlines of the connection, and its compression.
    ///
    /// Without it compression is offered, as browsers do. A config replaces that: [`Config::default()`] offers none.
    pub fn config(mut self, config: Config) -> Self {
        self.client = self.client.config(config);
        self
    }

    /// Begins to connect, on a task of the current tokio runtime, and returns at once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect(self) -> WebSocket {
        let handle = Handle::new(self.shared);
        Dispatch::spawn(self.client, &handle);
        WebSocket { handle }
    }
}

/// The same handler in both places where one can be set: the builder, before anything can happen, and the socket.
macro_rules! handlers {
    ($($on:ident, $set_on:ident, $clear_on:ident, $slot:ident, $event:ty, $when:literal;)*) => {
        impl WebSocketBuilder {
            $(
                #[doc = concat!("Sets the handler that is called ", $when, ".")]
                pub fn $on(self, handler: impl FnMut(&WebSocket, &$event) + Send + 'static) -> Self {
                    self.shared.handlers().$slot.set(Some(Box::new(handler)));
                    self
                }
            )*
        }

        impl WebSocket {
            $(
                #[doc = concat!("Sets the handler that is called ", $when, ", in place of the one before. Inside of a handler it takes effect for the next event.")]
                pub fn $set_on(&self, handler: impl FnMut(&WebSocket, &$event) + Send + 'static) {
                    self.shared().handlers().$slot.set(Some(Box::new(handler)));
                }

                #[doc = concat!("Removes the handler that is called ", $when, ".")]
                pub fn $clear_on(&self) {
                    self.shared().handlers().$slot.set(None);
                }
            )*
        }
    };
}

handlers! {
    on_open, set_on_open, clear_on_open, open, Event, "when the connection is open";
    on_message, set_on_message, clear_on_message, message, MessageEvent, "with each message";
    on_error, set_on_error, clear_on_error, error, Event, "when the connection fails, just before it is closed";
    on_close, set_on_close, clear_on_close, close, CloseEvent, "once, when the connection has ended or could not be made";
}
