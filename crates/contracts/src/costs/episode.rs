//! Episodes of care: opened at a check-in, between one provider and one payer.

use serde::{Deserialize, Serialize};

use super::model::{ClaimState, Episode, EpisodeState, EpisodeType};
use super::pair::{Pair, PepperDoc, commit};
use super::private::{COVERAGE_SHAPE, Coverage, STAY_SHAPE, Stay};
use super::tariff::{currency, pair_of};
use super::{claim, trace};
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::request::{Call, Outcome};
use crate::roles::Part;

impl Episode {
    pub fn pair(&self) -> Pair {
        Pair::new(&self.provider, &self.payer)
    }

    /// Refuses with 409 `BAD_STATE` unless it is open.
    pub fn must_be_open(&self) -> Result<(), Failure> {
        if self.state == EpisodeState::Open {
            return Ok(());
        }
        Err(Failure::conflict(
            "BAD_STATE",
            format!("episode {} is {}", self.id, self.state.name()),
        ))
    }
}

pub(super) fn stay_key(epi: &str) -> String {
    format!("epi.{epi}")
}

pub(super) fn coverage_key(epi: &str) -> String {
    format!("cov.{epi}")
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Episode, Failure> {
    fields::id("epi", id)?;
    call.load("epi", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no episode {id}")))
}

/// An episode of the caller's own, or 403 `NOT_PROVIDER`.
pub(super) fn load_own(call: &mut Call<'_>, id: &str) -> Result<Episode, Failure> {
    let episode = load(call, id)?;
    if episode.provider == call.msp() {
        return Ok(episode);
    }
    Err(Failure::forbidden(
        "NOT_PROVIDER",
        format!("episode {id} is of another provider"),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByPayer {
    payer: String,
}

/// Sets the secret of the caller and a payer, once: with another all fingerprints would be lost.
pub(super) fn set_pepper(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: ByPayer = call.args()?;
    let doc: PepperDoc = call.needed("pepper", r#"{"pepper": at least 64 hexadecimal digits}"#)?;
    doc.key()?;
    let provider = call.msp().to_owned();
    let pair = pair_of(call, &provider, &args.payer)?;
    if call.read_private::<PepperDoc>(&pair, "pepper")?.is_some() {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("{provider} and {} have a pepper", args.payer),
        ));
    }
    call.write_private(&pair, "pepper", &doc)?;
    let id = pair.collection();
    Ok(Outcome::changed(&id, "Set").event(call, "PepperSet", &id, "Set", &args.payer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenEpisode {
    epi: String,
    payer: String,
    #[serde(rename = "type")]
    kind: EpisodeType,
    currency: String,
}

fn stay_of(call: &Call<'_>) -> Result<Stay, Failure> {
    let stay: Stay = call.needed("stay", STAY_SHAPE)?;
    fields::salt(&stay.salt)?;
    fields::sid("the transient sidPay", &stay.sid_pay)?;
    fields::code("the transient reference", &stay.reference)?;
    let today = date_of(call.now);
    let ends = [stay.end, stay.death];
    let in_order = ends.iter().flatten().all(|end| *end >= stay.start);
    let known = ends.iter().flatten().all(|end| *end <= today) && stay.start <= today;
    if in_order && known {
        return Ok(stay);
    }
    Err(Failure::rule(
        "DATE",
        "a stay begins before it ends and before death, and none of it lies in the future",
    ))
}

pub(super) fn open(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing", "records"])?;
    let args: OpenEpisode = call.args()?;
    fields::id("epi", &args.epi)?;
    currency(&args.currency)?;
    let stay = stay_of(call)?;
    let provider = call.msp().to_owned();
    let pair = pair_of(call, &provider, &args.payer)?;
    let standing = call.organization_standing(&provider, "care")?;
    if !standing.active {
        return Err(Failure::forbidden(
            "CREDENTIAL",
            format!(
                "{provider} needs a licence for care that is in force, the registry says {}",
                standing.reason
            ),
        ));
    }
    if call.exists("epi", &[&args.epi])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("episode {} exists", args.epi),
        ));
    }
    let episode = Episode {
        id: args.epi,
        provider,
        payer: args.payer,
        kind: args.kind,
        currency: args.currency,
        state: EpisodeState::Open,
        commit: commit(&stay),
        at: call.now,
    };
    call.write_private(&pair, &stay_key(&episode.id), &stay)?;
    save(call, episode, "EpisodeOpened")
}

fn save(call: &mut Call<'_>, episode: Episode, event: &'static str) -> Result<Outcome, Failure> {
    call.mark_pair(&episode.pair(), &episode.id)?;
    call.store("epi", &[&episode.id], &episode)?;
    let state = episode.state.name();
    Ok(Outcome::changed(&episode.id, state).event(call, event, &episode.id, state, &episode.payer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByEpisode {
    epi: String,
}

/// Discharge, death, or a correction of either. Charges that are outside after it are found when
/// they are claimed.
pub(super) fn update_stay(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing", "records"])?;
    let args: ByEpisode = call.args()?;
    let stay = stay_of(call)?;
    let mut episode = load_own(call, &args.epi)?;
    episode.must_be_open()?;
    let pair = episode.pair();
    let before: Stay = call.must_read(&pair, &stay_key(&episode.id))?;
    if before.sid_pay != stay.sid_pay {
        return Err(Failure::rule(
            "SUBJECT_CHANGED",
            format!("episode {} is of another patient", episode.id),
        ));
    }
    episode.commit = commit(&stay);
    call.write_private(&pair, &stay_key(&episode.id), &stay)?;
    save(call, episode, "StayUpdated")
}

/// The payer's word from when to when it covers the patient; given again, the later word counts.
pub(super) fn confirm_coverage(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Payer], &["adjudicator"])?;
    let args: ByEpisode = call.args()?;
    let coverage: Coverage = call.needed("coverage", COVERAGE_SHAPE)?;
    fields::salt(&coverage.salt)?;
    if coverage.to < coverage.from {
        return Err(Failure::rule("DATE", "a coverage begins before it ends"));
    }
    let episode = load(call, &args.epi)?;
    claim::need_payer(call, &episode.payer)?;
    episode.must_be_open()?;
    call.write_private(&episode.pair(), &coverage_key(&episode.id), &coverage)?;
    save(call, episode, "CoverageConfirmed")
}

/// Closes an episode whose claims are all final.
pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: ByEpisode = call.args()?;
    let mut episode = load_own(call, &args.epi)?;
    episode.must_be_open()?;
    let open = trace::claims_of(call, &episode)?
        .iter()
        .filter(|claim| !ClaimState::is_final(claim.state))
        .count();
    if open > 0 {
        return Err(Failure::rule(
            "OPEN_CLAIMS",
            format!("{open} claims of episode {} are not final", episode.id),
        ));
    }
    episode.state = EpisodeState::Closed;
    episode.at = call.now;
    save(call, episode, "EpisodeClosed")
}

#[derive(Serialize)]
struct EpisodeView {
    #[serde(flatten)]
    episode: Episode,
    claims: Vec<String>,
}

/// What everybody may know of an episode.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByEpisode = call.args()?;
    let episode = load(call, &args.epi)?;
    let claims = trace::claims_of(call, &episode)?
        .into_iter()
        .map(|claim| claim.id)
        .collect();
    Ok(Outcome::of(&EpisodeView { episode, claims }))
}
