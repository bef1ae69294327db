//! What another attempt may come to, as an error tells: the one story of `is_transient` and of `Retry`.

use http::StatusCode;

use crate::{
    close::CloseCode,
    error::{Error, InvalidResponse, ProxyCause, Violation},
};

/// What another attempt with the same input may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// It would be the same again.
    Final,
    /// It would be the same again, unless it has worked before: what has worked once is not misconfigured.
    FinalUnlessItWorked,
    /// It may succeed.
    Transient,
    /// The connection ended as somebody meant it to. Another one may succeed.
    Intended,
}

impl Error {
    pub(crate) fn outlook(&self) -> Outlook {
        use Outlook::{Final, FinalUnlessItWorked, Intended, Transient};
        if self.retry_after().is_some() {
            return Transient;
        }
        match self {
            Self::InvalidUrl(_)
            | Self::InvalidSubprotocol(_)
            | Self::InvalidHeader(_)
            | Self::InvalidControl(_)
            | Self::TooManyPings { .. }
            | Self::NotReady
            | Self::InvalidText
            | Self::UnfinishedMessage
            | Self::Overflow(_)
            | Self::Aborted
            | Self::Limit(_)
            | Self::UnexpectedText => Final,
            Self::Closing { by_peer: None } => Intended,
            Self::Closing { by_peer: Some(frame) } => of_code(frame.effective_code()),
            Self::Closed(closed) => of_code(closed.code),
            Self::Connect { .. } | Self::Io(_) | Self::Timeout { .. } => Transient,
            Self::Tls(_) | Self::Redirect(_) => FinalUnlessItWorked,
            Self::Refused(response) => of_status(response.status()),
            Self::Proxy(error) => match &error.cause {
                ProxyCause::Refused(response) => of_status(response.status()),
                ProxyCause::Response(invalid) => of_response(invalid),
                ProxyCause::Reply(1 | 3..=6) => Transient,
                ProxyCause::Tls(_)
                | ProxyCause::Reply(_)
                | ProxyCause::NoMethod
                | ProxyCause::Credentials
                | ProxyCause::Protocol => FinalUnlessItWorked,
            },
            Self::Handshake(failed) => of_response(&failed.cause),
            // A server that restarts sends such last words.
            Self::ProtocolViolation(
                Violation::CloseBodyOfOneByte | Violation::CloseCode(_) | Violation::CloseReasonUtf8,
            ) => Transient,
            Self::ProtocolViolation(_) => Final,
        }
    }
}

fn of_code(code: CloseCode) -> Outlook {
    match u16::from(code) {
        1000 | 1005 | 3000..=4999 => Outlook::Intended,
        1002 | 1003 | 1007..=1010 => Outlook::Final,
        _ => Outlook::Transient,
    }
}

fn of_status(status: StatusCode) -> Outlook {
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => Outlook::Transient,
        _ => Outlook::FinalUnlessItWorked,
    }
}

fn of_response(invalid: &InvalidResponse) -> Outlook {
    match invalid {
        InvalidResponse::Truncated { .. } => Outlook::Transient,
        _ => Outlook::FinalUnlessItWorked,
    }
}
