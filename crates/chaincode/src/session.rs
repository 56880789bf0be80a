//! One transaction's view of one channel, shared by every chaincode that takes part in it.

use crate::lifecycle::{self, CollectionLookup};
use crate::support::PeerSupport;
use consilium_ledger::{LedgerError, Simulator};
use consilium_msp::signature_policy;
use consilium_proto::protos::{
    SignedProposal, StaticCollectionConfig, collection_policy_config::Payload,
};
use consilium_protocol::proposal::ParsedProposal;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why the peer refuses what a chaincode asked for. The chaincode gets the text and may go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("no ledger context")]
    NoLedger,
    // fabric: core/chaincode/handler.go HandleGetHistoryForKey
    #[error("history database is not enabled")]
    NoHistory,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::LifecycleError),
    #[error(
        "tx creator does not have {wish} access permission on privatedata in chaincodeName:{chaincode} collectionName: {collection}"
    )]
    NoAccess {
        wish: &'static str,
        chaincode: String,
        collection: String,
    },
    #[error("private data APIs are not allowed in chaincode Init()")]
    PrivateInInit,
    #[error(
        "key level endorsement is not enabled, channel application capability of V1_3 or later is required"
    )]
    NoKeyLevelPolicies,
    #[error(
        "purge private data is not enabled, channel application capability of V2_5 or later is required"
    )]
    NoPurge,
    #[error("{0}")]
    Request(String),
}

/// What a chaincode wants to do with a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Read,
    Write,
}

/// Whether the creator may read and write a collection: decided once per transaction.
#[derive(Debug, Clone, Copy)]
struct Access {
    read: bool,
    write: bool,
}

/// A transaction on a channel. The simulator is lent to one request at a time; when the outermost
/// call is over it is taken away, and whoever comes late finds no ledger.
pub(crate) struct Session {
    pub(crate) channel: String,
    pub(crate) tx_id: String,
    pub(crate) proposal: Arc<ParsedProposal>,
    pub(crate) signed: Arc<SignedProposal>,
    pub(crate) support: Arc<dyn PeerSupport>,
    simulator: Mutex<Option<Simulator>>,
    /// Ends queries that are still looking for results.
    stop: Option<Arc<AtomicBool>>,
    access: Mutex<BTreeMap<(String, String), Access>>,
}

impl Session {
    pub(crate) fn new(
        channel: &str,
        proposal: Arc<ParsedProposal>,
        signed: Arc<SignedProposal>,
        support: Arc<dyn PeerSupport>,
        simulator: Option<Simulator>,
    ) -> Self {
        Self {
            channel: channel.to_owned(),
            tx_id: proposal.tx_id().to_owned(),
            proposal,
            signed,
            support,
            stop: simulator.as_ref().map(Simulator::stop_signal),
            simulator: Mutex::new(simulator),
            access: Mutex::new(BTreeMap::new()),
        }
    }

    /// Runs `work` on the simulator. Reads the database: not for the reactor's threads.
    pub(crate) fn with_simulator<T, E: Into<StateError>>(
        &self,
        work: impl FnOnce(&mut Simulator) -> Result<T, E>,
    ) -> Result<T, StateError> {
        let mut simulator = self.simulator.lock();
        work(simulator.as_mut().ok_or(StateError::NoLedger)?).map_err(Into::into)
    }

    /// Lets queries under way end instead of looking on for results. Never waits.
    pub(crate) fn stop(&self) {
        if let Some(stop) = &self.stop {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the session for everybody and gives the simulator back. Waits for the request that has
    /// it: not for the reactor's threads.
    pub(crate) fn close(&self) -> Option<Simulator> {
        self.stop();
        self.simulator.lock().take()
    }

    /// Refuses a wish that the collection's member-only flags deny to the creator.
    pub(crate) fn check_access(
        &self,
        chaincode: &str,
        collection: &str,
        wish: Wish,
    ) -> Result<(), StateError> {
        let key = (chaincode.to_owned(), collection.to_owned());
        let known = self.access.lock().get(&key).copied();
        let access = match known {
            Some(access) => access,
            None => {
                let access = self.decide_access(chaincode, collection)?;
                self.access.lock().insert(key, access);
                access
            }
        };
        let (allowed, wish) = match wish {
            Wish::Read => (access.read, "read"),
            Wish::Write => (access.write, "write"),
        };
        if allowed {
            return Ok(());
        }
        Err(StateError::NoAccess {
            wish,
            chaincode: chaincode.to_owned(),
            collection: collection.to_owned(),
        })
    }

    fn decide_access(&self, chaincode: &str, collection: &str) -> Result<Access, StateError> {
        let found = self.with_simulator(|simulator| {
            lifecycle::collection(simulator.state(), chaincode, collection)
        })?;
        // An unknown collection is the simulator's to refuse, in its words.
        let CollectionLookup::Defined(config) = found else {
            return Ok(Access {
                read: true,
                write: true,
            });
        };
        if !config.member_only_read && !config.member_only_write {
            return Ok(Access {
                read: true,
                write: true,
            });
        }
        let member = self.creator_is_member(&config)?;
        Ok(Access {
            read: member || !config.member_only_read,
            write: member || !config.member_only_write,
        })
    }

    fn creator_is_member(&self, config: &StaticCollectionConfig) -> Result<bool, StateError> {
        let channel = self
            .support
            .config(&self.channel)
            .ok_or(StateError::NoLedger)?;
        let policy = config
            .member_orgs_policy
            .as_ref()
            .and_then(|policy| policy.payload.as_ref());
        let Some(Payload::SignaturePolicy(envelope)) = policy else {
            return Ok(false);
        };
        let policy = signature_policy(envelope, channel.msps().clone()).map_err(|error| {
            StateError::Request(format!(
                "member policy of collection {}: {error}",
                config.name
            ))
        })?;
        Ok(policy.evaluate(&[self.proposal.signed_data()]).is_ok())
    }

    /// Refuses private data while a chaincode initializes, and wishes that the flags deny.
    pub(crate) fn check_private(
        &self,
        chaincode: &str,
        collection: &str,
        wish: Wish,
        is_init: bool,
    ) -> Result<(), StateError> {
        if is_init {
            return Err(StateError::PrivateInInit);
        }
        self.check_access(chaincode, collection, wish)
    }

    /// Refuses key-level policies where the channel's capabilities lack them.
    pub(crate) fn check_key_level_policies(&self) -> Result<(), StateError> {
        self.has_capability("V1_3")
            .then_some(())
            .ok_or(StateError::NoKeyLevelPolicies)
    }

    /// Refuses purging where the channel's capabilities lack it.
    pub(crate) fn check_purge(&self) -> Result<(), StateError> {
        self.has_capability("V2_5")
            .then_some(())
            .ok_or(StateError::NoPurge)
    }

    fn has_capability(&self, name: &str) -> bool {
        self.support
            .config(&self.channel)
            .is_some_and(|config| config.application_at_least(name))
    }
}
