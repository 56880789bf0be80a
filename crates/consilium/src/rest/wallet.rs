//! The identities that a gateway may sign with for its callers: MSP folders, one for each.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use consilium_contracts::Caller;
use consilium_msp::{Certificate, Signer};
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::commands::connect::signer;

/// How long a folder that was read is not looked at again.
const FRESH: Duration = Duration::from_secs(10);
/// Age of a folder's last change from which on its time tells that it has not changed since.
const SETTLED: Duration = Duration::from_secs(2);
/// Identities kept in memory.
const KEPT: u64 = 10_000;

/// Somebody for whom the gateway holds the key.
pub struct Member {
    /// Name of the folder, without `@domain`.
    pub name: String,
    /// Signs proposals.
    pub signer: Arc<dyn Signer>,
    /// What contracts see of the certificate.
    pub caller: Caller,
}

struct Listing {
    changed: Option<SystemTime>,
    folders: BTreeMap<String, PathBuf>,
}

/// A folder of `NAME/msp` or, as cryptogen lays them out, `NAME@domain/msp`.
pub struct Wallet {
    folder: PathBuf,
    msp_id: String,
    members: Cache<String, Arc<Member>>,
    /// MSP folders by name, and the folder's time of change when they were listed.
    folders: Mutex<Arc<Listing>>,
    /// Names by the digest of their certificate, of the whole folder.
    names: Cache<(), Arc<BTreeMap<[u8; 32], String>>>,
}

impl Wallet {
    /// The wallet of one organization. Folders are read when somebody of that name calls.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn open(folder: &Path, msp_id: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(
            folder.is_dir(),
            "there is no folder {} with the identities of {msp_id}",
            folder.display()
        );
        let cache = |kept| Cache::builder().max_capacity(kept).time_to_live(FRESH);
        Ok(Self {
            folder: folder.to_owned(),
            msp_id: msp_id.to_owned(),
            members: cache(KEPT).build(),
            folders: Mutex::new(Arc::new(Listing {
                changed: None,
                folders: BTreeMap::new(),
            })),
            names: Cache::builder().max_capacity(1).time_to_live(FRESH).build(),
        })
    }

    /// The member of that name, `None` when there is nobody.
    ///
    /// # Errors
    /// Its folder cannot be read, or its certificate has expired.
    pub fn member(&self, name: &str) -> anyhow::Result<Option<Arc<Member>>> {
        if let Some(member) = self.members.get(name) {
            return Ok(Some(member));
        }
        let Some(msp) = self.folder_of(name)? else {
            return Ok(None);
        };
        let signer = signer(&msp, &self.msp_id)?;
        let caller = Caller::from_certificate(&self.msp_id, signer.certificate().der())?;
        let member = Arc::new(Member {
            name: name.to_owned(),
            signer,
            caller,
        });
        self.members.insert(name.to_owned(), member.clone());
        Ok(Some(member))
    }

    /// Whose certificate this is (DER), `None` when nobody's.
    ///
    /// # Errors
    /// As [`Wallet::member`], and the folder cannot be listed.
    pub fn holder(&self, certificate: &[u8]) -> anyhow::Result<Option<Arc<Member>>> {
        let Ok(shown) = Certificate::from_der(certificate) else {
            return Ok(None);
        };
        let names = match self.names.get(&()) {
            Some(names) => names,
            None => {
                let names = Arc::new(self.list()?);
                self.names.insert((), names.clone());
                names
            }
        };
        match names.get(shown.digest()) {
            Some(name) => self.member(name),
            None => Ok(None),
        }
    }

    /// The MSP folder of a name. Names are compared with what the folder lists, so that none leads
    /// out of it.
    fn folder_of(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let msp = self.listing()?.folders.get(name).map(|one| one.join("msp"));
        Ok(msp.filter(|msp| msp.is_dir()))
    }

    /// What the folder lists: read again when it has changed, so that a name that is nobody's costs
    /// a look at its time.
    fn listing(&self) -> anyhow::Result<Arc<Listing>> {
        let failed = || format!("cannot list {}", self.folder.display());
        let changed = std::fs::metadata(&self.folder)
            .and_then(|folder| folder.modified())
            .with_context(failed)?;
        let known = self.folders.lock().clone();
        // A folder may change twice within what its time tells apart.
        let settled = changed.elapsed().is_ok_and(|age| age > SETTLED);
        if settled && known.changed == Some(changed) {
            return Ok(known);
        }
        let mut folders = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder)
            .with_context(failed)?
            .flatten()
        {
            let Ok(listed) = entry.file_name().into_string() else {
                continue;
            };
            match listed.split('@').next() {
                None | Some("") => {}
                Some(name) => {
                    folders.insert(name.to_owned(), entry.path());
                }
            }
        }
        let listing = Arc::new(Listing {
            changed: settled.then_some(changed),
            folders,
        });
        *self.folders.lock() = listing.clone();
        Ok(listing)
    }

    fn list(&self) -> anyhow::Result<BTreeMap<[u8; 32], String>> {
        let mut names = BTreeMap::new();
        for (name, folder) in &self.listing()?.folders {
            let msp = folder.join("msp");
            if !msp.is_dir() {
                continue;
            }
            let Ok(pem) = consilium_ca::folders::read_signer_certificate(&msp) else {
                tracing::warn!(folder = %msp.display(), "there is no certificate in this MSP folder");
                continue;
            };
            if let Ok(certificate) = Certificate::from_pem(&pem) {
                names.insert(*certificate.digest(), name.clone());
            }
        }
        Ok(names)
    }
}
