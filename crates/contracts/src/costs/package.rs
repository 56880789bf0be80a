//! The package (DRG) of a claim, which both sides have to find alike before it is paid.

use serde::Deserialize;

use super::claim::{load, need_provider, write};
use super::model::{Drg, Step};
use super::money::{Money, MoneyError};
use super::private::{DRG_SHAPE, DrgDoc};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// What a package pays: weight times rate, rounded half to even, but never more than was asked for.
pub(super) fn package_price(doc: &DrgDoc, submitted: Money) -> Result<Money, MoneyError> {
    Ok(doc.rate.weighted(doc.weight)?.min(submitted))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn drg_key(id: &str, msp: &str) -> String {
    format!("drg.{id}.{msp}")
}

/// One side's package. When both have said the same it is agreed; when not, that is a verdict, and
/// either side may say another.
pub(super) fn check_drg(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Payer], &["billing", "adjudicator"])?;
    let args: ById = call.args()?;
    let doc: DrgDoc = call.needed("drg", DRG_SHAPE)?;
    fields::salt(&doc.salt)?;
    for (name, value) in [
        ("grouper", &doc.grouper),
        ("version", &doc.version),
        ("drg", &doc.drg),
    ] {
        fields::code(name, value)?;
    }
    if doc.weight == 0 || doc.rate.is_negative() {
        return Err(Failure::rule(
            "AMOUNT",
            "a package has a weight above zero and a rate not below it",
        ));
    }
    let mut claim = load(call, &args.id)?;
    let by_payer = call.msp() == claim.payer;
    if by_payer {
        call.require(&[Part::Payer], &["adjudicator"])?;
    } else {
        need_provider(call, &claim.provider)?;
        call.require(&[Part::Provider], &["billing"])?;
    }
    claim.step(Step::AgreeDrg)?;
    let mut drg: Drg = claim.drg.take().unwrap_or_default();
    if drg.is_agreed() {
        return Err(Failure::conflict(
            "DRG_AGREED",
            format!("the package of claim {} is agreed", claim.id),
        ));
    }
    let pair = claim.pair();
    let pepper = call.pepper(&pair)?;
    // With the claim's id: equal packages of two claims look different.
    let tag = pepper.tag(
        "drg",
        &[
            &claim.id,
            &doc.grouper,
            &doc.version,
            &doc.drg,
            &doc.weight.to_string(),
            &doc.rate.units().to_string(),
        ],
    );
    let side = call.msp().to_owned();
    call.write_private(&pair, &drg_key(&claim.id, &side), &doc)?;
    let mine = if by_payer {
        &mut drg.payer
    } else {
        &mut drg.provider
    };
    *mine = Some(tag);
    let both = drg.provider.is_some() && drg.payer.is_some();
    let agreed = drg.is_agreed();
    claim.drg = Some(drg);
    write(call, &mut claim)?;
    let state = claim.state.name();
    let (outcome, event) = match (both, agreed) {
        (true, false) => (
            Outcome::verdict(&claim.id, state, "Disagreed", "DRG_DISAGREE"),
            "DrgDisagreed",
        ),
        (true, true) => (Outcome::changed(&claim.id, state), "DrgAgreed"),
        (false, _) => (Outcome::changed(&claim.id, state), "DrgProposed"),
    };
    Ok(outcome.event(call, event, &claim.id, state, &claim.epi))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_pays_weight_times_rate_and_no_more_than_was_asked_for() {
        let doc = |weight, rate| DrgDoc {
            grouper: "MS-DRG".to_owned(),
            version: "43.1".to_owned(),
            drg: "293".to_owned(),
            weight,
            rate: Money::from_units(rate),
            salt: String::new(),
        };
        let most = Money::from_units(i64::MAX);
        let price = |weight, rate| package_price(&doc(weight, rate), most).unwrap().units();
        assert_eq!(price(6_734, 65_000_000), 43_771_000);
        assert_eq!(price(10_001, 3), 3);
        assert_eq!(
            package_price(&doc(20_000, 100), Money::from_units(150)).unwrap(),
            Money::from_units(150)
        );
    }
}
