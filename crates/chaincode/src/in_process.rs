//! Contracts compiled into this binary: the contract API on top of a session.

use crate::host::Host;
use crate::outcome::Outcome;
use crate::session::{Session, StateError, Wish};
use bytes::Bytes;
use consilium_contracts::{
    Caller, Contract, HistoryEntry, KeyValue, Page, Response, Stub, StubError, Timestamp,
};
use consilium_ledger::{CursorId, LedgerError, Simulator};
use consilium_proto::protos::{self, ChaincodeEvent, ChaincodeInput};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// The metadata entry that holds a key's endorsement policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// Runs `contract` to its end on the calling thread, which must be one that may block.
pub(crate) fn run(
    contract: &dyn Contract,
    chaincode: &str,
    is_init: bool,
    input: ChaincodeInput,
    session: Arc<Session>,
    host: Arc<Host>,
    runtime: Handle,
) -> Result<Outcome, String> {
    let caller = Caller::from_serialized(&session.proposal.signature_header.creator)
        .map_err(|error| format!("could not read the creator: {error}"))?;
    let timestamp = session
        .proposal
        .channel_header
        .timestamp
        .unwrap_or_default();
    let mut stub = SessionStub {
        chaincode,
        is_init,
        input,
        caller,
        timestamp: Timestamp {
            seconds: timestamp.seconds,
            nanos: timestamp.nanos,
        },
        session,
        host,
        runtime,
        event: None,
    };
    let response = if is_init {
        contract.init(&mut stub)
    } else {
        contract.invoke(&mut stub)
    };
    let Response {
        status,
        message,
        payload,
    } = response;
    Ok(Outcome::Completed {
        response: protos::Response {
            status,
            message,
            payload,
        },
        event: stub.event,
    })
}

struct SessionStub<'a> {
    chaincode: &'a str,
    is_init: bool,
    input: ChaincodeInput,
    caller: Caller,
    timestamp: Timestamp,
    session: Arc<Session>,
    host: Arc<Host>,
    runtime: Handle,
    event: Option<ChaincodeEvent>,
}

impl SessionStub<'_> {
    fn check_private(&self, collection: &str, wish: Wish) -> Result<(), StubError> {
        self.session
            .check_private(self.chaincode, collection, wish, self.is_init)
            .map_err(|error| StubError::NoAccess {
                collection: collection.to_owned(),
                reason: error.to_string(),
            })
    }
}

fn failed(operation: &'static str) -> impl FnOnce(StateError) -> StubError {
    move |error| StubError::Failed {
        operation,
        reason: error.to_string(),
    }
}

fn in_collection(
    operation: &'static str,
    collection: &str,
) -> impl FnOnce(StateError) -> StubError {
    let collection = collection.to_owned();
    move |error| match error {
        StateError::Ledger(LedgerError::PrivateDataUnavailable { .. }) => {
            StubError::PrivateDataMissing {
                collection,
                reason: error.to_string(),
            }
        }
        error => StubError::Failed {
            operation,
            reason: error.to_string(),
        },
    }
}

/// Up to `limit` results of a cursor, which is closed then.
fn pull(
    simulator: &mut Simulator,
    cursor: CursorId,
    limit: usize,
) -> Result<Vec<KeyValue>, LedgerError> {
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((key, value)) = simulator.next(cursor)?
    {
        found.push(KeyValue { key, value });
    }
    simulator.close(cursor);
    Ok(found)
}

impl SessionStub<'_> {
    /// The results of a paginated cursor with its bookmark.
    fn page(
        &mut self,
        operation: &'static str,
        page_size: u32,
        open: impl FnOnce(&mut Simulator, &str, u32) -> Result<CursorId, LedgerError>,
    ) -> Result<Page, StubError> {
        let chaincode = self.chaincode;
        let limit = self.host.options.total_query_limit;
        // Pages end at the peer's limit, whatever was asked for.
        let size = if page_size == 0 {
            limit
        } else {
            page_size.min(limit)
        };
        self.session
            .with_simulator(|simulator| {
                let cursor = open(simulator, chaincode, size)?;
                let mut entries = Vec::new();
                while let Some((key, value)) = simulator.next(cursor)? {
                    entries.push(KeyValue { key, value });
                }
                let bookmark = simulator.bookmark(cursor)?;
                simulator.close(cursor);
                Ok::<_, LedgerError>(Page { entries, bookmark })
            })
            .map_err(failed(operation))
    }
}

impl Stub for SessionStub<'_> {
    fn channel_id(&self) -> &str {
        &self.session.channel
    }

    fn tx_id(&self) -> &str {
        &self.session.tx_id
    }

    fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    fn endorser_time(&self) -> Option<Timestamp> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let seconds = i64::try_from(now.as_secs()).ok()?;
        Some(Timestamp {
            seconds,
            nanos: now.subsec_nanos().cast_signed(),
        })
    }

    fn creator(&self) -> &Caller {
        &self.caller
    }

    fn args(&self) -> &[Bytes] {
        &self.input.args
    }

    fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.session.proposal.transient
    }

    fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError> {
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| simulator.get_state(chaincode, key))
            .map_err(failed("get_state"))
    }

    fn put_state(&mut self, key: &str, value: &[u8]) -> Result<(), StubError> {
        let (chaincode, value) = (self.chaincode, Bytes::copy_from_slice(value));
        self.session
            .with_simulator(|simulator| simulator.put_state(chaincode, key, value))
            .map_err(failed("put_state"))
    }

    fn delete_state(&mut self, key: &str) -> Result<(), StubError> {
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| simulator.delete_state(chaincode, key))
            .map_err(failed("delete_state"))
    }

    fn range(&mut self, start: &str, end: &str, limit: usize) -> Result<Vec<KeyValue>, StubError> {
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| {
                let cursor = simulator.range(chaincode, start, end)?;
                pull(simulator, cursor, limit)
            })
            .map_err(failed("range"))
    }

    fn range_page(
        &mut self,
        start: &str,
        end: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let start = if bookmark.is_empty() { start } else { bookmark };
        self.page("range_page", page_size, |simulator, chaincode, size| {
            simulator.paginated_range(chaincode, start, end, size)
        })
    }

    fn query(&mut self, query: &str, limit: usize) -> Result<Vec<KeyValue>, StubError> {
        let chaincode = self.chaincode;
        let limit = limit.min(self.host.options.total_query_limit as usize);
        self.session
            .with_simulator(|simulator| {
                let cursor = simulator.query(chaincode, query)?;
                pull(simulator, cursor, limit)
            })
            .map_err(failed("query"))
    }

    fn query_page(
        &mut self,
        query: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        self.page("query_page", page_size, |simulator, chaincode, size| {
            simulator.paginated_query(chaincode, query, bookmark, size)
        })
    }

    fn query_private(
        &mut self,
        collection: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StubError> {
        self.check_private(collection, Wish::Read)?;
        let chaincode = self.chaincode;
        let limit = limit.min(self.host.options.total_query_limit as usize);
        self.session
            .with_simulator(|simulator| {
                let cursor = simulator.private_query(chaincode, collection, query)?;
                pull(simulator, cursor, limit)
            })
            .map_err(in_collection("query_private", collection))
    }

    fn history(&mut self, key: &str) -> Result<Vec<HistoryEntry>, StubError> {
        if !self.host.options.history {
            return Err(failed("history")(StateError::NoHistory));
        }
        let limit = self.host.options.total_query_limit as usize;
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| {
                let cursor = simulator.history(chaincode, key)?;
                let mut found = Vec::new();
                while found.len() < limit
                    && let Some(change) = simulator.next_modification(cursor)?
                {
                    let timestamp = change.timestamp.unwrap_or_default();
                    found.push(HistoryEntry {
                        tx_id: change.tx_id,
                        timestamp: Timestamp {
                            seconds: timestamp.seconds,
                            nanos: timestamp.nanos,
                        },
                        value: (!change.is_delete).then_some(change.value),
                    });
                }
                simulator.close(cursor);
                Ok::<_, LedgerError>(found)
            })
            .map_err(failed("history"))
    }

    fn set_key_policy(&mut self, key: &str, policy: &[u8]) -> Result<(), StubError> {
        let chaincode = self.chaincode;
        let metadata = BTreeMap::from([(
            VALIDATION_PARAMETER.to_owned(),
            Bytes::copy_from_slice(policy),
        )]);
        self.session
            .check_key_level_policies()
            .and_then(|()| {
                self.session
                    .with_simulator(|simulator| simulator.put_metadata(chaincode, key, metadata))
            })
            .map_err(failed("set_key_policy"))
    }

    fn get_private(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        self.check_private(collection, Wish::Read)?;
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| simulator.get_private(chaincode, collection, key))
            .map_err(in_collection("get_private", collection))
    }

    fn put_private(&mut self, collection: &str, key: &str, value: &[u8]) -> Result<(), StubError> {
        self.check_private(collection, Wish::Write)?;
        let (chaincode, value) = (self.chaincode, Bytes::copy_from_slice(value));
        self.session
            .with_simulator(|simulator| simulator.put_private(chaincode, collection, key, value))
            .map_err(in_collection("put_private", collection))
    }

    fn delete_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.check_private(collection, Wish::Write)?;
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| simulator.delete_private(chaincode, collection, key))
            .map_err(in_collection("delete_private", collection))
    }

    fn purge_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.check_private(collection, Wish::Write)?;
        let chaincode = self.chaincode;
        self.session
            .check_purge()
            .and_then(|()| {
                self.session
                    .with_simulator(|simulator| simulator.purge_private(chaincode, collection, key))
            })
            .map_err(in_collection("purge_private", collection))
    }

    fn get_private_hash(
        &mut self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StubError> {
        let chaincode = self.chaincode;
        self.session
            .with_simulator(|simulator| simulator.get_private_hash(chaincode, collection, key))
            .map_err(in_collection("get_private_hash", collection))
    }

    fn set_event(&mut self, name: &str, payload: &[u8]) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::Failed {
                operation: "set_event",
                reason: "event name can not be empty string".to_owned(),
            });
        }
        self.event = Some(ChaincodeEvent {
            chaincode_id: self.chaincode.to_owned(),
            tx_id: self.session.tx_id.clone(),
            event_name: name.to_owned(),
            payload: Bytes::copy_from_slice(payload),
        });
        Ok(())
    }

    fn invoke(&mut self, chaincode: &str, args: &[Bytes]) -> Result<Response, StubError> {
        let input = ChaincodeInput {
            args: args.to_vec(),
            ..ChaincodeInput::default()
        };
        // This thread may block, and the callee runs on others.
        let called = self
            .runtime
            .block_on(self.host.call(&self.session, chaincode, input));
        let failed = |reason| StubError::Failed {
            operation: "invoke",
            reason,
        };
        let message = called.map_err(failed)?;
        match Outcome::from_message(message, chaincode)
            .map_err(|error| failed(error.to_string()))?
        {
            Outcome::Completed { response, .. } => Ok(Response {
                status: response.status,
                message: response.message,
                payload: response.payload,
            }),
            Outcome::Failed(text) => Ok(Response::error(500, String::from_utf8_lossy(&text))),
        }
    }
}
