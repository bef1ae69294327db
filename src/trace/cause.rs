//! What a trace may show of an error: its kind, and its text if no peer wrote a part of it.

use crate::error::{Error, ProxyCause};

/// The kind, as OpenTelemetry's `error.type` wants it: one of few words.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::InvalidUrl(_) => "invalid_url",
        Error::InvalidSubprotocol(_) => "invalid_subprotocol",
        Error::InvalidHeader(_) => "invalid_header",
        Error::InvalidControl(_) => "invalid_control_frame",
        Error::TooManyPings { .. } => "too_many_pings",
        Error::NotReady => "not_ready",
        Error::InvalidText => "invalid_text",
        Error::UnfinishedMessage => "unfinished_message",
        Error::Overflow(_) => "overflow",
        Error::Aborted => "aborted",
        Error::Closing { .. } => "closing",
        Error::Closed(_) => "closed",
        Error::Connect { .. } => "connect",
        Error::Proxy(_) => "proxy",
        Error::Io(_) => "io",
        Error::Tls(_) => "tls",
        Error::Timeout { .. } => "timeout",
        Error::Refused(_) => "refused",
        Error::Redirect(_) => "redirect",
        Error::Handshake(_) => "handshake",
        Error::ProtocolViolation(_) => "protocol_violation",
        Error::Limit(_) => "limit",
        Error::UnexpectedText => "unexpected_text",
    }
}

/// The text of the error, without what the caller or the other side may have put into it.
pub(super) fn text(error: &Error) -> String {
    match error {
        // What was given may have a secret in it.
        Error::InvalidUrl(_) => "invalid URL".into(),
        Error::InvalidSubprotocol(_) => "invalid subprotocol".into(),
        Error::InvalidHeader(_) => "invalid header".into(),
        // A body, headers, a close reason.
        Error::Refused(response) => format!("the server refused the upgrade with status {}", response.status()),
        Error::Handshake(_) => "the server's response is no answer to the upgrade request".into(),
        Error::Closed(closed) => format!("the connection was closed with code {}", closed.code),
        Error::Redirect(redirected) => format!("a redirect was not followed: {}", redirected.reason()),
        Error::Proxy(failed) => {
            let what = match &failed.cause {
                ProxyCause::Refused(response) => format!("refused the tunnel with status {}", response.status()),
                ProxyCause::Response(_) => "sent an invalid response".into(),
                ProxyCause::Tls(_)
                | ProxyCause::NoMethod
                | ProxyCause::Credentials
                | ProxyCause::Reply(_)
                | ProxyCause::Protocol => {
                    return failed.to_string();
                }
            };
            format!("the proxy {} for {} {what}", failed.proxy, failed.server.origin())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use bytes::Bytes;
    use http::{StatusCode, uri::Authority};

    use super::*;
    use crate::{
        close::Closed,
        error::{
            HeaderText, InvalidControl, InvalidHeader, InvalidRedirect, InvalidResponse, InvalidSubprotocol,
            InvalidUrl, LimitExceeded, Phase, ProxyError, Redirected, Server, SharedError, Violation,
        },
    };

    /// It stands wherever a caller or the other side can put a text.
    const SECRET: &str = "s3cret";

    #[test]
    fn an_error_is_shown_by_its_kind_and_without_the_texts_of_others() {
        let server = || Arc::new(Server::new("ws", Authority::from_static("host:80")));
        let proxy = |cause| {
            Error::Proxy(Arc::new(ProxyError { proxy: Authority::from_static("proxy:3128"), server: server(), cause }))
        };
        let response = |status: u16| {
            let mut response = http::Response::new(Bytes::from_static(SECRET.as_bytes()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("set-cookie", http::HeaderValue::from_static(SECRET));
            response
        };
        let accept = || InvalidResponse::Accept(HeaderText::new(Some(SECRET)));
        let no = || SharedError::from(Box::<dyn std::error::Error + Send + Sync>::from("no"));
        let way = [url::Url::parse("ws://host/?s3cret").unwrap()];
        let table: [(Error, &str, &str); 29] = [
            (InvalidUrl::Resource(SECRET.into()).into(), "invalid_url", "invalid URL"),
            (InvalidSubprotocol::Empty.into(), "invalid_subprotocol", "invalid subprotocol"),
            (InvalidHeader::Name(SECRET.into()).into(), "invalid_header", "invalid header"),
            (InvalidControl::ControlPayload(126).into(), "invalid_control_frame", ""),
            (Error::TooManyPings { limit: 16 }, "too_many_pings", ""),
            (Error::NotReady, "not_ready", ""),
            (Error::InvalidText, "invalid_text", ""),
            (Error::UnfinishedMessage, "unfinished_message", ""),
            (Error::Overflow(1), "overflow", ""),
            (Error::Aborted, "aborted", ""),
            (Error::UnexpectedText, "unexpected_text", ""),
            (Error::Closing { by_peer: None }, "closing", ""),
            (
                Closed { code: 1008.into(), reason: SECRET.into(), ..Closed::abnormal() }.into(),
                "closed",
                "the connection was closed with code 1008",
            ),
            (
                Error::Connect { server: server(), cause: SharedError::new(io::ErrorKind::ConnectionRefused.into()) },
                "connect",
                "",
            ),
            (
                proxy(ProxyCause::Refused(response(407))),
                "proxy",
                "the proxy proxy:3128 for ws://host:80 refused the tunnel with status 407 Proxy Authentication Required",
            ),
            (
                proxy(ProxyCause::Response(accept())),
                "proxy",
                "the proxy proxy:3128 for ws://host:80 sent an invalid response",
            ),
            (proxy(ProxyCause::Tls(no())), "proxy", "the proxy proxy:3128 for ws://host:80 failed in TLS: no"),
            (
                proxy(ProxyCause::NoMethod),
                "proxy",
                "the proxy proxy:3128 for ws://host:80 takes none of the offered ways to authenticate",
            ),
            (proxy(ProxyCause::Credentials), "proxy", "the proxy proxy:3128 for ws://host:80 refused the credentials"),
            (
                proxy(ProxyCause::Reply(5)),
                "proxy",
                "the proxy proxy:3128 for ws://host:80 refused the tunnel with SOCKS reply 5 (connection refused)",
            ),
            (proxy(ProxyCause::Protocol), "proxy", "the proxy proxy:3128 for ws://host:80 does not speak SOCKS5"),
            (Error::io(io::ErrorKind::BrokenPipe.into()), "io", ""),
            (Error::Tls(no()), "tls", ""),
            (Error::timeout(Phase::Write, None), "timeout", ""),
            (
                Error::Refused(Arc::new(response(403))),
                "refused",
                "the server refused the upgrade with status 403 Forbidden",
            ),
            (
                Error::Redirect(Arc::new(Redirected::new(InvalidRedirect::Loop, way))),
                "redirect",
                "a redirect was not followed: they lead in a loop",
            ),
            (accept().into(), "handshake", "the server's response is no answer to the upgrade request"),
            (Violation::MaskedFrame.into(), "protocol_violation", ""),
            (LimitExceeded::Fragments { limit: 1 }.into(), "limit", ""),
        ];
        for (error, expected_kind, expected_text) in table {
            assert_eq!(kind(&error), expected_kind, "{error:?}");
            let shown = text(&error);
            // Nobody else has a word in these.
            let expected_text = if expected_text.is_empty() { &error.to_string() } else { expected_text };
            assert_eq!(shown, expected_text);
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
}
