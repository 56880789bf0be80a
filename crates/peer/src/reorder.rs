//! Blocks that came before their turn. Pure. Bounded in how far they are ahead, and in bytes.
//! fabric: gossip/state/payloads_buffer.go

use std::collections::BTreeMap;

/// What is kept by block number until the blocks below it are there.
#[derive(Debug)]
pub(crate) struct Reorder<T> {
    /// How far ahead of the next block.
    window: u64,
    /// Bytes in all, unless a single block has more.
    bytes: usize,
    kept: BTreeMap<u64, (usize, T)>,
    held: usize,
}

/// Whether there is room for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is.
    Free,
    /// It is not needed: its turn is over, or it waits here already.
    Known,
    /// Not before its turn is nearer.
    TooFar,
}

impl<T> Reorder<T> {
    pub(crate) fn new(window: u64, bytes: usize) -> Self {
        Self {
            window: window.max(1),
            bytes,
            kept: BTreeMap::new(),
            held: 0,
        }
    }

    /// Whether a block of that size would be kept while block `next` is awaited.
    pub(crate) fn room(&self, next: u64, number: u64, size: usize) -> Room {
        if number < next || self.kept.contains_key(&number) {
            return Room::Known;
        }
        if number - next >= self.window {
            return Room::TooFar;
        }
        // Those further ahead make room for it.
        let nearer: usize = self.kept.range(..number).map(|(_, (size, _))| size).sum();
        if nearer > 0 && nearer.saturating_add(size) > self.bytes {
            return Room::TooFar;
        }
        Room::Free
    }

    /// Keeps a block if there is room.
    pub(crate) fn keep(&mut self, next: u64, number: u64, size: usize, item: T) -> Room {
        let room = self.room(next, number, size);
        if room == Room::Free {
            while self.held.saturating_add(size) > self.bytes {
                match self.kept.last_entry() {
                    Some(last) if *last.key() > number => self.held -= last.remove().0,
                    _ => break,
                }
            }
            self.held += size;
            self.kept.insert(number, (size, item));
        }
        room
    }

    /// The block whose turn it is, if it is there; those before it are dropped.
    pub(crate) fn take(&mut self, next: u64) -> Option<T> {
        while let Some(first) = self.kept.first_entry()
            && *first.key() <= next
        {
            let number = *first.key();
            let (size, item) = first.remove();
            self.held -= size;
            if number == next {
                return Some(item);
            }
        }
        None
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_wait_for_their_turn_within_bounds() {
        let mut reorder = Reorder::new(5, 100);
        for (number, size, room) in [
            (9, 1, Room::Known),
            (15, 1, Room::TooFar),
            (u64::MAX, 1, Room::TooFar),
            (12, 40, Room::Free),
            (12, 40, Room::Known),
            (13, 40, Room::Free),
            (14, 40, Room::TooFar),
            (11, 60, Room::Free),
        ] {
            assert_eq!(reorder.keep(10, number, size, number), room, "{number}");
        }
        assert_eq!(reorder.take(10), None);
        // The furthest one made room for 11.
        assert_eq!((reorder.take(11), reorder.take(12)), (Some(11), Some(12)));
        assert_eq!((reorder.take(13), reorder.held), (None, 0));
    }

    #[test]
    fn a_single_block_may_be_larger_than_the_bound() {
        let mut reorder = Reorder::new(5, 100);
        assert_eq!(reorder.keep(10, 12, 50, "12"), Room::Free);
        assert_eq!(reorder.keep(10, 10, 500, "10"), Room::Free);
        assert_eq!((reorder.len(), reorder.take(10)), (1, Some("10")));
    }

    proptest! {
        /// Whatever comes in whatever order: no more than the bounds, what is taken comes in order, and
        /// the next block is never refused.
        #[test]
        fn the_bounds_hold(
            arrivals in prop::collection::vec((0u64..40, 1usize..60, any::<bool>()), 0..200),
        ) {
            let (window, bytes) = (6, 100);
            let mut reorder = Reorder::new(window, bytes);
            let mut next = 0;
            for (number, size, takes) in arrivals {
                let room = reorder.keep(next, number, size, number);
                if number == next {
                    prop_assert_ne!(room, Room::TooFar);
                }
                prop_assert!(reorder.held <= bytes || reorder.len() == 1);
                prop_assert!(reorder.kept.keys().all(|&kept| kept >= next && kept - next < window));
                let held: usize = reorder.kept.values().map(|(size, _)| size).sum();
                prop_assert_eq!(held, reorder.held);
                if takes {
                    while let Some(taken) = reorder.take(next) {
                        prop_assert_eq!(taken, next);
                        next += 1;
                    }
                }
            }
        }
    }
}
