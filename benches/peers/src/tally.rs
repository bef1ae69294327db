//! What was received: counted message by message, and judged at the end.

use bytes::Bytes;

use crate::{error::Result, payload::Kind};

pub struct Tally {
    kind: Kind,
    /// What each message has to be, if contents are compared.
    expected: Option<Bytes>,
    messages: u64,
    bytes: u64,
    wrong: u64,
}

impl Tally {
    pub fn new(kind: Kind, expected: Option<Bytes>) -> Self {
        Self { kind, expected, messages: 0, bytes: 0, wrong: 0 }
    }

    #[inline]
    pub fn count(&mut self, kind: Kind, payload: &[u8]) {
        self.messages += 1;
        self.bytes += payload.len() as u64;
        let is_wrong = kind != self.kind || self.expected.as_ref().is_some_and(|expected| expected != payload);
        self.wrong += u64::from(is_wrong);
    }

    /// Fails unless it was so many messages of this size, and none that was not sent.
    pub fn judge(self, count: u64, size: usize) -> Result<()> {
        let Self { messages, bytes, wrong, .. } = self;
        if (messages, bytes, wrong) == (count, count * size as u64, 0) {
            return Ok(());
        }
        Err(format!("{messages} messages of {count}, {bytes} bytes in all, {wrong} messages that were not sent").into())
    }
}
