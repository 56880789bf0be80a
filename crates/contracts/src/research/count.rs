//! Cohort counts: asked on the ledger, within a budget, and answered in bands.

use serde::{Deserialize, Serialize};

use super::band;
use super::dataset::{CUSTODIANS, load_listed};
use super::model::{Cell, CohortCount, State, Thing, step};
use super::party::{need_org, pid, unused};
use super::project;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Counts that a project may ask for on one day (UTC), over all datasets.
pub(super) const DAILY_BUDGET: u32 = 100;

const MAX_CELLS: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ask {
    count_id: String,
    project: String,
    dataset: String,
    query_hash: String,
}

/// What a project has asked for on one day. Concurrent counts of a project conflict here, so
/// that the budget holds.
#[derive(Serialize, Deserialize, Default)]
struct Budget {
    used: u32,
}

pub(super) fn ask(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["investigator"])?;
    call.require_practitioner("investigator")?;
    let pid = pid(call)?;
    let args: Ask = call.args()?;
    fields::id("countId", &args.count_id)?;
    fields::hash("queryHash", &args.query_hash)?;
    unused(call, "count", &args.count_id)?;
    let project = project::load_own(call, &args.project)?;
    let dataset = load_listed(call, &args.dataset)?;
    let day = date_of(call.now).to_string();
    let mut budget: Budget = call
        .load("budget", &[&project.id, &day])?
        .unwrap_or_default();
    let within = budget.used < DAILY_BUDGET;
    let count = CohortCount {
        id: args.count_id,
        dataset: dataset.id,
        custodian: dataset.custodian,
        project: project.id,
        org: call.msp().to_owned(),
        pid,
        query_hash: args.query_hash,
        state: if within { State::Asked } else { State::Denied },
        cells: Vec::new(),
        at: call.now,
    };
    call.store("count", &[&count.id], &count)?;
    let state = count.state.name();
    if within {
        budget.used += 1;
        call.store("budget", &[&count.project, &day], &budget)?;
    }
    let (decision, code) = if within {
        ("Permitted", "OK")
    } else {
        ("Denied", "BUDGET")
    };
    Ok(Outcome::verdict(&count.id, state, decision, code).event(
        call,
        "Counted",
        &count.id,
        state,
        &count.dataset,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    count_id: String,
    cells: Vec<Cell>,
}

fn load(call: &mut Call<'_>, id: &str) -> Result<CohortCount, Failure> {
    fields::id("countId", id)?;
    call.load("count", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no count {id}")))
}

pub(super) fn answer(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["records", "dpo", "curator"])?;
    let args: Answer = call.args()?;
    let mut count = load(call, &args.count_id)?;
    need_org(call, "NOT_CUSTODIAN", &count.custodian)?;
    count.state = step(
        Thing::Count,
        &count.id,
        count.state,
        call.function(),
        State::Answered,
    )?;
    fields::count("cells", args.cells.len(), MAX_CELLS)?;
    let minimum = super::dataset::load(call, &count.dataset)?.minimum;
    for cell in &args.cells {
        fields::code("cells.cell", &cell.cell)?;
        band::check("cells.band", &cell.band, minimum)?;
    }
    count.cells = args.cells;
    call.store("count", &[&count.id], &count)?;
    Ok(Outcome::changed(&count.id, "Answered").event(
        call,
        "CountAnswered",
        &count.id,
        "Answered",
        &count.dataset,
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ById {
    count_id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    Ok(Outcome::of(&load(call, &args.count_id)?))
}
