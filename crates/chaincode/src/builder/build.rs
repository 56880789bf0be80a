//! One build: whose package it is, building it, releasing what the peer wants to know.

use super::command::{Running, exit_text};
use super::tree::{self, LIMITS};
use super::{BuildError, ExternalBuilder};
use crate::package::Package;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// How often the size of what is being built is looked at.
const SIZE_CHECK: Duration = Duration::from_secs(5);

/// Unfinished builds have names that begin like this.
pub(super) const DRAFT: &str = ".draft-";

/// `build-info.json`. fabric: core/container/externalbuilder/externalbuilder.go BuildInfo
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BuildInfo {
    pub(super) builder_name: String,
}

/// Folders of a build under way, beside the finished ones, so that finishing is a rename.
struct Context {
    draft: TempDir,
}

impl Context {
    fn create(builds: &Path, package: &Package) -> Result<Self, BuildError> {
        let draft = tempfile::Builder::new()
            .prefix(DRAFT)
            .tempdir_in(builds)
            .map_err(|cause| BuildError::Folder {
                doing: "creating a folder in",
                path: builds.to_owned(),
                cause,
            })?;
        let context = Self { draft };
        for name in ["src", "metadata", "bld", "release"] {
            let path = context.path(name);
            fs::create_dir(&path).map_err(|cause| BuildError::Folder {
                doing: "creating",
                path,
                cause,
            })?;
        }
        package
            .lay_out(&context.path("metadata"), &context.path("src"))
            .map_err(BuildError::Source)?;
        Ok(context)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.draft.path().join(name)
    }

    /// Checks what was made and puts it where finished builds lie.
    fn keep(self, builder: &ExternalBuilder, place: &Path) -> Result<(), BuildError> {
        for name in ["bld", "release"] {
            tree::check(&self.path(name), LIMITS).map_err(|error| BuildError::Output {
                builder: builder.name.clone(),
                cause: error.to_string(),
            })?;
        }
        let info = BuildInfo {
            builder_name: builder.name.clone(),
        };
        let kept = || -> std::io::Result<()> {
            for name in ["src", "metadata"] {
                fs::remove_dir_all(self.path(name))?;
            }
            fs::write(self.path("build-info.json"), serde_json::to_vec(&info)?)?;
            // All of it is on disk before its name says that it is whole.
            rustix::fs::syncfs(File::open(self.draft.path())?)?;
            if place.exists() {
                fs::remove_dir_all(place)?;
            }
            fs::rename(self.draft.path(), place)
        };
        kept().map_err(|cause| BuildError::Folder {
            doing: "keeping a build in",
            path: place.to_owned(),
            cause,
        })?;
        // It has another name now: there is nothing to delete.
        let _ = self.draft.keep();
        Ok(())
    }
}

/// Lets the first of `builders` that takes the package build it, and keeps that in `place` below
/// `builds`. `None`: nobody takes it.
pub(super) async fn build(
    builders: &[ExternalBuilder],
    package: Package,
    builds: &Path,
    place: &Path,
    patience: Duration,
) -> Result<Option<ExternalBuilder>, BuildError> {
    let id = package.id.clone();
    let folder = builds.to_owned();
    let context = off_the_reactor(move || Context::create(&folder, &package)).await?;
    let step = Step {
        chaincode: &id,
        patience,
        begun: Instant::now(),
        watched: context.draft.path(),
    };
    let built = step.build(builders, &context).await;
    let place = place.to_owned();
    // Much may be left of a build that failed, too.
    let keep = move || match built? {
        Some(builder) => context.keep(&builder, &place).map(|()| Some(builder)),
        None => Ok(None),
    };
    off_the_reactor(keep).await
}

/// What all programs of a build have in common.
struct Step<'a> {
    chaincode: &'a str,
    patience: Duration,
    begun: Instant,
    watched: &'a Path,
}

impl Step<'_> {
    /// Lets the first that takes the package build it. `None`: nobody does.
    async fn build(
        &self,
        builders: &[ExternalBuilder],
        context: &Context,
    ) -> Result<Option<ExternalBuilder>, BuildError> {
        let (src, metadata) = (context.path("src"), context.path("metadata"));
        let mut taker = None;
        for builder in builders {
            if self.detects(builder, &[&src, &metadata]).await? {
                taker = Some(builder);
                break;
            }
        }
        let Some(builder) = taker else {
            return Ok(None);
        };
        let package = self.chaincode;
        tracing::info!(package, builder = builder.name, "building chaincode");
        let bld = context.path("bld");
        self.run(builder, "build", &[&src, &metadata, &bld]).await?;
        let release = builder.path.join("bin/release");
        if tokio::fs::try_exists(release).await.unwrap_or(false) {
            let release = context.path("release");
            self.run(builder, "release", &[&bld, &release]).await?;
        }
        Ok(Some(builder.clone()))
    }

    /// Whether a builder takes the package. One that cannot be started takes nothing.
    async fn detects(
        &self,
        builder: &ExternalBuilder,
        arguments: &[&Path],
    ) -> Result<bool, BuildError> {
        match self.run(builder, "detect", arguments).await {
            Ok(()) => Ok(true),
            Err(error @ BuildError::Start { .. }) => {
                tracing::warn!(builder = builder.name, %error, "builder cannot be asked");
                Ok(false)
            }
            Err(BuildError::Failed { how, .. }) => {
                tracing::debug!(builder = builder.name, how, "builder does not take it");
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    async fn run(
        &self,
        builder: &ExternalBuilder,
        program: &'static str,
        arguments: &[&Path],
    ) -> Result<(), BuildError> {
        let name = || builder.name.clone();
        let mut running =
            Running::start(builder, program, arguments, self.chaincode).map_err(|cause| {
                BuildError::Start {
                    builder: name(),
                    program,
                    cause,
                }
            })?;
        let watched = async {
            tokio::select! {
                status = running.wait() => Ok(status),
                cause = grown_too_large(self.watched) => Err(cause),
            }
        };
        let left = self.patience.saturating_sub(self.begun.elapsed());
        let ended = tokio::time::timeout(left, watched).await;
        let error = match ended {
            Ok(Ok(Ok(status))) if status.success() => return Ok(()),
            Ok(Ok(status)) => {
                return Err(BuildError::Failed {
                    builder: name(),
                    program,
                    how: exit_text(status),
                    said: running.last_words(),
                });
            }
            Ok(Err(cause)) => BuildError::Output {
                builder: name(),
                cause,
            },
            Err(_) => BuildError::Timeout {
                builder: name(),
                program,
                patience: self.patience,
            },
        };
        // Nobody writes any more when what there is is deleted.
        running.stop(Duration::ZERO).await;
        Err(error)
    }
}

/// Resolves when a folder holds more than builds may leave.
async fn grown_too_large(folder: &Path) -> String {
    loop {
        tokio::time::sleep(SIZE_CHECK).await;
        let folder = folder.to_owned();
        let checked = tokio::task::spawn_blocking(move || tree::check_size(&folder, LIMITS)).await;
        if let Ok(Err(exceeded)) = checked {
            return exceeded.to_string();
        }
    }
}

async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(BuildError::Source(error.to_string())))
}
