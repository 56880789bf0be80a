//! The sums of an episode, for hospital, payer and patient, and what is left over when they are
//! compared: nothing.

use serde::Serialize;

use super::adjudicate::Totals;
use super::model::ChargeState;
use super::money::{Money, MoneyError};

/// What counts of one live claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClaimSums {
    /// Its payment was made.
    pub settled: bool,
    pub total: Money,
    /// Lines that bill no charge.
    pub uncharged: Money,
    /// `None` as long as nothing is decided.
    pub decided: Option<Totals>,
    pub returned: Money,
}

/// Amounts of an episode in 1/10 000 of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Sums {
    /// Charges that were not reversed.
    pub charged: Money,
    /// Claimed without a charge.
    pub uncharged: Money,
    /// Charges on no claim.
    pub unclaimed: Money,
    /// Totals of live claims.
    pub submitted: Money,
    /// Of these: not decided.
    pub pending: Money,
    pub allowed: Money,
    pub disallowed: Money,
    pub hospital: Hospital,
    pub insurer: Insurer,
    pub patient: Patient,
    /// What the comparison of independent sums leaves. `[0, 0, 0, 0]`.
    pub residue: [Money; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hospital {
    /// Charged, or claimed without a charge.
    pub billed: Money,
    /// From the insurer, less what went back.
    pub received: Money,
    /// Decided and not paid yet.
    pub due_from_insurer: Money,
    pub due_from_patient: Money,
    /// Disallowed, or gone back.
    pub written_off: Money,
    /// Not claimed or not decided.
    pub open: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Insurer {
    /// Its share of what is allowed.
    pub owed: Money,
    pub paid: Money,
    pub to_pay: Money,
    pub returned: Money,
    /// Paid less what went back.
    pub net: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Patient {
    /// The patient's share of what is allowed.
    pub share: Money,
}

impl Sums {
    /// Whether all residues are zero.
    #[cfg(test)]
    pub fn reconcile(&self) -> bool {
        self.residue == [Money::ZERO; 4]
    }
}

/// Adds up charges and live claims.
pub(super) fn add_up(
    charges: &[(ChargeState, Money)],
    claims: &[ClaimSums],
) -> Result<Sums, MoneyError> {
    let charges_in = |wanted: &[ChargeState]| {
        let found = charges.iter().filter(|(state, _)| wanted.contains(state));
        Money::sum(found.map(|(_, amount)| *amount))
    };
    let claims_with = |amount: &dyn Fn(&ClaimSums) -> Money| Money::sum(claims.iter().map(amount));
    let decided = |amount: &dyn Fn(&Totals) -> Money| {
        claims_with(&|claim| claim.decided.as_ref().map_or(Money::ZERO, amount))
    };
    let part_paid = |settled: bool| {
        claims_with(&|claim| match &claim.decided {
            Some(totals) if claim.settled == settled => totals.paid,
            _ => Money::ZERO,
        })
    };
    let charged = charges_in(&[ChargeState::Posted, ChargeState::Claimed])?;
    let unclaimed = charges_in(&[ChargeState::Posted])?;
    let uncharged = claims_with(&|claim| claim.uncharged)?;
    let submitted = claims_with(&|claim| claim.total)?;
    let pending = claims_with(&|claim| match claim.decided {
        Some(_) => Money::ZERO,
        None => claim.total,
    })?;
    let allowed = decided(&|totals| totals.allowed)?;
    let disallowed = decided(&|totals| totals.disallowed)?;
    let returned = claims_with(&|claim| claim.returned)?;
    let insurer = Insurer {
        owed: decided(&|totals| totals.paid)?,
        paid: part_paid(true)?,
        to_pay: part_paid(false)?,
        returned,
        net: part_paid(true)?.minus(returned)?,
    };
    let patient = Patient {
        share: decided(&|totals| totals.patient)?,
    };
    let hospital = Hospital {
        billed: charged.plus(uncharged)?,
        received: insurer.net,
        due_from_insurer: insurer.to_pay,
        due_from_patient: patient.share,
        written_off: disallowed.plus(returned)?,
        open: unclaimed.plus(pending)?,
    };
    let accounted = Money::sum([
        hospital.received,
        hospital.due_from_insurer,
        hospital.due_from_patient,
        hospital.written_off,
        hospital.open,
    ])?;
    let residue = [
        hospital.billed.minus(accounted)?,
        submitted.minus(Money::sum([pending, allowed, disallowed])?)?,
        allowed.minus(insurer.owed.plus(patient.share)?)?,
        insurer.owed.minus(insurer.paid.plus(insurer.to_pay)?)?,
    ];
    Ok(Sums {
        charged,
        uncharged,
        unclaimed,
        submitted,
        pending,
        allowed,
        disallowed,
        hospital,
        insurer,
        patient,
        residue,
    })
}
