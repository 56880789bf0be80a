//! What the records contract keeps on the ledger. Nothing here names a person.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What a document is about, coarsely: exact codes stay in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    ClinicalNote,
    Lab,
    Imaging,
    Medication,
    Immunization,
    Procedure,
    Device,
    Claim,
    Other,
}

/// v3-Confidentiality: normal, restricted, very restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub(crate) enum Confidentiality {
    #[default]
    N,
    R,
    V,
}

/// v3-ActReason: what the data is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Purpose {
    Treat,
    Etreat,
    Hpaymt,
    Hoperat,
    Hresch,
    Pubhlth,
    Patrqt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordState {
    Current,
    /// Offered to another custodian, who has not accepted yet.
    Transferring,
    EnteredInError,
    Erased,
}

impl RecordState {
    pub fn name(self) -> &'static str {
        match self {
            RecordState::Current => "Current",
            RecordState::Transferring => "Transferring",
            RecordState::EnteredInError => "EnteredInError",
            RecordState::Erased => "Erased",
        }
    }
}

/// What happens to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Amend,
    MarkError,
    Transfer,
    Accept,
    Cancel,
    Erase,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, RecordState, RecordState)] = {
    use RecordState::{Current, EnteredInError, Erased, Transferring};
    &[
        (Step::Amend, Current, Current),
        (Step::MarkError, Current, EnteredInError),
        (Step::Transfer, Current, Transferring),
        (Step::Accept, Transferring, Current),
        (Step::Cancel, Transferring, Current),
        (Step::Erase, Current, Erased),
        (Step::Erase, EnteredInError, Erased),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: RecordState) -> Option<RecordState> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// `rec~id`: the fingerprint of one document and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub id: String,
    pub sid: String,
    pub custodian: String,
    /// While Transferring: who is to keep it next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub kind: Kind,
    pub confidentiality: Confidentiality,
    /// SHA-256 of the stored ciphertext.
    pub ct_hash: String,
    /// SHA-256 of salt and plaintext.
    pub pt_commit: String,
    /// Bytes of the ciphertext.
    pub size: u64,
    /// The encryption, for example `A256GCM`.
    pub suite: String,
    /// The epoch of the patient's key.
    pub epoch: u32,
    /// Where the custodian's vault has it; means nothing to others.
    pub vault_ref: String,
    /// FHIR references, type and id only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fhir: Vec<String>,
    pub version: u32,
    /// `ctHash` of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    pub state: RecordState,
    /// Why it is in error, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this version was written, by its transaction's timestamp.
    pub at: i64,
}

impl Record {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: Step) -> Result<(), Failure> {
        self.state = after(step, self.state).ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "record {} is {}, {step:?} is not possible",
                    self.id,
                    self.state.name()
                ),
            )
        })?;
        Ok(())
    }

    /// Whether there is something to read: also while another custodian is to accept it.
    pub fn is_kept(&self) -> bool {
        matches!(self.state, RecordState::Current | RecordState::Transferring)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rule {
    Permit,
    Deny,
}

/// One statement of a consent. An empty list means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Provision {
    #[serde(rename = "type")]
    pub rule: Rule,
    /// MSP ids.
    #[serde(default)]
    pub orgs: Vec<String>,
    /// Values of `hc.role`.
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub purposes: Vec<Purpose>,
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// The highest confidentiality that a permit covers. `V` must be named to be meant.
    #[serde(default)]
    pub confidentiality: Confidentiality,
    /// Codes of what the recipient has to heed, copied into the decision.
    #[serde(default)]
    pub obligations: Vec<String>,
}

/// From (included) to (excluded), seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Period {
    pub from: i64,
    pub to: i64,
}

impl Period {
    pub fn holds(&self, at: i64) -> bool {
        (self.from..self.to).contains(&at)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConsentState {
    Active,
    Revoked,
}

/// `consent~sid~id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Consent {
    pub id: String,
    pub sid: String,
    pub state: ConsentState,
    pub period: Period,
    pub provisions: Vec<Provision>,
    /// The guardian's pseudonym when not given by the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<String>,
    /// The handle of the health card that signed it, where the subject had no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AccessState {
    Permitted,
    Denied,
    Released,
    Received,
    Tampered,
    Emergency,
    Justified,
    Abuse,
}

impl AccessState {
    pub fn name(self) -> &'static str {
        match self {
            AccessState::Permitted => "Permitted",
            AccessState::Denied => "Denied",
            AccessState::Released => "Released",
            AccessState::Received => "Received",
            AccessState::Tampered => "Tampered",
            AccessState::Emergency => "Emergency",
            AccessState::Justified => "Justified",
            AccessState::Abuse => "Abuse",
        }
    }
}

/// One document of a request, as it was when decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub id: String,
    pub version: u32,
    pub ct_hash: String,
    /// Why this one is permitted or denied.
    pub code: String,
}

/// `access~id`: the audit entry of one request, permitted or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Access {
    pub id: String,
    pub sid: String,
    pub custodian: String,
    /// The requester: organization, role and, where the certificate has it, pseudonym.
    pub org: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose_ref: Option<String>,
    pub items: Vec<Item>,
    pub decision: String,
    pub code: String,
    /// What the registry had against the requester, when it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
    /// The consent that decided, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<String>,
    /// The channel's law profile when it was decided.
    pub profile: String,
    /// The version of this contract's decision list.
    pub contract_version: u32,
    pub state: AccessState,
    /// When it was decided.
    pub at: i64,
    /// Emergency access: until when the review is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_due: Option<i64>,
    /// Emergency access: why and where, as codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Fingerprint of the key that was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
    /// Ids of documents that arrived with another hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tampered: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ErasureState {
    Requested,
    Accepted,
    Retained,
    Erased,
}

impl ErasureState {
    pub fn name(self) -> &'static str {
        match self {
            ErasureState::Requested => "Requested",
            ErasureState::Accepted => "Accepted",
            ErasureState::Retained => "Retained",
            ErasureState::Erased => "Erased",
        }
    }
}

/// `erase~id`: a subject's wish to have documents made inaccessible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Erasure {
    pub id: String,
    pub sid: String,
    pub custodian: String,
    pub state: ErasureState,
    /// The legal ground for keeping them, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// Until when they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// How the keys were destroyed, as a code, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_ids: Vec<String>,
    pub at: i64,
}
