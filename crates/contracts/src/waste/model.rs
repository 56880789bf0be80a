//! What the waste contract keeps on the ledger, and which states may follow which.

use serde::{Deserialize, Serialize};

use super::class::{Container, Method, Scheme};
use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum BagState {
    /// With its producer.
    Sealed,
    /// With its producer, and on a manifest.
    Manifested,
    /// With a carrier.
    InTransit,
    /// With the facility.
    Received,
    /// It was not there when the load was accepted; the carrier had it last.
    Missing,
    Disposed,
}

impl BagState {
    pub fn name(self) -> &'static str {
        match self {
            BagState::Sealed => "Sealed",
            BagState::Manifested => "Manifested",
            BagState::InTransit => "InTransit",
            BagState::Received => "Received",
            BagState::Missing => "Missing",
            BagState::Disposed => "Disposed",
        }
    }
}

/// What happens to a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BagStep {
    Correct,
    List,
    Unlist,
    Load,
    Receive,
    TakeBack,
    Miss,
    Dispose,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const BAG_TRANSITIONS: &[(BagStep, BagState, BagState)] = {
    use BagState::{Disposed, InTransit, Manifested, Missing, Received, Sealed};
    &[
        (BagStep::Correct, Sealed, Sealed),
        (BagStep::List, Sealed, Manifested),
        (BagStep::Unlist, Manifested, Sealed),
        (BagStep::Load, Manifested, InTransit),
        // From one carrier to the next, or with another manifest after a refusal.
        (BagStep::Load, InTransit, InTransit),
        (BagStep::Receive, InTransit, Received),
        (BagStep::TakeBack, InTransit, Sealed),
        (BagStep::Miss, InTransit, Missing),
        (BagStep::Dispose, Received, Disposed),
    ]
};

/// `bag~id`: one sealed bag, box or drum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bag {
    pub id: String,
    pub code: String,
    pub container: Container,
    /// What it weighed when it was sealed, or was corrected to before it was put on a manifest.
    pub grams: u64,
    /// The producer's MSP id.
    pub generator: String,
    /// Where it was filled, as a code.
    pub dept: String,
    /// Seconds since 1970.
    pub sealed_at: i64,
    pub state: BagState,
    /// Who has it, or had it last when it is missing or gone: always exactly one.
    pub holder: String,
    /// The manifest that it is on, or was on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Why its weight was corrected, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: i64,
}

impl Bag {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: BagStep, now: i64) -> Result<(), Failure> {
        self.state = BAG_TRANSITIONS
            .iter()
            .find(|(s, from, _)| *s == step && *from == self.state)
            .map(|(_, _, to)| *to)
            .ok_or_else(|| {
                Failure::conflict(
                    "BAD_STATE",
                    format!(
                        "bag {} is {}, {step:?} is not possible",
                        self.id,
                        self.state.name()
                    ),
                )
            })?;
        self.at = now;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum ManifestState {
    Scheduled,
    /// The giver has signed, the carrier not yet.
    HandedOver,
    InTransit,
    /// The carrier has signed, the facility not yet.
    Delivered,
    Accepted,
    Discrepant,
    /// A discrepancy is with the authority.
    Referred,
    /// All of it was refused and goes on with another manifest.
    Rejected,
    /// All of it came back to its producer.
    Returned,
    Disposed,
    Certified,
    Cancelled,
}

impl ManifestState {
    pub fn name(self) -> &'static str {
        match self {
            ManifestState::Scheduled => "Scheduled",
            ManifestState::HandedOver => "HandedOver",
            ManifestState::InTransit => "InTransit",
            ManifestState::Delivered => "Delivered",
            ManifestState::Accepted => "Accepted",
            ManifestState::Discrepant => "Discrepant",
            ManifestState::Referred => "Referred",
            ManifestState::Rejected => "Rejected",
            ManifestState::Returned => "Returned",
            ManifestState::Disposed => "Disposed",
            ManifestState::Certified => "Certified",
            ManifestState::Cancelled => "Cancelled",
        }
    }

    /// The status that the EPA's e-Manifest has for it; it knows no cancelled manifest.
    pub fn e_manifest(self) -> Option<&'static str> {
        match self {
            ManifestState::Scheduled | ManifestState::HandedOver => Some("Scheduled"),
            ManifestState::InTransit => Some("InTransit"),
            ManifestState::Delivered | ManifestState::Discrepant | ManifestState::Referred => {
                Some("ReadyForSignature")
            }
            ManifestState::Accepted
            | ManifestState::Rejected
            | ManifestState::Returned
            | ManifestState::Disposed
            | ManifestState::Certified => Some("Signed"),
            ManifestState::Cancelled => None,
        }
    }
}

/// What happens to a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Cancel,
    HandOver,
    Carry,
    Deliver,
    Accept,
    /// Accepted by the producer that it came back to.
    TakeBack,
    Dispute,
    RejectAll,
    RejectPart,
    Refer,
    Dispose,
    Certify,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, ManifestState, ManifestState)] = {
    use ManifestState::{
        Accepted, Cancelled, Certified, Delivered, Discrepant, Disposed, HandedOver, InTransit,
        Referred, Rejected, Returned, Scheduled,
    };
    &[
        (Step::Cancel, Scheduled, Cancelled),
        (Step::HandOver, Scheduled, HandedOver),
        // From one carrier to the next.
        (Step::HandOver, InTransit, HandedOver),
        (Step::Carry, HandedOver, InTransit),
        (Step::Deliver, InTransit, Delivered),
        (Step::Accept, Delivered, Accepted),
        (Step::TakeBack, Delivered, Returned),
        (Step::Dispute, Delivered, Discrepant),
        (Step::RejectAll, Delivered, Rejected),
        (Step::RejectPart, Delivered, Delivered),
        (Step::Accept, Discrepant, Accepted),
        (Step::TakeBack, Discrepant, Returned),
        (Step::Refer, Discrepant, Referred),
        (Step::Accept, Referred, Accepted),
        (Step::TakeBack, Referred, Returned),
        (Step::Dispose, Accepted, Disposed),
        (Step::Certify, Disposed, Certified),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: ManifestState) -> Option<ManifestState> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// What became of a bag of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Received,
    Missing,
    /// Refused: it goes on with the next manifest.
    Rejected,
}

/// A bag on a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub bag: String,
    pub code: String,
    pub grams: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// What the facility weighed, in grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
}

/// A bag that was delivered without being on the manifest. Whose it is stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weighed {
    pub bag: String,
    pub grams: u64,
}

/// How and when a load was disposed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Disposal {
    pub method: Method,
    pub batch: String,
    pub start: i64,
    pub end: i64,
    /// What was disposed of, as the facility weighed it.
    pub grams: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_hash: Option<String>,
}

/// `man~no`: a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub no: String,
    pub scheme: Scheme,
    pub generator: String,
    /// In the order in which they carry it.
    pub carriers: Vec<String>,
    /// The facility, or the producer when a refused load goes back.
    pub disposer: String,
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub grams: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Weighed>,
    pub state: ManifestState,
    /// How many carriers have taken it.
    pub carried: usize,
    /// Legs begun: `leg~no~n` from 1 to this.
    pub legs: u32,
    /// Flags raised: `flag~no~n` from 1 to this.
    pub flags: u32,
    /// Flags of its acceptance that nobody has decided yet.
    pub undecided: u32,
    /// Flags of its acceptance that are with the authority.
    pub referred: u32,
    /// The manifest whose refused bags this one carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Why they were refused, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The manifests that its refused bags went on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposal: Option<Disposal>,
    /// When the next signature is due, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,
    pub created: i64,
    pub at: i64,
}

impl Manifest {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: Step, now: i64) -> Result<(), Failure> {
        self.state = after(step, self.state).ok_or_else(|| self.bad_state(&format!("{step:?}")))?;
        self.at = now;
        Ok(())
    }

    pub fn bad_state(&self, wanted: &str) -> Failure {
        Failure::conflict(
            "BAD_STATE",
            format!(
                "manifest {} is {}, {wanted} is not possible",
                self.no,
                self.state.name()
            ),
        )
    }

    /// Whether a refused load goes back to its producer.
    pub fn is_return(&self) -> bool {
        self.disposer == self.generator
    }

    /// The carrier that has the load, or had it last.
    pub fn carrier(&self) -> Option<&str> {
        self.carried
            .checked_sub(1)
            .and_then(|index| self.carriers.get(index))
            .map(String::as_str)
    }

    /// Whether an organization has anything to do with it.
    pub fn concerns(&self, msp: &str) -> bool {
        self.generator == msp || self.disposer == msp || self.carriers.iter().any(|c| c == msp)
    }

    /// The bags that were not refused.
    pub fn kept(&self) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(|line| line.fate != Some(Fate::Rejected))
    }
}

/// Who signed something, with which numbers: the signature itself is the transaction's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Signature {
    pub org: String,
    pub role: String,
    pub tx_id: String,
    pub at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grams: Option<u64>,
}

/// `leg~no~n`: from one hand to the next, complete when both have signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leg {
    pub n: u32,
    pub gave: Signature,
    /// Whose signature is needed on the other side.
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Signature>,
    /// The vehicle's id in its carrier's books, not its licence plate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum FlagCode {
    /// The numbers of bags differ.
    Count,
    /// Weights differ by more than scales do.
    Weight,
    MissingBag,
    ExtraBag,
    /// Kept for more than 48 hours.
    OverStorage,
    /// The licence was lost after the manifest was made.
    Unlicensed,
    /// A carrier that the manifest names never signed.
    MissingLeg,
}

impl FlagCode {
    pub fn name(self) -> &'static str {
        match self {
            FlagCode::Count => "COUNT",
            FlagCode::Weight => "WEIGHT",
            FlagCode::MissingBag => "MISSING_BAG",
            FlagCode::ExtraBag => "EXTRA_BAG",
            FlagCode::OverStorage => "OVER_STORAGE",
            FlagCode::Unlicensed => "UNLICENSED",
            FlagCode::MissingLeg => "MISSING_LEG",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FlagState {
    Open,
    Referred,
    Accepted,
}

impl FlagState {
    pub fn name(self) -> &'static str {
        match self {
            FlagState::Open => "Open",
            FlagState::Referred => "Referred",
            FlagState::Accepted => "Accepted",
        }
    }
}

/// What somebody found out about a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub org: String,
    pub role: String,
    pub finding: String,
    pub tx_id: String,
    pub at: i64,
}

/// `flag~no~n`: something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flag {
    pub no: String,
    pub n: u32,
    pub code: FlagCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bag: Option<String>,
    /// Grams, bags, or seconds of storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    pub generator: String,
    /// Who answers for it besides the producer.
    pub counterpart: String,
    /// Whether the manifest is not accepted before it is decided.
    pub holds: bool,
    pub state: FlagState,
    pub findings: Vec<Finding>,
    pub at: i64,
}
