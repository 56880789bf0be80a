//! What the devices contract keeps on the ledger, and which states may follow which.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProductState {
    Draft,
    Submitted,
    Certified,
    Suspended,
    Withdrawn,
}

impl ProductState {
    pub fn name(self) -> &'static str {
        match self {
            ProductState::Draft => "Draft",
            ProductState::Submitted => "Submitted",
            ProductState::Certified => "Certified",
            ProductState::Suspended => "Suspended",
            ProductState::Withdrawn => "Withdrawn",
        }
    }
}

/// Which production identifiers the label carries (GUDID's flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Label {
    pub lot: bool,
    pub serial: bool,
    pub made: bool,
    pub expires: bool,
}

/// A certification, asked for or given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    pub no: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub doc_hashes: Vec<String>,
    /// From (included) to (excluded), seconds since 1970; absent until given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<i64>,
}

/// `prod~di`: a device model. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Product {
    pub di: String,
    /// Who issued the device identifier.
    #[serde(default = "gs1")]
    pub issuer: String,
    /// The manufacturer's MSP id.
    pub registrant: String,
    pub name: String,
    pub model: String,
    pub label: Label,
    pub state: ProductState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Why it was refused, suspended or withdrawn, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: i64,
}

pub(crate) fn gs1() -> String {
    "GS1".to_owned()
}

impl Product {
    /// Certified, and at a time within the certificate's validity.
    pub fn in_force(&self, at: i64) -> bool {
        let certificate = self.certificate.as_ref();
        let bounds = certificate.and_then(|c| Some((c.valid_from?, c.valid_to?)));
        self.state == ProductState::Certified
            && bounds.is_some_and(|(from, to)| (from..to).contains(&at))
    }
}

/// `pkg~di`: a package of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Package {
    pub di: String,
    pub contains: String,
    pub quantity: u32,
    pub registrant: String,
}

/// `lot~di~lot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lot {
    pub di: String,
    pub lot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Date>,
    /// The last day of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
    pub quantity: u32,
    /// Units registered so far.
    pub registered: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum UnitState {
    Manufactured,
    InTransit,
    InStock,
    Quarantined,
    Implanted,
    Explanted,
    Destroyed,
}

impl UnitState {
    pub fn name(self) -> &'static str {
        match self {
            UnitState::Manufactured => "Manufactured",
            UnitState::InTransit => "InTransit",
            UnitState::InStock => "InStock",
            UnitState::Quarantined => "Quarantined",
            UnitState::Implanted => "Implanted",
            UnitState::Explanted => "Explanted",
            UnitState::Destroyed => "Destroyed",
        }
    }

    /// Used once already, and for ever.
    pub fn is_used(self) -> bool {
        matches!(
            self,
            UnitState::Implanted | UnitState::Explanted | UnitState::Destroyed
        )
    }
}

/// What happens to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Ship,
    ReceiveSound,
    ReceiveUnsound,
    Quarantine,
    Release,
    Implant,
    Explant,
    Return,
    Destroy,
}

/// Every pair of states that may follow one another, and by what. Nothing else ever happens.
pub(crate) const TRANSITIONS: &[(Step, UnitState, UnitState)] = {
    use UnitState::{
        Destroyed, Explanted, Implanted, InStock, InTransit, Manufactured, Quarantined,
    };
    &[
        (Step::Ship, Manufactured, InTransit),
        (Step::Ship, InStock, InTransit),
        (Step::ReceiveSound, InTransit, InStock),
        (Step::ReceiveUnsound, InTransit, Quarantined),
        (Step::Quarantine, Manufactured, Quarantined),
        (Step::Quarantine, InStock, Quarantined),
        (Step::Release, Quarantined, InStock),
        (Step::Implant, InStock, Implanted),
        (Step::Explant, Implanted, Explanted),
        (Step::Return, InStock, InTransit),
        (Step::Return, Quarantined, InTransit),
        (Step::Return, Explanted, InTransit),
        (Step::Destroy, InStock, Destroyed),
        (Step::Destroy, Quarantined, Destroyed),
        (Step::Destroy, Explanted, Destroyed),
    ]
};

/// The state after a step, `None` when the step is not possible.
pub(crate) fn after(step: Step, state: UnitState) -> Option<UnitState> {
    TRANSITIONS
        .iter()
        .find(|(s, from, _)| *s == step && *from == state)
        .map(|(_, _, to)| *to)
}

/// How a unit is named in arguments and answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitId {
    pub di: String,
    #[serde(default = "no_lot")]
    pub lot: String,
    pub serial: String,
}

/// The lot of products whose label has none.
pub(crate) fn no_lot() -> String {
    "-".to_owned()
}

impl UnitId {
    pub fn key(&self) -> [&str; 3] {
        [&self.di, &self.lot, &self.serial]
    }
}

impl std::fmt::Display for UnitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.di, self.lot, self.serial)
    }
}

/// `unit~di~lot~serial`: one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unit {
    #[serde(rename = "unit")]
    pub id: UnitId,
    pub state: UnitState,
    /// Who has it, or had it last while it is in transit.
    pub holder: String,
    /// While in transit: who is to receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Serial shipping container code of the last shipment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sscc: Option<String>,
    /// The procedure that it was implanted or explanted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// Salted commitment to patient, procedure and date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_commit: Option<String>,
    /// A sound unit was implanted once: kept when it is explanted and sent back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// Why it is quarantined or released, as a code; or the waste bag it went into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub at: i64,
}

impl Unit {
    /// Takes a step, or refuses it with 409 `BAD_STATE`.
    pub fn step(&mut self, step: Step, now: i64) -> Result<(), Failure> {
        self.state = after(step, self.state).ok_or_else(|| {
            Failure::conflict(
                "BAD_STATE",
                format!(
                    "unit {} is {}, {step:?} is not possible",
                    self.id,
                    self.state.name()
                ),
            )
        })?;
        self.at = now;
        Ok(())
    }
}

/// Which units a recall is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Every unit of the product.
    All,
    /// Whole lots.
    Lots(Vec<String>),
    /// Single units.
    Units(Vec<LotSerial>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LotSerial {
    pub lot: String,
    pub serial: String,
}

impl Scope {
    /// Whether it covers a unit, or with `serial` absent the whole lot.
    pub fn covers(&self, lot: &str, serial: Option<&str>) -> bool {
        match self {
            Scope::All => true,
            Scope::Lots(lots) => lots.iter().any(|l| l == lot),
            Scope::Units(units) => units
                .iter()
                .any(|unit| unit.lot == lot && Some(unit.serial.as_str()) == serial),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecallState {
    Open,
    Closed,
}

/// How bad the consequences may be: I the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecallClass {
    #[serde(rename = "I")]
    One,
    #[serde(rename = "II")]
    Two,
    #[serde(rename = "III")]
    Three,
}

/// `recall~no`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recall {
    pub no: String,
    pub di: String,
    pub class: RecallClass,
    pub scope: Scope,
    pub opener: String,
    pub state: RecallState,
    /// Units found so far.
    pub hits: u32,
    /// Whether all units of the scope were looked at.
    pub complete: bool,
    /// The last unit looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<UnitId>,
    pub at: i64,
}

/// What a holder did about a recalled unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Action {
    Quarantined,
    PatientNotified,
    Explanted,
    Returned,
    Destroyed,
}

/// `hit~no~di~lot~serial`: a recalled unit; its holder is read from the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hit {
    /// Absent while open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub at: i64,
}

/// `susp~di~txid~n`: a scan that was not OK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Suspicion {
    pub code: String,
    pub org: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Death,
    Serious,
    Malfunction,
    Minor,
}

/// `adv~id`: an adverse event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdverseEvent {
    pub id: String,
    pub di: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    pub severity: Severity,
    pub doc_hash: String,
    pub org: String,
    pub at: i64,
}

/// The link from a unit to a patient, in the custodian's own collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatientLink {
    pub sid: String,
    pub procedure: String,
    pub date: String,
    /// At least 16 random bytes, hexadecimal.
    pub salt: String,
}
