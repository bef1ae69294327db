//! The words of closing: close codes, the Close frame's content, and how a connection ended.

use std::fmt;

/// A close code (RFC 6455, section 7.4): a `u16` with rules.
///
/// The constants have the names of the IANA's WebSocket Close Code Number Registry. Any number converts into it;
/// [`is_valid_on_wire`](Self::is_valid_on_wire) says whether a Close frame may carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection was fulfilled.
    pub const NORMAL_CLOSURE: Self = Self(1000);
    /// 1001: the endpoint goes away: a server shuts down, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the other side broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close frame had no code. Never on the wire.
    pub const NO_STATUS_RECEIVED: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL_CLOSURE: Self = Self(1006);
    /// 1007: data that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_FRAME_PAYLOAD_DATA: Self = Self(1007);
    /// 1008: a policy was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to be processed.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server did not agree to.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from its upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Whether a Close frame may carry this code: 1000-1003, 1007-1014 and 3000-4999.
    ///
    /// These are the codes that the stream API sends and that it accepts from a peer.
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether the browser's `close()` takes this code: 1000 and 3000-4999.
    pub const fn is_valid_for_event_api(self) -> bool {
        matches!(self.0, 1000 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl PartialEq<u16> for CloseCode {
    fn eq(&self, code: &u16) -> bool {
        self.0 == *code
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame says: nothing at all, or a code with a reason (RFC 6455, section 5.5.1).
///
/// It is checked when it is given to `close_with`: the code must be
/// [valid on the wire](CloseCode::is_valid_on_wire), the reason at most [`MAX_REASON`](Self::MAX_REASON) bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CloseFrame {
    code: Option<CloseCode>,
    reason: String,
}

impl CloseFrame {
    /// The longest reason, in bytes of UTF-8: a control frame's 125 without the code's two.
    pub const MAX_REASON: usize = 123;

    /// A Close frame with a code and a reason, which may be empty.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<String>) -> Self {
        Self { code: Some(code.into()), reason: reason.into() }
    }

    /// A Close frame without a code: an empty body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A Close frame with a reason alone. Its code is 1000, or none if the reason is empty.
    pub fn with_reason(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code: (!reason.is_empty()).then_some(CloseCode::NORMAL_CLOSURE), reason }
    }

    /// The code, if there is one.
    pub fn code(&self) -> Option<CloseCode> {
        self.code
    }

    /// The reason, `""` if there is none.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The code, 1005 if there is none (RFC 6455, section 7.1.5).
    pub(crate) fn effective_code(&self) -> CloseCode {
        self.code.unwrap_or(CloseCode::NO_STATUS_RECEIVED)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Closed {
    /// The code of the peer's Close frame; 1005 if it had none, 1006 if no Close frame came.
    pub code: CloseCode,
    /// The reason in the peer's Close frame.
    pub reason: String,
    /// Whether both sides said Close, everything queued here was sent before, and the peer's Close did not break off a message
    /// that it had begun.
    pub was_clean: bool,
}

impl Closed {
    /// An end with this code and reason.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<String>, was_clean: bool) -> Self {
        Self { code: code.into(), reason: reason.into(), was_clean }
    }

    /// Whether the connection ended as intended: cleanly, with code 1000 or 1001, or with a Close frame without a code
    /// (1005).
    ///
    /// Every other end says that something is wrong, such as 1008 (a policy) or 1011 (an error in the server), also
    /// where it is clean.
    pub fn is_normal(&self) -> bool {
        const NORMAL: [CloseCode; 3] =
            [CloseCode::NORMAL_CLOSURE, CloseCode::GOING_AWAY, CloseCode::NO_STATUS_RECEIVED];
        self.was_clean && NORMAL.contains(&self.code)
    }

    /// The end of a connection without a Close frame from the peer: 1006.
    pub(crate) fn abnormal() -> Self {
        Self::new(CloseCode::ABNORMAL_CLOSURE, "", false)
    }

    /// The end of a connection whose peer sent `frame`.
    pub(crate) fn by_peer(frame: &CloseFrame, was_clean: bool) -> Self {
        Self::new(frame.effective_code(), &*frame.reason, was_clean)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = if self.was_clean { "cleanly" } else { "uncleanly" };
        write!(f, "closed {manner} with code {}", self.code)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_the_wire_and_of_the_event_api() {
        for code in 0..=u16::MAX {
            let wire = (1000..=1003).contains(&code) || (1007..=1014).contains(&code) || (3000..=4999).contains(&code);
            assert_eq!(CloseCode(code).is_valid_on_wire(), wire, "{code}");
            let event = code == 1000 || (3000..=4999).contains(&code);
            assert_eq!(CloseCode(code).is_valid_for_event_api(), event, "{code}");
        }
    }

    #[test]
    fn an_end_is_normal_if_it_was_clean_and_its_code_is_1000_1001_or_1005() {
        for code in 0..=u16::MAX {
            let is_normal_code = matches!(code, 1000 | 1001 | 1005);
            assert_eq!(Closed::new(code, "why", true).is_normal(), is_normal_code, "{code}");
            assert!(!Closed::new(code, "why", false).is_normal(), "{code}");
        }
    }

    #[test]
    fn the_constants_are_the_codes_of_the_registry() {
        let codes = [
            CloseCode::NORMAL_CLOSURE,
            CloseCode::GOING_AWAY,
            CloseCode::PROTOCOL_ERROR,
            CloseCode::UNSUPPORTED_DATA,
            CloseCode::NO_STATUS_RECEIVED,
            CloseCode::ABNORMAL_CLOSURE,
            CloseCode::INVALID_FRAME_PAYLOAD_DATA,
            CloseCode::POLICY_VIOLATION,
            CloseCode::MESSAGE_TOO_BIG,
            CloseCode::MANDATORY_EXTENSION,
            CloseCode::INTERNAL_ERROR,
            CloseCode::SERVICE_RESTART,
            CloseCode::TRY_AGAIN_LATER,
            CloseCode::BAD_GATEWAY,
        ];
        assert_eq!(codes.map(u16::from).to_vec(), [1000..=1003, 1005..=1014].into_iter().flatten().collect::<Vec<_>>());
    }

    /// B231, B235.
    #[test]
    fn a_reason_alone_gets_code_1000() {
        assert_eq!(CloseFrame::with_reason("x"), CloseFrame::new(1000, "x"));
        assert_eq!(CloseFrame::with_reason(""), CloseFrame::empty());
    }
}
