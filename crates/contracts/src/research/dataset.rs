//! What is on offer, on which conditions, and subjects who leave.

use serde::{Deserialize, Serialize};

use super::band;
use super::duo::{self, Conditions};
use super::model::{Dataset, State, Tally, Thing, Withdrawal, step};
use super::party::{ids, need_org, next, unused};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

const MAX_CONTRIBUTORS: usize = 32;

fn default_minimum() -> u32 {
    band::DEFAULT_MINIMUM
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: String,
    schema: String,
    size: String,
    #[serde(default = "default_minimum")]
    minimum: u32,
    #[serde(rename = "use")]
    conditions: Conditions,
    policy_hash: String,
    #[serde(default)]
    data_hash: Option<String>,
    #[serde(default)]
    contributors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    dataset: Entry,
}

/// Organizations that keep data, and who speaks for them.
pub(super) const CUSTODIANS: &[Part] = &[Part::Provider, Part::Research];

pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["records", "dpo", "curator"])?;
    let Register { dataset: entry } = call.args()?;
    fields::id("dataset.id", &entry.id)?;
    fields::code("dataset.schema", &entry.schema)?;
    fields::hash("dataset.policyHash", &entry.policy_hash)?;
    if let Some(hash) = &entry.data_hash {
        fields::hash("dataset.dataHash", hash)?;
    }
    band::check_minimum(entry.minimum)?;
    band::check("dataset.size", &entry.size, entry.minimum)?;
    duo::check(&entry.conditions)?;
    if entry.contributors.len() > MAX_CONTRIBUTORS {
        return Err(Failure::malformed(format!(
            "dataset.contributors has at most {MAX_CONTRIBUTORS} entries"
        )));
    }
    for msp in &entry.contributors {
        fields::msp("dataset.contributors", msp)?;
    }
    unused(call, "ds", &entry.id)?;
    let custodian = call.msp().to_owned();
    let mut contributors = entry.contributors;
    contributors.sort();
    contributors.dedup();
    contributors.retain(|msp| *msp != custodian);
    let dataset = Dataset {
        id: entry.id,
        custodian,
        schema: entry.schema,
        size: entry.size,
        minimum: entry.minimum,
        conditions: entry.conditions,
        policy_hash: entry.policy_hash,
        data_hash: entry.data_hash,
        contributors,
        state: State::Listed,
        at: call.now,
    };
    call.store("ds", &[&dataset.id], &dataset)?;
    call.index("dsOf", &[&dataset.custodian, &dataset.id])?;
    for code in codes(&dataset) {
        call.index("dsByUse", &[code, &dataset.id])?;
    }
    Ok(changed(call, &dataset, "DatasetListed"))
}

/// The codes that a dataset is found by.
fn codes(dataset: &Dataset) -> impl Iterator<Item = &str> {
    let modifiers = dataset.conditions.modifiers.iter();
    std::iter::once(dataset.conditions.permission.as_str())
        .chain(modifiers.map(|m| m.code.as_str()))
}

fn changed(call: &Call<'_>, dataset: &Dataset, event: &'static str) -> Outcome {
    let state = dataset.state.name();
    Outcome::changed(&dataset.id, state).event(
        call,
        event,
        &dataset.id,
        state,
        &dataset.conditions.permission,
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Dataset, Failure> {
    fields::id("dataset", id)?;
    call.load("ds", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no dataset {id}")))
}

/// A dataset that new counts and requests may be about.
///
/// # Errors
/// 404 `NOT_FOUND`, 409 `BAD_STATE`.
pub(super) fn load_listed(call: &mut Call<'_>, id: &str) -> Result<Dataset, Failure> {
    let dataset = load(call, id)?;
    if dataset.state == State::Listed {
        return Ok(dataset);
    }
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "dataset {id} is {}, {} needs Listed",
            dataset.state.name(),
            call.function()
        ),
    ))
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["records", "dpo", "curator"])?;
    let args: ById = call.args()?;
    let mut dataset = load(call, &args.id)?;
    need_org(call, "NOT_CUSTODIAN", &dataset.custodian)?;
    dataset.state = step(
        Thing::Dataset,
        &args.id,
        dataset.state,
        call.function(),
        State::Closed,
    )?;
    dataset.at = call.now;
    call.store("ds", &[&dataset.id], &dataset)?;
    for code in codes(&dataset) {
        call.unindex("dsByUse", &[code, &dataset.id])?;
    }
    Ok(changed(call, &dataset, "DatasetClosed"))
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    dataset: Dataset,
    releases: u32,
    withdrawn: u32,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    let dataset = load(call, &args.id)?;
    let tally = tally(call, &args.id)?;
    Ok(Outcome::of(&Shown {
        dataset,
        releases: tally.releases,
        withdrawn: tally.withdrawn,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Find {
    #[serde(default)]
    duo: Option<String>,
    #[serde(default)]
    custodian: Option<String>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Datasets {
    datasets: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn find(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Find = call.args()?;
    let bookmark = args.bookmark.as_deref();
    let (datasets, bookmark) = match (&args.duo, &args.custodian) {
        (Some(code), None) if duo::find(code).is_some() => ids(call, "dsByUse", &[code], bookmark)?,
        (Some(_), None) => {
            return Err(Failure::rule(
                "UNKNOWN_DUO",
                "duo is a code that datasets may carry, DUO:0000042 for example",
            ));
        }
        (None, Some(custodian)) => {
            fields::msp("custodian", custodian)?;
            ids(call, "dsOf", &[custodian], bookmark)?
        }
        _ => {
            return Err(Failure::malformed(
                "FindDatasets is asked for 'duo' or for 'custodian'",
            ));
        }
    };
    Ok(Outcome::of(&Datasets { datasets, bookmark }))
}

pub(super) fn tally(call: &mut Call<'_>, dataset: &str) -> Result<Tally, Failure> {
    Ok(call.load("tally", &[dataset])?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Withdraw {
    dataset: String,
    token: String,
}

#[derive(Serialize)]
struct Withdrawn<'a> {
    id: &'a str,
    state: &'a str,
    releases: u32,
}

/// The token is the subject's pseudonym in this dataset: 130 bits that only the identity service
/// can compute, so who has it is the subject or acts for it.
pub(super) fn withdraw(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Citizen], &["patient", "guardian", "issuer"])?;
    if call.sid().is_some() {
        return Err(Failure::rule(
            "LINKABLE",
            "the certificate's hc.sid would stand beside the research pseudonym in the block for ever: ask the identity service to send this",
        ));
    }
    let args: Withdraw = call.args()?;
    fields::sid("token", &args.token)?;
    let dataset = load(call, &args.dataset)?;
    if call.exists("opt", &[&dataset.id, &args.token])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("this subject has left dataset {}", dataset.id),
        ));
    }
    let mut tally = tally(call, &dataset.id)?;
    tally.withdrawn = next(tally.withdrawn)?;
    let withdrawal = Withdrawal {
        at: call.now,
        releases: tally.releases,
    };
    call.store("opt", &[&dataset.id, &args.token], &withdrawal)?;
    call.store("tally", &[&dataset.id], &tally)?;
    let answer = Withdrawn {
        id: &dataset.id,
        state: "Withdrawn",
        releases: tally.releases,
    };
    Ok(Outcome::of(&answer).event(
        call,
        "SubjectWithdrawn",
        &dataset.id,
        "Withdrawn",
        &tally.withdrawn.to_string(),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByDataset {
    dataset: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Withdrawals {
    tokens: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn withdrawals(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, &["records", "dpo", "curator"])?;
    let args: ByDataset = call.args()?;
    load(call, &args.dataset)?;
    let (tokens, bookmark) = ids(call, "opt", &[&args.dataset], args.bookmark.as_deref())?;
    Ok(Outcome::of(&Withdrawals { tokens, bookmark }))
}
