use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::token::{self, CardKey, Claims};
use crate::caller::Caller;
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity, leaks};
use crate::vault::{hash, pseudonym};

mod admission;
mod people;
mod privacy;
mod refusals;
mod sequences;
mod story;
mod transitions;

/// The standards' own examples.
pub(crate) const LI: &str = "11010519491231002X";
const WANG: &str = "440524188001010014";
const DAY: i64 = 86_400;
const SALT: &str = "8d3b5f0c9a1e4726b0c2d4e6f8091a2b";
/// The facility in the certificates of the hospital's staff.
const WARD: &str = "fac-h1";

fn with(msp: &str, attributes: &[(&str, &str)]) -> Caller {
    let name: Vec<_> = attributes.iter().map(|(_, value)| *value).collect();
    Caller::for_tests(msp, &format!("u-{}", name.join("-")), attributes)
}
pub(crate) fn issuer() -> Caller {
    with("CitizenMSP", &[("hc.role", "issuer")])
}
fn desk() -> Caller {
    with(
        "HospitalMSP",
        &[("hc.role", "records"), ("hc.facility", WARD)],
    )
}
fn clinic() -> Caller {
    with("ClinicMSP", &[("hc.role", "nurse")])
}
fn insurer() -> Caller {
    with("InsurerMSP", &[("hc.role", "adjudicator")])
}
fn auditor() -> Caller {
    with("RegulatorMSP", &[("hc.role", "auditor")])
}
fn patient(sid: &str) -> Caller {
    with("CitizenMSP", &[("hc.role", "patient"), ("hc.sid", sid)])
}
fn guardian(sid: &str) -> Caller {
    with("HospitalMSP", &[("hc.role", "guardian"), ("hc.sid", sid)])
}

fn epoch_key(epoch: u32, sector: &str) -> String {
    hash(format!("{sector} {epoch}").as_bytes())
}

/// A person's care pseudonym.
pub(crate) fn sid(id: &str, epoch: u32) -> String {
    let key = hex::decode(epoch_key(epoch, "care")).unwrap();
    pseudonym(&key, "resident-id", id)
}

/// A resident's number by birth date and order.
fn resident(birth: &str, order: u16) -> String {
    let digits = format!("110105{}{order:03}", birth.replace('-', ""));
    let check = super::identity::check_character(digits.as_bytes().try_into().unwrap()).unwrap();
    format!("{digits}{}", char::from(check))
}

fn birth_of(id: &str) -> String {
    format!("{}-{}-{}", &id[6..10], &id[10..12], &id[12..14])
}

fn proof(id: &str) -> Value {
    json!({"idType": "resident-id", "idNo": id, "name": "张三 Hermiston71", "birth": birth_of(id), "salt": SALT})
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("card", function, caller).json(&args)
}

fn with_proof(function: &str, caller: &Caller, args: Value, proof: &Value) -> Proposal {
    call(function, caller, args).transient("proof", proof.to_string())
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn refused(response: &Response, status: i32, code: &str) {
    assert!(
        response.status == status && response.message.starts_with(&format!("{code}: ")),
        "expected {status} {code}, got {} {} {}",
        response.status,
        response.message,
        String::from_utf8_lossy(&response.payload)
    );
    assert!(response.payload.is_empty());
}

/// A channel with a card bureau, and the cards' private keys, which no ledger has.
pub(crate) struct World {
    pub(crate) ledger: TestLedger,
    /// By handle.
    pub(crate) keys: BTreeMap<String, (Vec<u8>, CardKey)>,
    tokens: u32,
}

impl World {
    /// With the keys of a first epoch.
    fn new() -> Self {
        let mut world = World {
            ledger: TestLedger::new(),
            keys: BTreeMap::new(),
            tokens: 0,
        };
        body(&world.ledger.submit(set_epoch(1)));
        world
    }

    /// With an open card of Li.
    pub(crate) fn with_card(handle: &str) -> Self {
        let mut world = World::new();
        world.open(handle, LI);
        world
    }

    pub(crate) fn ok(&mut self, function: &str, caller: &Caller, args: Value) -> Value {
        body(&self.ledger.submit(call(function, caller, args)))
    }

    fn no(&mut self, function: &str, caller: &Caller, args: Value, status: i32, code: &str) {
        let height = self.ledger.height();
        refused(
            &self.ledger.submit(call(function, caller, args)),
            status,
            code,
        );
        assert_eq!(self.ledger.height(), height);
    }

    fn ask(&self, function: &str, caller: &Caller, args: Value) -> Value {
        body(&self.ledger.evaluate(call(function, caller, args)))
    }

    /// A key pair for a card, the same for the same handle.
    fn key(&mut self, handle: &str) -> Value {
        let (_, public) = self.keys.entry(handle.to_owned()).or_insert_with(|| {
            let (private, public) = token::generate().unwrap();
            (private.to_vec(), public)
        });
        serde_json::to_value(public).unwrap()
    }

    fn application(&mut self, caller: &Caller, handle: &str, proof: &Value) -> Proposal {
        let args = json!({"handle": handle, "scheme": "health-card", "cardKey": self.key(handle)});
        with_proof("Apply", caller, args, proof)
    }

    fn apply(&mut self, caller: &Caller, handle: &str, id: &str) -> Response {
        let proposal = self.application(caller, handle, &proof(id));
        self.ledger.submit(proposal)
    }

    fn open(&mut self, handle: &str, id: &str) {
        body(&self.apply(&issuer(), handle, id));
        let activation = activation(handle);
        body(&self.ledger.submit(activation));
    }

    pub(crate) fn replacement(&mut self, handle: &str, new: &str) -> Proposal {
        let args = json!({"handle": handle, "newHandle": new, "newKey": self.key(new), "validTo": START + 400 * DAY});
        call("Replace", &issuer(), args)
    }

    /// A token of a card that is made now.
    fn token(&mut self, handle: &str, audience: &str) -> String {
        self.tokens += 1;
        let claims = Claims {
            sub: handle.to_owned(),
            aud: audience.to_owned(),
            iat: self.ledger.now(),
            exp: self.ledger.now() + 60,
            jti: format!("n-{}", self.tokens),
        };
        self.sign(handle, &claims)
    }

    fn sign(&mut self, handle: &str, claims: &Claims) -> String {
        self.key(handle);
        token::issue(&self.keys[handle].0, claims).unwrap()
    }

    fn admission(&mut self, caller: &Caller, id: &str, handle: &str, token: &str) -> Proposal {
        let args = json!({"checkInId": id, "handle": handle, "token": token});
        call("CheckIn", caller, args)
    }

    /// The verdict of showing a card at the hospital.
    fn check_in(&mut self, id: &str, handle: &str, token: &str) -> String {
        let proposal = self.admission(&desk(), id, handle, token);
        let answer = body(&self.ledger.submit(proposal));
        answer["code"].as_str().unwrap().to_owned()
    }

    fn state(&self, handle: &str) -> String {
        let card = self.ask("ReadCard", &auditor(), json!({"handle": handle}));
        card["state"].as_str().unwrap().to_owned()
    }

    fn last_event(&self) -> (String, Value) {
        let (name, payload) = self.ledger.events().last().unwrap();
        (name.clone(), serde_json::from_slice(payload).unwrap())
    }
}

fn set_epoch(epoch: u32) -> Proposal {
    let keys = json!({
        "care": epoch_key(epoch, "care"), "pay": epoch_key(epoch, "pay"),
        "device": epoch_key(epoch, "device"), "salt": SALT,
    });
    call("SetEpochKey", &issuer(), json!({"epoch": epoch})).transient("keys", keys.to_string())
}

fn activation(handle: &str) -> Proposal {
    let args = json!({"handle": handle, "evidenceHash": hash(b"form"), "level": 2, "validTo": START + 365 * DAY});
    call("Activate", &issuer(), args)
}

pub(crate) fn reason(handle: &str, reason: &str) -> Value {
    json!({"handle": handle, "reason": reason})
}
