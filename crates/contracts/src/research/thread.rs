//! Reading consultations: what everybody sees, what the two parties see, and which of the records
//! that a question names the caller would be shown.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::consult::{ByCon, Letter, load, need_party, opinion_key, question_key};
use super::model::Consult;
use super::party::ids;
use crate::failure::Failure;
use crate::fields;
use crate::purge::own_collection;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// The chaincode that decides on access to records.
const RECORDS: &str = "records";

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByCon = call.args()?;
    let mut consult = load(call, &args.con)?;
    consult.state = consult.state_at(call.now);
    Ok(Outcome::of(&consult))
}

fn letter(call: &mut Call<'_>, con: &str, key: &str) -> Result<Letter, Failure> {
    let collection = own_collection(call.msp());
    let bytes = call.stub.get_private(&collection, key)?.ok_or_else(|| {
        Failure::new(
            404,
            "PRIVATE_DATA_NOT_HERE",
            format!(
                "this peer does not hold the letters of consultation {con}, or they were purged"
            ),
        )
    })?;
    decode("letter", &bytes)
}

/// A consultation whose letters the caller may read.
fn load_as_party(call: &mut Call<'_>) -> Result<Consult, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    let args: ByCon = call.args()?;
    let consult = load(call, &args.con)?;
    need_party(call, &consult)?;
    Ok(consult)
}

#[derive(Serialize)]
struct Thread {
    consult: Consult,
    question: Letter,
    opinion: Option<Letter>,
}

pub(super) fn read_thread(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let mut consult = load_as_party(call)?;
    let question = letter(call, &consult.id, &question_key(&consult.id))?;
    let opinion = match consult.opinion_hash {
        Some(_) => Some(letter(call, &consult.id, &opinion_key(&consult.id))?),
        None => None,
    };
    consult.state = consult.state_at(call.now);
    Ok(Outcome::of(&Thread {
        consult,
        question,
        opinion,
    }))
}

/// The records contract's answer to a dry run.
#[derive(Deserialize)]
struct DryRun {
    decision: String,
    code: String,
}

#[derive(Serialize)]
struct Access {
    id: String,
    decision: String,
    code: String,
}

#[derive(Serialize)]
struct Accesses {
    records: Vec<Access>,
}

/// What the records contract would decide if the caller asked for each record of the question,
/// for treatment. Nothing is granted by it: who wants to read asks there.
pub(super) fn check_access(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let consult = load_as_party(call)?;
    let question = letter(call, &consult.id, &question_key(&consult.id))?;
    let mut records = Vec::new();
    for id in question.records {
        let ask = json!({"target": {"records": [id]}, "purpose": "TREAT"});
        let answer = call.ask(RECORDS, "EvaluateAccess", &ask)?;
        let (decision, code) = if answer.is_endorsable() {
            let dry: DryRun = decode("answer of records", &answer.payload)?;
            (dry.decision, dry.code)
        } else {
            let code = answer.message.split(':').next().unwrap_or_default();
            ("Denied".to_owned(), code.to_owned())
        };
        records.push(Access { id, decision, code });
    }
    Ok(Outcome::of(&Accesses { records }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    org: String,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Consults {
    consults: Vec<String>,
    bookmark: Option<String>,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: List = call.args()?;
    fields::msp("org", &args.org)?;
    let (consults, bookmark) = ids(call, "conOf", &[&args.org], args.bookmark.as_deref())?;
    Ok(Outcome::of(&Consults { consults, bookmark }))
}
