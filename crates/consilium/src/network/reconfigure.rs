//! Changes of the channel's configuration that the administrators of the whole local network sign.

use anyhow::Context;
use bytes::Bytes;
use consilium_client::Admin;
use consilium_proto::{common, etcdraft, msp as msp_proto, orderer as orderer_proto};
use futures_util::future::try_join_all;
use prost::Message;

use super::{
    add::{ATTEMPTS, PAUSE, broadcast, sign},
    eventually,
    plan::Network,
};
use crate::commands::connect::{Target, target_of};

/// Administrators of all organizations, each with the own peer.
pub struct Administrators {
    targets: Vec<Target>,
    admins: Vec<Admin>,
}

impl Administrators {
    /// Connects them.
    ///
    /// # Errors
    /// A peer does not answer.
    pub async fn connect(network: &Network) -> anyhow::Result<Self> {
        let members = network.organizations.iter();
        let targets: Vec<_> = members
            .map(|member| target_of(network, &format!("{}/Admin", member.name)))
            .collect::<anyhow::Result<_>>()?;
        let admins = try_join_all(targets.iter().map(async |target| {
            anyhow::Ok(Admin::new(target.connect().await?, target.signer.clone()))
        }))
        .await?;
        Ok(Self { targets, admins })
    }

    /// Brings the channel to what `edit` makes of its configuration, and waits until all peers have it.
    /// `edit` gives an equal configuration when nothing is to be done.
    ///
    /// # Errors
    /// The update is refused, or does not come through.
    pub async fn change(
        &self,
        network: &Network,
        what: &str,
        edit: impl Fn(&mut common::ConfigGroup) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let first = self
            .admins
            .first()
            .context("a network has an organization")?;
        let edited = |config: &common::Config| -> anyhow::Result<common::Config> {
            let mut updated = config.clone();
            let root = updated.channel_group.as_mut();
            edit(root.context("the channel has no configuration")?)?;
            Ok(updated)
        };
        let mut attempt = 0;
        loop {
            let current = first.channel_config(&network.channel).await?;
            let updated = edited(&current)?;
            if updated == current {
                break;
            }
            let submission = sign(&network.channel, &current, &updated, &self.targets)?;
            match broadcast(network, &self.targets, submission).await {
                Ok(()) => break,
                // Orderers may be choosing a leader, or somebody else may have changed the configuration.
                Err(error) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tracing::debug!(%error, "the configuration is not changed yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.context(format!("cannot change {what}"))),
            }
        }
        for admin in &self.admins {
            eventually(&format!("every peer to have changed {what}"), || async {
                // A peer that takes up certificates meanwhile is asked again.
                let Ok(config) = admin.channel_config(&network.channel).await else {
                    return Ok(false);
                };
                Ok(edited(&config)? == config)
            })
            .await?;
        }
        Ok(())
    }
}

/// Changes an organization's MSP in every section that it is in.
///
/// # Errors
/// The organization is in none, or its MSP cannot be read.
pub fn edit_msp(
    root: &mut common::ConfigGroup,
    msp_id: &str,
    edit: impl Fn(&mut msp_proto::FabricMspConfig),
) -> anyhow::Result<()> {
    let mut found = false;
    for section in root.groups.values_mut() {
        for group in section.groups.values_mut() {
            let Some(value) = group.values.get_mut("MSP") else {
                continue;
            };
            let mut wrapped = msp_proto::MspConfig::decode(&*value.value)?;
            let mut definition = msp_proto::FabricMspConfig::decode(&*wrapped.config)?;
            if definition.name != msp_id {
                continue;
            }
            found = true;
            let before = definition.clone();
            edit(&mut definition);
            // Equal contents keep their bytes, which may be another program's.
            if definition != before {
                wrapped.config = definition.encode_to_vec().into();
                value.value = wrapped.encode_to_vec().into();
            }
        }
    }
    anyhow::ensure!(found, "the channel has no organization {msp_id}");
    Ok(())
}

/// Lists a consenter with another TLS certificate, for both directions.
///
/// # Errors
/// The channel has no such consenter.
pub fn set_consenter_certificate(
    root: &mut common::ConfigGroup,
    host: &str,
    port: u32,
    certificate: &Bytes,
) -> anyhow::Result<()> {
    let section = root.groups.get_mut("Orderer");
    let value = section
        .and_then(|section| section.values.get_mut("ConsensusType"))
        .context("the channel has no consensus type")?;
    let mut consensus = orderer_proto::ConsensusType::decode(&*value.value)?;
    let mut metadata = etcdraft::ConfigMetadata::decode(&*consensus.metadata)?;
    let listed = metadata.consenters.iter_mut();
    let consenter = { listed }
        .find(|consenter| consenter.host == host && consenter.port == port)
        .with_context(|| format!("the channel has no consenter {host}:{port}"))?;
    if consenter.client_tls_cert == certificate && consenter.server_tls_cert == certificate {
        return Ok(());
    }
    consenter.client_tls_cert = certificate.clone();
    consenter.server_tls_cert = certificate.clone();
    consensus.metadata = metadata.encode_to_vec().into();
    value.value = consensus.encode_to_vec().into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(msp: &msp_proto::FabricMspConfig) -> common::ConfigGroup {
        let wrapped = msp_proto::MspConfig {
            r#type: 0,
            config: msp.encode_to_vec().into(),
        };
        let value = common::ConfigValue {
            value: wrapped.encode_to_vec().into(),
            ..Default::default()
        };
        let group = common::ConfigGroup {
            values: [("MSP".to_owned(), value)].into(),
            ..Default::default()
        };
        common::ConfigGroup {
            groups: [("Org".to_owned(), group)].into(),
            ..Default::default()
        }
    }

    #[test]
    fn an_organization_has_one_msp_in_all_sections() {
        let msp = msp_proto::FabricMspConfig {
            name: "Org1MSP".into(),
            ..Default::default()
        };
        let sections = ["Application", "Orderer"].map(|name| (name.to_owned(), section(&msp)));
        let mut root = common::ConfigGroup {
            groups: sections.into(),
            ..Default::default()
        };
        let before = root.clone();
        edit_msp(&mut root, "Org1MSP", |definition| *definition = msp.clone()).unwrap();
        assert_eq!(root, before);

        let crl = Bytes::from_static(b"list");
        let revoke = |definition: &mut msp_proto::FabricMspConfig| {
            definition.revocation_list = vec![crl.clone()];
        };
        edit_msp(&mut root, "Org1MSP", revoke).unwrap();
        assert_ne!(root.groups["Application"], before.groups["Application"]);
        assert_eq!(root.groups["Application"], root.groups["Orderer"]);

        assert!(edit_msp(&mut root, "Org2MSP", |_| ()).is_err());
    }
}
