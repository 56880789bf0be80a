//! The host: one call of a chaincode from its name to its final word.

use crate::builder::{BuildError, Builds, Built};
use crate::error::ChaincodeError;
use crate::in_process;
use crate::install::{InstallError, Installed, InstalledPackage};
use crate::launch::Launches;
use crate::lifecycle::{self, CollectionLookup};
use crate::measure;
use crate::options::HostOptions;
use crate::outcome::Outcome;
use crate::package::{Package, Program};
use crate::process;
use crate::program::{self, Programs, Runnable};
use crate::register::{Registrar, Registrations};
use crate::service;
use crate::session::{Session, StateError};
use crate::shim::{Exchange, Limits, ShimStream};
use crate::support::PeerSupport;
use crate::system;
use bytes::Bytes;
use consilium_contracts::Contract;
use consilium_ledger::{IndexFile, Simulator};
use consilium_proto::protos::chaincode_support_server::ChaincodeSupportServer;
use consilium_proto::protos::{
    self, ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, SignedProposal,
};
use consilium_protocol::proposal::ParsedProposal;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How long the processes of chaincodes may take to end when the peer does.
const SHUTDOWN: Duration = Duration::from_secs(12);

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
    builds: Arc<Builds>,
    pub(crate) launches: Launches,
    pub(crate) registrations: Arc<Registrations>,
    /// Those who look after the processes of launched chaincodes.
    pub(crate) processes: TaskTracker,
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
        let launch = &options.launch;
        let builds = Builds::open(
            launch.builders.clone(),
            &launch.builds_dir,
            launch.install_timeout,
        )
        .map_err(|error| ChaincodeError::Setup(error.to_string()))?;
        let builds = Arc::new(builds);
        let installed = Installed::open(&options.install_dir, builds.clone(), launch.development)
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
            builds,
            launches: Launches::default(),
            registrations: Arc::default(),
            processes: TaskTracker::new(),
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

    /// Installs a package file, after an external builder has built it, if one takes it. Blocks.
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

    /// The service at which launched chaincode registers, for `peer.chaincodeListenAddress`.
    pub fn chaincode_support(self: &Arc<Self>) -> ChaincodeSupportServer<Registrar> {
        let endpoint = self.options.launch.endpoint.as_ref();
        let credentials = endpoint.and_then(|endpoint| endpoint.credentials.clone());
        Registrar::server(self.clone(), credentials)
    }

    /// Ends all connections with chaincodes, and the processes of those that were launched. Calls
    /// under way fail, and nothing is launched any more.
    pub async fn shutdown(&self) {
        self.launches.terminate();
        self.processes.close();
        if tokio::time::timeout(SHUTDOWN, self.processes.wait())
            .await
            .is_err()
        {
            tracing::warn!("chaincode processes do not end; leaving them to the system");
        }
    }

    /// What an external builder made of an installed package, built now if that is lost.
    pub(crate) async fn build(self: &Arc<Self>, ccid: &str) -> Result<Built, String> {
        let (host, id) = (self.clone(), ccid.to_owned());
        let package = move || {
            let bytes = host.installed.bytes(&id);
            let bytes = bytes.map_err(|error| error.to_string())?;
            Package::parse(&bytes).map_err(|error| error.to_string())
        };
        let built = self.builds.obtain(ccid, package).await;
        let built = built
            .map_err(|error| error.to_string())?
            .ok_or_else(|| BuildError::Nobody(ccid.to_owned()).to_string())?;
        let (host, id, again) = (self.clone(), ccid.to_owned(), built.clone());
        let changed = blocking(move || host.installed.built(&id, &again)).await?;
        if changed.map_err(|error| error.to_string())? {
            // There are indexes that nobody knew of.
            self.programs.clear();
            self.installs.send_modify(|count| *count += 1);
        }
        Ok(built)
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
        if let Some(cause) = system::retired(name) {
            return Err(failed(cause));
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
        if let Some(cause) = system::retired(name) {
            return Err(cause);
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
            _ => {
                let stream = self
                    .stream(runnable)
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

    /// The living stream of a chaincode outside of this process, which is brought up if need be.
    async fn stream(self: &Arc<Self>, runnable: &Runnable) -> Result<Arc<ShimStream>, String> {
        let launch = &self.options.launch;
        let ccid = &runnable.package.id;
        let limits = self.limits();
        let patience = launch.startup_timeout;
        // A developer's takes the place of the one that is installed.
        if launch.development
            && let Some(stream) = self.launches.open(ccid)
        {
            return Ok(stream);
        }
        match runnable.program() {
            Program::Service(connection) => {
                let start = || {
                    let connection = connection.clone().filled_in(&self.options.service_values);
                    let (ccid, host) = (ccid.clone(), Arc::downgrade(self));
                    async move { service::connect(&ccid, &connection, limits, host).await }
                };
                self.launches.stream(ccid, patience, start).await
            }
            Program::External => {
                let start = || process::launch(self.clone(), ccid.clone(), limits);
                self.launches.stream(ccid, patience, start).await
            }
            Program::InProcess(_) | Program::Developed => {
                let address = launch
                    .endpoint
                    .as_ref()
                    .map_or("", |endpoint| &endpoint.address);
                Err(format!(
                    "it does not run; start it with CORE_CHAINCODE_ID_NAME={ccid} and --peer.address {address}"
                ))
            }
        }
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

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            total_query: self.options.total_query_limit,
            history: self.options.history,
            write_batch: self.options.launch.write_batch,
            multiple_keys: self.options.launch.multiple_keys,
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
