//! Changing one setting of a tree.

use super::listing::{certificate, names_below, revocation_list};
use super::quantity::parse_size;
use crate::config::ConfigError;
use crate::config::genesis::add_capabilities;
use crate::duration::{self, Signed};
use bytes::Bytes;
use common::policy::PolicyType;
use consilium_msp::{Certificate, RevocationList, dsl};
use consilium_proto::{common, etcdraft, msp, orderer, protos};
use prost::Message;

/// What is to be done with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Replace its value or values.
    Set,
    /// Add to the values of a list.
    Add,
    /// Remove from the values of a list.
    Remove,
    /// Remove the setting.
    Unset,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is to be done.
    pub action: Action,
    /// With which setting, by its name in a [listing](super::list).
    pub name: String,
    /// Text; of settings that hold certificates or revocation lists, the contents of a file.
    pub value: Bytes,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(reason.into()))
}

impl Edit {
    /// Applies the change to a tree. What an organization's MSP is shall be the same wherever the
    /// organization appears: a change of one is made in every group with that MSP id.
    ///
    /// # Errors
    /// There is no such setting, or it cannot have that value; nothing is changed then.
    pub fn apply(&self, root: &mut common::ConfigGroup) -> Result<(), ConfigError> {
        let (path, rest) = locate(root, &self.name)?;
        let within = |error: ConfigError| ConfigError::Invalid(format!("{}: {error}", self.name));
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let group = group_at(root, &path);
        if rest != "msp" && !rest.starts_with("msp.") || rest == "msp.mod-policy" {
            return self.apply_to(group, rest, &path).map_err(within);
        }
        let changed = self.changed_msp(group, rest).map_err(within)?;
        let msp_id = changed.name.clone();
        for group in organizations_of(root, &msp_id) {
            put_msp(group, &changed);
        }
        Ok(())
    }

    fn text(&self) -> Result<&str, ConfigError> {
        let text = std::str::from_utf8(&self.value)
            .map_err(|_| ConfigError::Invalid("the value is not text".into()))?;
        Ok(text.trim())
    }

    fn words(&self) -> Result<Vec<String>, ConfigError> {
        Ok(self
            .text()?
            .split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect())
    }

    fn single(&self) -> Result<&str, ConfigError> {
        match self.action {
            Action::Set => self.text(),
            Action::Unset => refuse("it has to have a value; set another one"),
            Action::Add | Action::Remove => refuse("it has one value; set it"),
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, ConfigError> {
        let text = self.single()?;
        text.parse()
            .or_else(|_| refuse(format!("`{text}` is not a number that it can be")))
    }

    fn size(&self) -> Result<u32, ConfigError> {
        let text = self.single()?;
        parse_size(text).map_or_else(
            || refuse(format!("`{text}` is not a size such as 512 KB or 10 MB")),
            Ok,
        )
    }

    fn length_of_time(&self) -> Result<String, ConfigError> {
        let text = self.single()?;
        match duration::parse(text) {
            Some(Signed::Forward(length)) if !length.is_zero() => Ok(text.to_owned()),
            _ => refuse(format!(
                "`{text}` is not a length of time such as 500ms or 2s"
            )),
        }
    }

    /// The list after the change. `same` says whether a value is the one that is to be removed.
    fn list<T: Clone>(
        &self,
        current: Vec<T>,
        given: Vec<T>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<Vec<T>, ConfigError> {
        match self.action {
            Action::Set => Ok(given),
            Action::Unset => Ok(Vec::new()),
            Action::Add => {
                let mut all = current;
                for one in given {
                    if !all.iter().any(|known| same(known, &one)) {
                        all.push(one);
                    }
                }
                Ok(all)
            }
            Action::Remove => {
                let mut rest = current;
                for one in &given {
                    let before = rest.len();
                    rest.retain(|known| !same(known, one));
                    if rest.len() == before {
                        return refuse("what is to be removed is not in it");
                    }
                }
                Ok(rest)
            }
        }
    }

    fn strings(&self, current: Vec<String>) -> Result<Vec<String>, ConfigError> {
        self.list(current, self.words()?, |one, other| one == other)
    }

    fn apply_to(
        &self,
        group: &mut common::ConfigGroup,
        rest: &str,
        path: &[&str],
    ) -> Result<(), ConfigError> {
        if let Some(name) = rest.strip_prefix("policy.") {
            return self.policy(group, name);
        }
        if let Some(of) = rest.strip_suffix("mod-policy") {
            return self.mod_policy(group, of.trim_end_matches('.'));
        }
        if let Some(resource) = rest.strip_prefix("acl.") {
            return self.acl(group, resource);
        }
        match (path, rest) {
            ([], "hashing-algorithm") => {
                let name = self.single()?.to_owned();
                change(
                    group,
                    "HashingAlgorithm",
                    |value: &mut common::HashingAlgorithm| {
                        value.name = name;
                        Ok(())
                    },
                )
            }
            ([], "orderer-addresses") => self.addresses(group, "OrdererAddresses"),
            (["Orderer", _], "endpoints") => self.addresses(group, "Endpoints"),
            ([] | ["Orderer"] | ["Application"], "capabilities") => self.capabilities(group),
            (["Application", _], "anchor-peers") => self.anchor_peers(group),
            (["Orderer"], setting) => self.ordering(group, setting),
            _ => self.unknown(group),
        }
    }

    fn unknown<T>(&self, group: &common::ConfigGroup) -> Result<T, ConfigError> {
        let known: Vec<String> = names_below(group).into_keys().collect();
        refuse(format!(
            "there is no such setting that could be changed; here are: {}",
            known.join(", ")
        ))
    }

    fn ordering(&self, group: &mut common::ConfigGroup, setting: &str) -> Result<(), ConfigError> {
        match setting {
            "batch-timeout" => {
                let timeout = self.length_of_time()?;
                change(
                    group,
                    "BatchTimeout",
                    |value: &mut orderer::BatchTimeout| {
                        value.timeout = timeout;
                        Ok(())
                    },
                )
            }
            "batch-size.max-messages" => {
                let count = self.number()?;
                change(group, "BatchSize", |value: &mut orderer::BatchSize| {
                    value.max_message_count = count;
                    Ok(())
                })
            }
            "batch-size.absolute-max-bytes" => {
                let size = self.size()?;
                change(group, "BatchSize", |value: &mut orderer::BatchSize| {
                    value.absolute_max_bytes = size;
                    Ok(())
                })
            }
            "batch-size.preferred-max-bytes" => {
                let size = self.size()?;
                change(group, "BatchSize", |value: &mut orderer::BatchSize| {
                    value.preferred_max_bytes = size;
                    Ok(())
                })
            }
            "max-channels" => {
                let count = self.number()?;
                change(
                    group,
                    "ChannelRestrictions",
                    |value: &mut orderer::ChannelRestrictions| {
                        value.max_count = count;
                        Ok(())
                    },
                )
            }
            "consensus.state" => {
                let state = match self.single()? {
                    "normal" => 0,
                    "maintenance" => 1,
                    other => return refuse(format!("`{other}` is neither normal nor maintenance")),
                };
                change(
                    group,
                    "ConsensusType",
                    |value: &mut orderer::ConsensusType| {
                        value.state = state;
                        Ok(())
                    },
                )
            }
            _ => match setting.strip_prefix("raft.") {
                Some(option) => self.raft(group, option),
                None => self.unknown(group),
            },
        }
    }

    fn raft(&self, group: &mut common::ConfigGroup, option: &str) -> Result<(), ConfigError> {
        let known = [
            "consenters",
            "tick-interval",
            "election-tick",
            "heartbeat-tick",
            "max-inflight-blocks",
            "snapshot-interval-size",
        ];
        if !known.contains(&option) {
            return self.unknown(group);
        }
        change(
            group,
            "ConsensusType",
            |value: &mut orderer::ConsensusType| {
                if value.r#type != "etcdraft" {
                    return refuse(format!("the consensus type is {}", value.r#type));
                }
                let mut metadata: etcdraft::ConfigMetadata =
                    read("ConfigMetadata", &value.metadata)?;
                let options = metadata.options.get_or_insert_default();
                match option {
                    "tick-interval" => options.tick_interval = self.length_of_time()?,
                    "election-tick" => options.election_tick = self.number()?,
                    "heartbeat-tick" => options.heartbeat_tick = self.number()?,
                    "max-inflight-blocks" => options.max_inflight_blocks = self.number()?,
                    "snapshot-interval-size" => options.snapshot_interval_size = self.size()?,
                    _ => metadata.consenters = self.consenters(metadata.consenters)?,
                }
                value.metadata = metadata.encode_to_vec().into();
                Ok(())
            },
        )
    }

    /// `HOST:PORT`, and below it its TLS certificate; adding one that is there exchanges its certificate.
    fn consenters(
        &self,
        mut current: Vec<etcdraft::Consenter>,
    ) -> Result<Vec<etcdraft::Consenter>, ConfigError> {
        let (address, certificates) = match self.text()?.split_once('\n') {
            Some((address, certificates)) => (address.trim(), certificates.trim()),
            None => (self.text()?, ""),
        };
        let (host, port) = host_and_port(address)?;
        let at = current
            .iter()
            .position(|known| known.host == host && known.port == u32::from(port));
        match (self.action, at) {
            (Action::Remove, Some(at)) => {
                current.remove(at);
                return Ok(current);
            }
            (Action::Remove, None) => return refuse(format!("{address} is not in it")),
            (Action::Set | Action::Unset, _) => {
                return refuse("consenters are added and removed one at a time");
            }
            (Action::Add, _) => {}
        }
        let pem: Bytes = match Certificate::from_pem(certificates.as_bytes()) {
            Ok(certificate) => certificate.pem().into(),
            Err(error) => return refuse(format!("the consenter's TLS certificate: {error}")),
        };
        let consenter = etcdraft::Consenter {
            host,
            port: port.into(),
            client_tls_cert: pem.clone(),
            server_tls_cert: pem,
        };
        match at {
            Some(at) => current[at] = consenter,
            None => current.push(consenter),
        }
        Ok(current)
    }

    fn addresses(&self, group: &mut common::ConfigGroup, key: &str) -> Result<(), ConfigError> {
        for address in self.words()? {
            host_and_port(&address)?;
        }
        let is_new = !group.values.contains_key(key);
        change(group, key, |value: &mut common::OrdererAddresses| {
            value.addresses = self.strings(std::mem::take(&mut value.addresses))?;
            Ok(())
        })?;
        let emptied = self.action == Action::Unset;
        if emptied {
            group.values.remove(key);
        } else if is_new
            && key == "OrdererAddresses"
            && let Some(value) = group.values.get_mut(key)
        {
            value.mod_policy = "/Channel/Orderer/Admins".to_owned();
        }
        Ok(())
    }

    fn capabilities(&self, group: &mut common::ConfigGroup) -> Result<(), ConfigError> {
        let before = group.values.get("Capabilities").cloned();
        let current: common::Capabilities = match &before {
            Some(value) => read("Capabilities", &value.value)?,
            None => common::Capabilities::default(),
        };
        let listed = self.strings(current.capabilities.into_keys().collect())?;
        group.values.remove("Capabilities");
        if self.action == Action::Unset {
            return Ok(());
        }
        // In the bytes that Fabric's tools write, so that nothing seems to change that does not.
        add_capabilities(group, listed.iter().map(String::as_str));
        let after = group.values.entry("Capabilities".to_owned()).or_default();
        after.mod_policy = before.map_or_else(
            || super::USUAL_MOD_POLICY.to_owned(),
            |before| before.mod_policy,
        );
        Ok(())
    }

    fn anchor_peers(&self, group: &mut common::ConfigGroup) -> Result<(), ConfigError> {
        let given = self
            .words()?
            .iter()
            .map(|address| {
                host_and_port(address).map(|(host, port)| protos::AnchorPeer {
                    host,
                    port: port.into(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        change(group, "AnchorPeers", |value: &mut protos::AnchorPeers| {
            let current = std::mem::take(&mut value.anchor_peers);
            value.anchor_peers = self.list(current, given, |one, other| one == other)?;
            Ok(())
        })?;
        if self.action == Action::Unset {
            group.values.remove("AnchorPeers");
        }
        Ok(())
    }

    fn acl(&self, group: &mut common::ConfigGroup, resource: &str) -> Result<(), ConfigError> {
        let policy_ref = match self.action {
            Action::Unset => None,
            _ => Some(self.single()?.to_owned()),
        };
        change(group, "ACLs", |value: &mut protos::AcLs| {
            match policy_ref {
                Some(policy_ref) => {
                    value
                        .acls
                        .insert(resource.to_owned(), protos::ApiResource { policy_ref });
                }
                None if value.acls.remove(resource).is_none() => {
                    return refuse("there is no such ACL; the default applies");
                }
                None => {}
            }
            Ok(())
        })
    }

    fn policy(&self, group: &mut common::ConfigGroup, name: &str) -> Result<(), ConfigError> {
        if let Some(name) = name.strip_suffix(".mod-policy") {
            let mod_policy = self.single()?.to_owned();
            let Some(policy) = group.policies.get_mut(name) else {
                return refuse("there is no such policy");
            };
            policy.mod_policy = mod_policy;
            return Ok(());
        }
        if self.action == Action::Unset {
            return match group.policies.remove(name) {
                Some(_) => Ok(()),
                None => refuse("there is no such policy"),
            };
        }
        let policy = Some(parse_policy(self.single()?)?);
        match group.policies.get_mut(name) {
            Some(existing) => existing.policy = policy,
            None => {
                group.policies.insert(
                    name.to_owned(),
                    common::ConfigPolicy {
                        version: 0,
                        policy,
                        mod_policy: super::USUAL_MOD_POLICY.to_owned(),
                    },
                );
            }
        }
        Ok(())
    }

    fn mod_policy(&self, group: &mut common::ConfigGroup, of: &str) -> Result<(), ConfigError> {
        let mod_policy = self.single()?.to_owned();
        if of.is_empty() {
            group.mod_policy = mod_policy;
            return Ok(());
        }
        let value = group
            .values
            .iter_mut()
            .find(|(key, _)| super::value_name(key) == of);
        let Some((_, value)) = value else {
            return refuse("there is no such value");
        };
        value.mod_policy = mod_policy;
        Ok(())
    }

    fn changed_msp(
        &self,
        group: &common::ConfigGroup,
        rest: &str,
    ) -> Result<msp::FabricMspConfig, ConfigError> {
        let mut config = msp_of(group)?;
        let Some(setting) = rest.strip_prefix("msp.") else {
            // The whole of it, as a message.
            self.single_bytes()?;
            let mut whole: msp::FabricMspConfig = read("FabricMSPConfig", &self.value)?;
            if whole.name.is_empty() {
                whole.name.clone_from(&config.name);
            }
            if whole.name != config.name {
                return refuse(format!(
                    "the MSP id stays {}; {} would be another organization",
                    config.name, whole.name
                ));
            }
            return Ok(whole);
        };
        let list = match setting {
            "roots" => &mut config.root_certs,
            "intermediates" => &mut config.intermediate_certs,
            "admins" => &mut config.admins,
            "tls-roots" => &mut config.tls_root_certs,
            "tls-intermediates" => &mut config.tls_intermediate_certs,
            "crls" => {
                config.revocation_list = self.revocation_lists(config.revocation_list)?;
                return Ok(config);
            }
            "node-ous" => {
                let enable = match self.single()? {
                    "on" => true,
                    "off" => false,
                    other => return refuse(format!("`{other}` is neither on nor off")),
                };
                config.fabric_node_ous.get_or_insert_default().enable = enable;
                return Ok(config);
            }
            _ => match setting.strip_prefix("node-ou.") {
                Some(role) => {
                    self.node_ou(config.fabric_node_ous.get_or_insert_default(), role)?;
                    return Ok(config);
                }
                None => return self.unknown(group),
            },
        };
        *list = self.certificates(std::mem::take(list))?;
        Ok(config)
    }

    fn single_bytes(&self) -> Result<(), ConfigError> {
        match self.action {
            Action::Set => Ok(()),
            _ => refuse("it is set as a whole, or by its settings"),
        }
    }

    fn node_ou(&self, units: &mut msp::FabricNodeOUs, role: &str) -> Result<(), ConfigError> {
        let unit = match role {
            "client" => &mut units.client_ou_identifier,
            "peer" => &mut units.peer_ou_identifier,
            "admin" => &mut units.admin_ou_identifier,
            "orderer" => &mut units.orderer_ou_identifier,
            other => {
                return refuse(format!("`{other}` is none of client, peer, admin, orderer"));
            }
        };
        if self.action == Action::Unset {
            *unit = None;
            return Ok(());
        }
        let name = self.single()?.to_owned();
        unit.get_or_insert_default().organizational_unit_identifier = name;
        Ok(())
    }

    /// Certificates in PEM; to remove one, words that its description has are enough.
    fn certificates(&self, current: Vec<Bytes>) -> Result<Vec<Bytes>, ConfigError> {
        let given = Certificate::all_from_pem(&self.value)
            .map_err(|error| ConfigError::Invalid(error.to_string()))?;
        if given.is_empty() && self.action == Action::Remove {
            return self.remove_described(current, certificate);
        }
        if given.is_empty() && self.action != Action::Unset {
            return refuse("there is no certificate in the value; give a file as @FILE");
        }
        let given = given.iter().map(|one| Bytes::from(one.pem())).collect();
        self.list(current, given, |one, other| {
            match (Certificate::from_pem(one), Certificate::from_pem(other)) {
                (Ok(one), Ok(other)) => one == other,
                _ => one == other,
            }
        })
    }

    /// A revocation list; a newer one of the same issuer does not replace the older by itself.
    fn revocation_lists(&self, current: Vec<Bytes>) -> Result<Vec<Bytes>, ConfigError> {
        if self.action == Action::Unset {
            return Ok(Vec::new());
        }
        match RevocationList::parse(&self.value) {
            Ok(_) => self.list(current, vec![self.value.clone()], |one, other| one == other),
            Err(_) if self.action == Action::Remove => {
                self.remove_described(current, revocation_list)
            }
            Err(error) => refuse(error.to_string()),
        }
    }

    fn remove_described(
        &self,
        current: Vec<Bytes>,
        describe: impl Fn(&[u8]) -> String,
    ) -> Result<Vec<Bytes>, ConfigError> {
        let words = self.text()?;
        let fits = |one: &Bytes| !words.is_empty() && describe(one).contains(words);
        let count = current.iter().filter(|one| fits(one)).count();
        if count != 1 {
            let all: Vec<String> = current.iter().map(|one| describe(one)).collect();
            return refuse(format!(
                "`{words}` fits {count} of these, not one: {}",
                all.join("; ")
            ));
        }
        Ok(current.into_iter().filter(|one| !fits(one)).collect())
    }
}

/// An implicit meta policy such as `MAJORITY Admins`, or a signature policy.
fn parse_policy(text: &str) -> Result<common::Policy, ConfigError> {
    let (kind, value) = match dsl::parse_implicit_meta(text) {
        Ok(implicit) => (PolicyType::ImplicitMeta, implicit.encode_to_vec()),
        Err(_) => {
            let parsed = dsl::parse(text).map_err(|error| {
                ConfigError::Invalid(format!(
                    "neither a policy such as MAJORITY Admins, nor one such as OR('Org1MSP.admin'): {error}"
                ))
            })?;
            (PolicyType::Signature, parsed.encode_to_vec())
        }
    };
    Ok(common::Policy {
        r#type: kind.into(),
        value: value.into(),
    })
}

fn host_and_port(address: &str) -> Result<(String, u16), ConfigError> {
    let parts = address.rsplit_once(':');
    let parsed = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok((host.to_owned(), port)),
        _ => refuse(format!("`{address}` is not of the form host:port")),
    }
}

fn read<M: Message + Default>(message: &'static str, bytes: &Bytes) -> Result<M, ConfigError> {
    Ok(crate::envelope::decode(message, bytes)?)
}

/// Changes the message in a value, which is made if it is not there.
fn change<M: Message + Default>(
    group: &mut common::ConfigGroup,
    key: &str,
    change: impl FnOnce(&mut M) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let mut message = match group.values.get(key) {
        Some(value) => read("ConfigValue", &value.value)?,
        None => M::default(),
    };
    change(&mut message)?;
    let value = group
        .values
        .entry(key.to_owned())
        .or_insert_with(|| common::ConfigValue {
            mod_policy: super::USUAL_MOD_POLICY.to_owned(),
            ..Default::default()
        });
    value.value = message.encode_to_vec().into();
    Ok(())
}

/// The X.509 MSP of an organization's group.
pub(super) fn msp_of(group: &common::ConfigGroup) -> Result<msp::FabricMspConfig, ConfigError> {
    let Some(value) = group.values.get("MSP") else {
        return refuse("there is no MSP in this group");
    };
    let config: msp::MspConfig = read("MSPConfig", &value.value)?;
    if config.r#type != 0 {
        return refuse(format!("the MSP is of type {}, not X.509", config.r#type));
    }
    read("FabricMSPConfig", &config.config)
}

fn put_msp(group: &mut common::ConfigGroup, config: &msp::FabricMspConfig) {
    if let Some(value) = group.values.get_mut("MSP") {
        let config = msp::MspConfig {
            r#type: 0,
            config: config.encode_to_vec().into(),
        };
        value.value = config.encode_to_vec().into();
    }
}

/// All groups of organizations with that MSP id.
fn organizations_of<'a>(
    root: &'a mut common::ConfigGroup,
    msp_id: &'a str,
) -> impl Iterator<Item = &'a mut common::ConfigGroup> {
    let sections = root.groups.values_mut();
    sections
        .flat_map(|section| section.groups.values_mut())
        .filter(move |group| msp_of(group).is_ok_and(|config| config.name == msp_id))
}

/// Where a setting is: the names of the groups down from the root, and its name in there.
fn locate<'a>(
    root: &common::ConfigGroup,
    name: &'a str,
) -> Result<(Vec<String>, &'a str), ConfigError> {
    let (section, rest) = name.split_once('.').unwrap_or((name, ""));
    let section = match section {
        "channel" => return Ok((Vec::new(), rest)),
        "orderer" => "Orderer",
        "application" => "Application",
        _ => {
            return refuse(format!(
                "`{name}` begins with none of channel., orderer. and application."
            ));
        }
    };
    let Some(group) = root.groups.get(section) else {
        return refuse(format!("{name}: the channel has no {section} section"));
    };
    let Some(below) = rest.strip_prefix("org.") else {
        return Ok((vec![section.to_owned()], rest));
    };
    // Names of organizations may have dots: the longest that fits is meant.
    let fitting = group.groups.keys().filter_map(|organization| {
        let rest = below
            .strip_prefix(organization.as_str())?
            .strip_prefix('.')?;
        Some((organization.as_str(), rest))
    });
    match fitting.max_by_key(|(organization, _)| organization.len()) {
        Some((organization, rest)) => Ok((vec![section.to_owned(), organization.to_owned()], rest)),
        None => {
            let known: Vec<&str> = group.groups.keys().map(String::as_str).collect();
            refuse(format!(
                "{name}: no such organization; there are {}",
                known.join(", ")
            ))
        }
    }
}

fn group_at<'a>(root: &'a mut common::ConfigGroup, path: &[&str]) -> &'a mut common::ConfigGroup {
    let mut group = root;
    for name in path {
        group = group.groups.entry((*name).to_owned()).or_default();
    }
    group
}
