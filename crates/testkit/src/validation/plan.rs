//! A transaction as it is meant, before it is bytes.

use consilium_proto::protos::TxValidationCode as Code;
use consilium_protocol::rwset::{NsRwSet, Version};

use super::trust::Trust;

/// One entry of a block.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who signs the envelope: a number in the pool.
    pub creator: usize,
    /// Makes the transaction id, with the creator.
    pub nonce: u64,
    /// What is wrong with its form.
    pub fault: Fault,
    /// The chaincode that it says was invoked.
    pub chaincode: String,
    /// What it read and wrote.
    pub namespaces: Vec<NsRwSet>,
    /// By namespace and range: the keys and versions that the endorser saw.
    pub seen: Vec<Vec<Vec<(String, Version)>>>,
    /// Who endorsed it, in order.
    pub endorsements: Vec<Endorsing>,
    /// Not a chaincode's transaction but a change of the channel.
    pub change: Option<Change>,
}

/// An endorsement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endorsing {
    /// A good one.
    By(usize),
    /// Under somebody's name, with a signature over something else.
    Forged(usize),
    /// A good one by the same certificate in other bytes.
    Recoded(usize),
    /// A good one by the same identity with a field that Go's decoder passes over.
    Padded(usize),
    /// By bytes that are no identity.
    Nobody,
}

/// A change of the channel's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `/Channel/Application/Endorsement` becomes ANY, MAJORITY or ALL of the organizations'.
    Endorsement(&'static str),
    /// The last organization leaves.
    Leave,
    /// The last organization has other authorities and revocations from now on.
    Trust(Trust),
}

/// What is wrong with a transaction's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and the table below")]
pub enum Fault {
    None,
    GarbagePayload,
    NoHeader,
    MessageType,
    Epoch,
    NoNonce,
    OtherChannel,
    ForgedSignature,
    ConfigUpdate,
    NoConfig,
    /// The id of another transaction: of that creator and nonce.
    OtherId(usize, u64),
    GarbageData,
    NoActions,
    TwoActions,
    OtherProposal,
    GarbageExtension,
    NoResult,
    GarbageResults,
    NoChaincodeId,
    NoExecutedId,
    EmptyName,
    OtherName,
    NoVersion,
    GarbageEvent,
    ForeignEvent,
}

/// How far a transaction comes before its fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    BeforeCreator,
    AfterCreator,
    AfterLedger,
    Never,
}

impl Fault {
    /// Every fault that needs no partner.
    pub(super) const ALL: [Fault; 23] = [
        Fault::GarbagePayload,
        Fault::NoHeader,
        Fault::MessageType,
        Fault::Epoch,
        Fault::NoNonce,
        Fault::OtherChannel,
        Fault::ForgedSignature,
        Fault::ConfigUpdate,
        Fault::NoConfig,
        Fault::GarbageData,
        Fault::NoActions,
        Fault::TwoActions,
        Fault::OtherProposal,
        Fault::GarbageExtension,
        Fault::NoResult,
        Fault::GarbageResults,
        Fault::NoChaincodeId,
        Fault::NoExecutedId,
        Fault::EmptyName,
        Fault::OtherName,
        Fault::NoVersion,
        Fault::GarbageEvent,
        Fault::ForeignEvent,
    ];

    /// When it shows, and the code that it then gives.
    pub(super) fn outcome(self) -> (Stage, Code) {
        use Stage::{AfterCreator, AfterLedger, BeforeCreator};
        match self {
            Fault::None => (Stage::Never, Code::Valid),
            Fault::GarbagePayload => (BeforeCreator, Code::BadPayload),
            Fault::NoHeader | Fault::MessageType | Fault::Epoch | Fault::NoNonce => {
                (BeforeCreator, Code::BadCommonHeader)
            }
            Fault::OtherChannel | Fault::ForgedSignature => {
                (BeforeCreator, Code::BadCreatorSignature)
            }
            Fault::ConfigUpdate => (AfterCreator, Code::UnsupportedTxPayload),
            Fault::NoConfig => (AfterCreator, Code::InvalidConfigTransaction),
            Fault::OtherId(..) => (AfterCreator, Code::BadProposalTxid),
            Fault::GarbageData | Fault::NoActions | Fault::TwoActions | Fault::OtherProposal => {
                (AfterCreator, Code::InvalidEndorserTransaction)
            }
            Fault::GarbageExtension => (AfterLedger, Code::BadHeaderExtension),
            Fault::NoResult => (AfterLedger, Code::BadResponsePayload),
            Fault::GarbageResults => (AfterLedger, Code::BadRwset),
            Fault::NoChaincodeId
            | Fault::NoExecutedId
            | Fault::GarbageEvent
            | Fault::ForeignEvent => (AfterLedger, Code::InvalidOtherReason),
            Fault::EmptyName | Fault::OtherName | Fault::NoVersion => {
                (AfterLedger, Code::InvalidChaincode)
            }
        }
    }
}
