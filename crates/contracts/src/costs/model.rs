//! What the costs contract keeps in public, and which states may follow which. There is no amount,
//! no code of a service or diagnosis, no date of one and no pseudonym in any of it.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Days within which a payer answers a claim, pays one that it allowed, and answers a dispute.
pub(crate) const DUE_SECONDS: i64 = 30 * 86_400;

/// What an episode of care is, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EpisodeType {
    Inpatient,
    Outpatient,
    Emergency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EpisodeState {
    Open,
    Closed,
}

impl EpisodeState {
    pub fn name(self) -> &'static str {
        match self {
            EpisodeState::Open => "Open",
            EpisodeState::Closed => "Closed",
        }
    }
}

/// `epi~id`: one episode of care, between a provider and a payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Episode {
    pub id: String,
    pub provider: String,
    pub payer: String,
    #[serde(rename = "type")]
    pub kind: EpisodeType,
    /// ISO 4217.
    pub currency: String,
    pub state: EpisodeState,
    /// SHA-256 of the private value: patient, stay, reference of the check-in.
    pub commit: String,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChargeState {
    Posted,
    Claimed,
    Reversed,
}

impl ChargeState {
    pub fn name(self) -> &'static str {
        match self {
            ChargeState::Posted => "Posted",
            ChargeState::Claimed => "Claimed",
            ChargeState::Reversed => "Reversed",
        }
    }
}

/// What happens to a charge after it was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChargeStep {
    Claim,
    Release,
    Reverse,
}

/// The same for charges.
pub(crate) const CHARGE_TRANSITIONS: &[(ChargeStep, ChargeState, ChargeState)] = &[
    (ChargeStep::Claim, ChargeState::Posted, ChargeState::Claimed),
    (
        ChargeStep::Release,
        ChargeState::Claimed,
        ChargeState::Posted,
    ),
    (
        ChargeStep::Reverse,
        ChargeState::Posted,
        ChargeState::Reversed,
    ),
];

/// `chg~epi~seq`: one charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Charge {
    pub epi: String,
    pub seq: u32,
    pub state: ChargeState,
    /// SHA-256 of the private line, which holds a salt.
    pub commit: String,
    /// The claim that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Why it was reversed, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: i64,
}

impl Charge {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: ChargeStep) -> Result<(), Failure> {
        let next = CHARGE_TRANSITIONS
            .iter()
            .find(|(s, from, _)| *s == step && *from == self.state);
        let (_, _, to) = next.ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "charge {}/{} is {}, {step:?} is not possible",
                    self.epi,
                    self.seq,
                    self.state.name()
                ),
            )
        })?;
        self.state = *to;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum ClaimState {
    Submitted,
    Pended,
    Rejected,
    Adjudicated,
    Denied,
    Disputed,
    Appealed,
    Paid,
    Recovered,
    Replaced,
    Voided,
}

impl ClaimState {
    pub fn name(self) -> &'static str {
        match self {
            ClaimState::Submitted => "Submitted",
            ClaimState::Pended => "Pended",
            ClaimState::Rejected => "Rejected",
            ClaimState::Adjudicated => "Adjudicated",
            ClaimState::Denied => "Denied",
            ClaimState::Disputed => "Disputed",
            ClaimState::Appealed => "Appealed",
            ClaimState::Paid => "Paid",
            ClaimState::Recovered => "Recovered",
            ClaimState::Replaced => "Replaced",
            ClaimState::Voided => "Voided",
        }
    }

    /// Whether an episode with such a claim may be closed.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            ClaimState::Rejected
                | ClaimState::Denied
                | ClaimState::Paid
                | ClaimState::Recovered
                | ClaimState::Replaced
                | ClaimState::Voided
        )
    }

    /// Whether it bills anything: neither refused at the door, replaced nor taken back.
    pub fn is_live(self) -> bool {
        !matches!(
            self,
            ClaimState::Rejected | ClaimState::Replaced | ClaimState::Voided
        )
    }

    /// Whether somebody has to do something about it by a date.
    pub fn is_due(self) -> bool {
        !self.is_final()
    }

    /// Whether money has moved.
    pub fn is_settled(self) -> bool {
        matches!(self, ClaimState::Paid | ClaimState::Recovered)
    }
}

/// What happens to a claim after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Replace,
    Void,
    AgreeDrg,
    Allow,
    Deny,
    Dispute,
    Appeal,
    ResolveAllow,
    ResolveDeny,
    Pay,
    Return,
}

/// What a new claim can be.
#[cfg(test)]
pub(crate) const FIRST: &[ClaimState] = &[
    ClaimState::Submitted,
    ClaimState::Pended,
    ClaimState::Rejected,
];

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, ClaimState, ClaimState)] = {
    use ClaimState::{
        Adjudicated, Appealed, Denied, Disputed, Paid, Pended, Recovered, Replaced, Submitted,
        Voided,
    };
    &[
        (Step::Replace, Submitted, Replaced),
        (Step::Replace, Pended, Replaced),
        (Step::Replace, Adjudicated, Replaced),
        (Step::Void, Submitted, Voided),
        (Step::Void, Pended, Voided),
        (Step::Void, Adjudicated, Voided),
        (Step::AgreeDrg, Submitted, Submitted),
        (Step::Allow, Submitted, Adjudicated),
        (Step::Allow, Pended, Adjudicated),
        (Step::Deny, Submitted, Denied),
        (Step::Deny, Pended, Denied),
        (Step::Dispute, Adjudicated, Disputed),
        (Step::Dispute, Denied, Disputed),
        (Step::Appeal, Adjudicated, Appealed),
        (Step::Appeal, Denied, Appealed),
        (Step::Appeal, Disputed, Appealed),
        (Step::ResolveAllow, Disputed, Adjudicated),
        (Step::ResolveDeny, Disputed, Denied),
        (Step::ResolveAllow, Appealed, Adjudicated),
        (Step::ResolveDeny, Appealed, Denied),
        (Step::Pay, Adjudicated, Paid),
        (Step::Return, Paid, Recovered),
        (Step::Return, Recovered, Recovered),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: ClaimState) -> Option<ClaimState> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// How far a claim has been disputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Level {
    /// Not at all.
    #[default]
    None,
    /// Once, with the payer.
    Payer,
    /// With the regulator, whose word is final.
    Regulator,
}

/// What both sides committed to about the package: keyed hashes under the pair's pepper.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Drg {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
}

impl Drg {
    pub fn is_agreed(&self) -> bool {
        self.provider.is_some() && self.provider == self.payer
    }
}

/// `claim~id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    pub id: String,
    pub epi: String,
    pub provider: String,
    pub payer: String,
    pub state: ClaimState,
    /// Every verdict on it when it was submitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// SHA-256 of the private claim, which holds a salt.
    pub commit: String,
    /// Keyed hash of billing id and control number.
    pub control: String,
    /// The claim that this one takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drg: Option<Drg>,
    /// SHA-256 of the private decision in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    #[serde(default)]
    pub level: Level,
    /// Why it was disputed, voided or money came back, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The remittance that it was paid with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remit_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<i64>,
    pub at: i64,
}

impl Claim {
    /// The state after a step, or 409 `BAD_STATE`.
    pub fn step(&mut self, step: Step) -> Result<(), Failure> {
        self.state = after(step, self.state).ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "claim {} is {}, {step:?} is not possible",
                    self.id,
                    self.state.name()
                ),
            )
        })?;
        Ok(())
    }
}

/// One price list of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PriceList {
    pub version: String,
    /// The first day it is in force.
    pub from: jiff::civil::Date,
    pub currency: String,
    /// SHA-256 of each page's bytes; a page holds a salt.
    pub pages: Vec<String>,
    /// Who published it: the organization or a regulator.
    pub by: String,
}

/// `price~org`: all price lists of an organization, in the order of their first day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PriceLists {
    pub lists: Vec<PriceList>,
}

/// One edition of a code system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edition {
    pub version: String,
    /// The first day it is in force.
    pub from: jiff::civil::Date,
    /// Root of the hash tree over its codes.
    pub root: String,
    /// How many codes it has.
    pub count: u32,
}

/// `codes~system`: all published editions, in the order of their first day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Editions {
    pub editions: Vec<Edition>,
}

/// The last of a list in the order of first days that is in force on a date.
pub(crate) fn in_force<T>(
    all: &[T],
    from: impl Fn(&T) -> jiff::civil::Date,
    date: jiff::civil::Date,
) -> Option<&T> {
    all.iter().rev().find(|one| from(one) <= date)
}

/// `verdict~epi~txid`: a charge that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub seq: u32,
    pub code: String,
    /// SHA-256 of the private line that was refused.
    pub commit: String,
    pub at: i64,
}
