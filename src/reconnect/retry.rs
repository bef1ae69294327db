//! Whether there is a next attempt, and when.

use std::time::Duration;

use crate::error::{Error, Outlook};

/// What comes after an end: the answer of [`Reconnect::retry`](crate::Reconnect::retry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Retry {
    /// What [`Retry::default_for`] says of it, and [`Retry::default_after_success`] once a connection was yielded.
    #[default]
    Default,
    /// Connect again, after a wait of the [`Backoff`](crate::Backoff).
    Backoff,
    /// Connect again at once. The backoff stays as it is.
    Now,
    /// Connect again after this time, without jitter. The backoff stays as it is.
    After(Duration),
    /// The end is final: the stream yields it as its error, and ends.
    Never,
}

impl Retry {
    /// The default policy until the first connection was yielded: [`Never`](Self::Never) for what will be the same the next
    /// time, else [`Backoff`](Self::Backoff).
    ///
    /// | end | before | after |
    /// |---|---|---|
    /// | what the caller gave: URL, subprotocol, header, and every other misuse | never | never |
    /// | [`Error::Aborted`]: the attempt was cancelled by its own token | never | never |
    /// | [`Error::UnfinishedMessage`] and [`Error::InvalidText`]: what the caller broke | never | never |
    /// | [`Error::ProtocolViolation`], but in the peer's Close frame; [`Error::Limit`]; [`Error::UnexpectedText`] | never | never |
    /// | [`Error::Closed`] with code 1002, 1003, 1007, 1008, 1009 or 1010 | never | never |
    /// | [`Error::Refused`], and [`Error::Proxy`] with a status: any but 408, 425, 429 and 5xx, without `Retry-After` | never | backoff |
    /// | [`Error::Tls`], of a proxy, too: a certificate, or a server that speaks no TLS or breaks off in it | never | backoff |
    /// | [`Error::Redirect`]: a redirect that was not followed | never | backoff |
    /// | [`Error::Handshake`], of a proxy, too: an invalid response, unless it broke off | never | backoff |
    /// | [`Error::Proxy`]: refused credentials, no answer in its protocol, a SOCKS reply other than 1, 3, 4, 5 and 6 | never | backoff |
    /// | a violation in the peer's Close frame; every other status and close code, 1000 among them; any status with `Retry-After` | backoff | backoff |
    /// | [`Error::Connect`], [`Error::Io`], [`Error::Timeout`], [`Error::Closing`]; where the peer has closed, as its code says | backoff | backoff |
    ///
    /// It differs from [`Error::is_transient`] in what ended as intended, such as with 1000: a stream of connections goes on to
    /// the next one.
    pub fn default_for(end: &Error) -> Self {
        match end.outlook() {
            Outlook::Final | Outlook::FinalUnlessItWorked => Self::Never,
            Outlook::Transient | Outlook::Intended => Self::Backoff,
        }
    }

    /// The default policy from the first connection on that was yielded: as the last column of
    /// [`default_for`](Self::default_for) says.
    ///
    /// What has worked once is not misconfigured: a clock that is wrong, a roll-out of the server or a captive portal end by
    /// themselves.
    pub fn default_after_success(end: &Error) -> Self {
        match end.outlook() {
            Outlook::Final => Self::Never,
            Outlook::FinalUnlessItWorked | Outlook::Transient | Outlook::Intended => Self::Backoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use bytes::Bytes;

    use super::*;
    use crate::{
        close::Closed,
        error::{
            InvalidHeader, InvalidRedirect, InvalidResponse, InvalidSubprotocol, InvalidUrl, LimitExceeded, Phase,
            ProxyCause, ProxyError, Redirected, Server, SharedError, Violation,
        },
    };

    fn proxy(cause: ProxyCause) -> Error {
        let authority = http::uri::Authority::from_static("proxy:80");
        Error::Proxy(Arc::new(ProxyError {
            proxy: authority.clone(),
            server: Arc::new(Server::new("ws", authority)),
            cause,
        }))
    }

    fn proxy_tls(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        proxy(ProxyCause::Tls(SharedError::from(cause.into())))
    }

    /// When an end is final.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Final {
        Always,
        UntilSuccess,
        /// And it is transient.
        Never,
        /// And it is not transient.
        NeverButIntended,
    }

    fn when(end: impl Into<Error>) -> Final {
        let end = end.into();
        match (Retry::default_for(&end), Retry::default_after_success(&end), end.is_transient()) {
            (Retry::Never, Retry::Never, false) => Final::Always,
            (Retry::Never, Retry::Backoff, false) => Final::UntilSuccess,
            (Retry::Backoff, Retry::Backoff, true) => Final::Never,
            (Retry::Backoff, Retry::Backoff, false) => Final::NeverButIntended,
            other => panic!("{end}: {other:?}"),
        }
    }

    #[test]
    fn which_statuses_and_close_codes_are_final() {
        let response = |status: u16, retry_after: Option<&str>| {
            let mut response = http::Response::builder().status(status);
            if let Some(asked) = retry_after {
                response = response.header("Retry-After", asked);
            }
            response.body(Bytes::new()).expect("a response")
        };
        for status in 100..1000 {
            let expected =
                if matches!(status, 408 | 425 | 429 | 500..=599) { Final::Never } else { Final::UntilSuccess };
            for (retry_after, expected) in [
                (None, expected),
                (Some("soon"), expected),
                (Some("120"), Final::Never),
                (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Final::Never),
            ] {
                let response = response(status, retry_after);
                assert_eq!(when(Error::Refused(Arc::new(response.clone()))), expected, "{status}, {retry_after:?}");
                assert_eq!(when(proxy(ProxyCause::Refused(response))), expected, "{status}, {retry_after:?}");
            }
        }
        for reply in 1..=255 {
            let expected = if matches!(reply, 1 | 3..=6) { Final::Never } else { Final::UntilSuccess };
            assert_eq!(when(proxy(ProxyCause::Reply(reply))), expected, "{reply}");
        }
        for code in 1000..5000 {
            let expected = match code {
                1000 | 1005 | 3000..=4999 => Final::NeverButIntended,
                1002 | 1003 | 1007..=1010 => Final::Always,
                _ => Final::Never,
            };
            assert_eq!(when(Closed::new(code, "", true)), expected, "{code}");
        }
    }

    #[test]
    fn which_other_errors_are_final() {
        for (expected, ends) in [
            (
                Final::Always,
                vec![
                    InvalidUrl::Fragment.into(),
                    InvalidSubprotocol::Empty.into(),
                    InvalidHeader::Owned("Host".into()).into(),
                    Error::TooManyPings { limit: 16 },
                    Error::NotReady,
                    Error::Overflow(1),
                    Error::Aborted,
                    Error::InvalidText,
                    Error::UnfinishedMessage,
                    Violation::MaskedFrame.into(),
                    Violation::InvalidUtf8.into(),
                    LimitExceeded::Fragments { limit: 1 }.into(),
                    Error::UnexpectedText,
                ],
            ),
            (
                Final::UntilSuccess,
                vec![
                    Error::tls("invalid peer certificate"),
                    // What is no TLS server may break off.
                    Error::tls(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    InvalidResponse::NoSubprotocol.into(),
                    Error::Redirect(Arc::new(Redirected::new(InvalidRedirect::Loop, []))),
                    proxy_tls("invalid peer certificate"),
                    proxy_tls(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    proxy(ProxyCause::Response(InvalidResponse::NoSubprotocol)),
                    proxy(ProxyCause::NoMethod),
                    proxy(ProxyCause::Credentials),
                    proxy(ProxyCause::Protocol),
                ],
            ),
            (
                Final::Never,
                vec![
                    Error::io(io::ErrorKind::ConnectionReset.into()),
                    Error::timeout(Phase::Keepalive, None),
                    Error::timeout(Phase::Tls, None),
                    Error::timeout(Phase::Proxy, None),
                    Error::timeout(Phase::ProxyTls, None),
                    proxy(ProxyCause::Response(InvalidResponse::Truncated { received: 7 })),
                    InvalidResponse::Truncated { received: 7 }.into(),
                    Violation::CloseBodyOfOneByte.into(),
                    Violation::CloseCode(1005.into()).into(),
                    Violation::CloseReasonUtf8.into(),
                ],
            ),
            (Final::NeverButIntended, vec![Error::Closing { by_peer: None }]),
        ] {
            for end in ends {
                assert_eq!(when(end.clone()), expected, "{end}");
            }
        }
    }
}
