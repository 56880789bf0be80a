//! A regulator looks into some events: which ones is fixed when it begins, by their ids and one
//! hash over them.

use serde::Deserialize;

use super::checkpoint::leaf_of;
use super::model::{Investigation, step};
use super::query::{Filter, MAX_PAGE};
use crate::failure::Failure;
use crate::fields;
use crate::merkle;
use crate::request::{Call, Outcome};
use crate::roles::Part;

fn load(call: &mut Call<'_>, id: &str) -> Result<Option<Investigation>, Failure> {
    fields::id("id", id)?;
    call.load("inv", &[id])
}

fn save(
    call: &mut Call<'_>,
    investigation: &Investigation,
    event: &'static str,
) -> Result<Outcome, Failure> {
    let id = &investigation.id;
    call.store("inv", &[id], investigation)?;
    let state = investigation.state.name();
    Ok(Outcome::changed(id, state).event(call, event, id, state, &investigation.root))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenInvestigation {
    id: String,
    query: Filter,
}

pub(super) fn open(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let args: OpenInvestigation = call.args()?;
    let existing = load(call, &args.id)?;
    let what = format!("investigation {}", args.id);
    let state = step(
        call,
        &what,
        existing.map(|investigation| investigation.state),
    )?;
    let found = args.query.find(call, None, MAX_PAGE)?;
    if found.bookmark.is_some() || found.entries.is_empty() {
        return Err(Failure::rule(
            "SELECTION",
            format!(
                "an investigation is into 1 to {MAX_PAGE} events, the query finds {}",
                if found.entries.is_empty() {
                    "none"
                } else {
                    "more"
                }
            ),
        ));
    }
    let leaves = found
        .entries
        .iter()
        .map(|(_, leaf)| leaf_of(leaf))
        .collect::<Result<Vec<_>, _>>()?;
    let investigation = Investigation {
        id: args.id,
        org: call.msp().to_owned(),
        query: args.query,
        ids: found.entries.into_iter().map(|(id, _)| id).collect(),
        root: hex::encode(merkle::root(&leaves)),
        state,
        opened: call.now,
        finding: None,
        doc_hash: None,
        closed: None,
    };
    save(call, &investigation, "InvestigationOpened")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CloseInvestigation {
    id: String,
    finding: String,
    #[serde(default)]
    doc_hash: Option<String>,
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let args: CloseInvestigation = call.args()?;
    fields::code("finding", &args.finding)?;
    if let Some(hash) = &args.doc_hash {
        fields::hash("docHash", hash)?;
    }
    let what = format!("investigation {}", args.id);
    let mut investigation =
        load(call, &args.id)?.ok_or_else(|| Failure::not_found(format!("no {what}")))?;
    if investigation.org != call.msp() {
        return Err(Failure::forbidden(
            "NOT_OPENER",
            format!("{what} was opened by {}", investigation.org),
        ));
    }
    investigation.state = step(call, &what, Some(investigation.state))?;
    investigation.finding = Some(args.finding);
    investigation.doc_hash = args.doc_hash;
    investigation.closed = Some(call.now);
    save(call, &investigation, "InvestigationClosed")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadInvestigation {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor", "inspector"])?;
    let args: ReadInvestigation = call.args()?;
    let investigation = load(call, &args.id)?
        .ok_or_else(|| Failure::not_found(format!("no investigation {}", args.id)))?;
    Ok(Outcome::of(&investigation))
}
