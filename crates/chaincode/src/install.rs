//! The packages installed on this peer: files under Fabric's names in one folder.

use crate::builder::{BuildError, Builds, Built};
use crate::lifecycle::Approval;
use crate::package::{Package, PackageContent, PackageError, Program, ProgramError};
use consilium_ledger::IndexFile;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use tokio::runtime::Handle;

/// Why a package was not installed or could not be given back.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is not a package.
    #[error("could not parse as a chaincode install package: {0}")]
    Package(#[from] PackageError),
    /// The same bytes are here already.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    Already(String),
    /// This peer has no way to run it.
    #[error("could not build chaincode: {0}")]
    Build(#[from] ProgramError),
    /// An external builder failed.
    #[error("could not build chaincode: {0}")]
    External(Arc<BuildError>),
    /// It names a contract that is not compiled into this peer.
    #[error("could not build chaincode: this peer has no contract named '{0}'")]
    UnknownContract(String),
    /// No such package here.
    #[error("chaincode install package '{0}' not found")]
    NotFound(String),
    /// The folder cannot be read or written.
    #[error("{doing} {path}: {cause}")]
    Folder {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// A package that this peer can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// `label:hash`.
    pub id: String,
    /// The label alone.
    pub label: String,
    /// What it runs.
    pub program: Program,
    /// Index definitions in it.
    pub indexes: Vec<IndexFile>,
}

/// The folder and what is in it. Packages are read once at start and kept by description only.
pub(crate) struct Installed {
    folder: PathBuf,
    builds: Arc<Builds>,
    development: bool,
    packages: RwLock<BTreeMap<String, Arc<InstalledPackage>>>,
}

impl Installed {
    /// Reads the folder, creating it if need be. Files that are not sound packages are logged and
    /// left alone.
    pub(crate) fn open(
        folder: &Path,
        builds: Arc<Builds>,
        development: bool,
    ) -> Result<Self, InstallError> {
        let failed = |doing, cause| InstallError::Folder {
            doing,
            path: folder.to_owned(),
            cause,
        };
        std::fs::create_dir_all(folder).map_err(|cause| failed("creating", cause))?;
        let mut packages = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(|cause| failed("reading", cause))? {
            let path = entry.map_err(|cause| failed("reading", cause))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !name.ends_with(".tar.gz") {
                continue;
            }
            let bytes = read(&path)?;
            match describe_installed(&bytes, &builds) {
                Ok(package) if file_name(&package.id) == name => {
                    packages.insert(package.id.clone(), Arc::new(package));
                }
                Ok(package) => {
                    tracing::warn!(
                        file = name,
                        package = package.id,
                        "chaincode package does not have the content that its file name promises"
                    );
                }
                Err(error) => tracing::warn!(file = name, %error, "unusable chaincode package"),
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            builds,
            development,
            packages: RwLock::new(packages),
        })
    }

    /// Installs a package file. `has_contract` says which contracts are compiled in. Blocks while an
    /// external builder is at work.
    pub(crate) fn install(
        &self,
        bytes: &[u8],
        has_contract: impl Fn(&str) -> bool,
    ) -> Result<Arc<InstalledPackage>, InstallError> {
        let package = Package::parse(bytes)?;
        if self.packages.read().contains_key(&package.id) {
            return Err(InstallError::Already(package.id));
        }
        let package = match self.build(&package)? {
            Some(built) => described(package, Program::External, indexes(&built)?),
            None => describe(package)?,
        };
        if let Program::InProcess(contract) = &package.program
            && !has_contract(contract)
        {
            return Err(InstallError::UnknownContract(contract.clone()));
        }
        self.store(&package.id, bytes)?;
        let package = Arc::new(package);
        let before = self
            .packages
            .write()
            .insert(package.id.clone(), package.clone());
        if before.is_some() {
            // By somebody else in the meantime.
            return Err(InstallError::Already(package.id.clone()));
        }
        tracing::info!(package = package.id, "installed chaincode package");
        Ok(package)
    }

    /// What an external builder makes of a package; `None` when it is ours to run.
    fn build(&self, package: &Package) -> Result<Option<Built>, InstallError> {
        if package.is_in_process() || !self.builds.has_builders() {
            return Ok(None);
        }
        let failed = |cause: String| InstallError::External(Arc::new(BuildError::Source(cause)));
        let runtime = Handle::try_current().map_err(|error| failed(error.to_string()))?;
        let (builds, package) = (self.builds.clone(), package.clone());
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let id = package.id.clone();
            // Nobody listens only if this thread is gone.
            let _ = sender.send(builds.obtain(&id, move || Ok(package)).await);
        });
        receiver
            .recv()
            .map_err(|_| failed("the peer is shutting down".to_owned()))?
            .map_err(InstallError::External)
    }

    /// Notes what was built of an installed package. Whether that changed what is known of it.
    pub(crate) fn built(&self, id: &str, built: &Built) -> Result<bool, InstallError> {
        let indexes = indexes(built)?;
        let mut packages = self.packages.write();
        let Some(package) = packages.get_mut(id) else {
            return Ok(false);
        };
        if package.indexes == indexes {
            return Ok(false);
        }
        Arc::make_mut(package).indexes = indexes;
        Ok(true)
    }

    /// In development mode, what stands for a package that is not installed: whatever registers under
    /// name and version. fabric: core/chaincode/lifecycle/endorsement_info.go UserRunsCC
    pub(crate) fn developed(&self, name: &str, version: &str) -> Option<Arc<InstalledPackage>> {
        self.development.then(|| {
            Arc::new(InstalledPackage {
                id: format!("{name}:{version}"),
                label: name.to_owned(),
                program: Program::Developed,
                indexes: Vec::new(),
            })
        })
    }

    /// Writes the file whole or not at all.
    fn store(&self, id: &str, bytes: &[u8]) -> Result<(), InstallError> {
        let path = self.path(id);
        let draft = self.folder.join(format!(".{}", uuid::Uuid::new_v4()));
        let written = File::create(&draft)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&draft, &path))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        written.map_err(|cause| {
            // The draft may not exist; the first error is the one that matters.
            let _ = std::fs::remove_file(&draft);
            InstallError::Folder {
                doing: "writing",
                path,
                cause,
            }
        })
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<InstalledPackage>> {
        self.packages.read().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<InstalledPackage>> {
        self.packages.read().values().cloned().collect()
    }

    /// The package that an approval names, if it is here.
    pub(crate) fn approved(&self, approval: &Approval) -> Option<Arc<InstalledPackage>> {
        self.packages
            .read()
            .values()
            .find(|package| approval.names_package(&package.id))
            .cloned()
    }

    /// The bytes as they were installed.
    pub(crate) fn bytes(&self, id: &str) -> Result<Vec<u8>, InstallError> {
        if self.get(id).is_none() {
            return Err(InstallError::NotFound(id.to_owned()));
        }
        read(&self.path(id))
    }

    /// Only ids of parsed packages get here, whose labels cannot leave the folder.
    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(file_name(id))
    }
}

/// A package that this peer runs without a builder.
fn describe(package: Package) -> Result<InstalledPackage, InstallError> {
    let PackageContent { program, indexes } = package.content()?;
    Ok(described(package, program, indexes))
}

/// A package that was installed earlier. What was built then still is, or is built again when it is
/// called.
fn describe_installed(bytes: &[u8], builds: &Builds) -> Result<InstalledPackage, InstallError> {
    let package = Package::parse(bytes)?;
    if package.is_in_process() {
        return describe(package);
    }
    match builds.kept(&package.id) {
        Ok(Some(built)) => Ok(described(package, Program::External, indexes(&built)?)),
        Ok(None) => match package.content() {
            Err(ProgramError::UnknownType(_)) => {
                Ok(described(package, Program::External, Vec::new()))
            }
            content => {
                let PackageContent { program, indexes } = content?;
                Ok(described(package, program, indexes))
            }
        },
        Err(error) => {
            tracing::warn!(package = package.id, %error, "chaincode cannot be run now");
            Ok(described(package, Program::External, Vec::new()))
        }
    }
}

fn described(package: Package, program: Program, indexes: Vec<IndexFile>) -> InstalledPackage {
    InstalledPackage {
        label: package.metadata.label,
        program,
        indexes,
        id: package.id,
    }
}

fn indexes(built: &Built) -> Result<Vec<IndexFile>, InstallError> {
    built
        .indexes()
        .map_err(|error| InstallError::External(Arc::new(error)))
}

fn file_name(id: &str) -> String {
    format!("{}.tar.gz", id.replacen(':', ".", 1))
}

fn read(path: &Path) -> Result<Vec<u8>, InstallError> {
    std::fs::read(path).map_err(|cause| InstallError::Folder {
        doing: "reading",
        path: path.to_owned(),
        cause,
    })
}
