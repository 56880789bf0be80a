//! Bookmarks: the last index record that was given out, for whoever wants to go on from there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::error::MangoError;

/// What stands for "no bookmark yet" when a query finds nothing, as in CouchDB.
const NIL: &str = "nil";

const FORM: u8 = 1;

/// A position in the records of an index, or in the keys of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// The index's id, all zeros for the keys themselves.
    pub index: [u8; 8],
    /// The record.
    pub record: Vec<u8>,
}

impl Bookmark {
    /// Text without meaning for others.
    pub fn encode(&self) -> String {
        let bytes = [&[FORM], self.index.as_slice(), &self.record].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `invalid_bookmark`.
    pub fn decode(text: &str) -> Result<Self, MangoError> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        let parsed = decoded.as_deref().and_then(|bytes| {
            let (form, rest) = bytes.split_first()?;
            let (index, record) = rest.split_first_chunk()?;
            (*form == FORM).then(|| Self {
                index: *index,
                record: record.to_vec(),
            })
        });
        parsed.ok_or_else(|| Self::invalid(text))
    }

    /// The refusal of a bookmark that leads nowhere.
    pub fn invalid(text: &str) -> MangoError {
        MangoError::refused(
            "invalid_bookmark",
            format!("Invalid bookmark value: {}", Value::String(text.into())),
        )
    }

    /// The text that goes with a page: where it ended, or where it would have begun.
    pub fn of_page(last: Option<&Self>, given: &str) -> String {
        match last {
            Some(last) => last.encode(),
            None if given.is_empty() => NIL.into(),
            None => given.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_reads_back_and_others_are_refused() {
        let bookmark = Bookmark {
            index: [7; 8],
            record: vec![0, 255, 3],
        };
        assert_eq!(Bookmark::decode(&bookmark.encode()).unwrap(), bookmark);
        for text in [
            "nil",
            "",
            "AQ",
            "%%%",
            "g1AAAABJeJzLYWBgYMpgSmHgKy5JLCrJTq2MT8lPzkzJBYqz",
        ] {
            let refused = Bookmark::decode(text).unwrap_err().to_string();
            assert!(
                refused.ends_with(&format!("Reason:Invalid bookmark value: \"{text}\"")),
                "{refused}"
            );
        }
    }
}
