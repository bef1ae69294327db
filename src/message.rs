//! A message: what the stream yields and the sink takes.

use std::fmt;

use bytes::Bytes;
use tokio_tungstenite::{tungstenite, tungstenite::Utf8Bytes};

/// One whole WebSocket message, either direction (RFC 6455, section 5.6).
///
/// Cloning is cheap: both variants are reference-counted slices. A received message is usually a slice of the
/// connection's read buffer and keeps that buffer alive as long as it lives; see
/// [`Config::copy_payloads_up_to`](crate::Config::copy_payloads_up_to) for messages that are kept.
///
/// Pings, pongs and Close frames are not messages: the connection deals with them itself.
///
/// `{:?}` shows the length, and at most 256 bytes of the payload, of a text as text: `Text("hello", 5 bytes)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// A text message, valid UTF-8.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
}

/// What a message carries (RFC 6455, section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text: valid UTF-8.
    Text,
    /// Bytes.
    Binary,
}

impl Message {
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self::Binary(data.into())
    }

    /// The text, if this is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Binary(_) => None,
        }
    }

    /// The text, without a copy, if this is a text message.
    ///
    /// # Errors
    ///
    /// A binary message is given back, whatever is in it.
    pub fn into_text(self) -> Result<Utf8Bytes, Self> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(_) => Err(self),
        }
    }

    /// The payload, whatever its kind.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_str().as_bytes(),
            Self::Binary(data) => data,
        }
    }

    /// The payload, whatever its kind, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(data) => data,
        }
    }

    /// Length of the payload in bytes (of UTF-8, for text).
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload has no bytes. An empty message is a message like any other.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Self::Binary(data.into())
    }
}

impl From<&[u8]> for Message {
    fn from(data: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(data))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(data: &[u8; N]) -> Self {
        data.as_slice().into()
    }
}

/// A message that is lent: one that was received and stays in the connection's buffer, or one that is to be sent from a
/// buffer of the caller's. There is no reference count and no allocation.
///
/// [`WebSocketStream::next_ref`](crate::WebSocketStream::next_ref) says when to use which.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageRef<'a> {
    /// A text message, valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// How much of a payload is shown, in bytes.
const SHOWN: usize = 256;

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => MessageRef::Text(text.as_str()).fmt(f),
            Self::Binary(data) => MessageRef::Binary(data).fmt(f),
        }
    }
}

/// As of [`Message`].
impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.as_bytes().len();
        let more = if len > SHOWN { "…" } else { "" };
        match self {
            Self::Text(text) => {
                let end = (0..=len.min(SHOWN)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
                write!(f, "Text({:?}{more}, {len} bytes)", &text[..end])
            }
            Self::Binary(data) => {
                write!(f, "Binary(b\"{}\"{more}, {len} bytes)", data[..len.min(SHOWN)].escape_ascii())
            }
        }
    }
}

impl<'a> MessageRef<'a> {
    #[inline]
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The text, if this is a text message.
    #[inline]
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, of either kind.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(data) => data,
        }
    }

    /// Length of the payload in bytes (of UTF-8, for text).
    #[inline]
    pub fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload has no bytes. An empty message is a message like any other.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.as_bytes().is_empty()
    }

    /// A message of its own, with a copy of the payload, to be kept.
    pub fn to_message(self) -> Message {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(data) => data.into(),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    #[inline]
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.as_str()),
            Message::Binary(data) => Self::Binary(data),
        }
    }
}

impl<'a> From<&'a str> for MessageRef<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for MessageRef<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for MessageRef<'a> {
    #[inline]
    fn from(data: &'a [u8]) -> Self {
        Self::Binary(data)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for MessageRef<'a> {
    #[inline]
    fn from(data: &'a [u8; N]) -> Self {
        Self::Binary(data)
    }
}

impl<'a> From<&'a Vec<u8>> for MessageRef<'a> {
    #[inline]
    fn from(data: &'a Vec<u8>) -> Self {
        Self::Binary(data)
    }
}

impl<'a> From<&'a Bytes> for MessageRef<'a> {
    #[inline]
    fn from(data: &'a Bytes) -> Self {
        Self::Binary(data)
    }
}

impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        message.to_message()
    }
}

impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(data) => Self::Binary(data),
        }
    }
}

/// A tungstenite message that is a control frame or a raw frame has no counterpart here; it comes back unchanged.
impl TryFrom<tungstenite::Message> for Message {
    type Error = tungstenite::Message;

    fn try_from(message: tungstenite::Message) -> Result<Self, Self::Error> {
        match message {
            tungstenite::Message::Text(text) => Ok(Self::Text(text)),
            tungstenite::Message::Binary(data) => Ok(Self::Binary(data)),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_at_most_40_bytes() {
        assert!(size_of::<Message>() <= 40);
        assert!(size_of::<Option<Result<Message, crate::error::Error>>>() <= 40);
    }

    #[test]
    fn into_text_takes_text_only() {
        assert_eq!(Message::text("text").into_text(), Ok(Utf8Bytes::from("text")));
        assert_eq!(Message::binary("text").into_text(), Err(Message::binary("text")));
    }

    #[test]
    fn what_is_text_becomes_text_and_what_is_bytes_becomes_binary() {
        let texts: [Message; 4] =
            ["ab".into(), "ab".to_owned().into(), Utf8Bytes::from("ab").into(), MessageRef::from("ab").into()];
        assert_eq!(texts, [const { Message::Text(Utf8Bytes::from_static("ab")) }; 4]);
        let bytes = b"ab";
        let data: [Message; 5] = [
            bytes.into(),
            bytes.as_slice().into(),
            bytes.to_vec().into(),
            Bytes::from_static(bytes).into(),
            MessageRef::from(bytes).into(),
        ];
        assert_eq!(data, [const { Message::Binary(Bytes::from_static(b"ab")) }; 5]);
    }

    #[test]
    fn converts_to_and_from_tungstenite() {
        for message in [Message::from("text"), Message::from(vec![1, 2, 3])] {
            let there = tungstenite::Message::from(message.clone());
            assert_eq!(Message::try_from(there), Ok(message));
        }
        let ping = tungstenite::Message::Ping(Bytes::from_static(b"x"));
        assert_eq!(Message::try_from(ping.clone()), Err(ping));
    }
}
