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
    Echo,
}

impl Family {
    pub const ALL: [Self; 5] = [Self::ReceiveBinary, Self::ReceiveText, Self::Feed, Self::Send, Self::Echo];

    pub fn title(self) -> &'static str {
        match self {
            Self::ReceiveBinary => "Receive, binary",
            Self::ReceiveText => "Receive, text",
            Self::Feed => "Send: feed everything, flush once",
            Self::Send => "Send: in batches, one by one, large",
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
            Self::Echo => "round trip, ",
        }
    }
}

/// What a client does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Receive,
    Send {
        flush: Flush,
        owned: bool,
    },
    /// Sends, and receives each back, with so many under way.
    Echo {
        window: u64,
    },
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
    pub fn statistic(&self) -> Statistic {
        match self.action {
            Action::Send { .. } if self.size >= LARGE => Statistic::LowerQuartile,
            _ => Statistic::Median,
        }
    }
}

/// From here on the system sends in one of two ways.
const LARGE: usize = 256 * KIB;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All of them, in the order of the report.
pub fn all() -> Vec<Workload> {
    let row = |family, content, action| move |size| Workload { family, content, size, action };
    let binary = |family, action| row(family, Content::Binary, action);
    let send = |flush, owned| binary(Family::Send, Action::Send { flush, owned });
    let each = Flush::Each;

    let mut rows = Vec::new();
    rows.extend([16, 64, 256, KIB, 16 * KIB, 256 * KIB, MIB].map(binary(Family::ReceiveBinary, Action::Receive)));
    let text = |content| row(Family::ReceiveText, content, Action::Receive);
    rows.extend([16, 64, 256, KIB, 16 * KIB, MIB].map(text(Content::Ascii)));
    rows.extend([KIB, MIB].map(text(Content::Mixed)));
    let feed = Action::Send { flush: Flush::Once, owned: false };
    rows.extend([16, 64, 256, KIB, 16 * KIB].map(binary(Family::Feed, feed)));
    rows.extend([16, 64, 256].map(send(each(64), false)));
    rows.extend([64].map(send(each(1), false)));
    rows.extend([256 * KIB, MIB].map(send(each(1), false)));
    rows.extend([256 * KIB, MIB].map(send(each(1), true)));
    rows.extend([1, 64].map(|window| binary(Family::Echo, Action::Echo { window })(64)));
    rows
}

/// Its name within its family.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            size @ ..KIB => write!(f, "{size} B")?,
            size @ KIB..MIB => write!(f, "{} KiB", size / KIB)?,
            size => write!(f, "{} MiB", size / MIB)?,
        }
        match self.action {
            Action::Receive if self.content == Content::Mixed => f.write_str(", not ASCII"),
            Action::Receive | Action::Send { flush: Flush::Once, .. } => Ok(()),
            Action::Send { owned: true, .. } => f.write_str(", a fresh payload each"),
            Action::Send { flush: Flush::Each(1), .. } if self.size >= LARGE => f.write_str(", a shared payload"),
            Action::Send { flush: Flush::Each(1), .. } => f.write_str(", a flush each"),
            Action::Send { flush: Flush::Each(batch), .. } => write!(f, ", batches of {batch}"),
            Action::Echo { window: 1 } => f.write_str(", one at a time"),
            Action::Echo { window } => write!(f, ", {window} in flight"),
        }
    }
}
