//! What provider and payer keep between them, in the collection `claims-<provider>-<payer>`: every
//! amount, code, date and pseudonym. Members are the two and the regulator, and both endorse.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::codes::Membership;
use super::money::Money;
use crate::devices::UnitId;
use crate::failure::Failure;

/// `epi.<id>`: whose episode it is, and from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Stay {
    /// The patient's pseudonym in the sector `pay`.
    pub sid_pay: String,
    /// The check-in or registration.
    pub reference: String,
    pub start: Date,
    /// The last day, absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Date>,
    /// The day of death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Date>,
    pub salt: String,
}

pub(super) const STAY_SHAPE: &str = r#"{"sidPay","reference","start":"YYYY-MM-DD","end"?,"death"?,"salt": at least 32 hexadecimal digits}"#;

/// Where a date lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    InStay,
    OutsideStay,
    AfterDeath,
}

impl Stay {
    pub fn when(&self, date: Date) -> When {
        if self.death.is_some_and(|death| date > death) {
            When::AfterDeath
        } else if date < self.start || self.end.is_some_and(|end| date > end) {
            When::OutsideStay
        } else {
            When::InStay
        }
    }
}

/// `cov.<epi>`: from which day to which the payer covers the patient of an episode. It is kept by
/// episode, since a key by patient would show in public which episodes are of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Coverage {
    pub from: Date,
    pub to: Date,
    pub salt: String,
}

pub(super) const COVERAGE_SHAPE: &str =
    r#"{"from":"YYYY-MM-DD","to":"YYYY-MM-DD","salt": at least 32 hexadecimal digits}"#;

impl Coverage {
    pub fn covers(&self, date: Date) -> bool {
        (self.from..=self.to).contains(&date)
    }
}

/// What shows that a service was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Evidence {
    /// A record of the contract `records`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// An order of the provider's own system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// A device of the contract `devices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitId>,
}

/// `chg.<epi>.<seq>`: what was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChargeLine {
    pub date: Date,
    pub system: String,
    pub code: String,
    pub qty: u32,
    pub unit_price: Money,
    pub amount: Money,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<String>,
    pub evidence: Evidence,
    /// The page of the price list that the code is on, counted from 0.
    pub page: u32,
    /// The price list that it was checked against; the contract fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_version: Option<String>,
    pub salt: String,
}

pub(super) const LINE_SHAPE: &str = r#"{"date":"YYYY-MM-DD","system","code","qty":number,"unitPrice":1/10000,"amount":1/10000,"modifiers"?:[],"evidence":{"record"?,"order"?,"unit"?:{"di","lot"?,"serial"}},"page":number,"salt": at least 32 hexadecimal digits}"#;

/// One line of a claim. It bills a charge, or comes from elsewhere with evidence of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimLine {
    /// The charge's number within the episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<u32>,
    pub date: Date,
    pub system: String,
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Membership>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<String>,
    /// Absent on the first line, which then carries what the others leave of the total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// A diagnosis, with the proof that its code is on the published list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Diagnosis {
    pub system: String,
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Membership>,
}

/// `clm.<id>`: a claim as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimDoc {
    /// Who bills: an NPI or another number of the provider.
    pub billing: String,
    /// The patient control number (X12 CLM01).
    pub control: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnoses: Vec<Diagnosis>,
    pub lines: Vec<ClaimLine>,
    pub total: Money,
    pub salt: String,
}

pub(super) const CLAIM_SHAPE: &str = r#"{"billing","control","diagnoses"?:[{"system","code","proof"?}],"lines":[{"charge"?,"date","system","code","proof"?,"modifiers"?,"net"?:1/10000 (only the first may lack it),"evidence"?}],"total":1/10000,"salt": at least 32 hexadecimal digits}"#;

impl ClaimDoc {
    /// What each line asks for. `None` when the total is not the sum: only a first line without
    /// a price may carry a remainder, which is not below zero.
    pub fn submitted(&self) -> Result<Option<Vec<Money>>, Failure> {
        let priced = Money::sum(self.lines.iter().filter_map(|line| line.net))?;
        let base = self.total.minus(priced)?;
        let carries = self.lines.first().is_some_and(|line| line.net.is_none());
        if base.is_negative() || (base != Money::ZERO && !carries) {
            return Ok(None);
        }
        let nets = self.lines.iter().map(|line| line.net.unwrap_or(base));
        Ok(Some(nets.collect()))
    }
}

/// The payer's word on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineDecision {
    /// Counted from 1.
    pub line: usize,
    pub allowed: Money,
    pub paid: Money,
    pub patient: Money,
    /// Why less than asked for is allowed (X12 claim adjustment reason codes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// `adj.<claim>`: the decision in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    pub lines: Vec<LineDecision>,
    /// The sum of what the lines pay.
    pub payment: Money,
    pub salt: String,
}

pub(super) const DECISION_SHAPE: &str = r#"{"lines":[{"line":number,"allowed","paid","patient":1/10000,"reasons"?:[]}],"payment":1/10000,"salt": at least 32 hexadecimal digits}"#;

/// `drg.<claim>.<msp>`: the package that one side found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrgDoc {
    pub grouper: String,
    pub version: String,
    pub drg: String,
    /// In 1/10 000.
    pub weight: u32,
    pub rate: Money,
    pub salt: String,
}

pub(super) const DRG_SHAPE: &str = r#"{"grouper","version","drg","weight":1/10000,"rate":1/10000,"salt": at least 32 hexadecimal digits}"#;

/// Money that went back to the payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Return {
    /// Who moved it: `Refund` of the provider or `Recover` of the payer.
    pub by: String,
    pub amount: Money,
    pub reason: String,
    pub at: i64,
}

/// `back.<claim>`: all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Returns {
    pub returns: Vec<Return>,
    pub salt: String,
}

/// `price.<version>.<n>`: a page of the provider's price list. Prices are read by the page, since a
/// key by code would show in public which charges have the same code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PricePage {
    pub entries: Vec<PriceEntry>,
    pub salt: String,
}

pub(super) const PAGE_SHAPE: &str = r#"{"entries":[{"system","code","price":1/10000,"upTo"?:bool,"parts"?:[code]}],"salt": at least 32 hexadecimal digits}"#;

/// One entry of a price list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PriceEntry {
    pub system: String,
    pub code: String,
    pub price: Money,
    /// The price is the most that may be asked for, not the only one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub up_to: bool,
    /// It is a package: these codes (of the same system) are paid with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}
