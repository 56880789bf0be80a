//! The waste bag that a destroyed unit went into.

use serde::Deserialize;

use super::model::UnitId;
use super::trace::unit_page;
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

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
    let answer = call.ask(&contract, "ReadBag", &serde_json::json!({ "id": id }))?;
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

/// The units that were destroyed into a bag.
pub(super) fn units(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: UnitsInBag = call.args()?;
    fields::id("bagId", &args.bag_id)?;
    let page = unit_page(call, "inBag", &args.bag_id, args.bookmark.as_ref())?;
    Ok(Outcome::of(&page))
}
