//! JSON queries on a [`TestLedger`], with the indexes that its contracts declare.

use std::sync::atomic::AtomicBool;

use consilium_mango::{Access, Bookmark, Document, Index, MangoError, Query, plan};

use super::stub::TestStub;
use super::{TestLedger, Versioned};
use crate::stub::{KeyValue, Page, StubError};

impl TestLedger {
    /// What matches in the namespace of `stub` or in a collection of it, from a bookmark on. Public
    /// results are recorded as reads.
    pub(super) fn query(
        &self,
        stub: &mut TestStub<'_>,
        operation: &'static str,
        collection: Option<&str>,
        query: &str,
        bookmark: &str,
        limit: usize,
    ) -> Result<Page, StubError> {
        let failed = |error: MangoError| StubError::Failed {
            operation,
            reason: error.to_string(),
        };
        let query = Query::parse(query, bookmark).map_err(failed)?;
        let indexes = self.indexes(&stub.namespace, collection);
        let access = plan(&query, &indexes).map_err(failed)?;
        let documents = self.documents(&stub.namespace, collection);
        let (index, mut records, descending) = match access {
            Access::Nothing => (None, Vec::new(), false),
            Access::Documents { descending } => {
                let records = documents.iter().enumerate().map(|(place, (key, ..))| {
                    // Records and the places of their documents.
                    (key.as_bytes().to_vec(), place)
                });
                (Some([0; 8]), records.collect(), descending)
            }
            Access::Records {
                index,
                start,
                end,
                descending,
            } => {
                let index = &indexes[index];
                let mut records: Vec<(Vec<u8>, usize)> = documents
                    .iter()
                    .enumerate()
                    .filter_map(|(place, (key, document, _))| {
                        let record = [&index.entry(document)?, key.as_bytes()].concat();
                        (start <= record && record < end).then_some((record, place))
                    })
                    .collect();
                records.sort();
                (Some(index.id()), records, descending)
            }
        };
        if descending {
            records.reverse();
        }
        if !query.bookmark.is_empty() {
            let given = Bookmark::decode(&query.bookmark).map_err(failed)?;
            if index.is_some_and(|index| index != given.index) {
                return Err(failed(Bookmark::invalid(&query.bookmark)));
            }
            let behind = given.record;
            records.retain(|(record, _)| (*record > behind) != descending && *record != behind);
        }
        let mut page = Page::default();
        let mut last = None;
        let mut skip = query.skip;
        for (record, place) in records {
            let (key, document, version) = &documents[place];
            if page.entries.len() < limit && query.matches(document, &AtomicBool::new(false)) {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if collection.is_none() {
                    let namespace = stub.namespace.clone();
                    stub.sets
                        .reads
                        .push((namespace, key.clone(), Some(*version)));
                }
                page.entries.push(KeyValue {
                    key: key.clone(),
                    value: query.result(document.clone()).into(),
                });
                let index = index.unwrap_or_default();
                last = Some(Bookmark { index, record });
            }
        }
        page.bookmark = Bookmark::of_page(last.as_ref(), &query.bookmark);
        Ok(page)
    }

    fn indexes(&self, namespace: &str, collection: Option<&str>) -> Vec<Index> {
        let contract = self.contracts.get(namespace);
        contract
            .into_iter()
            .flat_map(|contract| contract.indexes())
            .filter(|index| index.collection == collection)
            .map(|index| {
                Index::parse(index.definition.as_bytes())
                    .unwrap_or_else(|error| panic!("index {}: {error}", index.file))
            })
            .collect()
    }

    fn documents(&self, namespace: &str, collection: Option<&str>) -> Vec<(String, Document, u64)> {
        let document = |key: &String, versioned: &Versioned| {
            let document = Document::parse(key, &versioned.value)?;
            Some((key.clone(), document, versioned.version))
        };
        match collection {
            None => self
                .state
                .iter()
                .filter(|((ns, _), _)| ns == namespace)
                .filter_map(|((_, key), versioned)| document(key, versioned))
                .collect(),
            Some(collection) => self
                .private
                .iter()
                .filter(|((ns, coll, _), _)| ns == namespace && coll == collection)
                // Who is no member has the hashes only.
                .filter(|_| !self.hidden.contains(collection))
                .filter_map(|((_, _, key), versioned)| document(key, versioned))
                .collect(),
        }
    }
}
