//! The MSPs of a channel, and the caches that keep validation fast.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::msp::SerializedIdentity;

use crate::cache::GenerationCache;
use crate::error::MspError;
use crate::identity::Identity;
use crate::msp::Msp;

/// Identities kept in each of the cache's two generations.
const CACHED_IDENTITIES: usize = 2048;

/// The MSPs of one channel configuration. Cheap to clone; clones share the cache.
///
/// A cached identity costs one hash lookup, and brings its parsed key and its verdict with it. A change of
/// configuration makes a new manager, so nothing in the cache can be stale.
#[derive(Clone)]
pub struct MspManager {
    shared: Arc<Shared>,
}

struct Shared {
    msps: BTreeMap<String, Arc<Msp>>,
    identities: GenerationCache<Bytes, Arc<Identity>>,
}

impl std::fmt::Debug for MspManager {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.shared.msps.keys())
            .finish()
    }
}

impl MspManager {
    /// A manager of `msps`.
    ///
    /// # Errors
    /// [`MspError::DuplicateMsp`] when two have one name.
    pub fn new(msps: Vec<Arc<Msp>>) -> Result<Self, MspError> {
        let mut by_name = BTreeMap::new();
        for msp in msps {
            let name = msp.id().to_owned();
            if by_name.insert(name.clone(), msp).is_some() {
                return Err(MspError::DuplicateMsp(name));
            }
        }
        Ok(Self::with(by_name))
    }

    /// A manager of one MSP.
    pub(crate) fn of(msp: Arc<Msp>) -> Self {
        Self::with(BTreeMap::from([(msp.id().to_owned(), msp)]))
    }

    fn with(msps: BTreeMap<String, Arc<Msp>>) -> Self {
        MspManager {
            shared: Arc::new(Shared {
                msps,
                identities: GenerationCache::new(CACHED_IDENTITIES),
            }),
        }
    }

    /// The MSP named `id`.
    pub fn msp(&self, id: &str) -> Option<&Arc<Msp>> {
        self.shared.msps.get(id)
    }

    /// All MSPs, in order of their names.
    pub fn msps(&self) -> impl Iterator<Item = &Arc<Msp>> {
        self.shared.msps.values()
    }

    /// The identity in `msp.SerializedIdentity` bytes, from the cache when it was seen before. It need not
    /// be valid.
    ///
    /// # Errors
    /// [`MspError`]; failures are not cached.
    pub fn deserialize(&self, serialized: &Bytes) -> Result<Arc<Identity>, MspError> {
        if let Some(identity) = self.shared.identities.get(serialized) {
            return Ok(identity);
        }
        let msp_id = consilium_proto::decode::<SerializedIdentity>(serialized)
            .map_err(|error| MspError::NotAnIdentity(error.to_string()))?
            .mspid;
        let msp = self.msp(&msp_id).ok_or(MspError::UnknownMsp(msp_id))?;
        let identity = Arc::new(msp.deserialize(serialized)?);
        self.shared
            .identities
            .insert(identity.serialized().clone(), identity.clone());
        Ok(identity)
    }

    /// Whether `identity` is valid in its MSP. The first answer is kept with the identity.
    ///
    /// # Errors
    /// [`MspError`] with the reason.
    pub fn validate(&self, identity: &Identity) -> Result<(), MspError> {
        self.msp(identity.msp_id())
            .ok_or_else(|| MspError::UnknownMsp(identity.msp_id().to_owned()))?
            .validate(identity)
    }

    /// Whether `identity` satisfies `principal`, as its own MSP judges.
    ///
    /// # Errors
    /// [`MspError`] says why not.
    pub fn satisfies(
        &self,
        identity: &Identity,
        principal: &consilium_proto::common::MspPrincipal,
    ) -> Result<(), MspError> {
        self.msp(identity.msp_id())
            .ok_or_else(|| MspError::UnknownMsp(identity.msp_id().to_owned()))?
            .satisfies(identity, principal)
    }
}
