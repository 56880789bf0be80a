//! Chaincode definitions, and the calls of `_lifecycle` that carry them.

use bytes::Bytes;
use consilium_proto::{
    lifecycle::{
        ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CheckCommitReadinessArgs,
        CommitChaincodeDefinitionArgs, chaincode_source,
    },
    protos,
};
use prost::Message;

/// The system chaincode that installs packages and agrees on definitions.
pub const LIFECYCLE: &str = "_lifecycle";

/// A chaincode definition as an organization approves it.
#[derive(Clone, Debug, Default)]
pub struct ApprovedDefinition {
    /// Chaincode name.
    pub name: String,
    /// Version text.
    pub version: String,
    /// 1 for the first definition, then one more each time.
    pub sequence: i64,
    /// Encoded `protos.ApplicationPolicy`; empty means the channel's default endorsement policy.
    pub policy: Bytes,
    /// Private data collections.
    pub collections: Option<protos::CollectionConfigPackage>,
    /// Whether the chaincode must be initialized before use.
    pub init_required: bool,
    /// Endorsement plugin; empty means the default one.
    pub endorsement_plugin: String,
    /// Validation plugin; empty means the default one.
    pub validation_plugin: String,
}

/// Arguments of a call of [`LIFECYCLE`].
pub fn lifecycle_args(function: &str, args: &impl Message) -> Vec<Bytes> {
    vec![
        Bytes::copy_from_slice(function.as_bytes()),
        args.encode_to_vec().into(),
    ]
}

impl ApprovedDefinition {
    /// The call that approves this for the caller's organization. An empty package id says that the
    /// organization runs no package of it.
    pub fn approval(&self, package_id: &str) -> Vec<Bytes> {
        let source = match package_id {
            "" => chaincode_source::Type::Unavailable(chaincode_source::Unavailable {}),
            id => chaincode_source::Type::LocalPackage(chaincode_source::Local {
                package_id: id.to_owned(),
            }),
        };
        let args = ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.policy.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
            source: Some(ChaincodeSource {
                r#type: Some(source),
            }),
        };
        lifecycle_args("ApproveChaincodeDefinitionForMyOrg", &args)
    }

    /// The call that commits this on the channel.
    pub fn commit(&self) -> Vec<Bytes> {
        let args = CommitChaincodeDefinitionArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.policy.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        };
        lifecycle_args("CommitChaincodeDefinition", &args)
    }

    /// The call that asks who has approved this.
    pub fn readiness(&self) -> Vec<Bytes> {
        let args = CheckCommitReadinessArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.policy.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        };
        lifecycle_args("CheckCommitReadiness", &args)
    }
}
