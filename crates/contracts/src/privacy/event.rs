//! Audit events from outside: of a hospital's own systems, a FHIR server, a card reader. What the
//! contracts decide themselves is in their own transactions and comes here only if a gateway
//! reports it.

use serde::Deserialize;

use super::destruction::certificate_hash;
use super::model::{Action, Agent, Event, EventOutcome, Sealed, State, step};
use crate::failure::Failure;
use crate::fields;
use crate::merkle::leaf_hash;
use crate::records::model::Purpose;
use crate::request::{Call, MAX_CLOCK_SKEW_SECONDS, Outcome, to_json};
use crate::roles::{ALL_PARTS, Part};

const MAX_ENTITIES: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Append {
    event: NewEvent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    action: Action,
    outcome: EventOutcome,
    purpose: Purpose,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    entities: Vec<String>,
    #[serde(default)]
    agent: Option<Agent>,
    #[serde(default)]
    decision: Option<String>,
    at: i64,
}

/// A code, or 422 `FREE_TEXT`: text that people write names people.
fn coded(name: &str, value: &str) -> Result<(), Failure> {
    fields::code(name, value)
        .map_err(|_| Failure::rule("FREE_TEXT", format!("{name} is a code, not free text")))
}

impl NewEvent {
    fn check(&self, now: i64) -> Result<(), Failure> {
        fields::id("id", &self.id)?;
        coded("type", &self.kind)?;
        if let Some(subject) = &self.subject {
            fields::sid("subject", subject)?;
        }
        if self.entities.len() > MAX_ENTITIES {
            return Err(Failure::malformed(format!(
                "an event has at most {MAX_ENTITIES} entities, got {}",
                self.entities.len()
            )));
        }
        for entity in &self.entities {
            // With a blank it is no reference that was mistyped but somebody's sentence.
            if entity.contains(char::is_whitespace) {
                return Err(Failure::rule(
                    "FREE_TEXT",
                    "an entity is 'Type/id', not free text",
                ));
            }
            fields::reference(entity)?;
        }
        if let Some(agent) = &self.agent {
            agent.pid.as_ref().map_or(Ok(()), |pid| coded("pid", pid))?;
            agent
                .role
                .as_ref()
                .map_or(Ok(()), |role| coded("role", role))?;
        }
        if let Some(decision) = &self.decision {
            coded("decision", decision)?;
        }
        if self.at < 0 || self.at > now.saturating_add(MAX_CLOCK_SKEW_SECONDS) {
            return Err(Failure::rule(
                "EVENT_TIME",
                "an event is recorded after it happened, and after 1970",
            ));
        }
        Ok(())
    }
}

pub(super) fn append(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(ALL_PARTS, &[])?;
    if matches!(call.role(), Some("patient" | "guardian")) {
        return Err(Failure::forbidden(
            "WRONG_ROLE",
            "Append is for the systems of organizations, not for patients and guardians",
        ));
    }
    let new = call.args::<Append>()?.event;
    new.check(call.now)?;
    let existing: Option<Event> = call.load("ev", &[&new.id])?;
    let state = step(
        call,
        &format!("event {}", new.id),
        existing.map(|_| State::Recorded),
    )?;
    // Read in every Append: a checkpoint that is committed meanwhile makes this one invalid, so
    // that nothing ever comes under a seal that is closed.
    let sealed: Sealed = call.load("sealed", &[])?.unwrap_or_default();
    if call.now < sealed.to {
        return Err(Failure::conflict(
            "SEALED",
            format!(
                "events until {} are sealed by checkpoint {}, send it again with the time of now",
                sealed.to, sealed.n
            ),
        ));
    }
    let own = |name: &str| call.stub.creator().attribute(name).map(str::to_owned);
    let agent = new.agent.unwrap_or_else(|| Agent {
        pid: own("hc.pid"),
        role: own("hc.role"),
    });
    let event = Event {
        id: new.id,
        org: call.msp().to_owned(),
        cert_hash: certificate_hash(call),
        agent,
        kind: new.kind,
        action: new.action,
        outcome: new.outcome,
        purpose: new.purpose,
        subject: new.subject,
        entities: new.entities,
        decision: new.decision,
        at: new.at,
        recorded: call.now,
        tx: call.stub.tx_id().to_owned(),
    };
    call.store("ev", &[&event.id], &event)?;
    // The entries of the indexes hold the leaf of the Merkle tree, so that sealing reads one range.
    let leaf = hex::encode(leaf_hash(&to_json(&event)));
    let time = fields::sortable(event.recorded);
    call.store("evAt", &[&time, &event.id], &leaf)?;
    call.store("evBy", &[&event.org, &time, &event.id], &leaf)?;
    call.store("evOut", &[event.outcome.code(), &time, &event.id], &leaf)?;
    if let Some(subject) = &event.subject {
        call.store("evOf", &[subject, &time, &event.id], &leaf)?;
    }
    let state = state.name();
    Ok(Outcome::changed(&event.id, state).event(call, "Recorded", &event.id, state, ""))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadEvent {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadEvent = call.args()?;
    let event = visible(call, &args.id)?;
    Ok(Outcome::of(&event))
}

/// For the organization that recorded it, regulators and the subject; to all others there is none.
pub(super) fn visible(call: &mut Call<'_>, id: &str) -> Result<Event, Failure> {
    fields::id("id", id)?;
    let missing = || Failure::not_found(format!("no event {id}"));
    let event: Event = call.load("ev", &[id])?.ok_or_else(missing)?;
    let msp = call.msp().to_owned();
    let visible = if matches!(call.role(), Some("patient" | "guardian")) {
        event.subject.is_some() && call.sid() == event.subject.as_deref()
    } else {
        event.org == msp || call.config()?.plays(&msp, Part::Regulator)
    };
    if visible { Ok(event) } else { Err(missing()) }
}
