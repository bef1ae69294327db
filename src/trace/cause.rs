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
        Error::Closing => "closing",
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
            format!("the proxy {} {what}", failed.proxy)
        }
        other => other.to_string(),
    }
}
