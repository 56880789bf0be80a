//! How much one transaction writes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::LedgerError;

/// Bytes of keys, values and metadata that one transaction may write, public and private ones each.
/// What is larger fits into no message in which it could go on: Fabric's peers send at most so much.
/// (fabric: internal/pkg/comm/config.go MaxSendMsgSize)
const LIMIT: usize = 100 * 1024 * 1024;

/// The size of what is written so far. What is written again counts once.
#[derive(Debug, Default)]
pub(super) struct Written(usize);

impl Written {
    /// Counts `added` bytes in place of `replaced`. Refuses, and counts nothing, where that is too much.
    pub(super) fn count(&mut self, added: usize, replaced: usize) -> Result<(), LedgerError> {
        let size = self.0.saturating_sub(replaced).saturating_add(added);
        if size > LIMIT {
            return Err(LedgerError::Refused(format!(
                "the transaction writes more than {LIMIT} bytes"
            )));
        }
        self.0 = size;
        Ok(())
    }
}

/// Bytes of a key and its value.
pub(super) fn entry(key: &str, value: &[u8]) -> usize {
    key.len() + value.len()
}

/// Bytes of a key and its metadata.
pub(super) fn metadata(key: &str, metadata: &BTreeMap<String, Bytes>) -> usize {
    let entries = metadata.iter().map(|(name, value)| entry(name, value));
    key.len() + entries.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_may_write_up_to_the_limit_and_not_a_byte_more() {
        let mut written = Written::default();
        written.count(LIMIT - 1, 0).unwrap();
        written.count(1, 0).unwrap();
        assert_eq!(
            written.count(1, 0).unwrap_err().to_string(),
            "the transaction writes more than 104857600 bytes"
        );
        // What was refused is not counted; what is replaced makes room.
        written.count(10, 10).unwrap();
        written.count(5, 10).unwrap();
        written.count(5, 0).unwrap();
        assert!(written.count(1, 0).is_err());
    }

    #[test]
    fn a_size_is_that_of_names_and_values() {
        assert_eq!(entry("key", b"value"), 8);
        let policy = BTreeMap::from([("name".to_owned(), Bytes::from_static(b"12"))]);
        assert_eq!(metadata("key", &policy), 9);
    }
}
