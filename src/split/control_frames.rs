//! Control frames that came for a receiver that shows them, at their places among what else came.

use std::{collections::VecDeque, mem::discriminant};

use crate::{event::ControlFrame, limits::MESSAGE_COST};

/// How many of a kind wait for the receiver.
const MAX_OF_A_KIND: usize = 16;

/// One of them.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) frame: ControlFrame,
    /// How many items came before it.
    place: u64,
    /// Until it is handed out.
    pub(super) cost: usize,
}

impl Placed {
    /// Behind so many items.
    pub(super) fn new(frame: ControlFrame, place: u64) -> Self {
        let cost = frame.len() + MESSAGE_COST;
        Self { frame, place, cost }
    }

    /// Its place, once `items` have come before all that it is counted among.
    pub(super) fn behind(self, items: u64) -> Self {
        Self { place: self.place + items, ..self }
    }
}

/// They do not stand in the queue of items: the oldest of a kind may have to go, also behind many items.
#[derive(Debug, Default)]
pub(super) struct PlacedFrames(VecDeque<Placed>);

impl PlacedFrames {
    /// Adds one behind all others. Returns the oldest of its kind if that has to go.
    pub(super) fn push(&mut self, placed: Placed) -> Option<Placed> {
        let kind = discriminant(&placed.frame);
        self.0.push_back(placed);
        let mut same = self.0.iter().enumerate().filter(|(_, placed)| discriminant(&placed.frame) == kind);
        let (oldest, _) = same.next()?;
        if same.count() < MAX_OF_A_KIND { None } else { self.0.remove(oldest) }
    }

    /// The place of the first one. `None`: there is none.
    pub(super) fn first_place(&self) -> Option<u64> {
        self.0.front().map(|placed| placed.place)
    }

    /// The first one, if no more than so many items came before it.
    pub(super) fn pop(&mut self, place: u64) -> Option<Placed> {
        if self.first_place()? > place { None } else { self.0.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn sixteen_of_a_kind_wait_and_the_oldest_goes() {
        let mut frames = PlacedFrames::default();
        let payload = |i: u64| Bytes::copy_from_slice(&[i as u8]);
        for i in 0..100 {
            assert!(frames.push(Placed::new(ControlFrame::Pong(payload(i)), i)).is_none() || i >= 16);
            let gone = frames.push(Placed::new(ControlFrame::Ping(payload(i)), i));
            assert_eq!(gone.map(|placed| (placed.place, placed.cost)), i.checked_sub(16).map(|old| (old, 33)));
        }
        assert_eq!(frames.first_place(), Some(84));
        assert!(frames.pop(83).is_none());
        let places: Vec<_> = std::iter::from_fn(|| frames.pop(u64::MAX)).map(|placed| placed.place).collect();
        assert_eq!(places, (84..100).flat_map(|i| [i, i]).collect::<Vec<_>>());
    }
}
