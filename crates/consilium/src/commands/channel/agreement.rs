//! A proposal on its way: what it changes, who has signed, and bringing it to the orderers.

use std::{path::Path, time::SystemTime};

use anyhow::Context;
use consilium_msp::Signer;
use consilium_proto::common::ConfigUpdateEnvelope;
use consilium_protocol::{
    config::{
        ChannelConfig,
        consenters::{self, TlsAuthorities},
        settings, update,
    },
    envelope,
};
use prost::Message;

use super::{
    file,
    member::{Member, OrdererArgs},
    text,
};
use crate::network::eventually;

/// A proposal.
pub struct Agreement {
    update: ConfigUpdateEnvelope,
}

impl Agreement {
    /// A proposal that nobody has signed.
    pub fn new(update: ConfigUpdateEnvelope) -> Self {
        Self { update }
    }

    /// The proposal in a file, which has to be one for that configuration.
    ///
    /// # Errors
    /// It cannot be read; or something else has changed since it was made, and what.
    pub fn read(path: &Path, config: &ChannelConfig) -> anyhow::Result<Self> {
        let agreement = Self::new(file::proposal(path)?);
        let preview = config.preview(&agreement.update);
        preview.with_context(|| {
            format!(
                "{} is no proposal for the {}; if that has changed since, propose anew",
                path.display(),
                text::title(config)
            )
        })?;
        Ok(agreement)
    }

    /// The settings that it changes, as text.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn changes(&self, config: &ChannelConfig) -> anyhow::Result<String> {
        let next = self.check(config)?;
        let differences = settings::differences(config.root(), next.root());
        let mut shown = text::differences(&differences);
        for warning in warnings(&next) {
            shown.push_str(&format!("\nwarning: {warning}\n"));
        }
        Ok(shown)
    }

    /// The configuration that it leads to.
    ///
    /// # Errors
    /// No node would take it, whoever signs.
    pub fn check(&self, config: &ChannelConfig) -> anyhow::Result<ChannelConfig> {
        let next = config.check_next(config.preview(&self.update)?)?;
        next.capabilities().check_supported(true)?;
        if next.consensus().r#type == "etcdraft" {
            let authorities = TlsAuthorities::of_orderers(&next)?;
            consenters::check_metadata(&next.raft_metadata()?, &authorities)
                .context("the orderers' consenters and options")?;
        }
        Ok(next)
    }

    /// Adds a signature, unless that signer has signed.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&mut self, signer: &dyn Signer) -> anyhow::Result<()> {
        let signed = update::signed_data(&self.update)?;
        if !signed
            .iter()
            .any(|one| one.identity == *signer.serialized())
        {
            update::sign(&mut self.update, signer)?;
        }
        Ok(())
    }

    /// Writes it in an envelope by `signer`, as Fabric's tools do.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path, signer: &dyn Signer) -> anyhow::Result<()> {
        Ok(std::fs::write(
            path,
            self.envelope(signer)?.encode_to_vec(),
        )?)
    }

    fn envelope(&self, signer: &dyn Signer) -> anyhow::Result<consilium_proto::common::Envelope> {
        let update: consilium_proto::common::ConfigUpdate =
            envelope::decode("ConfigUpdate", &self.update.config_update)?;
        let now = envelope::timestamp(SystemTime::now());
        Ok(update::submission(
            &self.update,
            &update.channel_id,
            now,
            signer,
        )?)
    }

    /// Who has signed and what is missing, as text.
    ///
    /// # Errors
    /// It is no proposal for that configuration.
    pub fn status(&self, config: &ChannelConfig) -> anyhow::Result<String> {
        let consents = config.consent(&self.update)?;
        let mut shown = text::status(&config.signatures(&self.update)?, &consents);
        match text::remaining(&consents) {
            None => shown.push_str("\ncomplete: it can be submitted\n"),
            Some(remaining) => shown.push_str(&format!("\nstill missing: {remaining}\n")),
        }
        Ok(shown)
    }

    /// Whether all signatures are there.
    ///
    /// # Errors
    /// It is no proposal for that configuration.
    pub fn is_complete(&self, config: &ChannelConfig) -> anyhow::Result<bool> {
        let consents = config.consent(&self.update)?;
        Ok(consents.iter().all(|consent| consent.policy.satisfied))
    }

    /// Submits it and waits until the member's peer has it.
    ///
    /// # Errors
    /// Signatures are missing, and whose; or what the orderers answered.
    pub async fn submit(
        &self,
        config: &ChannelConfig,
        member: &Member,
        orderer: &OrdererArgs,
    ) -> anyhow::Result<()> {
        let consents = config.consent(&self.update)?;
        if let Some(remaining) = text::remaining(&consents) {
            anyhow::bail!("signatures are missing: {remaining}; see `consilium channel status`");
        }
        let envelope = self.envelope(member.signer().as_ref())?;
        let endpoint = member.submit(config, orderer, &envelope).await?;
        println!("submitted to {endpoint}");
        let next = self.check(config)?;
        if next.msps().msp(member.signer().msp_id()).is_none() {
            println!("whoever leaves cannot ask a peer whether it is in force");
            return Ok(());
        }
        eventually("the peer to have the new configuration", || async {
            // A peer may be busy, or just about to exchange its trust.
            let config = member.config().await;
            Ok(config.is_ok_and(|config| config.sequence() >= next.sequence()))
        })
        .await?;
        println!("{} is in force", text::title(&next));
        Ok(())
    }
}

/// What a valid configuration has that nobody can want.
fn warnings(config: &ChannelConfig) -> Vec<String> {
    let mut found = Vec::new();
    let acls = settings::list(config.root());
    for setting in acls
        .iter()
        .filter(|setting| setting.item.ends_with("/ACLs"))
    {
        let Some(resource) = setting.name.strip_prefix("application.acl.") else {
            continue;
        };
        let Some(path) = config.acl(resource) else {
            continue;
        };
        if !config.policies().has(path) {
            found.push(format!(
                "{} names a policy that does not exist, so nobody satisfies it: {path}",
                setting.name
            ));
        }
    }
    found
}
