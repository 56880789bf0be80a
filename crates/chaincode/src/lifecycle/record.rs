//! How a lifecycle structure is laid out as keys and values.
//!
//! A structure `name` of an area is one metadata key that lists its fields and one key per field.
//! Only what changed is written, so what a write *reads* is part of the format: two endorsers sign
//! the same bytes only if both read exactly this. (fabric: core/chaincode/lifecycle/serializer.go)

use super::LifecycleError;
use bytes::Bytes;
use consilium_ledger::{LedgerError, Simulator, StateReader};
use consilium_proto::lifecycle::{StateData, StateMetadata, state_data};
use consilium_protocol::hash::sha256;
use prost::Message;
use std::collections::BTreeMap;

/// Where definitions and approved parameters are.
pub(super) const DEFINITIONS: &str = "namespaces";
/// Where an organization keeps which package it uses.
pub(super) const SOURCES: &str = "chaincode-sources";

pub(super) fn metadata_key(area: &str, name: &str) -> String {
    format!("{area}/metadata/{name}")
}

pub(super) fn field_key(area: &str, name: &str, field: &str) -> String {
    format!("{area}/fields/{name}/{field}")
}

/// The name under which an organization keeps what it approved for one sequence.
pub(super) fn approval_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}

/// The value of a field. Zero values keep their tag: 0 is `08 00`, empty bytes are `12 00`.
pub(super) fn encode(value: state_data::Type) -> Bytes {
    StateData {
        r#type: Some(value),
    }
    .encode_to_vec()
    .into()
}

/// A structure as it is stored: its type's name and its fields in order.
pub(super) struct Record {
    pub(super) datatype: &'static str,
    pub(super) fields: Vec<(&'static str, Bytes)>,
}

impl Record {
    fn metadata(&self) -> Bytes {
        let fields = self
            .fields
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        StateMetadata {
            datatype: self.datatype.to_owned(),
            fields,
        }
        .encode_to_vec()
        .into()
    }

    /// Writes what differs from what `state` holds, and drops fields that are no more.
    pub(super) fn write(
        &self,
        area: &str,
        name: &str,
        state: &mut impl WriteState,
    ) -> Result<(), LifecycleError> {
        let existing = read_metadata(area, name, state)?.unwrap_or_default();
        let mut existing_fields = BTreeMap::new();
        for field in &existing.fields {
            let key = field_key(area, name, field);
            let value = state.get(&key)?.unwrap_or_default();
            existing_fields.insert(key, value);
        }
        for (field, value) in &self.fields {
            let key = field_key(area, name, field);
            if existing_fields.remove(&key).as_ref() != Some(value) {
                state.put(&key, value)?;
            }
        }
        if !existing_fields.is_empty()
            || existing.datatype != self.datatype
            || existing.fields.len() != self.fields.len()
        {
            state.put(&metadata_key(area, name), &self.metadata())?;
        }
        for key in existing_fields.keys() {
            state.delete(key)?;
        }
        Ok(())
    }

    /// Which parts differ from what `state` holds, judged by hashes alone: nothing when all agree,
    /// the datatype alone when the metadata is another or absent.
    pub(super) fn differences(
        &self,
        area: &str,
        name: &str,
        state: &mut impl HashedState,
    ) -> Result<Vec<String>, LedgerError> {
        let same =
            |hash: Option<Bytes>, value: &[u8]| hash.is_some_and(|hash| hash == sha256(value)[..]);
        if !same(state.get_hash(&metadata_key(area, name))?, &self.metadata()) {
            return Ok(vec![self.datatype.to_owned()]);
        }
        let mut differing = Vec::new();
        for (field, value) in &self.fields {
            if !same(state.get_hash(&field_key(area, name, field))?, value) {
                differing.push((*field).to_owned());
            }
        }
        Ok(differing)
    }
}

/// The fields of a stored structure, decoded on demand.
pub(super) struct Stored {
    name: String,
    values: BTreeMap<String, Bytes>,
}

impl Stored {
    /// Reads the structure's metadata and then every field that it lists; `None` when undefined.
    pub(super) fn read(
        area: &str,
        name: &str,
        datatype: &str,
        state: &mut impl ReadState,
    ) -> Result<Option<Self>, LifecycleError> {
        let Some(metadata) = read_metadata(area, name, state)? else {
            return Ok(None);
        };
        if metadata.datatype != datatype {
            return Err(unreadable(
                name,
                format!("expected type {datatype}, found '{}'", metadata.datatype),
            ));
        }
        let mut values = BTreeMap::new();
        for field in metadata.fields {
            if let Some(value) = state.get(&field_key(area, name, &field))? {
                values.insert(field, value);
            }
        }
        Ok(Some(Self {
            name: name.to_owned(),
            values,
        }))
    }

    fn field(&self, field: &str) -> Result<state_data::Type, LifecycleError> {
        match self.values.get(field) {
            Some(value) => decode(&self.name, field, value),
            None => Err(unreadable(&self.name, format!("no field {field}"))),
        }
    }

    pub(super) fn integer(&self, field: &str) -> Result<i64, LifecycleError> {
        integer(&self.name, field, self.field(field)?)
    }

    pub(super) fn text(&self, field: &str) -> Result<String, LifecycleError> {
        match self.field(field)? {
            state_data::Type::String(value) => Ok(value),
            _ => Err(unreadable(
                &self.name,
                format!("field {field} is not a string"),
            )),
        }
    }

    /// A field that holds an encoded message.
    pub(super) fn message<M: Message + Default>(&self, field: &str) -> Result<M, LifecycleError> {
        match self.field(field)? {
            state_data::Type::Bytes(value) => consilium_proto::decode(&value)
                .map_err(|error| unreadable(&self.name, format!("field {field}: {error}"))),
            _ => Err(unreadable(
                &self.name,
                format!("field {field} is not bytes"),
            )),
        }
    }
}

pub(super) fn read_metadata(
    area: &str,
    name: &str,
    state: &mut impl ReadState,
) -> Result<Option<StateMetadata>, LifecycleError> {
    match state.get(&metadata_key(area, name))? {
        None => Ok(None),
        Some(value) => consilium_proto::decode(&value)
            .map(Some)
            .map_err(|error| unreadable(name, format!("metadata: {error}"))),
    }
}

/// A single integer field, 0 when absent.
pub(super) fn read_integer(
    area: &str,
    name: &str,
    field: &str,
    state: &mut impl ReadState,
) -> Result<i64, LifecycleError> {
    match state.get(&field_key(area, name, field))? {
        None => Ok(0),
        Some(value) => integer(name, field, decode(name, field, &value)?),
    }
}

fn decode(name: &str, field: &str, value: &Bytes) -> Result<state_data::Type, LifecycleError> {
    consilium_proto::decode::<StateData>(value)
        .map_err(|error| unreadable(name, format!("field {field}: {error}")))?
        .r#type
        .ok_or_else(|| unreadable(name, format!("field {field} is empty")))
}

fn integer(name: &str, field: &str, value: state_data::Type) -> Result<i64, LifecycleError> {
    match value {
        state_data::Type::Int64(value) => Ok(value),
        _ => Err(unreadable(name, format!("field {field} is not an integer"))),
    }
}

fn unreadable(name: &str, cause: String) -> LifecycleError {
    LifecycleError::Unreadable {
        name: name.to_owned(),
        cause,
    }
}

/// State of namespace `_lifecycle` by key.
pub(crate) trait ReadState {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError>;
}

/// State that can be written too.
pub(super) trait WriteState: ReadState {
    fn put(&mut self, key: &str, value: &Bytes) -> Result<(), LedgerError>;
    fn delete(&mut self, key: &str) -> Result<(), LedgerError>;
}

/// State of which we may know hashes only.
pub(super) trait HashedState {
    /// SHA-256 of the value.
    fn get_hash(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError>;
}

/// Public state through a simulator: every access is recorded.
pub(crate) struct Public<'a>(pub(crate) &'a mut Simulator);

/// An organization's implicit collection through a simulator.
pub(super) struct OfOrg<'a> {
    pub(super) simulator: &'a mut Simulator,
    pub(super) collection: &'a str,
}

/// Committed public state, nothing recorded.
pub(super) struct Committed<'a>(pub(super) &'a StateReader);

/// An organization's committed implicit collection.
pub(super) struct CommittedOfOrg<'a> {
    pub(super) state: &'a StateReader,
    pub(super) collection: &'a str,
}

impl ReadState for Public<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.0.get_state(super::NAMESPACE, key)
    }
}

impl WriteState for Public<'_> {
    fn put(&mut self, key: &str, value: &Bytes) -> Result<(), LedgerError> {
        self.0.put_state(super::NAMESPACE, key, value.clone())
    }

    fn delete(&mut self, key: &str) -> Result<(), LedgerError> {
        self.0.delete_state(super::NAMESPACE, key)
    }
}

impl ReadState for OfOrg<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.simulator
            .get_private(super::NAMESPACE, self.collection, key)
    }
}

impl WriteState for OfOrg<'_> {
    fn put(&mut self, key: &str, value: &Bytes) -> Result<(), LedgerError> {
        self.simulator
            .put_private(super::NAMESPACE, self.collection, key, value.clone())
    }

    fn delete(&mut self, key: &str) -> Result<(), LedgerError> {
        self.simulator
            .delete_private(super::NAMESPACE, self.collection, key)
    }
}

impl HashedState for OfOrg<'_> {
    fn get_hash(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.simulator
            .get_private_hash(super::NAMESPACE, self.collection, key)
    }
}

impl ReadState for Committed<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.0.get(super::NAMESPACE, key)?.map(|found| found.value))
    }
}

impl HashedState for CommittedOfOrg<'_> {
    fn get_hash(&mut self, key: &str) -> Result<Option<Bytes>, LedgerError> {
        let hash = sha256(key.as_bytes());
        let found = self
            .state
            .get_hashed(super::NAMESPACE, self.collection, &hash)?;
        Ok(found.map(|found| found.value))
    }
}
