//! Questions: the whole way of a bag or a manifest, what is late, what an organization has to do
//! with.

use serde::{Deserialize, Serialize};

use super::bag::{self, need_sight, storage_due};
use super::limits::STORAGE_SECONDS;
use super::manifest;
use super::model::{Bag, Flag, Leg, Manifest, ManifestState};
use crate::failure::Failure;
use crate::fields::{self, sortable};
use crate::key::{composite_key, composite_range};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

const PAGE: usize = 200;
/// Legs and flags of one manifest in an answer: more than there can be legs, and as many flags as
/// every bag of a load can have.
const MAX_PARTS: usize = 1000;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Waiting {
    /// A bag with its producer for more than 48 hours.
    Storage,
    /// A refused load that its carrier has not taken along.
    Pickup,
    /// A load on the way for more than 24 hours.
    Transit,
    /// A load delivered, and neither accepted nor refused within five working days.
    Confirmation,
}

#[derive(Serialize)]
struct Late {
    what: Waiting,
    #[serde(skip_serializing_if = "Option::is_none")]
    bag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no: Option<String>,
    /// Whose turn it is.
    org: String,
    /// Since when it is late, seconds since 1970.
    due: i64,
}

fn late_bag(bag: &Bag, as_of: i64) -> Option<Late> {
    let due = storage_due(bag).filter(|due| as_of > *due)?;
    Some(Late {
        what: Waiting::Storage,
        bag: Some(bag.id.clone()),
        no: bag.manifest.clone(),
        org: bag.holder.clone(),
        due,
    })
}

fn late_manifest(manifest: &Manifest, as_of: i64) -> Option<Late> {
    let due = manifest.due.filter(|due| as_of > *due)?;
    let carrier = || manifest.carrier().unwrap_or_default().to_owned();
    let (what, org) = match manifest.state {
        ManifestState::InTransit => (Waiting::Transit, carrier()),
        ManifestState::HandedOver => {
            let next = manifest.carriers.get(manifest.carried);
            (Waiting::Pickup, next.cloned().unwrap_or_default())
        }
        ManifestState::Delivered => (Waiting::Confirmation, manifest.disposer.clone()),
        _ => return None,
    };
    Some(Late {
        what,
        bag: None,
        no: Some(manifest.no.clone()),
        org,
        due,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    #[serde(default)]
    bag: Option<String>,
    #[serde(default)]
    no: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestTrace {
    manifest: Manifest,
    /// The status that the EPA's e-Manifest has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    e_manifest_status: Option<&'static str>,
    legs: Vec<Leg>,
    flags: Vec<Flag>,
    /// Carriers that were to carry it and never signed.
    missing_legs: Vec<String>,
    late: Vec<Late>,
    /// Every committed change, oldest first.
    history: Vec<Change>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    tx_id: String,
    at: i64,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grams: Option<u64>,
}

#[derive(Serialize)]
struct BagTrace {
    bag: Bag,
    history: Vec<Change>,
    /// Every manifest that it was on, the first one first.
    manifests: Vec<ManifestTrace>,
    late: Vec<Late>,
}

pub(super) fn trace(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Trace = call.args()?;
    match (args.bag, args.no) {
        (Some(id), None) => {
            let bag = bag::load(call, &id)?;
            need_sight(call, &bag)?;
            Ok(Outcome::of(&trace_bag(call, bag)?))
        }
        (None, Some(no)) => {
            let manifest = manifest::load(call, &no)?;
            let msp = call.msp().to_owned();
            if !manifest.concerns(&msp) && !call.config()?.plays(&msp, Part::Regulator) {
                return Err(Failure::forbidden(
                    "NOT_PARTY",
                    format!("{msp} has nothing to do with manifest {no}"),
                ));
            }
            Ok(Outcome::of(&trace_manifest(call, manifest)?))
        }
        _ => Err(Failure::malformed("Trace takes a bag or a no")),
    }
}

fn changes<T: serde::de::DeserializeOwned>(
    call: &mut Call<'_>,
    object_type: &str,
    id: &str,
) -> Result<Vec<(String, i64, T)>, Failure> {
    let key = composite_key(object_type, &[id])?;
    let mut found = Vec::new();
    for entry in call.stub.history(&key)?.into_iter().rev() {
        if let Some(value) = entry.value {
            let value = decode(object_type, &value)?;
            found.push((entry.tx_id, entry.timestamp.seconds, value));
        }
    }
    Ok(found)
}

fn trace_bag(call: &mut Call<'_>, bag: Bag) -> Result<BagTrace, Failure> {
    let changes = changes::<Bag>(call, "bag", &bag.id)?;
    let mut numbers: Vec<String> = Vec::new();
    let mut history = Vec::with_capacity(changes.len());
    for (tx_id, at, was) in changes {
        numbers.extend(was.manifest.filter(|no| !numbers.contains(no)));
        history.push(Change {
            tx_id,
            at,
            state: was.state.name().to_owned(),
            holder: Some(was.holder),
            grams: Some(was.grams),
        });
    }
    let mut manifests = Vec::with_capacity(numbers.len());
    for no in numbers {
        let manifest = manifest::load(call, &no)?;
        manifests.push(trace_manifest(call, manifest)?);
    }
    let late = late_bag(&bag, call.now).into_iter().collect();
    Ok(BagTrace {
        bag,
        history,
        manifests,
        late,
    })
}

fn parts<T: serde::de::DeserializeOwned>(
    call: &mut Call<'_>,
    object_type: &str,
    no: &str,
) -> Result<Vec<T>, Failure> {
    let found = call.stub.range_composite(object_type, &[no], MAX_PARTS)?;
    found
        .iter()
        .map(|entry| decode(object_type, &entry.value))
        .collect()
}

fn trace_manifest(call: &mut Call<'_>, manifest: Manifest) -> Result<ManifestTrace, Failure> {
    let legs = parts(call, "leg", &manifest.no)?;
    let flags = parts(call, "flag", &manifest.no)?;
    let history = changes::<Manifest>(call, "man", &manifest.no)?
        .into_iter()
        .map(|(tx_id, at, was)| Change {
            tx_id,
            at,
            state: was.state.name().to_owned(),
            holder: None,
            grams: None,
        })
        .collect();
    let mut late: Vec<Late> = late_manifest(&manifest, call.now).into_iter().collect();
    if matches!(
        manifest.state,
        ManifestState::Scheduled | ManifestState::HandedOver
    ) {
        let bags = manifest::bags_of(call, manifest.lines.iter())?;
        late.extend(bags.iter().filter_map(|bag| late_bag(bag, call.now)));
    }
    let skipped: &[String] = match manifest.state {
        ManifestState::Scheduled
        | ManifestState::HandedOver
        | ManifestState::InTransit
        | ManifestState::Cancelled => &[],
        _ => &manifest.carriers[manifest.carried.min(manifest.carriers.len())..],
    };
    Ok(ManifestTrace {
        missing_legs: skipped.to_vec(),
        e_manifest_status: manifest.state.e_manifest(),
        manifest,
        legs,
        flags,
        late,
        history,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Overdue {
    /// Seconds since 1970; now when absent.
    #[serde(default)]
    as_of: Option<i64>,
}

#[derive(Serialize)]
struct AllLate {
    late: Vec<Late>,
    /// There is more than one answer holds: this is the oldest of it.
    more: bool,
}

/// The second attributes of an index whose first is a time before `before`, oldest first.
fn earlier_than(
    call: &mut Call<'_>,
    index: &str,
    before: i64,
) -> Result<(Vec<String>, bool), Failure> {
    let (start, _) = composite_range(index, &[])?;
    let end = composite_key(index, &[&sortable(before)])?;
    let found = call.page_between(&start, &end, PAGE)?;
    let more = found.more;
    Ok((found.ids().0, more))
}

/// What is late at a moment. Regulators see all of it, others what concerns them.
pub(super) fn overdue(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Overdue = call.args()?;
    let as_of = args.as_of.unwrap_or(call.now);
    let msp = call.msp().to_owned();
    let sees_all = call.config()?.plays(&msp, Part::Regulator);
    let mut late = Vec::new();
    let sealed_before = as_of.saturating_sub(STORAGE_SECONDS);
    let (bags, more_bags) = earlier_than(call, "stored", sealed_before)?;
    for id in bags {
        let bag = bag::load(call, &id)?;
        if sees_all || bag.generator == msp {
            late.extend(late_bag(&bag, as_of));
        }
    }
    let (manifests, more_manifests) = earlier_than(call, "open", as_of)?;
    for no in manifests {
        let manifest = manifest::load(call, &no)?;
        if sees_all || manifest.concerns(&msp) {
            late.extend(late_manifest(&manifest, as_of));
        }
    }
    let more = more_bags || more_manifests;
    Ok(Outcome::of(&AllLate { late, more }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListManifests {
    org: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    manifests: Vec<Manifest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

/// The manifests that concern an organization, by the day they were made on.
pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListManifests = call.args()?;
    fields::msp("org", &args.org)?;
    let msp = call.msp().to_owned();
    let sees_all = call.config()?.plays(&msp, Part::Regulator);
    let after = args.bookmark.iter().flat_map(|it| it.split('/'));
    let found = call.page("manOf", &[&args.org], after, PAGE)?;
    let (mut manifests, mut last) = (Vec::new(), None);
    for entry in &found.entries {
        let [_, date, no] = &entry.attributes[..] else {
            continue;
        };
        last = Some(format!("{date}/{no}"));
        let manifest = manifest::load(call, no)?;
        if sees_all || manifest.concerns(&msp) {
            manifests.push(manifest);
        }
    }
    let bookmark = last.filter(|_| found.more);
    Ok(Outcome::of(&Listed {
        manifests,
        bookmark,
    }))
}
