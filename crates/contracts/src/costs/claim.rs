//! Claims: submitted, replaced and voided by the provider.

use serde::Deserialize;

use super::charge;
use super::check::judge;
use super::episode::{self, stay_key};
use super::facts::{fingerprint, look};
use super::model::{
    Charge, ChargeState, ChargeStep, Claim, ClaimState, DUE_SECONDS, Episode, Level, Step,
};
use super::money::Money;
use super::pair::{Pair, Pepper, commit};
use super::private::{CLAIM_SHAPE, ClaimDoc, Stay};
use crate::failure::Failure;
use crate::fields::{self, date_of, sortable};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Lines of a claim (healthcare.md R9).
pub(super) const MAX_LINES: usize = 500;
const MAX_DIAGNOSES: usize = 25;

impl Claim {
    pub fn pair(&self) -> Pair {
        Pair::new(&self.provider, &self.payer)
    }
}

pub(super) fn doc_key(id: &str) -> String {
    format!("clm.{id}")
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Claim, Failure> {
    fields::id("id", id)?;
    call.load("claim", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no claim {id}")))
}

/// Refuses callers other than the payer with 403 `NOT_PAYER`.
pub(super) fn need_payer(call: &Call<'_>, payer: &str) -> Result<(), Failure> {
    if call.msp() == payer {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PAYER",
        format!("it is billed to {payer}, not to {}", call.msp()),
    ))
}

/// Refuses callers other than the provider with 403 `NOT_PROVIDER`.
pub(super) fn need_provider(call: &Call<'_>, provider: &str) -> Result<(), Failure> {
    if call.msp() == provider {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PROVIDER",
        format!("it is billed by {provider}, not by {}", call.msp()),
    ))
}

/// Writes a claim in its new state; the next step is due from now on.
pub(super) fn save(call: &mut Call<'_>, claim: &mut Claim) -> Result<(), Failure> {
    if let Some(due) = claim.due.take() {
        call.unindex("due", &[&claim.payer, &sortable(due), &claim.id])?;
    }
    if claim.state.is_due() {
        let due = call.now.saturating_add(DUE_SECONDS);
        call.index("due", &[&claim.payer, &sortable(due), &claim.id])?;
        claim.due = Some(due);
    }
    write(call, claim)
}

/// Writes a claim whose next step stays due when it was.
pub(super) fn write(call: &mut Call<'_>, claim: &mut Claim) -> Result<(), Failure> {
    claim.at = call.now;
    call.mark_pair(&claim.pair(), &claim.id)?;
    call.store("claim", &[&claim.id], claim)
}

/// [`save`] and an answer without a verdict.
pub(super) fn finish(
    call: &mut Call<'_>,
    mut claim: Claim,
    event: &'static str,
) -> Result<Outcome, Failure> {
    save(call, &mut claim)?;
    let state = claim.state.name();
    Ok(Outcome::changed(&claim.id, state).event(call, event, &claim.id, state, &claim.epi))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitClaim {
    id: String,
    epi: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplaceClaim {
    id: String,
    old_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VoidClaim {
    id: String,
    reason: String,
}

/// A claim of its own (X12 frequency 1).
pub(super) fn submit(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: SubmitClaim = call.args()?;
    let doc = doc_of(call)?;
    let episode = episode::load_own(call, &args.epi)?;
    take_in(call, args.id, &episode, doc, None)
}

/// A claim in the place of another (X12 frequency 7). When it is rejected, the other stays as it
/// is.
pub(super) fn replace(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: ReplaceClaim = call.args()?;
    let doc = doc_of(call)?;
    fields::id("oldId", &args.old_id)?;
    let mut old: Claim = call.load("claim", &[&args.old_id])?.ok_or_else(|| {
        Failure::rule(
            "NO_ORIGINAL",
            format!("no claim {} to be replaced", args.old_id),
        )
    })?;
    need_provider(call, &old.provider)?;
    old.step(Step::Replace)?;
    old.replaced_by = Some(args.id.clone());
    let episode = episode::load(call, &old.epi)?;
    take_in(call, args.id, &episode, doc, Some(old))
}

/// Takes a claim back (X12 frequency 8): its charges may be claimed again.
pub(super) fn void(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: VoidClaim = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut claim = load(call, &args.id)?;
    need_provider(call, &claim.provider)?;
    claim.step(Step::Void)?;
    release(call, &claim)?;
    claim.reason = Some(args.reason);
    finish(call, claim, "ClaimVoided")
}

/// The claim of the transient map, as far as it can be judged by itself.
fn doc_of(call: &Call<'_>) -> Result<ClaimDoc, Failure> {
    let doc: ClaimDoc = call.needed("claim", CLAIM_SHAPE)?;
    fields::salt(&doc.salt)?;
    fields::code("billing", &doc.billing)?;
    fields::code("control", &doc.control)?;
    fields::count("lines", doc.lines.len(), MAX_LINES)?;
    if doc.diagnoses.len() > MAX_DIAGNOSES {
        return Err(Failure::malformed(format!(
            "a claim has up to {MAX_DIAGNOSES} diagnoses"
        )));
    }
    let systems = doc.diagnoses.iter().map(|one| &one.system);
    for system in systems.chain(doc.lines.iter().map(|line| &line.system)) {
        fields::code("system", system)?;
    }
    let today = date_of(call.now);
    for (n, line) in doc.lines.iter().enumerate() {
        charge::check_modifiers(&line.modifiers)?;
        if line.net.is_none() && n > 0 {
            return Err(Failure::malformed(format!(
                "line {} has no net, only the first may lack it",
                n + 1
            )));
        }
        if line.net.is_some_and(Money::is_negative) {
            return Err(Failure::rule(
                "AMOUNT",
                format!("line {} asks for less than nothing", n + 1),
            ));
        }
        if line.date > today {
            return Err(Failure::rule(
                "DATE",
                format!("line {} is of a day in the future", n + 1),
            ));
        }
    }
    if doc.total.is_negative() {
        return Err(Failure::rule("AMOUNT", "the total is below zero"));
    }
    Ok(doc)
}

/// Judges a claim and writes it, whatever the verdict.
fn take_in(
    call: &mut Call<'_>,
    id: String,
    episode: &Episode,
    mut doc: ClaimDoc,
    old: Option<Claim>,
) -> Result<Outcome, Failure> {
    fields::id("id", &id)?;
    episode.must_be_open()?;
    if call.exists("claim", &[&id])? {
        return Err(Failure::conflict("DUPLICATE", format!("claim {id} exists")));
    }
    let pair = episode.pair();
    let pepper = call.pepper(&pair)?;
    let stay: Stay = call.must_read(&pair, &stay_key(&episode.id))?;
    let old_id = old.as_ref().map(|old| old.id.clone());
    // Whoever was asked about the old one is not asked again about the new.
    let level = old.as_ref().map_or(Level::None, |old| old.level);
    let control = control_tag(&pepper, &doc);
    let (facts, charges) = look(
        call,
        episode,
        &pepper,
        &stay,
        &doc,
        &control,
        old_id.as_deref(),
    )?;
    let (state, codes) = judge(&facts);
    // Proofs have done their work.
    doc.diagnoses.iter_mut().for_each(|one| one.proof = None);
    doc.lines.iter_mut().for_each(|line| line.proof = None);
    let mut claim = Claim {
        id,
        epi: episode.id.clone(),
        provider: pair.provider.clone(),
        payer: pair.payer.clone(),
        state,
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        commit: commit(&doc),
        control,
        replaces: old_id,
        replaced_by: None,
        drg: None,
        decision: None,
        level,
        reason: None,
        remit_ref: None,
        due: None,
        at: call.now,
    };
    call.write_private(&pair, &doc_key(&claim.id), &doc)?;
    if state.is_live() {
        if let Some(mut old) = old {
            release(call, &old)?;
            save(call, &mut old)?;
        }
        hold(call, &pepper, &stay, &claim, &doc, charges)?;
    }
    call.index("claimOf", &[&claim.epi, &claim.id])?;
    save(call, &mut claim)?;
    let name = claim.state.name();
    let (outcome, event) = match (state, codes.first()) {
        (ClaimState::Rejected, Some(code)) => (
            Outcome::verdict(&claim.id, name, name, code),
            "ClaimRejected",
        ),
        (_, Some(code)) => (
            Outcome::verdict(&claim.id, name, name, code),
            "ClaimSubmitted",
        ),
        (_, None) => (Outcome::changed(&claim.id, name), "ClaimSubmitted"),
    };
    let event = if claim.replaces.is_some() && state.is_live() {
        "ClaimReplaced"
    } else {
        event
    };
    Ok(outcome.event(call, event, &claim.id, name, &claim.epi))
}

fn control_tag(pepper: &Pepper, doc: &ClaimDoc) -> String {
    pepper.tag("control", &[&doc.billing, &doc.control])
}

/// What a live claim keeps others from billing.
fn hold(
    call: &mut Call<'_>,
    pepper: &Pepper,
    stay: &Stay,
    claim: &Claim,
    doc: &ClaimDoc,
    charges: Vec<Charge>,
) -> Result<(), Failure> {
    call.store("ctl", &[&claim.payer, &claim.control], &claim.id)?;
    for line in &doc.lines {
        let print = fingerprint(pepper, stay, line);
        call.index("fp", &[&claim.payer, &print, &claim.id])?;
    }
    for mut charge in charges {
        if charge.state == ChargeState::Claimed {
            charge.step(ChargeStep::Release)?;
        }
        charge.step(ChargeStep::Claim)?;
        charge.claim = Some(claim.id.clone());
        charge.at = call.now;
        charge::store(call, &charge)?;
    }
    Ok(())
}

/// Lets go of what [`hold`] took.
fn release(call: &mut Call<'_>, claim: &Claim) -> Result<(), Failure> {
    let pair = claim.pair();
    let pepper = call.pepper(&pair)?;
    let stay: Stay = call.must_read(&pair, &stay_key(&claim.epi))?;
    let doc: ClaimDoc = call.must_read(&pair, &doc_key(&claim.id))?;
    call.unindex("ctl", &[&claim.payer, &claim.control])?;
    for line in &doc.lines {
        let print = fingerprint(&pepper, &stay, line);
        call.unindex("fp", &[&claim.payer, &print, &claim.id])?;
        if let Some(seq) = line.charge {
            let mut charge = charge::load(call, &claim.epi, seq)?;
            charge.step(ChargeStep::Release)?;
            charge.claim = None;
            charge.at = call.now;
            charge::store(call, &charge)?;
        }
    }
    Ok(())
}
