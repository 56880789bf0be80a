//! The vault that comes along: a key ring in this process, behind a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::handover::{Handover, Recipient};
use super::keyring::KeyRing;
use super::{Binding, KEY_LEN, Sealed, Vault, VaultError};

/// A [`KeyRing`] that several threads use. Its keys live in memory; [`EmbeddedVault::export`] is
/// what a custodian writes to its own disk after each change.
#[derive(Default)]
pub struct EmbeddedVault {
    keys: Mutex<KeyRing>,
}

impl EmbeddedVault {
    /// Without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`KeyRing::export`].
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn export(&self, master: &[u8; KEY_LEN]) -> Result<Vec<u8>, VaultError> {
        self.keys().export(master)
    }

    /// As [`KeyRing::import`].
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when a byte or the master key differs.
    pub fn import(master: &[u8; KEY_LEN], exported: &[u8]) -> Result<Self, VaultError> {
        KeyRing::import(master, exported).map(Self::from)
    }

    /// A ring is whole after every call, also one that panicked.
    fn keys(&self) -> MutexGuard<'_, KeyRing> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<KeyRing> for EmbeddedVault {
    fn from(keys: KeyRing) -> Self {
        EmbeddedVault {
            keys: Mutex::new(keys),
        }
    }
}

impl Vault for EmbeddedVault {
    fn seal(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        self.keys().seal(epoch, binding, plaintext)
    }

    fn open(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError> {
        self.keys().open(epoch, binding, sealed)
    }

    fn rewrap(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        wrapped_key: &[u8],
        to: &Recipient<'_>,
    ) -> Result<Handover, VaultError> {
        self.keys().rewrap(epoch, binding, wrapped_key, to)
    }

    fn shred(&self, sid: &str) -> Result<Vec<String>, VaultError> {
        Ok(self.keys().shred(sid))
    }

    fn holds(&self, sid: &str, epoch: u32) -> Result<bool, VaultError> {
        Ok(self.keys().holds(sid, epoch))
    }
}
