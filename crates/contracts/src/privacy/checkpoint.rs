//! Seals: an auditor fixes all events of a time by one hash, which the contract recomputes; later
//! anybody proves with a few hashes that an event was under it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event;
use super::model::{Checkpoint, Event, Sealed, step};
use super::query::Filter;
use crate::failure::Failure;
use crate::fields;
use crate::merkle::{self, Hash};
use crate::request::{Call, MAX_CLOCK_SKEW_SECONDS, Outcome, decode, to_json};
use crate::roles::Part;

/// Events under one seal.
const MAX_EVENTS: usize = 10_000;

fn sortable(n: u32) -> String {
    format!("{n:010}")
}

/// Ids and leaves of all events recorded within a time, in their order.
fn leaves(call: &mut Call<'_>, from: i64, to: i64) -> Result<(Vec<String>, Vec<Hash>), Failure> {
    let filter = Filter {
        from: Some(from),
        to: Some(to),
        ..Filter::default()
    };
    let found = filter.find(call, None, MAX_EVENTS)?;
    if found.bookmark.is_some() {
        return Err(Failure::rule(
            "TOO_MANY_EVENTS",
            format!("more than {MAX_EVENTS} events until {to}, seal an earlier time first"),
        ));
    }
    found
        .entries
        .into_iter()
        .map(|(id, leaf)| Ok((id, leaf_of(&leaf)?)))
        .collect()
}

/// A leaf as the indexes hold it.
pub(super) fn leaf_of(text: &str) -> Result<Hash, Failure> {
    let mut leaf = Hash::default();
    hex::decode_to_slice(text, &mut leaf).map_err(|error| {
        Failure::new(
            500,
            "LEDGER",
            format!("stored leaf does not parse: {error}"),
        )
    })?;
    Ok(leaf)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    from: i64,
    to: i64,
    root: String,
}

pub(super) fn seal(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let args: Seal = call.args()?;
    fields::hash("root", &args.root)?;
    let sealed: Sealed = call.load("sealed", &[])?.unwrap_or_default();
    if args.from != sealed.to || args.to <= args.from {
        return Err(Failure::rule(
            "GAP",
            format!(
                "the next checkpoint begins at {}, where the one before ends, and ends later",
                sealed.to
            ),
        ));
    }
    // Whoever sends events with a clock that is a little slow is not to be locked out.
    if args.to > call.now.saturating_sub(MAX_CLOCK_SKEW_SECONDS) {
        return Err(Failure::rule(
            "TOO_EARLY",
            format!("what is sealed is at least {MAX_CLOCK_SKEW_SECONDS} s old"),
        ));
    }
    let (_, leaves) = leaves(call, args.from, args.to)?;
    let root = hex::encode(merkle::root(&leaves));
    if root != args.root {
        return Err(Failure::rule(
            "ROOT_MISMATCH",
            format!(
                "the root of the {} events from {} to {} is {root}",
                leaves.len(),
                args.from,
                args.to
            ),
        ));
    }
    let n = sealed
        .n
        .checked_add(1)
        .ok_or_else(|| Failure::rule("GAP", "there are no more numbers for checkpoints"))?;
    let state = step(call, &format!("checkpoint {n}"), None)?.name();
    let checkpoint = Checkpoint {
        n,
        from: args.from,
        to: args.to,
        // At most MAX_EVENTS.
        count: leaves.len() as u32,
        root,
        prev: sealed.hash,
        org: call.msp().to_owned(),
        at: call.now,
    };
    call.store("check", &[&sortable(n)], &checkpoint)?;
    call.store("checkTo", &[&fields::sortable(args.to)], &n)?;
    let latest = Sealed {
        n,
        to: args.to,
        hash: Some(hex::encode(Sha256::digest(to_json(&checkpoint)))),
    };
    call.store("sealed", &[], &latest)?;
    let id = n.to_string();
    Ok(Outcome::changed(&id, state).event(call, "Checkpointed", &id, state, &checkpoint.root))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadCheckpoint {
    #[serde(default)]
    n: Option<u32>,
}

fn load(call: &mut Call<'_>, n: u32) -> Result<Checkpoint, Failure> {
    call.load("check", &[&sortable(n)])?
        .ok_or_else(|| Failure::not_found(format!("no checkpoint {n}")))
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadCheckpoint = call.args()?;
    let n = match args.n {
        Some(n) => n,
        None => call.load::<Sealed>("sealed", &[])?.unwrap_or_default().n,
    };
    let checkpoint = load(call, n)?;
    Ok(Outcome::of(&checkpoint))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preview {
    from: i64,
    to: i64,
}

#[derive(Serialize)]
struct Previewed {
    count: usize,
    root: String,
}

/// The root of a time as this peer has it. An auditor with peers of its own asks several, or
/// computes it from the blocks.
pub(super) fn preview(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let args: Preview = call.args()?;
    let (_, leaves) = leaves(call, args.from, args.to)?;
    Ok(Outcome::of(&Previewed {
        count: leaves.len(),
        root: hex::encode(merkle::root(&leaves)),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProveEvent {
    id: String,
}

/// Everything that somebody without the ledger needs: SHA-256 of 0x00 and `entry` is the leaf, and
/// the path leads from it to the root ([`merkle::verify`]).
#[derive(Serialize)]
struct Proof {
    id: String,
    checkpoint: u32,
    root: String,
    /// The event, byte for byte as stored.
    entry: String,
    index: usize,
    size: usize,
    path: Vec<String>,
}

pub(super) fn prove_event(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ProveEvent = call.args()?;
    let event: Event = event::visible(call, &args.id)?;
    // The first checkpoint that ends after the event was recorded.
    let after = fields::sortable(event.recorded.saturating_add(1));
    let start = crate::key::composite_key("checkTo", &[&after])?;
    let (_, end) = crate::key::composite_range("checkTo", &[])?;
    let covering = call.stub.range(&start, &end, 1)?;
    let Some(entry) = covering.first() else {
        return Err(Failure::conflict(
            "NOT_SEALED",
            format!("event {} is under no checkpoint yet", event.id),
        ));
    };
    let checkpoint = load(call, decode("checkTo", &entry.value)?)?;
    let (ids, leaves) = leaves(call, checkpoint.from, checkpoint.to)?;
    let proof = ids
        .iter()
        .position(|id| *id == event.id)
        .and_then(|index| Some((index, merkle::prove(&leaves, index)?)))
        .filter(|_| hex::encode(merkle::root(&leaves)) == checkpoint.root);
    let Some((index, path)) = proof else {
        return Err(Failure::new(
            500,
            "LEDGER",
            format!(
                "what this peer has is not what checkpoint {} sealed",
                checkpoint.n
            ),
        ));
    };
    Ok(Outcome::of(&Proof {
        checkpoint: checkpoint.n,
        root: checkpoint.root,
        // Our own JSON is UTF-8.
        entry: String::from_utf8_lossy(&to_json(&event)).into_owned(),
        index,
        size: leaves.len(),
        path: path.iter().map(hex::encode).collect(),
        id: event.id,
    }))
}
