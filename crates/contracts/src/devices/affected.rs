//! Whom a recall concerns: every affected unit, its holder, and for the holder its patients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::custody::load_unit;
use super::implant::patient_of;
use super::model::{Action, Hit, PatientLink, UnitId, UnitState};
use super::recall::{PAGE, load};
use crate::failure::Failure;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

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
    let after = args.bookmark.iter().flat_map(UnitId::key);
    let found = call.page("hit", &[&recall.no], after, PAGE)?;
    let msp = call.msp().to_owned();
    let resolves = matches!(call.role(), Some("physician" | "records"));
    let mut units = Vec::with_capacity(found.entries.len());
    let mut holders: BTreeMap<String, Counts> = BTreeMap::new();
    for entry in found.entries {
        let hit: Hit = decode("hit", &entry.value)?;
        let Ok([_, di, lot, serial]) = <[String; 4]>::try_from(entry.attributes) else {
            continue;
        };
        let unit = load_unit(call, &UnitId { di, lot, serial })?;
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
    let bookmark = units
        .last()
        .filter(|_| found.more)
        .map(|affected| affected.unit.clone());
    Ok(Outcome::of(&AffectedPage {
        no: recall.no,
        hits: recall.hits,
        units,
        holders,
        bookmark,
    }))
}
