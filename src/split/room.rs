//! The room of the senders: a budget in bytes, and the senders that wait for a part of it, in their order.

use std::{collections::VecDeque, task::Waker};

use crate::limits::{MAX_IDLE_PLACES, MESSAGE_COST};

/// A place in the queue of waiting senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// What a message takes of the room, until the transport has taken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost(usize);

#[derive(Debug)]
struct Waiter<T> {
    place: Place,
    cost: Cost,
    what: T,
    waker: Waker,
}

/// `T`: what waits, such as a message.
#[derive(Debug)]
pub(super) struct Room<T> {
    mark: usize,
    used: usize,
    /// What is in use, by message, oldest first.
    costs: VecDeque<Cost>,
    waiters: VecDeque<Waiter<T>>,
    next: Place,
    /// The sender that has the turn. Until it gives it up, no other gets room.
    holder: Option<Place>,
    /// Waiting from this place on has failed.
    closed_from: Option<Place>,
}

/// What a sender that has waited gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// The room that was asked for.
    Room,
    /// To go on, and to take room later.
    Nothing,
    /// The turn, until it is given up.
    Turn,
}

impl<T> Room<T> {
    pub(super) fn new(mark: usize) -> Self {
        let (costs, waiters) = (VecDeque::new(), VecDeque::new());
        Self { mark, used: 0, costs, waiters, next: Place(0), holder: None, closed_from: None }
    }

    /// What a message with a payload of `len` bytes costs: never more than there is.
    pub(super) fn cost(&self, len: usize) -> Cost {
        Cost(len.saturating_add(MESSAGE_COST).min(self.mark))
    }

    /// The least that a message can cost.
    pub(super) fn least_cost(&self) -> Cost {
        Cost(1)
    }

    /// Takes room, if there is enough and nobody waits for it.
    pub(super) fn try_take(&mut self, cost: Cost) -> bool {
        let is_room = self.is_free() && self.fits(cost);
        if is_room {
            self.take(cost);
        }
        is_room
    }

    /// Takes room, whether or not there is enough.
    pub(super) fn take(&mut self, cost: Cost) {
        self.used += cost.0;
        self.costs.push_back(cost);
    }

    fn fits(&self, cost: Cost) -> bool {
        self.used + cost.0 <= self.mark
    }

    /// Whether nobody waits, or has the turn.
    fn is_free(&self) -> bool {
        self.waiters.is_empty() && self.holder.is_none()
    }

    /// Whether a message may go beyond the mark: there is room, and nobody waits for it.
    pub(super) fn has_any(&self) -> bool {
        self.is_free() && self.is_below_mark()
    }

    /// Whether somebody waits.
    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn is_below_mark(&self) -> bool {
        self.used < self.mark
    }

    /// Whether somebody has the turn.
    pub(super) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// Takes the turn, if there is room and nobody waits for it.
    pub(super) fn try_turn(&mut self) -> bool {
        let is_free = self.has_any();
        if is_free {
            self.holder = Some(self.next);
            self.next = Place(self.next.0 + 1);
        }
        is_free
    }

    /// The turn is given up.
    pub(super) fn give_up_turn(&mut self) {
        self.holder = None;
    }

    /// Waits behind all that already wait.
    pub(super) fn wait(&mut self, cost: Cost, what: T, waker: &Waker) -> Place {
        let place = self.next;
        self.next = Place(place.0 + 1);
        self.waiters.push_back(Waiter { place, cost, what, waker: waker.clone() });
        place
    }

    /// Whether the sender at `place` still waits. It is then woken by `waker`.
    pub(super) fn is_waiting(&mut self, place: Place, waker: &Waker) -> bool {
        let waiter = self.find(place).and_then(|at| self.waiters.get_mut(at));
        if let Some(waiter) = waiter {
            waiter.waker.clone_from(waker);
            true
        } else {
            false
        }
    }

    /// Whether the sender at `place`, which waits no more, got no room.
    pub(super) fn was_in_vain(&self, place: Place) -> bool {
        self.closed_from.is_some_and(|from| place >= from)
    }

    /// The sender at `place` gives up waiting, or its turn.
    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        self.holder = self.holder.filter(|holder| *holder != place);
        let at = self.find(place)?;
        self.waiters.remove(at).map(|waiter| waiter.what)
    }

    fn find(&self, place: Place) -> Option<usize> {
        self.waiters.binary_search_by_key(&place, |waiter| waiter.place).ok()
    }

    /// Lets the first waiting sender go on, if there is room for it. It gets what `grant` says.
    pub(super) fn grant(&mut self, grant: impl FnOnce(&T) -> Grant) -> Option<(T, Waker)> {
        let first = self.waiters.front()?;
        if self.is_held() || !self.fits(first.cost) {
            return None;
        }
        let Waiter { place, cost, what, waker } = self.waiters.pop_front()?;
        match grant(&what) {
            Grant::Room => self.take(cost),
            Grant::Nothing => {}
            Grant::Turn => self.holder = Some(place),
        }
        Some((what, waker))
    }

    /// The transport has taken the oldest `entries`.
    pub(super) fn release(&mut self, entries: u64) {
        for cost in self.costs.drain(..self.costs.len().min(entries as usize)) {
            self.used -= cost.0;
        }
        if self.costs.is_empty() {
            self.costs.shrink_to(MAX_IDLE_PLACES);
        }
    }

    /// No sender gets room any more. Returns those that wait, which have failed: what each wanted, and its waker.
    pub(super) fn close(&mut self) -> impl Iterator<Item = (T, Waker)> {
        self.closed_from.get_or_insert(self.waiters.front().map_or(self.next, |first| first.place));
        std::mem::take(&mut self.waiters).into_iter().map(|waiter| (waiter.what, waiter.waker))
    }

    /// Nothing is in use any more.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.costs = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: usize = 1000;

    /// What may happen to a room.
    #[derive(Debug, Clone)]
    enum Step {
        TrySend(usize),
        Send(usize),
        /// The waiter at this index does not want to wait any more.
        Leave(usize),
        /// The transport has taken so many messages.
        Release(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0..2000usize).prop_map(Step::TrySend),
            4 => (0..2000usize).prop_map(Step::Send),
            1 => (0..10usize).prop_map(Step::Leave),
            4 => (0..4u64).prop_map(Step::Release),
        ]
    }

    proptest! {
        #[test]
        fn who_waits_is_served_in_turn_and_all_room_comes_back(steps in prop::collection::vec(step(), 0..200)) {
            let mut room = Room::new(MARK);
            let (mut waiting, mut next, mut granted) = (Vec::<(Place, u64)>::new(), 0, Vec::new());
            let mut queued = 0;
            let mut grant = |room: &mut Room<u64>, waiting: &mut Vec<(Place, u64)>, queued: &mut u64| {
                while let Some((id, _)) = room.grant(|_| Grant::Room) {
                    assert_eq!(waiting.remove(0).1, id, "the oldest comes first");
                    granted.push(id);
                    *queued += 1;
                }
            };
            for step in steps {
                match step {
                    Step::TrySend(len) | Step::Send(len) => {
                        let cost = room.cost(len);
                        let (was_waiting, used) = (!waiting.is_empty(), room.used);
                        if room.try_take(cost) {
                            prop_assert!(!was_waiting && used + cost.0 <= MARK);
                            queued += 1;
                        } else if matches!(step, Step::Send(_)) {
                            waiting.push((room.wait(cost, next, Waker::noop()), next));
                            next += 1;
                        }
                    }
                    Step::Leave(at) if at < waiting.len() => {
                        let (place, id) = waiting.remove(at);
                        prop_assert_eq!(room.leave(place), Some(id));
                        prop_assert_eq!(room.leave(place), None);
                        grant(&mut room, &mut waiting, &mut queued);
                    }
                    Step::Leave(_) => {}
                    Step::Release(messages) => {
                        let messages = messages.min(queued);
                        queued -= messages;
                        room.release(messages);
                        grant(&mut room, &mut waiting, &mut queued);
                    }
                }
                prop_assert!(room.used <= MARK);
                // Nobody waits for what is there.
                prop_assert!(room.waiters.front().is_none_or(|first| !room.fits(first.cost)));
            }
            // Once the transport has taken all, nobody waits any more, and all room is back.
            while queued > 0 {
                room.release(queued);
                queued = 0;
                grant(&mut room, &mut waiting, &mut queued);
            }
            prop_assert!(waiting.is_empty());
            prop_assert_eq!(room.used, 0);
        }
    }
}
