//! Proof of erasure: who asked for it, what was destroyed, by whom and on what ground. The hashes
//! on the ledger stay, and so does the record.
//!
//! Private values are purged by the contract that keeps them, called within the same transaction
//! ([`crate::purge`]); keys of the vault are named by their fingerprints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::model::{Purge, PurgedValue, State, step};
use crate::failure::Failure;
use crate::fields;
use crate::purge::{Ground, MAX_KEYS, PurgeAnswer, PurgePrivate, PurgedStatus, ReadPurged};
use crate::request::{Call, Outcome};
use crate::roles::{ALL_PARTS, CUSTODIAN_ROLES, Part};

fn load(call: &mut Call<'_>, id: &str) -> Result<Option<Purge>, Failure> {
    fields::id("id", id)?;
    call.load("purge", &[id])
}

fn save(call: &mut Call<'_>, purge: &Purge, event: &'static str) -> Result<Outcome, Failure> {
    call.store("purge", &[&purge.id], purge)?;
    let state = purge.state.name();
    Ok(Outcome::changed(&purge.id, state).event(call, event, &purge.id, state, &purge.holder))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestPurge {
    id: String,
    holder: String,
    ground: Ground,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    subject: Option<String>,
}

/// By the subject for itself, by the holder, or by a regulator's auditor.
pub(super) fn request(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RequestPurge = call.args()?;
    fields::msp("holder", &args.holder)?;
    if let Some(reference) = &args.reference {
        fields::id("reference", reference)?;
    }
    if let Some(subject) = &args.subject {
        fields::sid("subject", subject)?;
    }
    require_requester(call, &args)?;
    let config = call.config()?;
    if !ALL_PARTS
        .iter()
        .any(|part| config.plays(&args.holder, *part))
    {
        return Err(Failure::rule(
            "UNKNOWN_HOLDER",
            format!("{} is no organization of this channel", args.holder),
        ));
    }
    let existing = load(call, &args.id)?;
    let state = step(
        call,
        &format!("purge {}", args.id),
        existing.map(|purge| purge.state),
    )?;
    let purge = Purge {
        id: args.id,
        holder: args.holder,
        requester: call.msp().to_owned(),
        ground: args.ground,
        reference: args.reference,
        subject: args.subject,
        state,
        requested: call.now,
        reason: None,
        until: None,
        private: Vec::new(),
        vault_keys: Vec::new(),
        method: None,
        ended: None,
        tx: None,
        cert_hash: None,
    };
    save(call, &purge, "PurgeRequested")
}

fn require_requester(call: &mut Call<'_>, args: &RequestPurge) -> Result<(), Failure> {
    if call.role() == Some("patient") {
        call.require(&[Part::Citizen], &[])?;
        if args.subject.is_none() || call.sid() != args.subject.as_deref() {
            return Err(Failure::forbidden(
                "NOT_SUBJECT",
                "a patient asks for itself, with its own pseudonym as subject",
            ));
        }
        return Ok(());
    }
    if call.msp() == args.holder {
        return call.require(ALL_PARTS, CUSTODIAN_ROLES);
    }
    call.require(&[Part::Regulator], &["auditor"])
}

/// The request, if the caller answers for its holder, stepped to the state that the called
/// function leads to.
fn step_own(call: &mut Call<'_>, id: &str) -> Result<Purge, Failure> {
    call.require(ALL_PARTS, CUSTODIAN_ROLES)?;
    let mut purge = load(call, id)?.ok_or_else(|| Failure::not_found(format!("no purge {id}")))?;
    if purge.holder != call.msp() {
        return Err(Failure::forbidden(
            "NOT_HOLDER",
            format!("purge {id} is for {}", purge.holder),
        ));
    }
    purge.state = step(call, &format!("purge {id}"), Some(purge.state))?;
    purge.ended = Some(call.now);
    purge.tx = Some(call.stub.tx_id().to_owned());
    purge.cert_hash = Some(certificate_hash(call));
    Ok(purge)
}

/// SHA-256 of the creator's certificate: the certificate itself is in the block.
pub(super) fn certificate_hash(call: &Call<'_>) -> String {
    hex::encode(Sha256::digest(call.stub.creator().certificate()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusePurge {
    id: String,
    reason: String,
    until: i64,
}

/// Kept on a legal ground until a date; afterwards it is asked for anew.
pub(super) fn refuse(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RefusePurge = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut purge = step_own(call, &args.id)?;
    if purge.ground == Ground::Order && purge.requester != purge.holder {
        return Err(Failure::rule(
            "ORDERED",
            format!("purge {} was ordered by {}", purge.id, purge.requester),
        ));
    }
    if args.until <= call.now {
        return Err(Failure::rule("PERIOD", "until is a time in the future"));
    }
    purge.reason = Some(args.reason);
    purge.until = Some(args.until);
    save(call, &purge, "PurgeRefused")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrivateKeys {
    chaincode: String,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttestDestruction {
    id: String,
    #[serde(default)]
    private: Vec<PrivateKeys>,
    #[serde(default)]
    vault_keys: Vec<String>,
    method: String,
}

pub(super) fn attest(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: AttestDestruction = call.args()?;
    fields::code("method", &args.method)?;
    let mut purge = step_own(call, &args.id)?;
    let private_keys: usize = args.private.iter().map(|part| part.keys.len()).sum();
    if private_keys + args.vault_keys.len() == 0 {
        return Err(Failure::rule(
            "NOTHING_DESTROYED",
            "name private keys to purge, or fingerprints of vault keys that were destroyed",
        ));
    }
    if private_keys > MAX_KEYS || args.vault_keys.len() > MAX_KEYS {
        return Err(Failure::malformed(format!(
            "at most {MAX_KEYS} private keys and as many vault keys at once"
        )));
    }
    let mut vault_keys = args.vault_keys;
    vault_keys.sort();
    vault_keys.dedup();
    let holder = purge.holder.clone();
    for fingerprint in &vault_keys {
        fields::hash("vaultKeys", fingerprint)?;
        if call.exists("destroyedKey", &[&holder, fingerprint])? {
            return Err(Failure::conflict(
                "ALREADY_DESTROYED",
                format!("the key with fingerprint {fingerprint} was destroyed before"),
            ));
        }
        call.index("destroyedKey", &[&holder, fingerprint])?;
    }
    // Each contract once: within a transaction it does not see what it has purged already.
    let mut by_contract: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in args.private {
        fields::code("chaincode", &part.chaincode)?;
        by_contract
            .entry(part.chaincode)
            .or_default()
            .extend(part.keys);
    }
    for (chaincode, keys) in by_contract {
        let order = PurgePrivate {
            keys,
            ground: purge.ground,
            reference: purge.id.clone(),
        };
        let answer = ask(call, &chaincode, "PurgePrivate", &order)
            .and_then(|payload| parse::<PurgeAnswer>(&chaincode, &payload))?;
        purge
            .private
            .extend(answer.purged.into_iter().map(|value| PurgedValue {
                chaincode: chaincode.clone(),
                value,
            }));
    }
    purge.vault_keys = vault_keys;
    purge.method = Some(args.method);
    save(call, &purge, "DestructionAttested")
}

/// Calls a contract on this channel; its refusal becomes ours.
fn ask(
    call: &mut Call<'_>,
    chaincode: &str,
    function: &str,
    argument: &impl Serialize,
) -> Result<Vec<u8>, Failure> {
    let answer = call.ask(chaincode, function, argument)?;
    if answer.is_endorsable() {
        return Ok(answer.payload.to_vec());
    }
    Err(Failure::new(
        answer.status,
        "PURGE_REFUSED",
        format!("{chaincode} answers {function}: {}", answer.message),
    ))
}

fn parse<T: serde::de::DeserializeOwned>(chaincode: &str, payload: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(payload).map_err(|error| {
        Failure::new(
            500,
            "PURGE_REFUSED",
            format!("{chaincode} answers with something else: {error}"),
        )
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    let purge = visible(call, &args.id)?;
    Ok(Outcome::of(&purge))
}

/// For the requester, the holder, regulators and the subject; to all others there is none.
fn visible(call: &mut Call<'_>, id: &str) -> Result<Purge, Failure> {
    let missing = || Failure::not_found(format!("no purge {id}"));
    let purge = load(call, id)?.ok_or_else(missing)?;
    let msp = call.msp().to_owned();
    let visible = if matches!(call.role(), Some("patient" | "guardian")) {
        purge.subject.is_some() && call.sid() == purge.subject.as_deref()
    } else {
        purge.holder == msp || purge.requester == msp || call.config()?.plays(&msp, Part::Regulator)
    };
    if visible { Ok(purge) } else { Err(missing()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyErasure {
    id: String,
    #[serde(default)]
    records: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    chaincode: String,
    key_hash: String,
    value_hash: String,
    /// The contract that kept it has its own record, with the same hashes.
    recorded: bool,
    /// The ledger knows of no value there now.
    gone: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    id: String,
    state: State,
    /// Destroyed, each private value recorded and gone, and the decision as it has to be.
    erased: bool,
    private: Vec<Check>,
    vault_keys: Vec<String>,
    /// The state of the erasure in `records` that it rests on, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
}

/// What the ledger itself can say about an erasure: the private values are gone, the records of
/// their deletion agree. That keys of a vault are destroyed is the holder's word.
pub(super) fn verify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: VerifyErasure = call.args()?;
    let purge = visible(call, &args.id)?;
    let mut private = Vec::with_capacity(purge.private.len());
    for purged in &purge.private {
        let question = ReadPurged {
            org: purge.holder.clone(),
            key_hash: purged.value.key_hash.clone(),
            reference: purge.id.clone(),
        };
        let status = ask(call, &purged.chaincode, "ReadPurged", &question)
            .and_then(|payload| parse::<PurgedStatus>(&purged.chaincode, &payload));
        let (recorded, gone) = match status {
            Ok(status) => (
                status.record.value_hash == purged.value.value_hash,
                !status.present,
            ),
            Err(failure) if failure.status < 500 => (false, false),
            Err(failure) => return Err(failure),
        };
        private.push(Check {
            chaincode: purged.chaincode.clone(),
            key_hash: purged.value.key_hash.clone(),
            value_hash: purged.value.value_hash.clone(),
            recorded,
            gone,
        });
    }
    let decision = match (&args.records, &purge.reference) {
        (Some(records), Some(erase_id)) => {
            let question = json!({"eraseId": erase_id});
            let state = match ask(call, records, "ReadErasure", &question) {
                Ok(payload) => parse::<Decision>(records, &payload)?.state,
                Err(failure) if failure.status < 500 => "Unreadable".to_owned(),
                Err(failure) => return Err(failure),
            };
            Some(state)
        }
        _ => None,
    };
    let decided = decision
        .as_deref()
        .is_none_or(|state| matches!(state, "Accepted" | "Erased"));
    let erased = purge.state == State::Destroyed
        && decided
        && private.iter().all(|check| check.recorded && check.gone);
    Ok(Outcome::of(&Verified {
        id: purge.id,
        state: purge.state,
        erased,
        private,
        vault_keys: purge.vault_keys,
        decision,
    }))
}

/// What matters here of an erasure in `records`.
#[derive(Deserialize)]
struct Decision {
    state: String,
}
