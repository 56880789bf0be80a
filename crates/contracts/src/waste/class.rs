//! What a bag may hold, and how each class of waste may be disposed of. Pure.
//!
//! Codes are those of the wastes of category HW01 in China's National Catalogue of Hazardous
//! Wastes (国家危险废物名录), whose five classes are those of the Classified Catalogue of Medical
//! Wastes (医疗废物分类目录, 2021); or the codes of the United States' EPA (40 CFR part 261), with
//! `PCB` for polychlorinated biphenyls, which have none (40 CFR part 761).

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Who numbers manifests and names wastes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scheme {
    #[serde(rename = "CN")]
    China,
    #[serde(rename = "EPA")]
    Epa,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::China => "CN",
            Scheme::Epa => "EPA",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Infectious,
    Sharps,
    Pathological,
    Chemical,
    Pharmaceutical,
    /// Any hazardous waste with a federal code of the EPA.
    Hazardous,
    Pcb,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Infectious => "infectious",
            Class::Sharps => "sharps",
            Class::Pathological => "pathological",
            Class::Chemical => "chemical",
            Class::Pharmaceutical => "pharmaceutical",
            Class::Hazardous => "hazardous",
            Class::Pcb => "pcb",
        }
    }
}

/// The five codes of HW01.
const CHINA: &[(&str, Class)] = &[
    ("841-001-01", Class::Infectious),
    ("841-002-01", Class::Sharps),
    ("841-003-01", Class::Pathological),
    ("841-004-01", Class::Chemical),
    ("841-005-01", Class::Pharmaceutical),
];

/// The federal codes: a letter, three digits, and the highest number of those lists that count
/// without gaps (40 CFR 261.21–261.24, 261.31).
const EPA: &[(&str, u16)] = &[("D", 43), ("F", 39), ("K", 999), ("P", 999), ("U", 999)];

/// Scheme and class of a waste code: 422 `UNKNOWN_CODE` for anything else.
pub(crate) fn classify(code: &str) -> Result<(Scheme, Class), Failure> {
    if let Some((_, class)) = CHINA.iter().find(|(known, _)| *known == code) {
        return Ok((Scheme::China, *class));
    }
    if code == "PCB" {
        return Ok((Scheme::Epa, Class::Pcb));
    }
    let federal = EPA.iter().any(|(letter, highest)| {
        code.strip_prefix(letter).is_some_and(|number| {
            number.len() == 3
                && number.bytes().all(|b| b.is_ascii_digit())
                && number
                    .parse::<u16>()
                    .is_ok_and(|n| (1..=*highest).contains(&n))
        })
    });
    if federal {
        return Ok((Scheme::Epa, Class::Hazardous));
    }
    Err(Failure::rule(
        "UNKNOWN_CODE",
        "a waste code is one of HW01 (841-001-01 to 841-005-01), a federal code of the EPA as D001, or PCB",
    ))
}

/// What the waste is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Container {
    #[default]
    Bag,
    /// Rigid and puncture-proof.
    Box,
    Drum,
}

/// Sharps are in a rigid container: 422 `CONTAINER`.
pub(crate) fn check_container(class: Class, container: Container) -> Result<(), Failure> {
    if class == Class::Sharps && container == Container::Bag {
        return Err(Failure::rule(
            "CONTAINER",
            "sharps go into a box, a bag does not hold them",
        ));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    Incineration,
    Steam,
    Microwave,
    ChemicalDisinfection,
    /// Neutralization, oxidation, stabilization.
    Physicochemical,
    Recovery,
    Landfill,
}

/// Which methods each class allows. Disinfection is for what is infectious only: neither steam
/// nor microwaves nor disinfectants destroy drugs and chemicals (GB 39707-2020; the catalogue's
/// exemptions for 841-001-01 to -003-01). PCBs: 40 CFR 761.60.
pub(crate) const METHODS: &[(Class, &[Method])] = {
    use Method::{
        ChemicalDisinfection, Incineration, Landfill, Microwave, Physicochemical, Recovery, Steam,
    };
    &[
        (
            Class::Infectious,
            &[Incineration, Steam, Microwave, ChemicalDisinfection],
        ),
        (
            Class::Sharps,
            &[Incineration, Steam, Microwave, ChemicalDisinfection],
        ),
        (
            Class::Pathological,
            &[Incineration, Steam, Microwave, ChemicalDisinfection],
        ),
        (Class::Chemical, &[Incineration, Physicochemical]),
        (Class::Pharmaceutical, &[Incineration, Physicochemical]),
        (
            Class::Hazardous,
            &[Incineration, Physicochemical, Recovery, Landfill],
        ),
        (Class::Pcb, &[Incineration, Landfill]),
    ]
};

pub(crate) fn allows(class: Class, method: Method) -> bool {
    METHODS
        .iter()
        .any(|(known, methods)| *known == class && methods.contains(&method))
}
