//! The use of data under a grant, its end, and the destruction of copies.

use serde::{Deserialize, Serialize};

use super::dataset::{CUSTODIANS, tally};
use super::model::{Grant, State, Thing, Use, UseKind, step};
use super::party::{MAX_PAGE, mark, need_org, next};
use crate::failure::Failure;
use crate::fields::{self, sortable};
use crate::key::composite_range;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// How long after the end of a grant copies may exist, in seconds.
pub(super) const DESTRUCTION_WINDOW: i64 = 30 * 24 * 3600;

/// The entry of `due~time~grant`.
pub(super) fn due_key(grant: &Grant) -> [String; 2] {
    [sortable(grant.destroy_by), grant.id.clone()]
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Grant, Failure> {
    fields::id("grant", id)?;
    call.load("grant", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no grant {id}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordUse {
    grant: String,
    kind: UseKind,
    in_hash: String,
    out_hash: String,
    #[serde(default)]
    excluded: Option<u32>,
}

pub(super) fn record_use(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["curator"])?;
    let args: RecordUse = call.args()?;
    fields::hash("inHash", &args.in_hash)?;
    fields::hash("outHash", &args.out_hash)?;
    let mut grant = load(call, &args.grant)?;
    need_org(call, "NOT_GRANTEE", &grant.org)?;
    if !grant.permits(call.now) {
        return Err(Failure::rule(
            "GRANT_EXPIRED",
            format!(
                "grant {} is {}, copies are due to be destroyed",
                grant.id,
                grant.state_at(call.now).name()
            ),
        ));
    }
    grant.state = step(
        Thing::Grant,
        &grant.id,
        grant.state,
        call.function(),
        State::Active,
    )?;
    if args.kind == UseKind::Publish {
        check_moratorium(&grant, call.now)?;
    }
    match (args.kind, args.excluded) {
        (UseKind::Export, Some(excluded)) => release(call, &grant, excluded)?,
        (UseKind::Export, None) | (_, Some(_)) => {
            return Err(Failure::malformed(
                "excluded, the number of withdrawn subjects left out, goes with 'export' and with nothing else",
            ));
        }
        _ => {}
    }
    grant.uses = next(grant.uses)?;
    let used = Use {
        n: grant.uses,
        kind: args.kind,
        in_hash: args.in_hash,
        out_hash: args.out_hash,
        excluded: args.excluded,
        pid: call.stub.creator().attribute("hc.pid").map(str::to_owned),
        at: call.now,
    };
    call.store("use", &[&grant.id, &sortable(i64::from(used.n))], &used)?;
    call.store("grant", &[&grant.id], &grant)?;
    mark(call, &[&grant.org], &format!("grant-{}", grant.id))?;
    Ok(Outcome::changed(&grant.id, "Active").event(
        call,
        "UseRecorded",
        &grant.id,
        "Active",
        &used.n.to_string(),
    ))
}

/// Refuses a publication before the date that the dataset names.
pub(super) fn check_moratorium(grant: &Grant, now: i64) -> Result<(), Failure> {
    match grant.moratorium {
        Some(until) if now < until => Err(Failure::rule(
            "MORATORIUM",
            format!(
                "dataset {} allows no publication before {until} (DUO:0000024)",
                grant.dataset
            ),
        )),
        _ => Ok(()),
    }
}

/// Data leaves the vault: without the subjects who have withdrawn, all of them. A withdrawal
/// that commits first makes this transaction invalid.
fn release(call: &mut Call<'_>, grant: &Grant, excluded: u32) -> Result<(), Failure> {
    let mut tally = tally(call, &grant.dataset)?;
    if tally.withdrawn != excluded {
        return Err(Failure::rule(
            "EXCLUDE",
            format!(
                "{} subjects have left dataset {}, {excluded} were left out: see Withdrawals",
                tally.withdrawn, grant.dataset
            ),
        ));
    }
    tally.releases = next(tally.releases)?;
    call.store("tally", &[&grant.dataset], &tally)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    grant: String,
    reason: String,
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["dpo", "curator"])?;
    let args: Revoke = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut grant = load(call, &args.grant)?;
    need_org(call, "NOT_CUSTODIAN", &grant.custodian)?;
    grant.state = step(
        Thing::Grant,
        &grant.id,
        grant.state_at(call.now),
        call.function(),
        State::Revoked,
    )?;
    call.unindex("due", &due_key(&grant).each_ref().map(String::as_str))?;
    grant.destroy_by = call.now.saturating_add(DESTRUCTION_WINDOW);
    grant.reason = Some(args.reason);
    call.index("due", &due_key(&grant).each_ref().map(String::as_str))?;
    call.store("grant", &[&grant.id], &grant)?;
    mark(call, &[&grant.custodian], &format!("grant-{}", grant.id))?;
    Ok(Outcome::changed(&grant.id, "Revoked").event(
        call,
        "GrantRevoked",
        &grant.id,
        "Revoked",
        &grant.dataset,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmDestruction {
    grant: String,
    proof_hash: String,
}

pub(super) fn confirm_destruction(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["curator", "investigator"])?;
    let args: ConfirmDestruction = call.args()?;
    fields::hash("proofHash", &args.proof_hash)?;
    let mut grant = load(call, &args.grant)?;
    need_org(call, "NOT_GRANTEE", &grant.org)?;
    grant.state = step(
        Thing::Grant,
        &grant.id,
        grant.state_at(call.now),
        call.function(),
        State::Destroyed,
    )?;
    grant.proof_hash = Some(args.proof_hash.clone());
    call.unindex("due", &due_key(&grant).each_ref().map(String::as_str))?;
    call.store("grant", &[&grant.id], &grant)?;
    mark(call, &[&grant.org], &format!("grant-{}", grant.id))?;
    Ok(Outcome::changed(&grant.id, "Destroyed").event(
        call,
        "Destroyed",
        &grant.id,
        "Destroyed",
        &args.proof_hash,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByGrant {
    grant: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByGrant = call.args()?;
    let mut grant = load(call, &args.grant)?;
    grant.state = grant.state_at(call.now);
    Ok(Outcome::of(&grant))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UseLog {
    grant: String,
    #[serde(default)]
    bookmark: Option<u32>,
}

#[derive(Serialize)]
struct Uses {
    uses: Vec<Use>,
    bookmark: Option<u32>,
}

pub(super) fn use_log(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: UseLog = call.args()?;
    load(call, &args.grant)?;
    let after = args.bookmark.map(|n| sortable(i64::from(n)));
    let found = call.page("use", &[&args.grant], after.as_deref(), MAX_PAGE)?;
    let uses = found
        .entries
        .iter()
        .map(|entry| decode("use", &entry.value))
        .collect::<Result<Vec<Use>, _>>()?;
    let bookmark = uses.last().filter(|_| found.more).map(|used| used.n);
    Ok(Outcome::of(&Uses { uses, bookmark }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    grant: String,
    org: String,
    custodian: String,
    state: State,
    destroy_by: i64,
}

#[derive(Serialize)]
struct Overdue {
    overdue: Vec<Due>,
    more: bool,
}

/// Grants whose copies should be destroyed by now, the longest overdue first.
pub(super) fn overdue(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[
            Part::Provider,
            Part::Research,
            Part::Regulator,
            Part::Citizen,
        ],
        &[],
    )?;
    let (start, _) = composite_range("due", &[])?;
    let (end, _) = composite_range("due", &[&sortable(call.now)])?;
    let found = call.page_between(&start, &end, MAX_PAGE)?;
    let more = found.more;
    let mut overdue = Vec::new();
    for entry in &found.entries {
        let grant = load(call, entry.last())?;
        overdue.push(Due {
            state: grant.state_at(call.now),
            grant: grant.id,
            org: grant.org,
            custodian: grant.custodian,
            destroy_by: grant.destroy_by,
        });
    }
    Ok(Outcome::of(&Overdue { overdue, more }))
}
