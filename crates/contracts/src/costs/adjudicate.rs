//! The payer's decision, line by line.

use serde::Deserialize;

use super::claim::{doc_key, finish, load, need_payer};
use super::model::{Claim, ClaimState, Step};
use super::money::{Money, MoneyError};
use super::package::{drg_key, package_price};
use super::pair::commit;
use super::private::{ClaimDoc, DECISION_SHAPE, Decision, DrgDoc};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Reasons of one line.
const MAX_REASONS: usize = 8;

/// Sums of a claim, in 1/10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub submitted: Money,
    pub allowed: Money,
    pub disallowed: Money,
    pub paid: Money,
    pub patient: Money,
}

impl Totals {
    /// Adds up a decision's lines.
    pub fn of(submitted: &[Money], decision: &Decision) -> Result<Self, MoneyError> {
        let mut totals = Totals {
            submitted: Money::sum(submitted.iter().copied())?,
            ..Totals::default()
        };
        for line in &decision.lines {
            let asked = line.line.checked_sub(1).and_then(|n| submitted.get(n));
            let asked = asked.copied().unwrap_or_default();
            totals.allowed = totals.allowed.plus(line.allowed)?;
            totals.disallowed = totals.disallowed.plus(asked.minus(line.allowed)?)?;
            totals.paid = totals.paid.plus(line.paid)?;
            totals.patient = totals.patient.plus(line.patient)?;
        }
        Ok(totals)
    }
}

/// Whether a decision is one: it speaks of each line once, allows no more than was asked for, says
/// why where it allows less, and its sums agree. `package` is what an agreed package pays, to
/// within one unit, unless nothing is allowed at all.
pub(super) fn decide(
    submitted: &[Money],
    decision: &Decision,
    package: Option<Money>,
) -> Result<Totals, Failure> {
    let mut seen = vec![false; submitted.len()];
    for line in &decision.lines {
        let n = line.line;
        let place = n
            .checked_sub(1)
            .and_then(|n| Some((submitted.get(n)?, seen.get_mut(n)?)));
        let Some((asked, seen)) = place.filter(|(_, seen)| !**seen) else {
            return Err(Failure::rule(
                "LINES",
                format!("line {n} is not on the claim, or is decided twice"),
            ));
        };
        *seen = true;
        if [line.allowed, line.paid, line.patient]
            .into_iter()
            .any(Money::is_negative)
        {
            return Err(Failure::rule(
                "AMOUNT",
                format!("line {n} has an amount below zero"),
            ));
        }
        if line.allowed > *asked {
            return Err(Failure::rule(
                "ALLOWED",
                format!("line {n} allows more than was submitted"),
            ));
        }
        if line.paid.plus(line.patient)? != line.allowed {
            return Err(Failure::rule(
                "SHARES",
                format!("what line {n} pays and leaves to the patient is not what it allows"),
            ));
        }
        if line.reasons.len() > MAX_REASONS {
            return Err(Failure::malformed(format!(
                "a line has up to {MAX_REASONS} reasons"
            )));
        }
        for reason in &line.reasons {
            fields::code("reasons", reason)?;
        }
        if line.allowed < *asked && line.reasons.is_empty() {
            return Err(Failure::rule(
                "REASON",
                format!("line {n} allows less than was submitted and gives no reason"),
            ));
        }
    }
    if let Some(missing) = seen.iter().position(|seen| !seen) {
        return Err(Failure::rule(
            "LINES",
            format!("line {} is not decided", missing + 1),
        ));
    }
    let totals = Totals::of(submitted, decision)?;
    if totals.paid != decision.payment {
        return Err(Failure::rule(
            "PAYMENT",
            "the payment is not the sum of what the lines pay",
        ));
    }
    if let Some(package) = package
        && totals.allowed != Money::ZERO
        && totals.allowed.units().abs_diff(package.units()) > 1
    {
        return Err(Failure::rule(
            "DRG_PAYMENT",
            "what is allowed is not weight times rate of the agreed package",
        ));
    }
    Ok(totals)
}

/// The decision of the transient map, judged against the claim, and its totals.
pub(super) fn decision_on(
    call: &mut Call<'_>,
    claim: &Claim,
) -> Result<(Decision, Totals), Failure> {
    let decision: Decision = call.needed("decision", DECISION_SHAPE)?;
    fields::salt(&decision.salt)?;
    let submitted = submitted(call, claim)?;
    let package = match &claim.drg {
        Some(drg) if drg.is_agreed() => {
            let doc: DrgDoc = call.must_read(&claim.pair(), &drg_key(&claim.id, &claim.payer))?;
            Some(package_price(&doc, Money::sum(submitted.iter().copied())?)?)
        }
        _ => None,
    };
    let totals = decide(&submitted, &decision, package)?;
    let open = claim.drg.as_ref().is_some_and(|drg| !drg.is_agreed());
    if open && totals.allowed != Money::ZERO {
        return Err(Failure::conflict(
            "DRG_OPEN",
            format!(
                "the package of claim {} is not agreed: until then it can only be denied",
                claim.id
            ),
        ));
    }
    Ok((decision, totals))
}

/// What each line of an accepted claim asks for.
pub(super) fn submitted(call: &mut Call<'_>, claim: &Claim) -> Result<Vec<Money>, Failure> {
    let doc: ClaimDoc = call.must_read(&claim.pair(), &doc_key(&claim.id))?;
    // A claim whose total does not fit is rejected, and nothing is decided about it.
    Ok(doc.submitted()?.unwrap_or_default())
}

pub(super) fn decision_key(id: &str) -> String {
    format!("adj.{id}")
}

/// Puts a decision in force and takes the step that it means.
pub(super) fn enforce(
    call: &mut Call<'_>,
    claim: &mut Claim,
    decision: &Decision,
    totals: &Totals,
    (allow, deny): (Step, Step),
) -> Result<(), Failure> {
    claim.step(if totals.allowed == Money::ZERO {
        deny
    } else {
        allow
    })?;
    claim.decision = Some(commit(decision));
    call.write_private(&claim.pair(), &decision_key(&claim.id), decision)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

/// Decides a claim line by line. A claim of which nothing is allowed is denied.
pub(super) fn adjudicate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Payer], &["adjudicator"])?;
    let args: ById = call.args()?;
    let mut claim = load(call, &args.id)?;
    need_payer(call, &claim.payer)?;
    // The state first: what is wrong with the lines does not matter in another.
    claim.clone().step(Step::Allow)?;
    let (decision, totals) = decision_on(call, &claim)?;
    enforce(
        call,
        &mut claim,
        &decision,
        &totals,
        (Step::Allow, Step::Deny),
    )?;
    let event = match claim.state {
        ClaimState::Denied => "ClaimDenied",
        _ => "ClaimAdjudicated",
    };
    finish(call, claim, event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::private::LineDecision;
    use super::*;

    fn line(line: usize, allowed: i64, paid: i64, patient: i64, reasons: &[&str]) -> LineDecision {
        LineDecision {
            line,
            allowed: Money::from_units(allowed),
            paid: Money::from_units(paid),
            patient: Money::from_units(patient),
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    fn decision(payment: i64, lines: Vec<LineDecision>) -> Decision {
        Decision {
            lines,
            payment: Money::from_units(payment),
            salt: String::new(),
        }
    }

    #[test]
    fn a_decision_is_refused_for_the_first_thing_that_is_wrong() {
        let asked = [Money::from_units(100), Money::from_units(50)];
        let full = |n: usize| {
            line(
                n,
                if n == 1 { 100 } else { 50 },
                40,
                if n == 1 { 60 } else { 10 },
                &[],
            )
        };
        let cases = [
            (decision(80, vec![full(1), full(2)]), None, Ok(150)),
            (decision(80, vec![full(2), full(1)]), None, Ok(150)),
            (decision(40, vec![full(1)]), None, Err("LINES")),
            (decision(80, vec![full(1), full(1)]), None, Err("LINES")),
            (
                decision(40, vec![full(1), line(3, 0, 0, 0, &[])]),
                None,
                Err("LINES"),
            ),
            (
                decision(40, vec![full(1), line(0, 0, 0, 0, &[])]),
                None,
                Err("LINES"),
            ),
            (
                decision(40, vec![full(1), line(2, -1, 0, -1, &["x"])]),
                None,
                Err("AMOUNT"),
            ),
            (
                decision(91, vec![full(1), line(2, 51, 51, 0, &[])]),
                None,
                Err("ALLOWED"),
            ),
            (
                decision(40, vec![full(1), line(2, 50, 0, 49, &[])]),
                None,
                Err("SHARES"),
            ),
            (
                decision(40, vec![full(1), line(2, 49, 0, 49, &[])]),
                None,
                Err("REASON"),
            ),
            (
                decision(40, vec![full(1), line(2, 0, 0, 0, &["a b"])]),
                None,
                Err("MALFORMED"),
            ),
            (
                decision(40, vec![full(1), line(2, 0, 0, 0, &["45"; 9])]),
                None,
                Err("MALFORMED"),
            ),
            (
                decision(41, vec![full(1), line(2, 0, 0, 0, &["45"])]),
                None,
                Err("PAYMENT"),
            ),
            (
                decision(40, vec![full(1), line(2, 0, 0, 0, &["45"])]),
                Some(100),
                Ok(100),
            ),
            (
                decision(40, vec![full(1), line(2, 0, 0, 0, &["45"])]),
                Some(101),
                Ok(100),
            ),
            (
                decision(40, vec![full(1), line(2, 0, 0, 0, &["45"])]),
                Some(102),
                Err("DRG_PAYMENT"),
            ),
            (
                decision(
                    0,
                    vec![line(1, 0, 0, 0, &["45"]), line(2, 0, 0, 0, &["45"])],
                ),
                Some(102),
                Ok(0),
            ),
            (
                decision(
                    0,
                    vec![line(1, 100, i64::MAX, 1, &[]), line(2, 0, 0, 0, &["45"])],
                ),
                None,
                Err("OVERFLOW"),
            ),
        ];
        for (given, package, expected) in cases {
            let found = decide(&asked, &given, package.map(Money::from_units))
                .map(|totals| totals.allowed.units())
                .map_err(|failure| failure.code);
            assert_eq!(found, expected, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_adds_up(lines in proptest::collection::vec((0i64..1_000_000, 0u32..=100, 0u32..=100), 1..12)) {
            let asked: Vec<_> = lines.iter().map(|(asked, ..)| Money::from_units(*asked)).collect();
            let lines: Vec<_> = lines.iter().enumerate().map(|(n, (asked, share, paid))| {
                let allowed = asked * i64::from(*share) / 100;
                let paid = allowed * i64::from(*paid) / 100;
                line(n + 1, allowed, paid, allowed - paid, &["45"])
            }).collect();
            let payment = lines.iter().map(|l| l.paid.units()).sum();
            let totals = decide(&asked, &decision(payment, lines), None).unwrap();
            prop_assert_eq!(totals.submitted, totals.allowed.plus(totals.disallowed).unwrap());
            prop_assert_eq!(totals.allowed, totals.paid.plus(totals.patient).unwrap());
            prop_assert_eq!(totals.paid.units(), payment);
        }
    }
}
