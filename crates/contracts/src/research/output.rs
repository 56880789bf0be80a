//! Results and publications, linked back to the data, and who is credited.

use serde::{Deserialize, Serialize};

use super::dataset;
use super::grant::{self, check_moratorium};
use super::model::Output;
use super::party::{ids, need_org, unused};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    out: String,
    grant: String,
    #[serde(default)]
    doi: Option<String>,
    hash: String,
}

/// A DOI by its form: `10.` and a registrant, `/`, a suffix without spaces.
fn check_doi(doi: &str) -> Result<(), Failure> {
    let fits = doi.len() <= 200
        && doi
            .strip_prefix("10.")
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(registrant, suffix)| {
                (4..=9).contains(&registrant.len())
                    && registrant.bytes().all(|b| b.is_ascii_digit() || b == b'.')
                    && !suffix.is_empty()
                    && suffix.bytes().all(|b| b.is_ascii_graphic())
            });
    if fits {
        return Ok(());
    }
    Err(Failure::malformed("doi is a DOI as 10.1234/suffix"))
}

pub(super) fn report(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Research], &["investigator", "curator"])?;
    let args: Report = call.args()?;
    fields::id("out", &args.out)?;
    fields::hash("hash", &args.hash)?;
    if let Some(doi) = &args.doi {
        check_doi(doi)?;
    }
    unused(call, "out", &args.out)?;
    let grant = grant::load(call, &args.grant)?;
    need_org(call, "NOT_GRANTEE", &grant.org)?;
    if grant.uses == 0 {
        return Err(Failure::rule(
            "NO_USE",
            format!("grant {} was never used: record the use first", grant.id),
        ));
    }
    if args.doi.is_some() {
        check_moratorium(&grant, call.now)?;
    }
    let dataset = dataset::load(call, &grant.dataset)?;
    let credits: Vec<_> = std::iter::once(dataset.custodian)
        .chain(dataset.contributors)
        .collect();
    let output = Output {
        id: args.out,
        grant: grant.id,
        dataset: dataset.id,
        project: grant.project,
        org: grant.org,
        doi: args.doi,
        hash: args.hash,
        credits,
        at: call.now,
    };
    call.store("out", &[&output.id], &output)?;
    call.index("outOf", &[&output.dataset, &output.id])?;
    for msp in &output.credits {
        credit(call, msp, "output", &output.id)?;
    }
    Ok(Outcome::changed(&output.id, "Reported").event(
        call,
        "OutputReported",
        &output.id,
        "Reported",
        &output.dataset,
    ))
}

/// Writes down that an organization is credited with an output, or with an opinion.
pub(super) fn credit(call: &mut Call<'_>, msp: &str, kind: &str, id: &str) -> Result<(), Failure> {
    // One attribute for both, so that one bookmark pages through them.
    call.index("credit", &[msp, &format!("{kind}:{id}")])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    out: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    fields::id("out", &args.out)?;
    let output: Output = call
        .load("out", &[&args.out])?
        .ok_or_else(|| Failure::not_found(format!("no output {}", args.out)))?;
    Ok(Outcome::of(&output))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    dataset: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Outputs {
    outputs: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: List = call.args()?;
    dataset::load(call, &args.dataset)?;
    let (outputs, bookmark) = ids(call, "outOf", &[&args.dataset], args.bookmark.as_deref())?;
    Ok(Outcome::of(&Outputs { outputs, bookmark }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByOrg {
    org: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Credited {
    outputs: Vec<String>,
    consults: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn credits(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByOrg = call.args()?;
    fields::msp("org", &args.org)?;
    let (found, bookmark) = ids(call, "credit", &[&args.org], args.bookmark.as_deref())?;
    let mut answer = Credited {
        outputs: Vec::new(),
        consults: Vec::new(),
        bookmark,
    };
    for credit in found {
        match credit.split_once(':') {
            Some(("output", id)) => answer.outputs.push(id.to_owned()),
            Some((_, id)) => answer.consults.push(id.to_owned()),
            None => {}
        }
    }
    Ok(Outcome::of(&answer))
}
