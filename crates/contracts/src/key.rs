//! Composite keys, byte for byte as Fabric's shims build them, so that a contract in another
//! language reads the same keys (fabric-chaincode-go: `shim/stub.go`, `CreateCompositeKey`).

const DELIMITER: char = '\u{0}';
const LAST: char = '\u{10FFFF}';

/// Why a composite key could not be built or taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// U+0000 and U+10FFFF delimit and bound composite keys.
    #[error(
        "input contains U+{found:04X} starting at position [{position}]. U+0000 and U+10FFFF are not allowed in the input attribute of a composite key"
    )]
    Reserved {
        /// The code point that is not allowed.
        found: u32,
        /// Its byte offset in the attribute.
        position: usize,
    },
    /// The object type names the kind of entry and must not be empty.
    #[error("the object type of a composite key is empty")]
    NoObjectType,
    /// The key does not have the form `U+0000 type U+0000 (attribute U+0000)*`.
    #[error("not a composite key")]
    NotComposite,
}

fn check(part: &str) -> Result<(), KeyError> {
    match part
        .char_indices()
        .find(|(_, c)| *c == DELIMITER || *c == LAST)
    {
        Some((position, c)) => Err(KeyError::Reserved {
            found: c as u32,
            position,
        }),
        None => Ok(()),
    }
}

/// `U+0000 object_type U+0000 attribute U+0000 …`: sorts by type, then attribute by attribute, and
/// can never collide with a plain key.
///
/// # Errors
/// [`KeyError::NoObjectType`], or [`KeyError::Reserved`] when a part holds U+0000 or U+10FFFF.
///
/// ```
/// let key = consilium_contracts::composite_key("unit", &["09506000117843", "L1"]).unwrap();
/// assert_eq!(key, "\0unit\009506000117843\0L1\0");
/// ```
pub fn composite_key(object_type: &str, attributes: &[&str]) -> Result<String, KeyError> {
    if object_type.is_empty() {
        return Err(KeyError::NoObjectType);
    }
    check(object_type)?;
    let mut key = String::with_capacity(
        2 + object_type.len() + attributes.iter().map(|a| a.len() + 1).sum::<usize>(),
    );
    key.push(DELIMITER);
    key.push_str(object_type);
    key.push(DELIMITER);
    for attribute in attributes {
        check(attribute)?;
        key.push_str(attribute);
        key.push(DELIMITER);
    }
    Ok(key)
}

/// Start (included) and end (excluded) of all composite keys that begin with these attributes.
///
/// # Errors
/// As [`composite_key`].
pub fn composite_range(
    object_type: &str,
    attributes: &[&str],
) -> Result<(String, String), KeyError> {
    let start = composite_key(object_type, attributes)?;
    let mut end = start.clone();
    end.push(LAST);
    Ok((start, end))
}

/// The object type and the attributes of a composite key.
///
/// # Errors
/// [`KeyError::NotComposite`] for any other key.
pub fn split_composite_key(key: &str) -> Result<(&str, Vec<&str>), KeyError> {
    let inner = key
        .strip_prefix(DELIMITER)
        .and_then(|rest| rest.strip_suffix(DELIMITER))
        .ok_or(KeyError::NotComposite)?;
    let mut parts = inner.split(DELIMITER);
    let object_type = parts
        .next()
        .filter(|t| !t.is_empty())
        .ok_or(KeyError::NotComposite)?;
    Ok((object_type, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reserved_code_points_are_refused_with_their_position() {
        assert_eq!(
            composite_key("a", &["b\0c"]),
            Err(KeyError::Reserved {
                found: 0,
                position: 1
            })
        );
        assert!(
            composite_key("a", &["\u{10FFFF}"])
                .unwrap_err()
                .to_string()
                .contains("U+10FFFF starting at position [0]")
        );
        assert_eq!(composite_key("", &[]), Err(KeyError::NoObjectType));
        assert_eq!(split_composite_key("plain"), Err(KeyError::NotComposite));
    }

    proptest! {
        #[test]
        fn a_key_splits_into_what_it_was_built_of(
            object_type in "[a-z]{1,8}",
            attributes in proptest::collection::vec("[^\u{0}\u{10FFFF}]{0,12}", 0..5),
        ) {
            let borrowed: Vec<&str> = attributes.iter().map(String::as_str).collect();
            let key = composite_key(&object_type, &borrowed).unwrap();
            prop_assert_eq!(split_composite_key(&key).unwrap(), (object_type.as_str(), borrowed.clone()));
            let (start, end) = composite_range(&object_type, &borrowed[..borrowed.len().min(1)]).unwrap();
            prop_assert!(start <= key && key < end);
        }
    }
}
