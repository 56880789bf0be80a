//! The published R4 definitions: which elements resources have, and which parameters find them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{LazyLock, OnceLock};

use flate2::read::GzDecoder;
use jsonschema::{PatternOptions, Validator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An extract of the definitions; `definitions/README.md` says of which, and how it is made.
const EXTRACT: &[u8] = include_bytes!("../definitions/r4.json.gz");

/// What values a search parameter is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParameterKind {
    Token,
    Date,
    Reference,
    String,
}

/// One path that a parameter looks at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ParameterPath {
    /// Element names from the resource down, `code` or `component.code`.
    pub path: String,
    /// Of a choice element, the type that is meant.
    #[serde(default)]
    pub cast: Option<String>,
    /// Of references, the type that is meant.
    #[serde(default)]
    pub target: Option<String>,
}

/// A search parameter of one type.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Parameter {
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    pub paths: Vec<ParameterPath>,
}

#[derive(Deserialize)]
struct Extract {
    /// All resource types of R4.
    types: BTreeSet<String>,
    /// Those whose definitions are here.
    served: BTreeSet<String>,
    definitions: Map<String, Value>,
    required: BTreeMap<String, Vec<String>>,
    search: BTreeMap<String, BTreeMap<String, Parameter>>,
}

static DEFINITIONS: LazyLock<Extract> = LazyLock::new(|| {
    let mut text = Vec::new();
    // The extract is part of the program, and read by every test.
    GzDecoder::new(EXTRACT)
        .read_to_end(&mut text)
        .expect("the definitions unpack");
    serde_json::from_slice(&text).expect("the definitions parse")
});

/// Whether R4 has this resource type.
pub(crate) fn is_type(name: &str) -> bool {
    DEFINITIONS.types.contains(name)
}

/// Whether resources of this type can be validated here.
pub(crate) fn is_defined(name: &str) -> bool {
    DEFINITIONS.served.contains(name)
}

/// The elements that have to be in an element, by its path such as `Claim.item`. A name ending in
/// `[x]` is a choice.
pub(crate) fn required(path: &str) -> &'static [String] {
    DEFINITIONS.required.get(path).map_or(&[], Vec::as_slice)
}

/// The search parameters of a type.
pub(crate) fn parameters(kind: &str) -> impl Iterator<Item = (&'static str, &'static Parameter)> {
    DEFINITIONS
        .search
        .get(kind)
        .into_iter()
        .flatten()
        .map(|(name, parameter)| (name.as_str(), parameter))
}

/// One search parameter of a type.
pub(crate) fn parameter(kind: &str, name: &str) -> Option<&'static Parameter> {
    DEFINITIONS.search.get(kind)?.get(name)
}

/// The schema of a type, compiled at its first use.
pub(crate) fn validator(kind: &str) -> Option<&'static Validator> {
    static COMPILED: LazyLock<BTreeMap<&'static str, OnceLock<Validator>>> = LazyLock::new(|| {
        DEFINITIONS
            .served
            .iter()
            .map(|kind| (kind.as_str(), OnceLock::new()))
            .collect()
    });
    let cell = COMPILED.get(kind)?;
    Some(cell.get_or_init(|| {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-06/schema#",
            "$ref": format!("#/definitions/{kind}"),
            "definitions": DEFINITIONS.definitions,
        });
        // Patterns are matched in linear time, whatever the text. Compiled for every type by a test.
        jsonschema::draft6::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .expect("the published schema compiles")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_type_has_a_schema_that_compiles() {
        for kind in &DEFINITIONS.served {
            assert!(is_type(kind));
            assert!(validator(kind).is_some(), "{kind}");
        }
        assert!(validator("Nothing").is_none());
        assert!(is_type("Basic") && !is_defined("Basic"));
    }

    #[test]
    fn the_common_parameters_are_there() {
        for (kind, name) in [
            ("Observation", "code"),
            ("Observation", "date"),
            ("Observation", "patient"),
            ("Observation", "category"),
            ("Patient", "identifier"),
            ("Patient", "family"),
            ("Encounter", "status"),
            ("DocumentReference", "type"),
            ("Device", "udi-di"),
            ("Claim", "created"),
        ] {
            assert!(parameter(kind, name).is_some(), "{kind} {name}");
        }
        assert_eq!(required("Observation"), ["status", "code"]);
    }
}
