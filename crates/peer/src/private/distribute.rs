//! At endorsement: private write sets go to other members before anybody signs.
//! fabric: gossip/privdata/distributor.go, gossip/service DistributePrivateData

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use consilium_gossip::{Gossip, Member};
use consilium_ledger::Origin;
use consilium_proto::{
    gossip::PrivatePayload, rwset::TxPvtReadWriteSet,
    transientstore::TxPvtReadWriteSetWithConfigInfo,
};
use futures_util::future::join_all;

use super::{Private, access, plan};
use crate::channel::PeerChannel;

/// A write set on its way to one peer.
struct Sending {
    to: Member,
    is_required: bool,
    payload: PrivatePayload,
}

impl Private {
    /// Distributes the private write sets of a simulation at `height` and keeps them until the
    /// transaction comes back in a block.
    ///
    /// # Errors
    /// Fabric's text: then the transaction must not be endorsed.
    pub(crate) async fn distribute(
        self: &Arc<Self>,
        channel: &Arc<PeerChannel>,
        tx_id: &str,
        set: &TxPvtReadWriteSet,
        height: u64,
    ) -> Result<(), String> {
        let name = channel.name();
        let failed = |reason: String| {
            format!(
                "failed to distribute private collection, txID {tx_id}, channel {name}: {reason}"
            )
        };
        // Reads definitions, and checks certificates that were not seen before.
        let planned = {
            let (private, channel) = (self.clone(), channel.clone());
            let (tx_id, set) = (tx_id.to_owned(), set.clone());
            tokio::task::spawn_blocking(move || private.plan(&channel, &tx_id, set, height))
        };
        let planned = planned.await.map_err(|error| error.to_string());
        let (info, sendings) = planned.and_then(|planned| planned).map_err(failed)?;
        self.send(name, tx_id, sendings).await.map_err(failed)?;
        let (ledger, tx_id) = (channel.ledger().clone(), tx_id.to_owned());
        let stored = tokio::task::spawn_blocking(move || {
            ledger
                .stage_private_from(&tx_id, &info, Origin::Endorsed)
                .map_err(|error| {
                    format!(
                        "failed to store private data into transient store, txID {tx_id}, channel {}: {error}",
                        ledger.channel_id()
                    )
                })
        });
        stored.await.map_err(|error| error.to_string())?
    }

    /// What goes to whom, and the sets with the collections that they belong to.
    fn plan(
        &self,
        channel: &PeerChannel,
        tx_id: &str,
        set: TxPvtReadWriteSet,
        height: u64,
    ) -> Result<(TxPvtReadWriteSetWithConfigInfo, Vec<Sending>), String> {
        let mut collections = self.collections(channel.config());
        let state = channel
            .ledger()
            .reader()
            .map_err(|error| error.to_string())?;
        let members = self
            .gossip()
            .map_or_else(Vec::new, |gossip| gossip.members(channel.name()));
        let mut configs: BTreeMap<String, _> = BTreeMap::new();
        let mut sendings = Vec::new();
        for namespace in &set.ns_pvt_rwset {
            let chaincode = namespace.namespace.as_str();
            for entry in &namespace.collection_pvt_rwset {
                let collection = entry.collection_name.as_str();
                let access = collections
                    .get(&state, chaincode, collection)
                    .map_err(|error| error.to_string())?
                    .ok_or_else(|| format!("no configuration for collection {collection} found"))?;
                let package = access::package_of(&access.config);
                let eligible: Vec<&Member> = members
                    .iter()
                    .filter(|peer| access.admits(&super::member(&peer.identity)))
                    .collect();
                let organizations: Vec<&str> =
                    eligible.iter().map(|peer| peer.identity.msp_id()).collect();
                let targets = plan::choose(
                    &organizations,
                    access.required(),
                    access.maximum(),
                    &mut rand::rng(),
                )
                .map_err(|reason| {
                    format!("could not build private data dissemination plan for chaincode {chaincode} and collection {collection}: {reason}")
                })?;
                sendings.extend(targets.into_iter().map(|target| Sending {
                    to: eligible[target.peer].clone(),
                    is_required: target.is_required,
                    payload: PrivatePayload {
                        collection_name: collection.to_owned(),
                        namespace: chaincode.to_owned(),
                        tx_id: tx_id.to_owned(),
                        private_rwset: entry.rwset.clone(),
                        private_sim_height: height,
                        collection_configs: Some(package.clone()),
                    },
                }));
                configs
                    .entry(chaincode.to_owned())
                    .or_insert_with(consilium_proto::protos::CollectionConfigPackage::default)
                    .config
                    .extend(package.config);
            }
        }
        let info = TxPvtReadWriteSetWithConfigInfo {
            endorsed_at: height,
            pvt_rwset: Some(set),
            collection_configs: configs,
        };
        Ok((info, sendings))
    }

    /// Sends to all; waits for those that have to acknowledge.
    async fn send(&self, channel: &str, tx_id: &str, sendings: Vec<Sending>) -> Result<(), String> {
        let Some(gossip) = self.gossip() else {
            return Ok(());
        };
        let count = sendings.len();
        let started = Instant::now();
        let (required, others): (Vec<_>, Vec<_>) = sendings
            .into_iter()
            .partition(|sending| sending.is_required);
        let patience = self.options.push_ack_timeout;
        for sending in others {
            let (gossip, channel, tx_id) = (gossip.clone(), channel.to_owned(), tx_id.to_owned());
            tokio::spawn(async move {
                push(&gossip, &channel, &tx_id, sending, patience).await;
            });
        }
        let pushes = required
            .into_iter()
            .map(|sending| push(gossip, channel, tx_id, sending, patience));
        let failures = join_all(pushes).await.iter().filter(|done| !**done).count();
        metrics::histogram!("gossip_privdata_send_duration", "channel" => channel.to_owned())
            .record(started.elapsed().as_secs_f64());
        if failures == 0 {
            return Ok(());
        }
        Err(format!(
            "Failed disseminating {failures} out of {count} private dissemination plans"
        ))
    }
}

/// Pushes to one peer; whether it has it now.
async fn push(
    gossip: &Gossip,
    channel: &str,
    tx_id: &str,
    sending: Sending,
    patience: std::time::Duration,
) -> bool {
    let Sending { to, payload, .. } = sending;
    let (namespace, collection) = (payload.namespace.clone(), payload.collection_name.clone());
    let pushed = gossip.push_private(channel, &to, payload, patience).await;
    if let Err(reason) = &pushed {
        tracing::warn!(
            channel,
            tx = tx_id,
            namespace,
            collection,
            peer = to.endpoint,
            %reason,
            "failed to disseminate private data"
        );
    }
    pushed.is_ok()
}
