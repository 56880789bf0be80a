//! Requests for data: matched at once, decided by the custodian, and the accepted terms that make
//! a grant of them.

use jiff::ToSpan;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::dataset::{CUSTODIANS, load_listed};
use super::duo::{self, Applicant, Match, Terms, match_use};
use super::grant::{DESTRUCTION_WINDOW, due_key};
use super::model::{DataRequest, Dataset, Grant, Project, State, Thing, step};
use super::party::{ids, mark, need_org, pid, unused};
use super::project::{self, Verdict};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    dar: String,
    dataset: String,
    project: String,
    terms: Terms,
}

fn check_terms(terms: &Terms) -> Result<(), Failure> {
    duo::check_months("terms.months", terms.months)?;
    for code in &terms.accepts {
        if duo::find(code).is_none() {
            return Err(Failure::rule(
                "UNKNOWN_DUO",
                "terms.accepts are codes of DUO that oblige, DUO:0000019 for example",
            ));
        }
    }
    Ok(())
}

/// State, code and the DUO code that was not met.
fn verdict(found: Match) -> (State, &'static str, Option<&'static str>) {
    match found {
        Match::Fits => (State::Submitted, "OK", None),
        Match::Mismatch(code) => (State::AutoDenied, "DUO_MISMATCH", Some(code)),
        Match::NoEthics => (State::AutoDenied, "NO_ETHICS", Some(duo::IRB)),
    }
}

/// The code of a verdict as it is answered: `DUO_MISMATCH 0000018`.
fn told(code: &str, duo: Option<&str>) -> String {
    match duo {
        Some(duo) if code == "DUO_MISMATCH" => {
            format!("{code} {}", duo.trim_start_matches("DUO:"))
        }
        _ => code.to_owned(),
    }
}

/// Whoever decided about a project's ethics does not ask for data in its name.
fn not_the_board(project: &Project, pid: &str) -> Result<(), Failure> {
    if project.ethics_by.as_deref() != Some(pid) {
        return Ok(());
    }
    Err(Failure::forbidden(
        "SELF_APPROVAL",
        format!("the caller decided about project {}", project.id),
    ))
}

pub(super) fn request(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["investigator"])?;
    call.require_practitioner("investigator")?;
    let pid = pid(call)?;
    let args: Request = call.args()?;
    fields::id("dar", &args.dar)?;
    check_terms(&args.terms)?;
    unused(call, "dar", &args.dar)?;
    let project = project::load_own(call, &args.project)?;
    not_the_board(&project, &pid)?;
    let dataset = load_listed(call, &args.dataset)?;
    let found = match_use(
        &dataset.conditions,
        &Applicant {
            org: call.msp(),
            pid: &pid,
            project: &project,
            terms: &args.terms,
            now: call.now,
        },
    );
    let (state, code, duo) = verdict(found);
    let request = DataRequest {
        id: args.dar,
        dataset: dataset.id,
        custodian: dataset.custodian,
        project: project.id,
        org: project.org,
        pid,
        terms: args.terms,
        state,
        code: code.to_owned(),
        duo: duo.map(str::to_owned),
        policy_hash: None,
        decided_by: None,
        reason: None,
        at: call.now,
    };
    call.store("dar", &[&request.id], &request)?;
    call.index("darBy", &[state.name(), &request.id])?;
    let decision = if state == State::Submitted {
        "Permitted"
    } else {
        "Denied"
    };
    let code = told(code, duo);
    Ok(
        Outcome::verdict(&request.id, state.name(), decision, &code).event(
            call,
            "DataRequested",
            &request.id,
            state.name(),
            &code,
        ),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evaluate {
    dataset: String,
    project: String,
    terms: Terms,
}

#[derive(Serialize)]
struct DryRun {
    decision: &'static str,
    code: String,
}

pub(super) fn evaluate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Evaluate = call.args()?;
    check_terms(&args.terms)?;
    let project = project::load(call, &args.project)?;
    let dataset = load_listed(call, &args.dataset)?;
    let found = match_use(
        &dataset.conditions,
        &Applicant {
            org: &project.org,
            pid: &project.investigator,
            project: &project,
            terms: &args.terms,
            now: call.now,
        },
    );
    let (state, code, duo) = verdict(found);
    Ok(Outcome::of(&DryRun {
        decision: if state == State::Submitted {
            "Permitted"
        } else {
            "Denied"
        },
        code: told(code, duo),
    }))
}

fn load(call: &mut Call<'_>, id: &str) -> Result<DataRequest, Failure> {
    fields::id("dar", id)?;
    call.load("dar", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no request {id}")))
}

fn save(call: &mut Call<'_>, request: &DataRequest, before: State) -> Result<(), Failure> {
    call.store("dar", &[&request.id], request)?;
    call.unindex("darBy", &[before.name(), &request.id])?;
    call.index("darBy", &[request.state.name(), &request.id])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    dar: String,
    verdict: Verdict,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) fn decide(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["dpo", "curator"])?;
    let by = pid(call)?;
    let args: Decide = call.args()?;
    let mut request = load(call, &args.dar)?;
    need_org(call, "NOT_CUSTODIAN", &request.custodian)?;
    let project = project::load(call, &request.project)?;
    if by == request.pid || by == project.investigator {
        return Err(Failure::forbidden(
            "SELF_APPROVAL",
            format!("request {} is the caller's own", request.id),
        ));
    }
    let before = request.state;
    request.state = step(
        Thing::Request,
        &request.id,
        before,
        call.function(),
        args.verdict.state(),
    )?;
    match (&args.reason, args.verdict) {
        (Some(reason), Verdict::Refused) => fields::code("reason", reason)?,
        (None, Verdict::Approved) => {}
        _ => {
            return Err(Failure::malformed(
                "reason, a code, goes with Refused and with nothing else",
            ));
        }
    }
    if args.verdict == Verdict::Approved {
        // The offer is what the dataset says now.
        let dataset = load_listed(call, &request.dataset)?;
        request.policy_hash = Some(dataset.policy_hash);
    }
    request.reason = args.reason;
    request.decided_by = Some(by);
    request.at = call.now;
    save(call, &request, before)?;
    let custodian = request.custodian.clone();
    mark(call, &[&custodian], &format!("dar-{}", request.id))?;
    let state = request.state.name();
    Ok(Outcome::changed(&request.id, state).event(
        call,
        "RequestDecided",
        &request.id,
        state,
        &request.dataset,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Accept {
    dar: String,
    policy_hash: String,
}

/// When a use of so many months that begins now ends: the same day and hour of that month, or
/// its last day. `None` beyond what calendars hold.
fn months_after(now: i64, months: u32) -> Option<i64> {
    let at = jiff::Timestamp::from_second(now).ok()?;
    let end = Offset::UTC
        .to_datetime(at)
        .checked_add(i64::from(months).months())
        .ok()?;
    Offset::UTC
        .to_timestamp(end)
        .ok()
        .map(|end| end.as_second())
}

/// Until when a grant that begins now lasts: as long as was asked for, at most as long as the
/// dataset allows and, where it requires ethics approval, as that is in force.
fn period_end(dataset: &Dataset, project: &Project, terms: &Terms, now: i64) -> Option<i64> {
    let limit = dataset.conditions.modifier(duo::TS).and_then(|m| m.months);
    let months = terms.months.min(limit.unwrap_or(terms.months));
    let end = months_after(now, months)?;
    match dataset.conditions.modifier(duo::IRB) {
        Some(_) => Some(end.min(project.ethics_until?)),
        None => Some(end),
    }
}

/// The caller's signature on this transaction, with the hash of the terms in it, is the
/// acceptance.
pub(super) fn accept(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["investigator"])?;
    call.require_practitioner("investigator")?;
    let accepted_by = pid(call)?;
    let args: Accept = call.args()?;
    fields::hash("policyHash", &args.policy_hash)?;
    let mut request = load(call, &args.dar)?;
    need_org(call, "NOT_PROJECT_ORG", &request.org)?;
    let before = request.state;
    request.state = step(
        Thing::Request,
        &request.id,
        before,
        call.function(),
        State::Active,
    )?;
    if request.policy_hash.as_deref() != Some(&args.policy_hash) {
        return Err(Failure::rule(
            "TERMS_MISMATCH",
            format!(
                "policyHash is not that of the offer to request {}",
                request.id
            ),
        ));
    }
    let project = project::load_own(call, &request.project)?;
    not_the_board(&project, &accepted_by)?;
    let dataset = load_listed(call, &request.dataset)?;
    // Conditions and project stay as they were when they were matched; an approval may have ended.
    if dataset.conditions.modifier(duo::IRB).is_some() && !duo::has_ethics(&project, call.now) {
        return Err(Failure::rule(
            "NO_ETHICS",
            format!(
                "dataset {} requires an ethics approval in force, project {} has none any more",
                dataset.id, project.id
            ),
        ));
    }
    let until = period_end(&dataset, &project, &request.terms, call.now)
        .ok_or_else(|| Failure::rule("PERIOD", "the grant would end after all calendars"))?;
    let grant = Grant {
        id: request.id.clone(),
        dataset: dataset.id,
        custodian: dataset.custodian,
        project: project.id,
        org: project.org,
        purpose: project.purpose,
        diseases: project.diseases,
        policy_hash: args.policy_hash,
        accepted_by,
        from: call.now,
        until,
        moratorium: dataset.conditions.modifier(duo::MOR).and_then(|m| m.until),
        state: State::Active,
        uses: 0,
        reason: None,
        destroy_by: until.saturating_add(DESTRUCTION_WINDOW),
        proof_hash: None,
    };
    request.at = call.now;
    save(call, &request, before)?;
    call.store("grant", &[&grant.id], &grant)?;
    call.index("due", &due_key(&grant).each_ref().map(String::as_str))?;
    mark(
        call,
        &[&grant.custodian, &grant.org],
        &format!("grant-{}", grant.id),
    )?;
    Ok(Outcome::changed(&grant.id, "Active").event(
        call,
        "GrantActive",
        &grant.id,
        "Active",
        &grant.dataset,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByDar {
    dar: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByDar = call.args()?;
    Ok(Outcome::of(&load(call, &args.dar)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    state: State,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Requests {
    requests: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: List = call.args()?;
    let (requests, bookmark) = ids(
        call,
        "darBy",
        &[args.state.name()],
        args.bookmark.as_deref(),
    )?;
    Ok(Outcome::of(&Requests { requests, bookmark }))
}
