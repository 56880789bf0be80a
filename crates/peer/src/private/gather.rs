//! At commit: the private write sets that this peer may have, from what waits here or from others.
//! fabric: gossip/privdata/pvtdataprovider.go

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_ledger::{
    LedgerError, PreparedTransaction, PrivateBlock, PrivatePlace, mvcc::TxContent,
};
use consilium_msp::Identity;
use consilium_proto::{gossip::PvtDataDigest, protos::TxValidationCode};

use super::{Private, access::is_agreed, pull, pull::Wanted};
use crate::channel::PeerChannel;

/// Who endorsed a transaction; `None` for one that was refused before its content mattered.
pub(crate) type Source = Option<Vec<Arc<Identity>>>;

impl Private {
    /// Collects the private data of a block whose transactions have their codes, short of read-write
    /// conflicts. Blocks the calling thread, which must not be the reactor's, while others are asked:
    /// at most `pullRetryThreshold`.
    ///
    /// # Errors
    /// The ledger's.
    pub(crate) fn gather(
        &self,
        channel: &PeerChannel,
        number: u64,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
        sources: &[Source],
    ) -> Result<PrivateBlock, LedgerError> {
        let started = Instant::now();
        let mut private = PrivateBlock::default();
        let mut wanted = Vec::new();
        let mut places = Vec::new();
        let config = channel.config();
        let stores_invalid = config.application_at_least("V1_4_2");
        let myself = self.myself(&config);
        let mut collections = self.collections(config);
        let mut state = None;
        for (index, transaction) in transactions.iter().enumerate() {
            let TxContent::Endorsed(rwset) = &transaction.content else {
                continue;
            };
            let is_valid = codes.get(index) == Some(&TxValidationCode::Valid);
            let endorsers = sources.get(index).and_then(Option::as_ref);
            let sets = rwset.namespaces.iter().flat_map(|namespace| {
                let sets = namespace.collections.iter();
                sets.filter(|set| !set.pvt_rwset_hash.is_empty())
                    .map(|set| (namespace.name.as_str(), set))
            });
            let mut staged = None;
            for (namespace, set) in sets {
                let place = PrivatePlace::new(index as u32, namespace, &set.name);
                let state = match &mut state {
                    Some(state) => state,
                    none => none.insert(channel.ledger().reader()?),
                };
                let access = collections.get(state, namespace, &set.name)?;
                let (Some(access), Some(endorsers)) = (access, endorsers) else {
                    private.unwanted.insert(place);
                    continue;
                };
                if !is_valid && !stores_invalid {
                    private.unwanted.insert(place);
                    continue;
                }
                if !access.is_kept_by(&myself) {
                    private.ineligible.insert(place);
                    continue;
                }
                let staged = match &mut staged {
                    Some(staged) => staged,
                    none => none.insert(channel.ledger().staged_private(&transaction.tx_id)?),
                };
                let is_here = staged
                    .iter()
                    .filter_map(|info| info.pvt_rwset.as_ref())
                    .flat_map(|staged| &staged.ns_pvt_rwset)
                    .filter(|entry| entry.namespace == namespace)
                    .flat_map(|entry| &entry.collection_pvt_rwset)
                    .filter(|entry| entry.collection_name == set.name)
                    .any(|entry| is_agreed(&entry.rwset, &set.pvt_rwset_hash));
                // Blocks that come again after a rollback find their sets stored.
                let is_here = is_here
                    || (channel.ledger().height_before_reset().is_some()
                        && channel.ledger().private_set(number, &place)?.is_some());
                if is_here || (!is_valid && self.options.skip_pulling_invalid) {
                    continue;
                }
                let preferred: BTreeSet<Bytes> = endorsers
                    .iter()
                    .filter(|endorser| access.organizations.contains(endorser.msp_id()))
                    .map(|endorser| endorser.serialized().clone())
                    .collect();
                wanted.push(Wanted {
                    digest: PvtDataDigest {
                        tx_id: transaction.tx_id.clone(),
                        namespace: namespace.to_owned(),
                        collection: set.name.clone(),
                        block_seq: number,
                        seq_in_block: index as u64,
                    },
                    access,
                    preferred,
                    hash: Some(set.pvt_rwset_hash.clone()),
                });
                places.push(place);
            }
        }
        // Not to be held while others are asked.
        drop(state);
        if !wanted.is_empty() {
            for (index, set) in self.pull(channel, number, &wanted) {
                private.found.insert(places[index].clone(), set);
            }
            metrics::histogram!("gossip_privdata_fetch_duration", "channel" => channel.name().to_owned())
                .record(started.elapsed().as_secs_f64());
        }
        Ok(private)
    }

    fn pull(
        &self,
        channel: &PeerChannel,
        number: u64,
        wanted: &[Wanted],
    ) -> impl Iterator<Item = (usize, Bytes)> + use<> {
        let patience = self.options.pull_retry_threshold;
        let mut found = pull::Found::default();
        if let Some(gossip) = self.gossip()
            && patience > Duration::ZERO
        {
            let margin = self.options.btl_pull_margin;
            let searching = pull::search(gossip, channel.name(), wanted, margin, patience);
            found = self.runtime.block_on(async {
                tokio::select! {
                    found = searching => found,
                    () = self.stop.cancelled() => pull::Found::default(),
                }
            });
        }
        let missing = wanted.len() - found.sets.len();
        if missing > 0 {
            tracing::warn!(
                channel = channel.name(),
                block = number,
                missing,
                "committing a block with missing private write sets"
            );
        }
        found.sets.into_iter()
    }
}
