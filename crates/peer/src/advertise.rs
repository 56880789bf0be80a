//! Which chaincodes this peer tells other peers that it can run: defined on the channel, approved by
//! the organization and installed here. fabric: core/chaincode/lifecycle/metadata_manager.go

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use consilium_chaincode::{Host, lifecycle};
use consilium_proto::gossip::Chaincode;
use parking_lot::RwLock;

use crate::{channel::PeerChannel, peer::Core};

/// By channel.
pub(crate) type Advertised = RwLock<BTreeMap<String, Vec<Chaincode>>>;

/// Renews what is told whenever a channel has grown or a package was installed; looks every `period`.
pub(crate) async fn run(core: Weak<Core>, host: Weak<Host>, period: Duration) {
    let mut seen = BTreeMap::new();
    loop {
        let (Some(core), Some(host)) = (core.upgrade(), host.upgrade()) else {
            return;
        };
        for channel in core.running() {
            let now = (channel.ledger().height(), host.installed().len());
            if seen.insert(channel.name().to_owned(), now) == Some(now) {
                continue;
            }
            let (core, host) = (core.clone(), host.clone());
            let renewing = tokio::task::spawn_blocking(move || renew(&core, &host, &channel));
            if let Err(error) = renewing.await {
                tracing::error!(%error, "cannot tell which chaincodes run here");
            }
        }
        drop((core, host));
        tokio::time::sleep(period).await;
    }
}

fn renew(core: &Core, host: &Host, channel: &Arc<PeerChannel>) {
    let defined = channel
        .ledger()
        .reader()
        .map_err(|error| error.to_string())
        .and_then(|state| lifecycle::definitions(&state).map_err(|error| error.to_string()));
    let definitions = match defined {
        Ok(definitions) => definitions,
        Err(error) => {
            tracing::warn!(
                channel = channel.name(),
                error,
                "chaincode definitions are unreadable"
            );
            return;
        }
    };
    let mut chaincodes = vec![Chaincode {
        name: "_lifecycle".to_owned(),
        version: "1".to_owned(),
        ..Default::default()
    }];
    for definition in definitions {
        if host.available(channel.name(), &definition.name) {
            chaincodes.push(Chaincode {
                name: definition.name,
                // Not the text that the organizations agreed on: other peers look for this.
                version: definition.sequence.to_string(),
                ..Default::default()
            });
        }
    }
    core.advertised()
        .write()
        .insert(channel.name().to_owned(), chaincodes);
}
