//! The MSPs and policies of a channel that Fabric made. Runs only where the recording lies beside the
//! workspace.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{
    Msp, MspManager, MspVersion, NodeRole, PolicyManager, SignedData, verified_identities,
};
use consilium_proto::common::{
    Block, ConfigEnvelope, ConfigGroup, Envelope, Payload, SignatureHeader,
};
use consilium_proto::msp::MspConfig;
use consilium_testkit::recorded::Recording;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use prost::Message as _;

fn payload(envelope: &Bytes) -> (Envelope, Payload) {
    let envelope = Envelope::decode(envelope.clone()).expect("an envelope");
    let payload = Payload::decode(envelope.payload.clone()).expect("a payload");
    (envelope, payload)
}

fn channel_group(genesis: &Block) -> ConfigGroup {
    let data = genesis.data.as_ref().expect("data");
    let (_, payload) = payload(&data.data[0]);
    let config = ConfigEnvelope::decode(payload.data).expect("a config envelope");
    config
        .config
        .and_then(|config| config.channel_group)
        .expect("a channel group")
}

fn msps(group: &ConfigGroup) -> MspManager {
    let mut msps: Vec<Arc<Msp>> = Vec::new();
    for kind in ["Orderer", "Application"] {
        for organization in group.groups[kind].groups.values() {
            let config =
                MspConfig::decode(organization.values["MSP"].value.clone()).expect("an MSP");
            let msp = Msp::from_config(&config, MspVersion::V3_0).expect("an acceptable MSP");
            if msps.iter().all(|known| known.id() != msp.id()) {
                msps.push(Arc::new(msp));
            }
        }
    }
    MspManager::new(msps).expect("msps")
}

#[test]
fn the_genesis_of_a_fabric_channel_sets_up_and_its_policies_compile() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let genesis = recording.block(0);
    let group = channel_group(&genesis);
    let msps = msps(&group);
    assert!(msps.msps().count() >= 2);
    for msp in msps.msps() {
        assert!(msp.authorities().all(|authority| authority.is_ca()));
        assert!(!msp.tls_root_pems().is_empty());
    }
    let policies = PolicyManager::new(&group, Arc::new(msps)).expect("policies");
    for path in [
        "/Channel/Readers",
        "/Channel/Writers",
        "/Channel/Admins",
        "/Channel/Application/Writers",
        "/Channel/Application/Endorsement",
        "/Channel/Orderer/BlockValidation",
    ] {
        assert!(policies.has(path), "{path}");
        assert!(!policies.policy(path).principal_sets().is_empty(), "{path}");
        assert!(
            policies.policy(path).evaluate(&[]).is_err(),
            "{path} without signatures"
        );
    }
}

#[test]
fn every_creator_in_the_first_blocks_verifies_with_two_implementations() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let genesis = recording.block(0);
    let group = channel_group(&genesis);
    let msps = Arc::new(msps(&group));
    let policies = PolicyManager::new(&group, msps.clone()).expect("policies");
    let mut verified = 0;
    for number in 1..=12 {
        let block = recording.block(number);
        for bytes in &block.data.as_ref().expect("data").data {
            let (envelope, payload) = payload(bytes);
            let header = payload.header.expect("a header");
            let creator = SignatureHeader::decode(header.signature_header)
                .expect("a header")
                .creator;
            let Ok(identity) = msps.deserialize(&creator) else {
                continue;
            };
            let ours = identity
                .verify(&envelope.payload, &envelope.signature)
                .is_ok();
            let key = spki_point(identity.certificate().der());
            let key = VerifyingKey::from_sec1_bytes(&key).expect("a P-256 key");
            let theirs = Signature::from_der(&envelope.signature)
                .is_ok_and(|signature| key.verify(&envelope.payload, &signature).is_ok());
            assert_eq!(ours, theirs, "block {number}");
            if !ours {
                continue;
            }
            verified += 1;
            msps.validate(&identity).expect("a valid creator");
            let role = msps
                .msp(identity.msp_id())
                .expect("its MSP")
                .role(&identity);
            assert!(role.is_some(), "{:?}", identity.certificate());
            let signed = SignedData {
                data: envelope.payload,
                identity: creator,
                signature: envelope.signature,
            };
            assert_eq!(
                verified_identities(&msps, std::slice::from_ref(&signed)).len(),
                1
            );
            if matches!(role, Some(NodeRole::Client | NodeRole::Admin)) {
                policies
                    .policy("/Channel/Application/Writers")
                    .evaluate(&[signed])
                    .expect("a writer");
            }
        }
    }
    assert!(verified > 10, "{verified} envelopes verified");
}

/// The uncompressed P-256 point in a certificate: the bits after the curve's identifier.
fn spki_point(der: &[u8]) -> Vec<u8> {
    const CURVE: &[u8] = &[
        0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let at = der
        .windows(CURVE.len())
        .position(|window| window == CURVE)
        .expect("a P-256 key");
    der[at + CURVE.len()..at + CURVE.len() + 65].to_vec()
}
