//! Whom a deployment concerns: the organizations of a channel, each with its peers.

use std::path::PathBuf;

use anyhow::Context;
use consilium_client::Admin;

use super::profile;
use crate::{
    commands::connect::{Target, target_of},
    network::{Network, Organization},
};

/// The organizations that agree on a chaincode.
pub struct Consortium {
    /// On which channel.
    pub channel: String,
    /// Who they are.
    pub members: Vec<Member>,
}

/// An organization.
pub struct Member {
    /// MSP id.
    pub msp_id: String,
    /// Its peers, the first of which does what the organization does once.
    pub peers: Vec<MemberPeer>,
}

/// A peer, and the organization's administrator before it.
pub struct MemberPeer {
    /// `host:port`
    pub address: String,
    /// Sends proposals to it.
    pub admin: Admin,
}

impl Consortium {
    /// All organizations of a local network.
    ///
    /// # Errors
    /// A peer cannot be reached.
    pub async fn of_network(network: &Network) -> anyhow::Result<Self> {
        Self::of_members(network, &network.organizations).await
    }

    /// Some organizations of a local network.
    ///
    /// # Errors
    /// A peer cannot be reached.
    pub async fn of_members(
        network: &Network,
        organizations: &[Organization],
    ) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for organization in organizations {
            let target = target_of(network, &format!("{}/Admin", organization.name))?;
            members.push(Member {
                msp_id: organization.msp_id.clone(),
                peers: vec![MemberPeer::connect(target).await?],
            });
        }
        Ok(Self {
            channel: network.channel.clone(),
            members,
        })
    }

    /// The organizations that connection profiles describe.
    ///
    /// # Errors
    /// A file is wrong, or a peer cannot be reached.
    pub async fn of_profiles(channel: &str, files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for file in files {
            let described = profile::read(file, channel);
            let described = described.with_context(|| file.display().to_string())?;
            for organization in described {
                let mut peers = Vec::new();
                for target in organization.peers {
                    peers.push(MemberPeer::connect(target).await?);
                }
                members.push(Member {
                    msp_id: organization.msp_id,
                    peers,
                });
            }
        }
        Ok(Self {
            channel: channel.to_owned(),
            members,
        })
    }

    /// The peer that does what the consortium does once.
    ///
    /// # Errors
    /// There is none.
    pub fn first(&self) -> anyhow::Result<&MemberPeer> {
        self.peers().next().context("there is no peer to ask")
    }

    /// Every peer of every organization.
    pub fn peers(&self) -> impl Iterator<Item = &MemberPeer> {
        self.members.iter().flat_map(|member| &member.peers)
    }
}

impl MemberPeer {
    async fn connect(target: Target) -> anyhow::Result<Self> {
        Ok(Self {
            admin: Admin::new(target.connect().await?, target.signer),
            address: target.endpoint,
        })
    }
}
