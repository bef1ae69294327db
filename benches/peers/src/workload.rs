//! What is measured: the table of workloads.

use std::fmt;

use crate::{payload::Content, statistic::Statistic};

/// A table of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    ReceiveBinary,
    ReceiveText,
    Feed,
    Send,
    Lent,
    Echo,
}

impl Family {
    pub const ALL: [Self; 6] = [Self::ReceiveBinary, Self::ReceiveText, Self::Feed, Self::Send, Self::Lent, Self::Echo];

    pub fn title(self) -> &'static str {
        match self {
            Self::ReceiveBinary => "Receive, binary",
            Self::ReceiveText => "Receive, text",
            Self::Feed => "Send: feed everything, flush once",
            Self::Send => "Send: in batches, one by one, large",
            Self::Lent => "By reference: received and let go, fed from a slice",
            Self::Echo => "Round trips",
        }
    }

    /// Before the name of a workload, where several families stand in one table.
    pub fn short(self) -> &'static str {
        match self {
            Self::ReceiveBinary => "receive, binary, ",
            Self::ReceiveText => "receive, text, ",
            Self::Feed => "feed all, flush once, ",
            Self::Send => "send, ",
            Self::Lent => "by reference, ",
            Self::Echo => "round trip, ",
        }
    }
}

/// What a client does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Receive {
        lent: bool,
    },
    Send {
        flush: Flush,
        payload: Payload,
    },
    /// Sends, and receives each back, with so many under way.
    Echo {
        window: u64,
    },
}

/// Whose a payload is that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Counted, and somebody else has it too.
    Shared,
    /// Nobody else's.
    Fresh,
    /// Somebody else's, who shows it as a slice.
    Lent,
}

/// What not every client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    LendMessage,
    TakePayload,
    CopyPayload,
}

/// After how many messages the sender flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    Once,
    Each(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    pub family: Family,
    pub content: Content,
    pub size: usize,
    pub action: Action,
}

impl Workload {
    /// What a client has to be able to do for it, beyond what all can.
    pub fn need(&self) -> Option<Need> {
        match self.action {
            Action::Receive { lent: true } => Some(Need::LendMessage),
            Action::Send { payload: Payload::Fresh, .. } => Some(Need::TakePayload),
            Action::Send { payload: Payload::Lent, .. } => Some(Need::CopyPayload),
            _ => None,
        }
    }

    pub fn statistic(&self) -> Statistic {
        match self.action {
            Action::Send { .. } if self.size >= LARGE => Statistic::LowerQuartile,
            _ => Statistic::Median,
        }
    }
}

/// From here on what the system takes to send differs from round to round.
const LARGE: usize = 256 * KIB;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All of them, in the order of the report.
pub fn all() -> Vec<Workload> {
    let row = |family, content, action| move |size| Workload { family, content, size, action };
    let binary = |family, action| row(family, Content::Binary, action);
    let send = |flush, payload| binary(Family::Send, Action::Send { flush, payload });
    let each = Flush::Each;
    let receive = |lent| Action::Receive { lent };
    let feed = |payload| Action::Send { flush: Flush::Once, payload };

    let mut rows = Vec::new();
    rows.extend([16, 64, 256, KIB, 16 * KIB, 256 * KIB, MIB].map(binary(Family::ReceiveBinary, receive(false))));
    let text = |content| row(Family::ReceiveText, content, receive(false));
    rows.extend([16, 64, 256, KIB, 16 * KIB, MIB].map(text(Content::Ascii)));
    rows.extend([KIB, MIB].map(text(Content::Mixed)));
    rows.extend([16, 64, 256, KIB, 16 * KIB].map(binary(Family::Feed, feed(Payload::Shared))));
    rows.extend([16, 64, 256].map(send(each(64), Payload::Shared)));
    rows.extend([64].map(send(each(1), Payload::Shared)));
    rows.extend([256 * KIB, MIB].map(send(each(1), Payload::Shared)));
    rows.extend([256 * KIB, MIB].map(send(each(1), Payload::Fresh)));
    rows.extend([16, 64, 256].map(binary(Family::Lent, receive(true))));
    rows.push(row(Family::Lent, Content::Ascii, receive(true))(64));
    rows.extend([16, 64, 256].map(binary(Family::Lent, feed(Payload::Lent))));
    rows.extend([1, 64].map(|window| binary(Family::Echo, Action::Echo { window })(64)));
    rows
}

/// Its name within its family.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.action, self.content) {
            (Action::Receive { lent: true }, Content::Binary) => f.write_str("receive ")?,
            (Action::Receive { lent: true }, _) => f.write_str("receive text ")?,
            (Action::Send { payload: Payload::Lent, .. }, _) => f.write_str("feed ")?,
            _ => {}
        }
        match self.size {
            size @ ..KIB => write!(f, "{size} B")?,
            size @ KIB..MIB => write!(f, "{} KiB", size / KIB)?,
            size => write!(f, "{} MiB", size / MIB)?,
        }
        match self.action {
            Action::Receive { .. } if self.content == Content::Mixed => f.write_str(", not ASCII"),
            Action::Receive { .. } | Action::Send { flush: Flush::Once, .. } => Ok(()),
            Action::Send { payload: Payload::Fresh, .. } => f.write_str(", a fresh payload each"),
            Action::Send { flush: Flush::Each(1), .. } if self.size >= LARGE => f.write_str(", a shared payload"),
            Action::Send { flush: Flush::Each(1), .. } => f.write_str(", a flush each"),
            Action::Send { flush: Flush::Each(batch), .. } => write!(f, ", batches of {batch}"),
            Action::Echo { window: 1 } => f.write_str(", one at a time"),
            Action::Echo { window } => write!(f, ", {window} in flight"),
        }
    }
}
