//! Running chaincode at a peer.
//!
//! **Owns** how a chaincode call is carried out: which program a name stands for (definition on the
//! ledger, approved by this organization, package installed here), external builders, the shim
//! protocol with chaincode that runs elsewhere, contracts compiled into this binary, and the system
//! chaincodes `_lifecycle`, `cscc` and `qscc`. All programs read and write through the [`Simulator`](consilium_ledger::Simulator) that
//! the endorser hands in, so all of them end up in one read-write set.
//!
//! **Must not know** how proposals are checked before a call or signed after it, nor how blocks are
//! validated and committed: that is `consilium-peer`, which implements [`PeerSupport`].
//!
//! **Start reading** at [`Host::execute`], then `program` (from name to program), `launch` (bringing it
//! up: `service` dials, `process` starts what `builder` built, `register` lets it in), `shim` (speaking
//! with it) and `in_process` (contracts); [`lifecycle`] for definitions.

mod builder;
mod credentials;
mod custody;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    //! A door for the fuzz targets to what a chaincode sends.
    pub use crate::shim::fuzzing::{Call, registration};
}
mod host;
mod in_process;
mod install;
mod launch;
pub mod lifecycle;
mod measure;
mod options;
mod outcome;
mod package;
mod process;
mod program;
mod register;
mod service;
mod session;
mod shim;
mod standing;
mod support;
mod system;

pub use builder::{BuildError, ExternalBuilder};
pub use credentials::{Credentials, CredentialsError};
pub use error::ChaincodeError;
pub use host::{Execution, Host};
pub use install::{InstallError, InstalledPackage};
pub use options::{Endpoint, HostOptions, LaunchOptions};
pub use package::{
    Connection, ConnectionError, ConnectionTls, IN_PROCESS_TYPE, Language, Package, PackageError,
    PackageMetadata, Program, ProgramError, SERVICE_TYPE, SourceFile, package_source,
};
pub use register::Registrar;
pub use standing::ChaincodeStanding;
pub use support::PeerSupport;
