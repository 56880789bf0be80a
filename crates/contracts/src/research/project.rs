//! Research projects, and the ethics board's decision about them.

use serde::{Deserialize, Serialize};

use super::disease;
use super::duo;
use super::model::{Project, Purpose, State, Thing, step};
use super::party::{ids, need_org, pid, unused};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

const MAX_CODES: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: String,
    purpose: Purpose,
    #[serde(default)]
    diseases: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    genetic: bool,
    #[serde(default)]
    for_profit: bool,
    #[serde(default)]
    commercial: bool,
    countries: Vec<String>,
    protocol_hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    project: Entry,
}

pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["investigator"])?;
    call.require_practitioner("investigator")?;
    let investigator = pid(call)?;
    let Register { project: entry } = call.args()?;
    fields::id("project.id", &entry.id)?;
    fields::hash("project.protocolHash", &entry.protocol_hash)?;
    fields::count("project.countries", entry.countries.len(), MAX_CODES)?;
    for country in &entry.countries {
        duo::country("project.countries", country)?;
    }
    if entry.purpose == Purpose::Disease && entry.diseases.is_empty() {
        return Err(Failure::malformed(
            "a project for 'disease' names them in project.diseases",
        ));
    }
    for codes in [&entry.diseases, &entry.kinds] {
        if codes.len() > MAX_CODES {
            return Err(Failure::malformed(format!(
                "project.diseases and project.kinds have at most {MAX_CODES} entries"
            )));
        }
    }
    for disease in &entry.diseases {
        disease::check_one("project.diseases", disease)?;
    }
    for kind in &entry.kinds {
        fields::code("project.kinds", kind)?;
    }
    unused(call, "proj", &entry.id)?;
    let project = Project {
        id: entry.id,
        org: call.msp().to_owned(),
        investigator,
        purpose: entry.purpose,
        diseases: entry.diseases,
        kinds: entry.kinds,
        genetic: entry.genetic,
        for_profit: entry.for_profit,
        commercial: entry.commercial,
        countries: entry.countries,
        protocol_hash: entry.protocol_hash,
        state: State::Draft,
        ethics_by: None,
        ethics_doc: None,
        ethics_until: None,
        at: call.now,
    };
    call.index("projOf", &[&project.org, &project.id])?;
    save(call, &project, "ProjectRegistered", "")
}

fn save(
    call: &mut Call<'_>,
    project: &Project,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    call.store("proj", &[&project.id], project)?;
    let state = project.state.name();
    Ok(Outcome::changed(&project.id, state).event(call, event, &project.id, state, reference))
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Project, Failure> {
    fields::id("project", id)?;
    call.load("proj", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no project {id}")))
}

/// A project of the caller's organization that was not refused.
///
/// # Errors
/// 404 `NOT_FOUND`, 403 `NOT_PROJECT_ORG`, 409 `BAD_STATE`.
pub(super) fn load_own(call: &mut Call<'_>, id: &str) -> Result<Project, Failure> {
    let project = load(call, id)?;
    need_org(call, "NOT_PROJECT_ORG", &project.org)?;
    if project.state == State::Refused {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "project {id} is Refused, {} needs Draft or Approved",
                call.function()
            ),
        ));
    }
    Ok(project)
}

/// The two ways that somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    Approved,
    Refused,
}

impl Verdict {
    pub fn state(self) -> State {
        match self {
            Verdict::Approved => State::Approved,
            Verdict::Refused => State::Refused,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DecideEthics {
    project: String,
    verdict: Verdict,
    doc_hash: String,
    #[serde(default)]
    until: Option<i64>,
}

pub(super) fn decide_ethics(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["ethics"])?;
    call.require_practitioner("ethics")?;
    let by = pid(call)?;
    let args: DecideEthics = call.args()?;
    fields::hash("docHash", &args.doc_hash)?;
    let mut project = load(call, &args.project)?;
    if by == project.investigator {
        return Err(Failure::forbidden(
            "SELF_APPROVAL",
            format!("project {} is the caller's own", project.id),
        ));
    }
    project.state = step(
        Thing::Project,
        &project.id,
        project.state,
        call.function(),
        args.verdict.state(),
    )?;
    let good = match (args.verdict, args.until) {
        (Verdict::Approved, Some(until)) => until > call.now,
        (Verdict::Refused, None) => true,
        _ => false,
    };
    if !good {
        return Err(Failure::rule(
            "PERIOD",
            "an approval is until a time to come, a refusal has no 'until'",
        ));
    }
    project.ethics_by = Some(by);
    project.ethics_doc = Some(args.doc_hash.clone());
    project.ethics_until = args.until;
    project.at = call.now;
    save(call, &project, "EthicsDecided", &args.doc_hash)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    Ok(Outcome::of(&load(call, &args.id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByOrg {
    org: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Projects {
    projects: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByOrg = call.args()?;
    fields::msp("org", &args.org)?;
    let (projects, bookmark) = ids(call, "projOf", &[&args.org], args.bookmark.as_deref())?;
    Ok(Outcome::of(&Projects { projects, bookmark }))
}
