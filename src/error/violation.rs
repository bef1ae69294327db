//! What a peer sent that it must not.

use crate::close::CloseCode;

/// What a peer did that RFC 6455 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A server must not mask (section 5.1).
    #[error("a masked frame from a server")]
    MaskedFrame,
    /// A reserved bit that no agreed extension gives a meaning to (section 5.2).
    #[error("a frame with the reserved bits {0:03b} (RSV1-3) without an extension that defines them")]
    ReservedBits(u8),
    /// An opcode without a meaning: 3-7, 11-15 (section 5.2).
    #[error("a frame with the reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A length in more bytes than it needs (section 5.2).
    #[error("a frame header with the length {0} in more bytes than it needs")]
    NonMinimalLength(u64),
    /// A 64-bit length with its highest bit set (section 5.2).
    #[error("a length with its highest bit set")]
    LengthOverflow,
    /// A control frame without FIN (section 5.5).
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    /// A continuation frame although no message was begun (section 5.4).
    #[error("a continuation frame outside of a message")]
    UnexpectedContinuation,
    /// A new data frame inside of a fragmented message (section 5.4).
    #[error("a new message inside of a fragmented one")]
    ExpectedContinuation,
    /// Text that is not UTF-8 (section 8.1).
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that does not inflate (RFC 7692, section 7.2.2).
    #[error("a compressed message that does not inflate")]
    CompressedData,
    /// A Close frame with a body of one byte (section 5.5.1).
    #[error("a Close frame with a body of one byte")]
    CloseBodyOfOneByte,
    /// A Close frame with a code that no Close frame may carry (section 7.4).
    #[error("a Close frame with the code {0}, which no Close frame may carry")]
    CloseCode(CloseCode),
    /// A Close frame whose reason is not UTF-8 (section 5.5.1).
    #[error("a close reason that is not UTF-8")]
    CloseReasonUtf8,
}

impl Violation {
    /// The code of the Close frame that answers it: 1007 for a payload that is not what it should be, else 1002.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::CloseReasonUtf8 | Self::CompressedData => CloseCode::INVALID_FRAME_PAYLOAD_DATA,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Which configured limit a peer went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// [`Config::max_message_size`](crate::Config::max_message_size).
    #[error("a message of more than {limit} bytes (max_message_size)")]
    MessageSize {
        /// The limit, in bytes.
        limit: usize,
    },
    /// [`Config::max_frame_size`](crate::Config::max_frame_size).
    #[error("a frame of {len} bytes, expected at most {limit} (max_frame_size)")]
    FrameSize {
        /// The frame's declared length, in bytes.
        len: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// [`Config::max_fragments`](crate::Config::max_fragments).
    #[error("a message of more than {limit} fragments (max_fragments)")]
    Fragments {
        /// The limit, in frames.
        limit: usize,
    },
}

impl LimitExceeded {
    /// The code of the Close frame that answers it: 1008 for too many fragments, else 1009.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Fragments { .. } => CloseCode::POLICY_VIOLATION,
            Self::MessageSize { .. } | Self::FrameSize { .. } => CloseCode::MESSAGE_TOO_BIG,
        }
    }
}
