//! Private write sets that other peers ask for. fabric: gossip/privdata/pull.go, dataretriever.go

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use consilium_ledger::{LedgerError, PrivatePlace, StateReader};
use consilium_msp::Identity;
use consilium_proto::{
    gossip::{PvtDataDigest, PvtDataElement},
    transientstore::TxPvtReadWriteSetWithConfigInfo,
};
use prost::Message;

use super::{Collections, Member, Private};
use crate::channel::PeerChannel;

/// Digests looked at in one request.
const DIGESTS: usize = 10_000;
/// Bytes given in one answer, and bytes read for it; the rest has to be asked for again.
const ANSWER: usize = 32 * 1024 * 1024;
/// What looking for a set costs at least, in bytes read.
const LOOK: usize = 256;

impl Private {
    /// The sets that this peer has and that `from` may have; the others are left out. Blocks on the
    /// disk, until nobody waits for the answer any more.
    ///
    /// # Errors
    /// The ledger's.
    pub(crate) fn serve(
        &self,
        channel: &Arc<PeerChannel>,
        from: &Arc<Identity>,
        mut digests: Vec<PvtDataDigest>,
        is_in_vain: impl Fn() -> bool,
    ) -> Result<Vec<PvtDataElement>, LedgerError> {
        let state = channel.ledger().reader()?;
        let mut serving = Serving {
            channel,
            asked_by: super::member(from),
            collections: self.collections(channel.config()),
            height: state.height(),
            state,
            staged: None,
            read: 0,
        };
        digests.truncate(DIGESTS);
        // Those of one transaction together, and each once.
        digests.sort_by(|a, b| order(a).cmp(&order(b)));
        digests.dedup();
        let mut elements = Vec::new();
        let mut bytes = 0usize;
        for digest in digests {
            if serving.read > ANSWER || is_in_vain() {
                break;
            }
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

fn order(digest: &PvtDataDigest) -> (&str, u64, u64, &str, &str) {
    (
        &digest.tx_id,
        digest.block_seq,
        digest.seq_in_block,
        &digest.namespace,
        &digest.collection,
    )
}

/// What waits for one transaction.
struct Staged {
    tx_id: String,
    infos: Vec<TxPvtReadWriteSetWithConfigInfo>,
    /// What of it the asker may have, by namespace and collection.
    given: BTreeMap<(String, String), Vec<Bytes>>,
}

struct Serving<'a> {
    channel: &'a PeerChannel,
    asked_by: Member,
    collections: Collections,
    state: StateReader,
    height: u64,
    staged: Option<Staged>,
    /// Bytes.
    read: usize,
}

impl Serving<'_> {
    fn find(&mut self, digest: &PvtDataDigest) -> Result<Vec<Bytes>, LedgerError> {
        self.read = self.read.saturating_add(LOOK);
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
            let package = package.unwrap_or_default();
            self.read = self.read.saturating_add(package.encoded_len());
            let then = self.collections.in_package(&package, collection);
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
        self.read = self.read.saturating_add(set.as_ref().map_or(0, Bytes::len));
        Ok(set.into_iter().collect())
    }

    /// From what waits for its transaction. Whoever pushed it said who its collection's members are:
    /// that counts for his own set alone, and only where the channel has no definition that refuses
    /// the asker.
    fn waiting(&mut self, digest: &PvtDataDigest) -> Result<Vec<Bytes>, LedgerError> {
        let PvtDataDigest {
            tx_id,
            namespace,
            collection,
            ..
        } = digest;
        let present = self.collections.get(&self.state, namespace, collection)?;
        if present.is_some_and(|access| !access.admits(&self.asked_by)) {
            return Ok(Vec::new());
        }
        let staged = match &mut self.staged {
            Some(staged) if staged.tx_id == *tx_id => staged,
            last => {
                let infos = self.channel.ledger().staged_private(tx_id)?;
                let sizes = infos
                    .iter()
                    .map(TxPvtReadWriteSetWithConfigInfo::encoded_len);
                self.read = self.read.saturating_add(sizes.sum());
                last.insert(Staged {
                    tx_id: tx_id.clone(),
                    infos,
                    given: BTreeMap::new(),
                })
            }
        };
        let place = (namespace.clone(), collection.clone());
        if let Some(given) = staged.given.get(&place) {
            return Ok(given.clone());
        }
        let mut given = Vec::new();
        for info in &staged.infos {
            let package = info.collection_configs.get(namespace);
            let access =
                package.and_then(|package| self.collections.in_package(package, collection));
            if access.is_none_or(|access| !access.admits(&self.asked_by)) {
                continue;
            }
            let sets = info.pvt_rwset.iter().flat_map(|set| &set.ns_pvt_rwset);
            let sets = sets
                .filter(|entry| entry.namespace == *namespace)
                .flat_map(|entry| &entry.collection_pvt_rwset)
                .filter(|entry| entry.collection_name == *collection);
            for entry in sets {
                // The same may have been pushed by several.
                if !given.contains(&entry.rwset) {
                    given.push(entry.rwset.clone());
                }
            }
        }
        staged.given.insert(place, given.clone());
        Ok(given)
    }
}
