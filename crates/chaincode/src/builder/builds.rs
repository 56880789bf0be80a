//! Finished builds on disk, one folder each, and the builds under way.
//!
//! `<builds>/<package id>/` holds `build-info.json` with the builder's name, `bld` and `release`. A
//! build is there as a whole or not at all, and serves until the builder's name is gone from the
//! configuration. (fabric: core/container/externalbuilder/externalbuilder.go)

use super::build::{self, BuildInfo, DRAFT};
use super::{BuildError, ExternalBuilder};
use crate::package::{Connection, MAX_INDEX_BYTES, MAX_INDEXES, Package, index_place};
use consilium_ledger::IndexFile;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How large a released `connection.json` may be, as one in a package.
const MAX_CONNECTION_BYTES: u64 = 1 << 20;

/// A finished build.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) builder: ExternalBuilder,
    folder: PathBuf,
}

impl Built {
    /// What `build` made.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("bld")
    }

    /// Where the chaincode listens, if it is a service; otherwise it is to be run.
    /// fabric: core/container/externalbuilder/instance.go ChaincodeServerInfo
    pub(crate) fn service(&self) -> Result<Option<Connection>, BuildError> {
        let path = self.folder.join("release/chaincode/server/connection.json");
        let length = match fs::metadata(&path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(reading(&path, cause)),
        };
        if length > MAX_CONNECTION_BYTES {
            return Err(self.wrong(format!(
                "connection.json exceeds {MAX_CONNECTION_BYTES} bytes"
            )));
        }
        let json = fs::read(&path).map_err(|cause| reading(&path, cause))?;
        Ok(Some(Connection::parse(&json)?))
    }

    /// The index definitions that were released, below `release/statedb/couchdb`.
    /// fabric: core/container/externalbuilder/metadataprovider.go
    pub(crate) fn indexes(&self) -> Result<Vec<IndexFile>, BuildError> {
        let root = self.folder.join("release");
        let mut found = Vec::new();
        let mut folders = vec![root.join("statedb")];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(reading(&folder, cause)),
            };
            for entry in entries {
                let entry = entry.map_err(|cause| reading(&folder, cause))?;
                let about = entry
                    .metadata()
                    .map_err(|cause| reading(&entry.path(), cause))?;
                if about.is_dir() {
                    folders.push(entry.path());
                } else if about.is_file() {
                    found.extend(self.index(&root, &entry.path(), about.len())?);
                }
                if found.len() > MAX_INDEXES {
                    return Err(self.wrong(format!("more than {MAX_INDEXES} index definitions")));
                }
            }
        }
        found.sort_by(|a, b| (&a.collection, &a.name).cmp(&(&b.collection, &b.name)));
        Ok(found)
    }

    fn index(
        &self,
        root: &Path,
        path: &Path,
        length: u64,
    ) -> Result<Option<IndexFile>, BuildError> {
        let place = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        let place = format!("META-INF/{place}");
        let Some((collection, name)) = index_place(&place) else {
            return Ok(None);
        };
        if length > MAX_INDEX_BYTES {
            return Err(self.wrong(format!("{place} exceeds {MAX_INDEX_BYTES} bytes")));
        }
        Ok(Some(IndexFile {
            collection: collection.map(str::to_owned),
            name: name.to_owned(),
            content: fs::read(path).map_err(|cause| reading(path, cause))?.into(),
        }))
    }

    fn wrong(&self, cause: String) -> BuildError {
        BuildError::Output {
            builder: self.builder.name.clone(),
            cause,
        }
    }
}

/// A build that everybody waits for who wants it.
type Flight = Shared<BoxFuture<'static, Result<Option<Built>, Arc<BuildError>>>>;

/// The builders of this peer and what they have built.
pub(crate) struct Builds {
    builders: Vec<ExternalBuilder>,
    folder: PathBuf,
    patience: Duration,
    flights: Mutex<HashMap<String, Flight>>,
}

impl Builds {
    /// Builds in `folder`, which is made if there are builders. What was not finished is deleted.
    pub(crate) fn open(
        builders: Vec<ExternalBuilder>,
        folder: &Path,
        patience: Duration,
    ) -> Result<Self, BuildError> {
        if !builders.is_empty() {
            let failed = |cause| BuildError::Folder {
                doing: "creating",
                path: folder.to_owned(),
                cause,
            };
            fs::create_dir_all(folder).map_err(failed)?;
            for entry in fs::read_dir(folder).map_err(|cause| reading(folder, cause))? {
                let entry = entry.map_err(|cause| reading(folder, cause))?;
                if entry.file_name().to_string_lossy().starts_with(DRAFT)
                    && let Err(error) = fs::remove_dir_all(entry.path())
                {
                    tracing::warn!(folder = %entry.path().display(), %error, "cannot delete an unfinished build");
                }
            }
            for builder in &builders {
                if !builder.path.join("bin/detect").is_file() {
                    tracing::warn!(
                        builder = builder.name,
                        path = %builder.path.display(),
                        "external builder has no bin/detect and takes no package"
                    );
                }
            }
        }
        Ok(Self {
            builders,
            folder: folder.to_owned(),
            patience,
            flights: Mutex::default(),
        })
    }

    pub(crate) fn has_builders(&self) -> bool {
        !self.builders.is_empty()
    }

    /// The finished build of a package. One that cannot be read is none.
    pub(crate) fn kept(&self, id: &str) -> Result<Option<Built>, BuildError> {
        let folder = self.place(id);
        let path = folder.join("build-info.json");
        let info = match fs::read(&path) {
            Ok(info) => info,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(reading(&path, cause)),
        };
        let name = match serde_json::from_slice::<BuildInfo>(&info) {
            Ok(info) => info.builder_name,
            Err(error) => {
                tracing::warn!(package = id, %error, "malformed build info; building anew");
                return Ok(None);
            }
        };
        match self.builders.iter().find(|builder| builder.name == name) {
            Some(builder) => Ok(Some(Built {
                builder: builder.clone(),
                folder,
            })),
            None => Err(BuildError::BuilderGone {
                chaincode: id.to_owned(),
                builder: name,
            }),
        }
    }

    /// The finished build of a package, which is built if need be. However many want it, it is built
    /// once. `None`: no builder takes it.
    pub(crate) async fn obtain(
        self: &Arc<Self>,
        id: &str,
        package: impl FnOnce() -> Result<Package, String> + Send + 'static,
    ) -> Result<Option<Built>, Arc<BuildError>> {
        let flight = {
            let mut flights = self.flights.lock();
            match flights.get(id) {
                Some(flight) => flight.clone(),
                None => {
                    let flight = self.clone().begin(id.to_owned(), package);
                    flights.insert(id.to_owned(), flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    /// Builds in a task of its own, which goes on when whoever asked loses interest.
    fn begin(
        self: Arc<Self>,
        id: String,
        package: impl FnOnce() -> Result<Package, String> + Send + 'static,
    ) -> Flight {
        let task = tokio::spawn(async move {
            let built = self.build(&id, package).await.map_err(Arc::new);
            match &built {
                Ok(Some(built)) => {
                    tracing::info!(
                        package = id,
                        builder = built.builder.name,
                        "chaincode is built"
                    );
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(package = id, %error, "chaincode cannot be built"),
            }
            self.flights.lock().remove(&id);
            built
        });
        task.map(|ended| {
            ended.unwrap_or_else(|error| Err(Arc::new(BuildError::Source(error.to_string()))))
        })
        .boxed()
        .shared()
    }

    async fn build(
        self: &Arc<Self>,
        id: &str,
        package: impl FnOnce() -> Result<Package, String> + Send + 'static,
    ) -> Result<Option<Built>, BuildError> {
        let (builds, of) = (self.clone(), id.to_owned());
        let prepared = tokio::task::spawn_blocking(move || match builds.kept(&of)? {
            Some(built) => Ok(Err(built)),
            None => package().map(Ok).map_err(BuildError::Source),
        });
        let package = match prepared
            .await
            .unwrap_or_else(|error| Err(BuildError::Source(error.to_string())))?
        {
            Ok(package) => package,
            Err(built) => return Ok(Some(built)),
        };
        let place = self.place(id);
        let builder =
            build::build(&self.builders, package, &self.folder, &place, self.patience).await?;
        Ok(builder.map(|builder| Built {
            builder,
            folder: place,
        }))
    }

    fn place(&self, id: &str) -> PathBuf {
        self.folder.join(folder_name(id))
    }
}

/// The name of a build's folder. Labels cannot begin with a dot, so it is nobody's draft.
/// fabric: core/container/externalbuilder/externalbuilder.go SanitizeCCIDPath
fn folder_name(id: &str) -> String {
    id.replace(['<', '>', ':', '"', '/', '\\', '|', '?', '*', '&'], "-")
}

fn reading(path: &Path, cause: io::Error) -> BuildError {
    BuildError::Folder {
        doing: "reading",
        path: path.to_owned(),
        cause,
    }
}
