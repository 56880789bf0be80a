//! What the research contract keeps on the ledger, and which states may follow which.

use serde::{Deserialize, Serialize};

use super::duo::{Conditions, Terms};
use crate::failure::Failure;

/// What has a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Dataset,
    Project,
    Count,
    Request,
    Grant,
    Consult,
}

impl Thing {
    pub fn name(self) -> &'static str {
        match self {
            Thing::Dataset => "dataset",
            Thing::Project => "project",
            Thing::Count => "count",
            Thing::Request => "request",
            Thing::Grant => "grant",
            Thing::Consult => "consultation",
        }
    }
}

/// The states of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Listed,
    Closed,
    Draft,
    Approved,
    Refused,
    Asked,
    Denied,
    Answered,
    Submitted,
    AutoDenied,
    Active,
    /// Of a grant it is never stored but follows from the time, see [`Grant::state_at`].
    Expired,
    Revoked,
    Destroyed,
    Requested,
    Accepted,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Listed => "Listed",
            State::Closed => "Closed",
            State::Draft => "Draft",
            State::Approved => "Approved",
            State::Refused => "Refused",
            State::Asked => "Asked",
            State::Denied => "Denied",
            State::Answered => "Answered",
            State::Submitted => "Submitted",
            State::AutoDenied => "AutoDenied",
            State::Active => "Active",
            State::Expired => "Expired",
            State::Revoked => "Revoked",
            State::Destroyed => "Destroyed",
            State::Requested => "Requested",
            State::Accepted => "Accepted",
        }
    }
}

/// Every pair of states that may follow one another, and by which function. Nothing else ever
/// happens; how each thing begins is in the functions that make it.
pub(crate) const TRANSITIONS: &[(Thing, State, &str, State)] = {
    use State::{
        Accepted, Active, Answered, Approved, Asked, Closed, Destroyed, Draft, Expired, Listed,
        Refused, Requested, Revoked, Submitted,
    };
    use Thing::{Consult, Count, Dataset, Grant, Project, Request};
    &[
        (Dataset, Listed, "CloseDataset", Closed),
        (Project, Draft, "DecideEthics", Approved),
        (Project, Draft, "DecideEthics", Refused),
        (Count, Asked, "AnswerCount", Answered),
        (Request, Submitted, "DecideRequest", Approved),
        (Request, Submitted, "DecideRequest", Refused),
        (Request, Approved, "AcceptTerms", Active),
        (Grant, Active, "RecordUse", Active),
        (Grant, Active, "RevokeGrant", Revoked),
        (Grant, Revoked, "ConfirmDestruction", Destroyed),
        (Grant, Expired, "ConfirmDestruction", Destroyed),
        (Consult, Requested, "AcceptConsult", Accepted),
        (Consult, Requested, "ExpireConsult", Expired),
        (Consult, Accepted, "PostOpinion", Answered),
        (Consult, Answered, "CloseConsult", Closed),
        (Consult, Expired, "ForgetConsult", Expired),
        (Consult, Closed, "ForgetConsult", Closed),
    ]
};

/// The state to go to, when this function may lead there.
///
/// # Errors
/// 409 `BAD_STATE`, with the states that the function needs.
pub(crate) fn step(
    thing: Thing,
    id: &str,
    from: State,
    function: &str,
    to: State,
) -> Result<State, Failure> {
    let of_function = || {
        TRANSITIONS
            .iter()
            .filter(move |(t, _, f, _)| *t == thing && *f == function)
    };
    if of_function().any(|(_, f, _, t)| *f == from && *t == to) {
        return Ok(to);
    }
    let mut needed: Vec<_> = of_function().map(|(_, from, _, _)| from.name()).collect();
    needed.dedup();
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "{} {id} is {}, {function} needs {}",
            thing.name(),
            from.name(),
            needed.join(" or ")
        ),
    ))
}

/// `ds~id`: a dataset in its custodian's vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dataset {
    pub id: String,
    /// MSP id.
    pub custodian: String,
    /// A FHIR profile or a model such as `OMOP:5.4`, as a code.
    pub schema: String,
    /// How many subjects, as a band.
    pub size: String,
    /// The smallest group that a count tells apart.
    pub minimum: u32,
    #[serde(rename = "use")]
    pub conditions: Conditions,
    /// SHA-256 of the terms on offer (an ODRL policy).
    pub policy_hash: String,
    /// SHA-256 of the manifest of the data, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_hash: Option<String>,
    /// MSP ids of those whose data it has, besides the custodian.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<String>,
    pub state: State,
    pub at: i64,
}

/// `tally~ds`: what has left a dataset and who has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Tally {
    pub releases: u32,
    pub withdrawn: u32,
}

/// `opt~ds~rsid`: a subject who is in a dataset no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Withdrawal {
    pub at: i64,
    /// Releases before it, which cannot be called back.
    pub releases: u32,
}

/// What a project is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// Research on the diseases that it names.
    Disease,
    /// Other health, medical or biomedical research.
    Biomedical,
    /// Methods, software, algorithms.
    Methods,
    /// Population origins or ancestry.
    Ancestry,
    /// Any other research.
    General,
    /// Clinical care.
    Care,
}

/// `proj~id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Project {
    pub id: String,
    /// MSP id and pseudonym of the investigator.
    pub org: String,
    pub investigator: String,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diseases: Vec<String>,
    /// Kinds of research, as codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Whether genotypes are studied.
    #[serde(default)]
    pub genetic: bool,
    /// Whether the organization works for profit.
    #[serde(default)]
    pub for_profit: bool,
    /// Whether the use is commercial.
    #[serde(default)]
    pub commercial: bool,
    /// Where the data would be used, ISO 3166-1 alpha-2.
    pub countries: Vec<String>,
    /// SHA-256 of the protocol.
    pub protocol_hash: String,
    pub state: State,
    /// The ethics board's decision: whose, on what document, until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethics_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethics_doc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethics_until: Option<i64>,
    pub at: i64,
}

/// One answer to a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// What is counted, as a code of the query.
    pub cell: String,
    pub band: String,
}

/// `count~id`: a cohort query, answered or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CohortCount {
    pub id: String,
    pub dataset: String,
    pub custodian: String,
    pub project: String,
    pub org: String,
    pub pid: String,
    /// SHA-256 of the query with a salt.
    pub query_hash: String,
    pub state: State,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    pub at: i64,
}

/// `dar~id`: a request for data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataRequest {
    pub id: String,
    pub dataset: String,
    pub custodian: String,
    pub project: String,
    pub org: String,
    pub pid: String,
    pub terms: Terms,
    pub state: State,
    /// `OK`, or why it was denied at once.
    pub code: String,
    /// The DUO code that was not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duo: Option<String>,
    /// The terms that the custodian offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Why it was refused, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: i64,
}

/// `grant~id`: the right to use a dataset, under the id of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Grant {
    pub id: String,
    pub dataset: String,
    pub custodian: String,
    pub project: String,
    pub org: String,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diseases: Vec<String>,
    /// The terms that were accepted, and by whom.
    pub policy_hash: String,
    pub accepted_by: String,
    /// From (included) to (excluded), seconds since 1970.
    pub from: i64,
    pub until: i64,
    /// Before this, nothing is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moratorium: Option<i64>,
    /// As stored; see [`Grant::state_at`].
    pub state: State,
    pub uses: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When copies have to be destroyed.
    pub destroy_by: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_hash: Option<String>,
}

impl Grant {
    /// The state at a time: an active grant expires by itself.
    pub fn state_at(&self, now: i64) -> State {
        if self.state == State::Active && now >= self.until {
            State::Expired
        } else {
            self.state
        }
    }

    /// Whether data may be used at a time.
    pub fn permits(&self, now: i64) -> bool {
        now >= self.from && self.state_at(now) == State::Active
    }
}

/// What is done with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UseKind {
    /// Data leaves the custodian's vault.
    Export,
    Compute,
    Publish,
}

/// `use~grant~n`: one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Use {
    pub n: u32,
    pub kind: UseKind,
    pub in_hash: String,
    pub out_hash: String,
    /// Of an export: how many withdrawn subjects were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    pub at: i64,
}

/// `out~id`: a result or publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    pub id: String,
    pub grant: String,
    pub dataset: String,
    pub project: String,
    pub org: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doi: Option<String>,
    pub hash: String,
    /// MSP ids: the custodian and whose data it was.
    pub credits: Vec<String>,
    pub at: i64,
}

/// `con~id`: a consultation. Question and opinion are private to the two parties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Consult {
    pub id: String,
    /// Who asks: MSP id and pseudonym.
    pub org: String,
    pub pid: String,
    /// Who is asked; a pseudonym only where one practitioner is meant.
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_pid: Option<String>,
    pub specialty: String,
    /// SHA-256 of the private value.
    pub question_hash: String,
    /// Until when it may be accepted.
    pub expires: i64,
    pub state: State,
    /// Who accepted, and answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consultant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opinion_hash: Option<String>,
    /// The charge in the contract of costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_ref: Option<String>,
    /// 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<u8>,
    /// MSP ids that purged their copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<String>,
    pub at: i64,
}

impl Consult {
    /// The state at a time: an old request cannot be accepted, whether or not it was marked.
    pub fn state_at(&self, now: i64) -> State {
        if self.state == State::Requested && now >= self.expires {
            State::Expired
        } else {
            self.state
        }
    }
}
