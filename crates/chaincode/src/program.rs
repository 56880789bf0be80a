//! From a chaincode's name to the program that runs it here.
//!
//! A definition must be committed on the channel, this organization must have approved exactly it,
//! and the package that it approved must be installed. Every invocation reads the committed
//! sequence through its simulator, so that the transaction is invalid if the definition changes;
//! the rest is read from the same snapshot without a trace. (lifecycle.md §4)

use crate::install::{Installed, InstalledPackage};
use crate::lifecycle::{self, LEGACY_NAMESPACE, LifecycleError, Public, read_sequence};
use crate::package::Program;
use consilium_ledger::{LedgerError, Simulator, StateReader};
use consilium_proto::protos::ChaincodeInput;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Why a name cannot be run. The texts are Fabric's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramUnavailable {
    #[error("chaincode {0} not found")]
    NotFound(String),
    #[error(
        "chaincode {0} was deployed before the lifecycle of version 2, which this peer cannot run"
    )]
    Legacy(String),
    #[error(
        "chaincode definition for '{name}' at sequence {sequence} on channel '{channel}' has not yet been approved by this org"
    )]
    NotApproved {
        name: String,
        sequence: i64,
        channel: String,
    },
    #[error("chaincode definition for '{0}' exists, but chaincode is not installed")]
    NotInstalled(String),
    #[error(
        "chaincode cache at sequence {cached} but current sequence is {current}, chaincode definition for '{name}' changed during invoke"
    )]
    Changed {
        name: String,
        cached: i64,
        current: i64,
    },
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A chaincode that can be called on a channel of this peer.
#[derive(Debug)]
pub(crate) struct Runnable {
    pub(crate) sequence: i64,
    pub(crate) version: String,
    pub(crate) init_required: bool,
    pub(crate) package: Arc<InstalledPackage>,
}

impl Runnable {
    pub(crate) fn program(&self) -> &Program {
        &self.package.program
    }
}

/// What is runnable by channel and name, remembered for the height at which it was found.
#[derive(Default)]
pub(crate) struct Programs(Mutex<HashMap<(String, String), Found>>);

/// A height of the ledger and what was runnable there.
type Found = (u64, Arc<Runnable>);

impl Programs {
    /// The chaincode `name` of `channel`, recording the read that every invocation makes.
    pub(crate) fn resolve(
        &self,
        channel: &str,
        name: &str,
        msp_id: &str,
        installed: &Installed,
        simulator: &mut Simulator,
    ) -> Result<Arc<Runnable>, ProgramUnavailable> {
        let sequence = read_sequence(name, &mut Public(simulator))?;
        if sequence <= 0 {
            return Err(match simulator.get_state(LEGACY_NAMESPACE, name)? {
                None => ProgramUnavailable::NotFound(name.to_owned()),
                Some(_) => ProgramUnavailable::Legacy(name.to_owned()),
            });
        }
        let key = (channel.to_owned(), name.to_owned());
        let height = simulator.height();
        if let Some((at, known)) = self.0.lock().get(&key)
            && *at == height
        {
            return Ok(known.clone());
        }
        let found = Arc::new(find(simulator.state(), channel, name, msp_id, installed)?);
        if found.sequence != sequence {
            let (cached, name) = (found.sequence, name.to_owned());
            return Err(ProgramUnavailable::Changed {
                name,
                cached,
                current: sequence,
            });
        }
        self.0.lock().insert(key, (height, found.clone()));
        Ok(found)
    }

    /// Forgets everything, as what is installed has changed.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// What `name` runs on this peer, judged by committed state alone.
pub(crate) fn find(
    state: &StateReader,
    channel: &str,
    name: &str,
    msp_id: &str,
    installed: &Installed,
) -> Result<Runnable, ProgramUnavailable> {
    let definition = lifecycle::definition(state, name)?
        .ok_or_else(|| ProgramUnavailable::NotFound(name.to_owned()))?;
    let approval = lifecycle::approval(state, &definition, msp_id)?;
    if approval == lifecycle::Approval::Missing {
        return Err(ProgramUnavailable::NotApproved {
            name: name.to_owned(),
            sequence: definition.sequence,
            channel: channel.to_owned(),
        });
    }
    let package = installed
        .approved(&approval)
        .or_else(|| installed.developed(name, &definition.version))
        .ok_or_else(|| ProgramUnavailable::NotInstalled(name.to_owned()))?;
    Ok(Runnable {
        sequence: definition.sequence,
        version: definition.version,
        init_required: definition.init_required,
        package,
    })
}

/// The state key that holds the version of a chaincode that was initialized.
const INITIALIZED: &str = "\u{0}\u{10FFFF}initialized";

/// Whether a call is an initialization, after checking it against `init_required`. An accepted
/// initialization is noted in the chaincode's own state.
pub(crate) fn check_init(
    runnable: &Runnable,
    name: &str,
    input: &ChaincodeInput,
    simulator: &mut Simulator,
) -> Result<bool, InitError> {
    let needed = if runnable.init_required {
        let initialized = simulator.get_state(name, INITIALIZED)?;
        initialized.unwrap_or_default() != runnable.version.as_bytes()
    } else {
        false
    };
    let name = || name.to_owned();
    match (input.is_init, runnable.init_required, needed) {
        (true, false, _) => Err(InitError::NotRequired(name())),
        (true, true, false) => Err(InitError::Already(name())),
        (true, true, true) => {
            simulator.put_state(&name(), INITIALIZED, runnable.version.clone().into())?;
            Ok(true)
        }
        (false, _, true) => Err(InitError::Missing(name())),
        (false, _, false) => Ok(false),
    }
}

/// A call that does not fit the chaincode's need for initialization.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("chaincode '{0}' does not require initialization but called as init")]
    NotRequired(String),
    #[error("chaincode '{0}' is already initialized but called as init")]
    Already(String),
    #[error("chaincode '{0}' has not been initialized for this version, must call as init first")]
    Missing(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
