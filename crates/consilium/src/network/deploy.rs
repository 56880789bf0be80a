//! Puts the contracts on the channel: install at every peer, approve by every organization, commit.

use std::fs;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_client::{Admin, ApprovedDefinition};
use consilium_msp::dsl;
use consilium_proto::protos;
use prost::Message;

use super::plan::Network;
use crate::commands::connect::target_of;

/// The contracts of a local network and who must endorse them.
pub const CONTRACTS: [(&str, &str); 3] = [
    ("records", "AND('HospitalMSP.peer','RegulatorMSP.peer')"),
    (
        "devices",
        "OutOf(2,'HospitalMSP.peer','MakerMSP.peer','RegulatorMSP.peer')",
    ),
    ("kv", "AND('HospitalMSP.peer','MakerMSP.peer')"),
];

/// Administrators of all organizations, each connected to its peer.
///
/// # Errors
/// A peer cannot be reached.
pub async fn administrators(network: &Network) -> anyhow::Result<Vec<Admin>> {
    let mut admins = Vec::new();
    for organization in &network.organizations {
        let target = target_of(network, &format!("{}/Admin", organization.name))?;
        admins.push(Admin::new(target.connect().await?, target.signer));
    }
    Ok(admins)
}

/// Deploys one built-in contract under `policy`. Does nothing when it is already defined.
///
/// # Errors
/// Any step is refused.
pub async fn contract(
    network: &Network,
    admins: &[Admin],
    name: &str,
    policy: &str,
) -> anyhow::Result<()> {
    let first = admins.first().context("a network has an organization")?;
    let committed = first.committed_sequence(&network.channel, name).await?;
    if committed.is_some() {
        return Ok(());
    }
    let package: Bytes = lifecycle::package_in_process(name, name)?.into();
    let definition = ApprovedDefinition {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: 1,
        policy: application_policy(policy)?,
        ..ApprovedDefinition::default()
    };
    package_everywhere(network, admins, definition, package).await
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

/// Installs `package` at every peer, approves `definition` for every organization and commits it.
///
/// # Errors
/// Any step is refused.
pub async fn package_everywhere(
    network: &Network,
    admins: &[Admin],
    definition: ApprovedDefinition,
    package: Bytes,
) -> anyhow::Result<()> {
    let first = admins.first().context("a network has an organization")?;
    let name = definition.name.as_str();
    let mut approvals = Vec::new();
    for admin in admins {
        let package = package.clone();
        let definition = &definition;
        approvals.push(async move {
            let package_id = match admin.install(package.clone()).await {
                Ok(id) => id,
                // Installed by an earlier, interrupted start.
                Err(consilium_client::ClientError::Proposal { message, .. })
                    if message.contains("already successfully installed") =>
                {
                    lifecycle::package_id(name, &package)
                }
                Err(error) => return Err(error),
            };
            admin
                .approve(&network.channel, definition, &package_id)
                .await
        });
    }
    for approval in futures_util::future::join_all(approvals).await {
        approval.with_context(|| format!("cannot approve {name}"))?;
    }
    // A peer can endorse the commit once it has committed the approvals of the others.
    let organizations: Vec<_> = network
        .organizations
        .iter()
        .map(|organization| organization.msp_id.clone())
        .collect();
    let mut attempt = 0;
    loop {
        match first
            .commit(&network.channel, &definition, &organizations)
            .await
        {
            Ok(_) => break,
            Err(error) if attempt < 50 => {
                attempt += 1;
                tracing::debug!(%error, name, "definition not committed yet");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot commit the definition of {name}"));
            }
        }
    }
    for admin in admins {
        super::eventually(&format!("{name} to be defined at every peer"), || async {
            let committed = admin.committed_sequence(&network.channel, name).await?;
            Ok(committed >= Some(definition.sequence))
        })
        .await?;
    }
    Ok(())
}

/// An endorsement policy in the form that a definition holds.
///
/// # Errors
/// The text is not a policy.
pub fn application_policy(text: &str) -> anyhow::Result<Bytes> {
    let envelope = dsl::parse(text).with_context(|| format!("`{text}` is not a policy"))?;
    Ok(protos::ApplicationPolicy {
        r#type: Some(protos::application_policy::Type::SignaturePolicy(envelope)),
    }
    .encode_to_vec()
    .into())
}
