//! Encryption at the custodian, behind an interface.

use consilium_contracts::vault::{Binding, KeyRing, Sealed, VaultError};
use parking_lot::Mutex;

/// Seals documents under keys that never leave it. [`KeyRing`] behind a lock is one whose keys
/// end with the process.
pub trait Vault: Send + Sync {
    /// Encrypts a document, making the patient's key when there is none.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`], or whatever keeps the key from being stored.
    fn seal(
        &self,
        custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError>;

    /// Decrypts a document after checking it.
    ///
    /// # Errors
    /// [`VaultError::Tampered`], [`VaultError::NoKey`].
    fn open(
        &self,
        custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError>;

    /// Destroys a patient's keys at a custodian; gives their number.
    ///
    /// # Errors
    /// Whatever keeps them from being destroyed.
    fn shred(&self, custodian: &str, sid: &str) -> Result<usize, VaultError>;
}

/// For one custodian: the name is not looked at.
impl Vault for Mutex<KeyRing> {
    fn seal(
        &self,
        _custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        self.lock().seal(epoch, binding, plaintext)
    }

    fn open(
        &self,
        _custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError> {
        self.lock().open(epoch, binding, sealed)
    }

    fn shred(&self, _custodian: &str, sid: &str) -> Result<usize, VaultError> {
        Ok(self.lock().shred(sid).len())
    }
}
