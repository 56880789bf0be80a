//! The configuration tree as a map from path to item.
//!
//! Paths look like `[Group]  /Channel/Application`, `[Value]  /Channel/Orderer/BatchSize`,
//! `[Policy] /Channel/Admins` and appear like that in error texts.

use super::ConfigError;
use crate::names;
use consilium_proto::common;
use std::collections::BTreeMap;

/// Name of the root group.
pub const ROOT: &str = "Channel";

/// An item of the tree, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// A group. Of its members only the names matter here.
    Group(&'a common::ConfigGroup),
    /// A value.
    Value(&'a common::ConfigValue),
    /// A policy.
    Policy(&'a common::ConfigPolicy),
}

impl<'a> Item<'a> {
    /// Its version.
    pub fn version(&self) -> u64 {
        match self {
            Item::Group(group) => group.version,
            Item::Value(value) => value.version,
            Item::Policy(policy) => policy.version,
        }
    }

    /// The policy that a change of it has to satisfy, as written.
    pub fn mod_policy(&self) -> &'a str {
        match self {
            Item::Group(group) => &group.mod_policy,
            Item::Value(value) => &value.mod_policy,
            Item::Policy(policy) => &policy.mod_policy,
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Item::Group(_) => "[Group]  ",
            Item::Value(_) => "[Value]  ",
            Item::Policy(_) => "[Policy] ",
        }
    }
}

/// An item with the path of the group that its `mod_policy` is relative to: the group that contains
/// a value or policy, and a group itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<'a> {
    /// The item.
    pub item: Item<'a>,
    /// `/Channel/…`, without the item's own key unless it is a group.
    pub group: String,
}

impl Placed<'_> {
    /// Absolute path of the policy that a change of this item has to satisfy.
    pub fn mod_policy_path(&self) -> String {
        let policy = self.item.mod_policy();
        if policy.starts_with('/') {
            policy.to_owned()
        } else {
            format!("{}/{policy}", self.group)
        }
    }
}

/// All items by their printed path. Every key in the tree is checked.
pub type Items<'a> = BTreeMap<String, Placed<'a>>;

/// Groups deeper than this are refused: nothing legal is deeper than four, and recursion must end.
const MAX_DEPTH: usize = 32;

/// Flattens a tree whose root is the channel group.
pub fn flatten(root: &common::ConfigGroup) -> Result<Items<'_>, ConfigError> {
    let mut items = BTreeMap::new();
    add_group(&mut items, "", ROOT, root, 0)?;
    Ok(items)
}

/// [`flatten`] of a read or write set, which may be absent.
pub fn flatten_optional(root: Option<&common::ConfigGroup>) -> Result<Items<'_>, ConfigError> {
    root.map_or_else(|| Ok(BTreeMap::new()), flatten)
}

fn add<'a>(
    items: &mut Items<'a>,
    parent: &str,
    key: &str,
    item: Item<'a>,
) -> Result<String, ConfigError> {
    let path = format!("{parent}/{key}");
    let printed = format!("{}{path}", item.prefix());
    if let Err(source) = names::validate_config_key(key) {
        return Err(ConfigError::Key {
            key: printed,
            source,
        });
    }
    let group = if matches!(item, Item::Group(_)) {
        path.clone()
    } else {
        parent.to_owned()
    };
    items.insert(printed, Placed { item, group });
    Ok(path)
}

fn add_group<'a>(
    items: &mut Items<'a>,
    parent: &str,
    key: &str,
    group: &'a common::ConfigGroup,
    depth: usize,
) -> Result<(), ConfigError> {
    if depth > MAX_DEPTH {
        return Err(ConfigError::Invalid(format!(
            "config groups are nested deeper than {MAX_DEPTH}"
        )));
    }
    let path = add(items, parent, key, Item::Group(group))?;
    for (key, member) in &group.groups {
        add_group(items, &path, key, member, depth + 1)?;
    }
    for (key, value) in &group.values {
        add(items, &path, key, Item::Value(value))?;
    }
    for (key, policy) in &group.policies {
        add(items, &path, key, Item::Policy(policy))?;
    }
    Ok(())
}

/// The tree that `items` describe: each group has the members that it lists, each taken from
/// `items`. Members in `items` that their group does not list disappear.
pub fn rebuild(items: &Items<'_>) -> Result<common::ConfigGroup, ConfigError> {
    rebuild_group(items, &format!("/{ROOT}"))
}

fn rebuild_group(items: &Items<'_>, path: &str) -> Result<common::ConfigGroup, ConfigError> {
    let missing = |kind: &str, path: &str| {
        ConfigError::Unauthorized(format!("missing {kind} at path: {path}"))
    };
    let printed = format!("[Group]  {path}");
    let Some(Placed {
        item: Item::Group(group),
        ..
    }) = items.get(&printed)
    else {
        return Err(missing("group", &printed));
    };
    let mut rebuilt = common::ConfigGroup {
        version: group.version,
        mod_policy: group.mod_policy.clone(),
        ..Default::default()
    };
    for key in group.groups.keys() {
        rebuilt
            .groups
            .insert(key.clone(), rebuild_group(items, &format!("{path}/{key}"))?);
    }
    for key in group.values.keys() {
        let printed = format!("[Value]  {path}/{key}");
        let Some(Placed {
            item: Item::Value(value),
            ..
        }) = items.get(&printed)
        else {
            return Err(missing("value", &printed));
        };
        rebuilt.values.insert(key.clone(), (*value).clone());
    }
    for key in group.policies.keys() {
        let printed = format!("[Policy] {path}/{key}");
        let Some(Placed {
            item: Item::Policy(policy),
            ..
        }) = items.get(&printed)
        else {
            return Err(missing("policy", &printed));
        };
        rebuilt.policies.insert(key.clone(), (*policy).clone());
    }
    Ok(rebuilt)
}
