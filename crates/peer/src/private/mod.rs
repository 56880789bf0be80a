//! Private data on its way between peers.
//!
//! At endorsement a write set goes to members of its collection ([`distribute`], planned by
//! [`plan`]); they keep it until the transaction is committed ([`receive`]). At commit each peer
//! looks for the sets that it may have ([`gather`], [`pull`]) and notes what it does not get;
//! [`reconcile`] looks for that later. [`serve`] answers other peers, [`events`] clients that follow
//! blocks; who may have what is decided in [`access`]. Nothing that comes from a peer is believed: the block's hashes are.
//!
//! fabric: gossip/privdata, core/endorser/pvtrwset_assembler.go

mod access;
mod distribute;
mod events;
mod gather;
mod options;
mod plan;
mod pull;
mod receive;
mod reconcile;
mod serve;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consilium_gossip::Gossip;
use consilium_msp::{Identity, SigningIdentity};
use consilium_protocol::config::ChannelConfig;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use options::{DisseminationPolicy, PrivateOptions};

pub(crate) use access::{Collections, Member, organizations};
pub(crate) use gather::Source;
pub(crate) use reconcile::run as reconcile;

/// What exchanging private data takes, the same for all channels of a peer.
pub(crate) struct Private {
    options: PrivateOptions,
    signer: SigningIdentity,
    /// Without it a peer has what it endorses itself.
    gossip: OnceLock<Arc<Gossip>>,
    runtime: Handle,
    stop: CancellationToken,
}

impl Private {
    pub(crate) fn new(
        options: PrivateOptions,
        signer: SigningIdentity,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Self {
        Self {
            options,
            signer,
            gossip: OnceLock::new(),
            runtime,
            stop,
        }
    }

    /// Lets private data travel.
    pub(crate) fn connect(&self, gossip: Arc<Gossip>) {
        // Set once, by the peer when it opens.
        let _ = self.gossip.set(gossip);
    }

    pub(crate) fn gossip(&self) -> Option<&Arc<Gossip>> {
        self.gossip.get()
    }

    /// Blocks for which write sets wait for their transactions.
    pub(crate) fn transient_retention(&self) -> u64 {
        self.options.transient_retention
    }

    /// This peer as a channel's policies see it.
    fn myself(&self, config: &ChannelConfig) -> Member {
        let signer = self.signer.current();
        let identity: &Bytes = signer.serialized();
        Member {
            msp_id: self.signer.msp_id().to_owned(),
            identity: config.msps().deserialize(identity).ok(),
        }
    }

    /// The collections of a channel as this peer knows them.
    fn collections(&self, config: Arc<ChannelConfig>) -> Collections {
        Collections::new(config, self.signer.msp_id(), self.options.implicit)
    }
}

/// Other peers' identities, for policies.
fn member(identity: &Arc<Identity>) -> Member {
    Member {
        msp_id: identity.msp_id().to_owned(),
        identity: Some(identity.clone()),
    }
}
