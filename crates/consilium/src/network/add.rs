//! `consilium network add-org`: a further organization on a channel that is running.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_client::{Admin, Orderer};
use consilium_proto::common;
use consilium_protocol::{
    config::{genesis, update},
    envelope,
};
use futures_util::future::try_join_all;
use prost::Message;

use super::{
    deploy, enroll, eventually, genesis as own_genesis, join_peer,
    plan::{Network, Organization},
    start_ca, start_peer, topology,
};
use crate::{
    cli::NetworkAddOrg,
    commands::connect::{Target, target_of},
    contract::{Consortium, Rollout, follow},
};

/// The group of a configuration that holds the organizations with peers.
const APPLICATION: &str = "Application";

/// How often a config update is tried, and the pause between.
pub(super) const ATTEMPTS: usize = 40;
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Makes the organization and takes it into the channel. After an interruption the same command
/// goes on where it ended.
///
/// # Errors
/// There is no such network, the name is a founder's, or a step fails.
pub async fn add_organization(args: &NetworkAddOrg) -> anyhow::Result<()> {
    let mut network = Network::load(&args.dir.dir)?;
    if network.organization(&args.name).is_err() {
        let made = network.newcomer(&args.name, args.title.as_deref(), args.free_ports)?;
        super::check_ports(std::slice::from_ref(&made))?;
        network.organizations.push(made);
        network.save()?;
    }
    let newcomer = network.organization(&args.name)?;
    anyhow::ensure!(
        !newcomer.has_orderer,
        "{} is a founder of the network",
        newcomer.name
    );
    start_ca(&network, newcomer)?;
    enroll(&network, newcomer).await?;
    let others: Vec<_> = network
        .organizations
        .iter()
        .filter(|member| member.name != newcomer.name)
        .map(|member| target_of(&network, &format!("{}/Admin", member.name)))
        .collect::<anyhow::Result<_>>()?;
    admit(&network, newcomer, &others).await?;
    let genesis = std::fs::read(network.genesis_path())
        .with_context(|| format!("cannot read {}", network.genesis_path().display()))?;
    start_peer(&network, newcomer)?;
    join_peer(&network, newcomer, &genesis.into()).await?;
    let alone = Consortium::of_members(&network, std::slice::from_ref(newcomer)).await?;
    caught_up(&network, newcomer, &alone.first()?.admin).await?;
    for (name, _) in deploy::contracts(&network) {
        take_part(&alone, name).await?;
    }
    println!("{}", topology(&network));
    println!(
        "{} is a member of channel {}",
        newcomer.msp_id, network.channel
    );
    Ok(())
}

/// Takes the newcomer into the channel's configuration, unless it is there, and waits until the
/// peers of all others have it.
async fn admit(
    network: &Network,
    newcomer: &Organization,
    others: &[Target],
) -> anyhow::Result<()> {
    let admins = try_join_all(others.iter().map(async |target| {
        anyhow::Ok(Admin::new(target.connect().await?, target.signer.clone()))
    }))
    .await?;
    let first = admins.first().context("a network has an organization")?;
    let mut attempt = 0;
    loop {
        let current = first.channel_config(&network.channel).await?;
        if has(&current, &newcomer.msp_id) {
            break;
        }
        let member = own_genesis::in_channel(network, newcomer)?;
        let group = genesis::application_organization(&member)?;
        let updated = with_organization(&current, &newcomer.msp_id, group)?;
        let submission = sign(&network.channel, &current, &updated, others)?;
        match broadcast(network, others, submission).await {
            Ok(()) => break,
            // Orderers may be choosing a leader, or somebody else may have changed the configuration.
            Err(error) if attempt < ATTEMPTS => {
                attempt += 1;
                tracing::debug!(%error, "the configuration is not changed yet");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    for admin in &admins {
        let what = format!("every peer to know {}", newcomer.msp_id);
        eventually(&what, || async {
            let config = admin.channel_config(&network.channel).await?;
            Ok(has(&config, &newcomer.msp_id))
        })
        .await?;
    }
    Ok(())
}

/// Waits until the newcomer's peer has the configuration that the newcomer is in.
async fn caught_up(
    network: &Network,
    newcomer: &Organization,
    admin: &Admin,
) -> anyhow::Result<()> {
    eventually("the new peer to have the channel's blocks", || async {
        // Before that it knows nobody of its own organization, and refuses to answer.
        let config = admin.channel_config(&network.channel).await;
        Ok(config.is_ok_and(|config| has(&config, &newcomer.msp_id)))
    })
    .await
}

fn has(config: &common::Config, msp_id: &str) -> bool {
    config
        .channel_group
        .as_ref()
        .and_then(|root| root.groups.get(APPLICATION))
        .is_some_and(|section| section.groups.contains_key(msp_id))
}

/// The configuration with one more group of an organization.
fn with_organization(
    config: &common::Config,
    name: &str,
    group: common::ConfigGroup,
) -> anyhow::Result<common::Config> {
    let mut updated = config.clone();
    updated
        .channel_group
        .as_mut()
        .and_then(|root| root.groups.get_mut(APPLICATION))
        .context("the channel has no application section")?
        .groups
        .insert(name.to_owned(), group);
    Ok(updated)
}

/// The update from one configuration to the other, signed by all administrators and submitted by
/// the first.
pub(super) fn sign(
    channel: &str,
    current: &common::Config,
    updated: &common::Config,
    admins: &[Target],
) -> anyhow::Result<common::Envelope> {
    let mut wrapped = common::ConfigUpdateEnvelope {
        config_update: update::compute(current, updated, channel)?
            .encode_to_vec()
            .into(),
        signatures: Vec::new(),
    };
    for admin in admins {
        update::sign(&mut wrapped, admin.signer.as_ref())?;
    }
    let first = admins.first().context("a network has an organization")?;
    let now = envelope::timestamp(SystemTime::now());
    Ok(update::submission(
        &wrapped,
        channel,
        now,
        first.signer.as_ref(),
    )?)
}

/// Sends the envelope to the orderers in turn until one takes it.
pub(super) async fn broadcast(
    network: &Network,
    admins: &[Target],
    submission: common::Envelope,
) -> anyhow::Result<()> {
    let first = admins.first().context("a network has an organization")?;
    let mut outcome = Err(anyhow::anyhow!("the network has no orderer"));
    for orderer in network.orderers() {
        let target = Target {
            endpoint: orderer.orderer_endpoint(),
            ..first.clone()
        };
        outcome = submit(&target, submission.clone()).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome.context("cannot change the channel's configuration")
}

async fn submit(orderer: &Target, submission: common::Envelope) -> anyhow::Result<()> {
    let orderers = Orderer::new(orderer.connect().await?);
    let answered = orderers.broadcast(submission).await;
    answered.with_context(|| format!("at {}", orderer.endpoint))
}

/// Installs a built-in contract at the newcomer's peer and approves its definition as it stands, so
/// that this peer runs it too. Does nothing where the name is not, or no longer, as `network up`
/// defined it: then it may be another program.
async fn take_part(newcomer: &Consortium, name: &str) -> anyhow::Result<()> {
    let admin = &newcomer.first()?.admin;
    let committed = admin.committed_definition(&newcomer.channel, name).await?;
    let Some(definition) = committed.filter(|definition| definition.sequence == 1) else {
        return Ok(());
    };
    let package: Bytes = lifecycle::package_in_process(name, name)?.into();
    let rollout = Rollout {
        definition,
        package_id: lifecycle::package_id(name, &package),
        package: Some(package),
    };
    follow(newcomer, &rollout).await
}
