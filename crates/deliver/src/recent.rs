//! The newest blocks of a chain, kept in memory once for all who read them.
//!
//! A ring, and not a general cache: what everybody asks for is the newest block, which a cache that
//! admits by frequency may turn away (moka missed up to 8 reads in 100, measured with 2,000 readers
//! per block), and a read of the ring costs a third of one of moka's, or less.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::OnceCell;

use crate::frame::Frame;

/// Bytes of blocks that are kept per channel: a few blocks of the largest size that Fabric's
/// sample configuration allows (10 MiB), hundreds of usual ones.
pub(crate) const KEPT_BYTES: usize = 32 << 20;
/// Blocks that are kept, however small. Who is further behind reads many at once from the disk.
pub(crate) const KEPT_BLOCKS: usize = 256;

/// A block, and the responses that were made of it.
pub(crate) struct RecentBlock {
    /// The encoded block; clones share it.
    pub(crate) bytes: Bytes,
    responses: Mutex<Vec<(ResponseKind, SharedResponse)>>,
}

/// What tells responses to the same block apart: what the call sends, and whether only headers were
/// asked for.
pub(crate) type ResponseKind = (&'static str, bool);

/// Made by the first who needs it; others wait for it.
type SharedResponse = Arc<OnceCell<Result<Frame, String>>>;

impl RecentBlock {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            responses: Mutex::default(),
        }
    }

    /// The place for responses of this kind.
    pub(crate) fn response(&self, kind: ResponseKind) -> SharedResponse {
        let mut responses = self.responses.lock();
        if let Some((_, response)) = responses.iter().find(|(known, _)| *known == kind) {
            return response.clone();
        }
        let response = SharedResponse::default();
        responses.push((kind, response.clone()));
        response
    }
}

/// A ring of consecutive blocks up to the newest, bounded by count and bytes.
#[derive(Default)]
pub(crate) struct RecentBlocks(RwLock<Ring>);

#[derive(Default)]
struct Ring {
    /// Number of the oldest block.
    first: u64,
    blocks: VecDeque<Arc<RecentBlock>>,
    bytes: usize,
}

impl RecentBlocks {
    /// The block with that number, if it is kept.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<RecentBlock>> {
        let ring = self.0.read();
        let index = usize::try_from(number.checked_sub(ring.first)?).ok()?;
        ring.blocks.get(index).cloned()
    }

    /// Forgets all blocks.
    pub(crate) fn clear(&self) {
        *self.0.write() = Ring::default();
    }

    /// Adds the newest block; those before are forgotten if it does not follow on them.
    pub(crate) fn push(&self, number: u64, bytes: Bytes) {
        let mut ring = self.0.write();
        if ring.first + ring.blocks.len() as u64 != number {
            *ring = Ring {
                first: number,
                ..Ring::default()
            };
        }
        ring.bytes += bytes.len();
        ring.blocks.push_back(Arc::new(RecentBlock::new(bytes)));
        // The newest is kept whatever its size: it is what everybody waits for.
        while ring.blocks.len() > 1
            && (ring.bytes > KEPT_BYTES || ring.blocks.len() > KEPT_BLOCKS)
            && let Some(oldest) = ring.blocks.pop_front()
        {
            ring.bytes -= oldest.bytes.len();
            ring.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(recent: &RecentBlocks, numbers: std::ops::Range<u64>) -> Vec<u64> {
        numbers
            .filter(|&number| recent.get(number).is_some())
            .collect()
    }

    #[test]
    fn the_newest_blocks_are_kept_up_to_a_count() {
        let recent = RecentBlocks::default();
        assert!(recent.get(0).is_none());
        let last = 10 + KEPT_BLOCKS as u64;
        for number in 5..=last {
            recent.push(number, number.to_be_bytes().to_vec().into());
        }
        assert_eq!(kept(&recent, 0..last + 5), (11..=last).collect::<Vec<_>>());
        for number in 11..=last {
            let block = recent.get(number).expect("kept");
            assert_eq!(block.bytes, number.to_be_bytes()[..]);
        }
    }

    #[test]
    fn the_newest_blocks_are_kept_up_to_a_size() {
        let recent = RecentBlocks::default();
        let block = Bytes::from(vec![0; KEPT_BYTES / 4]);
        for number in 0..6 {
            recent.push(number, block.clone());
        }
        assert_eq!(kept(&recent, 0..10), [2, 3, 4, 5]);
        recent.push(6, Bytes::from(vec![0; KEPT_BYTES * 2]));
        assert_eq!(kept(&recent, 0..10), [6], "the newest stays, however large");
        recent.push(7, Bytes::new());
        assert_eq!(kept(&recent, 0..10), [7]);
    }

    #[test]
    fn blocks_that_do_not_follow_on_each_other_are_not_kept_together() {
        let recent = RecentBlocks::default();
        for number in [3, 4, 9, 10] {
            recent.push(number, Bytes::new());
        }
        assert_eq!(kept(&recent, 0..20), [9, 10]);
        recent.push(9, Bytes::new());
        assert_eq!(kept(&recent, 0..20), [9]);
        recent.clear();
        assert!(kept(&recent, 0..20).is_empty());
    }

    #[test]
    fn responses_are_shared_by_kind() {
        let block = RecentBlock::new(Bytes::new());
        let (whole, header) = (("block", false), ("block", true));
        assert!(Arc::ptr_eq(&block.response(whole), &block.response(whole)));
        assert!(!Arc::ptr_eq(
            &block.response(whole),
            &block.response(header)
        ));
    }
}
