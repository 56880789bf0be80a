//! The front of the system chaincode `_lifecycle`: function name, one argument message, answer.
//! (fabric: core/chaincode/lifecycle/scc.go)

use super::record::Public;
use super::{Definition, LifecycleError, NAMESPACE, agree, checks, query};
use crate::host::Host;
use crate::install::InstallError;
use crate::outcome::{failure, success};
use crate::program;
use crate::session::{Session, StateError};
use bytes::Bytes;
use consilium_ledger::Simulator;
use consilium_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ApproveChaincodeDefinitionForMyOrgResult,
    CheckCommitReadinessArgs, CheckCommitReadinessResult, CommitChaincodeDefinitionArgs,
    CommitChaincodeDefinitionResult, GetInstalledChaincodePackageArgs,
    GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult,
    QueryApprovedChaincodeDefinitionArgs, QueryChaincodeDefinitionArgs,
    QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult, QueryInstalledChaincodesResult,
    chaincode_source, check_commit_readiness_result::Mismatches, query_installed_chaincode_result,
    query_installed_chaincodes_result,
};
use consilium_proto::protos::Response;
use consilium_protocol::config::ChannelConfig;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

const FUNCTIONS: [&str; 11] = [
    "InstallChaincode",
    "QueryInstalledChaincode",
    "QueryInstalledChaincodes",
    "GetInstalledChaincodePackage",
    "ApproveChaincodeDefinitionForMyOrg",
    "QueryApprovedChaincodeDefinition",
    "QueryApprovedChaincodeDefinitions",
    "CheckCommitReadiness",
    "CommitChaincodeDefinition",
    "QueryChaincodeDefinition",
    "QueryChaincodeDefinitions",
];

/// Answers one call.
pub(crate) fn invoke(host: &Host, session: &Session, args: &[Bytes]) -> Response {
    if args.is_empty() {
        return failure("lifecycle scc must be invoked with arguments");
    }
    if args.len() != 2 {
        let count = args.len();
        return failure(format!(
            "lifecycle scc operations require exactly two arguments but received {count}"
        ));
    }
    let function = String::from_utf8_lossy(&args[0]).into_owned();
    let config = match channel_config(session) {
        Ok(config) => config,
        Err(cause) => return failure(cause),
    };
    let called = if FUNCTIONS.contains(&function.as_str()) {
        let resource = format!("{NAMESPACE}/{function}");
        if let Err(cause) =
            session
                .support
                .check_acl(&resource, &session.channel, &session.proposal)
        {
            return failure(format!(
                "Failed to authorize invocation due to failed ACL check: {cause}"
            ));
        }
        Call {
            host,
            session,
            config,
        }
        .dispatch(&function, args[1].clone())
    } else {
        let missing = format!("receiver *lifecycle.Invocation.{function} does not exist");
        Err(LifecycleError::Argument(missing))
    };
    match called {
        Ok(payload) => success(payload),
        Err(error @ (LifecycleError::NotDefined(_) | LifecycleError::PackageNotFound(_))) => {
            Response {
                status: 404,
                message: error.to_string(),
                payload: Bytes::new(),
            }
        }
        Err(error) => failure(format!(
            "failed to invoke backing implementation of '{function}': {error}"
        )),
    }
}

/// The configuration of the call's channel; none without a channel.
fn channel_config(session: &Session) -> Result<Option<Arc<ChannelConfig>>, String> {
    let channel = &session.channel;
    if channel.is_empty() {
        return Ok(None);
    }
    let config = session
        .support
        .config(channel)
        .ok_or_else(|| format!("could not get channelconfig for channel '{channel}'"))?;
    if !config.application_at_least("V2_0") {
        return Err(format!(
            "cannot use new lifecycle for channel '{channel}' as it does not have the required capabilities enabled"
        ));
    }
    Ok(Some(config))
}

struct Call<'a> {
    host: &'a Host,
    session: &'a Session,
    config: Option<Arc<ChannelConfig>>,
}

impl Call<'_> {
    fn dispatch(&self, function: &str, argument: Bytes) -> Result<Bytes, LifecycleError> {
        match function {
            "InstallChaincode" => self.install(decode(argument)?),
            "QueryInstalledChaincode" => self.installed(decode(argument)?),
            "QueryInstalledChaincodes" => self.all_installed(),
            "GetInstalledChaincodePackage" => self.package(decode(argument)?),
            "ApproveChaincodeDefinitionForMyOrg" => self.approve(decode(argument)?),
            "QueryApprovedChaincodeDefinition" => self.approved(decode(argument)?),
            "QueryApprovedChaincodeDefinitions" => self.all_approved(),
            "CheckCommitReadiness" => self.readiness(decode(argument)?),
            "CommitChaincodeDefinition" => self.commit(decode(argument)?),
            "QueryChaincodeDefinition" => self.committed(decode(argument)?),
            _ => self.all_committed(),
        }
    }

    /// The channel's configuration, for functions that need a channel.
    fn config(&self) -> Result<&ChannelConfig, LifecycleError> {
        self.config
            .as_deref()
            .ok_or_else(|| LifecycleError::NoChannel(self.session.channel.clone()))
    }

    fn with_simulator<T>(
        &self,
        work: impl FnOnce(&mut Simulator) -> Result<T, LifecycleError>,
    ) -> Result<T, LifecycleError> {
        match self.session.with_simulator(work) {
            Ok(done) => Ok(done),
            Err(StateError::Lifecycle(error)) => Err(error),
            Err(StateError::Ledger(error)) => Err(error.into()),
            Err(other) => Err(LifecycleError::Argument(other.to_string())),
        }
    }

    fn install(&self, args: InstallChaincodeArgs) -> Result<Bytes, LifecycleError> {
        let package = self
            .host
            .install(&args.chaincode_install_package)
            .map_err(|error| LifecycleError::Install(error.to_string()))?;
        Ok(encode(&InstallChaincodeResult {
            package_id: package.id.clone(),
            label: package.label.clone(),
        }))
    }

    fn installed(&self, args: QueryInstalledChaincodeArgs) -> Result<Bytes, LifecycleError> {
        let package = self
            .host
            .installed
            .get(&args.package_id)
            .ok_or(LifecycleError::PackageNotFound(args.package_id))?;
        let mut references = self.references()?.remove(&package.id).unwrap_or_default();
        let references = std::mem::take(&mut references)
            .into_iter()
            .map(|(channel, chaincodes)| {
                let chaincodes = chaincodes
                    .into_iter()
                    .map(
                        |(name, version)| query_installed_chaincode_result::Chaincode {
                            name,
                            version,
                        },
                    )
                    .collect();
                (
                    channel,
                    query_installed_chaincode_result::References { chaincodes },
                )
            })
            .collect();
        Ok(encode(&QueryInstalledChaincodeResult {
            package_id: package.id.clone(),
            label: package.label.clone(),
            references,
        }))
    }

    fn all_installed(&self) -> Result<Bytes, LifecycleError> {
        let mut references = self.references()?;
        let installed_chaincodes = self
            .host
            .installed
            .all()
            .into_iter()
            .map(
                |package| query_installed_chaincodes_result::InstalledChaincode {
                    package_id: package.id.clone(),
                    label: package.label.clone(),
                    references: references
                        .remove(&package.id)
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(channel, chaincodes)| {
                            let chaincodes = chaincodes
                                .into_iter()
                                .map(|(name, version)| {
                                    query_installed_chaincodes_result::Chaincode { name, version }
                                })
                                .collect();
                            (
                                channel,
                                query_installed_chaincodes_result::References { chaincodes },
                            )
                        })
                        .collect(),
                },
            )
            .collect();
        Ok(encode(&QueryInstalledChaincodesResult {
            installed_chaincodes,
        }))
    }

    /// Which committed chaincodes use which installed package: package id, channel, (name, version).
    fn references(&self) -> Result<References, LifecycleError> {
        let support = &self.session.support;
        let mut references = References::new();
        for channel in support.channels() {
            let Some(ledger) = support.ledger(&channel) else {
                continue;
            };
            let state = ledger.reader()?;
            for definition in super::definitions(&state)? {
                let (name, msp_id) = (&definition.name, support.msp_id());
                let Ok(runnable) =
                    program::find(&state, &channel, name, msp_id, &self.host.installed)
                else {
                    continue;
                };
                references
                    .entry(runnable.package.id.clone())
                    .or_default()
                    .entry(channel.clone())
                    .or_default()
                    .push((definition.name, definition.version));
            }
        }
        Ok(references)
    }

    fn package(&self, args: GetInstalledChaincodePackageArgs) -> Result<Bytes, LifecycleError> {
        match self.host.installed.bytes(&args.package_id) {
            Ok(bytes) => Ok(encode(&GetInstalledChaincodePackageResult {
                chaincode_install_package: bytes.into(),
            })),
            Err(InstallError::NotFound(id)) => Err(LifecycleError::PackageNotFound(id)),
            Err(error) => Err(LifecycleError::Install(error.to_string())),
        }
    }

    fn approve(
        &self,
        args: ApproveChaincodeDefinitionForMyOrgArgs,
    ) -> Result<Bytes, LifecycleError> {
        let package_id = match args.source.and_then(|source| source.r#type) {
            Some(chaincode_source::Type::LocalPackage(local)) => local.package_id,
            _ => String::new(),
        };
        let proposed = Definition {
            name: args.name,
            sequence: args.sequence,
            version: args.version,
            endorsement_plugin: args.endorsement_plugin,
            validation_plugin: args.validation_plugin,
            validation_parameter: args.validation_parameter,
            collections: args.collections.unwrap_or_default(),
            init_required: args.init_required,
        };
        let config = self.config()?;
        self.with_simulator(|simulator| {
            checks::check(&proposed, config, &mut Public(simulator))?;
            let msp_id = self.session.support.msp_id();
            agree::approve(proposed, &package_id, msp_id, config, simulator)
        })?;
        Ok(encode(&ApproveChaincodeDefinitionForMyOrgResult {}))
    }

    fn readiness(&self, args: CheckCommitReadinessArgs) -> Result<Bytes, LifecycleError> {
        let mut proposed = Definition {
            name: args.name,
            sequence: args.sequence,
            version: args.version,
            endorsement_plugin: args.endorsement_plugin,
            validation_plugin: args.validation_plugin,
            validation_parameter: args.validation_parameter,
            collections: args.collections.unwrap_or_default(),
            init_required: args.init_required,
        };
        let config = self.config()?;
        let differences =
            self.with_simulator(|simulator| agree::readiness(&mut proposed, config, simulator))?;
        let approvals = differences
            .iter()
            .map(|(msp_id, items)| (msp_id.clone(), items.is_empty()))
            .collect();
        let mismatches = differences
            .into_iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(msp_id, items)| (msp_id, Mismatches { items }))
            .collect();
        Ok(encode(&CheckCommitReadinessResult {
            approvals,
            mismatches,
        }))
    }

    fn commit(&self, args: CommitChaincodeDefinitionArgs) -> Result<Bytes, LifecycleError> {
        let proposed = Definition {
            name: args.name,
            sequence: args.sequence,
            version: args.version,
            endorsement_plugin: args.endorsement_plugin,
            validation_plugin: args.validation_plugin,
            validation_parameter: args.validation_parameter,
            collections: args.collections.unwrap_or_default(),
            init_required: args.init_required,
        };
        let config = self.config()?;
        self.with_simulator(|simulator| {
            checks::check(&proposed, config, &mut Public(simulator))?;
            agree::commit(proposed, self.session.support.msp_id(), config, simulator)
        })?;
        Ok(encode(&CommitChaincodeDefinitionResult {}))
    }

    fn approved(
        &self,
        args: QueryApprovedChaincodeDefinitionArgs,
    ) -> Result<Bytes, LifecycleError> {
        self.config()?;
        let (msp_id, channel) = (self.session.support.msp_id(), &self.session.channel);
        let result = self.with_simulator(|simulator| {
            query::approved(&args.name, args.sequence, msp_id, channel, simulator)
        })?;
        Ok(encode(&result))
    }

    fn all_approved(&self) -> Result<Bytes, LifecycleError> {
        self.config()?;
        let msp_id = self.session.support.msp_id();
        Ok(encode(&self.with_simulator(|simulator| {
            query::all_approved(msp_id, simulator)
        })?))
    }

    fn committed(&self, args: QueryChaincodeDefinitionArgs) -> Result<Bytes, LifecycleError> {
        let config = self.config()?;
        let result =
            self.with_simulator(|simulator| query::committed(&args.name, config, simulator))?;
        Ok(encode(&result))
    }

    fn all_committed(&self) -> Result<Bytes, LifecycleError> {
        self.config()?;
        Ok(encode(&self.with_simulator(query::all_committed)?))
    }
}

/// Package id, channel, and names with versions.
type References = BTreeMap<String, BTreeMap<String, Vec<(String, String)>>>;

fn decode<M: Message + Default>(argument: Bytes) -> Result<M, LifecycleError> {
    consilium_proto::decode(&argument)
        .map_err(|error| LifecycleError::Argument(format!("could not decode input arg: {error}")))
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
