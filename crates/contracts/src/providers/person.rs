//! Who a practitioner is: in the collection `providers` only, under the credential's random id.

use serde::{Deserialize, Serialize};

use super::COLLECTION;
use super::life::load;
use super::model::{Credential, State};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

const MAX_CHARS: usize = 200;
const SHAPE: &str = r#"{"name","licenceNo","contact"?,"salt": at least 32 hexadecimal digits}"#;

/// A private value.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Person {
    name: String,
    licence_no: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    salt: String,
}

/// Reads and checks the transient `person`. Refusals do not repeat what is in it.
pub(super) fn from_transient(call: &Call<'_>) -> Result<Person, Failure> {
    let person: Person = call.transient("person", SHAPE)?.ok_or_else(|| {
        Failure::malformed(format!(
            "{} needs {SHAPE} in the transient map under 'person'",
            call.function()
        ))
    })?;
    check_text("name", &person.name)?;
    check_text("licenceNo", &person.licence_no)?;
    if let Some(contact) = &person.contact {
        check_text("contact", contact)?;
    }
    fields::salt(&person.salt)?;
    Ok(person)
}

/// Text of a transient value: there, of one line, and not endless.
pub(super) fn check_text(name: &str, text: &str) -> Result<(), Failure> {
    let chars = text.chars().count();
    if (1..=MAX_CHARS).contains(&chars) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::malformed(format!(
        "the transient {name} has 1 to {MAX_CHARS} printable characters"
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ByCredential {
    cred_id: String,
}

fn credential(call: &mut Call<'_>) -> Result<Credential, Failure> {
    let args: ByCredential = call.args()?;
    fields::id("credId", &args.cred_id)?;
    load(call, &[&args.cred_id])
}

fn not_here(id: &str) -> Failure {
    Failure::new(
        404,
        "PRIVATE_DATA_NOT_HERE",
        format!("nobody keeps who credential {id} is of any more"),
    )
}

/// For the regulator, and for the organization that applied.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Regulator, Part::Provider, Part::Research],
        &["certifier", "inspector", "records", "curator"],
    )?;
    let credential = credential(call)?;
    let msp = call.msp().to_owned();
    if credential.org != msp && !call.config()?.plays(&msp, Part::Regulator) {
        return Err(Failure::forbidden(
            "NOT_APPLICANT",
            format!("credential {} is of {}", credential.id, credential.org),
        ));
    }
    let bytes = call
        .stub
        .get_private(COLLECTION, &credential.id)?
        .ok_or_else(|| not_here(&credential.id))?;
    Ok(Outcome::of(&decode::<Person>("person", &bytes)?))
}

/// Takes the personal data behind a revoked credential off every peer, with its history. The
/// credential stays, with the pseudonym.
pub(super) fn purge(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let credential = credential(call)?;
    let state = credential.life.now.state;
    if state != State::Revoked {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "credential {} is {}, PurgePerson needs Revoked",
                credential.id,
                state.name()
            ),
        ));
    }
    // By its hash, so that a peer without the value computes the same.
    if call
        .stub
        .get_private_hash(COLLECTION, &credential.id)?
        .is_none()
    {
        return Err(not_here(&credential.id));
    }
    call.stub.purge_private(COLLECTION, &credential.id)?;
    Ok(Outcome::changed(&credential.id, state.name()).event(
        call,
        "PersonPurged",
        &credential.id,
        state.name(),
        "",
    ))
}
