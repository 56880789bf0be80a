//! Puts the contracts on the channel: install at every peer, approve by every organization, commit.

use std::fs;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_client::ApprovedDefinition;

use crate::{
    contract::{Consortium, Rollout, roll_out},
    definition,
    progress::Steps,
};

/// The contracts of a local network and who must endorse them.
pub const CONTRACTS: [(&str, &str); 3] = [
    ("records", "AND('HospitalMSP.peer','RegulatorMSP.peer')"),
    (
        "devices",
        "OutOf(2,'HospitalMSP.peer','MakerMSP.peer','RegulatorMSP.peer')",
    ),
    ("kv", "AND('HospitalMSP.peer','MakerMSP.peer')"),
];

/// Deploys one built-in contract under `policy`. Does nothing when it is already defined.
///
/// # Errors
/// Any step is refused.
pub async fn contract(
    consortium: &Consortium,
    name: &str,
    policy: &str,
    steps: &Steps,
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
            policy: definition::signature_policy(policy)?,
            ..ApprovedDefinition::default()
        },
        package_id: lifecycle::package_id(name, &package),
        package: Some(package),
    };
    roll_out(consortium, &rollout, steps).await
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
