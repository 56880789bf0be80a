//! Channels for tests: a genesis block over in-memory organizations.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_proto::common::Block;
use consilium_proto::etcdraft::Consenter;
use consilium_protocol::config::{ChannelConfig, genesis};

use crate::authority::Credential;
use crate::organization::Organization;

/// When the channels of tests begin, seconds since 1970; a constant, so that nothing depends on a clock.
const BEGINNING: i64 = 1_700_000_000;

/// The entry of an orderer in a channel's consenter set, reachable at `host:port` with one TLS credential
/// for both directions.
pub fn consenter(host: &str, port: u16, tls: &Credential) -> Consenter {
    let certificate = Bytes::copy_from_slice(tls.cert_pem.as_bytes());
    Consenter {
        host: host.to_owned(),
        port: port.into(),
        client_tls_cert: certificate.clone(),
        server_tls_cert: certificate,
    }
}

/// A profile of a channel in which every organization runs peers, and those that issued a consenter's TLS
/// certificate run orderers. Groups are named after MSP ids; policies and capabilities are the usual newest
/// ones. Without consenters the first organization gets one at 127.0.0.1:7050.
///
/// Change what the test is about, then make the block with [`block`].
pub fn profile(
    channel: &str,
    organizations: &[&Organization],
    consenters: Vec<Consenter>,
) -> genesis::Profile {
    let consenters = match (consenters.is_empty(), organizations.first()) {
        (true, Some(first)) => vec![consenter("127.0.0.1", 7050, &first.tls(&[]))],
        _ => consenters,
    };
    let members = organizations
        .iter()
        .map(|organization| {
            let own = consenters
                .iter()
                .filter(|consenter| is_issued_by(consenter, organization));
            let endpoints: Vec<String> = own
                .map(|consenter| format!("{}:{}", consenter.host, consenter.port))
                .collect();
            genesis::Organization {
                is_orderer: !endpoints.is_empty(),
                endpoints,
                ..genesis::Organization::new(organization.msp_config())
            }
        })
        .collect();
    let mut profile = genesis::Profile::new(channel, members, consenters);
    // Elections after 0.6 to 1.2 s: a test has no time for the usual 5 to 10.
    profile.raft.tick_interval = "60ms".into();
    profile
}

fn is_issued_by(consenter: &Consenter, organization: &Organization) -> bool {
    let root = Certificate::from_pem(organization.tls_ca().cert_pem().as_bytes());
    let own = Certificate::from_pem(&consenter.server_tls_cert);
    matches!((own, root), (Ok(own), Ok(root)) if own.is_signed_by(&root))
}

/// The genesis block of a profile.
///
/// # Panics
/// When the profile is not acceptable.
pub fn block(profile: &genesis::Profile) -> Block {
    let timestamp = prost_types::Timestamp {
        seconds: BEGINNING,
        nanos: 0,
    };
    genesis::block(profile, timestamp).expect("an acceptable profile")
}

/// The genesis block of `channel` over `organizations`, as [`profile`] describes it.
///
/// # Panics
/// When the channel's name is not acceptable or there is no organization.
pub fn genesis(
    channel: &str,
    organizations: &[&Organization],
    consenters: Vec<Consenter>,
) -> Block {
    block(&profile(channel, organizations, consenters))
}

/// The channel's configuration as nodes hold it.
///
/// # Panics
/// As [`genesis`].
pub fn config(channel: &str, organizations: &[&Organization]) -> Arc<ChannelConfig> {
    let block = genesis(channel, organizations, Vec::new());
    Arc::new(ChannelConfig::from_block(&block).expect("an own genesis block"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, KeyKind, NodeOu};
    use consilium_msp::{MspManager, SignedData, Signer as _};

    #[test]
    fn a_channel_over_fresh_organizations_accepts_its_members() {
        let (one, two) = (
            Organization::new("Org1MSP", "org1.example.com"),
            Organization::new("Org2MSP", "org2.example.com"),
        );
        let config = config("mychannel", &[&one, &two]);
        assert_eq!(config.channel_id(), "mychannel");
        let msps: &MspManager = config.msps();
        assert_eq!(
            msps.msps()
                .map(|msp| msp.id().to_owned())
                .collect::<Vec<_>>(),
            ["Org1MSP", "Org2MSP"]
        );

        let signed = |organization: &Organization, unit| {
            let signer = organization.signer("someone", unit);
            SignedData {
                data: Bytes::from_static(b"data"),
                identity: signer.serialized().clone(),
                signature: signer.sign(b"data").expect("signature"),
            }
        };
        let writers = config.policies().policy("/Channel/Application/Writers");
        assert_eq!(writers.evaluate(&[signed(&two, NodeOu::Client)]), Ok(()));
        assert!(writers.evaluate(&[signed(&two, NodeOu::Peer)]).is_err());
        let endorsement = config.policies().policy("/Channel/Application/Endorsement");
        let peers = [signed(&one, NodeOu::Peer), signed(&two, NodeOu::Peer)];
        assert_eq!(endorsement.evaluate(&peers), Ok(()));
        assert!(endorsement.evaluate(&peers[..1]).is_err());
        assert_eq!(config.orderer_endpoints(), ["127.0.0.1:7050"]);
    }

    #[test]
    fn folders_hold_what_was_issued() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let folder = tempfile::tempdir().expect("a folder");
        let (peer, tls) = (
            organization.issue("peer0", NodeOu::Peer),
            organization.tls(&["peer0"]),
        );
        organization
            .write_msp(&folder.path().join("msp"), Some(&peer))
            .expect("written");
        organization
            .write_tls(&folder.path().join("tls"), &tls)
            .expect("written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(read("msp/signcerts/cert.pem"), peer.cert_pem);
        assert_eq!(read("msp/keystore/priv_sk"), peer.key_pem);
        assert_eq!(read("msp/cacerts/ca.pem"), organization.ca().cert_pem());
        assert_eq!(read("tls/server.crt"), tls.cert_pem);
        assert_eq!(read("tls/ca.crt"), organization.tls_ca().cert_pem());
        assert!(read("msp/config.yaml").contains("Enable: true"));
    }

    #[test]
    fn tls_certificates_name_their_hosts_and_this_machine() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let tls = organization.tls(&["peer0.org1.example.com"]);
        let certificate =
            consilium_msp::Certificate::from_pem(tls.cert_pem.as_bytes()).expect("own certificate");
        assert_eq!(
            certificate.dns_names(),
            ["peer0.org1.example.com", "localhost"]
        );
        assert_eq!(certificate.ip_addresses(), [[127, 0, 0, 1]]);
        assert_eq!(certificate.subject_key_id().map(<[u8]>::len), Some(32));
        assert!(!Key::generate(KeyKind::P256).pem().is_empty());
    }
}
