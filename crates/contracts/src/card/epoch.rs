//! The keys of the pseudonyms, by epoch. They are in the collection `cardkeys` of the card bureau
//! and the regulator, and never leave it: what leaves are pseudonyms.

use serde::{Deserialize, Serialize};

use super::identity::{self, Scheme};
use super::model::{CARDKEYS, Epoch, EpochState, Proof};
use crate::failure::Failure;
use crate::fields;
use crate::key::composite_key;
use crate::request::{Call, Outcome, decode, to_json};
use crate::vault::pseudonym;

/// Epochs that are live at a time. An application looks at all of them, for a person with a card
/// of an older one must not get a second.
pub(crate) const MAX_LIVE: usize = 8;

const KEYS_SHAPE: &str =
    r#"{"care","pay","device": 64 hexadecimal digits each,"salt": at least 32 hexadecimal digits}"#;

/// The keys of one epoch, one per sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    care: String,
    pay: String,
    device: String,
    salt: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sector {
    Care,
    Pay,
    Device,
}

impl Keys {
    fn of(&self, sector: Sector) -> Result<Vec<u8>, Failure> {
        let text = match sector {
            Sector::Care => &self.care,
            Sector::Pay => &self.pay,
            Sector::Device => &self.device,
        };
        hex::decode(text)
            .ok()
            .filter(|key| key.len() == 32)
            .ok_or_else(|| {
                Failure::malformed("a key in the transient map is 64 hexadecimal digits")
            })
    }

    fn all(&self) -> [String; 3] {
        [&self.care, &self.pay, &self.device].map(|key| key.to_ascii_lowercase())
    }
}

/// A person's pseudonym of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Pseudonym {
    pub epoch: u32,
    pub sid: String,
}

/// Ten digits, so that epochs sort as numbers.
fn sortable(epoch: u32) -> String {
    format!("{epoch:010}")
}

fn keys_key(epoch: u32) -> Result<String, Failure> {
    Ok(composite_key("epoch", &[&sortable(epoch)])?)
}

/// The live epochs, oldest first. The range is protected: an epoch that begins or ends meanwhile
/// makes the transaction invalid.
fn live(call: &mut Call<'_>) -> Result<Vec<u32>, Failure> {
    let entries = call.stub.range_composite("liveEpoch", &[], MAX_LIVE)?;
    entries
        .iter()
        .map(|entry| decode("live epoch", &entry.value))
        .collect()
}

fn keys(call: &mut Call<'_>, epoch: u32) -> Result<Keys, Failure> {
    let key = keys_key(epoch)?;
    let bytes = call.stub.get_private(CARDKEYS, &key)?.ok_or_else(|| {
        Failure::rule(
            "NO_EPOCH",
            format!("epoch {epoch} has no keys: SetEpochKey"),
        )
    })?;
    decode("epoch keys", &bytes)
}

/// A proof that is in order, in its one form; 422 `BAD_ID` says what is not, without the number.
pub(super) fn check_proof(mut proof: Proof, today: jiff::civil::Date) -> Result<Proof, Failure> {
    const MAX_NAME_CHARS: usize = 100;
    let bad = |sentence: String| Failure::rule("BAD_ID", sentence);
    fields::salt(&proof.salt)?;
    let name = proof.name.trim();
    let printable = !name.is_empty()
        && name.chars().count() <= MAX_NAME_CHARS
        && !name.chars().any(char::is_control);
    if !printable {
        return Err(Failure::malformed(
            "the name in the transient map has 1 to 100 printable characters",
        ));
    }
    let scheme: &Scheme = identity::scheme(&proof.id_type).ok_or_else(|| {
        bad(format!(
            "the document's type is one of {}",
            identity::names()
        ))
    })?;
    let identity = scheme
        .read(&proof.id_no)
        .map_err(|error| bad(format!("no number of a {}: {error}", scheme.name)))?;
    if identity.birth.is_some_and(|birth| birth != proof.birth) {
        return Err(bad("the birth date is not that of the document".to_owned()));
    }
    if proof.birth > today {
        return Err(bad("the birth date is in the future".to_owned()));
    }
    if let Some(number) = &proof.card_no
        && !super::number::is_printed(number)
    {
        return Err(Failure::rule(
            "BAD_CARD_NO",
            "the printed number is 80156, four digits of the issuer, nine random ones and a check digit",
        ));
    }
    proof.name = name.to_owned();
    proof.id_no = identity.number;
    Ok(proof)
}

/// The person's care pseudonym in every live epoch, oldest first; never empty.
pub(super) fn pseudonyms(call: &mut Call<'_>, proof: &Proof) -> Result<Vec<Pseudonym>, Failure> {
    let mut all = Vec::new();
    for epoch in live(call)? {
        all.push(one(call, proof, Sector::Care, epoch)?);
    }
    if all.is_empty() {
        return Err(Failure::rule(
            "NO_EPOCH",
            "there are no keys to compute a pseudonym with: SetEpochKey",
        ));
    }
    Ok(all)
}

fn one(
    call: &mut Call<'_>,
    proof: &Proof,
    sector: Sector,
    epoch: u32,
) -> Result<Pseudonym, Failure> {
    let key = keys(call, epoch)?.of(sector)?;
    Ok(Pseudonym {
        epoch,
        sid: pseudonym(&key, &proof.id_type, &proof.id_no),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByEpoch {
    epoch: u32,
}

pub(super) fn set(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let ByEpoch { epoch } = call.args()?;
    let new: Keys = call.transient("keys", KEYS_SHAPE)?.ok_or_else(|| {
        Failure::malformed(format!("SetEpochKey needs transient 'keys': {KEYS_SHAPE}"))
    })?;
    fields::salt(&new.salt)?;
    for sector in [Sector::Care, Sector::Pay, Sector::Device] {
        new.of(sector)?;
    }
    let last: Option<u32> = call.load("lastEpoch", &[])?;
    let next = last.map_or(Some(1), |last| last.checked_add(1));
    if next != Some(epoch) {
        return Err(Failure::conflict(
            "EPOCH_ORDER",
            format!(
                "the last epoch is {}, the next is one more",
                last.unwrap_or(0)
            ),
        ));
    }
    let live = live(call)?;
    if live.len() >= MAX_LIVE {
        return Err(Failure::rule(
            "TOO_MANY_EPOCHS",
            format!("{MAX_LIVE} epochs are live: RetireEpoch one first"),
        ));
    }
    let mut known: Vec<String> = Vec::new();
    for earlier in live {
        known.extend(keys(call, earlier)?.all());
    }
    for key in new.all() {
        if known.contains(&key) {
            return Err(Failure::rule(
                "SAME_KEY",
                "every sector of every epoch has a key of its own",
            ));
        }
        known.push(key);
    }
    let name = sortable(epoch);
    let key = keys_key(epoch)?;
    call.stub.put_private(CARDKEYS, &key, &to_json(&new))?;
    save(call, epoch, EpochState::Live)?;
    call.store("liveEpoch", &[&name], &epoch)?;
    call.store("lastEpoch", &[], &epoch)?;
    for (object_type, attributes) in [
        ("epoch", &[name.as_str()][..]),
        ("liveEpoch", &[name.as_str()]),
        ("lastEpoch", &[]),
    ] {
        call.guard(object_type, attributes)?;
    }
    finish(call, epoch, "Live", "EpochKeySet")
}

fn save(call: &mut Call<'_>, epoch: u32, state: EpochState) -> Result<(), Failure> {
    let at = call.now;
    call.store("epoch", &[&sortable(epoch)], &Epoch { epoch, state, at })
}

fn finish(
    call: &Call<'_>,
    epoch: u32,
    state: &'static str,
    event: &'static str,
) -> Result<Outcome, Failure> {
    let id = epoch.to_string();
    Ok(Outcome::changed(&id, state).event(call, event, &id, state, ""))
}

/// Destroys an epoch's keys: from then on nobody can say whose its pseudonyms are.
pub(super) fn retire(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let ByEpoch { epoch } = call.args()?;
    let name = sortable(epoch);
    let stored: Epoch = call
        .load("epoch", &[&name])?
        .ok_or_else(|| Failure::not_found(format!("no epoch {epoch}")))?;
    if stored.state != EpochState::Live {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!("epoch {epoch} is Retired, RetireEpoch needs Live"),
        ));
    }
    // Protected against a card that opens meanwhile.
    if !call.stub.range_composite("openIn", &[&name], 1)?.is_empty() {
        return Err(Failure::rule(
            "EPOCH_IN_USE",
            format!(
                "cards of epoch {epoch} are open: without its keys their holders could open others"
            ),
        ));
    }
    let key = keys_key(epoch)?;
    call.stub.purge_private(CARDKEYS, &key)?;
    save(call, epoch, EpochState::Retired)?;
    call.unindex("liveEpoch", &[&name])?;
    finish(call, epoch, "Retired", "EpochRetired")
}

/// Notes that a card of this epoch is open.
pub(super) fn hold(call: &mut Call<'_>, epoch: u32, handle: &str) -> Result<(), Failure> {
    let name = sortable(epoch);
    call.index("openIn", &[&name, handle])?;
    call.guard("openIn", &[&name, handle])
}

/// Notes that it is open no longer.
pub(super) fn let_go(call: &mut Call<'_>, epoch: u32, handle: &str) -> Result<(), Failure> {
    call.unindex("openIn", &[&sortable(epoch), handle])
}

#[derive(Serialize)]
struct Epochs {
    live: Vec<u32>,
    last: u32,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    Ok(Outcome::of(&Epochs {
        live: live(call)?,
        last: call.load("lastEpoch", &[])?.unwrap_or(0),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Derive {
    sector: Sector,
    #[serde(default)]
    epoch: Option<u32>,
}

/// The pseudonym of a person in a sector, for the bureau's own identity service.
pub(super) fn derive(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: Derive = call.args()?;
    let proof = super::application::proof(call)?;
    let live = live(call)?;
    let epoch = match args.epoch {
        Some(epoch) if live.contains(&epoch) => Some(epoch),
        Some(_) => None,
        None => live.last().copied(),
    };
    let epoch = epoch.ok_or_else(|| {
        Failure::rule(
            "NO_EPOCH",
            "there is no live epoch of this number: ReadEpochs",
        )
    })?;
    Ok(Outcome::of(&one(call, &proof, args.sector, epoch)?))
}
