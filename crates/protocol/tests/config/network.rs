//! A channel of two organizations that run orderers and peers.

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{common, etcdraft};
use consilium_protocol::config::genesis::{self, Profile};
use consilium_protocol::config::{ChannelConfig, update};
use consilium_testkit::{NodeOu, Organization};
use prost::Message;
use prost_types::Timestamp;
use std::sync::Arc;

pub const NOW: Timestamp = Timestamp {
    seconds: 1_763_900_000,
    nanos: 0,
};

pub struct Network {
    pub organizations: Vec<Organization>,
    pub admins: Vec<Arc<dyn Signer>>,
    pub profile: Profile,
}

pub fn consenter(organization: &Organization, host: &str) -> etcdraft::Consenter {
    let certificate = Bytes::from(organization.tls(&[host]).cert_pem.into_bytes());
    etcdraft::Consenter {
        host: host.to_owned(),
        port: 7050,
        client_tls_cert: certificate.clone(),
        server_tls_cert: certificate,
    }
}

impl Network {
    pub fn new() -> Self {
        let organizations = vec![
            Organization::new("Org1MSP", "org1.example.com"),
            Organization::new("Org2MSP", "org2.example.com"),
        ];
        let admins = organizations
            .iter()
            .map(|org| org.signer("admin", NodeOu::Admin) as Arc<dyn Signer>)
            .collect();
        let members = organizations.iter().map(|org| {
            let mut member = genesis::Organization::new(org.msp_config());
            member.endpoints = vec![format!("orderer.{}:7050", org.domain())];
            member.anchor_peers = vec![(format!("peer0.{}", org.domain()), 7051)];
            member
        });
        let consenters =
            ["orderer0", "orderer1", "orderer2"].map(|host| consenter(&organizations[0], host));
        let profile = Profile::new("mychannel", members.collect(), consenters.to_vec());
        Network {
            organizations,
            admins,
            profile,
        }
    }

    pub fn config(&self) -> ChannelConfig {
        let config = genesis::config(&self.profile).expect("a valid genesis");
        ChannelConfig::new("mychannel", config).expect("a valid configuration")
    }

    /// The update from `current` to what `change` makes of it, signed by the given admins.
    pub fn update(
        &self,
        current: &ChannelConfig,
        signers: &[&Arc<dyn Signer>],
        change: impl FnOnce(&mut common::ConfigGroup),
    ) -> common::ConfigUpdateEnvelope {
        let mut updated = current.config().clone();
        change(updated.channel_group.as_mut().expect("root"));
        let computed =
            update::compute(current.config(), &updated, "mychannel").expect("a difference");
        sign(computed, signers)
    }

    /// Submits an update by all admins and returns the config envelope that an orderer makes of it.
    pub fn accept(
        &self,
        current: &ChannelConfig,
        change: impl FnOnce(&mut common::ConfigGroup),
    ) -> common::ConfigEnvelope {
        let signers: Vec<_> = self.admins.iter().collect();
        let update = self.update(current, &signers, change);
        let submitted =
            update::submission(&update, "mychannel", NOW, &*self.admins[0]).expect("signed");
        current.propose_envelope(&submitted).expect("accepted")
    }
}

pub fn sign(
    update: common::ConfigUpdate,
    signers: &[&Arc<dyn Signer>],
) -> common::ConfigUpdateEnvelope {
    let mut envelope = common::ConfigUpdateEnvelope {
        config_update: update.encode_to_vec().into(),
        signatures: Vec::new(),
    };
    for signer in signers {
        update::sign(&mut envelope, &***signer).expect("signed");
    }
    envelope
}

/// The group at a path below the root.
pub fn group<'a>(root: &'a mut common::ConfigGroup, path: &[&str]) -> &'a mut common::ConfigGroup {
    path.iter().fold(root, |group, name| {
        group.groups.get_mut(*name).expect("group")
    })
}

/// Replaces a value's message.
pub fn set(group: &mut common::ConfigGroup, key: &str, message: &impl Message) {
    let value = group
        .values
        .entry(key.to_owned())
        .or_insert_with(|| common::ConfigValue {
            mod_policy: "Admins".into(),
            ..Default::default()
        });
    value.value = message.encode_to_vec().into();
}
