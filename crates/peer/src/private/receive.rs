//! Private write sets that other peers push. fabric: gossip/state/state.go privateDataMessage
//!
//! Fabric stores whatever a channel's peer sends. Here it also has to be a write set of a collection
//! that this peer is a member of by the configuration that comes with it; whether the configuration
//! is the channel's shows when the block comes, by its hash.

use std::sync::Arc;

use consilium_gossip::wire::fields;
use consilium_ledger::Origin;
use consilium_msp::Identity;
use consilium_proto::{
    gossip::PrivatePayload,
    kvrwset,
    rwset::{self, TxPvtReadWriteSet},
    transientstore::TxPvtReadWriteSetWithConfigInfo,
};
use consilium_protocol::names::{
    implicit_collection_org, validate_chaincode_name, validate_collection_name,
};
use prost::Message;

use super::{Private, access};
use crate::channel::PeerChannel;

/// Transaction ids are SHA-256 in hex.
const TX_ID: usize = 64;

/// Writes, and metadata entries, in one set.
const RECORDS: usize = 256 * 1024;

/// Refuses what would take far more memory decoded than it has bytes. Private sets hold writes alone.
/// fabric: core/ledger/kvledger/txmgmt/rwsetutil/rwset_builder.go collPvtRwBuilder
fn check_size(set: &[u8]) -> Result<(), String> {
    const READS: u32 = 1;
    const RANGE_QUERIES: u32 = 2;
    const METADATA_WRITES: u32 = 4;
    let mut records = 0;
    for field in fields(set) {
        let field = field.map_err(|error| error.to_string())?;
        records += match field.tag {
            READS | RANGE_QUERIES => return Err("a private write set holds reads".to_owned()),
            METADATA_WRITES => 1 + fields(field.bytes).count(),
            _ => 1,
        };
        if records > RECORDS {
            return Err("a private write set has too many writes".to_owned());
        }
    }
    Ok(())
}

impl Private {
    /// Keeps a pushed write set until its transaction comes. Blocks on the disk.
    ///
    /// # Errors
    /// What the sender is told.
    pub(crate) fn receive(
        &self,
        channel: &Arc<PeerChannel>,
        from: &Identity,
        payload: PrivatePayload,
    ) -> Result<(), String> {
        let (namespace, collection) = (&payload.namespace, &payload.collection_name);
        if payload.private_rwset.is_empty() {
            return Err(format!(
                "malformed private data message, no rwset provided, collection name = {collection}"
            ));
        }
        let is_id = payload.tx_id.len() == TX_ID
            && payload.tx_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err("malformed private data message, no transaction id".to_owned());
        }
        let is_system = namespace.starts_with('_');
        if !is_system {
            validate_chaincode_name(namespace).map_err(|error| error.to_string())?;
        }
        if implicit_collection_org(collection).is_none() {
            validate_collection_name(collection).map_err(|error| error.to_string())?;
        }
        check_size(&payload.private_rwset)
            .map_err(|error| format!("malformed private data message: {error}"))?;
        kvrwset::KvrwSet::decode(payload.private_rwset.clone())
            .map_err(|error| format!("malformed private data message: {error}"))?;
        let config = channel.config();
        let package = payload.collection_configs.clone().unwrap_or_default();
        let access = self
            .collections(config.clone())
            .in_package(&package, collection)
            .ok_or_else(|| format!("no configuration for collection {collection} found"))?;
        if !access.is_kept_by(&self.myself(&config)) {
            return Err(format!(
                "this peer is not a member of collection {collection} of chaincode {namespace}"
            ));
        }
        let ledger = channel.ledger();
        let known = ledger.has_transaction(&payload.tx_id);
        if known.map_err(|error| error.to_string())? {
            // Too late to be of use, or sent again.
            return Ok(());
        }
        let info = TxPvtReadWriteSetWithConfigInfo {
            endorsed_at: payload.private_sim_height,
            pvt_rwset: Some(TxPvtReadWriteSet {
                data_model: rwset::tx_read_write_set::DataModel::Kv as i32,
                ns_pvt_rwset: vec![rwset::NsPvtReadWriteSet {
                    namespace: namespace.clone(),
                    collection_pvt_rwset: vec![rwset::CollectionPvtReadWriteSet {
                        collection_name: collection.clone(),
                        rwset: payload.private_rwset.clone(),
                    }],
                }],
            }),
            collection_configs: [(namespace.clone(), access::package_of(&access.config))].into(),
        };
        let origin = Origin::Pushed {
            by: from.msp_id(),
            organizations: config.application_orgs().len(),
        };
        ledger
            .stage_private_from(&payload.tx_id, &info, origin)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_large_only_once_decoded_is_refused() {
        let check = |set: &kvrwset::KvrwSet| check_size(&set.encode_to_vec());
        let writes = |count| kvrwset::KvrwSet {
            writes: vec![kvrwset::KvWrite::default(); count],
            ..Default::default()
        };
        assert_eq!(check(&writes(RECORDS)), Ok(()));
        check(&writes(RECORDS + 1)).unwrap_err();
        let metadata = |count| kvrwset::KvrwSet {
            metadata_writes: vec![kvrwset::KvMetadataWrite {
                key: "k".into(),
                entries: vec![kvrwset::KvMetadataEntry::default(); count],
            }],
            ..Default::default()
        };
        assert_eq!(check(&metadata(RECORDS - 2)), Ok(()));
        check(&metadata(RECORDS)).unwrap_err();
        let reads = kvrwset::KvrwSet {
            reads: vec![kvrwset::KvRead::default()],
            ..Default::default()
        };
        check(&reads).unwrap_err();
        check_size(b"\xff").unwrap_err();
    }
}
