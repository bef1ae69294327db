//! Whether there is a next attempt, and when.

use std::time::Duration;

use crate::error::{Error, ProxyCause};

/// What comes after an end: the answer of [`Reconnect::retry`](crate::Reconnect::retry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Retry {
    /// What [`Retry::default_for`] says of it.
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
    /// The default policy: [`Never`](Self::Never) for what will be the same the next time, else
    /// [`Backoff`](Self::Backoff).
    ///
    /// | end | |
    /// |---|---|
    /// | what the caller gave: URL, subprotocol, header, and every other misuse | never |
    /// | [`Error::Aborted`]: the attempt was cancelled by its own token | never |
    /// | [`Error::Tls`]: a certificate, and all but a transport that failed | never |
    /// | [`Error::Refused`] with status 400, 401, 403 or 404 | never |
    /// | [`Error::Redirect`]: a redirect that was not followed | never |
    /// | [`Error::Proxy`] with status 400, 401, 403, 404 or 407; its certificate, refused credentials, no answer in its protocol; a SOCKS reply other than 1, 3, 4, 5 and 6 | never |
    /// | [`Error::Handshake`]: an invalid response, unless it broke off | never |
    /// | [`Error::Closed`] with code 1002, 1003, 1007, 1008, 1009 or 1010 | never |
    /// | [`Error::ProtocolViolation`] and [`Error::Limit`]: what this side ended | never |
    /// | [`Error::UnfinishedMessage`] and [`Error::InvalidText`]: what the caller broke | never |
    /// | every other status, a proxy's too, and close code, 1000 among them; [`Error::Connect`], [`Error::Io`], [`Error::Timeout`] | backoff |
    ///
    /// It differs from [`Error::is_transient`] in what ended as intended, such as with 1000, and in statuses and close codes
    /// without a known meaning: a stream of connections goes on to the next one.
    pub fn default_for(end: &Error) -> Self {
        let is_final = match end {
            Error::Refused(response) => matches!(response.status().as_u16(), 400 | 401 | 403 | 404),
            Error::Proxy(error) => match &error.cause {
                ProxyCause::Refused(response) => matches!(response.status().as_u16(), 400 | 401 | 403 | 404 | 407),
                _ => !end.is_transient(),
            },
            Error::Closed(closed) => matches!(u16::from(closed.code), 1002 | 1003 | 1007..=1010),
            Error::Closing { .. } => false,
            other => !other.is_transient(),
        };
        if is_final { Self::Never } else { Self::Backoff }
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
            ProxyError, Redirected, SharedError, Violation,
        },
    };

    fn proxy(cause: ProxyCause) -> Error {
        Error::Proxy(Arc::new(ProxyError { proxy: http::uri::Authority::from_static("proxy:80"), cause }))
    }

    fn proxy_tls(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        proxy(ProxyCause::Tls(SharedError::from(cause.into())))
    }

    fn is_final(end: impl Into<Error>) -> bool {
        match Retry::default_for(&end.into()) {
            Retry::Never => true,
            Retry::Backoff => false,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn which_statuses_and_close_codes_are_final() {
        let response = |status: u16| {
            let response = http::Response::builder().status(status).body(Bytes::new());
            response.expect("a status")
        };
        let refused = |status: u16| Error::Refused(Arc::new(response(status)));
        let by_proxy = |status: u16| proxy(ProxyCause::Refused(response(status)));
        let statuses: Vec<u16> = (100..1000).filter(|&status| is_final(by_proxy(status))).collect();
        assert_eq!(statuses, [400, 401, 403, 404, 407]);
        let replies: Vec<u8> = (1..=255).filter(|&code| !is_final(proxy(ProxyCause::Reply(code)))).collect();
        assert_eq!(replies, [1, 3, 4, 5, 6]);
        let statuses: Vec<u16> = (100..1000).filter(|&status| is_final(refused(status))).collect();
        assert_eq!(statuses, [400, 401, 403, 404]);
        let codes: Vec<u16> = (1000..5000).filter(|&code| is_final(Closed::new(code, "", true))).collect();
        assert_eq!(codes, [1002, 1003, 1007, 1008, 1009, 1010]);
    }

    #[test]
    fn which_other_errors_are_final() {
        for end in [
            InvalidUrl::Fragment.into(),
            InvalidSubprotocol::Empty.into(),
            InvalidHeader::Owned("Host".into()).into(),
            Error::TooManyPings { limit: 16 },
            Error::NotReady,
            Error::Overflow(1),
            Error::Aborted,
            Error::InvalidText,
            Error::UnfinishedMessage,
            Error::tls("invalid peer certificate"),
            InvalidResponse::NoSubprotocol.into(),
            Error::Redirect(Arc::new(Redirected::new(InvalidRedirect::Loop, []))),
            proxy_tls("invalid peer certificate"),
            proxy(ProxyCause::Response(InvalidResponse::NoSubprotocol)),
            proxy(ProxyCause::NoMethod),
            proxy(ProxyCause::Credentials),
            proxy(ProxyCause::Protocol),
            Violation::MaskedFrame.into(),
            LimitExceeded::Fragments { limit: 1 }.into(),
        ] {
            assert!(is_final(end.clone()), "{end}");
        }
        for end in [
            Error::io(io::ErrorKind::ConnectionReset.into()),
            Error::tls(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Error::timeout(Phase::Keepalive, None),
            Error::timeout(Phase::Proxy, None),
            Error::timeout(Phase::ProxyTls, None),
            proxy_tls(io::Error::from(io::ErrorKind::UnexpectedEof)),
            proxy(ProxyCause::Response(InvalidResponse::Truncated { received: 7 })),
            Error::Closing { by_peer: None },
            InvalidResponse::Truncated { received: 7 }.into(),
        ] {
            assert!(!is_final(end.clone()), "{end}");
        }
    }
}
