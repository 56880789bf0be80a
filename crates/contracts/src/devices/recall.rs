//! Recalls: every affected unit, its holder, and what was done about it.
//!
//! Opening a recall leaves the units alone, since their holders would have to endorse the change:
//! the guards of other functions read the open recalls of a product instead.

use serde::{Deserialize, Serialize};

use super::custody::{load_unit, need_holder, save_unit, unit_id};
use super::lot::{MAX_UNITS, lot_or_serial};
use super::model::{
    Action, Hit, Recall, RecallClass, RecallState, Scope, Step, Unit, UnitId, UnitState,
};
use super::product::load as load_product;
use crate::failure::Failure;
use crate::fields;
use crate::key::{composite_key, composite_range, split_composite_key};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;
use crate::stub::StubError;

/// Open recalls of one product.
const MAX_RECALLS: usize = 64;
/// Units that one transaction of a recall looks at.
pub(super) const PAGE: usize = 200;
const MAX_SCOPE: usize = 200;

/// What the guards have to know of an open recall: `recallOf~di~no`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OpenRecall {
    pub no: String,
    pub scope: Scope,
}

pub(super) fn open_recalls(call: &mut Call<'_>, di: &str) -> Result<Vec<OpenRecall>, Failure> {
    call.stub
        .range_composite("recallOf", &[di], MAX_RECALLS)?
        .iter()
        .map(|entry| decode("recall", &entry.value))
        .collect()
}

pub(super) fn is_recalled(call: &mut Call<'_>, unit: &UnitId) -> Result<bool, Failure> {
    Ok(open_recalls(call, &unit.di)?
        .iter()
        .any(|recall| recall.scope.covers(&unit.lot, Some(&unit.serial))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    no: String,
    class: RecallClass,
    di: String,
    scope: Scope,
}

fn check_scope(scope: &mut Scope) -> Result<(), Failure> {
    match scope {
        Scope::All => Ok(()),
        Scope::Lots(lots) => {
            fields::count("scope.lots", lots.len(), MAX_SCOPE)?;
            lots.sort();
            lots.dedup();
            lots.iter().try_for_each(|lot| lot_or_serial("lot", lot))
        }
        Scope::Units(units) => {
            fields::count("scope.units", units.len(), MAX_SCOPE)?;
            units.sort();
            units.dedup();
            units
                .iter()
                .try_for_each(|unit| lot_or_serial("lot", &unit.lot))
        }
    }
}

/// The opener's right: a regulator's recall desk, or the maker's vigilance for its own product.
fn need_opener(call: &mut Call<'_>, registrant: &str) -> Result<(), Failure> {
    call.require(&[Part::Regulator, Part::Maker], &["recall", "vigilance"])?;
    let msp = call.msp().to_owned();
    if call.config()?.plays(&msp, Part::Regulator) {
        return call.require_role(&["recall"]);
    }
    call.require_role(&["vigilance"])?;
    if registrant != msp {
        return Err(Failure::forbidden(
            "NOT_REGISTRANT",
            format!("the product is registered by {registrant}"),
        ));
    }
    Ok(())
}

pub(super) fn open(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let mut args: Open = call.args()?;
    fields::code("no", &args.no)?;
    check_scope(&mut args.scope)?;
    let product = load_product(call, &args.di)?;
    need_opener(call, &product.registrant)?;
    if call.exists("recall", &[&args.no])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("recall {} exists", args.no),
        ));
    }
    if open_recalls(call, &product.di)?.len() >= MAX_RECALLS {
        return Err(Failure::rule(
            "TOO_MANY_RECALLS",
            format!("{} has {MAX_RECALLS} open recalls", product.di),
        ));
    }
    if let Scope::Lots(lots) = &args.scope {
        for lot in lots {
            if !call.exists("lot", &[&product.di, lot])? {
                return Err(Failure::rule(
                    "UNKNOWN_LOT",
                    format!("no lot {lot} of {}", product.di),
                ));
            }
        }
    }
    let mut recall = Recall {
        no: args.no,
        di: product.di,
        class: args.class,
        scope: args.scope,
        opener: call.msp().to_owned(),
        state: RecallState::Open,
        hits: 0,
        complete: false,
        cursor: None,
        at: call.now,
    };
    let entry = OpenRecall {
        no: recall.no.clone(),
        scope: recall.scope.clone(),
    };
    call.store("recallOf", &[&recall.di, &recall.no], &entry)?;
    page(call, &mut recall)?;
    answer(call, &recall, "RecallOpened")
}

fn answer(call: &mut Call<'_>, recall: &Recall, event: &'static str) -> Result<Outcome, Failure> {
    call.store("recall", &[&recall.no], recall)?;
    let state = match (recall.state, recall.complete) {
        (RecallState::Closed, _) => "Closed",
        (RecallState::Open, true) => "Open",
        // More units to look at: ContinueRecall.
        (RecallState::Open, false) => "Opening",
    };
    Ok(Outcome::changed(&recall.no, state).event(
        call,
        event,
        &recall.no,
        state,
        &recall.hits.to_string(),
    ))
}

/// Looks at the next units of the scope and writes a hit for each.
fn page(call: &mut Call<'_>, recall: &mut Recall) -> Result<(), Failure> {
    let (units, complete) = next_units(call, recall)?;
    for unit in &units {
        let [di, lot, serial] = unit.key();
        let hit = Hit {
            action: None,
            by: None,
            at: call.now,
        };
        call.store("hit", &[&recall.no, di, lot, serial], &hit)?;
        call.index("openHit", &[&recall.no, di, lot, serial])?;
    }
    recall.hits = recall.hits.saturating_add(units.len() as u32);
    recall.complete = complete;
    recall.cursor = units.last().cloned().or(recall.cursor.take());
    Ok(())
}

fn next_units(call: &mut Call<'_>, recall: &Recall) -> Result<(Vec<UnitId>, bool), Failure> {
    let prefixes: Vec<Vec<&str>> = match &recall.scope {
        Scope::All => vec![vec![&recall.di]],
        Scope::Lots(lots) => lots.iter().map(|lot| vec![&*recall.di, lot]).collect(),
        Scope::Units(units) => {
            let mut found = Vec::with_capacity(units.len());
            for unit in units {
                let id = UnitId {
                    di: recall.di.clone(),
                    lot: unit.lot.clone(),
                    serial: unit.serial.clone(),
                };
                if !call.exists("unit", &id.key())? {
                    return Err(Failure::rule("UNKNOWN_SERIAL", format!("no unit {id}")));
                }
                found.push(id);
            }
            return Ok((found, true));
        }
    };
    let after = match &recall.cursor {
        Some(cursor) => {
            let mut key = composite_key("unit", &cursor.key())?;
            key.push('\u{0}');
            key
        }
        None => String::new(),
    };
    let mut found = Vec::new();
    for prefix in prefixes {
        let (start, end) = composite_range("unit", &prefix)?;
        let start = start.max(after.clone());
        if start >= end {
            continue;
        }
        // One more than the page, to know whether anything is left.
        let wanted = PAGE + 1 - found.len();
        for entry in call.stub.range(&start, &end, wanted)? {
            let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
            if let [di, lot, serial] = attributes[..] {
                found.push(UnitId {
                    di: di.to_owned(),
                    lot: lot.to_owned(),
                    serial: serial.to_owned(),
                });
            }
        }
        if found.len() > PAGE {
            found.truncate(PAGE);
            return Ok((found, false));
        }
    }
    Ok((found, true))
}

pub(super) fn load(call: &mut Call<'_>, no: &str) -> Result<Recall, Failure> {
    fields::code("no", no)?;
    call.load("recall", &[no])?
        .ok_or_else(|| Failure::not_found(format!("no recall {no}")))
}

fn need_open(call: &Call<'_>, recall: &Recall) -> Result<(), Failure> {
    if recall.state == RecallState::Open {
        return Ok(());
    }
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "recall {} is Closed, {} needs Open",
            recall.no,
            call.function()
        ),
    ))
}

fn own(call: &mut Call<'_>, no: &str) -> Result<Recall, Failure> {
    call.require(&[Part::Regulator, Part::Maker], &["recall", "vigilance"])?;
    let recall = load(call, no)?;
    if recall.opener != call.msp() {
        return Err(Failure::forbidden(
            "NOT_OPENER",
            format!("recall {no} was opened by {}", recall.opener),
        ));
    }
    need_open(call, &recall)?;
    Ok(recall)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByNo {
    no: String,
}

pub(super) fn carry_on(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByNo = call.args()?;
    let mut recall = own(call, &args.no)?;
    if recall.complete {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!("recall {} has looked at all units", recall.no),
        ));
    }
    page(call, &mut recall)?;
    answer(call, &recall, "RecallContinued")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledge {
    no: String,
    unit: UnitId,
    action: Action,
}

pub(super) fn acknowledge(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Provider, Part::Maker, Part::Distributor],
        &["supply", "shipping", "physician", "vigilance"],
    )?;
    let args: Acknowledge = call.args()?;
    let recall = load(call, &args.no)?;
    need_open(call, &recall)?;
    let id = unit_id(&args.unit)?;
    let [di, lot, serial] = id.key();
    let hit: Hit = call
        .load("hit", &[&recall.no, di, lot, serial])?
        .ok_or_else(|| {
            Failure::not_found(format!("unit {id} is not affected by recall {}", recall.no))
        })?;
    let mut unit = load_unit(call, &id)?;
    need_holder(call, &unit)?;
    if hit.action.is_some() {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!("unit {id} was acknowledged before"),
        ));
    }
    fits(&unit, args.action)?;
    if args.action == Action::Quarantined && unit.state != UnitState::Quarantined {
        unit.step(Step::Quarantine, call.now)?;
        unit.note = Some("RECALLED".to_owned());
        save_unit(call, &unit)?;
    }
    let hit = Hit {
        action: Some(args.action),
        by: Some(call.msp().to_owned()),
        at: call.now,
    };
    call.store("hit", &[&recall.no, di, lot, serial], &hit)?;
    call.unindex("openHit", &[&recall.no, di, lot, serial])?;
    let state = match args.action {
        Action::Quarantined => "Quarantined",
        Action::PatientNotified => "PatientNotified",
        Action::Explanted => "Explanted",
        Action::Returned => "Returned",
        Action::Destroyed => "Destroyed",
    };
    Ok(Outcome::changed(&recall.no, state).event(
        call,
        "RecallAcknowledged",
        &recall.no,
        state,
        &id.to_string(),
    ))
}

/// An action must be what the unit's state shows.
fn fits(unit: &Unit, action: Action) -> Result<(), Failure> {
    use UnitState::{
        Destroyed, Explanted, Implanted, InStock, InTransit, Manufactured, Quarantined,
    };
    let fits = match action {
        Action::Quarantined => matches!(unit.state, Manufactured | InStock | Quarantined),
        Action::PatientNotified => unit.state == Implanted,
        Action::Explanted => unit.state == Explanted,
        Action::Returned => unit.state == InTransit,
        Action::Destroyed => unit.state == Destroyed,
    };
    if fits {
        return Ok(());
    }
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "unit {} is {}, which {action:?} does not fit",
            unit.id,
            unit.state.name()
        ),
    ))
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByNo = call.args()?;
    let mut recall = own(call, &args.no)?;
    if !recall.complete {
        return Err(Failure::rule(
            "OPEN_HITS",
            format!(
                "recall {} has not looked at all units: ContinueRecall",
                recall.no
            ),
        ));
    }
    let open = call
        .stub
        .range_composite("openHit", &[&recall.no], MAX_UNITS)?
        .len();
    if open > 0 {
        let more = if open == MAX_UNITS { " or more" } else { "" };
        return Err(Failure::rule(
            "OPEN_HITS",
            format!(
                "{open}{more} units of recall {} are not acknowledged",
                recall.no
            ),
        ));
    }
    recall.state = RecallState::Closed;
    recall.at = call.now;
    call.unindex("recallOf", &[&recall.di, &recall.no])?;
    answer(call, &recall, "RecallClosed")
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByNo = call.args()?;
    Ok(Outcome::of(&load(call, &args.no)?))
}
