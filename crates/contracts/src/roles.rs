//! Which organizations play which part, and whether a caller may do what it asks for.
//!
//! A caller is judged by its MSP **and** by the attribute `hc.role` of its certificate. Where the
//! configuration names a `registry`, by its credential there as well ([`crate::standing`]): an
//! attribute outlives a licence that was suspended.

use serde::{Deserialize, Serialize};

use crate::caller::NodeRole;
use crate::failure::Failure;
use crate::request::{Call, Outcome, decode, to_json};
use crate::stub::{Stub, StubError};

/// Where the configuration lives.
pub(crate) const CONFIG_KEY: &str = "config";

/// The part that an organization plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Provider,
    Maker,
    Distributor,
    Regulator,
    Payer,
    Research,
    Waste,
    Citizen,
}

/// Any organization of the configuration.
pub(crate) const ALL_PARTS: &[Part] = &[
    Part::Provider,
    Part::Maker,
    Part::Distributor,
    Part::Regulator,
    Part::Payer,
    Part::Research,
    Part::Waste,
    Part::Citizen,
];

/// The roles that answer for an organization's keys and private data: its data protection officer,
/// at the health-card bureau the issuer, at a research institute the curator.
pub(crate) const CUSTODIAN_ROLES: &[&str] = &["dpo", "issuer", "curator"];

/// Disclosure without consent that the channel's law allows (healthcare.md §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum LawProfile {
    Hipaa,
    Gdpr,
    #[default]
    Pipl,
}

impl LawProfile {
    pub fn name(self) -> &'static str {
        match self {
            LawProfile::Hipaa => "HIPAA",
            LawProfile::Gdpr => "GDPR",
            LawProfile::Pipl => "PIPL",
        }
    }
}

/// The value of the key `config`; what is missing has the default below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Config {
    pub providers: Vec<String>,
    pub makers: Vec<String>,
    pub distributors: Vec<String>,
    pub regulators: Vec<String>,
    pub payers: Vec<String>,
    pub research: Vec<String>,
    /// Carriers and disposers.
    pub waste: Vec<String>,
    /// Whose client certificates may speak for a patient by `hc.sid`.
    pub citizens: Vec<String>,
    pub law_profile: LawProfile,
    /// The chaincode that knows who holds which licence; empty where nobody is asked.
    pub registry: String,
    /// The chaincode that knows the bags of waste; empty where none is asked.
    pub waste_contract: String,
    /// The chaincode that knows where a device unit is; empty where nobody is asked.
    pub devices_contract: String,
    /// The chaincode that knows whose health cards are in force; empty where nobody is asked.
    pub card_contract: String,
}

impl Default for Config {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Config {
            providers: list(&["HospitalMSP", "ClinicMSP"]),
            makers: list(&["MakerMSP"]),
            distributors: list(&["DistributorMSP"]),
            regulators: list(&["RegulatorMSP"]),
            payers: list(&["InsurerMSP"]),
            research: list(&["ResearchMSP"]),
            waste: list(&["WasteMSP"]),
            citizens: list(&["CitizenMSP", "HospitalMSP", "ClinicMSP"]),
            law_profile: LawProfile::default(),
            registry: String::new(),
            waste_contract: String::new(),
            devices_contract: String::new(),
            card_contract: String::new(),
        }
    }
}

impl Config {
    pub fn load(stub: &mut dyn Stub) -> Result<Self, Failure> {
        match stub.get_state(CONFIG_KEY)? {
            Some(bytes) => decode("config", &bytes),
            None => Ok(Self::default()),
        }
    }

    pub fn members(&self, part: Part) -> &[String] {
        match part {
            Part::Provider => &self.providers,
            Part::Maker => &self.makers,
            Part::Distributor => &self.distributors,
            Part::Regulator => &self.regulators,
            Part::Payer => &self.payers,
            Part::Research => &self.research,
            Part::Waste => &self.waste,
            Part::Citizen => &self.citizens,
        }
    }

    pub fn plays(&self, msp: &str, part: Part) -> bool {
        self.members(part).iter().any(|member| member == msp)
    }

    /// Whether the organization may hold devices: everybody but payers and citizens.
    pub fn holds_devices(&self, msp: &str) -> bool {
        [
            Part::Provider,
            Part::Maker,
            Part::Distributor,
            Part::Regulator,
            Part::Research,
        ]
        .into_iter()
        .any(|part| self.plays(msp, part))
    }
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Provider => "providers",
        Part::Maker => "makers",
        Part::Distributor => "distributors",
        Part::Regulator => "regulators",
        Part::Payer => "payers",
        Part::Research => "research",
        Part::Waste => "waste",
        Part::Citizen => "citizens",
    }
}

impl Call<'_> {
    /// Refuses callers of other organizations with 403 `WRONG_ORG`, and those without one of the
    /// roles with 403 `WRONG_ROLE`. An empty list of roles accepts any.
    pub fn require(&mut self, parts: &[Part], roles: &[&str]) -> Result<(), Failure> {
        let msp = self.msp().to_owned();
        let function = self.function();
        let config = self.config()?;
        if !parts.iter().any(|part| config.plays(&msp, *part)) {
            let names: Vec<_> = parts.iter().map(|part| part_name(*part)).collect();
            return Err(Failure::forbidden(
                "WRONG_ORG",
                format!(
                    "{function} is for {}, {msp} is none of them",
                    names.join(" and ")
                ),
            ));
        }
        self.require_role(roles)
    }

    /// Refuses callers without one of the roles with 403 `WRONG_ROLE`.
    pub fn require_role(&self, roles: &[&str]) -> Result<(), Failure> {
        if roles.is_empty() || self.role().is_some_and(|role| roles.contains(&role)) {
            return Ok(());
        }
        Err(Failure::forbidden(
            "WRONG_ROLE",
            format!(
                "{} needs a certificate with hc.role {}, the caller's has {}",
                self.function(),
                roles.join(" or "),
                self.role().unwrap_or("none")
            ),
        ))
    }
}

/// Reads a configuration without judging the caller, for tests and tools.
pub(crate) fn read_config(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    Ok(Outcome::of(call.config()?))
}

/// Writes the configuration: the first time by an administrator of any organization, afterwards
/// by an administrator or certifier of a regulator.
pub(crate) fn configure(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let config: Config = call.args()?;
    if config.regulators.is_empty() {
        return Err(Failure::malformed(
            "Configure needs at least one MSP id in regulators",
        ));
    }
    let is_admin = call.stub.creator().node_role() == Some(NodeRole::Admin);
    let exists = call.stub.get_state(CONFIG_KEY)?.is_some();
    if exists || !is_admin {
        let roles: &[&str] = if is_admin { &[] } else { &["certifier"] };
        call.require(&[Part::Regulator], roles)?;
    }
    write_config(call, config)?;
    Ok(Outcome::changed("config", "Active").event(call, "Configured", "config", "Active", ""))
}

pub(crate) fn write_config(call: &mut Call<'_>, config: Config) -> Result<(), StubError> {
    call.stub.put_state(CONFIG_KEY, &to_json(&config))?;
    call.set_config(config);
    Ok(())
}
