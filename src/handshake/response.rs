//! What a response that switches protocols agrees to, checked against the request (RFC 6455, section 4.1).

use http::{
    Response, Version,
    header::{AsHeaderName, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    error::{HeaderText, InvalidResponse},
    handshake::{extension, request::Request},
    wire::{deflate::NegotiatedDeflate, token::OWS},
};

/// What a response that switches protocols agrees to.
#[derive(Debug)]
pub(crate) struct NegotiatedResponse {
    /// The chosen subprotocol, `""` for none.
    pub(crate) protocol: String,
    /// The extensions in use, as the server names them, `""` for none.
    pub(crate) extensions: String,
    /// The compression among them.
    pub(crate) deflate: Option<NegotiatedDeflate>,
}

/// Checks a response of status 101 to `request` with this `key`.
pub(crate) fn validate(
    response: &Response<()>,
    key: &str,
    request: &Request,
) -> Result<NegotiatedResponse, InvalidResponse> {
    // A status line of HTTP/1.0 cannot switch protocols (RFC 9110, section 15.2).
    if response.version() != Version::HTTP_11 {
        return Err(InvalidResponse::malformed("101 in HTTP/1.0"));
    }
    // It has no body, and says of none (RFC 9110, section 8.6; RFC 9112, section 6.1): frames would be taken for it.
    if response.headers().contains_key(TRANSFER_ENCODING) {
        return Err(InvalidResponse::malformed("101 with Transfer-Encoding"));
    }
    let mut lengths = response.headers().get_all(CONTENT_LENGTH).iter();
    if lengths.any(|length| length.as_bytes().trim_ascii() != b"0") {
        return Err(InvalidResponse::malformed("101 with a Content-Length other than 0"));
    }
    // 4.1, item 2. Upgrade may list protocols, but of these one only is in use after a 101.
    let upgrade = text(response, UPGRADE);
    if !upgrade.as_str().is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err(InvalidResponse::Upgrade(upgrade));
    }
    // Item 3.
    let connection = text(response, CONNECTION);
    // Within quotes a comma separates nothing, and no token has any.
    if connection.as_str().is_some_and(|value| value.contains('"')) {
        return Err(InvalidResponse::malformed("the header Connection has a quotation mark"));
    }
    let mut tokens = connection.as_str().unwrap_or_default().split(',');
    if !tokens.any(|token| token.trim_matches(OWS).eq_ignore_ascii_case("upgrade")) {
        return Err(InvalidResponse::Connection(connection));
    }
    // Item 4.
    let accept = text(response, "sec-websocket-accept");
    if accept.as_str() != Some(&derive_accept_key(key.as_bytes())) {
        return Err(InvalidResponse::Accept(accept));
    }
    // Item 5, and section 9.1: only what was offered may be in use.
    let extensions = text(response, "sec-websocket-extensions");
    let extensions = extensions.as_str().unwrap_or_default();
    let deflate = extension::validate(extensions, request.deflate.as_ref())
        .map_err(|wrong| InvalidResponse::extension(extensions, wrong))?;
    let protocol = validate_subprotocol(text(response, "sec-websocket-protocol"), request)?;
    Ok(NegotiatedResponse { protocol, extensions: extensions.into(), deflate })
}

/// Item 6. Where some were offered one of them must be chosen, unless the caller allows none: stricter than the RFC, as WHATWG
/// has it.
fn validate_subprotocol(protocol: HeaderText, request: &Request) -> Result<String, InvalidResponse> {
    match protocol.as_str().unwrap_or_default() {
        "" if request.protocols.is_empty() || !request.subprotocol_required => Ok(String::new()),
        "" => Err(InvalidResponse::NoSubprotocol),
        name if request.protocols.contains(name) => Ok(name.to_owned()),
        _ => Err(InvalidResponse::Subprotocol(protocol.into_secret())),
    }
}

/// The whole value of a header: several lines of it mean one list (RFC 9110, section 5.3).
fn text(response: &Response<()>, name: impl AsHeaderName) -> HeaderText {
    let lines = response.headers().get_all(name);
    let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let whole = lines.iter().map(|line| line.trim_matches(OWS)).collect::<Vec<_>>().join(", ");
    HeaderText::new((!lines.is_empty()).then_some(&whole))
}
