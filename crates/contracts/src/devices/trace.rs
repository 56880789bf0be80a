//! Questions about units: one unit's whole story, and what an organization holds.

use serde::{Deserialize, Serialize};

use super::custody::unit_id;
use super::lot::MAX_UNITS;
use super::model::{Hit, Lot, Product, Suspicion, Unit, UnitId};
use super::scan;
use crate::failure::Failure;
use crate::fields;
use crate::key::{composite_key, split_composite_key};
use crate::request::{Call, Outcome, decode};
use crate::stub::StubError;

/// Recalls and scans that a trace looks through.
const MAX_RELATED: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByUnit {
    unit: UnitId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    tx_id: String,
    at: i64,
    unit: Option<Unit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecallOfUnit {
    no: String,
    #[serde(flatten)]
    hit: Hit,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScanOfUnit {
    tx_id: String,
    #[serde(flatten)]
    suspicion: Suspicion,
}

#[derive(Serialize)]
struct Trace {
    unit: Unit,
    product: Option<Product>,
    lot: Option<Lot>,
    /// Every committed change of the unit, oldest first.
    history: Vec<Change>,
    recalls: Vec<RecallOfUnit>,
    /// Scans of this unit that were not OK.
    scans: Vec<ScanOfUnit>,
}

/// The full history of one unit in one query.
pub(super) fn trace(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByUnit = call.args()?;
    let id = unit_id(&args.unit)?;
    let unit: Unit = call
        .load("unit", &id.key())?
        .ok_or_else(|| Failure::not_found(format!("no unit {id}")))?;
    let mut history = call
        .stub
        .history(&composite_key("unit", &id.key())?)?
        .into_iter()
        .map(|entry| {
            let unit = entry
                .value
                .map(|bytes| decode("unit", &bytes))
                .transpose()?;
            Ok(Change {
                tx_id: entry.tx_id,
                at: entry.timestamp.seconds,
                unit,
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    history.reverse();
    let product: Option<Product> = call.load("prod", &[&id.di])?;
    let lot: Option<Lot> = call.load("lot", &[&id.di, &id.lot])?;
    let recalls = recalls_of(call, &id)?;
    let scans = scans_of(call, &id)?;
    Ok(Outcome::of(&Trace {
        unit,
        product,
        lot,
        history,
        recalls,
        scans,
    }))
}

/// One unit as it is now, and nothing else: what other contracts ask for.
pub(super) fn read_unit(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByUnit = call.args()?;
    let id = unit_id(&args.unit)?;
    let unit: Unit = call
        .load("unit", &id.key())?
        .ok_or_else(|| Failure::not_found(format!("no unit {id}")))?;
    Ok(Outcome::of(&unit))
}

fn recalls_of(call: &mut Call<'_>, id: &UnitId) -> Result<Vec<RecallOfUnit>, Failure> {
    let all = call.stub.range_composite("recall", &[], MAX_RELATED)?;
    let mut found = Vec::new();
    for entry in all {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        let Some(no) = attributes.first() else {
            continue;
        };
        let [di, lot, serial] = id.key();
        if let Some(hit) = call.load::<Hit>("hit", &[no, di, lot, serial])? {
            found.push(RecallOfUnit {
                no: (*no).to_owned(),
                hit,
            });
        }
    }
    Ok(found)
}

fn scans_of(call: &mut Call<'_>, id: &UnitId) -> Result<Vec<ScanOfUnit>, Failure> {
    let all = call.stub.range_composite("susp", &[&id.di], MAX_RELATED)?;
    let mut found = Vec::new();
    for entry in all {
        let suspicion: Suspicion = decode("scan", &entry.value)?;
        let same = suspicion.lot.as_deref().unwrap_or("-") == id.lot
            && suspicion.serial.as_deref() == Some(&id.serial);
        if !same {
            continue;
        }
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        found.push(ScanOfUnit {
            tx_id: attributes.get(1).copied().unwrap_or_default().to_owned(),
            suspicion,
        });
    }
    found.sort_by(|a, b| (a.suspicion.at, &a.tx_id).cmp(&(b.suspicion.at, &b.tx_id)));
    Ok(found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitsHeld {
    org: String,
    #[serde(default)]
    bookmark: Option<UnitId>,
}

/// A page of units of an index `object_type~owner~di~lot~serial`.
#[derive(Serialize)]
pub(super) struct UnitPage {
    units: Vec<Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<UnitId>,
}

pub(super) fn unit_page(
    call: &mut Call<'_>,
    object_type: &str,
    owner: &str,
    bookmark: Option<&UnitId>,
) -> Result<UnitPage, Failure> {
    let after = bookmark.into_iter().flat_map(UnitId::key);
    let found = call.page(object_type, &[owner], after, MAX_UNITS)?;
    let mut units: Vec<Unit> = Vec::with_capacity(found.entries.len());
    for entry in &found.entries {
        if let [_, di, lot, serial] = &entry.attributes[..] {
            units.extend(call.load::<Unit>("unit", &[di, lot, serial])?);
        }
    }
    let bookmark = units
        .last()
        .filter(|_| found.more)
        .map(|unit| unit.id.clone());
    Ok(UnitPage { units, bookmark })
}

pub(super) fn held(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: UnitsHeld = call.args()?;
    fields::msp("org", &args.org)?;
    let page = unit_page(call, "heldBy", &args.org, args.bookmark.as_ref())?;
    Ok(Outcome::of(&page))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckUdi {
    carrier: String,
}

#[derive(Serialize)]
struct Checked {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    di: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
}

/// The verdict of `ScanUdi` without evidence.
pub(super) fn check_udi(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: CheckUdi = call.args()?;
    let scanned = scan::scan(call, &args.carrier)?;
    Ok(Outcome::of(&Checked {
        code: scanned.verdict.code(),
        di: scanned.udi.map(|udi| udi.di),
        unit: scanned.unit,
    }))
}
