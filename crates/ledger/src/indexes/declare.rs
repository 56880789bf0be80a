//! Declaring indexes: what a chaincode has from now on, and building what is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use consilium_mango::Index;
use consilium_protocol::names::private_namespace;

use super::upkeep::add;
use super::{
    BUILDING, Declared, IndexFile, Places, READY, definition_key, drop_index, place, state_family,
};
use crate::database::{Family, behind};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::state::{self, VersionedValue};

/// Documents that are indexed between two commits at most.
const BUILD_STEP: usize = 256;

impl Ledger {
    /// Makes `files` the indexes of a chaincode: those that it had and has no more go, new ones are
    /// built over the state as it is. Commits go on meanwhile; queries use an index once it is
    /// complete, which it is when this returns. What a crash interrupts is taken up by the next
    /// call. Files that are no usable definition are left out with a warning, as in Fabric; of two
    /// of one name the one counts whose file name comes last. Blocks the thread.
    pub fn declare_indexes(&self, chaincode: &str, files: &[IndexFile]) -> Result<(), LedgerError> {
        let _turn = self.indexes.declaring.lock();
        let wanted = self.wanted(chaincode, files);
        if self.is_declared(chaincode, &wanted) {
            return Ok(());
        }
        self.replace_definitions(chaincode, &wanted)?;
        for (_, collection) in wanted.keys() {
            self.build(chaincode, collection.as_deref())?;
        }
        Ok(())
    }

    /// Ends building for good, as the process is about to end: what is not complete is taken up
    /// after the next start.
    pub fn stop_building_indexes(&self) {
        self.indexes.stopping.store(true, Ordering::Relaxed);
    }

    /// Names of the indexes of a chaincode that are complete, as `design document/name`.
    pub fn ready_indexes(&self, chaincode: &str, collection: Option<&str>) -> Vec<String> {
        let places = self.indexes.places();
        let declared = places.get(&place(chaincode, collection));
        declared
            .into_iter()
            .flatten()
            .filter(|declared| declared.ready)
            .map(|declared| format!("{}/{}", declared.index.ddoc, declared.index.name))
            .collect()
    }

    fn wanted(&self, chaincode: &str, files: &[IndexFile]) -> Wanted {
        let mut files: Vec<&IndexFile> = files.iter().collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut wanted = Wanted::new();
        for file in files {
            match Index::parse(&file.content) {
                Ok(index) => {
                    let place = (
                        place(chaincode, file.collection.as_deref()),
                        file.collection.clone(),
                    );
                    let name = (index.ddoc.clone(), index.name.clone());
                    let entry = (Arc::new(index), file.content.clone());
                    wanted.entry(place).or_default().insert(name, entry);
                }
                Err(error) => tracing::warn!(
                    channel = self.channel,
                    chaincode,
                    collection = file.collection,
                    file = file.name,
                    %error,
                    "index definition cannot be used"
                ),
            }
        }
        wanted
    }

    /// Whether exactly these indexes are there and complete.
    fn is_declared(&self, chaincode: &str, wanted: &Wanted) -> bool {
        let places = self.indexes.places();
        let known = places
            .iter()
            .filter(|(place, _)| is_of(place, chaincode))
            .flat_map(|(place, declared)| declared.iter().map(move |one| (place, one)));
        let mut found = 0;
        for (place, declared) in known {
            let name = (declared.index.ddoc.clone(), declared.index.name.clone());
            let is_wanted = wanted.iter().any(|((wanted_place, _), indexes)| {
                wanted_place == place
                    && indexes
                        .get(&name)
                        .is_some_and(|(index, _)| index.id() == declared.index.id())
            });
            if !is_wanted || !declared.ready {
                return false;
            }
            found += 1;
        }
        found == wanted.values().map(BTreeMap::len).sum::<usize>()
    }

    /// From here on commits keep the wanted indexes up, and no others.
    fn replace_definitions(&self, chaincode: &str, wanted: &Wanted) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        let mut places = Places::clone(&self.indexes.places());
        let mut batch = self.database.batch();
        for (place, declared) in places
            .iter_mut()
            .filter(|(place, _)| is_of(place, chaincode))
        {
            let kept: Vec<[u8; 8]> = wanted
                .iter()
                .filter(|((wanted_place, _), _)| wanted_place == place)
                .flat_map(|(_, indexes)| indexes.values().map(|(index, _)| index.id()))
                .collect();
            for gone in declared.extract_if(.., |one| !kept.contains(&one.index.id())) {
                drop_index(&mut batch, place, &gone.index.id())?;
                self.told(chaincode, &gone.index, "index removed");
            }
        }
        places.retain(|_, declared| !declared.is_empty());
        for ((place, _), indexes) in wanted {
            let declared = places.entry(place.clone()).or_default();
            for (index, definition) in indexes.values() {
                if declared.iter().any(|one| one.index.id() == index.id()) {
                    continue;
                }
                let value = [&[BUILDING], definition.as_ref()].concat();
                batch.put(
                    Family::QueryIndex,
                    &definition_key(place, &index.id()),
                    &value,
                )?;
                declared.push(Declared {
                    index: index.clone(),
                    definition: definition.clone(),
                    ready: false,
                });
            }
        }
        batch.write(true)?;
        *self.indexes.places.write() = Arc::new(places);
        Ok(())
    }

    /// Adds the records of all documents at a place to those indexes that are not ready. Between
    /// two steps commits may change documents; they keep the records of these up themselves.
    fn build(&self, chaincode: &str, collection: Option<&str>) -> Result<(), LedgerError> {
        let place = place(chaincode, collection);
        let family = state_family(collection);
        let mut next = state::key(&place, &[]);
        let prefix = next.len();
        let end = state::scan_end(&place, &[]);
        loop {
            let turn = self.committing.lock();
            let places = self.indexes.places();
            let building: Vec<Declared> = places
                .get(&place)
                .into_iter()
                .flatten()
                .filter(|declared| !declared.ready)
                .cloned()
                .collect();
            if building.is_empty() || self.indexes.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            let snapshot = self.database.snapshot();
            let records = snapshot.scan(family, &next, Some(end.as_slice()), BUILD_STEP)?;
            let mut batch = self.database.batch();
            let Some(behind) = behind(&records) else {
                for declared in &building {
                    let key = definition_key(&place, &declared.index.id());
                    let value = [&[READY], declared.definition.as_ref()].concat();
                    batch.put(Family::QueryIndex, &key, &value)?;
                }
                // Syncs what the steps before wrote, too: there is one log.
                batch.write(true)?;
                let mut places = Places::clone(&places);
                for declared in places.get_mut(&place).into_iter().flatten() {
                    if !declared.ready {
                        declared.ready = true;
                        self.told(chaincode, &declared.index, "index built");
                    }
                }
                *self.indexes.places.write() = Arc::new(places);
                return Ok(());
            };
            next = behind;
            for (key, value) in records {
                let value = VersionedValue::decode(value.into_vec())?.value;
                let key = key.get(prefix..).unwrap_or_default();
                add(&mut batch, &place, &building, key, &value)?;
            }
            batch.write(false)?;
            // A commit that waits comes next.
            parking_lot::MutexGuard::unlock_fair(turn);
        }
    }

    fn told(&self, chaincode: &str, index: &Index, what: &str) {
        let (ddoc, name) = (&index.ddoc, &index.name);
        tracing::info!(channel = self.channel, chaincode, ddoc, name, "{what}");
    }
}

/// Indexes by place (with its collection), then by design document and name.
type Wanted = BTreeMap<(String, Option<String>), BTreeMap<(String, String), (Arc<Index>, Bytes)>>;

fn is_of(place: &str, chaincode: &str) -> bool {
    place == chaincode || place.starts_with(&private_namespace(chaincode, ""))
}
