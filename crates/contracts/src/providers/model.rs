//! What the providers contract keeps on the ledger, and which states may follow which. Nothing
//! here names a person.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// States of everything that the registry vouches for: organizations, licences, facilities and
/// credentials. That one has run out is derived from its period and not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Applied,
    Active,
    Suspended,
    Revoked,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Applied => "Applied",
            State::Active => "Active",
            State::Suspended => "Suspended",
            State::Revoked => "Revoked",
        }
    }
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Verify,
    Renew,
    Suspend,
    Reinstate,
    Revoke,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, State, State)] = {
    use State::{Active, Applied, Revoked, Suspended};
    &[
        (Step::Verify, Applied, Active),
        (Step::Renew, Active, Active),
        (Step::Suspend, Active, Suspended),
        (Step::Reinstate, Suspended, Active),
        (Step::Revoke, Applied, Revoked),
        (Step::Revoke, Active, Revoked),
        (Step::Revoke, Suspended, Revoked),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: State) -> Option<State> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// The earlier phases of a life that are kept; older ones are in the key's history.
pub(crate) const MAX_BEFORE: usize = 64;

/// What was so from one change to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub state: State,
    /// Since when, seconds since 1970.
    pub at: i64,
    /// In force from (included) to (excluded); without bounds where none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<i64>,
    /// Why it is suspended, reinstated or revoked, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of the evidence of a primary source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_hash: Option<String>,
}

/// Why something is not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It did not exist then, or nothing is kept of that time.
    Unknown,
    NotVerified,
    Suspended,
    Revoked,
    NotYet,
    Expired,
}

impl Lack {
    pub fn code(self) -> &'static str {
        match self {
            Lack::Unknown => "UNKNOWN",
            Lack::NotVerified => "NOT_VERIFIED",
            Lack::Suspended => "SUSPENDED",
            Lack::Revoked => "REVOKED",
            Lack::NotYet => "NOT_YET",
            Lack::Expired => "EXPIRED",
        }
    }
}

/// State and validity, now and before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    #[serde(flatten)]
    pub now: Phase,
    /// Earlier phases, oldest first, at most [`MAX_BEFORE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Phase>,
}

impl Life {
    /// A life that begins, without bounds.
    pub fn new(state: State, at: i64) -> Self {
        Life {
            now: Phase {
                state,
                at,
                valid_from: None,
                valid_to: None,
                reason: None,
                source_hash: None,
            },
            before: Vec::new(),
        }
    }

    /// Takes a step and begins a new phase, or refuses it with 409 `BAD_STATE`. `what` names the
    /// thing in the refusal.
    pub fn step(
        &mut self,
        what: &str,
        step: Step,
        at: i64,
        change: impl FnOnce(&mut Phase),
    ) -> Result<(), Failure> {
        let state = after(step, self.now.state).ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "{what} is {}, {step:?} is not possible",
                    self.now.state.name()
                ),
            )
        })?;
        let mut next = Phase {
            state,
            // Clients' clocks differ, phases do not overlap.
            at: at.max(self.now.at),
            reason: None,
            source_hash: None,
            ..self.now
        };
        change(&mut next);
        self.before.push(std::mem::replace(&mut self.now, next));
        if self.before.len() > MAX_BEFORE {
            self.before.remove(0);
        }
        Ok(())
    }

    /// What is missing to be in force at `now`, by the state that is committed; or, when `then` is
    /// given, at that time by what was committed at that time.
    pub fn lack(&self, then: Option<i64>, now: i64) -> Option<Lack> {
        // Without a time the last state counts, also when the client's clock is behind the one
        // that suspended.
        let (phase, at) = match then {
            None => (&self.now, now),
            Some(then) if then >= self.now.at => (&self.now, then),
            Some(then) => match self.before.iter().rev().find(|phase| phase.at <= then) {
                Some(phase) => (phase, then),
                None => return Some(Lack::Unknown),
            },
        };
        match phase.state {
            State::Applied => Some(Lack::NotVerified),
            State::Suspended => Some(Lack::Suspended),
            State::Revoked => Some(Lack::Revoked),
            State::Active if phase.valid_from.is_some_and(|from| at < from) => Some(Lack::NotYet),
            State::Active if phase.valid_to.is_some_and(|to| at >= to) => Some(Lack::Expired),
            State::Active => None,
        }
    }
}

/// Something with a life, and where it is kept.
pub(crate) trait Living: Serialize + DeserializeOwned {
    /// The object type of its key.
    const TYPE: &'static str;
    /// What it is called in messages.
    const NAME: &'static str;
    /// The attributes of its key.
    fn key(&self) -> Vec<&str>;
    fn life(&mut self) -> &mut Life;
    /// How its events call it.
    fn id(&self) -> &str;
}

macro_rules! living {
    ($kind:ident $object_type:literal $name:literal $id:ident, $($key:ident)+) => {
        impl Living for $kind {
            const TYPE: &'static str = $object_type;
            const NAME: &'static str = $name;
            fn key(&self) -> Vec<&str> {
                vec![$(&self.$key),+]
            }
            fn life(&mut self) -> &mut Life {
                &mut self.life
            }
            fn id(&self) -> &str {
                &self.$id
            }
        }
    };
}

/// Who gave an organization its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Scheme {
    /// GB 32100.
    Uscc,
    /// National Provider Identifier.
    Npi,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Uscc => "USCC",
            Scheme::Npi => "NPI",
        }
    }
}

/// `org~msp`: an organization. Its number is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Org {
    pub msp: String,
    pub scheme: Scheme,
    pub identifier: String,
    #[serde(flatten)]
    pub life: Life,
}
living!(Org "org" "organization" msp, msp);

/// `lic~msp~no`: what an organization may do, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Licence {
    pub msp: String,
    pub no: String,
    /// The regulator that gave it.
    pub issuer: String,
    /// `care`, `implant`, `research`, codes of waste, ….
    pub scopes: Vec<String>,
    #[serde(flatten)]
    pub life: Life,
}
living!(Licence "lic" "licence" no, msp no);

/// `fac~id`: a place where an organization works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facility {
    pub id: String,
    pub msp: String,
    /// GB/T 2260, or ISO 3166-2 in the United States.
    pub area: String,
    /// Which scopes of its organization's licences are made use of here.
    pub scopes: Vec<String>,
    #[serde(flatten)]
    pub life: Life,
}
living!(Facility "fac" "facility" id, id);

/// `cred~id`: that a practitioner may act in a role for an organization at a facility. Who it is,
/// is in the collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credential {
    pub id: String,
    pub pid: String,
    pub org: String,
    pub facility: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialty: Option<String>,
    /// SHA-256 of what the organization attests with.
    pub attest_hash: String,
    #[serde(flatten)]
    pub life: Life,
}
living!(Credential "cred" "credential" id, id);

/// What a facility has to be licensed for to employ somebody in a role.
pub(crate) fn scope_of(role: &str) -> Option<&'static str> {
    match role {
        "physician" | "nurse" => Some("care"),
        "implant" => Some("implant"),
        _ => None,
    }
}

/// A fact about a practitioner that organizations keep right together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FieldName {
    Name,
    LicenceNo,
    Phone,
    Email,
    Address,
    Specialty,
    Languages,
    AcceptsPatients,
}

impl FieldName {
    pub fn name(self) -> &'static str {
        match self {
            FieldName::Name => "name",
            FieldName::LicenceNo => "licence-no",
            FieldName::Phone => "phone",
            FieldName::Email => "email",
            FieldName::Address => "address",
            FieldName::Specialty => "specialty",
            FieldName::Languages => "languages",
            FieldName::AcceptsPatients => "accepts-patients",
        }
    }
}

/// Somebody's word for a value: its salted commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub commit: String,
    pub org: String,
    pub at: i64,
}

/// `field~pid~field`: what was proposed last, and what two organizations agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Field {
    pub pid: String,
    pub field: FieldName,
    /// Waits for another organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Claim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Claim>,
    /// Who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

impl Field {
    /// `Proposed` while something waits, else `Confirmed`.
    pub fn state(&self) -> &'static str {
        if self.proposed.is_some() {
            "Proposed"
        } else {
            "Confirmed"
        }
    }
}
