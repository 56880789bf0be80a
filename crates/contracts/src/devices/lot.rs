//! Lots and the units made in them.

use jiff::civil::Date;
use serde::Deserialize;

use super::model::{Lot, Product, Unit, UnitId, UnitState, no_lot};
use super::product::{load as load_product, need_registrant};
use super::recall::open_recalls;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::gs1::udi::is_lot_or_serial;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Units that one transaction touches at most.
pub(crate) const MAX_UNITS: usize = 200;

/// A lot or serial as GS1 allows them.
pub(super) fn lot_or_serial(name: &str, text: &str) -> Result<(), Failure> {
    if is_lot_or_serial(text) {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} has 1 to 20 characters of GS1's set 82"
        )))
    }
}

fn need_certified(call: &Call<'_>, product: &Product) -> Result<(), Failure> {
    if product.in_force(call.now) {
        return Ok(());
    }
    Err(Failure::rule(
        "NOT_CERTIFIED",
        format!(
            "product {} is {}, or its certificate is not in force",
            product.di,
            product.state.name()
        ),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterLot {
    di: String,
    #[serde(default = "no_lot")]
    lot: String,
    #[serde(default)]
    mfg: Option<Date>,
    #[serde(default)]
    exp: Option<Date>,
    qty: u32,
}

pub(super) fn register_lot(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Maker], &["shipping"])?;
    let args: RegisterLot = call.args()?;
    lot_or_serial("lot", &args.lot)?;
    if args.qty == 0 {
        return Err(Failure::malformed("qty is at least 1"));
    }
    let product = load_product(call, &args.di)?;
    need_registrant(call, &product)?;
    need_certified(call, &product)?;
    for (wanted, found, name) in [
        (product.label.made, args.mfg, "mfg"),
        (product.label.expires, args.exp, "exp"),
    ] {
        if wanted && found.is_none() {
            return Err(Failure::rule(
                "MISSING_PI",
                format!(
                    "the label of {} has a date {name}, the lot none",
                    product.di
                ),
            ));
        }
    }
    if let (Some(made), Some(expires)) = (args.mfg, args.exp)
        && expires <= made
    {
        return Err(Failure::rule(
            "DATES",
            format!("exp {expires} is not after mfg {made}"),
        ));
    }
    if let Some(made) = args.mfg
        && made > date_of(call.now)
    {
        return Err(Failure::rule(
            "DATES",
            format!("mfg {made} is in the future"),
        ));
    }
    if call.exists("lot", &[&product.di, &args.lot])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("lot {} of {} exists", args.lot, product.di),
        ));
    }
    let lot = Lot {
        di: product.di,
        lot: args.lot,
        made: args.mfg,
        expires: args.exp,
        quantity: args.qty,
        registered: 0,
    };
    call.store("lot", &[&lot.di, &lot.lot], &lot)?;
    let id = format!("{}/{}", lot.di, lot.lot);
    Ok(Outcome::changed(&id, "Manufactured").event(
        call,
        "LotRegistered",
        &id,
        "Manufactured",
        &lot.quantity.to_string(),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterUnits {
    di: String,
    #[serde(default = "no_lot")]
    lot: String,
    /// Serials of the label; or, for products without, how many units to number `#1`, `#2`, ….
    #[serde(default)]
    serials: Vec<String>,
    #[serde(default)]
    count: Option<u32>,
}

pub(super) fn register_units(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Maker], &["shipping"])?;
    let args: RegisterUnits = call.args()?;
    let product = load_product(call, &args.di)?;
    need_registrant(call, &product)?;
    need_certified(call, &product)?;
    let mut lot: Lot = call
        .load("lot", &[&product.di, &args.lot])?
        .ok_or_else(|| Failure::not_found(format!("no lot {} of {}", args.lot, product.di)))?;
    let serials = match (product.label.serial, args.count) {
        (true, None) => {
            for serial in &args.serials {
                lot_or_serial("serials", serial)?;
            }
            args.serials
        }
        (false, Some(count)) if args.serials.is_empty() && count as usize <= MAX_UNITS => {
            let first = lot.registered.saturating_add(1);
            (first..first.saturating_add(count))
                .map(|n| format!("#{n}"))
                .collect()
        }
        _ => {
            return Err(Failure::malformed(format!(
                "units of a product with serial numbers on its label are given as serials, others as a count of at most {MAX_UNITS}"
            )));
        }
    };
    fields::count("serials", serials.len(), MAX_UNITS)?;
    let registered = lot.registered.saturating_add(serials.len() as u32);
    if registered > lot.quantity {
        return Err(Failure::rule(
            "LOT_OVERRUN",
            format!(
                "lot {} was made of {} units, {registered} would be registered",
                lot.lot, lot.quantity
            ),
        ));
    }
    let recalls = open_recalls(call, &product.di)?;
    let holder = call.msp().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for serial in &serials {
        if recalls
            .iter()
            .any(|r| r.scope.covers(&lot.lot, Some(serial)))
        {
            return Err(Failure::rule(
                "RECALLED",
                format!("lot {} of {} is recalled", lot.lot, product.di),
            ));
        }
        let id = UnitId {
            di: product.di.clone(),
            lot: lot.lot.clone(),
            serial: serial.clone(),
        };
        if !seen.insert(serial) || call.exists("unit", &id.key())? {
            return Err(Failure::conflict("DUPLICATE", format!("unit {id} exists")));
        }
        let unit = Unit {
            id,
            state: UnitState::Manufactured,
            holder: holder.clone(),
            to: None,
            sscc: None,
            procedure: None,
            patient_commit: None,
            used: false,
            note: None,
            at: call.now,
        };
        call.store("unit", &unit.id.key(), &unit)?;
        let [di, lot, serial] = unit.id.key();
        call.index("heldBy", &[&holder, di, lot, serial])?;
    }
    lot.registered = registered;
    call.store("lot", &[&lot.di, &lot.lot], &lot)?;
    let id = format!("{}/{}", lot.di, lot.lot);
    Ok(Outcome::changed(&id, "Manufactured").event(
        call,
        "UnitsRegistered",
        &id,
        "Manufactured",
        &serials.len().to_string(),
    ))
}
