//! What the lifecycle refuses, in Fabric's words.

use consilium_ledger::LedgerError;
use consilium_protocol::names::NameError;

/// Why a lifecycle operation was refused or a definition could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each text says what its variant is
pub enum LifecycleError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// State under `_lifecycle` does not decode. Endorsed garbage can do this, see
    /// endorse-validate-commit.md §8; it makes one chaincode unusable and nothing else.
    #[error("chaincode definition '{name}' unreadable: {cause}")]
    Unreadable { name: String, cause: String },

    #[error("namespace {0} is not defined")]
    NotDefined(String),
    #[error("chaincode install package '{0}' not found")]
    PackageNotFound(String),
    #[error(
        "could not fetch approved chaincode definition (name: '{name}', sequence: '{sequence}') on channel '{channel}'"
    )]
    NotApproved {
        name: String,
        sequence: i64,
        channel: String,
    },

    #[error("requested sequence is 0, but first definable sequence number is 1")]
    SequenceZero,
    #[error("currently defined sequence {current} is larger than requested sequence {requested}")]
    SequencePast { current: i64, requested: i64 },
    #[error(
        "requested sequence {requested} is larger than the next available sequence number {next}"
    )]
    SequenceFuture { requested: i64, next: i64 },
    #[error("requested sequence is {requested}, but new definition must be sequence {next}")]
    SequenceNotNext { requested: i64, next: i64 },
    #[error(
        "attempted to redefine the current committed sequence ({sequence}) for namespace {name} with different parameters: {difference}"
    )]
    RedefinesCommitted {
        sequence: i64,
        name: String,
        difference: String,
    },
    #[error(
        "attempted to redefine the current committed sequence ({sequence}) for namespace {name}"
    )]
    RepeatsCommitted { sequence: i64, name: String },
    #[error(
        "attempted to redefine uncommitted sequence ({sequence}) for namespace {name} with unchanged content"
    )]
    RepeatsUncommitted { sequence: i64, name: String },
    #[error(
        "policy '/Channel/Application/Endorsement' must be defined for channel '{0}' before chaincode operations can be attempted"
    )]
    NoDefaultPolicy(String),
    #[error("chaincode definition not agreed to by this org ({0})")]
    NotAgreedHere(String),
    #[error(
        "impossibly, this peer's org is processing requests for a channel it is not a member of"
    )]
    ForeignChannel,
    #[error("no application config for channel '{0}'")]
    NoChannel(String),

    #[error("error validating chaincode definition: {0}")]
    Definition(#[from] DefinitionError),
    #[error("{0}")]
    Install(String),
    #[error("{0}")]
    Argument(String),
}

/// What is wrong with a proposed definition by itself or against the committed one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // each text says what its variant is
pub enum DefinitionError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("unexpected collection configuration type")]
    CollectionKind,
    #[error("collection-name: {0} -- found duplicate in collection configuration")]
    CollectionDuplicate(String),
    #[error(
        "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer count ({required})"
    )]
    PeerCounts {
        name: String,
        maximum: i32,
        required: i32,
    },
    #[error("collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero")]
    RequiredPeers { name: String, required: i32 },
    #[error("collection-name: {0} -- collection member policy is not set")]
    NoMemberPolicy(String),
    #[error("collection-name: {name} -- error in member org policy: {cause}")]
    MemberPolicy { name: String, cause: String },
    #[error("collection-name: {name} -- collection member '{member}' is not part of the channel")]
    ForeignMember { name: String, member: String },
    #[error("the proposed collection config does not contain previously defined collections")]
    CollectionsDropped,
    #[error("existing collection [{0}] missing in the proposed collection configuration")]
    CollectionMissing(String),
    #[error(
        "the BlockToLive in an existing collection [{name}] modified. Existing value [{existing}]"
    )]
    BlockToLive { name: String, existing: u64 },
    #[error("could not read the committed definition: {0}")]
    Committed(String),
}
