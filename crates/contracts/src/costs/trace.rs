//! Questions: one episode's money from order to payment with sums that agree, single claims, and
//! what is due.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::adjudicate::{Totals, decision_key};
use super::charge::{MAX_CHARGES, line_key};
use super::claim::{doc_key, load};
use super::dispute::need_patient;
use super::episode::{self, stay_key};
use super::model::{Charge, ChargeState, Claim, ClaimState, Episode, Refusal};
use super::money::Money;
use super::package::drg_key;
use super::private::{ChargeLine, ClaimDoc, Decision, DrgDoc, Return, Returns, Stay};
use super::sums::{ClaimSums, Sums, add_up};
use crate::failure::Failure;
use crate::fields::{self, sortable};
use crate::key::{composite_key, split_composite_key};
use crate::paging::behind;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;
use crate::stub::StubError;

/// Claims of one episode, replaced and rejected ones included.
const MAX_CLAIMS: usize = 1_000;
const PAGE: usize = 200;

/// All claims of an episode, by id.
pub(super) fn claims_of(call: &mut Call<'_>, episode: &Episode) -> Result<Vec<Claim>, Failure> {
    let entries = call
        .stub
        .range_composite("claimOf", &[&episode.id], MAX_CLAIMS)?;
    let mut claims = Vec::with_capacity(entries.len());
    for entry in entries {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        if let Some(id) = attributes.get(1) {
            claims.push(load(call, id)?);
        }
    }
    Ok(claims)
}

/// One committed change of a charge or claim.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<S> {
    tx_id: String,
    at: i64,
    state: S,
}

fn history<T: DeserializeOwned, S>(
    call: &mut Call<'_>,
    object_type: &str,
    attributes: &[&str],
    state: impl Fn(&T) -> S,
) -> Result<Vec<Change<S>>, Failure> {
    let entries = call
        .stub
        .history(&composite_key(object_type, attributes)?)?;
    let mut changes = Vec::with_capacity(entries.len());
    // The ledger gives the newest first.
    for entry in entries.into_iter().rev() {
        if let Some(bytes) = entry.value {
            let value: T = decode(object_type, &bytes)?;
            changes.push(Change {
                tx_id: entry.tx_id,
                at: entry.timestamp.seconds,
                state: state(&value),
            });
        }
    }
    Ok(changes)
}

#[derive(Serialize)]
struct ChargeTrace {
    #[serde(flatten)]
    charge: Charge,
    line: ChargeLine,
    history: Vec<Change<ChargeState>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimTrace {
    #[serde(flatten)]
    claim: Claim,
    document: ClaimDoc,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<DrgDoc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returns: Vec<Return>,
    history: Vec<Change<ClaimState>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedCharge {
    tx_id: String,
    #[serde(flatten)]
    refusal: Refusal,
}

#[derive(Serialize)]
struct CostTrace {
    episode: Episode,
    stay: Stay,
    charges: Vec<ChargeTrace>,
    refused: Vec<RefusedCharge>,
    claims: Vec<ClaimTrace>,
    sums: Sums,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByEpisode {
    epi: String,
}

/// Everything about the money of an episode, for its parties: provider, payer, regulator, patient.
pub(super) fn trace_cost(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByEpisode = call.args()?;
    let episode = episode::load(call, &args.epi)?;
    let pair = episode.pair();
    need_party(call, &episode)?;
    let stay: Stay = call.must_read(&pair, &stay_key(&episode.id))?;
    let mut charges = Vec::new();
    for entry in call
        .stub
        .range_composite("chg", &[&episode.id], MAX_CHARGES as usize)?
    {
        let charge: Charge = decode("charge", &entry.value)?;
        let line = call.must_read(&pair, &line_key(&episode.id, charge.seq))?;
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        let history = history(call, "chg", &attributes, |charge: &Charge| charge.state)?;
        charges.push(ChargeTrace {
            charge,
            line,
            history,
        });
    }
    let mut refused = Vec::new();
    for entry in call
        .stub
        .range_composite("verdict", &[&episode.id], MAX_CHARGES as usize)?
    {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        refused.push(RefusedCharge {
            tx_id: attributes.get(1).copied().unwrap_or_default().to_owned(),
            refusal: decode("refusal", &entry.value)?,
        });
    }
    let mut claims = Vec::new();
    for claim in claims_of(call, &episode)? {
        claims.push(claim_trace(call, claim)?);
    }
    let sums = sums_of(&charges, &claims)?;
    Ok(Outcome::of(&CostTrace {
        episode,
        stay,
        charges,
        refused,
        claims,
        sums,
    }))
}

fn need_party(call: &mut Call<'_>, episode: &Episode) -> Result<(), Failure> {
    if call.role() == Some("patient") {
        return need_patient(call, &episode.pair(), &episode.id);
    }
    let msp = call.msp().to_owned();
    let (role, roles): (Part, &[&str]) = if msp == episode.provider {
        (Part::Provider, &["billing", "records", "physician", "dpo"])
    } else if msp == episode.payer {
        (Part::Payer, &["adjudicator", "cashier", "fraud"])
    } else if call.config()?.plays(&msp, Part::Regulator) {
        (Part::Regulator, &["inspector", "auditor"])
    } else {
        return Err(Failure::forbidden(
            "NOT_PARTY",
            format!("{msp} is no party to episode {}", episode.id),
        ));
    };
    call.require(&[role], roles)
}

fn claim_trace(call: &mut Call<'_>, claim: Claim) -> Result<ClaimTrace, Failure> {
    let pair = claim.pair();
    let document = call.must_read(&pair, &doc_key(&claim.id))?;
    let mut packages = Vec::new();
    for side in [&claim.provider, &claim.payer] {
        packages.extend(call.read_private(&pair, &drg_key(&claim.id, side))?);
    }
    let decided = call.read_private(&pair, &decision_key(&claim.id))?;
    let returns: Returns = call
        .read_private(&pair, &super::settle::returns_key(&claim.id))?
        .unwrap_or_default();
    let history = history(call, "claim", &[&claim.id], |claim: &Claim| claim.state)?;
    Ok(ClaimTrace {
        claim,
        document,
        packages,
        decided,
        returns: returns.returns,
        history,
    })
}

fn sums_of(charges: &[ChargeTrace], claims: &[ClaimTrace]) -> Result<Sums, Failure> {
    let charges: Vec<_> = charges
        .iter()
        .map(|one| (one.charge.state, one.line.amount))
        .collect();
    let mut live = Vec::new();
    for one in claims.iter().filter(|one| one.claim.state.is_live()) {
        let submitted = one.document.submitted()?.unwrap_or_default();
        let without = one.document.lines.iter().zip(&submitted);
        let uncharged = without
            .filter(|(line, _)| line.charge.is_none())
            .map(|(_, net)| *net);
        live.push(ClaimSums {
            settled: one.claim.state.is_settled(),
            total: one.document.total,
            uncharged: Money::sum(uncharged)?,
            decided: match &one.decided {
                Some(decision) => Some(Totals::of(&submitted, decision)?),
                None => None,
            },
            returned: Money::sum(one.returns.iter().map(|one| one.amount))?,
        });
    }
    Ok(add_up(&charges, &live)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

/// What everybody may know of a claim.
pub(super) fn read_claim(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    Ok(Outcome::of(&load(call, &args.id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListDue {
    payer: String,
    #[serde(default)]
    until: Option<i64>,
    #[serde(default)]
    bookmark: Option<Bookmark>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bookmark {
    due: i64,
    id: String,
}

#[derive(Serialize)]
struct Due {
    claims: Vec<Claim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<Bookmark>,
}

/// Claims about which a payer (on appeal the regulator) has to do something by a time, by default
/// now: what is late. The earliest first.
pub(super) fn list_due(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListDue = call.args()?;
    fields::msp("payer", &args.payer)?;
    let start = match &args.bookmark {
        Some(Bookmark { due, id }) => {
            fields::id("bookmark", id)?;
            behind("due", &[&args.payer, &sortable(*due), id])?
        }
        None => composite_key("due", &[&args.payer])?,
    };
    let until = args.until.unwrap_or(call.now).saturating_add(1);
    let end = composite_key("due", &[&args.payer, &sortable(until)])?;
    let found = call.page_between(&start, &end, PAGE)?;
    let mut claims = Vec::with_capacity(found.entries.len());
    for entry in &found.entries {
        claims.push(load(call, entry.last())?);
    }
    let bookmark = claims.last().filter(|_| found.more).map(|claim| Bookmark {
        due: claim.due.unwrap_or_default(),
        id: claim.id.clone(),
    });
    Ok(Outcome::of(&Due { claims, bookmark }))
}
