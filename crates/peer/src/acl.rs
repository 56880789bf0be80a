//! Who may do what: resources, the policies that guard them, and the texts of refusals.

use std::sync::Arc;

use consilium_msp::{Identity, Msp, SignedData};
use consilium_proto::common::{self, msp_role::MspRoleType};
use consilium_protocol::config::ChannelConfig;
use prost::Message;

/// `peer/Propose`: invoke a chaincode.
pub const PROPOSE: &str = "peer/Propose";
/// `event/Block`: receive whole blocks.
pub const EVENT_BLOCK: &str = "event/Block";
/// `event/FilteredBlock`: receive filtered blocks.
pub const EVENT_FILTERED_BLOCK: &str = "event/FilteredBlock";
/// `gateway/CommitStatus`: ask for a transaction's fate.
pub const GATEWAY_COMMIT_STATUS: &str = "gateway/CommitStatus";
/// `gateway/ChaincodeEvents`: follow a chaincode's events.
pub const GATEWAY_CHAINCODE_EVENTS: &str = "gateway/ChaincodeEvents";

const WRITERS: &str = "/Channel/Application/Writers";
pub(crate) const READERS: &str = "/Channel/Application/Readers";

/// What guards a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The caller must be an admin of the peer's own organization.
    LocalAdmins,
    /// The caller must be a member of the peer's own organization.
    LocalMembers,
    /// The policy at this path, by default.
    Default(String),
    /// The policy at this path, named by the channel's ACLs.
    Configured(String),
    /// Nothing further: another check covers it.
    Covered,
    /// Nobody knows this resource: refused.
    Unknown,
}

/// What guards `resource` in a channel of this configuration (`None`: no channel).
///
/// Peer-type resources cannot be overridden by a channel (`fabric: core/aclmgmt/defaultaclprovider.go`).
pub fn guard(resource: &str, config: Option<&ChannelConfig>) -> Guard {
    match resource {
        "_lifecycle/InstallChaincode"
        | "_lifecycle/QueryInstalledChaincode"
        | "_lifecycle/GetInstalledChaincodePackage"
        | "_lifecycle/QueryInstalledChaincodes"
        | "_lifecycle/ApproveChaincodeDefinitionForMyOrg"
        | "_lifecycle/QueryApprovedChaincodeDefinition"
        | "_lifecycle/QueryApprovedChaincodeDefinitions"
        | "snapshot/submitrequest"
        | "snapshot/cancelrequest"
        | "snapshot/listpending"
        | "lscc/Install"
        | "lscc/GetInstalledChaincodes"
        | "cscc/JoinChain"
        | "cscc/JoinChainBySnapshot"
        | "cscc/JoinBySnapshotStatus" => return Guard::LocalAdmins,
        "cscc/GetChannels" => return Guard::LocalMembers,
        _ => {}
    }
    if let Some(path) = config.and_then(|config| config.acl(resource)) {
        return Guard::Configured(path.to_owned());
    }
    match resource {
        "lscc/Deploy" | "lscc/Upgrade" => Guard::Covered,
        "_lifecycle/CommitChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinitions"
        | "_lifecycle/CheckCommitReadiness"
        | PROPOSE
        | "peer/ChaincodeToChaincode" => Guard::Default(WRITERS.to_owned()),
        "lscc/ChaincodeExists"
        | "lscc/GetDeploymentSpec"
        | "lscc/GetChaincodeData"
        | "lscc/GetInstantiatedChaincodes"
        | "lscc/GetCollectionsConfig"
        | "qscc/GetChainInfo"
        | "qscc/GetBlockByNumber"
        | "qscc/GetBlockByHash"
        | "qscc/GetTransactionByID"
        | "qscc/GetBlockByTxID"
        | "cscc/GetConfigBlock"
        | "cscc/GetChannelConfig"
        | EVENT_BLOCK
        | EVENT_FILTERED_BLOCK
        | GATEWAY_COMMIT_STATUS
        | GATEWAY_CHAINCODE_EVENTS => Guard::Default(READERS.to_owned()),
        _ => Guard::Unknown,
    }
}

/// How a caller proves who it is.
pub enum Proof<'a> {
    /// A signature that still has to be verified.
    Signed(&'a SignedData),
    /// A serialized identity whose signature over the request was verified before.
    Verified(&'a bytes::Bytes),
}

/// Checks `resource` for a caller on a channel.
///
/// # Errors
/// The text that Fabric gives.
pub fn check_channel(
    resource: &str,
    config: &ChannelConfig,
    local_msp: &Msp,
    proof: &Proof<'_>,
) -> Result<(), String> {
    let guard = guard(resource, Some(config));
    let (path, configured) = match guard {
        Guard::LocalAdmins | Guard::LocalMembers => {
            return check_local(&guard, local_msp, proof);
        }
        Guard::Covered => return Ok(()),
        Guard::Unknown => return Err(format!("Unmapped policy for {resource}")),
        Guard::Default(path) => (path, false),
        Guard::Configured(path) => (path, true),
    };
    let policy = config.policies().policy(&path);
    let outcome = match proof {
        Proof::Signed(data) => policy.evaluate(std::slice::from_ref(*data)),
        Proof::Verified(serialized) => {
            let identities: Vec<Arc<Identity>> =
                config.msps().deserialize(serialized).into_iter().collect();
            policy.evaluate_identities(&identities)
        }
    };
    outcome.map_err(|error| {
        if configured {
            format!("failed evaluating policy on signed data during check policy [{path}]: [{error}]")
        } else {
            format!(
                "Failed evaluating policy on signed data during check policy on channel [{}] with policy [{path}]: [{error}]",
                config.channel_id()
            )
        }
    })
}

/// Checks a guard of the peer's own organization.
///
/// # Errors
/// The text that Fabric gives.
pub fn check_local(guard: &Guard, local_msp: &Msp, proof: &Proof<'_>) -> Result<(), String> {
    let (name, role) = match guard {
        Guard::LocalAdmins => ("Admins", MspRoleType::Admin),
        Guard::LocalMembers => ("Members", MspRoleType::Member),
        other => return Err(format!("{other:?} needs a channel")),
    };
    let serialized = match proof {
        Proof::Signed(data) => &data.identity,
        Proof::Verified(serialized) => serialized,
    };
    let identity = local_msp.deserialize(serialized).map_err(|error| {
        format!(
            "Failed deserializing proposal creator during channelless check policy with policy [{name}]: [{error}]"
        )
    })?;
    let principal = common::MspPrincipal {
        principal_classification: common::msp_principal::Classification::Role as i32,
        principal: common::MspRole {
            msp_identifier: local_msp.id().to_owned(),
            role: role as i32,
        }
        .encode_to_vec()
        .into(),
    };
    local_msp.satisfies(&identity, &principal).map_err(|error| {
        format!(
            "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [{name}]: [{error}]"
        )
    })?;
    if let Proof::Signed(data) = proof {
        identity.verify(&data.data, &data.signature).map_err(|error| {
            format!(
                "Failed verifying proposal's signature during channelless check policy with policy [{name}]: [{error}]"
            )
        })?;
    }
    Ok(())
}
