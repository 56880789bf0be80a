//! The waste bag that a destroyed unit went into.

use serde::{Deserialize, Serialize};

use super::lot::MAX_UNITS;
use super::model::{Unit, UnitId};
use crate::failure::Failure;
use crate::fields;
use crate::key::{composite_key, composite_range, split_composite_key};
use crate::request::{Call, Outcome, decode, to_json};
use crate::roles::Part;
use crate::stub::StubError;

/// What this contract has to know of a bag of the waste contract.
#[derive(Deserialize)]
struct Bag {
    generator: String,
    state: String,
}

/// A provider's bag has to be one of its own that is still open to it, where the configuration
/// names the contract to ask: 422 `UNKNOWN_BAG`, `BAG_GONE`. The bag is read in this transaction,
/// so that one that is put on a manifest meanwhile makes the transaction invalid.
pub(super) fn need_bag(call: &mut Call<'_>, id: &str) -> Result<(), Failure> {
    let contract = call.config()?.waste_contract.clone();
    let msp = call.msp().to_owned();
    if contract.is_empty() || !call.config()?.plays(&msp, Part::Provider) {
        return Ok(());
    }
    let args = [
        b"ReadBag".to_vec().into(),
        to_json(&serde_json::json!({ "id": id })).into(),
    ];
    let answer = call.stub.invoke(&contract, &args)?;
    if matches!(answer.status, 403 | 404) {
        return Err(Failure::rule(
            "UNKNOWN_BAG",
            format!("{contract} knows no bag {id} of {msp}: seal it first"),
        ));
    }
    if !answer.is_endorsable() {
        return Err(Failure::new(
            500,
            "WASTE_CONTRACT",
            format!("{contract} does not answer: {}", answer.message),
        ));
    }
    let bag: Bag = decode("bag", &answer.payload)?;
    if bag.generator != msp {
        return Err(Failure::rule(
            "UNKNOWN_BAG",
            format!("bag {id} is not one of {msp}"),
        ));
    }
    if bag.state != "Sealed" {
        return Err(Failure::rule(
            "BAG_GONE",
            format!("bag {id} is {}, nothing more goes into it", bag.state),
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnitsInBag {
    bag_id: String,
    #[serde(default)]
    bookmark: Option<UnitId>,
}

#[derive(Serialize)]
struct Found {
    units: Vec<Unit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<UnitId>,
}

/// The units that were destroyed into a bag.
pub(super) fn units(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: UnitsInBag = call.args()?;
    fields::id("bagId", &args.bag_id)?;
    let (mut start, end) = composite_range("inBag", &[&args.bag_id])?;
    if let Some(bookmark) = &args.bookmark {
        let [di, lot, serial] = bookmark.key();
        start = composite_key("inBag", &[&args.bag_id, di, lot, serial])?;
        start.push('\u{0}');
    }
    let mut found = call.stub.range(&start, &end, MAX_UNITS + 1)?;
    let more = found.len() > MAX_UNITS;
    found.truncate(MAX_UNITS);
    let mut units: Vec<Unit> = Vec::with_capacity(found.len());
    for entry in found {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        if let [_, di, lot, serial] = attributes[..] {
            units.extend(call.load::<Unit>("unit", &[di, lot, serial])?);
        }
    }
    let bookmark = units.last().filter(|_| more).map(|unit| unit.id.clone());
    Ok(Outcome::of(&Found { units, bookmark }))
}
