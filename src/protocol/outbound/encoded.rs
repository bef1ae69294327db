//! The bytes that go out next: headers and small frames in one buffer, and large payloads where they were masked, in
//! between.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BytesMut};

use crate::{
    limits::MAX_MOVED,
    wire::{frame::Header, mask::Mask},
};

/// The longest header of a client's frame, in bytes.
pub(super) const MAX_HEADER: usize = 14;

#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// Headers, and payloads that were copied.
    copied: BytesMut,
    /// Payloads that were masked in place, in order.
    in_place: VecDeque<InPlace>,
    /// How many bytes these have.
    in_place_len: usize,
}

#[derive(Debug)]
struct InPlace {
    /// How many bytes of `copied` go out before it.
    at: usize,
    payload: BytesMut,
}

impl Encoded {
    /// How many bytes go out.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.copied.len() + self.in_place_len
    }

    /// How much memory it has allocated, in bytes, besides payloads that are masked in place.
    pub(super) fn allocated(&self) -> usize {
        self.copied.capacity() + self.in_place.capacity() * size_of::<InPlace>()
    }

    /// Frees its memory, if nothing is in it.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    /// Makes room for headers and copies of `n` bytes.
    #[inline]
    pub(super) fn reserve(&mut self, n: usize) {
        self.copied.reserve(n);
    }

    /// Appends a whole frame. Returns the length of its header.
    #[inline]
    pub(super) fn push_frame(&mut self, header: &Header, mut mask: Mask, body: &[u8]) -> u8 {
        self.reserve(MAX_HEADER + body.len());
        let size = self.push_header(header, mask);
        self.push_copy(body, &mut mask);
        size
    }

    /// Appends a header. Returns its length.
    #[inline]
    pub(super) fn push_header(&mut self, header: &Header, mask: Mask) -> u8 {
        header.encode(mask.key(), &mut self.copied) as u8
    }

    /// Appends a payload, masked, as a copy.
    #[inline]
    pub(super) fn push_copy(&mut self, payload: &[u8], mask: &mut Mask) {
        mask.copy(payload, &mut self.copied);
    }

    /// Appends a payload, masked where it is.
    pub(super) fn push_in_place(&mut self, mut payload: BytesMut, mask: &mut Mask) {
        mask.apply(&mut payload);
        self.in_place_len += payload.len();
        self.in_place.push_back(InPlace { at: self.copied.len(), payload });
    }

    /// Moves the last `n` bytes, which are copied ones, before what begins at `start` with a copied one.
    pub(super) fn move_last(&mut self, n: usize, start: usize) {
        let start = self.copied_among(start);
        self.copied[start..].rotate_right(n);
        for in_place in self.in_place.iter_mut().filter(|in_place| in_place.at > start) {
            in_place.at += n;
        }
    }

    /// Drops what is masked in place among the first `n` bytes. Returns how many of them are copied ones.
    fn advance_in_place(&mut self, n: usize) -> usize {
        let copied = self.copied_among(n);
        let mut taken = n - copied;
        self.in_place_len -= taken;
        while let Some(first) = self.in_place.front_mut()
            && taken > 0
        {
            let of_first = taken.min(first.payload.len());
            taken -= of_first;
            first.payload.advance(of_first);
            if first.payload.is_empty() {
                self.in_place.pop_front();
            }
        }
        for in_place in &mut self.in_place {
            in_place.at -= copied;
        }
        copied
    }

    /// Keeps only the first `n` bytes.
    pub(super) fn truncate(&mut self, n: usize) {
        let copied = self.copied_among(n);
        let mut kept = n - copied;
        self.in_place_len = kept;
        self.in_place.retain_mut(|InPlace { payload, .. }| {
            payload.truncate(kept);
            kept -= payload.len();
            !payload.is_empty()
        });
        self.copied.truncate(copied);
    }

    /// How many of the first `n` bytes are copied ones.
    fn copied_among(&self, n: usize) -> usize {
        let mut copied = n;
        for InPlace { at, payload } in &self.in_place {
            copied -= payload.len().min(copied.saturating_sub(*at));
        }
        copied
    }
}

impl Buf for Encoded {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.in_place.front() {
            None => &self.copied,
            Some(InPlace { at: 0, payload }) => payload,
            Some(InPlace { at, .. }) => &self.copied[..*at],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let ends = self.in_place.iter().map(|in_place| (in_place.at, &in_place.payload[..]));
        let mut start = 0;
        let chunks = ends.chain([(self.copied.len(), &[][..])]).flat_map(|(end, payload)| {
            let copies = &self.copied[start..end];
            start = end;
            [copies, payload]
        });
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slice = IoSlice::new(chunk);
            used += 1;
        }
        used
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        let copied = if self.in_place.is_empty() { n } else { self.advance_in_place(n) };
        let rest = self.copied.len() - copied;
        if rest <= MAX_MOVED {
            self.copied.copy_within(copied.., 0);
            self.copied.truncate(rest);
        } else {
            self.copied.advance(copied);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{frame::OpCode, mask::Masks};

    #[derive(Debug, Clone)]
    enum Step {
        Copy(usize),
        InPlace(usize),
        /// A frame before a byte that is copied.
        Insert(prop::sample::Index),
        Advance(prop::sample::Index),
        Truncate(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40usize).prop_map(Step::Copy),
            1 => (MAX_MOVED..2 * MAX_MOVED).prop_map(Step::Copy),
            4 => (1..40usize).prop_map(Step::InPlace),
            2 => any::<prop::sample::Index>().prop_map(Step::Insert),
            2 => any::<prop::sample::Index>().prop_map(Step::Advance),
            1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        ]
    }

    /// A byte, and whether it is copied.
    type Bytes = Vec<(u8, bool)>;

    fn masked(mut mask: Mask, n: usize, is_copied: bool) -> (Vec<u8>, Bytes) {
        let payload: Vec<u8> = (0..n).map(|i| i as u8).collect();
        let mut bytes = payload.clone();
        mask.apply(&mut bytes);
        (payload, bytes.into_iter().map(|byte| (byte, is_copied)).collect())
    }

    proptest! {
        #[test]
        fn the_bytes_go_out_in_their_order(steps in prop::collection::vec(step(), 0..40)) {
            let (mut encoded, mut expected, mut masks) = (Encoded::default(), Bytes::new(), Masks::new());
            for step in steps {
                match step {
                    Step::Copy(n) => {
                        let mut mask = masks.next();
                        let (payload, bytes) = masked(mask, n, true);
                        encoded.push_copy(&payload, &mut mask);
                        expected.extend(bytes);
                    }
                    Step::InPlace(n) => {
                        let mut mask = masks.next();
                        let (payload, bytes) = masked(mask, n, false);
                        encoded.push_in_place(payload[..].into(), &mut mask);
                        expected.extend(bytes);
                    }
                    Step::Insert(at) => {
                        let starts: Vec<usize> = (0..expected.len()).filter(|&i| expected[i].1).collect();
                        let start = if starts.is_empty() { expected.len() } else { starts[at.index(starts.len())] };
                        let header = Header { fin: true, rsv: 0, opcode: OpCode::Pong, len: 4 };
                        let mask = masks.next();
                        encoded.push_frame(&header, mask, &mask.key());
                        let [k0, k1, k2, k3] = mask.key();
                        let frame = [0x8a, 0x84, k0, k1, k2, k3, 0, 0, 0, 0].map(|byte| (byte, true));
                        expected.splice(start..start, frame);
                        encoded.move_last(frame.len(), start);
                    }
                    Step::Advance(n) => {
                        let n = n.index(expected.len() + 1);
                        encoded.advance(n);
                        expected.drain(..n);
                    }
                    Step::Truncate(n) => {
                        let n = n.index(expected.len() + 1);
                        encoded.truncate(n);
                        expected.truncate(n);
                    }
                }
                let mut slices = [IoSlice::new(&[]); 100];
                let used = encoded.chunks_vectored(&mut slices);
                let bytes: Vec<u8> = expected.iter().map(|(byte, _)| *byte).collect();
                prop_assert_eq!(slices[..used].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>(), bytes);
                prop_assert!(slices[..used].iter().all(|slice| !slice.is_empty()));
                prop_assert_eq!(encoded.remaining(), expected.len());
                prop_assert_eq!(encoded.chunk(), &slices[0][..]);
                let few = encoded.chunks_vectored(&mut [IoSlice::new(&[]); 3]);
                prop_assert_eq!(few, used.min(3));
            }
        }
    }
}
