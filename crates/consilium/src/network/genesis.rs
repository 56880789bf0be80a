//! The channel of a local network: its genesis block.

use std::{fs, time::Duration, time::SystemTime};

use anyhow::Context;
use bytes::Bytes;
use consilium_ca::folders;
use consilium_proto::etcdraft;
use consilium_protocol::{
    config::genesis::{self, Organization, Profile},
    envelope,
};
use prost::Message;

use super::plan::{self, Network};

/// Makes the genesis block out of the organizations' MSP folders and their orderers' TLS
/// certificates, and writes it where [`Network::genesis_path`] says.
///
/// # Errors
/// A certificate is missing, or the resulting configuration is not valid.
pub fn write(network: &Network) -> anyhow::Result<Bytes> {
    let mut organizations = Vec::new();
    let mut consenters = Vec::new();
    for member in &network.organizations {
        let mut organization = in_channel(network, member)?;
        organization.is_orderer = member.has_orderer;
        if member.has_orderer {
            organization.endpoints = vec![member.orderer_endpoint()];
        }
        organizations.push(organization);
        if !member.has_orderer {
            continue;
        }
        let certificate: Bytes =
            fs::read(network.orderer_dir(member).join("tls").join("server.crt"))?.into();
        consenters.push(etcdraft::Consenter {
            host: "localhost".into(),
            port: u32::from(member.ports.orderer),
            client_tls_cert: certificate.clone(),
            server_tls_cert: certificate,
        });
    }
    let mut profile = Profile::new(&network.channel, organizations, consenters);
    profile.batch_timeout = Duration::from_secs(1);
    // On one machine a leader that says nothing for a second or two is gone; configtxgen's defaults
    // allow five to ten.
    profile.raft.tick_interval = "100ms".into();
    let block = genesis::block(&profile, envelope::timestamp(SystemTime::now()))
        .context("the channel configuration is not valid")?;
    let bytes: Bytes = block.encode_to_vec().into();
    let path = network.genesis_path();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(bytes)
}

/// A member as the channel's configuration shows it: its MSP, its anchor peer, the usual policies.
///
/// # Errors
/// Its MSP folder cannot be read.
pub fn in_channel(network: &Network, member: &plan::Organization) -> anyhow::Result<Organization> {
    let msp = network.organization_dir(member).join("msp");
    let config = folders::read_msp_config(&msp, &member.msp_id)
        .with_context(|| format!("cannot read the MSP in {}", msp.display()))?;
    let mut organization = Organization::new(config);
    organization.anchor_peers = vec![("localhost".into(), member.ports.peer)];
    Ok(organization)
}
