//! The host: one call of a chaincode from its name to its final word.

use crate::error::ChaincodeError;
use crate::in_process;
use crate::install::{InstallError, Installed, InstalledPackage};
use crate::lifecycle::{self, CollectionLookup};
use crate::measure;
use crate::outcome::Outcome;
use crate::package::Program;
use crate::program::{self, Programs, Runnable};
use crate::service::Services;
use crate::session::{Session, StateError};
use crate::shim::{Exchange, Limits};
use crate::support::PeerSupport;
use crate::system;
use bytes::Bytes;
use consilium_contracts::Contract;
use consilium_ledger::{IndexFile, Simulator};
use consilium_proto::protos::{
    self, ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, SignedProposal,
};
use consilium_protocol::proposal::ParsedProposal;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How chaincodes are run. Field for field from `core.yaml`, see [`HostOptions::new`].
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Folder of installed packages.
    pub install_dir: PathBuf,
    /// `chaincode.executetimeout`: how long one call may take.
    pub execute_timeout: Duration,
    /// `chaincode.startuptimeout`: how long connecting and registering may take.
    pub startup_timeout: Duration,
    /// `ledger.state.totalQueryLimit`: results that one query gives at most.
    pub total_query_limit: u32,
    /// `ledger.history.enableHistoryDatabase`: whether past values of keys may be asked for.
    pub history: bool,
    /// `chaincode.runtimeParams.useWriteBatch` and `maxSizeWriteBatch`; `None`: off.
    pub write_batch: Option<u32>,
    /// `chaincode.runtimeParams.useGetMultipleKeys` and `maxSizeGetMultipleKeys`; `None`: off.
    pub multiple_keys: Option<u32>,
    /// What replaces `{{.name}}` in `connection.json` (CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG).
    pub service_values: BTreeMap<String, String>,
}

impl HostOptions {
    /// The settings of Fabric's sample `core.yaml` with packages in `install_dir`.
    pub fn new(install_dir: impl Into<PathBuf>) -> Self {
        Self {
            install_dir: install_dir.into(),
            ..Self::default()
        }
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            install_dir: PathBuf::from("chaincodes"),
            execute_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_secs(300),
            total_query_limit: 100_000,
            history: true,
            write_batch: Some(1_000),
            multiple_keys: Some(1_000),
            service_values: BTreeMap::new(),
        }
    }
}

/// What a call gave.
#[derive(Debug)]
pub struct Execution {
    /// The chaincode's response, of whatever status.
    pub response: protos::Response,
    /// The event of the invoked chaincode; its name and the transaction are the peer's word.
    pub event: Option<ChaincodeEvent>,
    /// Name and version for the endorsement; the version of system chaincodes is `syscc`.
    pub chaincode_id: ChaincodeId,
    /// The simulator as it was lent, with everything recorded.
    pub simulator: Option<Simulator>,
}

/// Runs chaincodes.
pub struct Host {
    pub(crate) options: HostOptions,
    pub(crate) support: Arc<dyn PeerSupport>,
    pub(crate) installed: Installed,
    contracts: HashMap<&'static str, Arc<dyn Contract>>,
    programs: Programs,
    services: Services,
    running: Mutex<HashSet<Running>>,
    installs: watch::Sender<u64>,
}

/// Index definitions of a program: those in its package, and those of its contract.
fn indexes_of(
    contracts: &HashMap<&'static str, Arc<dyn Contract>>,
    runnable: &Runnable,
) -> Vec<IndexFile> {
    let mut files = runnable.package.indexes.clone();
    if let Program::InProcess(contract) = runnable.program()
        && let Some(contract) = contracts.get(contract.as_str())
    {
        files.extend(contract.indexes().into_iter().map(|index| IndexFile {
            collection: index.collection.map(str::to_owned),
            name: index.file.to_owned(),
            content: Bytes::from_static(index.definition.as_bytes()),
        }));
    }
    files
}

fn is_defined(definition: &lifecycle::Definition, collection: &str) -> bool {
    matches!(
        lifecycle::lookup(Some(definition), collection),
        CollectionLookup::Defined(_)
    )
}

/// A call under way: program, channel, transaction.
type Running = (String, String, String);

impl Host {
    /// A host that knows `contracts` and the packages in the install folder.
    ///
    /// # Errors
    /// If the folder cannot be created or read.
    pub fn new(
        options: HostOptions,
        contracts: Vec<Arc<dyn Contract>>,
        support: Arc<dyn PeerSupport>,
    ) -> Result<Arc<Self>, ChaincodeError> {
        measure::describe();
        let installed = Installed::open(&options.install_dir)
            .map_err(|error| ChaincodeError::Setup(error.to_string()))?;
        let contracts = contracts
            .into_iter()
            .map(|contract| (contract.name(), contract))
            .collect();
        Ok(Arc::new(Self {
            options,
            support,
            installed,
            contracts,
            programs: Programs::default(),
            services: Services::default(),
            running: Mutex::default(),
            installs: watch::Sender::new(0),
        }))
    }

    /// Whether `name` is a system chaincode: it needs no definition and checks its own ACLs.
    pub fn is_system(&self, name: &str) -> bool {
        system::is_system(name)
    }

    /// The packages that this peer can run.
    pub fn installed(&self) -> Vec<Arc<InstalledPackage>> {
        self.installed.all()
    }

    /// Installs a package file.
    ///
    /// # Errors
    /// In Fabric's words, see [`InstallError`].
    pub fn install(&self, package: &[u8]) -> Result<Arc<InstalledPackage>, InstallError> {
        let installed = self
            .installed
            .install(package, |contract| self.contracts.contains_key(contract))?;
        self.programs.clear();
        self.installs.send_modify(|count| *count += 1);
        Ok(installed)
    }

    /// Changes with every package that is installed.
    pub fn subscribe_installs(&self) -> watch::Receiver<u64> {
        self.installs.subscribe()
    }

    /// Gives every chaincode of a channel that can be invoked on this peer the indexes that its
    /// package or its contract declares, and builds those that are new. To be called when a
    /// definition or what is installed has changed, and at start. Blocks while indexes are built.
    /// fabric: core/ledger/cceventmgmt/mgr.go, privacyenabledstate/db.go HandleChaincodeDeploy
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn declare_indexes(&self, channel: &str) -> Result<(), String> {
        let Some(ledger) = self.support.ledger(channel) else {
            return Ok(());
        };
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let mut found = Vec::new();
        {
            // Not held while indexes are built: compaction keeps what it sees.
            let state = ledger.reader().map_err(|error| failed(&error))?;
            let definitions = lifecycle::definitions(&state).map_err(|error| failed(&error))?;
            for definition in definitions {
                let (name, msp_id) = (definition.name.as_str(), self.support.msp_id());
                // What cannot be invoked needs no indexes; what it had before stays.
                let runnable = program::find(&state, channel, name, msp_id, &self.installed);
                found.extend(runnable.ok().map(|runnable| (definition, runnable)));
            }
        }
        for (definition, runnable) in found {
            let name = definition.name.as_str();
            let mut files = indexes_of(&self.contracts, &runnable);
            files.retain(|file| {
                let known = file
                    .collection
                    .as_deref()
                    .is_none_or(|collection| is_defined(&definition, collection));
                if !known {
                    tracing::warn!(
                        channel,
                        chaincode = name,
                        collection = file.collection,
                        "cannot create an index for an undefined collection"
                    );
                }
                known
            });
            ledger
                .declare_indexes(name, &files)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Whether the chaincode can be invoked on this peer now: defined, approved, installed.
    /// Reads the database.
    pub fn available(&self, channel: &str, name: &str) -> bool {
        if system::is_system(name) {
            return true;
        }
        let Some(Ok(state)) = self.support.ledger(channel).map(|ledger| ledger.reader()) else {
            return false;
        };
        program::find(
            &state,
            channel,
            name,
            self.support.msp_id(),
            &self.installed,
        )
        .is_ok()
    }

    /// Ends all connections with services; calls under way fail.
    pub fn shutdown(&self) {
        self.services.terminate();
    }

    /// Carries out the call that `proposal` asks for. The simulator is lent: it comes back in
    /// [`Execution::simulator`] with everything recorded that the call read and wrote. Without one
    /// only system chaincodes can be called.
    ///
    /// # Errors
    /// When there is no response of the chaincode; the text is the client's whole message.
    pub async fn execute(
        self: &Arc<Self>,
        simulator: Option<Simulator>,
        proposal: Arc<ParsedProposal>,
        signed: Arc<SignedProposal>,
    ) -> Result<Execution, ChaincodeError> {
        let name = proposal.chaincode_name.clone();
        let input = proposal.input.clone();
        let channel = proposal.channel().to_owned();
        let tx_id = proposal.tx_id().to_owned();
        let session = Arc::new(Session::new(
            &channel,
            proposal,
            signed,
            self.support.clone(),
            simulator,
        ));
        let called = self.execute_in(&session, &name, input).await;
        // Whatever still runs for this transaction finds no ledger from here on.
        let simulator = close(session).await;
        let (outcome, version) = called?;
        let simulator = simulator.map_err(|cause| ChaincodeError::Failed { tx_id, cause })?;
        match outcome {
            Outcome::Completed { response, event } => Ok(Execution {
                response,
                event,
                chaincode_id: ChaincodeId {
                    name,
                    version,
                    path: String::new(),
                },
                simulator,
            }),
            Outcome::Failed(text) => Err(ChaincodeError::Refused(
                String::from_utf8_lossy(&text).into_owned(),
            )),
        }
    }

    async fn execute_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
        input: ChaincodeInput,
    ) -> Result<(Outcome, String), ChaincodeError> {
        let failed = |cause: String| ChaincodeError::Failed {
            tx_id: session.tx_id.clone(),
            cause,
        };
        if system::is_system(name) {
            let outcome = self
                .run_system(session, name, input)
                .await
                .map_err(failed)?;
            return Ok((outcome, system::VERSION.to_owned()));
        }
        let runnable =
            self.resolve(session, name)
                .await
                .map_err(|error| ChaincodeError::Unavailable {
                    chaincode: name.to_owned(),
                    channel: session.channel.clone(),
                    cause: error.to_string(),
                })?;
        let outcome = self
            .run(session, name, input, &runnable)
            .await
            .map_err(failed)?;
        Ok((outcome, runnable.version.clone()))
    }

    /// A call that a running chaincode makes: the callee shares the caller's simulator, or gets one
    /// of its own on another channel, whose results are thrown away. Gives the callee's final
    /// message; the error is the caller's to hear. (chaincode-shim.md §6)
    pub(crate) fn call<'a>(
        self: &'a Arc<Self>,
        caller: &'a Arc<Session>,
        target: &'a str,
        input: ChaincodeInput,
    ) -> BoxFuture<'a, Result<ChaincodeMessage, String>> {
        async move {
            let (name, channel) = parse_target(target);
            let channel = if channel.is_empty() {
                &caller.channel
            } else {
                channel
            };
            let is_system = system::is_system(name);
            if !is_system {
                if channel.is_empty() {
                    return Err(
                        "cannot invoke an application chaincode without a channel".to_owned()
                    );
                }
                self.support
                    .check_acl("peer/ChaincodeToChaincode", channel, &caller.proposal)?;
            }
            let foreign = channel != caller.channel;
            let session = if foreign {
                self.foreign_session(caller, channel).await?
            } else {
                caller.clone()
            };
            let input = ChaincodeInput {
                is_init: false,
                ..input
            };
            let called = self.run_called(&session, name, input).await;
            if foreign {
                close(session).await?;
            }
            let outcome = called.map_err(|cause| format!("execute failed: {cause}"))?;
            Ok(outcome.into_message(channel, &caller.tx_id))
        }
        .boxed()
    }

    async fn run_called(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
        input: ChaincodeInput,
    ) -> Result<Outcome, String> {
        if system::is_system(name) {
            return self.run_system(session, name, input).await;
        }
        let runnable = self.resolve(session, name).await.map_err(|cause| {
            let channel = &session.channel;
            format!("invalid invocation: [channel {channel}] failed to get chaincode container info for {name}: {cause}")
        })?;
        self.run(session, name, input, &runnable).await
    }

    async fn foreign_session(
        &self,
        caller: &Arc<Session>,
        channel: &str,
    ) -> Result<Arc<Session>, String> {
        let ledger = self
            .support
            .ledger(channel)
            .ok_or_else(|| format!("failed to find ledger for channel: {channel}"))?;
        let tx_id = caller.tx_id.clone();
        let simulator = blocking(move || ledger.simulator(&tx_id)).await?;
        Ok(Arc::new(Session::new(
            channel,
            caller.proposal.clone(),
            caller.signed.clone(),
            self.support.clone(),
            Some(simulator.map_err(|error| error.to_string())?),
        )))
    }

    async fn resolve(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
    ) -> Result<Arc<Runnable>, StateError> {
        let (host, session, name) = (self.clone(), session.clone(), name.to_owned());
        blocking(move || {
            session.with_simulator(|simulator| {
                let msp_id = host.support.msp_id();
                host.programs
                    .resolve(&session.channel, &name, msp_id, &host.installed, simulator)
                    .map_err(|error| StateError::Request(error.to_string()))
            })
        })
        .await
        .map_err(StateError::Request)?
    }

    /// Runs a resolved chaincode on `session`. Decorations are a peer's word to its chaincodes: what a
    /// client put there does not pass. fabric: core/endorser/support.go, `Execute`
    async fn run(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
        mut input: ChaincodeInput,
        runnable: &Arc<Runnable>,
    ) -> Result<Outcome, String> {
        input.decorations.clear();
        let is_init = self.check_init(session, name, &input, runnable).await?;
        let ccid = &runnable.package.id;
        let patience = self.options.execute_timeout;
        let outcome = match runnable.program() {
            Program::InProcess(contract) => {
                let contract = self.contracts.get(contract.as_str()).cloned().ok_or_else(|| {
                    format!("could not launch chaincode {ccid}: this peer has no contract named '{contract}'")
                })?;
                let _running = self.begin(ccid, session)?;
                let (host, session, name) = (self.clone(), session.clone(), name.to_owned());
                let runtime = Handle::current();
                let work = blocking(move || {
                    in_process::run(&*contract, &name, is_init, input, session, host, runtime)
                });
                match tokio::time::timeout(patience, work).await {
                    Ok(outcome) => outcome.and_then(|outcome| outcome),
                    Err(_) => Err("timeout expired while executing transaction".to_owned()),
                }
            }
            Program::Service(connection) => {
                let connection = connection.clone().filled_in(&self.options.service_values);
                let stream = self
                    .services
                    .stream(
                        ccid,
                        &connection,
                        self.limits(),
                        self.options.startup_timeout,
                        Arc::downgrade(self),
                    )
                    .await
                    .map_err(|cause| format!("could not launch chaincode {ccid}: {cause}"))?;
                let (exchange, finished) = Exchange::new(session.clone(), name, is_init);
                stream
                    .execute(exchange, finished, &input, patience)
                    .await
                    .map_err(|error| error.to_string())
            }
        };
        outcome.map_err(|cause| {
            if cause.starts_with("timeout expired while executing") {
                measure::execute_timeout(name);
            }
            format!("error sending: {cause}")
        })
    }

    async fn check_init(
        &self,
        session: &Arc<Session>,
        name: &str,
        input: &ChaincodeInput,
        runnable: &Arc<Runnable>,
    ) -> Result<bool, String> {
        if !runnable.init_required && !input.is_init {
            return Ok(false);
        }
        let (session, name) = (session.clone(), name.to_owned());
        let (input, runnable) = (input.clone(), runnable.clone());
        blocking(move || {
            session.with_simulator(|simulator| {
                program::check_init(&runnable, &name, &input, simulator)
                    .map_err(|error| StateError::Request(error.to_string()))
            })
        })
        .await?
        .map_err(|error| format!("invalid invocation: {error}"))
    }

    async fn run_system(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
        input: ChaincodeInput,
    ) -> Result<Outcome, String> {
        let _running = self.begin(name, session)?;
        let (host, session, name) = (self.clone(), session.clone(), name.to_owned());
        let response =
            blocking(move || system::invoke(&host, &session, &name, &input.args)).await?;
        Ok(Outcome::response(response))
    }

    fn limits(&self) -> Limits {
        Limits {
            total_query: self.options.total_query_limit,
            history: self.options.history,
            write_batch: self.options.write_batch,
            multiple_keys: self.options.multiple_keys,
        }
    }

    /// Enters a call among those under way; the same one cannot be there twice.
    fn begin(self: &Arc<Self>, program: &str, session: &Session) -> Result<Entered, String> {
        let running = (
            program.to_owned(),
            session.channel.clone(),
            session.tx_id.clone(),
        );
        if !self.running.lock().insert(running.clone()) {
            let (_, channel, tx_id) = running;
            return Err(format!("error sending: txid: {tx_id}({channel}) exists"));
        }
        Ok(Entered {
            host: self.clone(),
            running,
        })
    }
}

/// A call's entry among those under way.
struct Entered {
    host: Arc<Host>,
    running: Running,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.host.running.lock().remove(&self.running);
    }
}

/// Splits `cc`, `cc:version`, `cc/channel` and `cc:version/channel` into chaincode and channel.
fn parse_target(target: &str) -> (&str, &str) {
    let (name, channel) = target.split_once('/').unwrap_or((target, ""));
    (
        name.split_once(':').map_or(name, |(name, _version)| name),
        channel,
    )
}

/// Ends a session. What still runs in it is told to stop before anybody waits for it.
async fn close(session: Arc<Session>) -> Result<Option<Simulator>, String> {
    session.stop();
    blocking(move || session.close()).await
}

/// Runs work that reads the database, or contract code, off the reactor. A panic is an error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "chaincode panicked");
        format!("chaincode panicked: {error}")
    })
}
