//! Answers to what a chaincode asks for while it runs.

use super::exchange::{Exchange, Limits};
use super::iterators::{QueryRequest, RangeRequest};
use crate::session::{StateError, Wish};
use bytes::Bytes;
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::{
    DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata,
    GetStateMultiple, GetStateMultipleResult, PutState, PutStateMetadata, QueryStateClose,
    QueryStateNext, StateMetadata, StateMetadataResult, WriteBatchState, WriteRecord, write_record,
};
use prost::Message;
use std::collections::BTreeMap;

/// Whether messages of this type ask for ledger access (calls of other chaincodes aside).
pub(super) fn is_ledger_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetState
            | Type::PutState
            | Type::DelState
            | Type::GetStateByRange
            | Type::GetQueryResult
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetHistoryForKey
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::GetPrivateDataHash
            | Type::PurgePrivateData
            | Type::WriteBatchState
            | Type::GetStateMultiple
    )
}

/// Carries out one request and gives the payload of its RESPONSE. Reads the database.
pub(super) fn answer(
    exchange: &Exchange,
    limits: &Limits,
    kind: Type,
    payload: Bytes,
) -> Result<Bytes, StateError> {
    match kind {
        Type::GetState => exchange.get(&decode(payload)?),
        Type::GetStateMultiple => exchange.get_multiple(&decode(payload)?),
        Type::GetPrivateDataHash => exchange.get_hash(&decode(payload)?),
        Type::PutState => exchange.put(decode(payload)?),
        Type::DelState => exchange.delete(&decode(payload)?),
        // Field numbers of PurgePrivateState and DelState are the same.
        Type::PurgePrivateData => exchange.purge(&decode(payload)?),
        Type::GetStateMetadata => exchange.get_metadata(&decode(payload)?),
        Type::PutStateMetadata => exchange.put_metadata(decode(payload)?),
        Type::WriteBatchState => exchange.write_batch(decode(payload)?),
        Type::GetStateByRange => exchange.get_range(decode(payload)?, limits),
        Type::GetHistoryForKey if !limits.history => Err(StateError::NoHistory),
        Type::GetHistoryForKey => {
            let request: GetHistoryForKey = decode(payload)?;
            let mut iterators = exchange.iterators.lock();
            let limit = limits.total_query;
            let response = iterators.open_history(
                &exchange.session,
                &exchange.chaincode,
                &request.key,
                limit,
            )?;
            Ok(response.encode_to_vec().into())
        }
        Type::QueryStateNext => {
            let request: QueryStateNext = decode(payload)?;
            let mut iterators = exchange.iterators.lock();
            let response = iterators.next(&exchange.session, &exchange.chaincode, &request.id)?;
            Ok(response.encode_to_vec().into())
        }
        Type::QueryStateClose => {
            let request: QueryStateClose = decode(payload)?;
            let response = exchange
                .iterators
                .lock()
                .close(&exchange.session, &request.id)?;
            Ok(response.encode_to_vec().into())
        }
        Type::GetQueryResult => exchange.get_query(decode(payload)?, limits),
        other => Err(StateError::Request(format!(
            "unknown request {}",
            other.as_str_name()
        ))),
    }
}

fn decode<M: Message + Default>(payload: Bytes) -> Result<M, StateError> {
    M::decode(payload).map_err(|error| StateError::Request(format!("unmarshal failed: {error}")))
}

impl Exchange {
    fn check_private(&self, collection: &str, wish: Wish) -> Result<(), StateError> {
        self.session
            .check_private(&self.chaincode, collection, wish, self.is_init)
    }

    fn get(&self, request: &GetState) -> Result<Bytes, StateError> {
        self.get_value(&request.collection, &request.key)
    }

    fn get_value(&self, collection: &str, key: &str) -> Result<Bytes, StateError> {
        if !collection.is_empty() {
            self.check_private(collection, Wish::Read)?;
        }
        let value = self.session.with_simulator(|simulator| {
            if collection.is_empty() {
                simulator.get_state(&self.chaincode, key)
            } else {
                simulator.get_private(&self.chaincode, collection, key)
            }
        })?;
        Ok(value.unwrap_or_default())
    }

    fn get_multiple(&self, request: &GetStateMultiple) -> Result<Bytes, StateError> {
        let values: Result<Vec<Bytes>, StateError> = request
            .keys
            .iter()
            .map(|key| self.get_value(&request.collection, key))
            .collect();
        Ok(GetStateMultipleResult { values: values? }
            .encode_to_vec()
            .into())
    }

    fn get_hash(&self, request: &GetState) -> Result<Bytes, StateError> {
        if self.is_init {
            return Err(StateError::PrivateInInit);
        }
        let hash = self.session.with_simulator(|simulator| {
            simulator.get_private_hash(&self.chaincode, &request.collection, &request.key)
        })?;
        Ok(hash.unwrap_or_default())
    }

    fn put(&self, request: PutState) -> Result<Bytes, StateError> {
        let PutState {
            key,
            value,
            collection,
        } = request;
        if !collection.is_empty() {
            self.check_private(&collection, Wish::Write)?;
        }
        self.session.with_simulator(|simulator| {
            if collection.is_empty() {
                simulator.put_state(&self.chaincode, &key, value)
            } else {
                simulator.put_private(&self.chaincode, &collection, &key, value)
            }
        })?;
        Ok(Bytes::new())
    }

    fn delete(&self, request: &DelState) -> Result<Bytes, StateError> {
        let DelState { key, collection } = request;
        if !collection.is_empty() {
            self.check_private(collection, Wish::Write)?;
        }
        self.session.with_simulator(|simulator| {
            if collection.is_empty() {
                simulator.delete_state(&self.chaincode, key)
            } else {
                simulator.delete_private(&self.chaincode, collection, key)
            }
        })?;
        Ok(Bytes::new())
    }

    fn purge(&self, request: &DelState) -> Result<Bytes, StateError> {
        self.session.check_purge()?;
        self.check_private(&request.collection, Wish::Write)?;
        self.session.with_simulator(|simulator| {
            simulator.purge_private(&self.chaincode, &request.collection, &request.key)
        })?;
        Ok(Bytes::new())
    }

    fn get_metadata(&self, request: &GetStateMetadata) -> Result<Bytes, StateError> {
        self.session.check_key_level_policies()?;
        let GetStateMetadata { key, collection } = request;
        if !collection.is_empty() {
            self.check_private(collection, Wish::Read)?;
        }
        let metadata = self.session.with_simulator(|simulator| {
            if collection.is_empty() {
                simulator.get_metadata(&self.chaincode, key)
            } else {
                simulator.get_private_metadata(&self.chaincode, collection, key)
            }
        })?;
        let entries = metadata
            .into_iter()
            .map(|(metakey, value)| StateMetadata { metakey, value })
            .collect();
        Ok(StateMetadataResult { entries }.encode_to_vec().into())
    }

    fn put_metadata(&self, request: PutStateMetadata) -> Result<Bytes, StateError> {
        self.session.check_key_level_policies()?;
        let PutStateMetadata {
            key,
            collection,
            metadata,
        } = request;
        if !collection.is_empty() {
            self.check_private(&collection, Wish::Write)?;
        }
        // One entry replaces whatever the key had.
        let entry = metadata.unwrap_or_default();
        let metadata = BTreeMap::from([(entry.metakey, entry.value)]);
        self.session.with_simulator(|simulator| {
            if collection.is_empty() {
                simulator.put_metadata(&self.chaincode, &key, metadata)
            } else {
                simulator.put_private_metadata(&self.chaincode, &collection, &key, metadata)
            }
        })?;
        Ok(Bytes::new())
    }

    /// Applies the records in order; those before the first failure stay.
    fn write_batch(&self, request: WriteBatchState) -> Result<Bytes, StateError> {
        for record in request.rec {
            let kind = record.r#type();
            let WriteRecord {
                key,
                value,
                collection,
                metadata,
                ..
            } = record;
            match kind {
                write_record::Type::PutState => self.put(PutState {
                    key,
                    value,
                    collection,
                })?,
                write_record::Type::DelState => self.delete(&DelState { key, collection })?,
                write_record::Type::PutStateMetadata => self.put_metadata(PutStateMetadata {
                    key,
                    collection,
                    metadata,
                })?,
                write_record::Type::PurgePrivateData => {
                    self.purge(&DelState { key, collection })?
                }
                write_record::Type::Undefined => {
                    return Err(StateError::Request("unknown operation type".to_owned()));
                }
            };
        }
        Ok(Bytes::new())
    }

    fn get_query(&self, request: GetQueryResult, limits: &Limits) -> Result<Bytes, StateError> {
        if !request.collection.is_empty() {
            self.check_private(&request.collection, Wish::Read)?;
        }
        let query = QueryRequest {
            namespace: &self.chaincode,
            collection: &request.collection,
            query: &request.query,
            metadata: request.metadata,
        };
        let mut iterators = self.iterators.lock();
        let response = iterators.open_query(&self.session, &query, limits.total_query)?;
        Ok(response.encode_to_vec().into())
    }

    fn get_range(&self, request: GetStateByRange, limits: &Limits) -> Result<Bytes, StateError> {
        if !request.collection.is_empty() {
            self.check_private(&request.collection, Wish::Read)?;
        }
        let range = RangeRequest {
            namespace: &self.chaincode,
            collection: &request.collection,
            start: &request.start_key,
            end: &request.end_key,
            metadata: request.metadata,
        };
        let mut iterators = self.iterators.lock();
        let response = iterators.open_range(&self.session, &range, limits.total_query)?;
        Ok(response.encode_to_vec().into())
    }
}
