//! Puts the contracts on the channel: install at every peer, approve by every organization, commit.

use std::fs;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_client::ApprovedDefinition;
use consilium_contracts::{CollectionDeclaration, Deployment};
use consilium_proto::protos::CollectionConfigPackage;
use serde_json::json;

use super::plan::Network;
use crate::{
    contract::{Consortium, Rollout, roll_out},
    definition,
    progress::Steps,
};

/// The contracts that are compiled into the peers, as far as the network has the organizations
/// that they need, with what they are deployed with.
pub fn contracts(network: &Network) -> Vec<(&'static str, Deployment)> {
    let members: Vec<_> = network
        .organizations
        .iter()
        .map(|member| member.msp_id.clone())
        .collect();
    consilium_contracts::built_in()
        .iter()
        .filter_map(|contract| Some((contract.name(), contract.deployment(&members)?)))
        .collect()
}

/// Deploys one built-in contract. Does nothing when it is already defined.
///
/// # Errors
/// Any step is refused.
pub async fn contract(
    consortium: &Consortium,
    name: &str,
    deployment: &Deployment,
) -> anyhow::Result<()> {
    let admin = &consortium.first()?.admin;
    let committed = admin.committed_sequence(&consortium.channel, name).await?;
    if committed.is_some() {
        return Ok(());
    }
    let package: Bytes = lifecycle::package_in_process(name, name)?.into();
    let rollout = Rollout {
        definition: ApprovedDefinition {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sequence: 1,
            policy: definition::signature_policy(&deployment.policy)?,
            collections: collections(&deployment.collections)?,
            ..ApprovedDefinition::default()
        },
        package_id: lifecycle::package_id(name, &package),
        package: Some(package),
    };
    roll_out(consortium, &rollout, &Steps::silent()).await
}

/// Every member's peer gets what is written while it can be reached; one that cannot asks later.
fn collections(
    declared: &[CollectionDeclaration],
) -> anyhow::Result<Option<CollectionConfigPackage>> {
    if declared.is_empty() {
        return Ok(None);
    }
    let described: Vec<_> = declared
        .iter()
        .map(|collection| {
            let members: Vec<_> = collection
                .members
                .iter()
                .map(|msp| format!("'{msp}.member'"))
                .collect();
            let mut described = json!({
                "name": collection.name,
                "policy": format!("OR({})", members.join(",")),
                "requiredPeerCount": 0,
                "maxPeerCount": members.len(),
                "memberOnlyRead": true,
                "memberOnlyWrite": !collection.open_for_writing,
            });
            if let Some(policy) = &collection.endorsement {
                described["endorsementPolicy"] = json!({"signaturePolicy": policy});
            }
            described
        })
        .collect();
    definition::collections::parse(&serde_json::to_vec(&described)?).map(Some)
}

/// The files of a `META-INF` folder in order, named as in a package.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn metadata_files(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), "META-INF".to_owned())];
    while let Some((folder, name)) = folders.pop() {
        let failed = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            let part = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{name}/{part}");
            if path.is_dir() {
                folders.push((path, name));
            } else {
                let content = fs::read(&path);
                let content = content.with_context(|| format!("cannot read {}", path.display()))?;
                files.push((name, content));
            }
        }
    }
    // Equal folders give equal packages.
    files.sort();
    Ok(files)
}
