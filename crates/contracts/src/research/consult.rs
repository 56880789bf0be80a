//! Consultations: a practitioner asks one of another organization. Question and opinion go with
//! equal bytes into both parties' implicit collections, their hashes go on the ledger.

use serde::{Deserialize, Serialize};

use super::model::{Consult, State, Thing, step};
use super::output::credit;
use super::party::{pid, unused};
use crate::failure::Failure;
use crate::fields;
use crate::purge::own_collection;
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::vault::hash;

const MAX_PRIVATE_BYTES: usize = 64 * 1024;
/// Records that a question may refer to.
const MAX_RECORDS: usize = 32;
/// The longest time that a request may stay open, in seconds.
const MAX_OPEN: i64 = 90 * 24 * 3600;

const SHAPE: &str = r#"{"text","records"?:[id],"salt": at least 32 hexadecimal digits}"#;

/// A question or an opinion as both parties hold it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Letter {
    pub text: String,
    /// Ids of records that it refers to. Reading them is asked for at the records contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
    pub salt: String,
}

pub(super) fn question_key(con: &str) -> String {
    format!("question-{con}")
}

pub(super) fn opinion_key(con: &str) -> String {
    format!("opinion-{con}")
}

/// Checks a letter of the transient map against its hash and writes its bytes, as they came, into
/// both collections.
fn put_letter(
    call: &mut Call<'_>,
    name: &str,
    expected: &str,
    key: &str,
    parties: [&str; 2],
) -> Result<(), Failure> {
    fields::hash(&format!("{name}Hash"), expected)?;
    let Some(letter) = call.transient::<Letter>(name, SHAPE)? else {
        return Err(Failure::malformed(format!(
            "{} needs {SHAPE} in the transient map under '{name}'",
            call.function()
        )));
    };
    // Sentences do not repeat what was sent: refusals are logged.
    fields::salt(&letter.salt)?;
    if letter.text.is_empty() || letter.records.len() > MAX_RECORDS {
        return Err(Failure::malformed(format!(
            "the transient {name} needs a text, and has at most {MAX_RECORDS} records"
        )));
    }
    for id in &letter.records {
        fields::id("a record of the letter", id)?;
    }
    // Found by `transient` above.
    let bytes = call.stub.transient().get(name).cloned().unwrap_or_default();
    if bytes.len() > MAX_PRIVATE_BYTES {
        return Err(Failure::malformed(format!(
            "the transient {name} has at most {MAX_PRIVATE_BYTES} bytes: refer to records for more"
        )));
    }
    if hash(&bytes) != expected {
        return Err(Failure::rule(
            "COMMIT_MISMATCH",
            format!("{name}Hash is not the SHA-256 of the transient {name}"),
        ));
    }
    for msp in parties {
        call.stub.put_private(&own_collection(msp), key, &bytes)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    con: String,
    to: String,
    #[serde(default)]
    to_pid: Option<String>,
    specialty: String,
    question_hash: String,
    expires: i64,
}

pub(super) fn request(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    call.require_practitioner("physician")?;
    let pid = pid(call)?;
    let args: Request = call.args()?;
    fields::id("con", &args.con)?;
    fields::code("specialty", &args.specialty)?;
    if let Some(to) = &args.to_pid {
        fields::code("toPid", to)?;
    }
    unused(call, "con", &args.con)?;
    let org = call.msp().to_owned();
    if args.to == org || args.to_pid.as_ref() == Some(&pid) {
        return Err(Failure::rule(
            "SELF_CONSULT",
            "a consultation is with somebody else, of another organization",
        ));
    }
    if !call.config()?.plays(&args.to, Part::Provider) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{} is no provider on this channel", args.to),
        ));
    }
    if args.expires <= call.now || args.expires - call.now > MAX_OPEN {
        return Err(Failure::rule(
            "PERIOD",
            format!("expires is a time to come, at most {MAX_OPEN} s away"),
        ));
    }
    let key = question_key(&args.con);
    put_letter(
        call,
        "question",
        &args.question_hash,
        &key,
        [&org, &args.to],
    )?;
    let consult = Consult {
        id: args.con,
        org,
        pid,
        to: args.to,
        to_pid: args.to_pid,
        specialty: args.specialty,
        question_hash: args.question_hash,
        expires: args.expires,
        state: State::Requested,
        consultant: None,
        opinion_hash: None,
        fee_ref: None,
        rating: None,
        forgotten: Vec::new(),
        at: call.now,
    };
    for msp in [&consult.org, &consult.to] {
        call.index("conOf", &[msp, &consult.id])?;
    }
    save(call, consult, "ConsultRequested")
}

/// Writes a consultation and tells the other party of it.
fn save(
    call: &mut Call<'_>,
    mut consult: Consult,
    event: &'static str,
) -> Result<Outcome, Failure> {
    consult.at = call.now;
    call.store("con", &[&consult.id], &consult)?;
    let other = if call.msp() == consult.to {
        &consult.org
    } else {
        &consult.to
    };
    let state = consult.state.name();
    Ok(Outcome::changed(&consult.id, state).event(call, event, &consult.id, state, other))
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Consult, Failure> {
    fields::id("con", id)?;
    call.load("con", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no consultation {id}")))
}

fn forward(call: &Call<'_>, consult: &mut Consult, to: State) -> Result<(), Failure> {
    let from = consult.state_at(call.now);
    consult.state = step(Thing::Consult, &consult.id, from, call.function(), to)?;
    Ok(())
}

/// Refuses everybody but the organization that is asked, and there the one that is meant.
fn need_addressee(call: &Call<'_>, consult: &Consult, pid: &str) -> Result<(), Failure> {
    let meant = consult.to_pid.as_deref().is_none_or(|meant| meant == pid);
    if call.msp() == consult.to && meant {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_ADDRESSEE",
        format!("consultation {} is addressed to another", consult.id),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Accept {
    con: String,
    question_hash: String,
}

/// The consultant says which question was read: it has to be the one of both collections.
pub(super) fn accept(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    call.require_practitioner("physician")?;
    let pid = pid(call)?;
    let args: Accept = call.args()?;
    fields::hash("questionHash", &args.question_hash)?;
    let mut consult = load(call, &args.con)?;
    need_addressee(call, &consult, &pid)?;
    if pid == consult.pid {
        return Err(Failure::rule(
            "SELF_CONSULT",
            "nobody answers a question of one's own",
        ));
    }
    forward(call, &mut consult, State::Accepted)?;
    let mut equal = args.question_hash == consult.question_hash;
    for msp in [&consult.org, &consult.to] {
        let key = question_key(&consult.id);
        let held = call.stub.get_private_hash(&own_collection(msp), &key)?;
        equal &= held.is_some_and(|held| hex::encode(held) == consult.question_hash);
    }
    if !equal {
        return Err(Failure::rule(
            "COMMIT_MISMATCH",
            format!(
                "questionHash is not that of the question that both parties to {} hold",
                consult.id
            ),
        ));
    }
    consult.consultant = Some(pid);
    save(call, consult, "ConsultAccepted")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostOpinion {
    con: String,
    opinion_hash: String,
    #[serde(default)]
    fee_ref: Option<String>,
}

/// The caller's signature on this transaction, with the hash of the opinion in it, signs the
/// opinion.
pub(super) fn post_opinion(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    call.require_practitioner("physician")?;
    let pid = pid(call)?;
    let args: PostOpinion = call.args()?;
    if let Some(fee) = &args.fee_ref {
        fields::code("feeRef", fee)?;
    }
    let mut consult = load(call, &args.con)?;
    need_addressee(call, &consult, &pid)?;
    forward(call, &mut consult, State::Answered)?;
    if consult.consultant.as_deref() != Some(&pid) {
        return Err(Failure::forbidden(
            "NOT_CONSULTANT",
            format!("consultation {} was accepted by another", consult.id),
        ));
    }
    let key = opinion_key(&consult.id);
    let parties = [consult.org.as_str(), consult.to.as_str()];
    put_letter(call, "opinion", &args.opinion_hash, &key, parties)?;
    consult.opinion_hash = Some(args.opinion_hash);
    consult.fee_ref = args.fee_ref;
    save(call, consult, "OpinionPosted")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    con: String,
    rating: u8,
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    let args: Close = call.args()?;
    if !(1..=5).contains(&args.rating) {
        return Err(Failure::malformed("rating is 1 to 5"));
    }
    let mut consult = load(call, &args.con)?;
    if call.msp() != consult.org {
        return Err(Failure::forbidden(
            "NOT_REQUESTER",
            format!(
                "consultation {} was asked for by {}",
                consult.id, consult.org
            ),
        ));
    }
    forward(call, &mut consult, State::Closed)?;
    consult.rating = Some(args.rating);
    let to = consult.to.clone();
    credit(call, &to, "consult", &consult.id)?;
    save(call, consult, "ConsultClosed")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByCon {
    pub con: String,
}

/// Refuses everybody but the two parties.
pub(super) fn need_party(call: &Call<'_>, consult: &Consult) -> Result<(), Failure> {
    if [&consult.org, &consult.to]
        .iter()
        .any(|msp| *msp == call.msp())
    {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PARTY",
        format!("consultation {} is between two others", consult.id),
    ))
}

pub(super) fn expire(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &[])?;
    let args: ByCon = call.args()?;
    let mut consult = load(call, &args.con)?;
    need_party(call, &consult)?;
    // From the stored state: it is this that is brought up to date.
    consult.state = step(
        Thing::Consult,
        &consult.id,
        consult.state,
        call.function(),
        State::Expired,
    )?;
    if call.now < consult.expires {
        return Err(Failure::rule(
            "NOT_DUE",
            format!(
                "consultation {} is open until {}",
                consult.id, consult.expires
            ),
        ));
    }
    save(call, consult, "ConsultExpired")
}

/// One party purges question and opinion at every peer of its own. The hashes stay.
pub(super) fn forget(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["dpo", "records"])?;
    let args: ByCon = call.args()?;
    let mut consult = load(call, &args.con)?;
    need_party(call, &consult)?;
    let state = consult.state_at(call.now);
    forward(call, &mut consult, state)?;
    let msp = call.msp().to_owned();
    if consult.forgotten.contains(&msp) {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("{msp} has purged its copy of {}", consult.id),
        ));
    }
    let collection = own_collection(&msp);
    call.stub
        .purge_private(&collection, &question_key(&consult.id))?;
    if consult.opinion_hash.is_some() {
        call.stub
            .purge_private(&collection, &opinion_key(&consult.id))?;
    }
    consult.forgotten.push(msp);
    save(call, consult, "ConsultForgotten")
}
