//! The `costs` contract: price lists, episodes, charges, claims, their adjudication and payment.
//!
//! Files by subject: `model` (what is public, and which states may follow which), `private` (what
//! provider and payer keep between them) and `pair` (where and under which secret), `money`, `tariff`
//! (price lists), `codes` (syntax and published lists), `episode`, `charge` and `places` (what excludes
//! what), `facts` and `check` (verdicts on claims, pure), `claim`, `adjudicate`, `package` (DRG),
//! `settle` (payment and repayment), `dispute`, `sums` (pure) and `trace`.

mod adjudicate;
mod charge;
mod check;
mod claim;
mod codes;
mod dispute;
mod episode;
mod facts;
mod model;
mod money;
mod package;
mod pair;
mod places;
mod private;
mod settle;
mod sums;
mod tariff;
#[cfg(test)]
mod tests;
mod trace;

pub use codes::{CodeList, Membership};
pub use money::{Money, MoneyError};

use crate::contract::{CollectionDeclaration, Contract, Deployment, Response, out_of};
use crate::request::{Function, dispatch, functions};
use crate::roles::{self, Config, Part};
use crate::stub::Stub;

/// The contract `costs`; its functions are in `docs/health/costs.md`.
pub struct Costs;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode,"devicesContract":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    SubmitTransient "SetPepper" r#"{"payer":MSP id}"# => episode::set_pepper;
    Submit "PublishPrices" r#"{"version","from":"YYYY-MM-DD","currency","pages":[SHA-256],"org"?:MSP id}"# => tariff::publish;
    SubmitTransient "LoadPrices" r#"{"payer":MSP id,"version","page":number}"# => tariff::load;
    Submit "PublishCodes" r#"{"system","version","from":"YYYY-MM-DD","root":SHA-256,"count":number}"# => codes::publish;
    SubmitTransient "OpenEpisode" r#"{"epi","payer":MSP id,"type":"inpatient|outpatient|emergency","currency"}"# => episode::open;
    SubmitTransient "UpdateStay" r#"{"epi"}"# => episode::update_stay;
    SubmitTransient "ConfirmCoverage" r#"{"epi"}"# => episode::confirm_coverage;
    Submit "CloseEpisode" r#"{"epi"}"# => episode::close;
    Evaluate "ReadEpisode" r#"{"epi"}"# => episode::read;
    SubmitTransient "PostCharge" r#"{"epi","seq":number}"# => charge::post;
    Submit "ReverseCharge" r#"{"epi","seq":number,"reason"}"# => charge::reverse;
    SubmitTransient "SubmitClaim" r#"{"id","epi"}"# => claim::submit;
    SubmitTransient "ReplaceClaim" r#"{"id","oldId"}"# => claim::replace;
    Submit "VoidClaim" r#"{"id","reason"}"# => claim::void;
    SubmitTransient "Adjudicate" r#"{"id"}"# => adjudicate::adjudicate;
    SubmitTransient "CheckDrg" r#"{"id"}"# => package::check_drg;
    Submit "Dispute" r#"{"id","reason"}"# => dispute::dispute;
    Submit "Appeal" r#"{"id","reason"}"# => dispute::appeal;
    SubmitTransient "Resolve" r#"{"id","outcome":"Upheld|Changed"}"# => dispute::resolve;
    Submit "Pay" r#"{"id","remitRef"}"# => settle::pay;
    SubmitTransient "Refund" r#"{"id","reason"}"# => settle::refund;
    SubmitTransient "Recover" r#"{"id","reason"}"# => settle::recover;
    Evaluate "ReadClaim" r#"{"id"}"# => trace::read_claim;
    Evaluate "ListDue" r#"{"payer":MSP id,"until"?:seconds,"bookmark"?:{"due","id"}}"# => trace::list_due;
    Evaluate "TraceCost" r#"{"epi"}"# => trace::trace_cost;
};

impl Contract for Costs {
    fn name(&self) -> &'static str {
        "costs"
    }

    /// A payer and a provider endorse; one collection for each pair of them, which both endorse.
    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let config = Config::default();
        let there = |part| {
            let wanted: Vec<_> = config.members(part).iter().map(String::as_str).collect();
            let found: Vec<_> = wanted
                .iter()
                .copied()
                .filter(|msp| organizations.iter().any(|there| there == msp))
                .map(str::to_owned)
                .collect();
            Some((out_of(1, &wanted, organizations)?, found))
        };
        let (any_provider, providers) = there(Part::Provider)?;
        let (any_payer, payers) = there(Part::Payer)?;
        let regulators = there(Part::Regulator).map_or_else(Vec::new, |(_, found)| found);
        let mut collections = Vec::new();
        for provider in &providers {
            for payer in &payers {
                let mut members = vec![provider.clone(), payer.clone()];
                members.extend(regulators.iter().cloned());
                collections.push(CollectionDeclaration {
                    name: pair::collection(provider, payer),
                    members,
                    endorsement: Some(format!("AND('{provider}.peer','{payer}.peer')")),
                    open_for_writing: false,
                });
            }
        }
        Some(Deployment {
            policy: format!("AND({any_payer},{any_provider})"),
            collections,
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
