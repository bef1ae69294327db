//! The request that opens a connection (RFC 6455, section 4.1).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{
    HeaderValue, Uri,
    header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, UPGRADE},
};
use rand::{TryRng as _, rngs::SysRng};
use tokio_tungstenite::tungstenite::handshake::client::generate_request;

use crate::{
    config::Deflate,
    error::{Error, InvalidHeader, InvalidUrl, up_to},
    handshake::{extension, subprotocol::Subprotocols},
    transport::target::Target,
};

/// What a client asks for. Everything in it has been validated: it can be sent as it is.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: Target,
    pub(crate) protocols: Subprotocols,
    /// Headers of the caller, none of them [owned](is_owned) by the handshake.
    pub(crate) headers: HeaderMap,
    /// The compression to offer.
    pub(crate) deflate: Option<Deflate>,
}

impl Request {
    /// The bytes to send, for a `key` that was made for this connection alone.
    pub(crate) fn encode(&self, key: &str) -> Result<Vec<u8>, Error> {
        let impossible = |error: String| Error::InvalidUrl(InvalidUrl::Resource(error.into()));
        let mut request = http::Request::new(());
        *request.uri_mut() = Uri::from(self.target.resource().clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.host().clone());
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        let key = HeaderValue::from_str(key).map_err(|error| impossible(error.to_string()))?;
        headers.insert("sec-websocket-key", key);
        if let Some(protocols) = self.protocols.header() {
            headers.insert("sec-websocket-protocol", protocols);
        }
        let (mut bytes, _) = generate_request(request).map_err(|error| impossible(error.to_string()))?;

        // The caller's headers, which may be secrets, come after: `generate_request` logs what it is given.
        bytes.truncate(bytes.len().saturating_sub(b"\r\n".len()));
        let explicit = self.headers.contains_key(AUTHORIZATION);
        let credentials = self.target.credentials().filter(|_| !explicit).map(|value| (&AUTHORIZATION, value));
        for (name, value) in self.headers.iter().chain(credentials) {
            push_line(&mut bytes, name, value.as_bytes());
        }
        if let Some(deflate) = &self.deflate {
            push_line(&mut bytes, &SEC_WEBSOCKET_EXTENSIONS, extension::offer(deflate).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        Ok(bytes)
    }
}

/// A new value of `Sec-WebSocket-Key`: of the operating system's generator, which no two processes share after a fork.
pub(crate) fn key() -> Result<String, Error> {
    let mut nonce = [0; 16];
    SysRng.try_fill_bytes(&mut nonce).map_err(|error| Error::io(error.into()))?;
    Ok(BASE64_STANDARD.encode(nonce))
}

/// A header of the caller, validated.
pub(crate) fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), InvalidHeader> {
    // A whole line may have been given as the name.
    let invalid = |_| InvalidHeader::Name(up_to(name, &[':']).into());
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(invalid)?;
    if is_owned(&parsed) {
        return Err(InvalidHeader::Owned(name.into()));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| InvalidHeader::Value(name.into()))?;
    Ok((parsed, value))
}

/// Whether the handshake alone sets this header: the response is validated against its value.
pub(crate) fn is_owned(name: &HeaderName) -> bool {
    const OWNED: [&str; 8] = [
        "host",
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-accept",
    ];
    OWNED.contains(&name.as_str())
}

/// Some servers still compare names with case, and expect the one that most clients send.
fn push_line(bytes: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let mut starts_word = true;
    for byte in name.as_str().bytes() {
        bytes.push(if starts_word { byte.to_ascii_uppercase() } else { byte });
        starts_word = byte == b'-';
    }
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}
