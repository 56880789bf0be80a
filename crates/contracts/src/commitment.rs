//! Commitments to values that are easy to guess: never a bare hash, always with a random salt or
//! under a secret key (healthcare.md §0).
//!
//! A national id, a date of birth or a diagnosis has so few possible values that whoever sees its
//! SHA-256 finds the value by trying them all. A [`Salt`] of 128 bits and more, which is kept
//! where the value is kept, prevents that, and destroying both leaves a commitment that proves
//! nothing more about anybody. Where two parties have to find out whether they mean the same
//! value, [`keyed`] under a key that only they hold takes the salt's place.

use aws_lc_rs::hmac;
use sha2::{Digest, Sha256};

/// A salt has at least this many bytes.
pub const MIN_SALT_BYTES: usize = 16;
/// And at most this many.
pub const MAX_SALT_BYTES: usize = 64;
/// A key of [`keyed`] has at least this many bytes.
pub const MIN_KEY_BYTES: usize = 32;

/// Why there is no commitment. Repeats nothing of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// Not hexadecimal digits.
    #[error("a salt is written in hexadecimal digits")]
    NotHexadecimal,
    /// Too few or too many bytes.
    #[error("a salt has {MIN_SALT_BYTES} to {MAX_SALT_BYTES} random bytes, this one has {found}")]
    SaltLength {
        /// Bytes given.
        found: usize,
    },
    /// One byte over and over is not random.
    #[error("a salt is random, this one repeats a single byte")]
    SaltConstant,
    /// The key could be tried out.
    #[error("a key has at least {MIN_KEY_BYTES} random bytes, this one has {found}")]
    KeyLength {
        /// Bytes given.
        found: usize,
    },
}

/// Random bytes that go with a value, at least [`MIN_SALT_BYTES`]. Who makes it draws it; what
/// cannot be random is refused. Not printed: with it, the value can be guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(Vec<u8>);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Salt({} bytes)", self.0.len())
    }
}

impl Salt {
    /// Checks its length.
    ///
    /// # Errors
    /// [`CommitmentError::SaltLength`], [`CommitmentError::SaltConstant`].
    pub fn new(bytes: &[u8]) -> Result<Self, CommitmentError> {
        if !(MIN_SALT_BYTES..=MAX_SALT_BYTES).contains(&bytes.len()) {
            return Err(CommitmentError::SaltLength { found: bytes.len() });
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(CommitmentError::SaltConstant);
        }
        Ok(Salt(bytes.to_vec()))
    }

    /// From hexadecimal digits, as private values have it.
    ///
    /// # Errors
    /// [`CommitmentError::NotHexadecimal`], and as [`Salt::new`].
    pub fn from_hex(text: &str) -> Result<Self, CommitmentError> {
        Self::new(&hex::decode(text).map_err(|_| CommitmentError::NotHexadecimal)?)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A commitment to values: SHA-256 over label, salt and values, each with its length (8 bytes, big
/// end first) in front, so that no two lists of values run together. Lower-case hexadecimal.
///
/// The label says what is committed to, for example `card identity 1`: commitments of two kinds
/// are never equal.
///
/// ```
/// use consilium_contracts::commitment::{Salt, commit};
/// let salt = Salt::from_hex("00112233445566778899aabbccddeeff").unwrap();
/// let one = commit("card identity 1", &salt, &[b"national", b"11010519491231002X"]);
/// assert_eq!(one.len(), 64);
/// assert!(Salt::from_hex("0011").is_err());
/// ```
pub fn commit(label: &str, salt: &Salt, values: &[&[u8]]) -> String {
    hash_of([label.as_bytes(), &salt.0].iter().chain(values).copied())
}

/// SHA-256 over parts, each with its length (8 bytes, big end first) in front. Lower-case
/// hexadecimal. A commitment only when one of the parts is a salt.
pub(crate) fn hash_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

/// A fingerprint that is equal for equal values: HMAC-SHA-256 over label and values, each with its
/// length in front, under a key of at least [`MIN_KEY_BYTES`]. Lower-case hexadecimal.
///
/// Whoever has the key can try values out. Once the key is destroyed nobody can.
///
/// # Errors
/// [`CommitmentError::KeyLength`].
pub fn keyed(key: &[u8], label: &str, values: &[&[u8]]) -> Result<String, CommitmentError> {
    if key.len() < MIN_KEY_BYTES {
        return Err(CommitmentError::KeyLength { found: key.len() });
    }
    Ok(tag(&hmac::Key::new(hmac::HMAC_SHA256, key), label, values))
}

/// As [`keyed`], for a key that was checked and is used again and again.
pub(crate) fn tag(key: &hmac::Key, label: &str, values: &[&[u8]]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [label.as_bytes()].iter().chain(values) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.sign())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn salts_that_cannot_be_random_are_refused() {
        for (text, error) in [
            ("zz", CommitmentError::NotHexadecimal),
            ("001", CommitmentError::NotHexadecimal),
            ("", CommitmentError::SaltLength { found: 0 }),
            (
                "00112233445566778899aabbccddee",
                CommitmentError::SaltLength { found: 15 },
            ),
            (
                "ffffffffffffffffffffffffffffffff",
                CommitmentError::SaltConstant,
            ),
        ] {
            assert_eq!(Salt::from_hex(text), Err(error), "{text}");
        }
        assert!(Salt::new(&[1; 65]).is_err());
        let salt = Salt::from_hex("00112233445566778899aabbccddeeff").unwrap();
        assert_eq!(format!("{salt:?}"), "Salt(16 bytes)");
    }

    #[test]
    fn a_commitment_is_the_hash_of_its_parts_with_lengths() {
        let salt = Salt::from_hex("00112233445566778899aabbccddeeff").unwrap();
        let mut bytes = Vec::new();
        for part in [&b"x"[..], salt.as_bytes(), b"ab"] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        assert_eq!(
            commit("x", &salt, &[b"ab"]),
            hex::encode(Sha256::digest(&bytes))
        );
    }

    #[test]
    fn a_key_that_could_be_tried_out_is_refused() {
        assert_eq!(
            keyed(&[1; 31], "x", &[b"a"]),
            Err(CommitmentError::KeyLength { found: 31 })
        );
        let one = keyed(&[1; 32], "x", &[b"a"]).unwrap();
        assert_eq!(one, keyed(&[1; 32], "x", &[b"a"]).unwrap());
        assert_ne!(one, keyed(&[2; 32], "x", &[b"a"]).unwrap());
        assert_ne!(one, keyed(&[1; 32], "y", &[b"a"]).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn equal_only_for_equal_parts(
            a in proptest::collection::vec("[a-c]{0,3}", 0..4),
            b in proptest::collection::vec("[a-c]{0,3}", 0..4),
        ) {
            let salt = Salt::new(b"0123456789abcdef").unwrap();
            let of = |values: &[String]| {
                let values: Vec<_> = values.iter().map(String::as_bytes).collect();
                (commit("x", &salt, &values), keyed(&[3; 32], "x", &values).unwrap())
            };
            prop_assert_eq!(a == b, of(&a).0 == of(&b).0);
            prop_assert_eq!(a == b, of(&a).1 == of(&b).1);
        }
    }
}
