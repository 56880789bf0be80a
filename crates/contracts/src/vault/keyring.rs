//! The keys of patients and epochs, and documents under them.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::cipher::{decrypt, encrypt, fingerprint, random};
use super::handover::{Handover, Recipient};
use super::{Binding, Fingerprint, KEY_LEN, SALT_LEN, Sealed, VaultError, hash, verify};

/// What a patient's key is fingerprinted under.
const KEY_LABEL: &str = "consilium patient key 1";
/// What an exported ring is authenticated with.
const EXPORT_LABEL: &[u8] = b"consilium key ring 1";

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
        open_document(
            &data_key,
            epoch,
            binding,
            &sealed.ciphertext,
            &sealed.fingerprint,
        )
    }

    /// Encrypts a document's key again, to a requester ([`super::Vault::rewrap`]).
    ///
    /// # Errors
    /// [`VaultError::NoKey`], [`VaultError::Tampered`], [`VaultError::BadPublicKey`].
    pub fn rewrap(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        wrapped_key: &[u8],
        to: &Recipient<'_>,
    ) -> Result<Handover, VaultError> {
        let key = self
            .keys
            .get(&(binding.sid.to_owned(), epoch))
            .ok_or(VaultError::NoKey)?;
        let data_key = decrypt(key, &binding.aad("key", epoch), wrapped_key)?;
        Handover::seal(to, &binding.aad("handover", epoch), &data_key)
    }

    /// Destroys all keys of a patient: none of the documents can be opened here again. Gives the
    /// fingerprints of the keys that were destroyed, by epoch.
    pub fn shred(&mut self, sid: &str) -> Vec<String> {
        let mut destroyed = Vec::new();
        self.keys.retain(|(owner, _), key| {
            if owner == sid {
                destroyed.push(fingerprint(key, KEY_LABEL, &[]));
            }
            owner != sid
        });
        destroyed
    }

    /// The fingerprint of a patient's key, which the ledger may show.
    pub fn fingerprint(&self, sid: &str, epoch: u32) -> Option<String> {
        let key = self.keys.get(&(sid.to_owned(), epoch))?;
        Some(fingerprint(key, KEY_LABEL, &[]))
    }

    /// All keys, encrypted under a master key, to be kept where only the custodian gets at it.
    /// Whoever keeps old copies has not destroyed anything: replace the file, and keep it out of
    /// ordinary backups.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn export(&self, master: &[u8; KEY_LEN]) -> Result<Vec<u8>, VaultError> {
        let mut plain = Zeroizing::new(Vec::new());
        for ((sid, epoch), key) in &self.keys {
            plain.extend_from_slice(&(sid.len() as u32).to_be_bytes());
            plain.extend_from_slice(sid.as_bytes());
            plain.extend_from_slice(&epoch.to_be_bytes());
            plain.extend_from_slice(key.as_ref());
        }
        encrypt(master, EXPORT_LABEL, &plain)
    }

    /// What [`KeyRing::export`] gave.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when a byte or the master key differs.
    pub fn import(master: &[u8; KEY_LEN], exported: &[u8]) -> Result<Self, VaultError> {
        let plain = decrypt(master, EXPORT_LABEL, exported)?;
        let mut rest: &[u8] = &plain;
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count)?;
            rest = left;
            Some(taken)
        };
        let mut keys = BTreeMap::new();
        while let Some(length) = take(4) {
            let entry = (|| {
                let length = u32::from_be_bytes(length.try_into().ok()?);
                let sid = std::str::from_utf8(take(length as usize)?).ok()?.to_owned();
                let epoch = u32::from_be_bytes(take(4)?.try_into().ok()?);
                let key: [u8; KEY_LEN] = take(KEY_LEN)?.try_into().ok()?;
                Some(((sid, epoch), Zeroizing::new(key)))
            })();
            let (place, key) = entry.ok_or(VaultError::Tampered)?;
            keys.insert(place, key);
        }
        Ok(KeyRing { keys })
    }

    /// Whether documents of this patient can be opened.
    pub fn holds(&self, sid: &str, epoch: u32) -> bool {
        self.keys.contains_key(&(sid.to_owned(), epoch))
    }
}

/// Decrypts a document with its own key and compares it with its commitment.
pub(super) fn open_document(
    data_key: &[u8],
    epoch: u32,
    binding: &Binding<'_>,
    ciphertext: &[u8],
    fingerprint: &Fingerprint,
) -> Result<Vec<u8>, VaultError> {
    verify(ciphertext, &fingerprint.ct_hash)?;
    let data_key: [u8; KEY_LEN] = data_key.try_into().map_err(|_| VaultError::Tampered)?;
    let body = decrypt(
        &Zeroizing::new(data_key),
        &binding.aad("document", epoch),
        ciphertext,
    )?;
    if hash(&body) != fingerprint.pt_commit {
        return Err(VaultError::Tampered);
    }
    Ok(body.get(SALT_LEN..).ok_or(VaultError::Tampered)?.to_vec())
}
