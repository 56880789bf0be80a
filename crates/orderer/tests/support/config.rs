//! Config updates, as administrators make them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::SystemTime;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::common::{self, Envelope, HeaderType};
use consilium_proto::{etcdraft, orderer};
use consilium_protocol::config::{ChannelConfig, update};
use consilium_protocol::envelope::{self, HeaderSpec};
use prost::Message;

/// The signed update that turns a channel's configuration into what `change` makes of it.
pub fn update_of(
    config: &ChannelConfig,
    signer: &dyn Signer,
    change: impl FnOnce(&mut common::ConfigGroup),
) -> Envelope {
    let channel = config.channel_id();
    let mut updated = config.config().clone();
    change(updated.channel_group.as_mut().expect("a group"));
    let update = update::compute(config.config(), &updated, channel).expect("a change");
    let config_update = Bytes::from(update.encode_to_vec());
    let header = envelope::signature_header(signer);
    let header = Bytes::from(header.encode_to_vec());
    let signature = signer
        .sign(&[&header[..], &config_update].concat())
        .expect("signed");
    let wrapped = common::ConfigUpdateEnvelope {
        config_update,
        signatures: vec![common::ConfigSignature {
            signature_header: header,
            signature,
        }],
    };
    let now = envelope::timestamp(SystemTime::now());
    let spec = HeaderSpec::new(HeaderType::ConfigUpdate, channel, now);
    envelope::create_signed(spec, wrapped.encode_to_vec().into(), signer).expect("signed")
}

/// Changes a value of the orderer section.
pub fn change_value<M: Message + Default>(
    root: &mut common::ConfigGroup,
    name: &str,
    change: impl FnOnce(&mut M),
) {
    let orderer = root.groups.get_mut("Orderer").expect("a section");
    let value = orderer.values.get_mut(name).expect("a value");
    let mut message = M::decode(value.value.clone()).expect("its message");
    change(&mut message);
    value.value = message.encode_to_vec().into();
}

pub fn set_max_messages(root: &mut common::ConfigGroup, count: u32) {
    change_value(root, "BatchSize", |size: &mut orderer::BatchSize| {
        size.max_message_count = count;
    });
}

pub fn change_consenters(
    root: &mut common::ConfigGroup,
    change: impl FnOnce(&mut Vec<etcdraft::Consenter>),
) {
    change_value(
        root,
        "ConsensusType",
        |kind: &mut orderer::ConsensusType| {
            let mut metadata =
                etcdraft::ConfigMetadata::decode(kind.metadata.clone()).expect("its metadata");
            change(&mut metadata.consenters);
            kind.metadata = metadata.encode_to_vec().into();
        },
    );
}
