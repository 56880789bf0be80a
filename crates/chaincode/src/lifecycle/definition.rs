//! A committed chaincode definition and how it is read.

use super::record::{self, Committed, DEFINITIONS, ReadState, Record, Stored};
use super::{LifecycleError, NAMESPACE};
use bytes::Bytes;
use consilium_ledger::StateReader;
use consilium_proto::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo, state_data};
use consilium_proto::protos::CollectionConfigPackage;
use prost::Message;

/// The type names that Fabric stores.
const DEFINITION_TYPE: &str = "ChaincodeDefinition";
const PARAMETERS_TYPE: &str = "ChaincodeParameters";

/// What the organizations of a channel agreed to run under a name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Definition {
    /// The chaincode's name, its namespace in state.
    pub name: String,
    /// How often it has been defined; the first is 1.
    pub sequence: i64,
    /// Free text that ends up in transactions and in the init state.
    pub version: String,
    /// `escc` unless somebody asked for another plugin.
    pub endorsement_plugin: String,
    /// `vscc` unless somebody asked for another plugin.
    pub validation_plugin: String,
    /// An encoded `protos.ApplicationPolicy`: who must endorse.
    pub validation_parameter: Bytes,
    /// The explicit private data collections.
    pub collections: CollectionConfigPackage,
    /// Whether the first call of each version must be an init.
    pub init_required: bool,
}

impl Definition {
    /// The definition as it is stored under `namespaces/.../<name>`.
    pub(super) fn record(&self) -> Record {
        let mut fields = vec![(
            "Sequence",
            record::encode(state_data::Type::Int64(self.sequence)),
        )];
        fields.extend(self.parameters().fields);
        Record {
            datatype: DEFINITION_TYPE,
            fields,
        }
    }

    /// The part that every organization approves, without the sequence, which is in the name.
    pub(super) fn parameters(&self) -> Record {
        let endorsement = ChaincodeEndorsementInfo {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
        };
        let validation = ChaincodeValidationInfo {
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
        };
        let bytes = |encoded: Vec<u8>| record::encode(state_data::Type::Bytes(encoded.into()));
        Record {
            datatype: PARAMETERS_TYPE,
            fields: vec![
                ("EndorsementInfo", bytes(endorsement.encode_to_vec())),
                ("ValidationInfo", bytes(validation.encode_to_vec())),
                ("Collections", bytes(self.collections.encode_to_vec())),
            ],
        }
    }

    /// Reads the committed definition of `name`: metadata first, then the fields that it lists.
    pub(super) fn read(
        name: &str,
        state: &mut impl ReadState,
    ) -> Result<Option<Self>, LifecycleError> {
        let Some(stored) = Stored::read(DEFINITIONS, name, DEFINITION_TYPE, state)? else {
            return Ok(None);
        };
        let mut definition = Self::from_parameters(name, &stored)?;
        definition.sequence = stored.integer("Sequence")?;
        Ok(Some(definition))
    }

    /// Reads what an organization approved for `sequence` of `name`.
    pub(super) fn read_approved(
        name: &str,
        sequence: i64,
        state: &mut impl ReadState,
    ) -> Result<Option<Self>, LifecycleError> {
        let key = record::approval_name(name, sequence);
        let Some(stored) = Stored::read(DEFINITIONS, &key, PARAMETERS_TYPE, state)? else {
            return Ok(None);
        };
        let mut definition = Self::from_parameters(name, &stored)?;
        definition.sequence = sequence;
        Ok(Some(definition))
    }

    fn from_parameters(name: &str, stored: &Stored) -> Result<Self, LifecycleError> {
        let endorsement: ChaincodeEndorsementInfo = stored.message("EndorsementInfo")?;
        let validation: ChaincodeValidationInfo = stored.message("ValidationInfo")?;
        Ok(Self {
            name: name.to_owned(),
            sequence: 0,
            version: endorsement.version,
            endorsement_plugin: endorsement.endorsement_plugin,
            validation_plugin: validation.validation_plugin,
            validation_parameter: validation.validation_parameter,
            collections: stored.message("Collections")?,
            init_required: endorsement.init_required,
        })
    }

    /// How `proposed` differs in what organizations approve; `None` when it does not.
    pub(super) fn parameters_differ(&self, proposed: &Self) -> Option<String> {
        let differs = |what: &str, expected: &str, passed: &str| {
            (expected != passed).then(|| {
                format!("expected {what} '{expected}' does not match passed {what} '{passed}'")
            })
        };
        differs("Version", &self.version, &proposed.version)
            .or_else(|| {
                differs(
                    "EndorsementPlugin",
                    &self.endorsement_plugin,
                    &proposed.endorsement_plugin,
                )
            })
            .or_else(|| {
                differs(
                    "InitRequired",
                    &self.init_required.to_string(),
                    &proposed.init_required.to_string(),
                )
            })
            .or_else(|| {
                differs(
                    "ValidationPlugin",
                    &self.validation_plugin,
                    &proposed.validation_plugin,
                )
            })
            .or_else(|| {
                differs(
                    "ValidationParameter",
                    &hex::encode(&self.validation_parameter),
                    &hex::encode(&proposed.validation_parameter),
                )
            })
            .or_else(|| {
                (self.collections != proposed.collections)
                    .then(|| "Collections do not match".to_owned())
            })
    }
}

/// The committed definition of `name`, `None` when there is none.
///
/// # Errors
/// [`LifecycleError::Unreadable`] when its state is garbage: the chaincode is then neither
/// invocable nor valid to write, but nothing else is affected.
pub fn definition(state: &StateReader, name: &str) -> Result<Option<Definition>, LifecycleError> {
    Definition::read(name, &mut Committed(state))
}

/// The committed sequence of `name`, 0 when undefined: one read.
///
/// # Errors
/// [`LifecycleError::Unreadable`] as for [`definition`].
pub fn sequence(state: &StateReader, name: &str) -> Result<i64, LifecycleError> {
    read_sequence(name, &mut Committed(state))
}

/// The sequence alone: what every invocation reads.
pub(crate) fn read_sequence(name: &str, state: &mut impl ReadState) -> Result<i64, LifecycleError> {
    record::read_integer(DEFINITIONS, name, "Sequence", state)
}

/// All committed definitions of the channel in order of name; those that are unreadable are logged
/// and left out.
///
/// # Errors
/// The ledger's.
pub fn definitions(state: &StateReader) -> Result<Vec<Definition>, LifecycleError> {
    let prefix = record::metadata_key(DEFINITIONS, "");
    let mut found = Vec::new();
    for entry in state.range(NAMESPACE, &prefix, &after(&prefix)) {
        let (key, _) = entry?;
        let Some(name) = key.strip_prefix(&prefix) else {
            continue;
        };
        match definition(state, name) {
            Ok(Some(definition)) => found.push(definition),
            Ok(None) => {}
            Err(LifecycleError::Unreadable { name, cause }) => {
                tracing::warn!(chaincode = name, cause, "chaincode definition unreadable");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The end of the range of keys that begin with `prefix`, which ends in `/`.
pub(super) fn after(prefix: &str) -> String {
    // '0' follows '/' in byte order.
    format!("{}0", prefix.trim_end_matches('/'))
}
