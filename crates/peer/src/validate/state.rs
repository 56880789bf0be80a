//! What validation asks of committed state, and how the ledger answers.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use consilium_chaincode::lifecycle::{self, Definition};
use consilium_ledger::{Ledger, LedgerError, StateReader};
use consilium_proto::protos;
use parking_lot::Mutex;
use prost::Message;

use super::PreparedTransaction;

/// The validation rules of a defined chaincode.
#[derive(Clone, Debug, PartialEq)]
pub struct ChaincodePolicy {
    /// Validation plugin; `vscc` is built in.
    pub plugin: String,
    /// Encoded `protos.ApplicationPolicy`.
    pub policy: Bytes,
    /// Explicit collections; `None` for a definition that is older than the V2 lifecycle.
    pub collections: Option<protos::CollectionConfigPackage>,
    /// What peers that can run it tell others as its version: the definition's sequence
    /// (`fabric: core/chaincode/lifecycle/cache.go`).
    pub advertised_version: String,
}

/// State as the block before left it. Errors mean that it cannot be read.
pub trait CommittedState: Sync {
    /// Whether some block holds a transaction of this id, whatever its code.
    fn has_transaction(&self, tx_id: &str) -> Result<bool, String>;

    /// The rules of a chaincode; `None` when it is not defined (or its definition is unreadable).
    fn chaincode_policy(&self, name: &str) -> Result<Option<Arc<ChaincodePolicy>>, String>;

    /// Stored metadata (`kvrwset.KVMetadataWrite`) of a public key, or of a hashed key of a collection.
    fn key_metadata(
        &self,
        namespace: &str,
        collection: Option<&str>,
        key: &[u8],
    ) -> Result<Option<Bytes>, String>;
}

type Known = Option<Arc<ChaincodePolicy>>;

/// Chaincode rules read before, until a block may have changed one.
///
/// A reader takes the generation before its snapshot; what it read is kept only if no definition
/// changed in between.
#[derive(Default)]
pub struct Definitions {
    known: Mutex<(u64, HashMap<String, Known>)>,
}

/// What [`Definitions`] say about a name.
pub enum Lookup {
    /// The rules, or that there are none.
    Known(Known),
    /// Read state, and insert under this generation.
    Unknown(u64),
}

impl Definitions {
    /// Names remembered; undefined ones count as well, and anybody can ask for those.
    const LIMIT: usize = 1024;

    /// Looks a chaincode up.
    pub fn lookup(&self, name: &str) -> Lookup {
        let known = self.known.lock();
        match known.1.get(name) {
            Some(policy) => Lookup::Known(policy.clone()),
            None => Lookup::Unknown(known.0),
        }
    }

    /// Remembers what was read after a lookup gave `generation`.
    pub fn insert(&self, generation: u64, name: &str, policy: Known) {
        let mut known = self.known.lock();
        if known.0 == generation {
            if known.1.len() >= Self::LIMIT {
                known.1.clear();
            }
            known.1.insert(name.to_owned(), policy);
        }
    }

    /// Forgets everything: a definition may have changed.
    pub fn forget(&self) {
        let mut known = self.known.lock();
        known.0 += 1;
        known.1.clear();
    }

    /// How often everything was forgotten.
    pub fn generation(&self) -> u64 {
        self.known.lock().0
    }
}

/// A snapshot of a ledger, for the time of one block.
pub struct LedgerState<'a> {
    ledger: &'a Ledger,
    reader: StateReader,
    definitions: Option<&'a Definitions>,
}

impl<'a> LedgerState<'a> {
    /// Reads what is committed now.
    ///
    /// # Errors
    /// When the ledger gives no snapshot.
    pub fn new(ledger: &'a Ledger) -> Result<Self, LedgerError> {
        Ok(Self {
            ledger,
            reader: ledger.reader()?,
            definitions: None,
        })
    }

    /// Reads what is committed now, everything that the block's transactions touch at once.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn for_block(
        ledger: &'a Ledger,
        transactions: &[PreparedTransaction],
    ) -> Result<Self, LedgerError> {
        let rwsets = transactions
            .iter()
            .filter_map(|transaction| match transaction {
                PreparedTransaction::Endorser {
                    content: Ok(content),
                    ..
                } => Some(&content.transaction.rwset),
                _ => None,
            });
        Ok(Self {
            ledger,
            reader: ledger.reader_for(rwsets)?,
            definitions: None,
        })
    }

    /// The state itself, to commit from.
    pub fn into_reader(self) -> StateReader {
        self.reader
    }

    /// Uses and feeds remembered definitions. Only for whoever commits blocks: no definition may
    /// change while this state is in use.
    #[must_use]
    pub fn with_definitions(self, definitions: &'a Definitions) -> Self {
        Self {
            definitions: Some(definitions),
            ..self
        }
    }

    /// Reads a chaincode's rules from state.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn read_chaincode_policy(&self, name: &str) -> Result<Known, String> {
        match lifecycle::definition(&self.reader, name) {
            Ok(Some(definition)) => return Ok(Some(Arc::new(from_definition(definition)))),
            Ok(None) => {}
            Err(error) => {
                // Fabric stops the channel here. A definition that two organizations agreed to
                // spoil must not stop everybody else, so the chaincode counts as undefined.
                tracing::warn!(chaincode = name, %error, "chaincode definition is unreadable");
                return Ok(None);
            }
        }
        let stored = self
            .reader
            .get("lscc", name)
            .map_err(|error| error.to_string())?;
        Ok(stored
            .and_then(|stored| from_legacy(name, stored.value))
            .map(Arc::new))
    }
}

impl CommittedState for LedgerState<'_> {
    fn has_transaction(&self, tx_id: &str) -> Result<bool, String> {
        self.ledger
            .has_transaction(tx_id)
            .map_err(|error| error.to_string())
    }

    fn chaincode_policy(&self, name: &str) -> Result<Known, String> {
        let Some(definitions) = self.definitions else {
            return self.read_chaincode_policy(name);
        };
        match definitions.lookup(name) {
            Lookup::Known(policy) => Ok(policy),
            Lookup::Unknown(generation) => {
                let policy = self.read_chaincode_policy(name)?;
                definitions.insert(generation, name, policy.clone());
                Ok(policy)
            }
        }
    }

    fn key_metadata(
        &self,
        namespace: &str,
        collection: Option<&str>,
        key: &[u8],
    ) -> Result<Option<Bytes>, String> {
        let found = match collection {
            Some(collection) => self.reader.get_hashed(namespace, collection, key),
            None => match std::str::from_utf8(key) {
                Ok(key) => self.reader.get(namespace, key),
                // Public keys are protobuf strings; nothing else can be stored.
                Err(_) => return Ok(None),
            },
        };
        found
            .map(|found| found.and_then(|found| found.metadata))
            .map_err(|error| error.to_string())
    }
}

fn from_definition(definition: Definition) -> ChaincodePolicy {
    ChaincodePolicy {
        plugin: definition.validation_plugin,
        policy: definition.validation_parameter,
        collections: Some(definition.collections),
        advertised_version: definition.sequence.to_string(),
    }
}

/// A chaincode deployed before the V2 lifecycle: its bare signature policy is wrapped.
fn from_legacy(name: &str, stored: Bytes) -> Option<ChaincodePolicy> {
    let data: protos::ChaincodeData = match consilium_proto::decode(&stored) {
        Ok(data) => data,
        Err(error) => {
            tracing::warn!(chaincode = name, %error, "legacy chaincode definition is unreadable");
            return None;
        }
    };
    // Without a policy nothing is endorsed: an empty policy counts as no definition.
    let policy = data.policy.map_or_else(Bytes::new, |envelope| {
        protos::ApplicationPolicy {
            r#type: Some(protos::application_policy::Type::SignaturePolicy(envelope)),
        }
        .encode_to_vec()
        .into()
    });
    Some(ChaincodePolicy {
        plugin: data.vscc,
        policy,
        collections: None,
        advertised_version: data.version,
    })
}
