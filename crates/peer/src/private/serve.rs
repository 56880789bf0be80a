//! Private write sets that other peers ask for. fabric: gossip/privdata/pull.go, dataretriever.go

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{LedgerError, PrivatePlace, StateReader};
use consilium_msp::Identity;
use consilium_proto::gossip::{PvtDataDigest, PvtDataElement};

use super::{Collections, Member, Private, access::Access};
use crate::channel::PeerChannel;

/// Digests looked at in one request.
const DIGESTS: usize = 10_000;
/// Bytes given in one answer; the rest has to be asked for again.
const ANSWER: usize = 32 * 1024 * 1024;

impl Private {
    /// The sets that this peer has and that `from` may have; the others are left out. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The ledger's.
    pub(crate) fn serve(
        &self,
        channel: &Arc<PeerChannel>,
        from: &Arc<Identity>,
        digests: Vec<PvtDataDigest>,
    ) -> Result<Vec<PvtDataElement>, LedgerError> {
        let state = channel.ledger().reader()?;
        let mut serving = Serving {
            channel,
            asked_by: super::member(from),
            collections: self.collections(channel.config()),
            height: state.height(),
            state,
        };
        let mut elements = Vec::new();
        let mut bytes = 0usize;
        for digest in digests.into_iter().take(DIGESTS) {
            let payload = serving.find(&digest)?;
            let size: usize = payload.iter().map(Bytes::len).sum();
            bytes = bytes.saturating_add(size);
            if bytes > ANSWER && !elements.is_empty() {
                break;
            }
            if !payload.is_empty() {
                elements.push(PvtDataElement {
                    digest: Some(digest),
                    payload,
                });
            }
        }
        Ok(elements)
    }
}

struct Serving<'a> {
    channel: &'a PeerChannel,
    asked_by: Member,
    collections: Collections,
    state: StateReader,
    height: u64,
}

impl Serving<'_> {
    fn find(&mut self, digest: &PvtDataDigest) -> Result<Vec<Bytes>, LedgerError> {
        if digest.block_seq < self.height {
            self.committed(digest)
        } else if digest.tx_id.is_empty() {
            Ok(Vec::new())
        } else {
            self.waiting(digest)
        }
    }

    /// From a block: for members by the present configuration or by that of the block.
    fn committed(&mut self, digest: &PvtDataDigest) -> Result<Vec<Bytes>, LedgerError> {
        let Ok(index) = u32::try_from(digest.seq_in_block) else {
            return Ok(Vec::new());
        };
        let (namespace, collection) = (&digest.namespace, &digest.collection);
        let present = self.collections.get(&self.state, namespace, collection)?;
        let mut may = present.is_some_and(|access| access.admits(&self.asked_by));
        if !may {
            let ledger = self.channel.ledger();
            let package = match ledger.collections_below(digest.block_seq, namespace) {
                Err(LedgerError::Refused(_)) => None,
                read => read?,
            };
            let then = self
                .collections
                .in_package(&package.unwrap_or_default(), collection);
            may = then.is_some_and(|access| access.admits(&self.asked_by));
        }
        if !may {
            return Ok(Vec::new());
        }
        let place = PrivatePlace::new(index, namespace, collection);
        let set = self
            .channel
            .ledger()
            .private_set(digest.block_seq, &place)?;
        Ok(set.into_iter().collect())
    }

    /// From what waits for its transaction: for members by the newest configuration that came with
    /// it.
    fn waiting(&mut self, digest: &PvtDataDigest) -> Result<Vec<Bytes>, LedgerError> {
        let mut newest: Option<(u64, Access)> = None;
        let mut found = Vec::new();
        for info in self.channel.ledger().staged_private(&digest.tx_id)? {
            let package = info.collection_configs.get(&digest.namespace);
            let access = package
                .and_then(|package| self.collections.in_package(package, &digest.collection));
            let Some(access) = access else {
                continue;
            };
            let sets = info.pvt_rwset.iter().flat_map(|set| &set.ns_pvt_rwset);
            found.extend(
                sets.filter(|entry| entry.namespace == digest.namespace)
                    .flat_map(|entry| &entry.collection_pvt_rwset)
                    .filter(|entry| entry.collection_name == digest.collection)
                    .map(|entry| entry.rwset.clone()),
            );
            if newest
                .as_ref()
                .is_none_or(|(at, _)| info.endorsed_at >= *at)
            {
                newest = Some((info.endorsed_at, access));
            }
        }
        let may = newest.is_some_and(|(_, access)| access.admits(&self.asked_by));
        Ok(if may { found } else { Vec::new() })
    }
}
