//! What the privacy contract keeps on the ledger, and which states may follow which. No key and
//! no person is here: fingerprints, pseudonyms and codes.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::purge::{Ground, Purged};
use crate::records::model::Purpose;
use crate::request::Call;

/// The states of everything here. Epochs are Open, Retired, Destroyed; purges Requested, Refused,
/// Destroyed; events Recorded; checkpoints Sealed; investigations Open, Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum State {
    Open,
    Retired,
    Requested,
    Refused,
    Destroyed,
    Recorded,
    Sealed,
    Closed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "Open",
            State::Retired => "Retired",
            State::Requested => "Requested",
            State::Refused => "Refused",
            State::Destroyed => "Destroyed",
            State::Recorded => "Recorded",
            State::Sealed => "Sealed",
            State::Closed => "Closed",
        }
    }
}

/// Every function that changes a state, from which and to which; `None`: there is nothing yet.
/// Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(&str, Option<State>, State)] = {
    use State::{Closed, Destroyed, Open, Recorded, Refused, Requested, Retired, Sealed};
    &[
        ("OpenEpoch", None, Open),
        ("RetireEpoch", Some(Open), Retired),
        ("AttestEpochDestroyed", Some(Retired), Destroyed),
        ("RequestPurge", None, Requested),
        ("RefusePurge", Some(Requested), Refused),
        ("AttestDestruction", Some(Requested), Destroyed),
        ("Append", None, Recorded),
        ("Checkpoint", None, Sealed),
        ("OpenInvestigation", None, Open),
        ("CloseInvestigation", Some(Open), Closed),
    ]
};

/// The state after a function, `None` when it is not possible.
pub(crate) fn after(function: &str, from: Option<State>) -> Option<State> {
    TRANSITIONS
        .iter()
        .find(|(name, before, _)| *name == function && *before == from)
        .map(|(_, _, to)| *to)
}

/// The state that the called function leads to. 409 `DUPLICATE` when it begins something that is
/// there, 409 `BAD_STATE` when it does not fit.
pub(super) fn step(call: &Call<'_>, what: &str, from: Option<State>) -> Result<State, Failure> {
    let function = call.function();
    after(function, from).ok_or_else(|| match from {
        Some(_) if after(function, None).is_some() => {
            Failure::conflict("DUPLICATE", format!("{what} exists"))
        }
        _ => Failure::conflict(
            "BAD_STATE",
            format!(
                "{what} is {}, {function} is not possible",
                from.map_or("not there", State::name)
            ),
        ),
    })
}

/// `epoch~org~sector~n`: the life of one key for pseudonyms, of which only the fingerprint is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Epoch {
    pub org: String,
    pub sector: String,
    pub epoch: u32,
    pub fingerprint: String,
    pub state: State,
    pub opened: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<i64>,
    /// How it was destroyed, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// SHA-256 of a protocol of the destruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_hash: Option<String>,
}

/// A private value that was destroyed, and whose contract has the deletion record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurgedValue {
    pub chaincode: String,
    #[serde(flatten)]
    pub value: Purged,
}

/// `purge~id`: a request to destroy, and what was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Purge {
    pub id: String,
    /// Who holds what is to be destroyed.
    pub holder: String,
    pub requester: String,
    pub ground: Ground,
    /// The decision it rests on, for ground ERASURE the `eraseId` in `records`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub state: State,
    pub requested: i64,
    /// Why it is kept, as a code, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<PurgedValue>,
    /// Fingerprints of the vault keys that were destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vault_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// When it was destroyed or refused, in which transaction, and by whose certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_hash: Option<String>,
}

/// FHIR's AuditEvent.action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    C,
    R,
    U,
    D,
    E,
}

/// FHIR's AuditEvent.outcome: success, minor, serious, major failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EventOutcome {
    #[serde(rename = "0")]
    Success,
    #[serde(rename = "4")]
    Minor,
    #[serde(rename = "8")]
    Serious,
    #[serde(rename = "12")]
    Major,
}

impl EventOutcome {
    pub fn code(self) -> &'static str {
        match self {
            EventOutcome::Success => "0",
            EventOutcome::Minor => "4",
            EventOutcome::Serious => "8",
            EventOutcome::Major => "12",
        }
    }
}

/// Who did it, as the reporting organization says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// `ev~id`: an audit event from outside. It speaks for its organization only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub id: String,
    /// Of whoever appended it, from the transaction.
    pub org: String,
    /// SHA-256 of the creator's certificate.
    pub cert_hash: String,
    pub agent: Agent,
    #[serde(rename = "type")]
    pub kind: String,
    pub action: Action,
    pub outcome: EventOutcome,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<String>,
    /// The access decision or consent that it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// When it happened.
    pub at: i64,
    /// When it came here: the transaction's timestamp.
    pub recorded: i64,
    pub tx: String,
}

/// `check~n`: a seal on all events recorded within a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// From 1, without gaps.
    pub n: u32,
    /// From (included) to (excluded), seconds since 1970; begins where the one before ends.
    pub from: i64,
    pub to: i64,
    pub count: u32,
    /// The root of [`crate::merkle`] over the stored events by time and id.
    pub root: String,
    /// SHA-256 of the checkpoint before, as stored; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    pub org: String,
    pub at: i64,
}

/// `sealed`: the latest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Sealed {
    pub n: u32,
    pub to: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// `inv~id`: events that a regulator looks into, as they were when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Investigation {
    pub id: String,
    pub org: String,
    pub query: super::query::Filter,
    pub ids: Vec<String>,
    /// The Merkle root over these events, in this order.
    pub root: String,
    pub state: State,
    pub opened: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<i64>,
}
