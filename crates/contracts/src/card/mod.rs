//! The `card` contract: opening and using a health card.
//!
//! A card is a random handle, a pseudonym and a public key; who the holder is stays in a
//! collection of the card bureau and the regulator. Files by subject: `model` (what is kept, and
//! which states may follow which), `identity` and `number` (what proofs of identity and printed
//! numbers look like, pure), `token` (the card's signed statements, pure), `application` (Apply
//! and Activate), `life` (suspended, replaced, revoked, closed), `epoch` (the keys of the
//! pseudonyms), `holder` (who may speak for a card), `binding`, `checkin`, `policy` (who has to
//! endorse), and `national` (numbers of another system, off the ledger).

mod application;
mod binding;
mod checkin;
mod epoch;
mod holder;
pub mod identity;
mod life;
mod model;
pub mod national;
pub mod number;
mod policy;
#[cfg(test)]
pub(crate) mod tests;
pub mod token;

use crate::contract::{CollectionDeclaration, Contract, Deployment, Response, out_of};
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `card`; its functions are in `docs/health/card.md`.
pub struct HealthCards;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    SubmitTransient "SetEpochKey" r#"{"epoch":number} and transient 'keys'"# => epoch::set;
    Submit "RetireEpoch" r#"{"epoch":number}"# => epoch::retire;
    Evaluate "ReadEpochs" "{}" => epoch::read;
    Evaluate "DerivePseudonym" r#"{"sector":"care|pay|device","epoch"?:number} and transient 'proof'"# => epoch::derive;
    SubmitTransient "Apply" r#"{"handle","scheme":"health-card|social-security","cardKey":{"kty":"EC","crv":"P-256","x","y"}} and transient 'proof'"# => application::apply;
    Submit "Activate" r#"{"handle","evidenceHash","level":1|2|3,"validTo":seconds}"# => application::activate;
    Submit "Suspend" r#"{"handle","reason"}"# => life::suspend;
    Submit "Resume" r#"{"handle","reason"}"# => life::resume;
    SubmitTransient "Replace" r#"{"handle","newHandle","newKey":{"kty":"EC","crv":"P-256","x","y"},"validTo":seconds}, and transient 'print' if the new card has a number"# => life::replace;
    Submit "Revoke" r#"{"handle","reason"}"# => life::revoke;
    Submit "CloseCard" r#"{"handle"}"# => life::close;
    Submit "PurgeHolder" r#"{"handle"}"# => life::purge_holder;
    Evaluate "ReadCard" r#"{"handle"}"# => life::read;
    Evaluate "CardHistory" r#"{"handle"}"# => life::history;
    Evaluate "CardsOf" r#"{"sid"}"# => life::cards_of;
    Evaluate "VerifyHolder" r#"{"handle"} and transient 'proof'"# => holder::verify;
    Submit "LinkGuardian" r#"{"guardianSid","sid","until":seconds,"evidenceHash"}"# => holder::link_guardian;
    Submit "UnlinkGuardian" r#"{"guardianSid","sid"}"# => holder::unlink_guardian;
    Submit "BindFacility" r#"{"handle","org":MSP id,"facility"?,"token"?}"# => binding::bind;
    Submit "UnbindFacility" r#"{"handle","org":MSP id,"facility"?}"# => binding::unbind;
    Evaluate "Bindings" r#"{"handle"}"# => binding::list;
    Submit "CheckIn" r#"{"checkInId","handle","token"}"# => checkin::check_in;
    Evaluate "VerifyToken" r#"{"handle","token","facility"}"# => checkin::verify;
    Evaluate "ReadCheckIn" r#"{"checkInId"}"# => checkin::read;
    Evaluate "CardUses" r#"{"handle","bookmark"?}"# => checkin::uses;
};

const BUREAU: &str = "CitizenMSP";
const REGULATOR: &str = "RegulatorMSP";

impl Contract for HealthCards {
    fn name(&self) -> &'static str {
        "card"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        // The pseudonyms' keys are with these two, and with nobody else.
        let keepers = [BUREAU, REGULATOR];
        if !keepers
            .iter()
            .all(|keeper| organizations.iter().any(|there| there == keeper))
        {
            return None;
        }
        let endorsers = [BUREAU, REGULATOR, "HospitalMSP", "ClinicMSP"];
        let collection = |name: &str, open_for_writing| CollectionDeclaration {
            name: name.to_owned(),
            members: keepers.map(str::to_owned).to_vec(),
            endorsement: Some(format!("AND('{BUREAU}.peer','{REGULATOR}.peer')")),
            open_for_writing,
        };
        Some(Deployment {
            policy: out_of(2, &endorsers, organizations)?,
            collections: vec![
                // A hospital's desk applies, and a patient with a hospital's certificate closes.
                collection(model::CARDHOLDERS, true),
                collection(model::CARDKEYS, false),
            ],
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
