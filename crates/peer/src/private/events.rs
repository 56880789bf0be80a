//! Private data in the events of a block. fabric: core/peer/deliverevents.go

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::LedgerError;
use consilium_proto::{protos::CollectionConfigPackage, rwset::TxPvtReadWriteSet};

use super::{Private, member};
use crate::channel::PeerChannel;

impl Private {
    /// The private write sets of a block that this peer has and `reader` (a serialized identity) may
    /// see, by index in the block. By the definition in force below the block, whoever may have
    /// blocks may see a collection, unless that is `memberOnlyRead`: then members only. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The ledger's.
    pub(crate) fn seen_by(
        &self,
        reader: &Bytes,
        channel: &PeerChannel,
        block: u64,
    ) -> Result<BTreeMap<u64, TxPvtReadWriteSet>, LedgerError> {
        let sets = channel.ledger().private_data(block)?;
        if sets.is_empty() {
            return Ok(BTreeMap::new());
        }
        let config = channel.config();
        let reader = config.msps().deserialize(reader).ok();
        let reader = reader.as_ref().map(member);
        let collections = self.collections(config);
        let mut packages: BTreeMap<String, CollectionConfigPackage> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (index, mut set) in sets {
            for namespace in &mut set.ns_pvt_rwset {
                let name = &namespace.namespace;
                if !packages.contains_key(name) {
                    // A definition that cannot be read admits nobody; the block is delivered.
                    let package = match channel.ledger().collections_below(block, name) {
                        Err(LedgerError::Refused(_)) => None,
                        read => read?,
                    };
                    packages.insert(name.clone(), package.unwrap_or_default());
                }
                let package = &packages[name];
                namespace.collection_pvt_rwset.retain(|set| {
                    let access = collections.in_package(package, &set.collection_name);
                    access.is_some_and(|access| {
                        !access.config.member_only_read
                            || reader.as_ref().is_some_and(|reader| access.admits(reader))
                    })
                });
            }
            set.ns_pvt_rwset
                .retain(|namespace| !namespace.collection_pvt_rwset.is_empty());
            if !set.ns_pvt_rwset.is_empty() {
                seen.insert(u64::from(index), set);
            }
        }
        Ok(seen)
    }
}
