//! Summaries of range reads: up to [`MAX_DEGREE`] results are recorded as they are, more as the top
//! of a Merkle tree (endorse-validate-commit, section 2.4).

use crate::hash::sha256;
use bytes::Bytes;
use consilium_proto::kvrwset::{
    KvRead, QueryReads, QueryReadsMerkleSummary, range_query_info::ReadsInfo,
};
use prost::Message;
use thiserror::Error;

/// Degree that endorsers use.
pub const MAX_DEGREE: u32 = 50;

/// Collects the results of one range read.
#[derive(Debug)]
pub struct RangeSummary {
    max_degree: usize,
    pending: Vec<KvRead>,
    /// Hashes of each level, the leaves' first; the last level is the highest ever reached.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Default for RangeSummary {
    fn default() -> Self {
        Self {
            max_degree: MAX_DEGREE as usize,
            pending: Vec::new(),
            levels: Vec::new(),
        }
    }
}

/// A degree under which no tree can be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("maxDegree [{0}] should not be less than 2 in the merkle tree")]
pub struct DegreeTooSmall(pub u32);

impl RangeSummary {
    /// A summary of another degree than the usual one, as a recorded one may ask for.
    pub fn with_degree(max_degree: u32) -> Result<Self, DegreeTooSmall> {
        if max_degree < 2 {
            return Err(DegreeTooSmall(max_degree));
        }
        Ok(Self {
            max_degree: usize::try_from(max_degree).unwrap_or(usize::MAX),
            ..Self::default()
        })
    }

    /// Adds the next result.
    pub fn push(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.max_degree {
            self.hash_pending();
        }
    }

    /// What goes into `RangeQueryInfo`: nothing when there was no result, the raw reads when they
    /// were few, else the tree's top level.
    pub fn finish(mut self) -> Option<ReadsInfo> {
        if self.levels.is_empty() {
            return (!self.pending.is_empty()).then(|| {
                ReadsInfo::RawReads(QueryReads {
                    kv_reads: self.pending,
                })
            });
        }
        if !self.pending.is_empty() {
            self.hash_pending();
        }
        Some(ReadsInfo::ReadsMerkleHashes(self.close()))
    }

    fn hash_pending(&mut self) {
        let reads = QueryReads {
            kv_reads: std::mem::take(&mut self.pending),
        };
        self.add(0, sha256(&reads.encode_to_vec()));
        let mut level = 0;
        while self.levels[level].len() > self.max_degree {
            let combined = combine(&std::mem::take(&mut self.levels[level]));
            level += 1;
            self.add(level, combined);
        }
    }

    fn add(&mut self, level: usize, hash: [u8; 32]) {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
    }

    fn close(mut self) -> QueryReadsMerkleSummary {
        let highest = self.levels.len() - 1;
        for level in 0..highest {
            let hashes = std::mem::take(&mut self.levels[level]);
            match hashes[..] {
                [] => {}
                [single] => self.add(level + 1, single),
                _ => self.add(level + 1, combine(&hashes)),
            }
        }
        let mut top = std::mem::take(&mut self.levels[highest]);
        let mut max_level = highest + 1;
        if top.len() > self.max_degree {
            top = vec![combine(&top)];
            max_level += 1;
        }
        QueryReadsMerkleSummary {
            max_degree: self.max_degree as u32, // came from a u32
            max_level: max_level as u32,        // a logarithm
            max_level_hashes: top
                .iter()
                .map(|hash| Bytes::copy_from_slice(hash))
                .collect(),
        }
    }
}

fn combine(hashes: &[[u8; 32]]) -> [u8; 32] {
    sha256(hashes.as_flattened())
}

/// Whether reading a range now gives what a transaction recorded of it. Stops at the first
/// difference when single reads were recorded. A recorded degree that no tree can have, or a
/// recorded read without version, is a difference.
pub fn same_results<E>(
    recorded: Option<&ReadsInfo>,
    mut now: impl Iterator<Item = Result<KvRead, E>>,
) -> Result<bool, E> {
    match recorded {
        None => Ok(now.next().transpose()?.is_none()),
        Some(ReadsInfo::RawReads(reads)) => {
            for read in &reads.kv_reads {
                match now.next().transpose()? {
                    Some(found) if read.version.is_some() && found == *read => {}
                    _ => return Ok(false),
                }
            }
            Ok(now.next().transpose()?.is_none())
        }
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
            let Ok(mut rebuilt) = RangeSummary::with_degree(summary.max_degree) else {
                return Ok(false);
            };
            for read in now {
                rebuilt.push(read?);
            }
            Ok(
                matches!(rebuilt.finish(), Some(ReadsInfo::ReadsMerkleHashes(found)) if found == *summary),
            )
        }
    }
}

#[cfg(test)]
mod tests;
