//! Reading an index page by page.

use bytes::Bytes;

use crate::failure::Failure;
use crate::key::{composite_key, composite_range, split_composite_key};
use crate::request::Call;
use crate::stub::StubError;

/// An entry under a composite key.
pub(crate) struct Entry {
    pub attributes: Vec<String>,
    pub value: Bytes,
}

impl Entry {
    /// The last attribute: in most indexes the id.
    pub fn last(&self) -> &str {
        self.attributes.last().map_or("", String::as_str)
    }
}

/// Entries in the order of their keys.
pub(crate) struct Entries {
    pub entries: Vec<Entry>,
    /// Whether there are more behind them.
    pub more: bool,
}

impl Entries {
    /// The last attributes, and with `more` the bookmark for what follows.
    pub fn ids(self) -> (Vec<String>, Option<String>) {
        let ids: Vec<_> = self
            .entries
            .into_iter()
            .filter_map(|mut entry| entry.attributes.pop())
            .collect();
        let bookmark = ids.last().filter(|_| self.more).cloned();
        (ids, bookmark)
    }
}

impl Call<'_> {
    /// The first `most` entries whose keys begin with these attributes; behind the one that has
    /// the attributes `after` next, where there are some. They may come from a caller's bookmark:
    /// no attribute leads out of the prefix.
    pub fn page<'a>(
        &mut self,
        object_type: &str,
        prefix: &[&'a str],
        after: impl IntoIterator<Item = &'a str>,
        most: usize,
    ) -> Result<Entries, Failure> {
        let (mut start, end) = composite_range(object_type, prefix)?;
        let mut attributes = prefix.to_vec();
        attributes.extend(after);
        if attributes.len() > prefix.len() {
            start = behind(object_type, &attributes)?;
        }
        self.page_between(&start, &end, most)
    }

    /// The first `most` entries from one composite key to before another; none where the second
    /// is not behind the first.
    pub fn page_between(
        &mut self,
        start: &str,
        end: &str,
        most: usize,
    ) -> Result<Entries, Failure> {
        let mut found = if start < end {
            self.stub.range(start, end, most + 1)?
        } else {
            Vec::new()
        };
        let more = found.len() > most;
        found.truncate(most);
        let entries = found
            .into_iter()
            .map(|entry| {
                let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
                Ok(Entry {
                    attributes: attributes.into_iter().map(str::to_owned).collect(),
                    value: entry.value,
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Entries { entries, more })
    }
}

/// The first key behind a composite key.
pub(crate) fn behind(object_type: &str, attributes: &[&str]) -> Result<String, Failure> {
    let mut key = composite_key(object_type, attributes)?;
    key.push('\u{0}');
    Ok(key)
}
