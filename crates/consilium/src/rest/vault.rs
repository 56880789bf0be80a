//! The custodian's keys in files: one for each patient, encrypted under a master key.
//!
//! A file of its own makes destroying a patient's keys the removal of that file, and a new patient
//! one small write. Keep the folder out of ordinary backups: whoever has an old copy has the keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use consilium_ca::folders;
use consilium_contracts::vault::{Binding, KEY_LEN, KeyRing, Sealed, VaultError};
use consilium_fhir::Vault;
use moka::{ops::compute::Op, sync::Cache};
use parking_lot::Mutex;
use zeroize::Zeroizing;

/// Patients whose keys stay in memory.
const KEPT: u64 = 10_000;

/// A folder of keys.
pub struct FileVault {
    folder: PathBuf,
    master: Zeroizing<[u8; KEY_LEN]>,
    rings: Cache<String, Arc<Mutex<KeyRing>>>,
}

impl FileVault {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path, master: Zeroizing<[u8; KEY_LEN]>) -> anyhow::Result<Self> {
        folders::make_folder(folder, true)?;
        Ok(Self {
            folder: folder.to_owned(),
            master,
            rings: Cache::new(KEPT),
        })
    }

    /// The file of a patient. Pseudonyms are letters and digits; anything else has no file.
    fn file(&self, sid: &str) -> Result<PathBuf, VaultError> {
        if sid.is_empty() || !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(VaultError::NoKey);
        }
        Ok(self.folder.join(sid))
    }

    /// A patient's keys as they are on disk; none where there is no file.
    fn load(&self, sid: &str) -> Result<KeyRing, VaultError> {
        match fs::read(self.file(sid)?) {
            Ok(exported) => KeyRing::import(&self.master, &exported),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeyRing::new()),
            Err(error) => Err(failed("read a key", &error)),
        }
    }

    /// A patient's keys.
    fn ring(&self, sid: &str) -> Result<Arc<Mutex<KeyRing>>, VaultError> {
        let load = || Ok(Arc::new(Mutex::new(self.load(sid)?)));
        self.rings
            .try_get_with(sid.to_owned(), load)
            .map_err(|error: Arc<VaultError>| (*error).clone())
    }

    /// Makes the patient's key of an epoch with its first document, and stores it before anybody
    /// relies on the document. Those who seal for the same patient meanwhile wait for their turn;
    /// nobody else does.
    fn seal_first(
        &self,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let file = self.file(binding.sid)?;
        let mut sealed = None;
        let entry = self.rings.entry(binding.sid.to_owned());
        entry.and_try_compute_with(|_| -> Result<_, VaultError> {
            let mut ring = self.load(binding.sid)?;
            let is_new = !ring.holds(binding.sid, epoch);
            sealed = Some(ring.seal(epoch, binding, plaintext)?);
            if is_new {
                let exported = ring.export(&self.master)?;
                folders::write_secret(&file, &exported)
                    .map_err(|error| failed("store a key", &error))?;
            }
            Ok(Op::Put(Arc::new(Mutex::new(ring))))
        })?;
        sealed.ok_or(VaultError::NoKey)
    }
}

fn failed(operation: &'static str, error: &dyn std::fmt::Display) -> VaultError {
    VaultError::Failed {
        operation,
        reason: error.to_string(),
    }
}

impl Vault for FileVault {
    fn seal(
        &self,
        _custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, VaultError> {
        let ring = self.ring(binding.sid)?;
        {
            let mut ring = ring.lock();
            if ring.holds(binding.sid, epoch) {
                return ring.seal(epoch, binding, plaintext);
            }
        }
        self.seal_first(epoch, binding, plaintext)
    }

    fn open(
        &self,
        _custodian: &str,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError> {
        self.ring(binding.sid)?.lock().open(epoch, binding, sealed)
    }

    fn shred(&self, _custodian: &str, sid: &str) -> Result<usize, VaultError> {
        let file = self.file(sid)?;
        let mut destroyed = 0;
        let entry = self.rings.entry(sid.to_owned());
        entry.and_try_compute_with(|known| -> Result<_, VaultError> {
            let mut ring = self.load(sid)?;
            match fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("destroy a key", &error)),
            }
            destroyed = ring.shred(sid).len();
            // Whoever still holds the keys in memory holds none from here on.
            if let Some(known) = known {
                known.value().lock().shred(sid);
            }
            Ok(Op::Remove)
        })?;
        Ok(destroyed)
    }
}

/// Reads 32 bytes in hexadecimal from a file.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn secret(file: &Path) -> anyhow::Result<Zeroizing<[u8; KEY_LEN]>> {
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("cannot read the key in {}", file.display()))?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    hex::decode_to_slice(text.trim(), key.as_mut()).with_context(|| {
        format!(
            "{} has to hold {KEY_LEN} bytes in hexadecimal",
            file.display()
        )
    })?;
    Ok(key)
}

/// Makes a file with 32 random bytes, unless it is there.
///
/// # Errors
/// It cannot be written.
pub fn make_secret(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    aws_lc_rs::rand::fill(key.as_mut()).context("no random numbers")?;
    folders::write_secret(file, Zeroizing::new(hex::encode(key.as_ref())).as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    #[test]
    fn documents_open_after_a_restart_and_never_after_their_keys_were_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master");
        assert!(
            secret(&file).is_err(),
            "a key that is missing is not made up"
        );
        make_secret(&file).unwrap();
        let master = secret(&file).unwrap();
        make_secret(&file).unwrap();
        assert_eq!(*secret(&file).unwrap(), *master);
        let open = || FileVault::open(&folder.path().join("keys"), master.clone()).unwrap();
        let binding = Binding {
            record_id: "r-1",
            version: 1,
            sid: SID,
        };
        let sealed = open().seal("HospitalMSP", 0, &binding, b"text").unwrap();
        let vault = open();
        assert_eq!(
            vault.open("HospitalMSP", 0, &binding, &sealed).unwrap(),
            b"text"
        );
        assert_eq!(vault.shred("HospitalMSP", SID).unwrap(), 1);
        for vault in [vault, open()] {
            assert_eq!(
                vault.open("HospitalMSP", 0, &binding, &sealed),
                Err(VaultError::NoKey)
            );
        }
    }

    #[test]
    fn no_pseudonym_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let vault = FileVault::open(folder.path(), Zeroizing::new([1; KEY_LEN])).unwrap();
        for sid in ["", "../x", "a/b", "a.b", "a\0b"] {
            let binding = Binding {
                record_id: "r",
                version: 1,
                sid,
            };
            assert!(vault.seal("M", 0, &binding, b"x").is_err(), "{sid:?}");
        }
    }
}
