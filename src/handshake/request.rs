//! The request that opens a connection (RFC 6455, section 4.1).

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{
    HeaderValue, Uri,
    header::{
        AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
    },
    uri::Scheme,
};
use rand::{TryRng as _, rngs::SysRng};

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
    /// Whether one of these must be chosen.
    pub(crate) subprotocol_required: bool,
    /// Headers of the caller, none of them [owned](is_owned) by the handshake.
    pub(crate) headers: HeaderMap,
    /// What is sent as `User-Agent` if the caller's headers have none.
    pub(crate) user_agent: Option<HeaderValue>,
    /// The compression to offer.
    pub(crate) deflate: Option<Deflate>,
}

impl Request {
    /// Who asks: the value of `User-Agent`, for proxies.
    #[cfg(feature = "proxy")]
    pub(crate) fn user_agent(&self) -> Option<&HeaderValue> {
        self.headers.get(USER_AGENT).or(self.user_agent.as_ref())
    }

    /// The bytes to send, for a `key` that was made for this connection alone. Nobody logs them: they have secrets.
    pub(crate) fn encode(&self, key: &str) -> Vec<u8> {
        let mut bytes = format!("GET {} HTTP/1.1\r\n", self.target.resource()).into_bytes();
        for (name, value) in self.lines(key) {
            push_line(&mut bytes, &capitalised(name), value);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The same, for who sends it by an HTTP client.
    pub(crate) fn to_http(&self, key: &str) -> Result<http::Request<()>, Error> {
        let (mut headers, too_long) = (HeaderMap::new(), || InvalidUrl::Resource("it is too long".into()));
        for (name, value) in self.lines(key) {
            let value = HeaderValue::from_bytes(&value).map_err(|_| InvalidHeader::Value(name.as_str().into()))?;
            add(&mut headers, (name.clone(), value))?;
        }
        let server = self.target.url();
        let authority = match (server.host_str().unwrap_or_default(), server.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let scheme = if self.target.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(self.target.resource().clone());
        let mut request = http::Request::new(());
        *request.uri_mut() = uri.build().map_err(|_| too_long())?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// All headers, in the order in which they are sent.
    fn lines(&self, key: &str) -> Vec<(&HeaderName, Cow<'_, [u8]>)> {
        let text = |text: &str| Cow::Owned(text.as_bytes().to_vec());
        let mut lines = vec![
            (&HOST, Cow::Borrowed(self.target.host().as_bytes())),
            (&CONNECTION, text("Upgrade")),
            (&UPGRADE, text("websocket")),
            (&SEC_WEBSOCKET_VERSION, text("13")),
            (&SEC_WEBSOCKET_KEY, text(key)),
        ];
        if let Some(protocols) = self.protocols.header() {
            lines.push((&SEC_WEBSOCKET_PROTOCOL, Cow::Owned(protocols.as_bytes().to_vec())));
        }
        if let Some(user_agent) = self.user_agent.as_ref().filter(|_| !self.headers.contains_key(USER_AGENT)) {
            lines.push((&USER_AGENT, Cow::Borrowed(user_agent.as_bytes())));
        }
        let explicit = self.headers.contains_key(AUTHORIZATION);
        let credentials = self.target.credentials().filter(|_| !explicit).map(|value| (&AUTHORIZATION, value));
        let own = self.headers.iter().chain(credentials);
        lines.extend(own.map(|(name, value)| (name, Cow::Borrowed(value.as_bytes()))));
        if let Some(deflate) = &self.deflate {
            lines.push((&SEC_WEBSOCKET_EXTENSIONS, text(&extension::offer(deflate))));
        }
        lines
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

/// Whether the handshake alone says what there is of this header: the response is validated against it, or it would say that a
/// body follows (RFC 9112, section 6), or it is for the next hop alone (RFC 9110, section 7.6.1).
pub(crate) fn is_owned(name: &HeaderName) -> bool {
    const OWNED: [&str; 16] = [
        "host",
        "connection",
        "upgrade",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-accept",
    ];
    OWNED.contains(&name.as_str())
}

/// Adds a header, as long as the map has room for it.
pub(crate) fn add(headers: &mut HeaderMap, (name, value): (HeaderName, HeaderValue)) -> Result<(), InvalidHeader> {
    headers.try_append(name, value).map(|_| ()).map_err(|_| InvalidHeader::TooMany)
}

/// Those of the caller's own in a request that was made elsewhere: neither [owned](is_owned), nor named by `Connection` as
/// for one hop (RFC 9110, section 7.6.1).
pub(crate) fn end_to_end(headers: &HeaderMap) -> Result<HeaderMap, InvalidHeader> {
    let hops: Vec<_> =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).collect();
    let is_hop =
        |name: &HeaderName| hops.iter().any(|hop| hop.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()));
    let mut kept = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_owned(name) && !is_hop(name)) {
        add(&mut kept, (name.clone(), value.clone()))?;
    }
    Ok(kept)
}

/// Some servers still compare names with case, and expect the one that most clients send.
fn capitalised(name: &HeaderName) -> String {
    if let Some(rest) = name.as_str().strip_prefix("sec-websocket-") {
        return format!("Sec-WebSocket-{}", capitalised_words(rest));
    }
    capitalised_words(name.as_str())
}

fn capitalised_words(name: &str) -> String {
    let mut starts_word = true;
    let mut capitalise = |c: char| {
        let capitalised = if starts_word { c.to_ascii_uppercase() } else { c };
        starts_word = c == '-';
        capitalised
    };
    name.chars().map(&mut capitalise).collect()
}

fn push_line(bytes: &mut Vec<u8>, name: &str, value: Cow<'_, [u8]>) {
    for part in [name.as_bytes(), b": ", &value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}
