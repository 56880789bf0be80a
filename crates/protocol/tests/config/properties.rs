//! What is computed as an update leads, when applied, to what it was computed from.

use crate::network::{Network, sign};
use bytes::Bytes;
use consilium_proto::common::{ConfigGroup, ConfigPolicy, ConfigValue};
use consilium_protocol::config::{ChannelConfig, ConfigError, update};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;

static NETWORK: LazyLock<(Network, ChannelConfig)> = LazyLock::new(|| {
    let network = Network::new();
    let config = network.config();
    (network, config)
});

const GROUPS: [&[&str]; 5] = [
    &[],
    &["Orderer"],
    &["Application"],
    &["Application", "Org1MSP"],
    &["Orderer", "Org2MSP"],
];
const NAMES: [&str; 5] = ["BatchSize", "MSP", "Admins", "Extra", "Org2MSP"];

/// Something done to one member of one group.
#[derive(Debug, Clone)]
enum Edit {
    SetValue(usize, usize, Vec<u8>),
    RemoveValue(usize, usize),
    SetPolicy(usize, usize, String),
    RemovePolicy(usize, usize),
    AddGroup(usize, usize),
    RemoveGroup(usize, usize),
    ModPolicy(usize, String),
}

fn edit() -> impl Strategy<Value = Edit> {
    let (group, name) = (0..GROUPS.len(), 0..NAMES.len());
    let mod_policy = prop_oneof!["Admins", "Writers", "/Channel/Admins"];
    prop_oneof![
        (group.clone(), name.clone(), vec(any::<u8>(), 0..4))
            .prop_map(|(g, n, v)| Edit::SetValue(g, n, v)),
        (group.clone(), name.clone()).prop_map(|(g, n)| Edit::RemoveValue(g, n)),
        (group.clone(), name.clone(), mod_policy.clone())
            .prop_map(|(g, n, p)| Edit::SetPolicy(g, n, p)),
        (group.clone(), name.clone()).prop_map(|(g, n)| Edit::RemovePolicy(g, n)),
        (group.clone(), name.clone()).prop_map(|(g, n)| Edit::AddGroup(g, n)),
        (group.clone(), name).prop_map(|(g, n)| Edit::RemoveGroup(g, n)),
        (group, mod_policy).prop_map(|(g, p)| Edit::ModPolicy(g, p)),
    ]
}

fn at(root: &mut ConfigGroup, index: usize) -> Option<&mut ConfigGroup> {
    GROUPS[index]
        .iter()
        .try_fold(root, |group, name| group.groups.get_mut(*name))
}

fn apply(root: &mut ConfigGroup, edit: &Edit) {
    let (Edit::SetValue(index, ..)
    | Edit::RemoveValue(index, _)
    | Edit::SetPolicy(index, ..)
    | Edit::RemovePolicy(index, _)
    | Edit::AddGroup(index, _)
    | Edit::RemoveGroup(index, _)
    | Edit::ModPolicy(index, _)) = edit;
    let Some(group) = at(root, *index) else {
        return;
    };
    let admins = || "Admins".to_owned();
    match edit {
        Edit::SetValue(_, name, value) => {
            let value = ConfigValue {
                version: 9,
                value: Bytes::from(value.clone()),
                mod_policy: admins(),
            };
            group.values.insert(NAMES[*name].to_owned(), value);
        }
        Edit::RemoveValue(_, name) => drop(group.values.remove(NAMES[*name])),
        Edit::SetPolicy(_, name, mod_policy) => {
            let policy = ConfigPolicy {
                version: 9,
                policy: None,
                mod_policy: mod_policy.clone(),
            };
            group.policies.insert(NAMES[*name].to_owned(), policy);
        }
        Edit::RemovePolicy(_, name) => drop(group.policies.remove(NAMES[*name])),
        Edit::AddGroup(_, name) => {
            let value = ConfigValue {
                version: 9,
                value: Bytes::from_static(b"v"),
                mod_policy: admins(),
            };
            let mut added = ConfigGroup {
                version: 9,
                mod_policy: admins(),
                ..Default::default()
            };
            added.values.insert("Inner".to_owned(), value);
            group.groups.insert(NAMES[*name].to_owned(), added);
        }
        Edit::RemoveGroup(_, name) => drop(group.groups.remove(NAMES[*name])),
        Edit::ModPolicy(_, mod_policy) => group.mod_policy.clone_from(mod_policy),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_computed_update_leads_to_the_configuration_it_was_computed_from(edits in vec(edit(), 1..6)) {
        let (network, current) = &*NETWORK;
        let mut updated = current.config().clone();
        let root = updated.channel_group.as_mut().expect("root");
        edits.iter().for_each(|edit| apply(root, edit));
        let computed = match update::compute(current.config(), &updated, "mychannel") {
            Err(ConfigError::NoDifference) => return Ok(()),
            computed => computed.expect("an update"),
        };
        let signers: Vec<_> = network.admins.iter().collect();
        let proposed = current.propose(&sign(computed.clone(), &signers)).expect("accepted").config.expect("config");
        prop_assert_eq!(proposed.sequence, 1);
        // Equal but for the versions, which computing ignores.
        let left = update::compute(&proposed, &updated, "mychannel");
        prop_assert!(matches!(left, Err(ConfigError::NoDifference)), "{:?}", left);
        // The same update does not fit a second time: what it changed has moved on.
        let again = ChannelConfig::new("mychannel", proposed);
        if let Ok(again) = again {
            prop_assert!(again.propose(&sign(computed, &signers)).is_err());
        }
        // And without signatures nothing that exists may change.
        let unsigned = update::compute(current.config(), &updated, "mychannel").expect("an update");
        prop_assert!(current.propose(&sign(unsigned, &[])).is_err());
    }
}
