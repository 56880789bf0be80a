//! What the card contract keeps, and which states of a card may follow which. Nothing of the
//! public part names a person; the private part holds commitments, and for a while a proof.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::token::CardKey;
use crate::commitment::hash_of;
use crate::failure::Failure;

/// Collection of proofs and commitments.
pub(super) const CARDHOLDERS: &str = "cardholders";
/// Collection of the epochs' keys.
pub(super) const CARDKEYS: &str = "cardkeys";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum CardState {
    Applied,
    Active,
    Suspended,
    Replaced,
    Revoked,
    Closed,
}

impl CardState {
    pub fn name(self) -> &'static str {
        match self {
            CardState::Applied => "Applied",
            CardState::Active => "Active",
            CardState::Suspended => "Suspended",
            CardState::Replaced => "Replaced",
            CardState::Revoked => "Revoked",
            CardState::Closed => "Closed",
        }
    }

    /// Takes the one place that a person has for a card of its scheme.
    pub fn is_open(self) -> bool {
        matches!(self, CardState::Active | CardState::Suspended)
    }
}

/// What happens to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Activate,
    Suspend,
    Resume,
    Replace,
    Revoke,
    Close,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, CardState, CardState)] = {
    use CardState::{Active, Applied, Closed, Replaced, Revoked, Suspended};
    &[
        (Step::Activate, Applied, Active),
        (Step::Suspend, Active, Suspended),
        (Step::Resume, Suspended, Active),
        (Step::Replace, Active, Replaced),
        (Step::Replace, Suspended, Replaced),
        (Step::Revoke, Applied, Revoked),
        (Step::Revoke, Active, Revoked),
        (Step::Revoke, Suspended, Revoked),
        (Step::Close, Active, Closed),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: CardState) -> Option<CardState> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// What a card is for. A list, not free text: a person has one card of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CardScheme {
    HealthCard,
    SocialSecurity,
}

impl CardScheme {
    pub fn name(self) -> &'static str {
        match self {
            CardScheme::HealthCard => "health-card",
            CardScheme::SocialSecurity => "social-security",
        }
    }
}

/// Who suspended a card: a holder does not lift what the issuer imposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SuspendedBy {
    Holder,
    Issuer,
}

/// `card~handle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Card {
    /// Random; what others call the card.
    pub handle: String,
    pub scheme: CardScheme,
    pub state: CardState,
    /// The card bureau's MSP id.
    pub issuer: String,
    /// Where it was applied for.
    pub applied_at: String,
    /// The holder's pseudonym and the epoch it is of; both absent until the bureau has computed
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    pub key: CardKey,
    /// From then on (excluded) it admits nobody; seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<i64>,
    /// Of the proof of identity, as the bureau keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_by: Option<SuspendedBy>,
    /// Why it was suspended, resumed or revoked, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    pub at: i64,
}

impl Card {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: Step, now: i64) -> Result<(), Failure> {
        self.state = after(step, self.state).ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "card {} is {}, {step:?} is not possible",
                    self.handle,
                    self.state.name()
                ),
            )
        })?;
        self.at = now;
        Ok(())
    }

    /// Active and not run out.
    pub fn admits(&self, now: i64) -> bool {
        self.state == CardState::Active && self.valid_to.is_some_and(|end| now < end)
    }

    /// The pseudonym, which every card has from its activation on.
    pub fn holder(&self) -> Result<&str, Failure> {
        self.sid.as_deref().ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "card {} is {}, its holder is not known yet",
                    self.handle,
                    self.state.name()
                ),
            )
        })
    }
}

/// `bind~handle~org~facility`: where a card is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub handle: String,
    /// MSP id of the provider or payer.
    pub org: String,
    pub facility: String,
    pub kind: BindingKind,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BindingKind {
    Provider,
    Payer,
}

/// `epoch~n`: an epoch of the pseudonyms' keys, which are in the collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub epoch: u32,
    pub state: EpochState,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EpochState {
    Live,
    Retired,
}

/// `checkIn~id`: a card shown at a facility, admitted or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckIn {
    pub id: String,
    pub handle: String,
    pub org: String,
    pub facility: String,
    pub state: String,
    pub code: String,
    /// The token's id, when its signature was the card's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    pub at: i64,
}

/// Private, from the application to its decision: what proves who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Proof {
    /// A scheme of [`super::identity::SCHEMES`].
    pub id_type: String,
    pub id_no: String,
    pub name: String,
    pub birth: Date,
    /// At least 16 random bytes, hexadecimal.
    pub salt: String,
    /// The number to be printed on the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_no: Option<String>,
    /// The pseudonym, where it is known: it must be what the endorsers compute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// Private, from the activation on: what the proof was, to whoever can say it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    pub id_commit: String,
    pub person_commit: String,
    pub salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_no: Option<String>,
}

impl Holder {
    pub fn of(proof: &Proof) -> Self {
        let birth = proof.birth.to_string();
        Holder {
            id_commit: commitment(&proof.salt, &proof.id_type, &proof.id_no),
            person_commit: commitment(&proof.salt, &proof.name, &birth),
            salt: proof.salt.clone(),
            card_no: proof.card_no.clone(),
        }
    }
}

/// SHA-256 over salt and two values, each with its length in front.
fn commitment(salt: &str, one: &str, two: &str) -> String {
    hash_of([salt, one, two].map(str::as_bytes))
}
