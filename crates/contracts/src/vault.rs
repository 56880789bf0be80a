//! The off-chain half of the records contract: what a custodian does with a document before only
//! its fingerprint goes to the ledger.
//!
//! Each document has its own data key; that key is wrapped by the key of *custodian, patient and
//! epoch*. Destroying the latter makes every document of that patient inaccessible from here
//! (crypto-shredding), while the fingerprints on the ledger go on proving that the documents
//! existed. Nothing of this runs in a peer: it draws random numbers.
//!
//! [`Vault`] is what the rest of the suite asks for, so that a hospital can put its own key
//! management in; [`EmbeddedVault`] is the one that comes along, a [`KeyRing`] behind a lock. A
//! key travels to a requester as a [`Handover`] (HPKE, RFC 9180). [`SectorKeys`] makes pseudonyms.
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

use sha2::{Digest, Sha256};

use crate::commitment::hash_of;

mod cipher;
mod embedded;
mod handover;
mod keyring;
mod sectors;
#[cfg(test)]
mod tests;

pub use embedded::EmbeddedVault;
pub use handover::{HANDOVER_SUITE, Handover, Recipient, RequesterKey};
pub use keyring::KeyRing;
pub use sectors::{Sector, SectorError, SectorKeys, pseudonym};

/// The suite written to the ledger with each fingerprint.
pub const SUITE: &str = "A256GCM";
/// Bytes of the random salt in front of each document.
pub const SALT_LEN: usize = 32;
/// Bytes of every symmetric key.
pub const KEY_LEN: usize = 32;

/// Why a document could not be sealed or opened. Says nothing about its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// The requester's public key is not one of X25519.
    #[error("the requester's public key is not 32 bytes of X25519")]
    BadPublicKey,
    /// A vault of one's own could not do it.
    #[error("the vault could not {operation}: {reason}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// The vault's reason, without anything of a document or a key.
        reason: String,
    },
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

/// Where the keys of a custodian's documents are. Object-safe and shared between threads, so that
/// a hospital can plug in its own key management; [`EmbeddedVault`] is the default.
///
/// A vault does not decide: whoever calls [`Vault::open`] or [`Vault::rewrap`] for somebody else
/// does so after the ledger has committed a permit.
pub trait Vault: Send + Sync {
    /// Encrypts a document under a fresh key of its own, making the patient's key of this epoch
    /// when it does not exist.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`], [`VaultError::Failed`].
    fn seal(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError>;

    /// Decrypts a document after checking that it is what its fingerprint says.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when a byte, the key or the binding differs,
    /// [`VaultError::NoKey`] after [`Vault::shred`], [`VaultError::Failed`].
    fn open(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError>;

    /// Encrypts a document's key again, to a requester. The patient's key stays here.
    ///
    /// # Errors
    /// As [`Vault::open`], and [`VaultError::BadPublicKey`].
    fn rewrap(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        wrapped_key: &[u8],
        to: &Recipient<'_>,
    ) -> Result<Handover, VaultError>;

    /// Destroys all keys of a patient and gives their fingerprints, for `AttestDestruction`.
    /// Patients without keys are no error: nothing is destroyed then.
    ///
    /// # Errors
    /// [`VaultError::Failed`]; some keys may be gone then, call it again.
    fn shred(&self, sid: &str) -> Result<Vec<String>, VaultError>;

    /// Whether documents of this patient and epoch can be opened.
    ///
    /// # Errors
    /// [`VaultError::Failed`].
    fn holds(&self, sid: &str, epoch: u32) -> Result<bool, VaultError>;
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

/// The salted commitment that links an implant to a patient: SHA-256 over salt, pseudonym,
/// procedure and date, each with its length in front. Lower-case hexadecimal.
///
/// The contract computes it the same way from the transient map.
pub fn implant_commitment(salt: &[u8], sid: &str, procedure: &str, date: &str) -> String {
    hash_of([salt, sid.as_bytes(), procedure.as_bytes(), date.as_bytes()])
}

/// The commitment to a fact about a practitioner: SHA-256 over salt, pseudonym, name of the field
/// and value, each with its length in front. Lower-case hexadecimal.
///
/// The contract `providers` computes it the same way from the transient map.
pub fn field_commitment(salt: &[u8], pid: &str, field: &str, value: &str) -> String {
    hash_of([salt, pid.as_bytes(), field.as_bytes(), value.as_bytes()])
}
