//! Whom a recall concerns: every affected unit, its holder, and for the holder its patients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::custody::load_unit;
use super::implant::patient_of;
use super::model::{Action, Hit, PatientLink, UnitId, UnitState};
use super::recall::{PAGE, load};
use crate::failure::Failure;
use crate::key::{composite_key, composite_range, split_composite_key};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;
use crate::stub::StubError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Affected {
    no: String,
    #[serde(default)]
    bookmark: Option<UnitId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AffectedUnit {
    unit: UnitId,
    holder: String,
    state: UnitState,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    /// Only for the organization that holds the unit, on its own peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<PatientLink>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Counts {
    units: u32,
    implanted: u32,
    open: u32,
}

#[derive(Serialize)]
struct AffectedPage {
    no: String,
    hits: u32,
    units: Vec<AffectedUnit>,
    /// Of this page, by holder.
    holders: BTreeMap<String, Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<UnitId>,
}

/// Every affected unit and its holder; patients only of the caller's own organization.
pub(super) fn affected(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[
            Part::Provider,
            Part::Maker,
            Part::Distributor,
            Part::Regulator,
        ],
        &[
            "physician",
            "nurse",
            "records",
            "supply",
            "shipping",
            "vigilance",
            "regulatory",
            "recall",
            "inspector",
            "certifier",
            "auditor",
        ],
    )?;
    let args: Affected = call.args()?;
    let recall = load(call, &args.no)?;
    let (mut start, end) = composite_range("hit", &[&recall.no])?;
    if let Some(bookmark) = &args.bookmark {
        let [di, lot, serial] = bookmark.key();
        start = composite_key("hit", &[&recall.no, di, lot, serial])?;
        start.push('\u{0}');
    }
    let mut found = call.stub.range(&start, &end, PAGE + 1)?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let msp = call.msp().to_owned();
    let resolves = matches!(call.role(), Some("physician" | "records"));
    let mut units = Vec::with_capacity(found.len());
    let mut holders: BTreeMap<String, Counts> = BTreeMap::new();
    for entry in found {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        let [_, di, lot, serial] = attributes[..] else {
            continue;
        };
        let unit = load_unit(
            call,
            &UnitId {
                di: di.to_owned(),
                lot: lot.to_owned(),
                serial: serial.to_owned(),
            },
        )?;
        let hit: Hit = decode("hit", &entry.value)?;
        let counts = holders.entry(unit.holder.clone()).or_default();
        counts.units += 1;
        counts.implanted += u32::from(unit.state == UnitState::Implanted);
        counts.open += u32::from(hit.action.is_none());
        let patient = match &unit.patient_commit {
            Some(commit) if resolves && unit.holder == msp => patient_of(call, &msp, commit)?,
            _ => None,
        };
        units.push(AffectedUnit {
            holder: unit.holder,
            state: unit.state,
            action: hit.action,
            unit: unit.id,
            patient,
        });
    }
    let bookmark = if more {
        units.last().map(|affected| affected.unit.clone())
    } else {
        None
    };
    Ok(Outcome::of(&AffectedPage {
        no: recall.no,
        hits: recall.hits,
        units,
        holders,
        bookmark,
    }))
}
