//! Payment, once, and money that goes back: at most what was paid.

use serde::Deserialize;

use super::adjudicate::{decision_key, submitted};
use super::claim::{finish, load, need_payer, need_provider};
use super::model::{Claim, Step};
use super::money::Money;
use super::private::{Decision, Return, Returns};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Repayments of one claim.
const MAX_RETURNS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pay {
    id: String,
    remit_ref: String,
}

/// Says that what was decided is paid, with a remittance. Once for ever.
pub(super) fn pay(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Payer], &["cashier"])?;
    let args: Pay = call.args()?;
    fields::code("remitRef", &args.remit_ref)?;
    let mut claim = load(call, &args.id)?;
    need_payer(call, &claim.payer)?;
    if claim.state.is_settled() {
        return Err(Failure::conflict(
            "ALREADY_PAID",
            format!("claim {} is {}", claim.id, claim.state.name()),
        ));
    }
    claim.step(Step::Pay)?;
    // Nothing is paid that this peer could not have added up.
    let decision: Decision = call.must_read(&claim.pair(), &decision_key(&claim.id))?;
    let submitted = submitted(call, &claim)?;
    super::adjudicate::decide(&submitted, &decision, None)?;
    claim.remit_ref = Some(args.remit_ref);
    finish(call, claim, "ClaimPaid")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount: Money,
    salt: String,
}

const AMOUNT_SHAPE: &str = r#"{"amount":1/10000,"salt": at least 32 hexadecimal digits}"#;

/// The provider pays back.
pub(super) fn refund(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: Back = call.args()?;
    let claim = load(call, &args.id)?;
    need_provider(call, &claim.provider)?;
    give_back(call, claim, args.reason, "Refund", "ClaimRefunded")
}

/// The payer takes back.
pub(super) fn recover(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Payer], &["fraud"])?;
    let args: Back = call.args()?;
    let claim = load(call, &args.id)?;
    need_payer(call, &claim.payer)?;
    give_back(call, claim, args.reason, "Recover", "ClaimRecovered")
}

pub(super) fn returns_key(id: &str) -> String {
    format!("back.{id}")
}

fn give_back(
    call: &mut Call<'_>,
    mut claim: Claim,
    reason: String,
    by: &str,
    event: &'static str,
) -> Result<Outcome, Failure> {
    fields::code("reason", &reason)?;
    let Amount { amount, salt } = call.needed("amount", AMOUNT_SHAPE)?;
    fields::salt(&salt)?;
    if amount <= Money::ZERO {
        return Err(Failure::rule("AMOUNT", "nothing, or less, goes back"));
    }
    claim.step(Step::Return)?;
    let pair = claim.pair();
    let decision: Decision = call.must_read(&pair, &decision_key(&claim.id))?;
    let key = returns_key(&claim.id);
    let mut all: Returns = call.read_private(&pair, &key)?.unwrap_or_default();
    let before = Money::sum(all.returns.iter().map(|one| one.amount))?;
    if before.plus(amount)? > decision.payment {
        return Err(Failure::rule(
            "OVER_RECOVERED",
            format!("more would go back than was paid for claim {}", claim.id),
        ));
    }
    fields::count("repayments", all.returns.len() + 1, MAX_RETURNS)?;
    all.returns.push(Return {
        by: by.to_owned(),
        amount,
        reason: reason.clone(),
        at: call.now,
    });
    all.salt = salt;
    call.write_private(&pair, &key, &all)?;
    claim.reason = Some(reason);
    finish(call, claim, event)
}
