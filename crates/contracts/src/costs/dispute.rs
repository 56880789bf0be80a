//! Disputes: first the payer answers, then on appeal the regulator, whose word is final.

use serde::Deserialize;

use super::adjudicate::{Totals, decision_key, decision_on, enforce, submitted};
use super::claim::{finish, load, need_payer, need_provider};
use super::episode::{self, stay_key};
use super::model::{Claim, ClaimState, Level, Step};
use super::pair::Pair;
use super::private::{Decision, Stay};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contest {
    id: String,
    reason: String,
}

/// Whether the caller speaks for the patient of an episode: a citizen with role `patient` whose
/// certificate has the pseudonym of the sector `pay`.
pub(super) fn need_patient(call: &mut Call<'_>, pair: &Pair, epi: &str) -> Result<(), Failure> {
    call.require(&[Part::Citizen], &["patient"])?;
    let stay: Stay = call.must_read(pair, &stay_key(epi))?;
    if call.stub.creator().attribute("hc.sidPay") == Some(stay.sid_pay.as_str()) {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PATIENT",
        format!(
            "{} needs hc.sidPay of the episode's patient",
            call.function()
        ),
    ))
}

fn contested(call: &mut Call<'_>) -> Result<(Claim, String), Failure> {
    call.require(&[Part::Provider, Part::Citizen], &["billing", "patient"])?;
    let args: Contest = call.args()?;
    fields::code("reason", &args.reason)?;
    let claim = load(call, &args.id)?;
    if call.role() == Some("patient") {
        need_patient(call, &claim.pair(), &claim.epi)?;
    } else {
        need_provider(call, &claim.provider)?;
    }
    episode::load(call, &claim.epi)?.must_be_open()?;
    Ok((claim, args.reason))
}

/// Asks the payer to think again, once.
pub(super) fn dispute(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let (mut claim, reason) = contested(call)?;
    claim.step(Step::Dispute)?;
    match claim.level {
        Level::None => {}
        Level::Payer => {
            return Err(Failure::conflict(
                "LEVEL",
                format!("the payer has answered about claim {}: Appeal", claim.id),
            ));
        }
        Level::Regulator => return Err(is_final(&claim)),
    }
    claim.level = Level::Payer;
    claim.reason = Some(reason);
    finish(call, claim, "ClaimDisputed")
}

fn is_final(claim: &Claim) -> Failure {
    Failure::conflict(
        "FINAL",
        format!("the regulator has decided about claim {}", claim.id),
    )
}

/// Asks the regulator, after the payer's answer or when that is late.
pub(super) fn appeal(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let (mut claim, reason) = contested(call)?;
    let waiting = claim.state == ClaimState::Disputed;
    claim.step(Step::Appeal)?;
    match claim.level {
        Level::None => {
            return Err(Failure::conflict(
                "LEVEL",
                format!("the payer is asked first about claim {}: Dispute", claim.id),
            ));
        }
        Level::Payer => {}
        Level::Regulator => return Err(is_final(&claim)),
    }
    if waiting && claim.due.is_some_and(|due| call.now <= due) {
        return Err(Failure::conflict(
            "NOT_DUE",
            format!(
                "the payer has until {} to answer about claim {}",
                claim.due.unwrap_or_default(),
                claim.id
            ),
        ));
    }
    claim.level = Level::Regulator;
    claim.reason = Some(reason);
    finish(call, claim, "ClaimAppealed")
}

#[derive(Deserialize)]
enum Answer {
    Upheld,
    Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    id: String,
    outcome: Answer,
}

/// Answers a dispute (payer) or an appeal (regulator): the decision stands, or another takes its
/// place.
pub(super) fn resolve(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Payer, Part::Regulator],
        &["adjudicator", "inspector", "auditor"],
    )?;
    let args: Resolve = call.args()?;
    let mut claim = load(call, &args.id)?;
    if claim.state == ClaimState::Appealed {
        call.require(&[Part::Regulator], &["inspector", "auditor"])?;
    } else {
        call.require(&[Part::Payer], &["adjudicator"])?;
        need_payer(call, &claim.payer)?;
    }
    claim.clone().step(Step::ResolveAllow)?;
    let (decision, totals) = match args.outcome {
        Answer::Changed => decision_on(call, &claim)?,
        Answer::Upheld => {
            let decision: Decision = call.must_read(&claim.pair(), &decision_key(&claim.id))?;
            let totals = Totals::of(&submitted(call, &claim)?, &decision)?;
            (decision, totals)
        }
    };
    let steps = (Step::ResolveAllow, Step::ResolveDeny);
    enforce(call, &mut claim, &decision, &totals, steps)?;
    finish(call, claim, "ClaimResolved")
}
