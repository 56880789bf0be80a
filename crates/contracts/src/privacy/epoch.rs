//! Keys for pseudonyms: one at a time is used per organization and sector, then it is retired, then
//! it is destroyed, and with it the link between persons and their pseudonyms of that epoch.

use serde::Deserialize;

use super::model::{Epoch, State, step};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, decode};
use crate::roles::{ALL_PARTS, CUSTODIAN_ROLES, Part};
use crate::vault::{Sector, SectorError};

const MAX_LIST: usize = 1000;

fn sector(text: &str) -> Result<Sector, Failure> {
    text.parse()
        .map_err(|error: SectorError| Failure::malformed(error.to_string()))
}

fn sortable(epoch: u32) -> String {
    format!("{epoch:010}")
}

fn name(org: &str, sector: &str, epoch: u32) -> String {
    format!("{org}/{sector}/{epoch}")
}

fn load(
    call: &mut Call<'_>,
    org: &str,
    sector: &str,
    epoch: u32,
) -> Result<Option<Epoch>, Failure> {
    call.load("epoch", &[org, sector, &sortable(epoch)])
}

fn save(call: &mut Call<'_>, epoch: &Epoch, event: &'static str) -> Result<Outcome, Failure> {
    let number = sortable(epoch.epoch);
    call.store("epoch", &[&epoch.org, &epoch.sector, &number], epoch)?;
    let id = name(&epoch.org, &epoch.sector, epoch.epoch);
    let state = epoch.state.name();
    Ok(Outcome::changed(&id, state).event(call, event, &id, state, &epoch.fingerprint))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenEpoch {
    sector: String,
    epoch: u32,
    fingerprint: String,
}

pub(super) fn open(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: OpenEpoch = call.args()?;
    // Research pseudonyms are made where identities are kept, or by the researchers themselves.
    let parts: &[Part] = match sector(&args.sector)? {
        Sector::Research(_) => &[Part::Citizen, Part::Research],
        _ => ALL_PARTS,
    };
    call.require(parts, CUSTODIAN_ROLES)?;
    fields::hash("fingerprint", &args.fingerprint)?;
    let org = call.msp().to_owned();
    let what = format!("epoch {}", name(&org, &args.sector, args.epoch));
    let existing = load(call, &org, &args.sector, args.epoch)?;
    let state = step(call, &what, existing.map(|epoch| epoch.state))?;
    // Numbers without gaps, so that nobody opens an epoch that nobody looks for.
    let before = match args.epoch {
        0 => None,
        1 => Some(None),
        n => load(call, &org, &args.sector, n - 1)?.map(Some),
    };
    let Some(before) = before else {
        return Err(Failure::rule(
            "EPOCH_ORDER",
            format!("{what} does not follow the sector's latest, which begin with 1"),
        ));
    };
    if let Some(before) = before
        && before.state == State::Open
    {
        return Err(Failure::conflict(
            "EPOCH_OPEN",
            format!(
                "epoch {} is still Open, retire it first",
                name(&org, &args.sector, before.epoch)
            ),
        ));
    }
    if call.exists("epochKey", &[&org, &args.fingerprint])? {
        return Err(Failure::conflict(
            "KEY_REUSED",
            "this fingerprint belongs to another epoch, each has a key of its own",
        ));
    }
    call.index("epochKey", &[&org, &args.fingerprint])?;
    let epoch = Epoch {
        org,
        sector: args.sector,
        epoch: args.epoch,
        fingerprint: args.fingerprint,
        state,
        opened: call.now,
        retired: None,
        destroyed: None,
        method: None,
        evidence_hash: None,
    };
    save(call, &epoch, "EpochOpened")
}

/// The caller's own epoch, stepped to the state that the called function leads to.
fn step_own(call: &mut Call<'_>, sector_name: &str, epoch: u32) -> Result<Epoch, Failure> {
    call.require(ALL_PARTS, CUSTODIAN_ROLES)?;
    sector(sector_name)?;
    let org = call.msp().to_owned();
    let what = format!("epoch {}", name(&org, sector_name, epoch));
    let mut epoch = load(call, &org, sector_name, epoch)?
        .ok_or_else(|| Failure::not_found(format!("no {what}")))?;
    epoch.state = step(call, &what, Some(epoch.state))?;
    Ok(epoch)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetireEpoch {
    sector: String,
    epoch: u32,
}

pub(super) fn retire(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RetireEpoch = call.args()?;
    let mut epoch = step_own(call, &args.sector, args.epoch)?;
    epoch.retired = Some(call.now);
    save(call, &epoch, "EpochRetired")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttestEpochDestroyed {
    sector: String,
    epoch: u32,
    fingerprint: String,
    method: String,
    #[serde(default)]
    evidence_hash: Option<String>,
}

pub(super) fn attest_destroyed(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: AttestEpochDestroyed = call.args()?;
    fields::hash("fingerprint", &args.fingerprint)?;
    fields::code("method", &args.method)?;
    if let Some(evidence) = &args.evidence_hash {
        fields::hash("evidenceHash", evidence)?;
    }
    let mut epoch = step_own(call, &args.sector, args.epoch)?;
    if epoch.fingerprint != args.fingerprint {
        return Err(Failure::rule(
            "FINGERPRINT_MISMATCH",
            format!(
                "epoch {} was opened with a key of fingerprint {}",
                name(&epoch.org, &epoch.sector, epoch.epoch),
                epoch.fingerprint
            ),
        ));
    }
    epoch.destroyed = Some(call.now);
    epoch.method = Some(args.method);
    epoch.evidence_hash = args.evidence_hash;
    save(call, &epoch, "EpochDestroyed")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadEpoch {
    org: String,
    sector: String,
    epoch: u32,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadEpoch = call.args()?;
    fields::msp("org", &args.org)?;
    sector(&args.sector)?;
    let epoch = load(call, &args.org, &args.sector, args.epoch)?.ok_or_else(|| {
        let name = name(&args.org, &args.sector, args.epoch);
        Failure::not_found(format!("no epoch {name}"))
    })?;
    Ok(Outcome::of(&epoch))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListEpochs {
    org: String,
    #[serde(default)]
    sector: Option<String>,
}

/// The epochs of an organization, by sector and number.
pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListEpochs = call.args()?;
    fields::msp("org", &args.org)?;
    let mut attributes = vec![args.org.as_str()];
    if let Some(name) = &args.sector {
        sector(name)?;
        attributes.push(name);
    }
    let found = call.stub.range_composite("epoch", &attributes, MAX_LIST)?;
    let epochs: Vec<Epoch> = found
        .iter()
        .map(|entry| decode("epoch", &entry.value))
        .collect::<Result<_, _>>()?;
    Ok(Outcome::of(&epochs))
}
