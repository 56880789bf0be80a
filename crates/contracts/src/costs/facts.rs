//! What the ledger knows that speaks for or against a claim that comes in.

use std::collections::BTreeSet;

use super::charge::{self, line_key};
use super::check::{Control, Facts, LineFacts};
use super::claim::{MAX_LINES, load};
use super::codes;
use super::episode::{coverage_key, stay_key};
use super::model::{Charge, ChargeState, Editions, Episode};
use super::money::Money;
use super::pair::{Pair, Pepper};
use super::private::{ChargeLine, ClaimDoc, ClaimLine, Coverage, Stay};
use super::tariff;
use crate::failure::Failure;
use crate::key::split_composite_key;
use crate::request::Call;
use crate::stub::StubError;

/// Patient, day and code: guessable, hence keyed.
pub(super) fn fingerprint(pepper: &Pepper, stay: &Stay, line: &ClaimLine) -> String {
    let day = line.date.to_string();
    pepper.tag(
        "line",
        &[
            &stay.sid_pay,
            &day,
            &line.system,
            &codes::normal(&line.code),
        ],
    )
}

/// Finds out what [`judge`] wants to know, and gives the charges that the claim bills.
pub(super) fn look(
    call: &mut Call<'_>,
    episode: &Episode,
    pepper: &Pepper,
    stay: &Stay,
    doc: &ClaimDoc,
    control: &str,
    old: Option<&str>,
) -> Result<(Facts, Vec<Charge>), Failure> {
    let nets = doc.submitted()?;
    let pair = episode.pair();
    let coverage: Option<Coverage> = call.read_private(&pair, &coverage_key(&episode.id))?;
    let mut charges = Vec::new();
    let mut lines = Vec::with_capacity(doc.lines.len());
    let (mut billed, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (n, line) in doc.lines.iter().enumerate() {
        let net = nets.as_ref().and_then(|nets| nets.get(n)).copied();
        let mut twice = false;
        match line.charge {
            Some(seq) => {
                let charge = charge_of(call, &pair, &episode.id, seq, line, n, net)?;
                let elsewhere =
                    charge.state == ChargeState::Claimed && charge.claim.as_deref() != old;
                twice = elsewhere || !billed.insert(seq);
                charges.push(charge);
            }
            None => needs_no_charge(call, &pair, line, n)?,
        }
        let print = fingerprint(pepper, stay, line);
        let others = call
            .stub
            .range_composite("fp", &[&pair.payer, &print], MAX_LINES)?;
        let mut on_others = false;
        for entry in others {
            let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
            on_others |= attributes.get(2).copied() != old;
        }
        let again = !seen.insert(print);
        lines.push(LineFacts {
            when: stay.when(line.date),
            covered: coverage.as_ref().is_some_and(|one| one.covers(line.date)),
            billed: twice,
            suspect: (on_others || again) && !charge::is_repeat(&line.modifiers),
        });
    }
    let facts = Facts {
        codes_known: all_known(call, doc)?,
        total_fits: nets.is_some(),
        control: control_seen(call, &pair, control, stay, old)?,
        lines,
    };
    Ok((facts, charges))
}

/// The charge that a line bills: posted, and as the line says.
fn charge_of(
    call: &mut Call<'_>,
    pair: &Pair,
    epi: &str,
    seq: u32,
    line: &ClaimLine,
    n: usize,
    net: Option<Money>,
) -> Result<Charge, Failure> {
    let charge = charge::load(call, epi, seq)?;
    if charge.state == ChargeState::Reversed {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!("charge {epi}/{seq} is Reversed"),
        ));
    }
    let posted: ChargeLine = call.must_read(pair, &line_key(epi, seq))?;
    // Without a total that fits, the first line has no amount to compare.
    let net = net.or(line.net).unwrap_or(posted.amount);
    if charge::agrees(&posted, line, net) {
        return Ok(charge);
    }
    Err(Failure::rule(
        "CHARGE_DIFFERS",
        format!(
            "line {} is not what charge {epi}/{seq} says of day, code, modifiers or amount",
            n + 1
        ),
    ))
}

/// A line from elsewhere brings its own evidence, and is possible only as long as the provider has
/// no price list in force: its lines are charges then.
fn needs_no_charge(
    call: &mut Call<'_>,
    pair: &Pair,
    line: &ClaimLine,
    n: usize,
) -> Result<(), Failure> {
    if let Some(list) = tariff::list_on(call, &pair.provider, line.date)? {
        return Err(Failure::rule(
            "NO_CHARGE",
            format!(
                "line {} bills no charge, and prices {} of {} are in force",
                n + 1,
                list.version,
                pair.provider
            ),
        ));
    }
    charge::check_evidence(line.evidence.as_ref().unwrap_or(&Default::default()))?;
    if line.evidence.as_ref().is_some_and(|e| e.unit.is_some()) {
        return Err(Failure::rule(
            "NO_CHARGE",
            format!("line {} is about a device: post a charge for it", n + 1),
        ));
    }
    Ok(())
}

fn all_known(call: &mut Call<'_>, doc: &ClaimDoc) -> Result<bool, Failure> {
    // Diagnoses are of the last day of the claim.
    let last = doc.lines.iter().map(|line| line.date).max();
    let diagnoses = doc
        .diagnoses
        .iter()
        .filter_map(|one| Some((&one.system, &one.code, one.proof.as_ref(), last?)));
    let lines = doc
        .lines
        .iter()
        .map(|line| (&line.system, &line.code, line.proof.as_ref(), line.date));
    for (system, code, proof, date) in diagnoses.chain(lines) {
        let editions: Option<Editions> = call.load("codes", &[system])?;
        if !codes::is_known(editions.as_ref(), (system, code), proof, date) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn control_seen(
    call: &mut Call<'_>,
    pair: &Pair,
    control: &str,
    stay: &Stay,
    old: Option<&str>,
) -> Result<Control, Failure> {
    let Some(id) = call.load::<String>("ctl", &[&pair.payer, control])? else {
        return Ok(Control::New);
    };
    if Some(id.as_str()) == old {
        return Ok(Control::New);
    }
    let other = load(call, &id)?;
    let of: Stay = call.must_read(pair, &stay_key(&other.epi))?;
    Ok(if of.sid_pay == stay.sid_pay {
        Control::Seen
    } else {
        Control::OtherMember
    })
}
