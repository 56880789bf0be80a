//! The off-chain half of the records contract: what a custodian does with a document before only
//! its fingerprint goes to the ledger.
//!
//! Each document has its own data key; that key is wrapped by the key of *custodian, patient and
//! epoch*. Destroying the latter makes every document of that patient inaccessible from here
//! (crypto-shredding), while the fingerprints on the ledger go on proving that the documents
//! existed. Nothing of this runs in a peer: it draws random numbers.
//!
//! ```
//! use consilium_contracts::vault::{Binding, KeyRing};
//! let mut keys = KeyRing::new();
//! let sid = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
//! let binding = Binding { record_id: "rec-1", version: 1, sid };
//! let sealed = keys.seal(0, &binding, b"{\"resourceType\":\"Observation\"}").unwrap();
//! assert!(keys.open(0, &binding, &sealed).is_ok());
//! keys.shred(sid);
//! assert!(keys.open(0, &binding, &sealed).is_err());
//! ```

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The suite written to the ledger with each fingerprint.
pub const SUITE: &str = "A256GCM";
/// Bytes of the random salt in front of each document.
pub const SALT_LEN: usize = 32;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// Why a document could not be sealed or opened. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no key for this patient and epoch: never made, or shredded.
    #[error("no key for this patient and epoch: never made, or destroyed")]
    NoKey,
    /// The bytes, the wrapped key, or the record they are said to belong to were changed.
    #[error("TAMPERED: the document or its key was changed, or belongs to another record")]
    Tampered,
    /// The operating system gave no random numbers.
    #[error("no random numbers")]
    NoRandomness,
}

/// What a document belongs to; part of what the encryption authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The record's id on the ledger.
    pub record_id: &'a str,
    /// The record's version, from 1.
    pub version: u32,
    /// The patient's care pseudonym.
    pub sid: &'a str,
}

impl Binding<'_> {
    fn aad(&self, purpose: &str, epoch: u32) -> Vec<u8> {
        let mut aad = Vec::new();
        for part in [purpose, self.record_id, self.sid] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        aad.extend_from_slice(&self.version.to_be_bytes());
        aad.extend_from_slice(&epoch.to_be_bytes());
        aad
    }
}

/// What goes on the ledger of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256 of the ciphertext, lower-case hexadecimal.
    pub ct_hash: String,
    /// SHA-256 of salt and plaintext, lower-case hexadecimal.
    pub pt_commit: String,
    /// Bytes of the ciphertext.
    pub size: u64,
}

/// An encrypted document as a vault stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Nonce, then the encrypted salt and document, then the tag.
    pub ciphertext: Vec<u8>,
    /// The document's key, encrypted by the patient's: nonce, key, tag.
    pub wrapped_key: Vec<u8>,
    /// What to register on the ledger.
    pub fingerprint: Fingerprint,
}

/// The keys of a custodian, one per patient and epoch. Keep it out of ordinary backups.
#[derive(Default)]
pub struct KeyRing {
    keys: BTreeMap<(String, u32), Zeroizing<[u8; KEY_LEN]>>,
}

impl KeyRing {
    /// Without keys; they are made when a patient's first document is sealed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encrypts a document under a fresh key of its own, making the patient's key of this epoch
    /// when it does not exist.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn seal(
        &mut self,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let place = (binding.sid.to_owned(), epoch);
        if !self.keys.contains_key(&place) {
            self.keys.insert(place.clone(), random()?);
        }
        let data_key = random()?;
        let salt: Zeroizing<[u8; SALT_LEN]> = random()?;
        let mut body = Zeroizing::new(Vec::with_capacity(SALT_LEN + plaintext.len()));
        body.extend_from_slice(salt.as_ref());
        body.extend_from_slice(plaintext);
        let ciphertext = encrypt(&data_key, &binding.aad("document", epoch), &body)?;
        let wrapped_key = encrypt(
            &self.keys[&place],
            &binding.aad("key", epoch),
            data_key.as_ref(),
        )?;
        Ok(Sealed {
            fingerprint: Fingerprint {
                ct_hash: hash(&ciphertext),
                pt_commit: hash(&body),
                size: ciphertext.len() as u64,
            },
            ciphertext,
            wrapped_key,
        })
    }

    /// Decrypts a document after checking that it is what its fingerprint says.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when a byte, the key or the binding differs;
    /// [`VaultError::NoKey`] after [`KeyRing::shred`].
    pub fn open(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError> {
        verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash)?;
        let key = self
            .keys
            .get(&(binding.sid.to_owned(), epoch))
            .ok_or(VaultError::NoKey)?;
        let data_key = decrypt(key, &binding.aad("key", epoch), &sealed.wrapped_key)?;
        let data_key: [u8; KEY_LEN] = data_key[..].try_into().map_err(|_| VaultError::Tampered)?;
        let body = decrypt(
            &Zeroizing::new(data_key),
            &binding.aad("document", epoch),
            &sealed.ciphertext,
        )?;
        if hash(&body) != sealed.fingerprint.pt_commit {
            return Err(VaultError::Tampered);
        }
        Ok(body.get(SALT_LEN..).ok_or(VaultError::Tampered)?.to_vec())
    }

    /// Destroys all keys of a patient: none of the documents can be opened here again. Gives the
    /// number of keys destroyed.
    pub fn shred(&mut self, sid: &str) -> usize {
        let before = self.keys.len();
        self.keys.retain(|(owner, _), _| owner != sid);
        before - self.keys.len()
    }

    /// Whether documents of this patient can be opened.
    pub fn holds(&self, sid: &str, epoch: u32) -> bool {
        self.keys.contains_key(&(sid.to_owned(), epoch))
    }
}

/// Compares stored bytes with the `ctHash` on the ledger. Needs no key.
///
/// # Errors
/// [`VaultError::Tampered`].
pub fn verify(ciphertext: &[u8], ct_hash: &str) -> Result<(), VaultError> {
    if hash(ciphertext) == ct_hash {
        Ok(())
    } else {
        Err(VaultError::Tampered)
    }
}

/// SHA-256 in lower-case hexadecimal, as fingerprints are written.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A patient's pseudonym in one sector: base32 of HMAC-SHA-256 over id type, 0x1f and id number,
/// first 26 characters (130 bits). Pseudonyms of two sectors cannot be joined without their keys.
pub fn pseudonym(sector_key: &[u8], id_type: &str, id_number: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, sector_key);
    let mut context = hmac::Context::with_key(&key);
    context.update(id_type.as_bytes());
    context.update(&[0x1f]);
    context.update(id_number.as_bytes());
    base32(context.sign().as_ref()).chars().take(26).collect()
}

/// The salted commitment that links an implant to a patient: SHA-256 over salt, pseudonym,
/// procedure and date, each with its length in front. Lower-case hexadecimal.
///
/// The contract computes it the same way from the transient map.
pub fn implant_commitment(salt: &[u8], sid: &str, procedure: &str, date: &str) -> String {
    commitment([salt, sid.as_bytes(), procedure.as_bytes(), date.as_bytes()])
}

/// The commitment to a fact about a practitioner: SHA-256 over salt, pseudonym, name of the field
/// and value, each with its length in front. Lower-case hexadecimal.
///
/// The contract `providers` computes it the same way from the transient map.
pub fn field_commitment(salt: &[u8], pid: &str, field: &str, value: &str) -> String {
    commitment([salt, pid.as_bytes(), field.as_bytes(), value.as_bytes()])
}

fn commitment(parts: [&[u8]; 4]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

/// RFC 4648 base32 without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    rand::fill(bytes.as_mut()).map_err(|_| VaultError::NoRandomness)?;
    Ok(bytes)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    // The key has the algorithm's length.
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

fn encrypt(key: &[u8; KEY_LEN], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce: Zeroizing<[u8; NONCE_LEN]> = random()?;
    let mut out = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(nonce.as_ref());
    let mut body = plaintext.to_vec();
    cipher(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut body,
        )
        // Fails only beyond 64 GiB, which no memory of ours holds.
        .map_err(|_| VaultError::Tampered)?;
    out.append(&mut body);
    Ok(out)
}

fn decrypt(
    key: &[u8; KEY_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, body) = sealed
        .split_at_checked(NONCE_LEN)
        .ok_or(VaultError::Tampered)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Tampered)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher(key)
        .open_in_place(nonce, Aad::from(aad), &mut body)
        .map_err(|_| VaultError::Tampered)?
        .len();
    body.truncate(length);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SID: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const DOCUMENT: &[u8] = b"{\"resourceType\":\"Patient\",\"name\":\"Hermiston71\"}";

    fn binding() -> Binding<'static> {
        Binding {
            record_id: "rec-1",
            version: 1,
            sid: SID,
        }
    }

    #[test]
    fn a_sealed_document_opens_and_shows_nothing() {
        let mut keys = KeyRing::new();
        let sealed = keys.seal(0, &binding(), DOCUMENT).unwrap();
        assert_eq!(keys.open(0, &binding(), &sealed).unwrap(), DOCUMENT);
        assert_eq!(sealed.fingerprint.size, sealed.ciphertext.len() as u64);
        assert!(!sealed.ciphertext.windows(11).any(|w| w == b"Hermiston71"));
        assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_ok());
    }

    #[test]
    fn the_same_document_twice_has_two_fingerprints() {
        let mut keys = KeyRing::new();
        let one = keys.seal(0, &binding(), DOCUMENT).unwrap().fingerprint;
        let two = keys.seal(0, &binding(), DOCUMENT).unwrap().fingerprint;
        assert_ne!(one.ct_hash, two.ct_hash);
        assert_ne!(one.pt_commit, two.pt_commit);
        assert_ne!(one.pt_commit, hash(DOCUMENT));
    }

    #[test]
    fn a_flipped_byte_a_swap_and_a_rollback_are_detected() {
        let mut keys = KeyRing::new();
        let first = keys.seal(0, &binding(), DOCUMENT).unwrap();
        let second_version = Binding {
            version: 2,
            ..binding()
        };
        let second = keys.seal(0, &second_version, b"changed").unwrap();
        let mut flipped = first.clone();
        flipped.ciphertext[20] ^= 1;
        assert_eq!(
            keys.open(0, &binding(), &flipped),
            Err(VaultError::Tampered)
        );
        // Even when somebody also rewrites the fingerprint kept beside it.
        flipped.fingerprint.ct_hash = hash(&flipped.ciphertext);
        assert_eq!(
            keys.open(0, &binding(), &flipped),
            Err(VaultError::Tampered)
        );
        // The old version in place of the new one, and another record's bytes.
        assert_eq!(
            keys.open(0, &second_version, &first),
            Err(VaultError::Tampered)
        );
        let other = Binding {
            record_id: "rec-2",
            ..binding()
        };
        assert_eq!(keys.open(0, &other, &first), Err(VaultError::Tampered));
        assert!(verify(&first.ciphertext, &second.fingerprint.ct_hash).is_err());
        let mut wrong_key = first.clone();
        wrong_key.wrapped_key = second.wrapped_key;
        assert_eq!(
            keys.open(0, &binding(), &wrong_key),
            Err(VaultError::Tampered)
        );
        assert_eq!(
            keys.open(
                0,
                &binding(),
                &Sealed {
                    ciphertext: vec![],
                    ..first
                }
            ),
            Err(VaultError::Tampered)
        );
    }

    #[test]
    fn shredding_one_patient_leaves_the_others_and_the_proof() {
        let mut keys = KeyRing::new();
        let sealed = keys.seal(0, &binding(), DOCUMENT).unwrap();
        keys.seal(1, &binding(), DOCUMENT).unwrap();
        let other = Binding {
            sid: "BBBBBBBBBBBBBBBBBBBBBBBBBB",
            ..binding()
        };
        let others = keys.seal(0, &other, DOCUMENT).unwrap();
        assert_eq!(keys.shred(SID), 2);
        assert!(!keys.holds(SID, 0));
        assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::NoKey));
        assert!(keys.open(0, &other, &others).is_ok());
        assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_ok());
        // A new key for the same patient does not bring the old documents back.
        keys.seal(0, &binding(), DOCUMENT).unwrap();
        assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::Tampered));
    }

    #[test]
    fn base32_follows_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(text.as_bytes()), expected);
        }
    }

    #[test]
    fn pseudonyms_of_two_sectors_differ() {
        let care = pseudonym(b"care key", "national", "11010519491231002X");
        assert_eq!(care.len(), 26);
        assert_eq!(
            care,
            pseudonym(b"care key", "national", "11010519491231002X")
        );
        assert_ne!(
            care,
            pseudonym(b"pay key", "national", "11010519491231002X")
        );
        assert_ne!(
            care,
            pseudonym(b"care key", "passport", "11010519491231002X")
        );
    }

    proptest! {
        #[test]
        fn any_document_opens_to_itself(document in proptest::collection::vec(any::<u8>(), 0..300), epoch: u32) {
            let mut keys = KeyRing::new();
            let sealed = keys.seal(epoch, &binding(), &document).unwrap();
            prop_assert_eq!(keys.open(epoch, &binding(), &sealed).unwrap(), document);
        }

        #[test]
        fn no_changed_byte_passes(document in proptest::collection::vec(any::<u8>(), 0..80), at: usize, bit in 0u8..8) {
            let mut keys = KeyRing::new();
            let mut sealed = keys.seal(0, &binding(), &document).unwrap();
            let at = at % sealed.ciphertext.len();
            sealed.ciphertext[at] ^= 1 << bit;
            prop_assert!(verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_err());
            prop_assert_eq!(keys.open(0, &binding(), &sealed), Err(VaultError::Tampered));
        }
    }
}
