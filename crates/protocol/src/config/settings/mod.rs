//! A configuration as a person reads and changes it: settings with names such as
//! `orderer.batch-timeout` or `application.org.MakerMSP.policy.Admins`, each with its values as text.
//!
//! [`list`] shows a tree, [`differences`] compares two, [`Edit`] changes one; all speak of a setting by the
//! same name. docs/channel.md lists the names. Pure: files are read by whoever calls.

mod edit;
mod listing;
mod organizations;
mod quantity;

pub use edit::{Action, Edit};
pub use listing::list;
pub use organizations::{add_application_organization, remove_organization};

use super::tree::{self, Item, Items};
use consilium_proto::common;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// One value, or those of a list.
    pub values: Vec<String>,
    /// The item of the tree that holds it, as `[Value]  /Channel/Orderer/BatchSize`.
    pub item: String,
}

/// A setting of which two configurations say different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Values that only the first has.
    pub removed: Vec<String>,
    /// Values that only the second has.
    pub added: Vec<String>,
}

/// Names of groups in settings, and of values in the settings about how they may change.
const VALUE_NAMES: [(&str, &str); 15] = [
    ("HashingAlgorithm", "hashing-algorithm"),
    ("BlockDataHashingStructure", "block-data-hashing"),
    ("OrdererAddresses", "orderer-addresses"),
    ("Consortium", "consortium"),
    ("Capabilities", "capabilities"),
    ("ConsensusType", "consensus"),
    ("BatchSize", "batch-size"),
    ("BatchTimeout", "batch-timeout"),
    ("ChannelRestrictions", "max-channels"),
    ("KafkaBrokers", "kafka-brokers"),
    ("Orderers", "bft-consenters"),
    ("MSP", "msp"),
    ("Endpoints", "endpoints"),
    ("AnchorPeers", "anchor-peers"),
    ("ACLs", "acl"),
];

/// The setting's name of a value of the tree; its key where it has no other.
fn value_name(key: &str) -> &str {
    VALUE_NAMES
        .iter()
        .find(|(known, _)| *known == key)
        .map_or(key, |(_, name)| name)
}

/// Who may change what is written by configtxgen, and not worth telling.
const USUAL_MOD_POLICY: &str = "Admins";

/// What two trees say differently, by name. Whatever differs shows: a value whose settings read the same
/// but whose bytes differ is told by its digest.
pub fn differences(before: &common::ConfigGroup, after: &common::ConfigGroup) -> Vec<Difference> {
    let (old, new) = (by_name(list(before)), by_name(list(after)));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    let mut explained = BTreeSet::new();
    for name in names {
        let values = |settings: &BTreeMap<String, Setting>| {
            settings
                .get(name)
                .map_or_else(Vec::new, |setting| setting.values.clone())
        };
        let (was, is) = (values(&old), values(&new));
        if was == is && old.contains_key(name) == new.contains_key(name) {
            continue;
        }
        let setting = old.get(name).or_else(|| new.get(name));
        explained.extend(setting.map(|setting| setting.item.clone()));
        let mut difference = Difference {
            name: name.clone(),
            removed: without(&was, &is),
            added: without(&is, &was),
        };
        if difference.removed.is_empty() && difference.added.is_empty() {
            // The same values in another order, or none at all where there was nothing.
            difference.removed = vec![in_order(old.contains_key(name), &was)];
            difference.added = vec![in_order(new.contains_key(name), &is)];
        }
        found.push(difference);
    }
    found.extend(unexplained(before, after, &explained));
    found
}

fn by_name(settings: Vec<Setting>) -> BTreeMap<String, Setting> {
    settings
        .into_iter()
        .map(|setting| (setting.name.clone(), setting))
        .collect()
}

fn in_order(is_there: bool, values: &[String]) -> String {
    match (is_there, values.is_empty()) {
        (false, _) => "(not set)".to_owned(),
        (true, true) => "(empty)".to_owned(),
        (true, false) => values.join(", "),
    }
}

/// `left` without what is in `right`, counting repetitions.
fn without(left: &[String], right: &[String]) -> Vec<String> {
    let mut rest = right.to_vec();
    left.iter()
        .filter(
            |value| match rest.iter().position(|other| other == *value) {
                Some(at) => {
                    rest.swap_remove(at);
                    false
                }
                None => true,
            },
        )
        .cloned()
        .collect()
}

/// Items that differ in a way that no setting shows.
fn unexplained(
    before: &common::ConfigGroup,
    after: &common::ConfigGroup,
    explained: &BTreeSet<String>,
) -> Vec<Difference> {
    let none = Items::new();
    let (old, new) = (tree::flatten(before), tree::flatten(after));
    let (old, new) = (old.as_ref().unwrap_or(&none), new.as_ref().unwrap_or(&none));
    old.iter()
        .filter(|(key, _)| !explained.contains(*key))
        .filter_map(|(key, was)| {
            let is = new.get(key)?;
            let (was, is) = (digest(was.item)?, digest(is.item)?);
            (was != is).then(|| Difference {
                name: key.clone(),
                removed: vec![was],
                added: vec![is],
            })
        })
        .collect()
}

/// The contents of a value or policy in short.
fn digest(item: Item<'_>) -> Option<String> {
    let bytes = match item {
        Item::Group(_) => return None,
        Item::Value(value) => value.value.clone(),
        Item::Policy(policy) => policy.policy.clone().unwrap_or_default().value,
    };
    Some(describe_bytes(&bytes))
}

fn describe_bytes(bytes: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(bytes));
    format!("({} bytes, SHA-256 {}…)", bytes.len(), &digest[..16])
}
