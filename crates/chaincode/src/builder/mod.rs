//! External builders: programs of the operator that turn a package into something that runs.
//!
//! A builder is a folder with `bin/detect`, `bin/build` and `bin/run`, and `bin/release` if it has
//! something to release. `detect SOURCE METADATA` says whether it takes a package, `build SOURCE
//! METADATA OUTPUT` makes of it what runs, `release OUTPUT RELEASE` leaves what the peer wants to know:
//! index definitions, and where the chaincode listens if it is a service. `run OUTPUT LAUNCH` is then
//! the chaincode itself, which dials the peer as `chaincode.json` in `LAUNCH` says.
//! (fabric: core/container/externalbuilder)
//!
//! `command` runs these programs, `output` puts what they say into the log, `build` makes one build,
//! `builds` keeps builds on disk, `tree` bounds what a builder may leave there.

mod build;
mod builds;
mod command;
mod output;
mod tree;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::package::ConnectionError;
pub(crate) use builds::{Builds, Built};
pub(crate) use command::{Running, exit_text};

/// A builder as `chaincode.externalBuilders` of `core.yaml` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalBuilder {
    /// Its name in the log and beside what it has built.
    pub name: String,
    /// The folder that holds `bin`.
    pub path: PathBuf,
    /// Variables of the peer's environment that its programs get to see, beside `PATH`, `TMPDIR`,
    /// `LD_LIBRARY_PATH` and `LIBPATH`.
    pub propagate_environment: Vec<String>,
}

/// Why a package could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program could not be started.
    #[error("external builder '{builder}' failed: cannot start {program}: {cause}")]
    Start {
        /// The builder's name.
        builder: String,
        /// Which of its programs.
        program: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A program ended with something other than success.
    #[error("external builder '{builder}' failed: {program}: {how}{said}")]
    Failed {
        /// The builder's name.
        builder: String,
        /// Which of its programs.
        program: &'static str,
        /// How it ended.
        how: String,
        /// What it said at last, after a colon, or nothing.
        said: String,
    },
    /// Building took too long (`chaincode.installTimeout`).
    #[error("external builder '{builder}' failed: {program} was not done after {}", humantime::format_duration(*.patience))]
    Timeout {
        /// The builder's name.
        builder: String,
        /// Which of its programs.
        program: &'static str,
        /// How long everything together may take.
        patience: Duration,
    },
    /// It left what is not kept.
    #[error("external builder '{builder}' failed: {cause}")]
    Output {
        /// The builder's name.
        builder: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The package cannot be read or laid out.
    #[error("could not create build context: {0}")]
    Source(String),
    /// What was built earlier belongs to a builder that is not configured any more.
    #[error(
        "chaincode '{chaincode}' was already built with builder '{builder}', but that builder is no longer available"
    )]
    BuilderGone {
        /// The package id.
        chaincode: String,
        /// The builder's name.
        builder: String,
    },
    /// No configured builder takes the package.
    #[error("no builder of this peer takes the chaincode package '{0}'")]
    Nobody(String),
    /// The `connection.json` that was released is none.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The folder of builds cannot be read or written.
    #[error("{doing} {path}: {cause}")]
    Folder {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}
