//! Purging private values so that a deletion record stays, for every contract that keeps some.
//!
//! A contract offers [`purge_private`] and [`read_purged`] by two lines in its table. An
//! organization purges what is in its own implicit collection, and nothing else: what several
//! hold is not one's to destroy. The record is written in the same transaction, in the namespace
//! of the contract whose value it was; `privacy` collects them (`AttestDestruction`).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::{ALL_PARTS, CUSTODIAN_ROLES};

/// Private keys of one transaction.
pub(crate) const MAX_KEYS: usize = 200;
const MAX_KEY_BYTES: usize = 512;

/// Why something is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Ground {
    /// The subject's right, decided by `records`.
    Erasure,
    /// Its time is over.
    Retention,
    /// The consent it rested on was withdrawn.
    Consent,
    /// It should never have been there.
    Error,
    /// A court or an authority.
    Order,
}

/// `purged~collection~keyHash~reference`: what stays of a private value. Never replaced, also when
/// a value comes back under that key and is purged again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tombstone {
    pub collection: String,
    /// The key, a random id or a commitment: it is among the arguments anyway.
    pub key: String,
    /// SHA-256 of the key, as blocks show it.
    pub key_hash: String,
    /// SHA-256 of the value, as blocks show it; the value had a salt.
    pub value_hash: String,
    pub by: String,
    pub ground: Ground,
    /// The request or decision that it rests on.
    pub reference: String,
    pub at: i64,
    pub tx: String,
}

/// One purged key, by hashes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Purged {
    pub collection: String,
    pub key_hash: String,
    pub value_hash: String,
}

/// What `PurgePrivate` answers.
#[derive(Serialize, Deserialize)]
pub(crate) struct PurgeAnswer {
    pub id: String,
    pub state: String,
    pub purged: Vec<Purged>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgePrivate {
    pub keys: Vec<String>,
    pub ground: Ground,
    pub reference: String,
}

/// The collection that only one organization's peers hold.
pub(crate) fn own_collection(msp: &str) -> String {
    format!("_implicit_org_{msp}")
}

fn key_hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// `PurgePrivate`: purges values of the caller's own implicit collection, each of which has to be
/// there.
pub(crate) fn purge_private(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(ALL_PARTS, CUSTODIAN_ROLES)?;
    let args: PurgePrivate = call.args()?;
    fields::count("keys", args.keys.len(), MAX_KEYS)?;
    fields::id("reference", &args.reference)?;
    let collection = own_collection(call.msp());
    let mut keys = args.keys;
    keys.sort();
    keys.dedup();
    let mut purged = Vec::with_capacity(keys.len());
    for key in keys {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Failure::malformed(format!(
                "a private key has 1 to {MAX_KEY_BYTES} bytes"
            )));
        }
        let key_hash = key_hash(&key);
        let Some(value_hash) = call.stub.get_private_hash(&collection, &key)? else {
            return Err(Failure::not_found(format!(
                "{collection} has no value under the key with hash {key_hash}"
            )));
        };
        let tombstone = Tombstone {
            collection: collection.clone(),
            key,
            key_hash,
            value_hash: hex::encode(value_hash),
            by: call.msp().to_owned(),
            ground: args.ground,
            reference: args.reference.clone(),
            at: call.now,
            tx: call.stub.tx_id().to_owned(),
        };
        call.stub.purge_private(&collection, &tombstone.key)?;
        let place = [&collection, &tombstone.key_hash, &tombstone.reference].map(String::as_str);
        if call.exists("purged", &place)? {
            return Err(Failure::conflict(
                "DUPLICATE",
                format!(
                    "{} has purged the key with hash {} before, for this it needs another reference",
                    tombstone.reference, tombstone.key_hash
                ),
            ));
        }
        call.store("purged", &place, &tombstone)?;
        purged.push(Purged {
            collection: tombstone.collection,
            key_hash: tombstone.key_hash,
            value_hash: tombstone.value_hash,
        });
    }
    let answer = PurgeAnswer {
        id: args.reference,
        state: "Purged".to_owned(),
        purged,
    };
    Ok(Outcome::of(&answer).event(call, "PrivatePurged", &answer.id, "Purged", ""))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReadPurged {
    pub org: String,
    pub key_hash: String,
    pub reference: String,
}

/// What `ReadPurged` answers.
#[derive(Serialize, Deserialize)]
pub(crate) struct PurgedStatus {
    pub record: Tombstone,
    /// Whether the collection has a value under that key (again).
    pub present: bool,
}

/// `ReadPurged`: the deletion record, and whether the ledger knows of a value there now.
pub(crate) fn read_purged(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadPurged = call.args()?;
    fields::msp("org", &args.org)?;
    fields::hash("keyHash", &args.key_hash)?;
    fields::id("reference", &args.reference)?;
    let collection = own_collection(&args.org);
    let record: Tombstone = call
        .load("purged", &[&collection, &args.key_hash, &args.reference])?
        .ok_or_else(|| {
            Failure::not_found(format!(
                "no deletion record of {} for key hash {} and reference {}",
                args.org, args.key_hash, args.reference
            ))
        })?;
    let present = call
        .stub
        .get_private_hash(&collection, &record.key)?
        .is_some();
    Ok(Outcome::of(&PurgedStatus { record, present }))
}
