//! Channel configurations: whole ones, updates of one that is in force, and messages that bring the
//! next one.

use bytes::Bytes;
use consilium_orderer::config_update;
use consilium_proto::common::{Block, Config, ConfigEnvelope, Envelope};
use consilium_protocol::config::{ChannelConfig, tree, update};
use consilium_protocol::envelope;
use prost::Message;

use crate::agree::decoded;
use crate::input::Input;
use crate::world;

/// The first byte says what follows: a configuration, an envelope with an update, a config
/// message, a config block.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let kind = input.byte();
    let bytes = Bytes::copy_from_slice(input.rest());
    match kind % 4 {
        0 => configuration(&bytes),
        1 => submitted(&bytes),
        2 => message(&bytes),
        _ => block(&bytes),
    }
}

fn configuration(bytes: &Bytes) -> bool {
    let Some(config) = decoded::<Config>(bytes) else {
        return false;
    };
    let Ok(parsed) = ChannelConfig::new(world::CHANNEL, config.clone()) else {
        return false;
    };
    assert_eq!(parsed.sequence(), config.sequence);
    items(&parsed);
    let _ = parsed.capabilities().check_supported(true);
    let _ = parsed.raft_metadata();
    let _ = parsed.orderer_endpoints();
    let _ = parsed.tls_roots();
    let base = world::config();
    let _ = base.check_next(config.clone());
    // What the tools make of two configurations is an update of the first one.
    if let Ok(computed) = update::compute(base.config(), &config, world::CHANNEL) {
        let sets = [computed.read_set.as_ref(), computed.write_set.as_ref()];
        for set in sets {
            assert!(tree::flatten_optional(set).is_ok(), "a set of legal keys");
        }
    }
    true
}

/// A tree is the sum of its items.
fn items(parsed: &ChannelConfig) {
    let items = tree::flatten(parsed.root()).expect("a checked tree");
    let rebuilt = tree::rebuild(&items);
    assert_eq!(
        rebuilt.as_ref().ok(),
        Some(parsed.root()),
        "all of the tree"
    );
}

fn submitted(bytes: &Bytes) -> bool {
    let Some(submitted) = decoded::<Envelope>(bytes) else {
        return false;
    };
    let base = world::config();
    let Ok(proposed) = base.propose_envelope(&submitted) else {
        return false;
    };
    let next = proposed.config.clone().unwrap_or_default();
    assert_eq!(next.sequence, base.sequence() + 1);
    let checked = base.check_next(next.clone());
    let validated = base.validate(&proposed);
    let is_valid = validated.is_ok();
    assert_eq!(
        checked.is_ok(),
        is_valid,
        "peers take what an orderer proposes"
    );
    if let Ok(checked) = checked {
        items(&checked);
        assert!(
            checked.propose_envelope(&submitted).is_err(),
            "an update applies once"
        );
    }
    // Nothing else than the proposed configuration is taken for it.
    let mut other = proposed;
    if let Some(config) = &mut other.config {
        config
            .channel_group
            .get_or_insert_default()
            .mod_policy
            .push('s');
    }
    assert!(base.validate(&other).is_err(), "another configuration");
    is_valid
}

fn message(bytes: &Bytes) -> bool {
    let current = world::configuration();
    let applied = config_update::apply(current, bytes);
    if let Ok(next) = &applied {
        assert_eq!(next.config.sequence(), current.config.sequence() + 1);
        items(&next.config);
        assert!(
            config_update::apply(next, bytes).is_err(),
            "it applies once"
        );
    }
    let Ok(parsed) = envelope::parse_bytes(bytes) else {
        return false;
    };
    let _ = config_update::last_update(&parsed);
    if let Some(wrapped) = decoded::<ConfigEnvelope>(&parsed.data) {
        let valid = current.config.validate(&wrapped);
        assert!(valid.is_ok() || applied.is_err(), "a peer would refuse it");
    }
    applied.is_ok()
}

fn block(bytes: &Bytes) -> bool {
    let Some(block) = decoded::<Block>(bytes) else {
        return false;
    };
    let Ok(config) = ChannelConfig::from_block(&block) else {
        return false;
    };
    items(&config);
    let _ = consilium_orderer::configuration::Configuration::of_block(&block);
    let again = ChannelConfig::new(config.channel_id(), config.config().clone());
    assert!(again.is_ok(), "what was taken is taken again");
    let encoded = Bytes::from(config.config().encode_to_vec());
    assert_eq!(decoded::<Config>(&encoded).as_ref(), Some(config.config()));
    true
}
